"""Finished runs made by hand, for what only reads them: no model in them can be loaded."""

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

from alignx import manifest
from alignx.manifest import DataIdentity, Manifest, ModelIdentity
from alignx.prompts import Condition
from alignx.training.settings import TrainSettings

JOES = "/home/joe/secret-project"
"""A folder on somebody's machine."""
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
COMMIT = "0e9e39f249a16976918f6564b8830bc894c89659"
RECORD = "record-of-user-17"
"""Id of a record that was held out."""
METRICS: list[dict[str, Any]] = [
    {"step": 1, "loss": 0.6931, "rewards/accuracies": 0.0, "rewards/margins": 0.0, "learning_rate": 0.0},
    {"step": 2, "loss": 0.5512, "rewards/accuracies": 0.8125, "rewards/margins": 0.321, "learning_rate": 5e-7},
    {"step": 2, "eval_loss": 0.6023, "eval_rewards/accuracies": 0.6667, "eval_rewards/margins": 0.1234},
    {"step": 2, "train_runtime": 4.5},
]
COUNTS: dict[str, Any] = {
    "encoding": {
        "records": 1031,
        "prompts_trimmed": 12,
        "items_trimmed": 34,
        "demographics_trimmed": 5,
        "personas_empty": 6,
    },
    "steps": 2,
    "train": 1024,
    "evaluation": 3,
    "left_over": 4,
    "world_size": 8,
}
FORWARD = {"policy": {"shared_prefix": True, "reason": None, "attention": "alignx_sdpa"}}


def finished_run(
    folder: Path, *, method: str = "ica", adapter: bool = False, on_hub: bool = False, **changes: Any
) -> Path:
    """A run's folder: everything that may be published, and everything that may not.

    Args:
        folder: Made here.
        method: Of the condition.
        adapter: Whether it holds adapters.
        on_hub: Whether base and data came from the hub; otherwise from folders of :data:`JOES`.
        changes: Of the manifest.
    """
    folder.mkdir(parents=True)
    base, data = (LLAMA, "JinaLeejnl/AlignX") if on_hub else (f"{JOES}/tiny-base", f"{JOES}/users.jsonl")
    settings = TrainSettings(
        model=base,
        data=data,
        output=Path("out/run"),
        method=method,
        eval_rows=3,
        **({"lora_rank": 64} if adapter else {}),
    )
    write_json(folder / "settings.json", settings.model_dump(mode="json"))
    write_json(folder / "split.json", {"evaluation": [RECORD], "left_over": []})
    write_json(folder / "tokenizer.json", {"model": {"vocab": {"/home": 0}}})
    write_json(folder / "tokenizer_config.json", {"bos_token": "/s", "name_or_path": base})
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    if adapter:
        write_json(folder / "adapter_config.json", {"base_model_name_or_path": base, "r": 64, "lora_alpha": 128})
        (folder / "adapter_model.safetensors").write_bytes(b"adapters")
    else:
        write_json(folder / "config.json", {"model_type": "llama", "_name_or_path": base})
        for shard in (1, 2):
            (folder / f"model-0000{shard}-of-00002.safetensors").write_bytes(b"weights" * shard)
        write_json(folder / "model.safetensors.index.json", {"weight_map": {}})
    named = sorted(path for path in folder.iterdir() if path.is_file())
    condition = Condition.model_validate({"method": method, "history": "sampled"}).resolved()
    values: dict[str, Any] = {
        "kind": "checkpoint",
        "data": DataIdentity(source=data, digest="d" * 64, records=1031, skipped=7),
        "taxonomy": "a" * 64,
        "model": ModelIdentity(
            name=base, digest="b" * 64, tokenizer="c" * 64, revision=COMMIT if on_hub else None, dtype="bfloat16"
        ),
        "condition": condition.model_dump(mode="json"),
        "condition_reason": "the default: the model records no preset",
        "settings": settings.model_dump(mode="json", exclude={"data", "model", "output", "report_to"}),
        "versions": {"alignx": "0.1.0", "trl": "1.16.0"},
        "counts": COUNTS,
        "forward": FORWARD,
        "files": {path.name: manifest.file_digest(path) for path in named},
        **changes,
    }
    _picture_and_metrics(folder, f"{method.upper()}: {base}")
    _what_stays(folder)
    manifest.write(folder, Manifest.model_validate(values))
    return folder


def _picture_and_metrics(folder: Path, title: str) -> None:
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in METRICS))
    (folder / "curves.png").write_bytes(_picture(title))


@functools.cache
def _picture(title: str) -> bytes:
    """Drawn once: it takes a second."""
    from alignx.training.curves import plot_curves

    with tempfile.TemporaryDirectory() as place:
        metrics, picture = Path(place) / "metrics.jsonl", Path(place) / "curves.png"
        metrics.write_text("".join(json.dumps(line) + "\n" for line in METRICS))
        plot_curves(metrics, picture, title)
        return picture.read_bytes()


STAYS = (
    "split.json",
    "batches-0.jsonl",
    "data/pairs-00000.parquet",
    "data/manifest.json",
    ".arrow/cache.arrow",
    "checkpoint-2/optimizer.pt",
    "checkpoint-2/model.safetensors",
    "notes.txt",
    "training_args.bin",
)
"""What a run's folder may hold and nobody else may see."""


def _what_stays(folder: Path) -> None:
    for name in STAYS[1:]:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'{{"ids": ["{RECORD}"]}}\n')


def write_json(path: Path, value: Any) -> None:
    """A file as transformers writes it."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def change_manifest(folder: Path, **changes: Any) -> Path:
    """Another record of the same run."""
    manifest.write(folder, manifest.read(folder).model_copy(update=changes))
    return folder
