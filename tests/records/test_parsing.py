"""The border: what a row must be, what its id is, what its digest covers."""

import hashlib
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignx.errors import DataError
from alignx.records import Choice, Comment
from tests.records.rows import CHOICES, COMMENTS, DEMOGRAPHICS, DIRECTION, NEUTRAL, full_row, parse, row

NAN = math.nan
ONE_OF_THREE = "expected 0 (negative), 0.5 (neutral) or 1 (positive)"


def comment(**changes: Any) -> dict[str, Any]:
    return {"prompt": "p", "comment": "c", **changes}


def without(raw: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in raw.items() if name not in names}


def spoilt(index: int, value: object) -> list[object]:
    """A neutral direction with one value that is wrong."""
    return [*NEUTRAL[:index], value, *NEUTRAL[index + 1 :]]


# What is wrong → what the message says after the file and the row: which field, what was found, what was expected.
REFUSED: dict[str, tuple[object, str]] = {
    "a number for a row": (3, "found a number (3), expected an object with 'prompt', 'chosen' and 'rejected'"),
    "text for a row": ("p", "found text ('p'), expected an object"),
    "a list for a row": ([row()], "found a list ("),
    "null for a row": (None, "found null, expected an object"),
    "no prompt": (without(row(), "prompt"), "'prompt' is missing, expected text"),
    "no chosen": (without(row(), "chosen"), "'chosen' is missing, expected text"),
    "no rejected": (without(row(), "rejected"), "'rejected' is missing, expected text"),
    "a null prompt": (row(prompt=None), "'prompt' is null, expected text"),
    "a number for text": (row(chosen=3), "'chosen' is a number (3), expected text"),
    "NaN for text": (row(rejected=NAN), "'rejected' is a number (nan), expected text"),
    "a truth value for text": (row(prompt=True), "'prompt' is a truth value (True), expected text"),
    "a list for text": (row(prompt=["p"]), "'prompt' is a list (['p']), expected text"),
    "an object for text": (row(prompt={"a": 1}), "'prompt' is an object ({'a': 1}), expected text"),
    "bytes for text": (row(prompt=b"p"), "'prompt' is bytes (b'p'), expected text"),
    "an empty prompt": (row(prompt=""), "'prompt' is empty, expected text"),
    "a blank chosen": (row(chosen=" \n\t"), "'chosen' is empty, expected text"),
    "an empty rejected": (row(rejected=""), "'rejected' is empty, expected text"),
    "half a surrogate pair": (
        row(prompt="ab\ud83d"),
        "'prompt' holds half a surrogate pair at character 2, expected Unicode text",
    ),
    "chosen equal to rejected": (row(rejected="c"), "'chosen' equals 'rejected', expected two different responses"),
    "89 dimensions": (row(**{DIRECTION: [0.5] * 89}), f"'{DIRECTION}' has 89 values, expected 90"),
    "91 dimensions": (row(**{DIRECTION: [0.5] * 91}), f"'{DIRECTION}' has 91 values, expected 90"),
    "no dimensions": (row(**{DIRECTION: []}), f"'{DIRECTION}' has 0 values, expected 90"),
    "0.3": (row(**{DIRECTION: spoilt(7, 0.3)}), f"'{DIRECTION}' value 7 is 0.3, {ONE_OF_THREE}"),
    "2": (row(**{DIRECTION: spoilt(89, 2)}), f"'{DIRECTION}' value 89 is 2, {ONE_OF_THREE}"),
    "-1": (row(**{DIRECTION: spoilt(0, -1)}), f"'{DIRECTION}' value 0 is -1, {ONE_OF_THREE}"),
    "NaN": (row(**{DIRECTION: spoilt(1, NAN)}), f"'{DIRECTION}' value 1 is nan, {ONE_OF_THREE}"),
    "infinity": (row(**{DIRECTION: spoilt(1, math.inf)}), f"'{DIRECTION}' value 1 is inf, {ONE_OF_THREE}"),
    "true for 1": (row(**{DIRECTION: spoilt(2, True)}), f"'{DIRECTION}' value 2 is True, {ONE_OF_THREE}"),
    "text for 1": (row(**{DIRECTION: spoilt(3, "1")}), f"'{DIRECTION}' value 3 is '1', {ONE_OF_THREE}"),
    "null for 0.5": (row(**{DIRECTION: spoilt(4, None)}), f"'{DIRECTION}' value 4 is None, {ONE_OF_THREE}"),
    "a list for 0.5": (row(**{DIRECTION: spoilt(5, [0.5])}), f"'{DIRECTION}' value 5 is [0.5], {ONE_OF_THREE}"),
    "a number for a direction": (
        row(**{DIRECTION: 0.5}),
        f"'{DIRECTION}' is a number (0.5), expected a list of 90 numbers",
    ),
    "text for a direction": (row(**{DIRECTION: "0" * 90}), f"'{DIRECTION}' is text ("),
    "an object for a direction": (row(**{DIRECTION: {"0": 1}}), f"'{DIRECTION}' is an object ("),
    "an array of truth values": (
        row(**{DIRECTION: np.ones(90, dtype=bool)}),
        f"'{DIRECTION}' value 0 is True, {ONE_OF_THREE}",
    ),
    "a number for demographics": (row(**{DEMOGRAPHICS: 3}), f"'{DEMOGRAPHICS}' is a number (3), expected text"),
    "a list for a profile": (row(profile=["Young"]), "'profile' is a list (['Young']), expected text"),
    "half a pair in the profile": (row(profile="\udc00"), "'profile' holds half a surrogate pair at character 0"),
    "text for comments": (row(**{COMMENTS: "none"}), f"'{COMMENTS}' is text ('none'), expected a list of objects"),
    "an object for comments": (row(**{COMMENTS: comment()}), f"'{COMMENTS}' is an object ("),
    "a number for choices": (row(**{CHOICES: 4}), f"'{CHOICES}' is a number (4), expected a list of objects"),
    "a null item": (row(**{COMMENTS: [comment(), None]}), f"'{COMMENTS}' item 2: found null, expected an object"),
    "a text item": (row(**{CHOICES: ["a"]}), f"'{CHOICES}' item 1: found text ('a'), expected an object"),
    "an item without a comment": (
        row(**{COMMENTS: [{"prompt": "p"}]}),
        f"'{COMMENTS}' item 1: 'comment' is missing, expected text",
    ),
    "an item with an empty comment": (
        row(**{COMMENTS: [comment(comment="")]}),
        f"'{COMMENTS}' item 1: 'comment' is empty, expected text",
    ),
    "an item without a rejected": (
        row(**{CHOICES: [row(), without(row(), "rejected")]}),
        f"'{CHOICES}' item 2: 'rejected' is missing, expected text",
    ),
    "half a pair in an item": (
        row(**{COMMENTS: [comment(comment="\ud800")]}),
        f"'{COMMENTS}' item 1: 'comment' holds half a surrogate pair at character 0",
    ),
    "89 dimensions in a comment": (
        row(**{COMMENTS: [comment(**{DIRECTION: [0.5] * 89})]}),
        f"'{COMMENTS}' item 1: '{DIRECTION}' has 89 values, expected 90",
    ),
    "0.3 in a choice": (
        row(**{CHOICES: [row(**{DIRECTION: spoilt(9, 0.3)})]}),
        f"'{CHOICES}' item 1: '{DIRECTION}' value 9 is 0.3, {ONE_OF_THREE}",
    ),
    "an empty id": (row(id=""), "'id' is text (''), expected text or a whole number"),
    "a fraction for an id": (row(id=1.5), "'id' is a number (1.5), expected text or a whole number"),
    "a truth value for an id": (row(id=True), "'id' is a truth value (True), expected text or a whole number"),
    "a list for a user": (row(user=["u"]), "'user' is a list (['u']), expected text or a whole number"),
    "half a pair in the id": (row(id="\ud800"), "'id' holds half a surrogate pair at character 0"),
    "half a pair in the user": (row(user="u\ud800"), "'user' holds half a surrogate pair at character 1"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_row_is_refused_with_its_place_the_field_what_was_found_and_what_was_expected(what: str) -> None:
    raw, expected = REFUSED[what]
    with pytest.raises(DataError) as caught:
        parse(row(), raw)
    message = str(caught.value)
    assert message.startswith(f"rows.jsonl:2: {expected}")
    assert "expected" in message
    assert "\n" not in message
    assert len(message) < 250


def test_a_record_holds_what_its_row_says() -> None:
    (record,) = parse(full_row(id="r1"))
    assert (record.id, record.user, record.prompt) == ("r1", "u1", "Which kettle?")
    assert (record.chosen, record.rejected) == ("The quiet one.", "The red one.")
    assert record.direction == bytes([2, 0] + [1] * 88)  # 1 is level 2, 0 is 0, 0.5 is 1
    assert record.persona.comments == (Comment("Tea?", "Green — 東京 🙂", bytes([1] * 89 + [2])),)
    assert record.persona.choices == (Choice("Bike?", "Yes", "No", bytes([0] + [1] * 89)),)
    assert record.persona.demographics == "**This person's persona is:**\nA potter in Zürich."
    assert record.persona.profile == "Young, Male"


def test_texts_are_kept_to_the_last_space() -> None:
    (record,) = parse(row(prompt=" p\n\n", chosen="\tc ", rejected="c"))
    assert (record.prompt, record.chosen, record.rejected) == (" p\n\n", "\tc ", "c")


def test_a_direction_may_be_written_in_whole_numbers_or_fractions() -> None:
    whole, fractions = parse(
        row(**{DIRECTION: [1, 0] + [0.5] * 88}), row(**{DIRECTION: [1.0, 0.0] + [0.5] * 88}, prompt="q")
    )
    assert whole.direction == fractions.direction == bytes([2, 0] + [1] * 88)


@pytest.mark.parametrize("name", [DIRECTION, DEMOGRAPHICS, COMMENTS, CHOICES, "profile", "user", "id"])
def test_a_null_part_is_an_absent_part_since_parquet_stores_absent_as_null(name: str) -> None:
    raw = full_row(id="own")
    (null,), (absent,) = parse({**raw, name: None}), parse(without(raw, name))
    assert null == absent
    assert null != parse(raw)[0]


def test_an_empty_history_is_an_absent_history() -> None:
    assert parse(row(**{COMMENTS: [], CHOICES: [], DEMOGRAPHICS: ""})) == parse(row())


def test_items_of_a_history_may_lack_their_direction_and_may_prefer_nothing() -> None:
    # `alignx data report` counts items whose two responses are equal; only a target must prefer something.
    (record,) = parse(row(**{CHOICES: [row(rejected="c"), row(**{DIRECTION: None})]}))
    assert [choice.direction for choice in record.persona.choices] == [None, None]


@pytest.mark.parametrize("length", [0, 1, 4, 16, 40])
def test_history_lists_have_any_length(length: int) -> None:
    (record,) = parse(row(**{COMMENTS: [comment(comment=f"c{i}") for i in range(length)]}))
    assert [item.comment for item in record.persona.comments] == [f"c{i}" for i in range(length)]


def test_fields_that_mean_nothing_are_counted() -> None:
    from alignx.records import RecordParser, load_taxonomy

    parser = RecordParser(load_taxonomy())
    parser.parse(row(score=1, lang="en"), "rows.jsonl:1")
    parser.parse(full_row(score=2), "rows.jsonl:2")
    assert parser.unused_fields == {"score": 2, "lang": 1}


# ids


def test_a_record_keeps_its_own_id_and_a_whole_number_becomes_text() -> None:
    assert [record.id for record in parse(row(id="a b"), row(id=7), row(id=0))] == ["a b", "7", "0"]


def test_an_id_by_content_is_twenty_digits_of_its_digest_and_the_occurrence() -> None:
    # SHA-256 of the canonical JSON: texts, the direction's levels in hex, user, demographics, profile; then both lists.
    content = [
        ["p", "c", "r", "02" + "01" * 89, "u", "d", None],
        [["p", "c", None]],
        [["p", "c", "r", "00" + "01" * 89]],
    ]
    by_hand = hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()
    raw = row(
        **{
            DIRECTION: [1, *NEUTRAL[1:]],
            DEMOGRAPHICS: "d",
            COMMENTS: [comment()],
            CHOICES: [row(**{DIRECTION: [0, *NEUTRAL[1:]]})],
            "user": "u",
        }
    )
    first, other, second = parse(raw, row(), raw)
    assert first.digest == second.digest == by_hand
    assert (first.id, second.id) == (by_hand[:20] + "-1", by_hand[:20] + "-2")
    assert other.id == other.digest[:20] + "-1"


def test_rows_with_their_own_id_do_not_count_as_occurrences() -> None:
    own, first, second = parse(row(id="own"), row(), row())
    assert own.digest == first.digest
    assert (first.id[-2:], second.id[-2:]) == ("-1", "-2")


def test_an_id_given_twice_is_refused_with_both_places() -> None:
    with pytest.raises(DataError, match=r"^rows\.jsonl:3: 'id' 'a' was already used at rows\.jsonl:1, expected a new"):
        parse(row(id="a"), row(id="b"), row(id="a", prompt="q"))


def test_a_number_and_the_same_number_as_text_are_one_id() -> None:
    with pytest.raises(DataError, match=r"'id' '7' was already used at rows\.jsonl:1"):
        parse(row(id=7), row(id="7"))


@pytest.mark.parametrize("own_first", [False, True])
def test_an_own_id_that_another_records_content_gives_is_refused(own_first: bool) -> None:
    generated = parse(row())[0].id
    rows = [row(), row(id=generated, prompt="q")]
    with pytest.raises(DataError, match=r"^rows\.jsonl:2: .*already used at (rows\.jsonl:1|an earlier record)"):
        parse(*(reversed(rows) if own_first else rows))


def test_the_order_of_keys_changes_nothing() -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: turned(value[name]) for name in reversed(value)}
        return [turned(each) for each in value] if isinstance(value, list) else value

    assert parse(turned(full_row())) == parse(full_row())


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "prompt": lambda raw: raw.update(prompt="Which kettle? "),
    "chosen": lambda raw: raw.update(chosen="The quiet one"),
    "rejected": lambda raw: raw.update(rejected="The Red one."),
    "direction": lambda raw: raw[DIRECTION].__setitem__(89, 0),
    "no direction": lambda raw: raw.pop(DIRECTION),
    "demographics": lambda raw: raw.update({DEMOGRAPHICS: "A potter."}),
    "user": lambda raw: raw.update(user="u2"),
    "no user": lambda raw: raw.pop("user"),
    "profile": lambda raw: raw.update(profile="Young"),
    "no profile": lambda raw: raw.pop("profile"),
    "a comment's prompt": lambda raw: raw[COMMENTS][0].update(prompt="Tea"),
    "a comment": lambda raw: raw[COMMENTS][0].update(comment="Green"),
    "a comment's direction": lambda raw: raw[COMMENTS][0][DIRECTION].__setitem__(0, 0),
    "one comment more": lambda raw: raw[COMMENTS].append(comment()),
    "no comments": lambda raw: raw.pop(COMMENTS),
    "a choice's prompt": lambda raw: raw[CHOICES][0].update(prompt="Bike"),
    "a choice's chosen": lambda raw: raw[CHOICES][0].update(chosen="Maybe"),
    "a choice's rejected": lambda raw: raw[CHOICES][0].update(rejected="Never"),
    "a choice's direction": lambda raw: raw[CHOICES][0].pop(DIRECTION),
    "no choices": lambda raw: raw.pop(CHOICES),
    "chosen and rejected swapped": lambda raw: raw.update(chosen="The red one.", rejected="The quiet one."),
    "the order of a history": lambda raw: raw[CHOICES].insert(0, row()),
}


