"""Robustness: accuracy as the history grows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from alignx.evaluation.breakdown.history import Growth, Point
from alignx.evaluation.report.accuracies import percent
from alignx.evaluation.report.tallied import COLUMNS, READING, corrected, estimated, of_few, tallied
from alignx.intervals import Estimate
from alignx.pages import Block, Figure, Fold, Note, Paragraph, Row, Table, literal
from alignx.pages.figures import Band, bands

Paper: TypeAlias = Mapping[tuple[str, str], Mapping[int, float]]
"""Published accuracies in percent, by what the report calls policy and source, then by items of history."""

_AT_MOST = 5
"""Lines in one chart."""
_SHORT = 600
"""Letters of a note that a reader is shown without asking for it."""
_CHARTS = 4
"""Charts that a reader is shown without asking for them."""
_COLUMNS = ("policy, history: items", *COLUMNS)


def by_history(found: Sequence[Growth], *, name: str = "history", paper: Paper | None = None) -> list[Block]:
    """What more history adds: a chart for each source of history, and the numbers folded.

    Args:
        found: A series for each policy and source.
        name: Begins the names of the figures.
        paper: The published values, drawn as lines without an interval.
    """
    if not found:
        return []
    known = paper or {}
    together = enumerate(_together(found, known), start=1)
    charts = [
        (_chart(name, number, series, known), any(_lines(each, known) > 1 for each in series))
        for number, series in together
    ]
    points = [
        (f"{growth.policy}, {growth.source}: {point.items}", point) for growth in found for point in growth.points
    ]
    cautions = _cautions(found)
    long = [Paragraph(note.text) for note in cautions if len(note.text) > _SHORT]
    short: list[Block] = [note for note in cautions if len(note.text) <= _SHORT]
    if long:
        short.append(Note("Not every record was told what its label says; the numbers below say which, and how many."))
    numbers: list[Block] = [_table(points), *long, *_those_who_have(points)]
    return [*_most_telling(charts), *short, Fold(f"The same in numbers: {len(points)} rows", numbers)]


def _most_telling(charts: Sequence[tuple[Figure, bool]]) -> list[Block]:
    """All charts where they are few; else those beside the paper's, or the first, and the others folded."""
    if len(charts) <= _CHARTS:
        return [chart for chart, _ in charts]
    beside = [chart for chart, is_beside in charts if is_beside] or [chart for chart, _ in charts[:_CHARTS]]
    others = [chart for chart, _ in charts if chart not in beside]
    return [*beside, Fold(f"{len(others)} more charts", others)] if others else list(beside)


def _together(found: Sequence[Growth], paper: Paper) -> Iterator[Sequence[Growth]]:
    """The series of one source that have something to draw, as many as one chart can hold."""
    sources: dict[str, list[Growth]] = {}
    for growth in found:
        if _drawable(growth):
            sources.setdefault(growth.source, []).append(growth)
    for series in sources.values():
        chart: list[Growth] = []
        for growth in series:
            if sum(_lines(each, paper) for each in [*chart, growth]) > _AT_MOST:
                yield chart
                chart = []
            chart.append(growth)
        yield chart


def _lines(growth: Growth, paper: Paper) -> int:
    return 1 + ((growth.policy, growth.source) in paper)


def _drawable(growth: Growth) -> list[tuple[int, Estimate]]:
    """The lengths that some record really has; the label of another would be true of none."""
    return [(point.items, point.found.accuracy) for point in growth.points if point.full.n and point.found.accuracy]


def _cautions(found: Sequence[Growth]) -> list[Note]:
    """What is not what its label says."""
    short, unvaried = [], []
    for growth in found:
        called = f"{literal(growth.policy)}, {literal(growth.source)}"
        if counts := [f"{p.short} of {p.found.n} at {p.items}" for p in growth.points if p.short]:
            short.append(f"{called}: {', '.join(counts)}")
        if count := max(point.unvaried for point in growth.points):
            unvaried.append(f"{called}: {count}")
    notes = []
    if short:
        said = (
            "Some records were told fewer items than the label says: they have no more, or no more fitted. They count"
        )
        notes.append(Note(f"{said} in the accuracy; a length that no record has is not drawn. {'; '.join(short)}."))
    if unvaried:
        said = "Some records were told a profile that came with them, or the target's own, the same at every length."
        notes.append(Note(f"{said} {'; '.join(unvaried)}."))
    return notes


def _chart(name: str, number: int, found: Sequence[Growth], paper: Paper) -> Figure:
    name = f"{name}-{number}"
    source = found[0].source
    series = [_band(growth) for growth in found]
    printed = {growth.policy: values for growth in found if (values := paper.get((growth.policy, source)))}
    for policy, values in printed.items():
        ys = list(values.values())
        series.append(Band(f"{policy}, published", list(values), ys, ys, ys))
    svg = bands(series, name=name, xlabel="history items asked for", ylabel=f"{source}: alignment accuracy, %")
    told = "; ".join(
        f"{growth.policy}: {', '.join(f'{percent(each.mean)} % with {items}' for items, each in _drawable(growth))}"
        for growth in found
    )
    for policy, values in printed.items():
        told += f"; {policy}, published: {', '.join(f'{value:.1f} % with {items}' for items, value in values.items())}"
    caption = f"Accuracy as the history grows, {literal(source)}, over all records whatever they have."
    if number == 1:
        caption += (
            " The bands are 95 % intervals of each length by itself. All are of the same records, so whether one is "
            "better than another is in the column of differences, not in whether the bands overlap."
        )
    if printed:
        caption += " The published lines come without intervals."
    return Figure(name, svg, f"{source}: {told}", caption)


def _band(growth: Growth) -> Band:
    points = _drawable(growth)
    return Band(
        growth.policy,
        [items for items, _ in points],
        [100 * each.mean for _, each in points],
        [100 * each.low for _, each in points],
        [100 * each.high for _, each in points],
    )


def _table(points: Sequence[tuple[str, Point]]) -> Table:
    differences = [point.difference for _, point in points]
    rows = [
        Row((called, *tallied(point.found), str(point.full.n), *estimated(point.difference, signed=True), p))
        for (called, point), p in zip(points, corrected(differences), strict=True)
    ]
    columns = (*_COLUMNS, "have that many", "from the shortest", "95 % interval", "p, corrected")
    made = sum(difference is not None for difference in differences)
    caption = (
        f"{READING} From the shortest: right at this length minus right at the shortest, in points, over the same "
        f"records; p is corrected for {made} such differences (Holm).{of_few(p.found.clusters for _, p in points)}"
    )
    return Table(columns, rows, caption)


def _those_who_have(points: Sequence[tuple[str, Point]]) -> list[Table]:
    """The lengths that some records have and others have not, over those that have."""
    mixed = [(called, point.full) for called, point in points if point.full.n and point.short]
    if not mixed:
        return []
    caption = (
        "Only the records that were told as many items as the label says. They may differ from the others in more than "
        f"that, so these rows are not to be compared with each other.{of_few(full.clusters for _, full in mixed)}"
    )
    return [Table(_COLUMNS, [Row((called, *tallied(full))) for called, full in mixed], caption)]
