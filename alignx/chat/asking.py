"""Asking many requests: each once, several at a time, patiently, and for no more money than was allowed."""

import asyncio
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from alignx.chat.accounts import Accounts, Tally, Turn
from alignx.chat.outlook import Outlook
from alignx.chat.pace import Pace
from alignx.chat.prices import Purse, find_price
from alignx.chat.progress import Progress
from alignx.chat.question import Ask, UnreadableError
from alignx.chat.receiving import NoTextError, Received, RejectedError, RetryError
from alignx.chat.replies import Replies, reading
from alignx.chat.sending import Sender
from alignx.chat.settings import ServerSettings

__all__ = ["Tally", "ask"]

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
"""Seconds before the second attempt; doubled for each further one up to the second number. Of that at least half is
waited, the rest at random, so that requests that failed together do not come back together."""
_GRACE = 15.0
"""Seconds that requests under way are given to end when there is no point in sending others."""


Looked = Callable[[Mapping[str, Any]], None]
"""Takes what the server says of the model."""


def ask(
    asks: Iterable[Ask],
    server: ServerSettings,
    model: str,
    replies: Replies,
    total: int,
    looked: Looked | None = None,
) -> Tally:
    """Ask what has no usable reply yet; every reply is in the file when this returns or raises.

    Where every reply is known, nothing is sent and no key is needed.

    Args:
        asks: Each request once.
        server: Whom, how patiently, for how much.
        model: As the server calls it.
        replies: Where replies are and go.
        total: How many ``asks`` there are, for the progress bar.
        looked: Called before anything is asked, with what the server says of the model, such as its ``shutdown_date``;
            not where nothing is left to ask.

    Raises:
        ApiError: No request can succeed: a refused key, an unknown model, a used-up quota, a server that is out.
        DataError: The replies cannot be written.
        PartialError: The money that was allowed does not suffice, or the server asks for more patience than there is.
        SettingsError: The address, the key or the limit cannot be used.
    """
    return asyncio.run(_Asking(server, model, replies, looked).run(asks, total))


