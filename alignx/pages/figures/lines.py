"""Quantities over steps or sizes: small panels one below the other, or one panel with shaded intervals."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from alignx.pages.figures.paper import (
    DASHES,
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
from alignx.pages.figures.svg import MUTED, SERIES, SIZE, SMALL, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEW = 12
"""Up to this many points of a line are marked, so that a line of one point is seen at all."""
_BETWEEN = 14.0
"""Points from one panel to the next."""
_TALL = 150.0
"""Points of height from which a panel has room for more ticks."""
_NEAREST = 1 / 20
"""Share of the width that labels of up to three digits are apart at least."""
_MARGIN = 10.0
"""Points at the right of a panel, for half of the last label below it."""


@dataclass(frozen=True)
class Line:
    """A quantity over x."""

    legend: str
    xs: Sequence[float]
    ys: Sequence[float]


@dataclass(frozen=True)
class Band(Line):
    """A quantity over x with its interval."""

    lows: Sequence[float]
    highs: Sequence[float]


@dataclass(frozen=True)
class Panel:
    """Lines that share their axes.

    Attributes:
        title: What is shown.
        ylabel: Its unit or meaning, written beside the title and not along the axis, where a phone has no room.
        xlabel: What it is shown over.
        lines: Drawn in order; lines of one legend look alike in all panels.
    """

    title: str
    ylabel: str
    xlabel: str
    lines: Sequence[Line]


def curves(panels: Sequence[Panel], *, name: str) -> str:
    """Panels one below the other, with one legend above them.

    Raises:
        ValueError: There is no panel or no point, the lengths of a line disagree, or the name is unsuitable.
    """
    return _draw(panels, name, height=104.0, log2=False)


def bands(series: Sequence[Band], *, name: str, xlabel: str, ylabel: str, log2: bool = False) -> str:
    """Lines with their shaded intervals.

    Args:
        series: Drawn in order.
        name: What the figure is called.
        xlabel: What x is.
        ylabel: What is shown.
        log2: Let a doubling of x have the same length everywhere; x is then above 0.

    Raises:
        ValueError: There is no series or no point, the lengths of one disagree, or the name is unsuitable.
    """
    return _draw([Panel(ylabel, "", xlabel, series)], name, height=210.0, log2=log2)


def _draw(panels: Sequence[Panel], name: str, height: float, log2: bool) -> str:
    lines = [line for panel in panels for line in panel.lines]
    if not lines or not all(panel.lines for panel in panels):
        raise ValueError(f"figure {name!r}: got a panel without a line or no panel, expected at least one line in each")
    for line in lines:
        _refuse_unlike_lengths(name, line)
        if log2 and min(line.xs) <= 0:
            raise ValueError(f"figure {name!r}: line {line.legend!r} has x = {min(line.xs)}, expected above 0 for log2")
    with drawing():
        return _Panels(panels, number_series([line.legend for line in lines]), height, log2).svg(name)


def _refuse_unlike_lengths(name: str, line: Line) -> None:
    lengths = [len(line.xs), len(line.ys)]
    if isinstance(line, Band):
        lengths += [len(line.lows), len(line.highs)]
    if len(set(lengths)) > 1 or not lengths[0]:
        raise ValueError(
            f"figure {name!r}: line {line.legend!r} has {' and '.join(map(str, lengths))} values, "
            "expected as many of each and at least one"
        )


class _Panels:
    """The layout: first every height, then the paper, then the drawing."""

    def __init__(self, panels: Sequence[Panel], series: dict[str, int], height: float, log2: bool) -> None:
        self.panels, self.series, self.height, self.log2 = panels, series, height, log2
        self.legend = legend_places(list(series))[1] if len(series) > 1 else 0.0

    def svg(self, name: str) -> str:
        tops = list(accumulate(map(self._panel_height, self.panels), initial=self.legend))
        paper = Paper(tops[-1] - _BETWEEN)
        if self.legend:
            draw_legend(paper, 0, self.series, [_look(number, marked=False) for number in range(len(SERIES))])
        plots = [self._plot(paper, panel, top) for panel, top in zip(self.panels, tops, strict=False)]
        left = max(measure(label, SMALL) for plot in plots for label in _labels_of_y(plot)) + 6
        for plot, panel in zip(plots, self.panels, strict=True):
            box = plot.get_position()
            plot.set_position((left / WIDTH, box.y0, (WIDTH - left - _MARGIN) / WIDTH, box.height))
            for number, text in enumerate(_below(panel)):
                y = (1 - box.y0) * paper.height + 27 + number * LEADING * SMALL
                paper.text((left + WIDTH - _MARGIN) / 2, y, text, ha="center", fontsize=SMALL, color=MUTED)
        return paper.svg(name)

    def _panel_height(self, panel: Panel) -> float:
        below = 22 + len(_below(panel)) * LEADING * SMALL
        return _head_height(panel) + self.height + below + _BETWEEN

    def _plot(self, paper: Paper, panel: Panel, top: float) -> "Axes":
        """The head and the lines of a panel; how far its left edge is from the paper's is settled later, for all."""
        for number, (text, look) in enumerate(_head(panel)):
            paper.text(0, top + (number + 0.5) * LEADING * SIZE, text, **look)
        axes = paper.plot(0, top + _head_height(panel), WIDTH, self.height)
        if self.log2:
            axes.set_xscale("log", base=2)
        for line in panel.lines:
            number = self.series[line.legend]
            if isinstance(line, Band):
                axes.fill_between(line.xs, line.lows, line.highs, color=SERIES[number], alpha=0.18, linewidth=0)
            axes.plot(line.xs, line.ys, color=SERIES[number], **_look(number, marked=len(line.xs) <= _FEW))
        axes.grid(axis="y")
        axes.spines["left"].set_visible(False)
        self._set_ticks(axes, panel)
        return axes

    def _set_ticks(self, axes: "Axes", panel: Panel) -> None:
        from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

        most = 5 if self.height < _TALL else 7
        ys = _inside(MaxNLocator(most, steps=[1, 2, 5, 10]).tick_values(*axes.get_ylim()), axes.get_ylim())
        axes.set_yticks(ys, written(ys))
        given = sorted({x for line in panel.lines for x in line.xs})
        if not self.log2 and _have_room(given):
            xs = given
        elif not self.log2:
            whole = all(float(x).is_integer() for x in given)
            xs = _inside(MaxNLocator(6, integer=whole).tick_values(*axes.get_xlim()), axes.get_xlim())
        elif len(given) <= 8 and all(after >= 1.8 * before for before, after in pairwise(given)):
            xs = given  # the sizes that were tried, where their labels have room
        else:
            xs = _inside(LogLocator(base=2, numticks=8).tick_values(*axes.get_xlim()), axes.get_xlim())
        axes.set_xticks(xs, written(xs))
        axes.xaxis.set_minor_locator(NullLocator())


