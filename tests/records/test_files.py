"""Rows out of Parquet, JSON and JSON Lines files: streamed, placed, and refused whole or by the row."""

import json
import re
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignx.errors import DataError
from alignx.records import RecordParser, Records, files, load_taxonomy
from alignx.records.files import BadRow, read_rows
from alignx.records.pieces import pieces
from tests.records.rows import COMMENTS, DEMOGRAPHICS, DIRECTION, full_row, refusal, row, write_json, write_parquet
from tests.worlds import write_jsonl

SMALL = 7
"""A chunk so small that every row straddles several."""


def stored(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def line(**changes: Any) -> str:
    return json.dumps(row(**changes)) + "\n"


# JSON Lines


def test_a_line_is_placed_by_its_number_in_the_file_blank_lines_counted(tmp_path: Path) -> None:
    path = stored(tmp_path / "rows.jsonl", f"\n{line()}  \n{line(prompt='q')}")
    assert list(read_rows(path)) == [("rows.jsonl:2", row()), ("rows.jsonl:4", row(prompt="q"))]


def test_a_broken_line_is_a_bad_row_and_the_lines_after_it_are_read(tmp_path: Path) -> None:
    path = stored(tmp_path / "rows.jsonl", line() + '{"prompt": nothing}\n' + line(prompt="q"))
    first, bad, last = list(read_rows(path))
    assert (first[1], last) == (row(), ("rows.jsonl:3", row(prompt="q")))
    assert isinstance(bad[1], BadRow)
    # `{"prompt": ` is 11 characters, so what cannot be read begins at column 12
    assert str(bad[1]) == ("rows.jsonl:2: not valid JSON at column 12 (Expecting value), expected one object a line")


def test_a_file_that_ends_within_a_line_may_be_cut_and_says_so(tmp_path: Path) -> None:
    path = stored(tmp_path / "rows.jsonl", line() + line()[:-10])
    message = refusal(path)
    assert message.startswith("rows.jsonl:2: not valid JSON at column ")
    assert message.endswith("expected one object a line; the last line has no end, so the file may be cut")


def test_a_line_cut_within_the_file_is_placed_where_it_stops(tmp_path: Path) -> None:
    path = stored(tmp_path / "rows.jsonl", '{"prompt":\n' + line())
    # ten characters are there, then a line end where a value should be
    assert re.match(r"rows\.jsonl:1: not valid JSON at column 1[12] \(Expecting value\)", refusal(path))


def test_windows_line_ends_and_unicode_line_separators_within_text_are_fine(tmp_path: Path) -> None:
    raw = row(prompt="one\u2028two\x85three")
    path = stored(tmp_path / "rows.jsonl", json.dumps(raw, ensure_ascii=False) + "\r\n" + line() + "\r\n")
    assert [value for _, value in read_rows(path)] == [raw, row()]


# JSON arrays


def read_in_chunks(content: str, chunk: int) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(files, "_JSON_CHUNK", chunk):
        return [value for _, value in read_rows(stored(Path(folder) / "rows.json", content))]


TEXT = st.text(st.sampled_from('[]{}",:\\/\n\té東🙂 a0'), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ROWS = st.lists(st.dictionaries(TEXT, VALUES, max_size=4), min_size=1, max_size=5)


@settings(deadline=None, max_examples=150)
@given(rows=ROWS, indent=st.sampled_from([None, 0, 3]), ascii_only=st.booleans(), chunk=st.integers(1, 40))
def test_an_array_read_in_any_chunks_has_the_rows_that_json_finds(
    rows: list[Any], indent: int | None, ascii_only: bool, chunk: int
) -> None:
    assert read_in_chunks(json.dumps(rows, indent=indent, ensure_ascii=ascii_only), chunk) == rows


def test_brackets_quotes_and_escapes_that_straddle_chunks_of_seven_are_read() -> None:
    rows = [
        {"prompt": 'a "quoted" ] } , [ {', "chosen": "\\", "nested": [[{"b": "]"}], {}]},
        {"prompt": "🙂 é \\u00e9", "chosen": "x" * 50},
    ]
    assert read_in_chunks(json.dumps(rows), SMALL) == rows  # ASCII only: 🙂 is written as two escapes
    assert read_in_chunks(json.dumps(rows, indent=4, ensure_ascii=False), SMALL) == rows


@pytest.mark.parametrize("text", ["}", "{", "{}", "}{", '"}', "\\\\}", "{{{", "🙂}"])
def test_braces_within_a_text_do_not_end_an_object(text: str) -> None:
    rows = [row(prompt=text), row(prompt="q", **{COMMENTS: [{"prompt": text}]}), row()]
    assert read_in_chunks(json.dumps(rows), 1 << 20) == rows


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
@pytest.mark.parametrize("number", [2**63, 2**64, 10**25, -(2**70)])
def test_an_id_beyond_64_bits_stays_the_number_it_is(tmp_path: Path, suffix: str, number: int) -> None:
    path = stored(tmp_path / f"rows{suffix}", f"[{line(id=number)}]" if suffix == ".json" else line(id=number))
    assert [value["id"] for _, value in read_rows(path)] == [number]


def test_rows_of_an_array_are_numbered_from_one(tmp_path: Path) -> None:
    path = write_json(tmp_path / "rows.json", [row(), row(prompt="q")])
    assert [where for where, _ in read_rows(path)] == ["rows.json: row 1", "rows.json: row 2"]


def test_the_first_rows_of_an_array_are_there_before_the_rest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_JSON_CHUNK", SMALL)
    rows = read_rows(stored(tmp_path / "rows.json", f"[{json.dumps(row())}, {json.dumps(row(prompt='q'))}, nonsense"))
    assert next(rows)[1] == row()
    assert next(rows)[1] == row(prompt="q")
    with pytest.raises(DataError, match=r"not valid JSON in row 3 \(Expecting value\), expected an array of objects"):
        next(rows)


def peak_of_reading(path: Path) -> int:
    """The most bytes that were held while a file was read."""
    tracemalloc.start()
    try:
        for _ in read_rows(path):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_a_file_sixteen_times_as_large_needs_no_more_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(files, "_JSON_CHUNK", 20_000)
    write = write_json if suffix == ".json" else write_jsonl
    raw = row(prompt="x" * 3_000)
    small = peak_of_reading(write(tmp_path / f"small{suffix}", [raw] * 330))  # 1 MB
    assert small < 300_000
    large = peak_of_reading(write(tmp_path / f"large{suffix}", [raw] * 330 * 16))
    assert large < 1.2 * small


def test_an_array_cut_anywhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_JSON_CHUNK", SMALL)
    whole = json.dumps([row(prompt="a]"), row(chosen="}")])
    assert [value for _, value in read_rows(stored(tmp_path / "rows.json", whole))] == json.loads(whole)
    for length in range(1, len(whole)):
        path = stored(tmp_path / "rows.json", whole[:length])
        with pytest.raises(DataError, match=r"rows\.json: .*; the file may be cut$"):
            list(read_rows(path))


def test_text_after_the_end_of_an_array_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path / "rows.json", f"[{json.dumps(row())}] [1]")
    assert refusal(path) == f"{path}: text after the end of the array: '[1]'"


def test_a_single_record_is_an_array_of_one(tmp_path: Path) -> None:
    path = stored(tmp_path / "rows.json", json.dumps(row(), indent=2))
    assert list(read_rows(path)) == [("rows.json: row 1", row())]


def test_an_object_that_holds_the_array_is_refused_by_what_it_lacks(tmp_path: Path) -> None:
    path = stored(tmp_path / "rows.json", json.dumps({"data": [row()]}))
    assert refusal(path) == "rows.json: row 1: 'prompt' is missing, expected text"


# Parquet


def test_rows_of_parquet_are_those_that_were_written_beyond_one_batch(tmp_path: Path) -> None:
    rows = [full_row(prompt=f"p{i}") for i in range(600)]  # 256 are read at a time
    read = list(read_rows(write_parquet(tmp_path / "rows.parquet", rows, row_group_size=300)))
    assert [value for _, value in read] == rows
    assert [where for where, _ in read] == [f"rows.parquet: row {i}" for i in range(1, 601)]


def test_absent_parts_come_out_of_parquet_as_null_and_are_valid(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "rows.parquet", [full_row(), row(), row(**{COMMENTS: []})])
    _, second, third = (value for _, value in read_rows(path))
    assert (second[COMMENTS], second[DIRECTION], second["user"], third[COMMENTS]) == (None, None, None, [])


@pytest.fixture(scope="module")
def parquet_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    rows = [row(prompt=f"post {i} " * 9) for i in range(300)]
    return write_parquet(tmp_path_factory.mktemp("parquet") / "rows.parquet", rows, row_group_size=50).read_bytes()


@pytest.mark.parametrize("kept", [4, 8, 0.5, -1, -8])
def test_parquet_without_its_footer_is_refused_as_cut(parquet_bytes: bytes, tmp_path: Path, kept: float) -> None:
    end = int(kept * len(parquet_bytes)) if kept == 0.5 else int(kept)
    message = refusal(stored(tmp_path / "rows.parquet", parquet_bytes[:end]))
    assert message.startswith(f"{tmp_path / 'rows.parquet'}: not a whole Parquet file after row 0 (")
    assert message.endswith("it may be cut or still being written")


def test_parquet_that_is_damaged_within_is_refused_in_one_line(parquet_bytes: bytes, tmp_path: Path) -> None:
    # near both ends: the pages of data, and the description of the columns
    for name, start in (("pages", 30), ("description", len(parquet_bytes) - 500)):
        damaged = parquet_bytes[:start] + b"\xff" * 60 + parquet_bytes[start + 60 :]
        path = stored(tmp_path / f"{name}.parquet", damaged)
        assert refusal(path).startswith(f"{path}: ")


def test_a_json_file_named_parquet_is_refused(tmp_path: Path) -> None:
    assert "not a whole Parquet file" in refusal(stored(tmp_path / "rows.parquet", line()))


# every kind


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_an_empty_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = stored(tmp_path / f"rows{suffix}", b"")
    assert refusal(path) == f"{path}: the file is empty, expected records"


@pytest.mark.parametrize(("suffix", "content"), [(".json", "[]"), (".json", " \n"), (".jsonl", "\n \n")])
def test_a_file_without_records_is_refused(tmp_path: Path, suffix: str, content: str) -> None:
    path = stored(tmp_path / f"rows{suffix}", content)
    assert refusal(path) == f"{path}: no records, expected at least one (0 rows were skipped)"


def test_a_parquet_file_without_rows_is_refused(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"prompt": pyarrow.array([], pyarrow.string())}), path)
    assert refusal(path).startswith(f"{path}: no records, expected at least one")


