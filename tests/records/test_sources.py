"""Records from where they are: files, folders, splits and the hub; what was read, skipped and not used."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignx.records import Records
from tests.records.rows import (
    CHOICES,
    COMMENTS,
    DEMOGRAPHICS,
    DIRECTION,
    full_row,
    refusal,
    row,
    write_json,
    write_parquet,
)
from tests.worlds import sample_records, write_jsonl

WRITERS: dict[str, Callable[[Path, list[dict[str, Any]]], Path]] = {
    "json": write_json,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
}


def prompts(source: Path | str, **options: Any) -> list[str]:
    return [record.prompt for record in Records(str(source), **options)]


def identity(source: Path, **options: Any) -> Any:
    records = Records(str(source), **options)
    for _ in records:
        pass
    return records.identity


# what was read


def test_the_identity_of_records_names_the_source_and_counts(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [row(), {"prompt": "p"}, row()])
    found = identity(path, skip_invalid=1)
    assert (found.source, found.records, found.skipped) == (str(path), 2, 1)


def test_the_identity_of_records_is_unknown_before_all_are_read(tmp_path: Path) -> None:
    records = Records(str(write_jsonl(tmp_path / "rows.jsonl", [row(), row()])))
    with pytest.raises(RuntimeError, match="known only after reading them all"):
        _ = records.identity
    next(iter(records))
    with pytest.raises(RuntimeError, match="known only after reading them all"):
        _ = records.identity


def test_records_are_read_anew_at_each_iteration(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [row(), row(), {"prompt": "p"}, row(extra=1)])
    records = Records(str(path), skip_invalid=1)
    first, seen = list(records), records.identity
    assert list(records) == first
    assert records.identity == seen
    assert (len(records.problems), records.unused_fields) == (1, {"extra": 1})


def test_a_limit_takes_the_first_records(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [*(row(prompt=f"p{i}") for i in range(5)), {"prompt": "invalid"}])
    assert prompts(path, limit=3) == ["p0", "p1", "p2"]
    assert identity(path, limit=3).records == 3


@pytest.mark.parametrize("kind", WRITERS)
def test_ids_contents_and_data_digest_do_not_depend_on_storage(tmp_path: Path, kind: str) -> None:
    rows = [full_row(), *sample_records(12, seed=3), full_row(), row()]
    plain = write_jsonl(tmp_path / "plain.jsonl", rows)
    other = WRITERS[kind](tmp_path / f"other.{kind}", rows)
    assert list(Records(str(other))) == list(Records(str(plain)))
    assert identity(other).digest == identity(plain).digest


def test_rows_that_pandas_read_from_parquet_give_the_same_records(tmp_path: Path) -> None:
    import pandas

    from alignx.records import RecordParser, load_taxonomy

    rows = [full_row(id=1), *({**raw, "id": 2 + i} for i, raw in enumerate(sample_records(8, seed=4)))]
    path = write_parquet(tmp_path / "rows.parquet", rows)
    parser = RecordParser(load_taxonomy())
    frame = pandas.read_parquet(path)
    parsed = [parser.parse(raw, "frame") for raw in frame.astype(object).where(frame.notna(), None).to_dict("records")]
    assert parsed == list(Records(str(path)))
    assert [record.id for record in parsed] == [str(i) for i in range(1, 10)]


def test_the_data_digest_does_not_depend_on_the_order_of_keys_or_the_files_name(tmp_path: Path) -> None:
    rows = [full_row(id="a"), row(id="b")]
    turned = [dict(reversed(raw.items())) for raw in rows]
    first, second = write_jsonl(tmp_path / "a.jsonl", rows), write_json(tmp_path / "b.json", turned)
    assert identity(first).digest == identity(second).digest


def nested(raw: dict[str, Any], name: str, **changes: Any) -> dict[str, Any]:
    return {**raw, name: [{**raw[name][0], **changes}]}


FLIPPED = [0, 0, *[0.5] * 88]
CHANGED: dict[str, dict[str, Any]] = {
    "id": full_row(id="other"),
    "user": full_row(id="a", user="u2"),
    "prompt": full_row(id="a", prompt="other"),
    "chosen": full_row(id="a", chosen="other"),
    "rejected": full_row(id="a", rejected="other"),
    "direction": full_row(id="a", **{DIRECTION: FLIPPED}),
    "demographics": full_row(id="a", **{DEMOGRAPHICS: "other"}),
    "profile": full_row(id="a", profile="Young"),
    **{f"comment {k}": nested(full_row(id="a"), COMMENTS, **{k: "other"}) for k in ("prompt", "comment")},
    **{f"choice {k}": nested(full_row(id="a"), CHOICES, **{k: "other"}) for k in ("prompt", "chosen", "rejected")},
    "comment direction": nested(full_row(id="a"), COMMENTS, **{DIRECTION: FLIPPED}),
    "choice direction": nested(full_row(id="a"), CHOICES, **{DIRECTION: FLIPPED}),
}


@pytest.mark.parametrize("field", CHANGED)
def test_the_data_digest_changes_with_any_field_of_any_record(tmp_path: Path, field: str) -> None:
    first = write_jsonl(tmp_path / "first.jsonl", [row(id="z"), full_row(id="a"), row(id="y")])
    second = write_jsonl(tmp_path / "second.jsonl", [row(id="z"), CHANGED[field], row(id="y")])
    assert identity(first).digest != identity(second).digest


def test_the_data_digest_changes_with_order_number_and_repetition(tmp_path: Path) -> None:
    a, b = row(id="a"), row(id="b", prompt="q")
    lists = [[a, b], [b, a], [a], [row()], [row(), row()]]
    digests = {identity(write_jsonl(tmp_path / f"{i}.jsonl", rows)).digest for i, rows in enumerate(lists)}
    assert len(digests) == len(lists)


def test_the_data_digest_of_a_limited_source_is_that_of_the_records_read(tmp_path: Path) -> None:
    rows = sample_records(6)
    whole = write_jsonl(tmp_path / "whole.jsonl", rows)
    part = write_jsonl(tmp_path / "part.jsonl", rows[:4])
    assert identity(whole, limit=4).digest == identity(part).digest != identity(whole).digest


# what was skipped and not used


def invalid(n: int) -> list[dict[str, Any]]:
    return [{"prompt": f"p{i}", "chosen": "c"} for i in range(n)]


def test_invalid_rows_are_skipped_counted_and_shown_as_many_as_are_allowed(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [row(), *invalid(2), row(prompt="q")])
    records = Records(str(path), skip_invalid=2)
    assert [record.prompt for record in records] == ["p", "q"]
    problems = [f"rows.jsonl:{i}: 'rejected' is missing, expected text" for i in (2, 3)]
    assert records.problems == problems
    assert records.notes() == [f"skipped 2 invalid rows: {'; '.join(problems)}"]


def test_one_invalid_row_more_than_allowed_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [row(), *invalid(3), row()])
    assert refusal(path, skip_invalid=2) == (
        "rows.jsonl:4: 'rejected' is missing, expected text (and 2 rows before it; --skip-invalid allows 2)"
    )
    assert refusal(path) == "rows.jsonl:2: 'rejected' is missing, expected text"


def test_a_broken_line_may_be_skipped_like_an_invalid_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row()) + "\n{broken}\n" + json.dumps(row(prompt="q")) + "\n", encoding="utf-8")
    assert prompts(path, skip_invalid=1) == ["p", "q"]


def test_a_cut_array_cannot_be_skipped_since_what_is_lost_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([row(), row()])[:-5], encoding="utf-8")
    assert "the file may be cut" in refusal(path, skip_invalid=100)


def test_of_many_skipped_rows_the_first_five_are_shown_and_all_counted(tmp_path: Path) -> None:
    records = Records(str(write_jsonl(tmp_path / "rows.jsonl", [*invalid(8), row()])), skip_invalid=8)
    assert len(list(records)) == 1
    (note,) = records.notes()
    assert note.startswith("skipped 8 invalid rows: rows.jsonl:1: ")
    assert note.endswith("; and 3 more")
    assert note.count("rows.jsonl:") == 5


def test_a_source_whose_rows_are_all_skipped_is_refused(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", invalid(3))
    assert refusal(path, skip_invalid=3) == f"{path}: no records, expected at least one (3 rows were skipped)"


def test_fields_that_mean_nothing_are_named_and_published_ones_are_not(tmp_path: Path) -> None:
    rows = [row(lang="en", profile_full="…", ground_truth_persona="…"), row(lang="de", Score=1)]
    records = Records(str(write_jsonl(tmp_path / "rows.jsonl", rows)))
    list(records)
    assert records.notes() == ["fields that mean nothing here and were not used: 'Score' (1 rows), 'lang' (2 rows)"]


def test_a_misspelt_field_is_named_rather_than_taken_for_an_absent_one(tmp_path: Path) -> None:
    raw = full_row()
    raw["User Generated Content"] = raw.pop(COMMENTS)
    records = Records(str(write_jsonl(tmp_path / "rows.jsonl", [raw])))
    assert next(iter(records)).persona.comments == ()
    assert "'User Generated Content' (1 rows)" in records.notes()[0]


def test_a_clean_source_has_nothing_to_note(tmp_path: Path) -> None:
    records = Records(str(write_jsonl(tmp_path / "rows.jsonl", [full_row(id="a")])))
    list(records)
    assert records.notes() == []


# folders and splits


def test_a_folder_of_parquet_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    for name in ("part-00001", "part-00000", "deeper/part-00002"):
        write_parquet(tmp_path / f"{name}.parquet", [row(prompt=name)])
    assert prompts(tmp_path) == ["deeper/part-00002", "part-00000", "part-00001"]


def test_ids_are_unique_over_all_files_of_a_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_parquet(tmp_path / f"{name}.parquet", [row()])
    assert [record.id[-2:] for record in Records(str(tmp_path))] == ["-1", "-2"]
    for name in ("a", "b"):
        write_parquet(tmp_path / f"{name}.parquet", [row(id="same")])
    assert refusal(tmp_path).startswith("b.parquet: row 1: 'id' 'same' was already used at a.parquet: row 1")


def test_parquet_comes_before_other_files_of_a_folder(tmp_path: Path) -> None:
    write_parquet(tmp_path / "rows.parquet", [row(prompt="parquet")])
    write_jsonl(tmp_path / "notes.jsonl", [row(prompt="json")])
    assert prompts(tmp_path) == ["parquet"]


@pytest.mark.parametrize("kind", ["json", "jsonl"])
def test_a_single_json_file_may_be_named_by_its_folder(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path / f"rows.{kind}", [row()])
    (tmp_path / "manifest.json").write_text("{}", encoding="utf-8")
    (tmp_path / f"rows.{kind}.manifest.json").write_text("{}", encoding="utf-8")
    (tmp_path / "README.md").write_text("# Rows", encoding="utf-8")
    assert prompts(tmp_path) == ["p"]


def test_several_json_files_in_a_folder_are_not_guessed_among(tmp_path: Path) -> None:
    for name in ("Reddit_UGC", "Reddit_PAIR"):
        write_json(tmp_path / f"{name}.json", [row()])
    assert refusal(tmp_path) == (
        f"{tmp_path}: holds several JSON files, name one of them: Reddit_PAIR.json, Reddit_UGC.json"
    )


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Nothing", encoding="utf-8")
    assert refusal(tmp_path) == f"{tmp_path}: holds no .parquet, .json, .jsonl files"


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train-00000-of-00001.parquet", "test-00000-of-00001.parquet"),
        ("train/0000.parquet", "test/0000.parquet"),
        ("data/alignx_train.parquet", "data/alignx_test.parquet"),
        ("TRAIN.jsonl", "TEST.jsonl"),
    ],
)
def test_splits_are_told_by_the_names_of_files_and_folders(tmp_path: Path, train: str, test: str) -> None:
    for name, prompt in ((train, "to train"), (test, "to test")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        WRITERS[path.suffix[1:]](path, [row(prompt=prompt)])
    assert prompts(tmp_path, split="train") == ["to train"]
    assert prompts(tmp_path, split="test") == ["to test"]
    assert refusal(tmp_path) == f"{tmp_path}: holds several splits, choose one with --split: test, train"
    assert refusal(tmp_path, split="dev") == f"{tmp_path}: no files of split 'dev'; splits found: 'test', 'train'"


def test_a_word_that_contains_a_splits_name_is_no_split(tmp_path: Path) -> None:
    for name in ("trainer", "latest", "contest"):
        write_parquet(tmp_path / f"{name}.parquet", [row(prompt=name)])
    assert prompts(tmp_path) == ["contest", "latest", "trainer"]


def test_the_last_name_of_a_split_in_a_path_counts(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test" / "train.parquet", [row(prompt="to train")])
    write_parquet(tmp_path / "test" / "test.parquet", [row(prompt="to test")])
    assert prompts(tmp_path, split="train") == ["to train"]


def test_a_source_without_a_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_jsonl(tmp_path / "rows.jsonl", [row()])
    monkeypatch.chdir(tmp_path)
    assert "no such file or folder" in refusal("")


# the hub


class Hub:
    """The two functions of the hub's client that are used, over a folder; remembers what was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[tuple[Any, ...]] = []

    def snapshot_download(
        self, repo_id: str, *, repo_type: str, revision: str | None, allow_patterns: list[str]
    ) -> str:
        self.asked.append((repo_id, repo_type, revision, allow_patterns))
        return str(self.folder)

    def hf_hub_download(self, repo_id: str, filename: str, *, repo_type: str, revision: str | None) -> str:
        self.asked.append((repo_id, repo_type, revision, filename))
        return str(self.folder / filename)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    import huggingface_hub

    fake = Hub(tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake.snapshot_download)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fake.hf_hub_download)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # so that owner/name is no folder here
    return fake


