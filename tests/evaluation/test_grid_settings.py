"""What an evaluation may be asked for, and how it is refused; without a model."""

import re
from pathlib import Path
from typing import Any

import pytest

from alignx.errors import SettingsError
from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.rows import Cell, Expectation
from alignx.records.world.synthesize import SynthesizeSettings, synthesize
from alignx.settings import parse, validate

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "configs/eval/demo.yaml"
POLICIES = [{"name": "ICA", "model": "ica", "method": "ica"}, {"name": "PBA", "model": "pba", "method": "pba"}]


def cell(label: str, **others: Any) -> dict[str, Any]:
    return {"label": label, "data": "d.jsonl", **others}


def asked(*cells: dict[str, Any], **others: Any) -> EvaluateSettings:
    values = {"policies": POLICIES, "reference": "base", "output": "out", "cells": cells or [cell("own")], **others}
    return validate(EvaluateSettings, values)


def refusal(*cells: dict[str, Any], **others: Any) -> str:
    with pytest.raises(SettingsError) as refused:
        asked(*cells, **others)
    return str(refused.value)


# Rows


def test_a_row_is_for_all_policies_or_for_those_it_names_in_order() -> None:
    found = asked(cell("own"), cell("golden", policies=["PBA"]), cell("none"))
    assert [each.label for each in found.cells_of("ICA")] == ["own", "none"]
    assert [each.label for each in found.cells_of("PBA")] == ["own", "golden", "none"]


def test_a_row_for_a_policy_that_is_not_there_is_refused_with_those_that_are() -> None:
    assert refusal(cell("own", policies=["PBE"])) == "--cells: 'own' is for 'PBE', known are ICA, PBA"


def test_a_label_twice_for_one_policy_is_refused() -> None:
    assert refusal(cell("own"), cell("own", policies=["PBA"])) == "--cells: 'own' stands twice for PBA"


def test_a_label_twice_for_different_policies_is_fine() -> None:
    found = asked(cell("own", policies=["ICA"]), cell("own", policies=["PBA"]))
    assert [len(found.cells_of(name)) for name in ("ICA", "PBA")] == [1, 1]


def test_a_policy_name_twice_is_refused() -> None:
    assert refusal(policies=[POLICIES[0], POLICIES[0]]) == "--policies: got ICA, ICA, expected each name once"


def test_no_policy_is_refused() -> None:
    assert re.search(r"^--policies: got .* at least 1 item", refusal(policies=[]))


def test_neither_rows_nor_benchmarks_are_refused_and_either_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.yaml"
    path.write_text("columns:\n  - name: All\n    parts: [{name: all, data: d.jsonl}]\n")
    values = {"policies": POLICIES, "reference": "base", "output": "out"}
    for nothing in ({}, {"cells": []}, {"cells": [], "benchmarks": []}):
        with pytest.raises(SettingsError, match="--cells or --benchmarks: nothing is to be measured"):
            validate(EvaluateSettings, {**values, **nothing})
    alone = {
        "own": validate(EvaluateSettings, {**values, "cells": [cell("own")]}),
        "All, own persona": validate(EvaluateSettings, {**values, "benchmarks": [path]}),
    }
    for label, found in alone.items():
        assert [each.label for each in found.cells_of("ICA")] == [label]


def test_a_policy_without_a_row_is_refused() -> None:
    assert "PBA" in refusal(cell("own", policies=["ICA"]))


@pytest.mark.parametrize("role", ["main", "control", "oracle", "variant"])
def test_each_role_is_accepted(role: str) -> None:
    assert asked(cell("own", role=role)).cells[0].role == role


def test_an_unknown_role_is_refused() -> None:
    assert "'main', 'control', 'oracle' or 'variant'" in refusal(cell("own", role="boss"))


def test_a_golden_profile_for_a_method_without_profiles_is_refused() -> None:
    assert "golden" in refusal(cell("golden", profile="golden", policies=["ICA"]))


