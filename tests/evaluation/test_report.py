"""The report: every number that was found is in it, nothing in it is markup by accident, nothing is left unsaid."""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from alignx import manifest
from alignx.errors import DataError
from alignx.evaluation.accuracy import compare
from alignx.evaluation.baselines import Baseline
from alignx.evaluation.grid import evaluate
from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.outcomes import Outcome, compare_all, margins, scores_of
from alignx.evaluation.report import write_report
from alignx.evaluation.report.accuracies import accuracies, expectations, interval, meanings, percent, unmet
from alignx.evaluation.report.examples import examples
from alignx.evaluation.report.surroundings import durations, training_curves, without_a_model
from alignx.evaluation.rows import Cell, Expectation, Policy
from alignx.evaluation.sources import Sources
from alignx.intervals import Estimate
from alignx.manifest import DataIdentity, Manifest
from alignx.pages import Definitions, Figure, Fold, Paragraph, Quote, Row, Table
from alignx.pages.inline import plain
from alignx.prompts import Condition
from alignx.prompts.rendering import render
from alignx.prompts.telling import choose_donors, tell
from alignx.records import Records, load_taxonomy
from tests.evaluation.conftest import cell, evaluation
from tests.evaluation.test_accuracy import by_id, one
from tests.pages.sheets import HOSTILE, Reader

ROOT = Path(__file__).parents[2]
COLUMNS = ("row", "accuracy", "95 % interval", "n", "users", "ties", "policy alone", "reference alone")


