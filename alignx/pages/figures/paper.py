"""A sheet to draw on, measured in points from its upper left corner, and how wide text is on it."""

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from alignx.pages.figures.svg import BACKGROUND, INK, SERIES, SIZE, SMALL, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH: Final = 340.0
"""Points; see :mod:`alignx.pages.figures` for why."""
LEADING: Final = 1.25
"""Height of a line of text, as a multiple of its size."""
MARKERS: Final = "osD^v"
"""One a series, so that colour is not the only difference."""
DASHES: Final = ("-", (0, (7, 1.5)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1.5)))
_LEGEND_LINE: Final = 17.0
_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""Characters that XML cannot carry, or that a chart's text has no use for."""


class Paper:
    """A white sheet; every distance is in points, downwards and to the right."""

    def __init__(self, height: float) -> None:
        """Take a sheet of the one width."""
        from matplotlib.figure import Figure

        self.height = height
        self.figure = Figure(figsize=(WIDTH / 72, height / 72))
        self._axes = self.plot(0, 0, WIDTH, height)
        self._axes.set(xlim=(0, WIDTH), ylim=(height, 0))
        self._axes.set_axis_off()

    def plot(self, left: float, top: float, width: float, height: float) -> "Axes":
        """Axes that fill a part of the sheet."""
        return self.figure.add_axes(
            (left / WIDTH, 1 - (top + height) / self.height, width / WIDTH, height / self.height)
        )

    def text(self, x: float, y: float, text: str, **look: Any) -> None:
        """One line of text, its middle at the height ``y``."""
        size = look.setdefault("fontsize", SIZE)
        # From the baseline, which every font agrees on, and not from the extents of matplotlib's own font.
        self._axes.text(x, y + 0.36 * size, writable(text), va="baseline", **look)

    def on_background(self, x: float, y: float, text: str, **look: Any) -> None:
        """One line of text that hides what is drawn below it."""
        self.text(x, y, text, bbox={"facecolor": BACKGROUND, "edgecolor": "none", "pad": 1.5}, **look)

    def line(self, xs: Sequence[float], ys: Sequence[float], **look: Any) -> None:
        """A line through points."""
        self._axes.plot(xs, ys, clip_on=False, **look)

    def box(self, left: float, top: float, width: float, height: float, colour: str) -> None:
        """A filled rectangle."""
        self._axes.fill([left, left + width, left + width, left], [top, top, top + height, top + height], color=colour)

    def svg(self, name: str) -> str:
        """What was drawn."""
        return to_svg(self.figure, name)


def writable(text: str) -> str:
    """The text on one line, without what an SVG cannot carry."""
    return _UNWRITABLE.sub("\ufffd", re.sub(r"\s*[\n\r\t]\s*", " ", text))


def measure(text: str, size: float = SIZE, weight: str = "normal") -> float:
    """Width of a text in points, rather too much than too little: most fonts are narrower than the measured one."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    if not text:
        return 0.0
    text = writable(text)
    font = FontProperties(family="DejaVu Sans", size=size, weight=weight)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return float(width) + 0.4 * size * wide  # matplotlib has no such letter, and measures a box of 0.6


def wrap(text: str, width: float, size: float = SIZE, weight: str = "normal") -> list[str]:
    """The text in lines that are at most ``width`` points wide, broken within a word only where one is wider."""
    lines = [""]
    for word in writable(text).split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if measure(longer, size, weight) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for character in word:
            if lines[-1] and measure(lines[-1] + character, size, weight) > width:
                lines.append("")
            lines[-1] += character
    return lines


def number_series(names: Sequence[str]) -> dict[str, int]:
    """A number from 0 for each distinct name, in order of appearance.

    Raises:
        ValueError: They are more than can be told apart.
    """
    found = {name: number for number, name in enumerate(dict.fromkeys(names))}
    if len(found) > len(SERIES):
        raise ValueError(f"got {len(found)} series, expected at most {len(SERIES)}: draw more than one figure")
    return found


def legend_places(names: Sequence[str]) -> tuple[list[tuple[float, float]], float]:
    """Where each entry of a legend begins, wrapping as text does, and the height of all."""
    places, x, y = [], 0.0, 0.0
    for name in names:
        width = 26 + measure(name, SMALL) + 14
        if x and x + width > WIDTH:
            x, y = 0.0, y + _LEGEND_LINE
        places.append((x, y))
        x += width
    return places, y + _LEGEND_LINE + 10


def draw_legend(paper: Paper, top: float, series: dict[str, int], looks: Sequence[dict[str, Any]]) -> None:
    """A sample and the name of each series."""
    for (x, y), (name, number) in zip(legend_places(list(series))[0], series.items(), strict=True):
        middle = top + y + _LEGEND_LINE / 2
        paper.line([x + 2, x + 11, x + 20], [middle] * 3, color=SERIES[number], markevery=[1], **looks[number])
        paper.text(x + 26, middle, name, fontsize=SMALL, color=INK)
