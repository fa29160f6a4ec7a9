"""Shards in order: which ids the records before leave to a piece, where a limit ends it, and what all add up to."""

from collections import Counter

from alignx.errors import DataError
from alignx.prompts.preparing.making import Draft, Fix, Job, Work
from alignx.prompts.preparing.shards import Shard, shard_path
from alignx.records.identities import Identities
from alignx.records.reading import Reading
from alignx.records.sources import NoRecordsError


class Order:
    """The records of one source in their order, a piece at a time."""

    def __init__(self, source: str, limit: int | None) -> None:
        """Begin before the first piece."""
        self._source, self._limit = source, limit
        self._identities = Identities()
        self.records = 0
        self.begin()

    @property
    def is_full(self) -> bool:
        """Whether the limit is reached."""
        return self.records == self._limit

    def begin(self) -> None:
        """Go on to the next piece."""
        self._ids: dict[int, str] = {}
        self._refused: dict[int, str] = {}
        self._place = 0

    def fix(self, job: Job, draft: Draft) -> Fix:
        """What the pieces before change in this one.

        Where it is not what the draft was made with, the piece is to be made again with it, and its new draft shown.

        Args:
            job: Of the piece.
            draft: Made of it; its records up to those that an earlier draft had are known already.
        """
        for parsed in draft.parsed[self._place :]:
            if self.is_full:
                break
            try:
                name = self._identities.name(parsed.given, parsed.digest, job.piece.where(parsed.number))
                self.records += 1
                if name != parsed.provisional:
                    self._ids[self._place] = name
            except DataError as error:
                self._refused[self._place] = str(error)
            self._place += 1
        return Fix(dict(self._ids), dict(self._refused), self._stop(draft))

    def _stop(self, draft: Draft) -> int | None:
        """Where a limit ends the piece; a guess where the draft ended before anyone could know."""
        if self.is_full:
            return self._place
        was = draft.fix.stop
        ended_by_it = was is not None and len(draft.parsed) == was
        return was if not ended_by_it or self._limit is None else self._place + self._limit - self.records

    def end(self, problems: int) -> None:
        """Say that there are no more pieces, and how many rows were refused.

        Raises:
            NoRecordsError: There were no records.
        """
        if not self.records:
            raise NoRecordsError(self._source, problems)


class Total:
    """What the shards of one work add up to."""

    def __init__(self, work: Work, reading: Reading) -> None:
        """Begin with none."""
        self.work, self.reading = work, reading
        self.counts: Counter[str] = Counter()
        self.lengths: dict[str, Counter[int]] = {}
        self.left_out: Counter[str] = Counter()
        self.files: dict[str, str] = {}
        self.sizes: dict[str, int] = {}

    def add(self, job: Job, draft: Draft, shard: Shard) -> None:
        """Add the next shard.

        Args:
            job: Of its piece.
            draft: What came of it, with its final fix.
            shard: Of this work.

        Raises:
            DataError: More rows are refused than may be.
        """
        problems = [*draft.problems, *shard.problems]
        seen = len(draft.parsed)  # not all of them, if it ended early
        problems += [(draft.parsed[place].number, text) for place, text in draft.fix.refused.items() if place < seen]
        for _, text in sorted(problems):
            self.reading.skip(DataError(text))
        self.reading.unused_fields.update(draft.unused)
        for place, parsed in enumerate(draft.parsed):
            if place not in draft.fix.refused and place not in draft.left_out:
                own = draft.fix.ids.get(place, parsed.provisional)
                self.reading.count(job.source.named(own), parsed.digest)
        self.left_out.update(draft.left_out.values())
        self.counts.update(shard.counts)
        for kind, lengths in shard.lengths.items():
            self.lengths.setdefault(kind, Counter()).update(lengths)
        name = shard_path(self.work.folder, shard.number).name
        self.files[name], self.sizes[name] = shard.sha256, shard.bytes

    def described_lengths(self) -> dict[str, dict[str, float]]:
        """Mean, least, median, 95th percentile and greatest of each kind of length."""
        return {kind: _described(lengths) for kind, lengths in self.lengths.items() if lengths}


def _described(lengths: Counter[int]) -> dict[str, float]:
    number = lengths.total()
    return {
        "mean": round(sum(length * n for length, n in lengths.items()) / number, 1),
        "min": min(lengths),
        "median": _quantile(lengths, number, 0.5),
        "p95": _quantile(lengths, number, 0.95),
        "max": max(lengths),
    }


def _quantile(lengths: Counter[int], number: int, share: float) -> int:
    """The least length that at least this share does not exceed."""
    seen = 0
    for length in sorted(lengths):
        seen += lengths[length]
        if seen >= share * number:
            return length
    return max(lengths)
