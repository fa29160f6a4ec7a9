"""Training as users start it: scripts, launchers, several processes."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import alignx
from alignx import manifest
from alignx.training.run import train
from tests.training.runs import batches, losses, read_jsonl, settings
from tests.worlds import sample_records, write_jsonl

ROOT = Path(alignx.__file__).parents[1]
SMALL = ["--global-batch", "4", "--dtype", "float32", "--learning-rate", "1e-3", "--warmup-ratio", "0", "--log-batches"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven records of as many users and targets: two steps of four, and three to hold out or leave over."""
    rows = [
        {**row, "id": f"r{i}", "user": f"u{i}"} for i, row in enumerate(sample_records(13, seed=5)) if i not in (4, 9)
    ]
    return write_jsonl(tmp_path_factory.mktemp("launch") / "records.jsonl", rows)


def environment(**more: str) -> dict[str, str]:
    """That of a shell in which this Python comes first; no GPU is visible."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if (not name.startswith(("ALIGNX_", "ACCELERATE_", "MASTER_", "TORCHELASTIC_", "PYTHONHASHSEED")))
        and name not in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    }
    return {
        **inherited,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "ALIGNX_CACHE": os.environ["ALIGNX_CACHE"],
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        **more,
    }


def launch(command: list[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command from an unrelated folder."""
    return subprocess.run(command, env=environment(**more), cwd=folder, capture_output=True, text=True, timeout=300)


def script(method: str, model: Path, data: Path, output: Path, *flags: str) -> list[str]:
    return [
        *["bash", str(ROOT / f"scripts/train_{method}.sh"), "--model", str(model), "--data", str(data)],
        *["--output", str(output), *SMALL, *flags],
    ]


def assert_refused(done: subprocess.CompletedProcess[str], code: int, said: str) -> None:
    """A documented code, the message as the last line, nothing that looks like a defect."""
    assert done.returncode == code, done.stderr
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [(["--beta", "-1"], "--beta: got '-1', expected"), (["--learning-rat", "1"], "did you mean '--learning-rate'?")],
)
def test_scripts_refuse_an_impossible_setting_in_a_line_within_three_seconds(
    tmp_path: Path, flags: list[str], said: str
) -> None:
    seconds = []
    for _ in range(3):  # the machine may be busy: the fastest of three counts
        began = time.monotonic()
        done = launch(script("ica", tmp_path, tmp_path, tmp_path / "out", *flags), tmp_path)
        seconds.append(time.monotonic() - began)
        if seconds[-1] < 3:
            break
    assert_refused(done, 2, said)
    assert len(done.stderr.splitlines()) == 1
    assert min(seconds) < 3
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("flags", [["--method", "pba"], ["--method=pba"], ["--config", "configs/train/pba.yaml"]])
def test_a_script_trains_its_own_method_only(tmp_path: Path, flags: list[str]) -> None:
    done = launch(script("ica", tmp_path, tmp_path, tmp_path / "out", *flags), ROOT)
    assert_refused(done, 2, "train_ica.sh: error: ")
    assert not (tmp_path / "out").exists()


