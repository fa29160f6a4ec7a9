"""What the directions of a source have in common, for JSON (paper, Appendix E)."""

import math
from typing import Any

import numpy as np

from alignx.prompts.reporting.correlation import Correlations, Counts, Values, correlations
from alignx.prompts.reporting.directions import DirectionCounts
from alignx.records import Taxonomy, verbalise

ENOUGH = 10
"""Directions in which two dimensions must both be poles before their correlation is spoken of: with fewer, a single
direction more or less would change it a lot."""
_FREQUENT = 10
_STRONGEST = 15
_DECIMALS = 6


def analyse(counts: DirectionCounts, taxonomy: Taxonomy) -> dict[str, Any] | None:
    """Balance, distinct directions, poles that meet and correlations; None where there was no direction."""
    together = counts.together()
    if not counts.n:
        return None
    size = len(taxonomy)
    distinct, once = counts.distinct()
    negative, positive = np.split(np.diag(together), 2)
    frequent = [
        {"direction": verbalise(direction, taxonomy), "count": count} for direction, count in counts.frequent(_FREQUENT)
    ]
    found = correlations(together, counts.n)
    return {
        "directions": counts.n,
        "distinct": distinct,
        "once": once,
        "frequent": frequent,
        "poles_per_direction": {str(k): int(n) for k, n in enumerate(counts.poles) if n},
        "mean_poles": float(np.arange(size + 1) @ counts.poles / counts.n),
        "balance": [
            {
                "group": dimension.group,
                "positive": dimension.positive,
                "negative": dimension.negative,
                "counts": {"negative": int(n), "neutral": int(counts.n - n - p), "positive": int(p)},
            }
            for dimension, n, p in zip(taxonomy.dimensions, negative, positive, strict=True)
        ],
        "pairs_of_poles": _pairs_of_poles(together, counts.n, taxonomy),
        "correlation": _correlation(found, taxonomy),
    }


def _pairs_of_poles(together: Counts, n: int, taxonomy: Taxonomy) -> dict[str, Any]:
    """Combinations of two dimensions: which of the four pairs of poles that each two have occur, and how often."""
    size = len(taxonomy)
    phrases = [d.negative for d in taxonomy.dimensions] + [d.positive for d in taxonomy.dimensions]
    # Each pair once, and none of two poles of one dimension.
    firsts, seconds = np.triu_indices(2 * size, k=1)
    apart = seconds - firsts != size
    firsts, seconds = firsts[apart], seconds[apart]
    met = together[firsts, seconds]
    alone = np.diag(together)
    order = np.lexsort((seconds % size, firsts % size, -met))[:_FREQUENT]
    return {
        "possible": len(met),
        "occurring": int(np.count_nonzero(met)),
        "meetings": int(met.sum()),
        "frequent": [
            {
                "first": phrases[i],
                "second": phrases[j],
                "count": int(together[i, j]),
                "expected": float(alone[i] * alone[j] / n),
            }
            for i, j in ((int(firsts[place]), int(seconds[place])) for place in order)
            if together[i, j]
        ],
    }


def _correlation(found: Correlations, taxonomy: Taxonomy) -> dict[str, Any]:
    """The matrices, and the pairs that stand out among those with enough directions to say so."""
    pairs = np.argwhere(np.tril(np.isfinite(found.r) & (found.both >= ENOUGH), k=-1))
    order = np.lexsort((pairs[:, 0], pairs[:, 1], -np.abs(found.r[pairs[:, 0], pairs[:, 1]])))
    level = 1 - 0.05 / max(1, len(pairs))
    return {
        "enough": ENOUGH,
        "constant": [i for i in range(len(taxonomy)) if not math.isfinite(found.r[i, i])],
        "pairs": int(np.count_nonzero(np.tril(np.isfinite(found.r), k=-1))),
        "pairs_with_enough": len(pairs),
        "pairs_beyond_chance": sum(_excludes_none(found, int(i), int(j), level) for i, j in pairs),
        "strongest": [_pair(found, taxonomy, int(pairs[at][1]), int(pairs[at][0])) for at in order[:_STRONGEST]],
        "r": _triangle(found.r),
        "phi": _triangle(found.phi),
        "both": [[int(n) for n in row[:i]] for i, row in enumerate(found.both)],
    }


def _excludes_none(found: Correlations, i: int, j: int, level: float) -> bool:
    """Whether the interval of a correlation leaves out 0."""
    interval = found.interval(i, j, level)
    return interval is None or not interval[0] <= 0 <= interval[1]


def _pair(found: Correlations, taxonomy: Taxonomy, i: int, j: int) -> dict[str, Any]:
    interval = found.interval(i, j)
    phi = float(found.phi[i, j])
    return {
        "first": taxonomy.dimensions[i].positive,
        "second": taxonomy.dimensions[j].positive,
        "r": float(found.r[i, j]),
        "low": interval[0] if interval else None,
        "high": interval[1] if interval else None,
        "phi": phi if math.isfinite(phi) else None,
        "both": int(found.both[i, j]),
        "same": int(found.same[i, j]),
    }


def _triangle(values: Values) -> list[list[float | None]]:
    """Row i: the value with each of the dimensions before i, null where there is none."""
    return [
        [round(float(value), _DECIMALS) if math.isfinite(value) else None for value in row[:i]]
        for i, row in enumerate(values)
    ]
