"""What the files of an evaluation hold, read once, and how the report says it."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from alignx.errors import DataError
from alignx.evaluation.report.files import files
from alignx.evaluation.sources import Sources
from alignx.pages import Note, Table
from tests.evaluation.conftest import evaluation
from tests.worlds import sample_records, write_jsonl


@pytest.fixture
def leaking(tmp_path: Path) -> Path:
    """Eight records, of which one has its own choice in its history and two share a target."""
    rows: list[dict[str, Any]] = [{"id": f"r{i}", **row} for i, row in enumerate(sample_records(8, seed=7))]
    target = {name: rows[2][name] for name in ("prompt", "chosen", "rejected")}
    rows[2]["Pair-wise Comparative Feedback"] = [*rows[2].get("Pair-wise Comparative Feedback", []), target]
    rows[5].update(target)
    return write_jsonl(tmp_path / "leaking.jsonl", rows)


def test_a_file_is_counted_by_hand(leaking: Path) -> None:
    sources = Sources(evaluation(leaking.parent, leaking.parent / "out"))
    health = sources.health(leaking.name)
    assert (health.records, len(health.targets), health.contains_own_target) == (8, 6, ["r2"]), (
        "the sample repeats one, and here another is repeated"
    )
    note, table = files({leaking.name: 600}, {leaking.name: health})
    assert isinstance(note, Note)
    assert note.text.startswith("leaking.jsonl: the history of 1 of 8 records contains the very choice that is asked")
    assert "`r2`" in note.text
    assert isinstance(table, Table)
    cells = dict(zip(table.columns, table.lines[0].cells, strict=True))
    assert (cells["records"], cells["expected"], cells["distinct targets"]) == ("8", "600", "6")
    assert cells["own target in the history"] == "1"


def test_a_file_is_read_once_and_only_as_far_as_it_is_measured(leaking: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alignx.records import Records

    read, inner = Counter[str](), Records.__iter__

    def counted(self: Records) -> Any:
        read[self.source] += 1
        return inner(self)

    monkeypatch.setattr(Records, "__iter__", counted)
    sources = Sources(evaluation(leaking.parent, leaking.parent / "out", limit=3))
    assert list(sources.records(leaking.name)) == ["r0", "r1", "r2"]
    assert sources.health(leaking.name).records == 3
    assert sources.health(leaking.name) is sources.health(leaking.name)
    assert read == {str(leaking): 1}


def test_an_unknown_expected_number_is_a_dash_and_nothing_is_said_of_no_file(leaking: Path) -> None:
    health = Sources(evaluation(leaking.parent, leaking.parent / "out")).health(leaking.name)
    (*_, table) = files({}, {leaking.name: health})
    assert isinstance(table, Table)
    assert table.lines[0].cells[2] == "–"
    assert files({}, {}) == []


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.jsonl"):
        Sources(evaluation(tmp_path, tmp_path / "out")).health(str(tmp_path / "nowhere.jsonl"))
