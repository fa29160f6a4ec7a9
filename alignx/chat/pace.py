"""How many requests are under way: as many as allowed, fewer while the server says that it is too many."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_LEAST = 1.0


class Pace:
    """Slots for requests. A 429 halves their number and each reply brings a little of it back.

    The halving answers to the requests that were under way together: those that were sent before it and fail after it
    do not halve again. A server that names a time is not asked anything before it.
    """

    def __init__(self, most: int) -> None:
        """So many at once when nothing is wrong."""
        self._most = float(most)
        self._limit = float(most)
        self._active = 0
        self._cuts = 0
        self._until = 0.0
        self._changed = asyncio.Condition()

    @property
    def limit(self) -> int:
        """Requests allowed at once, now."""
        return int(self._limit)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[int]:
        """Wait until a request may be sent; yields a number to give to :meth:`objected`."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._active < self.limit)
                wait = self._until - asyncio.get_running_loop().time()
                if wait <= 0:
                    self._active += 1
                    break
            await asyncio.sleep(wait)
        try:
            yield self._cuts
        finally:
            self._active -= 1  # before anything is awaited: a slot outlives no cancellation
            async with self._changed:
                self._changed.notify_all()

    def objected(self, sent: int, wait: float | None) -> None:
        """The server said that it is asked too much.

        Args:
            sent: What :meth:`slot` gave to the request.
            wait: Seconds for which it wants to be left alone, if it said so.
        """
        if sent == self._cuts:
            self._cuts += 1
            self._limit = max(_LEAST, self._limit / 2)
        if wait is not None:
            self._until = max(self._until, asyncio.get_running_loop().time() + wait)

    def went_well(self) -> None:
        """A reply came: one slot more for every round of them."""
        self._limit = min(self._most, self._limit + 1 / self._limit)
