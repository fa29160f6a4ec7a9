"""Accuracies of one model from where they were written, refused where they are another model's."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from alignx import manifest
from alignx.errors import DataError
from alignx.manifest import DataIdentity, Manifest, ModelIdentity, digest, file_digest
from alignx.models.loading import ModelFiles

RESULTS = "results.json"
M = TypeVar("M", bound=BaseModel)


class Interval(BaseModel):
    """A share with its 95 % interval."""

    model_config = ConfigDict(frozen=True)

    mean: float
    low: float
    high: float
    n: int
    clusters: int
    note: str = ""


class Counted(BaseModel):
    """What comparing a policy and a reference gave, as ``alignx accuracy`` and ``alignx evaluate`` write it."""

    model_config = ConfigDict(frozen=True)

    n: int
    targets: int
    ties: int
    accuracy: Interval
    raw: Interval
    skipped: int
    trimmed: int
    persona_empty: int
    notes: tuple[str, ...] = ()


class _Side(BaseModel):
    model: ModelIdentity | None


class _File(Counted):
    """An accuracy's file."""

    policy: _Side
    reference: _Side


class _Row(Counted):
    """A row of a report."""

    policy: str
    label: str
    role: str


@dataclass(frozen=True)
class Measured:
    """One accuracy of the model, and under what it was measured."""

    counted: Counted
    data: DataIdentity | None
    condition: dict[str, Any]
    reference: ModelIdentity | None
    label: str = ""
    """Of a report's row."""


@dataclass(frozen=True)
class _KnownBase(ModelFiles):
    """An adapter's base of which only the digest is at hand."""

    known: str = ""

    def _digest(self) -> str:
        return self.known


def weights_digest(folder: Path, found: Manifest, adapter: bool) -> str:
    """The digest by which scores name a run's weights; an adapter's with its base's, which need not be here.

    Args:
        folder: Of the run.
        found: Its manifest.
        adapter: Whether it holds adapters.
    """
    base = None
    if adapter and found.model is not None:
        base = _KnownBase(found.model.name, folder, None, known=found.model.digest)
    return ModelFiles(str(folder), folder, None, base).identity().digest


def read_accuracy(path: Path, weights: str) -> Measured:
    """An accuracy that ``alignx accuracy`` wrote.

    Args:
        path: Its JSON file.
        weights: Digest of the model that it must be about.

    Raises:
        DataError: It is unfinished or changed, or about another model.
    """
    found = _read_manifest(path, "accuracy")
    if file_digest(path) not in found.files.values():  # whatever both are called now
        raise DataError(f"{path}: is not as it was written; make it again")
    counted = _parsed(_File, _loaded(path), path)
    _refuse_other(path, counted.policy.model, weights)
    return Measured(counted, found.data, found.condition or {}, counted.reference.model)


def read_report(path: Path, weights: str) -> list[Measured]:
    """The rows of a report of ``alignx evaluate`` that are about one model.

    Args:
        path: Its ``results.json``, or the folder that holds it.
        weights: Digest of the model.

    Raises:
        DataError: It is unfinished or changed, its scores are gone, or no row is about the model.
    """
    folder = path if path.is_dir() else path.parent
    results = folder / RESULTS
    found = _read_manifest(folder, "report")
    if not results.is_file() or found.files.get(RESULTS) != file_digest(results):
        raise DataError(f"{results}: is not as it was written; make the report again")
    rows = _loaded(results)
    if not isinstance(rows, list):
        raise DataError(f"{results}: found {type(rows).__name__}, expected a list of rows")
    measured = []
    for row in (_parsed(_Row, row, results) for row in rows):
        policy, reference = _scored(folder, row)
        if policy.model is not None and policy.model.digest == weights:
            measured.append(Measured(row, policy.data, policy.condition or {}, reference.model, row.label))
    if not measured:
        raise DataError(f"{results}: none of its {len(rows)} rows is about these weights ({weights[:12]}…)")
    return measured


def _scored(folder: Path, row: _Row) -> tuple[Manifest, Manifest]:
    """What the scores of a row, the policy's and the reference's, say of themselves; a report names them by digest."""
    short = digest(row.policy, row.label)[:8]
    found = []
    for end in ("", "-reference"):
        files = sorted((folder / "scores").glob(f"*-{short}{end}.jsonl"))
        if len(files) != 1:
            raise DataError(
                f"{folder}: {len(files)} files of scores for the row {row.policy}, {row.label}; only they say which "
                "model it is about, so keep the report's scores/ beside it"
            )
        found.append(_read_manifest(files[0], "scores"))
    return found[0], found[1]


def _read_manifest(path: Path, kind: str) -> Manifest:
    if not path.exists():
        raise DataError(f"{path}: no such file")
    found = manifest.read(path)
    if found.kind != kind:
        raise DataError(f"{path}: is of kind {found.kind!r}, expected {kind!r}")
    return found


def _loaded(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: is no JSON ({error})") from error


def _parsed(model: type[M], value: Any, path: Path) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: {where}: {first['msg']}; write it again with this version") from error


def _refuse_other(path: Path, policy: ModelIdentity | None, weights: str) -> None:
    if policy is None or policy.digest != weights:
        of = "an unnamed model" if policy is None else f"{policy.name} ({policy.digest[:12]}…)"
        raise DataError(f"{path}: is the accuracy of {of}, not of these weights ({weights[:12]}…)")
