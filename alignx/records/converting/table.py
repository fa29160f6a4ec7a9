"""The rows of a CSV or JSON file, each with where it stands. All are held: a user's may be anywhere in the file."""

import csv
import difflib
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignx.errors import DataError
from alignx.records.converting.rejection import Reason, RowError, shown
from alignx.records.converting.settings import Form
from alignx.records.files import SUFFIXES, BadRow, read_rows

_LONGEST_CELL = 2**31 - 1
_SHOWN = 12
_STATED = re.compile(r"sep=(.)(?=\n)")
"""A first line with which spreadsheets say how cells are separated."""


@dataclass(frozen=True)
class Row:
    """One row as it was read."""

    where: str
    """``name:line`` where it begins, or ``name: row N``."""
    content: Any
    """An object by column; else what was there instead, with the problem."""
    problem: RowError | None = None


@dataclass(frozen=True)
class Table:
    """A file's rows, and every column that occurs in it."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def require(self, columns: Mapping[str, str]) -> None:
        """Refuse a file without the columns that flags name.

        Raises:
            DataError: Some are not there; the message names all of them, each with the nearest that is.
        """
        missing = {flag: column for flag, column in columns.items() if column not in self.columns}
        if not missing:
            return
        said = "; ".join(
            f"no column {column!r}; {self._hint(column)}name the column with {flag}" for flag, column in missing.items()
        )
        listed = ", ".join(map(repr, self.columns[:_SHOWN])) + (", …" if len(self.columns) > _SHOWN else "")
        raise DataError(f"{self.path}: {said}; found: {listed}")

    def _hint(self, column: str) -> str:
        nearest = difflib.get_close_matches(column, self.columns, n=1, cutoff=0.6)
        return f"did you mean {nearest[0]!r}? " if nearest else ""


def read_table(path: Path, form: Form | None, delimiter: str) -> Table:
    """All rows of a file.

    Args:
        path: A CSV file whose first row names the columns, or JSON Lines, a JSON array or Parquet.
        form: What it is, if its suffix does not say.
        delimiter: Between the cells of a CSV file.

    Raises:
        DataError: The file is missing, of an unknown kind, not UTF-8, without rows, or has an open quote, no header or
            two columns of one name.
    """
    if not path.is_file():
        raise DataError(f"{path}: {'is a folder, expected a file' if path.is_dir() else 'no such file'}")
    suffix = path.suffix.lower()
    if form == "csv" or (form is None and suffix in (".csv", ".tsv")):
        columns, rows = _csv(path, "\t" if suffix == ".tsv" and delimiter == "," else delimiter)
    elif form == "jsonl" or suffix in SUFFIXES:
        columns, rows = _json(path, ".jsonl" if form == "jsonl" else suffix)
    else:
        raise DataError(
            f"{path}: unknown kind of file {path.suffix!r}, expected .csv, .tsv, {', '.join(SUFFIXES)}; say what it is "
            "with --from csv or --from jsonl, or export it as CSV"
        )
    if not rows:
        raise DataError(f"{path}: no rows, expected at least one")
    if not columns:
        raise DataError(f"{path}: none of its {len(rows)} rows can be read; the first: {rows[0].problem}")
    return Table(path, columns, rows)


def _json(path: Path, suffix: str) -> tuple[tuple[str, ...], tuple[Row, ...]]:
    columns: dict[str, None] = {}
    rows = []
    for where, content in read_rows(path, suffix):
        if isinstance(content, BadRow):
            rows.append(Row(where, None, RowError(Reason.UNREADABLE, str(content))))
        elif not isinstance(content, Mapping):
            problem = f"{where}: found {shown(content)}, expected an object"
            rows.append(Row(where, content, RowError(Reason.UNREADABLE, problem)))
        else:
            columns.update(dict.fromkeys(content))
            rows.append(Row(where, content))
    return tuple(columns), tuple(rows)


def _csv(path: Path, delimiter: str) -> tuple[tuple[str, ...], tuple[Row, ...]]:
    text = _text_of(path)
    if stated := _STATED.match(text):  # as spreadsheets write it; a line stays, so that the others keep their numbers
        text, delimiter = text[stated.end() :], stated[1]
    lines = _rows_of_csv(path, text, delimiter)
    first = next(lines, None)
    if first is None:
        raise DataError(f"{path}: the file is empty, expected a row of column names and rows below it")
    header = _header(f"{path.name}:{first[0]}", first[1], delimiter)
    return header, tuple(_row(f"{path.name}:{line}", cells, header) for line, cells in lines)


def _text_of(path: Path) -> str:
    """A file as text, without a byte-order mark and with plain line ends, inside quoted cells too."""
    content = path.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 near byte {error.start}; save the file as UTF-8") from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _rows_of_csv(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row that is not blank, with the line where it begins."""
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    before = csv.field_size_limit(_LONGEST_CELL)  # by default a long text is an error
    try:
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                what = "its quote is never closed" if "end of data" in str(error) else f"{error}"
                raise DataError(
                    f"{path.name}:{line}: no CSV in the row that begins here ({what}), expected a quote at both "
                    'ends of a quoted cell and "" for a quote inside it'
                ) from None
            if cells:
                yield line, cells
    finally:
        csv.field_size_limit(before)


def _header(where: str, cells: list[str], delimiter: str) -> tuple[str, ...]:
    if any("\0" in name for name in cells):
        raise DataError(f"{where}: NUL characters among the column names; save the file as UTF-8")
    names = tuple(name or f"column {number}" for number, name in enumerate(cells, start=1))
    doubled = [name for name, times in Counter(names).items() if times > 1]
    if doubled:
        places = ", ".join(str(number) for number, name in enumerate(names, start=1) if name == doubled[0])
        raise DataError(f"{where}: columns {places} are all called {doubled[0]!r}, expected a name of its own for each")
    others = [other for other in ",;\t|" if other != delimiter and other in names[0]]
    if len(names) == 1 and others:
        shown = "tab" if others[0] == "\t" else others[0]
        raise DataError(f"{where}: one column, {names[0]!r}, expected several; try --delimiter '{shown}'")
    return names


def _row(where: str, cells: list[str], header: tuple[str, ...]) -> Row:
    if len(cells) == len(header):
        return Row(where, dict(zip(header, cells, strict=True)))
    found = _count(len(cells), "cell")
    problem = f"{where}: {found}, expected {len(header)} as in the header; quote texts that hold the delimiter"
    return Row(where, cells, RowError(Reason.UNREADABLE, problem))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def unused_columns(tables: Iterable[Table], used: Iterable[str]) -> list[str]:
    """Columns that no setting names, in the order in which they occur."""
    named = set(used)
    return list(dict.fromkeys(name for table in tables for name in table.columns if name not in named))
