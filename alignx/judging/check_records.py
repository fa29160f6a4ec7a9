"""Which records a judge is checked on, and the pairs that they make."""

import heapq
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from alignx.errors import DataError
from alignx.judging.check_settings import CheckSettings
from alignx.judging.pairs import Pair
from alignx.judging.persona import persona_text, sources
from alignx.manifest import DataIdentity, digest
from alignx.records import Record, load_taxonomy


@dataclass(frozen=True)
class Drawn:
    """The records that a check is about."""

    records: Sequence[Record]
    data: DataIdentity
    """Of all records."""
    untold: int
    """Records that say nothing of their user that the judge is to be told, and are not among the drawn."""

    def notes(self) -> list[str]:
        """What a reader should know of which records these are."""
        notes = []
        if self.untold:
            notes.append(
                f"{self.untold:,} of {self.data.records:,} records say nothing of their user that the judge is to be "
                "told, and it was not asked about them."
            )
        if (left := self.data.records - self.untold) > len(self.records):
            notes.append(f"{len(self.records):,} of {left:,} records were drawn by their ids.")
        return notes


def draw_records(settings: CheckSettings, number: int) -> Drawn:
    """So many records, drawn by a digest of their ids as :func:`alignx.judging.pairs.draw` draws pairs; sorted by id.

    Only those of which the judge will be told something; all where there are not so many.

    Raises:
        DataError: There is none, or the records cannot be read.
    """
    records, taxonomy, untold = settings.records(), load_taxonomy(settings.taxonomy), 0

    def told() -> Iterator[Record]:
        nonlocal untold
        for record in records:
            if persona_text(record, settings.judge_persona, taxonomy):
                yield record
            else:
                untold += 1

    drawn = heapq.nsmallest(number, told(), key=lambda record: digest("draw", record.id))
    for line in records.notes():
        print(line, file=sys.stderr, flush=True)
    if not drawn:
        parts = ", ".join(sorted(settings.judge_persona))
        raise DataError(
            f"{settings.data}: none of {untold:,} records says anything of its user that the judge is to be told "
            f"({parts}), expected at least one; see --judge-persona"
        )
    return Drawn(sorted(drawn, key=lambda record: record.id), records.identity, untold)


def pairs_of(settings: CheckSettings, records: Sequence[Record]) -> list[Pair]:
    """The chosen response of each record as the candidate's, the rejected one as the baseline's."""
    taxonomy = load_taxonomy(settings.taxonomy)
    return [
        Pair(
            id=record.id,
            cluster=record.cluster,
            post=record.prompt,
            persona=persona_text(record, settings.judge_persona, taxonomy),
            candidate=record.chosen,
            baseline=record.rejected,
            sources=sources(record.persona),
        )
        for record in records
    ]