@pytest.mark.parametrize("suffix", [".csv", ".txt", ".gz", ""])
def test_another_kind_of_file_is_refused_with_the_kinds_that_are_read(tmp_path: Path, suffix: str) -> None:
    path = stored(tmp_path / f"rows{suffix}", line())
    assert refusal(path) == f"{path}: unknown kind of file {suffix!r}, expected one of .parquet, .json, .jsonl"


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.parquet", "rows"])
def test_a_path_where_nothing_is_is_refused(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path / name) == f"{tmp_path / name}: no such file or folder"


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_a_byte_order_mark_is_accepted(tmp_path: Path, suffix: str) -> None:
    text = json.dumps([row()]) if suffix == ".json" else line()
    path = stored(tmp_path / f"rows{suffix}", b"\xef\xbb\xbf" + text.encode())
    assert [value for _, value in read_rows(path)] == [row()]


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_utf_16_is_refused_with_what_to_do(tmp_path: Path, suffix: str) -> None:
    text = json.dumps([row()]) if suffix == ".json" else line()
    path = stored(tmp_path / f"rows{suffix}", text.encode("utf-16"))
    assert refusal(path) == f"{path}: not UTF-8 near byte 0; save the file as UTF-8"


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_a_byte_that_is_not_utf_8_is_placed_in_the_file(tmp_path: Path, suffix: str) -> None:
    text = json.dumps([row()] * 2000) if suffix == ".json" else line() * 2000
    assert len(text) > 80_000  # more than is read at a time
    path = stored(tmp_path / f"rows{suffix}", text[:70_000].encode() + b"\xff" + text[70_000:].encode())
    assert refusal(path) == f"{path}: not UTF-8 near byte 70000; save the file as UTF-8"


