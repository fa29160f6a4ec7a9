"""Several sources as one: what is taken of each (``name:share:path``), and what its records are called then."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from alignx.errors import SettingsError
from alignx.records.record import Record

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")
_NUMBER: Final = re.compile(r"\d+")
_SHARE: Final = re.compile(r"(\d*\.\d+|\d+(?:\.\d*)?(?=\s*%))\s*(%?)")
_EXPECTED: Final = "expected a share such as 0.07 or 7%, a whole number of records, or all"


@dataclass(frozen=True)
class Share:
    """How much of a source is taken: all of it, a share of its records, or a number of them."""

    part: Decimal | None = None
    """Above 0, below 1."""
    count: int | None = None
    """At least 1."""

    @classmethod
    def parse(cls, text: str) -> "Share":
        """``0.07``, ``7%``, ``all``, or a whole number of records: ``1`` is one record, ``1.0`` and ``100%`` are all.

        Raises:
            SettingsError: It is something else, or nothing would be taken, or more than there is.
        """
        said = text.strip()
        if said == "all":
            return cls()
        if _NUMBER.fullmatch(said) and int(said):
            return cls(count=int(said))
        found = _SHARE.fullmatch(said)
        if found is None:
            raise SettingsError(f"got {text!r}, {_EXPECTED}")
        part = Decimal(found[1]) / (100 if found[2] else 1)
        if not 0 < part <= 1:
            raise SettingsError(f"got {text!r}, {_EXPECTED}, above 0 and at most 100%")
        return cls() if part == 1 else cls(part=part.normalize())

    def __str__(self) -> str:
        """In one spelling, as :meth:`parse` reads it."""
        return "all" if self.part is None and self.count is None else str(self.count or format(self.part, "f"))


@dataclass(frozen=True)
class SourceShare:
    """One source of a mixture."""

    name: str
    """Of letters, digits, ``_``, ``.`` and ``-``; part of what its records are called."""
    share: Share
    path: str
    """Whatever ``Records`` takes."""

    @classmethod
    def parse(cls, text: str) -> "SourceShare":
        """Read ``name:share:path``; the path may have colons of its own.

        Raises:
            SettingsError: A part is missing or impossible; the message says which.
        """
        parts = text.split(":", 2)
        if len(parts) < 3 or not parts[2].strip():
            raise SettingsError(f"got {text!r}, expected name:share:path, such as reddit:7%:data/train.parquet")
        name, share, path = parts[0].strip(), parts[1], parts[2].strip()
        if not _NAME.fullmatch(name):
            raise SettingsError(
                f"{text!r}: got the name {name!r}, expected letters, digits, '_', '.' and '-', as in "
                "reddit:7%:data/train.parquet"
            )
        try:
            return cls(name, Share.parse(share), path)
        except SettingsError as error:
            raise SettingsError(f"{text!r}: share: {error}") from None

    def __str__(self) -> str:
        """In one spelling, as :meth:`parse` reads it."""
        return f"{self.name}:{self.share}:{self.path}"


def parse_mixture(texts: Iterable[str]) -> tuple[SourceShare, ...]:
    """The sources of a mixture, in the order in which they were named.

    Raises:
        SettingsError: One cannot be read, there is none, or two have one name.
    """
    sources = tuple(SourceShare.parse(text) for text in texts)
    if not sources:
        raise SettingsError("got no sources, expected at least one name:share:path")
    taken: dict[str, SourceShare] = {}
    for source in sources:
        if source.name in taken:
            raise SettingsError(
                f"{str(source)!r} and {str(taken[source.name])!r} have one name, expected another for each source: "
                "records are told apart by it"
            )
        taken[source.name] = source
    return sources


def in_mixture(record: Record, name: str) -> Record:
    """A record as it is called in a mixture: its id and its user with the name of their source before them.

    Sources number their records and users by themselves, so that ``17`` of one is not ``17`` of another. What was
    chosen is the same wherever it comes from: ``target`` stays, and the same target in two sources is one. So does
    ``digest``, which is of what the source holds.

    Args:
        record: As its source has it.
        name: Of the source.
    """
    user = None if record.user is None else f"{name}/{record.user}"
    return replace(record, id=f"{name}/{record.id}", user=user)
