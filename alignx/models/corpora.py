"""Documents to pre-train a stand-in on, and probes that say whether it can read them."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from alignx.errors import DataError

T = TypeVar("T", bound=BaseModel)


class Probe(BaseModel):
    """Two texts that differ in their end; a model that reads finds the first one likelier."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    """What has to be read; shares are counted apart."""
    text: str
    contrast: str


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str


def read_documents(path: Path) -> list[str]:
    """The texts of a JSON Lines file of ``{"text": …}``.

    Raises:
        DataError: The file is missing or empty, or a line is something else.
    """
    return [line.text for line in _read(path, _Document)]


def read_probes(path: Path) -> list[Probe]:
    """The lines of a file of probes.

    Raises:
        DataError: The file is missing or empty, or a line is something else.
    """
    return list(_read(path, Probe))


def _read(path: Path, line_type: type[T]) -> Iterator[T]:
    number = 0  # an empty file has no line 1
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):  # noqa: B007  (told in the errors below)
                yield line_type.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(
            f"{path}:{number}: {where + ': ' if where else ''}{first['msg']}; expected an object with "
            f"{', '.join(line_type.model_fields)}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if not number:
        raise DataError(f"{path}: is empty")
