"""Rows that the reader of records refuses: counted by what is wrong with them, instead of stopping at the first."""

import re
from collections import Counter

from alignx.errors import DataError
from alignx.manifest import DataIdentity
from alignx.prompts.reporting.health.finding import Commands, Finding, Listing, Tally
from alignx.records import Records, Taxonomy

_MESSAGE = 160
EQUAL_RESPONSES = "chosen equals rejected"
_KINDS = (
    ("'chosen' equals 'rejected'", EQUAL_RESPONSES),
    ("was already used at", "an id that was already used"),
    ("half a surrogate pair", "a text that is no Unicode"),
    ("is empty, expected text", "an empty text"),
    ("is missing, expected text", "a missing text"),
    ("is null, expected text", "a missing text"),
    ("Preference Direction'", "a direction that is none"),
    ("not valid JSON", "a line that is no JSON"),
    ("JSON that cannot be held", "a line that is no JSON"),
    ("expected text or a whole number", "an id or user of the wrong type"),
    ("expected a list of objects", "a history that is no list"),
    ("expected text", "a value that is no text"),
    ("expected an object", "a value that is no object"),
)


def kind_of(problem: str) -> str:
    """What is wrong with a row, from the reader's message about it."""
    # A message repeats what it found, which may be anybody's words: the reader's own words come after it.
    said = re.sub(r"(text|an object|a list) \(.*\)", r"\1", problem)
    return next((kind for words, kind in _KINDS if words in said), "something else")


class AllRows(Records):
    """The records of a source whose invalid rows are counted by kind and left out, however many; none is listed twice.

    Attributes:
        kinds: How many rows have each problem.
        refused: How many rows have one, with the messages about the first of them.
    """

    def __init__(
        self, source: str, *, split: str | None = None, limit: int | None = None, taxonomy: Taxonomy | None = None
    ) -> None:
        """Name a source; nothing is read yet. The arguments are those of :class:`Records`."""
        self.kinds: Counter[str] = Counter()
        self.refused = Tally()
        super().__init__(source, split=split, limit=limit, taxonomy=taxonomy)

    def _reset(self) -> None:
        super()._reset()
        self.kinds = Counter()
        self.refused = Tally()

    def skip(self, error: DataError) -> None:
        """Count a row as refused."""
        where, _, what = str(error).partition(": ")
        if re.fullmatch(r"row \d+", what.partition(": ")[0]):  # a row of JSON or Parquet: ``name: row 3: …``
            row, _, what = what.partition(": ")
            where = f"{where}: {row}"
        self.kinds[kind_of(str(error))] += 1
        self.refused.add(where, what, most=_MESSAGE)

    @property
    def identity(self) -> DataIdentity:
        """Which records these are, and how many rows are none."""
        return super().identity.model_copy(update={"skipped": self.refused.n})


def refusal_finding(records: AllRows, commands: Commands) -> Finding:
    """What is said of refused rows."""
    n = records.refused.n
    rows = [(kind, str(count)) for kind, count in sorted(records.kinds.items(), key=lambda item: (-item[1], item[0]))]
    equal = records.kinds[EQUAL_RESPONSES]
    drops = [*(["equal-responses"] if equal else []), *(["refused"] if n > equal else [])]
    return Finding(
        "refused_rows",
        "Refused rows",
        n,
        n + records.identity.records,
        "rows",
        "fix" if n else "ok",
        "Rows that are no valid record. This report leaves them out, and nothing below counts them; every other "
        "command stops at the first, or skips as many as `--skip-invalid` allows.",
        [commands.clean(drop=drop) for drop in drops] + ([f"alignx data validate {commands.source}"] if n else []),
        records.refused.examples,
        [Listing(("what is wrong", "rows"), rows, align="lr")] if rows else [],
        {"kinds": dict(sorted(records.kinds.items()))},
    )
