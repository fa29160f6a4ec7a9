"""What rows depend on, as one digest: rows under another key are never taken for these."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from alignx import manifest, prompts, records
from alignx.cache import known_digest
from alignx.prompts.condition import Condition
from alignx.prompts.encoding import Encoder
from alignx.prompts.preparing.sources import Source
from alignx.prompts.preparing.tables import COLUMNS
from alignx.records import Taxonomy, pieces
from alignx.records.held_out import HeldOut
from alignx.records.mixing import Share

_DECIDES = (".py", ".csv", ".toml", ".json")


def key_of(
    sources: Sequence[Source],
    held_out: HeldOut | None,
    seed: int,
    condition: Condition,
    encoder: Encoder | None,
    taxonomy: Taxonomy,
) -> str:
    """Digest of data, selection, condition, tokenizer, taxonomy, and of the code that makes rows of them.

    Args:
        sources: Whose files are read whole, unless they were before and were not touched since.
        held_out: Who and what is left out.
        seed: Of the draw of records.
        condition: What the model is told.
        encoder: Makes token ids; None for text.
        taxonomy: The preference dimensions.

    Raises:
        DataError: A file cannot be read.
    """
    form = "text" if encoder is None else "ids"
    return manifest.digest(
        "prepared/1",
        [_described(source) for source in sources],
        held_out.digest if held_out is not None else None,
        seed if any(source.share != Share() for source in sources) else None,
        condition.model_dump(mode="json"),
        encoder.digest if encoder is not None else None,
        taxonomy.digest,
        [form, COLUMNS[form], pieces.PIECE_ROWS],
        code_digest(),
        manifest.versions("numpy", "pyarrow", "tokenizers"),
    )


def _described(source: Source) -> list[Any]:
    return [source.name, source.contents, str(source.share), source.limit]


@cache
def code_digest() -> str:
    """Digest of the code and the data files that decide what a row is."""
    folders = [Path(str(package.__file__)).parent for package in (records, prompts)]
    root = folders[0].parent
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in _DECIDES)
    files.append(root / "manifest.py")  # of whose digests ids are made
    return manifest.digest([[path.relative_to(root).as_posix(), known_digest(path)] for path in files])
