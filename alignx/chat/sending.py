"""One request, once: what came back, or what its failure means."""

import asyncio
import email.utils
import json
import math
import time
from dataclasses import dataclass
from typing import Any

from alignx.chat.question import Request, UnreadableError
from alignx.chat.secrets import redact
from alignx.chat.settings import ServerSettings
from alignx.errors import ApiError

_QUOTA = ("insufficient_quota", "billing_hard_limit_reached")
_GONE = ("model_not_found", "model_deprecated")
_AGAIN = {408, 409, 425, 429}
_LENGTH = 300


@dataclass(frozen=True)
class Received:
    """A reply as it came, before anybody has read what it says."""

    text: str
    finish: str | None
    prompt_tokens: int | None
    reply_tokens: int | None
    model: str | None
    seconds: float


class RetryError(Exception):
    """Nothing usable came from the server itself; asking again may help."""

    def __init__(self, reason: str, wait: float | None = None, *, throttled: bool = False) -> None:
        """What happened.

        Args:
            reason: In a few words.
            wait: Seconds after which the server wants to be asked again, if it said so.
            throttled: Whether it said that it is asked too much.
        """
        super().__init__(reason)
        self.wait = wait
        self.throttled = throttled


class RejectedError(Exception):
    """The server will not take this request, whenever it is asked."""


class Sender:
    """A connection to one server, within one event loop."""

    def __init__(self, server: ServerSettings, model: str) -> None:
        """Prepare it; nothing is sent.

        Raises:
            SettingsError: The address or the key cannot be used.
        """
        from openai import AsyncOpenAI

        self._model = model
        self._url = server.url
        self._timeout = server.timeout
        self._client = AsyncOpenAI(
            api_key=server.key(),
            base_url=server.url,
            max_retries=0,
            timeout=server.timeout,
            organization="",
            project="",
        )

    async def __aenter__(self) -> "Sender":
        """Itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close its connections."""
        await self._client.close()

    async def look(self) -> dict[str, Any]:
        """What the server says of the model, before anything is paid.

        Returns:
            Its ``shutdown_date`` if it is to be shut down; nothing where the server does not say, as many do not.

        Raises:
            ApiError: Nobody answers at the address, the key is refused, or the model has been shut down.
        """
        from openai import APIConnectionError, APIStatusError, OpenAIError

        try:
            async with asyncio.timeout(min(self._timeout, 20)):
                found = await self._client.models.retrieve(self._model)
        except APIConnectionError as error:
            raise ApiError(
                f"{self._url}: no server answers ({redact(_short(error.__cause__ or error))}); is it running, is the "
                "address right?"
            ) from None
        except APIStatusError as error:
            if error.status_code in (401, 403):
                raise self._hopeless(error.status_code, _message(error.body), error.code) from None
            return {}
        except (OpenAIError, ValueError, AttributeError, TimeoutError):
            return {}
        date = getattr(found, "shutdown_date", None)
        if not isinstance(date, str):
            return {}
        if date <= time.strftime("%Y-%m-%d"):
            raise ApiError(f"{self._url}: {self._model} was shut down on {date}; choose another model")
        return {"shutdown_date": date}

    async def send(self, request: Request) -> Received:
        """Ask once.

        Raises:
            ApiError: No request to this server can succeed.
            RejectedError: This one cannot.
            RetryError: The server failed, or is asked too much.
            UnreadableError: It replied without a text: a refusal, a filter, nothing at all.
        """
        import httpx2
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._client.post("/chat/completions", body=request.body, cast_to=httpx2.Response)
        except (APITimeoutError, TimeoutError):
            raise RetryError(f"no reply within {self._timeout:g} s") from None
        except APIConnectionError as error:
            raise RetryError(f"the connection failed: {redact(_short(error.__cause__ or error))}") from None
        except APIStatusError as error:
            raise self._failure(error.status_code, error.code, error.body, error.response.headers) from None
        try:
            reply = json.loads(response.content)
        except ValueError:
            raise RetryError("the reply is no JSON") from None
        return _received(reply, time.monotonic() - begun)

    def _failure(self, status: int, code: str | None, body: object, headers: Any) -> Exception:
        """What an error status means."""
        message = _message(body)
        if status in (401, 403, 404, 410) or code in _QUOTA or code in _GONE:
            return self._hopeless(status, message, code)
        if status in _AGAIN or status >= 500:
            return RetryError(f"HTTP {status}: {message}", _retry_after(headers), throttled=status == 429)
        return RejectedError(f"HTTP {status}: {message}")

    def _hopeless(self, status: int, message: str, code: str | None) -> ApiError:
        what = {
            401: "the key is refused; put a valid one into the environment variable that --api-key-env names",
            403: "the key may not do this",
            404: f"there is no model {self._model!r}, or the address is wrong",
            410: f"the model {self._model!r} is no longer served",
        }.get(status, "the quota is used up" if code in _QUOTA else "the server refuses")
        return ApiError(f"{self._url}: {what} (HTTP {status}: {message})")


def _received(reply: Any, seconds: float) -> Received:
    """The parts of a reply that matter, wherever a server leaves some out.

    Raises:
        RetryError: It has no such form at all.
        UnreadableError: There is no text.
    """
    if not isinstance(reply, dict) or not isinstance(reply.get("choices"), list):
        raise RetryError("the reply is no chat completion")
    usage = _mapping(reply.get("usage"))
    first = _mapping(reply["choices"][0]) if reply["choices"] else {}
    message = _mapping(first.get("message"))
    text, finish = message.get("content"), first.get("finish_reason")
    received = Received(
        text=text if isinstance(text, str) else "",
        finish=finish if isinstance(finish, str) else None,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        reply_tokens=_count(usage.get("completion_tokens")),
        model=reply.get("model") if isinstance(reply.get("model"), str) else None,
        seconds=seconds,
    )
    if problem := _problem(first, message, received):
        raise NoTextError(problem, received)
    return received


class NoTextError(UnreadableError):
    """A reply that was paid and says nothing."""

    def __init__(self, reason: str, received: Received) -> None:
        """Why, and what came."""
        super().__init__(reason)
        self.received = received


def _problem(first: dict[str, Any], message: dict[str, Any], received: Received) -> str | None:
    """Why a reply cannot be read, if so."""
    if not first:
        return "no choices"
    if isinstance(message.get("refusal"), str) and message["refusal"]:
        return f"refused: {_short(message['refusal'])}"
    if received.finish == "content_filter":
        return "stopped by a content filter"
    if received.finish == "length":
        return f"cut off after {received.reply_tokens or 'its'} tokens"
    return None if received.text.strip() else "empty"


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _message(body: object) -> str:
    """What an error body says, short and without secrets."""
    found = body
    if isinstance(found, dict):
        found = found.get("error", found)
    if isinstance(found, dict):
        found = found.get("message", found)
    return redact(_short(found if found is not None else "no further word"))


def _short(value: object) -> str:
    text = " ".join(str(value).split()) or type(value).__name__
    return text if len(text) <= _LENGTH else text[: _LENGTH - 1] + "…"


def _retry_after(headers: Any) -> float | None:
    """Seconds that a server asks to wait: milliseconds, seconds or a date (RFC 9110 §10.2.3)."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / unit
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    parsed = email.utils.parsedate_tz(headers.get("retry-after", ""))
    return max(0.0, email.utils.mktime_tz(parsed) - time.time()) if parsed is not None else None
