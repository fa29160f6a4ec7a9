"""``alignx data prepare``: encoded pairs in a folder of Parquet shards, from which training trains."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from alignx import manifest
from alignx.errors import DataError, SettingsError
from alignx.manifest import DataIdentity, Manifest
from alignx.prompts.choice import choose_condition
from alignx.prompts.condition import Condition, History
from alignx.prompts.encoding import Encoder, load_tokenizer
from alignx.prompts.pairs import EncodedPair, PairEncoder, describe_counts
from alignx.prompts.settings import ConditionSettings, SourceSettings
from alignx.records import Records
from alignx.settings import required, setting

SHARDS = "pairs-*.parquet"
"""Names of the shards in a prepared folder."""
_SHARD_ROWS = 4096


class PrepareSettings(ConditionSettings, SourceSettings):
    """Encode records into a folder of Parquet shards that training reads.

    alignx data prepare --data data/sample/train.jsonl --model out/tiny --method ica --output out/prepared-ica
    """

    model: str = required("Model whose tokenizer and chat template to use.")
    output: Path = required("Folder to write.")
    history: History | None = setting(
        "sampled", "History items of each list: sampled (0 to 4 by the seed, as in training), all, or the last N."
    )
    revision: str | None = setting(None, "Of a hub id.")


def prepare(settings: PrepareSettings) -> Path:
    """Encode the records of a source; returns the folder.

    Raises:
        DataError: Records are invalid, or the folder holds something else.
        SettingsError: The method is missing.
    """
    if settings.method is None:
        raise SettingsError("--method is required: ica or pba")
    condition = choose_condition(settings.model, settings.wanted(), settings.revision).condition
    encoder = Encoder(load_tokenizer(settings.model, settings.revision), condition)
    records = settings.records()
    found = write_prepared(settings.output, records, condition, encoder, settings.model_dump(mode="json"))
    for line in [*records.notes(), *describe_counts(found.counts)]:
        print(line)
    print(f"{settings.output}: {found.counts['records']} pairs encoded; train with --data {settings.output}")
    return settings.output


def write_prepared(
    folder: Path, records: Records, condition: Condition, encoder: Encoder, settings: dict[str, Any]
) -> Manifest:
    """Encode records into Parquet shards and commit them with a manifest.

    A folder that already holds exactly this is left as it is.

    Raises:
        DataError: The folder holds something that this command did not write, or records are invalid.
    """
    import pyarrow.parquet
    from tqdm import tqdm

    told, taxonomy = condition.model_dump(mode="json"), records.taxonomy.digest
    older = _older(folder)
    pairs = PairEncoder(records, condition, encoder)
    made_of = (told, taxonomy, encoder.digest)
    if (
        older is not None
        and (older.condition, older.taxonomy, older.settings.get("tokenizer")) == made_of
        and older.data is not None
        and older.data.skipped <= records.skip_invalid
        and older.data.digest == _identity(records).digest
        and manifest.is_intact(folder, older)
    ):
        return older
    folder.mkdir(parents=True, exist_ok=True)
    manifest.path_of(folder).unlink(missing_ok=True)
    for shard in folder.glob(SHARDS):
        shard.unlink()
    bar = tqdm(pairs, desc="encoding", unit=" records", disable=None, leave=False)
    for number, rows in enumerate(_chunks(bar, _SHARD_ROWS)):
        columns = {name: [getattr(pair, name) for pair in rows] for name in _schema().names}
        table = pyarrow.Table.from_pydict(columns, schema=_schema())
        pyarrow.parquet.write_table(table, folder / f"pairs-{number:05d}.parquet", compression="zstd")
    found = Manifest(
        kind="prepared",
        data=records.identity,
        condition=told,
        taxonomy=taxonomy,
        settings={**settings, "tokenizer": encoder.digest},
        versions=manifest.versions("tokenizers", "transformers", "pyarrow"),
        counts=dict(pairs.counts),
        files={path.name: manifest.file_digest(path) for path in sorted(folder.glob(SHARDS))},
    )
    manifest.write(folder, found)
    return found


def _identity(records: Records) -> DataIdentity:
    for _ in records:
        pass
    return records.identity


def _older(folder: Path) -> Manifest | None:
    """The manifest of an earlier preparation in the folder.

    Raises:
        DataError: The folder holds other things.
    """
    if not folder.exists():
        return None
    if not folder.is_dir():
        raise DataError(f"{folder}: is a file, expected a folder to write")
    found = manifest.read_if_present(folder)
    mark = manifest.path_of(folder)
    ours = {mark.with_name(mark.name + ".tmp"), *([mark] if found is not None else [])}  # the first after a kill
    others = [
        path.name
        for path in folder.iterdir()
        if not path.match(SHARDS) and path not in ours and not path.name.startswith(".")
    ]
    if others or (found is not None and found.kind != "prepared"):
        what = ", ".join(others[:3]) or "a manifest of another kind"
        raise DataError(f"{folder}: holds something else ({what}), choose another --output")
    return found


def _chunks(pairs: Iterable[EncodedPair], size: int) -> Iterator[Sequence[EncodedPair]]:
    iterator = iter(pairs)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _schema() -> Any:
    import pyarrow as pa

    ids = pa.list_(pa.int32())
    return pa.schema(
        [
            ("id", pa.string()),
            ("prompt_ids", ids),
            ("chosen_ids", ids),
            ("rejected_ids", ids),
            ("cluster", pa.string()),
            ("target", pa.string()),
            ("trimmed_items", pa.int32()),
            ("trimmed_demographics", pa.bool_()),
            ("history_items", pa.int32()),
            ("profile", pa.string()),
            ("persona_empty", pa.bool_()),
        ]
    )
