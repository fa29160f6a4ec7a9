"""Encoded pairs of a run: made from its records or found ready, memory-mapped, and divided."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

from alignx import manifest
from alignx.cache import cache_folder
from alignx.errors import DataError, SettingsError
from alignx.manifest import Manifest
from alignx.prompts import Condition, Encoder
from alignx.prompts.preparing import SHARDS, Cached, is_intact
from alignx.records import Records, load_taxonomy
from alignx.records.selecting import Selection, ranks
from alignx.training.settings import TrainSettings
from alignx.training.splitting import ROW, Split, split


def records_of(settings: TrainSettings, source: str) -> Records:
    """The records of a source, under a run's settings."""
    return Records(
        source,
        split=settings.split,
        limit=settings.limit,
        skip_invalid=settings.skip_invalid,
        taxonomy=load_taxonomy(settings.taxonomy),
    )


def ready(settings: TrainSettings, source: str) -> Manifest | None:
    """The manifest of a source that is prepared already.

    Raises:
        SettingsError: It is, and the settings say which of its records to take; or it is prepared as text.
    """
    found = manifest.read_if_present(Path(source)) if Path(source).is_dir() else None
    if found is None or found.kind != "prepared":
        return None
    if found.settings.get("form") == "text":
        raise SettingsError(f"{source}: holds text, for other tools; prepare it with --form ids")
    for name in ("limit", "split", "taxonomy"):
        if getattr(settings, name) is not None:
            raise SettingsError(f"--{name}: {source} is prepared already; give it to `alignx data prepare`")
    return found


