"""Records, and one finished scores file, for the evaluation's tests."""

from pathlib import Path
from typing import Any

import pytest

from alignx.evaluation.scores import score
from alignx.evaluation.settings import ScoreSettings
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
    """Settings as the tests mostly want them: ICA, one pair at a time."""
    chosen: dict[str, Any] = {"batch_size": 1, "dtype": "float32", **others}
    if "like" not in chosen:
        chosen.setdefault("method", "ica")
    return ScoreSettings(model=str(model), data=str(data), output=output, **chosen)
