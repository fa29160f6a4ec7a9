"""Choosing the next token of one response: a function of its logits, the seed, the record and the position alone.

Temperature, then top-k, then top-p, as transformers does; then Gumbel noise, so that the largest of what is left is a
sample. The noise of a token belongs to (seed, record, position, token): it is the same whoever stands beside the
record, and wherever the token ranks.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.random import Philox
from numpy.typing import NDArray

from alignx.manifest import canonical_json

Floats = NDArray[np.float64]
Tokens = NDArray[np.int64]
_WORDS = 4
"""Numbers that the generator makes of one count."""
_MANY = 150
"""Tokens from which on a whole row of noise is quicker than each token's own."""


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen from what the model says."""

    temperature: float = 0.9
    """Zero takes the likeliest token."""
    top_k: int = 10
    """Only so many of the likeliest tokens, with all that are as likely as the last of them; 0: all."""
    top_p: float = 0.95
    """Of those only the ones than which less than this, in all, is likelier."""
    seed: int = 42

    @property
    def greedy(self) -> bool:
        """Whether nothing is left to chance."""
        return self.temperature == 0

    @property
    def ranks(self) -> int:
        """How many of the likeliest tokens matter; 0: all."""
        return 1 if self.greedy else self.top_k


class Noise:
    """Gumbel noise of one record's response: independent for every seed, record, position and token.

    Philox, a counter-based generator (Salmon et al. 2011): a digest of seed and record is its key, position and token
    are its counter. Nothing is drawn in turn, so nothing depends on what was drawn before.
    """

    def __init__(self, seed: int, record_id: str) -> None:
        """Name the record."""
        key = hashlib.sha256(canonical_json(["responses/1", seed, record_id]).encode()).digest()
        self._key = int.from_bytes(key[:16], "big")

    @cached_property
    def _bits(self) -> tuple[Any, Any]:
        """A generator, and its state to set the counter in: much quicker than a generator each time."""
        bits = Philox(key=self._key)
        return bits, {**bits.state, "buffer_pos": _WORDS}  # what was made of another count is not used up

    def of(self, position: int, tokens: Tokens) -> Floats:
        """The noise of some tokens at a position of the response, counted from 0."""
        if len(tokens) >= _MANY:
            raw = Philox(key=self._key, counter=[0, position, 0, 0]).random_raw(int(tokens.max()) + 1)[tokens]
        else:
            raw = np.array([self._raw(position, int(token)) for token in tokens], dtype=np.uint64)
        uniform = ((raw >> np.uint64(11)) + 0.5) * 2.0**-53  # never 0, never 1
        return np.asarray(-np.log(-np.log(uniform)), dtype=np.float64)

    def _raw(self, position: int, token: int) -> int:
        bits, state = self._bits
        state["state"]["counter"][:2] = (token // _WORDS, position)
        bits.state = state
        return int(bits.random_raw(_WORDS)[token % _WORDS])


@dataclass(frozen=True)
class Row:
    """The likeliest tokens at one position: the likeliest first, of equally likely ones the lowest number."""

    tokens: Tokens
    logits: Floats
    whole: bool
    """Whether these are all there are."""

    @classmethod
    def of(cls, tokens: Any, logits: Any, whole: bool) -> "Row":
        """Tokens and their logits in any order."""
        tokens, logits = np.asarray(tokens, dtype=np.int64), np.asarray(logits, dtype=np.float64)
        order = np.lexsort((tokens, -logits))
        return cls(tokens[order], logits[order], whole)

    def suffices(self, sampling: Sampling, error: float) -> bool:
        """Whether no token that is left out could be among those to choose from, were each logit off by ``error``."""
        ranks = sampling.ranks
        return self.whole or (
            0 < ranks < len(self.logits) and bool(self.logits[-1] + 2 * error < self.logits[ranks - 1])
        )


@dataclass(frozen=True)
class Choice:
    """The token that comes next."""

    token: int
    certain: bool
    """Whether it would be the same were each logit off by the error that was allowed for."""


def choose(row: Row, sampling: Sampling, noise: Noise, position: int, error: float = 0.0) -> Choice:
    """The next token.

    Args:
        row: What the model says, as far as it matters (:meth:`Row.suffices`).
        sampling: Temperature, top-k and top-p.
        noise: Of the record.
        position: In the response, from 0.
        error: By how much each logit may be off, through rounding.
    """
    if sampling.greedy:
        return Choice(int(row.tokens[0]), len(row.logits) == 1 or bool(row.logits[0] - row.logits[1] > 2 * error))
    scaled = row.logits / sampling.temperature
    slack = 2 * error / sampling.temperature  # by which the difference of two of them may be off
    surely, maybe = _kept(scaled, sampling, slack)
    number = np.flatnonzero(maybe)  # the rest cannot win, so their noise is not needed
    value = scaled[number] + noise.of(position, row.tokens[number])
    best = int(np.argmax(value))
    largest, value[best] = value[best], -np.inf
    certain = bool(surely[number[best]]) and bool(value.max() + slack < largest)
    return Choice(int(row.tokens[number[best]]), certain)


def _kept(scaled: Floats, sampling: Sampling, slack: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which tokens top-k and top-p keep whatever the error does to the logits, and which they keep if it does its most.

    Without an error the two are the same, but for what is exactly as likely as a token that is left out.
    """
    last = min(sampling.top_k or len(scaled), len(scaled)) - 1
    beyond = scaled[last + 1] if last + 1 < len(scaled) else -np.inf
    surely, maybe = scaled > beyond + slack, scaled >= scaled[last] - slack
    if sampling.top_p == 1:
        return surely, maybe
    weights = np.exp(scaled - scaled[0])
    fewest, most = _sums(weights * surely), _sums(weights * maybe)
    # What is likelier than a token, at least and at most, and of what in all; ratios of weights are off by the slack.
    least = fewest[np.searchsorted(-scaled, -(scaled + slack), side="left")]
    mostly = most[np.searchsorted(-scaled, -(scaled - slack), side="right")] - weights * maybe
    surely = surely & (mostly * np.exp(slack) < sampling.top_p * np.maximum(fewest[-1], mostly))
    maybe = maybe & (least * np.exp(-slack) < sampling.top_p * most[-1])
    return surely, maybe


def _sums(weights: Floats) -> Floats:
    """Of the first none, one, two and so on."""
    return np.concatenate(([0.0], np.cumsum(weights)))
