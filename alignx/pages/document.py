"""What a report says, apart from how it is written: the blocks of a page, each checked when it is made.

Prose (paragraphs, notes, captions, meanings, the lead and the footer) may use the markup of :mod:`alignx.pages.inline`.
Every other text stands for itself: titles, labels, terms and cells on one line, quotes and code byte for byte.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal, TypeAlias

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
"""What a figure may be called: it becomes the name of a file and the beginning of ids."""
_NUMBER = re.compile(r"[\[(]?[-+−±≈<>~≤≥]?\s?\d[\d\s.,:×/%()\[\];+−–-]*[a-zA-Zµ%]{0,3}|[-–—]?")
"""A cell that reads as a number, with its interval or a short unit, or as a missing one."""
_ENLARGED = 1.46
"""Pixels a point in a chart's own file: what the width in page.css, 31rem, comes to."""
_FEW = 3
"""Columns of a table that is not drawn as wide as the text."""
_WORD = 12
"""Letters of a cell that is not broken into lines."""

Mark = Literal["", "strong", "control", "below"]


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of prose."""

    text: str


@dataclass(frozen=True)
class Note:
    """A caution, set apart from what surrounds it."""

    text: str


@dataclass(frozen=True)
class Quote:
    """Somebody's words, under a label: a prompt, a response."""

    label: str
    text: str


@dataclass(frozen=True)
class Code:
    """Lines for a machine: a command, a file."""

    text: str


@dataclass(frozen=True)
class Definitions:
    """Terms with their meanings."""

    items: Sequence[tuple[str, str]]

    def __post_init__(self) -> None:
        if not self.items:
            raise ValueError("definitions without a term: leave them out")


@dataclass(frozen=True)
class Row:
    """A row of a table that stands out: ``strong`` is what to look at, ``control`` what to compare it with.

    ``below`` belongs to the row above it, such as the intervals of its numbers.
    """

    cells: Sequence[str]
    mark: Mark = ""


@dataclass(frozen=True)
class Table:
    """A table, its first column naming the rows.

    Attributes:
        columns: Headings.
        rows: Cells, as many as there are headings; a :class:`Row` where one stands out.
        caption: What it shows, as prose.
        align: ``l`` or ``r`` for each column; when empty, columns of numbers go to the right.
    """

    columns: Sequence[str]
    rows: Sequence[Row | Sequence[str]]
    caption: str = ""
    align: str = ""

    def __post_init__(self) -> None:
        name = f"table {self.caption or list(self.columns)!r}"
        if not self.columns or not self.rows:
            raise ValueError(
                f"{name}: got {len(self.columns)} columns and {len(self.rows)} rows, expected at least one of each; "
                "say in a paragraph that there is nothing to show"
            )
        for number, row in enumerate(self.lines, start=1):
            if len(row.cells) != len(self.columns):
                raise ValueError(f"{name}: row {number} has {len(row.cells)} cells, expected {len(self.columns)}")
        if self.align and (len(self.align) != len(self.columns) or set(self.align) - set("lr")):
            raise ValueError(f"{name}: align is {self.align!r}, expected one l or r for each of its columns")

    @property
    def lines(self) -> list[Row]:
        """The rows, each as a :class:`Row`."""
        return [row if isinstance(row, Row) else Row(tuple(row)) for row in self.rows]

    @property
    def sides(self) -> str:
        """``l`` or ``r`` for each column."""
        columns = zip(*(row.cells for row in self.lines), strict=True)
        return self.align or "".join(
            "r" if any(cells) and all(_NUMBER.fullmatch(cell) for cell in cells) else "l" for cells in columns
        )

    @property
    def classes(self) -> list[str]:
        """How each column is set: its side, and whether its words are so few that they stand on one line."""
        columns = zip(*(row.cells for row in self.lines), strict=True)
        short = [side == "l" and max(map(len, cells)) <= _WORD for side, cells in zip(self.sides, columns, strict=True)]
        return [f"{side} short" if n and short[n] else side for n, side in enumerate(self.sides)]

    @property
    def narrow(self) -> bool:
        """Whether it has so few columns of numbers that they would stand far from what they are of."""
        return len(self.columns) <= _FEW and set(self.sides[1:]) == {"r"}


@dataclass(frozen=True)
class Figure:
    """A chart of :mod:`alignx.pages.figures`.

    Attributes:
        name: Lower-case words joined by hyphens, the one that the chart was drawn under.
        svg: The chart.
        alt: What it shows, for who cannot see it.
        caption: Prose below it.
    """

    name: str
    svg: str
    alt: str
    caption: str

    def __post_init__(self) -> None:
        refuse_unsuitable_name(self.name)
        if not self.svg.startswith("<svg ") or not self.alt.strip():
            raise ValueError(f"figure {self.name!r}: expected an SVG element and a text that says what it shows")

    @property
    def inline(self) -> str:
        """The chart with its alternative text inside, for a page whose style says how wide it is."""
        return f'<svg role="img" aria-label="{escape(one_line(self.alt))}" ' + self.svg.removeprefix("<svg ")

    @property
    def alone(self) -> str:
        """The chart as a file of its own, which says its size: without it a picture fills whatever shows it."""
        view = re.search(r' viewBox="0 0 ([\d.]+) ([\d.]+)"', self.svg)
        if view is None:
            return self.inline
        width, height = (round(_ENLARGED * float(size)) for size in view.groups())
        return f'<svg width="{width}" height="{height}" ' + self.inline.removeprefix("<svg ")


@dataclass(frozen=True)
class Fold:
    """Blocks that are out of sight until asked for."""

    title: str
    blocks: Sequence["Block"]


Block: TypeAlias = Paragraph | Note | Table | Figure | Quote | Code | Definitions | Fold


@dataclass(frozen=True)
class Section:
    """A part of a page, named in its list of contents."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    lead: str
    sections: Sequence[Section]
    footer: str = ""

    def __post_init__(self) -> None:
        if not self.sections:
            raise ValueError(f"page {self.title!r}: got no section, expected at least one")
        twice = [name for name, count in Counter(figure.name for figure in self.figures()).items() if count > 1]
        if twice:
            raise ValueError(f"page {self.title!r}: more than one figure is called {twice[0]!r}")

    def figures(self) -> Iterator[Figure]:
        """Every figure, in order."""
        for section in self.sections:
            yield from _figures(section.blocks)


def _figures(blocks: Sequence[Block]) -> Iterator[Figure]:
    for block in blocks:
        if isinstance(block, Figure):
            yield block
        elif isinstance(block, Fold):
            yield from _figures(block.blocks)


def one_line(text: str) -> str:
    """``text`` with its line breaks and runs of spaces as one space; spaces that do not break a line are kept."""
    return re.sub(r"[ \t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+", " ", text).strip(" ")


def refuse_unsuitable_name(name: str) -> None:
    """Check what a figure is called.

    Raises:
        ValueError: It is not lower-case words joined by hyphens.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"figure {name!r}: expected lower-case words joined by hyphens, such as 'accuracy-by-persona'")
