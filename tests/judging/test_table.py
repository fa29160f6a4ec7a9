"""Several comparisons side by side."""

import json
from pathlib import Path
from typing import Any

import pytest

from alignx.errors import DataError
from alignx.judging.settings import TableSettings
from alignx.judging.table import Entry, correct, table
from alignx.settings import parse
from tests.judging.comparing import by_chance, good, judged, poor, responses, two, world
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
    assert "candidate under ICA against baseline under ICA, PRISM: " in said
    assert "64.71" in (tmp_path / "table" / "win-rates.md").read_text()


def test_what_was_judged_otherwise_or_changed_or_is_there_twice_is_refused(tmp_path: Path) -> None:
    first, second = runs(tmp_path)
    output = tmp_path / "table"
    with pytest.raises(DataError, match="the same comparison on the same records"):
        table(TableSettings(runs=(first, first), output=output))
    judged(tmp_path / "other", two(tmp_path, 8), by_chance, orders="first")
    with pytest.raises(DataError, match=r"judged otherwise: settings\.orders"):
        table(TableSettings(runs=(first, tmp_path / "other"), output=output))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="holds something else"):
        table(TableSettings(runs=(first,), output=tmp_path / "notes"))
    (second / "pairs.jsonl").write_text("")
    with pytest.raises(DataError, match="was changed since"):
        table(TableSettings(runs=(first, second), output=output))
    with pytest.raises(DataError, match="holds 'win-rate', expected a report"):
        table(TableSettings(runs=(first,), output=first))
    with pytest.raises(DataError, match="unfinished"):
        table(TableSettings(runs=(tmp_path,), output=output))


def rows_of(tmp_path: Path, *folders: Path) -> list[dict[str, Any]]:
    table(TableSettings(runs=folders, output=tmp_path / "table"))
    rows = json.loads((tmp_path / "table" / "win-rates.json").read_text())["rows"]
    assert isinstance(rows, list)
    return rows


def test_files_of_a_benchmark_are_one_row_only_where_it_is_named(tmp_path: Path) -> None:
    named, nameless = [], []
    for name, number in (("one", 20), ("two", 30)):
        (tmp_path / name).mkdir()
        flags = two(tmp_path / name, number)
        for folders, more in ((named, {"benchmark": "PRISM"}), (nameless, {})):
            folders.append(tmp_path / name / f"out{len(more)}")
            judged(folders[-1], flags, **more)
    (one,) = rows_of(tmp_path, *named)
    assert (one["benchmark"], one["pairs"], one["parts"]) == ("PRISM (2 files)", 50, 2)
    rows = rows_of(tmp_path, *nameless)
    assert [(row["benchmark"], row["pairs"]) for row in rows] == [
        (f"data, {nameless[0]}", 20),
        (f"data, {nameless[1]}", 30),
    ]


def test_models_that_share_a_name_are_not_taken_for_each_other(tmp_path: Path) -> None:
    """The same file names and folder names; other weights."""
    folders = []
    for weights in ("a", "b"):
        (tmp_path / weights).mkdir()
        data = world(tmp_path / weights, 12)
        flags = {
            "data": str(data),
            "candidate": responses(data, tmp_path / weights / "x.jsonl", good, name=f"runs/{weights}/ica"),
            "baseline": responses(data, tmp_path / weights / "y.jsonl", poor, name="base"),
        }
        judged(tmp_path / weights / "out", flags, benchmark="PRISM")
        folders.append(tmp_path / weights / "out")
    assert [(row["candidate"], row["benchmark"]) for row in rows_of(tmp_path, *folders)] == [
        ("ica", f"PRISM, {folders[0]}"),
        ("ica", f"PRISM, {folders[1]}"),
    ]
    both = {"data": str(data), "candidate": flags["candidate"]}
    both["baseline"] = responses(data, tmp_path / "b" / "z.jsonl", poor, name="runs/a/ica")
    judged(tmp_path / "against", both)
    about = json.loads((tmp_path / "against" / "win-rate.json").read_text())["about"]
    assert (about["candidate"], about["baseline"]) == ("ica, of runs/b/ica", "ica, of runs/a/ica")


def test_folders_are_given_with_commas() -> None:
    found = parse(TableSettings, ["--runs", "a,b", "--output", "o"], "x")
    assert found.runs == (Path("a"), Path("b"))