def _have_room(xs: Sequence[float]) -> bool:
    """Whether the labels of a few given numbers would not touch each other."""
    return (
        len(xs) <= 8
        and len(written(xs)[-1]) <= 3
        and all(_NEAREST * (xs[-1] - xs[0]) <= after - before for before, after in pairwise(xs))
    )


def _inside(ticks: Iterable[float], limits: tuple[float, float]) -> list[float]:
    return [float(tick) for tick in ticks if limits[0] <= tick <= limits[1]]


def _labels_of_y(axes: "Axes") -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def _head_height(panel: Panel) -> float:
    return len(_head(panel)) * LEADING * SIZE + 6


def _head(panel: Panel) -> list[tuple[str, dict[str, Any]]]:
    """The lines above a panel, each with its look."""
    bold: dict[str, Any] = {"weight": "bold"}
    muted: dict[str, Any] = {"fontsize": SMALL, "color": MUTED}
    found = [(text, bold) for text in wrap(panel.title, WIDTH, weight="bold")]
    return found + [(text, muted) for text in wrap(panel.ylabel, WIDTH, SMALL) if text]


def _below(panel: Panel) -> list[str]:
    return wrap(panel.xlabel, WIDTH - 60, SMALL)


def _look(number: int, *, marked: bool) -> dict[str, Any]:
    look = {"linestyle": DASHES[number], "linewidth": 1.8 if marked else 1.5}
    return look | {"marker": MARKERS[number] if marked else "", "markersize": 4.5, "markeredgewidth": 0}


def written(ticks: Sequence[float]) -> list[str]:
    """Labels for ticks: thousands and millions by letter, and all with as many decimals as the one that needs most."""
    greatest = max(map(abs, ticks), default=0.0)
    unit, letter = (1e6, "M") if greatest >= 1e6 else (1e3, "k") if greatest >= 1e4 else (1.0, "")
    scaled = [tick / unit for tick in ticks]
    for decimals in range(5):
        if all(math.isclose(round(tick, decimals), tick, rel_tol=1e-9, abs_tol=1e-12) for tick in scaled):
            texts = [f"{tick:.{decimals}f}" for tick in scaled]
            break
    else:
        texts = [f"{tick:.3g}" for tick in scaled]
    return [text.replace("-", "−") + (letter if tick else "") for text, tick in zip(texts, ticks, strict=True)]
