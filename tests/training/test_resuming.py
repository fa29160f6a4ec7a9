"""Training runs that are killed, damaged, changed, filled up and preempted, in this process: what survives.

The run has 4 steps in 2 epochs, so that a checkpoint falls inside an epoch, between two, and at the end; one record is
held out and evaluated on after steps 3 and 4.
"""

import json
import math
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from alignx import manifest
from alignx.cli import main
from alignx.errors import (
    AlignXError,
    CheckpointError,
    DataError,
    ModelError,
    PreemptedError,
    SettingsError,
    TrainingError,
)
from alignx.locking import hold
from alignx.training import checkpoints
from alignx.training.model_card import Recorded, make_card
from alignx.training.publish_settings import PublishSettings
from alignx.training.run import train
from alignx.training.settings import TrainSettings
from tests.training.runs import batches, read_jsonl, settings, short_records, snapshot
from tests.worlds import write_jsonl

STEPS = 4
EVERY_STEP = {"epochs": 2, "eval_rows": 1, "eval_every": 3, "log_batches": True, "save_every": 1}
VARIANTS: dict[str, dict[str, Any]] = {
    "full": {},
    "full, online reference": {"reference": "online"},
    "lora": {"lora_rank": 4, "learning_rate": 1e-2},
    "lora, online reference": {"lora_rank": 4, "learning_rate": 1e-2, "reference": "online"},
    "full, each prompt twice": {"shared_prefix": False},
    "pba, recomputing": {"method": "pba", "gradient_checkpointing": True},
}
OF_THE_CLOCK = ("runtime", "_per_second")
"""Parts of the names of metrics that say how long something took."""


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """9 records of as many users; two have the same target, so one of the other seven is held out."""
    return [{"id": f"r{i}", **row, "user": f"u{i}"} for i, row in enumerate(short_records(9, seed=5))]


