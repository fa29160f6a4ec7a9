"""One writer an output: a file that a process holds until it ends."""

import os
from pathlib import Path
from typing import IO

from alignx.errors import DataError


def hold(path: Path, doing: str) -> IO[str]:
    """Hold a file until it is closed or this process ends, however it ends, so that two never write the same output.

    Args:
        path: Of the file; it is made if need be, and says whose it is.
        doing: What another holder would be doing, for the message: "training to this output".

    Returns:
        The open file.

    Raises:
        DataError: Another process holds it.
    """
    import fcntl

    stream = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.seek(0)
        number = stream.read().strip()
        stream.close()
        who = f"process {number}" if number else "another process"
        raise DataError(f"{path.parent}: {who} is {doing}; wait for it or end it, or choose another --output") from None
    stream.truncate(0)
    stream.write(str(os.getpid()))
    stream.flush()
    return stream