def test_every_change_to_what_a_record_says_changes_its_digest_and_id() -> None:
    rows = [full_row()]
    for change in CHANGES.values():
        raw = json.loads(json.dumps(full_row()))
        change(raw)
        rows.append(raw)
    rows.append(full_row(**{CHOICES: [*full_row()[CHOICES], row()]}))  # the other order of a history
    records = parse(*rows)
    assert len({record.digest for record in records}) == len(CHANGES) + 2
    assert all(record.id.endswith("-1") for record in records)


def test_fields_that_mean_nothing_and_the_id_are_not_part_of_the_content() -> None:
    plain, named = parse(full_row(), full_row(id="x", profile_full="Young, Male, …", score=3))
    assert plain.digest == named.digest


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(*[st.text("ab,[", min_size=1, max_size=3)] * 3), min_size=1, max_size=6))
def test_contents_have_equal_digests_exactly_when_they_are_equal(triples: list[tuple[str, str, str]]) -> None:
    kept = [triple for triple in triples if triple[1] != triple[2]]
    records = parse(*(row(prompt=p, chosen=c, rejected=r) for p, c, r in kept))
    assert len({record.digest for record in records}) == len(set(kept))
    assert len({record.id for record in records}) == len(kept)


# arrays


def as_arrays(value: Any) -> Any:
    """Nested lists as Parquet readers other than pyarrow's own give them: arrays of numbers, arrays of objects."""
    if isinstance(value, dict):
        return {name: as_arrays(each) for name, each in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        array = np.empty(len(value), dtype=object)
        array[:] = [as_arrays(each) for each in value]
        return array
    return np.array(value, dtype=np.float32) if isinstance(value, list) else value


def test_lists_that_arrive_as_numpy_arrays_give_the_same_record() -> None:
    arrays = as_arrays(full_row())
    assert isinstance(arrays[COMMENTS], np.ndarray)
    assert isinstance(arrays[COMMENTS][0][DIRECTION], np.ndarray)
    assert parse(arrays) == parse(full_row())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64"])
def test_a_direction_may_be_an_array_of_any_kind_of_number(dtype: str) -> None:
    (record,) = parse(row(**{DIRECTION: np.array([1, 0] * 45, dtype=dtype)}))
    assert record.direction == bytes([2, 0] * 45)
