"""Accuracy by preference dimension, and by pole of the target's direction."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alignx.errors import DataError
from alignx.evaluation.breakdown.moves import Moves, Tally
from alignx.records import Dimension, Record, Taxonomy
from alignx.records.directions import NEGATIVE, NEUTRAL, POSITIVE


@dataclass(frozen=True)
class OneDimension:
    """The records whose target has a pole in one dimension."""

    index: int
    dimension: Dimension
    either: Tally
    positive: Tally
    negative: Tally

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        poles = {"positive": self.dimension.positive, "negative": self.dimension.negative}
        tallies = {"either": self.either, "positive_pole": self.positive, "negative_pole": self.negative}
        named = {"index": self.index, "group": self.dimension.group, **poles}
        return {**named, **{name: each.as_dict() for name, each in tallies.items()}}


@dataclass(frozen=True)
class ByDimension:
    """Every dimension of the taxonomy, in its order; a record counts in each where its target has a pole."""

    dimensions: tuple[OneDimension, ...]
    n: int
    """Records that count somewhere."""
    undirected: int
    """Records whose target has no direction, which count nowhere."""
    neutral: int
    """Records whose target's direction is neutral throughout, which count nowhere."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.__dict__, "dimensions": [each.as_dict() for each in self.dimensions]}


def by_dimension(moves: Moves, records: Mapping[str, Record], taxonomy: Taxonomy) -> ByDimension:
    """How often a policy is right where the two responses differ in a dimension, for each dimension and pole.

    Args:
        moves: The policy under one condition.
        records: By id, at least those that were scored.
        taxonomy: The one that the records were read with.

    Raises:
        DataError: A scored id is among no records, or a direction was made for another taxonomy.
    """
    scored = moves.records_of(records)
    directed = {name: record.direction for name, record in scored.items() if record.direction is not None}
    for name, direction in directed.items():
        if len(direction) != len(taxonomy):
            raise DataError(
                f"record {name}: its direction has {len(direction)} dimensions, the taxonomy {len(taxonomy)}; expected "
                "the taxonomy that the records were read with"
            )
    neutral = sum(all(level == NEUTRAL for level in direction) for direction in directed.values())
    return ByDimension(
        dimensions=tuple(
            OneDimension(
                index,
                dimension,
                *(
                    moves.tally(name for name, direction in directed.items() if direction[index] in levels)
                    for levels in ({NEGATIVE, POSITIVE}, {POSITIVE}, {NEGATIVE})
                ),
            )
            for index, dimension in enumerate(taxonomy.dimensions)
        ),
        n=len(directed) - neutral,
        undirected=len(scored) - len(directed),
        neutral=neutral,
    )
