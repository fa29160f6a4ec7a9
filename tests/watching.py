"""What processes write before it is put together, kept for a look at who did what."""

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any


def keep_parts(
    process: subprocess.Popen[Any],
    folder: Path,
    pattern: str,
    kept: Path,
    *,
    patience: float,
    named: Callable[[Path], str] = lambda path: path.name,
) -> int:
    """Link every part that appears until the process ends; a link stays when the run has cleaned up.

    Args:
        process: That writes, or starts those that do.
        folder: Where.
        pattern: Of the parts, below the folder.
        kept: An empty folder for the links.
        patience: Seconds after which the process is given up.
        named: From a part to the name of its link.

    Returns:
        The process's exit code.
    """
    deadline = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(FileNotFoundError):  # a folder that the run cleaned up while it was listed
            for path in folder.glob(pattern):
                with suppress(FileExistsError, FileNotFoundError):
                    os.link(path, kept / named(path))
        time.sleep(0.002)
    process.kill()
    return process.wait()
