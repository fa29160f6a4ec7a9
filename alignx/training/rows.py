"""Encoded pairs of a run: made from its records or found ready, memory-mapped, and divided."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

from alignx import manifest
from alignx.errors import DataError, SettingsError
from alignx.manifest import Manifest, digest
from alignx.prompts import Condition, Encoder
from alignx.prompts.preparing import SHARDS, write_prepared
from alignx.records import Records, load_taxonomy
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
        SettingsError: It is, and the settings say which of its records to take.
    """
    found = manifest.read_if_present(Path(source)) if Path(source).is_dir() else None
    if found is None or found.kind != "prepared":
        return None
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

    def prepare(self, source: str, folder: Path) -> tuple[Path, Manifest]:
        """A folder of encoded pairs: the source itself if it is one, else made from its records by one process."""
        found = ready(self._settings, source)
        if found is not None:
            self._refuse_other_preparation(source, found)
            return Path(source), found
        with self._state.main_process_first():
            records = records_of(self._settings, source)
            made = write_prepared(folder, records, self._condition, self._encoder, {"data": source})
            for line in records.notes():
                self._say(line)
        return folder, made

    def _refuse_other_preparation(self, source: str, found: Manifest) -> None:
        wanted = found.model_copy(update={"condition": self._condition.model_dump(mode="json")})
        differences = found.differences(wanted, ("condition",))
        if found.settings.get("tokenizer") != self._encoder.digest:
            differences.append("the tokenizer")
        if not manifest.is_intact(Path(source), found):
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
            told = [row for row, empty in enumerate(rows["persona_empty"]) if not empty]
            self._say(
                f"{len(rows) - len(told)} of {len(rows)} records dropped: their prompts say nothing about the user"
            )
            rows = _numbered(rows.select(told))
        parts = split(
            rows["cluster"],
            rows["target"],
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
        if count > len(rows):
            raise DataError(f"--subset {count}: there are {len(rows)} records")
        drawn = sorted(range(len(rows)), key=[digest(seed, "subset", name) for name in rows["id"]].__getitem__)
        self._say(f"{count} of {len(rows)} records drawn by seed {seed}")
        return _numbered(rows.select(sorted(drawn[:count])))

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
        folder, found = self.prepare(source, self._output / "eval-data")
        if found.taxonomy != taxonomy:
            raise DataError(
                f"{source}: was prepared under another taxonomy than the training records; prepare both with the same "
                "--taxonomy"
            )
        evaluation = self._mapped(folder, first=len(rows))
        shared = (set(rows["cluster"]) & set(evaluation["cluster"])) | (set(rows["target"]) & set(evaluation["target"]))
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
        ids = rows["id"]
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
        with self._state.main_process_first():
            rows = Dataset.from_parquet(files, cache_dir=str(self._output / ".arrow"))
        return rows.add_column(ROW, list(range(first, first + len(rows))))


def _numbered(rows: Any) -> Any:
    """Rows counted anew from 0."""
    return rows.remove_columns(ROW).add_column(ROW, list(range(len(rows))))
