"""One writer an output: a file that a process holds until it ends."""

import os
import sys
from pathlib import Path
from typing import IO, Any

from alignx.errors import DataError


def hold(path: Path, doing: str, *, waits: bool = False) -> IO[str]:
    """Hold a file until it is closed or this process ends, however it ends, so that two never write the same output.

    Args:
        path: Of the file; it is made if need be, and says whose it is.
        doing: What another holder would be doing, for the message: "training to this output".
        waits: Until another holder has ended, instead of raising.

    Returns:
        The open file.

    Raises:
        DataError: Another process holds it, or files cannot be locked there.
    """
    stream = path.open("a+", encoding="utf-8")
    try:
        lock(stream, path)
    except BlockingIOError:
        stream.seek(0)
        number = stream.read().strip()
        who = f"process {number}" if number else "another process"
        if not waits:
            stream.close()
            raise DataError(
                f"{path.parent}: {who} is {doing}; wait for it or end it, or choose another --output"
            ) from None
        print(f"waiting for {who}, which is {doing}", file=sys.stderr, flush=True)
        lock(stream, path, waits=True)
    except DataError:
        stream.close()
        raise
    if not _is_at(stream, path):  # whoever held it removed it at their end, and somebody may have made it anew
        stream.close()
        return hold(path, doing, waits=waits)
    stream.truncate(0)
    stream.write(str(os.getpid()))
    stream.flush()
    return stream


def _is_at(stream: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def lock(stream: IO[Any], path: Path, *, waits: bool = False) -> None:
    """Lock an open file for this process alone, until it is closed.

    Args:
        stream: Open for writing.
        path: Of it, for the message.
        waits: Until nobody else has it.

    Raises:
        BlockingIOError: Another process has it.
        DataError: Files cannot be locked there.
    """
    import fcntl

    try:
        fcntl.flock(stream, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be locked ({error.strerror}); choose another folder") from error
