"""Scoring as real processes: two that share the records, and one that is killed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alignx import manifest
from alignx.evaluation.scores import read_scores, score
from tests.evaluation.conftest import settings
from tests.processes import PATIENCE, ROOT, environment, keep_parts, whole_lines
from tests.worlds import sample_records, write_jsonl

SCRIPT = str(ROOT / "eval" / "loss_ica.py")


def start(command: list[str], model: Path, data: Path, output: Path) -> subprocess.Popen[str]:
    """Start scoring one prompt at a time; the error stream goes to a file beside the output."""
    flags = ["--model", model, "--data", data, "--output", output, "--batch-tokens", 1, "--dtype", "float32"]
    with output.with_suffix(".stderr").open("w") as stream:
        return subprocess.Popen([*command, *map(str, flags)], stderr=stream, env=environment(), cwd=ROOT, text=True)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"id": f"r{i}", **row} for i, row in enumerate(sample_records(40, seed=8))]
    return write_jsonl(tmp_path_factory.mktemp("many") / "records.jsonl", rows)


@pytest.fixture(scope="module")
def undisturbed(tiny_model: Path, many: Path) -> Path:
    return score(settings(tiny_model, many, many.with_name("undisturbed.jsonl")))


@pytest.mark.slow
def test_two_processes_score_disjoint_shares_and_agree_with_one(
    tiny_model: Path, many: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """About 25 s on two free cores, 45 s on busy ones: two processes import torch and transformers."""
    output, drafts, kept = tmp_path / "s.jsonl", tmp_path / "s.jsonl.partial", tmp_path / "kept"
    kept.mkdir()
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", SCRIPT]
    process = start(launcher, tiny_model, many, output)
    code = keep_parts(process, drafts, "part-*.jsonl", kept)
    assert code == 0, output.with_suffix(".stderr").read_text()

    first, second = ({line["id"] for line in whole_lines(kept / f"part-{rank}-0.jsonl")} for rank in range(2))
    assert len(list(kept.iterdir())) == 2
    assert first.isdisjoint(second)
    assert [len(first), len(second)] == [20, 20] == manifest.read(output).counts["shares"]
    assert [line["id"] for line in whole_lines(output)] == [f"r{i}" for i in range(40)]

    found, of = read_scores(output)
    assert of.forward is not None
    assert (of.forward["shared_prefix"], of.forward["reason"]) == (True, None)
    assert 0 <= of.forward["largest_difference"] < 1e-4
    for record_id, one in read_scores(undisturbed)[0].items():
        assert (found[record_id].chosen, found[record_id].rejected) == pytest.approx(
            (one.chosen, one.rejected), abs=1e-4
        )


@pytest.mark.slow
def test_killed_process_is_continued_to_the_same_bytes(
    tiny_model: Path, many: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """About 15 s on two free cores, 30 s on busy ones: one process imports torch and transformers."""
    output = tmp_path / "undisturbed.jsonl"
    process = start([sys.executable, SCRIPT], tiny_model, many, output)
    part = tmp_path / "undisturbed.jsonl.partial" / "part-0-0.jsonl"
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        if part.is_file() and part.read_bytes().count(b"\n") >= 5:
            break
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL, output.with_suffix(".stderr").read_text()
    before = len(whole_lines(part))
    assert 5 <= before < 40
    assert not output.exists()

    score(settings(tiny_model, many, output))
    assert output.read_bytes() == undisturbed.read_bytes()
    assert manifest.read(output).counts["shares"] == [40 - before]


def test_script_refuses_the_other_method_with_the_code_of_settings() -> None:
    command = [sys.executable, SCRIPT, "--model", "m", "--data", "d", "--output", "o", "--method", "pba"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("loss_ica.py: error: --method: got 'pba'")
    assert done.stdout == ""
