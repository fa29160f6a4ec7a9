"""Accuracy by how much of the target's direction the history that is told states alike, oppositely, or not at all."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from alignx.errors import DataError
from alignx.evaluation.breakdown.moves import Bin, Moves, is_apart
from alignx.intervals import Estimate
from alignx.prompts import Condition, Method, tell
from alignx.records import Choice, Comment, Direction, Record, Taxonomy, aggregate
from alignx.records.directions import NEUTRAL

Stated = Literal["alike", "opposite", "unstated"]
STATED: tuple[Stated, ...] = ("alike", "opposite", "unstated")
BINS = ("none", "up to a third", "up to two thirds", "more, not all", "all")
"""Of the target's poles; exact fractions are compared."""


@dataclass(frozen=True)
class OneRelation:
    """Records by the share of the target's poles that stand in one relation to the history."""

    stated: Stated
    mean: Estimate | None
    """Mean share over the records; None without a record."""
    bins: tuple[Bin, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        mean = self.mean and self.mean.as_dict()
        return {"stated": self.stated, "mean_share": mean, "bins": [each.as_dict() for each in self.bins]}


@dataclass(frozen=True)
class Agreement:
    """The same records three times, by each relation."""

    relations: tuple[OneRelation, ...]
    n: int
    """Records that are in the bins."""
    silent: int
    """Records among them that are told no history item, so that no pole is stated."""
    trimmed: int
    """Records among them whose prompt lost items, being too long; those items are counted as told."""
    apart: int
    """Records among them that were told a profile which was not made of their history."""
    undirected: int
    """Records left out: the target has no direction."""
    neutral: int
    """Records left out: the target's direction has no pole."""
    unannotated: int
    """Records left out: they are told history items, but none has a direction."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.__dict__, "relations": [each.as_dict() for each in self.relations]}


def by_agreement(
    moves: Moves,
    records: Mapping[str, Record],
    condition: Condition,
    taxonomy: Taxonomy,
    donors: Mapping[str, Record] | None = None,
) -> Agreement:
    """How often a policy is right, by what the history told has to do with the target.

    The history is the one that the condition tells: of which user, which items. Its direction is aggregated with the
    condition's thresholds, from the items that have one.

    Args:
        moves: The policy under ``condition``.
        records: By id, at least those that were scored.
        condition: What the policy was told.
        taxonomy: The preference dimensions.
        donors: For persona ``other``: the record whose persona each record borrows.

    Raises:
        DataError: A scored id is among no records, directions are of different taxonomies, or a donor is missing.
    """
    items = condition.model_copy(
        update={"method": Method.ICA}
    )  # which items are told is the same, and needs no profile
    left_out: Counter[str] = Counter()
    counts: dict[str, Counter[Stated]] = {}
    silent = 0
    for name, record in moves.records_of(records).items():
        told = tell(record, items, taxonomy, donors)
        said: list[Comment | Choice] = [*told.comments, *told.choices]
        stated = [item.direction for item in said if item.direction is not None]
        if record.direction is None:
            left_out["undirected"] += 1
        elif all(level == NEUTRAL for level in record.direction):
            left_out["neutral"] += 1
        elif said and not stated:
            left_out["unannotated"] += 1
        else:
            silent += not said
            history = aggregate(stated, condition.thresholds) if stated else bytes([NEUTRAL]) * len(record.direction)
            counts[name] = relate(record, history)
    return Agreement(
        relations=tuple(_relation(moves, stated, counts) for stated in STATED),
        n=len(counts),
        silent=silent,
        trimmed=sum(moves.scores[name].trimmed_items > 0 for name in counts),
        apart=sum(is_apart(moves.scores[name]) for name in counts),
        undirected=left_out["undirected"],
        neutral=left_out["neutral"],
        unannotated=left_out["unannotated"],
    )


def relate(record: Record, history: Direction) -> Counter[Stated]:
    """How many poles of a record's target a direction states alike, oppositely, and not at all.

    Raises:
        DataError: The two directions are of different taxonomies.
    """
    target = record.direction or b""
    if len(target) != len(history):
        raise DataError(
            f"record {record.id}: its direction has {len(target)} dimensions, its history's {len(history)}; expected "
            "one taxonomy"
        )
    return Counter(
        "unstated" if said == NEUTRAL else "alike" if said == level else "opposite"
        for level, said in zip(target, history, strict=True)
        if level != NEUTRAL
    )


def _relation(moves: Moves, stated: Stated, counts: Mapping[str, Counter[Stated]]) -> OneRelation:
    shares = {name: Fraction(found[stated], found.total()) for name, found in counts.items()}
    mean = moves.mean({name: float(share) for name, share in shares.items()})
    return OneRelation(stated, mean, moves.bins(BINS, {name: bin_of(share) for name, share in shares.items()}))


def bin_of(share: Fraction) -> str:
    """The bin of a share of the target's poles."""
    none, third, two_thirds, more, every = BINS
    if share in (0, 1):
        return every if share else none
    return third if share <= Fraction(1, 3) else two_thirds if share <= Fraction(2, 3) else more
