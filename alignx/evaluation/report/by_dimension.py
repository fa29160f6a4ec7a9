"""Accuracy by preference dimension: a chart by group, the numbers folded away."""

import re
from collections.abc import Sequence

from alignx.evaluation.breakdown.dimensions import ByDimension, OneDimension
from alignx.evaluation.report.tallied import COLUMNS, READING, corrected, counted, drawn, of_few, tallied
from alignx.intervals import FEW_CLUSTERS
from alignx.pages import Block, Figure, Fold, Paragraph, Row, Table, literal
from alignx.pages.figures import Reference, intervals


def by_dimension(found: ByDimension, *, name: str = "dimensions", least: int = FEW_CLUSTERS) -> list[Block]:
    """What a policy does in each dimension, for one row of the report.

    Args:
        found: What was counted.
        name: What the figure is called.
        least: Dimensions of fewer clusters are not drawn; they stand in a table of their own.
    """
    enough = _ordered([each for each in found.dimensions if each.either.clusters >= least])
    scarce = _ordered([each for each in found.dimensions if 0 < each.either.clusters < least])
    never = [each for each in found.dimensions if not each.either.n]
    blocks: list[Block] = [Paragraph(_introduction(found, len(enough), least))]
    if enough:
        title = f"The {len(enough)} dimensions in numbers, each pole apart"
        blocks += [_chart(name, enough), Fold(title, [_table(enough, tested=True)])]
    if scarce:
        title = f"The {len(scarce)} dimensions with targets of fewer than {least} clusters"
        blocks.append(Fold(title, [_table(scarce, tested=False)]))
    if never:
        names = "; ".join(literal(_poles(each)) for each in never)
        blocks.append(Fold(f"The {len(never)} dimensions in which no target has a pole", [Paragraph(f"{names}.")]))
    return blocks


def _introduction(found: ByDimension, shown: int, least: int) -> str:
    left_out = counted(
        {
            "records have no direction and are in no dimension": found.undirected,
            "have a direction without any pole": found.neutral,
        }
    )
    said = [
        f"{found.n} records count in every dimension in which their target has a pole, so the rows overlap.",
        f"{left_out[0].upper()}{left_out[1:]}." if left_out else "No record was left out.",
        f"{shown} of {len(found.dimensions)} dimensions have targets of at least {least} clusters and are drawn.",
    ]
    if shown > 1:
        said.append(
            f"Of {shown} such intervals, about {0.05 * shown:.1f} miss the true value by chance; the p in the table is "
            "corrected for their number."
        )
    return " ".join(said)


def _ordered(dimensions: Sequence[OneDimension]) -> list[OneDimension]:
    """By group of the taxonomy, in its order; within a group the most accurate first."""
    groups: dict[str, list[OneDimension]] = {}
    for each in dimensions:
        groups.setdefault(each.dimension.group, []).append(each)
    return [each for group in groups.values() for each in sorted(group, key=_least_accurate_last)]


def _least_accurate_last(each: OneDimension) -> tuple[float, int]:
    return (-each.either.accuracy.mean if each.either.accuracy else 0.0, each.index)


def _chart(name: str, dimensions: Sequence[OneDimension]) -> Figure:
    rows = [row for each in dimensions for row in drawn(_short(each), _group(each), each.either.accuracy)]
    svg = intervals(rows, name=name, xlabel="alignment accuracy, %", reference_lines=[Reference(50, "chance")])
    told = "; ".join(f"{row.group}, {row.label}: {row.estimate:.1f} %" for row in rows)
    caption = (
        "Accuracy by dimension of the taxonomy, with 95 % intervals. A dimension is called by its positive pole, "
        "without what stands in brackets; records of both poles count."
    )
    return Figure(name, svg, told, caption)


def _table(dimensions: Sequence[OneDimension], *, tested: bool) -> Table:
    """Three rows a dimension; ``tested``: with a column for whether its accuracy differs from chance."""
    rows: list[Row] = []
    p_values = corrected([each.either.accuracy for each in dimensions], 0.5)
    for each, p in zip(dimensions, p_values, strict=True):
        group = _group(each)
        rows.append(Row((_poles(each), *tallied(each.either), *[p] * tested, group), "strong"))
        rows.append(Row((each.dimension.positive, *tallied(each.positive), *[""] * tested, group)))
        rows.append(Row((each.dimension.negative, *tallied(each.negative), *[""] * tested, group)))
    said = f" p is that of 50 %, corrected for {len(dimensions)} dimensions (Holm)." if tested else ""
    few = of_few(tally.clusters for each in dimensions for tally in (each.either, each.positive, each.negative))
    columns = ("poles of the target", *COLUMNS, *["p, corrected"] * tested, "group")
    return Table(columns, rows, f"{READING}{said}{few}")


def _poles(each: OneDimension) -> str:
    return f"{each.dimension.positive} / {each.dimension.negative}"


def _short(each: OneDimension) -> str:
    """The positive pole without what stands in brackets; whole, where nothing else is left."""
    return re.sub(r"\s*\([^()]*\)", "", each.dimension.positive).strip() or each.dimension.positive


def _group(each: OneDimension) -> str:
    group = each.dimension.group.replace("_", " ")
    return f"{group[:1].upper()}{group[1:]}"
