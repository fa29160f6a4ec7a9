"""``alignx evaluate`` with benchmarks as one whole: killed and continued, finished and idle, one process and two."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from alignx import manifest
from alignx.cli import main
from alignx.evaluation.scores import read_scores
from tests.evaluation.conftest import perturbed
from tests.processes import PATIENCE, ROOT, environment, keep_parts, whole_lines

FILES = {
    "all": "world/test.jsonl",
    "comments": "world/test-comments-only.jsonl",
    "choices": "world/test-choices-only.jsonl",
}
FEW = ("--limit", "3")
ROWS = len(FILES) * 2 * 2
"""Files, policies and conditions."""


@pytest.fixture(scope="module")
def world(little: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The little world and its models, with a benchmark of three files; read-only."""
    folder = tmp_path_factory.mktemp("tables")
    for name in ("world", "tiny", "one", "two"):
        (folder / name).symlink_to(little / name)
    parts = [{"name": part, "data": data, "n": 16} for part, data in FILES.items()]
    written(folder / "benchmark.yaml", columns=[{"name": "Whole", "average": "parts", "parts": parts}])
    written(
        folder / "evaluate.yaml",
        policies=[
            {"name": "One", "model": "one", "method": "ica"},
            {"name": "Two", "model": "two", "method": "pba"},
        ],
        reference="tiny",
        benchmarks=[str(folder / "benchmark.yaml")],
        conditions=[{"name": "own persona"}, {"name": "another's", "persona": "other", "role": "control"}],
        batch_tokens=1,
        dtype="float32",
        examples=0,
    )
    return folder


@pytest.fixture(scope="module")
def finished(world: Path) -> Path:
    """A finished evaluation of a few records of each file; read-only."""
    evaluate(world, world / "finished", *FEW)
    return world / "finished"


@pytest.fixture
def root(world: Path, tmp_path: Path) -> Path:
    """The same world, to take away from and to change."""
    folder = tmp_path / "root"
    shutil.copytree(world, folder, symlinks=True, ignore=shutil.ignore_patterns("world", "finished"))
    shutil.copytree(world / "world", folder / "world")
    return folder


def written(path: Path, **values: Any) -> None:
    path.write_text(yaml.safe_dump(values), encoding="utf-8")


def flags(root: Path, output: Path, *more: str) -> list[str]:
    return ["evaluate", "--config", str(root / "evaluate.yaml"), "--root", str(root), "--output", str(output), *more]


def evaluate(root: Path, output: Path, *more: str) -> list[dict[str, Any]]:
    """Run the command in this process; returns its results."""
    main(flags(root, output, *more))
    found = json.loads((output / "results.json").read_text(encoding="utf-8"))
    assert isinstance(found, list)
    return found


def start(command: list[str], root: Path, output: Path) -> subprocess.Popen[str]:
    """Run the command as a process of its own; errors and what it remembers of references lie beside the output."""
    own = {**environment(), "ALIGNX_CACHE": str(output.with_suffix(".cache"))}
    with output.with_suffix(".stderr").open("w") as stream:
        return subprocess.Popen([*command, *flags(root, output)], stderr=stream, env=own, cwd=ROOT, text=True)


def stop_in(process: subprocess.Popen[str], state: Callable[[], bool]) -> None:
    """Stop a process in a state, which is looked for while it stands still."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if state():
            return
        process.send_signal(signal.SIGCONT)
        time.sleep(0.01)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def times(output: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (output / "scores").glob("*.jsonl")}


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each kind of torch module was called from here on."""
    import torch

    calls, inner = Counter[str](), torch.nn.Module.__call__

    def counted(module: Any, *args: Any, **options: Any) -> Any:
        calls[type(module).__name__] += 1
        return inner(module, *args, **options)

    monkeypatch.setattr(torch.nn.Module, "__call__", counted)
    return calls


def test_a_finished_evaluation_makes_no_model_call_and_leaves_every_byte(
    world: Path, finished: Path, tmp_path: Path, forwards: Counter[str]
) -> None:
    before, scored = contents(finished), times(finished)
    evaluate(world, finished, *FEW)
    assert forwards == {}
    assert contents(finished) == before
    assert times(finished) == scored
    evaluate(world, tmp_path / "new", "--limit", "1")
    assert forwards["LlamaModel"] > 0, "a call would have been seen"


def test_an_evaluation_of_which_a_file_is_absent_is_finished_too(
    root: Path, tmp_path: Path, forwards: Counter[str]
) -> None:
    (root / FILES["choices"]).unlink()
    found = evaluate(root, tmp_path / "out", *FEW)
    forwards.clear()
    assert evaluate(root, tmp_path / "out", *FEW) == found
    assert forwards == {}


def test_a_file_that_appears_later_fills_its_own_cells_only(root: Path, finished: Path, tmp_path: Path) -> None:
    output, away = tmp_path / "out", tmp_path / "away"
    (root / FILES["comments"]).rename(away)
    assert {row["benchmark"]["part"] for row in evaluate(root, output, *FEW)} == {"all", "choices"}
    absent = f"{FILES['comments']}: no such file"
    assert absent in (output / "report.md").read_text(encoding="utf-8")
    before = times(output)

    away.rename(root / FILES["comments"])
    evaluate(root, output, *FEW)
    after = times(output)
    assert {name: after[name] for name in before} == before
    assert len(after) == 2 * ROWS
    assert all("comments" in name for name in after.keys() - before.keys())
    assert absent not in (output / "report.md").read_text(encoding="utf-8")
    for name in ("results.json", "report.md", "report.html"):
        assert (output / name).read_bytes() == (finished / name).read_bytes(), name


