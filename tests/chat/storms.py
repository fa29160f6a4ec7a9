"""Bad weather for a chat server: failures on demand, the same for the same seed, and a record of what happened.

For a test to hold a client to what it promises:

    storm = Storm(answer, seed=3, chances={"429": 0.1, "500": 0.1, "cut": 0.05}, calm_after=3)
    with ChatServer(storm, model="m") as server:
        ...
    assert max(storm.answered.values()) == 1
"""

import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import partial
from typing import Any

from alignx.chat.connections import Raw
from alignx.chat.server import Asked, completion, failure
from alignx.manifest import digest
from tests.chat.spoiling import TRICKY, UNUSABLE, schema_of, spoilt

GOOD = "good"
Body = Mapping[str, Any]

_BUSY = (429, "Rate limit reached for requests. Please try again later.", "requests", "rate_limit_exceeded")
_BAD = "invalid_request_error"
STATUSES: dict[str, tuple[int, str, str, str | None]] = {
    "429": _BUSY,
    "429-seconds": _BUSY,
    "429-zero": _BUSY,
    "429-date": _BUSY,
    "500": (500, "The server had an error while processing your request.", "server_error", None),
    "502": (502, "Bad gateway.", "server_error", None),
    "503": (503, "The engine is currently overloaded, please try again later.", "server_error", None),
    "quota": (429, "You exceeded your current quota, please check your plan.", *["insufficient_quota"] * 2),
    "401": (401, "Incorrect API key provided: {key}. You can find your key in your account.", _BAD, "invalid_api_key"),
    "403": (403, "You are not allowed to sample from this model.", _BAD, "permission_denied"),
    "404": (404, "The model `{model}` does not exist or you do not have access to it.", _BAD, "model_not_found"),
    "400-context": (400, "This model's maximum context length is 1 tokens.", _BAD, "context_length_exceeded"),
    "400-schema": (400, "'response_format' of type 'json_schema' is not supported with this model.", _BAD, None),
}
"""Refusals by status: the status, the message, its type and its code."""
_PARAMS = {"400-context": "messages", "400-schema": "response_format", "404": "model"}
_RETRY_AFTER: dict[str, Callable[[float], str]] = {
    "429-seconds": lambda wait: f"{wait:g}",
    "429-zero": lambda wait: "0",
    "429-date": lambda wait: formatdate(math.ceil(time.time() + wait), usegmt=True),
}

FATAL = ("quota", "401", "403", "404")
"""No request to this server can succeed."""
REJECTED = ("400-context", "400-schema")
"""This request cannot succeed, others may. The second happens only where a schema is asked for."""
LOST = ("hang", "drop", "short", "cut", "html")
"""No reply that can be read: none before the server ends; the connection closed without a word, or in the middle of
the body; a body whose JSON stops early; a page of HTML."""
TEMPORARY = (*(name for name in STATUSES if name not in (*FATAL, *REJECTED)), *LOST)
"""The same request may succeed when it is sent again."""
TROUBLES = (*STATUSES, *LOST, *UNUSABLE, *TRICKY)
"""Every name that a storm knows."""


@dataclass
class Exchange:
    """One request, and what became of it."""

    body: Body
    digest: str
    attempt: int
    """From 1, among requests of this digest."""
    time: float
    """Of its arrival, by ``time.monotonic``."""
    authorization: str | None
    """The header as it came."""
    did: str
    """What was done: the name of a trouble, ``good``, or ``broken`` if the wrapped answer raised."""
    sent: bool = False
    """Whether the client was still there when the reply was sent."""


