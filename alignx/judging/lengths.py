"""Whether the judge goes by length: how often the longer response wins, and the win rate at equal length."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alignx.intervals import Estimate, clustered_mean
from alignx.judging.outcomes import Outcome

_STEPS = 100
_STEEP = 15.0
"""Logits: a slope or intercept beyond this is a curve that has become a step, and has no maximum."""


@dataclass(frozen=True)
class Lengths:
    """What length has to do with the verdicts. A diagnostic: length may be what this user likes."""

    longer: Estimate | None
    """Of the decided pairs of unequal length, the share that the longer response won; None where there is none."""
    difference: Estimate
    """Mean of the candidate's characters minus the baseline's, over the judged pairs."""
    spread: float
    """Standard deviation of these differences."""
    rate: Estimate | None
    """Win rate with ties as half at equal length; None where it cannot be told."""
    slope: float | None
    """Logits that a response gains by being very much longer; 0: length plays no part."""
    problem: str = ""
    """Why there is no rate at equal length."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "longer_wins": self.longer and self.longer.as_dict(),
            "difference": self.difference.as_dict(),
            "spread": self.spread,
            "rate_at_equal_length": self.rate and self.rate.as_dict(),
            "slope": self.slope,
            "problem": self.problem,
        }


def measure_lengths(outcomes: Sequence[Outcome]) -> Lengths:
    """What length has to do with the verdicts of judged pairs.

    The rate at equal length is that of a logistic regression of the outcome (1, ½ or 0) on how much longer the
    candidate's response is, ``tanh(d / s)`` with d in characters and s their standard deviation, read off at d = 0. It
    is the length term of AlpacaEval 2 (Dubois et al. 2024, arXiv:2404.04475) without its terms for models and
    instructions. The interval is cluster-robust: each pair's influence on the intercept goes through
    :func:`alignx.intervals.clustered_mean`, and the ends through the logistic function.

    Args:
        outcomes: Judged pairs, at least one.

    Raises:
        ValueError: One is unjudged, or there is none.
    """
    points = [one.points for one in outcomes]
    known = [point for point in points if point is not None]
    if len(known) < len(points) or not known:
        raise ValueError("lengths are measured over judged pairs, at least one")
    clusters = [one.cluster for one in outcomes]
    apart = [float(one.candidate_characters - one.baseline_characters) for one in outcomes]
    difference = clustered_mean(apart, clusters, bounds=None)
    spread = math.sqrt(math.fsum((d - difference.mean) ** 2 for d in apart) / len(apart))
    longer = [
        (float((d > 0) == (point == 1)), cluster)
        for d, point, cluster in zip(apart, known, clusters, strict=True)
        if d != 0 and point != 0.5
    ]
    of_longer = clustered_mean([won for won, _ in longer], [cluster for _, cluster in longer]) if longer else None
    if spread == 0:
        return Lengths(of_longer, difference, spread, None, None, "all differences in length are the same")
    fitted = _fit([math.tanh(d / spread) for d in apart], known)
    if fitted is None:
        told = _tells_apart(apart, known)
        problem = "length alone tells the verdicts apart" if told else "a few lengths are too far from all others"
        return Lengths(of_longer, difference, spread, None, None, problem)
    intercept, slope, influence = fitted
    logit = clustered_mean([intercept + each for each in influence], clusters, bounds=None)
    return Lengths(of_longer, difference, spread, _to_rate(logit), slope)


def _tells_apart(apart: Sequence[float], points: Sequence[float]) -> bool:
    """Whether some difference in length has all wins on one side and all losses on the other; a tie is one of each."""
    wins = [d for d, point in zip(apart, points, strict=True) if point > 0]
    losses = [d for d, point in zip(apart, points, strict=True) if point < 1]
    return not wins or not losses or min(wins) >= max(losses) or max(wins) <= min(losses)


def _fit(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float, list[float]] | None:
    """Intercept and slope of a logistic regression by Newton's method, and each observation's influence on the first.

    None where the likelihood has no maximum, as some length tells wins from losses without fail, or none that is
    worth anything, as one length is so far from all others that they hardly differ beside it.
    """
    intercept = slope = 0.0
    for _ in range(_STEPS):
        shares = [_logistic(intercept + slope * x) for x in xs]
        weights = [share * (1 - share) for share in shares]
        rests = [y - share for y, share in zip(ys, shares, strict=True)]
        h0, h1, h2 = (math.fsum(w * x**k for w, x in zip(weights, xs, strict=True)) for k in range(3))
        determinant = h0 * h2 - h1**2
        if determinant <= 1e-9 * len(xs) ** 2 or max(abs(intercept), abs(slope)) > _STEEP:
            return None
        influence = [len(xs) * (h2 - h1 * x) / determinant * rest for x, rest in zip(xs, rests, strict=True)]
        g0, g1 = math.fsum(rests), math.fsum(x * rest for x, rest in zip(xs, rests, strict=True))
        step = (h2 * g0 - h1 * g1) / determinant, (h0 * g1 - h1 * g0) / determinant
        if max(map(abs, step)) < 1e-10:
            return intercept, slope, influence
        intercept, slope = intercept + step[0], slope + step[1]
    return None


def _to_rate(logit: Estimate) -> Estimate:
    mean = _logistic(logit.mean)
    error = mean * (1 - mean) * logit.standard_error
    low, high = _logistic(logit.low), _logistic(logit.high)
    return Estimate(mean, low, high, logit.n, logit.clusters, error, logit.note, (0.0, 1.0))


def _logistic(logit: float) -> float:
    """From logits to a share, without overflow."""
    if logit >= 0:
        return 1 / (1 + math.exp(-logit))
    return 1 - 1 / (1 + math.exp(logit))