@pytest.mark.parametrize(
    ("change", "named"), [("data", "data.digest"), ("one", "model.digest"), ("tiny", "model.digest")]
)
def test_what_was_measured_of_other_data_or_another_model_is_refused_and_stays(
    root: Path, finished: Path, tmp_path: Path, change: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = shutil.copytree(finished, tmp_path / "out")
    before = contents(output)
    if change == "data":
        path = root / FILES["all"]
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join([lines[1], lines[0], *lines[2:]]), encoding="utf-8")
    else:
        original = (root / change).resolve()
        (root / change).unlink()
        perturbed(original, root / change, seed=9)
    with pytest.raises(SystemExit) as left:
        main(flags(root, output, *FEW))
    assert left.value.code == 3
    said = capsys.readouterr().err
    assert f"holds scores of something else, which differs in {named}" in said
    assert "Whole all, own persona" in said, "which row"
    assert str(root / FILES["all"]) in said, "and which records"
    assert contents(output) == before


def test_where_every_file_is_absent_each_is_named(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(root / "world")
    with pytest.raises(SystemExit) as left:
        main(flags(root, tmp_path / "out"))
    assert left.value.code == 3
    said = capsys.readouterr().err
    assert [data for data in FILES.values() if f"{data}: no such file" not in said] == []


@pytest.mark.slow
def test_a_killed_evaluation_continues_to_the_same_bytes(world: Path, tmp_path: Path) -> None:
    """About 15 s: one process imports torch and transformers."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    evaluate(world, whole)
    process = start([sys.executable, "-m", "alignx"], world, cut)
    scores = cut / "scores"

    def drafted() -> list[str]:
        return [line["id"] for path in scores.glob("*.partial/part-0-*.jsonl") for line in whole_lines(path)]

    stop_in(process, lambda: len(list(scores.glob("*.jsonl"))) >= 3 and 3 <= len(drafted()) < 16)
    process.kill()
    assert process.wait() == -signal.SIGKILL, cut.with_suffix(".stderr").read_text()
    finished = times(cut)
    begun = len(drafted())
    assert 3 <= len(finished) < 2 * ROWS
    assert 3 <= begun < 16
    assert not (cut / "results.json").exists()

    evaluate(world, cut)
    assert {name: time for name, time in times(cut).items() if name in finished} == finished
    shares = [manifest.read(path).counts["shares"] for path in scores.glob("*.jsonl")]
    assert sorted(shares) == sorted([[16]] * (2 * ROWS - 1) + [[16 - begun]])
    for name in ("results.json", "report.md", "report.html", *(f"scores/{name}" for name in times(whole))):
        assert (cut / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.slow
def test_two_processes_share_the_records_and_print_the_numbers_of_one(world: Path, tmp_path: Path) -> None:
    """About 20 s: two processes import torch and transformers."""
    one, two, kept = tmp_path / "one", tmp_path / "two", tmp_path / "kept"
    kept.mkdir()
    alone = start([sys.executable, "-m", "alignx"], world, one)
    assert alone.wait(PATIENCE) == 0, one.with_suffix(".stderr").read_text()
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "alignx"]
    process = start(launcher, world, two)

    def named(part: Path) -> str:
        return f"{part.parent.name.removesuffix('.partial')} {part.name}"

    code = keep_parts(process, two, "scores/*.partial/part-*.jsonl", kept, named=named)
    assert code == 0, two.with_suffix(".stderr").read_text()

    files = sorted((two / "scores").glob("*.jsonl"))
    assert len(files) == 2 * ROWS
    assert [manifest.read(path).counts["shares"] for path in files] == [[8, 8]] * len(files)
    seen = {path.name.split()[0] for path in kept.iterdir()}
    assert seen  # small files come and go between two looks; their manifests said their shares
    for name in seen:
        shares = [{line["id"] for line in whole_lines(path)} for path in sorted(kept.glob(f"{name} *"))]
        if len(shares) == 2:
            assert shares[0].isdisjoint(shares[1])
            assert {*shares[0], *shares[1]} == read_scores(two / "scores" / name)[0].keys()
    for path in files:
        here, there = (read_scores(folder / "scores" / path.name)[0] for folder in (one, two))
        assert {name: score.chosen for name, score in there.items()} == pytest.approx(
            {name: score.chosen for name, score in here.items()}, abs=1e-5
        )
    results = [json.loads((folder / "results.json").read_text(encoding="utf-8")) for folder in (one, two)]
    margins = [[row.pop("mean_margin") for row in rows] for rows in results]  # the last bit of a float32 may differ
    assert margins[0] == pytest.approx(margins[1], abs=1e-5)
    assert results[0] == results[1]
    assert (two / "report.md").read_bytes() == (one / "report.md").read_bytes()
