"""The report's tables of benchmarks: the paper's layout, files, gains, what the paper prints, how numbers were made."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from alignx.errors import DataError, SettingsError
from alignx.evaluation.columns import Entry, entries
from alignx.evaluation.grid import evaluate
from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.outcomes import Empty, Outcome, compare_all
from alignx.evaluation.published import published_rows
from alignx.evaluation.report.apart import _brief, _growths, _published_growth, _turns
from alignx.evaluation.report.by_benchmark import by_benchmark, details, gains
from alignx.evaluation.report.by_file import MACRO, MICRO, by_file
from alignx.evaluation.report.by_history import by_history
from alignx.evaluation.report.by_reference import by_reference
from alignx.evaluation.report.by_reversal import overview
from alignx.evaluation.report.layout import laid_out, measured, short_or_folded
from alignx.evaluation.report.main_table import main_table, published_of
from alignx.evaluation.report.printed import printed, printed_rows
from alignx.evaluation.report.provenance import provenance
from alignx.intervals import Estimate, clustered_mean
from alignx.pages import Definitions, Figure, Fold, Note, Paragraph, Row, Table
from alignx.pages.inline import plain
from alignx.settings import validate
from tests.evaluation.breakdown import test_reversal
from tests.evaluation.breakdown.moved import moved
from tests.evaluation.breakdown.test_sections import blocks_of, said
from tests.evaluation.conftest import evaluation
from tests.evaluation.test_report import outcome

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "configs/eval/benchmarks"
OWN, OTHER, NONE = (
    {"name": "own persona"},
    {"name": "another's", "persona": "other"},
    {"name": "none", "persona": "none"},
)
GOLDEN = {"name": "golden profile", "profile": "golden", "role": "oracle", "method": "pba"}
RIGHT, HALF, WRONG = (1.0, 1.0, 1.0, 1.0), (1.0, 1.0, -1.0, -1.0), (-1.0, -1.0, -1.0, -1.0)
POLICIES = [
    {"name": "ICA", "model": "ica", "method": "ica", "published": "AlignXpert-ICA 7%"},
    {"name": "PBA", "model": "pba", "method": "pba"},
]


def suite(*benchmarks: Path, conditions: Sequence[dict[str, Any]] = (OWN,), **others: Any) -> EvaluateSettings:
    """Settings of the shipped benchmarks, which are not read."""
    values = {"policies": POLICIES, "reference": "base", "output": "out", "examples": 0, **others}
    return validate(EvaluateSettings, {**values, "benchmarks": list(benchmarks), "conditions": list(conditions)})


def measured_here(
    settings: EvaluateSettings, margins: dict[str, Sequence[float]], missing: Sequence[str] = ()
) -> tuple[list[Outcome], list[Empty]]:
    """Every row, with the margins that stand under its condition; parts called in ``missing`` could not be read."""
    outcomes, empty = [], []
    for policy in settings.policies:
        for cell in settings.cells_of(policy.name):
            if cell.part in missing:
                empty.append(Empty(policy, cell, f"{cell.data}: no such file"))
            else:
                made = outcome(policy.name, cell.label, margins[cell.condition])
                outcomes.append(replace(made, policy=policy, cell=cell))
    return outcomes, empty


def found(settings: EvaluateSettings, missing: Sequence[str] = (), **margins: Sequence[float]) -> list[Entry]:
    """Entries of margins by condition; a condition's name has underscores for spaces."""
    by_name = {name.replace("_", " "): values for name, values in margins.items()}
    known = {condition.name: by_name.get(condition.name, HALF) for condition in settings.conditions}
    return entries(settings, *measured_here(settings, known, missing))


def rows_of(table: Table) -> dict[str, tuple[str, ...]]:
    """Numbers by name; a line below by the name of its row too."""
    above, made = "", {}
    for row in table.lines:
        name = row.cells[0]
        made[f"{above}: {name}" if row.mark == "below" else name] = tuple(row.cells[1:])
        above = above if row.mark == "below" else name
    return made


def table_of(blocks: Sequence[Any], number: int = 0) -> Table:
    found: Table = blocks_of(Table, blocks)[number]
    return found


# The paper's layout


