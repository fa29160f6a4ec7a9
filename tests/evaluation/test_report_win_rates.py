"""A judge's win rates as a part of the report."""

import json
from pathlib import Path

import pytest

from alignx import manifest
from alignx.errors import DataError
from alignx.evaluation.report.win_rates import CAVEAT, win_rates
from alignx.intervals import clustered_mean
from alignx.manifest import Manifest
from alignx.pages import Definitions, Figure, Fold, Note, Paragraph, Table

RATE = clustered_mean([1.0, 1.0, 0.0, 1.0], ["a", "b", "c", "d"]).as_dict()
ROW = {
    "candidate": "ICA",
    "baseline": "base",
    "benchmark": "PRISM",
    "pairs": 5,
    "unjudged": 1,
    "win_rate": RATE,
    "win_rate_without_ties": RATE,
    "position_consistency": None,
    "p_corrected": 0.25,
    "published": 64.71,
    "doubts": [],
    "reports": ["runs/prism/win-rate.html"],
}


def written(folder: Path, *rows: dict[str, object]) -> Path:
    folder.mkdir()
    path = folder / "win-rates.json"
    path.write_text(json.dumps({"judge": {"judge_model": "a-judge"}, "rows": rows}), encoding="utf-8")
    manifest.write(folder, Manifest(kind="report", settings={}, files={path.name: manifest.file_digest(path)}))
    return folder


def cells(table: Table, number: int) -> tuple[str, ...]:
    row = table.rows[number]
    assert isinstance(row, tuple)
    return row


def test_a_finished_table_is_a_table_a_plot_and_its_notes(tmp_path: Path) -> None:
    doubted = ROW | {"doubts": ["The judge prefers what is shown first."]}
    said, table, figure, few, doubt, caveat, pages = win_rates(written(tmp_path / "table", doubted))
    assert isinstance(said, Paragraph)
    assert "judged by a-judge" in said.text
    assert isinstance(table, Table)
    low, high = (f"{100 * RATE[end]:.1f}" for end in ("low", "high"))
    assert table.rows == [
        ("ICA against base", "PRISM", "5", "1", "75.0", f"[{low}, {high}]", "75.0", "64.71", "–", "0.25")
    ]
    assert len(table.columns) == len(table.align) == 10
    assert isinstance(figure, Figure)
    assert figure.alt == f"ICA against base, PRISM: 75.0 % [{low}, {high}]"
    assert isinstance(few, Note)
    assert "fewer than 30 clusters" in few.text
    assert doubt == Note("ICA against base, PRISM: The judge prefers what is shown first.")
    assert caveat == Note(CAVEAT)
    assert isinstance(pages, Fold)
    assert pages.blocks == [Definitions([("ICA against base, PRISM", "`runs/prism/win-rate.html`")])]


def test_where_nothing_is_published_there_is_no_column_for_it(tmp_path: Path) -> None:
    _, table, *rest = win_rates(written(tmp_path / "table", ROW | {"published": None}))
    assert isinstance(table, Table)
    assert "paper, %" not in table.columns
    assert len(table.columns) == len(table.align) == len(cells(table, 0)) == 9
    assert Note(CAVEAT) not in rest


def test_a_row_without_a_rate_is_in_the_table_and_not_in_the_plot(tmp_path: Path) -> None:
    lost = ROW | {"win_rate": None, "win_rate_without_ties": None, "p_corrected": None}
    _, table, figure, *_ = win_rates(written(tmp_path / "table", ROW | {"benchmark": "P-Soups"}, lost))
    assert isinstance(table, Table)
    assert isinstance(figure, Figure)
    assert cells(table, 1)[4:7] == ("–", "–", "–")
    assert cells(table, 1)[-1] == "–"
    assert "PRISM" not in figure.alt
    assert "P-Soups" in figure.alt


def test_what_is_not_there_yet_is_said_and_what_was_changed_is_refused(tmp_path: Path) -> None:
    (said,) = win_rates(tmp_path / "none")
    assert isinstance(said, Paragraph)
    assert "Not there yet" in said.text
    assert "judge table" in said.text
    folder = written(tmp_path / "table", ROW)
    (folder / "win-rates.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match=r"was changed since it was written; make it again with `alignx judge table`"):
        win_rates(folder)
