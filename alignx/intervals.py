"""The project's one estimator of a mean and its uncertainty: clustered, no seed, no resampling."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

FEW_CLUSTERS = 30
"""Below this many clusters a clustered interval is too narrow, and says so."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int
    clusters: int
    standard_error: float
    note: str = ""

    def __str__(self) -> str:
        """As percentages: ``61.2 [57.3, 65.1] (n = 600, 237 clusters)``."""
        note = f"; {self.note}" if self.note else ""
        interval = f"[{100 * self.low:.2f}, {100 * self.high:.2f}]"
        return f"{100 * self.mean:.2f} % {interval} (n = {self.n}, {self.clusters} clusters{note})"

    def as_dict(self) -> dict[str, Any]:
        """For JSON, where what is not a finite number is null."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }


def clustered_mean(
    values: Sequence[float], clusters: Sequence[str], bounds: tuple[float, float] | None = (0.0, 1.0)
) -> Estimate:
    """Mean of values whose observations are alike within clusters, with a 95 % interval.

    The variance is the cluster-robust one, ``G/(G−1) · Σ_g (Σ_{i∈g} (y_i − ȳ))² / n²``, and the quantile Student's
    t with G − 1 degrees of freedom (Cameron & Miller 2015). When all values are equal that variance is zero and says
    nothing; within ``bounds`` the interval is then the exact one for G of G clusters (Clopper & Pearson 1934).

    Args:
        values: One an observation.
        clusters: The cluster of each: the user, or the distinct target.
        bounds: What a mean can be at all; None for a difference.

    Raises:
        ValueError: There are no values, or the two lists differ in length.
    """
    if not values or len(values) != len(clusters):
        raise ValueError(
            f"got {len(values)} values and {len(clusters)} clusters, expected as many of each and at least one"
        )
    n, mean = len(values), math.fsum(values) / len(values)
    residuals: dict[str, list[float]] = defaultdict(list)
    for value, cluster in zip(values, clusters, strict=True):
        residuals[cluster].append(value - mean)
    count = len(residuals)
    note = f"fewer than {FEW_CLUSTERS} clusters: the interval is too narrow" if count < FEW_CLUSTERS else ""
    if count == 1:
        low, high = bounds or (-math.inf, math.inf)
        return Estimate(mean, low, high, n, 1, math.nan, "one cluster: nothing can be said about other users")
    variance = count / (count - 1) * math.fsum(math.fsum(group) ** 2 for group in residuals.values()) / n**2
    error = math.sqrt(variance)
    if bounds is not None and mean in bounds:
        least, most = bounds
        reach = (most - least) * (1 - 0.025 ** (1 / count))
        low, high = (least, least + reach) if mean == least else (most - reach, most)
        return Estimate(mean, low, high, n, count, error, note)
    if error == 0:
        note = "; ".join(filter(None, (note, "every cluster has the same mean: the interval says nothing")))
    half = _t_quantile(count - 1) * error
    low, high = mean - half, mean + half
    if bounds is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return Estimate(mean, low, high, n, count, error, note)


def _t_quantile(degrees: int) -> float:
    """The 97.5 % quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.975))
