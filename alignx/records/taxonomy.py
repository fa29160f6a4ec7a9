"""The preference dimensions as a value: a table with two named poles a dimension, and a digest.

The default is the paper's 90 dimensions; another taxonomy is a CSV file with the same columns.
"""

import csv
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path

from alignx.errors import DataError
from alignx.manifest import digest

_COLUMNS = ("index", "group", "positive", "negative")


@dataclass(frozen=True)
class Dimension:
    """One preference dimension and the phrases of its two poles."""

    group: str
    positive: str
    negative: str


@dataclass(frozen=True)
class Taxonomy:
    """Preference dimensions in the order of the data's direction vectors."""

    dimensions: tuple[Dimension, ...]

    def __len__(self) -> int:
        """Number of dimensions."""
        return len(self.dimensions)

    @cached_property
    def digest(self) -> str:
        """Digest of the dimensions, their order and their phrases."""
        return digest([[d.group, d.positive, d.negative] for d in self.dimensions])

    @cached_property
    def phrases(self) -> tuple[tuple[str, ...], ...]:
        """By level, negative, neutral and positive, and then by dimension: its phrase; a neutral one has none."""
        negative, positive = (tuple(getattr(d, pole) for d in self.dimensions) for pole in ("negative", "positive"))
        return negative, ("",) * len(self), positive

    @cached_property
    def _poles(self) -> dict[str, tuple[int, int]]:
        """Phrase → (dimension, level)."""
        poles = {}
        for index, dimension in enumerate(self.dimensions):
            poles[dimension.positive] = (index, 2)
            poles[dimension.negative] = (index, 0)
        return poles

    @cached_property
    def _phrase(self) -> re.Pattern[str]:
        longest_first = sorted(self._poles, key=len, reverse=True)
        return re.compile("(" + "|".join(map(re.escape, longest_first)) + r")(?:, |$)")

    def read_profile(self, profile: str) -> bytes:
        """The direction that a verbalised profile states; the inverse of ``directions.verbalise``.

        Raises:
            DataError: Part of the profile is no phrase of this taxonomy, or one dimension is stated twice.
        """
        levels = bytearray(b"\x01" * len(self))
        for index, level in self._poles_of(profile):
            levels[index] = level
        return bytes(levels)

    def reverse_profile(self, profile: str) -> str:
        """A verbalised profile with the opposite phrase in place of each, in the same order.

        Raises:
            DataError: As :meth:`read_profile`.
        """
        return ", ".join(
            self.dimensions[index].negative if level else self.dimensions[index].positive
            for index, level in self._poles_of(profile)
        )

    def _poles_of(self, profile: str) -> list[tuple[int, int]]:
        """Dimension and level of each phrase of a profile, in its order."""
        poles: dict[int, int] = {}
        position = 0
        while position < len(profile):
            match = self._phrase.match(profile, position)
            if match is None:
                raise DataError(
                    f"profile: {profile[position : position + 60]!r} is no phrase of the taxonomy; a profile is "
                    "phrases "
                    "of the preference dimensions joined by ', '"
                )
            index, level = self._poles[match[1]]
            if index in poles:
                raise DataError(f"profile: dimension {index} is stated twice, the second time as {match[1]!r}")
            poles[index] = level
            position = match.end()
        return list(poles.items())


def load_taxonomy(path: Path | None = None) -> Taxonomy:
    """The taxonomy in a CSV file with columns index, group, positive, negative; without a path, the paper's 90.

    Raises:
        DataError: The file is missing, lacks a column, has an empty or repeated phrase, or its indices are not 0, 1, 2.
    """
    if path is None:
        return _default()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read the taxonomy: {error}") from error
    return _parse(text, str(path))


@lru_cache(maxsize=1)
def _default() -> Taxonomy:
    file = resources.files("alignx.records") / "preference_dimensions.csv"
    return _parse(file.read_text(encoding="utf-8"), "preference_dimensions.csv")


def _parse(text: str, where: str) -> Taxonomy:
    reader = csv.DictReader(text.splitlines())
    if reader.fieldnames is None or not set(_COLUMNS) <= set(reader.fieldnames):
        raise DataError(f"{where}: columns are {reader.fieldnames}, expected {', '.join(_COLUMNS)}")
    dimensions: list[Dimension] = []
    phrases: set[str] = set()
    for row in reader:
        here = f"{where}:{reader.line_num}"
        if row["index"] != str(len(dimensions)):
            raise DataError(
                f"{here}: index is {row['index']!r}, expected {len(dimensions)}; rows follow the data's order"
            )
        for pole in ("positive", "negative"):
            phrase = row[pole]
            if not phrase or phrase in phrases:
                raise DataError(f"{here}: {pole} is {phrase!r}, expected a phrase that no other pole has")
            phrases.add(phrase)
        dimensions.append(Dimension(row["group"], row["positive"], row["negative"]))
    if not dimensions:
        raise DataError(f"{where}: holds no dimensions")
    return Taxonomy(tuple(dimensions))
