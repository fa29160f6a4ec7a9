"""What came of the rows of an evaluation: each policy's accuracy from its finished scores, or why there is none."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignx import manifest
from alignx.errors import DataError
from alignx.evaluation.accuracy import OF_CONDITION, Accuracy, Compared, compare_files
from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.rows import Cell, Expectation, Policy, Reference
from alignx.evaluation.scores import Score
from alignx.intervals import Estimate, clustered_mean

_OF_BENCHMARK = ("column", "part", "condition", "expected_n")


@dataclass(frozen=True)
class Outcome:
    """What one policy did in one row."""

    policy: Policy
    cell: Cell
    found: Accuracy
    reference_raw: Estimate
    """Share of items where the reference alone finds the preferred response likelier."""
    difference: Estimate | None
    """From the row named by ``expect.versus``: mean over the same items."""
    file: Path
    """Where the policy's scores are."""
    scores: Mapping[str, Score]
    reference: Mapping[str, Score]
    against: Mapping[str, Accuracy] = field(default_factory=dict)
    """The same against further references, by their names."""

    @property
    def met(self) -> bool | None:
        """Whether the expectation holds; None where there is none."""
        return None if self.cell.expect is None else holds(self.cell.expect, self.found.accuracy, self.difference)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "policy": self.policy.name,
            "method": self.policy.method.value,
            "label": self.cell.label,
            "role": self.cell.role,
            **self.found.as_dict(),
            "reference_raw": self.reference_raw.as_dict(),
            "difference": self.difference and self.difference.as_dict(),
            "against": {name: found.as_dict() for name, found in self.against.items()},
            "benchmark": {name: value for name in _OF_BENCHMARK if (value := getattr(self.cell, name))},
            "expect": self.cell.expect and self.cell.expect.model_dump(exclude_none=True),
            "met": self.met,
        }


@dataclass(frozen=True)
class Empty:
    """A row of a benchmark that could not be measured."""

    policy: Policy
    cell: Cell
    reason: str
    """What was found and expected, as an error says it, without its full stop."""


def holds(expected: Expectation, accuracy: Estimate, difference: Estimate | None = None) -> bool:
    """Whether an interval is where it was expected."""
    return (
        (expected.low_above is None or accuracy.low > expected.low_above)
        and (expected.high_below is None or accuracy.high < expected.high_below)
        and (expected.low_at_most is None or accuracy.low <= expected.low_at_most)
        and (
            expected.reaches is None
            or (difference is not None and math.isfinite(difference.high) and difference.high > expected.reaches)
        )
        and (expected.exceeds is None or (difference is not None and difference.low > expected.exceeds))
    )


def compare_all(settings: EvaluateSettings, empty: Sequence[Empty] = ()) -> list[Outcome]:
    """Every row's outcome, from finished scores.

    Args:
        settings: Which rows.
        empty: Those that have none.

    Raises:
        DataError: Scores are missing or broken.
    """
    outcomes = []
    missing = {(one.policy.name, one.cell.label) for one in empty}
    for policy in settings.policies:
        cells = [cell for cell in settings.cells_of(policy.name) if (policy.name, cell.label) not in missing]
        read = {cell.label: compare_files(*scores_of(settings, policy, cell), settings.beta) for cell in cells}
        for cell in cells:
            here = read[cell.label]
            versus = cell.expect.versus if cell.expect is not None else None
            versus = versus if versus in read else None
            outcomes.append(
                Outcome(
                    policy=policy,
                    cell=cell,
                    found=here.accuracy,
                    reference_raw=_raw(here.reference),
                    difference=None if versus is None else _difference(cell.label, here, versus, read[versus]),
                    file=scores_of(settings, policy, cell)[0],
                    scores=here.policy,
                    reference=here.reference,
                    against={
                        other.name: compare_files(
                            scores_of(settings, policy, cell)[0],
                            further_scores_of(settings, policy, cell, other),
                            settings.beta,
                        ).accuracy
                        for other in settings.references_of(policy, cell)
                    },
                )
            )
    return outcomes


