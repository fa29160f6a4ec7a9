"""Preference directions counted as they pass: which poles occur together, and which directions differ.

Only whole numbers are added up, so neither the order nor the number of directions changes a result.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from alignx.records import Direction, Taxonomy
from alignx.records.directions import NEGATIVE, NEUTRAL, POSITIVE

_BATCH = 4096
"""Directions that are counted at once: their counts are exact in float32, which is what multiplies fast."""
_WAITING = 1 << 18
"""Directions that wait before distinct ones are told apart: few sorts, and little memory."""


class DirectionCounts:
    """Counts of the directions added so far, in memory that grows only with the number of distinct ones."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        """Start with none."""
        size = len(taxonomy)
        self.n = 0
        self.poles = np.zeros(size + 1, np.int64)
        """At k: how many directions have k poles."""
        self._size = size
        self._together = np.zeros((2 * size, 2 * size), np.int64)
        self._distinct = _Distinct(2 * size)
        self._waiting: list[Direction] = []

    def add(self, direction: Direction) -> None:
        """Count one direction over the taxonomy."""
        self._waiting.append(direction)
        if len(self._waiting) == _BATCH:
            self._count()

    def _count(self) -> None:
        batch, self._waiting = self._waiting, []
        if not batch:
            return
        levels = np.frombuffer(b"".join(batch), np.uint8).reshape(len(batch), self._size)
        poles = np.concatenate((levels == NEGATIVE, levels == POSITIVE), axis=1)
        wide = poles.astype(np.float32)
        self._together += (wide.T @ wide).astype(np.int64)
        self.poles += np.bincount(np.count_nonzero(poles, axis=1), minlength=self._size + 1)
        self._distinct.add(poles)
        self.n += len(batch)

    def together(self) -> NDArray[np.int64]:
        """How many directions have both poles, for every two poles; on the diagonal, how many have the one.

        Returns:
            ``(2 · dimensions, 2 · dimensions)``: the negative poles of all dimensions, then the positive ones.
        """
        self._count()
        return self._together

    def distinct(self) -> tuple[int, int]:
        """Number of distinct directions, and how many of them occurred once."""
        self._count()
        counts = self._distinct.counts()
        return len(counts), int(np.count_nonzero(counts == 1))

    def frequent(self, most: int) -> list[tuple[Direction, int]]:
        """Up to ``most`` directions that occurred more than once, from the most frequent down, with their counts."""
        self._count()
        return [(_direction(poles), count) for poles, count in self._distinct.frequent(most)]


class _Distinct:
    """Rows of bits with how often each occurred: 23 bytes and a count for a direction of 90 dimensions."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._kind = f"S{-(-bits // 8)}"  # rows of one length, so that comparing them as texts is exact
        self._keys = np.zeros(0, self._kind)
        self._counts = np.zeros(0, np.int64)
        self._new: list[NDArray[np.bytes_]] = []
        self._many_new = 0

    def add(self, rows: NDArray[np.bool_]) -> None:
        self._new.append(np.packbits(rows, axis=1).view(self._kind)[:, 0])
        self._many_new += len(rows)
        if self._many_new >= max(_WAITING, len(self._keys)):  # twice as many each time: each is sorted a few times
            self._merge()

    def _merge(self) -> None:
        if not self._new:
            return
        keys = np.concatenate((self._keys, *self._new))
        counts = np.concatenate((self._counts, np.ones(self._many_new, np.int64)))
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        firsts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
        self._keys, self._counts = keys[firsts], np.add.reduceat(counts[order], firsts)
        self._new, self._many_new = [], 0

    def counts(self) -> NDArray[np.int64]:
        self._merge()
        return self._counts

    def frequent(self, most: int) -> Iterator[tuple[NDArray[np.bool_], int]]:
        """The most frequent rows that occurred more than once; of equally frequent ones, in the order of their bits."""
        self._merge()
        for place in np.argsort(-self._counts, kind="stable")[:most]:
            if self._counts[place] > 1:
                packed = self._keys[place : place + 1].view(np.uint8)
                yield np.unpackbits(packed, count=self._bits).astype(np.bool_), int(self._counts[place])


def _direction(poles: NDArray[np.bool_]) -> Direction:
    negative, positive = poles.reshape(2, -1)
    return np.select([negative, positive], [NEGATIVE, POSITIVE], NEUTRAL).astype(np.uint8).tobytes()
