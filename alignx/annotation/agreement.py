"""How well inferred directions agree with known ones.

An observation is one dimension of one distinct item: the level inferred against the level known. Most levels are
neutral, so that agreement alone says little: what always saying neutral would reach stands beside it, and what matters
to a profile, the poles, is counted apart. Intervals are clustered by whose item it is.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from alignx.annotation.questions import Answer
from alignx.errors import DataError
from alignx.intervals import Estimate, clustered_mean
from alignx.records import Direction, Taxonomy
from alignx.records.directions import NEUTRAL, POSITIVE

LEVELS: Final = ("negative", "neutral", "positive")
BANDS: Final = (0, 25, 50, 60, 70, 80, 90, 95)
"""Where each band of certainty begins; the last one ends with 100."""


@dataclass(frozen=True)
class Compared:
    """A distinct item whose direction is known, and what was inferred of it."""

    known: Direction
    cluster: str
    """Whose item it is: the user, else the target."""
    answers: Mapping[int, Answer] | None
    """By dimension, all of them; None where the item could not be annotated."""
    problem: str = ""
    """Why it could not."""


@dataclass(frozen=True)
class Dimensional:
    """Agreement on one dimension."""

    index: int
    agreement: Estimate
    poles: int
    """Items whose known level is a pole."""
    poles_right: int


@dataclass(frozen=True)
class Band:
    """The answers of like certainty."""

    low: int
    high: int
    """Both included."""
    agreement: Estimate
    share: float
    """Of all answers."""
    coverage: float
    """Share of all answers that are at least so certain."""
    agreement_from_here: Estimate
    """Of these."""
    poles: int
    """Answers of the band that say a pole."""
    poles_right: int


@dataclass(frozen=True)
class Agreement:
    """What came of a comparison."""

    items: int
    """Distinct items compared."""
    unannotated: Mapping[str, int]
    """Items without an answer, by reason; in none of the numbers below."""
    overall: Estimate
    neutral: Estimate
    """What always saying neutral would reach: the share of known levels that are neutral."""
    poles: Estimate | None
    """Agreement where the known level is a pole; None where there is none."""
    reversed: Estimate | None
    """How often the opposite pole is inferred there."""
    stated: Estimate | None
    """How often an inferred pole is the known level; None where none is inferred."""
    confusion: tuple[tuple[int, ...], ...]
    """Counts, known level by inferred level, each negative, neutral, positive."""
    dimensions: tuple[Dimensional, ...]
    bands: tuple[Band, ...]
    """From the least certain up, those that hold an answer."""

    @property
    def coverage(self) -> float:
        """Share of the items that were annotated."""
        return self.items / (self.items + sum(self.unannotated.values()))

    @property
    def row_shares(self) -> tuple[tuple[float | None, ...], ...]:
        """The confusion with each row as shares of it; None in a row without observations."""
        return tuple(tuple(count / sum(row) if sum(row) else None for count in row) for row in self.confusion)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "items": self.items,
            "unannotated": dict(self.unannotated),
            "coverage": self.coverage,
            "agreement": self.overall.as_dict(),
            "always_neutral": self.neutral.as_dict(),
            "where_known_is_a_pole": _as_dict(self.poles),
            "reversed_poles": _as_dict(self.reversed),
            "where_a_pole_is_stated": _as_dict(self.stated),
            "levels": list(LEVELS),
            "confusion": [list(row) for row in self.confusion],
            "confusion_row_shares": [list(row) for row in self.row_shares],
            "dimensions": [{**vars(one), "agreement": one.agreement.as_dict()} for one in self.dimensions],
            "certainty": [
                {
                    **vars(one),
                    "agreement": one.agreement.as_dict(),
                    "agreement_from_here": one.agreement_from_here.as_dict(),
                }
                for one in self.bands
            ],
        }

    def __str__(self) -> str:
        """In a few lines, for people."""
        lines = [
            f"agreement with known directions, {self.items} items: {self.overall}",
            f"  always saying neutral: {self.neutral}",
            f"  where the known level is a pole: {_said(self.poles)}; reversed {_said(self.reversed)}",
            f"  where a pole is inferred: {_said(self.stated)}",
        ]
        if self.unannotated:
            reasons = "; ".join(f"{count} × {reason}" for reason, count in self.unannotated.items())
            lines.append(f"  not annotated and in none of these: {reasons}")
        return "\n".join(lines)


def measure(items: Iterable[Compared], taxonomy: Taxonomy) -> Agreement:
    """Compare what was inferred with what is known.

    Args:
        items: Each distinct item once.
        taxonomy: The one that directions and answers are over.

    Raises:
        DataError: No item was annotated.
        ValueError: A direction or a set of answers is not over this taxonomy.
    """
    seen: list[_Seen] = []
    unannotated = Counter[str]()
    for one in items:
        if one.answers is None:
            unannotated[one.problem or "no reason given"] += 1
        else:
            seen += _look_at(one.known, one.answers, one.cluster, len(taxonomy))
    if not seen:
        reasons = "; ".join(f"{count} × {reason}" for reason, count in unannotated.most_common(3))
        raise DataError(
            f"no item whose direction is known was annotated, so there is nothing to compare ({reasons or 'no items'})"
        )
    counts = Counter((one.known, one.level) for one in seen)
    known_poles = [one for one in seen if one.known != NEUTRAL]
    by_dimension: list[list[_Seen]] = [[] for _ in range(len(taxonomy))]
    for observation in seen:
        by_dimension[observation.dimension].append(observation)
    return Agreement(
        items=len(seen) // len(taxonomy),
        unannotated=dict(unannotated.most_common()),
        overall=_share(seen, _is_right),
        neutral=_share(seen, lambda one: one.known == NEUTRAL),
        poles=_share(known_poles, _is_right) if known_poles else None,
        reversed=_share(known_poles, lambda one: one.level == POSITIVE - one.known) if known_poles else None,
        stated=_share(stated, _is_right) if (stated := [one for one in seen if one.level != NEUTRAL]) else None,
        confusion=tuple(tuple(counts[known, level] for level in range(len(LEVELS))) for known in range(len(LEVELS))),
        dimensions=tuple(_dimension(index, of_it) for index, of_it in enumerate(by_dimension)),
        bands=tuple(_bands(seen)),
    )


class _Seen(NamedTuple):
    """An observation."""

    dimension: int
    known: int
    level: int
    certainty: int
    cluster: str


def _look_at(known: Direction, answers: Mapping[int, Answer], cluster: str, size: int) -> Iterator[_Seen]:
    if len(known) != size or answers.keys() != set(range(size)):
        raise ValueError(
            f"a direction of {len(known)} levels and answers about {len(answers)} dimensions, expected {size} of each"
        )
    for dimension, level in enumerate(known):
        yield _Seen(dimension, level, *answers[dimension], cluster)


def _is_right(one: _Seen) -> bool:
    return one.level == one.known


def _share(seen: Sequence[_Seen], holds: Callable[[_Seen], bool]) -> Estimate:
    return clustered_mean([float(holds(one)) for one in seen], [one.cluster for one in seen])


def _dimension(index: int, seen: Sequence[_Seen]) -> Dimensional:
    poles = [one for one in seen if one.known != NEUTRAL]
    return Dimensional(index, _share(seen, _is_right), len(poles), sum(map(_is_right, poles)))


def _bands(seen: Sequence[_Seen]) -> Iterator[Band]:
    for low, end in zip(BANDS, (*BANDS[1:], 101), strict=True):
        within = [one for one in seen if low <= one.certainty < end]
        if not within:
            continue
        from_here = [one for one in seen if one.certainty >= low]
        poles = [one for one in within if one.level != NEUTRAL]
        yield Band(
            low,
            end - 1,
            _share(within, _is_right),
            len(within) / len(seen),
            len(from_here) / len(seen),
            _share(from_here, _is_right),
            len(poles),
            sum(map(_is_right, poles)),
        )


def _as_dict(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else estimate.as_dict()


def _said(estimate: Estimate | None) -> str:
    return "there is none" if estimate is None else str(estimate)
