"""Log-probabilities of a fixed model, remembered by content: computed once, used by training and evaluation alike.

An entry is what one model in one precision says of one pair: of these very token ids, whatever file or preset they came
from. Each process appends to a file of its own and the last line of one that was killed is left out, so that several
may write at once and nothing is computed twice after an interruption.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO
from uuid import uuid4

import numpy as np

from alignx.errors import DataError
from alignx.manifest import ModelIdentity, digest

FORMAT = 1
"""Raised when what is computed changes, so that no older entry is used."""
Scores = tuple[float, float]


def pair_key(prompt_ids: Sequence[int], chosen_ids: Sequence[int], rejected_ids: Sequence[int]) -> str:
    """What a pair is called: a digest of its token ids."""
    parts = [np.asarray(ids, dtype=np.int64) for ids in (prompt_ids, chosen_ids, rejected_ids)]
    lengths = np.array([len(part) for part in parts], dtype=np.int64)
    return hashlib.sha256(b"".join(part.tobytes() for part in (lengths, *parts))).hexdigest()[:32]


class ScoreCache:
    """What one model in one precision said."""

    def __init__(self, folder: Path, model: ModelIdentity) -> None:
        """Name the place; ``model.dtype`` is what it computes in."""
        self.folder = folder / "log-probabilities" / digest(FORMAT, model.digest, model.dtype)[:32]

    def read(self, keys: Iterable[str] | None = None) -> dict[str, Scores]:
        """What is known: log-probabilities of chosen and rejected by pair.

        Args:
            keys: Only of these.

        Raises:
            DataError: A line other than a file's last is no entry.
        """
        wanted = None if keys is None else set(keys)
        return {key: scores for key, scores in self._entries() if wanted is None or key in wanted}

    def _entries(self) -> Iterator[tuple[str, Scores]]:
        for path in sorted(self.folder.glob("*.jsonl")):
            for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
                try:
                    key, chosen, rejected = json.loads(line)
                    yield str(key), (float(chosen), float(rejected))
                except (ValueError, TypeError) as error:
                    raise DataError(
                        f"{path}:{number}: no line of a key and two log-probabilities; delete this file to have them "
                        "computed again"
                    ) from error

    @contextmanager
    def writing(self) -> "Iterator[Writer]":
        """Append entries; the file begins with its first entry."""
        writer = Writer(self.folder / f"{uuid4().hex}.jsonl")
        try:
            yield writer
        finally:
            writer.close()


class Writer:
    """One process's file of entries."""

    def __init__(self, path: Path) -> None:
        """Name the file."""
        self._path = path
        self._stream: TextIO | None = None

    def add(self, key: str, scores: Scores) -> None:
        """Append an entry; it is on its way to the disk when this returns."""
        if self._stream is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self._path.open("w", encoding="utf-8")
        self._stream.write(json.dumps([key, *scores]) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._stream is not None:
            self._stream.close()
