"""What was asked, what came of it and what it did cost: counted, and written down as it happens."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from alignx.chat.prices import Purse
from alignx.chat.question import Ask
from alignx.chat.receiving import Received
from alignx.chat.replies import Replies, Reply
from alignx.errors import PartialError


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


@dataclass
class Turn:
    """One request on its way to a usable reply."""

    one: Ask
    attempts: int = 0
    failures: int = 0
    """Attempts that brought no reply."""
    useless: int = 0
    """Replies that cannot be used."""
    problem: str = ""
    """Why the last of them cannot."""
    deadline: float | None = None
    """When patience ends, by the clock of the first failure."""
    unseen: float = 0.0
    """What replies that did not arrive may have cost."""


class Accounts:
    """Of one start: the purse, the replies and the tally."""

    def __init__(self, purse: Purse, replies: Replies) -> None:
        """Open them; ``replies`` know what earlier starts did cost."""
        self.tally = Tally()
        self.news = asyncio.Condition()
        """A request has ended: money may have come back, hope may have gone."""
        self._purse, self._replies = purse, replies

    async def tell(self) -> None:
        """Wake whoever waits for news."""
        async with self.news:
            self.news.notify_all()

    async def promise(self, one: Ask) -> float:
        """Set aside what a request can cost at most, waiting for what comes back from others if need be.

        Raises:
            PartialError: There is not enough, and nothing will come back.
        """
        question = one.request.question
        async with self.news:
            while (promised := self._purse.promise(question.most_tokens, question.max_tokens)) is None:
                if not self._purse.waits:
                    most = self._purse.cost(question.most_tokens, question.max_tokens)
                    raise PartialError(
                        f"--max-cost {self._purse.limit:g}: {self._purse.spent:.4f} are spent and the next request "
                        f"could cost up to {most:.4f}; all replies are kept, a higher limit goes on from here"
                    )
                await self.news.wait()
        return promised

    async def settle(self, promised: float, paid: float) -> None:
        """A request has ended: give back what it did not cost."""
        self._purse.settle(promised, paid)
        await self.tell()

    def keep(self, turn: Turn, received: Received, problem: str | None, promised: float) -> float:
        """Write a reply down; returns what it did cost: where the server does not count, as much as it can be."""
        paid = promised
        if received.prompt_tokens is not None and received.reply_tokens is not None:
            paid = self._purse.cost(received.prompt_tokens, received.reply_tokens)
        self._replies.add(
            Reply(
                id=turn.one.request.id,
                name=turn.one.name,
                text=received.text,
                problem=problem,
                finish=received.finish,
                prompt_tokens=received.prompt_tokens,
                reply_tokens=received.reply_tokens,
                cost=paid + turn.unseen,
                characters=turn.one.request.question.characters,
                model=received.model,
                attempts=turn.attempts,
                seconds=round(received.seconds, 3),
            )
        )
        turn.unseen = 0.0
        turn.useless += problem is not None
        self.tally.answered += problem is None
        return paid

    def fail(self, turn: Turn, reason: str) -> None:
        """Write down that no reply came, and why."""
        one = turn.one
        self._replies.add(
            Reply(id=one.request.id, name=one.name, problem=reason, cost=turn.unseen, attempts=turn.attempts)
        )
        turn.unseen = 0.0
        self.tally.failed += 1
