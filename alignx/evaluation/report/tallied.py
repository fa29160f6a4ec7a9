"""How a tally stands in a table and in a chart."""

import math
from collections.abc import Iterable, Sequence

from alignx.evaluation.breakdown import Tally
from alignx.evaluation.report.accuracies import interval, percent
from alignx.intervals import FEW_CLUSTERS, Estimate, holm, p_value
from alignx.pages.figures import Interval

COLUMNS = ("accuracy", "95 % interval", "n", "clusters", "ties")
"""Headings of :func:`tallied`."""
READING = (
    "Accuracy in %: how often training moved the model towards what the user prefers, strictly. Clusters are users "
    "where the records name them, else distinct targets."
)


def estimated(estimate: Estimate | None, *, signed: bool = False) -> tuple[str, str]:
    """A mean and its interval as cells, in percent or points; dashes where there is nothing."""
    if estimate is None:
        return "–", "–"
    mean = f"{100 * estimate.mean:+.1f}" if signed else percent(estimate.mean)
    return mean, interval(estimate, signed=signed)


def tallied(found: Tally) -> tuple[str, ...]:
    """The cells under :data:`COLUMNS`."""
    return (*estimated(found.accuracy), str(found.n), str(found.clusters), str(found.ties))


def drawn(label: str, group: str, estimate: Estimate | None, series: str = "") -> list[Interval]:
    """The row of a chart in percent; none where there is nothing."""
    if estimate is None:
        return []
    return [Interval(label, group, 100 * estimate.mean, 100 * estimate.low, 100 * estimate.high, series)]


def corrected(estimates: Sequence[Estimate | None], null: float = 0.0) -> list[str]:
    """Cells with each p-value of "the mean is ``null``", corrected for their number; dashes where there is none."""
    known = [math.nan if each is None else p_value(each, null) for each in estimates]
    made = iter(holm(p for p, each in zip(known, estimates, strict=True) if each is not None))
    found = [math.nan if each is None else next(made) for each in estimates]
    return ["–" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}" for p in found]


def of_few(clusters: Iterable[int]) -> str:
    """What to say when an interval is too narrow; empty when none is."""
    few = sum(0 < count < FEW_CLUSTERS for count in clusters)
    return f" {few} of the rows have fewer than {FEW_CLUSTERS} clusters: their intervals are too narrow." if few else ""


def counted(counts: dict[str, int]) -> str:
    """The counts that are not 0, each with what it counts; empty when all are 0."""
    return "; ".join(f"{count} {what}" for what, count in counts.items() if count)
