"""A preparation that is killed, interrupted or doubled: what is done is kept, and the end is the same to the byte."""

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from alignx.errors import ExitCode
from alignx.manifest import file_digest
from tests.processes import PATIENCE
from tests.prompts.preparing.folders import files
from tests.prompts.preparing.started import finish, kill_all, nothing_lives, start, wait_for, workers
from tests.worlds import sample_records, write_jsonl

pytestmark = pytest.mark.slow
"""Ten kills take 35 seconds, the others 4 to 10 each on an idle machine, and several times that beside other work."""

COUNT = 480
SHARDS = COUNT // 16


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of which every seventh repeats one of a piece far before it."""
    found = sample_records(COUNT, seed=9)
    for number in range(6, COUNT, 7):
        found[number] = found[number // 3]
    return write_jsonl(tmp_path_factory.mktemp("data") / "records.jsonl", found)


@pytest.fixture(scope="module")
def calm(data: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a preparation that nothing disturbs makes."""
    folder = tmp_path_factory.mktemp("calm") / "prepared"
    finish(folder, data=data, model=tiny_model)
    found = files(folder)
    assert len(found) == 1 + SHARDS
    return found


def done(folder: Path, calm: dict[str, bytes]) -> dict[str, tuple[int, int]]:
    """Inode and time of the shards that are noted and as they will be in the end.

    A note may be of a shard's first form: the kill came after its second one, which the records before asked for,
    and before the note of that. Such a shard counts as not done, and is made once more.
    """
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.glob("pairs-*.parquet")
        if path.read_bytes() == calm[path.name] and said_to_be(folder / f".{path.stem}.json") == file_digest(path)
    }


def said_to_be(note: Path) -> str | None:
    """The digest of its shard by a note."""
    if not note.is_file():
        return None
    (shard,) = json.loads(note.read_bytes())["shards"]
    return str(shard["sha256"])


def noted(folder: Path) -> int:
    return len(list(folder.glob(".pairs-*.json")))


def test_killed_at_ten_random_points_it_ends_as_if_nothing_had_been(
    data: Path, tiny_model: Path, tmp_path: Path, calm: dict[str, bytes]
) -> None:
    """35 seconds."""
    rng, output = random.Random(11), tmp_path / "out"
    points: list[tuple[str, Callable[[int], bool]]] = [
        ("it holds the folder", lambda _: (output / ".lock").is_file()),
        ("a shard is being written", lambda _: any(output.glob(".pairs-*.tmp"))),
        ("some more are done", lambda before: noted(output) >= before + wanted),
        ("another shard is there", lambda before: len(list(output.glob("pairs-*.parquet"))) > before),
    ]
    kept: dict[str, tuple[int, int]] = {}
    kills = 0
    for _ in range(10):
        name, reached = rng.choice(points)
        wanted, before, pause = rng.randint(1, 5), noted(output), rng.choice((0, 0, rng.random() * 0.05))
        process = start(output, data=data, model=tiny_model, workers=rng.choice((1, 2, 2)))
        if wait_for(lambda: reached(before), process):  # noqa: B023  (called within this round)
            time.sleep(pause)
            kills += process.poll() is None
        kill_all(process)
        assert nothing_lives(process)
        now = done(output, calm)
        assert {shard: now.get(shard) for shard in kept} == kept, name  # nothing that was done was made again
        kept = now
    assert kills >= 8
    assert 0 < len(kept) < SHARDS
    finish(output, data=data, model=tiny_model)
    assert files(output) == calm
    stats = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in output.glob("pairs-*.parquet")}
    assert {shard: stats[shard] for shard in kept} == kept


def test_processes_do_not_outlive_one_that_is_killed_alone(
    data: Path, tiny_model: Path, tmp_path: Path, calm: dict[str, bytes]
) -> None:
    process = start(tmp_path / "out", data=data, model=tiny_model)
    assert wait_for(lambda: noted(tmp_path / "out") > 2, process)
    assert len(workers(process)) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)
    assert nothing_lives(process)
    process.communicate()
    finish(tmp_path / "out", data=data, model=tiny_model)
    assert files(tmp_path / "out") == calm


@pytest.mark.parametrize("when", ["its processes begin", "they work"])
def test_an_interrupt_is_one_line_and_the_same_command_goes_on(
    when: str, data: Path, tiny_model: Path, tmp_path: Path, calm: dict[str, bytes]
) -> None:
    output = tmp_path / "out"
    process = start(output, data=data, model=tiny_model)
    begun = {"its processes begin": lambda: bool(workers(process)), "they work": lambda: noted(output) > 2}
    assert wait_for(begun[when], process)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to all
    said, complaint = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (ExitCode.INTERRUPTED, "")
    assert complaint == "alignx data prepare: interrupted; run the same command again\n"
    assert nothing_lives(process)
    finish(output, data=data, model=tiny_model)
    assert files(output) == calm


def test_a_process_that_is_killed_alone_ends_the_work_with_a_sentence(
    data: Path, tiny_model: Path, tmp_path: Path, calm: dict[str, bytes]
) -> None:
    output = tmp_path / "out"
    process = start(output, data=data, model=tiny_model)
    assert wait_for(lambda: noted(output) > 2, process)
    os.kill(workers(process)[0], signal.SIGKILL)
    _, complaint = process.communicate(timeout=PATIENCE)
    assert process.returncode == ExitCode.PARTIAL
    assert complaint.count("\n") == 1
    assert "a process that prepared records was ended from outside (out of memory?)" in complaint
    assert nothing_lives(process)
    kept = done(output, calm)
    assert kept
    finish(output, data=data, model=tiny_model)
    assert files(output) == calm
    assert (
        kept.items()
        <= {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in output.glob("pairs-*.parquet")}.items()
    )


def test_a_second_one_on_the_same_output_is_refused_and_disturbs_nothing(
    data: Path, tiny_model: Path, tmp_path: Path, calm: dict[str, bytes]
) -> None:
    output = tmp_path / "out"
    first = start(output, data=data, model=tiny_model)
    assert wait_for(lambda: noted(output) > 0, first)
    os.killpg(first.pid, signal.SIGSTOP)  # or it would end before the second has begun
    second = start(output, data=data, model=tiny_model)
    _, complaint = second.communicate(timeout=PATIENCE)
    assert second.returncode == ExitCode.DATA
    assert f"{output}: process {first.pid} is preparing records there; wait for it or end it" in complaint
    os.killpg(first.pid, signal.SIGCONT)
    _, complaint = first.communicate(timeout=PATIENCE)
    assert first.returncode == 0, complaint
    assert files(output) == calm
