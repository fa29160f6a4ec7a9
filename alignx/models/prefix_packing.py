"""Several sequences that begin alike as one row in which what they share stands once.

For two responses ``A`` and ``B`` to a prompt ``P``, the row is ``P A B``. Position ids make both responses continue the
prompt; who sees whom is up to :mod:`alignx.models.prefix_attention`. Any number of sequences may share a prefix, and
any number of such groups a row; nothing is padded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class Asked:
    """A sequence, and which of its tokens' log-probabilities are asked for."""

    tokens: Tokens
    """Token ids, ``(length,)``, without padding."""
    mask: NDArray[np.bool_]
    """``(length,)``; the first token has nothing before it and cannot be asked for."""


@dataclass(frozen=True)
class Group:
    """Where one prefix and the branches that continue it stand in the row, as ``(start, end)``."""

    prefix: tuple[int, int]
    branches: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Segments:
    """A row for variable-length attention: a segment for each prefix and each branch, with what its tokens see."""

    query_ends: Tensor
    """``(segments + 1,)`` int32: where each segment's tokens begin, and where the last one's end."""
    key_ends: Tensor
    """``(segments + 1,)`` int32: the same for the keys that each segment sees, its own the last of them."""
    seen: Tensor
    """``(keys,)`` int64: places in the row of those keys; a prefix's occur once for itself and once for each branch."""
    longest_query: int
    longest_key: int


@dataclass(frozen=True)
class Packed:
    """A row of unique tokens; ``N`` of them, and ``M`` tokens whose log-probabilities are asked for."""

    input_ids: Tensor
    """``(1, N)`` int64."""
    position_ids: Tensor
    """``(1, N)`` int64: positions in the sequence that a token stands in."""
    groups: tuple[Group, ...]
    scored: Tensor
    """``(M,)`` int64: the place in the row whose state predicts each asked token; a shared one occurs several times."""
    targets: Tensor
    """``(M,)`` int64: the asked tokens, sequence by sequence."""
    rows: Tensor
    """``(M,)`` int64: the number of each asked token's sequence."""
    columns: Tensor
    """``(M,)`` int64: its place in the sequence, at least 1."""
    masks: dict[tuple[int, int], Tensor] = field(default_factory=dict, repr=False)
    """Made when first needed: which prefix and branch keys the tokens of a branch see, by their numbers."""

    @cached_property
    def segments(self) -> Segments:
        """The row for variable-length attention; made once, and used by every layer."""
        device = self.input_ids.device
        queries, keys, seen = [0], [0], []
        for group in self.groups:
            prefix = torch.arange(*group.prefix)
            for start, end in (group.prefix, *group.branches):
                if start == end:
                    continue
                own = torch.arange(start, end)
                seen.append(own if (start, end) == group.prefix else torch.cat([prefix, own]))
                queries.append(queries[-1] + end - start)
                keys.append(keys[-1] + len(seen[-1]))
        longest = [max(after - before for before, after in pairwise(ends)) for ends in (queries, keys)]
        return Segments(
            query_ends=torch.tensor(queries, dtype=torch.int32, device=device),
            key_ends=torch.tensor(keys, dtype=torch.int32, device=device),
            seen=torch.cat(seen).to(device),
            longest_query=longest[0],
            longest_key=longest[1],
        )

    def mask(self, prefix: int, branch: int) -> Tensor:
        """``(branch, prefix + branch)`` bool: the whole prefix, and the branch up to the token itself."""
        if (prefix, branch) not in self.masks:
            seen = torch.ones(branch, prefix + branch, dtype=torch.bool, device=self.input_ids.device)
            self.masks[prefix, branch] = seen.tril(prefix)
        return self.masks[prefix, branch]


def pack(groups: Sequence[Sequence[Asked]], device: torch.device | str = "cpu") -> Packed:
    """Put groups of sequences into one row.

    The longest common beginning of each group is found here and may reach into the responses. The last token of a
    sequence predicts nothing and is left out.

    Args:
        groups: Sequences of which each group begins alike, or does not, which is merely slower.
        device: Where the tensors go.

    Raises:
        ValueError: There is no sequence, or the first token of one is asked for.
    """
    row = _Row()
    for group in groups:
        row.add(group)
    return row.packed(device)


class _Row:
    """A row while it is being filled."""

    def __init__(self) -> None:
        self._tokens: list[Tokens] = []
        self._positions: list[Tokens] = []
        self._length = 0
        self._groups: list[Group] = []
        self._scored: list[Tokens] = []
        self._targets: list[Tokens] = []
        self._columns: list[Tokens] = []

    def add(self, group: Sequence[Asked]) -> None:
        shared = _common_length([one.tokens for one in group])
        prefix = self._put(group[0].tokens[:shared], 0)
        branches = []
        for one in group:
            if one.mask[0]:
                raise ValueError("the first token of a sequence was asked for, but nothing stands before it")
            branch = self._put(one.tokens[shared:-1], shared)
            if branch[0] < branch[1]:
                branches.append(branch)
            asked = one.mask.nonzero()[0]
            states = asked - 1
            self._scored.append(np.where(states < shared, prefix[0] + states, branch[0] + states - shared))
            self._targets.append(one.tokens[asked])
            self._columns.append(asked)
        self._groups.append(Group(prefix, tuple(branches)))

    def _put(self, tokens: Tokens, first: int) -> tuple[int, int]:
        """Append tokens at positions from ``first`` on; returns where they stand."""
        start, self._length = self._length, self._length + len(tokens)
        self._tokens.append(tokens)
        self._positions.append(np.arange(first, first + len(tokens)))
        return start, self._length

    def packed(self, device: torch.device | str) -> Packed:
        if not self._groups:
            raise ValueError("no sequence to pack")

        def tensor(parts: list[Tokens]) -> Tensor:
            return torch.from_numpy(np.concatenate(parts).astype(np.int64)).to(device)

        numbers = [np.full(len(asked), number) for number, asked in enumerate(self._columns)]
        return Packed(
            input_ids=tensor(self._tokens)[None],
            position_ids=tensor(self._positions)[None],
            groups=tuple(self._groups),
            scored=tensor(self._scored),
            targets=tensor(self._targets),
            rows=tensor(numbers),
            columns=tensor(self._columns),
        )


def _common_length(sequences: Sequence[Tokens]) -> int:
    """Number of tokens with which all sequences begin."""
    shortest = min(map(len, sequences))
    unlike = np.zeros(shortest, dtype=bool)
    for other in sequences[1:]:
        unlike |= sequences[0][:shortest] != other[:shortest]
    return int(unlike.argmax()) if unlike.any() else shortest
