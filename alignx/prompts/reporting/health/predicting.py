"""How well a small classifier tells chosen from rejected by their forms, on pairs that it has not seen."""

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
_RIDGE = 1e-2
"""Of the mean loss: a form that tells everything does not lead to weights without end."""
_STEPS = 25
_CLOSE = 1e-8

Values = NDArray[np.float64]


def outcomes(differences: NDArray[np.float32], clusters: NDArray[np.uint64]) -> Values:
    """For each pair 1 if a classifier fitted to pairs of other clusters gets it right, 0 if not, ½ if it cannot say.

    A logistic regression without intercept on chosen minus rejected, each column divided by its root mean square:
    turning a pair round turns its answer round, so that which stands first says nothing. Five folds by cluster.

    Args:
        differences: ``(pairs, forms)``: chosen minus rejected.
        clusters: ``(pairs,)``: equal for pairs that belong together; a cluster is in one fold only.
    """
    fold = (clusters >> np.uint64(7)) % np.uint64(FOLDS)
    found = np.full(len(differences), 0.5)
    for held_out in range(FOLDS):
        test = fold == held_out
        if test.any() and not test.all():
            train = differences[~test].astype(np.float64)
            scale = np.sqrt((train**2).mean(axis=0))
            scale[scale == 0] = np.inf
            scores = (differences[test] / scale) @ _fit(train / scale)
            found[test] = (np.sign(np.round(scores, 9)) + 1) / 2
    return found


def _fit(pairs: Values) -> Values:
    """Weights that minimise the mean of log(1 + exp(−w·x)) plus a ridge, by Newton's method."""
    weights = np.zeros(pairs.shape[1])
    for _ in range(_STEPS):
        wrong = 1 / (1 + np.exp(np.clip(pairs @ weights, -30, 30)))
        gradient = _RIDGE * weights - pairs.T @ wrong / len(pairs)
        curvature = (pairs * (wrong * (1 - wrong))[:, None]).T @ pairs / len(pairs)
        step = np.linalg.solve(curvature + _RIDGE * np.eye(len(weights)), gradient)
        weights -= step
        if np.abs(step).max() < _CLOSE:
            break
    return weights