@pytest.fixture(scope="module")
def asked(little: Path, tmp_path_factory: pytest.TempPathFactory) -> EvaluateSettings:
    """A finished evaluation with everything that a report can have; read-only."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "timings.jsonl").write_text('{"part": "training", "seconds": 7}\n{"part": "training", "seconds": 5}\n')
    settings = evaluation(
        little,
        folder / "report",
        cell("own", note="The user's own.", expect={"low_above": 0.0}),
        cell("nothing", persona="none", role="control", expect={"high_below": 0.0}),
        cell(
            "golden",
            policies=["Two"],
            profile="golden",
            role="oracle",
            expect={"versus": "own", "reaches": -0.05},
        ),
        title="A little evaluation",
        about=["What is measured.", "What it shows."],
        caution="All is synthetic.",
        world="world",
        timings=str(folder / "timings.jsonl"),
        examples=2,
    )
    evaluate(settings)
    return settings


@pytest.fixture(scope="module")
def outcomes(asked: EvaluateSettings) -> list[Outcome]:
    return compare_all(asked)


@pytest.fixture(scope="module")
def markdown(asked: EvaluateSettings) -> str:
    return (asked.output / "report.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def html(asked: EvaluateSettings) -> str:
    return (asked.output / "report.html").read_text(encoding="utf-8")


def outcome(
    policy: str = "ICA",
    label: str = "own",
    margins_: Sequence[float] = (1.0, 1.0, -1.0, 0.0),
    *,
    expect: Expectation | None = None,
    difference: Estimate | None = None,
    users: int = 4,
    file: Path = Path("nowhere"),
    note: str = "",
    role: Any = "main",
    **score: Any,
) -> Outcome:
    """A row whose margins are given: of a policy that prefers what has a margin above nought, and a reference that
    prefers nothing."""
    scores = by_id(one(f"r{i}", margin, 0.0, cluster=f"user:{i % users}", **score) for i, margin in enumerate(margins_))
    reference = by_id(one(f"r{i}", 0.0, 0.0, cluster=f"user:{i % users}", **score) for i in range(len(margins_)))
    found = compare(scores, reference)
    return Outcome(
        Policy(name=policy, model="m", method="ica"),
        Cell(label=label, data="d", expect=expect, note=note, role=role),
        found,
        compare(reference, scores).raw,
        difference,
        file,
        scores,
        reference,
    )


def bare(**others: Any) -> EvaluateSettings:
    values = {
        "policies": [{"name": "ICA", "model": "m", "method": "ica"}],
        "reference": "base",
        "cells": [{"label": "own", "data": "d"}],
        "output": "out",
        "examples": 0,
    }
    return EvaluateSettings.model_validate({**values, **others})


def table_of(blocks: Sequence[Any]) -> Table:
    (found,) = [block for block in blocks if isinstance(block, Table)]
    return found


def figure_of(blocks: Sequence[Any]) -> Figure:
    (found,) = [block for block in blocks if isinstance(block, Figure)]
    return found


def text_of(blocks: Sequence[Any]) -> str:
    return " ".join(block.text for block in blocks if isinstance(block, Paragraph))


# The table of accuracies


def test_a_row_by_hand() -> None:
    # margins +1, +1, −1, 0 of four users: half are right, one is a tie; residuals ±1/2: variance 4/3 · 1 / 16 = 1/12.
    # Wilson's interval with t(3) = 3.18245: i = t² · 1/12 / (1/2 · 1/2) = 3.376; the middle is 1/2, since the share is;
    # the reach √(t² · 1/12 + i²/4) / (1 + i) = √(0.844 + 2.849) / 4.376 = 0.4392
    (row,) = table_of(accuracies(bare(), [outcome()])).rows
    assert isinstance(row, Row)
    assert row == Row(("ICA, own", "50.0", "[6.1, 93.9]", "4", "4", "1", "50.0", "0.0"), "strong")
    assert tuple(table_of(accuracies(bare(), [outcome()])).columns) == COLUMNS


@pytest.mark.parametrize(
    ("role", "mark"), [("main", "strong"), ("control", "control"), ("oracle", ""), ("variant", "")]
)
def test_main_rows_and_controls_stand_out(role: str, mark: str) -> None:
    (row,) = table_of(accuracies(bare(), [outcome(role=role)])).lines
    assert row.mark == mark


def test_every_policy_and_row_is_in_markdown_and_html_with_its_numbers(
    asked: EvaluateSettings, markdown: str, html: str
) -> None:
    results = json.loads((asked.output / "results.json").read_text(encoding="utf-8"))
    assert len(results) == 5
    for text in (MarkdownIt("commonmark").enable("table").render(markdown), html):
        rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in re.findall(r"<tr.*?</tr>", text, re.S)]
        plain = [[re.sub("<[^>]+>", "", each) for each in row] for row in rows]
        for result in results:
            low, high = (f"{100 * result['accuracy'][end]:.1f}" for end in ("low", "high"))
            expected = [
                f"{result['policy']}, {result['label']}",
                f"{100 * result['accuracy']['mean']:.1f}",
                f"[{low}, {high}]",
                "16",
                "4",
                str(result["ties"]),
                f"{100 * result['raw']['mean']:.1f}",
                f"{100 * result['reference_raw']['mean']:.1f}",
            ]
            assert expected in plain


@pytest.mark.parametrize(("share", "text"), [(0, "0.0"), (1, "100.0"), (0.61249, "61.2"), (0.5, "50.0")])
def test_a_share_is_written_in_percent_with_one_decimal(share: float, text: str) -> None:
    assert percent(share) == text


def test_an_interval_is_written_in_percent_and_a_difference_with_its_sign() -> None:
    estimate = Estimate(0.1, -0.05, 0.25, 9, 9, 0.1)
    assert interval(estimate) == "[-5.0, 25.0]"
    assert interval(estimate, signed=True) == "[-5.0, +25.0]"


# What must not go unsaid


def test_that_nothing_was_left_out_is_said() -> None:
    assert text_of(accuracies(bare(), [outcome()])) == "No record was skipped and no prompt trimmed."


def test_what_is_not_as_expected_is_said_first_and_only_that() -> None:
    rows = [outcome(expect=Expectation(low_above=0.7)), outcome("PBA", "*own*", expect=Expectation(low_at_most=0.6))]
    (note,) = unmet(bare(), rows)
    assert note.text == "**Not as expected** (1 of 2 expectations hold): ICA, own."
    (limited,) = unmet(bare(limit=4), rows)
    assert limited.text.endswith("Expectations are made for whole files; of each, the first 4 records were read.")
    assert unmet(bare(), rows[1:]) == []


def test_trimmed_prompts_are_counted_by_row() -> None:
    rows = [outcome(), outcome("PBA", "*own*", trimmed_items=1)]
    assert text_of(accuracies(bare(), rows)) == r"PBA, \*own\*: 4 prompts trimmed."


def test_skipped_records_are_counted_by_row(tmp_path: Path) -> None:
    from tests.evaluation.test_accuracy import POLICY, REFERENCE, write

    settings = bare(output=tmp_path)
    (tmp_path / "scores").mkdir()
    skipping = DataIdentity(source="d.jsonl", digest="data", records=len(POLICY), skipped=2)
    policy, reference = scores_of(settings, settings.policies[0], settings.cells[0])
    write(policy, POLICY, data=skipping)
    write(reference, REFERENCE, data=skipping)
    assert compare_all(settings)[0].found.skipped == 2


def test_all_ties_are_said() -> None:
    row = outcome(margins_=(0.0, 0.0, 0.0))
    assert row.found.notes
    written = [*accuracies(bare(), [row]), *meanings([row])]
    assert "tie" in " ".join([text_of(written), *(block.caption for block in written if isinstance(block, Table))])


def test_a_label_is_no_markup_in_a_note() -> None:
    (found,) = [
        each for each in accuracies(bare(), [outcome(label="**own**", margins_=(0.0,))]) if isinstance(each, Table)
    ]
    assert "(ICA, **own**)" in plain(found.caption)


def test_that_only_some_records_were_read_is_said() -> None:
    assert "Only the first 7 records" in table_of(accuracies(bare(limit=7), [outcome()])).caption
    assert "Only the first" not in table_of(accuracies(bare(), [outcome()])).caption


def test_few_users_are_said() -> None:
    row = outcome()
    assert "too narrow" in row.found.accuracy.note
    written = accuracies(bare(), [row])
    said = [text_of(written), *(getattr(block, "caption", "") for block in written)]
    assert "fewer than 30" in " ".join(said)


# The chart


def test_chart_has_every_row_and_the_reference_alone_once_a_policy() -> None:
    rows = [outcome("ICA", "own"), outcome("ICA", "other"), outcome("PBA", "own")]
    figure = figure_of(accuracies(bare(), rows))
    assert figure.alt == "ICA, own: 50.0 %; ICA, other: 50.0 %; PBA, own: 50.0 %"
    assert figure.name == "accuracy"
    assert "users" not in figure.alt
    drawn = words_of(figure)
    assert [word for word in drawn if word in {"own", "other"}] == ["own", "other", "own"]
    assert [word for word in drawn if "prompts" in word] == ["ICA prompts, own", "PBA prompts, own"]
    assert "chance" in drawn


def test_chart_draws_the_intervals_that_were_found_and_chance_at_a_half(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []

    def draw(rows: Any, *, name: str, xlabel: str, reference_lines: Any) -> str:
        drawn.extend([rows, reference_lines])
        return "<svg "

    monkeypatch.setattr("alignx.pages.figures.intervals", draw)
    row = outcome(margins_=(1.0, 1.0, 1.0, 1.0))
    accuracies(bare(), [row])
    # all of four users: the exact interval is [1 − (1 − 0.025^(1/4)), 1] = [0.3976, 1]; none: [0, 0.6024]
    rows = [
        (each.group, each.label, *(round(number, 1) for number in (each.estimate, each.low, each.high)))
        for each in drawn[0]
    ]
    assert rows == [
        ("ICA", "own", 100.0, 39.8, 100.0),
        ("reference alone, before DPO", "ICA prompts, own", 0.0, 0.0, 60.2),
    ]
    assert [(line.value, line.label) for line in drawn[1]] == [(50, "chance")]


def words_of(figure: Figure) -> list[str]:
    return [re.sub("<[^>]+>", "", text).strip() for text in re.findall(r"<text[^>]*>(.*?)</text>", figure.svg, re.S)]


def world(folder: Path, noise: float) -> str:
    folder.mkdir()
    manifest.write(folder, Manifest(kind="world", settings={"label_noise": noise}))
    return str(folder)


@pytest.mark.parametrize(("noise", "ceiling", "slips"), [(0.05, "95", "5"), (0.125, "87.5", "12.5"), (0.07, "93", "7")])
def test_ceiling_is_what_the_worlds_label_noise_leaves(tmp_path: Path, noise: float, ceiling: str, slips: str) -> None:
    figure = figure_of(accuracies(bare(world=world(tmp_path / "w", noise)), [outcome()]))
    assert f"ceiling {ceiling} %" in words_of(figure)
    assert f" {slips} % of the users' choices are slips" in figure.caption


def test_without_a_world_there_is_no_ceiling() -> None:
    figure = figure_of(accuracies(bare(), [outcome()]))
    assert "ceiling" not in " ".join([figure.caption, *words_of(figure)])


def test_a_world_without_slips_has_no_ceiling_to_explain(tmp_path: Path) -> None:
    figure = figure_of(accuracies(bare(world=world(tmp_path / "w", 0.0)), [outcome()]))
    assert "slips" not in figure.caption


def test_a_world_without_a_manifest_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    with pytest.raises(DataError, match=r"w: no manifest\.json beside it"):
        accuracies(bare(world=str(tmp_path / "w")), [outcome()])


def test_what_is_no_world_is_refused_by_name(tmp_path: Path) -> None:
    manifest.write(tmp_path, Manifest(kind="tiny-model"))
    with pytest.raises(DataError, match="world"):
        accuracies(bare(world=str(tmp_path)), [outcome()])


def test_a_world_is_checked_before_anything_is_scored(little: Path, tmp_path: Path) -> None:
    settings = evaluation(little, tmp_path / "report", world="wolrd", limit=2)
    with pytest.raises(DataError, match="wolrd"):
        evaluate(settings)
    assert not (tmp_path / "report/scores").exists()


# Expectations


def test_without_expectations_there_is_no_table_of_them() -> None:
    assert expectations([outcome()]) == []


def test_expectations_are_said_in_words_with_what_was_measured_and_whether_they_hold() -> None:
    difference = Estimate(-0.1, -0.2, 0.0, 9, 9, 0.05)
    rows = [
        outcome("ICA", "a", expect=Expectation(low_above=0.7)),
        outcome("ICA", "b"),
        outcome("ICA", "c", expect=Expectation(low_at_most=0.5)),
        outcome("ICA", "d", expect=Expectation(high_below=0.4)),
        outcome("PBA", "e", expect=Expectation(versus="own", reaches=-0.05), difference=difference),
    ]
    table = table_of(expectations(rows))
    assert [tuple(row.cells) for row in table.lines] == [
        ("ICA, a", "NO", "interval above 70.0", "[6.1, 93.9]"),
        ("ICA, c", "yes", "not above 50.0: the interval reaches it or is below", "[6.1, 93.9]"),
        ("ICA, d", "NO", "interval below 40.0", "[6.1, 93.9]"),
        ("PBA, e", "yes", "difference from “own” reaches above -5 points", "[-20.0, +0.0]"),
    ]
    assert table.caption == "2 of 4 expectations hold."
    assert tuple(table.columns) == ("row", "holds", "expected", "measured")


def test_two_expectations_of_a_row_are_both_said_and_both_measured() -> None:
    difference = Estimate(-0.1, -0.2, 0.0, 9, 9, 0.05)
    expect = Expectation(low_above=0.7, versus="own", reaches=0.126)
    ((_, holding, said, measured),) = [
        tuple(row.cells) for row in table_of(expectations([outcome(expect=expect, difference=difference)])).lines
    ]
    assert said.startswith("interval above 70.0; difference from “own” reaches above +1")
    assert holding == "NO"
    assert "[6.1, 93.9]" in measured
    assert "[-20.0, +0.0]" in measured
    assert "+12.6" in said


# What the words mean


def test_terms_and_the_notes_of_rows_are_explained() -> None:
    (found,) = meanings([outcome(label="own", note="The user's own."), outcome(label="none")])
    assert isinstance(found, Definitions)
    terms = dict(found.items)
    assert list(terms) == [
        "policy, reference",
        "ICA, PBA",
        "accuracy",
        "n, users, ties",
        "95 % interval",
        "policy alone, reference alone",
        "own",
    ]
    assert terms["own"] == "The user's own."
    assert "strictly" in terms["accuracy"]


def test_every_column_of_the_table_is_explained() -> None:
    (found,) = meanings([outcome()])
    assert isinstance(found, Definitions)
    explained = " ".join(term for term, _ in found.items)
    assert [name for name in ("ties", "users") if name not in explained] == []


def test_two_policies_whose_rows_have_one_label_keep_both_notes() -> None:
    (found,) = meanings([outcome("ICA", note="History."), outcome("PBA", note="Direction.")])
    assert isinstance(found, Definitions)
    said = " ".join(meaning for _, meaning in found.items)
    assert "History." in said
    assert "Direction." in said


# Without a model


def test_baselines_are_those_of_the_worlds_test_records(little: Path, tmp_path: Path) -> None:
    table = table_of(without_a_model(evaluation(little, tmp_path, world="world")))
    assert [row.cells[0] for row in table.lines] == [
        "words of the responses alone",
        "words shared with the persona",
        "reader who knows every direction",
    ]
    assert "the same 16 test records; an undecided one counts as half" in table.caption
    assert all(len(row.cells) == 5 for row in table.lines)


def test_baselines_learn_from_the_worlds_training_records(
    little: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def rules(records: Any, training: Any, taxonomy: Any) -> list[Baseline]:
        seen.extend([[each.user for each in records], [each.user for each in training]])
        return [Baseline("a rule", "means this", Estimate(0.25, 0.125, 0.5, 16, 4, 0.1), 3)]

    monkeypatch.setattr("alignx.evaluation.report.surroundings.baselines", rules)
    table = table_of(without_a_model(evaluation(little, tmp_path, world="world")))
    assert [len(each) for each in seen] == [16, 24]
    assert not {*seen[0]} & {*seen[1]}
    assert [row.cells for row in table.lines] == [("a rule", "means this", "25.0", "[12.5, 50.0]", "3")]


def test_without_a_world_there_are_no_baselines() -> None:
    assert without_a_model(bare()) == []


def test_limit_holds_for_baselines_too(little: Path, tmp_path: Path) -> None:
    table = table_of(without_a_model(evaluation(little, tmp_path, world="world", limit=5)))
    assert "5 test records" in table.caption


# Training


def run_of(folder: Path, *lines: dict[str, Any]) -> EvaluateSettings:
    (folder / "m").mkdir()
    (folder / "m/metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return bare(root=folder)


def test_training_curves_are_of_the_policies_that_have_them(tmp_path: Path) -> None:
    step = {"loss": 0.69, "rewards/accuracies": 0.5, "rewards/margins": 0.0}
    settings = run_of(tmp_path, {"step": 1, **step}, {"step": 2, **step}, {"step": 2, "train_runtime": 9.0})
    both = [{"name": "ICA", "model": "m", "method": "ica"}, {"name": "Untrained", "model": "x", "method": "ica"}]
    (figure,) = training_curves(settings.model_copy(update={"policies": tuple(Policy(**each) for each in both)}))
    assert isinstance(figure, Figure)
    assert figure.alt == "Loss, share of pairs ordered rightly and margin over the steps of ICA."
    assert {"DPO loss", "pairs ordered rightly", "margin"} <= set(words_of(figure))


def test_without_metrics_there_are_no_curves(tmp_path: Path) -> None:
    assert training_curves(bare(root=tmp_path)) == []


@pytest.mark.parametrize("text", ["", '{"step": 1, "loss": 0.69}\n', '{"step": 1, "loss": 0.69}\n{"st'])
def test_metrics_of_another_kind_or_cut_off_do_not_cost_the_report(tmp_path: Path, text: str) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/metrics.jsonl").write_text(text)
    training_curves(bare(root=tmp_path))


# Durations


def timed(folder: Path, text: str) -> EvaluateSettings:
    (folder / "t.jsonl").write_text(text)
    return bare(root=folder, timings="t.jsonl")


def test_durations_are_shown_part_by_part_and_in_all(tmp_path: Path) -> None:
    lines = [("world", 2), ("training", 60.4), ("scoring", 8), ("training", 30.2)]
    settings = timed(tmp_path, "".join(json.dumps({"part": p, "seconds": s}) + "\n" for p, s in lines))
    (figure,) = durations(settings)
    assert isinstance(figure, Figure)
    assert figure.alt == "world: 2 s; training: 91 s; scoring: 8 s"  # of a part that was done twice, both count
    assert figure.caption == "101 s together."  # 2 + 60.4 + 8 + 30.2 = 100.6
    assert "91 s" in words_of(figure)


@pytest.mark.parametrize("timings", [None, "missing.jsonl"])
def test_without_timings_there_are_no_durations(tmp_path: Path, timings: str | None) -> None:
    assert durations(bare(root=tmp_path, timings=timings)) == []


@pytest.mark.parametrize(
    "text", ["", '{"part": "a", "seconds": 3}\n\n', '{"part": "a", "seconds": 3}\n{"part": "b", "s']
)
def test_timings_that_are_empty_or_cut_off_do_not_cost_the_report(tmp_path: Path, text: str) -> None:
    durations(timed(tmp_path, text))


def test_scoring_adds_how_long_it_took_once(asked: EvaluateSettings) -> None:
    given, path = Path(asked.timings or ""), asked.output / "timings.jsonl"
    assert len(given.read_text().splitlines()) == 2  # what was given is only read
    assert [json.loads(line)["part"] for line in path.read_text().splitlines()] == ["scoring"]
    evaluate(asked)
    assert len(path.read_text().splitlines()) == 1


def test_scoring_one_file_that_was_lost_counts_too(little: Path, tmp_path: Path) -> None:
    settings = evaluation(little, tmp_path / "report", timings=str(tmp_path / "t.jsonl"), limit=2, examples=0)
    evaluate(settings)
    lost = compare_all(settings)[0].file
    for path in (lost, manifest.path_of(lost)):
        path.unlink()
    evaluate(settings)
    assert len((tmp_path / "report/timings.jsonl").read_text().splitlines()) == 2


# Examples


def told(settings: EvaluateSettings, number: int, condition: Condition, data: str = "world/test.jsonl") -> str:
    record = list(Records(settings.find(data)))[number]
    return render(record, tell(record, condition, load_taxonomy()), condition).user


def test_an_example_shows_the_prompts_word_for_word_both_responses_and_the_verdicts(
    asked: EvaluateSettings, outcomes: list[Outcome]
) -> None:
    folds = examples(asked, outcomes)
    records = list(Records(asked.find("world/test.jsonl")))
    assert len(folds) == 2
    for number, (fold, record) in enumerate(zip(folds, records, strict=False)):
        assert isinstance(fold, Fold)
        verdict, *quotes = fold.blocks
        assert fold.title == f"Record {record.id}"
        assert quotes == [
            Quote("This user's choice", record.chosen),
            Quote("The other response", record.rejected),
            Quote("What One was told", told(asked, number, Condition(method="ica"))),
            Quote("What Two was told", told(asked, number, Condition(method="pba"))),
        ]
        assert isinstance(verdict, Paragraph)
        for name, row in (("One", outcomes[0]), ("Two", outcomes[2])):
            margin = margins(row.scores, row.reference)[record.id]
            side = "this user's choice" if margin > 0 else "the other response"
            assert f"{name} moved towards **{side}** ({margin:+.2f} nats)." in verdict.text


def test_examples_stand_word_for_word_in_markdown_and_html(
    asked: EvaluateSettings, outcomes: list[Outcome], markdown: str, html: str
) -> None:
    quotes = [quote.text for fold in examples(asked, outcomes) for quote in fold.blocks if isinstance(quote, Quote)]  # type: ignore[union-attr]
    fences = [token.content for token in MarkdownIt().parse(markdown) if token.type == "fence"]
    assert fences == [text + "\n" for text in quotes]
    assert [text.removeprefix("\n") for text in Reader(html).text_of("pre")] == quotes


@pytest.mark.parametrize(
    ("margin", "verdict"),
    [
        (1.5, "One moved towards **this user's choice** (+1.50 nats)."),
        (-1.5, "One moved towards **the other response** (-1.50 nats)."),
        (0.0, "One moved towards **neither** (+0.00 nats)."),
    ],
)
def test_a_verdict_is_the_sign_of_the_margin(
    asked: EvaluateSettings, outcomes: list[Outcome], margin: float, verdict: str
) -> None:
    first = next(iter(Records(asked.find("world/test.jsonl"))))
    row = replace(
        outcomes[0],
        scores={first.id: one(first.id, margin, 0.0)},
        reference={first.id: one(first.id, 0.0, 0.0)},
    )
    settings = asked.model_copy(update={"examples": 1, "policies": asked.policies[:1]})
    (fold,) = examples(settings, [row])
    assert isinstance(fold, Fold)
    assert isinstance(fold.blocks[0], Paragraph)
    assert fold.blocks[0].text == verdict


def test_a_policys_name_is_no_markup_in_its_verdict(asked: EvaluateSettings, outcomes: list[Outcome]) -> None:
    policy = outcomes[0].policy.model_copy(update={"name": "**One** [x](y)"})
    row = replace(outcomes[0], policy=policy)
    settings = asked.model_copy(update={"examples": 1, "policies": (policy,)})
    (fold,) = examples(settings, [row])
    assert isinstance(fold, Fold)
    assert isinstance(fold.blocks[0], Paragraph)
    assert plain(fold.blocks[0].text).startswith("**One** [x](y) moved towards")


def test_examples_and_baselines_are_read_with_the_evaluations_taxonomy(
    asked: EvaluateSettings, outcomes: list[Outcome], tmp_path: Path
) -> None:
    shipped = ROOT / "alignx/records/preference_dimensions.csv"
    other = tmp_path / "other.csv"
    other.write_text(shipped.read_text(encoding="utf-8").replace("ikes", "IKES"), encoding="utf-8")
    settings = asked.model_copy(update={"taxonomy": other})
    quotes = [block for fold in examples(settings, outcomes) for block in fold.blocks]  # type: ignore[union-attr]
    told_two = [quote.text for quote in quotes if isinstance(quote, Quote) and quote.label == "What Two was told"]
    assert any("IKES" in text for text in told_two)
    assert not any("ikes" in text for text in told_two)


def test_no_examples_are_shown_where_none_are_wanted(asked: EvaluateSettings, outcomes: list[Outcome]) -> None:
    assert examples(asked.model_copy(update={"examples": 0}), outcomes) == []


def test_no_example_is_shown_that_was_not_scored(little: Path, tmp_path: Path) -> None:
    settings = evaluation(little, tmp_path / "report", limit=2, examples=4)
    evaluate(settings)
    assert len(examples(settings, compare_all(settings))) == 2


def test_examples_of_another_users_persona_tell_that_persona(little: Path, tmp_path: Path) -> None:
    row = cell("other", persona="other", policies=["One"])
    settings = evaluation(
        little, tmp_path / "report", row, policies=[{"name": "One", "model": "one", "method": "ica"}], seed=3
    )
    evaluate(settings)
    records = list(Records(settings.find("world/test.jsonl")))
    donors = choose_donors(records, 3)
    assert donors != choose_donors(records, 0)
    for record, fold in zip(records, examples(settings, compare_all(settings)), strict=False):
        assert isinstance(fold, Fold)
        shown = fold.blocks[3]
        assert isinstance(shown, Quote)
        for comment in donors[record.id].persona.comments:
            assert comment.comment in shown.text


def test_a_policy_whose_first_row_has_other_records_is_not_shown_with_these(little: Path, tmp_path: Path) -> None:
    cells = [cell("own", policies=["One"]), cell("train", "world/train.jsonl", policies=["Two"])]
    settings = evaluation(little, tmp_path / "report", *cells, examples=1, limit=2)
    evaluate(settings)
    (fold,) = examples(settings, compare_all(settings))
    assert isinstance(fold, Fold)
    assert [block.label for block in fold.blocks if isinstance(block, Quote)][2:] == ["What One was told"]
    assert "Two" not in text_of(fold.blocks)


def test_a_policy_whose_first_row_has_other_data_is_shown_what_it_read(little: Path, tmp_path: Path) -> None:
    settings = evaluation(
        little,
        tmp_path / "report",
        cell("own", policies=["One"]),
        cell("comments", "world/test-comments-only.jsonl", policies=["Two"]),
        examples=3,
        limit=3,
    )
    evaluate(settings)
    for number, fold in enumerate(examples(settings, compare_all(settings))):
        assert isinstance(fold, Fold)
        wrong = told(settings, number, Condition(method="pba"))
        right = told(settings, number, Condition(method="pba"), "world/test-comments-only.jsonl")
        shown = [block.text for block in fold.blocks if isinstance(block, Quote) and "Two" in block.label]
        assert shown in ([], [right]), f"{wrong=}"


# The page


def test_sections_stand_in_order_and_only_those_with_content(asked: EvaluateSettings, markdown: str) -> None:
    assert re.findall("^## (.*)$", markdown, re.M) == [
        "What this shows",
        "Accuracy",
        "By length of the responses",
        "By preference dimension",
        "How to read the numbers",
        "What was expected",
        "The records",
        "How each number was made",
        "Without a model",
        "How long it took",
        "Examples",
    ]
    assert markdown.startswith("# A little evaluation\n\nWhat is measured.\n\n## What this shows\n\n> **Note.** All is")
    assert markdown.count("What is measured.") == 1
    assert "What it shows." in markdown


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_user_is_taken_for_markup(tmp_path: Path, text: str) -> None:
    name = text.strip() or "x"
    settings = bare(output=tmp_path, title=text, caution=text, about=[text, text])
    rows = [outcome(name, name, note=text, trimmed_items=1, expect=Expectation(low_above=0.1))]
    md, page = (path.read_text(encoding="utf-8") for path in report_without_examples(settings, rows)[:2])
    parsed = Reader(page)
    assert not [tag for tag, _ in parsed.tags if tag in {"script", "b", "img"}]
    tables = {"accuracy": 8, "length and choice": 8, "by ratio of lengths": 10 * 6, "expectations": 4, "records": 10}
    assert len(parsed.text_of("table")) == len(tables)
    assert " ".join(text.split()) == " ".join(parsed.text_of("h1")[0].split())
    tokens = MarkdownIt("commonmark").enable("table").parse(md)
    folds = [token.content.strip() for token in tokens if token.type == "html_block"]
    assert folds == [
        "<details>\n<summary>Accuracy by how much longer the chosen response is: chart and numbers of 1 rows</summary>",
        "</details>",
    ]
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h1", *["h2"] * 6]
    assert sum(token.type == "table_open" for token in tokens) == len(tables)
    assert sum(token.type == "td_open" for token in tokens) == sum(tables.values())


def report_without_examples(settings: EvaluateSettings, rows: Sequence[Outcome]) -> list[Path]:
    """The report of rows that have neither records nor scores on disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("alignx.evaluation.report.examples", lambda *_: [])
        patch.setattr("alignx.evaluation.report.provenance", lambda *_: [])
        patch.setattr("alignx.evaluation.sources.Records", lambda *_, **__: [])
        return write_report(settings, rows, [], Sources(settings))


