"""FLOPs that a workload needs: the theoretical line beside what is measured.

A multiply-add is two FLOPs. A forward costs

    linear layers   2 · weights of all layers             a token read
    attention       4 · width · layers                    a query and a key that it sees
    head            2 · width · vocabulary                a position whose logits are made

Norms, activations, softmax and the optimiser are left out. With each prompt once, a pair reads
``P + (R − 1) + (S − 1)`` tokens (a response's last token predicts nothing), and every response token sees prompt and
response up to itself. The peers read padded rows, two a pair; padding is counted, keys that the causal mask hides are
not.

A training step costs the policy's forward, its backward (twice the linear layers'; attention 2.5 times, as its scores
are made again; the head 3 times, as TRL makes its logits again), once more the layers under gradient checkpointing, and
the forward of an online reference.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from side_by_side import Pair

from alignx.models.tiny import Size


@dataclass(frozen=True)
class Forward:
    """FLOPs of a forward, by part."""

    linear: float
    attention: float
    head: float

    def __add__(self, other: "Forward") -> "Forward":
        return Forward(self.linear + other.linear, self.attention + other.attention, self.head + other.head)

    @property
    def scoring(self) -> float:
        """Of reading alone."""
        return self.linear + self.attention + self.head

    def training(self, *, online_reference: bool, checkpointing: bool) -> float:
        """Of a step."""
        again, reference = float(checkpointing), float(online_reference)
        return (
            (3 + again + reference) * self.linear
            + (3.5 + again + reference) * self.attention
            + (4 + reference) * self.head
        )


def _forward(shape: Size, tokens: int, seen: int, heads: int) -> Forward:
    """Of so many tokens, queries with a key that they see, and positions whose logits are made."""
    key_width = shape.hidden // shape.heads * shape.kv_heads
    layer = 2 * shape.hidden**2 + 2 * shape.hidden * key_width + 3 * shape.hidden * shape.intermediate
    return Forward(
        linear=2.0 * layer * shape.layers * tokens,
        attention=4.0 * shape.hidden * shape.layers * seen,
        head=2.0 * shape.hidden * shape.vocabulary * heads,
    )


def prompt_once(shape: Size, pairs: Iterable[Pair]) -> Forward:
    """Each prompt once, no padding, the head on response tokens."""
    tokens = seen = heads = 0
    for pair in pairs:
        prompt, branches = len(pair.prompt), (len(pair.chosen) - 1, len(pair.rejected) - 1)
        tokens += prompt + sum(branches)
        seen += _triangle(prompt) + sum(prompt * branch + _triangle(branch) for branch in branches)
        heads += len(pair.chosen) + len(pair.rejected)
    return _forward(shape, tokens, seen, heads)


def both_halves(shape: Size, batches: Iterable[Sequence[Pair]], *, every_position: bool = False) -> Forward:
    """Rows of prompt and response, two a pair, padded to the longest of their batch; the head on response tokens."""
    tokens = seen = heads = 0
    for batch in batches:
        longest = max(len(pair.prompt) + max(len(pair.chosen), len(pair.rejected)) for pair in batch)
        tokens += 2 * len(batch) * longest
        seen += 2 * len(batch) * _triangle(longest)
        heads += 2 * len(batch) * longest if every_position else sum(len(p.chosen) + len(p.rejected) for p in batch)
    return _forward(shape, tokens, seen, heads)


def one_by_one(shape: Size, pairs: Iterable[Pair]) -> Forward:
    """One sequence at a time, logits over every position."""
    total = Forward(0, 0, 0)
    for pair in pairs:
        for response in (pair.chosen, pair.rejected):
            length = len(pair.prompt) + len(response)
            total += _forward(shape, length, _triangle(length), length)
    return total


def _triangle(length: int) -> int:
    """Queries with a key that they see, in a causal sequence."""
    return length * (length + 1) // 2
