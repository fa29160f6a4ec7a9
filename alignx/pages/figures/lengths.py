"""Amounts as horizontal bars with their values beside them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from alignx.pages.figures.paper import LEADING, WIDTH, Paper, measure, wrap
from alignx.pages.figures.svg import INK, MUTED, SERIES, SIZE, SMALL, drawing

_LABELS_AT_MOST = 0.42 * WIDTH
_THICKNESS = 12.0


@dataclass(frozen=True)
class Bar:
    """An amount.

    Attributes:
        label: Of what.
        value: At least 0.
        text: The value as it is written; by default one decimal.
    """

    label: str
    value: float
    text: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and self.value >= 0):
            raise ValueError(f"bar {self.label!r}: got {self.value}, expected a number that is at least 0")

    @property
    def written(self) -> str:
        """The value as it is written."""
        return self.text or f"{self.value:.1f}"


def bars(rows: Sequence[Bar], *, name: str, xlabel: str) -> str:
    """A bar for each row, from a common zero, with its value at its end.

    Args:
        rows: From top to bottom.
        name: What the figure is called.
        xlabel: What the lengths mean, with the unit.

    Raises:
        ValueError: There is no row, or the name is unsuitable.
    """
    if not rows:
        raise ValueError(f"figure {name!r}: got no rows, expected at least one")
    with drawing():
        return _draw(rows, xlabel).svg(name)


def _draw(rows: Sequence[Bar], xlabel: str) -> Paper:
    labels = [wrap(row.label, _LABELS_AT_MOST) for row in rows]
    left = max(measure(line) for lines in labels for line in lines) + 10
    longest = WIDTH - left - max(measure(row.written) for row in rows) - 8
    greatest = max(row.value for row in rows) or 1.0
    captions = wrap(xlabel, WIDTH, SMALL)
    above = len(captions) * LEADING * SMALL + 8
    paper = Paper(above + sum(map(_height, labels)))
    for number, text in enumerate(captions):
        paper.text(0, (number + 0.5) * LEADING * SMALL, text, fontsize=SMALL, color=MUTED)
    top = above
    for row, lines in zip(rows, labels, strict=True):
        middle = top + _height(lines) / 2
        for number, text in enumerate(lines):
            paper.text(0, middle + (number - (len(lines) - 1) / 2) * LEADING * SIZE, text)
        length = max(1.0, longest * row.value / greatest)  # so that even nothing is seen to have a row
        paper.box(left, middle - _THICKNESS / 2, length, _THICKNESS, SERIES[0])
        paper.text(left + length + 6, middle, row.written, color=INK)
        top += _height(lines)
    return paper


def _height(lines: list[str]) -> float:
    return max(20.0, len(lines) * LEADING * SIZE + 6)
