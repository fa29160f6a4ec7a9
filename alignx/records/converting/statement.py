"""What one row says: whose it is, the post, and the choice or the comment under it."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alignx.manifest import digest
from alignx.records.converting.rejection import Reason, Rejection, RowError, shown


@dataclass(frozen=True, eq=False)
class Statement:
    """A row that can be used. It has a choice, a comment, or both."""

    number: int
    """Of the row, over all files."""
    where: str
    user: str
    prompt: str
    chosen: str | None
    rejected: str | None
    comment: str | None
    demographics: str | None
    given_id: str | None
    row: Mapping[str, Any]

    @property
    def is_choice(self) -> bool:
        """Whether it can be the target of a record."""
        return self.chosen is not None

    @property
    def id(self) -> str:
        """The id of its record: the given one, else one that neither other rows nor settings change."""
        return self.given_id or digest(self.user, self.prompt, self.chosen, self.rejected)[:20]

    @property
    def texts(self) -> tuple[str, ...]:
        """What was written under the post, by whomever."""
        return tuple(text for text in (self.chosen, self.rejected, self.comment) if text is not None)

    @property
    def pair(self) -> tuple[str, frozenset[str]]:
        """The post and its two responses, whichever was preferred and whatever the white space."""
        return plain(self.prompt), frozenset(plain(text) for text in (self.chosen, self.rejected) if text is not None)

    def reject(self, reason: Reason, problem: str) -> Rejection:
        """This row, left out."""
        return Rejection(self.number, self.where, reason, f"{self.where}: {problem}", self.row)


def plain(text: str) -> str:
    """A text as it is compared with others: in one Unicode form, white space of any length one space, none at the ends.

    The same letters come from one machine composed and from another not (NFC and NFD).
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def read_statement(row: Mapping[str, Any], columns: Mapping[str, str], number: int, where: str) -> Statement:
    """What a row says.

    Args:
        row: Values by column; a blank one counts as absent.
        columns: The column of each role that the file has.
        number: Of the row, over all files.
        where: File and line, for messages.

    Raises:
        RowError: There is no user or post, a value is no text, only half of a choice is there or nothing at all, or
            both responses are the same.
    """
    values = {role: _value(row.get(column), f"{where}: {column!r}", role) for role, column in columns.items()}
    for role, reason in (("user", Reason.NO_USER), ("prompt", Reason.NO_PROMPT)):
        if values[role] is None:
            raise RowError(reason, f"{where}: {columns[role]!r} is empty, expected text")
    said = {role: values.get(role) for role in ("chosen", "rejected", "comment")}
    if (said["chosen"] is None) != (said["rejected"] is None):
        there, absent = ("chosen", "rejected") if said["rejected"] is None else ("rejected", "chosen")
        raise RowError(
            Reason.HALF_A_CHOICE,
            f"{where}: {columns[there]!r} has text and {columns[absent]!r} is empty, expected both or neither",
        )
    if not any(said.values()):
        names = ", ".join(repr(columns[role]) for role in said if role in columns)
        raise RowError(Reason.NOTHING_SAID, f"{where}: nothing in {names}, expected a choice or a comment")
    if said["chosen"] is not None and said["rejected"] is not None and plain(said["chosen"]) == plain(said["rejected"]):
        apart = "" if said["chosen"] == said["rejected"] else " but for white space"
        raise RowError(
            Reason.NO_DIFFERENCE,
            f"{where}: {columns['chosen']!r} equals {columns['rejected']!r}{apart}, expected two different responses",
        )
    if "id" in columns and said["chosen"] is not None and values["id"] is None:
        raise RowError(Reason.NO_ID, f"{where}: {columns['id']!r} is empty, expected an id for the record")
    return Statement(
        number=number,
        where=where,
        user=str(values["user"]),
        prompt=str(values["prompt"]),
        **said,
        demographics=values.get("demographics"),
        given_id=values.get("id"),
        row=row,
    )


def _value(value: object, where: str, role: str) -> str | None:
    """A cell's text; None where it is absent, or white space alone."""
    is_name = role in ("user", "id")
    if is_name and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is None:
        return None
    if not isinstance(value, str):
        expected = "text or a whole number" if is_name else "text"
        raise RowError(Reason.WRONG_TYPE, f"{where} is {shown(value)}, expected {expected}")
    if "\0" in value:
        problem = f"{where} holds a NUL at character {value.index(chr(0))}, expected text"
        raise RowError(Reason.BROKEN_TEXT, problem)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        problem = f"{where} holds half a surrogate pair at character {error.start}, expected Unicode text"
        raise RowError(Reason.BROKEN_TEXT, problem) from None
    if not value.strip():
        return None
    return unicodedata.normalize("NFC", value.strip()) if is_name else value
