"""Robustness: accuracy as the history grows."""

from collections.abc import Iterator, Sequence

from alignx.evaluation.breakdown.history import Growth, Point
from alignx.evaluation.report.accuracies import percent
from alignx.evaluation.report.tallied import COLUMNS, READING, corrected, estimated, of_few, tallied
from alignx.intervals import Estimate
from alignx.pages import Block, Figure, Note, Row, Table, literal
from alignx.pages.figures import Band, bands

_AT_MOST = 5
"""Policies in one chart."""
_COLUMNS = ("policy, history: items", *COLUMNS)


def by_history(found: Sequence[Growth], *, name: str = "history") -> list[Block]:
    """What more history adds: a chart for each source of history, and a table.

    Args:
        found: A series for each policy and source.
        name: Begins the names of the figures.
    """
    if not found:
        return []
    charts = [_chart(f"{name}-{number}", series) for number, series in enumerate(_together(found), start=1)]
    points = [
        (f"{growth.policy}, {growth.source}: {point.items}", point) for growth in found for point in growth.points
    ]
    return [*_cautions(found), *charts, _table(points), *_those_who_have(points)]


def _together(found: Sequence[Growth]) -> Iterator[Sequence[Growth]]:
    """The series of one source that have something to draw, as many as one chart can hold."""
    sources: dict[str, list[Growth]] = {}
    for growth in found:
        if _drawable(growth):
            sources.setdefault(growth.source, []).append(growth)
    for series in sources.values():
        for start in range(0, len(series), _AT_MOST):
            yield series[start : start + _AT_MOST]


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


def _chart(name: str, found: Sequence[Growth]) -> Figure:
    source = found[0].source
    series = [_band(growth) for growth in found]
    svg = bands(series, name=name, xlabel="history items asked for", ylabel=f"{source}: alignment accuracy, %")
    told = "; ".join(
        f"{growth.policy}: {', '.join(f'{percent(each.mean)} % with {items}' for items, each in _drawable(growth))}"
        for growth in found
    )
    caption = (
        f"Accuracy as the history grows, {literal(source)}, over all records whatever they have; the bands are 95 % "
        "intervals of each length by itself. The lengths are about the same records, so whether one is better than "
        "another is in the column of differences, not in whether the bands overlap."
    )
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
