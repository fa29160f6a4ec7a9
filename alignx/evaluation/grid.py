"""``alignx evaluate``: policies times conditions, each against the reference on the very same prompts."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from alignx import manifest
from alignx.errors import DataError, SettingsError
from alignx.evaluation.accuracy import OF_CONDITION, Accuracy, Compared, compare_files
from alignx.evaluation.grid_settings import Cell, EvaluateSettings, Expectation, Policy, Reference
from alignx.evaluation.scores import Loader, Score, score
from alignx.evaluation.settings import ScoreSettings
from alignx.intervals import Estimate, clustered_mean
from alignx.manifest import Manifest
from alignx.models.loading import ModelFiles, find_model, load_model

TIMINGS = "timings.jsonl"
"""How long the scoring itself took, in the output."""
_OF_BENCHMARK = ("column", "part", "condition", "expected_n")
COLUMNS = "columns.json"
"""The columns of benchmarks, in the output: each policy under each condition, with the reasons of what is missing."""
_OURS = {"scores", "results.json", COLUMNS, "report.md", "report.html", "figures", TIMINGS}
"""What an unfinished evaluation may have left."""


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


def evaluate(settings: EvaluateSettings) -> str:
    """Score what is missing and write the report; returns the accuracies and where the report is.

    Raises:
        DataError: Records are invalid, or the output holds something else.
        ModelError: A model cannot be loaded or read.
    """
    from accelerate import PartialState

    from alignx.evaluation.columns import entries
    from alignx.evaluation.report import write_report
    from alignx.evaluation.report.accuracies import ceiling

    _refuse_other(settings.output)
    ceiling(settings)  # a misspelt world or model is found before anything is scored
    further = [one.model for one in settings.references]
    wanted = [policy.model for policy in settings.policies if settings.cells_of(policy.name)]
    for model in (settings.reference, *further, *wanted):
        find_model(settings.find(model))
    empty = _score_all(settings)
    if not PartialState().is_main_process:
        return ""
    if len(empty) == sum(len(settings.cells_of(policy.name)) for policy in settings.policies):
        raise DataError("nothing could be measured: " + "; ".join(dict.fromkeys(one.reason for one in empty)))
    outcomes = compare_all(settings, empty)
    older = manifest.read_if_present(settings.output)
    manifest.path_of(settings.output).unlink(missing_ok=True)  # from here on, what it says may be of other bytes
    results = settings.output / "results.json"
    _write_json(results, [outcome.as_dict() for outcome in outcomes])
    written = [results]
    if of_columns := entries(settings, outcomes, empty):
        written.append(settings.output / COLUMNS)
        _write_json(written[-1], [entry.as_dict() for entry in of_columns])
    pages = write_report(settings, outcomes, empty)
    files = {str(path.relative_to(settings.output)): manifest.file_digest(path) for path in (*written, *pages)}
    for stale in (older.files if older else {}).keys() - files.keys():
        (settings.output / stale).unlink(missing_ok=True)
    manifest.write(
        settings.output,
        Manifest(
            kind="report",
            settings=settings.model_dump(mode="json"),
            versions=manifest.versions("torch", "transformers", "scipy", "matplotlib"),
            files=files,
        ),
    )
    return "\n".join([*describe(outcomes, empty), "", f"report: {', '.join(str(path) for path in pages[:2])}"])


def _write_json(path: Path, found: object) -> None:
    manifest.write_text(path, json.dumps(found, indent=1, ensure_ascii=False) + "\n")


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
        read = {cell.label: compare_files(*_files(settings, policy, cell), settings.beta) for cell in cells}
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
                    file=_files(settings, policy, cell)[0],
                    scores=here.policy,
                    reference=here.reference,
                    against={
                        other.name: compare_files(
                            _files(settings, policy, cell)[0], _file_of(settings, policy, cell, other), settings.beta
                        ).accuracy
                        for other in settings.references
                        if other.is_for(cell)
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


def _score_all(settings: EvaluateSettings) -> list[Empty]:
    """Every model's scores, one model in memory at a time; returns the rows of benchmarks that could not be scored.

    Raises:
        DataError: A row that is no benchmark's cannot be scored.
    """
    from accelerate import PartialState
    from tqdm import tqdm

    jobs = [
        (model, policy, cell, path)
        for place in (0, 1)
        for policy in settings.policies
        for cell in settings.cells_of(policy.name)
        for model, path in [
            ((policy.model, settings.reference)[place], _files(settings, policy, cell)[place]),
        ]
    ]
    jobs += [
        (other.model, policy, cell, _file_of(settings, policy, cell, other))
        for other in settings.references
        for policy in settings.policies
        for cell in settings.cells_of(policy.name)
        if other.is_for(cell)
    ]
    empty = _absent(settings)
    load, begun = _remembering(load_model), time.monotonic()
    missing = not all(manifest.path_of(path).is_file() for *_, path in jobs)
    for model, policy, cell, path in tqdm(jobs, desc="scoring", unit=" files", disable=None):
        if (policy.name, cell.label) in empty:
            continue
        try:
            score(_score_settings(settings, model, policy, cell, path), load=load, quiet=True)
        except DataError as error:
            if not cell.column:
                raise
            where = settings.find(cell.data)
            reason = str(error) if where in str(error) else f"{where}: {error}"
            empty[policy.name, cell.label] = Empty(policy, cell, reason)
    if settings.timings is not None and missing and PartialState().is_main_process:
        line = {"part": "scoring", "seconds": round(time.monotonic() - begun)}
        path = settings.output / TIMINGS
        cut_off = path.is_file() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
        with path.open("a", encoding="utf-8") as stream:
            stream.write("\n" * cut_off + json.dumps(line) + "\n")
    return list(empty.values())


def _absent(settings: EvaluateSettings) -> dict[tuple[str, str], Empty]:
    """The rows of benchmarks whose files are not there; what the hub has is asked for once a file."""
    from alignx.records.sources import find_files

    @cache
    def why(data: str) -> str:
        try:
            find_files(data)
        except DataError as error:
            return str(error)
        return ""

    return {
        (policy.name, cell.label): Empty(policy, cell, reason)
        for policy in settings.policies
        for cell in settings.cells_of(policy.name)
        if cell.column and (reason := cell.absent or why(settings.find(cell.data)))
    }


def _score_settings(settings: EvaluateSettings, model: str, policy: Policy, cell: Cell, output: Path) -> ScoreSettings:
    chosen = {name: value for name in ("profile", "preset") if (value := getattr(cell, name)) is not None}
    like = None if model == policy.model else _files(settings, policy, cell)[0]
    told = {} if like else {"method": policy.method, "persona": cell.persona, "history": cell.history, **chosen}
    return ScoreSettings(
        model=settings.find(model),
        data=settings.find(cell.data),
        output=output,
        like=like,
        limit=settings.limit,
        seed=None if like else settings.seed,
        taxonomy=settings.taxonomy,
        batch_tokens=settings.batch_tokens,
        shared_prefix=settings.shared_prefix,
        dtype=settings.dtype,
        attention=settings.attention,
        trust_remote_code=settings.trust_remote_code,
        **told,
    )


def _files(settings: EvaluateSettings, policy: Policy, cell: Cell) -> tuple[Path, Path]:
    """Where the policy's and the reference's scores of a row are."""
    words = f"{_slug(policy.name)}-{_slug(cell.label)}"[:80].strip("-")
    name = f"{words}-{manifest.digest(policy.name, cell.label)[:8]}"
    folder = settings.output / "scores"
    return folder / f"{name}.jsonl", folder / f"{name}-reference.jsonl"


def _file_of(settings: EvaluateSettings, policy: Policy, cell: Cell, reference: Reference) -> Path:
    """Where the scores of a further reference are."""
    path = _files(settings, policy, cell)[1]
    return path.with_name(f"{path.stem}-{_slug(reference.name)[:30]}-{manifest.digest(reference.name)[:8]}.jsonl")


def _slug(text: str) -> str:
    """A hint for who looks into the folder; what tells files apart is the digest beside it."""
    return "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in text.lower()).split())


def _remembering(load: Loader) -> Loader:
    """A loader that keeps the last model, and only that."""
    kept: dict[Any, Any] = {}

    def remember(files: ModelFiles, *options: Any) -> Any:
        key = (files.folder, *options)
        if key not in kept:
            kept.clear()
            kept[key] = load(files, *options)
        return kept[key]

    return remember


def _refuse_other(output: Path) -> None:
    if not output.exists():
        return
    if not output.is_dir():
        raise SettingsError(f"--output: {output} is a file, expected a folder")
    found = manifest.read_if_present(output)
    if found is not None and found.kind != "report":
        raise SettingsError(f"--output: {output} holds {found.kind!r}, expected a new folder or an older report")
    names = {path.name for path in output.iterdir()}
    others = names - _OURS if (output / "scores").is_dir() else names
    if found is None and others:
        raise SettingsError(
            f"--output: {output} holds {min(others)}, expected a new or empty folder or an older report"
        )


def by_reason(empty: Sequence[Empty]) -> dict[str, list[str]]:
    """The rows that could not be measured, by why: those of one column and one file together."""
    found: dict[str, dict[tuple[str, str], list[str]]] = {}
    for one in empty:
        where = f"{one.cell.column} {one.cell.part}".strip()
        found.setdefault(one.reason, {}).setdefault((one.policy.name, where), []).append(one.cell.condition)
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
    width = max(len(f"{o.policy.name}, {o.cell.label}") for o in outcomes)
    marks = {True: "  as expected", False: "  NOT AS EXPECTED", None: ""}
    lines = [f"{f'{o.policy.name}, {o.cell.label}':<{width}}  {o.found.accuracy}{marks[o.met]}" for o in outcomes]
    lines += [f"note: {note}" for note in notes_of(outcomes, of_intervals=False)]
    lines += [f"not measured: {', '.join(rows)}; {reason}" for reason, rows in by_reason(empty).items()]
    checked = [o.met for o in outcomes if o.met is not None]
    return [*lines, f"expectations: {sum(checked)} of {len(checked)} hold"] if checked else lines