class Rows:
    """The rows of a run, in one process of it."""

    def __init__(self, settings: TrainSettings, condition: Condition, encoder: Encoder, state: Any, say: Any) -> None:
        """Take what rows depend on.

        Args:
            settings: Of the run.
            condition: What the model is told.
            encoder: Makes token ids of it.
            state: accelerate's.
            say: Prints a line, once for all processes.
        """
        self._settings, self._condition, self._encoder = settings, condition, encoder
        self._state, self._say = state, say
        self._output = settings.output

    def prepare(self, source: str) -> tuple[Path, Manifest]:
        """A folder of encoded pairs: the source itself if it is one, else made from its records, in the cache.

        One process makes it and the others wait for the file that it holds, not in a collective: preparing may take
        longer than collectives wait.
        """
        found = ready(self._settings, source)
        if found is not None:
            self._refuse_other_preparation(source, found)
            return Path(source), found
        cached = self._cached(source)
        was_there = cached.known() is not None
        made = cached.made()
        self._say(f"{made.counts['records']} pairs {'found' if was_there else 'prepared'} in {cached.folder}")
        for line in made.counts["notes"]:
            self._say(line)
        return cached.folder, made

    def known(self, source: str) -> Manifest | None:
        """What is known of a source that is prepared already, here or in the cache."""
        return ready(self._settings, source) or self._cached(source).known()

    def _cached(self, source: str) -> Cached:
        return Cached(
            records_of(self._settings, source), self._condition, self._encoder, self._settings.preparing_workers
        )

    def _refuse_other_preparation(self, source: str, found: Manifest) -> None:
        wanted = found.model_copy(update={"condition": self._condition.model_dump(mode="json")})
        differences = found.differences(wanted, ("condition",))
        if found.settings.get("tokenizer") != self._encoder.digest:
            differences.append("the tokenizer")
        if not is_intact(Path(source), found):
            raise DataError(f"{source}: its shards are not those of its manifest; prepare it again")
        if differences:
            raise DataError(
                f"{source}: was prepared for something else, which differs in {'; '.join(differences)}; prepare it "
                "again"
            )

    def load(self, prepared: Path) -> tuple[Any, Split]:
        """The encoded pairs, memory-mapped, each with its row number; and how they are divided."""
        settings = self._settings
        rows = self._mapped(prepared)
        if settings.subset is not None:
            rows = self._drawn(rows, settings.subset, settings.drawing_seed)
        if settings.drop_empty:
            told = [row for row, empty in enumerate(column(rows, "persona_empty")) if not empty]
            self._say(
                f"{len(rows) - len(told)} of {len(rows)} records dropped: their prompts say nothing about the user"
            )
            rows = _numbered(rows.select(told))
        parts = split(
            column(rows, "cluster"),
            column(rows, "target"),
            eval_rows=settings.eval_rows,
            global_batch=settings.global_batch,
            seed=settings.drawing_seed,
        )
        return rows, parts

    def _drawn(self, rows: Any, count: int, seed: int) -> Any:
        """So many rows, whatever their order is.

        Raises:
            DataError: There are not so many.
        """
        import numpy as np

        if count > len(rows):
            raise DataError(f"--subset {count}: there are {len(rows)} records")
        places = ranks(column(rows, "id"), seed)
        below = Selection.exactly(count, places, seed).below
        self._say(f"{count} of {len(rows)} records drawn by seed {seed}")
        return _numbered(rows.select(np.flatnonzero(places <= np.uint64(below - 1))))

    def load_evaluation(self, rows: Any, taxonomy: str | None) -> Any:
        """The records of ``eval_data``, numbered on from the training rows.

        Args:
            rows: Of the training records.
            taxonomy: Digest of theirs.

        Raises:
            DataError: One shares its user or target with the training set, or they are of another taxonomy.
        """
        source = self._settings.eval_data
        assert source is not None
        folder, found = self.prepare(source)
        if found.taxonomy != taxonomy:
            raise DataError(
                f"{source}: was prepared under another taxonomy than the training records; prepare both with the same "
                "--taxonomy"
            )
        evaluation = self._mapped(folder, first=len(rows))
        shared = {
            name for kind in ("cluster", "target") for name in {*column(rows, kind)} & {*column(evaluation, kind)}
        }
        if shared:
            raise DataError(
                f"{source}: {len(shared)} users or targets are in the training set too, such as {min(shared)}; "
                "evaluate on others"
            )
        return evaluation

    def read_in_training(self, parts: Split) -> list[int]:
        """Numbers of the training rows that the run will reach: not all when ``--max-steps`` ends it early."""
        from accelerate.data_loader import SeedableRandomSampler

        count = self._settings.steps(len(parts.train)) * self._settings.global_batch
        if count >= len(parts.train):
            return list(parts.train)
        order = SeedableRandomSampler(parts.train, data_seed=self._settings.drawing_seed)  # what the trainer draws by
        return [parts.train[place] for place in islice(order, count)]

    def save_split(self, parts: Split, rows: Any) -> None:
        """Name the records that do not train, in ``split.json``."""
        if not self._state.is_main_process:
            return
        ids = column(rows, "id")
        named = {
            "evaluation": [ids[row] for row in parts.evaluation],
            "left_over": [ids[row] for row in parts.left_over],
        }
        manifest.write_text(self._output / "split.json", json.dumps(named, indent=1) + "\n")

    def _mapped(self, folder: Path, first: int = 0) -> Any:
        """Encoded pairs with a column of row numbers that begins at ``first``."""
        from datasets import Dataset, disable_progress_bars

        disable_progress_bars()
        files = sorted(str(path) for path in folder.glob(SHARDS))
        # datasets copies Parquet into Arrow files, which it can map; one process does, under a lock of its own
        rows = Dataset.from_parquet(files, cache_dir=str(cache_folder() / "arrow"))
        return rows.add_column(ROW, list(range(first, first + len(rows))))


def column(rows: Any, name: str) -> list[Any]:
    """All values of a column; through Arrow, as datasets' own way takes ten seconds for a million texts."""
    values: list[Any] = rows.select_columns([name]).with_format("arrow")[:][name].to_pylist()
    return values


def _numbered(rows: Any) -> Any:
    """Rows counted anew from 0."""
    return rows.remove_columns(ROW).add_column(ROW, list(range(len(rows))))