PATTERNS = ["*.parquet", "*.json", "*.jsonl"]


@pytest.mark.parametrize(
    ("source", "revision"),
    [("owner/some.name-2", None), ("owner/some.name-2@v1.0", "v1.0"), ("owner/some.name-2@" + "0a" * 20, "0a" * 20)],
)
def test_a_hub_id_with_or_without_a_revision_is_downloaded_and_read(
    hub: Hub, source: str, revision: str | None
) -> None:
    write_parquet(hub.folder / "data" / "train-0.parquet", [row()])
    assert prompts(source) == ["p"]
    assert hub.asked == [("owner/some.name-2", "dataset", revision, PATTERNS)]
    assert identity_source(source) == source


def identity_source(source: str) -> str:
    records = Records(source)
    list(records)
    return records.identity.source


def test_the_split_of_a_hub_id_is_chosen_like_a_folders(hub: Hub) -> None:
    for split in ("train", "test"):
        write_parquet(hub.folder / f"{split}.parquet", [row(prompt=split)])
    assert prompts("owner/name", split="test") == ["test"]


@pytest.mark.parametrize(
    ("source", "revision", "name"),
    [
        ("owner/name/file.json", None, "file.json"),
        ("owner/name@main/file.json", "main", "file.json"),
        ("owner/name/deeper/file.json", None, "deeper/file.json"),
    ],
)
def test_one_file_of_a_hub_id_is_downloaded_alone(hub: Hub, source: str, revision: str | None, name: str) -> None:
    path = hub.folder / name
    path.parent.mkdir(parents=True)
    write_json(path, [row(prompt="of the file")])
    assert prompts(source) == ["of the file"]
    assert hub.asked == [("owner/name", "dataset", revision, name)]


