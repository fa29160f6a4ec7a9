"""Generation as it is started: several processes, and processes that are killed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alignx import manifest
from alignx.generation.generating import generate
from tests.generation.conftest import NEW_TOKENS, settings
from tests.processes import PATIENCE, ROOT, environment, keep_parts, whole_lines
from tests.worlds import sample_records, write_jsonl

SCRIPT = str(ROOT / "eval" / "gen_ica.py")


def start(command: list[str], model: Path, data: Path, output: Path) -> subprocess.Popen[str]:
    """Start generating three at a time; the error stream goes to a file beside the output."""
    flags = ["--model", model, "--data", data, "--output", output, "--batch-size", 3, "--dtype", "float32"]
    with output.with_suffix(".stderr").open("w") as stream:
        return subprocess.Popen(
            [*command, *map(str, flags), "--max-new-tokens", str(NEW_TOKENS)],
            stderr=stream,
            env=environment(),
            cwd=ROOT,
            text=True,
        )


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"id": f"r{i}", **row} for i, row in enumerate(sample_records(40, seed=8))]
    return write_jsonl(tmp_path_factory.mktemp("many") / "records.jsonl", rows)


@pytest.fixture(scope="module")
def undisturbed(model: Path, many: Path) -> Path:
    generate(settings(model, many, many.with_name("undisturbed.jsonl")))
    return many.with_name("undisturbed.jsonl")


@pytest.mark.slow
def test_two_processes_answer_disjoint_shares_with_the_tokens_of_one(
    model: Path, many: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """About 25 s on two free cores: two processes import torch and transformers."""
    output, drafts, kept = tmp_path / "r.jsonl", tmp_path / "r.jsonl.partial", tmp_path / "kept"
    kept.mkdir()
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", SCRIPT]
    process = start(launcher, model, many, output)
    code = keep_parts(process, drafts, "part-*.jsonl", kept)
    assert code == 0, output.with_suffix(".stderr").read_text()
    first, second = ({line["id"] for line in whole_lines(kept / f"part-{rank}-0.jsonl")} for rank in range(2))
    assert first.isdisjoint(second)
    assert [len(first), len(second)] == [20, 20] == manifest.read(output).counts["shares"], "a world of two"
    assert output.read_bytes() == undisturbed.read_bytes()


@pytest.mark.slow
def test_killed_processes_are_continued_to_the_same_bytes(
    model: Path, many: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """About 25 s on two free cores: two processes, one after the other, import torch and transformers."""
    output = tmp_path / "r.jsonl"
    for start_number in range(2):
        process = start([sys.executable, SCRIPT], model, many, output)
        part = tmp_path / "r.jsonl.partial" / f"part-0-{start_number}.jsonl"
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            if part.is_file() and part.read_bytes().count(b"\n") >= 3:
                break
            time.sleep(0.005)
        process.kill()
        assert process.wait() == -signal.SIGKILL, output.with_suffix(".stderr").read_text()
        assert not output.exists()
    before = sum(len(whole_lines(path)) for path in part.parent.glob("part-*.jsonl"))
    assert 6 <= before < 40
    generate(settings(model, many, output))
    assert output.read_bytes() == undisturbed.read_bytes()
    assert manifest.read(output).counts["shares"] == [40 - before]


def test_script_refuses_the_other_method_with_the_code_of_settings() -> None:
    command = [sys.executable, SCRIPT, "--model", "m", "--data", "d", "--output", "o", "--method", "pba"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("gen_ica.py: error: --method: got 'pba'")
    assert done.stdout == ""
