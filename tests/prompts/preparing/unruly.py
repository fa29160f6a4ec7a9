"""Small sources as unruly as files are, drawn by a seed: repeated records, ids of all kinds, rows that are none."""

import json
import random
from functools import cache
from pathlib import Path
from typing import Any

from alignx.prompts import Condition, Encoder
from alignx.records import RecordParser, load_taxonomy
from tests.prompts.tokenizers_on_the_spot import one_byte_one_token
from tests.records.rows import CHOICES, COMMENTS, DEMOGRAPHICS, DIRECTION, write_parquet

KINDS = ("jsonl", "json", "parquet", "folder")
_BROKEN = ('{"prompt": "cut', "[1, 2]", '"text"', "null", "{]")
_TOO_LONG = "long " * 200
MAX_LENGTH = 900
"""Tokens of a tokenizer that makes one of each byte; some personas are trimmed to it, and some prompts do not fit."""


@cache
def encoder(condition: Condition) -> Encoder:
    """An encoder that takes no time to make."""
    return Encoder(one_byte_one_token(), condition)


def rows_at_random(rng: random.Random, count: int) -> list[Any]:
    """Rows of which some repeat others, some bring ids, some of these repeated or what another's content gives, and
    some are no records, cannot be told under PBA, or are too long.
    """
    rows: list[Any] = []
    for _ in range(count):
        if rows and rng.random() < 0.3:
            again = rng.choice(rows)
            rows.append(dict(again) if isinstance(again, dict) else again)
        else:
            rows.append(_row(rng))
        row = rows[-1]
        if isinstance(row, dict) and rng.random() < 0.2:
            row["id"] = rng.choice([f"n{rng.randint(0, 5)}", rng.randint(0, 5), _made_of(rng, rng.choice(rows))])
    return rows


def _row(rng: random.Random) -> Any:
    word = f"w{rng.randint(0, 999)}"
    row: dict[str, Any] = {"prompt": f"Is it {word}?", "chosen": f"Yes, {word}.", "rejected": f"No {word}"}
    if rng.random() < 0.7:
        row["user"] = f"u{rng.randint(0, 9)}"
    if rng.random() < 0.7:
        row[COMMENTS] = [
            {"prompt": f"Tea {n}?", "comment": f"{word} " * rng.randint(1, 30), DIRECTION: _direction(rng)}
            for n in range(rng.randint(0, 3))
        ]
    if rng.random() < 0.7:
        row[CHOICES] = [
            {"prompt": f"Bike {n}?", "chosen": "Yes — 🙂", "rejected": "No", DIRECTION: _direction(rng)}
            for n in range(rng.randint(0, 3))
        ]
    if rng.random() < 0.3:
        row[DEMOGRAPHICS] = "Potter in Zürich"
    match rng.randint(0, 24):
        case 0:
            del row["chosen"]
        case 1:
            row["rejected"] = row["chosen"]
        case 2:
            row["prompt"] = _TOO_LONG
        case 3:
            row["color"] = "means nothing"
    return row


def _direction(rng: random.Random) -> list[float] | None:
    if rng.random() < 0.2:
        return None
    return [rng.choice((0.0, 1.0)), *[0.5] * 89]


def _made_of(rng: random.Random, row: Any) -> str:
    """The id that a row's content gives, for its first, second or third occurrence."""
    try:
        record, _ = RecordParser(load_taxonomy()).read(row, "")
    except ValueError:
        return "n9"
    return f"{record.digest[:20]}-{rng.randint(1, 3)}"


def write_source(rng: random.Random, folder: Path, kind: str, rows: list[Any]) -> Path:
    """Write rows to a file or a folder in one of :data:`KINDS`; what a kind cannot hold is left out."""
    folder.mkdir(parents=True)
    if kind in ("parquet", "folder"):  # whose columns are of one type
        rows = [{**row, "id": str(row["id"])} if "id" in row else row for row in rows]
    match kind:
        case "jsonl":
            return _write_lines(rng, folder / "rows.jsonl", rows)
        case "json":
            path = folder / "rows.json"
            path.write_text(json.dumps(rows, ensure_ascii=rng.random() < 0.5, indent=rng.choice((None, 1))), "utf-8")
            return path
        case "parquet":
            return write_parquet(folder / "rows.parquet", rows, row_group_size=rng.randint(1, 9))
        case _:
            place, number = 0, 0
            while place < len(rows):
                step = rng.randint(1, len(rows))
                part = rows[place : place + step]
                write_parquet(folder / f"part-{number:02d}.parquet", part, row_group_size=rng.randint(1, 9))
                place, number = place + step, number + 1
            return folder


def _write_lines(rng: random.Random, path: Path, rows: list[Any]) -> Path:
    """Lines with blank ones, broken ones, line ends of both kinds, now and then a mark before and no end."""
    text = "\ufeff" if rng.random() < 0.3 else ""
    for row in rows:
        while rng.random() < 0.15:
            text += rng.choice(("\n", "  \n", "\r\n"))
        line = rng.choice(_BROKEN) if rng.random() < 0.04 else json.dumps(row, ensure_ascii=rng.random() < 0.5)
        text += line + rng.choice(("\n", "\n", "\r\n"))
    if rng.random() < 0.3:
        text = text.rstrip("\r\n")
    path.write_bytes(text.encode())
    return path
