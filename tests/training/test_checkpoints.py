"""Which checkpoints count, which are kept, and what may be resumed with them: folders made by hand, no model."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignx import manifest
from alignx.errors import SettingsError
from alignx.manifest import DataIdentity, Manifest, ModelIdentity
from alignx.prompts import Condition
from alignx.settings import parse
from alignx.training import checkpoints
from alignx.training.checkpoints import CHANGES_NO_RESULT, commit, differences, newest, refuse, rotate
from alignx.training.settings import TrainSettings

FILES = {
    "model.safetensors": b"weights " * 40,
    "optimizer.pt": b"moments " * 80,
    "global_step/rank-0.pt": b"a share",
    "trainer_state.json": b"{}",
}


def drafted(**settings: Any) -> Manifest:
    """The manifest of a run, without what is known only when a checkpoint is written."""
    condition = Condition(method="ica").resolved()
    wanted = TrainSettings(model="m", data="d", output=Path("o"), method="ica", seed=42)
    return Manifest(
        kind="checkpoint",
        data=DataIdentity(source="d", digest="d" * 64, records=8),
        taxonomy="t" * 64,
        model=ModelIdentity(name="m", digest="e" * 64, tokenizer="f" * 64, dtype="float32"),
        condition=condition.model_dump(mode="json"),
        settings={**wanted.model_dump(mode="json"), **settings},
    )


def written(output: Path, step: int) -> Path:
    """What a trainer leaves at a step, before it counts."""
    folder = checkpoints.folder_of(output, step)
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def committed(output: Path, *steps: int, world_size: int = 1) -> Path:
    """Checkpoints of so many steps that count; returns the last folder."""
    for step in steps:
        commit(written(output, step), drafted(), {"step": step, "world_size": world_size})
    return checkpoints.folder_of(output, steps[-1])


def steps_in(output: Path) -> list[int]:
    return [int(folder.name.removeprefix("checkpoint-")) for folder in checkpoints.folders(output)]


# Committing.


def test_a_committed_checkpoint_names_the_size_and_digest_of_every_file(tmp_path: Path) -> None:
    folder = committed(tmp_path, 3, world_size=2)
    found = manifest.read(folder)
    assert found.kind == "training-state"
    assert found.counts == {"step": 3, "world_size": 2}
    assert found.sizes == {name: len(content) for name, content in FILES.items()}
    assert found.files == {name: manifest.file_digest(folder / name) for name in FILES}
    assert (found.data, found.model, found.condition) == (drafted().data, drafted().model, drafted().condition)


def test_the_manifest_is_written_when_every_file_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, inner = written(tmp_path, 1), os.fsync
    safe: set[int] = set()

    def watched(handle: int) -> None:
        inner(handle)
        if not (folder / "manifest.json").exists():
            safe.add(os.fstat(handle).st_ino)

    monkeypatch.setattr(os, "fsync", watched)
    commit(folder, drafted(), {"step": 1, "world_size": 1})
    assert {(folder / name).stat().st_ino for name in FILES} <= safe


def test_a_file_that_cannot_reach_the_disk_leaves_no_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    folder = written(tmp_path, 1)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        commit(folder, drafted(), {"step": 1, "world_size": 1})
    assert not (folder / "manifest.json").exists()
    assert newest(tmp_path).folder is None


def test_a_committed_checkpoint_holds_no_pickled_arguments(tmp_path: Path) -> None:
    folder = written(tmp_path, 1)
    for place in (folder, folder / "global_step"):
        (place / "training_args.bin").write_bytes(b"a pickle")
    commit(folder, drafted(), {"step": 1, "world_size": 1})
    assert not list(folder.rglob("training_args.bin"))
    assert set(manifest.read(folder).files) == set(FILES)
    assert newest(tmp_path).folder == folder


def test_leftovers_of_a_checkpoint_that_was_cut_off_are_not_taken_for_its_files(tmp_path: Path) -> None:
    folder = written(tmp_path, 2)
    (folder / "rng_state_1.pth").write_bytes(b"of a process that is no more")
    checkpoints.prepare(folder)
    assert not folder.exists()
    committed(tmp_path, 2)
    assert set(manifest.read(folder).files) == set(FILES)
    checkpoints.prepare(checkpoints.folder_of(tmp_path, 3))  # nothing there is no error


# Finding the newest that counts.


def test_without_a_checkpoint_nothing_is_found_and_nothing_passed_over(tmp_path: Path) -> None:
    for output in (tmp_path, tmp_path / "nowhere"):
        found = newest(output)
        assert (found.folder, found.manifest, found.passed_over, found.step) == (None, None, (), 0)


def test_the_newest_is_the_one_of_the_largest_step_not_the_last_by_name_or_time(tmp_path: Path) -> None:
    committed(tmp_path, 100, 9, 10)
    found = newest(tmp_path)
    assert (found.folder, found.step, found.passed_over) == (tmp_path / "checkpoint-100", 100, ())
    assert found.manifest == manifest.read(tmp_path / "checkpoint-100")


def test_folders_of_other_names_and_files_are_no_checkpoints(tmp_path: Path) -> None:
    committed(tmp_path, 5)
    for name in ("checkpoint-", "checkpoint-x", "checkpoint-7.tmp", "old-checkpoint-8", "checkpoint--9"):
        shutil.copytree(tmp_path / "checkpoint-5", tmp_path / name)
    (tmp_path / "checkpoint-10").write_text("a file")
    found = newest(tmp_path)
    assert (found.step, found.passed_over) == (5, ())


def edit_manifest(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def cut(path: Path, bytes_off: int) -> None:
    path.write_bytes(path.read_bytes()[:-bytes_off])


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "it has no manifest: saving it was cut off"),
    "no optimiser": (lambda f: (f / "optimizer.pt").unlink(), r"optimizer\.pt is missing"),
    "no share": (lambda f: shutil.rmtree(f / "global_step"), r"global_step/rank-0\.pt is missing"),
    "cut by a byte": (
        lambda f: cut(f / "model.safetensors", 1),
        r"model\.safetensors has 319 bytes, its manifest says 320",
    ),
    "longer": (lambda f: (f / "trainer_state.json").write_bytes(b"{} "), r"trainer_state\.json has 3 bytes, .* says 2"),
    "empty": (lambda f: (f / "optimizer.pt").write_bytes(b""), r"optimizer\.pt has 0 bytes, its manifest says 640"),
    "first bit": (lambda f: flip(f / "model.safetensors", 0), r"model\.safetensors was changed since it was written"),
    "last bit": (lambda f: flip(f / "optimizer.pt", -1), r"optimizer\.pt was changed since it was written"),
    "bit of a share": (lambda f: flip(f / "global_step/rank-0.pt", 2), r"global_step/rank-0\.pt was changed since"),
    "manifest of a finished run": (lambda f: edit_manifest(f, kind="checkpoint"), "it has no manifest"),
    "manifest of another tool": (
        lambda f: (f / "manifest.json").write_text('{"name": "an app"}'),
        "it has no manifest",
    ),
    "cut manifest": (lambda f: cut(f / "manifest.json", 40), r"manifest\.json: cannot read the manifest"),
    "manifest of the future": (
        lambda f: edit_manifest(f, format="alignx-manifest/9"),
        r"manifest\.json: format: .*expected the format alignx-manifest/1",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_with_its_reason_and_the_one_before_found(
    damage: str, tmp_path: Path
) -> None:
    committed(tmp_path, 9, 10)
    harm, said = DAMAGES[damage]
    harm(tmp_path / "checkpoint-10")
    found = newest(tmp_path)
    assert (found.folder, found.step) == (tmp_path / "checkpoint-9", 9)
    ((folder, problem),) = found.passed_over
    assert folder == tmp_path / "checkpoint-10"
    assert re.search(said, problem)
    assert (tmp_path / "checkpoint-10").is_dir(), "looking changes nothing"


def test_where_none_counts_each_is_named_the_newest_first(tmp_path: Path) -> None:
    committed(tmp_path, 1, 2)
    (tmp_path / "checkpoint-1/optimizer.pt").unlink()
    (tmp_path / "checkpoint-2/manifest.json").unlink()
    found = newest(tmp_path)
    assert (found.folder, found.manifest, found.step) == (None, None, 0)
    assert [folder.name for folder, _ in found.passed_over] == ["checkpoint-2", "checkpoint-1"]


# Keeping the newest.


@pytest.mark.parametrize(("keep", "left"), [(1, [11]), (2, [11, 10]), (3, [11, 10, 9]), (9, [11, 10, 9, 2])])
def test_rotation_keeps_the_newest(keep: int, left: list[int], tmp_path: Path) -> None:
    committed(tmp_path, 2, 9, 10, 11)
    (tmp_path / "model.safetensors").write_bytes(b"another file of the run")
    rotate(tmp_path, keep)
    assert steps_in(tmp_path) == left
    assert newest(tmp_path).step == 11
    assert (tmp_path / "model.safetensors").is_file()


def test_rotation_removes_broken_ones_that_are_older_and_counts_only_what_counts(tmp_path: Path) -> None:
    committed(tmp_path, 1, 2, 3, 4, 5)
    for step in (2, 4):
        (checkpoints.folder_of(tmp_path, step) / "manifest.json").unlink()
    rotate(tmp_path, 2)
    left = steps_in(tmp_path)
    assert {3, 5} <= set(left)
    assert not {1, 2} & set(left)


@pytest.mark.parametrize("damage", ["no manifest", "first bit", "no optimiser", "cut by a byte"])
def test_a_damaged_one_of_a_later_step_never_costs_the_one_just_saved(damage: str, tmp_path: Path) -> None:
    # Resumed from step 3 because 6 was damaged, and asked to stop after step 4.
    committed(tmp_path, 3, 6)
    DAMAGES[damage][0](tmp_path / "checkpoint-6")
    for folder, _ in newest(tmp_path).passed_over:
        checkpoints.disown(folder)
        assert (folder / "model.safetensors").is_file(), "somebody may want to look at it"
    committed(tmp_path, 4)
    rotate(tmp_path, 1)
    assert newest(tmp_path).step == 4


def test_a_removal_that_is_cut_off_leaves_nothing_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Any, *_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    committed(tmp_path, 1, 2)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            rotate(tmp_path, 1)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.remove_all(tmp_path)  # removes the newest first
    assert newest(tmp_path).folder is None
    assert steps_in(tmp_path) == [2, 1], "both are there, and neither counts"
    rotate(tmp_path, 1)
    checkpoints.remove_all(tmp_path)
    assert steps_in(tmp_path) == []


def test_all_checkpoints_of_a_finished_run_go_and_nothing_else(tmp_path: Path) -> None:
    committed(tmp_path, 1, 2)
    (tmp_path / "checkpoint-1/manifest.json").unlink()
    (tmp_path / "checkpoint-notes").mkdir()
    checkpoints.remove_all(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-notes"]


# What a run that resumes must share with the one that saved.


def saved(**changes: Any) -> Manifest:
    return drafted().model_copy(update={"kind": "training-state", "counts": {"step": 4, "world_size": 1}, **changes})


def test_the_same_run_differs_in_nothing() -> None:
    assert differences(saved(), drafted(), 1) == {}


def test_another_name_of_the_same_model_and_data_is_no_difference() -> None:
    data = DataIdentity(source="elsewhere", digest="d" * 64, records=8)
    model = ModelIdentity(name="elsewhere", digest="e" * 64, tokenizer="f" * 64, dtype="float32")
    assert differences(saved(data=data, model=model), drafted(), 1) == {}


def test_versions_of_packages_are_no_difference() -> None:
    assert differences(saved(versions={"torch": "2.0"}), drafted(), 1) == {}
    assert differences(saved(), drafted(), 1, 3) == {}, "it says nothing of ZeRO"


@pytest.mark.parametrize(
    ("changes", "name", "values"),
    [
        ({"data": DataIdentity(source="d", digest="9" * 64, records=8)}, "data", "999999999999… against dddddddddddd…"),
        ({"taxonomy": "9" * 64}, "taxonomy", "999999999999… against tttttttttttt…"),
        (
            {"model": ModelIdentity(name="m", digest="9" * 64, tokenizer="f" * 64, dtype="float32")},
            "model",
            "999999999999… against eeeeeeeeeeee…",
        ),
        (
            {"model": ModelIdentity(name="m", digest="e" * 64, tokenizer="f" * 64, dtype="bfloat16")},
            "dtype",
            "bfloat16 against float32",
        ),
        ({"counts": {"step": 4, "world_size": 2}}, "world_size", "2 against 1"),
    ],
)
def test_other_records_weights_precision_and_processes_are_named_with_both_values(
    changes: dict[str, Any], name: str, values: str
) -> None:
    assert differences(saved(**changes), drafted(), 1) == {name: values}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("method", "pba"),
        ("preset", "released-eval"),
        ("profile", "golden"),
        ("persona", "other"),
        ("history", 2),
        ("tell", "comments"),
        ("seed", 7),
        ("positive", "0.7"),
        ("negative", "0.3"),
        ("max_length", 99),
        ("date", "1 Jan 2020"),
    ],
)
def test_each_part_of_the_condition_is_named_once(name: str, value: object) -> None:
    condition = drafted().told
    told = {**condition, name: value}
    assert differences(saved(condition=told), drafted(), 1) == {name: f"{value} against {condition[name]}"}


def test_every_part_of_a_condition_is_compared() -> None:
    for name in Condition.model_fields:
        told = {**(drafted().condition or {}), name: "another"}
        assert list(differences(saved(condition=told), drafted(), 1)) == [name]


TOLD_OTHERWISE = {*Condition.model_fields, "dtype", "taxonomy"}
"""Settings whose outcome is compared, not how it was asked for."""


@pytest.mark.parametrize("name", sorted(set(TrainSettings.model_fields) - CHANGES_NO_RESULT - TOLD_OTHERWISE))
def test_every_setting_that_changes_a_result_is_named(name: str) -> None:
    other = drafted(**{name: "another"})
    before = other.settings[name], drafted().settings[name]
    assert differences(saved(settings=other.settings), drafted(), 1) == {name: f"{before[0]} against {before[1]}"}


@pytest.mark.parametrize("name", sorted(CHANGES_NO_RESULT | TOLD_OTHERWISE & set(TrainSettings.model_fields)))
def test_a_setting_that_changes_no_result_is_no_difference(name: str) -> None:
    assert name in TrainSettings.model_fields
    assert differences(saved(settings=drafted(**{name: "another"}).settings), drafted(), 1) == {}


def test_named_are_among_others_beta_loss_seed_and_rate() -> None:
    other = drafted(beta=0.3, loss_type="ipo", learning_rate=1e-6)
    told = {**(drafted().condition or {}), "seed": 7}
    found = differences(saved(settings=other.settings, condition=told), drafted(), 4)
    assert found == {
        "seed": "7 against 42",
        "learning_rate": "1e-06 against 5e-07",
        "beta": "0.3 against 0.1",
        "loss_type": "ipo against sigmoid",
        "world_size": "1 against 4",
    }


# Refusing, and going on all the same.

DIFFERING = {"beta": "0.1 against 0.2", "world_size": "2 against 1"}


def test_a_difference_is_refused_with_its_values_and_every_way_out() -> None:
    with pytest.raises(SettingsError) as caught:
        refuse(Path("out/checkpoint-4"), DIFFERING, ())
    assert str(caught.value) == (
        "out/checkpoint-4: is of another run, which differs in beta (0.1 against 0.2); world_size (2 against 1); set "
        "it back, choose another --output, or go on all the same with --resume-despite beta,world_size"
    )


@pytest.mark.parametrize("given", [(), ("beta",), ("seed",), ("seed", "world_size")])
def test_the_flag_that_a_refusal_names_is_the_one_that_helps(given: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError) as caught:
        refuse(Path("checkpoint-4"), DIFFERING, given)
    flag = str(caught.value).rpartition(" with ")[2].split()
    wanted = parse(TrainSettings, ["--model", "m", "--data", "d", "--output", "o", *flag], "train")
    assert wanted.resume_despite
    assert refuse(Path("checkpoint-4"), DIFFERING, wanted.resume_despite) == [
        "beta (0.1 against 0.2)",
        "world_size (2 against 1)",
    ]


def test_where_nothing_differs_nothing_is_refused_and_nothing_said() -> None:
    assert refuse(Path("checkpoint-4"), {}, ()) == []
    assert refuse(Path("checkpoint-4"), {}, ("beta",)) == []
