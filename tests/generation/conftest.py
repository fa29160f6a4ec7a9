"""Records, and a stand-in that ends some of its responses, for the tests of generation."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from alignx.generation.settings import GenerateSettings
from tests.worlds import sample_records, write_jsonl

NEW_TOKENS = 12


@pytest.fixture(scope="session")
def rows() -> list[dict[str, Any]]:
    """Eleven records with their own ids, among them one without a persona."""
    return [{"id": f"r{i}", **row} for i, row in enumerate(sample_records(11, seed=7))]


@pytest.fixture(scope="session")
def data(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, as a file."""
    return write_jsonl(tmp_path_factory.mktemp("generation") / "records.jsonl", rows)


@pytest.fixture(scope="session")
def model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in with more to say of the end of a turn, so that some responses end; treat it as read-only."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("ending") / "model"
    shutil.copytree(tiny_model, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"][AutoTokenizer.from_pretrained(folder).eos_token_id] *= 2
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def settings(model: Path, data: Path, output: Path, **others: Any) -> GenerateSettings:
    """Settings as the tests mostly want them: ICA, short responses."""
    chosen: dict[str, Any] = {"max_new_tokens": NEW_TOKENS, **others}
    if chosen.get("backend") != "server":
        chosen.setdefault("dtype", "float32")
    if "like" not in chosen:
        chosen.setdefault("method", "ica")
    return GenerateSettings(model=str(model), data=str(data), output=output, **chosen)
