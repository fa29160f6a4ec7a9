"""What is said of a finished shard beside it, so that a killed preparation goes on from there."""

from collections.abc import Collection
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from alignx import manifest
from alignx.errors import DataError
from alignx.prompts.preparing.making import Draft, Work
from alignx.prompts.preparing.shards import SHARDS, Shard, is_there

NOTES = ".pairs-[0-9][0-9][0-9][0-9][0-9].json"
"""Names of the notes in a folder that is not finished."""
PARTS = ".parts"
"""Beside shards that are made in parts: the key of all of them."""
_DRAFT = TypeAdapter(Draft)


def note_path(folder: Path, number: int) -> Path:
    """Where the note about a shard is."""
    return folder / f".pairs-{number:05d}.json"


def write_notes(works: tuple[Work, ...], draft: Draft) -> None:
    """Say of a draft's shards that they are done, once all of them are; nothing of one that ended early."""
    if draft.ended_early:
        return
    for work, shard in zip(works, draft.shards, strict=True):
        text = _DRAFT.dump_json(_of_one(draft, [shard])).decode()
        manifest.write_text(note_path(work.folder, draft.number), text)


def read_notes(works: tuple[Work, ...], number: int) -> Draft | None:
    """A draft that is done for every work, with the same records; None where something is missing."""
    drafts = [_read(work, number) for work in works]
    found = [draft for draft in drafts if draft is not None]
    if not found or len(found) < len(works) or any(draft.fix != found[0].fix for draft in found):
        return None
    return _of_one(found[0], [shard for draft in found for shard in draft.shards])


def _parsed(note: Path) -> Draft | None:
    try:
        return _DRAFT.validate_json(note.read_bytes())
    except (OSError, ValidationError):  # not there, or not whole
        return None


def _read(work: Work, number: int) -> Draft | None:
    draft = _parsed(note_path(work.folder, number))
    if draft is None:
        return None
    (shard,) = draft.shards
    return draft if shard.key == work.key and is_there(work.folder, shard) else None


def _of_one(draft: Draft, shards: list[Shard]) -> Draft:
    return Draft(draft.number, draft.fix, draft.parsed, draft.left_out, draft.problems, draft.unused, shards)


def refuse_mixing(work: Work, parts: int) -> None:
    """Refuse a folder in which others make, or have made, parts of something else; and say that parts are made here.

    Args:
        work: Whose shards are to be made.
        parts: In how many parts.

    Raises:
        DataError: Other settings, records or code made the parts that are there: to go on would remove them.
    """
    mark = work.folder / PARTS
    others = any((draft := _parsed(note)) and draft.shards[0].key != work.key for note in work.folder.glob(NOTES))
    if (mark.is_file() and mark.read_text(encoding="utf-8") != work.key) or (parts > 1 and others):
        raise DataError(
            f"{work.folder}: holds unfinished shards that were made with other settings, records or code than these; "
            "give the same as the other parts, or choose another --output"
        )
    if parts > 1:
        manifest.write_text(mark, work.key)


def clear_others(work: Work) -> None:
    """Remove shards that are not of this work, and notes of no use."""
    for note in work.folder.glob(NOTES):
        number = int(note.name.removeprefix(".pairs-").removesuffix(".json"))
        if _read(work, number) is None:
            note.unlink(missing_ok=True)
    for shard in work.folder.glob(SHARDS):
        number = int(shard.name.removeprefix("pairs-").removesuffix(".parquet"))
        if not note_path(work.folder, number).is_file():
            shard.unlink(missing_ok=True)


def clear_rest(folder: Path, files: Collection[str]) -> None:
    """Remove shards of pieces that a limit left nothing of, and that were made before anyone knew."""
    for shard in folder.glob(SHARDS):
        if shard.name not in files:
            shard.unlink(missing_ok=True)


def clear_all(folder: Path) -> None:
    """Remove all notes of a folder whose manifest says everything, and what a kill left."""
    for pattern in (NOTES, PARTS, ".pairs-*.tmp"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
