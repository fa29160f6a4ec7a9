"""A source in pieces: stretches of its files that separate processes can read, each some megabytes."""

import codecs
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

from alignx.cache import known_digest, known_of
from alignx.errors import DataError
from alignx.records.batches import read_batch
from alignx.records.files import (
    BATCH_ROWS,
    BadRow,
    held_rows,
    json_line,
    parquet_batches,
    read_rows,
    readable,
    row_groups,
)
from alignx.records.parsing import RecordParser
from alignx.records.record import Record

PIECE_ROWS = 2048
"""Rows of a piece, and so of a shard that is made of it; a kill costs one a process. A Parquet row group of up to twice
as many is one piece: nobody can begin in the middle without reading its first half too."""
_CHUNK = 1 << 23
_LONGEST_ROW_GROUP = 4
"""In pieces. Of one that is as long as this each piece reads two and a half times what it needs, on average."""


@dataclass(frozen=True)
class Piece:
    """Rows of one file that stand together."""

    path: Path
    first: int
    """Number of its first row, or line of JSON Lines, from 1."""
    rows: int
    """How many rows or lines it has."""
    start: int = 0
    """JSON Lines: bytes before it."""
    stop: int = 0
    """JSON Lines: bytes up to its end."""
    held: tuple[bytes, ...] | None = None
    """The rows themselves, as JSON, of a JSON array, where nobody can begin in the middle."""
    batch: bytes | None = None
    """The rows themselves, as an Arrow stream, of a Parquet file whose row groups are too long to begin in anew."""

    def where(self, number: int) -> str:
        """What a row is called in messages, by its number or line."""
        return f"{self.path.name}:{number}" if self.path.suffix == ".jsonl" else f"{self.path.name}: row {number}"

    def read(self) -> Iterator[tuple[int, Any]]:
        """Each row with its number or line, from 1; one that cannot be read as a :class:`BadRow`.

        Raises:
            DataError: The file has changed or is not what it seemed to be.
        """
        if self.held is not None:
            yield from (
                (number, json_line(row, self.where(number))) for number, row in enumerate(self.held, self.first)
            )
            return
        with readable(self.path):
            if self.path.suffix == ".jsonl":
                yield from self._lines()
            else:
                number = self.first
                for batch in self._batches():
                    yield from enumerate(held_rows(batch, number, self.where), start=number)
                    number += len(batch)

    def records(self, parser: RecordParser) -> Iterator[tuple[int, tuple[Record, str | None] | DataError]]:
        """What a parser makes of each row: a record and the id that it brings, or its refusal.

        Raises:
            DataError: The file has changed or is not what it seemed to be.
        """
        if self.path.suffix != ".parquet":
            yield from ((number, self._parsed(parser, raw, number)) for number, raw in self.read())
            return
        number = self.first
        with readable(self.path):
            for batch in self._batches():
                yield from enumerate(read_batch(batch, parser, number, self.where), start=number)
                number += len(batch)

    def _parsed(self, parser: RecordParser, raw: Any, number: int) -> tuple[Record, str | None] | DataError:
        try:
            return raw if isinstance(raw, BadRow) else parser.read(raw, self.where(number))
        except DataError as error:
            return error

    def _lines(self) -> Iterator[tuple[int, Any]]:
        with self.path.open("rb") as stream:
            stream.seek(self.start)
            left = self.stop - self.start
            for number, line in enumerate(stream, start=self.first):
                if left <= 0:
                    break
                left -= len(line)
                if number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)
                if line.strip():
                    yield number, json_line(line, self.where(number))

    def _batches(self) -> Iterator[Any]:
        if self.batch is None:
            yield from parquet_batches(self.path, BATCH_ROWS, self.first - 1, self.rows)
            return
        import pyarrow.ipc

        yield from pyarrow.ipc.open_stream(self.batch)


def pieces(path: Path) -> Iterator[Piece]:
    """The pieces of a file, in order; a row is in exactly one.

    Raises:
        DataError: The file is missing, empty, cut, of an unknown kind, or not UTF-8.
    """
    with readable(path):
        match path.suffix:
            case ".jsonl":
                yield from _of_lines(path)
            case ".parquet":
                yield from _of_parquet(path)
            case _:
                yield from _of_array(path)


def _of_lines(path: Path) -> Iterator[Piece]:
    ends = _lines_of(path)["ends"]
    for number, (start, stop) in enumerate(pairwise([0, *ends])):
        yield Piece(path, number * PIECE_ROWS + 1, PIECE_ROWS, start, stop)


def _of_parquet(path: Path) -> Iterator[Piece]:
    """Along row groups; where one is long, read here and handed on, as who begins in its middle reads it all."""
    groups, first = row_groups(path), 1
    if max(groups, default=0) <= _LONGEST_ROW_GROUP * PIECE_ROWS:
        for rows in _along(groups):
            yield Piece(path, first, rows)
            first += rows
        return
    for batch in parquet_batches(path, PIECE_ROWS):
        yield Piece(path, first, len(batch), batch=_stream(batch))
        first += len(batch)


def _along(groups: Sequence[int]) -> Iterator[int]:
    """Rows of each piece: as many whole row groups as it takes, or a part of a long one."""
    together = 0
    for rows in groups:
        if together and together + rows > PIECE_ROWS:
            yield together
            together = 0
        if rows <= 2 * PIECE_ROWS:
            together += rows
        else:
            yield from (min(PIECE_ROWS, rows - begin) for begin in range(0, rows, PIECE_ROWS))
    if together:
        yield together


def _stream(batch: Any) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return bytes(sink.getvalue())


def _of_array(path: Path) -> Iterator[Piece]:
    """Read here, a piece at a time, and handed on: where a row of a JSON array begins is known after reading it."""
    first, held = 1, []
    try:
        for where, row in read_rows(path):
            held.append(_as_json(row, where))
            if len(held) == PIECE_ROWS:
                yield Piece(path, first, len(held), held=tuple(held))
                first, held = first + len(held), []
    except DataError:
        if held:  # rows before what cannot be read may be all that is wanted
            yield Piece(path, first, len(held), held=tuple(held))
        raise
    if held:
        yield Piece(path, first, len(held), held=tuple(held))


def _as_json(row: Any, where: str) -> bytes:
    try:
        return json.dumps(row).encode()
    except RecursionError:
        raise DataError(f"{where}: JSON that cannot be held (nested too deeply), expected an object") from None


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hex; of a file that was not touched since the last time, from memory.

    Raises:
        DataError: It cannot be read.
    """
    with readable(path):
        return str(_lines_of(path)["sha256"]) if path.suffix == ".jsonl" else known_digest(path)


def _lines_of(path: Path) -> dict[str, Any]:
    """What reading a whole file of lines tells."""
    return known_of(path, f"lines/1/{PIECE_ROWS}", _scan)


def _scan(path: Path) -> dict[str, Any]:
    """Digest of a file of lines, and the byte after every :data:`PIECE_ROWS`th of them and after the last."""
    import numpy as np

    hashed, ends, lines, position = sha256(), [], 0, 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            hashed.update(chunk)
            found = np.flatnonzero(np.frombuffer(chunk, dtype=np.uint8) == ord("\n"))
            places = found[PIECE_ROWS - 1 - lines % PIECE_ROWS :: PIECE_ROWS]
            ends += [position + int(place) + 1 for place in places]
            lines += len(found)
            position += len(chunk)
    if not ends or ends[-1] != position:
        ends.append(position)
    return {"sha256": hashed.hexdigest(), "ends": ends}
