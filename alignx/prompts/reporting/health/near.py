"""Near-duplicate targets: MinHash of word shingles, locality-sensitive hashing in arrays, and an exact last word.

A target is near another when its post and both its responses are: each has a Jaccard similarity of at least
``SIMILAR`` between its sets of ``WORDS``-word shingles and those of the other, after case, spaces and punctuation are
gone. Candidates come from 32 minima of hashes of each of the three texts (Broder 1997) in 16 bands of two of each
(Indyk & Motwani 1998): of targets whose three texts are exactly at the threshold 99.9 % are found, at 0.9 all but six
in a million, and all of the same words. What is reported is true, because candidates are read again and compared
exactly.

Written out in NumPy: the usual libraries keep a Python object a record and a dictionary a band (datasketch: a kilobyte
a record and more), or want one flat set of tokens (rensa), where three texts of one target must each be alike; here it
is 64 bytes a record in one array.
"""

import re
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alignx.prompts.reporting.health.columns import Column

SIMILAR = 0.85
WORDS = 3
PARTS = 3
"""Post, chosen, rejected."""

_BANDS = 16
_MINIMA = 2 * _BANDS
_BATCH = 256
_REMEMBERED = 1 << 18
_ALONE = r"\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
"""Letters of scripts without spaces between words: each counts as a word."""
_WORD = re.compile(rf"[{_ALONE}]|[^\W_{_ALONE}]+")
_SPACED = {code: " " for code in range(128) if not chr(code).isalnum()}
"""Spaces for everything in ASCII that is no letter or digit: faster than a pattern, and most texts are ASCII."""

Words = Sequence[str]
Hashes = NDArray[np.uint64]


def words_of(text: str) -> list[str]:
    """The words of a text, without case, spaces and punctuation."""
    text = text.lower()
    return text.translate(_SPACED).split() if text.isascii() else _WORD.findall(text)


def shingles(words: Words) -> set[tuple[str, ...]]:
    """Each word with the two before it; before the first there is nothing. As many as there are words, or fewer."""
    padded = ("",) * (WORDS - 1) + tuple(words)
    return {padded[i : i + WORDS] for i in range(len(words))}


def similarity(texts: Sequence[str], others: Sequence[str]) -> float:
    """The least of the Jaccard similarities of each text with its counterpart, from 0 to 1.

    Two texts without any word are alike if they are equal.
    """
    least = 1.0
    for text, other in zip(texts, others, strict=True):
        mine, theirs = shingles(words_of(text)), shingles(words_of(other))
        whole = len(mine | theirs)
        least = min(least, len(mine & theirs) / whole if whole else float(text == other))
    return least


def _odd_numbers(n: int, seed: int) -> Hashes:
    return np.random.PCG64(seed).random_raw(n) | np.uint64(1)


_STEP = _odd_numbers(WORDS, 1)
_TIMES = _odd_numbers(_MINIMA, 2)
_PLUS = _odd_numbers(_MINIMA, 3)
_MIX = _odd_numbers(2 * PARTS, 4)


class Signatures:
    """Signatures of targets as they pass: 64 bytes each."""

    def __init__(self) -> None:
        """Start with none."""
        self._bands = Column(np.uint32, _BANDS)
        self._waiting: list[Sequence[str]] = []
        self._hashes = _WordHashes()

    def add(self, texts: Sequence[str]) -> None:
        """Note the three texts of a target."""
        self._waiting.append(texts)
        if len(self._waiting) == _BATCH:
            self._sign()

    def bands(self) -> NDArray[np.unsignedinteger]:
        """``(targets, 16)``: two targets that share a number in any column may be near."""
        self._sign()
        return self._bands.rows

    def _sign(self) -> None:
        batch, self._waiting = self._waiting, []
        if not batch:
            return
        if len(self._hashes) > _REMEMBERED:
            self._hashes.clear()
        keys = np.zeros((len(batch), _BANDS), np.uint64)
        for part in range(PARTS):
            minima = self._minima([texts[part] for texts in batch])
            for place in range(2):
                keys += minima[:, place::2] * _MIX[2 * part + place]
        self._bands.add(_mixed(keys).astype(np.uint32))

    def _minima(self, texts: Sequence[str]) -> Hashes:
        """Least hash of each text's shingles under each of the 32 functions, ``(texts, 32)``; 0 for a text of none."""
        counts = []
        flat: list[int] = []
        for text in texts:
            words = words_of(text)
            counts.append(len(words))
            flat += (0,) * (WORDS - 1)
            flat += map(self._hashes.__getitem__, words)
        hashes = np.array(flat, np.uint64)
        windows = sum(
            (hashes[i : len(hashes) - WORDS + 1 + i] * _STEP[i] for i in range(1, WORDS)),
            start=hashes[: len(hashes) - WORDS + 1] * _STEP[0],
        )
        sizes = np.array(counts)
        # Every text's block begins with two places in which no word ends, and the last two windows run out of it.
        starts = np.cumsum(sizes + WORDS - 1) - (sizes + WORDS - 1)
        inside = np.zeros(len(hashes) + 1, np.int64)
        np.add.at(inside, starts, 1)
        np.add.at(inside, starts + sizes, -1)
        windows = _mixed(windows[np.cumsum(inside)[: len(windows)] > 0])
        found = np.zeros((len(texts), _MINIMA), np.uint64)
        some = sizes > 0
        if len(windows):
            firsts = (np.cumsum(sizes) - sizes)[some]
            for i in range(_MINIMA):
                found[some, i] = np.minimum.reduceat((windows * _TIMES[i] + _PLUS[i]) >> np.uint64(16), firsts)
        return found


class _WordHashes(dict[str, int]):
    """A number for each word, the same on every machine; never 0, which stands for no word."""

    def __missing__(self, word: str) -> int:
        found = self[word] = zlib.crc32(word.encode("utf-8", "surrogatepass")) + 1
        return found


def _mixed(numbers: Hashes) -> Hashes:
    """Each number spread over all its bits (the finaliser of MurmurHash3)."""
    numbers = numbers ^ (numbers >> np.uint64(33))
    numbers = numbers * np.uint64(0xFF51AFD7ED558CCD)
    return numbers ^ (numbers >> np.uint64(33))


def candidates(bands: NDArray[np.unsignedinteger], among: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs that may be near, ``(pairs, 2)``, the earlier target first, in the order of the later one.

    Of many that share a number, each is paired with the first and with the one before it.

    Args:
        bands: Of all targets.
        among: Which of them are compared, in ascending order.
    """
    pairs = np.zeros((0, 2), np.int64)
    for column in bands.T:
        keys = column[among]
        order = np.argsort(keys, kind="stable")
        same = np.flatnonzero(keys[order][1:] == keys[order][:-1]) + 1
        if not len(same):
            continue
        fresh = np.ones(len(order), np.bool_)
        fresh[same] = False
        first = np.maximum.accumulate(np.where(fresh, np.arange(len(order)), 0))
        members = among[order]
        new = [np.column_stack((members[before], members[same])) for before in (first[same], same - 1)]
        pairs = np.unique(np.concatenate((pairs, *new)), axis=0)
    return pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]
