"""Shards on disk: each a Parquet file with a note beside it, until the whole folder is committed by its manifest."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path

from alignx import manifest
from alignx.cache import known_digest
from alignx.prompts.preparing.tables import Row, table

SHARDS = "pairs-[0-9][0-9][0-9][0-9][0-9].parquet"
"""Names of the shards in a prepared folder."""


def shard_path(folder: Path, number: int) -> Path:
    """Where a shard is."""
    return folder / f"pairs-{number:05d}.parquet"


@dataclass
class Shard:
    """What is known of a shard without reading it."""

    number: int
    key: str
    problems: list[tuple[int, str]] = field(default_factory=list)
    """Records that could not be told or did not fit, with the numbers of their rows."""
    counts: Counter[str] = field(default_factory=Counter)
    lengths: dict[str, Counter[int]] = field(default_factory=dict)
    """How often each length occurs, in tokens or characters, of prompts and responses."""
    sha256: str = ""
    bytes: int = 0


class ShardWriter:
    """Collects the rows of one shard as Arrow tables, and writes it whole or not at all."""

    def __init__(self, folder: Path, number: int, form: str) -> None:
        """Name the shard."""
        self._path, self._form = shard_path(folder, number), form
        self._tables = [table([], form)]
        self.lengths: dict[str, Counter[int]] = {name: Counter() for name in ("prompt", "chosen", "rejected")}

    def add(self, rows: Sequence[Row]) -> None:
        """Append rows, which are held as numbers from here on and not as lists."""
        self._tables.append(table(rows, self._form))
        for name, lengths in self.lengths.items():
            attribute = f"{name}_ids" if self._form == "ids" else name
            lengths.update(map(len, map(attrgetter(attribute), rows)))

    def write(self, shard: Shard) -> Shard:
        """Write the rows; returns what is known of them with the file's digest and size.

        Raises:
            OSError: The disk is full or the like; with the name of the file, which Arrow does not say.
        """
        try:
            return self._write(shard)
        except OSError as error:
            raise OSError(error.errno, error.strerror or " ".join(str(error).split()), str(self._path)) from error

    def _write(self, shard: Shard) -> Shard:
        import pyarrow as pa
        import pyarrow.parquet

        draft = self._path.with_name(f".{self._path.stem}.{os.getpid()}.tmp")
        whole = pa.concat_tables(self._tables).combine_chunks()
        with draft.open("wb") as stream:
            if len(whole):
                pyarrow.parquet.write_table(whole, stream, compression="zstd")
            else:  # no row group: of one without rows, readers such as datasets make an error
                pyarrow.parquet.ParquetWriter(stream, whole.schema, compression="zstd").close()
            stream.flush()
            os.fsync(stream.fileno())
        written = replace(shard, sha256=manifest.file_digest(draft), bytes=draft.stat().st_size)
        draft.replace(self._path)
        return written


def is_there(folder: Path, shard: Shard) -> bool:
    """Whether a shard's file is as its note says."""
    path = shard_path(folder, shard.number)
    return path.is_file() and path.stat().st_size == shard.bytes and known_digest(path) == shard.sha256