def test_the_main_table_has_the_papers_rows_in_its_columns_and_own_rows_with_their_intervals() -> None:
    settings = suite(SHIPPED / "p-soups.yaml", SHIPPED / "alignx-test.yaml")
    table = table_of(main_table(settings, found(settings)))
    assert table.columns == ("model", "P-Soups", "AlignX UGC", "AlignX PAIR", "AlignX DEMO", "AlignX all")
    rows = rows_of(table)
    assert rows["Llama-3-8B-Instruct (published)"] == ("49.44", "50.32", "50.11", "48.12", "48.84")
    assert rows["VPL 7 % (published)"] == ("45.45", "–", "–", "50.30", "–")
    assert rows["AlignXpert-PBA 100 % (published)"] == ("81.69", "57.83", "59.66", "88.46", "71.10")
    assert rows["AlignXpert-PBA golden 100 % (oracle) (published)"] == ("–", *["91.36"] * 4)
    assert rows["ICA"] == ("50.0",) * 5
    # each file: half of four users, as worked out in test_report: 50.0 [6.1, 93.9]; P-Soups' parts share their users
    assert rows["ICA: 95 % interval"] == ("[6.1, 93.9]",) * 5
    assert rows["n"] == ("12", *["4"] * 4)
    assert rows["n: n, expected"] == ("1802", *["3716"] * 4)
    assert "P-Soups: the mean of the files' accuracies" in table.caption
    assert "Table 3" in table.caption


def test_every_published_number_of_a_shipped_benchmark_is_in_the_main_table() -> None:
    settings = suite(*(SHIPPED / f"{name}.yaml" for name in ("uf-p-4", "prism", "p-soups", "alignx-test")))
    table = table_of(main_table(settings, found(settings)))
    numbers = [cell for row in table.lines if row.mark == "control" for cell in row.cells[1:] if cell != "–"]
    assert sorted(numbers) == sorted(f"{row.value:.2f}" for row in published_rows(table=3))


def test_own_rows_are_bold_published_ones_are_not_and_an_oracle_is_called_one() -> None:
    settings = suite(SHIPPED / "prism.yaml", conditions=[OWN, GOLDEN, OTHER])
    table = table_of(main_table(settings, found(settings)))
    marks = {row.cells[0]: row.mark for row in table.lines if row.mark != "below"}
    assert (marks["ICA"], marks["PBA"]) == ("strong", "strong")
    assert marks["PBA, golden profile (oracle)"] == ""
    assert marks["Qwen2.5-7B-Instruct (published)"] == "control"
    assert not [name for name in marks if "another" in name], "controls are elsewhere"
    assert "An oracle is told the direction of the very pair" in table.caption


def test_without_published_columns_there_are_no_published_rows(tmp_path: Path) -> None:
    settings = suite(column(tmp_path, "Mine"))
    table = table_of(main_table(settings, found(settings)))
    assert list(rows_of(table)) == ["ICA", "ICA: 95 % interval", "PBA", "PBA: 95 % interval", "n"]
    assert "paper" not in table.caption


def test_the_papers_table_5_is_laid_out_like_table_3() -> None:
    settings = suite(SHIPPED / "novel.yaml")
    rows = rows_of(table_of(main_table(settings, found(settings))))
    assert rows["AlignXpert-PBA + PBA 6355 pairs (published)"] == ("53.73",)
    named = {"name": "Mine", "model": "m", "method": "pba", "published": "AlignXpert-PBA + PBA 6355 pairs"}
    settings = suite(SHIPPED / "novel.yaml", policies=[named])
    (entry,) = found(settings)
    paper = published_of(entry.policy, entry)
    assert paper is not None
    assert paper.value == 53.73


def test_a_policy_with_two_own_conditions_has_two_rows(tmp_path: Path) -> None:
    settings = suite(column(tmp_path, "Mine"), conditions=[OWN, {"name": "released", "preset": "released-eval"}])
    rows = rows_of(table_of(main_table(settings, found(settings, own_persona=RIGHT, released=WRONG))))
    assert rows["ICA, own persona"] == ("100.0",)
    assert rows["ICA, released"] == ("0.0",)


def test_a_published_number_stands_beside_its_own_condition_only() -> None:
    settings = suite(SHIPPED / "prism.yaml", conditions=[OWN, OTHER])
    own, other, *_ = found(settings, missing=["PRISM"])
    assert (own.condition, other.condition) == ("own persona", "another's")
    assert published_of(own.policy, own) is not None
    assert published_of(other.policy, other) is None, "also when nothing could be measured"


def column(folder: Path, name: str, *parts: str, **others: Any) -> Path:
    path = folder / f"{name}.yaml"
    made = [{"name": part, "data": f"{part}.jsonl"} for part in parts or ("only",)]
    path.write_text(yaml.safe_dump({"columns": [{"name": name, "parts": made, **others}]}))
    return path


# What is missing, and what must be known


def test_a_missing_file_is_a_dash_with_a_note_and_its_reason_folded() -> None:
    settings = suite(SHIPPED / "p-soups.yaml")
    blocks = main_table(settings, found(settings, missing=["Style"]))
    rows = rows_of(table_of(blocks))
    assert (rows["ICA"], rows["ICA: 95 % interval"], rows["n"]) == (("–",), ("–",), ("–",))
    assert rows["n: n, expected"] == ("1802",)
    note = next(block for block in blocks if isinstance(block, Note))
    assert "2 rows are missing, of P-Soups." in note.text
    (fold,) = [block for block in blocks if isinstance(block, Fold)]
    assert fold.title == "Why 2 rows could not be measured"
    assert "ICA, P-Soups Style, own persona; PBA, P-Soups Style, own persona" in said(fold.blocks)
    assert "friendly_unfriendly.json: no such file." in said(fold.blocks)


def test_another_number_of_records_than_published_is_said_unless_only_some_were_asked_for() -> None:
    settings = suite(SHIPPED / "prism.yaml")
    assert "PRISM: 4 records, 868 are expected" in said(main_table(settings, found(settings)))
    some = suite(SHIPPED / "prism.yaml", limit=4)
    blocks = main_table(some, found(some))
    assert "868" not in said(blocks)
    assert "Only the first 4 records of each file were read." in table_of(blocks).caption


def test_a_policy_that_is_its_reference_is_said_to_be_all_ties_once(tmp_path: Path) -> None:
    settings = suite(column(tmp_path, "Mine", "a", "b"))
    text = said(main_table(settings, found(settings, own_persona=(0.0, 0.0, 0.0))))
    assert text.count("Every item is a tie") == 1
    assert "(ICA, PBA)." in text
    settings = suite(column(tmp_path, "Mine"), conditions=[OWN, OTHER])
    margins = {"own persona": HALF, "another's": (0.0, 0.0)}
    text = said(main_table(settings, entries(settings, *measured_here(settings, margins))))
    assert "(ICA in 1 of 2 rows, PBA in 1 of 2 rows)" in text


def test_what_a_column_measures_stands_below_the_table_with_the_targets_that_are_repeated() -> None:
    settings = suite(SHIPPED / "p-soups.yaml", SHIPPED / "alignx-test.yaml")
    made = found(settings)
    repeated = [replace(entry, parts=tuple(map(by_target, entry.parts))) for entry in made]
    notes = dict(blocks_of(Definitions, main_table(settings, repeated))[0].items)
    assert "reading a description of the answer" in notes["AlignX DEMO"]
    assert "365 were distinct" in notes["P-Soups"]
    assert notes["P-Soups"].endswith("Here 12 records have 2 distinct targets, by which intervals are clustered.")
    assert "Here" not in dict(blocks_of(Definitions, main_table(settings, made))[0].items)["P-Soups"], "users are named"


def by_target(one: Outcome) -> Outcome:
    """The same with two targets and no user."""
    scores = {n: s.model_copy(update={"cluster": f"target:{i % 2}"}) for i, (n, s) in enumerate(one.scores.items())}
    return replace(one, scores=scores)


# Chart and details


def test_the_chart_has_the_published_value_beside_and_the_details_the_expected_n() -> None:
    settings = suite(SHIPPED / "prism.yaml", conditions=[OWN, OTHER])
    blocks = [*by_benchmark(settings, found(settings)), *details(found(settings))]
    (figure,) = blocks_of(Figure, blocks)
    assert figure.alt == "PRISM, ICA: 50.0 % (published 76.69 %); PRISM, PBA: 50.0 %"
    assert ">published<" in figure.svg
    (fold,) = [block for block in blocks if isinstance(block, Fold)]
    assert fold.title.startswith("Every condition in numbers: 4 rows, 2 conditions")
    table = table_of(fold.blocks)
    row = dict(zip(table.columns, table.lines[1].cells, strict=True))
    assert row == {
        **{"policy": "ICA", "column": "PRISM", "condition": "another's", "accuracy": "50.0"},
        **{"95 % interval": "[6.1, 93.9]", "n": "4", "expected n": "868", "clusters": "4", "ties": "0"},
    }
    assert "No record was skipped" in said(fold.blocks)


def test_without_entries_there_is_nothing() -> None:
    assert by_benchmark(suite(SHIPPED / "prism.yaml"), []) == []
    assert gains([]) == []


