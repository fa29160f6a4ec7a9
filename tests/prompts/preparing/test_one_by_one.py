"""Pieces, whatever they are, give what reading and encoding one record after another gives."""

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from alignx.errors import DataError
from alignx.prompts import Condition, EncodedPair, Method, PairEncoder, pairs
from alignx.prompts.preparing import making, write_prepared
from alignx.records import Records, pieces, reading
from tests.prompts.preparing.folders import files, rows
from tests.prompts.preparing.unruly import KINDS, MAX_LENGTH, encoder, rows_at_random, write_source
from tests.records.rows import write_parquet
from tests.worlds import sample_records, write_jsonl

CONDITIONS = [
    Condition(method=method, history="sampled", max_length=MAX_LENGTH, persona=persona).resolved()
    for method in Method
    for persona in ("own", "other")
]


def one_by_one(source: Path, condition: Condition, **told: Any) -> tuple[Any, ...] | str:
    """Rows, identity, notes and counts of the plain way, or what it says is wrong."""
    records = Records(str(source), **told)
    encoding = PairEncoder(records, condition, encoder(condition))
    try:
        found = list(encoding)
    except DataError as error:
        return str(error)
    return found, records.identity, records.notes(), dict(encoding.counts)


def in_pieces(output: Path, source: Path, condition: Condition, **told: Any) -> tuple[Any, ...] | str:
    """The same of a prepared folder."""
    records = Records(str(source), **told)
    try:
        made = write_prepared(output, records, condition, encoder(condition), {}, workers=1)
    except DataError as error:
        return str(error)
    own = ("left_out", "lengths", "notes")
    counts = {name: n for name, n in made.counts.items() if name not in own}
    assert set(files(output)) == {"manifest.json", *made.files}
    return [EncodedPair(**row) for row in rows(output)], made.data, made.counts["notes"], counts


def told_at_random(rng: random.Random, count: int) -> Mapping[str, Any]:
    limit = rng.randint(1, count + 2) if rng.random() < 0.5 else None
    return {"limit": limit, "skip_invalid": rng.choice((0, 1, 2, 3, 5, 1000, 1000, 1000))}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(40))
def test_pieces_of_any_size_give_what_the_plain_way_gives(
    kind: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(f"{kind} {seed}")
    count = rng.randint(1, 30)
    source = write_source(rng, tmp_path / "data", kind, rows_at_random(rng, count))
    condition, told = rng.choice(CONDITIONS), told_at_random(rng, count)
    monkeypatch.setattr(reading, "_SHOWN", 1000)  # all problems, in their order
    monkeypatch.setattr(pairs, "BATCH", 1)  # the plain way then meets problems in the order of rows
    expected = one_by_one(source, condition, **told)
    if not expected[0]:  # a folder without a pair would be of no use
        expected = f"{source}: no record is left to prepare ({expected[1].skipped} rows were skipped)"
    for number in range(2):
        monkeypatch.setattr(pieces, "PIECE_ROWS", rng.randint(1, 8))
        monkeypatch.setattr(making, "BATCH", rng.randint(1, 4))
        assert in_pieces(tmp_path / f"prepared-{number}", source, condition, **told) == expected


CUT = {
    "array": lambda folder: _cut(folder / "rows.json", json.dumps(sample_records(8, seed=1))[:-200]),
    "second file": lambda folder: _broken_after(folder / "files"),
}


def _cut(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _broken_after(folder: Path) -> Path:
    write_parquet(folder / "a.parquet", sample_records(7, seed=1))
    (folder / "b.parquet").write_bytes(b"PAR1, but no more")
    return folder


@pytest.mark.parametrize("size", [2, 3, 100])
@pytest.mark.parametrize("cut", CUT.values(), ids=CUT)
def test_what_cannot_be_read_counts_only_where_it_is_reached(
    cut: Callable[[Path], Path], size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", size)
    source, condition = cut(tmp_path), CONDITIONS[0].model_copy(update={"max_length": 8192})
    for limit in (1, 5, 6):
        expected = one_by_one(source, condition, limit=limit)
        assert in_pieces(tmp_path / f"out-{limit}", source, condition, limit=limit) == expected
        assert not isinstance(expected, str)
    for limit in (8, None):
        assert "may be cut" in in_pieces(tmp_path / "out", source, condition, limit=limit)
        assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_source_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", 3)
    source = write_jsonl(tmp_path / "rows.jsonl", sample_records(9, seed=1))
    condition = CONDITIONS[0].model_copy(update={"max_length": 8192})
    lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    really_make, made = making.Making.make, []

    def make(self: making.Making, job: making.Job) -> making.Draft:
        made.append(job)
        if len(made) == 2:  # the last two records change places
            source.write_text("".join([*lines[:-2], lines[-1], lines[-2]]), encoding="utf-8")
        return really_make(self, job)

    monkeypatch.setattr(making.Making, "make", make)
    said = in_pieces(tmp_path / "out", source, condition)
    assert said == f"{source}: has changed while it was read; run the same command again"
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert in_pieces(tmp_path / "out", source, condition) == one_by_one(source, condition)