def test_scripts_explain_themselves(tmp_path: Path) -> None:
    done = launch(["bash", str(ROOT / "scripts/train_pba.sh"), "--help"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--global-batch" in done.stdout
    assert "Strength of the pull towards the reference" in done.stdout


def test_scripts_leave_with_3_where_the_data_are_missing(tiny_model: Path, tmp_path: Path) -> None:
    done = launch(script("ica", tiny_model, tmp_path / "nowhere.jsonl", tmp_path / "out"), tmp_path)
    assert_refused(done, 3, "nowhere.jsonl: no such file")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ica", "pba"])
def test_scripts_train_a_checkpoint_of_their_method(tiny_model: Path, data: Path, tmp_path: Path, method: str) -> None:
    """25 seconds each."""
    output = tmp_path / "out"
    done = launch(script(method, tiny_model, data, output), tmp_path)
    assert done.returncode == 0, done.stderr
    found = manifest.read(output)
    assert (found.kind, found.condition["method"], found.counts["world_size"]) == ("checkpoint", method, 1)
    assert found.settings["gradient_checkpointing"] is True  # from the file
    assert found.settings["global_batch"] == 4  # from the flag, over the file's 128
    assert found.settings["max_grad_norm"] == 1.0
    assert len(losses(output)) == found.counts["steps"] == 2
    assert (output / "model.safetensors").is_file()
    assert (output / "curves.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "flags", "code", "said"),
    [
        ("tiny", ["--global-batch", "16"], 3, "11 training records, expected at least one --global-batch of 16"),
        ("./nowhere", [], 4, "./nowhere: no such model folder"),
    ],
)
def test_the_code_of_a_launched_process_comes_back_through_the_launcher(
    tiny_model: Path, data: Path, tmp_path: Path, model: str, flags: list[str], code: int, said: str
) -> None:
    """20 seconds each."""
    folder = tiny_model if model == "tiny" else Path(model)
    arguments = script("ica", folder, data, tmp_path / "out", *flags)
    arguments[arguments.index("--model") + 1] = str(tiny_model) if model == "tiny" else model
    assert_refused(launch(arguments, tmp_path), code, said)
    assert not (tmp_path / "out/manifest.json").exists()


@pytest.fixture(scope="module")
def alone(tiny_model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process, 2 × 2 pairs a step, evaluated on three."""
    output = tmp_path_factory.mktemp("alone") / "out"
    return train(settings(tiny_model, data, output, warmup_ratio=0.0, eval_rows=3, log_batches=True))


def assert_equals(alone: Path, output: Path) -> None:
    """Two processes with one pair a forward did what one with two did: the same records a step, the same losses."""
    assert manifest.read(output).counts["world_size"] == 2
    first, second = (batches(output, rank) for rank in (0, 1))
    seen = [[record for batch in rank for record in batch] for rank in (first, second)]
    assert len(seen[0]) == len(seen[1]) == 4
    assert set(seen[0]).isdisjoint(seen[1])
    assert steps(output, 0, 1) == steps(alone, 0)
    assert losses(output) == pytest.approx(losses(alone), abs=1e-4)
    assert losses(output)[0] != pytest.approx(losses(output)[1], abs=1e-3)


def steps(output: Path, *ranks: int) -> dict[int, set[str]]:
    """The records of each step, over the processes."""
    found: dict[int, set[str]] = {}
    for rank in ranks:
        for line in read_jsonl(output / f"batches-{rank}.jsonl"):
            found.setdefault(line["step"], set()).update(line["ids"])
    return found


def training(tiny_model: Path, data: Path, output: Path) -> list[str]:
    config = str(ROOT / "configs/train/ica.yaml")
    flags = ["--model", str(tiny_model), "--data", str(data), "--output", str(output), "--micro-batch", "1", *SMALL]
    return ["-m", "alignx", "train", "--config", config, "--eval-rows", "3", "--no-gradient-checkpointing", *flags]


@pytest.fixture(scope="module")
def two(tiny_model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two processes, 2 × 2 × 1 pairs a step, evaluated on the same three."""
    folder = tmp_path_factory.mktemp("two")
    command = ["torchrun", "--standalone", "--nproc_per_node", "2", *training(tiny_model, data, folder / "out")]
    done = launch(command, folder)
    assert done.returncode == 0, done.stderr
    return folder / "out"


@pytest.mark.slow
def test_two_processes_train_as_one_does(alone: Path, two: Path) -> None:
    """45 seconds, of which 10 are the run of one process that it is compared with."""
    assert_equals(alone, two)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["loss", "rewards/margins", "rewards/chosen"])
def test_two_processes_evaluate_three_records_as_one_does(alone: Path, two: Path, metric: str) -> None:
    """No seconds of its own: the runs are those of the test before."""
    alone_said, two_said = (
        [line[f"eval_{metric}"] for line in read_jsonl(output / "metrics.jsonl") if "eval_loss" in line]
        for output in (alone, two)
    )
    assert len(two_said) == 1
    assert two_said == pytest.approx(alone_said, abs=1e-4)


@pytest.mark.slow
def test_zero_2_on_two_processes_trains_as_one_process_does(
    tiny_model: Path, data: Path, alone: Path, tmp_path: Path
) -> None:
    """40 seconds, and 90 more where DeepSpeed has not yet compiled its shared-memory operation."""
    pytest.importorskip("deepspeed")
    if shutil.which("c++") is None:
        pytest.skip("DeepSpeed compiles an operation for CPU processes, which needs a C++ compiler")
    output = tmp_path / "out"
    launcher = ["accelerate", "launch", "--use_deepspeed", "--zero_stage", "2", "--num_processes", "2"]
    launcher += ["--num_machines", "1", "--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no"]
    done = launch([*launcher, *training(tiny_model, data, output)], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "deepspeed" in manifest.read(output).versions
    assert_equals(alone, output)


ACCELERATE = ["accelerate", "launch", "--num_processes", "2", "--num_machines", "1", "--main_process_port", "0"]
ACCELERATE += ["--mixed_precision", "no", "--dynamo_backend", "no"]
TWO = {
    "ddp": ["torchrun", "--standalone", "--nproc_per_node", "2"],
    "zero-2": [*ACCELERATE, "--use_deepspeed", "--zero_stage", "2"],
    "zero-3": [*ACCELERATE, "--use_deepspeed", "--zero_stage", "3"],
}
"""Launchers of two processes."""


@pytest.mark.slow
@pytest.mark.parametrize("launcher", TWO)
def test_two_processes_read_prompts_once_and_get_the_losses_of_reading_them_twice(
    tiny_model: Path, data: Path, tmp_path: Path, launcher: str
) -> None:
    """35 seconds each, and 90 more where DeepSpeed has not yet compiled its shared-memory operation."""
    if launcher != "ddp":
        pytest.importorskip("deepspeed")
        if shutil.which("c++") is None:
            pytest.skip("DeepSpeed compiles an operation for CPU processes, which needs a C++ compiler")
    found = {}
    for reading in ("--shared-prefix", "--no-shared-prefix"):
        output = tmp_path / reading.strip("-")
        flags = [reading, "--gradient-checkpointing", "--epochs", "2"]
        command = [flag for flag in training(tiny_model, data, output) if flag != "--no-gradient-checkpointing"]
        done = launch([*TWO[launcher], *command, *flags], tmp_path)
        assert done.returncode == 0, done.stderr
        assert "Invalidate trace cache" not in done.stderr + done.stdout
        assert ("stage3_gather_16bit_weights" in done.stderr) == (launcher == "zero-3"), (
            "the weights were not in shares"
        )
        said = manifest.read(output)
        assert said.counts["world_size"] == 2
        assert said.settings["gradient_checkpointing"] is True
        read_once = [how["shared_prefix"] for how in said.forward.values()]
        assert read_once == ([True, True] if reading == "--shared-prefix" else [False])
        found[reading] = output
    once, twice = found.values()
    assert len(losses(twice)) == 4
    assert losses(once) == pytest.approx(losses(twice), abs=1e-4)
    assert losses(twice)[-1] != pytest.approx(losses(twice)[0], abs=1e-2)
    for rank in (0, 1):
        assert batches(once, rank) == batches(twice, rank)
    first, second = (steps(once, rank) for rank in (0, 1))
    assert len(first) == len(second) == 4
    for step, seen in first.items():
        assert len(seen) == len(second[step]) == 2
        assert seen.isdisjoint(second[step])
