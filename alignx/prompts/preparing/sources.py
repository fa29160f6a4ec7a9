"""What is prepared: a lone source or several by name, and which of their records are wanted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from alignx.errors import DataError
from alignx.records import Record, Records
from alignx.records.held_out import HeldOut
from alignx.records.mixing import Share, in_mixture
from alignx.records.pieces import Piece, digest_of, pieces
from alignx.records.selecting import Selection
from alignx.records.sources import find_files

_EVERYTHING = Share()


@dataclass(frozen=True)
class Source:
    """Records of one place."""

    path: str
    """A file, a folder or a hub id."""
    name: str = ""
    """In a mixture; empty for a lone one."""
    share: Share = _EVERYTHING
    """How much of it is taken."""
    split: str | None = None
    limit: int | None = None
    """Records that are read at all."""

    @classmethod
    def of(cls, records: Records) -> "Source":
        """A lone one, of records that nobody has to have read."""
        return cls(records.source, split=records.split, limit=records.limit)

    @cached_property
    def files(self) -> Sequence[Path]:
        """In order.

        Raises:
            DataError: Nothing is there, or it is not clear which files are meant.
        """
        return tuple(find_files(self.path, self.split))

    @cached_property
    def contents(self) -> Sequence[tuple[str, str]]:
        """Kind and digest of each file, as they are when they are first asked for.

        Raises:
            DataError: A file cannot be read.
        """
        return tuple((path.suffix, digest_of(path)) for path in self.files)

    def refuse_change(self) -> None:
        """Refuse files that are not what they were, of which some rows may be old and others new.

        Raises:
            DataError: One has changed, or is gone.
        """
        for path, (_, was) in zip(self.files, self.contents, strict=True):
            if digest_of(path) != was:
                raise DataError(f"{path}: has changed while it was read; run the same command again")

    def pieces(self) -> Iterator[Piece]:
        """Of all files, in order.

        Raises:
            DataError: A file is missing, empty, cut, of an unknown kind, or not UTF-8.
        """
        for path in self.files:
            yield from pieces(path)

    def named(self, record_id: str) -> str:
        """What a record of this source is called in what is prepared."""
        return f"{self.name}/{record_id}" if self.name else record_id

    def __str__(self) -> str:
        """As the user named it."""
        return f"{self.name}:{self.share}:{self.path}" if self.name else self.path


@dataclass(frozen=True)
class Wanted:
    """Which records of a source are taken, and what they are called then."""

    name: str = ""
    """Of the source in a mixture."""
    held_out: HeldOut | None = None
    selection: Selection | None = None

    def look_at(self, record: Record) -> tuple[Record, str | None]:
        """The record under its name in the mixture, and why it is not wanted; None where it is."""
        why = self.held_out.holds(record) if self.held_out is not None else None
        if why is not None:
            return record, f"held_out_{why}"
        if self.selection is not None and not self.selection.selects(record.id):
            return record, NOT_DRAWN
        return (in_mixture(record, self.name) if self.name else record), None

    def as_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return {
            "held_out": self.held_out.as_dict() if self.held_out is not None else None,
            "selection": self.selection.as_dict() if self.selection is not None else None,
        }


NOT_DRAWN = "not_drawn"