def margins(scores: Mapping[str, Score], reference: Mapping[str, Score]) -> dict[str, float]:
    """By how many nats the policy moved towards each item's preferred response, relative to the reference."""
    return {
        name: (one.chosen - reference[name].chosen) - (one.rejected - reference[name].rejected)
        for name, one in scores.items()
    }


def _raw(scores: Mapping[str, Score]) -> Estimate:
    return clustered_mean([float(s.chosen > s.rejected) for s in scores.values()], [s.cluster for s in scores.values()])


def _difference(label: str, mine: Compared, other: str, theirs: Compared) -> Estimate:
    """Mean over items of being right in one row minus being right in the other."""
    here, there = margins(mine.policy, mine.reference), margins(theirs.policy, theirs.reference)
    if unlike := here.keys() ^ there.keys():
        raise DataError(
            f"rows {label!r} and {other!r} are compared record by record, but {len(unlike)} ids are in one only, such "
            f"as {min(unlike)!r}; give both the same records"
        )
    values = [float(here[name] > 0) - float(there[name] > 0) for name in here]
    return clustered_mean(values, [mine.policy[name].cluster for name in here], bounds=None)


def scores_of(settings: EvaluateSettings, policy: Policy, cell: Cell) -> tuple[Path, Path]:
    """Where the policy's and the reference's scores of a row are."""
    words = f"{_slug(policy.name)}-{_slug(cell.label)}"[:80].strip("-")
    name = f"{words}-{manifest.digest(policy.name, cell.label)[:8]}"
    folder = settings.output / "scores"
    return folder / f"{name}.jsonl", folder / f"{name}-reference.jsonl"


def further_scores_of(settings: EvaluateSettings, policy: Policy, cell: Cell, reference: Reference) -> Path:
    """Where the scores of a further reference are."""
    path = scores_of(settings, policy, cell)[1]
    return path.with_name(f"{path.stem}-{_slug(reference.name)[:30]}-{manifest.digest(reference.name)[:8]}.jsonl")


def _slug(text: str) -> str:
    """A hint for who looks into the folder; what tells files apart is the digest beside it."""
    return "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in text.lower()).split())


def by_reason(empty: Sequence[Empty]) -> dict[str, list[str]]:
    """The rows that could not be measured, by why: those of one column and one file together."""
    found: dict[str, dict[tuple[str, str], list[str]]] = {}
    for one in empty:
        found.setdefault(one.reason, {}).setdefault((one.policy.name, one.cell.where), []).append(one.cell.condition)
    return {
        reason: [f"{policy}, {where} ({', '.join(conditions)})" for (policy, where), conditions in rows.items()]
        for reason, rows in found.items()
    }


def notes_of(outcomes: Sequence[Outcome], *, of_intervals: bool = True) -> list[str]:
    """What the comparisons, and their intervals too, say of themselves, and the rows of which they say it."""
    rows: dict[str, list[str]] = {}
    for o in outcomes:
        for note in [*o.found.notes, *([o.found.accuracy.note] if of_intervals and o.found.accuracy.note else [])]:
            if note.startswith(OF_CONDITION):
                continue  # the row's label and note say it
            rows.setdefault(note, []).append(f"{o.policy.name}, {o.cell.label}")
    return [f"{note} ({'; '.join(names)})" for note, names in rows.items()]


def describe(outcomes: Sequence[Outcome], empty: Sequence[Empty] = ()) -> list[str]:
    """A line a row, what could not be measured, and how many expectations hold."""
    width = min(60, max(len(f"{o.policy.name}, {o.cell.label}") for o in outcomes))
    marks = {True: "  as expected", False: "  NOT AS EXPECTED", None: ""}
    lines = [f"{f'{o.policy.name}, {o.cell.label}':<{width}}  {o.found.accuracy}{marks[o.met]}" for o in outcomes]
    lines += [f"note: {note}" for note in notes_of(outcomes, of_intervals=False)]
    lines += [f"not measured: {', '.join(rows)}; {reason}" for reason, rows in by_reason(empty).items()]
    checked = [o.met for o in outcomes if o.met is not None]
    return [*lines, f"expectations: {sum(checked)} of {len(checked)} hold"] if checked else lines
