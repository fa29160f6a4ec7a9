"""One writer an output: a file that a process holds until it ends."""

import os
from pathlib import Path
from typing import IO, Any

from alignx.errors import DataError


def hold(path: Path, doing: str) -> IO[str]:
    """Hold a file until it is closed or this process ends, however it ends, so that two never write the same output.

    Args:
        path: Of the file; it is made if need be, and says whose it is.
        doing: What another holder would be doing, for the message: "training to this output".

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
        stream.close()
        who = f"process {number}" if number else "another process"
        raise DataError(f"{path.parent}: {who} is {doing}; wait for it or end it, or choose another --output") from None
    except DataError:
        stream.close()
        raise
    stream.truncate(0)
    stream.write(str(os.getpid()))
    stream.flush()
    return stream


def lock(stream: IO[Any], path: Path) -> None:
    """Lock an open file for this process alone, until it is closed.

    Args:
        stream: Open for writing.
        path: Of it, for the message.

    Raises:
        BlockingIOError: Another process has it.
        DataError: Files cannot be locked there.
    """
    import fcntl

    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be locked ({error.strerror}); choose another folder") from error
