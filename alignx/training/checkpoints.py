"""Checkpoints of an unfinished run: which of them count, what may be resumed with them, and which are kept.

transformers' trainer writes ``checkpoint-STEP`` folders. One counts once its manifest is there, which is written last
and holds the size and digest of every file; one that was cut off or damaged is passed over and named.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignx import manifest
from alignx.errors import DataError, SettingsError
from alignx.manifest import Manifest

PREFIX = "checkpoint-"
KIND = "training-state"
PREEMPTED = "PREEMPTED"
"""File in a run's folder: it was asked to stop, saved a checkpoint, and should be started again."""

CHANGES_NO_RESULT = frozenset(
    {
        "attention",
        "check",
        "data",
        "dtype",
        "eval_every",
        "gradient_checkpointing",
        "keep_after",
        "keep_checkpoints",
        "log_batches",
        "log_every",
        "model",
        "output",
        "preparing_workers",
        "reference",
        "reference_cache",
        "report_to",
        "resume_despite",
        "revision",
        "save_every",
        "shared_prefix",
        "taxonomy",
        "trust_remote_code",
    }
)
"""Settings that a resumed run may have otherwise; what data, taxonomy and model are is told by their digests."""
WORLD_SIZE, ZERO_STAGE = "world_size", "zero_stage"
"""Across which only weights can be taken over: states are in as many shares as there were processes."""
WENT_ON = "went_on_despite"
"""Among a manifest's counts: after which step a run went on across which differences."""
DECIDES_WHAT_IS_TRAINED = ("lora_rank", "lora_targets")
"""Settings across which no weight and no state of the optimiser fits."""


@dataclass(frozen=True)
class Newest:
    """The newest checkpoint that counts, if there is one, and why newer ones do not."""

    folder: Path | None
    manifest: Manifest | None
    passed_over: tuple[tuple[Path, str], ...]
    """Each, with what is wrong with it."""

    @property
    def step(self) -> int:
        """Optimiser steps behind it; 0 without one."""
        return _step(self.folder) if self.folder is not None else 0


def folder_of(output: Path, step: int) -> Path:
    """Where the checkpoint of a step is, or goes."""
    return output / f"{PREFIX}{step}"


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix(PREFIX))


def folders(output: Path) -> list[Path]:
    """Checkpoints of a run, whole or not, the newest first."""
    found = [path for path in output.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdigit() and path.is_dir()]
    return sorted(found, key=_step, reverse=True)


def prepare(folder: Path) -> None:
    """Clear the place of a checkpoint: leftovers of one that was cut off must not be taken for its files."""
    if folder.exists():
        _remove(folder)


def commit(folder: Path, draft: Manifest, counts: Mapping[str, Any]) -> None:
    """Make a written checkpoint count: everything is on disk, then the manifest with sizes and digests.

    Args:
        folder: With all files of all processes.
        draft: The run's manifest.
        counts: What is known at this step, ``step`` and ``world_size`` among it.
    """
    for pickle in folder.rglob("training_args.bin"):  # settings.json says the same
        pickle.unlink()
    paths = _files(folder)
    to_disk(paths)
    names = [path.relative_to(folder).as_posix() for path in paths]
    update = {
        "kind": KIND,
        "counts": {**draft.counts, **counts},
        "files": dict(zip(names, _digests(paths), strict=True)),
        "sizes": {name: path.stat().st_size for name, path in zip(names, paths, strict=True)},
    }
    manifest.write(folder, draft.model_copy(update=update))


def to_disk(paths: Sequence[Path]) -> None:
    """Wait until files are on the disk, so that no manifest is there before what it names."""
    for path in paths:
        with path.open("rb+") as stream:
            os.fsync(stream.fileno())


def newest(output: Path) -> Newest:
    """Find the newest checkpoint that counts. Reads all of it."""
    passed_over: list[tuple[Path, str]] = []
    for folder in folders(output):
        found, problem = _examine(folder)
        if found is not None:
            return Newest(folder, found, tuple(passed_over))
        passed_over.append((folder, problem))
    return Newest(None, None, tuple(passed_over))