NOT_FOR_PYTHON = {"a number of 5,000 digits": "1" * 5_000, "lists 100,000 deep": "[" * 100_000 + "]" * 100_000}
"""Valid JSON that Python's reader gives up on with an error of another kind."""


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
@pytest.mark.parametrize("what", NOT_FOR_PYTHON)
def test_json_that_python_cannot_hold_is_refused_with_its_row(tmp_path: Path, suffix: str, what: str) -> None:
    second = '{"prompt": ' + NOT_FOR_PYTHON[what] + "}"
    text = f"[{line()},{second}]" if suffix == ".json" else f"{line()}{second}\n"
    path = stored(tmp_path / f"rows{suffix}", text)
    message = refusal(path)
    assert ("row 2" if suffix == ".json" else "rows.jsonl:2:") in message
    assert len(message) < 400


def bad_texts(path: Path, field: str) -> Path:
    """Three rows of Parquet, of which the second has a text that is not UTF-8."""
    texts = pa.Array.from_buffers(
        pa.string(), 3, [None, pa.py_buffer(np.array([0, 1, 3, 4], dtype=np.int32)), pa.py_buffer(b"a\xff\xfeb")]
    )
    usual = {name: [f"{name} {n}" for n in range(3)] for name in ("prompt", "chosen", "rejected")}
    pq.write_table(pa.table({**usual, field: texts}), path)
    return path


