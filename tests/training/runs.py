"""What the tests of training share: small runs on the CPU, in this process, and log-probabilities by the definition."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

from alignx.training.settings import TrainSettings
from tests.worlds import sample_records

LONGEST = 40
"""Characters of a text in :func:`short_records`."""


def settings(model: Path, data: Path, output: Path, **others: Any) -> TrainSettings:
    """Settings as the tests mostly want them: ICA in float32, batches of 2 × 2 pairs, a rate that moves a stand-in."""
    chosen: dict[str, Any] = {
        "method": "ica",
        "global_batch": 4,
        "micro_batch": 2,
        "learning_rate": 1e-3,
        "gradient_checkpointing": False,
        "dtype": "float32",
        **others,
    }
    return TrainSettings(model=str(model), data=str(data), output=output, **chosen)


def short_records(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """The rows of :func:`sample_records` with every text cut short, so that a step takes a tenth of a second."""

    def cut(value: Any) -> Any:
        if isinstance(value, str):
            return value[:LONGEST]
        if isinstance(value, dict):
            return {name: cut(part) for name, part in value.items()}
        return [cut(part) for part in value] if isinstance(value, list) else value

    return [cut(row) for row in sample_records(n, seed)]


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The lines of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def losses(output: Path) -> list[float]:
    """The training loss of each step."""
    return [line["loss"] for line in read_jsonl(output / "metrics.jsonl") if "loss" in line]


def batches(output: Path, rank: int = 0) -> list[list[str]]:
    """Ids of the records of each forward of a process, in order."""
    return [line["ids"] for line in read_jsonl(output / f"batches-{rank}.jsonl")]


def snapshot(folder: Path) -> dict[str, str]:
    """Digest and time of change of every file in a folder; lock files aside."""
    return {
        str(path.relative_to(folder)): f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_mtime_ns}"
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def planted(n: int, vocabulary: int, seed: int = 0, first: int = 20) -> dict[str, list[Any]]:
    """Columns of encoded pairs that no tokenizer made: any ids below ``vocabulary``, control tokens among them.

    The first prompt has ``first`` tokens, the others 2 to 30, responses 1 to 9.
    """
    rng = random.Random(seed)

    def ids(length: int) -> list[int]:
        return [rng.randrange(vocabulary) for _ in range(length)]

    return {
        "id": [f"planted-{row}" for row in range(n)],
        "row": list(range(n)),
        "prompt_ids": [ids(first if row == 0 else rng.randint(2, 30)) for row in range(n)],
        "chosen_ids": [ids(rng.randint(1, 9)) for _ in range(n)],
        "rejected_ids": [ids(rng.randint(1, 9)) for _ in range(n)],
    }


def trainer_on(model: Path, columns: dict[str, list[Any]], output: Path, **others: Any) -> Any:
    """The project's trainer on encoded pairs, without the run around it.

    Args:
        model: Folder to load policy and reference from.
        columns: Of the training data.
        output: TRL's ``output_dir``.
        others: As for :func:`trainer_of`.
    """
    from transformers import AutoModelForCausalLM

    policy = AutoModelForCausalLM.from_pretrained(model, dtype="float32")
    return trainer_of(policy, None, model, columns, output, **others)


def trainer_of(
    policy: Any, reference: Any, tokenizer: Path, columns: dict[str, list[Any]], output: Path, **others: Any
) -> Any:
    """The project's trainer on models that are there already.

    Args:
        policy: The model to train.
        reference: The model to compare it with; None leaves it to TRL.
        tokenizer: Folder to load the tokenizer from.
        columns: Of the training data.
        output: TRL's ``output_dir``.
        others: Fields of ``DPOConfig``; ``eval_columns`` are the columns of evaluation data, and ``shared_prefix`` and
            ``peft_config`` go to the trainer.
    """
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import DPOConfig

    from alignx.training.trainer import EncodedDPOTrainer, RowCollator

    evaluation = others.pop("eval_columns", None)
    own = {name: others.pop(name) for name in ("shared_prefix", "peft_config") if name in others}
    processing = AutoTokenizer.from_pretrained(tokenizer)
    config: dict[str, Any] = {
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 2,
        "max_length": None,
        "remove_unused_columns": False,
        "bf16": False,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        **others,
    }
    return EncodedDPOTrainer(
        model=policy,
        ref_model=reference,
        args=DPOConfig(output_dir=str(output), **config),
        data_collator=RowCollator(processing.pad_token_id),
        train_dataset=Dataset.from_dict(columns),
        eval_dataset=Dataset.from_dict(evaluation) if evaluation else None,
        processing_class=processing,
        record_ids=columns["id"],
        **own,
    )


def first_batch(trainer: Any, rows: int = 2) -> dict[str, Any]:
    """The first rows of the training data, collated."""
    batch: dict[str, Any] = trainer.data_collator([trainer.train_dataset[row] for row in range(rows)])
    return batch


def response_logp(model: Any, prompt_ids: list[int], response_ids: list[int]) -> float:
    """Log-probability of a response by definition: alone, unpadded, full softmax in float64, token by token."""
    import torch

    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt_ids + response_ids])).logits[0].double()
    logps = logits.log_softmax(dim=-1)
    return sum(logps[len(prompt_ids) - 1 + i, token].item() for i, token in enumerate(response_ids))
