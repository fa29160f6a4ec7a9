"""Under which condition a model is asked: its checkpoint's manifest, the published names, the default."""

from pathlib import Path
from typing import Any

import pytest

from alignx import manifest
from alignx.errors import DataError, SettingsError
from alignx.manifest import Manifest
from alignx.prompts import Condition, Method, choose_condition
from alignx.prompts.choice import PUBLISHED
from alignx.prompts.settings import ConditionSettings


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is not here is not on the hub either."""

    def absent(*_: Any, **__: Any) -> str:
        raise FileNotFoundError

    monkeypatch.setattr("huggingface_hub.hf_hub_download", absent)


def checkpoint(folder: Path, kind: Any = "checkpoint", **condition: Any) -> str:
    """A folder that records the condition it was made under."""
    folder.mkdir()
    said = Condition(**condition).resolved().model_dump(mode="json")
    manifest.write(folder, Manifest(kind=kind, condition=said))
    return str(folder)


def test_the_four_published_names_are_asked_as_the_released_evaluation_asks() -> None:
    assert PUBLISHED == (
        "JinaLeejnl/AlignXpert-ICA-Subset",
        "JinaLeejnl/AlignXpert-ICA-Full",
        "JinaLeejnl/AlignXpert-PBA-Subset",
        "JinaLeejnl/AlignXpert-PBA-Full",
    )
    for name in PUBLISHED:
        method = "ica" if "ICA" in name else "pba"
        for spelled in (name, name + "/"):
            found = choose_condition(spelled, {"method": method})
            assert found.condition == Condition(method=method, preset="released-eval", positive="0.51", negative="0.49")
            assert found.warnings == ()
            assert found.reason == "one of the authors' published checkpoints"


@pytest.mark.parametrize("name", ["meta-llama/Llama-3.1-8B-Instruct", "JinaLeejnl/AlignXpert-ICA", "out/nowhere", ""])
def test_anything_else_is_asked_as_the_paper_describes(name: str) -> None:
    found = choose_condition(name, {"method": "ica"})
    assert found.condition == Condition(method="ica", preset="paper", positive="0.6", negative="0.4")
    assert found.warnings == ()
    assert found.reason == "the default: the model records no preset"


@pytest.mark.parametrize("preset", ["paper", "released-train", "released-eval"])
def test_a_checkpoint_is_asked_in_the_preset_thresholds_and_date_it_records(tmp_path: Path, preset: Any) -> None:
    model = checkpoint(
        tmp_path / "model", method="pba", preset=preset, positive="0.7", negative="0.2", date="1 Jan 2020"
    )
    found = choose_condition(model, {"method": Method.PBA})
    assert found.condition == Condition(method="pba", preset=preset, positive="0.7", negative="0.2", date="1 Jan 2020")
    assert found.warnings == ()
    assert found.reason == "as its checkpoint records"


def test_what_a_checkpoint_was_told_about_users_in_training_is_not_how_it_is_evaluated(tmp_path: Path) -> None:
    model = checkpoint(
        tmp_path / "model",
        method="ica",
        history="sampled",
        persona="other",
        profile="golden",
        seed=7,
        max_length=99,
    )
    assert choose_condition(model, {"method": "ica"}).condition == Condition(method="ica").resolved()


def test_a_checkpoint_of_a_published_name_is_asked_as_its_manifest_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "JinaLeejnl").mkdir()
    checkpoint(tmp_path / PUBLISHED[0], method="ica", preset="paper")
    (tmp_path / PUBLISHED[1]).mkdir()  # a download of the original, which has no manifest
    assert choose_condition(PUBLISHED[0], {"method": "ica"}).condition.preset == "paper"
    assert choose_condition(PUBLISHED[1], {"method": "ica"}).condition.preset == "released-eval"


def test_a_checkpoint_on_the_hub_is_asked_as_its_manifest_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = checkpoint(tmp_path / "model", method="ica", preset="released-train")
    asked: list[tuple[Any, ...]] = []

    def download(repo: str, file: str, *, revision: str | None) -> str:
        asked.append((repo, file, revision))
        return f"{model}/{file}"

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    found = choose_condition("somebody/alignx-ica", {"method": "ica"}, revision="v2")
    assert found.condition.preset == "released-train"
    assert asked == [("somebody/alignx-ica", "manifest.json", "v2")]


def test_no_model_records_nothing_even_inside_a_checkpoint_s_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkpoint(tmp_path / "model", method="ica", preset="released-train"))
    assert choose_condition(None, {"method": "ica"}).condition.preset == "paper"
    assert choose_condition(".", {"method": "ica"}).condition.preset == "released-train"


@pytest.mark.parametrize("kind", ["tiny-model", "prepared"])
def test_only_a_checkpoint_s_manifest_counts(tmp_path: Path, kind: str) -> None:
    model = checkpoint(tmp_path / "model", kind, method="ica", preset="released-train")
    assert choose_condition(model, {"method": "ica"}).condition.preset == "paper"


def test_a_manifest_of_another_tool_is_ignored_and_a_broken_one_of_ours_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"format": "webpack"}')
    assert choose_condition(str(tmp_path), {"method": "ica"}).condition.preset == "paper"
    (tmp_path / "manifest.json").write_text('{"format": "alignx-manifest/1", "kind": "nonsense"}')
    with pytest.raises(DataError, match=r"manifest\.json: kind: .*expected the format alignx-manifest/1"):
        choose_condition(str(tmp_path), {"method": "ica"})


# ---- What the user sets ----


@pytest.mark.parametrize(
    ("wanted", "warnings"),
    [
        ({"method": "pba"}, ()),
        ({"method": Method.PBA, "preset": "released-train", "positive": "0.7", "negative": "0.4"}, ()),
        ({"method": "pba", "history": "all", "persona": "none", "seed": 1, "max_length": 10}, ()),
        ({"method": Method.ICA}, ("--method ica contradicts the checkpoint, which was made with pba",)),
        (
            {"method": "pba", "preset": "paper"},
            ("--preset paper contradicts the checkpoint, which was made with released-train",),
        ),
        (
            {"method": "pba", "positive": "0.8", "negative": "0.1"},
            (
                "--positive 0.8 contradicts the checkpoint, which was made with 0.7",
                "--negative 0.1 contradicts the checkpoint, which was made with 0.4",
            ),
        ),
    ],
    ids=str,
)
def test_a_setting_wins_over_the_checkpoint_and_is_warned_of_where_it_contradicts(
    tmp_path: Path, wanted: dict[str, Any], warnings: tuple[str, ...]
) -> None:
    model = checkpoint(tmp_path / "model", method="pba", preset="released-train", positive="0.7")
    found = choose_condition(model, wanted)
    assert found.warnings == warnings
    assert {name: getattr(found.condition, name) for name in wanted} == wanted


def test_a_setting_wins_over_a_published_name_and_is_warned_of() -> None:
    found = choose_condition(PUBLISHED[1], {"method": "pba", "preset": "released-train"})
    assert (found.condition.method, found.condition.preset) == (Method.PBA, "released-train")
    assert found.warnings == (
        "--method pba contradicts the checkpoint, which was made with ica",
        "--preset released-train contradicts the checkpoint, which was made with released-eval",
    )


def test_thresholds_follow_the_preset_that_is_set_unless_they_are_set_too(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "model", method="pba", preset="paper", positive="0.7", negative="0.3")

    def thresholds(**wanted: Any) -> tuple[str, str]:
        condition = choose_condition(model, {"method": "pba", **wanted}).condition
        return condition.positive, condition.negative

    assert thresholds() == ("0.7", "0.3")
    assert thresholds(preset="paper") == ("0.7", "0.3")
    assert thresholds(preset="released-train") == ("0.6", "0.4")
    assert thresholds(preset="released-eval") == ("0.51", "0.49")
    assert thresholds(preset="released-eval", positive="0.9") == ("0.9", "0.49")
    assert thresholds(positive="0.9") == ("0.9", "0.3")


@pytest.mark.parametrize("same", ["0.60", ".6"])
def test_the_same_threshold_written_otherwise_contradicts_nothing(tmp_path: Path, same: str) -> None:
    model = checkpoint(tmp_path / "model", method="pba")
    assert choose_condition(model, {"method": "pba", "positive": same}).warnings == ()


@pytest.mark.parametrize(("positive", "negative"), [("0.4", "0.6"), ("0.5", "0.5"), ("1.1", "0.4"), ("high", "low")])
def test_impossible_thresholds_are_refused(positive: str, negative: str) -> None:
    with pytest.raises(SettingsError, match=r"(thresholds|--positive): got "):
        choose_condition(None, {"method": "pba", "positive": positive, "negative": negative})


@pytest.mark.parametrize(
    "bad", [{"history": -1}, {"history": "some"}, {"preset": "papers"}, {"max_length": 0}, {"x": 1}]
)
def test_an_impossible_condition_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(bad)).replace("_", "-")):
        choose_condition(None, {"method": "pba", **bad})


def test_only_what_was_set_overrides_the_checkpoint(tmp_path: Path) -> None:
    assert ConditionSettings().wanted() == {}
    assert ConditionSettings(history=0, method="pba").wanted() == {"method": Method.PBA, "history": 0}
    model = checkpoint(tmp_path / "model", method="pba", preset="released-train")
    found = choose_condition(model, ConditionSettings(history=0, method="pba").wanted())
    assert found.condition == Condition(method="pba", preset="released-train", history=0).resolved()
