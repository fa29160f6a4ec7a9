"""What is in a prepared folder."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


def rows(folder: Path) -> list[dict[str, Any]]:
    """Every row of the folder's shards, in order."""
    shards = sorted(folder.glob("pairs-*.parquet"))
    return [row for shard in shards for row in pq.read_table(shard).to_pylist()]


def files(folder: Path) -> dict[str, bytes]:
    """The bytes of every file, hidden ones too, by its place in the folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
