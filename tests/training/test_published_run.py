"""The launcher scripts on two CPU processes, as a cluster starts them: DeepSpeed, adapters, kills, preemption."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from alignx import manifest
from alignx.training import checkpoints
from alignx.training.run import train
from tests.training.runs import losses, read_jsonl, settings, short_records
from tests.training.test_launch import ROOT, SMALL, environment
from tests.worlds import write_jsonl

pytestmark = pytest.mark.slow
STEPS = 8
NEEDS_A_COMPILER = pytest.mark.skipif(
    shutil.which("c++") is None, reason="DeepSpeed compiles an operation for CPU processes, which needs a C++ compiler"
)
STAGES = ("zero2", "zero3")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of as many users and targets: eight steps of four."""
    rows = [{**row, "id": f"r{i}", "user": f"u{i}"} for i, row in enumerate(short_records(4 * STEPS, seed=3))]
    return write_jsonl(tmp_path_factory.mktemp("published") / "records.jsonl", rows)


def command(method: str, model: Path, data: Path, output: Path, *flags: str) -> list[str]:
    """A launcher script with small steps, a checkpoint after every second one."""
    return [
        *["bash", str(ROOT / f"scripts/train_{method}.sh"), "--model", str(model), "--data", str(data)],
        *["--output", str(output), *SMALL, "--micro-batch", "1", "--save-every", "2", "--no-gradient-checkpointing"],
        *flags,
    ]


def on_two(stage: str | None) -> dict[str, str]:
    """The environment that starts two processes, under DeepSpeed if a stage is named."""
    if stage is None:
        return {"ACCELERATE_ARGS": "--multi_gpu --num_processes 2 --num_machines 1 --main_process_port 0"}
    return {"ACCELERATE_ARGS": f"--config_file {ROOT}/configs/accelerate/{stage}.yaml --num_processes 2"}


def start(arguments: list[str], folder: Path, **more: str) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        arguments,
        env=environment(**more),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # under nohup a script could not trap it
    )


def finish(arguments: list[str], folder: Path, **more: str) -> str:
    """Run to a good end; returns what was said."""
    running = start(arguments, folder, **more)
    said, _ = running.communicate(timeout=300)
    assert running.returncode == 0, said
    return said


def processes(output: Path) -> dict[int, list[str]]:
    """Processes that were started for an output, with their arguments."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                arguments = (entry / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if str(output) in arguments:
                found[int(entry.name)] = arguments
    return found


def workers(output: Path) -> list[int]:
    """Processes that train, without launchers and shells."""
    return [
        number
        for number, arguments in processes(output).items()
        if Path(arguments[0]).name.startswith("python") and "launch" not in arguments and "--check" not in arguments
    ]


def wait_for(condition: Callable[[], object], running: subprocess.Popen[str], seconds: float = 240) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert running.poll() is None, running.communicate()[0]
        assert time.monotonic() < until, "it takes too long"
        time.sleep(0.02)


def reached(output: Path, step: int) -> Callable[[], bool]:
    """Whether training has logged a step."""
    return lambda: (output / "metrics.jsonl").is_file() and len(losses(output)) >= step


@pytest.fixture(scope="module")
def alone(tiny_model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The same training in one process, made once for each kind."""
    made: dict[str, Path] = {}

    def run(**others: object) -> Path:
        name = json.dumps(others, sort_keys=True)
        if name not in made:
            output = tmp_path_factory.mktemp("alone") / "out"
            made[name] = train(settings(tiny_model, data, output, warmup_ratio=0.0, **others))
        return made[name]

    return run


@pytest.mark.parametrize("method", ["ica", "pba"])
@pytest.mark.parametrize("stage", STAGES)
@NEEDS_A_COMPILER
def test_two_processes_under_deepspeed_train_as_one_does_and_are_scored(
    tiny_model: Path, data: Path, tmp_path: Path, alone: Callable[..., Path], stage: str, method: str
) -> None:
    """50 seconds each, and 90 more where DeepSpeed has not yet compiled its shared-memory operation."""
    output = tmp_path / "out"
    finish(command(method, tiny_model, data, output), tmp_path, **on_two(stage))
    found = manifest.read(output)
    assert (found.counts["world_size"], found.counts["steps"]) == (2, STEPS)
    assert losses(output) == pytest.approx(losses(alone(method=method)), abs=1e-4)
    seen = [{i for line in read_jsonl(output / f"batches-{rank}.jsonl") for i in line["ids"]} for rank in (0, 1)]
    assert all(seen)
    assert seen[0].isdisjoint(seen[1])
    assert checkpoints.folders(output) == []
    scores = tmp_path / "scores.jsonl"
    scoring = ["--model", str(output), "--data", str(data), "--output", str(scores), "--limit", "4"]
    finish([sys.executable, str(ROOT / f"eval/loss_{method}.py"), *scoring], tmp_path)
    assert len(read_jsonl(scores)) == 4
    assert manifest.read(scores).condition == found.condition | {"history": "all"} or (
        manifest.read(scores).condition["preset"] == found.condition["preset"]
    )


