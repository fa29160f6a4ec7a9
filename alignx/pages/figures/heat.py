"""How things go together, each with every other: a triangle of coloured cells."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby, pairwise

from alignx.pages.figures.lines import written
from alignx.pages.figures.paper import LEADING, WIDTH, Paper, measure, wrap
from alignx.pages.figures.svg import GRID, INK, MUTED, SERIES, SIZE, SMALL, drawing

_NAMED = 16
"""Up to this many rows have names and numbers; more only have their groups'."""
_NAMES_AT_MOST = 0.42 * WIDTH
_GROUPS_AT_MOST = 0.4 * WIDTH
_LIMITS = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
"""Where the scale may end."""
_STEPS = (0.28, 0.52, 0.76, 1.0)
"""How strong the colours of the scale are, from its middle outwards."""
_ENDS = range(1, len(_STEPS) + 2)
"""Where the coloured steps of a side begin and the last one ends, in steps."""
_GAP = 0.08
"""Share of a cell that is left free between it and the next."""
_SWATCH = 13.0
_LINE = LEADING * SMALL


@dataclass(frozen=True)
class HeatRow:
    """One of the things that go together.

    Attributes:
        label: Its name.
        group: What it belongs to; rows of one group stand together.
    """

    label: str
    group: str


def heat(
    rows: Sequence[HeatRow], values: Sequence[Sequence[float | None]], *, name: str, scale: str, missing: str
) -> str:
    """A cell for every two rows, blue where their value is above 0 and orange where it is below.

    A row's cells stand in its line, left of the diagonal, and those with later rows below it. Few rows have their names
    at the left and a number on the diagonal; many have their groups' names at the right of it.

    Args:
        rows: From top to bottom, and from left to right.
        values: For each row, its value with each row before it: between −1 and 1, or None where there is none.
        name: What the figure is called.
        scale: What the values are.
        missing: Why a value may be missing.

    Raises:
        ValueError: There are fewer than two rows, the values do not fit them, or the name is unsuitable.
    """
    if len(rows) < 2:
        raise ValueError(f"figure {name!r}: got {len(rows)} rows, expected at least two")
    if [len(row) for row in values] != list(range(len(rows))):
        raise ValueError(
            f"figure {name!r}: got values {[len(row) for row in values]} long, expected one for each row before: "
            f"0 to {len(rows) - 1}"
        )
    for row, before in zip(rows, values, strict=True):
        for value in before:
            if value is not None and not -1 <= value <= 1:  # also when it is not a number
                raise ValueError(f"figure {name!r}: row {row.label!r} has {value}, expected between −1 and 1 or None")
    with drawing():
        return _Heat(rows, values, scale, missing).svg(name)


