"""Raw rows from Parquet, JSON and JSON Lines files, a few at a time, whatever the file's size."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from alignx.errors import DataError

SUFFIXES = (".parquet", ".json", ".jsonl")
_PARQUET_ROWS = 64
_JSON_CHUNK = 1 << 20


class BadRow(DataError):
    """A row that cannot be read although the rows after it can."""


def read_rows(path: Path, suffix: str | None = None) -> Iterator[tuple[str, Any]]:
    """Each row of a file with where it stands (``name:line`` for JSON Lines, ``name: row N`` otherwise, from 1).

    An unreadable line of JSON Lines is yielded as a :class:`BadRow`, since the lines after it can still be read.

    Args:
        path: The file.
        suffix: What to read it as, if its name does not say; one of :data:`SUFFIXES`.

    Raises:
        DataError: The file is missing, empty, cut, of an unknown kind, or not UTF-8.
    """
    kind = suffix or path.suffix
    if kind not in SUFFIXES:
        raise DataError(f"{path}: unknown kind of file {path.suffix!r}, expected one of {', '.join(SUFFIXES)}")
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty, expected records")
        if kind == ".parquet":
            yield from _parquet(path)
        elif kind == ".jsonl":
            yield from _json_lines(path)
        else:
            yield from _json(path)
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


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path.name}: row {number}", row
    except pyarrow.ArrowException as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path}: not a whole Parquet file after row {number} ({reason}); it may be cut or still being written"
        ) from error


def _json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            if line.strip():
                where = f"{path.name}:{number}"
                yield where, _line(line, where)


def _line(line: bytes, where: str) -> Any:
    """What a line of JSON Lines says, or why it says nothing."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        pass
    try:  # what orjson refuses and the standard library takes: NaN, deep nesting, half a surrogate pair
        return json.loads(line.decode())
    except UnicodeDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        cut = "" if line.endswith(b"\n") else "; the last line has no end, so the file may be cut"
        return BadRow(f"{where}: {_reason(error)}, expected one object a line{cut}")


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
                    row, position = decoder.raw_decode(text, position)
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


def _skip(text: str, position: int, characters: str) -> int:
    while position < len(text) and text[position] in characters:
        position += 1
    return position
