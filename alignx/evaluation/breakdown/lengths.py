"""Does the policy prefer what the user prefers, or what is longer?"""

from dataclasses import dataclass
from typing import Any

from alignx.evaluation.breakdown.moves import Bin, Moves, Tally
from alignx.evaluation.scores import Score
from alignx.intervals import Estimate

BINS = (
    "less than half as long",
    "half to two thirds as long",
    "two thirds to 10/11 as long",
    "almost equal",
    "1.1 to 1.5 times as long",
    "1.5 to 2 times as long",
    "more than twice as long",
)
"""The chosen response beside the rejected, by tokens; each bin has its opposite as far from the middle one."""
EQUAL = BINS[3]


@dataclass(frozen=True)
class ByLength:
    """What length has to do with being chosen, and with being right."""

    n: int
    equal: int
    """Pairs of exactly equal length, in which neither is the longer."""
    longer_chosen: Estimate | None
    """Of the other pairs: share in which the longer response is the chosen one. A fact of the data."""
    to_longer: Estimate | None
    """Of the other pairs: share in which the policy moved towards the longer response, strictly."""
    unmoved: int
    """Of the other pairs: those in which it moved neither way, which count as not towards the longer."""
    when_longer: Tally
    """Accuracy where the chosen response is the longer."""
    when_shorter: Tally
    when_equal: Tally
    """Accuracy where both have exactly as many tokens."""
    bins: tuple[Bin, ...]
    """By ratio of the lengths; all pairs are in one."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        parts = ("longer_chosen", "to_longer", "when_longer", "when_shorter", "when_equal")
        found = {name: (value := getattr(self, name)) and value.as_dict() for name in parts}
        return {**self.__dict__, **found, "bins": [each.as_dict() for each in self.bins]}


def by_length(moves: Moves) -> ByLength:
    """Take the pairs apart by the tokens of the two responses, end token included, as the policy's tokenizer counts."""
    longer = {name for name, score in moves.scores.items() if score.chosen_tokens > score.rejected_tokens}
    shorter = {name for name, score in moves.scores.items() if score.chosen_tokens < score.rejected_tokens}
    unequal = [name for name in moves.scores if name in longer or name in shorter]
    margins = {name: moves.margins[name] for name in unequal}
    moved = {name: margin > 0 if name in longer else margin < 0 for name, margin in margins.items()}
    return ByLength(
        n=len(moves.scores),
        equal=len(moves.scores) - len(unequal),
        longer_chosen=moves.mean({name: float(name in longer) for name in unequal}),
        to_longer=moves.mean({name: float(towards) for name, towards in moved.items()}),
        unmoved=sum(margin == 0 for margin in margins.values()),
        when_longer=moves.tally(longer),
        when_shorter=moves.tally(shorter),
        when_equal=moves.tally(moves.scores.keys() - longer - shorter),
        bins=moves.bins(BINS, {name: bin_of(score) for name, score in moves.scores.items()}),
    )


def bin_of(score: Score) -> str:
    """The bin of a pair: by how many times the longer response is as long as the shorter, compared as integers.

    Almost equal is at most 1.1 times; the next bins end at 1.5 and at 2 times, these included.
    """
    chosen, rejected = score.chosen_tokens, score.rejected_tokens
    low, high = sorted((chosen, rejected))
    steps = sum((10 * high > 11 * low, 2 * high > 3 * low, high > 2 * low))
    return BINS[3 + steps if chosen > rejected else 3 - steps]
