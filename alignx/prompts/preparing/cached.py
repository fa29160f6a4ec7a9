"""Prepared rows of records that are given raw: made once, found again by what they depend on."""

from dataclasses import replace
from pathlib import Path

from alignx.cache import cache_folder
from alignx.errors import DataError
from alignx.manifest import Manifest
from alignx.prompts.condition import Condition
from alignx.prompts.encoding import Encoder
from alignx.prompts.pairs import EncodedPair
from alignx.prompts.preparing.command import work_of
from alignx.prompts.preparing.folders import finished
from alignx.prompts.preparing.preparation import Ingredients, Preparation
from alignx.prompts.preparing.shards import SHARDS
from alignx.prompts.preparing.sources import Source
from alignx.records import Records


class Cached:
    """Records under one condition, prepared in ``prepared/KEY`` of the cache.

    The key is a digest of everything that rows depend on (:func:`alignx.prompts.preparing.key.key_of`), so that nothing
    stale is ever found. Of several processes that ask for the same, one makes it while the others wait.
    """

    def __init__(self, records: Records, condition: Condition, encoder: Encoder, workers: int | None = None) -> None:
        """Name them; their files are read as far as the key needs it, and nothing is prepared yet.

        Args:
            records: Of one source.
            condition: What the model is told.
            encoder: Makes token ids of it.
            workers: Processes; by default one a core.

        Raises:
            DataError: A file of the records cannot be read.
        """
        self._records, self._workers = records, workers
        self._of = Ingredients((Source.of(records),), records.taxonomy, allowed=records.skip_invalid)
        work = work_of(Path(), self._of, condition, encoder)
        self.folder = cache_folder() / "prepared" / work.key[:32]
        self._work = replace(work, folder=self.folder)

    def known(self) -> Manifest | None:
        """What is there, if it is; nothing is made."""
        found = finished(self._work)
        if found is None or found.data is None or found.data.skipped > self._of.allowed:
            return None
        return self._named(found)

    def made(self) -> Manifest:
        """What is there, after making it if it is not.

        Raises:
            DataError: Records are invalid, or cannot be told under the condition, and may not be skipped; or the cache
                cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"{self.folder}: cannot be made ({error.strerror}); prepared records are kept there: set ALIGNX_CACHE "
                "to a folder that can be written"
            ) from error
        preparation = Preparation(self._of, [self._work], {}, workers=self._workers, waits=True)
        return self._named(preparation.run()[0])

    def pairs(self) -> list[EncodedPair]:
        """Every encoded pair, in order, for what holds them all; they must have been made."""
        import pyarrow.parquet

        shards = sorted(self.folder.glob(SHARDS))
        return [EncodedPair(**row) for shard in shards for row in pyarrow.parquet.read_table(shard).to_pylist()]

    def _named(self, found: Manifest) -> Manifest:
        """With these records' own name: the same content may have been prepared under another."""
        assert found.data is not None
        return found.model_copy(update={"data": found.data.model_copy(update={"source": self._records.source})})