def test_a_report_needs_no_examples_expectations_world_training_and_timings(tmp_path: Path) -> None:
    settings = bare(output=tmp_path)
    paths = report_without_examples(settings, [outcome()])
    assert [path.name for path in paths] == ["report.md", "report.html", "accuracy.svg", "lengths.svg"]
    assert re.findall("^## (.*)$", paths[0].read_text(), re.M) == [
        "Accuracy",
        "By length of the responses",
        "How to read the numbers",
        "The records",
    ]


def test_first_paragraph_leads_and_is_not_repeated(tmp_path: Path) -> None:
    settings = bare(output=tmp_path, about=["Lead."])
    text = report_without_examples(settings, [outcome()])[0].read_text()
    assert text.startswith("# Evaluation\n\nLead.\n\n## Accuracy")
    assert text.count("Lead.") == 1


def test_a_stale_figure_goes_with_what_it_showed(little: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("tiny", "one", "two", "world"):
        shutil.copytree(little / name, root / name)
    metrics = {"step": 1, "loss": 0.69, "rewards/accuracies": 0.5, "rewards/margins": 0.0}
    (root / "one/metrics.jsonl").write_text(json.dumps(metrics) + "\n")
    settings = evaluation(root, tmp_path / "report", limit=2, examples=0)
    evaluate(settings)
    assert (settings.output / "figures/training.svg").is_file()
    (root / "one/metrics.jsonl").unlink()
    evaluate(settings)
    assert not (settings.output / "figures/training.svg").exists()


def test_footer_says_what_made_it(markdown: str, html: str) -> None:
    version = manifest.versions()["alignx"]
    assert f"Made by alignx {version}; `manifest.json` beside this page says how." in markdown
    assert f"Made by alignx {version}" in html
