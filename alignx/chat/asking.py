"""Asking many requests: each once, several at a time, patiently, and for no more money than was allowed."""

import asyncio
import random
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from alignx.chat.estimating import tokens_of
from alignx.chat.pace import Pace
from alignx.chat.prices import Purse, find_price
from alignx.chat.question import Ask, UnreadableError
from alignx.chat.replies import Replies, Reply, reading
from alignx.chat.secrets import redact
from alignx.chat.sending import NoTextError, Received, RejectedError, RetryError, Sender
from alignx.chat.settings import ServerSettings
from alignx.errors import ApiError, PartialError

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
"""Seconds before the second attempt; doubled for each further one up to the second number, of which a random part is
waited, so that requests that failed together do not come back together."""
_GRACE = 15.0
"""Seconds that requests under way are given to end when there is no point in sending others."""
_REFUSED_IN_VAIN = 5
"""When so many requests are rejected before a single reply, the rest would be too."""


@dataclass
class Tally:
    """What became of the requests of one start."""

    known: int = 0
    """Answered in an earlier start."""
    answered: int = 0
    failed: int = 0
    sent: int = 0
    """Requests on the wire, repeated ones included."""
    throttled: int = 0
    seconds: float = 0.0
    model: dict[str, Any] = field(default_factory=dict)
    """What the server said of it."""


def ask(asks: Iterable[Ask], server: ServerSettings, model: str, replies: Replies, total: int) -> Tally:
    """Ask what has no usable reply yet; every reply is in the file when this returns or raises.

    Args:
        asks: Each request once.
        server: Whom, how patiently, for how much.
        model: As the server calls it.
        replies: Where replies are and go.
        total: How many ``asks`` there are, for the progress bar.

    Raises:
        ApiError: No request can succeed: a refused key, an unknown model, a used-up quota.
        DataError: The replies cannot be written.
        PartialError: The money that was allowed does not suffice.
        SettingsError: The address, the key or the limit cannot be used.
    """
    return asyncio.run(_Asking(server, model, replies).run(asks, total))


