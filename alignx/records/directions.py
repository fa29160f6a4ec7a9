"""Arithmetic on preference directions, in exact integers.

A direction is ``bytes`` with one *level* a dimension: 0 negative, 1 neutral, 2 positive. The data's {0, 0.5, 1} are
half a level. Floating point is avoided on purpose: with float32 and five items a mean of 0.4 comes out as 0.40000000596
and the negative pole is lost.
"""

import marshal
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import compress
from typing import Any, Final, TypeAlias

from alignx.errors import SettingsError
from alignx.records.taxonomy import Taxonomy

Direction: TypeAlias = bytes
NEGATIVE, NEUTRAL, POSITIVE = 0, 1, 2
_NOT_NEUTRAL: Final = bytes(level != NEUTRAL for level in range(256))
_OPPOSITE: Final = bytes([POSITIVE, NEUTRAL, NEGATIVE])
_MOST_SUMMED: Final = 255 // POSITIVE
"""So many levels add up within a byte."""


@dataclass(frozen=True)
class Thresholds:
    """Where the mean of several directions, in [0, 1], counts as a pole.

    Decimals as text, so that 0.6 is six tenths exactly.
    """

    positive: str
    negative: str

    def __post_init__(self) -> None:
        """Refuse thresholds that are no numbers, or that no mean or every mean could meet."""
        _check_thresholds(self.positive, self.negative)


@lru_cache(maxsize=64)
def _check_thresholds(positive: str, negative: str) -> None:
    """Once for each pair: thresholds are made for every record."""
    try:
        low, high = Fraction(negative), Fraction(positive)
    except (ValueError, ZeroDivisionError):
        raise SettingsError(
            f"thresholds: got positive {positive!r}, negative {negative!r}, expected decimals such as 0.6, 0.4"
        ) from None
    if not 0 <= low < high <= 1:
        raise SettingsError(f"thresholds: got negative {low}, positive {high}, expected 0 <= negative < positive <= 1")


def aggregate(directions: Sequence[Direction], thresholds: Thresholds) -> Direction:
    """The direction that several items share: the mean of each dimension against two thresholds (paper B.1).

    With ``s`` the sum of a dimension's n levels, the mean is s / 2n; it is compared as integers, s against 2·n·t.

    Returns:
        Positive where the mean is at least ``thresholds.positive``, negative where it is at most
        ``thresholds.negative``, else neutral. All neutral when every item is.

    Raises:
        ValueError: There are no items (a history without directions has no aggregate), or their lengths differ.
    """
    if not directions:
        raise ValueError("no directions to aggregate")
    level_of = _level_of_sums(len(directions), thresholds.positive, thresholds.negative)
    width = len(directions[0])
    if len(directions) > _MOST_SUMMED or any(len(direction) != width for direction in directions):
        return bytes(map(level_of.__getitem__, map(sum, zip(*directions, strict=True))))
    # Read as one number in base 256 each, directions add up dimension by dimension, as nothing is carried.
    total = sum(int.from_bytes(direction, "big") for direction in directions)
    return total.to_bytes(width, "big").translate(level_of)


@lru_cache(maxsize=256)
def _level_of_sums(items: int, positive: str, negative: str) -> bytes:
    """For every sum of so many items' levels, the level that they share; at least 256 long, as ``translate`` wants."""
    doubled, high, low = 2 * items, Fraction(positive), Fraction(negative)
    at_least = -(-doubled * high.numerator // high.denominator)  # ceiling: the smallest sum that is positive
    at_most = doubled * low.numerator // low.denominator  # floor: the largest sum that is negative
    return bytes(
        POSITIVE if total >= at_least else NEGATIVE if total <= at_most else NEUTRAL
        for total in range(max(256, doubled + 1))
    )


def reverse(direction: Direction) -> Direction:
    """The opposite direction: poles swapped, neutral kept."""
    return bytes(map(_OPPOSITE.__getitem__, direction))


def verbalise(direction: Direction, taxonomy: Taxonomy) -> str:
    """A direction in words: the phrase of each non-neutral dimension in index order, joined by ``, ``.

    Returns:
        The profile; empty when everything is neutral. It never asserts a pole that the direction does not have.

    Raises:
        ValueError: The direction was made for another taxonomy.
    """
    if len(direction) != len(taxonomy):
        raise ValueError(f"direction has {len(direction)} dimensions, the taxonomy {len(taxonomy)}")
    stated = compress(range(len(direction)), direction.translate(_NOT_NEUTRAL))
    phrases = taxonomy.phrases
    return ", ".join([phrases[direction[index]][index] for index in stated])


def levels_of_floats(values: Any) -> Direction | None:
    """Levels of a list of Python floats; None if one is no float, or none of 0.0, 0.5 and 1.0.

    A file of records is mostly such lists, so this is what reading waits for. ``marshal`` writes a list of floats as a
    five-byte head and, for each, ``g`` and the eight bytes of the double, the most significant last. Of 0.0, 0.5 and
    1.0 only the two last bytes differ from zero: 00 00, e0 3f and f0 3f. Should another Python write something else,
    the answer is None, and the list is read a number at a time.
    """
    try:
        written = marshal.dumps(values, 2)
    except ValueError:  # a value of a kind that it does not write
        return None
    seventh = written[12::9]
    levels = seventh.translate(_LEVEL_OF_SEVENTH)
    count = len(levels)
    right = (
        len(written) == 5 + 9 * count
        and _NO_LEVEL not in levels
        and written[5::9] == b"g" * count
        and written[13::9] == seventh.translate(_EIGHTH_OF_SEVENTH)
        and len(written[5:].translate(None, b"\0")) == 3 * count - 2 * seventh.count(0)
    )
    return levels if right else None


_NO_LEVEL: Final = 255
_LEVEL_OF_SEVENTH: Final = bytes(
    {0: NEGATIVE, 0xE0: NEUTRAL, 0xF0: POSITIVE}.get(byte, _NO_LEVEL) for byte in range(256)
)
_EIGHTH_OF_SEVENTH: Final = bytes(0x3F if byte else 0 for byte in range(256))


def levels_of_array(values: Any) -> bytes | None:
    """Levels of a NumPy array of numbers; None if one is none of 0, 0.5 and 1."""
    negative, neutral, positive = values == 0, values == 0.5, values == 1
    if not (negative | neutral | positive).all():
        return None
    levels: bytes = (neutral + 2 * positive).astype("uint8").tobytes()
    return levels
