"""Estimates with their intervals, one below the other: which are apart, and which are not."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from alignx.pages.figures.paper import (
    LEADING,
    MARKERS,
    WIDTH,
    Paper,
    draw_legend,
    legend_places,
    measure,
    number_series,
    wrap,
)
from alignx.pages.figures.svg import BACKGROUND, GRID, INK, MUTED, SERIES, SIZE, SMALL, drawing

_TICKS = (0, 25, 50, 75, 100)
_LABELS_AT_MOST = 0.36 * WIDTH
_REFERENCE_LINE = 15.0
_HEADING = 24.0
_BESIDE_LINE = 22.0
_HOLLOW: Final[dict[str, Any]] = {
    "marker": "D",
    "markersize": 5.5,
    "color": INK,
    "markerfacecolor": BACKGROUND,
    "markeredgewidth": 1.3,
}


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval, in percent.

    Attributes:
        label: What was estimated.
        group: The heading it stands under; rows of one group are drawn together.
        estimate: In percent.
        low: Lower end of the interval.
        high: Upper end.
        series: Rows of one series have one colour; a legend explains them where a group has more than one.
        beside: Another value of the same, such as a published one, drawn as a hollow mark.
    """

    label: str
    group: str
    estimate: float
    low: float
    high: float
    series: str = ""
    beside: float | None = None

    def __post_init__(self) -> None:
        if not self.low <= self.estimate <= self.high:  # also when one is not a number
            raise ValueError(
                f"{self.group} {self.label!r}: got {self.low} ≤ {self.estimate} ≤ {self.high}, "
                "expected an estimate within its interval"
            )


@dataclass(frozen=True)
class Reference:
    """A value to compare with, such as what chance gives, in percent."""

    value: float
    label: str


def intervals(
    rows: Sequence[Interval],
    *,
    name: str,
    xlabel: str,
    reference_lines: Sequence[Reference] = (),
    beside: str = "",
) -> str:
    """A dot and an interval for each row on a scale from 0 to 100 %, under the headings of the groups.

    An interval that goes on beyond the scale ends at its edge.

    Args:
        rows: From top to bottom.
        name: What the figure is called.
        xlabel: What the scale is.
        reference_lines: Values to compare all rows with.
        beside: What the hollow marks are; needed where a row has one.

    Raises:
        ValueError: There is no row, a mark is not explained, or the name is unsuitable.
    """
    if not rows:
        raise ValueError(f"figure {name!r}: got no rows, expected at least one")
    marked = any(row.beside is not None for row in rows)
    if marked and not beside:
        raise ValueError(f"figure {name!r}: got rows with a value beside, expected to be told what it is (beside)")
    with drawing():
        return _Forest(rows, xlabel, reference_lines, beside if marked else "").svg(name)


