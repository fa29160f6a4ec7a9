"""Raw rows from Parquet, JSON and JSON Lines files, a few at a time, whatever the file's size."""

import codecs
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from alignx.errors import DataError
from alignx.records.columns import rows_of

SUFFIXES = (".parquet", ".json", ".jsonl")
_PARQUET_BUFFER = 1 << 20
BATCH_ROWS = 512
"""Rows of Parquet that are Python objects at a time."""
_JSON_CHUNK = 1 << 20


class BadRow(DataError):
    """A row that cannot be read although the rows after it can."""


def read_rows(path: Path, suffix: str | None = None) -> Iterator[tuple[str, Any]]:
    """Each row of a file with where it stands (``name:line`` for JSON Lines, ``name: row N`` otherwise, from 1).

    An unreadable line of JSON Lines or row of Parquet is yielded as a :class:`BadRow`, since those after it can still
    be read.

    Args:
        path: The file.
        suffix: What to read it as, if its name does not say; one of :data:`SUFFIXES`.

    Raises:
        DataError: The file is missing, empty, cut, of an unknown kind, or not UTF-8.
    """
    kind = suffix or path.suffix
    with readable(path, kind):
        if kind == ".parquet":
            yield from _parquet(path)
        elif kind == ".jsonl":
            yield from _json_lines(path)
        else:
            yield from _json(path)


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    def where(number: int) -> str:
        return f"{path.name}: row {number}"

    first = 1
    for batch in parquet_batches(path, BATCH_ROWS):
        yield from ((where(number), row) for number, row in enumerate(held_rows(batch, first, where), start=first))
        first += len(batch)


@contextmanager
def readable(path: Path, kind: str | None = None) -> Iterator[None]:
    """A block that reads a file; what goes wrong is said in words.

    Args:
        path: The file.
        kind: What it is read as, if its name does not say.

    Raises:
        DataError: The file is missing, empty, of an unknown kind, or not UTF-8.
    """
    if (kind or path.suffix) not in SUFFIXES:
        raise DataError(f"{path}: unknown kind of file {path.suffix!r}, expected one of {', '.join(SUFFIXES)}")
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty, expected records")
        yield
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 near byte {_first_bad_byte(path)}; save the file as UTF-8") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or ' '.join(str(error).split())}") from error


def _first_bad_byte(path: Path) -> int:
    """Where a file stops being UTF-8."""
    decoder, position = codecs.getincrementaldecoder("utf-8")(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_JSON_CHUNK):
            waiting = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                return position - waiting + error.start
            position += len(chunk)
    return position


def held_rows(batch: Any, first: int, where: Callable[[int], str]) -> Iterator[Any]:
    """The rows of an Arrow batch; one with a value that Python cannot hold as a :class:`BadRow`.

    Args:
        batch: A pyarrow ``RecordBatch``.
        first: Number of the first row.
        where: What a row is called in messages, by its number.
    """
    try:
        rows: list[Any] = rows_of(batch)
    except (OverflowError, ValueError):  # what is not UTF-8, a date before there were years
        rows = [_held_row(batch.slice(place, 1), where(first + place)) for place in range(len(batch))]
    yield from rows


def _held_row(row: Any, where: str) -> Any:
    try:
        (held,) = rows_of(row)
    except UnicodeDecodeError as error:
        return BadRow(f"{where}: text that is not UTF-8 ({' '.join(str(error).split())}); write it as UTF-8")
    except (OverflowError, ValueError) as error:
        return BadRow(
            f"{where}: a value that cannot be held ({' '.join(str(error).split())}), expected texts, numbers and lists "
            "of them; leave its column out if no prompt uses it"
        )
    return held


