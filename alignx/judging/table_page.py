"""The page of several comparisons side by side."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from alignx import manifest
from alignx.intervals import Estimate
from alignx.judging.page import CAVEAT, interval, percent
from alignx.pages import Block, Definitions, Figure, Note, Page, Section, Table, literal

if TYPE_CHECKING:
    from alignx.judging.table import Entry


def table_page(rows: Sequence["Entry"], corrected: Sequence[float], judge: str) -> Page:
    """The page.

    Args:
        rows: Comparisons.
        corrected: P-value of each.
        judge: Its model.
    """
    cells = [
        (
            f"{one.candidate} against {one.baseline}",
            one.benchmark,
            f"{one.count(lambda _: True):,}",
            f"{one.count(lambda pair: pair.verdict is None):,}",
            *_cells(one.win_rate),
            *_cells(one.decided)[:1],
            "" if one.published is None else f"{one.published:.2f}",
            *_cells(one.consistency)[:1],
            "–" if math.isnan(p) else f"{p:.2g}",
        )
        for one, p in zip(rows, corrected, strict=True)
    ]
    columns = (
        "comparison",
        "benchmark",
        "pairs",
        "unjudged",
        "ties as half, %",
        "95 % interval",
        "no ties, %",
        "paper, %",
        "same both ways, %",
        "p",
    )
    caption = (
        "p: of “neither is better”, corrected for the number of rows (Holm). A benchmark of several files is the mean "
        "of their means."
    )
    blocks: list[Block] = [Table(columns, cells, caption, "llrrrrrrrr"), _forest(rows)]
    said = dict.fromkeys(rate.note for one in rows if (rate := one.win_rate) is not None and rate.note)
    notes = [Note(f"Some rows: {literal(note)}.") for note in said]
    notes += [Note(CAVEAT)] if any(one.published is not None for one in rows) else []
    return Page(
        title="Win rates",
        lead=f"{len(rows)} comparisons, judged by {literal(judge)}.",
        sections=[
            Section("Win rates", [*blocks, *notes]),
            Section("How to read the numbers", [Definitions([("same both ways", _SAME)])]),
        ],
        footer=f"Made by alignx {manifest.versions()['alignx']}.",
    )


_SAME = "Share of the pairs judged in both orders that got the same verdict; each comparison's own report says more."


def _forest(rows: Sequence["Entry"]) -> Figure:
    from alignx.pages.figures import Interval, Reference, intervals

    drawn = [
        Interval(one.benchmark, f"{one.candidate} against {one.baseline}", 100 * r.mean, 100 * r.low, 100 * r.high)
        for one in rows
        if (r := one.win_rate) is not None
    ]
    if not drawn:
        drawn = [Interval("nothing was judged", "", 50.0, 0.0, 100.0)]
    alt = "; ".join(f"{row.group}, {row.label}: {row.estimate:.1f} % [{row.low:.1f}, {row.high:.1f}]" for row in drawn)
    half = [Reference(50.0, "neither")]
    svg = intervals(drawn, name="win-rates", xlabel="win rate, ties as half, %", reference_lines=half)
    return Figure("win-rates", svg, alt, "Win rates, ties as half, with their 95 % intervals.")


def _cells(one: Estimate | None) -> tuple[str, str]:
    return ("–", "–") if one is None else (percent(one.mean), interval(one))
