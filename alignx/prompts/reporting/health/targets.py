"""Repeated targets: exactly the same ones, and those of nearly the same words."""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from alignx.errors import DataError
from alignx.prompts.reporting.health.columns import Names
from alignx.prompts.reporting.health.finding import SHOWN, Commands, Example, Finding, excerpt
from alignx.prompts.reporting.health.near import SIMILAR, WORDS, Signatures, candidates, similarity
from alignx.records import Record

Progress = Callable[[Iterable[Record], str], Iterable[Record]]
"""Shows how far a reading is."""


@dataclass
class Copies:
    """Which records have a target that an earlier record has.

    Attributes:
        exact: ``(records,)``: the same post and responses, byte for byte.
        near: ``(records,)``: not the same but near, or the same as one that is.
        distinct: Number of different targets.
        repeated: How many of them occur more than once.
        most: How often the most frequent one occurs.
        same_words: Of the targets that are near an earlier one, how many have the same words.
        exact_examples: Copies with the record that had it first.
        near_examples: Near ones with the record they are near.
    """

    exact: NDArray[np.bool_]
    near: NDArray[np.bool_]
    distinct: int
    repeated: int
    most: int
    same_words: int = 0
    exact_examples: list[Example] = field(default_factory=list)
    near_examples: list[Example] = field(default_factory=list)


class Targets:
    """The targets of a source as they pass; 72 bytes each."""

    def __init__(self, near: bool = True) -> None:
        """Start with none; ``near``: whether those of nearly the same words shall be found too."""
        self._keys = Names()
        self._signatures = Signatures() if near else None

    def add(self, record: Record) -> None:
        """Note one."""
        self._keys.add(int(record.target, 16))
        if self._signatures is not None:
            self._signatures.add((record.prompt, record.chosen, record.rejected))

    def copies(self, records: Iterable[Record], progress: Progress, shown: int = SHOWN) -> Copies:
        """Find those that occurred before.

        Args:
            records: The same records once more; read only if something may be a copy, to compare the texts themselves.
            progress: Shows how far that is.
            shown: How many examples of each kind are kept.

        Raises:
            DataError: They are fewer the second time.
        """
        keys = self._keys.numbers()
        _, first, group, sizes = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        earliest = first[group]
        exact = earliest != np.arange(len(keys))
        bands = np.zeros((len(keys), 0), np.uint32) if self._signatures is None else self._signatures.bands()
        pairs = candidates(bands, np.sort(first))
        found = Copies(
            exact,
            np.zeros(len(keys), np.bool_),
            distinct=len(first),
            repeated=int(np.count_nonzero(sizes > 1)),
            most=int(sizes.max(initial=0)),
        )
        copied = np.flatnonzero(exact)[:shown]
        needed = np.unique(np.concatenate((pairs.ravel(), copied, earliest[copied])))
        if not len(needed):
            return found
        with tempfile.TemporaryFile() as file:
            texts = _Kept(file, needed, progress(records, "comparing"))
            for place in copied:
                id_, prompt, *_ = texts[int(place)]
                found.exact_examples.append(_example(id_, texts[int(earliest[place])][0], prompt))
            near = self._near(pairs, texts, found)
        found.near = near[earliest]
        return found

    def _near(self, pairs: NDArray[np.int64], texts: "_Kept", found: Copies) -> NDArray[np.bool_]:
        """Compare candidates; a target that is near one is not compared with another, nor stands for others."""
        near = np.zeros(len(found.exact), np.bool_)
        for earlier, later in pairs.tolist():
            if near[earlier] or near[later]:
                continue
            (before, *mine), (id_, *theirs) = texts[earlier], texts[later]
            alike = similarity(mine, theirs)
            if alike < SIMILAR:
                continue
            near[later] = True
            found.same_words += alike == 1
            if len(found.near_examples) < SHOWN:
                found.near_examples.append(_example(id_, before, theirs[0], f"{alike:.2f}"))
        return near


def _example(id_: str, before: str, prompt: str, alike: str = "") -> Example:
    return Example(id_, f"{f'{alike} ' if alike else ''}as {before}: {excerpt(prompt)}")


class _Kept:
    """Texts of some records in a file, so that memory does not grow with their number."""

    def __init__(self, file: BinaryIO, needed: NDArray[np.int64], records: Iterable[Record]) -> None:
        self._file, self._needed = file, needed
        self._begins = np.zeros(len(needed) + 1, np.int64)
        for place, line in enumerate(self._lines(records)):
            file.write(line)
            self._begins[place + 1] = self._begins[place] + len(line)
        if not self._begins[-1]:
            raise DataError("the records changed while they were read; read them again when nobody writes them")

    def _lines(self, records: Iterable[Record]) -> Iterator[bytes]:
        place, last = 0, len(self._needed)
        for number, record in enumerate(records):
            if number == self._needed[place]:
                yield json.dumps([record.id, record.prompt, record.chosen, record.rejected]).encode()
                place += 1
                if place == last:
                    return

    def __getitem__(self, number: int) -> list[str]:
        """Id and the three texts of a record."""
        place = int(np.searchsorted(self._needed, number))
        self._file.seek(int(self._begins[place]))
        found: list[str] = json.loads(self._file.read(int(self._begins[place + 1] - self._begins[place])))
        return found


def findings(copies: Copies, commands: Commands) -> list[Finding]:
    """What is said of copies."""
    records = len(copies.exact)
    exact, near = int(np.count_nonzero(copies.exact)), int(np.count_nonzero(copies.near))
    outside = (
        "Between training and evaluation no target may be on both sides: `alignx data prepare --without FILE` leaves "
        "out what occurs in a file. "
    )
    return [
        Finding(
            "duplicate_targets",
            "Repeated targets",
            exact,
            records,
            "records",
            "look" if exact else "ok",
            "The post and both responses are those of an earlier record, byte for byte. Several users may be asked the "
            f"same; such records are not independent, and intervals are clustered by user, else by target. {outside}"
            "`data clean` keeps the first of each.",
            [commands.clean(drop="duplicates"), commands.prepare("--without EVALUATION.jsonl")] if exact else [],
            copies.exact_examples,
            numbers={"distinct": copies.distinct, "repeated": copies.repeated, "most_repeated": copies.most},
        ),
        Finding(
            "near_duplicate_targets",
            "Nearly repeated targets",
            near,
            records,
            "records",
            "look" if near else "ok",
            f"Not the same target as an earlier record's but nearly: post, chosen and rejected each share at least "
            f"{100 * SIMILAR:.0f} % of their {WORDS}-word shingles with the other's (Jaccard), case, spaces and "
            f"punctuation apart; {copies.same_words} have the very same words. Found by MinHash, then compared "
            "exactly. Clustering by target does not see that they belong together.",
            [commands.clean(drop="near-duplicates")] if near else [],
            copies.near_examples,
            numbers={"threshold": SIMILAR, "shingle_words": WORDS, "same_words": copies.same_words},
        ),
    ]