class _Asking:
    """One start."""

    def __init__(self, server: ServerSettings, model: str, replies: Replies, looked: Looked | None = None) -> None:
        self._server, self._model, self._replies, self._looked = server, model, replies, looked
        purse = Purse(find_price(model, server.prices), server.max_cost, replies.spent)
        self._accounts = Accounts(purse, replies)
        self.tally = self._accounts.tally
        self._pace = Pace(server.concurrency)
        self._outlook = Outlook(server)
        self._jitter = random.Random()
        self._busy = 0
        """Requests that may still bring a reply."""
        self._on_wire: set[asyncio.Task[Any] | None] = set()
        self._error: Exception | None = None
        """The first for which there is no point in going on."""

    async def run(self, asks: Iterable[Ask], total: int) -> Tally:
        begun = time.monotonic()
        waiting = self._unanswered(asks)
        with Progress(total) as self._progress:
            first = next(waiting, None)
            if first is not None:
                async with Sender(self._server, self._model) as self._sender:
                    self.tally.model = await self._sender.look()
                    if self._looked is not None:
                        self._looked(self.tally.model)
                    if date := self.tally.model.get("shutdown_date"):
                        print(f"warning: the model will be shut down on {date}", file=sys.stderr)
                    await self._ask_all(chain([first], waiting))
        self.tally.seconds = time.monotonic() - begun
        return self.tally

    def _unanswered(self, asks: Iterable[Ask]) -> Iterator[Ask]:
        """Those without a usable reply; whether a reply can be used is decided anew by who reads it now."""
        seen = set[str]()
        failed = []  # last, so that requests which cannot succeed never keep those behind them from being asked
        for one in asks:
            if one.request.id in seen:
                raise ValueError(f"{one.name}: asked twice")
            seen.add(one.request.id)
            if reading(one, self._replies).problem is None:
                self.tally.known += 1
                self._outlook.heard = self._outlook.usable = True
                self._progress.update()
            elif one.request.id in self._replies:
                failed.append(one)
            else:
                yield one
        yield from failed

    async def _ask_all(self, waiting: Iterator[Ask]) -> None:
        """As many workers as requests may be under way, each with one at a time.

        The first that cannot go on stops all; what is on the wire then is still waited for, since it is paid.
        """
        workers = [asyncio.create_task(self._work(waiting)) for _ in range(self._server.concurrency)]
        try:
            _, rest = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
            for worker in rest - self._on_wire:
                worker.cancel()
            if rest:
                await asyncio.wait(rest, timeout=_GRACE)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        if self._error is not None:
            raise self._error
        self._outlook.at_the_end(self.tally.failed)

    async def _work(self, waiting: Iterator[Ask]) -> None:
        try:
            while self._error is None and (one := next(waiting, None)) is not None:
                await self._one(Turn(one))
                self._progress.update(self.tally.failed, self._replies.spent)
        except Exception as error:
            self._error = self._error or error
            raise

    async def _one(self, turn: Turn) -> None:
        """Ask until there is a usable reply, or until patience or tries are at an end."""
        rejected = None
        self._busy += 1
        try:
            while self._error is None and turn.useless < self._server.tries:
                try:
                    if await self._attempt(turn):
                        return
                except RetryError as error:
                    if not await self._patient(turn, error):
                        return
                except RejectedError as error:
                    rejected = str(error)
                    self._accounts.fail(turn, rejected)
                    break
        finally:
            self._busy -= 1
            if turn.unseen:  # whatever ends this, what may have been paid is written down
                self._accounts.fail(turn, "stopped before its reply came")
            await self._accounts.tell()
        if rejected is not None:
            await self._doubt(rejected)
        elif turn.useless >= self._server.tries:
            self.tally.failed += 1
            self._outlook.unusable(turn.problem)

    async def _attempt(self, turn: Turn) -> bool:
        """Ask once; whether that was the end."""
        promised = await self._accounts.promise(turn.one)
        paid = 0.0
        try:
            async with self._pace.slot() as sent:
                if self._error is not None:
                    return False
                self._on_wire.add(asyncio.current_task())
                self.tally.sent += 1
                turn.attempts += 1
                received, problem = await self._send(turn, sent)
                paid = self._accounts.keep(turn, received, problem, promised)
                self._on_wire.discard(asyncio.current_task())
                return problem is None
        except RetryError as error:
            paid = promised if error.counted else 0.0
            turn.unseen += paid
            raise
        except asyncio.CancelledError:
            if asyncio.current_task() in self._on_wire:
                turn.unseen += promised
            raise
        finally:
            self._on_wire.discard(asyncio.current_task())
            await self._accounts.settle(promised, paid)

    async def _send(self, turn: Turn, sent: int) -> tuple[Received, str | None]:
        """A reply, and why it cannot be used, if so."""
        problem = None
        try:
            received = await self._sender.send(turn.one.request)
            turn.one.read(received.text)
        except RetryError as error:
            if error.throttled:
                self.tally.throttled += 1
                honoured = error.wait is None or error.wait <= self._server.patience
                self._pace.objected(sent, error.wait if honoured else None)
            raise
        except NoTextError as error:
            received = error.received
            problem = None if turn.one.takes(received.finish) else str(error)
        except UnreadableError as error:
            problem = str(error)
        self._pace.went_well()
        self._outlook.replied()
        self._outlook.usable = self._outlook.usable or problem is None
        turn.problem = problem or ""
        return received, problem

    async def _patient(self, turn: Turn, error: RetryError) -> bool:
        """Wait before the next attempt; false when patience is at an end."""
        now = time.monotonic()
        turn.failures += 1
        turn.deadline = turn.deadline if turn.deadline is not None else now + self._server.patience
        wait = self._wait(error, turn.failures)
        if now + wait <= turn.deadline:
            self._progress.notice(
                f"{self._server.url}: {error}; asked again, each request for up to {self._server.patience:g} s"
            )
            await asyncio.sleep(wait)
            return True
        said = f", and asks to wait {error.wait:g} s" if error.wait else ""
        reason = f"{error} (attempt {turn.attempts}{said}; --patience is at an end)"
        self._accounts.fail(turn, reason)
        self._outlook.gave_up(reason, error.wait)
        return False

    def _wait(self, error: RetryError, failures: int) -> float:
        if error.wait:
            return error.wait + self._jitter.uniform(0, _FIRST_WAIT)
        longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(failures - 1, 16))
        return self._jitter.uniform(longest / 2, longest)

    async def _doubt(self, reason: str) -> None:
        """After a request was rejected: when too many were, go on only once the server has taken one.

        Raises:
            ApiError: It took none.
        """
        self._outlook.reject(reason)
        async with self._accounts.news:
            await self._accounts.news.wait_for(lambda: not self._outlook.doubtful or not self._busy)
        if self._outlook.doubtful:
            raise self._outlook.refuses_all()