def _examine(folder: Path) -> tuple[Manifest | None, str]:
    """The manifest of a checkpoint that counts, or what is wrong with it."""
    try:
        found = manifest.read_if_present(folder)
    except DataError as error:
        return None, str(error)
    if found is None or found.kind != KIND:
        return None, "it has no manifest: saving it was cut off"
    for name, size in found.sizes.items():
        path = folder / name
        if not path.is_file():
            return None, f"{name} is missing"
        if path.stat().st_size != size:
            return None, f"{name} has {path.stat().st_size} bytes, its manifest says {size}"
    names = list(found.files)
    for name, now in zip(names, _digests([folder / name for name in names]), strict=True):
        if now != found.files[name]:
            return None, f"{name} was changed since it was written"
    return found, ""


def disown(folder: Path) -> None:
    """Take the manifest from a damaged checkpoint, so that it is not kept in place of one that counts."""
    (folder / manifest.FOLDER_MANIFEST).unlink(missing_ok=True)


def rotate(output: Path, keep: int) -> None:
    """Remove all but the newest ``keep`` checkpoints that count, and what is older than those.

    A folder loses its manifest first, so that a removal that is cut off leaves nothing that counts.

    Raises:
        OSError: A folder cannot be removed; the newest ones are as they were.
    """
    kept = 0
    for folder in folders(output):
        if kept >= keep:
            _remove(folder)
        elif (folder / manifest.FOLDER_MANIFEST).is_file():
            kept += 1


def remove_all(output: Path) -> None:
    """Remove every checkpoint of a run: it is finished."""
    for folder in folders(output):
        _remove(folder)


def _remove(folder: Path) -> None:
    (folder / manifest.FOLDER_MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder)


def differences(saved: Manifest, wanted: Manifest, world_size: int, zero_stage: int = 0) -> dict[str, str]:
    """What a checkpoint's run and the present one do not share, by the name under which it can be overridden.

    Args:
        saved: Of the checkpoint.
        wanted: Of the present run.
        world_size: Processes of the present run.
        zero_stage: How DeepSpeed shares the present run among them; 0 without it.

    Returns:
        For each name, both values in words.
    """
    mine, theirs = dict(_identity(saved)), dict(_identity(wanted))
    for name, value in ((WORLD_SIZE, world_size), (ZERO_STAGE, zero_stage)):
        mine[name], theirs[name] = saved.counts.get(name, value), value
    return {
        name: f"{_short(mine.get(name))} against {_short(theirs.get(name))}"
        for name in (*mine, *(name for name in theirs if name not in mine))
        if mine.get(name) != theirs.get(name)
    }


def _identity(of: Manifest) -> Iterator[tuple[str, Any]]:
    yield "data", of.data and of.data.digest
    yield "taxonomy", of.taxonomy
    yield "model", of.model and of.model.digest
    yield "dtype", of.model and of.model.dtype
    for name, value in of.told.items():
        yield name, value
    for name, value in of.settings.items():
        if name not in CHANGES_NO_RESULT and name not in of.told:
            yield name, value


def refuse(folder: Path, differing: Mapping[str, str], despite: Sequence[str]) -> list[str]:
    """Refuse to resume across a difference that was not overridden by name; returns those that were, in words.

    Raises:
        SettingsError: There is one.
    """
    others = {name: values for name, values in differing.items() if name in DECIDES_WHAT_IS_TRAINED}
    if others:
        named = "; ".join(f"{name} ({values})" for name, values in others.items())
        raise SettingsError(
            f"{folder}: trains other weights, which differ in {named}, so nothing can be taken over; set it back, "
            "or choose another --output"
        )
    refused = {name: values for name, values in differing.items() if name not in despite}
    if refused:
        named = "; ".join(f"{name} ({values})" for name, values in refused.items())
        raise SettingsError(
            f"{folder}: is of another run, which differs in {named}; set it back, choose another --output, or go on "
            f"all the same with --resume-despite {','.join(differing)}"
        )
    return [f"{name} ({values})" for name, values in differing.items()]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != manifest.FOLDER_MANIFEST)


def _digests(paths: Sequence[Path]) -> list[str]:
    """SHA-256 of each file; hashing many gigabytes leaves the interpreter free, so several at a time."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(manifest.file_digest, paths))


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:12] + "…"
