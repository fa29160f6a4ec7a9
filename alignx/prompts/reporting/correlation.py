"""How preference dimensions go together: correlations of their levels, from counts of poles that meet."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Correlations:
    """Every dimension with every other; each array is ``(dimensions, dimensions)`` and symmetric.

    Attributes:
        r: Pearson's correlation of the levels −1, 0, +1; not a number where a dimension always has the same level.
        phi: Pearson's correlation of being a pole at all, 0 or 1; not a number where a dimension always or never is.
        error: Standard error of ``r``.
        both: In how many directions both dimensions are poles.
        same: In how many of these both are positive or both negative.
    """

    r: Values
    phi: Values
    error: Values
    both: Counts
    same: Counts

    def interval(self, i: int, j: int, level: float = 0.95) -> tuple[float, float] | None:
        """Interval of ``r`` on Fisher's scale; None where ``r`` has none, or is ±1 without any spread."""
        r, error = float(self.r[i, j]), float(self.error[i, j])
        if not (abs(r) < 1 and error > 0):
            return None
        z, half = math.atanh(r), NormalDist().inv_cdf((1 + level) / 2) * error / (1 - r * r)
        return math.tanh(z - half), math.tanh(z + half)


def correlations(together: Counts, n: int) -> Correlations:
    """Correlations of dimensions over ``n`` directions.

    ``r`` is ``(n·Σxy − Σx·Σy) / √(n·Σx² − (Σx)²) / √(n·Σy² − (Σy)²)``, its sums exact. Levels are far from normal, as
    most are neutral, so its standard error is not ``(1 − r²) / √n`` but the one that holds for any distribution: with
    ``u`` and ``v`` the standardised levels, the root of the mean of ``(u·v − r·(u² + v²) / 2)²``, over ``√n`` (the
    delta method). It takes directions as independent of each other.

    Args:
        together: ``(2 · dimensions, 2 · dimensions)``: in how many directions two poles meet, the negative poles first.
        n: Number of directions, at least 1.
    """
    size = len(together) // 2
    nn, np_, pn, pp = together[:size, :size], together[:size, size:], together[size:, :size], together[size:, size:]
    negative, positive = np.diag(nn), np.diag(pp)
    both = nn + np_ + pn + pp
    r = _pearson(pp + nn - pn - np_, positive - negative, positive + negative, n)
    phi = _pearson(both, positive + negative, positive + negative, n)
    same = nn + pp
    return Correlations(r, phi, _error(r, {(-1, -1): nn, (-1, 1): np_, (1, -1): pn, (1, 1): pp}, n), both, same)


def _pearson(products: Counts, sums: Counts, squares: Counts, n: int) -> Values:
    """From Σxy, Σx and Σx², which stay below 2⁶³ up to three thousand million directions."""
    spreads = n * squares - sums * sums
    root = np.where(spreads > 0, np.sqrt(spreads.astype(np.float64)), np.nan)
    found: Values = (n * products - np.outer(sums, sums)) / root[:, None] / root[None, :]
    np.fill_diagonal(found, np.where(spreads > 0, 1.0, np.nan))
    return np.clip(found, -1.0, 1.0)


def _error(r: Values, cells: dict[tuple[int, int], Counts], n: int) -> Values:
    """Standard error of each correlation, over the nine cells of two dimensions' levels."""
    poles = {level: np.diag(cells[level, level])[:, None] for level in (-1, 1)}
    nine = dict(cells)
    for level in (-1, 1):
        nine[level, 0] = poles[level] - cells[level, -1] - cells[level, 1]
        nine[0, level] = poles[level].T - cells[-1, level] - cells[1, level]
    nine[0, 0] = n - sum(nine.values(), np.zeros_like(cells[1, 1]))
    mean = (poles[1] - poles[-1]) / n
    total: Values = np.zeros_like(r)
    with np.errstate(divide="ignore", invalid="ignore"):  # where r is not a number, neither is its error
        spread = np.sqrt((poles[1] + poles[-1]) / n - mean * mean)
        for (x, y), count in nine.items():
            u, v = (x - mean) / spread, ((y - mean) / spread).T
            total = total + count * (u * v - r * (u * u + v * v) / 2) ** 2
    return np.sqrt(total) / n
