"""A process that asks is ended in the middle, by force or by request, and the next one goes on from there."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alignx.chat.server import ChatServer
from tests.chat.questioning import MODEL, all_right, answer, values
from tests.chat.storms import Storm

CONCURRENCY = 8
COUNT = 200

PROGRAM = f"""
import signal
import sys
from pathlib import Path
from alignx.chat.asking import ask
from alignx.chat.replies import Replies
from alignx.chat.settings import ServerSettings
from tests.chat.questioning import MODEL, asks
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
try:
    with Replies(Path(sys.argv[1])) as replies:
        settings = ServerSettings(base_url=sys.argv[2], concurrency={CONCURRENCY}, patience=20)
        ask(asks({COUNT}), settings, MODEL, replies, {COUNT})
except KeyboardInterrupt:
    sys.exit(130)
"""


def start(path: Path, server: ChatServer) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(path), server.base_url]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ)


def wait_for(storm: Storm, requests: int, process: subprocess.Popen[str]) -> None:
    patience = time.monotonic() + 20
    while len(storm.records) < requests and process.poll() is None and time.monotonic() < patience:
        time.sleep(0.002)


def test_a_process_killed_at_ten_random_points_loses_only_what_was_under_way(tmp_path: Path) -> None:
    """Takes 10 s, nearly all of it starting eleven interpreters."""
    draw = random.Random(6)
    storm = Storm(answer, seed=2, chances=dict.fromkeys(["429-zero", "500", "cut", "wrong-enum"], 0.03), calm_after=2)
    path = tmp_path / "replies.jsonl"
    with ChatServer(storm, model=MODEL, latency=0.02) as server:
        for _ in range(10):
            process = start(path, server)
            wait_for(storm, len(storm.records) + draw.randint(1, COUNT // 11), process)
            time.sleep(draw.uniform(0, 0.02))
            process.kill()
            process.communicate()
            assert process.returncode == -signal.SIGKILL, "it was at an end before it was killed"
        assert 20 < sum(value is not None for value in values(path, COUNT)) < COUNT
        last = start(path, server)
        assert last.communicate(timeout=60)[1].count("Traceback") == 0
        assert last.returncode == 0
    assert values(path, COUNT) == all_right(COUNT)
    again = sum(times - 1 for times in storm.answered.values())
    assert again <= 10 * CONCURRENCY
    assert len(storm.answered) == COUNT


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_process_that_is_asked_to_end_does_so_at_once_quietly_and_keeps_its_replies(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    slow = Storm(answer)
    path = tmp_path / "replies.jsonl"
    with ChatServer(slow, model=MODEL, latency=0.05) as server:
        process = start(path, server)
        wait_for(slow, 60, process)
        server.latency = 60.0
        wait_for(slow, 60 + CONCURRENCY, process)
        begun = time.monotonic()
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
        assert time.monotonic() - begun < 3
    assert process.returncode == status
    assert "Traceback" not in said
    assert "never retrieved" not in said
    assert sum(value is not None for value in values(path, COUNT)) >= 60 - CONCURRENCY
