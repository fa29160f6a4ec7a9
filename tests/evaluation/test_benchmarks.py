"""Benchmarks from declarations: which rows they make, how a column is averaged, and what is said of what is missing."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from alignx.errors import DataError, SettingsError
from alignx.evaluation.benchmarks import load_benchmark
from alignx.evaluation.columns import Entry, entries, gain
from alignx.evaluation.grid import evaluate
from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.outcomes import Empty, compare_all
from alignx.evaluation.published import published_rows
from alignx.evaluation.report.by_benchmark import by_benchmark, published_of
from alignx.intervals import clustered_mean, macro_mean
from alignx.settings import read_yaml, validate

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "configs/eval/benchmarks").glob("*.yaml"))
ONE = "parts: [{name: x, data: d}]"
TWO = """columns:
  - name: Both
    average: {average}
    parts:
      - {{name: all, data: world/test.jsonl, n: 16}}
      - {{name: comments, data: world/test-comments-only.jsonl, n: 17}}
"""


@pytest.fixture
def declared(tmp_path: Path) -> Path:
    path = tmp_path / "two.yaml"
    path.write_text(TWO.format(average="parts"))
    return path


def suite(root: Path, output: Path, benchmark: Path, **others: Any) -> EvaluateSettings:
    policies = [
        {"name": "One", "model": "one", "method": "ica"},
        {"name": "Two", "model": "two", "method": "pba"},
    ]
    values = {
        "policies": policies,
        "reference": "tiny",
        "root": root,
        "output": output,
        "dtype": "float32",
        "examples": 0,
    }
    return validate(EvaluateSettings, {**values, "benchmarks": [benchmark], **others})


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_declaration_is_read_and_its_published_names_are_known(path: Path) -> None:
    for column in load_benchmark(path).columns:
        if column.published is not None:
            rows = published_rows(**column.published.model_dump(), metric="accuracy")
            assert len(rows) >= (7 if column.published.table == "3" else 3)


def test_the_papers_evaluation_is_read_with_each_policys_published_numbers(tmp_path: Path) -> None:
    chosen = read_yaml(ROOT / "configs/eval/paper.yaml")
    chosen["benchmarks"] = [str(ROOT / path) for path in chosen["benchmarks"]]
    settings = validate(EvaluateSettings, {**chosen, "output": tmp_path / "out"})
    assert [column.name for column in settings.columns] == [
        *("UF-P-4", "PRISM", "P-Soups"),
        *("AlignX UGC", "AlignX PAIR", "AlignX DEMO", "AlignX all"),
        *("UGC up to 16", "PAIR up to 16"),
    ]
    (policy,) = (one for one in settings.policies if one.name == "AlignXpert-PBA")
    column = next(column for column in settings.columns if column.name == "P-Soups")
    paper = published_of(policy, Entry(policy, column, "own persona", (), ()))
    assert paper is not None
    assert paper.value == 81.69
    labels = [cell.label for cell in settings.cells_of("AlignXpert-ICA")]
    assert "P-Soups Style, own persona" in labels
    assert not any("golden" in label for label in labels), "ICA has no profile"
    assert [label for label in labels if label.startswith("UGC up to 16")] == [
        f"UGC up to 16, history {items}" for items in (0, 1, 2, 4, 8, 16)
    ]
    own = {cell.condition for cell in settings.cells_of("untrained")}
    assert own == {"own persona"}, "the reference itself is measured once"


@pytest.mark.parametrize("name", ["world", "paper-novel"])
def test_the_other_evaluations_of_tables_are_read(name: str, tmp_path: Path) -> None:
    chosen = read_yaml(ROOT / f"configs/eval/{name}.yaml")
    chosen["benchmarks"] = [str(ROOT / path) for path in chosen["benchmarks"]]
    settings = validate(EvaluateSettings, {**chosen, "output": tmp_path / "out"})
    assert all(settings.cells_of(policy.name) for policy in settings.policies)


def test_a_published_name_that_the_paper_does_not_have_is_refused_with_the_nearest(tmp_path: Path) -> None:
    policy = {"name": "One", "model": "one", "method": "ica", "published": "AlignXpert-ICA 8%"}
    said = r"expected a model of the paper's tables and its training; did you mean 'AlignXpert-ICA 7%'\?"
    with pytest.raises(SettingsError, match=rf"published: got 'AlignXpert-ICA 8%', {said}"):
        validate(EvaluateSettings, {"policies": [policy], "reference": "tiny", "output": tmp_path, "cells": [OWN]})


# Which rows a declaration makes

OWN = {"label": "own", "data": "world/test.jsonl"}
CONDITIONS = [
    {"name": "own persona", "expect": {"versus": "reversed", "exceeds": 0}, "expect_in": ["Turned"]},
    {"name": "reversed", "persona": "reversed"},
]
TURNED = """columns:
  - name: Turned
    parts: [{name: all, data: world/test.jsonl, turned: world/test-reversed.jsonl}]
  - name: Plain
    parts: [{name: all, data: world/test.jsonl}]
