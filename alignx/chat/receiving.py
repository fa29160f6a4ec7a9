"""What comes back from a server: a reply, or what its failure means."""

import email.utils
import json
import math
import time
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from alignx.chat.question import UnreadableError
from alignx.chat.reading import LONGEST
from alignx.chat.replies import UNFINISHED
from alignx.chat.secrets import redact
from alignx.errors import ApiError

_QUOTA = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance"}
_GONE = {"model_not_found", "model_deprecated"}
_HOPELESS = {
    401: "the key is refused; put a valid one into the environment variable that --api-key-env names",
    402: "the quota is used up",
    403: "the key may not do this",
    404: "there is no model {model!r}, or the address is wrong",
    410: "the model {model!r} is no longer served",
}
_AGAIN = {408, 409, 425, 429}
_LENGTH = 300
_MOST_TOKENS = 10**9
"""A server that counts more has miscounted."""


@dataclass(frozen=True)
class Received:
    """A reply as it came, before anybody has read what it says; only secrets are struck out."""

    text: str
    finish: str | None
    prompt_tokens: int | None
    reply_tokens: int | None
    model: str | None
    seconds: float


class RetryError(Exception):
    """Nothing usable came from the server itself; asking again may help."""

    def __init__(
        self, reason: str, wait: float | None = None, *, throttled: bool = False, counted: bool = False
    ) -> None:
        """What happened.

        Args:
            reason: In a few words.
            wait: Seconds after which the server wants to be asked again, if it said so.
            throttled: Whether it said that it is asked too much.
            counted: Whether it may have replied all the same, and count that.
        """
        super().__init__(reason)
        self.wait = wait
        self.throttled = throttled
        self.counted = counted


class RejectedError(Exception):
    """The server will not take this request, whenever it is asked."""


class NoTextError(UnreadableError):
    """A reply that was paid and says nothing."""

    def __init__(self, reason: str, received: Received) -> None:
        """Why, and what came."""
        super().__init__(reason)
        self.received = received


def failure(url: str, model: str, error: Any) -> ApiError | RejectedError | RetryError:
    """What the client's error about an HTTP status means."""
    status, message, codes = error.status_code, message_of(error.body), {error.code, error.type}
    what = _HOPELESS.get(status, "").format(model=model)
    if codes & _QUOTA:
        what = _HOPELESS[402]
    elif codes & _GONE:
        what = f"there is no model {model!r}"
    elif 300 <= status < 400:
        what = f"this is not the server itself, it points to {short(error.response.headers.get('location'))}"
    if what:
        return ApiError(f"{url}: {what} (HTTP {status}: {message})")
    if status in _AGAIN or status >= 500:
        wait = retry_after(error.response.headers)
        return RetryError(f"HTTP {status}: {message}", wait, throttled=status == HTTPStatus.TOO_MANY_REQUESTS)
    return RejectedError(f"HTTP {status}: {message}")


def read_body(content: bytes, seconds: float) -> Received:
    """The parts of a reply that matter, wherever a server leaves some out.

    Raises:
        NoTextError: There is no text.
        RetryError: It has no such form at all.
    """
    try:
        reply = json.loads(content)
    except (ValueError, RecursionError):
        raise RetryError("the reply is no JSON", counted=True) from None
    return _received(reply, seconds)


def _received(reply: Any, seconds: float) -> Received:
    """The parts of a reply that matter, wherever a server leaves some out.

    Raises:
        NoTextError: There is no text.
        RetryError: It has no such form at all.
    """
    if not isinstance(reply, dict) or not isinstance(reply.get("choices"), list):
        said = f": {message_of(reply)}" if isinstance(reply, dict) and reply.get("error") else ""
        raise RetryError(f"the reply is no chat completion{said}", counted=True)
    usage = _mapping(reply.get("usage"))
    first = _mapping(reply["choices"][0]) if reply["choices"] else {}
    message = _mapping(first.get("message"))
    refused = plain_text(message.get("refusal"))
    received = Received(
        text=plain_text(message.get("content", first.get("text"))),  # of chat, or of plain completions
        finish="refusal" if refused else plain_text(first.get("finish_reason")) or None,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        reply_tokens=_count(usage.get("completion_tokens")),
        model=plain_text(reply.get("model")) or None,
        seconds=seconds,
    )
    problem = {
        "refusal": f"refused: {short(refused)}",
        "content_filter": "stopped by a content filter",
        "length": f"cut off after {received.reply_tokens or 'its'} tokens",
    }
    if not first:
        raise NoTextError("no choices", received)
    if received.finish in UNFINISHED:
        raise NoTextError(problem[received.finish], received)
    if not received.text.strip():
        raise NoTextError("empty", received)
    if len(received.text) > LONGEST:
        told = replace(received, text=received.text[:_LENGTH] + "…", finish="too long")
        raise NoTextError(f"the reply has {len(received.text)} characters, at most {LONGEST} are read", told)
    return received


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def plain_text(value: object) -> str:
    """Text that can be written down: without secrets, and without halves of characters, which UTF-8 does not have."""
    return redact(value).encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS else None


def message_of(body: object) -> str:
    """What an error body says, short and without secrets."""
    found = body
    if isinstance(found, dict):
        found = found.get("error", found)
    if isinstance(found, dict):
        found = found.get("message", found)
    return short(found if found not in (None, "") else "no further word")


def short(value: object) -> str:
    """Any text in one line of bounded length, without secrets; what has none is named by its type."""
    try:
        text = " ".join(plain_text(str(value)).split())
    except RecursionError:  # lists in lists in lists
        text = ""
    text = text or type(value).__name__
    return text if len(text) <= _LENGTH else text[: _LENGTH - 1] + "…"


def retry_after(headers: Any) -> float | None:
    """Seconds that a server asks to wait: milliseconds, seconds or a date (RFC 9110 §10.2.3)."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / unit
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        parsed = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, parsed.timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