def test_details_have_a_dash_where_no_n_is_published(tmp_path: Path) -> None:
    settings = suite(column(tmp_path, "Mine"))
    (fold,) = details(found(settings))
    assert table_of([fold]).lines[0].cells[6] == "–"


# What the own persona adds


def test_a_gain_by_hand() -> None:
    settings = suite(SHIPPED / "prism.yaml", conditions=[OWN, OTHER, NONE])
    made = found(settings, **{"own_persona": RIGHT, "another's": HALF, "none": WRONG})
    blocks = gains(made)
    rows = rows_of(table_of(blocks))
    # right four times against twice: differences 0, 0, 1, 1 of four users; residuals ±1/2 as in test_report: half is
    # 3.18245 · √(1/12) = 0.919, and a difference has no bounds
    assert rows["ICA"] == ("+50.0",)
    assert rows["ICA: 95 % interval"] == ("[-41.9, +141.9]",)
    fold = blocks[1]
    assert isinstance(fold, Fold)
    assert fold.title.startswith("Each of 4 differences")
    each = table_of(fold.blocks)
    assert [(row.cells[2], row.cells[3]) for row in each.lines[:2]] == [("another's", "+50.0"), ("none", "+100.0")]
    # p of t = 0.5 / 0.2887 = 1.732 with 3 degrees is 0.1817; only two of the four have one, and all four count
    assert rows["ICA: p, corrected"] == (each.lines[0].cells[5],)
    assert float(each.lines[0].cells[5]) == pytest.approx(4 * 0.1817, abs=0.001)
    # (t_0.975 + t_0.8) · error = (3.182 + 0.978) · 0.2887 = 1.201
    assert each.lines[0].cells[6] == "120.1"
    assert "corrected for all 4 differences (Holm)" in table_of(blocks).caption


def test_a_gain_needs_both_to_be_measured() -> None:
    settings = suite(SHIPPED / "p-soups.yaml", conditions=[OWN, OTHER])
    assert gains(found(settings, missing=["Style"])) == []


# By file


def test_files_stand_with_both_means_and_the_papers_table_8() -> None:
    settings = suite(SHIPPED / "p-soups.yaml")
    outcomes, empty = measured_here(settings, {"own persona": HALF})
    sizes = {"Expertise": (1.0,) * 8, "Informativeness": (1.0, -1.0), "Style": (-1.0, -1.0)}
    made = [
        replace(outcome(one.policy.name, "x", sizes[one.cell.part]), policy=one.policy, cell=one.cell)
        for one in outcomes
    ]
    (fold,) = by_file(settings, entries(settings, made, empty))
    assert isinstance(fold, Fold)
    assert fold.title == "P-Soups: Expertise, Informativeness, Style"
    table = table_of([fold])
    assert table.columns == ("model", "Expertise", "Informativeness", "Style", MACRO, MICRO)
    rows = rows_of(table)
    # macro (1 + 1/2 + 0) / 3, micro 9 of 12
    assert rows["ICA"] == ("100.0", "50.0", "0.0", "50.0", "75.0")
    assert rows["AlignXpert-ICA 7 % (published)"] == ("85.17", "60.80", "83.67", "76.54", "–")
    assert "AlignXpert-ICA 100 % (published)" not in rows, "Table 8 has no such row"
    assert rows["n"] == ("8", "2", "2", "12", "12")
    assert rows["n: n, expected"] == ("600", "602", "600", "–", "–")
    assert rows["n: distinct targets"] == ("8", "2", "2", "–", "–")
    assert MACRO in table.caption
    assert "Table 8" in table.caption


def test_the_measured_files_of_a_column_stand_though_the_column_cannot() -> None:
    settings = suite(SHIPPED / "p-soups.yaml")
    (block,) = by_file(settings, found(settings, missing=["Style"]))
    assert isinstance(block, Table), "the only numbers there are stand open"
    rows = rows_of(block)
    assert rows["PBA"] == ("50.0", "50.0", "–", "–", "–")
    assert rows["n"] == ("4", "4", "–", "–", "–")
    assert rows["n: n, expected"] == ("600", "602", "600", "–", "–")


def test_files_that_the_paper_does_not_print_stand_alone_with_the_mean_by_records() -> None:
    settings = suite(SHIPPED / "uf-p-4.yaml", SHIPPED / "prism.yaml")
    (fold,) = by_file(settings, found(settings))
    table = table_of([fold])
    assert not [row for row in table.lines if row.mark == "control"]
    assert MICRO in table.caption
    assert "Italic" not in table.caption


