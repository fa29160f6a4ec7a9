"""Arithmetic on preference directions, in exact integers.

A direction is ``bytes`` with one *level* a dimension: 0 negative, 1 neutral, 2 positive. The data's {0, 0.5, 1} are
half a level. Floating point is avoided on purpose: with float32 and five items a mean of 0.4 comes out as 0.40000000596
and the negative pole is lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from alignx.errors import SettingsError
from alignx.records.taxonomy import Taxonomy

Direction: TypeAlias = bytes
NEGATIVE, NEUTRAL, POSITIVE = 0, 1, 2


@dataclass(frozen=True)
class Thresholds:
    """Where the mean of several directions, in [0, 1], counts as a pole.

    Decimals as text, so that 0.6 is six tenths exactly.
    """

    positive: str
    negative: str

    def __post_init__(self) -> None:
        """Refuse thresholds that are no numbers, or that no mean or every mean could meet."""
        try:
            low, high = Fraction(self.negative), Fraction(self.positive)
        except (ValueError, ZeroDivisionError):
            raise SettingsError(
                f"thresholds: got positive {self.positive!r}, negative {self.negative!r}, expected decimals such as "
                "0.6, 0.4"
            ) from None
        if not 0 <= low < high <= 1:
            raise SettingsError(
                f"thresholds: got negative {low}, positive {high}, expected 0 <= negative < positive <= 1"
            )


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
    doubled = 2 * len(directions)
    high, low = Fraction(thresholds.positive), Fraction(thresholds.negative)
    at_least = -(-doubled * high.numerator // high.denominator)  # ceiling: the smallest sum that is positive
    at_most = doubled * low.numerator // low.denominator  # floor: the largest sum that is negative
    return bytes(
        POSITIVE if total >= at_least else NEGATIVE if total <= at_most else NEUTRAL
        for total in map(sum, zip(*directions, strict=True))
    )


def reverse(direction: Direction) -> Direction:
    """The opposite direction: poles swapped, neutral kept."""
    return bytes(POSITIVE - level for level in direction)


def verbalise(direction: Direction, taxonomy: Taxonomy) -> str:
    """A direction in words: the phrase of each non-neutral dimension in index order, joined by ``, ``.

    Returns:
        The profile; empty when everything is neutral. It never asserts a pole that the direction does not have.

    Raises:
        ValueError: The direction was made for another taxonomy.
    """
    if len(direction) != len(taxonomy):
        raise ValueError(f"direction has {len(direction)} dimensions, the taxonomy {len(taxonomy)}")
    return ", ".join(
        dimension.positive if level == POSITIVE else dimension.negative
        for level, dimension in zip(direction, taxonomy.dimensions, strict=True)
        if level != NEUTRAL
    )
