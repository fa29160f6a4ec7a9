"""What every output says about how it was made: one ``Manifest`` type, one digest function.

A manifest is written last, after the output is complete and on disk: it is the commit mark. An output without one is
unfinished, and is continued or refused, never trusted.
"""

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alignx import __version__
from alignx.errors import DataError

FORMAT: Final = "alignx-manifest/1"
FOLDER_MANIFEST = "manifest.json"
_UNSAID: Final[Mapping[str, Any]] = {"tell": "all"}
"""What a condition means that does not say it."""

Kind = Literal[
    "world",
    "converted",
    "cleaned",
    "annotated",
    "prepared",
    "checkpoint",
    "scores",
    "responses",
    "win-rate",
    "judge-check",
    "accuracy",
    "tiny-model",
    "data-report",
    "report",
    "training-state",
]


def digest(*parts: object) -> str:
    """The project's one content digest: SHA-256 of the parts' canonical JSON, in hex.

    Equal content gives equal digests whatever the order of keys and wherever it was stored. Bytes are taken as hex.
    """
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


def digest_of_texts(*parts: object) -> str:
    """:func:`digest` of texts, bytes, None and lists of these, nested as one likes; several times as fast.

    Numbers and objects are not for it: orjson writes some of them in another way.
    """
    try:
        return hashlib.sha256(orjson.dumps(parts, default=_plain)).hexdigest()
    except orjson.JSONEncodeError:  # what orjson cannot write; either fails in the usual way or can be written
        return digest(*parts)


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces; non-ASCII characters as they are."""
    return _CANONICAL.encode(value)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no canonical JSON form")


_CANONICAL: Final = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_plain)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex.

    A file in the hub's cache is a link to a blob named by exactly this digest; then nothing is read.
    """
    blob = path.resolve()
    if blob.parent.name == "blobs" and len(blob.name) == 64:
        return blob.name
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class DataIdentity(BaseModel):
    """Which records an output is about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    """Where they were read from, as the user named it."""
    digest: str
    """Digest of the records' ids and contents in order: equal data under another name has the same."""
    records: int
    skipped: int = 0
    """Invalid or over-long records left out, each shown when it happened."""


class ModelIdentity(BaseModel):
    """Which weights and tokenizer an output comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    digest: str
    """Digest of the weight files' contents."""
    tokenizer: str
    """Digest of the tokenizer files' contents."""
    trained_from: str | None = None
    """Digest of the weights that a checkpoint of ours was trained from."""
    revision: str | None = None
    dtype: str | None = None


class Manifest(BaseModel):
    """How an output was made; see :func:`write` for where it lives."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["alignx-manifest/1"] = FORMAT
    kind: Kind
    data: DataIdentity | None = None
    taxonomy: str | None = None
    """Digest of the preference dimensions."""
    model: ModelIdentity | None = None
    condition: dict[str, Any] | None = None
    """What the model was told: a ``Condition``, as JSON; see :attr:`told`."""
    condition_reason: str | None = None
    """Why this condition: what the checkpoint records, what was set, or the default."""
    settings: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    counts: dict[str, Any] = Field(default_factory=dict)
    """What happened on the way: trimmed prompts, skipped records, sources of profiles."""
    forward: dict[str, Any] | None = None
    """How models read: whether each prompt once, by which attention, how far from the plain forward."""
    files: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of each file of the output, by name."""
    sizes: dict[str, int] = Field(default_factory=dict)
    """Bytes of each file, where a cut one should be found without reading them all."""

    @property
    def told(self) -> dict[str, Any]:
        """The condition with what it leaves unsaid; empty where there is none."""
        return {**_UNSAID, **self.condition} if self.condition else {}

    def differences(self, other: "Manifest", fields: Iterable[str]) -> list[str]:
        """Each named field, ``data.digest`` style, on which two manifests differ, with both values."""
        found = []
        for name in fields:
            mine, theirs = self._get(name), other._get(name)
            if mine == theirs:
                continue
            if name == "condition":
                mine, theirs = self.told, other.told
            if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
                found += [
                    f"{name}.{key} ({_short(mine.get(key))} against {_short(theirs.get(key))})"
                    for key in sorted({*mine, *theirs})
                    if mine.get(key) != theirs.get(key)
                ]
            else:
                found.append(f"{name} ({_short(mine)} against {_short(theirs)})")
        return found

    def _get(self, name: str) -> Any:
        value: Any = self.model_dump(mode="json")
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:12] + "…"


def versions(*packages: str) -> dict[str, str]:
    """Version of this project, and of each named package that is installed."""
    found = {"alignx": __version__}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def path_of(output: Path) -> Path:
    """Where an output's manifest lives: inside a folder, beside a file."""
    return output / FOLDER_MANIFEST if output.is_dir() else output.with_name(output.name + ".manifest.json")


def write(output: Path, manifest: Manifest) -> Path:
    """Commit ``output``: write its manifest whole or not at all, and return where."""
    path = path_of(output)
    write_text(path, json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n")
    return path


def write_text(path: Path, text: str) -> None:
    """Write a small file so that a crash leaves the old one or the new one, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".tmp")
    with draft.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)


def read(output: Path) -> Manifest:
    """The manifest of a finished output.

    Raises:
        DataError: There is none (the output is unfinished or was not made here), or it cannot be read.
    """
    manifest = read_if_present(output)
    if manifest is None:
        raise DataError(
            f"{output}: no {path_of(output).name} beside it, so it is unfinished or was not made by this project; "
            "run the command that makes it again (it continues where it stopped)"
        )
    return manifest


def read_if_present(output: Path) -> Manifest | None:
    """The manifest of an output, or None where none of ours is there.

    Raises:
        DataError: One is there and cannot be read.
    """
    path = path_of(output)
    return load(path) if path.is_file() else None


def load(path: Path) -> Manifest | None:
    """The manifest in a file, or None where the file is something else (another tool's ``manifest.json``).

    Raises:
        DataError: It is ours, and cut or of another version.
    """
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot read the manifest ({error}); delete it to start again") from error
    if not isinstance(loaded, dict) or not str(loaded.get("format", "")).startswith("alignx-manifest/"):
        return None
    try:
        return Manifest.model_validate(loaded)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: {where}: {first['msg']}; expected the format {FORMAT}") from error


def is_intact(output: Path, found: Manifest) -> bool:
    """Whether every file that a manifest names is still there with the same bytes."""
    folder = output if output.is_dir() else output.parent
    paths = [(folder / name, wanted) for name, wanted in found.files.items()]
    return all(path.is_file() and file_digest(path) == wanted for path, wanted in paths)


class RunningDigest:
    """Digest of a sequence of texts, fed one at a time, so that a stream need not be held."""

    def __init__(self) -> None:
        """Start with the empty sequence."""
        self._hash = hashlib.sha256()

    def add(self, text: str) -> None:
        """Append one text."""
        data = text.encode()
        self._hash.update(len(data).to_bytes(8, "big") + data)

    def hexdigest(self) -> str:
        """Digest of what was added so far."""
        return self._hash.hexdigest()