# Expectations


def test_what_is_not_expected_is_not_checked() -> None:
    assert Expectation().model_dump(exclude_none=True) == {}


@pytest.mark.parametrize("half", [{"versus": "own"}, {"reaches": -0.05}, {"exceeds": 0.0}])
def test_versus_and_what_is_expected_of_the_difference_go_together(half: dict[str, Any]) -> None:
    assert "versus goes together with reaches" in refusal(cell("own"), cell("golden", expect=half))


@pytest.mark.parametrize("label", ["owm", "none"])
def test_versus_must_be_a_row_of_the_same_policy(label: str) -> None:
    message = refusal(
        cell("own"), cell("golden", expect={"versus": label, "reaches": 0.0}), cell("none", policies=["PBA"])
    )
    assert message == f"--cells: 'golden' has {label!r} as versus, no row of ICA"


def test_versus_may_stand_after_the_row() -> None:
    found = asked(cell("golden", expect={"versus": "own", "reaches": 0.0}), cell("own"))
    assert found.cells[0].expect == Expectation(versus="own", reaches=0.0)


def test_without_expectations_no_row_has_one_and_the_rest_of_it_stays() -> None:
    expecting = cell("own", role="control", note="why", expect={"low_above": 0.7})
    found = asked(expecting, expectations=False)
    assert found.cells_of("ICA") == [Cell(label="own", data="d.jsonl", role="control", note="why")]
    assert asked(expecting).cells_of("ICA")[0].expect == Expectation(low_above=0.7)


@pytest.mark.parametrize("value", [70, -0.1])
@pytest.mark.parametrize("name", ["low_above", "high_below", "low_at_most"])
def test_an_expectation_in_percent_is_refused_because_accuracies_are_shares(name: str, value: float) -> None:
    assert name in refusal(cell("own", expect={name: value}))


@pytest.mark.parametrize("points", [-5, 5])
@pytest.mark.parametrize("name", ["reaches", "exceeds"])
def test_a_difference_in_points_is_refused_because_differences_are_shares(name: str, points: float) -> None:
    message = refusal(cell("own"), cell("golden", expect={"versus": "own", name: points}))
    assert re.search(rf"expect\.{name}: got {points}", message)


def test_an_expectation_of_nothing_is_refused() -> None:
    assert "expect" in refusal(cell("own", expect={}))


# Names of files


def test_a_name_is_looked_up_under_root_first(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    assert asked(root=tmp_path).find("tiny") == str(tmp_path / "tiny")


@pytest.mark.parametrize("name", ["tiny", "meta-llama/Llama-3.1-8B-Instruct", "./tiny"])
def test_a_name_that_is_not_under_root_is_as_it_was_given(name: str, tmp_path: Path) -> None:
    assert asked(root=tmp_path).find(name) == name


def test_an_absolute_name_is_itself_whatever_the_root(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "elsewhere").mkdir()
    assert asked(root=tmp_path / "elsewhere").find(str(tmp_path / "tiny")) == str(tmp_path / "tiny")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"references": [{"name": "a", "model": "m"}, {"name": "a", "model": "n"}]},
            "--references: got a, a, expected",
        ),
        ({"references": [{"name": "a", "model": "base"}]}, "--references: 'a' is the reference itself"),
        ({"conditions": [{"name": "a"}, {"name": "a"}]}, "--conditions: got a, a, expected each name once"),
        ({"conditions": [{"name": "a", "history": -1}]}, "--conditions.0.history: got -1, expected"),
    ],
)
def test_names_stand_once_and_a_message_says_where_they_stand_twice(changed: dict[str, Any], said: str) -> None:
    assert said in refusal(**changed)


# The command line


def stored(folder: Path, text: str) -> str:
    path = folder / "grid.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


GRID = "policies: [{name: ICA, model: ica, method: ica}]\nreference: base\noutput: out\n"


