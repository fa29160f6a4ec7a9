"""A file of responses: a line a record, and the manifest that says how they were made."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from alignx import manifest
from alignx.drafts import is_whole, read_lines
from alignx.errors import DataError
from alignx.manifest import Manifest


class Response(BaseModel):
    """One line of a responses file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Of the record."""
    response: str
    finish: Literal["stop", "length"]
    """Why it ended: the model ended it, or the limit of tokens did."""
    prompt_tokens: int
    response_tokens: int
    """The end token included."""
    trimmed_items: int
    """History items dropped, oldest first, because the prompt was too long."""
    trimmed_demographics: bool
    persona_empty: bool
    """Whether the prompt says nothing about the user."""
    settings: str
    """Digest of all that decides the response, the record apart: model, condition, sampling, seed, backend."""


def read_responses(path: Path) -> tuple[dict[str, Response], Manifest]:
    """The responses of a finished file by id, with its manifest.

    Raises:
        DataError: The file is missing, unfinished, changed since, or holds an id twice or a line that is no response.
    """
    if path.is_dir():
        raise DataError(f"{path}: is a folder, expected the file that eval/gen_*.py wrote")
    if not path.is_file():
        partial = path.with_name(path.name + ".partial")
        hint = "; its run was interrupted: run the same command again to finish it" if partial.is_dir() else ""
        raise DataError(f"{path}: no such file{hint}")
    found = manifest.read(path)
    if found.kind != "responses":
        raise DataError(f"{path}: its manifest says {found.kind!r}, expected 'responses' (eval/gen_*.py)")
    responses = read_lines(path, Response, "response line", "generate again")
    if not is_whole(path, found):
        raise DataError(f"{path}: was changed since it was written, its manifest says; generate again")
    return responses, found
