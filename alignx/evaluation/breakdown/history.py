"""Robustness (paper Fig. 3): accuracy as the history that is told grows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alignx.errors import DataError, SettingsError
from alignx.evaluation.breakdown.moves import Moves, Tally, is_apart, refuse_regrouped
from alignx.evaluation.scores import Score
from alignx.intervals import Estimate


@dataclass(frozen=True)
class Point:
    """One length of history."""

    items: int
    """Asked for; of each kind, where the history has both."""
    found: Tally
    """All records, also those that have fewer items."""
    full: Tally
    """The records that were told as many items as the label says."""
    difference: Estimate | None
    """From the shortest history: being right here minus being right there, record by record; None for itself, and where
    nobody was told another prompt: no record has so many items, or all were told profiles that do not vary."""
    unvaried: int
    """Records that were told a ready or golden profile, which is the same whatever the length."""

    @property
    def short(self) -> int:
        """Records that were told fewer items than the label says: they have no more, or no more fitted."""
        return self.found.n - self.full.n

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "items": self.items,
            **self.found.as_dict(),
            "full": self.full.as_dict(),
            "short": self.short,
            "difference": self.difference and self.difference.as_dict(),
            "unvaried": self.unvaried,
        }


@dataclass(frozen=True)
class Growth:
    """One policy on the same records, told more and more of one kind of history."""

    policy: str
    source: str
    """What the history consists of, such as ``UGC`` or ``PAIR``."""
    points: tuple[Point, ...]
    """From the shortest history to the longest."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        points = [point.as_dict() for point in self.points]
        return {"policy": self.policy, "source": self.source, "points": points}


def growth(policy: str, source: str, moves: Mapping[int, Moves], kinds: int = 1) -> Growth:
    """Accuracy for each length of history, and what each length adds to the shortest.

    Args:
        policy: How the report calls it.
        source: What the history consists of.
        moves: The policy's moves by how many items the condition asked for.
        kinds: 2 where the records have comments and choices, so that each length is of both.

    Raises:
        DataError: The lengths are about different records, or a record was told more items than was asked for.
        SettingsError: There is no length, or one is below 0.
    """
    if not moves or min(moves) < 0:
        raise SettingsError(
            f"history of {policy}, {source}: got lengths {sorted(moves)}, expected at least one, from 0"
        )
    shortest = moves[min(moves)]
    for items, here in moves.items():
        refuse_regrouped(shortest, f"the scores with {min(moves)} items", here, f"those with {items}")
    points = tuple(_point(items, moves[items], items * kinds, shortest) for items in sorted(moves))
    return Growth(policy, source, points)


def _point(items: int, here: Moves, asked: int, shortest: Moves) -> Point:
    for score in here.scores.values():
        _refuse_too_many(score, asked)
    full = [name for name, score in here.scores.items() if score.history_items == asked]
    unvaried = sum(is_apart(score) for score in here.scores.values())
    same = here is shortest or not full or unvaried == len(here.scores)
    gains = {name: float(margin > 0) - float(shortest.margins[name] > 0) for name, margin in here.margins.items()}
    return Point(
        items=items,
        found=here.tally(here.scores),
        full=here.tally(full),
        difference=None if same else here.mean(gains, bounds=None),
        unvaried=unvaried,
    )


def _refuse_too_many(score: Score, asked: int) -> None:
    if score.history_items > asked:
        raise DataError(
            f"record {score.id!r}: was told {score.history_items} history items, expected at most {asked}; these "
            "scores are of a longer history, or of both kinds of items where one was expected (kinds)"
        )