def test_a_column_of_one_file_or_of_none_measured_is_not_taken_apart() -> None:
    settings = suite(SHIPPED / "prism.yaml")
    assert by_file(settings, found(settings)) == []
    settings = suite(SHIPPED / "p-soups.yaml")
    assert by_file(settings, found(settings, missing=["Expertise", "Informativeness", "Style"])) == []


# What the paper prints


def test_what_the_paper_prints_is_of_the_benchmarks_that_are_measured() -> None:
    both = suite(SHIPPED / "p-soups.yaml", SHIPPED / "alignx-test.yaml")
    (table,) = printed(both, "6", lambda row: f"{row.benchmark}, {row.metric}", "accuracy and flip.")
    assert isinstance(table, Table)
    assert table.columns[1:] == (*("P-Soups, accuracy", "P-Soups, flip", "AlignX_test, accuracy", "AlignX_test, flip"),)
    assert rows_of(table)["AlignXpert-PBA 7 %"] == ("73.03", "60.73", "57.19", "51.10")
    assert "Table 6): accuracy and flip. Of these: flip not defined exactly in the paper." in table.caption
    one = suite(SHIPPED / "p-soups.yaml")
    (table,) = printed(one, "6", lambda row: row.metric, "accuracy and flip.")
    assert isinstance(table, Table)
    assert table.columns == ("published", "accuracy", "flip")


def test_of_a_figure_it_is_said_how_it_was_read() -> None:
    (table,) = printed(suite(SHIPPED / "alignx-test.yaml"), "F3", lambda row: row.condition, "accuracy.")
    assert isinstance(table, Table)
    assert "Figure 3): accuracy. Of these: read off the plot, within 0.3." in table.caption
    assert rows_of(table)["Mistral-7B-Instruct-v0.2"][:4] == ("47.80", "48.60", "50.20", "49.30")


def test_of_benchmarks_that_the_paper_has_not_nothing_is_printed(tmp_path: Path) -> None:
    assert printed(suite(column(tmp_path, "Mine")), "6", lambda row: row.metric, "x") == []
    assert printed(suite(SHIPPED / "prism.yaml"), "6", lambda row: row.metric, "x") == [], "Table 6 has no PRISM"


def test_a_table_that_the_paper_does_not_have_is_refused() -> None:
    with pytest.raises(SettingsError, match="'12' is nowhere in the paper's tables"):
        printed(suite(SHIPPED / "prism.yaml"), "12", lambda row: row.metric, "x")


def test_printed_rows_keep_the_papers_order_and_have_dashes_where_it_prints_nothing() -> None:
    rows = published_rows(table=3, condition="UGC")
    made = printed_rows(rows, lambda row: row.condition, ["UGC", "other"])
    assert [row.cells[0] for row in made[:2]] == ["Llama-3-8B-Instruct", "Qwen2.5-7B-Instruct"]
    assert {row.cells[2] for row in made} == {"–"}


# Figure 3's lines, and reversal in many rows


def test_figure_3_stands_beside_the_column_of_its_kind_only() -> None:
    settings = suite(SHIPPED / "alignx-test.yaml", SHIPPED / "alignx-test-16.yaml", conditions=sixteen())
    ica, pba = settings.policies
    lines = {column.name: _published_growth(settings, ica, column) for column in settings.columns}
    assert {name for name, line in lines.items() if line} == {"UGC up to 16", "PAIR up to 16"}
    assert lines["PAIR up to 16"] == {2: 53.6, 4: 53.9, 8: 54.3, 16: 54.2}
    assert not any(_published_growth(settings, pba, column) for column in settings.columns), "it is not the paper's"
    alone = suite(SHIPPED / "alignx-test-16.yaml", conditions=sixteen())
    assert not any(_published_growth(alone, ica, column) for column in alone.columns), (
        "whose files these are is unknown"
    )


def sixteen() -> list[dict[str, Any]]:
    return [OWN, *({"name": f"history {n}", "history": n} for n in (0, 1, 2, 4, 8, 16))]


