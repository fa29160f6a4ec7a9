"""Records to folders of shards: read in pieces, worked on by processes, joined in order, committed at the end."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from alignx import manifest
from alignx.errors import DataError
from alignx.locking import hold
from alignx.manifest import Manifest
from alignx.prompts.condition import PersonaSource
from alignx.prompts.pairs import refuse_silence
from alignx.prompts.preparing.course import drafts, jobs_of, settled
from alignx.prompts.preparing.drawing import draw
from alignx.prompts.preparing.folders import LOCK, finished, refuse_skipped
from alignx.prompts.preparing.making import Draft, Job, Making, Work
from alignx.prompts.preparing.merging import Total
from alignx.prompts.preparing.notes import clear_all, clear_others, clear_rest, refuse_mixing
from alignx.prompts.preparing.sources import Source, Wanted
from alignx.prompts.preparing.workers import Workers, cores
from alignx.prompts.telling import choose_donors
from alignx.records import Record, Records, Taxonomy
from alignx.records.held_out import HeldOut
from alignx.records.reading import Reading
from alignx.records.selecting import Selection


@dataclass(frozen=True)
class Ingredients:
    """What is prepared, apart from how it is told."""

    sources: tuple[Source, ...]
    taxonomy: Taxonomy
    held_out: HeldOut | None = None
    seed: int = 42
    """Of the draw of records."""
    allowed: int = 0
    """Rows that may be refused."""

    @property
    def name(self) -> str:
        """As the user named them."""
        return ", ".join(map(str, self.sources))


class Preparation:
    """One start of the work."""

    def __init__(
        self,
        ingredients: Ingredients,
        works: Sequence[Work],
        settings: Mapping[str, Any],
        *,
        workers: int | None = None,
        share: tuple[int, int] = (0, 1),
        waits: bool = False,
    ) -> None:
        """Name the work; nothing is read or written yet.

        Args:
            ingredients: What is prepared.
            works: A folder for each way of telling it.
            settings: Written into the manifests.
            workers: Processes; by default one a core.
            share: Which of how many parts of the work this machine does; a part is not committed.
            waits: For another process that makes the same, instead of refusing.
        """
        self._of, self._works, self._settings = ingredients, tuple(works), dict(settings)
        self._workers, self._share, self._waits = workers or cores(), share, waits

    def run(self) -> list[Manifest]:
        """Make what is not there yet; returns the manifest of each work, or nothing for a part of the work.

        Raises:
            DataError: Records are invalid, or a folder holds something that was not made here.
            ModelError: The tokenizer makes control tokens of plain text.
            PartialError: A process was killed.
        """
        done = [self._finished(work) for work in self._works]
        if all(done):
            return [found for found in done if found is not None]
        locked = [work for work, found in zip(self._works, done, strict=True) if found is None]
        with ExitStack() as stack:
            for work in locked:
                work.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(hold(work.folder / self._lock, "preparing records there", waits=self._waits))
            again = {work.folder: self._finished(work) for work in locked}  # another may have made it
            done = [again.get(work.folder, found) for work, found in zip(self._works, done, strict=True)]
            missing = tuple(work for work, found in zip(self._works, done, strict=True) if found is None)
            for work in missing:
                refuse_mixing(work, self._share[1])
                manifest.path_of(work.folder).unlink(missing_ok=True)
                clear_others(work)
            made = self._make(missing) if missing else []
            for work in locked:  # of parts that were killed, too, once the whole is there
                for lock in work.folder.glob(f"{LOCK}*") if made else [work.folder / self._lock]:
                    lock.unlink(missing_ok=True)
        if not missing:
            return [found for found in done if found is not None]
        fresh = iter(made)
        return [found if found is not None else next(fresh) for found in done] if made else []

    def _finished(self, work: Work) -> Manifest | None:
        found = finished(work)
        if found is not None:
            refuse_skipped(work.folder, found, self._of.allowed)
        return found

    @property
    def _lock(self) -> str:
        part, parts = self._share
        return LOCK if parts == 1 else f"{LOCK}-{part}-of-{parts}"

    def _make(self, works: tuple[Work, ...]) -> list[Manifest]:
        from tqdm import tqdm

        wanted = self._wanted()
        making = Making(self._of.taxonomy, works, self._of.allowed, wanted, self._donors(works, wanted))
        part, parts = self._share
        with (
            tqdm(desc="preparing", unit=" records", disable=None, leave=False) as bar,
            Workers(making, self._workers) as workers,
        ):
            if parts > 1:
                jobs = (job for job in self._jobs() if job.number % parts == part)
                for _, draft in drafts(jobs, works, workers):
                    bar.update(len(draft.parsed))
                return []
            totals = [Total(work, Reading(self._of.name, self._of.allowed)) for work in works]
            for job, draft in self._settled(works, workers):
                bar.update(len(draft.parsed))
                for total, shard in zip(totals, draft.shards, strict=True):
                    total.add(job, draft, shard)
        for source in self._of.sources:
            source.refuse_change()
        return [self._commit(total, making) for total in totals]

    def _settled(self, works: tuple[Work, ...], workers: Workers) -> Iterator[tuple[Job, Draft]]:
        """Every piece of every source with what came of it in the end, in order."""
        first = 0
        for source in self._of.sources:
            for job, draft in settled(source, first, works, workers):
                first = job.number + 1
                yield job, draft

    def _jobs(self) -> Iterator[Job]:
        first = 0
        for source in self._of.sources:
            for job in jobs_of(source, first):
                first = job.number + 1
                yield job

    def _wanted(self) -> dict[str, Wanted]:
        """Which records of each source are wanted; where a number of them is, after a pass over all ids."""
        wanted = {}
        for source in self._of.sources:
            everything = Wanted(source.name, self._of.held_out)
            selection = None
            if source.share.count is not None:
                of = self._of
                selection = draw(
                    source, everything, of.taxonomy, seed=of.seed, allowed=of.allowed, workers=self._workers
                )
            elif source.share.part is not None:
                selection = Selection.by_share(source.share, self._of.seed)
            wanted[source.name] = replace(everything, selection=selection)
        return wanted

    def _donors(self, works: Sequence[Work], wanted: Mapping[str, Wanted]) -> Mapping[str, Record] | None:
        """Whose persona stands in for whose, which takes all records at once; None where nobody's does."""
        condition = works[0].condition
        if condition.persona is not PersonaSource.OTHER:
            return None
        of = self._of
        records = [
            found
            for source in of.sources
            for record in Records(
                source.path, split=source.split, limit=source.limit, skip_invalid=of.allowed, taxonomy=of.taxonomy
            )
            for found, why in [wanted[source.name].look_at(record)]
            if why is None
        ]
        return choose_donors(records, condition.seed, condition.tell)

    def _commit(self, total: Total, making: Making) -> Manifest:
        work, reading = total.work, total.reading
        if not total.counts["records"]:
            why = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in sorted(total.left_out.items()))
            skipped = f"{len(reading.problems)} rows were skipped"
            raise DataError(
                f"{reading.source}: no record is left to prepare ({'; '.join(filter(None, (why, skipped)))})"
            )
        refuse_silence(reading.source, work.condition, total.counts)
        reading.finish()
        found = Manifest(
            kind="prepared",
            data=reading.identity,
            condition=work.condition.model_dump(mode="json"),
            taxonomy=making.taxonomy.digest,
            settings={
                **self._settings,
                "form": work.form,
                "key": work.key,
                "tokenizer": work.encoder.digest if work.encoder is not None else None,
                "sources": {str(source): making.wanted[source.name].as_dict() for source in self._of.sources},
            },
            versions=manifest.versions("tokenizers", "transformers", "pyarrow"),
            counts={
                **total.counts,
                "left_out": dict(total.left_out),
                "lengths": total.described_lengths(),
                "notes": reading.notes(),
            },
            files=total.files,
            sizes=total.sizes,
        )
        clear_rest(work.folder, total.files)
        manifest.write(work.folder, found)
        clear_all(work.folder)
        return found
