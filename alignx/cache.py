"""Where work that need not be done again is kept, on this machine, for this user."""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from alignx.manifest import digest, file_digest

_COARSEST_CLOCK = 2.0
"""Seconds."""


def cache_folder() -> Path:
    """``$ALIGNX_CACHE``, else ``alignx`` in the user's cache folder."""
    if own := os.environ.get("ALIGNX_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alignx"


def known_of(path: Path, kind: str, read: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """What reading a whole file tells, remembered, so that the next start over ten gigabytes begins at once.

    It is remembered under the file's place, size, inode and times: of its content and of its entry, which nobody can
    set back. A file that was touched a moment ago is not remembered: clocks of file systems are coarse, and it could
    change once more at the same time.

    Args:
        path: The file.
        kind: What is remembered, with a number that goes up when ``read`` tells something else.
        read: Reads the file and tells it, as JSON.

    Raises:
        OSError: The file cannot be read.
    """
    status = path.stat()
    stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    name = digest(kind, str(path.resolve()))[:32]
    memory = cache_folder() / "files" / name[:2] / f"{name}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):  # not there, or cut: read the file
        remembered = json.loads(memory.read_text(encoding="utf-8"))
        if remembered["stamp"] == stamp:
            known: dict[str, Any] = remembered["known"]
            return known
    known = read(path)
    if time.time() - status.st_ctime < _COARSEST_CLOCK:
        return known
    with suppress(OSError):  # a memory that cannot be written costs time and nothing else
        memory.parent.mkdir(parents=True, exist_ok=True)
        draft = memory.with_name(f"{name}.{os.getpid()}.tmp")
        draft.write_text(json.dumps({"stamp": stamp, "known": known}), encoding="utf-8")
        draft.replace(memory)
    return known


def known_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex; of a file that was not touched since the last time, from memory.

    Raises:
        OSError: It cannot be read.
    """
    return str(known_of(path, "sha256/1", lambda one: {"sha256": file_digest(one)})["sha256"])