@dataclass
class _Heat:
    """The layout: first every height, then the paper, then the drawing."""

    rows: Sequence[HeatRow]
    values: Sequence[Sequence[float | None]]
    scale: str
    missing: str
    labels: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        size = len(self.rows)
        self.named = size <= _NAMED
        self.left = 0.0
        if self.named:
            texts = [f"{number} {row.label}" for number, row in enumerate(self.rows, start=1)]
            self.labels = [wrap(text, _NAMES_AT_MOST, SMALL) for text in texts]
            self.left = max(measure(line, SMALL) for lines in self.labels for line in lines) + 8
        self.cell = (WIDTH - self.left) / size
        if self.named:
            self.cell = min(self.cell, 24.0)
        heights = [max(self.cell, len(lines) * _LINE + 2) for lines in self.labels] or [self.cell] * size
        self.tops = list(accumulate(heights, initial=0.0))
        greatest = max((abs(value) for row in self.values for value in row if value is not None), default=0.0)
        self.limit = next(limit for limit in _LIMITS if greatest <= limit or limit == _LIMITS[-1])

    def svg(self, name: str) -> str:
        end = self.tops[-1]
        legend = wrap(self.scale, WIDTH, SMALL), [line for text in self._remarks() for line in wrap(text, WIDTH, SMALL)]
        self.paper = Paper(end + 12 + len(legend[0]) * _LINE + 4 + _SWATCH + 18 + len(legend[1]) * _LINE + 4)
        self._cells()
        self._borders()
        if self.named:
            self._names()
        else:
            self._groups()
        self._legend(end + 12, *legend)
        return self.paper.svg(name)

    def _remarks(self) -> list[str]:
        remarks = [f"blank: {self.missing}"] if any(value is None for row in self.values for value in row) else []
        unnamed = 0 if self.named else len(list(self._blocks())) - len(self._with_room())
        return [*remarks, f"groups without a name here, for want of room: {unnamed}"] if unnamed else remarks

    def _step(self, value: float) -> int:
        """0 near none, else 1 to 4 with the sign of the value; a step begins at its lower end."""
        step = min(len(_STEPS), math.floor(abs(value) / self.limit * (len(_STEPS) + 1) + 1e-9))
        return step if value > 0 else -step

    def _x(self, column: int) -> float:
        return self.left + column * self.cell

    def _cells(self) -> None:
        """One line for each colour and height of row, broken into its cells: as small a file as can be."""
        found: dict[tuple[int, float], tuple[list[float], list[float]]] = {}
        for number, row in enumerate(self.values):
            height = self.tops[number + 1] - self.tops[number]
            middle = (self.tops[number] + self.tops[number + 1]) / 2
            for column, value in enumerate(row):
                if value is not None:
                    xs, ys = found.setdefault((self._step(value), round(height, 3)), ([], []))
                    xs += [self._x(column) + _GAP * self.cell, self._x(column + 1), math.nan]
                    ys += [middle, middle, math.nan]
        for (step, height), (xs, ys) in sorted(found.items()):
            colour, strength = _look(step)
            thick = height - _GAP * self.cell
            self.paper.line(xs, ys, color=colour, alpha=strength, linewidth=thick, solid_capstyle="butt")

    def _blocks(self) -> Iterator[tuple[str, int, int]]:
        """Each group with its first row and the one after its last."""
        first = 0
        for group, rows in groupby(row.group for row in self.rows):
            end = first + len(list(rows))
            yield group, first, end
            first = end

    def _borders(self) -> None:
        blocks = list(self._blocks())
        for (_, first, end), (_, _, last) in pairwise(blocks):
            if last - first == 2:  # between groups of one row each, borders would be all that is seen
                continue
            x, y = self._x(end), self.tops[end]
            self.paper.line([self.left, x, x], [y, y, self.tops[-1]], color=MUTED, linewidth=0.7)

    def _names(self) -> None:
        for number, lines in enumerate(self.labels):
            middle = (self.tops[number] + self.tops[number + 1]) / 2
            for place, text in enumerate(lines):
                y = middle + (place - (len(lines) - 1) / 2) * _LINE
                self.paper.text(0, y, text, fontsize=SMALL, color=INK)
            x = (self._x(number) + self._x(number + 1)) / 2
            self.paper.text(x, middle, str(number + 1), ha="center", fontsize=SMALL, color=MUTED)

    def _groups(self) -> None:
        """Names of groups at the right of the diagonal, each as near its rows as the others leave room."""
        blocks = sorted(self._with_room().items(), key=lambda block: block[0][1])
        tops, below = [], self.tops[-1]
        for (_, first, end), lines in reversed(blocks):
            height = len(lines) * LEADING * SIZE
            right = WIDTH - max(map(measure, lines)) - 14  # further down, the name would leave the sheet
            below = min((self.tops[first] + self.tops[end] + height) / 2, below, right) - height
            tops.append(below)
        above = 0.0
        for ((_, first, end), lines), top in zip(blocks, reversed(tops), strict=True):
            above = self._group(max(top, above), (self.tops[first] + self.tops[end]) / 2, lines)

    def _group(self, top: float, middle: float, lines: list[str]) -> float:
        """A name with a line to the middle of its rows; returns where it ends."""
        end = top + len(lines) * LEADING * SIZE
        x = min(max(middle, end) + 12, WIDTH - max(map(measure, lines)))
        for place, text in enumerate(lines):
            self.paper.text(x, top + (place + 0.5) * LEADING * SIZE, text)
        self.paper.line([middle + 2, x - 3], [middle, (top + end) / 2], color=MUTED, linewidth=0.7)
        return end

    def _with_room(self) -> dict[tuple[str, int, int], list[str]]:
        """The largest groups, as many as can be named one below the other above the last row's end."""
        found, free = {}, WIDTH - _GROUPS_AT_MOST - 14
        for block in sorted(self._blocks(), key=lambda block: block[1] - block[2]):
            lines = wrap(block[0], _GROUPS_AT_MOST)
            free -= len(lines) * LEADING * SIZE
            if free < 0:
                break
            found[block] = lines
        return found

    def _legend(self, top: float, title: list[str], missing: list[str]) -> None:
        for number, text in enumerate(title):
            self.paper.text(0, top + (number + 0.5) * _LINE, text, fontsize=SMALL, color=MUTED)
        top += len(title) * _LINE + 4
        steps = range(-len(_STEPS), len(_STEPS) + 1)
        texts = written([round(number * self.limit / len(_ENDS), 9) for number in _ENDS])
        widest = measure(f"−{texts[-1]}", SMALL)
        width = (WIDTH - widest) / len(steps)
        for place, step in enumerate(steps):
            colour, strength = _look(step)
            xs = [widest / 2 + place * width + 1, widest / 2 + (place + 1) * width]
            middle = [top + _SWATCH / 2] * 2
            self.paper.line(xs, middle, color=colour, alpha=strength, linewidth=_SWATCH, solid_capstyle="butt")
        for distance, text in self._numbers(texts, roomy=widest + 3 <= width):
            x = WIDTH / 2 + distance * width
            self.paper.text(x, top + _SWATCH + 9, text, ha="center", fontsize=SMALL, color=MUTED)
        top += _SWATCH + 18
        for number, text in enumerate(missing):
            self.paper.text(0, top + (number + 0.5) * _LINE, text, fontsize=SMALL, color=MUTED)

    def _numbers(self, texts: list[str], *, roomy: bool) -> Iterator[tuple[float, str]]:
        """The ends of steps, each with its distance from the middle in steps: all, or where they are long, fewer."""
        for number, text in enumerate(texts):
            if number == 0 and not roomy:
                yield 0, f"±{text}"
            elif roomy or number % 2 == 0:
                yield number + 0.5, text
                yield -number - 0.5, f"−{text}"


def _look(step: int) -> tuple[str, float]:
    """Colour and strength of a step; the two colours differ for every kind of colour vision."""
    if step == 0:
        return GRID, 0.6
    return SERIES[0 if step > 0 else 1], _STEPS[abs(step) - 1]
