"""The draw of a number of records, which takes a pass over all ids before anything is prepared."""

from array import array

from alignx.errors import DataError
from alignx.prompts.preparing.course import settled
from alignx.prompts.preparing.making import Making
from alignx.prompts.preparing.sources import Source, Wanted
from alignx.prompts.preparing.workers import Workers
from alignx.records import Taxonomy
from alignx.records.reading import Reading
from alignx.records.selecting import Selection, rank


def draw(source: Source, everything: Wanted, taxonomy: Taxonomy, *, seed: int, allowed: int, workers: int) -> Selection:
    """The draw of a number of a source's records, after reading the ids of all.

    Args:
        source: Of which a number is wanted.
        everything: What may be drawn.
        taxonomy: The preference dimensions.
        seed: Of the draw.
        allowed: Rows that may be refused.
        workers: Processes.

    Raises:
        DataError: There are not so many records.
    """
    import numpy as np
    from tqdm import tqdm

    ranks, reading = array("Q"), Reading(str(source), allowed)
    making = Making(taxonomy, (), allowed, {source.name: everything})
    with tqdm(desc="drawing", unit=" records", disable=None, leave=False) as bar, Workers(making, workers) as hands:
        for _, draft in settled(source, 0, (), hands):
            bar.update(len(draft.parsed))
            for _, problem in draft.problems:
                reading.skip(DataError(problem))
            for place, parsed in enumerate(draft.parsed):
                if place not in draft.fix.refused and place not in draft.left_out:
                    ranks.append(rank(seed, draft.fix.ids.get(place, parsed.provisional)))
    try:
        return Selection.exactly(source.share.count or 0, np.frombuffer(ranks, dtype=np.uint64), seed)
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