@dataclass
class _Forest:
    """The layout: first every height, then the paper, then the drawing."""

    rows: Sequence[Interval]
    xlabel: str
    references: Sequence[Reference]
    beside: str = ""
    groups: dict[str, list[Interval]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for row in self.rows:
            self.groups.setdefault(row.group, []).append(row)
        self.series = number_series([row.series for row in self.rows])
        self.explained = any(len({row.series for row in group}) > 1 for group in self.groups.values())
        self.labels = {row: wrap(row.label, _LABELS_AT_MOST) for row in self.rows}
        self.left = max(measure(line) for lines in self.labels.values() for line in lines) + 12
        self.right = WIDTH - max(measure(f"{row.estimate:.1f}") for row in self.rows) - 12

    def svg(self, name: str) -> str:
        levels = self._levels()
        below = legend_places(list(self.series))[1] if self.explained else 0.0
        legend = below + _BESIDE_LINE if self.beside else below
        first = legend + _REFERENCE_LINE * (1 + max(levels)) if levels else legend
        last = first + sum(map(self._height, self.groups.items()))
        captions = wrap(self.xlabel, WIDTH, SMALL)
        self.paper = Paper(last + 20 + len(captions) * LEADING * SMALL + 4)
        if self.explained:
            looks = [{"marker": marker, "markersize": 5.5, "linewidth": 1.8} for marker in MARKERS]
            draw_legend(self.paper, 0, self.series, looks)
        if self.beside:
            self.paper.line([6], [below + 6], **_HOLLOW)
            self.paper.text(15, below + 6, self.beside, fontsize=SMALL)
        self._scale(first, last, captions)
        self._references(levels, legend, last)
        top = first
        for group in self.groups.items():
            self._group(group, top)
            top += self._height(group)
        return self.paper.svg(name)

    def _x(self, percent: float) -> float:
        return self.left + (self.right - self.left) * min(100.0, max(0.0, percent)) / 100

    def _row_height(self, row: Interval) -> float:
        return len(self.labels[row]) * LEADING * SIZE + 8

    def _heading(self, group: str) -> list[str]:
        return wrap(group, WIDTH, weight="bold") if group else []

    def _height(self, group: tuple[str, list[Interval]]) -> float:
        heading = self._heading(group[0])
        above = _HEADING + (len(heading) - 1) * LEADING * SIZE if heading else 4
        return above + sum(map(self._row_height, group[1]))

    def _scale(self, first: float, last: float, captions: list[str]) -> None:
        for percent in _TICKS:
            self.paper.line([self._x(percent)] * 2, [first, last + 3], color=GRID, linewidth=0.8)
            self.paper.text(self._x(percent), last + 11, str(percent), ha="center", fontsize=SMALL, color=MUTED)
        for number, text in enumerate(captions):
            y = last + 26 + number * LEADING * SMALL
            half = measure(text, SMALL) / 2
            x = _within((self._x(0) + self._x(100)) / 2, half)
            self.paper.text(x, y, text, ha="center", fontsize=SMALL, color=MUTED)

    def _levels(self) -> list[int]:
        """How high above the rows the label of each reference line stands, so that none covers another."""
        ends: list[float] = []
        found: dict[Reference, int] = {}
        for reference in sorted(self.references, key=lambda each: each.value):
            half = measure(reference.label, SMALL) / 2
            middle = _within(self._x(reference.value), half)
            level = next((n for n, end in enumerate(ends) if end + 8 <= middle - half), len(ends))
            ends[level:] = [middle + half, *ends[level + 1 :]]
            found[reference] = level
        return [found[reference] for reference in self.references]

    def _references(self, levels: list[int], top: float, last: float) -> None:
        first = top + _REFERENCE_LINE * (1 + max(levels, default=-1))
        places = sorted(zip(levels, self.references, strict=True), key=lambda place: -place[0])
        for level, reference in places:  # from the highest, whose line passes behind the lower labels
            x, y = self._x(reference.value), first - _REFERENCE_LINE * (level + 0.5)
            self.paper.line([x, x], [y, last], color=MUTED, linewidth=1.1, linestyle=(0, (4, 2.5)))
        for level, reference in places:
            x = _within(self._x(reference.value), measure(reference.label, SMALL) / 2)
            y = first - _REFERENCE_LINE * (level + 0.5)
            self.paper.on_background(x, y, reference.label, ha="center", fontsize=SMALL, color=MUTED)

    def _group(self, group: tuple[str, list[Interval]], top: float) -> None:
        heading = self._heading(group[0])
        for number, text in enumerate(heading):
            self.paper.on_background(0, top + 14 + number * LEADING * SIZE, text, weight="bold")
        top += self._height(group) - sum(map(self._row_height, group[1]))
        for row in group[1]:
            self._row(row, top)
            top += self._row_height(row)

    def _row(self, row: Interval, top: float) -> None:
        middle = top + self._row_height(row) / 2
        lines = self.labels[row]
        for number, text in enumerate(lines):
            self.paper.text(0, middle + (number - (len(lines) - 1) / 2) * LEADING * SIZE, text)
        number = self.series[row.series]
        ends = [self._x(row.low), self._x(row.high)]
        self.paper.line(ends, [middle] * 2, color=SERIES[number], linewidth=2.2, solid_capstyle="round")
        look = {"marker": MARKERS[number], "markersize": 6.5, "markeredgewidth": 0}
        self.paper.line([self._x(row.estimate)], [middle], color=SERIES[number], **look)
        if row.beside is not None:
            self.paper.line([self._x(row.beside)], [middle], **_HOLLOW)
        self.paper.text(WIDTH, middle, f"{row.estimate:.1f}", ha="right", color=INK)


def _within(middle: float, half: float) -> float:
    """The middle of a text, moved so that the text does not leave the sheet."""
    return min(max(middle, half), WIDTH - half)
