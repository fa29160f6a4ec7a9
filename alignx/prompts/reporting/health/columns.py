"""Numbers of fixed size a record, kept in arrays that grow by doubling: a million records are a few megabytes."""

import numpy as np
from numpy.typing import NDArray

_FIRST = 4096


class Column:
    """Rows of unsigned integers of one width."""

    def __init__(self, kind: type[np.uint32] | type[np.uint64], width: int = 1) -> None:
        """Start without rows."""
        self.n = 0
        self._rows: NDArray[np.unsignedinteger] = np.empty((_FIRST, width), kind)

    def add(self, rows: NDArray[np.unsignedinteger]) -> None:
        """Append ``(n, width)`` rows."""
        wanted = self.n + len(rows)
        if wanted > len(self._rows):
            grown = np.empty((max(wanted, 2 * len(self._rows)), self._rows.shape[1]), self._rows.dtype)
            grown[: self.n] = self._rows[: self.n]
            self._rows = grown
        self._rows[self.n : wanted] = rows
        self.n = wanted

    @property
    def rows(self) -> NDArray[np.unsignedinteger]:
        """What was added, ``(n, width)``; not a copy."""
        return self._rows[: self.n]


class Names:
    """How many different names there were, by 64 bits of each: 8 bytes a name."""

    def __init__(self) -> None:
        """Start with none."""
        self._column = Column(np.uint64)
        self._waiting: list[int] = []

    def add(self, number: int) -> None:
        """Note one, by a number below 2⁶⁴ that it alone has."""
        self._waiting.append(number)
        if len(self._waiting) == _FIRST:
            self._keep()

    def _keep(self) -> None:
        self._column.add(np.array(self._waiting, np.uint64)[:, None])
        self._waiting = []

    def numbers(self) -> NDArray[np.uint64]:
        """One for each name noted, in order, ``(n,)``."""
        self._keep()
        return self._column.rows[:, 0].astype(np.uint64, copy=False)

    def different(self) -> int:
        """How many different ones."""
        return len(np.unique(self.numbers()))
