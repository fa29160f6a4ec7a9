"""How good a judge is where the truth is known: its accuracy, what of it is length or place, what its rates mean.

The chosen response is the candidate's, the rejected one the baseline's: a win is a right verdict. Nobody is asked here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from alignx.intervals import Estimate, clustered_mean
from alignx.judging.outcomes import Outcome
from alignx.judging.rates import Measured, measure

TRUE_RATES: Final = (0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 1.0)
"""True win rates of the table of what is seen of them."""


@dataclass(frozen=True)
class Length:
    """What of the judge's errors goes by length, over the decided pairs of unequal length."""

    named: Estimate
    """Share in which the judge names the longer response."""
    chosen: Estimate
    """Share in which the user chose the longer one."""
    excess: Estimate
    """By how much the judge names it more often than users chose it; below 0: less often."""
    where_longer: Estimate | None
    """Accuracy, ties as half, where the user chose the longer one; None where that never was so."""
    where_shorter: Estimate | None
    """Accuracy where the user chose the shorter one."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: value and value.as_dict() for name, value in vars(self).items()}


@dataclass(frozen=True)
class Sure:
    """The pairs that the judge was at least so certain of, in every order."""

    least: int
    pairs: int
    coverage: float
    """Share of the judged pairs."""
    accuracy: Estimate | None
    """Ties as half."""
    decided: Estimate | None
    """Without ties."""
    stated: float
    """Mean of the certainties that the judge stated, as a share; nan where there is no pair."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **vars(self),
            "accuracy": self.accuracy and self.accuracy.as_dict(),
            "decided": self.decided and self.decided.as_dict(),
            "stated": None if math.isnan(self.stated) else self.stated,
        }


@dataclass(frozen=True)
class Seen:
    """A true win rate, and what a judge of this accuracy shows of it."""

    true: float
    shown: float
    """Expected, at the accuracy found."""
    low: float
    """At the end of the accuracy's interval that shows the least of it."""
    high: float


@dataclass(frozen=True)
class Calibration:
    """Everything that a report says."""

    measured: Measured
    """Of the pairs: its win rate is the accuracy, ties as half."""
    sure: tuple[Sure, ...]
    length: Length | None
    """None where no decided pair has responses of unequal length."""
    seen: tuple[Seen, ...]
    """Empty where nothing was judged."""

    @property
    def accuracy(self) -> Estimate | None:
        """Ties as half; None where nothing was judged."""
        return self.measured.overall.win_rate

    @property
    def shrinkage(self) -> float:
        """What is seen of a win rate's distance from a half, ``2a − 1``; nan where nothing was judged."""
        return math.nan if self.accuracy is None else 2 * self.accuracy.mean - 1

    @property
    def beside_a_coin(self) -> str:
        """In words, of a judge that is not above chance."""
        below = self.accuracy is not None and self.accuracy.high < 0.5
        return "worse than a coin" if below else "not to be told from a coin"

    @property
    def above_chance(self) -> bool:
        """Whether the accuracy's interval lies above a half."""
        return self.accuracy is not None and self.accuracy.low > 0.5

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        measured = self.measured.as_dict()
        return {
            "accuracy": _named(measured["overall"]),
            "by_source": {name: _named(rates) for name, rates in measured["by_source"].items()},
            "by_certainty": [one.as_dict() for one in self.sure],
            "length": self.length and self.length.as_dict(),
            "position_consistency": measured["position_consistency"],
            "first_position_rate": measured["first_position_rate"],
            "how": measured["how"],
            "unjudged_by_reason": measured["unjudged_by_reason"],
            "win_rates": {
                "assumption": ASSUMPTION,
                "shrinkage": None if math.isnan(self.shrinkage) else self.shrinkage,
                "seen": [vars(one) for one in self.seen],
            },
        }


ASSUMPTION: Final = (
    "every pair of a comparison has one response that its user would choose; the judge gives that one the same share "
    "of a win on average, the accuracy found here, whichever system wrote it and however hard the pair is"
)