@pytest.mark.parametrize("field", ["prompt", "id", DEMOGRAPHICS, "field that nothing uses"])
def test_a_row_of_parquet_that_is_not_utf_8_is_refused_alone_by_every_reader(field: str, tmp_path: Path) -> None:
    path = bad_texts(tmp_path / "rows.parquet", field)
    first, (where, bad), last = read_rows(path)
    assert (where, type(bad)) == ("rows.parquet: row 2", BadRow)
    assert str(bad).startswith("rows.parquet: row 2: text that is not UTF-8 ('utf-8' codec can't decode byte 0xff")
    assert [raw[field] for _, raw in (first, last)] == ["a", "b"]
    reading = Records(str(path), skip_invalid=1)
    assert [record.chosen for record in reading] == ["chosen 0", "chosen 2"]
    assert reading.problems == [str(bad)]
    (piece,) = pieces(path)
    found = list(piece.records(RecordParser(load_taxonomy())))
    assert [number for number, _ in found] == [1, 2, 3]
    assert [str(each) for _, each in found if isinstance(each, BadRow)] == [str(bad)]


def test_rows_too_long_for_a_batch_are_read_in_smaller_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "rows.parquet", [row(prompt=f"p{n}") for n in range(40)], row_group_size=25)
    plain, asked = files._batches, []

    def fails(path: Path, size: int, skipped: int, count: int | None) -> Iterator[Any]:
        asked.append((size, skipped, count))
        for batch in plain(path, size, skipped, count):
            if size > 3 and skipped + len(batch) > 10:  # as Arrow where the texts of a batch exceed 2 GiB
                raise pa.ArrowNotImplementedError("Nested data conversions not implemented for chunked array outputs")
            yield batch
            skipped += len(batch)

    monkeypatch.setattr(files, "_batches", fails)
    found = [raw["prompt"] for batch in files.parquet_batches(path, 8, 1, 30) for raw in batch.to_pylist()]
    assert found == [f"p{n}" for n in range(1, 31)]
    assert asked == [(8, 1, 30), (1, 8, 23)]


def test_a_row_that_is_too_long_by_itself_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Iterator[Any]:
        raise pa.ArrowNotImplementedError("Nested data conversions not implemented")
        yield

    monkeypatch.setattr(files, "_batches", fails)
    with pytest.raises(DataError, match=r"rows.parquet: not a whole Parquet file after row 0 \(Nested data"):
        list(files.parquet_batches(write_parquet(tmp_path / "rows.parquet", [row()]), 8))
