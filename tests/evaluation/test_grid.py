"""Policies times conditions: the numbers are those of scoring and comparing by hand, and no work is done twice."""

import gc
import json
import math
import re
import shutil
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alignx import manifest
from alignx.errors import DataError, SettingsError
from alignx.evaluation import grid
from alignx.evaluation.accuracy import accuracy, compare
from alignx.evaluation.grid import evaluate
from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.outcomes import Outcome, compare_all, describe, holds, margins, scores_of
from alignx.evaluation.rows import Cell, Expectation, Policy
from alignx.evaluation.scores import Score, read_scores, score
from alignx.evaluation.settings import AccuracySettings, ScoreSettings
from alignx.intervals import Estimate, clustered_mean
from alignx.manifest import Manifest
from alignx.settings import validate
from tests.evaluation.conftest import cell, evaluation, perturbed
from tests.evaluation.test_accuracy import by_id, one, write

CELLS = [
    cell("own", expect={"low_above": 0.0}),
    cell("nothing", persona="none", role="control"),
    cell("somebody's", persona="other", role="control", expect={"high_below": 0.0}),
    cell("golden", policies=["Two"], profile="golden", role="oracle", expect={"versus": "own", "reaches": -0.05}),
]
ROWS = [("One", label) for label in ("own", "nothing", "somebody's")]
ROWS += [("Two", label) for label in ("own", "nothing", "somebody's", "golden")]


@pytest.fixture(scope="module")
def asked(little: Path, tmp_path_factory: pytest.TempPathFactory) -> EvaluateSettings:
    """Two policies in three rows, one of them in a fourth; read-only."""
    return evaluation(little, tmp_path_factory.mktemp("asked") / "report", *CELLS, world="world", examples=2)


@pytest.fixture(scope="module")
def said(asked: EvaluateSettings) -> str:
    """What the finished evaluation says."""
    return evaluate(asked)


@pytest.fixture(scope="module")
def results(asked: EvaluateSettings, said: str) -> list[dict[str, Any]]:
    found = json.loads((asked.output / "results.json").read_text(encoding="utf-8"))
    assert isinstance(found, list)
    return found


