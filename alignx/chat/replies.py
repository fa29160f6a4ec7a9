"""Every reply of a server, kept as it came: paid once, read as often as one likes."""

import fcntl
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from alignx.chat.question import Ask, UnreadableError
from alignx.chat.secrets import redact
from alignx.errors import DataError


class Reply(BaseModel):
    """What came of a request: one line of the file. A reply that could not be used was paid all the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Of the request."""
    name: str
    """What was asked about."""
    text: str | None = None
    """As it came; None where nothing did."""
    problem: str | None = None
    """Why it could not be used when it arrived; None where it could."""
    finish: str | None = None
    prompt_tokens: int | None = None
    """As the server counted; None where it did not say."""
    reply_tokens: int | None = None
    cost: float = 0.0
    """By the price list of the day."""
    characters: int = 0
    """Of the request."""
    model: str | None = None
    """As the server called it."""
    attempts: int = 1
    """Requests that were sent for it in this start, the failed ones included."""
    seconds: float = 0.0
    """From the last of them to the reply."""


class Replies:
    """The file of replies, held by one process: appended as they arrive, found again by the request's id.

    A last line that a kill cut off is dropped, and its request is asked again. Only where each line stands is held in
    memory.
    """

    def __init__(self, path: Path) -> None:
        """Open or begin the file.

        Raises:
            DataError: Another process holds it, or a line other than the last is not a reply.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream: IO[bytes] = path.open("a+b")
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._stream.close()
            raise DataError(
                f"{path}: another process is writing to it; wait for it, or choose another output"
            ) from None
        self._places: dict[str, tuple[int, bool]] = {}
        """Of each request: where its line begins, and whether its reply can be used."""
        self.spent = 0.0
        """What all replies together did cost, the unreadable ones included."""
        self.tokens = _Tokens()
        try:
            self._read()
        except BaseException:
            self._stream.close()
            raise

    def _read(self) -> None:
        self._stream.seek(0)
        place = 0
        for number, line in enumerate(self._stream, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                self._take(Reply.model_validate_json(line), place)
            except ValidationError as error:
                raise DataError(
                    f"{self.path}:{number}: not a reply ({error.errors()[0]['msg']}); delete this line to ask again"
                ) from None
            place += len(line)
        self._stream.truncate(place)
        self._end = place

    def _take(self, reply: Reply, place: int) -> None:
        self.spent += reply.cost
        self.tokens.add(reply)
        usable = reply.problem is None
        if usable or not self._places.get(reply.id, (0, False))[1]:
            self._places[reply.id] = (place, usable)

    def add(self, reply: Reply) -> None:
        """Append a reply; it is in the file when this returns. Secrets that it repeats are struck out.

        Raises:
            DataError: The disk is full, or the file cannot be written for another reason.
        """
        line = redact(json.dumps(reply.model_dump(exclude_defaults=True), ensure_ascii=False)).encode() + b"\n"
        try:
            self._stream.write(line)
            self._stream.flush()
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written: {error.strerror}; make room and run again") from error
        self._take(reply, self._end)
        self._end += len(line)

    def __getitem__(self, request: str) -> Reply:
        """The reply to a request: the usable one, if there is one.

        Raises:
            KeyError: There is none.
        """
        self._stream.seek(self._places[request][0])
        return Reply.model_validate_json(self._stream.readline())

    def __contains__(self, request: str) -> bool:
        """Whether anything came of a request so far."""
        return request in self._places

    def __len__(self) -> int:
        """Requests of which anything came."""
        return len(self._places)

    def __iter__(self) -> Iterator[Reply]:
        """One reply a request, in no particular order."""
        return (self[request] for request in list(self._places))

    def close(self) -> None:
        """Let go of the file."""
        self._stream.close()

    def __enter__(self) -> "Replies":
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the file."""
        self.close()


@dataclass(frozen=True)
class Reading:
    """What the reply to a request says, as it is read now; or why there is nothing to use."""

    value: Any = None
    problem: str | None = None
    reply: Reply | None = None


def reading(one: Ask, replies: Replies) -> Reading:
    """Read the reply to a request, whatever was thought of it when it arrived."""
    if one.request.id not in replies:
        return Reading(problem="not asked yet")
    reply = replies[one.request.id]
    if not reply.text:
        return Reading(problem=reply.problem or "empty", reply=reply)
    try:
        return Reading(one.read(reply.text), None, reply)
    except UnreadableError as error:
        return Reading(problem=reply.problem or str(error), reply=reply)


class _Tokens:
    """How long requests and replies are, as the server counted them."""

    def __init__(self) -> None:
        self.replies = self.prompt = self.reply = self.characters = 0

    def add(self, reply: Reply) -> None:
        if reply.prompt_tokens is None or reply.reply_tokens is None or not reply.characters:
            return
        self.replies += 1
        self.prompt += reply.prompt_tokens
        self.reply += reply.reply_tokens
        self.characters += reply.characters

    def as_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return {"replies": self.replies, "prompt_tokens": self.prompt, "reply_tokens": self.reply}