@pytest.fixture(scope="module")
def data(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, as a file."""
    return write_jsonl(tmp_path_factory.mktemp("resuming") / "records.jsonl", rows)


@pytest.fixture(scope="module")
def whole(tiny_model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A run of a variant that nothing interrupted, made when it is first asked for; read-only."""
    made: dict[str, Path] = {}

    def of(variant: str) -> Path:
        if variant not in made:
            output = tmp_path_factory.mktemp("whole") / "run"
            made[variant] = train(settings(tiny_model, data, output, **EVERY_STEP, **VARIANTS[variant]))
        return made[variant]

    return of


@contextmanager
def dying(step: int, *, forward: int = 1, error: BaseException | None = None) -> Iterator[None]:
    """Let a run end without a farewell before the given forward of a step; steps and forwards are counted from 1."""
    from alignx.training.trainer import EncodedDPOTrainer

    inner, seen = EncodedDPOTrainer.compute_loss, {"forwards": 0}

    def until(self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        if model.training and self.state.global_step + 1 == step:
            seen["forwards"] += 1
            if seen["forwards"] == forward:
                raise error or Killed
        return inner(self, model, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EncodedDPOTrainer, "compute_loss", until)
        yield


@contextmanager
def signalled(step: int, number: signal.Signals) -> Iterator[None]:
    """Send this process a signal in the middle of a step."""
    from alignx.training.trainer import EncodedDPOTrainer

    inner, sent = EncodedDPOTrainer.compute_loss, []

    def sending(self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        if model.training and self.state.global_step + 1 == step and not sent:
            sent.append(number)
            os.kill(os.getpid(), number)
        return inner(self, model, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EncodedDPOTrainer, "compute_loss", sending)
        yield
    assert sent


def killed(wanted: TrainSettings, step: int, **how: Any) -> Path:
    """Start a run that is killed in a step; returns its folder."""
    with dying(step, **how), pytest.raises(Killed):
        train(wanted)
    assert manifest.read_if_present(wanted.output) is None
    return wanted.output


def metrics(output: Path) -> list[dict[str, Any]]:
    """What was logged of each step and evaluation, but for the clock.

    TRL counts tokens from the start of a process.
    """
    return [
        {
            name: value
            for name, value in line.items()
            if name != "num_tokens" and not any(part in name for part in OF_THE_CLOCK)
        }
        for line in read_jsonl(output / "metrics.jsonl")
        if "loss" in line or "eval_loss" in line
    ]


def assert_same_run(output: Path, whole: Path) -> None:
    """Weights to the bit, and each step and evaluation once with the same numbers on the same records."""
    names = {path.name for path in whole.glob("*.safetensors")}
    assert names == {path.name for path in output.glob("*.safetensors")}
    assert names
    for name in names:
        assert (output / name).read_bytes() == (whole / name).read_bytes(), name
    found = metrics(output)
    assert [line["step"] for line in found if "loss" in line] == list(range(1, STEPS + 1))
    assert [line["step"] for line in found if "eval_loss" in line] == [3, 4]
    assert found == metrics(whole)
    assert read_jsonl(output / "batches-0.jsonl") == read_jsonl(whole / "batches-0.jsonl")
    assert (output / "split.json").read_bytes() == (whole / "split.json").read_bytes()
    assert manifest.read(output).counts["steps"] == STEPS


def left(output: Path) -> list[int]:
    """Steps of the checkpoints that are there, whole or not."""
    return sorted(int(path.name.removeprefix("checkpoint-")) for path in checkpoints.folders(output))


# Killed at any step.


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_run_killed_in_a_step_goes_on_to_the_same_weights_and_numbers(
    step: int,
    whole: Callable[[str], Path],
    tiny_model: Path,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wanted = settings(tiny_model, data, tmp_path / "out", **EVERY_STEP)
    output = killed(wanted, step, forward=2)  # half of the step's gradients are there, and lost
    assert left(output) == [n for n in (step - 2, step - 1) if n > 0]
    capsys.readouterr()
    train(wanted)
    said = capsys.readouterr().err
    assert (f"going on after step {step - 1}" in said) == (step > 1)
    assert "passed over" not in said
    assert_same_run(output, whole("full"))


LORA = pytest.param("lora", 3, id="lora-3")
ONLINE = pytest.param("full, online reference", 2, id="online-2")
REST = [
    pytest.param(variant, step, marks=pytest.mark.slow, id=f"{variant}-{step}")
    for variant in list(VARIANTS)[1:]
    for step in (2, 3, 4)
    if (variant, step) not in (("lora", 3), ("full, online reference", 2))
]


@pytest.mark.parametrize(("variant", "step"), [LORA, ONLINE, *REST])
def test_every_kind_of_run_goes_on_to_the_same_weights_and_numbers(
    variant: str, step: int, whole: Callable[[str], Path], tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    """The slow ones take 5 seconds each."""
    wanted = settings(tiny_model, data, tmp_path / "out", **EVERY_STEP, **VARIANTS[variant])
    output = killed(wanted, step)
    train(wanted)
    assert_same_run(output, whole(variant))


def test_a_run_killed_twice_between_two_checkpoints_does_their_steps_again(
    whole: Callable[[str], Path], tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    wanted = settings(tiny_model, data, tmp_path / "out", **{**EVERY_STEP, "save_every": 2})
    killed(wanted, 2, forward=2)
    assert left(wanted.output) == []
    killed(wanted, 4)
    assert left(wanted.output) == [2]
    train(wanted)
    assert_same_run(wanted.output, whole("full"))


def test_a_run_killed_while_it_saves_its_result_has_nothing_to_train_again(
    whole: Callable[[str], Path], tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: Any, **__: Any) -> None:
        raise Killed

    wanted = settings(tiny_model, data, tmp_path / "out", **EVERY_STEP)
    with monkeypatch.context() as patch:
        patch.setattr("alignx.training.curves.plot_curves", kill)
        with pytest.raises(Killed):
            train(wanted)
    assert manifest.read_if_present(wanted.output) is None
    monkeypatch.setattr(
        "alignx.training.trainer.EncodedDPOTrainer.training_step", lambda *_: pytest.fail("a step was done again")
    )
    train(wanted)
    assert_same_run(wanted.output, whole("full"))


def test_an_evaluation_after_the_last_step_is_logged_once_however_often_the_run_is_killed_behind_it(
    tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: Any, **__: Any) -> None:
        raise Killed

    wanted = settings(tiny_model, data, tmp_path / "out", eval_rows=1, max_steps=1)
    with monkeypatch.context() as patch:
        patch.setattr("alignx.training.curves.plot_curves", kill)
        with pytest.raises(Killed):
            train(wanted)
    train(wanted)
    lines = read_jsonl(wanted.output / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == [1]
    assert [line["step"] for line in lines if "eval_loss" in line] == [1]


# A finished run.


def test_two_runs_never_write_the_same_output(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    output.mkdir()
    with (
        hold(output / ".lock", "training to this output"),
        pytest.raises(DataError, match=rf"run: process {os.getpid()} is training to this output; wait"),
    ):
        train(settings(tiny_model, data, output))
    assert sorted(path.name for path in output.iterdir()) == [".lock"]
    train(settings(tiny_model, data, output, max_steps=1))
    assert not (output / ".lock").exists()


def test_a_run_that_was_finished_while_another_start_was_looking_is_not_trained_again(
    tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = settings(tiny_model, data, tmp_path / "run", max_steps=1)
    before = snapshot(train(wanted))
    monkeypatch.setattr("alignx.training.run._Run._finished", lambda *_: False)
    with pytest.raises(DataError, match="another start has just finished this run; run the same command again"):
        train(wanted)
    assert snapshot(tmp_path / "run") == before


def test_an_output_that_is_no_training_run_is_refused_in_a_word(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(tiny_model, tmp_path / "other"))
    with pytest.raises(DataError, match=r"other: holds 'tiny-model', which is no training run; choose another"):
        train(settings(tiny_model, data, other))


def test_a_finished_run_keeps_no_checkpoint_and_does_nothing_again(
    whole: Callable[[str], Path],
    tiny_model: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = whole("full")
    assert left(output) == []
    monkeypatch.setattr("alignx.training.run.load_model", lambda *_: pytest.fail("a model was loaded"))
    before = snapshot(output)
    otherwise = {**EVERY_STEP, "save_every": 2, "keep_checkpoints": 1, "keep_after": True, "resume_despite": ("beta",)}
    assert train(settings(tiny_model, data, output, **otherwise)) == output
    assert snapshot(output) == before
    assert "nothing to do" in capsys.readouterr().err


def test_checkpoints_are_kept_after_the_end_where_asked_and_hold_no_pickled_arguments(
    whole: Callable[[str], Path], tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    output = train(settings(tiny_model, data, tmp_path / "out", **EVERY_STEP, keep_after=True, keep_checkpoints=3))
    assert left(output) == [2, 3, 4]
    assert not list(output.rglob("training_args.bin"))
    found = checkpoints.newest(output)
    assert (found.step, found.passed_over) == (4, ())
    assert found.manifest is not None
    assert {"model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"} <= set(
        found.manifest.files
    )
    tokens = found.manifest.counts["tokens"]
    assert found.manifest.counts == {"step": 4, "world_size": 1, "zero_stage": 0, "tokens": tokens}
    assert_same_run(output, whole("full"))


def test_a_checkpoint_is_saved_ten_times_in_a_run_unless_said() -> None:
    wanted = settings(Path("m"), Path("d"), Path("o"))
    assert [wanted.saving_interval(steps) for steps in (1, 9, 10, 11, 718)] == [1, 1, 1, 2, 72]
    assert wanted.model_copy(update={"save_every": 5}).saving_interval(718) == 5


# Damaged.


@pytest.fixture(scope="module")
def stopped(tiny_model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run, killed in step 4 with the checkpoints of steps 2 and 3; copy it."""
    wanted = settings(tiny_model, data, tmp_path_factory.mktemp("stopped") / "run", **EVERY_STEP)
    return killed(wanted, 4)


@pytest.fixture
def copied(stopped: Path, tmp_path: Path) -> Path:
    """A copy of the killed run."""
    return Path(shutil.copytree(stopped, tmp_path / "out"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "it has no manifest: saving it was cut off"),
        (lambda folder: flip(folder / "optimizer.pt"), "optimizer.pt was changed since it was written"),
        (lambda folder: (folder / "rng_state.pth").unlink(), "rng_state.pth is missing"),
    ],
    ids=["cut off", "changed", "missing"],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_taken(
    harm: Callable[[Path], Any],
    said: str,
    copied: Path,
    whole: Callable[[str], Path],
    tiny_model: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    harm(copied / "checkpoint-3")
    train(settings(tiny_model, data, copied, **EVERY_STEP))
    told = capsys.readouterr().err.splitlines()
    assert f"{copied / 'checkpoint-3'}: passed over, {said}" in told
    assert f"{copied / 'checkpoint-2'}: going on after step 2" in told
    assert_same_run(copied, whole("full"))


def test_where_no_checkpoint_counts_the_run_begins_again(
    copied: Path, whole: Callable[[str], Path], tiny_model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (2, 3):
        (copied / f"checkpoint-{step}/model.safetensors").write_bytes(b"")
    train(settings(tiny_model, data, copied, **EVERY_STEP))
    said = capsys.readouterr().err
    assert said.count("passed over, model.safetensors has 0 bytes") == 2
    assert "going on" not in said
    assert_same_run(copied, whole("full"))


def test_damaged_checkpoints_of_later_steps_take_no_place_of_a_new_one(
    copied: Path, tiny_model: Path, data: Path
) -> None:
    for step in (2, 3):
        flip(copied / f"checkpoint-{step}/optimizer.pt")
    killed(settings(tiny_model, data, copied, **EVERY_STEP, keep_checkpoints=1), 2)
    assert checkpoints.newest(copied).step == 1


def test_lines_that_a_kill_cut_off_or_that_are_behind_the_checkpoint_are_written_again(
    copied: Path, whole: Callable[[str], Path], tiny_model: Path, data: Path
) -> None:
    behind = {"metrics.jsonl": '{"step": 4, "loss": 9.9}', "batches-0.jsonl": '{"step": 4, "ids": ["r0"]}'}
    for name, line in behind.items():
        with (copied / name).open("a", encoding="utf-8") as stream:
            stream.write(line + "\n" + line[:-7])
    train(settings(tiny_model, data, copied, **EVERY_STEP))
    assert_same_run(copied, whole("full"))


# Changed.


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"beta": 0.3}, r"beta \(0\.1 against 0\.3\)"),
        ({"loss_type": "ipo"}, r"loss_type \(sigmoid against ipo\)"),
        ({"seed": 7}, r"seed \(42 against 7\)"),
        ({"learning_rate": 2e-3}, r"learning_rate \(0\.001 against 0\.002\)"),
        ({"history": 1}, r"history \(sampled against 1\)"),
        ({"preset": "released-train"}, r"preset \(paper against released-train\)"),
        ({"method": "pba"}, r"method \(ica against pba\)"),
        ({"dtype": "bfloat16"}, r"dtype \(float32 against bfloat16\)"),
        ({"epochs": 3}, r"epochs \(2 against 3\)"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_changed_setting_is_refused_by_name_before_a_model_is_loaded(
    change: dict[str, Any],
    said: str,
    copied: Path,
    tiny_model: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("alignx.training.run.load_model", lambda *_: pytest.fail("a model was loaded"))
    before = snapshot(copied / "checkpoint-3")
    (name,) = change
    with pytest.raises(
        SettingsError, match=rf"checkpoint-3: is of another run, which differs in {said}; .* --resume-despite {name}$"
    ):
        train(settings(tiny_model, data, copied, **{**EVERY_STEP, **change}))
    assert snapshot(copied / "checkpoint-3") == before
    assert manifest.read_if_present(copied) is None


@pytest.mark.parametrize("despite", [(), ("lora_rank",)])
def test_adapters_take_over_nothing_of_whole_weights(
    despite: tuple[str, ...], copied: Path, tiny_model: Path, data: Path
) -> None:
    wanted = settings(tiny_model, data, copied, **EVERY_STEP, lora_rank=2, resume_despite=despite)
    with pytest.raises(SettingsError, match=r"trains other weights, which differ in lora_rank \(None against 2\)"):
        train(wanted)


def test_a_difference_that_there_is_not_cannot_be_overridden(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--resume-despite: 'betta' is nothing that .*; did you mean 'beta'\?"):
        settings(tiny_model, data, tmp_path, resume_despite=("beta", "betta"))


def test_other_records_are_refused_and_setting_them_back_goes_on_as_if_nothing_had_been(
    copied: Path, whole: Callable[[str], Path], tiny_model: Path, data: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    others = write_jsonl(tmp_path / "others.jsonl", [*rows[:-1], {**rows[-1], "chosen": "something else"}])
    said = r"which differs in data \(\w{12}… against \w{12}…\); .*--resume-despite data$"
    with pytest.raises(SettingsError, match=said):
        train(settings(tiny_model, others, copied, **EVERY_STEP))
    train(settings(tiny_model, data, copied, **EVERY_STEP))
    assert_same_run(copied, whole("full"))


def test_other_weights_to_start_from_are_refused(copied: Path, tiny_model: Path, data: Path, tmp_path: Path) -> None:
    from tests.evaluation.conftest import perturbed

    other = perturbed(tiny_model, tmp_path / "other", seed=1)
    with pytest.raises(SettingsError, match=r"which differs in model \(\w{12}… against \w{12}…\); "):
        train(settings(other, data, copied, **EVERY_STEP))


def test_the_same_model_and_records_elsewhere_are_the_same_run(
    copied: Path, whole: Callable[[str], Path], tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    model, records = shutil.copytree(tiny_model, tmp_path / "model"), shutil.copy(data, tmp_path / "same.jsonl")
    otherwise = {**EVERY_STEP, "keep_checkpoints": 1, "log_every": 1, "attention": "sdpa"}
    train(settings(Path(model), Path(records), copied, **otherwise))
    assert_same_run(copied, whole("full"))


def test_a_run_goes_on_across_a_difference_that_is_named_and_says_so(
    copied: Path,
    whole: Callable[[str], Path],
    tiny_model: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    went_on = train(settings(tiny_model, data, copied, **EVERY_STEP, beta=0.5, resume_despite=("beta", "seed")))
    assert manifest.read(went_on).counts["went_on_despite"] == [{"step": 3, "differed": ["beta (0.1 against 0.5)"]}]
    card = make_card(Recorded(manifest.read(went_on), "weights", adapter=False), PublishSettings(model=str(went_on)))
    assert "**Up to step 3 something was different**: beta (0.1 against 0.5)." in card
    assert "warning: although this differs: beta (0.1 against 0.5)" in capsys.readouterr().err
    assert manifest.read(copied).settings["beta"] == 0.5
    found, expected = metrics(copied), metrics(whole("full"))
    assert found[:4] == expected[:4]  # three steps and an evaluation before the change
    mine, theirs = ([line for line in lines if "loss" in line][3] for lines in (found, expected))
    assert mine["rewards/margins"] == pytest.approx(5 * theirs["rewards/margins"], rel=1e-4)  # the same weights


def test_a_run_goes_on_on_other_records_where_asked(
    copied: Path, tiny_model: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    others = write_jsonl(tmp_path / "others.jsonl", [{**row, "id": f"x{i}"} for i, row in enumerate(rows)])
    train(settings(tiny_model, others, copied, **EVERY_STEP, resume_despite=("data",)))
    seen = [record[0] for batch in batches(copied) for record in batch]
    assert seen == ["r"] * 12 + ["x"] * 4
    assert {line["step"] for line in metrics(copied) if "loss" in line} == {1, 2, 3, 4}


def test_another_number_of_processes_takes_the_weights_alone_and_says_so(
    copied: Path,
    whole: Callable[[str], Path],
    tiny_model: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = copied / "checkpoint-3"
    found = manifest.read(folder)
    manifest.write(folder, found.model_copy(update={"counts": {"step": 3, "world_size": 2}}))
    wanted = settings(tiny_model, data, copied, **EVERY_STEP)
    with pytest.raises(SettingsError, match=r"world_size \(2 against 1\); .* --resume-despite world_size$"):
        train(wanted)
    capsys.readouterr()
    train(wanted.model_copy(update={"resume_despite": ("world_size",)}))
    said = capsys.readouterr().err
    assert "although this differs: world_size (2 against 1)" in said
    assert "only its weights can be used by processes that share otherwise; the optimiser starts anew" in said
    mine, theirs = metrics(copied), metrics(whole("full"))
    steps = [[line for line in lines if "loss" in line] for lines in (mine, theirs)]
    assert [line["step"] for line in steps[0]] == [1, 2, 3, 4]
    for name in ("loss", "learning_rate", "logps/chosen"):  # the weights, the schedule and the data went on
        assert steps[0][3][name] == steps[1][3][name], name
    assert batches(copied) == batches(whole("full"))
    assert (copied / "model.safetensors").read_bytes() != (whole("full") / "model.safetensors").read_bytes()


def test_how_often_to_save_and_log_may_change_on_the_way(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    wanted = settings(tiny_model, data, tmp_path / "out", epochs=2, save_every=1, keep_checkpoints=9, keep_after=True)
    killed(wanted, 2)
    train(wanted.model_copy(update={"save_every": 3, "log_every": 3}))
    assert left(wanted.output) == [1, 3, 4]
    assert [line["step"] for line in metrics(wanted.output)] == [1, 3]


# Full.


def no_space(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


def torn(*_: Any, **__: Any) -> None:
    raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 470")


@contextmanager
def full_disk(step: int, what: str) -> Iterator[None]:
    """Let a part of a checkpoint find no room."""
    from alignx.training.trainer import EncodedDPOTrainer

    targets: dict[str, tuple[Any, str, Callable[..., None]]] = {
        "weights": ("transformers.modeling_utils.safe_save_file", "", no_space),
        "optimiser": (torch, "save", torn),
        "reaching the disk": (os, "fsync", no_space),
        "manifest": (manifest, "write", no_space),
    }
    inner = EncodedDPOTrainer._save_checkpoint

    def saving(self: Any, *args: Any, **kwargs: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            if self.state.global_step == step:
                target, name, fault = targets[what]
                patch.setattr(target, *([name] if name else []), fault)
            inner(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EncodedDPOTrainer, "_save_checkpoint", saving)
        yield


@pytest.mark.parametrize("what", ["weights", "optimiser", "reaching the disk", "manifest"])
def test_a_full_disk_leaves_the_checkpoint_before_and_the_next_start_goes_on(
    what: str, whole: Callable[[str], Path], tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    wanted = settings(tiny_model, data, tmp_path / "out", **EVERY_STEP)
    said = r"checkpoint-3: cannot be saved: .*make room"
    with full_disk(3, what), pytest.raises(CheckpointError, match=said) as caught:
        train(wanted)
    assert caught.value.exit_code == 6
    found = checkpoints.newest(wanted.output)
    assert (found.step, found.passed_over) == (2, ())
    assert left(wanted.output) == [1, 2], "half a checkpoint was left, or an older one removed too early"
    train(wanted)
    assert_same_run(wanted.output, whole("full"))


def test_an_older_checkpoint_that_cannot_be_removed_never_costs_the_new_one(
    tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = shutil.rmtree

    def busy(path: Any, *args: Any, **kwargs: Any) -> None:
        if Path(path).name == "checkpoint-1":
            raise OSError(16, "Device or resource busy")
        inner(path, *args, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", busy)
    wanted = settings(tiny_model, data, tmp_path / "out", **{**EVERY_STEP, "keep_checkpoints": 1})
    with dying(3), pytest.raises((Killed, CheckpointError)):
        train(wanted)
    assert checkpoints.newest(wanted.output).step == 2


def test_a_disk_that_is_full_at_the_very_end_is_an_error_of_ours_and_costs_no_step(
    whole: Callable[[str], Path], tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors import SafetensorError

    from alignx.training.trainer import EncodedDPOTrainer

    inner = EncodedDPOTrainer.save_model

    def saving(self: Any, *args: Any, **kwargs: Any) -> None:
        if not kwargs.get("_internal_call"):
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        inner(self, *args, **kwargs)

    wanted = settings(tiny_model, data, tmp_path / "out", **EVERY_STEP)
    with monkeypatch.context() as patch:
        patch.setattr(EncodedDPOTrainer, "save_model", saving)
        with pytest.raises(AlignXError, match="No space left on device"):
            train(wanted)
    assert checkpoints.newest(wanted.output).step == STEPS
    train(wanted)
    assert_same_run(wanted.output, whole("full"))


# Numbers that are none.


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_a_gradient_that_is_no_number_stops_within_its_step_and_names_the_records(
    factor: float, whole: Callable[[str], Path], tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    from alignx.training.trainer import EncodedDPOTrainer

    inner = EncodedDPOTrainer.compute_loss

    def planted(self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        loss = inner(self, model, *args, **kwargs)
        if model.training and self.state.global_step == 1:
            loss.register_hook(lambda gradient: gradient * factor)  # the loss itself stays finite
        return loss

    wanted = settings(tiny_model, data, tmp_path / "out", **EVERY_STEP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EncodedDPOTrainer, "compute_loss", planted)
        with pytest.raises(
            TrainingError, match=r"^step 2: the norm of the gradients is (nan|inf), expected a finite number; records"
        ) as caught:
            train(wanted)
    named = str(caught.value).rpartition(": ")[2].split(", ")
    first, second = batches(whole("full"))[2:4]  # two forwards a step
    assert named == first + second
    assert left(wanted.output) == [1], "nothing of the step was saved"
    assert [line["step"] for line in metrics(wanted.output)] == [1]
    train(wanted)
    assert_same_run(wanted.output, whole("full"))


def test_a_finite_gradient_beyond_the_clipping_norm_stops_nothing(
    whole: Callable[[str], Path],
) -> None:
    norms = [line["grad_norm"] for line in metrics(whole("full")) if "loss" in line]
    assert len(norms) == STEPS
    assert all(math.isfinite(norm) for norm in norms)
    assert max(norms) > 1.0  # --max-grad-norm


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_a_reference_that_is_no_number_stops_before_training_and_names_the_record(
    value: float,
    whole: Callable[[str], Path],
    tiny_model: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from alignx.models.scoring import ResponseScorer

    inner = ResponseScorer._sums

    def broken(self: Any, batch: Any) -> Any:
        sums = inner(self, batch)
        for place, one in enumerate(batch):
            if one.id == "r3":
                sums[2 * place + 1] = value
        return sums

    wanted = settings(tiny_model, data, tmp_path / "out", **EVERY_STEP)
    with monkeypatch.context() as patch:
        patch.setattr(ResponseScorer, "_sums", broken)
        with pytest.raises((ModelError, TrainingError), match=r"record r3: the log-probabilities .* are .*(nan|inf)"):
            train(wanted)
    assert left(wanted.output) == []
    train(wanted)
    assert_same_run(wanted.output, whole("full"))  # and no such number was remembered


def test_weights_that_an_update_broke_are_never_resumed_from(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    wanted = settings(
        tiny_model, data, tmp_path / "out", max_steps=1, warmup_ratio=0.0, learning_rate=3e38, reference="online"
    )
    for _ in range(2):
        with pytest.raises(TrainingError, match="finite"):
            train(wanted)
        assert checkpoints.newest(wanted.output).folder is None
    assert not list(wanted.output.glob("*.safetensors"))


# Preempted.


@pytest.mark.parametrize(
    ("number", "step"),
    [(signal.SIGTERM, 2), (signal.SIGUSR1, 3), (signal.SIGTERM, 4)],
    ids=["TERM-2", "USR1-3", "TERM-4"],
)
def test_a_signal_saves_at_the_end_of_its_step_and_the_next_start_goes_on(
    number: signal.Signals,
    step: int,
    whole: Callable[[str], Path],
    tiny_model: Path,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGUSR1)}
    wanted = settings(tiny_model, data, tmp_path / "out", **{**EVERY_STEP, "save_every": 9})
    with signalled(step, number), pytest.raises(PreemptedError, match=f"checkpoint-{step} is saved") as caught:
        train(wanted)
    assert caught.value.exit_code == 85
    assert (wanted.output / "PREEMPTED").is_file()
    assert left(wanted.output) == [step]
    assert manifest.read_if_present(wanted.output) is None
    assert {each: signal.getsignal(each) for each in handlers} == handlers
    capsys.readouterr()
    train(wanted)
    assert f"checkpoint-{step}: going on after step {step}" in capsys.readouterr().err
    assert not (wanted.output / "PREEMPTED").exists()
    assert_same_run(wanted.output, whole("full"))


def test_the_command_leaves_with_85_and_one_line(
    tiny_model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    exit_file = tmp_path / "code"
    monkeypatch.setenv("ALIGNX_EXIT_FILE", str(exit_file))
    command = ["train", "--model", str(tiny_model), "--data", str(data), "--output", str(tmp_path / "out")]
    command += ["--method", "ica", "--global-batch", "4", "--dtype", "float32", "--no-gradient-checkpointing"]
    with signalled(1, signal.SIGUSR1), pytest.raises(SystemExit) as caught:
        main(command)
    assert caught.value.code == 85
    said = capsys.readouterr().err
    assert "run the same command again to go on" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert exit_file.read_text() == "85"


BEFORE = {
    "while rows are mapped": "datasets.Dataset.from_parquet",
    "while the model is loaded": "transformers.AutoModelForCausalLM.from_pretrained",
    "while the trainer is built": "alignx.training.trainer.EncodedDPOTrainer.__init__",
    "while the reference reads": "alignx.models.scoring.ResponseScorer._sums",
    "while the tokenizer encodes": "alignx.prompts.pairs.BatchEncoder.__init__",
}


@pytest.mark.parametrize("when", BEFORE)
@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_a_signal_before_training_leaves_at_once_with_85(
    when: str,
    number: signal.Signals,
    whole: Callable[[str], Path],
    tiny_model: Path,
    data: Path,
    tmp_path: Path,
) -> None:
    wanted = settings(tiny_model, data, tmp_path / "out", **EVERY_STEP)

    def asked(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), number)
        pytest.fail("went on after the signal")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BEFORE[when], asked)
        with pytest.raises(PreemptedError, match="asked to stop"):
            train(wanted)
    assert (wanted.output / "PREEMPTED").is_file()
    assert left(wanted.output) == []
    train(wanted)
    assert not (wanted.output / "PREEMPTED").exists()
    assert_same_run(wanted.output, whole("full"))


def test_the_mark_of_a_preempted_run_says_what_to_do(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    wanted = settings(tiny_model, data, tmp_path / "out", max_steps=2)
    with signalled(1, signal.SIGTERM), pytest.raises(PreemptedError):
        train(wanted)
    assert "run the same command again" in (wanted.output / "PREEMPTED").read_text()
    state = json.loads((wanted.output / "checkpoint-1/trainer_state.json").read_text())
    assert state["global_step"] == 1