@pytest.fixture
def outcomes(asked: EvaluateSettings, said: str) -> list[Outcome]:
    return compare_all(asked)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of each model that is loaded; while another of the same evaluation is alive, none may be."""
    inner, names, alive = grid.load_model, list[str](), list[weakref.ref[Any]]()

    def load(files: Any, *options: Any) -> Any:
        gc.collect()
        if not names:
            alive.clear()  # an evaluation before this one, whose last frames a warning may keep
        assert [each() for each in alive if each() is not None] == []
        model = inner(files, *options)
        alive.append(weakref.ref(model))
        names.append(files.folder.name)
        return model

    monkeypatch.setattr(grid, "load_model", load)
    return names


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Numbers


def test_numbers_are_those_of_scoring_and_comparing_by_hand(
    little: Path, results: list[dict[str, Any]], tmp_path: Path
) -> None:
    conditions = {"own": {}, "nothing": {"persona": "none"}, "somebody's": {"persona": "other"}}
    conditions["golden"] = {"profile": "golden"}
    assert [(row["policy"], row["label"]) for row in results] == ROWS
    kept: dict[Path, Any] = {}

    def load(files: Any, *options: Any) -> Any:
        if files.folder not in kept:
            kept[files.folder] = grid.load_model(files, *options)
        return kept[files.folder]

    for number, row in enumerate(results):
        shared = {"data": str(little / "world/test.jsonl"), "batch_tokens": 4_000, "dtype": "float32"}
        model = little / row["policy"].lower()
        mine = ScoreSettings(
            **shared,
            model=str(model),
            output=tmp_path / f"{number}",
            method="ica" if row["policy"] == "One" else "pba",
            **conditions[row["label"]],
        )
        theirs = ScoreSettings(**shared, model=str(little / "tiny"), output=tmp_path / f"{number}r", like=mine.output)
        policy, reference = (read_scores(score(each, load=load, quiet=True))[0] for each in (mine, theirs))
        expected = {**compare(policy, reference).as_dict(), "notes": row["notes"]}  # the manifests have a say in these
        assert {name: row[name] for name in expected} == expected
        raw = compare(reference, policy).raw
        assert row["reference_raw"] == raw.as_dict()


def test_numbers_are_those_of_the_published_command(asked: EvaluateSettings, outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        reference = outcome.file.with_name(outcome.file.name.replace(".jsonl", "-reference.jsonl"))
        found = accuracy(AccuracySettings(policy=outcome.file, reference=reference))
        assert found.accuracy == outcome.found.accuracy
        assert (found.correct, found.ties, found.raw) == (
            outcome.found.correct,
            outcome.found.ties,
            outcome.found.raw,
        )


def test_every_row_counts_all_records_and_their_users(results: list[dict[str, Any]]) -> None:
    for row in results:
        assert (row["n"], row["accuracy"]["clusters"], row["ties"]) == (16, 4, 0)
        assert (row["skipped"], row["trimmed"], row["prompts_differ"]) == (0, 0, 0)
    assert [row["persona_empty"] for row in results if row["label"] == "nothing"] == [16, 16]


def test_a_row_says_its_method_role_expectation_and_whether_it_holds(results: list[dict[str, Any]]) -> None:
    assert [row["method"] for row in results] == ["ica"] * 3 + ["pba"] * 4
    assert [row["role"] for row in results[3:]] == ["main", "control", "control", "oracle"]
    assert results[0]["expect"] == {"low_above": 0.0}
    assert [row["met"] for row in results[:3]] == [results[0]["accuracy"]["low"] > 0, None, False]
    assert results[1]["expect"] is None
    assert results[6]["expect"] == {"versus": "own", "reaches": -0.05}
    assert results[6]["met"] is (results[6]["difference"]["high"] > -0.05)
    assert [row["difference"] for row in results[:6]] == [None] * 6


def test_difference_is_from_the_same_policys_row(outcomes: list[Outcome]) -> None:
    own, golden = outcomes[3], outcomes[6]
    here, there = margins(golden.scores, golden.reference), margins(own.scores, own.reference)
    values = [(here[name] > 0) - (there[name] > 0) for name in here]
    clusters = [golden.scores[name].cluster for name in here]
    assert golden.difference == clustered_mean(values, clusters, bounds=None)


def test_reference_reads_the_very_same_prompts_as_the_policy(outcomes: list[Outcome]) -> None:
    told = set()
    for outcome in outcomes:
        reference = outcome.file.with_name(outcome.file.name.replace(".jsonl", "-reference.jsonl"))
        mine, theirs = manifest.read(outcome.file), manifest.read(reference)
        assert mine.condition == theirs.condition
        assert mine.data == theirs.data
        assert mine.model != theirs.model
        tokens = {name: each.prompt_tokens for name, each in outcome.scores.items()}
        assert {name: each.prompt_tokens for name, each in outcome.reference.items()} == tokens
        told.add(json.dumps(mine.condition, sort_keys=True))
    assert len(told) == len(ROWS)  # no two rows are told the same


def test_a_model_that_is_kept_for_several_rows_reads_each_prompt_once_in_all_of_them(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        reference = outcome.file.with_name(outcome.file.name.replace(".jsonl", "-reference.jsonl"))
        for file in (outcome.file, reference):
            found = manifest.read(file).forward or {}
            assert (found["shared_prefix"], found["attention"]) == (True, "alignx_shared_prefix_sdpa_sdpa")
            assert found["largest_difference"] < 1e-4


def test_condition_is_what_the_row_says(outcomes: list[Outcome]) -> None:
    found = {(o.policy.name, o.cell.label): manifest.read(o.file).condition or {} for o in outcomes}
    own = found["One", "own"]
    assert [own[name] for name in ("method", "persona", "profile", "history", "seed", "preset")] == [
        "ica",
        "own",
        "auto",
        "all",
        42,
        "paper",
    ]
    assert found["One", "nothing"] == {**own, "persona": "none"}
    assert found["One", "somebody's"] == {**own, "persona": "other"}
    assert found["Two", "own"] == {**own, "method": "pba"}
    assert found["Two", "golden"] == {**own, "method": "pba", "profile": "golden"}


def test_history_preset_seed_and_limit_reach_the_scores(little: Path, tmp_path: Path) -> None:
    row = cell("short", history=1, preset="released-eval")
    settings = evaluation(little, tmp_path / "report", row, seed=7, limit=3, examples=0)
    evaluate(settings)
    (found, _) = compare_all(settings)
    condition = manifest.read(found.file).condition or {}
    assert [condition[name] for name in ("history", "preset", "seed")] == [1, "released-eval", 7]
    assert found.found.n == 3


def test_a_row_and_a_condition_tell_a_part_of_the_persona(little: Path, tmp_path: Path) -> None:
    """Told of its comments, a world's file is its file of comments: the same prompts, the same scores."""
    benchmark = tmp_path / "benchmark.yaml"
    benchmark.write_text("columns: [{name: World, parts: [{name: all, data: world/test.jsonl}]}]\n", encoding="utf-8")
    rows = [cell("part", tell=["DEMO", "UGC"]), cell("file", "world/test-comments-only.jsonl")]
    conditions = [{"name": "comments", "tell": "comments,demographics"}]
    report = tmp_path / "report"
    settings = evaluation(
        little, report, *rows, benchmarks=[str(benchmark)], conditions=conditions, limit=4, examples=4
    )
    evaluate(settings)
    scored = {(one.policy.name, one.cell.label): one for one in compare_all(settings)}
    for policy in ("One", "Two"):
        part, file, column = (scored[policy, label] for label in ("part", "file", "World, comments"))
        assert manifest.read(part.file).told["tell"] == "comments,demographics"
        assert "tell" not in (manifest.read(file.file).condition or {})
        assert part.scores == column.scores
        assert part.reference == column.reference
        for name, score_ in file.scores.items():
            assert part.scores[name].model_dump() == pytest.approx(score_.model_dump(), abs=1e-3)
        assert not part.cell.tells_own
        assert part.found.notes == ("of the persona only comments and demographics are told",)
    assert "comments,demographics" in (report / "report.md").read_text(encoding="utf-8")


