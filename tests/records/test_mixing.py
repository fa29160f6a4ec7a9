"""What is taken of each source of a mixture, and what its records are called in it."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignx.errors import SettingsError
from alignx.records import Persona, Record, Records
from alignx.records.mixing import Share, SourceShare, in_mixture, parse_mixture
from tests.records.rows import full_row, write_json

NAMES = st.from_regex(r"[A-Za-z0-9_.-]{1,12}", fullmatch=True)
PATHS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Z"]), min_size=1)


@pytest.mark.parametrize(
    ("said", "share", "spelled"),
    [
        ("all", Share(), "all"),
        ("100%", Share(), "all"),
        ("1.0", Share(), "all"),
        ("0.07", Share(part=Decimal("0.07")), "0.07"),
        (".070", Share(part=Decimal("0.07")), "0.07"),
        ("7%", Share(part=Decimal("0.07")), "0.07"),
        (" 7 % ", Share(part=Decimal("0.07")), "0.07"),
        ("0.5%", Share(part=Decimal("0.005")), "0.005"),
        ("1", Share(count=1), "1"),
        ("91918", Share(count=91918), "91918"),
        ("007", Share(count=7), "7"),
    ],
)
def test_a_share_is_all_a_part_or_a_number_of_records(said: str, share: Share, spelled: str) -> None:
    assert Share.parse(said) == share
    assert str(share) == spelled
    assert Share.parse(spelled) == share


@pytest.mark.parametrize("said", ["", "0", "00", "0.0", "0%", "101%", "1.01", "-1", "-0.1", "1e-3", "7 records", "ALL"])
def test_a_share_of_nothing_or_of_more_than_there_is_is_refused(said: str) -> None:
    with pytest.raises(SettingsError, match=r"expected a share such as 0\.07 or 7%, a whole number of records, or all"):
        Share.parse(said)


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ("reddit:7%:data/train.parquet", "data/train.parquet"),
        ("a:all:JinaLeejnl/AlignX@v1.0/train.parquet", "JinaLeejnl/AlignX@v1.0/train.parquet"),
        ("a:10:/data/at 12:30:00.jsonl", "/data/at 12:30:00.jsonl"),
        (" a :0.5: folder ", "folder"),
    ],
)
def test_a_path_is_whatever_comes_after_the_second_colon(said: str, path: str) -> None:
    assert SourceShare.parse(said).path == path


@given(name=NAMES, count=st.integers(1), path=PATHS)
def test_a_source_is_read_back_as_it_is_written(name: str, count: int, path: str) -> None:
    source = SourceShare(name, Share(count=count), path)
    assert SourceShare.parse(str(source)) == source


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("train.jsonl", "got 'train.jsonl', expected name:share:path, such as reddit:7%:data/train.parquet"),
        ("a:all", "expected name:share:path"),
        ("a:all:", "expected name:share:path"),
        ("a:all: ", "expected name:share:path"),
        (":all:x", "got the name '', expected letters, digits"),
        ("a/b:all:x", "got the name 'a/b', expected letters, digits"),
        ("ä:all:x", "got the name 'ä', expected letters, digits"),
        ("a:half:x", "'a:half:x': share: got 'half', expected a share such as 0.07 or 7%"),
        ("a:2.0:x", "'a:2.0:x': share: got '2.0', expected .* at most 100%"),
    ],
)
def test_what_is_no_source_is_refused_with_what_was_expected(said: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        SourceShare.parse(said)


def test_sources_keep_their_order_and_have_names_of_their_own() -> None:
    assert [source.name for source in parse_mixture(["b:all:x", "a:all:x"])] == ["b", "a"]
    with pytest.raises(SettingsError, match=r"'a:3:y' and 'a:all:x' have one name, expected another for each source"):
        parse_mixture(["a:all:x", "b:all:x", "a:3:y"])
    with pytest.raises(SettingsError, match="got no sources, expected at least one"):
        parse_mixture([])


def test_ids_and_users_of_two_sources_never_meet_and_targets_do(tmp_path: Path) -> None:
    path = write_json(tmp_path / "rows.json", [full_row(id="1", user="ana"), full_row(id="2", user=None)])
    records = list(Records(str(path)))
    one, other = ([in_mixture(record, name) for record in records] for name in ("one", "other"))
    assert [record.id for record in (*one, *other)] == ["one/1", "one/2", "other/1", "other/2"]
    assert [record.user for record in (*one, *other)] == ["one/ana", None, "other/ana", None]
    assert one[0].cluster != other[0].cluster
    assert one[1].cluster == other[1].cluster == records[1].cluster, "without a user the target is what is known"
    assert {record.target for record in (*one, *other)} == {records[0].target}
    for renamed, record in zip(one, records, strict=True):
        same = (renamed.prompt, renamed.chosen, renamed.rejected, renamed.persona, renamed.direction, renamed.digest)
        assert same == (
            record.prompt, record.chosen, record.rejected, record.persona, record.direction, record.digest
        )  # fmt: skip


@given(st.lists(st.tuples(NAMES, st.text()), min_size=2, max_size=2, unique=True))
def test_a_name_and_an_id_cannot_be_mistaken_for_another_name_and_id(pairs: list[tuple[str, str]]) -> None:
    first, second = (in_mixture(Record(id, "p", "c", "r", Persona(), user=id), name) for name, id in pairs)
    assert first.id != second.id
    assert first.user != second.user
