"""Which way a policy moved on each record, and how often that was the right way among some of them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from alignx.errors import DataError
from alignx.evaluation.scores import Score
from alignx.intervals import Estimate, clustered_mean
from alignx.prompts import ProfileSource
from alignx.records import Record


@dataclass(frozen=True)
class Tally:
    """How often a policy moved towards the preferred response, strictly, among some records."""

    n: int
    ties: int
    """Records without a move either way; they count as not right."""
    accuracy: Estimate | None
    """None where there is no record."""

    @property
    def clusters(self) -> int:
        """Users where known, else distinct targets."""
        return self.accuracy.clusters if self.accuracy else 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"n": self.n, "ties": self.ties, "accuracy": self.accuracy and self.accuracy.as_dict()}


@dataclass(frozen=True)
class Bin:
    """The records that are alike in some way, and how often the policy was right on them."""

    label: str
    found: Tally

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"label": self.label, **self.found.as_dict()}


@dataclass(frozen=True)
class Moves:
    """One policy under one condition, compared with its reference.

    Attributes:
        scores: The policy's scores by id.
        margins: By how many nats it moved towards each record's preferred response, relative to the reference.
    """

    scores: Mapping[str, Score]
    margins: Mapping[str, float]

    def __post_init__(self) -> None:
        """Refuse nothing, and scores and margins of different records."""
        refuse_unlike(self.scores.keys(), "the scores", self.margins.keys(), "the margins")
        if not self.scores:
            raise DataError("got no scores to take apart, expected at least one record")

    def tally(self, names: Iterable[str]) -> Tally:
        """How often the policy was right on the records of these ids."""
        chosen = list(names)
        right = self.mean({name: float(self.margins[name] > 0) for name in chosen})
        return Tally(len(chosen), sum(self.margins[name] == 0 for name in chosen), right)

    def mean(self, values: Mapping[str, float], bounds: tuple[float, float] | None = (0.0, 1.0)) -> Estimate | None:
        """Mean of a value for each record, clustered as the scores are; None without a record."""
        if not values:
            return None
        return clustered_mean(list(values.values()), [self.scores[name].cluster for name in values], bounds)

    def bins(self, labels: Iterable[str], of: Mapping[str, str]) -> tuple[Bin, ...]:
        """A tally for each label, in their order, of the records that ``of`` puts under it."""
        members: dict[str, list[str]] = {label: [] for label in labels}
        for name, label in of.items():
            members[label].append(name)
        return tuple(Bin(label, self.tally(names)) for label, names in members.items())

    def records_of(self, records: Mapping[str, Record]) -> dict[str, Record]:
        """The record of each score.

        Raises:
            DataError: One is missing.
        """
        if missing := self.scores.keys() - records.keys():
            raise DataError(
                f"{len(missing)} scored ids are among no records, such as {min(missing)!r}; expected the records that "
                "were scored"
            )
        return {name: records[name] for name in self.scores}


def together(parts: Mapping[str, Moves]) -> Moves:
    """The moves of several files as one: ids are told apart by the file, clusters are shared."""
    scores = {f"{part}/{name}": score for part, moves in parts.items() for name, score in moves.scores.items()}
    return Moves(scores, {f"{part}/{name}": m for part, moves in parts.items() for name, m in moves.margins.items()})


def is_apart(score: Score) -> bool:
    """Whether a profile was told that was not made of the history: a ready one, or the target's own direction."""
    return score.profile in {ProfileSource.READY.value, ProfileSource.GOLDEN.value}


def refuse_unlike(one: Collection[str], called: str, other: Collection[str], other_called: str) -> None:
    """Check that two sets of ids are the same.

    Raises:
        DataError: An id is in one only.
    """
    if unlike := set(one) ^ set(other):
        raise DataError(
            f"{called} and {other_called} are compared record by record, but {len(unlike)} ids are in one only, such "
            f"as {min(unlike)!r}; expected the same records in both"
        )


def refuse_regrouped(one: Moves, called: str, other: Moves, other_called: str) -> None:
    """Check that two runs are about the same choices of the same users.

    Raises:
        DataError: An id is in one only, or names another choice or another user there.
    """
    refuse_unlike(one.scores.keys(), called, other.scores.keys(), other_called)
    for name, score in one.scores.items():
        mine, theirs = ((each.target, each.cluster) for each in (score, other.scores[name]))
        if mine != theirs:
            raise DataError(
                f"record {name!r}: {called} have target and cluster {mine}, {other_called} {theirs}; expected the same "
                "choices under both conditions"
            )