def test_published_lines_are_drawn_without_an_interval_and_count_as_lines_of_the_chart() -> None:
    from alignx.evaluation.breakdown.history import growth

    series = {n: moved({"a": 1.0, "b": -1.0}, history_items=n) for n in (0, 2)}
    made = [growth(f"P{number}", "UGC", series) for number in range(3)]
    paper = {(f"P{number}", "UGC"): {2: 52.5, 4: 53.9} for number in range(3)}
    figures = blocks_of(Figure, by_history(made, paper=paper))
    assert [figure.alt.count("published: 52.5 % with 2, 53.9 % with 4") for figure in figures] == [2, 1]
    assert ">P0, published<" in figures[0].svg
    assert "without intervals" in figures[0].caption
    assert "without intervals" not in blocks_of(Figure, by_history(made))[0].caption


def test_of_many_charts_those_beside_the_papers_are_shown_else_the_first() -> None:
    from alignx.evaluation.breakdown.history import growth

    series = {n: moved({"a": 1.0, "b": -1.0}, history_items=n) for n in (0, 2)}
    made = [growth("ICA", f"S{number}", series) for number in range(6)]
    first = by_history(made)
    assert [block.name for block in first if isinstance(block, Figure)] == [f"history-{n}" for n in (1, 2, 3, 4)]
    assert len(blocks_of(Figure, first)) == 6
    beside = by_history(made, paper={("ICA", "S5"): {2: 52.5}})
    assert [block.name for block in beside if isinstance(block, Figure)] == ["history-6"]
    assert len(blocks_of(Figure, beside)) == 6


def test_a_long_caution_about_histories_is_with_the_numbers() -> None:
    from alignx.evaluation.breakdown.history import growth

    series = {n: moved({"a": 1.0, "b": -1.0}, history_items=1) for n in (1, 2, 4, 8)}
    few = by_history([growth("ICA", "UGC", series)])
    assert "ICA, UGC: 2 of 2 at 2, 2 of 2 at 4" in said([block for block in few if isinstance(block, Note)])
    many = by_history([growth("ICA", f"a column with a name {number}", series) for number in range(12)])
    (note,) = [block for block in many if isinstance(block, Note)]
    assert "the numbers below say which" in note.text
    assert "ICA, a column with a name 11: 2 of 2 at 2, 2 of 2 at 4" in said(blocks_of(Fold, many))


def test_a_row_is_called_briefly_among_those_of_its_column() -> None:
    settings = suite(SHIPPED / "p-soups.yaml", SHIPPED / "prism.yaml")
    outcomes, _ = measured_here(settings, {"own persona": HALF})
    parts = [one for one in outcomes if one.cell.column == "P-Soups"]
    (alone, *_) = whole = [one for one in outcomes if one.cell.column == "PRISM"]
    assert _brief(parts[0], parts) == "ICA, Expertise"
    assert _brief(alone, whole) == "ICA"
    twice = [alone, replace(alone, cell=alone.cell.model_copy(update={"condition": "released"}))]
    assert [_brief(one, twice) for one in twice] == ["ICA, own persona", "ICA, released"]
    by_itself = outcome("ICA", "own")
    assert _brief(by_itself, [by_itself]) == "ICA, own"


def test_each_file_of_a_column_grows_by_itself() -> None:
    settings = suite(SHIPPED / "uf-p-4.yaml", conditions=[{"name": f"history {n}", "history": n} for n in (1, 2)])
    outcomes, _ = measured_here(settings, {"history 1": HALF, "history 2": RIGHT})
    one_policy = [one for one in outcomes if one.policy.name == "ICA"]
    names = ["helpfulness", "honesty", "instruction following", "truthfulness"]
    made = list(_growths([replace(one, scores=told(one), reference=told(one)) for one in one_policy]))
    assert [growth.source for growth in made] == [f"UF-P-4 {name}" for name in names]
    assert [point.items for point in made[0].points] == [1, 2]


def test_a_history_told_in_part_grows_apart_from_the_whole() -> None:
    asked = [
        {"name": f"{told} {n}", "history": n, "tell": told} for told in ("all", "comments,choices") for n in (1, 2)
    ]
    settings = suite(SHIPPED / "prism.yaml", conditions=asked)
    outcomes, _ = measured_here(settings, {condition["name"]: HALF for condition in asked})
    one_policy = [one for one in outcomes if one.policy.name == "ICA"]
    made = list(_growths([replace(one, scores=told(one), reference=told(one)) for one in one_policy]))
    assert [growth.source for growth in made] == ["PRISM", "PRISM, comments and choices told"]
    assert [[point.items for point in growth.points] for growth in made] == [[1, 2]] * 2


