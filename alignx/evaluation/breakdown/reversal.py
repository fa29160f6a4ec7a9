"""Controllability (paper Table 6): does the policy's preference turn round when the persona does?

Turned round are the persona and, with it, what is right: the response that the user rejected. The two responses stay
the same texts, so that the margin towards the reversed target is the negative of the margin towards the chosen
response, exactly. Both outcomes therefore come from scoring the same records twice: with their own persona, and with
the reversed one.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from alignx.evaluation.breakdown.moves import Moves, refuse_regrouped, refuse_unlike
from alignx.intervals import Bounds, Estimate, clustered_mean, macro_mean
from alignx.prompts import Condition, PersonaSource, Rendered, render, tell
from alignx.records import Record, Taxonomy


@dataclass(frozen=True)
class Reversal:
    """One policy, told each persona and its reverse. Every share is of all n records."""

    accuracy: Estimate
    """Own persona: moved towards the chosen response."""
    reversed_accuracy: Estimate
    """Reversed persona: moved towards the originally rejected response."""
    joint: Estimate
    """Right both ways."""
    flip: Estimate
    """The two conditions order the responses oppositely: right both ways, or wrong both ways."""
    wrong_both: Estimate
    """The part of ``flip`` that went the wrong way."""
    difference: Estimate
    """``reversed_accuracy − accuracy``, record by record."""
    ties: int
    """No move either way with the own persona: not right, and no ordering that could change."""
    reversed_ties: int
    tied: int
    """Records with a tie under at least one of the two."""
    unturned: int
    """Records of which reversal changes nothing that is told: free text cannot be reversed."""

    @property
    def n(self) -> int:
        """Records."""
        return self.accuracy.n

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            name: value.as_dict() if isinstance(value, Estimate) else value for name, value in self.__dict__.items()
        }


def reversal(
    own: Moves, turned: Moves, unturned: Collection[str] = (), parts: Mapping[str, str] | None = None
) -> Reversal:
    """Compare a policy's moves under the own persona with those under the reversed one.

    Args:
        own: Told each record's own persona.
        turned: Told the reversed persona, of the same records; margins are towards the same chosen response as in
            ``own``, and what is right is the opposite.
        unturned: Ids of which reversal changes nothing that is told (:func:`find_unturned`).
        parts: The part of each record, where parts count alike whatever their size.

    Raises:
        DataError: The two are about different records, choices or users.
    """
    refuse_regrouped(own, "own persona's scores", turned, "the reversed persona's")
    names = list(own.scores)
    clusters = [own.scores[name].cluster for name in names]
    margins = [(own.margins[name], turned.margins[name]) for name in names]

    def mean(values: list[float], bounds: Bounds | None = (0.0, 1.0)) -> Estimate:
        if parts is not None:
            return macro_mean(values, clusters, [parts[name] for name in names], bounds)
        return clustered_mean(values, clusters, bounds)

    def share(hits: list[bool]) -> Estimate:
        return mean([float(hit) for hit in hits])

    return Reversal(
        accuracy=share([before > 0 for before, _ in margins]),
        reversed_accuracy=share([after < 0 for _, after in margins]),
        joint=share([before > 0 > after for before, after in margins]),
        flip=share([before > 0 > after or before < 0 < after for before, after in margins]),
        wrong_both=share([before < 0 < after for before, after in margins]),
        difference=mean([float(after < 0) - float(before > 0) for before, after in margins], bounds=None),
        ties=sum(before == 0 for before, _ in margins),
        reversed_ties=sum(after == 0 for _, after in margins),
        tied=sum(before == 0 or after == 0 for before, after in margins),
        unturned=len(own.scores.keys() & set(unturned)),
    )


def find_unturned(
    records: Mapping[str, Record],
    condition: Condition,
    taxonomy: Taxonomy,
    turned: Mapping[str, Record] | None = None,
) -> frozenset[str]:
    """Ids of the records that are told the same with their own persona as with the reversed one.

    Under in-context alignment these are the records without choices, since comments and descriptions are free text;
    unless somebody wrote the opposite persona down.

    Args:
        records: With their own personas.
        condition: How they are told; the persona is set here.
        taxonomy: Of the directions.
        turned: The same records with the opposite personas written down; without, persona ``reversed`` makes them.

    Raises:
        DataError: A record cannot be told under the condition, or has no opposite.
    """
    own = condition.model_copy(update={"persona": PersonaSource.OWN})
    other = own if turned is not None else condition.model_copy(update={"persona": PersonaSource.REVERSED})
    opposites = records if turned is None else turned
    refuse_unlike(records.keys(), "the records", opposites.keys(), "their opposites")

    def prompt(record: Record, way: Condition) -> Rendered:
        return render(record, tell(record, way, taxonomy), way)

    return frozenset(name for name, record in records.items() if prompt(record, own) == prompt(opposites[name], other))
