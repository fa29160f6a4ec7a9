"""All rows of the files: what each says, and which cannot be used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alignx.errors import DataError
from alignx.records.converting.rejection import Reason, Rejection, RowError
from alignx.records.converting.settings import ConversionSettings
from alignx.records.converting.statement import Statement, read_statement
from alignx.records.converting.table import Row, Table, read_table, unused_columns

SHOW_PROGRESS = 5000
"""From this many rows on, a terminal shows a bar."""


@dataclass(frozen=True)
class Gathered:
    """Every row, as a statement or as a rejection; in the files' order."""

    rows: int
    statements: tuple[Statement, ...]
    rejections: tuple[Rejection, ...]
    unused: tuple[str, ...]
    """Columns that no setting names."""


def gather(settings: ConversionSettings) -> Gathered:
    """Read the files.

    Raises:
        DataError: A file cannot be read, or lacks a column.
    """
    from tqdm import tqdm

    tables = [_choices_table(settings), *_comments_table(settings)]
    numbered = [(row, _columns(settings, table)) for table in tables for row in table.rows]
    once = _Once()
    statements, rejections = [], []
    bar = None if len(numbered) >= SHOW_PROGRESS else True
    for number, (row, columns) in enumerate(tqdm(numbered, desc="reading", unit=" rows", disable=bar, leave=False)):
        try:
            statements.append(once.check(_read(row, columns, number)))
        except RowError as error:
            rejections.append(Rejection(number, row.where, error.reason, str(error), row.content))
    unused = unused_columns(tables, settings.columns.values())
    return Gathered(len(numbered), tuple(statements), tuple(rejections), tuple(unused))


def _choices_table(settings: ConversionSettings) -> Table:
    table = read_table(settings.data, settings.form, settings.delimiter)
    columns = settings.columns
    has_choices = columns["chosen"] in table.columns or columns["rejected"] in table.columns
    if columns["comment"] in table.columns and not has_choices:
        raise DataError(
            f"{table.path}: no columns {columns['chosen']!r} and {columns['rejected']!r}, and comments alone make no "
            "record; give the choices with --data and this file with --comments, or name the columns"
        )
    wanted = ["user", "prompt", "chosen", "rejected", "demographics", "id"]
    if settings.comments is None and "comment_column" in settings.model_fields_set:
        wanted.append("comment")
    _require(table, wanted, columns)
    return table


def _comments_table(settings: ConversionSettings) -> list[Table]:
    if settings.comments is None:
        return []
    table = read_table(settings.comments, settings.form, settings.delimiter)
    _require(table, ("user", "prompt", "comment"), settings.columns)
    return [table]


def _require(table: Table, roles: Sequence[str], columns: Mapping[str, str]) -> None:
    table.require({f"--{role}-column": columns[role] for role in roles if role in columns})


def _columns(settings: ConversionSettings, table: Table) -> dict[str, str]:
    """The column of each role that a file has."""
    return {role: name for role, name in settings.columns.items() if name in table.columns}


def _read(row: Row, columns: Mapping[str, str], number: int) -> Statement:
    if row.problem is not None:
        raise row.problem
    return read_statement(row.content, columns, number, row.where)


class _Once:
    """Refuses what was there before: a choice or a comment of the same user, and an id."""

    def __init__(self) -> None:
        self._choices: dict[tuple[str, str, str | None, str | None], str] = {}
        self._comments: dict[tuple[str, str, str | None], str] = {}
        self._ids: dict[str, str] = {}

    def check(self, statement: Statement) -> Statement:
        choice = (statement.user, statement.prompt, statement.chosen, statement.rejected)
        comment = (statement.user, statement.prompt, statement.comment)
        earlier = self._choices.get(choice) if statement.is_choice else self._comments.get(comment)
        if earlier is not None:
            what = "choice" if statement.is_choice else "comment"
            problem = f"{statement.where}: the same {what} of user {statement.user!r} as at {earlier}, expected it once"
            raise RowError(Reason.REPEATED, problem)
        if statement.is_choice:
            taken = self._ids.get(statement.id)
            if taken is not None:
                problem = f"{statement.where}: id {statement.id!r} was already used at {taken}, expected a new one"
                raise RowError(Reason.ID_TAKEN, problem)
            self._ids[statement.id] = statement.where
            self._choices[choice] = statement.where
        if statement.comment is not None:
            self._comments.setdefault(comment, statement.where)
        return statement
