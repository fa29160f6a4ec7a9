"""Documents to pre-train a stand-in on, and probes that say whether it can read them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from alignx.errors import DataError

T = TypeVar("T", bound=BaseModel)


class Probe(BaseModel):
    """Two texts that differ in their end; a model that reads finds the first one likelier."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    """What has to be read; shares are counted apart."""
    text: str
    contrast: str


class Message(BaseModel):
    """A turn of a conversation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str


class Document(BaseModel):
    """A text, or a conversation that the model's chat template puts into form."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str | None = None
    messages: tuple[Message, ...] = ()

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "Document":
        if (self.text is None) == (not self.messages):
            raise ValueError("either text or messages")
        return self

    @property
    def texts(self) -> tuple[str, ...]:
        """What stands in it, apart from the form."""
        return (self.text,) if self.text is not None else tuple(message.content for message in self.messages)


def read_documents(path: Path) -> list[Document]:
    """The lines of a JSON Lines file of ``{"text": …}`` and ``{"messages": …}``.

    Raises:
        DataError: The file is missing or empty, or a line is something else.
    """
    return list(_read(path, Document))


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