def parquet_batches(path: Path, size: int, skipped: int = 0, count: int | None = None) -> Iterator[Any]:
    """Rows of a Parquet file that stand together; of a row group before them, what must be read is read in passing.

    Args:
        path: The file.
        size: Rows of a batch, at most; of rows so long that Arrow cannot hold as many, fewer.
        skipped: Rows before the first.
        count: How many; to the end by default.

    Raises:
        DataError: It is no whole Parquet file.
    """
    import pyarrow

    done = skipped
    while True:
        try:
            for batch in _batches(path, size, done, None if count is None else skipped + count - done):
                done += len(batch)
                yield batch
            return
        except pyarrow.ArrowNotImplementedError as error:  # lists of texts of more than 2 GiB together
            if size == 1:
                raise _not_whole(path, done, error) from error
            size = max(1, size // 8)
        except pyarrow.ArrowException as error:
            raise _not_whole(path, done, error) from error


def _not_whole(path: Path, done: int, error: Exception) -> DataError:
    reason = " ".join(str(error).split())
    return DataError(
        f"{path}: not a whole Parquet file after row {done} ({reason}); it may be cut or still being written"
    )


def _batches(path: Path, size: int, skipped: int, count: int | None) -> Iterator[Any]:
    import pyarrow.parquet

    # with a buffer, a row group is read a little at a time: some writers make one of a whole file
    with pyarrow.parquet.ParquetFile(path, buffer_size=_PARQUET_BUFFER, pre_buffer=False) as file:
        groups, before = _groups(file.metadata, skipped, count)
        left = count
        for batch in file.iter_batches(batch_size=size, row_groups=groups, use_threads=False):
            begin = min(max(0, skipped - before), len(batch))
            before += len(batch)
            wanted = batch.slice(begin, left)
            if len(wanted):
                yield wanted
            if left is not None and (left := left - len(wanted)) == 0:
                return


def row_groups(path: Path) -> list[int]:
    """Rows of each row group of a Parquet file.

    Raises:
        DataError: It is no whole Parquet file.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        found = pyarrow.parquet.read_metadata(path)
    except pyarrow.ArrowException as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: not a whole Parquet file ({reason}); it may be cut or still being written") from error
    return [found.row_group(number).num_rows for number in range(found.num_row_groups)]


def _groups(metadata: Any, skipped: int, count: int | None) -> tuple[list[int], int]:
    """The row groups in which rows stand, and how many rows stand before these groups."""
    groups, before, place = [], 0, 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        if place + rows <= skipped:
            before = place + rows
        elif count is None or place < skipped + count:
            groups.append(group)
        place += rows
    return groups, before


def _json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            if line.strip():
                where = f"{path.name}:{number}"
                yield where, json_line(line, where)


def json_line(line: bytes, where: str) -> Any:
    """What a line of JSON Lines says, or a :class:`BadRow` that says why it says nothing.

    Raises:
        UnicodeDecodeError: It is not UTF-8.
    """
    with suppress(orjson.JSONDecodeError):
        if not _was_rounded(row := orjson.loads(line)):
            return row
    try:  # what orjson refuses and the standard library takes: NaN, deep nesting, half a surrogate pair
        return json.loads(line.decode())
    except UnicodeDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        cut = "" if line.endswith(b"\n") else "; the last line has no end, so the file may be cut"
        return BadRow(f"{where}: {_reason(error)}, expected one object a line{cut}")


def _was_rounded(row: Any) -> bool:
    """Whether a field of a row may be a whole number beyond 64 bits, such as an id, which orjson takes for a float."""
    return isinstance(row, dict) and any(type(value) is float and abs(value) >= 2**63 for value in row.values())


def _reason(error: ValueError | RecursionError) -> str:
    """Why a text is no JSON that can be held."""
    if isinstance(error, json.JSONDecodeError):
        return f"not valid JSON at column {error.pos + 1} ({error.msg})"
    return f"JSON that cannot be held ({' '.join(str(error).split())})"


def _json(path: Path) -> Iterator[tuple[str, Any]]:
    """The objects of a JSON array (or concatenated objects), decoded as the file is read, so that memory stays flat."""
    decoder = json.JSONDecoder()
    with path.open(encoding="utf-8-sig") as stream:
        text, position, number, array, ended = "", 0, 0, False, False
        row_expected = True
        while True:
            position = _skip(text, position, " \t\r\n")
            if position == len(text):
                text, position = stream.read(_JSON_CHUNK), 0
                if not text:
                    break
                continue
            if ended:
                raise DataError(f"{path}: text after the end of the array: {text[position : position + 20]!r}")
            if text[position] == "[" and number == 0 and not array:
                array, position = True, position + 1
            elif array and text[position] == "]" and not (row_expected and number):
                ended, position = True, position + 1
            elif array and text[position] == "," and not row_expected:
                row_expected, position = True, position + 1
            elif array and not row_expected:
                found = text[position : position + 20]
                raise DataError(f"{path}: found {found!r} after row {number}, expected ',' or ']'")
            else:
                try:
                    row, position = _object(text, position) or decoder.raw_decode(text, position)
                except json.JSONDecodeError as error:
                    more = stream.read(max(_JSON_CHUNK, len(text) - position))
                    if not more:
                        raise DataError(
                            f"{path}: not valid JSON in row {number + 1} ({error.msg}), expected an array of objects; "
                            "the file may be cut"
                        ) from error
                    text, position = text[position:] + more, 0
                    continue
                except (ValueError, RecursionError) as error:
                    raise DataError(f"{path}: row {number + 1}: {_reason(error)}, expected an object") from error
                number, row_expected = number + 1, False
                yield f"{path.name}: row {number}", row
        if array and not ended:
            raise DataError(f"{path}: the array has no end after row {number}, expected ']'; the file may be cut")


def _object(text: str, start: int) -> tuple[Any, int] | None:
    """The object that begins here and where it ends, if that is easily seen, several times as fast as ``raw_decode``.

    It ends where as many braces were closed as opened, unless a text holds one. Whether it does, orjson says: what it
    takes is a whole object, and so the right one.
    """
    end, open_braces = start, 0
    while (brace := text.find("}", end)) >= 0:
        open_braces += text.count("{", end, brace) - 1
        end = brace + 1
        if open_braces <= 0:
            with suppress(orjson.JSONDecodeError):
                row = orjson.loads(text[start:end])
                return None if _was_rounded(row) else (row, end)
            return None
    return None


def _skip(text: str, position: int, characters: str) -> int:
    while position < len(text) and text[position] in characters:
        position += 1
    return position
