"""A bounded sample of records: the same whatever their order, drawn by their digests."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alignx.records import Record

MOST = 200_000
"""Records of a sample: a share is known to a quarter of a percentage point, and fifty numbers of each take 40 MB."""
_BATCH = 4096


@dataclass(frozen=True)
class Drawn:
    """Numbers of the records that were drawn.

    Attributes:
        clusters: ``(n,)`` uint64; equal for records of one cluster (user, else target).
        values: ``(n, width)`` float32.
        seen: How many records there were to draw from.
    """

    clusters: NDArray[np.uint64]
    values: NDArray[np.float32]
    seen: int

    @property
    def names(self) -> list[str]:
        """The cluster of each record."""
        return [f"{cluster:x}" for cluster in self.clusters.tolist()]


class Sample:
    """The records of the smallest digests, with some numbers of each."""

    def __init__(self, width: int, most: int = MOST) -> None:
        """Start with none.

        Args:
            width: Numbers a record.
            most: Records that are kept.
        """
        self.seen = 0
        self._most = most
        self._waiting: list[tuple[int, int, Sequence[float]]] = []
        self._keys = np.zeros(0, np.uint64)
        self._clusters = np.zeros(0, np.uint64)
        self._values = np.zeros((0, width), np.float32)

    def add(self, record: Record, values: Sequence[float]) -> None:
        """Draw a record or leave it."""
        self.seen += 1
        self._waiting.append((number_of(record.digest), number_of(record.cluster), values))
        if len(self._waiting) == _BATCH:
            self._keep()

    def _keep(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        keys, clusters, values = zip(*waiting, strict=True)
        self._keys = np.concatenate((self._keys, np.array(keys, np.uint64)))
        self._clusters = np.concatenate((self._clusters, np.array(clusters, np.uint64)))
        self._values = np.concatenate((self._values, np.array(values, np.float32)))
        if len(self._keys) > self._most + _BATCH:
            self._cut()

    def _cut(self) -> None:
        chosen = np.sort(np.argsort(self._keys, kind="stable")[: self._most])
        self._keys, self._clusters, self._values = self._keys[chosen], self._clusters[chosen], self._values[chosen]

    def drawn(self) -> Drawn:
        """What was drawn."""
        self._keep()
        self._cut()
        return Drawn(self._clusters, self._values, self.seen)


def number_of(name: str) -> int:
    """64 bits of a name: of a digest its first 16 digits, of another text a digest's."""
    from hashlib import blake2b

    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
