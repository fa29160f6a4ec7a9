"""Several comparisons side by side."""

import json
from pathlib import Path
from typing import Any

import pytest

from alignx.errors import DataError
from alignx.judging.settings import TableSettings
from alignx.judging.table import Entry, correct, table
from alignx.settings import parse
from tests.judging.comparing import by_chance, judged, two
from tests.judging.test_rates import LOST, TIED, WON, pair


def entry(*parts: list[Any]) -> Entry:
    return Entry("a", "b", "bench", parts, None)


def test_files_of_one_benchmark_count_alike_whatever_their_size() -> None:
    """Nine of ten won and one of two: not ten of twelve but the mean of 90 % and 50 %."""
    large = [pair(f"a{number}", *(WON if number else LOST)) for number in range(10)]
    small = [pair("b0", *WON), pair("b1", *LOST), pair("b2", None, None)]
    found = entry(large, small)
    assert found.win_rate is not None
    assert found.win_rate.mean == pytest.approx(0.7)
    assert found.count(lambda one: one.verdict is None) == 1
    assert entry(large).win_rate.mean == pytest.approx(0.9)  # type: ignore[union-attr]


def test_a_benchmark_of_which_a_file_has_no_verdict_has_no_rate() -> None:
    lost = entry([pair("a", *WON)], [pair("b", None, None)])
    assert lost.win_rate is None
    assert entry([pair("a", *WON)], [pair("b", *TIED)]).decided is None
    assert [p != p for p in correct([lost])] == [True]


def runs(tmp_path: Path) -> list[Path]:
    folders = []
    for name, number in (("one", 20), ("two", 30)):
        (tmp_path / name).mkdir()
        more = {"benchmark": "PRISM", "published": "AlignXpert-ICA vs base"} if name == "one" else {}
        judged(tmp_path / name / "out", two(tmp_path / name, number), **more)
        folders.append(tmp_path / name / "out")
    return folders


def test_each_comparison_has_a_row_with_the_published_figure_and_a_corrected_p(tmp_path: Path) -> None:
    folders = runs(tmp_path)
    said = table(TableSettings(runs=tuple(folders), output=tmp_path / "table"))
    found = json.loads((tmp_path / "table" / "win-rates.json").read_text())
    assert [row["benchmark"] for row in found["rows"]] == ["PRISM", "data"]
    assert [row["published"] for row in found["rows"]] == [64.71, None]
    alone = [json.loads((folder / "win-rate.json").read_text())["overall"] for folder in folders]
    assert [row["win_rate"] for row in found["rows"]] == [one["win_rate"] for one in alone]
    assert sorted(row["p_corrected"] for row in found["rows"])[0] == pytest.approx(2 * min(one["p"] for one in alone))
    assert "candidate ICA against baseline ICA, PRISM: " in said
    assert "64.71" in (tmp_path / "table" / "win-rates.md").read_text()


def test_what_was_judged_otherwise_or_changed_or_is_there_twice_is_refused(tmp_path: Path) -> None:
    first, second = runs(tmp_path)
    output = tmp_path / "table"
    with pytest.raises(DataError, match="the same comparison on the same records"):
        table(TableSettings(runs=(first, first), output=output))
    judged(tmp_path / "other", two(tmp_path, 8), by_chance, orders="first")
    with pytest.raises(DataError, match=r"judged otherwise: settings\.orders"):
        table(TableSettings(runs=(first, tmp_path / "other"), output=output))
    (second / "pairs.jsonl").write_text("")
    with pytest.raises(DataError, match="was changed since"):
        table(TableSettings(runs=(first, second), output=output))
    with pytest.raises(DataError, match="holds 'win-rate', expected a report"):
        table(TableSettings(runs=(first,), output=first))
    with pytest.raises(DataError, match="unfinished"):
        table(TableSettings(runs=(tmp_path,), output=output))


def test_folders_are_given_with_commas() -> None:
    found = parse(TableSettings, ["--runs", "a,b", "--output", "o"], "x")
    assert found.runs == (Path("a"), Path("b"))