def calibrated(outcomes: Sequence[Outcome]) -> Calibration:
    """The numbers of a judge; the order of the outcomes changes nothing.

    Args:
        outcomes: Each pair once, the chosen response as the candidate's.

    Raises:
        ValueError: There is none, or one is there twice.
    """
    measured = measure(outcomes)
    asked = sorted((one for one in outcomes if one.asked), key=lambda one: one.id)
    accuracy = measured.overall.win_rate
    return Calibration(
        measured=measured,
        sure=tuple(_sure(asked, one.least) for one in measured.certain),
        length=_length(asked),
        seen=() if accuracy is None else tuple(_seen(true, accuracy) for true in TRUE_RATES),
    )


def seen_of(true: float, accuracy: float) -> float:
    """The win rate, ties as half, that a judge of this accuracy shows of a true one, in expectation.

    ``w · a + (1 − w)(1 − a)``: the pairs that the candidate truly wins bring it the accuracy, the others what is left.
    It is the classical misclassification of a share (Bross 1954, Biometrics 10) with equal rates on both sides.

    Args:
        true: Share of the pairs whose user would choose the candidate's response.
        accuracy: Share of a win that the judge gives the right response on average.
    """
    return true * accuracy + (1 - true) * (1 - accuracy)


def _seen(true: float, accuracy: Estimate) -> Seen:
    ends = sorted((seen_of(true, accuracy.low), seen_of(true, accuracy.high)))
    return Seen(true, seen_of(true, accuracy.mean), *ends)


def _sure(asked: Sequence[Outcome], least: int) -> Sure:
    within = [one for one in asked if one.certainty >= least]
    stated = [call.certainty for one in within for call in one.calls]
    return Sure(
        least,
        len(within),
        len(within) / len(asked),
        _mean(within, [one.points for one in within]),
        _decided(within),
        math.fsum(stated) / len(stated) / 100 if stated else math.nan,
    )


def _decided(outcomes: Sequence[Outcome]) -> Estimate | None:
    kept = [one for one in outcomes if one.verdict != "tie"]
    return _mean(kept, [one.points for one in kept])


def _length(asked: Sequence[Outcome]) -> Length | None:
    unequal = [one for one in asked if one.candidate_characters != one.baseline_characters]
    decided = [one for one in unequal if one.verdict != "tie"]
    if not decided:
        return None
    chosen = [float(_chose_longer(one)) for one in decided]
    named = [float(_chose_longer(one) == (one.verdict == "candidate")) for one in decided]
    clusters = [one.cluster for one in decided]
    excess = [n - c for n, c in zip(named, chosen, strict=True)]
    sides = [[one for one in unequal if _chose_longer(one) is side] for side in (True, False)]
    return Length(
        clustered_mean(named, clusters),
        clustered_mean(chosen, clusters),
        clustered_mean(excess, clusters, bounds=None),
        *(_mean(side, [one.points for one in side]) for side in sides),
    )


def _chose_longer(one: Outcome) -> bool:
    """Whether the user chose the longer response."""
    return one.candidate_characters > one.baseline_characters


def _mean(outcomes: Sequence[Outcome], values: Sequence[float | None]) -> Estimate | None:
    if not outcomes:
        return None
    return clustered_mean([value or 0.0 for value in values], [one.cluster for one in outcomes])


def _named(rates: dict[str, Any]) -> dict[str, Any]:
    """Rates of wins as what they are here: of right verdicts."""
    names = {
        "wins": "right",
        "losses": "wrong",
        "win_rate": "accuracy",
        "win_rate_bounds": "accuracy_bounds",
        "win_rate_without_ties": "accuracy_without_ties",
        "win_rate_without_ties_bounds": "accuracy_without_ties_bounds",
    }
    return {names.get(name, name): value for name, value in rates.items()}