class _Asking:
    """One start."""

    def __init__(self, server: ServerSettings, model: str, replies: Replies) -> None:
        self._server, self._replies = server, replies
        self._sender = Sender(server, model)
        self._purse = Purse(find_price(model, server.prices), server.max_cost, replies.spent)
        self._pace = Pace(server.concurrency)
        self._money_back = asyncio.Condition()
        self._jitter = random.Random()
        self._stopping = asyncio.Event()
        self._rejected = 0
        self.tally = Tally()

    async def run(self, asks: Iterable[Ask], total: int) -> Tally:
        from tqdm import tqdm

        begun = time.monotonic()
        waiting = self._unanswered(iter(asks))
        with tqdm(total=total, desc="asking", unit=" requests", disable=None) as bar:
            self._bar = bar
            first = next(waiting, None)
            if first is not None:
                async with self._sender:
                    self.tally.model = await self._sender.look()
                    if date := self.tally.model.get("shutdown_date"):
                        print(f"warning: the model will be shut down on {date}", file=sys.stderr)
                    await self._ask_all(first, waiting)
        self.tally.seconds = time.monotonic() - begun
        return self.tally

    def _unanswered(self, asks: Iterator[Ask]) -> Iterator[Ask]:
        """Those without a usable reply; whether a reply can be used is decided anew by who reads it now."""
        seen = set[str]()
        for one in asks:
            if one.request.id in seen:
                raise ValueError(f"{one.name}: asked twice")
            seen.add(one.request.id)
            if reading(one, self._replies).problem is None:
                self.tally.known += 1
                self._bar.update()
            else:
                yield one

    async def _ask_all(self, first: Ask, others: Iterator[Ask]) -> None:
        """As many workers as requests may be under way, each with one at a time.

        The first that cannot go on stops all; what is under way then is still waited for, since it is paid.
        """
        given = [first]

        async def work() -> None:
            try:
                while not self._stopping.is_set():
                    one = given.pop() if given else next(others, None)
                    if one is None:
                        return
                    await self._one(one)
                    self._bar.update()
            finally:
                if sys.exc_info()[0] is not None:
                    self._stopping.set()

        workers = [asyncio.create_task(work()) for _ in range(self._server.concurrency)]
        try:
            await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
            if self._stopping.is_set():
                await asyncio.wait(workers, timeout=_GRACE)
        finally:
            for worker in workers:
                worker.cancel()
        errors = [error for error in await asyncio.gather(*workers, return_exceptions=True) if error is not None]
        own = [error for error in errors if not isinstance(error, asyncio.CancelledError)]
        if own:
            raise own[0]

    async def _one(self, one: Ask) -> None:
        """Ask until there is a usable reply, or until patience or tries are at an end."""
        deadline = time.monotonic() + self._server.patience
        useless = 0
        for attempt in range(1, sys.maxsize):
            promised = await self._promise(one)
            paid = 0.0
            try:
                async with self._pace.slot() as sent:
                    self.tally.sent += 1
                    received, problem = await self._attempt(one, sent)
            except RetryError as error:
                wait = self._wait(error, attempt)
                if time.monotonic() + wait > deadline:
                    said = f", and asks to wait {wait:.0f} s" if error.wait is not None else ""
                    self._fail(one, attempt, f"{error} (attempt {attempt}{said}; --patience is at an end)")
                    return
            except RejectedError as error:
                self._reject(one, attempt, str(error))
                return
            else:
                wait = 0.0
                paid = self._keep(one, attempt, received, problem)
                if problem is None:
                    return
                useless += 1
                if useless >= self._server.tries:
                    self.tally.failed += 1
                    return
            finally:
                await self._settle(promised, paid)
            if await self._stopped_within(wait):
                return

    async def _attempt(self, one: Ask, sent: int) -> tuple[Received, str | None]:
        """A reply, and why it cannot be used, if so."""
        try:
            received = await self._sender.send(one.request)
        except RetryError as error:
            if error.throttled:
                self.tally.throttled += 1
                self._pace.objected(sent, error.wait)
            raise
        except NoTextError as error:
            return error.received, str(error)
        self._pace.went_well()
        try:
            one.read(received.text)
        except UnreadableError as error:
            return received, str(error)
        return received, None

    async def _stopped_within(self, seconds: float) -> bool:
        """Wait; whether there is no point in going on."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()

    def _wait(self, error: RetryError, attempt: int) -> float:
        if error.wait is not None:
            return error.wait + self._jitter.uniform(0, _FIRST_WAIT)
        return self._jitter.uniform(0, min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(attempt, 16)))

    async def _promise(self, one: Ask) -> float:
        """Set money aside, waiting for what comes back from others if need be.

        Raises:
            PartialError: There is not enough, and nothing will come back.
        """
        question = one.request.question
        async with self._money_back:
            while True:
                promised = self._purse.promise(tokens_of(question.characters, self._replies), question.max_tokens)
                if promised is not None:
                    return promised
                if not self._purse.waits:
                    raise PartialError(
                        f"--max-cost {self._server.max_cost:g}: {self._purse.spent:.4f} are spent and the next request "
                        "could cost more than what is left; all replies are kept, a higher limit goes on from here"
                    )
                await self._money_back.wait()

    async def _settle(self, promised: float, paid: float) -> None:
        self._purse.settle(promised, paid)
        async with self._money_back:
            self._money_back.notify_all()

    def _keep(self, one: Ask, attempt: int, received: Received, problem: str | None) -> float:
        """Write a reply down; returns what it did cost."""
        cost = self._purse.cost(received.prompt_tokens or 0, received.reply_tokens or 0)
        self._replies.add(
            Reply(
                id=one.request.id,
                name=one.name,
                text=received.text,
                problem=problem,
                finish=received.finish,
                prompt_tokens=received.prompt_tokens,
                reply_tokens=received.reply_tokens,
                cost=cost,
                characters=one.request.question.characters,
                model=received.model,
                attempts=attempt,
                seconds=round(received.seconds, 3),
            )
        )
        if problem is None:
            self.tally.answered += 1
        return cost

    def _fail(self, one: Ask, attempt: int, reason: str) -> None:
        self._replies.add(Reply(id=one.request.id, name=one.name, problem=redact(reason), attempts=attempt))
        self.tally.failed += 1

    def _reject(self, one: Ask, attempt: int, reason: str) -> None:
        """Note a request that the server will not take.

        Raises:
            ApiError: It took none so far.
        """
        self._fail(one, attempt, reason)
        self._rejected += 1
        if self._rejected >= _REFUSED_IN_VAIN and not self.tally.answered and not self.tally.known:
            hint = (
                "; --structure json or text suits servers that know no schemas"
                if "schema" in reason or "response_format" in reason
                else "; --temperature none leaves it to the server"
                if "temperature" in reason
                else ""
            )
            raise ApiError(f"{self._server.url}: rejects every request: {reason}{hint}")