def test_a_row_is_turned_by_the_reverse_of_what_it_tells_and_not_of_more() -> None:
    asked = [
        {"name": f"{persona} {told}", "persona": persona, "tell": told}
        for persona in ("own", "reversed")
        for told in ("all", "choices")
    ]
    outcomes, _ = measured_here(suite(SHIPPED / "prism.yaml", conditions=asked), {c["name"]: HALF for c in asked})
    ica = {one.cell.condition: one for one in outcomes if one.policy.name == "ICA"}
    turned = {(a, b) for a in ica for b in ica if _turns(ica[a], ica[b]) and a.startswith("own")}
    assert turned == {("own all", "reversed all"), ("own choices", "reversed choices")}


def test_neither_the_papers_numbers_nor_the_gains_are_of_a_persona_told_in_part() -> None:
    asked = [OWN, {"name": "part", "tell": "choices"}, {"name": "other part", "tell": "choices", "persona": "other"}]
    settings = suite(SHIPPED / "prism.yaml", conditions=asked)
    made = found(settings, part=RIGHT, other_part=HALF)
    policies = [entry.policy.model_copy(update={"published": "AlignXpert-ICA 7%"}) for entry in made]
    known = [published_of(policy, entry) is not None for policy, entry in zip(policies, made, strict=True)]
    assert known == [entry.condition == OWN["name"] for entry in made]
    assert [row for row in rows_of(table_of(main_table(settings, made))) if "part" in row] == []
    assert gains(made) == gains([entry for entry in made if entry.condition == OWN["name"]])


def told(one: Outcome) -> dict[str, Any]:
    """Its scores, told as many items as asked for."""
    return {n: s.model_copy(update={"history_items": one.cell.history}) for n, s in one.scores.items()}


def test_reversal_in_many_rows_is_a_line_each() -> None:
    from alignx.evaluation.breakdown.reversal import reversal

    each = reversal(test_reversal.OWN, test_reversal.TURNED)
    figure, fold = overview({"P-Soups": {"ICA": each}, "PRISM": {"PBA": each}}, {"ICA": "I", "PBA": "P"})
    assert isinstance(figure, Figure)
    assert figure.alt == "P-Soups, I: 50.0 %; PRISM, P: 50.0 %"
    assert ">with the own persona<" in figure.svg
    table = table_of([fold])
    assert table.columns == ("row", "accuracy", "accuracy under reversal", "joint-correct", "any-flip", "n")
    assert [cell.split()[0] for cell in rows_of(table)["PBA"]] == ["50.0", "50.0", "25.0", "37.5", "8"]


# Another reference


def test_references_stand_below_each_other_and_the_papers_table_9_beside() -> None:
    settings = suite(SHIPPED / "p-soups.yaml", references=[{"name": "larger", "model": "x"}])
    made = found(settings)
    assert by_reference(settings, made) == []
    compared = [replace(e, parts=tuple(replace(o, against={"larger": o.found}) for o in e.parts)) for e in made]
    blocks = by_reference(settings, compared)
    tables = blocks_of(Table, blocks)
    assert [row.cells[:3] for row in tables[0].lines[:2]] == [
        ("ICA, P-Soups Expertise, own persona", "base", "50.0"),
        ("ICA, P-Soups Expertise, own persona", "larger", "50.0"),
    ]
    assert rows_of(tables[1])["AlignXpert-ICA 100 %"] == ("59.39",)
    assert "Of these: reference Llama-3-70B-Instruct." in tables[1].caption


# Layout


def test_an_interval_stands_below_its_number_and_nothing_is_a_dash() -> None:
    even = clustered_mean([1.0, 0.0], ["a", "b"])
    rows = measured("ICA", {"A": even, "B": None}, ["A", "B", "C"], beneath={"p": {"B": "0.5"}})
    assert [(row.cells, row.mark) for row in rows] == [
        (("ICA", "50.0", "–", "–"), "strong"),
        (("95 % interval", f"[{100 * even.low:.1f}, {100 * even.high:.1f}]", "–", "–"), "below"),
        (("p", "–", "0.5", "–"), "below"),
    ]
    signed = measured("ICA", {"A": Estimate(0.1, -0.05, 0.25, 9, 9, 0.1)}, ["A"], signed=True)
    assert [row.cells[1] for row in signed] == ["+10.0", "[-5.0, +25.0]"]


def test_numbers_stand_to_the_right_also_where_all_are_dashes() -> None:
    assert laid_out(["A", "B"], [Row(("ICA", "–", ""))], "").sides == "lrr"