def refused_file(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as refused:
        parse(EvaluateSettings, ["--config", stored(folder, text)], "evaluate")
    return str(refused.value)


def test_an_unknown_key_is_refused_with_the_nearest_and_the_file(tmp_path: Path) -> None:
    message = refused_file(tmp_path, GRID + "cells: [{label: own, data: d}]\ntittle: x\n")
    assert message == f"{tmp_path}/grid.yaml: unknown setting 'tittle'; did you mean 'title'?"


@pytest.mark.parametrize(
    "row",
    [
        "{label: own, data: d, persoa: none}",
        "{label: own, data: d, expect: {low_abov: 0.5}}",
    ],
)
def test_an_unknown_key_within_a_row_is_refused(tmp_path: Path, row: str) -> None:
    assert "unknown setting" in refused_file(tmp_path, GRID + f"cells: [{row}]\n")


@pytest.mark.parametrize(
    ("row", "unknown", "nearest"),
    [
        ("{label: own, data: d, persoa: none}", "persoa", "persona"),
        ("{label: own, data: d, rol: main}", "rol", "role"),
        ("{label: own, data: d, expect: {low_abov: 0.5}}", "low_abov", "low_above"),
    ],
)
def test_an_unknown_key_within_a_row_is_refused_with_the_nearest_and_its_place(
    tmp_path: Path, row: str, unknown: str, nearest: str
) -> None:
    message = refused_file(tmp_path, GRID + f"cells: [{{label: first, data: d}}, {row}]\n")
    assert re.search(rf"unknown setting 'cells\.1\.(expect\.)?{unknown}'; did you mean '{nearest}'\?", message)


def test_a_missing_part_of_a_row_is_named_with_its_place(tmp_path: Path) -> None:
    message = refused_file(tmp_path, GRID + "cells: [{label: own}]\n")
    assert "cells.0.data" in message
    assert "at least 1 item" not in message


def test_a_wrong_value_in_a_row_is_refused_once_and_with_its_place(tmp_path: Path) -> None:
    message = refused_file(tmp_path, GRID + "cells: [{label: own, data: d, persona: nobody}]\n")
    assert "cells.0.persona" in message
    assert "'own', 'none', 'other' or 'reversed'" in message
    assert "at least 1 item" not in message


# The configuration of the demo


def demo(*argv: str) -> EvaluateSettings:
    return parse(EvaluateSettings, ["--config", str(DEMO), "--output", "out", *argv], "evaluate")


def test_demo_is_valid_and_expects_something_of_every_control() -> None:
    found = demo()
    assert [policy.name for policy in found.policies] == ["ICA", "PBA"]
    controls = [each for each in found.cells if each.role == "control"]
    assert len(controls) == 3
    assert all(each.expect for each in controls)
    assert found.cells_of("ICA")[0].expect == Expectation(low_above=0.7)


def test_demo_without_expectations_has_none() -> None:
    cells = demo("--no-expectations").cells_of("PBA")
    assert len(cells) == 8
    assert all(each.expect is None for each in cells)


def test_demo_says_what_each_row_means() -> None:
    assert all(each.note for each in demo().cells)


def test_demo_reads_only_files_that_a_world_has(tmp_path: Path) -> None:
    synthesize(SynthesizeSettings(output=tmp_path / "world", train=4, test=4))
    found = demo("--root", str(tmp_path))
    for each in found.cells:
        assert found.find(each.data) == str(tmp_path / each.data), each.label
        assert Path(found.find(each.data)).is_file(), each.label
    assert found.find(found.world or "") == str(tmp_path / "world")


def test_demo_has_a_row_for_every_test_file_of_a_world(tmp_path: Path) -> None:
    synthesize(SynthesizeSettings(output=tmp_path, train=4, test=4))
    assert {f"world/{path.name}" for path in tmp_path.glob("test*.jsonl")} == {each.data for each in demo().cells}
