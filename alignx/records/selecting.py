"""Which records of a source are taken, by a seed and their ids: the same ones in any order, any piece, any process."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from alignx.errors import DataError
from alignx.manifest import digest
from alignx.records.mixing import Share

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DIGITS: Final = 16
_RANKS: Final = 2 ** (4 * _DIGITS)


def rank(seed: int, record_id: str) -> int:
    """A record's place in the draw, of 2⁶⁴: the first 16 hex digits of ``digest(seed, "subset", id)``."""
    return int(digest(seed, "subset", record_id)[:_DIGITS], 16)


def ranks(record_ids: Iterable[str], seed: int) -> "NDArray[np.uint64]":
    """The rank of each record: ``(records,)`` uint64, 8 bytes a record."""
    import numpy as np

    return np.fromiter((rank(seed, name) for name in record_ids), dtype=np.uint64)


@dataclass(frozen=True)
class Selection:
    """A draw of records: those whose rank, a digest of the seed and their id, is below a bound.

    A share ``p`` is the bound ``p · 2⁶⁴``. Each record is in or out by itself, so that no pass over the data is needed,
    and pieces of a source can be read anywhere; how many are in is binomial: of n records ``n·p`` on average, with a
    standard deviation of ``√(n·p·(1 − p))``, 292 of 91,814 for 7 % of AlignX. A number of records is the bound that so
    many ranks are below, which takes one pass over the ids. A smaller draw by the same seed is part of a larger one.

    The paper's "7 % subset" is 91,918 of 1,311,622 rows, drawn at random; which ones is unpublished. A draw by ours is
    another subset of that size, and its ids are on record: seed and bound in the manifest, the ids in what is prepared.
    """

    share: Share
    """What was asked for."""
    seed: int
    below: int
    """Records of a smaller rank are in; from 0 (none) to 2⁶⁴ (all)."""

    @classmethod
    def by_share(cls, share: Share, seed: int) -> "Selection":
        """A draw that needs no pass over the data: all, or each record with the same probability.

        Raises:
            ValueError: The share is a number of records; see :meth:`exactly`.
        """
        if share.count is not None:
            raise ValueError(f"a draw of {share.count} records needs the ranks of all")
        part = Fraction(1) if share.part is None else Fraction(share.part)
        return cls(share, seed, math.floor(part * _RANKS))

    @classmethod
    def exactly(cls, count: int, of: "NDArray[np.uint64]", seed: int) -> "Selection":
        """A draw of so many records.

        Args:
            count: At least 1.
            of: The rank of each record of the source, in any order; see :func:`ranks`. It is copied once, so the peak
                is 16 bytes a record.
            seed: That the ranks were made with.

        Raises:
            DataError: There are not so many; or the last that would be in and the first that would be out have the same
                rank, which of a million records with different ids happens once in 10¹³ draws.
        """
        import numpy as np

        if not 0 < count <= len(of):
            raise DataError(f"{count} records are asked for, expected at least 1 and at most the {len(of)} there are")
        if count == len(of):
            return cls(Share(count=count), seed, _RANKS)
        last, first_out = (int(place) for place in np.partition(of, (count - 1, count))[count - 1 : count + 1])
        if last == first_out:
            raise DataError(
                f"{count} of {len(of)} records cannot be drawn by seed {seed}: two have the rank {last:016x}, of which "
                "one would be in; look for an id that occurs twice, or draw by another seed"
            )
        return cls(Share(count=count), seed, last + 1)

    def selects(self, record_id: str) -> bool:
        """Whether a record is in; the id is the one that its source gave it, whatever a mixture calls it."""
        return self.below == _RANKS or rank(self.seed, record_id) < self.below

    def as_dict(self) -> dict[str, Any]:
        """For a manifest; the bound in hex, as JSON's numbers do not hold it everywhere."""
        return {"share": str(self.share), "seed": self.seed, "below": f"{self.below:x}"}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "Selection":
        """The draw that :meth:`as_dict` described.

        Raises:
            DataError: It describes none.
        """
        try:
            below = int(saved["below"], 16)
            found = cls(Share.parse(saved["share"]), int(saved["seed"]), below)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"selection: got {dict(saved)!r}, expected share, seed and below ({error})") from None
        if not 0 <= below <= _RANKS:
            raise DataError(f"selection: got the bound {saved['below']!r}, expected at most {_RANKS:x}")
        return found
