"""Every reply of a server, kept as it came: paid once, read as often as one likes."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from alignx.chat.question import Ask, UnreadableError
from alignx.chat.secrets import redact
from alignx.errors import DataError
from alignx.locking import lock

UNFINISHED: Final = ("length", "content_filter", "refusal")
"""Ends of a reply whose text is not what the model would have said, even if it can be read."""


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
    """Why it ended, in the server's words."""
    prompt_tokens: int | None = None
    """As the server counted; None where it did not say."""
    reply_tokens: int | None = None
    cost: float = 0.0
    """By the price list of the day; with what may have been paid for earlier replies that did not arrive."""
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
        # Unbuffered: what a full disk refuses must not come again when the file is closed.
        self._stream = path.open("ab", buffering=0)
        self._reader: BinaryIO | None = None
        self._places: dict[str, tuple[int, bool]] = {}
        """Of each request: where its line begins, and whether its reply can be used."""
        self.spent = 0.0
        """What all replies together did cost, the unreadable ones included."""
        self.tokens = _Tokens()
        self._end = 0
        try:
            self._hold()
            self._reader = path.open("rb")
            self._read(self._reader)
        except BaseException:
            self.close()
            raise

    def _hold(self) -> None:
        try:
            lock(self._stream, self.path)
        except BlockingIOError:
            raise DataError(
                f"{self.path}: another process is writing to it; wait for it, or choose another output"
            ) from None

    def _read(self, reader: BinaryIO) -> None:
        for number, line in enumerate(reader, start=1):
            whole = line.endswith(b"\n")
            try:
                reply = Reply.model_validate_json(line)
            except ValidationError as error:
                if not whole:
                    break
                raise DataError(
                    f"{self.path}:{number}: not a reply ({error.errors()[0]['msg']}); delete this line to ask again"
                ) from None
            self._take(reply, self._end)
            self._end += len(line)
            if not whole:  # nothing but its end is missing
                self._append(b"\n")
                break
        self._cut()

    def _take(self, reply: Reply, place: int) -> None:
        self.spent += reply.cost
        self.tokens.add(reply)
        usable = reply.problem is None
        if usable or not self._places.get(reply.id, (0, False))[1]:
            self._places[reply.id] = (place, usable)

    def add(self, reply: Reply) -> None:
        """Append a reply; it is in the file when this returns. Secrets that it repeats are struck out.

        Raises:
            DataError: The disk is full, or the file cannot be written for another reason; then nothing of it is there.
        """
        fields = reply.model_dump(exclude_defaults=True)
        shown = {name: redact(value) if isinstance(value, str) else value for name, value in fields.items()}
        place = self._end
        self._append(json.dumps({**shown, "id": reply.id}, ensure_ascii=False).encode() + b"\n")
        self._take(reply, place)

    def _append(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[self._stream.write(left) :]
        except OSError as error:
            self._cut()
            raise DataError(f"{self.path}: cannot be written: {error.strerror}; make room and run again") from error
        self._end += len(data)

    def _cut(self) -> None:
        """Drop what stands behind the last whole line."""
        if os.fstat(self._stream.fileno()).st_size > self._end:
            self._stream.truncate(self._end)

    def __getitem__(self, request: str) -> Reply:
        """The reply to a request: the usable one, if there is one.

        Raises:
            KeyError: There is none.
        """
        place = self._places[request][0]
        if self._reader is None:
            raise ValueError(f"{self.path}: is closed")
        self._reader.seek(place)
        return Reply.model_validate_json(self._reader.readline())

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
        if self._reader is not None:
            self._reader.close()
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
    """Read the text of a reply as it is read now, whatever was thought of it when it arrived."""
    if one.request.id not in replies:
        return Reading(problem="not asked yet")
    reply = replies[one.request.id]
    if one.takes(reply.finish):
        return Reading(reply.text or "", None, reply)
    if not reply.text or reply.finish in UNFINISHED:
        return Reading(problem=reply.problem or "empty", reply=reply)
    try:
        return Reading(one.read(reply.text), None, reply)
    except UnreadableError as error:
        return Reading(problem=reply.problem or str(error), reply=reply)


class _Tokens:
    """How long requests and replies are, as the server counted them; and who it says replied."""

    def __init__(self) -> None:
        self.replies = self.prompt = self.reply = self.characters = 0
        self.models: Counter[str] = Counter()

    def add(self, reply: Reply) -> None:
        if reply.model is not None:
            self.models[reply.model] += 1
        if reply.prompt_tokens is None or reply.reply_tokens is None or not reply.characters:
            return
        self.replies += 1
        self.prompt += reply.prompt_tokens
        self.reply += reply.reply_tokens
        self.characters += reply.characters

    def as_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return {
            "replies": self.replies,
            "prompt_tokens": self.prompt,
            "reply_tokens": self.reply,
            "models": dict(self.models),
        }
