"""The project's one estimator of a mean and its uncertainty: clustered, no seed, no resampling; and its comparisons.

Every interval and p-value is Student's t with G − 1 degrees of freedom, G the number of clusters, on the cluster-robust
standard error (Cameron & Miller 2015, "A practitioner's guide to cluster-robust inference", J. Human Resources 50).

A mean that has bounds, such as a share, gets Wilson's interval in place of mean ± t · error: the error belongs to the
true mean μ, not to the one that was found, and is taken proportional to √((μ − least)(most − μ)). It is the usual
Wilson interval with the effective number of items in place of n (Wilson 1927, JASA 22; recommended for clustered
samples by Franco, Little, Louis & Slud 2019, J. Survey Statistics and Methodology 7). The symmetric interval misses
high shares of few clusters too often: at a true share of 0.9 it covered 89 to 94 % with 30 clusters and 92 to 95 % with
100, whatever the correction of variance or degrees of freedom, because the error is smallest just when the mean came
out too high. ``tests/test_coverage.py`` measures both.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

FEW_CLUSTERS = 30
"""Below this many clusters a clustered interval is too narrow, and says so."""

Bounds = tuple[float, float]


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
    bounds: Bounds | None = field(default=None, repr=False)
    """What the mean can be at all; None for a difference."""

    def __str__(self) -> str:
        """As percentages: ``61.20 % [57.24, 65.02] (n = 600, 237 clusters)``."""
        note = f"; {self.note}" if self.note else ""
        interval = f"[{100 * self.low:.2f}, {100 * self.high:.2f}]"
        return f"{100 * self.mean:.2f} % {interval} (n = {self.n}, {self.clusters} clusters{note})"

    def as_dict(self) -> dict[str, Any]:
        """What was found, for JSON, where what is not a finite number is null."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
            if name != "bounds"
        }


def clustered_mean(values: Sequence[float], clusters: Sequence[str], bounds: Bounds | None = (0.0, 1.0)) -> Estimate:
    """Mean of values whose observations are alike within clusters, with a 95 % interval.

    The variance is the cluster-robust one, ``G/(G−1) · Σ_g (Σ_{i∈g} (y_i − ȳ))² / n²``. When all values are equal it is
    zero and says nothing; within ``bounds`` the interval is then the exact one for G of G clusters (Clopper & Pearson
    1934). A paired difference is the mean of the pairs' differences with ``bounds=None``.

    Args:
        values: One an observation.
        clusters: The cluster of each: the user, or the distinct target.
        bounds: What a mean can be at all, such as 0 and 1 for a share; None for a difference.

    Raises:
        ValueError: There are no values, the lists differ in length, or the mean is outside its bounds.
    """
    _check_lengths(values, clusters)
    n, mean, sums = _residuals(values, clusters)
    count = len(sums)
    error = math.nan if count == 1 else math.sqrt(count / (count - 1) * math.fsum(s**2 for s in sums.values()) / n**2)
    return _estimate(mean, error, n, count, count, bounds)


def macro_mean(
    values: Sequence[float], clusters: Sequence[str], parts: Sequence[str], bounds: Bounds | None = (0.0, 1.0)
) -> Estimate:
    """Mean of the means of K parts, each counting alike whatever its size, with a 95 % interval.

    Each value weighs ``1/(K · n_k)``, n_k being the size of its part. A cluster g adds ``u_g = Σ_k √(G_k/(G_k−1)) ·
    Σ_{i∈g∩k} (y_i − ȳ_k) / (K · n_k)`` to the error, and the variance is ``Σ_g u_g²``: of parts that share no cluster
    that is ``Σ_k V_k / K²`` with V_k the clustered variance of part k alone; parts that share clusters bring their
    covariance in, which is why it cannot be put together from the parts' estimates. Residuals are from the part's mean:
    the parts are fixed, so how far they lie apart is no error of their average.

    Args:
        values: One an observation.
        clusters: The cluster of each; one cluster may be in several parts.
        parts: The part of each, such as P-Soups' three dimensions.
        bounds: As for :func:`clustered_mean`.

    Raises:
        ValueError: There are no values, the lists differ in length, or the mean is outside its bounds.
    """
    _check_lengths(values, clusters, parts)
    members: dict[str, list[int]] = defaultdict(list)
    for index, part in enumerate(parts):
        members[part].append(index)
    means, fewest = [], len(values)
    errors: dict[str, list[float]] = defaultdict(list)
    for indices in members.values():
        n, mean, sums = _residuals([values[i] for i in indices], [clusters[i] for i in indices])
        means.append(mean)
        fewest = min(fewest, len(sums))
        scale = math.sqrt(len(sums) / max(len(sums) - 1, 1)) / (len(members) * n)
        for cluster, total in sums.items():
            errors[cluster].append(scale * total)
    error = math.nan if fewest == 1 else math.sqrt(math.fsum(math.fsum(e) ** 2 for e in errors.values()))
    return _estimate(math.fsum(means) / len(means), error, len(values), len(errors), fewest, bounds)


