"""``alignx evaluate``: policies times conditions, each against the reference on the very same prompts."""

import json
import time
from functools import cache
from pathlib import Path
from typing import Any

from alignx import manifest
from alignx.errors import DataError, SettingsError
from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.outcomes import Empty, compare_all, describe, further_scores_of, scores_of
from alignx.evaluation.rows import Cell, Policy
from alignx.evaluation.scores import Loader, UntellableError, score
from alignx.evaluation.settings import ScoreSettings
from alignx.evaluation.sources import Sources
from alignx.manifest import Manifest
from alignx.models.loading import ModelFiles, find_model, load_model

TIMINGS = "timings.jsonl"
"""How long the scoring itself took, in the output."""
BENCHMARKS = "benchmarks.json"
"""In the output: each policy in each column under each condition, with the reasons of what is missing, and what the
files hold."""
_OURS = {"scores", "results.json", BENCHMARKS, "report.md", "report.html", "figures", TIMINGS}
"""What an unfinished evaluation may have left."""


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

    if not settings.root.is_dir():
        raise SettingsError(f"--root: {settings.root} is no folder, expected the one that models and data are in")
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
    sources = Sources(settings)
    if of_columns := entries(settings, outcomes, empty):
        held = {data: sources.health(data).as_dict() for data in dict.fromkeys(o.cell.data for o in outcomes)}
        written.append(settings.output / BENCHMARKS)
        _write_json(written[-1], {"columns": [entry.as_dict() for entry in of_columns], "files": held})
    pages = write_report(settings, outcomes, empty, sources)
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


def _score_all(settings: EvaluateSettings) -> list[Empty]:
    """Every model's scores, one model in memory at a time; returns the rows of benchmarks that could not be scored.

    Raises:
        DataError: A row that is no benchmark's cannot be scored, or the output holds something else.
    """
    from accelerate import PartialState
    from tqdm import tqdm

    jobs = [
        (model, policy, cell, path)
        for place in (0, 1)
        for policy in settings.policies
        for cell in settings.cells_of(policy.name)
        for model, path in [
            ((policy.model, settings.reference)[place], scores_of(settings, policy, cell)[place]),
        ]
    ]
    jobs += [
        (other.model, policy, cell, further_scores_of(settings, policy, cell, other))
        for other in settings.references
        for policy in settings.policies
        for cell in settings.cells_of(policy.name)
        if other in settings.references_of(policy, cell)
    ]
    empty = _absent(settings)
    load, begun = _remembering(load_model), time.monotonic()
    missing = not all(manifest.path_of(path).is_file() for *_, path in jobs)
    for model, policy, cell, path in tqdm(jobs, desc="scoring", unit=" files", disable=None):
        if (policy.name, cell.label) in empty:
            continue
        try:
            score(_score_settings(settings, model, policy, cell, path), load=load, quiet=True)
        except UntellableError as error:
            if not cell.column:
                raise
            where = settings.find(cell.data)
            reason = str(error) if where in str(error) else f"{where}: {error}"
            empty[policy.name, cell.label] = Empty(policy, cell, reason)
        except DataError as error:
            raise DataError(f"{policy.name}, {cell.label} ({settings.find(cell.data)}): {error}") from None
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
    like = None if model == policy.model else scores_of(settings, policy, cell)[0]
    of_persona = {name: getattr(cell, name) for name in ("persona", "history", "tell")}
    told = {} if like else {"method": policy.method, **of_persona, **chosen}
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
