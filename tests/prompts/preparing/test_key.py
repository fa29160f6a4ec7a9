"""The key of prepared rows: everything that they depend on, and nothing else; and damage that it does not see."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignx.errors import DataError
from alignx.prompts import Condition, Encoder, Method
from alignx.prompts.preparing import key, write_prepared
from alignx.prompts.preparing.command import work_of
from alignx.prompts.preparing.making import Making
from alignx.prompts.preparing.preparation import Ingredients
from alignx.prompts.preparing.sources import Source
from alignx.records import Records, Taxonomy, load_taxonomy, pieces
from alignx.records.held_out import HeldOut
from alignx.records.mixing import Share
from tests.prompts.preparing.folders import files
from tests.prompts.preparing.unruly import encoder
from tests.prompts.tokenizers_on_the_spot import LLAMA_TEMPLATE, one_byte_one_token
from tests.records.rows import write_parquet
from tests.worlds import sample_records, write_jsonl

ICA = Condition(method=Method.ICA, history="sampled").resolved()
PAPER = load_taxonomy()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "records.jsonl", sample_records(9, seed=3))


def key_of(
    *sources: Source,
    held_out: HeldOut | None = None,
    seed: int = 42,
    condition: Condition = ICA,
    by: Encoder | None = None,
    text: bool = False,
    taxonomy: Taxonomy = PAPER,
    allowed: int = 0,
) -> str:
    of = Ingredients(sources, taxonomy, held_out, seed, allowed)
    return work_of(Path("anywhere"), of, condition, None if text else by or encoder(condition)).key


def source(path: Path, **said: Any) -> Source:
    return Source(str(path), **said)


def test_whatever_rows_depend_on_changes_the_key(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = write_jsonl(tmp_path / "other.jsonl", sample_records(3, seed=4))
    half, part = Share.parse("50%"), Share.parse("5")
    reworded = Encoder(one_byte_one_token(LLAMA_TEMPLATE.replace("December 2023", "June 2024")), ICA)
    found = {
        "plain": key_of(source(data)),
        "text": key_of(source(data), text=True),
        "other records": key_of(source(other)),
        "limit": key_of(source(data, limit=5)),
        "another limit": key_of(source(data, limit=6)),
        "share": key_of(source(data, share=half)),
        "number": key_of(source(data, share=part)),
        "seed of the share": key_of(source(data, share=half), seed=43),
        "seed of the number": key_of(source(data, share=part), seed=43),
        "name": key_of(source(data, name="a")),
        "another name": key_of(source(data, name="b")),
        "two": key_of(source(data, name="a"), source(other, name="b")),
        "two in another order": key_of(source(other, name="b"), source(data, name="a")),
        "held out": key_of(source(data), held_out=HeldOut.of([Records(str(other))])),
        "others held out": key_of(source(data), held_out=HeldOut.of([Records(str(data))])),
        "nobody held out": key_of(source(data), held_out=HeldOut.of([])),
        "method": key_of(source(data), condition=ICA.model_copy(update={"method": Method.PBA})),
        "condition": key_of(source(data), condition=ICA.model_copy(update={"seed": 1})),
        "parts": key_of(source(data), condition=ICA.model_copy(update={"tell": "comments"})),
        "template": key_of(source(data), by=reworded),
        "taxonomy": key_of(source(data), taxonomy=Taxonomy(PAPER.dimensions[::-1])),
    }
    monkeypatch.setattr(pieces, "PIECE_ROWS", 77)  # other shards
    found["pieces"] = key_of(source(data))
    monkeypatch.undo()
    monkeypatch.setattr(key, "code_digest", lambda: "another version")
    found["code"] = key_of(source(data))
    assert len(set(found.values())) == len(found)


def test_what_changes_no_row_leaves_the_key(data: Path, tmp_path: Path) -> None:
    plain = key_of(source(data))
    assert plain == key_of(source(data), seed=43)  # of a draw that nobody makes
    assert plain == key_of(source(data), allowed=7)
    assert plain == key_of(source(data, split="train"))
    assert plain == key_of(source(data), by=Encoder(one_byte_one_token(), ICA))
    assert plain == key_of(source(data.rename(tmp_path / "under another name.jsonl")))


@pytest.mark.parametrize("byte", [0, 100, -2])
def test_one_byte_of_the_data_changes_the_key_though_size_and_time_stay(byte: int, data: Path) -> None:
    before, was = key_of(source(data)), data.stat()
    content = bytearray(data.read_bytes())
    content[byte] ^= 1
    with data.open("r+b") as stream:
        stream.write(content)
    os.utime(data, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert key_of(source(data)) != before


def test_the_order_of_files_changes_the_key_and_their_names_alone_do_not(tmp_path: Path) -> None:
    found = sample_records(4, seed=3)

    def folder(name: str, **parts: list[dict[str, Any]]) -> Source:
        for part, raw in parts.items():
            write_parquet(tmp_path / name / f"{part}.parquet", raw)
        return source(tmp_path / name)

    one = key_of(folder("1", a=found[:2], b=found[2:]))
    assert key_of(folder("2", a=found[2:], b=found[:2])) != one
    assert key_of(folder("3", x=found[:2], y=found[2:])) == one
    assert key_of(folder("4", a=found[:2], b=found[2:], c=found[:1])) != one


@pytest.mark.parametrize("text", [False, True])
def test_columns_of_the_form_that_is_written_are_part_of_the_key(
    text: bool, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key_of(source(data), text=text)
    monkeypatch.setitem(key.COLUMNS, "ids" if text else "text", (("id", "string"),))
    assert key_of(source(data), text=text) == before
    monkeypatch.setitem(key.COLUMNS, "text" if text else "ids", (("id", "string"),))
    assert key_of(source(data), text=text) != before


def test_the_code_that_decides_is_all_of_records_and_prompts_with_its_tables() -> None:
    folders = [Path(str(package.__file__)).parent for package in (key.records, key.prompts)]
    kinds = {path.suffix for folder in folders for path in folder.rglob("*") if path.is_file()}
    assert kinds - {".pyc"} == set(key._DECIDES)


def prepared(output: Path, data: Path, **told: Any) -> dict[str, bytes]:
    write_prepared(output, Records(str(data), **told), ICA, encoder(ICA), {}, workers=1)
    return files(output)


def other_byte(path: Path) -> None:
    content, was = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def one_too_many(path: Path) -> None:
    (path.parent / "pairs-00009.parquet").write_bytes(path.read_bytes())


def taken_from_another(path: Path) -> None:
    path.write_bytes((path.parent / "pairs-00000.parquet").read_bytes())


@pytest.mark.parametrize("damage", [other_byte, cut, Path.unlink, one_too_many, taken_from_another])
def test_a_finished_folder_that_was_damaged_is_made_again(
    damage: Callable[[Path], None], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", 4)
    calm = prepared(tmp_path / "out", data)
    assert prepared(tmp_path / "out", data) == calm
    damage(tmp_path / "out" / "pairs-00001.parquet")
    assert files(tmp_path / "out") != calm
    assert prepared(tmp_path / "out", data) == calm


def stopped(output: Path, data: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """A preparation that ends without a manifest after so many pieces."""
    really_make, count = Making.make, 0

    def make(making: Making, job: Any) -> Any:
        nonlocal count
        count += 1
        if count > after:
            raise KeyboardInterrupt
        return really_make(making, job)

    with monkeypatch.context() as patch:
        patch.setattr(Making, "make", make)
        with pytest.raises(KeyboardInterrupt):
            prepared(output, data)


@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_a_shard_that_was_damaged_before_the_end_is_made_again(
    damage: Callable[[Path], None], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", 3)
    calm = prepared(tmp_path / "calm", data)
    stopped(tmp_path / "out", data, monkeypatch, after=2)
    damage(tmp_path / "out" / "pairs-00001.parquet")
    assert prepared(tmp_path / "out", data) == calm


NOTES = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "empty": lambda path: path.write_bytes(b""),
    "another's": lambda path: path.write_text("[1, 2]"),
    "lost": Path.unlink,
}


@pytest.mark.parametrize("damage", NOTES.values(), ids=NOTES)
def test_a_note_that_was_damaged_costs_its_shard(
    damage: Callable[[Path], None], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", 3)
    calm = prepared(tmp_path / "calm", data)
    stopped(tmp_path / "out", data, monkeypatch, after=2)
    kept = (tmp_path / "out" / "pairs-00000.parquet").stat().st_ino
    damage(tmp_path / "out" / ".pairs-00001.json")
    assert prepared(tmp_path / "out", data) == calm
    assert (tmp_path / "out" / "pairs-00000.parquet").stat().st_ino == kept


def test_shards_of_other_settings_are_never_taken(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", 3)
    calm = prepared(tmp_path / "calm", data, limit=8)
    stopped(tmp_path / "out", data, monkeypatch, after=2)
    assert prepared(tmp_path / "out", data, limit=8) == calm


def test_a_file_that_only_looks_like_a_shard_is_refused_by_name_and_left(data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "pairs-of-mine.parquet").write_text("mine")
    with pytest.raises(DataError, match=r"holds something else \(pairs-of-mine.parquet\)"):
        prepared(tmp_path / "out", data)
    assert (tmp_path / "out" / "pairs-of-mine.parquet").read_text() == "mine"


def test_without_a_memory_everything_is_as_it_is_with_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = prepared(tmp_path / "calm", data)
    (tmp_path / "no folder").write_text("")
    monkeypatch.setenv("ALIGNX_CACHE", str(tmp_path / "no folder"))
    assert prepared(tmp_path / "out", data) == calm
    assert prepared(tmp_path / "out", data) == calm