def p_value(estimate: Estimate, null: float = 0.0) -> float:
    """Two-sided p-value of "the true mean is ``null``": below 0.05 exactly where the interval leaves ``null`` out.

    Nan where the interval says nothing: one cluster, or no two clusters that differ within the bounds.

    Raises:
        ValueError: ``null`` is not within the bounds, where no test is needed.
    """
    error, bounds = estimate.standard_error, estimate.bounds
    if bounds is not None and not bounds[0] < null < bounds[1]:
        raise ValueError(f"null is {null}, expected a mean between {bounds[0]} and {bounds[1]}, these excluded")
    if math.isnan(error):
        return math.nan
    if bounds is not None and estimate.mean in bounds:
        share = (null - bounds[0]) / (bounds[1] - bounds[0])
        return min(1.0, 2 * (1 - share if estimate.mean == bounds[0] else share) ** estimate.clusters)
    if bounds is not None:
        error *= math.sqrt(_spread(null, bounds) / _spread(estimate.mean, bounds))
    if error == 0:
        return math.nan
    from scipy.special import stdtr

    return float(2 * stdtr(estimate.clusters - 1, -abs(estimate.mean - null) / error))


def holm(p_values: Iterable[float]) -> list[float]:
    """P-values of several comparisons corrected for their number, in the order given (Holm 1979, Scand. J. Stat. 6).

    Calling those below 0.05 real is wrong about any of them at most once in twenty times, however they depend on each
    other. A comparison without a p-value (nan) stays without one and still counts as made.

    Raises:
        ValueError: A p-value is not between 0 and 1.
    """
    found = list(p_values)
    if wrong := [p for p in found if not (math.isnan(p) or 0 <= p <= 1)]:
        raise ValueError(f"got {wrong[0]}, expected p-values between 0 and 1")
    adjusted, largest = [math.nan] * len(found), 0.0
    for rank, index in enumerate(sorted((i for i, p in enumerate(found) if not math.isnan(p)), key=found.__getitem__)):
        largest = max(largest, min(1.0, (len(found) - rank) * found[index]))
        adjusted[index] = largest
    return adjusted


def smallest_difference(estimate: Estimate) -> float:
    """The smallest difference in the mean that data like these show four times in five, in the mean's own unit.

    ``(t_0.975 + t_0.8) · standard error``: a true mean so far from the one tested against is found with 80 % power at
    5 % two-sided (Bloom 1995, Evaluation Review 19). It says what so many items and clusters, as alike as they were
    found to be, can show; it says nothing of whether the difference found is real, and uses its size nowhere. For a
    share near its bounds it is rough, as the error is not the same on both sides. Nan where no error is known.
    """
    if not estimate.standard_error > 0:
        return math.nan
    degrees = estimate.clusters - 1
    return (_t_quantile(degrees, 0.975) + _t_quantile(degrees, 0.8)) * estimate.standard_error


def _check_lengths(values: Sequence[float], *labels: Sequence[str]) -> None:
    names = ("clusters", "parts")
    if not values or any(len(values) != len(each) for each in labels):
        counts = " and ".join(f"{len(each)} {name}" for name, each in zip(names, labels, strict=False))
        raise ValueError(f"got {len(values)} values and {counts}, expected as many of each and at least one")


def _residuals(values: Sequence[float], clusters: Sequence[str]) -> tuple[int, float, dict[str, float]]:
    """How many values, their mean, and each cluster's sum of differences from it."""
    n, mean = len(values), math.fsum(values) / len(values)
    residuals: dict[str, list[float]] = defaultdict(list)
    for value, cluster in zip(values, clusters, strict=True):
        residuals[cluster].append(value - mean)
    return n, mean, {cluster: math.fsum(group) for cluster, group in residuals.items()}


def _estimate(mean: float, error: float, n: int, count: int, fewest: int, bounds: Bounds | None) -> Estimate:
    """A mean and its standard error with their interval; ``fewest``: clusters of the part that has least."""
    if bounds is not None and not bounds[0] <= mean <= bounds[1]:
        raise ValueError(f"the mean is {mean}, expected {bounds[0]} to {bounds[1]}; bounds=None is for differences")
    if fewest == 1:
        low, high = bounds or (-math.inf, math.inf)
        where = "one cluster" if count == 1 else "a part has one cluster"
        return Estimate(mean, low, high, n, count, math.nan, f"{where}: nothing can be said about other users", bounds)
    where = "" if fewest == count else "a part has "
    notes = [f"{where}fewer than {FEW_CLUSTERS} clusters: the interval is too narrow"] * (fewest < FEW_CLUSTERS)
    if bounds is not None and mean in bounds:
        reach = (bounds[1] - bounds[0]) * (1 - 0.025 ** (1 / count))
        low, high = (mean, mean + reach) if mean == bounds[0] else (mean - reach, mean)
        return Estimate(mean, low, high, n, count, error, "; ".join(notes), bounds)
    if error == 0:
        notes.append("every cluster has the same mean: the interval says nothing")
    half = _t_quantile(count - 1, 0.975) * error
    low, high = (mean - half, mean + half) if bounds is None else _wilson(mean, half, bounds)
    return Estimate(mean, low, high, n, count, error, "; ".join(notes), bounds)


def _wilson(mean: float, half: float, bounds: Bounds) -> Bounds:
    """The means μ with ``|mean − μ| ≤ half · √(spread(μ) / spread(mean))``; ``half``: t times the standard error."""
    least, width = bounds[0], bounds[1] - bounds[0]
    share = (mean - least) / width
    inflation = half**2 / _spread(mean, bounds)  # t² over the effective number of items
    middle = (share + inflation / 2) / (1 + inflation)
    reach = math.sqrt((half / width) ** 2 + inflation**2 / 4) / (1 + inflation)
    return max(bounds[0], least + width * (middle - reach)), min(bounds[1], least + width * (middle + reach))


def _spread(mean: float, bounds: Bounds) -> float:
    """What the variance of a mean is proportional to: that of values which are all at one bound or the other."""
    return (mean - bounds[0]) * (bounds[1] - mean)


def _t_quantile(degrees: int, probability: float) -> float:
    """Of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))
