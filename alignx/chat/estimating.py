"""What requests will take, before they are sent: tokens from characters until the server has counted some."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from alignx.chat.prices import Price
from alignx.chat.question import Ask
from alignx.chat.replies import Replies, reading

CHARACTERS_A_TOKEN = 4.0
"""Of English prose, about; other languages and JSON have fewer. An estimate, and called so."""
_ENOUGH = 20
"""Replies from which on the server's own counts are used."""


def tokens_of(characters: int, replies: Replies) -> int:
    """Tokens of a request: by what the server counted for others, else by :data:`CHARACTERS_A_TOKEN`."""
    return math.ceil(characters / _ratio(replies))


def _ratio(replies: Replies) -> float:
    counted = replies.tokens
    if counted.replies < _ENOUGH or not counted.prompt:
        return CHARACTERS_A_TOKEN
    return counted.characters / counted.prompt


@dataclass(frozen=True)
class Estimate:
    """What is left to ask."""

    requests: int
    known: int
    """Answered already."""
    prompt_tokens: int
    reply_tokens: int
    price: Price | None
    ratio: float
    """Characters a token."""
    counted: int
    """Replies that the ratio and the length of a reply come from; 0: a rule of thumb, replies as long as allowed."""

    def __str__(self) -> str:
        """For people, over several lines."""
        basis = (
            f"by {self.counted} replies of this server"
            if self.counted
            else f"estimated at {self.ratio:g} characters a token, replies as long as they may be"
        )
        cost = (
            f"cost: about {_amount(self.price.of(self.prompt_tokens, self.reply_tokens))} {self.price.currency} at "
            f"{self.price}"
            if self.price is not None
            else "cost: unknown, the model is in no price list (--prices FILE); a server of your own costs its machine"
        )
        return "\n".join(
            [
                f"requests: {self.requests:,} to send, {self.known:,} answered already",
                f"tokens: about {self.prompt_tokens:,} in and {self.reply_tokens:,} out, {basis}",
                cost,
            ]
        )


def _amount(money: float) -> str:
    """Two digits behind the point, or two that matter: little is not nothing."""
    return f"{money:,.2f}" if money >= 1 else f"{money:.2g}"


def estimate(asks: Iterable[Ask], replies: Replies | None, price: Price | None) -> Estimate:
    """What it takes to ask what has no usable reply yet; nothing is sent.

    Args:
        asks: All requests.
        replies: Those so far, if there are any.
        price: Of the model, if known.
    """
    ratio = _ratio(replies) if replies is not None else CHARACTERS_A_TOKEN
    counted = replies.tokens.replies if replies is not None and replies.tokens.replies >= _ENOUGH else 0
    requests = known = characters = longest = 0
    for one in asks:
        if replies is not None and reading(one, replies).problem is None:
            known += 1
            continue
        requests += 1
        characters += one.request.question.characters
        longest += one.request.question.max_tokens
    if counted and replies is not None:
        longest = math.ceil(requests * replies.tokens.reply / counted)
    return Estimate(requests, known, math.ceil(characters / ratio), longest, price, ratio, counted)