def test_a_part_that_does_not_exist_is_refused_in_its_place(little: Path, tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"--cells\.0\.tell: got 'coments', expected all, .*did you mean 'comments'"
    ):
        validate(EvaluateSettings, evaluation(little, tmp_path).model_dump() | {"cells": [cell("a", tell="coments")]})


def test_how_to_compute_reaches_the_policys_and_the_references_scores(
    little: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[ScoreSettings] = []
    monkeypatch.setattr(grid, "score", lambda settings, **_: asked.append(settings))
    how = {"taxonomy": tmp_path / "t.csv", "dtype": "bfloat16", "attention": "eager", "trust_remote_code": True}
    with pytest.raises(DataError, match="no such file"):  # the scores, which nobody has written
        evaluate(evaluation(little, tmp_path / "report", **how, batch_tokens=3, shared_prefix=False, limit=7))
    assert len(asked) == 4
    for each in asked:
        assert {name: getattr(each, name) for name in how} == how
        assert (each.batch_tokens, each.shared_prefix, each.limit) == (3, False, 7)


def test_reference_is_asked_as_the_policys_checkpoint_was_trained(little: Path, tmp_path: Path) -> None:
    """The reference records no format of its own; what it reads is settled by the policy's checkpoint."""
    root = tmp_path / "root"
    for name in ("tiny", "one", "world"):
        shutil.copytree(little / name, root / name)
    said = Manifest(kind="checkpoint", condition={"method": "ica", "preset": "released-train", "positive": "0.7"})
    manifest.write(root / "one", said)
    policies = [{"name": "One", "model": "one", "method": "ica"}]
    settings = evaluation(root, tmp_path / "report", policies=policies, limit=2, examples=0)
    evaluate(settings)
    (found,) = compare_all(settings)
    reference = found.file.with_name(found.file.name.replace(".jsonl", "-reference.jsonl"))
    conditions = [manifest.read(each).condition or {} for each in (found.file, reference)]
    assert [(each["preset"], each["positive"]) for each in conditions] == [("released-train", "0.7")] * 2


def test_beta_scales_margins_and_no_accuracy(asked: EvaluateSettings, outcomes: list[Outcome]) -> None:
    doubled = compare_all(asked.model_copy(update={"beta": 0.2}))
    for one_, other in zip(outcomes, doubled, strict=True):
        assert other.found.mean_margin == pytest.approx(2 * one_.found.mean_margin)
        assert other.found.accuracy == one_.found.accuracy


# Models


def test_each_model_is_loaded_once_and_never_two_at_a_time(little: Path, tmp_path: Path, loaded: list[str]) -> None:
    evaluate(evaluation(little, tmp_path / "report", cell("own"), cell("none", persona="none"), limit=2, examples=0))
    assert loaded == ["one", "two", "tiny"]


def test_loader_that_remembers_forgets_a_model_before_it_loads_another() -> None:
    class Model:
        pass

    kept: list[weakref.ref[Model]] = []

    def load(*_: Any) -> Model:
        assert not any(each() for each in kept)
        model = Model()
        kept.append(weakref.ref(model))
        return model

    remember = grid._remembering(load)
    one_, two = (grid.ModelFiles(name, Path(name), None) for name in ("one", "two"))
    first = id(remember(one_, "float32", "auto", False))
    assert id(remember(one_, "float32", "auto", False)) == first
    remember(one_, "bfloat16", "auto", False)
    remember(two, "bfloat16", "auto", False)
    remember(two, "bfloat16", "auto", False)
    assert len(kept) == 3


# Again


def test_second_run_loads_no_model_and_writes_the_same_bytes(
    asked: EvaluateSettings, said: str, loaded: list[str]
) -> None:
    before = contents(asked.output)
    assert evaluate(asked) == said
    assert loaded == []
    assert contents(asked.output) == before


def test_one_scores_file_that_was_lost_is_made_again_and_no_other(
    little: Path, tmp_path: Path, loaded: list[str]
) -> None:
    settings = evaluation(little, tmp_path / "report", cell("own"), cell("none", persona="none"), limit=3, examples=1)
    evaluate(settings)
    before = contents(settings.output)
    times = {path: path.stat().st_mtime_ns for path in (settings.output / "scores").glob("*.jsonl")}
    lost = compare_all(settings)[3].file
    lost.unlink()
    loaded.clear()
    evaluate(settings)
    assert loaded == ["two"]
    assert contents(settings.output) == before
    assert [path for path, time in times.items() if path.stat().st_mtime_ns != time] == [lost]


@pytest.mark.parametrize("after", [0, 1, 3])
def test_interrupted_evaluation_continues_to_the_same_report(
    little: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, loaded: list[str]
) -> None:
    cells = [cell("own"), cell("none", persona="none", policies=["Two"])]  # six files
    whole, cut = (
        evaluation(little, tmp_path / name / "report", *cells, limit=3, examples=1, world="world")
        for name in ("whole", "cut")
    )
    inner, calls = grid.score, iter(range(after))

    def until_interrupted(*args: Any, **options: Any) -> Path:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return inner(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(grid, "score", until_interrupted)
        with pytest.raises(KeyboardInterrupt):
            evaluate(cut)
    assert not (cut.output / "manifest.json").exists()
    assert not (cut.output / "results.json").exists()
    evaluate(whole)
    loaded.clear()
    evaluate(cut)
    assert loaded == [["one", "two", "tiny"], ["two", "tiny"], ["tiny"]][(0, 1, 3).index(after)]
    for name in ("results.json", "report.md", "report.html", "figures/accuracy.svg"):
        assert (cut.output / name).read_bytes() == (whole.output / name).read_bytes(), name


def test_a_row_more_is_scored_alone(little: Path, tmp_path: Path, loaded: list[str]) -> None:
    evaluate(evaluation(little, tmp_path / "report", cell("own"), limit=2, examples=0))
    loaded.clear()
    more = evaluation(
        little, tmp_path / "report", cell("own"), cell("none", persona="none", policies=["One"]), limit=2, examples=0
    )
    evaluate(more)
    assert loaded == ["one", "tiny"]
    assert len(json.loads((more.output / "results.json").read_text())) == 3


@pytest.mark.parametrize(
    ("change", "named"), [("data", "data.digest"), ("one", "model.digest"), ("tiny", "model.digest")]
)
def test_other_data_or_another_model_under_the_same_output_is_refused_by_name(
    little: Path, tmp_path: Path, change: str, named: str
) -> None:
    root = tmp_path / "root"
    for name in ("tiny", "one", "two", "world"):
        shutil.copytree(little / name, root / name)
    settings = evaluation(root, tmp_path / "report", limit=3, examples=0)
    evaluate(settings)
    before = contents(settings.output)
    if change == "data":
        path = root / "world/test.jsonl"
        rows = path.read_text(encoding="utf-8").splitlines()
        path.write_text("\n".join([rows[1], rows[0], *rows[2:]]) + "\n", encoding="utf-8")
    else:
        perturbed(little / change, root / change, seed=9)
    with pytest.raises(DataError, match=rf"scores/.*holds scores of something else, which differs in {named}"):
        evaluate(settings)
    assert contents(settings.output) == before


@pytest.mark.parametrize("others", [{"limit": 2}, {"seed": 1}])
def test_another_limit_or_seed_under_the_same_output_is_refused(
    little: Path, tmp_path: Path, others: dict[str, Any]
) -> None:
    settings = evaluation(little, tmp_path / "report", limit=3, examples=0)
    evaluate(settings)
    with pytest.raises(DataError, match="holds scores of something else"):
        evaluate(settings.model_copy(update=others))


# Where it is written


def test_manifest_names_every_file_of_the_report(asked: EvaluateSettings, said: str) -> None:
    found = manifest.read(asked.output)
    assert found.kind == "report"
    shown = set(re.findall(r"\]\((figures/[^)]+)\)", (asked.output / "report.md").read_text(encoding="utf-8")))
    assert {"figures/accuracy.svg", "figures/lengths.svg"} <= shown
    assert set(found.files) == {"results.json", "report.md", "report.html", *shown}
    assert {f"figures/{path.name}" for path in (asked.output / "figures").iterdir()} == shown
    assert manifest.is_intact(asked.output, found)
    assert found.settings == asked.model_dump(mode="json")
    assert {"alignx", "torch", "scipy"} <= set(found.versions)


def test_the_last_line_says_where_the_report_is(asked: EvaluateSettings, said: str) -> None:
    assert said.splitlines()[-1] == f"report: {asked.output}/report.md, {asked.output}/report.html"
    assert said.splitlines()[-2] == ""


def test_a_file_as_output_is_refused_and_stays(little: Path, tmp_path: Path) -> None:
    (tmp_path / "report").write_text("mine")
    with pytest.raises(SettingsError, match=r"--output: .*/report is a file, expected a folder"):
        evaluate(evaluation(little, tmp_path / "report"))
    assert (tmp_path / "report").read_text() == "mine"


@pytest.mark.parametrize("kind", ["checkpoint", "world", "tiny-model"])
def test_a_folder_that_holds_another_output_is_refused_and_stays(little: Path, tmp_path: Path, kind: Any) -> None:
    manifest.write(tmp_path, Manifest(kind=kind))
    before = contents(tmp_path)
    with pytest.raises(SettingsError, match=f"holds '{kind}', expected a new folder or an older report"):
        evaluate(evaluation(little, tmp_path))
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["results.json", "report.md", "manifest.json", "figures/accuracy.svg", "thesis.tex"])
def test_a_folder_with_files_of_something_else_is_refused_and_stays(little: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "report" / name
    path.parent.mkdir(parents=True)
    path.write_text('{"name": "mine"}')
    with pytest.raises(SettingsError, match="--output"):
        evaluate(evaluation(little, tmp_path / "report", limit=2, examples=0))
    assert path.read_text() == '{"name": "mine"}'


def test_an_empty_folder_is_fine(little: Path, tmp_path: Path) -> None:
    evaluate(evaluation(little, tmp_path, limit=2, examples=0))
    assert (tmp_path / "manifest.json").is_file()


ALIKE = [
    (cell("a b"), cell("a-b", persona="none")),
    (cell("golden"), cell("Golden", persona="none")),
    (cell("!"), cell("?", persona="none")),
    (cell("की"), cell("का", persona="none")),  # vowel signs are no letters to str.isalnum
    (cell("own"), cell("own reference", persona="none")),
]


@pytest.mark.parametrize("cells", ALIKE, ids=[f"{a['label']} and {b['label']}" for a, b in ALIKE])
def test_rows_whose_labels_look_alike_have_their_own_scores(
    little: Path, tmp_path: Path, cells: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    settings = evaluation(little, tmp_path / "report", *cells, limit=2, examples=0)
    evaluate(settings)
    outcomes = compare_all(settings)
    assert len({o.file for o in outcomes}) == 4
    assert [manifest.read(o.file).condition["persona"] for o in outcomes[:2]] == ["own", "none"]  # type: ignore[index]


def test_policy_and_label_that_join_to_the_same_words_have_their_own_scores(little: Path, tmp_path: Path) -> None:
    policies = [{"name": "a", "model": "one", "method": "ica"}, {"name": "a b", "model": "two", "method": "ica"}]
    cells = [cell("b c", policies=["a"]), cell("c", policies=["a b"])]
    evaluate(evaluation(little, tmp_path / "report", *cells, policies=policies, limit=2, examples=0))


def test_policies_whose_names_look_alike_have_their_own_scores(little: Path, tmp_path: Path) -> None:
    policies = [{"name": "A", "model": "one", "method": "ica"}, {"name": "a", "model": "two", "method": "ica"}]
    settings = evaluation(little, tmp_path / "report", policies=policies, limit=2, examples=0)
    evaluate(settings)
    assert len({each.file for each in compare_all(settings)}) == 2


def test_labels_in_any_script_are_told_apart(little: Path, tmp_path: Path) -> None:
    settings = evaluation(little, tmp_path / "report", cell("自己"), cell("他人", persona="none"), limit=2, examples=0)
    evaluate(settings)
    assert len({o.file for o in compare_all(settings)}) == 4


def test_a_label_of_a_whole_sentence_is_no_file_name_that_is_too_long(little: Path, tmp_path: Path) -> None:
    evaluate(evaluation(little, tmp_path / "report", cell("自" * 90), limit=2, examples=0))


# Whether an expectation holds


def estimate(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high, 9, 9, 0.1)


@pytest.mark.parametrize(
    ("expected", "low", "high", "holding"),
    [
        ({}, 0.1, 0.2, True),
        ({"low_above": 0.7}, 0.71, 0.8, True),
        ({"low_above": 0.7}, 0.7, 0.8, False),  # above, not at
        ({"low_above": 0.7}, 0.6, 0.9, False),
        ({"high_below": 0.4}, 0.1, 0.39, True),
        ({"high_below": 0.4}, 0.1, 0.4, False),
        ({"high_below": 0.4}, 0.1, 0.5, False),
        ({"low_at_most": 0.5}, 0.5, 0.6, True),  # at its end is inside
        ({"low_at_most": 0.5}, 0.51, 0.6, False),
        ({"low_at_most": 0.5}, 0.2, 0.3, True),  # below is no leak either
        ({"low_at_most": 0.0}, 0.01, 0.3, False),  # nought is a number
        ({"low_above": 0.0}, 0.0, 0.3, False),
        ({"low_above": 0.5, "high_below": 0.7}, 0.55, 0.65, True),
        ({"low_above": 0.5, "high_below": 0.7}, 0.45, 0.65, False),
        ({"low_above": 0.5, "high_below": 0.7}, 0.55, 0.75, False),
    ],
)
def test_an_expectation_is_about_an_end_of_the_interval(
    expected: dict[str, Any], low: float, high: float, holding: bool
) -> None:
    assert holds(Expectation(**expected), estimate(low, high)) is holding


@pytest.mark.parametrize(("high", "holding"), [(-0.06, False), (-0.05, False), (-0.04, True), (0.3, True)])
def test_reaching_is_about_the_upper_end_of_the_difference(high: float, holding: bool) -> None:
    expected = Expectation(versus="own", reaches=-0.05)
    assert holds(expected, estimate(0.1, 0.2), estimate(-0.4, high)) is holding


def test_reaching_nothing_does_not_hold() -> None:
    assert holds(Expectation(versus="own", reaches=-0.05), estimate(0.9, 1.0), None) is False


# Differences, by hand

#           here: policy, reference            there: policy, reference
BY_HAND = {
    "a": ((-1.0, -5.0), (-2.0, -2.0), (-3.0, -1.0), (-2.0, -2.0)),  # right, wrong: +1
    "b": ((-1.0, -5.0), (-2.0, -2.0), (-2.0, -2.0), (-2.0, -2.0)),  # right, a tie is not right: +1
    "c": ((-2.0, -2.0), (-2.0, -3.0), (-5.0, -1.0), (-2.0, -2.0)),  # wrong, wrong: 0
    "d": ((-2.0, -2.0), (-2.0, -2.0), (-1.0, -5.0), (-2.0, -2.0)),  # a tie, right: −1
}


def side(place: int, names: str = "abcd") -> dict[str, Score]:
    users = {"a": "user:1", "b": "user:1", "c": "user:2", "d": "user:2"}
    return by_id(one(name, *BY_HAND[name][place], cluster=users[name]) for name in names)


def written(folder: Path, there: str = "abcd", turned: bool = False) -> EvaluateSettings:
    """An evaluation whose scores are the numbers above."""
    settings = EvaluateSettings.model_validate(
        {
            "policies": [{"name": "P", "model": "p", "method": "ica"}],
            "reference": "r",
            "output": folder,
            "cells": [
                {"label": "here", "data": "d", "expect": {"versus": "there", "reaches": -0.05}},
                {"label": "there", "data": "d"},
            ],
        }
    )
    (folder / "scores").mkdir()
    for number, each in enumerate(settings.cells):
        policy, reference = scores_of(settings, settings.policies[0], each)
        names = there if number else "abcd"
        write(policy, side(2 * number, names[::-1] if turned and number else names))
        write(reference, side(2 * number + 1, names))
    return settings


def test_margin_is_how_far_the_policy_moved_towards_the_preferred_response() -> None:
    # a: (−1 − −2) − (−5 − −2) = 1 + 3; c: (−2 − −2) − (−2 − −3) = −1
    assert margins(side(0), side(1)) == {"a": 4.0, "b": 4.0, "c": -1.0, "d": 0.0}


def test_difference_worked_by_hand_on_four_records_of_two_users(tmp_path: Path) -> None:
    here, there = compare_all(written(tmp_path))
    assert there.difference is None
    found = here.difference
    assert found is not None
    # mean 1/4; residuals 3/4, 3/4 | −1/4, −5/4: sums 3/2 and −3/2; variance 2/1 · (9/4 + 9/4) / 16 = 9/16
    assert (found.mean, found.n, found.clusters) == (0.25, 4, 2)
    assert found.standard_error == pytest.approx(0.75)
    assert [found.low, found.high] == pytest.approx([0.25 - 12.7062 * 0.75, 0.25 + 12.7062 * 0.75], abs=1e-4)
    assert here.met is True
    assert there.met is None
    assert (here.found.correct, here.found.ties) == (2, 1)
    assert here.reference_raw.mean == 0.25  # the reference alone prefers c's chosen response; equal is not likelier


def test_difference_is_paired_by_record_whatever_the_order(tmp_path: Path) -> None:
    (tmp_path / "straight").mkdir()
    (tmp_path / "turned").mkdir()
    straight, turned = written(tmp_path / "straight"), written(tmp_path / "turned", turned=True)
    assert compare_all(turned)[0].difference == compare_all(straight)[0].difference


def test_rows_with_other_records_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="are compared record by record, but 1 ids are in one only, such as 'd'"):
        compare_all(written(tmp_path, there="abc"))


def test_a_row_with_more_records_than_the_one_it_is_compared_with_and_one_with_fewer_are_refused(
    tmp_path: Path,
) -> None:
    settings = written(tmp_path, there="abc")
    here, there = settings.cells
    turned = settings.model_copy(
        update={
            "cells": (
                here.model_copy(update={"expect": None}),
                there.model_copy(update={"expect": Expectation(versus="here", reaches=0.0)}),
            )
        }
    )
    for each in (settings, turned):
        with pytest.raises(DataError, match="1 ids are in one only"):
            compare_all(each)


def test_rows_that_cannot_be_compared_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"here.*there"):
        compare_all(written(tmp_path, there="abc"))


def test_one_user_alone_cannot_meet_a_comparison(tmp_path: Path) -> None:
    expected = Expectation(versus="own", reaches=-0.05)
    difference = clustered_mean([-1.0, -1.0], ["user:1", "user:1"], bounds=None)
    assert not math.isfinite(difference.high)
    assert holds(expected, estimate(0.1, 0.2), difference) is False


def test_scores_that_are_missing_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    settings = written(tmp_path)
    file = scores_of(settings, settings.policies[0], settings.cells[1])[1]
    file.unlink()
    with pytest.raises(DataError, match=f"{file.name}: no such file"):
        compare_all(settings)


# What is printed


def outcome(policy: str, label: str, mean: float, expect: Expectation | None = None) -> Outcome:
    """A row of one right and one wrong item, or of two alike, and what was expected of it."""
    items = {0.0: (-1.0, -1.0), 0.5: (1.0, -1.0), 1.0: (1.0, 1.0)}[mean]
    scores = by_id(one(str(i), margin, 0.0) for i, margin in enumerate(items))
    reference = by_id(one(str(i), 0.0, 0.0) for i in range(2))
    found = compare(scores, reference)
    return Outcome(
        Policy(name=policy, model="m", method="ica"),
        Cell(label=label, data="d", expect=expect),
        found,
        found.raw,
        None,
        Path("f"),
        scores,
        reference,
    )


def test_a_line_a_row_in_columns_with_whether_it_is_as_expected() -> None:
    lines = describe(
        [
            outcome("ICA", "own", 1.0, Expectation(low_above=0.1)),
            outcome("ICA", "somebody's", 0.5),
            outcome("P", "own", 0.0, Expectation(low_above=0.1)),
        ]
    )
    assert lines[0].startswith("ICA, own         100.00 % [15.81, 100.00] (n = 2, 2 clusters")  # 1 − √0.025 = 0.8419
    assert lines[0].endswith("  as expected")
    assert lines[1].startswith("ICA, somebody's  50.00 % ")
    assert not lines[1].lower().endswith("as expected")
    assert lines[2].startswith("P, own           0.00 % ")
    assert lines[2].endswith("  NOT AS EXPECTED")
    assert lines[3:] == ["expectations: 1 of 2 hold"]


def test_without_expectations_there_is_no_line_about_them() -> None:
    assert len(describe([outcome("ICA", "own", 0.5)])) == 1


def test_a_note_is_printed_once_with_the_rows_it_is_about() -> None:
    tied = by_id(one(str(i), 0.0, 0.0) for i in range(2))
    rows = [outcome("ICA", label, 0.5) for label in ("a", "b", "c")]
    rows[1:] = [replace(row, found=compare(tied, tied)) for row in rows[1:]]
    found = [line for line in describe(rows) if "tie" in line]
    assert found == ["note: every item is a tie: the policy scores exactly as the reference does (ICA, b; ICA, c)"]


def test_what_a_row_asks_for_is_no_note() -> None:
    asked = (
        "the profile is the target's own direction: an oracle",
        "the persona told is 'none', not the user's own",
        "of the persona only comments are told",
    )
    row = outcome("ICA", "own", 0.5)
    row = replace(row, found=replace(row.found, notes=(*asked, "computed in bfloat16")))
    found = describe([row])
    assert "note: computed in bfloat16 (ICA, own)" in found
    assert not [line for line in found if "the persona" in line or "the profile is" in line]


def test_what_is_printed_counts_the_expectations(said: str, results: list[dict[str, Any]]) -> None:
    checked = [row["met"] for row in results if row["met"] is not None]
    assert len(checked) == 5
    assert f"\nexpectations: {sum(checked)} of 5 hold\n" in said


def test_a_policy_that_is_its_reference_is_all_ties(little: Path, tmp_path: Path) -> None:
    policies = [{"name": "Same", "model": "tiny", "method": "ica"}]
    settings = evaluation(little, tmp_path / "report", policies=policies, limit=3, examples=0)
    said = evaluate(settings)
    (row,) = json.loads((settings.output / "results.json").read_text())
    assert (row["n"], row["ties"], row["correct"], row["accuracy"]["mean"]) == (3, 3, 0, 0.0)
    assert any("every item is a tie" in note for note in row["notes"])
    assert "every item is a tie" in said


def test_a_policy_trained_from_another_model_is_noted(little: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("tiny", "one", "two", "world"):
        shutil.copytree(little / name, root / name)
    trained_from = manifest.read(root / "two").model_copy(update={"kind": "checkpoint"})
    model = manifest.ModelIdentity(name="elsewhere", digest="elsewhere", tokenizer="t")
    manifest.write(root / "one", trained_from.model_copy(update={"model": model, "condition": None}))
    policies = [{"name": "One", "model": "one", "method": "ica"}]
    settings = evaluation(root, tmp_path / "report", policies=policies, limit=2, examples=0)
    evaluate(settings)
    (row,) = json.loads((settings.output / "results.json").read_text())
    assert any("not the model that the policy was trained from" in note for note in row["notes"])
