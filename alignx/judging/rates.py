"""From outcomes to numbers: rates with their bounds, and how far the judge can be believed. Nobody is asked here."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from alignx.intervals import Estimate, clustered_mean, p_value, smallest_difference
from alignx.judging.lengths import Lengths, measure_lengths
from alignx.judging.outcomes import HOWS, Outcome

CERTAINTIES: Final = (0, 50, 70, 90)
"""Least certainties of the table of coverage against agreement."""
NO_PART: Final = "nothing"


@dataclass(frozen=True)
class Bounds:
    """What a rate would be, had every unjudged pair been lost, or won."""

    worst: float
    best: float


@dataclass(frozen=True)
class Rates:
    """Of a set of pairs. Those that are unjudged are in no rate."""

    wins: int
    ties: int
    losses: int
    unjudged: int
    win_rate: Estimate | None
    """Ties as half; None where no pair was judged."""
    win_rate_bounds: Bounds
    decided: Estimate | None
    """Without ties; None where no pair was decided."""
    decided_bounds: Bounds | None
    """None where every pair is a tie."""

    @property
    def pairs(self) -> int:
        """All."""
        return self.judged + self.unjudged

    @property
    def judged(self) -> int:
        """Those with a verdict."""
        return self.wins + self.ties + self.losses

    @property
    def coverage(self) -> float:
        """Share of the pairs that are judged."""
        return self.judged / self.pairs

    @property
    def p(self) -> float:
        """Of "neither is better": the win rate is a half. Nan where the interval says nothing."""
        return math.nan if self.win_rate is None else p_value(self.win_rate, 0.5)

    @property
    def smallest(self) -> float:
        """The smallest difference from a half that so many pairs show four times in five."""
        return math.nan if self.win_rate is None else smallest_difference(self.win_rate)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "pairs": self.pairs,
            "judged": self.judged,
            "coverage": self.coverage,
            "wins": self.wins,
            "ties": self.ties,
            "losses": self.losses,
            "unjudged": self.unjudged,
            "win_rate": _dict(self.win_rate),
            "win_rate_bounds": vars(self.win_rate_bounds),
            "win_rate_without_ties": _dict(self.decided),
            "win_rate_without_ties_bounds": self.decided_bounds and vars(self.decided_bounds),
            "p": _finite(self.p),
            "smallest_difference": _finite(self.smallest),
        }


@dataclass(frozen=True)
class Certain:
    """The pairs that the judge was at least so certain of, in every order."""

    least: int
    pairs: int
    coverage: float
    """Share of the pairs that it judged."""
    consistency: Estimate | None
    """Of those asked in both orders, the share with the same verdict; None where there is none."""
    win_rate: Estimate | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "consistency": _dict(self.consistency), "win_rate": _dict(self.win_rate)}


@dataclass(frozen=True)
class Measured:
    """Everything that a report says."""

    overall: Rates
    by_source: dict[str, Rates]
    """By which parts of a persona the records have, joined by ``+``."""
    how: dict[str, int]
    """How verdicts came about, in the order of :data:`~alignx.judging.outcomes.HOWS`."""
    problems: dict[str, int]
    """Unjudged pairs by reason, the most frequent first."""
    consistency: Estimate | None
    """Share of pairs with the same verdict in both orders; None where none was judged in both."""
    first_position: Estimate | None
    """Of all replies that name a side, the share that names the response shown first; 50 % is no preference."""
    certain: tuple[Certain, ...]
    lengths: Lengths | None
    """None where no pair was judged by the judge."""

    @property
    def longer(self) -> Estimate | None:
        """Of the pairs decided, the share that the longer response won."""
        return None if self.lengths is None else self.lengths.longer

    @property
    def at_equal_length(self) -> Estimate | None:
        """The win rate at equal length, where it can be told."""
        return None if self.lengths is None else self.lengths.rate

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "overall": self.overall.as_dict(),
            "by_source": {name: rates.as_dict() for name, rates in self.by_source.items()},
            "how": self.how,
            "unjudged_by_reason": self.problems,
            "position_consistency": _dict(self.consistency),
            "first_position_rate": _dict(self.first_position),
            "by_certainty": [one.as_dict() for one in self.certain],
            "lengths": self.lengths and self.lengths.as_dict(),
        }


def measure(outcomes: Iterable[Outcome]) -> Measured:
    """The numbers of a comparison; their order, and which requests were under way together, changes nothing.

    Args:
        outcomes: Each pair once.

    Raises:
        ValueError: There is none, or one is there twice.
    """
    found = sorted(outcomes, key=lambda one: one.id)
    if not found or len({one.id for one in found}) < len(found):
        raise ValueError(f"got {len(found)} outcomes, expected at least one and each pair once")
    by_source: dict[str, list[Outcome]] = {}
    for one in found:
        by_source.setdefault(" + ".join(one.sources) or NO_PART, []).append(one)
    hows = Counter(one.how for one in found)
    problems = Counter(_kind(one.problem) for one in found if one.verdict is None)
    asked = [one for one in found if one.asked]
    return Measured(
        overall=rates(found),
        by_source={name: rates(by_source[name]) for name in sorted(by_source)},
        how={how: hows[how] for how in HOWS if hows[how]},
        problems=dict(sorted(problems.items(), key=lambda item: (-item[1], item[0]))),
        consistency=consistency(asked),
        first_position=first_position(asked),
        certain=tuple(_certain(asked, least) for least in CERTAINTIES) if asked else (),
        lengths=measure_lengths(asked) if asked else None,
    )


def rates(outcomes: Sequence[Outcome]) -> Rates:
    """The rates of some pairs.

    Args:
        outcomes: At least one.
    """
    count = Counter(one.verdict for one in outcomes)
    wins, ties, losses, unjudged = (count[verdict] for verdict in ("candidate", "tie", "baseline", None))
    pairs, decided = len(outcomes), wins + losses
    least = (wins + 0.5 * ties) / pairs
    open_pairs = decided + unjudged
    return Rates(
        wins,
        ties,
        losses,
        unjudged,
        _win_rate(outcomes),
        Bounds(least, least + unjudged / pairs),
        _win_rate([one for one in outcomes if one.verdict != "tie"]),
        Bounds(wins / open_pairs, (wins + unjudged) / open_pairs) if open_pairs else None,
    )


def _win_rate(outcomes: Sequence[Outcome]) -> Estimate | None:
    return _mean([(points, one.cluster) for one in outcomes if (points := one.points) is not None])


def consistency(asked: Sequence[Outcome]) -> Estimate | None:
    """Of pairs that were judged in both orders, the share with the same verdict; None where there is none."""
    both = [one for one in asked if len(one.calls) > 1]
    return _mean([(float(one.how == "same both ways"), one.cluster) for one in both])


def first_position(asked: Sequence[Outcome]) -> Estimate | None:
    """Of all replies that name a side, the share that names the response shown first; None where none does."""
    named = [(call.names_first, one.cluster) for one in asked for call in one.calls]
    return _mean([(float(first), cluster) for first, cluster in named if first is not None])


def _certain(asked: Sequence[Outcome], least: int) -> Certain:
    within = [one for one in asked if one.certainty >= least]
    return Certain(least, len(within), len(within) / len(asked), consistency(within), _win_rate(within))


def _mean(observed: Sequence[tuple[float, str]]) -> Estimate | None:
    """The clustered mean of values with their clusters; None where there is none."""
    if not observed:
        return None
    return clustered_mean([value for value, _ in observed], [cluster for _, cluster in observed])


def _kind(problem: str) -> str:
    """A reason without what differs from one attempt to the next."""
    return problem.partition(" (attempt")[0]


def _dict(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else estimate.as_dict()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
