"""Commands as processes of their own: how they are started, and what each wrote before it was put together."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PATIENCE = 300
"""Seconds after which a process is given up."""


def environment() -> dict[str, str]:
    """One thread a process, this checkout's package, and nothing of a launcher that may run the tests."""
    launcher = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    kept = {name: value for name, value in os.environ.items() if name not in launcher}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file that is being written, without one that has no end yet."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def keep_parts(
    process: subprocess.Popen[Any],
    folder: Path,
    pattern: str,
    kept: Path,
    *,
    named: Callable[[Path], str] = lambda path: path.name,
) -> int:
    """Link every part that appears until the process ends; a link stays when the run has cleaned up.

    Args:
        process: That writes, or starts those that do.
        folder: Where.
        pattern: Of the parts, below the folder.
        kept: An empty folder for the links.
        named: From a part to the name of its link.

    Returns:
        The process's exit code.
    """
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(FileNotFoundError):  # a folder that the run cleaned up while it was listed
            for path in folder.glob(pattern):
                with suppress(FileExistsError, FileNotFoundError):
                    os.link(path, kept / named(path))
        time.sleep(0.002)
    process.kill()
    return process.wait()
