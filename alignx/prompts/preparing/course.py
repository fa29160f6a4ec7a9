"""The pieces of a source in order, each with what came of it in the end."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from alignx.prompts.preparing.making import Draft, Fix, Job, Work
from alignx.prompts.preparing.merging import Order
from alignx.prompts.preparing.notes import read_notes, write_notes
from alignx.prompts.preparing.sources import Source
from alignx.prompts.preparing.workers import Workers


def jobs_of(source: Source, first: int) -> Iterator[Job]:
    """A job for each piece of a source, numbered on from ``first``.

    Where there is a limit, a piece ends where it would if all rows before were records: none is looked at too much.
    """
    before = 0
    for number, piece in enumerate(source.pieces(), start=first):
        left = None if source.limit is None else max(0, source.limit - before)
        yield Job(number, source, piece, Fix(stop=left if left is not None and left <= piece.rows else None))
        before += piece.rows


def settled(source: Source, first: int, works: tuple[Work, ...], workers: Workers) -> Iterator[tuple[Job, Draft]]:
    """The pieces of a source with what came of them after what the pieces before change in them, in order.

    Raises:
        NoRecordsError: There are no records.
    """
    order, problems = Order(str(source), source.limit), 0
    for job, draft in drafts(jobs_of(source, first), works, workers):
        order.begin()
        # one that ended early too: what is wrong with a record can depend on its id
        while (fix := order.fix(job, draft)) != draft.fix:
            draft = workers.again(replace(job, fix=fix))
            write_notes(works, draft)
        problems += len(draft.problems) + len(fix.refused)
        yield job, draft
        if order.is_full:
            break
    order.end(problems)


def drafts(jobs: Iterable[Job], works: tuple[Work, ...], workers: Workers) -> Iterator[tuple[Job, Draft]]:
    """Each job with its draft: the one on disk, else a new one, which is noted there."""
    for job, draft, is_new in workers.in_order((job, read_notes(works, job.number)) for job in jobs):
        if is_new:
            write_notes(works, draft)
        yield job, draft
