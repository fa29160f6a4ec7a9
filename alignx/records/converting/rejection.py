"""Why a row is not used: one reason to count by, one sentence to act on."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from alignx.errors import DataError


class Reason(StrEnum):
    """What is counted together."""

    UNREADABLE = "unreadable row"
    """Not JSON, no object, or another number of cells than the header has."""
    WRONG_TYPE = "wrong type"
    BROKEN_TEXT = "broken text"
    """A NUL, or half a surrogate pair."""
    NO_USER = "no user"
    NO_PROMPT = "no prompt"
    HALF_A_CHOICE = "half a choice"
    NOTHING_SAID = "neither choice nor comment"
    NO_DIFFERENCE = "chosen equals rejected"
    REPEATED = "repeated"
    NO_ID = "no id"
    ID_TAKEN = "id used twice"
    SHORT_HISTORY = "too little history"
    """Fine by itself; it still stands in the history of the user's other choices."""
    NO_RECORD = "comment of a user without a record"
    OLDER_COMMENT = "comment older than --history"
    TELLING_COMMENT = "comment that gives the answer away"
    """It shows a response of each record that it could have told about."""


class RowError(DataError):
    """A row that cannot be used, although others can."""

    def __init__(self, reason: Reason, problem: str) -> None:
        """Say what to count it as, and where and what the problem is."""
        super().__init__(problem)
        self.reason = reason


def shown(value: object) -> str:
    """A wrong value, as JSON writes it, short enough for a message."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else text[:37] + "…"


@dataclass(frozen=True)
class Rejection:
    """One row that is in no record, and why."""

    number: int
    """Of the row, over all files."""
    where: str
    reason: Reason
    problem: str
    row: Any
    """As it was read: an object, the cells of a CSV row with too many or few, or None where nothing could be read."""

    def line(self) -> str:
        """For ``rejected.jsonl``: what cannot be written as UTF-8 is escaped."""
        content = {"where": self.where, "reason": self.reason.value, "problem": self.problem, "row": self.row}
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), default=str)
        try:
            text.encode()
        except UnicodeEncodeError:
            text = json.dumps(content, separators=(",", ":"), default=str)
        return text + "\n"
