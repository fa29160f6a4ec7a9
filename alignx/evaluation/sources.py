"""The records of an evaluation's files, each file read once."""

from functools import cache

from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.prompts.reporting.health import Health
from alignx.records import Record, Records, load_taxonomy


class Sources:
    """What the files hold. Nothing is read before it is asked for; what was read is kept."""

    def __init__(self, settings: EvaluateSettings) -> None:
        """Of one evaluation.

        Raises:
            DataError: The taxonomy cannot be read.
        """
        self._settings = settings
        self.taxonomy = load_taxonomy(settings.taxonomy)
        self.records = cache(self._records)
        """By id, of the file that a row calls ``data``; raises DataError where they cannot be read."""
        self.health = cache(self._health)
        """What is there and what looks suspicious, of the same file."""

    def _records(self, data: str) -> dict[str, Record]:
        settings = self._settings
        return {r.id: r for r in Records(settings.find(data), limit=settings.limit, taxonomy=self.taxonomy)}

    def _health(self, data: str) -> Health:
        found = Health()
        for record in self.records(data).values():
            found.add(record)
        return found
