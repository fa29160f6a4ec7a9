"""Folders that a command fills: written beside their place, then moved in over an older output of the same kind."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alignx import manifest
from alignx.errors import SettingsError
from alignx.manifest import Kind


def refuse_foreign(folder: Path, kind: Kind, what: str) -> None:
    """Refuse to fill a folder that holds anything but an earlier output of the same kind.

    Args:
        folder: Where the output shall be.
        kind: What its manifest says it is.
        what: The same in words, such as ``a world``.

    Raises:
        SettingsError: It holds something else, or is a file.
    """
    if not folder.exists():
        return
    if folder.is_dir():
        found = manifest.read_if_present(folder)
        if not any(folder.iterdir()) if found is None else found.kind == kind:
            return
    raise SettingsError(f"--output: {folder} holds something else, expected a new or empty folder or {what}")


@contextmanager
def draft_of(folder: Path) -> Iterator[Path]:
    """A new folder whose files take the place of an older output's when the block ends well, else are removed.

    The older output's manifest goes first, so that a mixture never passes for finished; whoever fills the folder writes
    the new one last. Whatever else is in the folder stays.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.resolve().name}-", dir=folder.resolve().parent))
    except OSError as error:
        raise SettingsError(f"--output: {folder} cannot be made: {error.strerror}") from error
    try:
        yield draft
        folder.mkdir(parents=True, exist_ok=True)
        older = manifest.read_if_present(folder)
        manifest.path_of(folder).unlink(missing_ok=True)
        for name in older.files if older else ():
            (folder / name).unlink(missing_ok=True)
        for path in draft.iterdir():
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
