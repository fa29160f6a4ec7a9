"""Pieces of a source: every row in exactly one, with the number that a reader of the whole file gives it."""

import json
import pickle
import random
from pathlib import Path
from typing import Any

import pytest

from alignx.errors import DataError
from alignx.manifest import file_digest
from alignx.records import pieces
from alignx.records.files import BadRow, read_rows
from alignx.records.pieces import digest_of
from tests.records.rows import full_row, row, write_json, write_parquet
from tests.worlds import write_jsonl


def by_pieces(path: Path) -> list[tuple[str, Any]]:
    """Each row with its place, as whole pieces that another process has been sent give them."""
    found = []
    for piece in pieces.pieces(path):
        sent = pickle.loads(pickle.dumps(piece))
        found += [(sent.where(number), plain(raw)) for number, raw in sent.read()]
    return found


def at_once(path: Path) -> list[tuple[str, Any]]:
    return [(where, plain(raw)) for where, raw in read_rows(path)]


def plain(raw: Any) -> Any:
    """A row that can be compared."""
    return str(raw) if isinstance(raw, BadRow) else raw


LINES = {
    "plain": b'{"a": 1}\n{"a": 2}\n{"a": 3}\n',
    "without an end": b'{"a": 1}\n{"a": 2}',
    "blank lines": b'\n\n{"a": 1}\n \t\n{"a": 2}\n\n\n{"a": 3}\n\n',
    "Windows": b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"a": "\xe2\x80\xa8 line"}\r\n{"a": 3}',
    "broken": b'{"a": 1}\n{"a": \n[1]\nnull\n{"a": 2}\n{"a"',
    "old Macintosh": b'{"a": 1}\r{"a": 2}\r',
    "only blank": b"\n\n\n",
    "one": b'{"a": 1}',
}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("what", LINES)
def test_lines_in_pieces_are_the_lines_of_the_file(
    what: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", size)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LINES[what])
    assert by_pieces(path) == at_once(path)
    assert all(piece.rows == size for piece in pieces.pieces(path))


@pytest.mark.parametrize("chunk", [1, 2, 5, 64])
@pytest.mark.parametrize("seed", range(10))
def test_lines_are_found_whatever_is_read_at_once(
    seed: int, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(pieces, "_CHUNK", chunk)
    monkeypatch.setattr(pieces, "PIECE_ROWS", rng.randint(1, 5))
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(rng.choice(["\n", '{"a": 1}\n', '{"bcd": "é"}\n']) for _ in range(30)) + '{"end": 0}')
    assert by_pieces(path) == at_once(path)
    assert digest_of(path) == file_digest(path)


@pytest.mark.parametrize("group", [1, 2, 3, 5, 8, 100])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_rows_of_parquet_are_in_one_piece_each_whatever_its_row_groups(
    size: int, group: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", size)
    path = write_parquet(
        tmp_path / "rows.parquet", [full_row(prompt=f"p{n}", id=f"n{n}") for n in range(23)], row_group_size=group
    )
    assert by_pieces(path) == at_once(path)
    assert sum(piece.rows for piece in pieces.pieces(path)) == 23


def test_pieces_of_parquet_go_over_row_groups_of_many_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, rng = tmp_path / "rows.parquet", random.Random(4)
    table = pa.Table.from_pylist([row(prompt=f"p{n}") for n in range(200)])
    with pq.ParquetWriter(path, table.schema) as writer:
        place = 0
        while place < 200:
            step = rng.randint(0, 30)  # some of none
            writer.write_table(table.slice(place, step), row_group_size=max(1, step))
            place += step
    for size in (1, 7, 16, 50, 1000):
        monkeypatch.setattr(pieces, "PIECE_ROWS", size)
        assert [raw["prompt"] for _, raw in by_pieces(path)] == [f"p{n}" for n in range(200)]
        assert by_pieces(path) == at_once(path)


def test_pieces_of_parquet_are_whole_row_groups_unless_one_is_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setattr(pieces, "PIECE_ROWS", 8)
    path, table = tmp_path / "rows.parquet", pa.Table.from_pylist([row(prompt=f"p{n}") for n in range(38)])
    with pq.ParquetWriter(path, table.schema) as writer:
        for begin, rows in ((0, 3), (3, 3), (6, 3), (9, 9), (18, 20)):
            writer.write_table(table.slice(begin, rows))
    assert [piece.rows for piece in pieces.pieces(path)] == [6, 3, 9, 8, 8, 4]
    assert by_pieces(path) == at_once(path)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6])
def test_rows_of_an_array_are_those_of_the_array(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", size)
    strange = [{"id": 2**70}, {"x": 1e300, "y": -0.0}, {"s": "\ud83d half", "n": None}, [1], "text"]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(strange), encoding="utf-8")
    assert by_pieces(path) == at_once(path)


@pytest.mark.parametrize("content", [b"", b"PAR1 no", b"[]"])
@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".json", ".csv"])
def test_a_file_that_is_none_is_refused_in_words(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(content)
    if (content, suffix) in ((b"[]", ".json"), (b"[]", ".jsonl"), (b"PAR1 no", ".jsonl")):
        assert by_pieces(path) == at_once(path)
        return
    with pytest.raises(DataError, match=r"rows\.") as caught:
        list(pieces.pieces(path))
    with pytest.raises(DataError) as expected:
        at_once(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).split("(")[0][:40] == str(expected.value).split("(")[0][:40]


def test_parquet_that_is_cut_is_refused_in_words(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "rows.parquet", [row()] * 9)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"rows\.parquet: not a whole Parquet file"):
        list(pieces.pieces(path))


def test_a_file_that_is_not_there_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl: cannot be read: No such file"):
        list(pieces.pieces(tmp_path / "rows.jsonl"))
    with pytest.raises(DataError, match=r"rows\.jsonl: cannot be read: No such file"):
        digest_of(tmp_path / "rows.jsonl")


def test_a_byte_that_is_not_utf_8_is_named_where_it_stands_by_who_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", 2)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n' * 5 + b'{"a": "\xff"}\n')
    *good, bad = pieces.pieces(path)
    assert sum(len(list(piece.read())) for piece in good) == 4
    with pytest.raises(DataError, match="not UTF-8 near byte 52"):
        list(bad.read())


@pytest.mark.parametrize("suffix", ["jsonl", "json", "parquet"])
def test_the_digest_of_a_file_is_that_of_its_bytes(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{suffix}"
    {"jsonl": write_jsonl, "json": write_json, "parquet": write_parquet}[suffix](path, [row(), row(prompt="q")])
    assert digest_of(path) == file_digest(path) == digest_of(path)


def test_only_the_pieces_that_are_asked_for_are_found_in_an_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", 2)
    path = tmp_path / "rows.json"
    path.write_text('[{"a": 1}, {"a": 2}, {"a": 3}, {"a": 4}, oh')
    found = pieces.pieces(path)
    assert [len(list(next(found).read())) for _ in range(2)] == [2, 2]
    with pytest.raises(DataError, match="not valid JSON in row 5"):
        next(found)
