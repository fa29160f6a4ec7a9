"""Judging through bad weather while the judging process is killed again and again: what became of it."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignx.chat.server import ChatServer
from tests.chat.spoiling import TRICKY
from tests.chat.storms import GOOD, Storm
from tests.judging.comparing import MODEL, everything, judge, lines, run

ROOT = Path(__file__).resolve().parents[2]
TROUBLES = (
    *("429", "429-seconds", "429-zero", "429-date", "500", "502", "503", "hang", "drop", "short", "cut", "html"),
    *("no-choices", "no-content", "refusal", "filter", "length", "wrong-enum", "wrong-schema", "quoted", "fenced"),
)
DATE = "2999-01-14"


@dataclass
class Survived:
    """What became of a comparison whose process was killed."""

    kills: int = 0
    slots: int = 0
    pairs: int = 0
    """Outcomes that were written, each of another pair."""
    unjudged: int = 0
    requests: int = 0
    """That reached the server."""
    distinct: int = 0
    """Requests that differ."""
    repeated: int = 0
    """Usable replies that were sent, and paid, though the same request had got one before."""
    usable: int = 0
    """Usable replies in the file, each to another request."""
    doubled: int = 0
    """Usable replies in the file to a request that has another."""
    same_report: bool = False
    """Whether the report is byte for byte that of a calm run."""
    did: Mapping[str, int] = field(default_factory=dict)
    """How often each thing happened."""
    seconds: float = 0.0


def survive(
    folder: Path, flags: Mapping[str, Any], *, kills: int, slots: int, trouble: float, seed: int = 0
) -> Survived:
    """Judge in a storm, killing the process at random points of the whole work, and compare with a calm run.

    Args:
        folder: For the outputs.
        flags: Data, candidate and baseline.
        kills: How many.
        slots: Requests under way at once.
        trouble: Chance of each kind of trouble.
        seed: Of the storm and of the kills.
    """
    begun = time.monotonic()
    with ChatServer(judge(), model=MODEL, shutdown_date=DATE) as server:
        run(server, folder / "calm", flags, concurrency=32)
    storm = Storm(judge(), seed=seed, chances=dict.fromkeys(TROUBLES, trouble), calm_after=6, retry_after=0.05)
    needed = len(lines(folder / "calm" / "replies.jsonl"))
    points = sorted(random.Random(seed).sample(range(1, needed), kills))
    found = Survived(slots=slots)
    with ChatServer(storm, model=MODEL, latency=0.05, shutdown_date=DATE) as server:
        words = _command(server, folder / "stormy", flags, slots)
        found.kills = sum(_killed_at(point, words, storm) for point in points)
        last = _start(words)
        _, complaint = last.communicate()
        assert last.returncode == 0, complaint[-3000:]
    outcomes = lines(folder / "stormy" / "pairs.jsonl")
    usable = Counter(one["id"] for one in lines(folder / "stormy" / "replies.jsonl") if "problem" not in one)
    given = Counter(one.digest for one in storm.records if one.sent and one.did in (GOOD, *TRICKY))
    found.pairs = len({one["id"] for one in outcomes})
    assert found.pairs == len(outcomes), "a pair is there twice"
    found.unjudged = sum(one["verdict"] is None for one in outcomes)
    found.requests, found.distinct = len(storm.records), len(storm.asked)
    found.repeated = given.total() - len(given)
    found.usable, found.doubled = len(usable), usable.total() - len(usable)
    found.same_report = everything(folder / "stormy") == everything(folder / "calm")
    found.did = dict(storm.did)
    found.seconds = time.monotonic() - begun
    return found


def _command(server: ChatServer, output: Path, flags: Mapping[str, Any], slots: int) -> list[str]:
    named = {
        **flags,
        "output": output,
        "judge-model": MODEL,
        "base-url": server.base_url,
        "concurrency": slots,
        "timeout": 1.5,
        "patience": 120,
        "tries": 9,
    }
    words = [word for name, value in named.items() for word in (f"--{name}", str(value))]
    return [sys.executable, str(ROOT / "eval" / "win_rate.py"), *words]


def _start(words: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _killed_at(point: int, words: list[str], storm: Storm) -> bool:
    """Start, and kill when so many requests have reached the server in all; false where it ended by itself."""
    process, before = _start(words), len(storm.records)
    while len(storm.records) < max(point, before + 1) and process.poll() is None:
        time.sleep(0.02)
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL
