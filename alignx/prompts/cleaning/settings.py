"""Settings of ``alignx data clean``. Importing this loads no torch."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, model_validator

from alignx.prompts.reporting.health.contacts import CONTACTS, Contact
from alignx.prompts.settings import SourceSettings
from alignx.settings import required, setting


class Drop(StrEnum):
    """What can be left out."""

    REFUSED = "refused"
    """Rows that are no valid record, whatever is wrong with them."""
    EQUAL_RESPONSES = "equal-responses"
    """Rows whose chosen equals rejected, and no other invalid ones."""
    DUPLICATES = "duplicates"
    """Records whose target an earlier one has."""
    NEAR_DUPLICATES = "near-duplicates"
    """Records whose target is nearly that of an earlier one, though not the same."""
    SHORT_RESPONSES = "short-responses"
    """Records with a response of fewer than three characters."""
    NO_PERSONA = "no-persona"
    """Records that say nothing of their user, once history items are gone."""
    OWN_TARGET = "own-target"
    """History items that show a response of the record's own target."""
    REPEATED_ITEMS = "repeated-items"
    """History items that have been in the same history before."""
    EQUAL_CHOICES = "equal-choices"
    """History choices between two equal texts."""
    INVISIBLE = "invisible"
    """Characters that nobody sees, of every text."""
    OUTER_SPACE = "outer-space"
    """White space before and after responses."""


def _names(value: str, known: tuple[str, ...]) -> str:
    names = [name.strip() for name in value.split(",") if name.strip()]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"names with commas between them, of {', '.join(known)}; {unknown[0]!r} is none")
    return ",".join(dict.fromkeys(names))


def _drops(value: str) -> str:
    return _names(value, tuple(Drop))


def _contacts(value: str) -> str:
    return _names(value, CONTACTS)


class CleanSettings(SourceSettings):
    """Write the records of a source without what `alignx data report` found wrong with them.

    alignx data clean --data mine.jsonl --output out/clean.jsonl --drop duplicates,own-target --redact email,phone
    alignx data clean --data mine.jsonl --output out/clean.jsonl --drop near-duplicates --dry-run

    Rows keep every field and their order. What is named is left out, everything else stays as it is, and all of it is
    counted: rows in are records + left out + refused. Fields that no prompt uses, and the names of records and users,
    are not looked into. The source is only read.
    """

    output: Path = required("JSON Lines file to write, with a manifest beside it.")
    drop: Annotated[str, AfterValidator(_drops)] = setting(
        "",
        "What to leave out, with commas between. Rows: refused, equal-responses. Records: duplicates, near-duplicates "
        "(the first of each stays), short-responses, no-persona. History items: own-target, repeated-items, "
        "equal-choices. Characters: invisible, outer-space (around responses).",
    )
    redact: Annotated[str, AfterValidator(_contacts)] = setting(
        "", "What to put a placeholder for, in every text: email, phone, or both with a comma between."
    )
    dry_run: bool = setting(False, "Only say what would be done.")

    @model_validator(mode="after")
    def _something_to_do(self) -> "CleanSettings":
        if not self.drop and not self.redact:
            raise ValueError(
                "--drop or --redact is required: what shall be cleaned? `alignx data report` says what there is"
            )
        return self

    @property
    def drops(self) -> frozenset[Drop]:
        """What is left out."""
        return frozenset(map(Drop, filter(None, self.drop.split(","))))

    @property
    def redacted(self) -> tuple[Contact, ...]:
        """What gets a placeholder."""
        return tuple(kind for kind in CONTACTS if kind in self.redact.split(","))
