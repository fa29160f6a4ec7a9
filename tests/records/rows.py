"""Rows, files of rows and refusals, as the tests of records share them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from alignx.errors import DataError
from alignx.records import Record, RecordParser, Records, load_taxonomy

DIRECTION = "Preference Direction"
DEMOGRAPHICS = "Demographic Information"
COMMENTS = "User-Generated Content"
CHOICES = "Pair-wise Comparative Feedback"
NEUTRAL = [0.5] * 90


def row(**changes: Any) -> dict[str, Any]:
    """The smallest valid row, changed."""
    return {"prompt": "p", "chosen": "c", "rejected": "r", **changes}


def full_row(**changes: Any) -> dict[str, Any]:
    """A row with every field that means something, changed; no id, so that its content gives one."""
    return {
        "prompt": "Which kettle?",
        "chosen": "The quiet one.",
        "rejected": "The red one.",
        DIRECTION: [1, 0, *[0.5] * 88],
        DEMOGRAPHICS: "**This person's persona is:**\nA potter in Zürich.",
        COMMENTS: [{"prompt": "Tea?", "comment": "Green — 東京 🙂", DIRECTION: [0.5] * 89 + [1]}],
        CHOICES: [{"prompt": "Bike?", "chosen": "Yes", "rejected": "No", DIRECTION: [0, *[0.5] * 89]}],
        "user": "u1",
        "profile": "Young, Male",
        **changes,
    }


def write_json(path: Path, rows: Sequence[Any]) -> Path:
    """Write rows as one JSON array."""
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: Sequence[dict[str, Any]], **options: Any) -> Path:
    """Write rows as Parquet; a field that a row lacks is null."""
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    names = dict.fromkeys(name for raw in rows for name in raw)  # pyarrow's own reader of rows looks at the first only
    table = pyarrow.table({name: [raw.get(name) for raw in rows] for name in names})
    pyarrow.parquet.write_table(table, path, **options)
    return path


def parse(*rows: object) -> list[Record]:
    """Rows of one source, parsed in order; row i stands at ``rows.jsonl:i``."""
    parser = RecordParser(load_taxonomy())
    return [parser.parse(raw, f"rows.jsonl:{number}") for number, raw in enumerate(rows, start=1)]


def refusal(source: Path | str, **options: Any) -> str:
    """Read a source that must be refused; returns the message, which is one line."""
    with pytest.raises(DataError) as caught:
        list(Records(str(source), **options))
    message = str(caught.value)
    assert "\n" not in message
    return message