@pytest.mark.parametrize(("count", "kind"), [(12, Table), (13, Fold)])
def test_a_long_table_is_folded(count: int, kind: type) -> None:
    made = short_or_folded("many", Table(("row",), [("x",)] * count))
    assert isinstance(made, kind)


# How each number was made


@pytest.fixture(scope="module")
def finished(little: Path, tmp_path_factory: pytest.TempPathFactory) -> EvaluateSettings:
    folder = tmp_path_factory.mktemp("tables")
    path = folder / "both.yaml"
    parts = [
        {"name": "all", "data": "world/test.jsonl"},
        {"name": "comments", "data": "world/test-comments-only.jsonl"},
    ]
    path.write_text(yaml.safe_dump({"columns": [{"name": "Both", "parts": parts}]}))
    conditions = [{**OWN, "note": "All that is known."}, OTHER]
    settings = evaluation(
        little, folder / "out", benchmarks=[path], conditions=conditions, cells=[], limit=3, caution="All is synthetic."
    )
    settings = validate(EvaluateSettings, {**settings.model_dump(), "cells": [], "about": ["Lead.", "More."]})
    evaluate(settings)
    return settings


def test_every_model_file_and_row_is_traced_to_its_manifest(finished: EvaluateSettings) -> None:
    from alignx import manifest

    outcomes = compare_all(finished)
    folds = provenance(finished, outcomes)
    models, data, rows = (table_of([fold]) for fold in folds)
    made = manifest.read(outcomes[0].file)
    assert made.model is not None
    assert made.data is not None
    assert [row.cells[0] for row in models.lines] == ["one", "tiny", "two"]
    assert tuple(models.lines[0].cells) == ("one", made.model.digest[:12])
    same = f"In all rows: tokenizer {made.model.tokenizer[:12]}, trained from –, dtype float32, attention "
    assert same in plain(models.caption)
    assert plain(models.caption).endswith("prompt read once yes.")
    assert [row.cells[0] for row in data.lines] == ["world/test.jsonl", "world/test-comments-only.jsonl"]
    assert data.lines[0].cells[1:] == (made.data.digest[:12], "3", "0")
    told = {row.cells[0]: dict(zip(rows.columns, row.cells, strict=True)) for row in rows.lines}
    assert len(told) == len(outcomes) == 8
    assert told["One, Both comments, another's"] == {
        **{"row": "One, Both comments, another's", "records": "world/test-comments-only.jsonl", "method": "ica"},
        **{"persona": "other", "profiles told": "–"},
    }
    assert told["Two, Both all, own persona"]["profiles told"] == "3 history"
    assert "In all rows: preset paper, profile auto, history all, tell all, seed 42, prompts trimmed 0" in rows.caption


def test_a_row_without_a_manifest_is_refused_by_its_file(finished: EvaluateSettings) -> None:
    (first, *_) = compare_all(finished)
    with pytest.raises(DataError, match=r"nowhere: no nowhere\.manifest\.json beside it"):
        provenance(finished, [replace(first, file=Path("nowhere"))])
    assert provenance(finished, []) == []


# The page


def test_a_page_with_benchmarks_begins_with_their_table_and_folds_what_is_behind(finished: EvaluateSettings) -> None:
    page = (finished.output / "report.md").read_text(encoding="utf-8")
    assert re.findall("^## (.*)$", page, re.M) == [
        "Accuracy by benchmark",
        "What the own persona adds",
        "By file",
        "By length of the responses",
        "By preference dimension",
        "Behind the numbers",
        "Examples",
    ]
    assert page.index("All is synthetic.") < page.index("| **One**") < page.index("More.")
    behind = page[page.index("## Behind the numbers") : page.index("## Examples")]
    assert behind.count("<details>") == behind.count("</details>") == 5
    assert not re.search(r"</details>\n\n[^<\n]", behind), "nothing stands outside a fold"
    assert "Only the first 3 records of each file were read." in page
    assert page.count("All that is known.") == 1, "a condition is explained once, however many files it has"


def test_prose_has_no_markup_of_names(tmp_path: Path) -> None:
    settings = suite(column(tmp_path, "**a** [x](y)", average="parts"))
    blocks = by_benchmark(settings, found(settings, missing=["only"]))
    assert "of **a** [x](y)." in said(blocks)
    captions = " ".join(plain(block.caption) for block in blocks_of(Table, blocks))
    assert "**a** [x](y): the mean" in captions
    assert all(isinstance(block, Paragraph | Note | Table | Fold | Definitions) for block in blocks)
