"""Folders of prepared rows: finished, damaged, or somebody else's."""

from pathlib import Path
from typing import Final

from alignx import manifest
from alignx.cache import known_digest
from alignx.errors import DataError
from alignx.manifest import Manifest
from alignx.prompts.preparing.making import Work
from alignx.prompts.preparing.notes import NOTES
from alignx.prompts.preparing.shards import SHARDS

LOCK: Final = ".lock"


def finished(work: Work) -> Manifest | None:
    """The manifest of a folder that holds this work already, whole.

    Raises:
        DataError: The folder holds something that was not made here.
    """
    older = _older(work.folder)
    if older is None or older.data is None or older.settings.get("key") != work.key:
        return None
    return older if is_intact(work.folder, older) else None


def refuse_skipped(folder: Path, made: Manifest, allowed: int) -> None:
    """Refuse finished rows of a source of which more was skipped than may be; making them anew would leave nothing.

    Raises:
        DataError: It was.
    """
    assert made.data is not None
    if made.data.skipped > allowed:
        said = next((note for note in made.counts.get("notes", ()) if note.startswith("skipped")), "")
        raise DataError(
            f"{made.data.source}: {said} (--skip-invalid allows {allowed}; {folder} keeps the rows that were made "
            "without them)"
        )


def is_intact(folder: Path, made: Manifest) -> bool:
    """Whether the shards of a folder are those of its manifest, no more and no less; a touched one is read again."""
    shards = {path.name for path in folder.glob(SHARDS)}
    return shards == made.files.keys() and all(
        known_digest(folder / name) == wanted for name, wanted in made.files.items()
    )


def refuse_other(work: Work) -> None:
    """Refuse a folder that is finished and holds other rows: they may have taken hours, or be read by somebody.

    Raises:
        DataError: It does.
    """
    older = _older(work.folder)
    if older is None or older.settings.get("key") == work.key:
        return
    told = older.model_copy(update={"condition": work.condition.model_dump(mode="json")})
    forms = older.settings.get("form"), work.form
    differences = older.differences(told, ("condition",)) or ["its records, tokenizer or code"]
    if forms[0] != forms[1]:
        differences = [f"form ({forms[0]} against {forms[1]})"]
    raise DataError(
        f"{work.folder}: holds other rows, which differ in {'; '.join(differences)}; choose another --output, or "
        "delete it"
    )


def _older(folder: Path) -> Manifest | None:
    """The manifest of an earlier preparation in the folder.

    Raises:
        DataError: The folder holds other things.
    """
    if not folder.exists():
        return None
    if not folder.is_dir():
        raise DataError(f"{folder}: is a file, expected a folder to write")
    found = manifest.read_if_present(folder)
    mark = manifest.path_of(folder)
    ours = {mark.with_name(mark.name + ".tmp"), *([mark] if found is not None else [])}  # the first after a kill
    others = [
        path.name
        for path in folder.iterdir()
        if not path.match(SHARDS) and path not in ours and not path.name.startswith(".")
    ]
    begun = found is not None or (folder / LOCK).is_file() or any(folder.glob(NOTES)) or any(folder.glob(f"{LOCK}-*"))
    if not begun:  # named like ours, and made by nobody of us
        others += sorted(path.name for path in folder.glob(SHARDS))
    if others or (found is not None and found.kind != "prepared"):
        what = ", ".join(others[:3]) or "a manifest of another kind"
        raise DataError(f"{folder}: holds something else ({what}), choose another --output")
    return found
