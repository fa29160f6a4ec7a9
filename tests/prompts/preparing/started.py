"""`alignx data prepare` as a process with a session of its own, whose pieces are small enough to be caught between."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alignx.prompts import Condition
from alignx.prompts.preparing import Cached
from alignx.records import Records
from tests.processes import PATIENCE, environment
from tests.prompts.preparing.unruly import encoder

_COMMAND = """
import sys
from alignx.records import pieces
pieces.PIECE_ROWS = int(sys.argv[1])
from alignx.cli import main
main(sys.argv[2:])
"""


def start(output: Path, piece_rows: int = 16, **told: Any) -> subprocess.Popen[str]:
    """Start a preparation."""
    named = {"method": "ica", "workers": 2, **told, "output": output}
    flags = [word for name, value in named.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return subprocess.Popen(
        [sys.executable, "-c", _COMMAND, str(piece_rows), "data", "prepare", *flags],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # whoever started the tests may ignore interrupts, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def finish(output: Path, **told: Any) -> str:
    """Run one to a good end; returns what it printed."""
    said, complaint = (process := start(output, **told)).communicate(timeout=PATIENCE)
    assert process.returncode == 0, complaint
    return said


def wait_for(reached: Callable[[], bool], process: subprocess.Popen[str]) -> bool:
    """Wait until something is so; false where the process ended before."""
    deadline = time.monotonic() + PATIENCE
    while not reached():
        if process.poll() is not None:
            return False
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.001)
    return True


def alive(process: subprocess.Popen[str]) -> list[int]:
    """Processes of the session that are not dead, its leader included."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            if int(fields[3]) == process.pid and fields[0] not in "ZX":
                found.append(int(entry.name))
    return sorted(found)


def nothing_lives(process: subprocess.Popen[str]) -> bool:
    """Whether every process of the session ends within seconds after its leader."""
    deadline = time.monotonic() + 10
    while alive(process) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not alive(process)


def workers(process: subprocess.Popen[str]) -> list[int]:
    """Processes that prepare, which multiprocessing has started."""
    found = []
    for number in alive(process):
        try:
            words = Path(f"/proc/{number}/cmdline").read_bytes()
        except OSError:
            continue
        if b"spawn_main" in words:
            found.append(number)
    return found


def make_cached(data: Path, condition: Condition, answers: Any) -> None:
    """In a process of its own: say what is known of records, then make them and say what that gave."""
    cached = Cached(Records(str(data)), condition, encoder(condition), workers=1)
    known = cached.known()
    answers.put(known and known.model_dump(mode="json"))
    answers.put(cached.made().model_dump(mode="json"))


def kill_all(process: subprocess.Popen[str]) -> None:
    """End the whole session at once, as a machine does that is switched off."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
