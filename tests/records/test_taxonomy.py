"""The 90 preference dimensions, other tables, and profiles read back into directions."""

import hashlib
import json
from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignx.errors import DataError
from alignx.records import load_taxonomy, reverse, verbalise
from tests.records.rows import refusal, row
from tests.worlds import write_jsonl

DIGEST = "7d0b3cf2b2a175306ea60ace89850fdad540a7336eb2ba1bed929c9df9ed20aa"
"""Of the paper's dimensions; every manifest carries it, so it must never change by accident."""
GROUPS = {"demographics": 2, "big_five": 5, "maslow": 16, "murray": 17, "alignment": 7, "interest": 43}
HEADER = "index,group,positive,negative\n"
SMALL = HEADER + "0,g,Dry,Wet\n1,g,Loud,Quiet\n2,h,New,Old\n"


def stored(folder: Path, text: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_the_paper_has_ninety_dimensions_in_six_groups_that_stand_together() -> None:
    groups = [dimension.group for dimension in load_taxonomy().dimensions]
    assert len(load_taxonomy()) == len(groups) == 90
    assert list(Counter(groups).items()) == list(GROUPS.items())  # 2 + 5 + 16 + 17 + 7 + 43, in this order
    assert [group for group, _ in groupby(groups)] == list(GROUPS)


def test_the_dimensions_are_where_the_data_has_them() -> None:
    dimensions = load_taxonomy().dimensions
    starts = {0: "demographics", 2: "big_five", 7: "maslow", 23: "murray", 40: "alignment", 47: "interest"}
    assert {i: dimensions[i].group for i in starts} == starts
    assert (dimensions[0].positive, dimensions[0].negative) == ("Young", "Older")
    assert (dimensions[2].positive, dimensions[2].negative) == ("High Neuroticism", "Low Neuroticism")


def test_the_digest_is_that_of_groups_and_phrases_in_order() -> None:
    table = [[d.group, d.positive, d.negative] for d in load_taxonomy().dimensions]
    text = json.dumps([table], ensure_ascii=False, separators=(",", ":"))
    assert load_taxonomy().digest == hashlib.sha256(text.encode()).hexdigest() == DIGEST


def test_all_180_phrases_differ() -> None:
    phrases = [phrase for d in load_taxonomy().dimensions for phrase in (d.positive, d.negative)]
    assert len(set(phrases)) == 180


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from([0, 1, 2]), min_size=90, max_size=90).map(bytes))
def test_reading_a_profile_inverts_verbalising(direction: bytes) -> None:
    taxonomy = load_taxonomy()
    assert taxonomy.read_profile(verbalise(direction, taxonomy)) == direction


def test_a_profile_worked_by_hand() -> None:
    taxonomy = load_taxonomy()
    assert taxonomy.read_profile("Young, Male, Low Neuroticism") == bytes([2, 0, 0] + [1] * 87)
    assert taxonomy.read_profile("Low Neuroticism, Young") == bytes([2, 1, 0] + [1] * 87)  # in any order
    assert taxonomy.read_profile("") == bytes([1] * 90)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from([0, 1, 2]), min_size=90, max_size=90).map(bytes))
def test_reversing_a_profile_is_reversing_its_direction(direction: bytes) -> None:
    taxonomy = load_taxonomy()
    profile = verbalise(direction, taxonomy)
    assert taxonomy.reverse_profile(profile) == verbalise(reverse(direction), taxonomy)
    assert taxonomy.reverse_profile(taxonomy.reverse_profile(profile)) == profile


def test_a_reversed_profile_keeps_the_order_of_its_phrases() -> None:
    assert load_taxonomy().reverse_profile("Low Neuroticism, Young") == "High Neuroticism, Older"
    with pytest.raises(DataError, match="'Tall' is no phrase of the taxonomy"):
        load_taxonomy().reverse_profile("Young, Tall")


@pytest.mark.parametrize("profile", ["Tall", "Young,Male", "Young; Male", "young", "Young, Tall", " Young"])
def test_a_profile_with_other_words_is_refused_with_them(profile: str) -> None:
    with pytest.raises(DataError, match=r"^profile: '.*is no phrase of the taxonomy; a profile is phrases of the"):
        load_taxonomy().read_profile(profile)


@pytest.mark.parametrize("profile", ["Young, Older", "Young, Male, Young"])
def test_a_profile_that_states_a_dimension_twice_is_refused(profile: str) -> None:
    with pytest.raises(DataError, match=r"^profile: dimension 0 is stated twice, the second time as '(Older|Young)'"):
        load_taxonomy().read_profile(profile)


