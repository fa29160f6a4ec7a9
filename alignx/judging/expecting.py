"""How exact a win rate over so many pairs will be, before anybody is asked."""

from collections import Counter
from collections.abc import Iterable

from alignx.intervals import clustered_mean


def expected_half_widths(clusters: Iterable[str]) -> tuple[float, float]:
    """Half the width of the 95 % interval of a win rate near a half, where it is widest, without any tie.

    Args:
        clusters: Of each pair that will be judged: the user, else the target.

    Returns:
        If the pairs of a user are no more alike than others, and if all pairs of a user end alike. The truth is between
        the two. Both are 0.5 where there is but one user.

    Raises:
        ValueError: There is no pair.
    """
    sizes = sorted(Counter(clusters).values(), reverse=True)
    pairs = sum(sizes)
    alone = _half_width([1] * pairs)
    return (alone if len(sizes) > 1 else 0.5), _half_width(sizes)


def _half_width(sizes: list[int]) -> float:
    """Of clusters of these sizes of which about half of the pairs are won, each cluster whole."""
    values: list[float] = []
    labels: list[str] = []
    ahead = 0
    for number, size in enumerate(sizes):
        won = ahead <= 0
        ahead += size if won else -size
        values += [float(won)] * size
        labels += [str(number)] * size
    found = clustered_mean(values, labels)
    return (found.high - found.low) / 2
