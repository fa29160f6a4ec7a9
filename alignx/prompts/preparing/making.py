"""One shard from one piece of a source: what a process does, knowing nothing of the pieces before."""

import gc
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from alignx.errors import DataError
from alignx.prompts.condition import Condition
from alignx.prompts.encoding import Encoder
from alignx.prompts.pairs import BATCH, BatchEncoder
from alignx.prompts.preparing.shards import Shard, ShardWriter
from alignx.prompts.preparing.sources import Source, Wanted
from alignx.prompts.texts import BatchRenderer
from alignx.records import Record, RecordParser, Taxonomy
from alignx.records.identities import generated_id
from alignx.records.pieces import Piece


@dataclass(frozen=True)
class Work:
    """One prepared folder that is made."""

    folder: Path
    key: str
    """Digest of everything that its rows depend on."""
    condition: Condition
    encoder: Encoder | None
    """None: rows are text."""

    @property
    def form(self) -> str:
        """``ids`` or ``text``."""
        return "text" if self.encoder is None else "ids"


class Parsed(NamedTuple):
    """A row that is a record; what its id is made of."""

    number: int
    """Of the row in its file, or of the line."""
    given: str | None
    """The id that it brings."""
    digest: str
    """Of its content."""

    @property
    def provisional(self) -> str:
        """Its id, unless a record before has the same content or brings the same id."""
        return self.given or generated_id(self.digest)


@dataclass(frozen=True)
class Fix:
    """What the records before a piece change in it, by place among the piece's parsed records."""

    ids: Mapping[int, str] = field(default_factory=dict)
    """Records whose content occurred before have another id."""
    refused: Mapping[int, str] = field(default_factory=dict)
    """Records that bring an id which was used before, with the message."""
    stop: int | None = None
    """Records from here on are beyond ``--limit``."""


@dataclass(frozen=True)
class Job:
    """A piece to make shards of, one for each work."""

    number: int
    """Of the shard."""
    source: Source
    piece: Piece
    fix: Fix = Fix()


@dataclass
class Draft:
    """What came of a job."""

    number: int
    fix: Fix
    parsed: list[Parsed] = field(default_factory=list)
    left_out: dict[int, str] = field(default_factory=dict)
    """Records that were not wanted, by their place among the parsed, and why."""
    problems: list[tuple[int, str]] = field(default_factory=list)
    """Rows that are no records, with their numbers."""
    unused: Counter[str] = field(default_factory=Counter)
    """Fields that mean nothing here."""
    shards: list[Shard] = field(default_factory=list)
    """Of each work, in order."""
    ended_early: bool = False
    """More rows were refused than may be, so that nothing was written; the whole will end with them."""


@dataclass(frozen=True)
class Making:
    """What every process knows."""

    taxonomy: Taxonomy
    works: tuple[Work, ...]
    allowed: int = 0
    """Rows that may be refused; a job that finds more ends early, as the whole will."""
    wanted: Mapping[str, Wanted] = field(default_factory=dict)
    """Which records of a source are wanted, by its name."""
    donors: Mapping[str, Record] | None = None

    def make(self, job: Job) -> Draft:
        """Read a piece and write its shards.

        Raises:
            DataError: The file has changed, or is not what it seemed to be.
            ModelError: The tokenizer makes control tokens of plain text.
        """
        with _no_collection():
            return self._make(job)

    def _make(self, job: Job) -> Draft:
        draft = Draft(job.number, job.fix)
        records = self._records(job, draft)
        makers = [self._maker(work) for work in self.works]
        writers = [ShardWriter(work.folder, job.number, work.form) for work in self.works]
        refused: list[list[tuple[int, str]]] = [[] for _ in self.works]
        while batch := list(islice(records, BATCH)):
            for maker, writer, problems in zip(makers, writers, refused, strict=True):
                rows: dict[int, Any] = {}
                for place, found in maker.encode([record for _, record in batch], self.donors):
                    if isinstance(found, DataError):
                        problems.append((batch[place][0], str(found)))
                    else:
                        rows[place] = found
                writer.add([rows[place] for place in sorted(rows)])
            if any(len(draft.problems) + len(problems) > self.allowed for problems in refused):
                break
        draft.ended_early = len(draft.problems) + max(map(len, refused), default=0) > self.allowed
        for work, maker, writer, problems in zip(self.works, makers, writers, refused, strict=True):
            shard = Shard(job.number, work.key, problems, maker.counts, writer.lengths)
            draft.shards.append(shard if draft.ended_early else writer.write(shard))
        return draft

    def _maker(self, work: Work) -> BatchEncoder | BatchRenderer:
        if work.encoder is None:
            return BatchRenderer(work.condition, self.taxonomy)
        return BatchEncoder(work.condition, work.encoder, self.taxonomy)

    def _records(self, job: Job, draft: Draft) -> Iterator[tuple[int, Record]]:
        """The wanted records of a piece, each with the number of its row; notes in the draft what else there is."""
        parser = RecordParser(self.taxonomy)
        draft.unused = parser.unused_fields
        wanted = self.wanted[job.source.name]
        rows = job.piece.records(parser)
        while len(draft.parsed) != job.fix.stop and (row := next(rows, None)) is not None:
            number, found = row
            if isinstance(found, DataError):
                draft.problems.append((number, str(found)))
                if len(draft.problems) > self.allowed:
                    break
                continue
            place, (record, given) = len(draft.parsed), found
            parsed = Parsed(number, given, record.digest)
            draft.parsed.append(parsed)
            if place in job.fix.refused:
                continue
            record = record.named(job.fix.ids.get(place, record.id))
            record, why = wanted.look_at(record)
            if why is None:
                yield number, record
            else:
                draft.left_out[place] = why


@contextmanager
def _no_collection() -> Iterator[None]:
    """A block without Python's search for cycles: it makes millions of objects in none, and would be a fifth slower."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
