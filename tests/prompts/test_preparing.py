"""Folders of encoded pairs: their rows are what a preview shows, and none outlives what it was made of."""

import gc
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from alignx import manifest
from alignx.errors import DataError, SettingsError
from alignx.manifest import Manifest
from alignx.prompts import Condition, EncodedPair, Encoder, Method, PairEncoder
from alignx.prompts.preparing import PrepareSettings, prepare, write_prepared
from alignx.prompts.preparing.making import Making
from alignx.prompts.previewing import PreviewSettings, preview
from alignx.records import Records, Taxonomy, load_taxonomy, pieces
from tests.prompts.tokenizers_on_the_spot import LLAMA_TEMPLATE, llama, one_byte_one_token, stand_in
from tests.worlds import sample_records, write_jsonl

ICA = Condition(method=Method.ICA).resolved()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "records.jsonl", sample_records(12, seed=5))


def write(folder: Path, data: Path, condition: Condition = ICA, tokenizer: Any = None, **source: Any) -> Manifest:
    encoder = Encoder(tokenizer or llama().tokenizer, condition)
    return write_prepared(folder, Records(str(data), **source), condition, encoder, {"data": str(data)}, workers=1)


def rows(folder: Path) -> list[dict[str, Any]]:
    """Every row of the folder's shards, in order."""
    shards = sorted(folder.glob("pairs-*.parquet"))
    return [row for shard in shards for row in pq.read_table(shard).to_pylist()]


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Each file's time of writing and content."""
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


# What is in a folder.


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("preset", ["paper", "released-train", "released-eval"])
def test_rows_decode_to_what_a_preview_shows(
    tiny_model: Path, data: Path, tmp_path: Path, method: Method, preset: str
) -> None:
    # At 500 tokens some histories are trimmed, so the preview shows what is left; the longest profile needs over 900.
    limit = 500 if method is Method.ICA else 1000
    told = {"data": str(data), "model": str(tiny_model), "method": method, "preset": preset, "max_length": limit}
    prepare(PrepareSettings(output=tmp_path / "prepared", **told))
    decode = AutoTokenizer.from_pretrained(tiny_model).decode
    found = rows(tmp_path / "prepared")
    assert len(found) == 12
    assert any(row["trimmed_items"] for row in found) == (method is Method.ICA)
    for number in (1, 2, 5, 11, 12):
        row, shown = found[number - 1], preview(PreviewSettings(row=number, history="sampled", **told))
        head, _, body = shown.partition("\n\n[prompt]\n")
        chosen, rejected = decode(row["chosen_ids"]), decode(row["rejected_ids"])
        assert body == f"{decode(row['prompt_ids'])}\n[chosen]\n{chosen}\n[rejected]\n{rejected}"
        assert head.startswith(f"record {row['id']} under {method.upper()} in preset {preset}\n")
        lengths = re.findall(r"\d+", head.split("tokens:")[1].split(";")[0])
        assert lengths == [str(len(row[f"{name}_ids"])) for name in ("prompt", "chosen", "rejected")]
        assert f"trimmed: {row['trimmed_items']} of " in head


def test_a_folder_holds_every_pair_of_the_encoder_in_order_with_all_its_fields(data: Path, tmp_path: Path) -> None:
    condition = ICA.model_copy(update={"max_length": 900})
    write(tmp_path / "prepared", data, condition)
    pairs = list(PairEncoder(Records(str(data)), condition, Encoder(llama().tokenizer, condition)))
    assert [EncodedPair(**row) for row in rows(tmp_path / "prepared")] == pairs


