"""Benchmarks as the paper's tables have them: one number a policy, column and condition, over all of its files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alignx.evaluation.benchmarks import Column
from alignx.evaluation.breakdown.moves import refuse_unlike
from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.outcomes import Empty, Outcome, margins
from alignx.evaluation.rows import Policy
from alignx.intervals import Estimate, clustered_mean, macro_mean


@dataclass(frozen=True)
class Entry:
    """One policy in one column under one condition."""

    policy: Policy
    column: Column
    condition: str
    parts: tuple[Outcome, ...]
    """Of the files that could be measured."""
    empty: tuple[Empty, ...]
    """Of the others, each with its reason."""

    @property
    def accuracy(self) -> Estimate | None:
        """As the column averages; None where a file is missing, since the rest of a column is not the column."""
        return None if self.empty else average(self.column, self.parts)

    @property
    def n(self) -> int:
        """Records."""
        return sum(outcome.found.n for outcome in self.parts)

    @property
    def ties(self) -> int:
        """Records with no move either way, which count as not right."""
        return sum(outcome.found.ties for outcome in self.parts)

    @property
    def unexpected(self) -> tuple[str, ...]:
        """Files that do not hold as many records as are expected, in words."""
        return tuple(
            f"{outcome.cell.where}: {outcome.found.n} records, {outcome.cell.expected_n} are expected"
            for outcome in self.parts
            if outcome.cell.expected_n not in (None, outcome.found.n + outcome.found.skipped)
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = self.accuracy
        return {
            "policy": self.policy.name,
            "column": self.column.name,
            "condition": self.condition,
            "average": self.column.average,
            "accuracy": found and found.as_dict(),
            "n": self.n,
            "ties": self.ties,
            "unexpected_n": list(self.unexpected),
            "empty": {one.cell.part: one.reason for one in self.empty},
        }


def average(column: Column, parts: Sequence[Outcome]) -> Estimate:
    """Accuracy over the files of a column: every record alike, or every file alike, as the column says."""
    rights: list[float] = []
    clusters: list[str] = []
    of_part: list[str] = []
    for outcome in parts:
        for name, margin in margins(outcome.scores, outcome.reference).items():
            rights.append(float(margin > 0))
            clusters.append(outcome.scores[name].cluster)
            of_part.append(outcome.cell.part)
    if column.average == "parts":
        return macro_mean(rights, clusters, of_part)
    return clustered_mean(rights, clusters)


def entries(settings: EvaluateSettings, outcomes: Sequence[Outcome], empty: Sequence[Empty]) -> list[Entry]:
    """Each policy in each column under each condition that it is for."""
    found = []
    for policy in settings.policies:
        for column in settings.columns:
            for condition in settings.conditions:
                wanted = [
                    cell
                    for cell in settings.cells_of(policy.name)
                    if (cell.column, cell.condition) == (column.name, condition.name)
                ]
                if not wanted:
                    continue
                labels = {cell.label for cell in wanted}
                found.append(
                    Entry(
                        policy,
                        column,
                        condition.name,
                        tuple(o for o in outcomes if o.policy.name == policy.name and o.cell.label in labels),
                        tuple(e for e in empty if e.policy.name == policy.name and e.cell.label in labels),
                    )
                )
    return found


def gain(own: Entry, other: Entry) -> Estimate:
    """Mean over records of being right in one entry minus being right in another of the same column and policy.

    Raises:
        DataError: The two are about different records.
    """
    values: list[float] = []
    clusters: list[str] = []
    parts: list[str] = []
    for mine, theirs in zip(own.parts, other.parts, strict=True):
        here, there = margins(mine.scores, mine.reference), margins(theirs.scores, theirs.reference)
        refuse_unlike(here, mine.cell.label, there, theirs.cell.label)
        values += [float(here[name] > 0) - float(there[name] > 0) for name in here]
        clusters += [mine.scores[name].cluster for name in here]
        parts += [mine.cell.part] * len(here)
    if own.column.average == "parts":
        return macro_mean(values, clusters, parts, bounds=None)
    return clustered_mean(values, clusters, bounds=None)
