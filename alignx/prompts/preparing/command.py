"""``alignx data prepare``: folders of Parquet shards, encoded for training or as text for other tools."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignx import manifest
from alignx.errors import DataError, SettingsError
from alignx.manifest import Manifest
from alignx.prompts.choice import choose_condition
from alignx.prompts.condition import Condition, Method
from alignx.prompts.encoding import Encoder, load_tokenizer
from alignx.prompts.pairs import describe_counts
from alignx.prompts.preparing.folders import refuse_other
from alignx.prompts.preparing.key import key_of
from alignx.prompts.preparing.making import Work
from alignx.prompts.preparing.preparation import Ingredients, Preparation
from alignx.prompts.preparing.settings import PrepareSettings
from alignx.prompts.preparing.sources import Source
from alignx.records import Records, load_taxonomy
from alignx.records.held_out import HeldOut
from alignx.records.mixing import Share, parse_mixture

_CHANGES_NOTHING = {"method", "output", "shard", "workers"}


def prepare(settings: PrepareSettings) -> Path:
    """Prepare the records of a source or of several; returns the folder.

    Raises:
        DataError: Records are invalid, or the folder holds something else.
        PartialError: A process was killed; the same command goes on.
        SettingsError: The method, the data or the model is missing, or settings contradict each other.
    """
    if not settings.methods:
        raise SettingsError("--method is required: ica or pba, or ica,pba for both")
    if settings.form == "text" and settings.max_length is not None:
        raise SettingsError("--max-length is in tokens, and --form text has none: its rows are whole")
    if len(settings.methods) > 1 and manifest.path_of(settings.output).is_file():
        raise DataError(
            f"{settings.output}: is a finished folder, in which those of {settings.method} would stand; choose another "
            "--output"
        )
    ingredients = ingredients_of(settings)
    conditions = {method: _condition(settings, method) for method in settings.methods}
    tokenizer = load_tokenizer(_model(settings), settings.revision) if settings.form == "ids" else None
    works = []
    for method, condition in conditions.items():
        folder = settings.output / method if len(conditions) > 1 else settings.output
        encoder = Encoder(tokenizer, condition) if tokenizer is not None else None
        works.append(work_of(folder, ingredients, condition, encoder))
        refuse_other(works[-1])
    said = settings.model_dump(mode="json", exclude=_CHANGES_NOTHING)
    made = Preparation(ingredients, works, said, workers=settings.workers, share=settings.part).run()
    for work, found in zip(works, made, strict=False):
        _describe(work, found)
    if not made:
        print(f"{settings.output}: part {settings.shard} is done; when all are, run the same without --shard to join")
    return settings.output


def ingredients_of(settings: PrepareSettings) -> Ingredients:
    """What settings say is to be prepared.

    Raises:
        DataError: Records that are held out cannot be read.
        SettingsError: Nothing is named, or two things that exclude each other.
    """
    taxonomy = load_taxonomy(settings.taxonomy)
    seed = settings.seed if settings.seed is not None else Condition.model_fields["seed"].default
    held_out = HeldOut.of(Records(path, taxonomy=taxonomy) for path in settings.without) if settings.without else None
    return Ingredients(_sources(settings), taxonomy, held_out, seed, settings.skip_invalid)


def _sources(settings: PrepareSettings) -> tuple[Source, ...]:
    if (settings.data is None) == (not settings.mix):
        raise SettingsError("name the records: either --data PATH, or --mix name:share:path,name:share:path,…")
    if settings.data is not None:
        _refuse_prepared(settings.data)
        share = Share.parse(settings.subset) if settings.subset is not None else Share()
        return (Source(settings.data, share=share, split=settings.split, limit=settings.limit),)
    for name in ("subset", "limit"):
        if getattr(settings, name) is not None:
            raise SettingsError(f"--{name} is of one source; in --mix each source has its own share")
    return tuple(
        Source(source.path, source.name, source.share, settings.split) for source in parse_mixture(settings.mix)
    )


def _refuse_prepared(data: str) -> None:
    """Refuse a folder of rows that are prepared already.

    Raises:
        DataError: It is one.
    """
    found = manifest.read_if_present(Path(data)) if Path(data).is_dir() else None
    if found is not None and found.kind == "prepared":
        raise DataError(f"{data}: is prepared already, expected records; train with --data {data}")


def _condition(settings: PrepareSettings, method: Method) -> Condition:
    wanted = {**settings.wanted(), "method": method}
    return choose_condition(settings.model, wanted, settings.revision).condition


def _model(settings: PrepareSettings) -> str:
    if settings.model is None:
        raise SettingsError("--model is required, whose tokenizer makes the ids; --form text needs none")
    return settings.model


def work_of(folder: Path, ingredients: Ingredients, condition: Condition, encoder: Encoder | None) -> Work:
    """A folder that is to be made, with the key of its rows.

    Raises:
        DataError: A file of the records cannot be read.
    """
    key = key_of(ingredients.sources, ingredients.held_out, ingredients.seed, condition, encoder, ingredients.taxonomy)
    return Work(folder, key, condition, encoder)


def write_prepared(
    folder: Path,
    records: Records,
    condition: Condition,
    encoder: Encoder,
    settings: Mapping[str, Any],
    workers: int | None = None,
) -> Manifest:
    """Encode the records of one source into Parquet shards and commit them with a manifest.

    A folder that already holds exactly this is left as it is.

    Args:
        folder: To write.
        records: Not read yet; their problems are counted under their own ``skip_invalid``.
        condition: What the model is told.
        encoder: Makes token ids of it.
        settings: Written into the manifest.
        workers: Processes; by default one a core.

    Raises:
        DataError: The folder holds something that this command did not write, or records are invalid.
    """
    ingredients = Ingredients((Source.of(records),), records.taxonomy, allowed=records.skip_invalid)
    work = work_of(folder, ingredients, condition, encoder)
    return Preparation(ingredients, [work], settings, workers=workers).run()[0]


def _describe(work: Work, found: Manifest) -> None:
    """Say what was made."""
    left_out = found.counts["left_out"]
    for line in [*found.counts["notes"], *describe_counts(found.counts)]:
        print(line)
    if left_out:
        print("not wanted: " + ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in sorted(left_out.items())))
    lengths = ", ".join(
        f"{kind} {of['mean']:g} ({of['median']} median, {of['max']} at most)"
        for kind, of in found.counts["lengths"].items()
    )
    unit = "tokens" if work.form == "ids" else "characters"
    print(f"{unit}: {lengths}")
    number = found.counts.get("records", 0)
    pairs = "1 pair" if number == 1 else f"{number} pairs"
    use = f"; train with --data {work.folder}" if work.form == "ids" else ""
    print(f"{work.folder}: {pairs} {'encoded' if use else 'as text'}{use}")