@NEEDS_A_COMPILER
def test_adapters_under_zero_3_train_as_in_one_process_and_only_they_are_saved(
    tiny_model: Path, data: Path, tmp_path: Path, alone: Callable[..., Path]
) -> None:
    """60 seconds."""
    output = tmp_path / "out"
    finish(command("ica", tiny_model, data, output, "--lora-rank", "4"), tmp_path, **on_two("zero3"))
    assert losses(output) == pytest.approx(losses(alone(lora_rank=4)), abs=1e-4)
    assert (output / "adapter_model.safetensors").is_file()
    assert not (output / "model.safetensors").exists()


@pytest.mark.parametrize("stage", STAGES)
@NEEDS_A_COMPILER
def test_a_worker_that_is_killed_ends_the_run_and_the_next_start_goes_on_as_if_nothing_had_been(
    tiny_model: Path, data: Path, tmp_path: Path, alone: Callable[..., Path], stage: str
) -> None:
    """80 seconds each."""
    output = tmp_path / "out"
    arguments = command("ica", tiny_model, data, output)
    running = start(arguments, tmp_path, **on_two(stage))
    wait_for(reached(output, 5), running)
    os.kill(workers(output)[-1], signal.SIGKILL)
    killed = time.monotonic()
    said, _ = running.communicate(timeout=120)
    assert time.monotonic() - killed < 60
    assert running.returncode not in (0, 85), said
    assert processes(output) == {}
    newest = checkpoints.newest(output)
    assert newest.step in (4, 6)
    said = finish(arguments, tmp_path, **on_two(stage))
    assert f"checkpoint-{newest.step}: going on after step {newest.step}" in said
    assert [line["step"] for line in read_jsonl(output / "metrics.jsonl") if "loss" in line] == list(
        range(1, STEPS + 1)
    )
    assert losses(output) == pytest.approx(losses(alone()), abs=1e-4)
    uninterrupted = tmp_path / "uninterrupted"
    finish(command("ica", tiny_model, data, uninterrupted), tmp_path, **on_two(stage))
    assert losses(output) == pytest.approx(losses(uninterrupted), rel=1e-6)


@pytest.mark.parametrize(
    ("number", "stage"),
    [(signal.SIGTERM, None), (signal.SIGUSR1, "zero3"), (signal.SIGHUP, "one process")],
    ids=["SIGTERM, two processes", "SIGUSR1, ZeRO-3", "SIGHUP, one process"],
)
@NEEDS_A_COMPILER
def test_a_script_that_is_asked_to_stop_saves_leaves_with_85_and_goes_on_later(
    tiny_model: Path, data: Path, tmp_path: Path, alone: Callable[..., Path], number: int, stage: str | None
) -> None:
    """60 seconds each."""
    output = tmp_path / "out"
    arguments = command("ica", tiny_model, data, output, "--save-every", "100")
    more = {} if stage == "one process" else on_two(stage)
    running = start(arguments, tmp_path, **more)
    wait_for(reached(output, 3), running)
    running.send_signal(number)
    said, _ = running.communicate(timeout=120)
    assert running.returncode == 85, said
    assert (output / checkpoints.PREEMPTED).is_file()
    assert processes(output) == {}
    stopped = checkpoints.newest(output)
    assert 3 <= stopped.step < STEPS
    finish(arguments, tmp_path, **more)
    assert not (output / checkpoints.PREEMPTED).exists()
    assert losses(output) == pytest.approx(losses(alone()), abs=1e-4)


def test_a_run_that_is_killed_anywhere_ends_with_the_weights_of_one_that_was_not(
    tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    """60 seconds."""
    whole = tmp_path / "whole"
    finish(command("ica", tiny_model, data, whole), tmp_path)
    output = tmp_path / "out"
    arguments = command("ica", tiny_model, data, output)
    for step in (1, 4):
        running = start(arguments, tmp_path)
        wait_for(reached(output, step), running)
        os.killpg(os.getpgid(workers(output)[0]), signal.SIGKILL)
        running.communicate(timeout=60)
        assert processes(output) == {}
    finish(arguments, tmp_path)
    for name in ("model.safetensors", "split.json"):
        assert (output / name).read_bytes() == (whole / name).read_bytes()


def test_another_number_of_processes_takes_only_the_weights_and_says_so(
    tiny_model: Path, data: Path, tmp_path: Path, alone: Callable[..., Path]
) -> None:
    """50 seconds."""
    output = tmp_path / "out"
    arguments = command("ica", tiny_model, data, output)
    running = start(arguments, tmp_path)
    wait_for(reached(output, 3), running)
    running.send_signal(signal.SIGTERM)
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 85, said
    refused = start(arguments, tmp_path, **on_two(None))
    said, _ = refused.communicate(timeout=120)
    assert refused.returncode == 2, said
    assert "world_size (1 against 2)" in said
    said = finish([*arguments, "--resume-despite", "world_size"], tmp_path, **on_two(None))
    assert "only its weights can be used" in said
    steps = [line["step"] for line in read_jsonl(output / "metrics.jsonl") if "loss" in line]
    assert steps == list(range(1, STEPS + 1))
    rates = [line["learning_rate"] for line in read_jsonl(output / "metrics.jsonl") if "loss" in line]
    assert rates == pytest.approx(
        [line["learning_rate"] for line in read_jsonl(alone() / "metrics.jsonl") if "loss" in line]
    )
