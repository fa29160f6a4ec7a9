"""Records, and one finished scores file, for the evaluation's tests."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.scores import score
from alignx.evaluation.settings import ScoreSettings
from alignx.records.world.synthesize import SynthesizeSettings, synthesize
from tests.worlds import sample_records, write_jsonl


@pytest.fixture(scope="session")
def rows() -> list[dict[str, Any]]:
    """Eleven records with their own ids, among them one without a persona and two with the same target."""
    return [{"id": f"r{i}", **row} for i, row in enumerate(sample_records(11, seed=7))]


@pytest.fixture(scope="session")
def data(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, as a file."""
    return write_jsonl(tmp_path_factory.mktemp("evaluation") / "records.jsonl", rows)


@pytest.fixture(scope="session")
def scored(tiny_model: Path, data: Path) -> Path:
    """Scores of the stand-in; treat them as read-only."""
    return score(settings(tiny_model, data, data.with_name("scored.jsonl")))


def settings(model: Path, data: Path, output: Path, **others: Any) -> ScoreSettings:
    """Settings as the tests mostly want them: ICA, one prompt at a time."""
    chosen: dict[str, Any] = {"batch_tokens": 1, "dtype": "float32", **others}
    if "like" not in chosen:
        chosen.setdefault("method", "ica")
    return ScoreSettings(model=str(model), data=str(data), output=output, **chosen)


@pytest.fixture(scope="session")
def little(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world of four test users with one label in eight wrong, the stand-in, and two policies near it; read-only."""
    folder = tmp_path_factory.mktemp("little")
    short = {"comments": 2, "choices": 1, "mentions": (1.0,)}  # prompts, since reading them is what takes time
    synthesize(SynthesizeSettings(output=folder / "world", train=24, test=16, label_noise=0.125, **short))
    shutil.copytree(tiny_model, folder / "tiny")
    for seed, name in enumerate(("one", "two")):
        perturbed(tiny_model, folder / name, seed)
    return folder


def perturbed(model: Path, folder: Path, seed: int) -> Path:
    """A copy of a model whose weights are a little different."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, folder, dirs_exist_ok=True)
    weights = load_file(model / "model.safetensors")
    noise = torch.Generator().manual_seed(seed)
    moved = {name: each + 0.01 * torch.randn(each.shape, generator=noise) for name, each in weights.items()}
    save_file(moved, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def cell(label: str, data: str = "world/test.jsonl", **others: Any) -> dict[str, Any]:
    """A row of an evaluation, as it stands in a configuration."""
    return {"label": label, "data": data, **others}


def evaluation(root: Path, output: Path, *cells: dict[str, Any], **others: Any) -> EvaluateSettings:
    """An evaluation of the little world's two policies: ``One`` by ICA, ``Two`` by PBA."""
    policies = [
        {"name": "One", "model": "one", "method": "ica"},
        {"name": "Two", "model": "two", "method": "pba"},
    ]
    values: dict[str, Any] = {
        "policies": policies,
        "reference": "tiny",
        "cells": cells or [cell("own")],
        "root": root,
        "output": output,
        "batch_tokens": 4_000,
        "dtype": "float32",
        **others,
    }
    return EvaluateSettings.model_validate(values)