class Storm:
    """An answer for a :class:`~alignx.chat.server.ChatServer` that goes wrong as it is told to.

    What happens to a request depends on the seed, its digest and how often it was asked before, and not on the order in
    which requests come.

    Args:
        answer: What is said when all is well.
        seed: Of the draws.
        chances: Probability of each trouble, by name; what is left of 1 is the chance of a good reply.
        calm_after: Troubles that one body may have in all; ``None``: no end.
        always: Trouble → the bodies that meet it every time, whatever ``calm_after`` says.
        retry_after: Seconds in the ``Retry-After`` of ``429-seconds`` and, rounded up to whole ones, of ``429-date``.
        known_by: What tells bodies apart, where some of them is random.
    """

    def __init__(
        self,
        answer: Callable[[Asked], str],
        *,
        seed: int = 0,
        chances: Mapping[str, float] | None = None,
        calm_after: int | None = 3,
        always: Mapping[str, Callable[[Body], bool]] | None = None,
        retry_after: float = 1,
        known_by: Callable[[Body], str] = digest,
    ) -> None:
        self._answer, self._seed, self._calm_after, self._retry_after = answer, seed, calm_after, retry_after
        self._chances, self._always, self.digest_of = dict(chances or {}), dict(always or {}), known_by
        if unknown := {*self._chances, *self._always} - {*TROUBLES}:
            raise ValueError(f"unknown troubles {sorted(unknown)}; there are {', '.join(TROUBLES)}")
        if not 0 <= sum(self._chances.values()) <= 1 + 1e-9 or min(self._chances.values(), default=0) < 0:
            raise ValueError(f"chances must be 0 or more and add up to at most 1, not {self._chances}")
        self._lock = threading.Lock()
        self._exchanges: list[Exchange] = []
        self._attempts: Counter[str] = Counter()
        self._troubles: Counter[str] = Counter()
        self._now = self._most = 0

    def __call__(self, asked: Asked) -> Raw:
        exchange = self._arrived(asked)
        try:
            raw = self._reply(exchange.did, asked)
        except Exception as error:
            exchange.did = "broken"
            raw = failure(500, f"{type(error).__name__}: {error}", kind="server_error")
        return replace(raw, leaving=partial(self._leaving, exchange))

    @property
    def records(self) -> list[Exchange]:
        """Every request so far, in the order of arrival."""
        with self._lock:
            return list(self._exchanges)

    @property
    def asked(self) -> Counter[str]:
        """How often each body was asked, by digest."""
        return Counter(exchange.digest for exchange in self.records)

    @property
    def answered(self) -> Counter[str]:
        """How often a good reply to each body was sent to a client that was still there, by digest."""
        return Counter(exchange.digest for exchange in self.records if exchange.did == GOOD and exchange.sent)

    @property
    def did(self) -> Counter[str]:
        """How often each thing was done."""
        return Counter(exchange.did for exchange in self.records)

    @property
    def most_at_once(self) -> int:
        """Requests that were in flight at the busiest moment: from arrival to just before the reply is sent."""
        with self._lock:
            return self._most

    def _arrived(self, asked: Asked) -> Exchange:
        known, now = self.digest_of(asked), time.monotonic()
        authorization = asked.headers.get("Authorization")
        with self._lock:
            self._attempts[known] += 1
            did = self._choose(asked, known)
            self._troubles[known] += did != GOOD
            self._exchanges.append(Exchange(asked, known, self._attempts[known], now, authorization, did))
            self._now += 1
            self._most = max(self._most, self._now)
            return self._exchanges[-1]

    def _leaving(self, exchange: Exchange, there: bool) -> None:
        with self._lock:
            exchange.sent = there
            self._now -= 1

    def _choose(self, asked: Asked, known: str) -> str:
        for name, applies in self._always.items():
            if applies(asked):
                return name
        if self._calm_after is not None and self._troubles[known] >= self._calm_after:
            return GOOD
        draw = random.Random(f"{self._seed} {known} {self._attempts[known]}").random()
        for name, chance in self._chances.items():
            if draw < chance:
                return name if name != "400-schema" or schema_of(asked) else GOOD
            draw -= chance
        return GOOD

    def _reply(self, did: str, asked: Asked) -> Raw:
        if did in STATUSES:
            return self._refusal(did, asked)
        if did == "hang":
            return Raw(hold=math.inf)
        if did == "drop":
            return Raw(status=None)
        if did == "html":
            return Raw(headers={"Content-Type": "text/html"}, body=b"<html><body>Sign in to the network</body></html>")
        content = self._answer(asked)
        if did in (*UNUSABLE, *TRICKY):
            return Raw.json(spoilt(asked, content, did))
        whole = Raw.json(completion(asked, content))
        half, length = whole.body[: len(whole.body) // 2], str(len(whole.body))
        if did == "short":
            return replace(whole, body=half, headers={"Content-Length": length}, close=True)
        return replace(whole, body=half) if did == "cut" else whole

    def _refusal(self, did: str, asked: Asked) -> Raw:
        status, message, kind, code = STATUSES[did]
        key = asked.headers.get("Authorization", "").removeprefix("Bearer ")
        headers = {"Retry-After": _RETRY_AFTER[did](self._retry_after)} if did in _RETRY_AFTER else {}
        said = message.format(key=key, model=asked["model"])
        return failure(status, said, kind=kind, code=code, param=_PARAMS.get(did), headers=headers)
