"""What of a run's folder may be published, and with which bytes: never records, their ids, or paths of a machine."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from alignx.errors import DataError
from alignx.manifest import FOLDER_MANIFEST, Manifest
from alignx.training.curves import plot_curves

ADAPTER = "adapter_config.json"
CURVES = "curves.png"
METRICS = "metrics.jsonl"
_SETTINGS = "settings.json"
_NAMES_RECORDS = "split.json"
_MODEL_SETTINGS = ("config.json", "generation_config.json", "tokenizer_config.json", ADAPTER)
_SUFFIXES = (".safetensors", ".json", ".jinja")
"""Of what a run's manifest names; anything else did not come from a run."""
_PATH_KEY = re.compile(r"(path|file|dir|folder)$")
_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$")
_SHORTEST_SECRET = 8


@dataclass(frozen=True)
class Upload:
    """A file as it will stand in the repository."""

    name: str
    content: Path | bytes
    """Where it is on this machine, or its bytes where they are not those of the run's folder."""

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    def read(self) -> bytes:
        """Its bytes."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


def public_name(text: str) -> str:
    """A name without the machine that it is on: of an absolute, home or climbing path the last part."""
    windows, posix = PureWindowsPath(text), PurePosixPath(text)
    if windows.drive:
        return windows.name or text
    if text.startswith(("/", "~")) or ".." in posix.parts:
        return next((part for part in reversed(posix.parts) if part not in ("..", "/")), text)
    return text


def collect(folder: Path, found: Manifest, base: str | None = None) -> list[Upload]:
    """Everything of a run but its card: what its manifest names without the split, the manifest, metrics and curves.

    Args:
        folder: Of the run.
        found: Its manifest.
        base: Hub id of the base that an adapter shall name, where that is known.
    """
    uploads = [_public(folder / name, base) for name in sorted(found.files) if _may_go(name)]
    uploads.append(Upload(FOLDER_MANIFEST, _manifest(found, uploads)))
    if (folder / METRICS).is_file():
        uploads += [Upload(METRICS, folder / METRICS), *_curves(folder, found)]
    return uploads


def left_out(folder: Path, uploads: Sequence[Upload]) -> list[str]:
    """Names in a run's folder that are not published."""
    public = {upload.name for upload in uploads}
    return [path.name + "/" * path.is_dir() for path in sorted(folder.iterdir()) if path.name not in public]


def refuse_private(uploads: Sequence[Upload], folder: Path, found: Manifest) -> None:
    """Refuse to publish a path of this machine or a secret of its environment that has come through all the same.

    Args:
        uploads: What would be published; weights are not searched.
        folder: Of the run.
        found: Its manifest, as it is in the folder.

    Raises:
        DataError: There is one. A path is named, a secret only by its variable.
    """
    named = [found.data.source if found.data else "", found.model.name if found.model else ""]
    home = Path.home()
    paths = {str(folder.resolve()), *(name for name in named if Path(name).is_absolute())}
    if len(home.parts) > 2:  # /root and the like are words of some vocabularies
        paths.add(str(home))
    secrets = {
        value: name
        for name, value in os.environ.items()
        if _SECRET_NAME.search(name.upper()) and len(value) >= _SHORTEST_SECRET
    }
    for upload in uploads:
        if upload.name.endswith((".safetensors", ".png")):
            continue
        text = upload.read()
        for path in sorted(paths):
            if path.encode() in text:
                raise DataError(f"{upload.name}: holds the path {path}, which is nobody else's business; take it out")
        for value, name in secrets.items():
            if value.encode() in text:
                raise DataError(f"{upload.name}: holds the value of ${name}; take it out, and change that secret")


def _may_go(name: str) -> bool:
    """Whether a file that a manifest names may be published: in the run's folder itself, of a kind that runs leave."""
    return PurePosixPath(name).name == name and name.endswith(_SUFFIXES) and name != _NAMES_RECORDS


def _public(path: Path, base: str | None) -> Upload:
    """A file as it is, or without paths of this machine where it holds any."""
    if path.name != _SETTINGS and path.name not in _MODEL_SETTINGS:
        return Upload(path.name, path)
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: is no JSON ({error})") from error
    public = _without_paths(said, everywhere=path.name == _SETTINGS)
    if path.name == ADAPTER and base is not None:
        public["base_model_name_or_path"] = base
    return Upload(path.name, path if public == said else _json(public))


def _without_paths(value: Any, everywhere: bool, key: str = "") -> Any:
    """The same JSON with every path cut to its last part; elsewhere than in our own files only under keys of paths."""
    if isinstance(value, dict):
        return {name: _without_paths(part, everywhere, name) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_paths(part, everywhere, key) for part in value]
    return public_name(value) if isinstance(value, str) and (everywhere or _PATH_KEY.search(key)) else value


def _manifest(found: Manifest, uploads: Sequence[Upload]) -> bytes:
    """The manifest of what is published: as the run's, with these files and no path."""
    said = _without_paths(found.model_dump(mode="json"), everywhere=True)
    files = {
        upload.name: hashlib.sha256(upload.content).hexdigest()
        if isinstance(upload.content, bytes)
        else found.files[upload.name]
        for upload in uploads
    }
    sizes = {upload.name: upload.size for upload in uploads if upload.name in found.sizes}
    return _json({**said, "files": files, "sizes": sizes})


def _curves(folder: Path, found: Manifest) -> Iterator[Upload]:
    """The picture, drawn again where its title is a path of this machine."""
    if not (folder / CURVES).is_file():
        return
    name = found.model.name if found.model else ""
    if public_name(name) == name:
        yield Upload(CURVES, folder / CURVES)
        return
    method = str((found.condition or {}).get("method", "")).upper()
    with tempfile.TemporaryDirectory() as place:
        picture = Path(place) / CURVES
        plot_curves(folder / METRICS, picture, f"{method}: {public_name(name)}")
        yield Upload(CURVES, picture.read_bytes())


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