def test_phrases_that_begin_alike_or_hold_a_comma_are_told_apart(tmp_path: Path) -> None:
    taxonomy = load_taxonomy(stored(tmp_path, HEADER + '0,g,Art,"Art, old"\n1,g,Art history,No art\n'))
    for direction in (bytes([a, b]) for a in range(3) for b in range(3)):
        assert taxonomy.read_profile(verbalise(direction, taxonomy)) == direction


def test_another_taxonomy_is_read_from_a_file(tmp_path: Path) -> None:
    taxonomy = load_taxonomy(stored(tmp_path, SMALL))
    assert [(d.group, d.positive, d.negative) for d in taxonomy.dimensions] == [
        ("g", "Dry", "Wet"),
        ("g", "Loud", "Quiet"),
        ("h", "New", "Old"),
    ]
    assert verbalise(bytes([2, 1, 0]), taxonomy) == "Dry, Old"
    assert taxonomy.digest != DIGEST


def test_the_digest_changes_with_any_phrase_group_or_order(tmp_path: Path) -> None:
    tables = [
        SMALL,
        SMALL.replace("Dry", "Hot"),
        SMALL.replace("Old", "Stale"),
        SMALL.replace("h,", "k,"),
        HEADER + "0,g,Loud,Quiet\n1,g,Dry,Wet\n2,h,New,Old\n",
        SMALL.replace("2,h,New,Old\n", ""),
    ]
    assert len({load_taxonomy(stored(tmp_path, text)).digest for text in tables}) == len(tables)


def test_columns_may_be_in_any_order_with_others_beside_them_and_a_byte_order_mark_before(tmp_path: Path) -> None:
    plain = load_taxonomy(stored(tmp_path, SMALL))
    other = "negative,note,positive,index,group\nWet,x,Dry,0,g\nQuiet,,Loud,1,g\nOld,,New,2,h\n"
    assert load_taxonomy(stored(tmp_path, b"\xef\xbb\xbf" + other.replace("\n", "\r\n").encode())) == plain


REFUSED = {
    "a column missing": ("index,group,positive\n0,g,Dry\n", ": columns are ['index', 'group', 'positive'], expected "),
    "nothing": ("", ": columns are None, expected index, group, positive, negative"),
    "no rows": (HEADER, ": holds no dimensions"),
    "indices from one": (HEADER + "1,g,Dry,Wet\n", ":2: index is '1', expected 0; rows follow the data's order"),
    "a gap": (HEADER + "0,g,Dry,Wet\n2,g,Loud,Quiet\n", ":3: index is '2', expected 1"),
    "an empty phrase": (HEADER + "0,g,Dry,\n", ":2: negative is '', expected a phrase that no other pole has"),
    "a short row": (HEADER + "0,g,Dry\n", ":2: negative is None, expected a phrase that no other pole has"),
    "equal poles": (HEADER + "0,g,Dry,Dry\n", ":2: negative is 'Dry', expected a phrase that no other pole has"),
    "a phrase used before": (
        HEADER + "0,g,Dry,Wet\n1,g,Loud,Dry\n",
        ":3: negative is 'Dry', expected a phrase that no other pole has",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_table_that_is_no_taxonomy_is_refused_with_file_line_and_column(tmp_path: Path, what: str) -> None:
    text, expected = REFUSED[what]
    path = stored(tmp_path, text)
    with pytest.raises(DataError) as caught:
        load_taxonomy(path)
    assert str(caught.value).startswith(f"{path}{expected}")


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.csv: cannot read the taxonomy: "):
        load_taxonomy(tmp_path / "missing.csv")
    with pytest.raises(DataError, match=r"table\.csv: cannot read the taxonomy: "):
        load_taxonomy(stored(tmp_path, SMALL.encode("utf-16")))


def test_records_are_checked_against_the_taxonomy_they_are_read_with(tmp_path: Path) -> None:
    from alignx.records import Records

    taxonomy = load_taxonomy(stored(tmp_path, SMALL))
    three = write_jsonl(tmp_path / "three.jsonl", [row(**{"Preference Direction": [1, 0.5, 0]})])
    ninety = write_jsonl(tmp_path / "ninety.jsonl", [row(**{"Preference Direction": [0.5] * 90})])
    assert next(iter(Records(str(three), taxonomy=taxonomy))).direction == bytes([2, 1, 0])
    assert "has 90 values, expected 3; records made for another taxonomy" in refusal(ninety, taxonomy=taxonomy)
    assert "has 3 values, expected 90" in refusal(three)
