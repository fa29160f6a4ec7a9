"""Alignment accuracy from two scores files."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignx import manifest
from alignx.errors import DataError
from alignx.evaluation.accuracy import accuracy, compare, describe
from alignx.evaluation.scores import Score, score
from alignx.evaluation.settings import AccuracySettings
from alignx.manifest import DataIdentity, Manifest, ModelIdentity
from alignx.prompts import Condition
from tests.evaluation.conftest import settings

ROOT = Path(__file__).parents[2]


def one(record_id: str, chosen: float, rejected: float, **others: Any) -> Score:
    values = {
        "prompt_tokens": 9,
        "chosen_tokens": 3,
        "rejected_tokens": 4,
        "cluster": f"user:{record_id}",
        "target": record_id,
        "trimmed_items": 0,
        "trimmed_demographics": False,
        "history_items": 2,
        "profile": "",
        "persona_empty": False,
    }
    return Score(id=record_id, chosen=chosen, rejected=rejected, **{**values, **others})


def by_id(scores: Iterable[Score]) -> dict[str, Score]:
    return {each.id: each for each in scores}


#          log π(y_w), log π(y_l) of the policy; of the reference      margin before β
ITEMS = {
    "a": ((-10.0, -20.0), (-12.0, -21.0)),  # (2) − (1) = +1 : right
    "b": ((-30.0, -20.0), (-35.0, -22.0)),  # (5) − (2) = +3 : right, though the policy prefers y_l
    "c": ((-10.0, -20.0), (-9.0, -20.0)),  # (−1) − (0) = −1 : wrong, though the policy prefers y_w
    "d": ((-10.0, -11.0), (-10.0, -11.0)),  # 0 : a tie
    "e": ((-8.0, -9.0), (-10.0, -11.0)),  # (2) − (2) = 0 : a tie although both moved
}
POLICY = by_id(one(name, *policy) for name, (policy, _) in ITEMS.items())
REFERENCE = by_id(one(name, *reference) for name, (_, reference) in ITEMS.items())


def test_accuracy_worked_by_hand_counts_strict_margins_and_reports_ties() -> None:
    found = compare(POLICY, REFERENCE, beta=0.1)
    assert (found.n, found.correct, found.ties, found.within_noise) == (5, 2, 2, 2)
    assert found.accuracy.mean == pytest.approx(2 / 5)
    assert found.raw.mean == pytest.approx(4 / 5)  # all but b
    assert found.mean_margin == pytest.approx(0.1 * (1 + 3 - 1 + 0 + 0) / 5)
    assert (found.targets, found.accuracy.clusters) == (5, 5)
    assert "correct 2, ties 2, wrong 1 of n = 5 items with 5 distinct targets" in describe(found)


def test_smallest_margin_counts_and_its_opposite_does_not() -> None:
    reference = by_id([one("x", -10.0, -10.0), one("y", -10.0, -10.0)])
    found = compare(by_id([one("x", -10.0, -10.0 - 2**-40), one("y", -10.0 - 2**-40, -10.0)]), reference)
    assert (found.correct, found.ties, found.within_noise) == (1, 0, 2)


@pytest.mark.parametrize(("nats", "noise"), [(0.0009, 1), (0.0011, 0), (-0.0009, 1), (-0.0011, 0)])
def test_margins_within_what_batching_changes_are_counted_in_nats_whatever_beta(nats: float, noise: int) -> None:
    for beta in (0.01, 0.1, 5.0):
        found = compare(by_id([one("x", nats, 0.0)]), by_id([one("x", 0.0, 0.0)]), beta)
        assert found.within_noise == noise


def test_policy_equal_to_the_reference_is_all_ties_and_says_so() -> None:
    found = compare(POLICY, POLICY)
    assert (found.correct, found.ties, found.accuracy.mean) == (0, 5, 0.0)
    assert "every item is a tie" in describe(found)
    assert "every item is a tie" not in describe(compare(POLICY, REFERENCE))


def test_items_are_joined_by_id_and_not_by_place() -> None:
    turned = dict(reversed(REFERENCE.items()))
    assert compare(POLICY, turned).as_dict() == compare(POLICY, REFERENCE).as_dict()


@given(
    st.lists(st.tuples(*4 * [st.floats(-900, 0, width=32)]), min_size=1, max_size=12),
    st.floats(1e-3, 1e3),
)
def test_beta_scales_margins_and_changes_no_accuracy(items: list[tuple[float, ...]], beta: float) -> None:
    policy = by_id(one(str(i), a, b) for i, (a, b, _, _) in enumerate(items))
    reference = by_id(one(str(i), a, b) for i, (_, _, a, b) in enumerate(items))
    plain, scaled = compare(policy, reference, 1.0), compare(policy, reference, beta)
    assert (scaled.correct, scaled.ties, scaled.accuracy) == (plain.correct, plain.ties, plain.accuracy)
    assert scaled.mean_margin == pytest.approx(beta * plain.mean_margin, rel=1e-6, abs=1e-9)


@given(st.lists(st.tuples(*4 * [st.floats(-900, 0, width=32)]), min_size=1, max_size=12))
def test_swapping_chosen_and_rejected_turns_right_into_wrong(items: list[tuple[float, ...]]) -> None:
    def both(swap: bool) -> Any:
        order = (lambda a, b: (b, a)) if swap else (lambda a, b: (a, b))
        policy = by_id(one(str(i), *order(a, b)) for i, (a, b, _, _) in enumerate(items))
        reference = by_id(one(str(i), *order(a, b)) for i, (_, _, a, b) in enumerate(items))
        return compare(policy, reference)

    found, swapped = both(False), both(True)
    assert found.ties == swapped.ties
    assert found.correct + swapped.correct + found.ties == found.n


def test_intervals_are_clustered_by_what_the_scores_say() -> None:
    same = by_id(
        one(s.id, s.chosen, s.rejected, cluster="user:1" if s.id in "ab" else "user:2") for s in POLICY.values()
    )
    found = compare(same, REFERENCE)
    assert (found.accuracy.clusters, found.raw.clusters, found.targets) == (2, 2, 5)


def test_prompts_trimmed_differently_for_the_two_are_counted_and_said() -> None:
    trimmed = {**POLICY, "a": one("a", -10.0, -20.0, trimmed_items=1), "b": one("b", -1, -2, trimmed_demographics=True)}
    found = compare(trimmed, REFERENCE)
    assert found.prompts_differ == 2
    assert "2 prompts were trimmed differently for policy and reference" in describe(found)
    assert "trimmed" not in describe(compare(POLICY, REFERENCE))


@pytest.mark.parametrize("missing_in", ["reference", "policy"])
def test_an_id_that_one_side_lacks_is_refused_and_named(missing_in: str) -> None:
    sides = {"policy": dict(POLICY), "reference": dict(REFERENCE)}
    del sides[missing_in]["c"]
    with pytest.raises(DataError, match=f"1 ids are missing from the {missing_in}'s scores, the first is 'c'"):
        compare(sides["policy"], sides["reference"])


# Files

CONDITION = Condition(method="ica").resolved().model_dump(mode="json")


def write(path: Path, scores: Mapping[str, Score], *, condition: Mapping[str, Any] = CONDITION, **others: Any) -> Path:
    """A finished scores file of invented numbers."""
    path.write_text("".join(each.model_dump_json() + "\n" for each in scores.values()), encoding="utf-8")
    model = ModelIdentity(name=path.stem, digest=path.stem, tokenizer="t", dtype="float32")
    values: dict[str, Any] = {
        "kind": "scores",
        "data": DataIdentity(source="d.jsonl", digest="data", records=len(scores)),
        "taxonomy": "taxonomy",
        "model": model,
        "condition": dict(condition),
        "counts": {"scored": len(scores)},
        "files": {path.name: manifest.file_digest(path)},
    }
    manifest.write(path, Manifest(**{**values, **others}))
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return {
        "policy": write(tmp_path / "policy.jsonl", POLICY),
        "reference": write(tmp_path / "reference.jsonl", REFERENCE),
    }


def test_two_files_give_what_their_scores_give(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = accuracy(AccuracySettings(**files))
    assert found == compare(POLICY, REFERENCE)
    assert capsys.readouterr().out == describe(found) + "\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"condition": {**CONDITION, "preset": "released-eval"}}, "condition.preset (paper against released-eval)"),
        ({"condition": {**CONDITION, "seed": 1}}, "condition.seed (42 against 1)"),
        ({"data": DataIdentity(source="d.jsonl", digest="other", records=5)}, "data.digest (data against other)"),
        ({"taxonomy": "other"}, "taxonomy (taxonomy against other)"),
    ],
)
def test_reference_under_another_condition_or_on_other_data_is_refused_with_what_to_do(
    change: dict[str, Any], said: str, files: dict[str, Path]
) -> None:
    write(files["reference"], REFERENCE, **change)
    with pytest.raises(DataError) as caught:
        accuracy(AccuracySettings(**files))
    assert f"differ in {said}; score the reference again with --like {files['policy']}" in str(caught.value)


def test_same_data_and_condition_under_other_names_are_accepted(files: dict[str, Path]) -> None:
    write(files["reference"], REFERENCE, data=DataIdentity(source="moved.parquet", digest="data", records=5, skipped=2))
    assert accuracy(AccuracySettings(**files)).n == 5


def test_id_that_is_in_a_file_twice_is_refused(files: dict[str, Path]) -> None:
    text = files["policy"].read_text(encoding="utf-8")
    files["policy"].write_text(text + text.splitlines()[0] + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"policy\.jsonl:6: id 'a' is there twice"):
        accuracy(AccuracySettings(**files))


def test_line_lost_from_either_file_is_refused(files: dict[str, Path]) -> None:
    for path in files.values():
        whole = path.read_text(encoding="utf-8")
        path.write_text(whole[: whole.rindex("\n", 0, -1) + 1], encoding="utf-8")
        with pytest.raises(DataError, match=f"{path.name}: has 4 scores, its manifest says 5"):
            accuracy(AccuracySettings(**files))
        path.write_text(whole, encoding="utf-8")


def notes(files: dict[str, Path]) -> str:
    return "\n".join(accuracy(AccuracySettings(**files)).notes)


def test_policy_and_reference_of_the_same_weights_are_noted(files: dict[str, Path]) -> None:
    assert notes(files) == ""
    same = ModelIdentity(name="other name", digest="policy", tokenizer="t", dtype="float32")
    write(files["reference"], REFERENCE, model=same)
    assert "policy and reference are the same weights" in notes(files)


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ({"method": "pba", "profile": "golden"}, "an oracle, an upper bound"),
        ({"persona": "none"}, "the persona told is 'none', not the user's own"),
        ({"persona": "reversed"}, "the persona told is 'reversed'"),
        ({"tell": "comments,choices"}, "of the persona only comments and choices are told"),
        ({"tell": "arbitrary"}, "of the persona only a part drawn for each record is told"),
    ],
)
def test_conditions_that_measure_something_else_are_noted(
    condition: dict[str, Any], said: str, files: dict[str, Path]
) -> None:
    for name, scores in (("policy", POLICY), ("reference", REFERENCE)):
        write(files[name], scores, condition={**CONDITION, **condition})
    assert said in notes(files)


def test_bfloat16_is_noted_and_refused_on_one_side_alone(files: dict[str, Path]) -> None:
    write(files["reference"], REFERENCE, model=ModelIdentity(name="r", digest="r", tokenizer="t", dtype="bfloat16"))
    with pytest.raises(DataError, match=r"differ in model\.dtype \(float32 against bfloat16\)"):
        notes(files)
    write(files["policy"], POLICY, model=ModelIdentity(name="p", digest="p", tokenizer="t", dtype="bfloat16"))
    assert "computed in bfloat16" in notes(files)


def test_a_reference_trained_from_the_policy_is_refused_as_swapped(files: dict[str, Path]) -> None:
    base = ModelIdentity(name="base", digest="b", tokenizer="t", dtype="float32")
    trained = ModelIdentity(name="trained", digest="p", tokenizer="t", dtype="float32", trained_from="b")
    write(files["policy"], POLICY, model=base)
    write(files["reference"], REFERENCE, model=trained)
    with pytest.raises(DataError, match="swap --policy and --reference"):
        notes(files)
    write(files["policy"], POLICY, model=trained)
    write(files["reference"], REFERENCE, model=base.model_copy(update={"digest": "another"}))
    assert "not the model that the policy was trained from" in notes(files)


def test_an_output_that_is_something_else_is_not_overwritten(files: dict[str, Path]) -> None:
    write(files["policy"], POLICY)
    write(files["reference"], REFERENCE)
    before = files["policy"].read_bytes()
    settings = AccuracySettings(policy=files["policy"], reference=files["reference"], output=files["policy"])
    with pytest.raises(DataError, match="is there and is no accuracy"):
        accuracy(settings)
    assert files["policy"].read_bytes() == before


def strict(text: str) -> Any:
    """JSON as other languages read it, where NaN and Infinity are errors."""

    def refuse(name: str) -> None:
        pytest.fail(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


FIELDS = {
    "n",
    "targets",
    "correct",
    "ties",
    "within_noise",
    "accuracy",
    "raw",
    "mean_margin",
    "prompts_differ",
    "skipped",
    "trimmed",
    "persona_empty",
    "notes",
    "beta",
    "policy",
    "reference",
}
ESTIMATE = {"mean", "low", "high", "n", "clusters", "standard_error", "note"}


def test_output_holds_every_number_and_has_a_manifest(files: dict[str, Path], tmp_path: Path) -> None:
    output = tmp_path / "accuracy.json"
    found = accuracy(AccuracySettings(**files, output=output, beta=0.2))
    written = strict(output.read_text(encoding="utf-8"))
    assert written.keys() == FIELDS
    assert written["accuracy"].keys() == written["raw"].keys() == ESTIMATE
    assert (written["n"], written["correct"], written["ties"], written["beta"]) == (5, 2, 2, 0.2)
    assert written["accuracy"] == found.accuracy.as_dict()
    assert written["mean_margin"] == pytest.approx(0.2 * 3 / 5)
    for side in ("policy", "reference"):
        assert written[side]["scores"] == str(files[side])
        assert written[side]["model"]["digest"] == side
    of = manifest.read(output)
    assert (of.kind, of.condition, of.data) == ("accuracy", CONDITION, manifest.read(files["policy"]).data)
    assert of.files == {"accuracy.json": manifest.file_digest(output)}


def test_output_for_a_single_user_is_json_that_others_can_read(tmp_path: Path) -> None:
    single = {name: one(name, -1.0, -2.0, cluster="user:1") for name in "ab"}
    paths = {side: write(tmp_path / f"{side}.jsonl", single) for side in ("policy", "reference")}
    output = tmp_path / "accuracy.json"
    accuracy(AccuracySettings(**paths, output=output))
    assert strict(output.read_text(encoding="utf-8"))["accuracy"]["clusters"] == 1


def test_scores_of_one_model_against_themselves_are_all_ties(tiny_model: Path, data: Path, scored: Path) -> None:
    again = score(settings(tiny_model, data, scored.with_name("again.jsonl"), like=scored))
    found = accuracy(AccuracySettings(policy=scored, reference=again))
    assert (found.n, found.ties, found.accuracy.mean) == (11, 11, 0.0)
    assert found.targets == 9  # records 4 and 9 repeat the targets of 1 and 6
    assert len(found.notes) == 2  # the same weights; every item a tie


def run_script(*flags: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "eval" / "acc.py"), *map(str, flags)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def test_script_prints_the_accuracy_and_writes_it(files: dict[str, Path], tmp_path: Path) -> None:
    output = tmp_path / "accuracy.json"
    done = run_script("--policy", files["policy"], "--reference", files["reference"], "--output", output)
    assert (done.returncode, done.stderr) == (0, "")
    expected = describe(compare(POLICY, REFERENCE))
    assert expected.startswith("alignment accuracy 40.00 % [")
    assert done.stdout == f"{expected}\nwritten to {output}\n"
    assert strict(output.read_text(encoding="utf-8"))["correct"] == 2


def test_script_exits_with_the_code_of_data_and_one_line(files: dict[str, Path]) -> None:
    write(files["reference"], REFERENCE, taxonomy="other")
    done = run_script("--policy", files["policy"], "--reference", files["reference"])
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("acc.py: error: ")
    assert done.stderr.count("\n") == 1