@pytest.mark.parametrize("source", ["owner/name", "owner/name/file.json"])
def test_what_the_hub_does_not_give_is_refused_in_one_line_with_its_reason(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    import huggingface_hub

    def fail(*_: object, **__: object) -> str:
        raise ConnectionError("401 Client Error: Repository Not Found\nRequest ID: 7\n")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    assert refusal(source) == (
        "owner/name: no such file or folder here, and not to be had from the hub: "
        "401 Client Error: Repository Not Found"
    )


def test_a_failure_of_the_hub_without_words_is_named_by_its_type(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def fail(*_: object, **__: object) -> str:
        raise TimeoutError

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    assert refusal("owner/name").endswith("not to be had from the hub: TimeoutError")


@pytest.mark.parametrize("source", ["owner/name.jsonl", "owner/rows.parquet", "rows", "a/b/c", "/owner/name", "a//b"])
def test_a_path_that_is_no_hub_id_asks_nothing_of_the_hub(hub: Hub, source: str) -> None:
    assert refusal(source) == f"{source}: no such file or folder"
    assert hub.asked == []


def test_a_folder_here_comes_before_the_hub(hub: Hub, tmp_path: Path) -> None:
    write_parquet(tmp_path / "elsewhere" / "owner" / "name" / "rows.parquet", [row(prompt="here")])
    assert prompts("owner/name") == ["here"]
    assert hub.asked == []


def test_a_source_is_refused_before_anything_heavy_only_if_it_can_be_nowhere(hub: Hub, tmp_path: Path) -> None:
    from alignx.errors import DataError
    from alignx.records.sources import refuse_missing

    refuse_missing("owner/name")
    refuse_missing(str(tmp_path))
    with pytest.raises(DataError, match=r"^rows\.jsonl: no such file or folder$"):
        refuse_missing("rows.jsonl")
    assert hub.asked == []
