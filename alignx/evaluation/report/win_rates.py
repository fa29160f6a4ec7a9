"""Win rates that a judge gave, as blocks of a page: on ``alignx judge table``'s own, and in the report."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from alignx import manifest
from alignx.errors import DataError
from alignx.pages import Block, Definitions, Figure, Fold, Note, Paragraph, Table, literal

WIN_RATES = "win-rates"
"""Name of the files that ``alignx judge table`` writes, without their endings."""

CAVEAT = (
    "The paper's judge was gpt-4-turbo-2024-04-09, since shut down. The paper mentions no second judgement with the "
    "order changed, drops ties from the denominator, judged 400 cases a benchmark and prints no intervals; compare its "
    "figure with the rate without ties, and with caution."
)


def win_rates(folder: Path) -> list[Block]:
    """A finished ``alignx judge table``, as blocks of the report; one line where there is none yet.

    Args:
        folder: That it wrote.

    Raises:
        DataError: The folder holds something else, or was changed since it was written.
    """
    path = folder / f"{WIN_RATES}.json"
    if not path.is_file():
        return [Paragraph(f"Not there yet: {literal(str(folder))} has no {WIN_RATES}.json (`alignx judge table`).")]
    made = manifest.read(folder)
    if path.name not in made.files or not manifest.is_intact(folder, made):
        raise DataError(f"{folder}: was changed since it was written; make it again with `alignx judge table`")
    found = json.loads(path.read_text(encoding="utf-8"))
    judge = literal(str(found["judge"]["judge_model"]))
    return [
        Paragraph(
            f"Which of two responses suits the user better, judged by {judge}. Each comparison's own page says more of "
            "how far that judge can be believed; they are named below."
        ),
        *side_by_side(found["rows"]),
    ]


def side_by_side(rows: Sequence[Mapping[str, Any]]) -> list[Block]:
    """The table, the plot and their notes.

    Args:
        rows: Comparisons as ``win-rates.json`` has them.
    """
    published = any(row["published"] is not None for row in rows)
    columns = [
        "comparison",
        "benchmark",
        "pairs",
        "unjudged",
        "ties as half, %",
        "95 % interval",
        "no ties, %",
        *(["paper, %"] if published else []),
        "same both ways, %",
        "p",
    ]
    cells = [
        (
            _comparison(row),
            row["benchmark"],
            f"{row['pairs']:,}",
            f"{row['unjudged']:,}",
            *_cells(row["win_rate"]),
            *_cells(row["win_rate_without_ties"])[:1],
            *(["" if row["published"] is None else f"{row['published']:.2f}"] if published else []),
            *_cells(row["position_consistency"])[:1],
            "–" if row["p_corrected"] is None else f"{row['p_corrected']:.2g}",
        )
        for row in rows
    ]
    caption = (
        "p: of “neither is better”, corrected for the number of rows (Holm). A benchmark of several files is the mean "
        "of their means. Same both ways: share of the pairs judged in both orders that got the same verdict."
    )
    said = dict.fromkeys(rate["note"] for row in rows if (rate := row["win_rate"]) is not None and rate["note"])
    return [
        Table(columns, cells, caption, "ll" + "r" * (len(columns) - 2)),
        _forest(rows),
        *(Note(f"Some rows: {literal(note)}.") for note in said),
        *(Note(f"{literal(where)}: {literal(doubt)}") for where, doubt in _doubts(rows)),
        *([Note(CAVEAT)] if published else []),
        Fold("Where each comparison's own page is", [Definitions(_reports(rows))]),
    ]


def _doubts(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for row in rows:
        yield from ((f"{_comparison(row)}, {row['benchmark']}", doubt) for doubt in row["doubts"])


def _reports(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    return [
        (f"{_comparison(row)}, {row['benchmark']}", "; ".join(f"`{path}`" for path in row["reports"])) for row in rows
    ]


def _forest(rows: Sequence[Mapping[str, Any]]) -> Figure:
    from alignx.pages.figures import Interval, Reference, intervals

    drawn = [
        Interval(row["benchmark"], _comparison(row), *(100 * rate[name] for name in ("mean", "low", "high")))
        for row in rows
        if (rate := row["win_rate"]) is not None and math.isfinite(rate["mean"])
    ]
    if not drawn:
        drawn = [Interval("nothing was judged", "", 50.0, 0.0, 100.0)]
    alt = "; ".join(f"{row.group}, {row.label}: {row.estimate:.1f} % [{row.low:.1f}, {row.high:.1f}]" for row in drawn)
    half = [Reference(50.0, "neither")]
    svg = intervals(drawn, name="win-rates", xlabel="win rate, ties as half, %", reference_lines=half)
    return Figure("win-rates", svg, alt, "Win rates, ties as half, with their 95 % intervals.")


def _comparison(row: Mapping[str, Any]) -> str:
    return f"{row['candidate']} against {row['baseline']}"


def _cells(rate: Mapping[str, Any] | None) -> tuple[str, str]:
    if rate is None:
        return "–", "–"
    return f"{100 * rate['mean']:.1f}", f"[{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"