"""


@pytest.fixture
def rows(little: Path, tmp_path: Path) -> EvaluateSettings:
    path = tmp_path / "turned.yaml"
    path.write_text(TURNED)
    return suite(little, tmp_path / "out", path, conditions=CONDITIONS, cells=[OWN])


def test_a_written_down_opposite_is_read_in_place_of_a_reversed_persona(rows: EvaluateSettings) -> None:
    cells = {cell.label: cell for cell in rows.cells_of("One")}
    written, made = cells["Turned, reversed"], cells["Plain, reversed"]
    assert (written.data, written.turns, written.persona) == ("world/test-reversed.jsonl", "world/test.jsonl", "own")
    assert (made.data, made.turns, made.persona) == ("world/test.jsonl", "", "reversed")
    assert [cell.tells_own for cell in (cells["Turned, own persona"], written, made)] == [True, False, False]


def test_expectations_hold_in_the_columns_that_they_name(rows: EvaluateSettings) -> None:
    expected = {cell.label: cell.expect for cell in rows.cells_of("One") if cell.expect is not None}
    assert list(expected) == ["Turned, own persona"]
    assert expected["Turned, own persona"].versus == "Turned, reversed"


def test_in_context_alignment_reverses_comments_too_where_the_opposite_is_written_down(
    rows: EvaluateSettings,
) -> None:
    evaluate(rows)
    page = (rows.output / "report.md").read_text(encoding="utf-8")
    assert "One, Plain, own persona: reversal changes nothing" not in page, "the little world has choices"
    assert "One, Turned, own persona: reversal changes nothing" not in page
    assert "One, Turned, own persona: joint-correct" in page
    assert "One, Turned, reversed: joint-correct" not in page, "the opposite is not turned once more"


@pytest.mark.parametrize(
    ("only", "left"),
    [
        (["One"], {"One": ["own", "Turned, own persona", "Turned, reversed", "Plain, own persona", "Plain, reversed"]}),
        (["Plain", "reversed"], {"One": ["Plain, reversed"], "Two": ["Plain, reversed"]}),
        (["Turned, reversed", "Two"], {"Two": ["Turned, reversed"]}),
        (["own"], {"One": ["own"], "Two": ["own"]}),
    ],
)
def test_a_part_is_measured_alone_by_naming_it(
    rows: EvaluateSettings, only: list[str], left: dict[str, list[str]]
) -> None:
    found = validate(EvaluateSettings, {**rows.model_dump(), "only": only})
    cells = {policy.name: [cell.label for cell in found.cells_of(policy.name)] for policy in found.policies}
    assert {name: labels for name, labels in cells.items() if labels} == left


def test_a_part_measured_alone_is_not_held_against_a_row_that_is_left_out(rows: EvaluateSettings) -> None:
    found = validate(EvaluateSettings, {**rows.model_dump(), "only": ["own persona"]})
    assert all(cell.expect is None for cell in found.cells_of("One"))


@pytest.mark.parametrize(
    ("only", "said"),
    [
        (["Turnd"], "--only: 'Turnd' is no policy, column, condition or row; did you mean 'Turned'?"),
        (["own", "Plain"], "--only: no row is 'own' and 'Plain'"),
    ],
)
def test_what_cannot_be_measured_alone_is_refused(rows: EvaluateSettings, only: list[str], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        validate(EvaluateSettings, {**rows.model_dump(), "only": only})
    assert said in str(refused.value)


def test_a_part_measured_alone_asks_for_no_other_policys_model(rows: EvaluateSettings, tmp_path: Path) -> None:
    policies = [rows.policies[0], rows.policies[1].model_copy(update={"model": "nowhere"})]
    alone = {"policies": policies, "only": ["One", "own"], "output": tmp_path / "alone"}
    evaluate(validate(EvaluateSettings, {**rows.model_dump(), **alone}))
    assert (tmp_path / "alone/report.md").is_file()


def test_a_policy_is_measured_under_the_conditions_that_it_names(rows: EvaluateSettings) -> None:
    policies = [rows.policies[0].model_copy(update={"conditions": ("reversed",)}), rows.policies[1]]
    found = validate(EvaluateSettings, {**rows.model_dump(), "policies": policies})
    assert [cell.label for cell in found.cells_of("One")] == ["own", "Turned, reversed", "Plain, reversed"]
    unknown = [{**rows.policies[0].model_dump(), "conditions": ["revered"]}]
    with pytest.raises(SettingsError, match="'One' is for condition 'revered', known are own persona, reversed"):
        validate(EvaluateSettings, {**rows.model_dump(), "policies": unknown})


def test_an_absent_file_is_read_from_the_hub_where_it_is_named_and_asked_for_once(
    little: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def nowhere(repo: str, *_: Any) -> list[Path]:
        asked.append(repo)
        raise DataError(f"{repo}: not to be had")

    monkeypatch.setattr("alignx.records.sources._from_hub", nowhere)
    path = tmp_path / "hub.yaml"
    path.write_text(
        "columns:\n"
        "  - {name: There, parts: [{name: all, data: world/test.jsonl, hub: us/there/a.json}]}\n"
        "  - {name: Hub, parts: [{name: all, data: gone/a.json, hub: us/away/a.json}]}\n"
        "  - {name: Gone, parts: [{name: all, data: gone/us/a.json}]}\n"
    )
    conditions = [{"name": "own persona"}, {"name": "none", "persona": "none"}]
    settings = suite(little, tmp_path / "out", path, conditions=conditions)
    evaluate(settings)
    assert asked == ["us/away"], "once for two policies and two conditions, and never for a file without a hub's name"
    found = json.loads((tmp_path / "out/benchmarks.json").read_text(encoding="utf-8"))
    reasons = {entry["column"]: entry["empty"].get("all") for entry in found["columns"]}
    assert reasons == {"There": None, "Hub": "us/away: not to be had", "Gone": f"{little}/gone/us/a.json: no such file"}
    assert list(found["files"]) == ["world/test.jsonl"]


def test_a_copy_with_inferred_directions_is_read_by_pba_alone(little: Path, declared: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(little, root)
    before = suite(root, tmp_path / "out", declared)
    copy = root / "inferred/world/test.jsonl"
    copy.parent.mkdir(parents=True)
    shutil.copy(root / "world/test.jsonl", copy)
    after = suite(root, tmp_path / "out", declared)
    assert [cell.data for cell in before.cells_of("Two")] == ["world/test.jsonl", "world/test-comments-only.jsonl"]
    assert [cell.data for cell in after.cells_of("One")] == ["world/test.jsonl", "world/test-comments-only.jsonl"]
    assert [cell.data for cell in after.cells_of("Two")] == [
        "inferred/world/test.jsonl",
        "world/test-comments-only.jsonl",
    ]
    assert [cell.label for cell in after.cells_of("Two")] == [cell.label for cell in before.cells_of("Two")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("columns: []\n", "columns"),
        ("columns: [{name: a, parts: []}]\n", "parts"),
        ("columns: [{name: a, parts: [{name: x, data: d, m: 3}]}]\n", "unknown setting"),
        ("columns: [{name: a, parts: [{name: x, data: d, n: true}]}]\n", "columns.0.parts.0.n: got True, expected"),
        ("columns: [{name: a, parts: [{name: x, data: ''}]}]\n", "columns.0.parts.0.data: got ''"),
        ("columns: [{name: '', parts: [{name: x, data: d}]}]\n", "columns.0.name: got ''"),
        ("columns: [{name: a}]\n", "columns.0.parts is required$"),
        (
            "columns: [{name: a, parts: [{name: x, data: d}, {name: x, data: e}]}]\n",
            "column 'a': name 'x' is there twice",
        ),
        (
            "columns: [{name: a, parts: [{name: x, data: d}, {name: y, data: d}]}]\n",
            "column 'a': data 'd' is there twice",
        ),
        (f"columns: [{{name: a, {ONE}, published: {{benchmark: PRISMA, condition: PAIR}}}}]\n", "did you mean 'PRISM'"),
        (
            f"columns: [{{name: a, {ONE}, published: {{benchmark: PRISM, condition: UGC}}}}]\n",
            "table 3 has no PRISM under UGC",
        ),
        (f"columns: [{{name: a, {ONE}, {ONE}}}]\n", "'parts' stands twice"),
    ],
)
def test_a_declaration_of_something_else_is_refused_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=said) as refused:
        load_benchmark(path)
    assert "wrong.yaml" in str(refused.value)


def test_unknown_columns_and_conditions_are_refused_by_name(little: Path, declared: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'own' is for column 'Three', known are Both"):
        suite(little, tmp_path / "out", declared, conditions=[{"name": "own", "columns": ["Three"]}])
    with pytest.raises(SettingsError, match=r"--cells or --benchmarks: nothing is to be measured"):
        suite(little, tmp_path / "out", declared, benchmarks=[])


@pytest.fixture(scope="module")
def measured(little: Path, tmp_path_factory: pytest.TempPathFactory) -> EvaluateSettings:
    """Two conditions of a column of two files, one of which has another number of records than declared."""
    folder = tmp_path_factory.mktemp("suite")
    (folder / "two.yaml").write_text(TWO.format(average="parts"))
    conditions = [{"name": "own persona"}, {"name": "another's", "persona": "other", "role": "control"}]
    settings = suite(little, folder / "out", folder / "two.yaml", conditions=conditions)
    evaluate(settings)
    return settings


def test_a_column_is_the_mean_of_its_parts_or_of_its_records(measured: EvaluateSettings) -> None:
    found = entries(measured, compare_all(measured), [])
    assert [(entry.policy.name, entry.condition) for entry in found] == [
        ("One", "own persona"),
        ("One", "another's"),
        ("Two", "own persona"),
        ("Two", "another's"),
    ]
    for entry in found:
        rights, clusters, parts = [], [], []
        for outcome in entry.parts:
            for name, score in outcome.scores.items():
                other = outcome.reference[name]
                rights.append(float(score.chosen - other.chosen > score.rejected - other.rejected))
                clusters.append(score.cluster)
                parts.append(outcome.cell.part)
        assert entry.accuracy == macro_mean(rights, clusters, parts)
        alike = entry.column.model_copy(update={"average": "records"})
        assert Entry(entry.policy, alike, entry.condition, entry.parts, ()).accuracy == clustered_mean(rights, clusters)
        assert (entry.n, entry.unexpected) == (32, ("Both comments: 16 records, 17 are expected",))


def test_what_the_own_persona_adds_is_counted_record_by_record(measured: EvaluateSettings) -> None:
    own, other = entries(measured, compare_all(measured), [])[:2]
    difference = gain(own, other)
    assert own.accuracy is not None
    assert other.accuracy is not None
    assert difference.mean == pytest.approx(own.accuracy.mean - other.accuracy.mean)
    assert difference.n == 32
    assert gain(own, own).mean == 0


def test_the_report_says_what_is_missing_and_what_is_not_as_published(measured: EvaluateSettings) -> None:
    page = (measured.output / "report.md").read_text(encoding="utf-8")
    assert "Both comments: 16 records, 17 are expected" in page
    assert "own persona minus" in page
    results = (measured.output / "results.json").read_text(encoding="utf-8")
    assert '"column": "Both"' in results


def test_a_root_that_is_no_folder_is_refused(little: Path, declared: Path, tmp_path: Path) -> None:
    settings = suite(little, tmp_path / "out", declared).model_copy(update={"root": tmp_path / "nowhere"})
    with pytest.raises(SettingsError, match=r"--root: .*nowhere is no folder"):
        evaluate(settings)


def test_a_file_that_is_absent_is_said_to_be_absent_and_the_rest_is_measured(little: Path, tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(TWO.format(average="records").replace("world/test-comments-only.jsonl", "nowhere.json"))
    settings = suite(little, tmp_path / "out", path)
    evaluate(settings)
    page = (settings.output / "report.md").read_text(encoding="utf-8")
    assert "Not measured: One, Both comments, own persona; Two, Both comments, own persona" in page
    assert "nowhere.json: no such file" in page
    cell = next(cell for cell in settings.cells_of("One") if cell.part == "comments")
    empty = [Empty(policy, cell, "gone") for policy in settings.policies]
    (one, _) = entries(settings, compare_all(settings, empty), empty)
    assert one.accuracy is None, "half a column is not the column"
    assert len(one.parts) == 1
    assert by_benchmark(settings, [one])


def test_a_column_of_several_files_is_reversed_as_one_and_by_itself_where_a_file_is_missing(
    little: Path, tmp_path: Path
) -> None:
    path = tmp_path / "two.yaml"
    conditions = [{"name": "own persona"}, {"name": "reversed", "persona": "reversed"}]
    for text, rows in (
        (TWO.format(average="parts"), ["One, Both, own persona"]),
        (TWO.format(average="parts").replace("test-comments-only", "nowhere"), ["One, Both all, own persona"]),
    ):
        path.write_text(text)
        output = tmp_path / f"out-{len(rows[0])}"
        evaluate(suite(little, output, path, conditions=conditions, only=["One"]))
        page = (output / "report.md").read_text(encoding="utf-8")
        lines = [line.split(": joint-correct ")[0] for line in page.splitlines() if ": joint-correct " in line]
        found = [line.strip("| ") for line in lines if line.startswith("|")]
        assert found == rows


def test_a_policy_that_is_the_reference_has_no_further_one(little: Path, declared: Path, tmp_path: Path) -> None:
    policies = [{"name": "Same", "model": "tiny", "method": "ica"}, {"name": "One", "model": "one", "method": "ica"}]
    others = [{"name": "another", "model": "two"}]
    settings = suite(little, tmp_path / "out", declared, policies=policies, references=others)
    evaluate(settings)
    against = {outcome.policy.name: list(outcome.against) for outcome in compare_all(settings)}
    assert against == {"Same": [], "One": ["another"]}


def test_a_further_reference_is_for_the_conditions_that_it_names(rows: EvaluateSettings) -> None:
    others = [{"name": "another", "model": "two", "conditions": ["own persona"]}]
    settings = validate(EvaluateSettings, {**rows.model_dump(), "references": others, "only": ["One"]})
    evaluate(settings)
    against = {outcome.cell.label: list(outcome.against) for outcome in compare_all(settings)}
    assert {label for label, names in against.items() if names} == {"Turned, own persona", "Plain, own persona"}
    unknown = [{**others[0], "conditions": ["own"]}]
    with pytest.raises(SettingsError, match="'another' is for condition 'own', known are own persona, reversed"):
        validate(EvaluateSettings, {**rows.model_dump(), "references": unknown})


def test_policies_are_compared_with_every_reference(little: Path, declared: Path, tmp_path: Path) -> None:
    settings = suite(little, tmp_path / "out", declared, references=[{"name": "another", "model": "two"}])
    evaluate(settings)
    (outcome, *_) = compare_all(settings)
    assert outcome.against["another"].n == outcome.found.n
    assert outcome.against["another"].mean_margin != outcome.found.mean_margin
    assert "Another reference" in (settings.output / "report.md").read_text(encoding="utf-8")