def test_the_manifest_says_what_the_rows_are_made_of(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "prepared"
    said = write(folder, data)
    records = Records(str(data))
    ids = [record.id for record in records]
    assert manifest.read(folder) == said
    assert (said.kind, said.data, said.taxonomy) == ("prepared", records.identity, load_taxonomy().digest)
    assert Condition.model_validate(said.condition) == ICA
    assert said.settings["tokenizer"] == Encoder(llama().tokenizer, ICA).digest
    assert said.files == {"pairs-00000.parquet": manifest.file_digest(folder / "pairs-00000.parquet")}
    assert (said.counts["records"], [row["id"] for row in rows(folder)]) == (12, ids)


def test_rows_go_to_shards_in_order(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "one", data)
    monkeypatch.setattr(pieces, "PIECE_ROWS", 5)
    said = write(tmp_path / "three", data)
    assert list(said.files) == ["pairs-00000.parquet", "pairs-00001.parquet", "pairs-00002.parquet"]  # 5, 5 and 2 rows
    assert [pq.read_metadata(tmp_path / "three" / name).num_rows for name in said.files] == [5, 5, 2]
    assert rows(tmp_path / "three") == rows(tmp_path / "one")


def test_the_command_samples_history_as_training_does_and_says_what_it_made(
    tiny_model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"data": str(data), "model": str(tiny_model), "method": Method.ICA}
    assert prepare(PrepareSettings(output=tmp_path / "prepared", **told)) == tmp_path / "prepared"
    assert manifest.read(tmp_path / "prepared").condition["history"] == "sampled"
    assert f"{tmp_path / 'prepared'}: 12 pairs encoded; train with --data" in capsys.readouterr().out


def test_the_command_shows_the_records_that_it_skipped(
    tiny_model: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    raw = sample_records(3, seed=5)
    write_jsonl(data, [{**raw[0], "id": "long", "prompt": "long " * 3000}, *raw[1:]])
    told = {"data": str(data), "model": str(tiny_model), "method": Method.ICA, "max_length": 1500}
    prepare(PrepareSettings(output=tmp_path / "prepared", skip_invalid=1, **told))
    shown = "".join(capfd.readouterr())
    assert "2 pairs encoded" in shown
    assert "skipped 1 invalid rows: record long: " in shown


def test_the_command_asks_for_a_method(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--method is required: ica or pba"):
        prepare(PrepareSettings(output=tmp_path / "prepared", data=str(data), model=str(tiny_model)))
    assert not (tmp_path / "prepared").exists()


# A finished folder is left as it is; nothing stale is ever taken for new.


def test_a_finished_folder_is_left_as_it_is_without_encoding_anything(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write(tmp_path / "prepared", data)
    before = state(tmp_path / "prepared")
    monkeypatch.setattr(Making, "make", lambda *_: pytest.fail("encoded again"))
    assert write(tmp_path / "prepared", data) == first
    assert state(tmp_path / "prepared") == before


def test_the_same_records_under_another_name_are_the_same(data: Path, tmp_path: Path) -> None:
    write(tmp_path / "prepared", data)
    before = state(tmp_path / "prepared")
    write(tmp_path / "prepared", data.rename(tmp_path / "other.jsonl"))
    assert state(tmp_path / "prepared") == before


CONDITIONS = {
    "method": {"method": Method.PBA},
    "preset": {"preset": "released-eval"},
    "persona": {"persona": "other"},
    "history": {"history": 1},
    "sampled history": {"history": "sampled"},
    "another length": {"max_length": 900},
    "another date": {"date": "01 Feb 2003"},
}


@pytest.mark.parametrize("change", CONDITIONS.values(), ids=CONDITIONS)
def test_a_changed_condition_makes_new_rows(change: dict[str, Any], data: Path, tmp_path: Path) -> None:
    changed = Condition.model_validate({"method": Method.ICA, **change}).resolved()
    write(tmp_path / "prepared", data)
    old = rows(tmp_path / "prepared")
    said = write(tmp_path / "prepared", data, changed)
    fresh = write(tmp_path / "fresh", data, changed)
    assert rows(tmp_path / "prepared") == rows(tmp_path / "fresh") != old
    assert (said.files, said.condition) == (fresh.files, changed.model_dump(mode="json"))


@pytest.mark.parametrize(("name", "value"), [("seed", 43), ("positive", "0.9"), ("negative", "0.1")])
def test_a_changed_setting_of_a_sampled_profile_makes_new_rows(
    name: str, value: Any, data: Path, tmp_path: Path
) -> None:
    told = {"method": Method.PBA, "history": "sampled"}
    write(tmp_path / "prepared", data, Condition(**told).resolved())
    old = rows(tmp_path / "prepared")
    changed = Condition(**told, **{name: value}).resolved()
    write(tmp_path / "prepared", data, changed)
    write(tmp_path / "fresh", data, changed)
    assert rows(tmp_path / "prepared") == rows(tmp_path / "fresh") != old


def other_template() -> Any:
    return one_byte_one_token(LLAMA_TEMPLATE.replace("December 2023", "June 2024"))


@pytest.mark.parametrize("make", [lambda: stand_in().tokenizer, other_template], ids=["vocabulary", "chat template"])
def test_another_tokenizer_makes_new_rows(make: Callable[[], Any], data: Path, tmp_path: Path) -> None:
    write(tmp_path / "prepared", data, tokenizer=one_byte_one_token())
    old = rows(tmp_path / "prepared")
    write(tmp_path / "prepared", data, tokenizer=make())
    write(tmp_path / "fresh", data, tokenizer=make())
    assert rows(tmp_path / "prepared") == rows(tmp_path / "fresh") != old


DATA: dict[str, Callable[[list[dict[str, Any]]], list[dict[str, Any]]]] = {
    "one word of one record": lambda raw: [*raw[:-1], {**raw[-1], "chosen": raw[-1]["chosen"] + " indeed"}],
    "the order": lambda raw: raw[::-1],
    "one record less": lambda raw: raw[:-1],
    "one record more": lambda raw: [*raw, {**raw[0], "user": "new"}],
    "the users": lambda raw: [{**row, "user": "all one"} for row in raw],
    "the names": lambda raw: [{**row, "id": f"n{number}"} for number, row in enumerate(raw)],
}


@pytest.mark.parametrize("change", DATA.values(), ids=DATA)
def test_changed_records_make_new_rows(change: Any, data: Path, tmp_path: Path) -> None:
    write(tmp_path / "prepared", data)
    old = rows(tmp_path / "prepared")
    write_jsonl(data, change([json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]))
    write(tmp_path / "prepared", data)
    write(tmp_path / "fresh", data)
    assert rows(tmp_path / "prepared") == rows(tmp_path / "fresh") != old


def test_another_limit_makes_new_rows(data: Path, tmp_path: Path) -> None:
    write(tmp_path / "prepared", data)
    whole = rows(tmp_path / "prepared")
    write(tmp_path / "prepared", data, limit=7)
    assert rows(tmp_path / "prepared") == whole[:7]


def test_another_taxonomy_makes_new_rows(data: Path, tmp_path: Path) -> None:
    paper = load_taxonomy()
    other = Taxonomy(paper.dimensions[::-1])
    condition = Condition(method=Method.PBA).resolved()
    write(tmp_path / "prepared", data, condition)
    old = rows(tmp_path / "prepared")
    assert write(tmp_path / "prepared", data, condition, taxonomy=other).taxonomy == other.digest != paper.digest
    assert rows(tmp_path / "prepared") != old


def test_no_shard_of_a_longer_preparation_is_left(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", 4)
    write(tmp_path / "prepared", data)
    assert len(list((tmp_path / "prepared").glob("*.parquet"))) == 3
    said = write(tmp_path / "prepared", data, limit=3)
    assert [path.name for path in (tmp_path / "prepared").glob("*.parquet")] == list(said.files)
    assert len(rows(tmp_path / "prepared")) == 3


def test_records_that_were_skipped_before_are_an_error_once_they_may_not_be(data: Path, tmp_path: Path) -> None:
    raw = sample_records(3, seed=5)
    write_jsonl(data, [{**raw[0], "id": "long", "prompt": "long " * 3000}, *raw[1:]])
    condition = ICA.model_copy(update={"max_length": 1500})
    said = write(tmp_path / "prepared", data, condition, skip_invalid=1)
    assert (said.data.records, said.data.skipped, said.counts["records"]) == (3, 1, 2)
    with pytest.raises(DataError, match="record long: "):
        write(tmp_path / "prepared", data, condition)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["lost", "emptied"])
def test_a_damaged_shard_is_written_anew(damage: Callable[[Path], None], data: Path, tmp_path: Path) -> None:
    write(tmp_path / "prepared", data)
    whole = rows(tmp_path / "prepared")
    damage(tmp_path / "prepared" / "pairs-00000.parquet")
    write(tmp_path / "prepared", data)
    assert rows(tmp_path / "prepared") == whole


def test_a_preparation_that_fails_half_way_is_unfinished_and_is_made_anew(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", 4)
    folder = tmp_path / "prepared"
    write(folder, data)
    whole = rows(folder)
    intact = data.read_text(encoding="utf-8")
    lines = intact.splitlines(keepends=True)
    data.write_text("".join([*lines[:9], '{"prompt": "no responses"}\n']), encoding="utf-8")
    with pytest.raises(DataError, match=r"records.jsonl:10: 'chosen' is missing"):
        write(folder, data, ICA.model_copy(update={"date": "01 Feb 2003"}))
    assert len(list(folder.glob("pairs-*.parquet"))) == 2  # it had got that far
    with pytest.raises(DataError, match="so it is unfinished"):
        manifest.read(folder)
    data.write_text(intact, encoding="utf-8")
    write(folder, data)
    assert rows(folder) == whole


# A folder of something else is refused and left as it is.


def stranger(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")


def subfolder(folder: Path) -> None:
    (folder / "checkpoint-10").mkdir()


def checkpoint(folder: Path) -> None:
    manifest.write(folder, Manifest(kind="checkpoint"))


def raw_records(folder: Path) -> None:
    pq.write_table(pa.Table.from_pylist(sample_records(3)), folder / "part-00000.parquet")  # as Spark names its files


def another_tool_s_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"name": "a web page", "icons": []}')


@pytest.mark.parametrize("fill", [stranger, subfolder, checkpoint, raw_records, another_tool_s_manifest])
def test_a_folder_of_something_else_is_refused_by_name_and_left_as_it_is(
    fill: Callable[[Path], None], data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "taken"
    folder.mkdir()
    fill(folder)
    before = {path: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}
    with pytest.raises(DataError, match=rf"{folder}: holds something else"):
        write(folder, data)
    assert {path: path.read_bytes() if path.is_file() else None for path in folder.iterdir()} == before


def test_something_else_beside_finished_rows_is_refused_too(data: Path, tmp_path: Path) -> None:
    write(tmp_path / "prepared", data)
    (tmp_path / "prepared" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"prepared: holds something else \(notes.txt\), choose another --output"):
        write(tmp_path / "prepared", data, ICA.model_copy(update={"date": "01 Feb 2003"}))
    assert len(rows(tmp_path / "prepared")) == 12


def test_a_file_in_the_place_of_the_folder_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"records.jsonl: is a file, expected a folder to write"):
        write(data, data)
    assert len(data.read_text(encoding="utf-8").splitlines()) == 12


def test_an_empty_folder_and_hidden_files_are_no_hindrance(data: Path, tmp_path: Path) -> None:
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / ".DS_Store").write_text("")
    assert write(tmp_path / "prepared", data).counts["records"] == 12


# Memory.


def test_rows_are_held_as_numbers_and_not_as_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = {"prompt": "Why?", "chosen": "a", "rejected": "b"}
    records = Records(str(write_jsonl(tmp_path / "many.jsonl", ({**raw, "id": f"r{n}"} for n in range(1000)))))
    monkeypatch.setattr(pieces, "PIECE_ROWS", 600)
    really_write, seen = pq.write_table, []

    def watch(table: pa.Table, *args: Any, **more: Any) -> None:
        seen.append((len(table), sum(type(thing) is EncodedPair for thing in gc.get_objects())))
        really_write(table, *args, **more)

    monkeypatch.setattr(pq, "write_table", watch)
    write_prepared(tmp_path / "prepared", records, ICA, Encoder(one_byte_one_token(), ICA), {}, workers=1)
    assert [rows for rows, _ in seen] == [600, 400]
    assert max(alive for _, alive in seen) <= 256  # a batch
