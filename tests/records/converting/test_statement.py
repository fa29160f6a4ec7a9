"""Rows that cannot be used: each is counted under its reason and told with its place, column and content."""

from pathlib import Path
from typing import Any

import pytest

from alignx.records.converting.rejection import Reason
from tests.records.converting.own import choice, comment, converted, csv_text, stored

GOOD = [choice(), choice(prompt="Bike?"), comment()]
"""Three rows before the one that is not right, so that it stands in line 4."""

BAD: dict[str, tuple[Any, Reason, str]] = {
    "no object": (["ana", "Tea?"], Reason.UNREADABLE, 'found ["ana", "Tea?"], expected an object'),
    "null": (None, Reason.UNREADABLE, "found null, expected an object"),
    "no user": ({**choice(), "user": None}, Reason.NO_USER, "'user' is empty, expected text"),
    "a user of white space": (choice(user=" \t"), Reason.NO_USER, "'user' is empty, expected text"),
    "a user that is a fraction": (
        {**choice(), "user": 7.5},
        Reason.WRONG_TYPE,
        "'user' is 7.5, expected text or a whole number",
    ),
    "a user that is a truth value": (
        {**choice(), "user": True},
        Reason.WRONG_TYPE,
        "'user' is true, expected text or a whole number",
    ),
    "no prompt": (
        {"user": "ana", "chosen": "a", "rejected": "b"},
        Reason.NO_PROMPT,
        "'prompt' is empty, expected text",
    ),
    "a blank prompt": (choice(prompt=" \n"), Reason.NO_PROMPT, "'prompt' is empty, expected text"),
    "a number as prompt": ({**choice(), "prompt": 7}, Reason.WRONG_TYPE, "'prompt' is 7, expected text"),
    "a list as response": (
        {**choice(), "chosen": ["Green." * 9]},
        Reason.WRONG_TYPE,
        "'chosen' is [\"Green.Green.Green.Green.Green.Green…, expected text",
    ),
    "an object as response": ({**choice(), "rejected": {}}, Reason.WRONG_TYPE, "'rejected' is {}, expected text"),
    "a number as comment": ({**comment(), "comment": 0}, Reason.WRONG_TYPE, "'comment' is 0, expected text"),
    "chosen alone": (
        choice(rejected=""),
        Reason.HALF_A_CHOICE,
        "'chosen' has text and 'rejected' is empty, expected both or neither",
    ),
    "rejected alone": (
        choice(chosen="  "),
        Reason.HALF_A_CHOICE,
        "'rejected' has text and 'chosen' is empty, expected both or neither",
    ),
    "half a choice with a comment": (
        {**comment(), "chosen": "Green."},
        Reason.HALF_A_CHOICE,
        "'chosen' has text and 'rejected' is empty, expected both or neither",
    ),
    "nothing but a post": (
        {"user": "ana", "prompt": "Tea?"},
        Reason.NOTHING_SAID,
        "nothing in 'chosen', 'rejected', 'comment', expected a choice or a comment",
    ),
    "equal responses": (
        choice(rejected="Green."),
        Reason.NO_DIFFERENCE,
        "'chosen' equals 'rejected', expected two different responses",
    ),
    "responses equal but for white space": (
        choice(chosen="Green  tea.", rejected="Green\ntea. "),
        Reason.NO_DIFFERENCE,
        "'chosen' equals 'rejected' but for white space, expected two different responses",
    ),
    "half a surrogate pair": (
        choice(chosen="Tea \ud83d"),
        Reason.BROKEN_TEXT,
        "'chosen' holds half a surrogate pair at character 4, expected Unicode text",
    ),
    "half a surrogate pair in a name": (
        choice(user="\ud83d"),
        Reason.BROKEN_TEXT,
        "'user' holds half a surrogate pair at character 0, expected Unicode text",
    ),
    "a NUL": (choice(prompt="Te\0a?"), Reason.BROKEN_TEXT, "'prompt' holds a NUL at character 2, expected text"),
    "a repeated choice": (
        choice(),
        Reason.REPEATED,
        "the same choice of user 'ana' as at rows.jsonl:1, expected it once",
    ),
    "a repeated comment": (
        comment(),
        Reason.REPEATED,
        "the same comment of user 'ana' as at rows.jsonl:3, expected it once",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_row_that_is_not_right_is_rejected_with_its_reason_and_the_others_are_used(tmp_path: Path, what: str) -> None:
    row, reason, problem = BAD[what]
    result = converted(stored(tmp_path / "rows.jsonl", [*GOOD, row, choice(prompt="Boat?")]))
    assert result.rejected == [
        {"where": "rows.jsonl:4", "reason": reason.value, "problem": f"rows.jsonl:4: {problem}", "row": row}
    ]
    assert f"\n    1 {reason.value}: rows.jsonl:4: {problem}\n" in result.said
    assert [record["prompt"] for record in result.records] == ["Tea?", "Bike?", "Boat?"]


def test_a_line_that_is_no_json_is_rejected_and_the_others_are_used(tmp_path: Path) -> None:
    whole = stored(tmp_path / "rows.jsonl", GOOD).read_text(encoding="utf-8")
    result = converted(stored(tmp_path / "rows.jsonl", whole + '{"user": ana}\n'))
    assert (len(result.records), result.reasons) == (2, [Reason.UNREADABLE.value])
    assert result.rejected[0]["problem"].startswith("rows.jsonl:4: not valid JSON at column 10 ")
    assert result.rejected[0]["row"] is None


@pytest.mark.parametrize(
    ("cells", "problem"), [("ana", "1 cell"), ("ana,Tea?,a,b", "4 cells"), ("a,b,c,d,e,f", "6 cells")]
)
def test_a_row_of_csv_with_another_number_of_cells_is_rejected(tmp_path: Path, cells: str, problem: str) -> None:
    result = converted(stored(tmp_path / "rows.csv", csv_text(GOOD) + cells + "\n"))
    assert result.rejected == [
        {
            "where": "rows.csv:5",
            "reason": Reason.UNREADABLE.value,
            "problem": f"rows.csv:5: {problem}, expected 5 as in the header; quote texts that hold the delimiter",
            "row": cells.split(","),
        }
    ]
    assert len(result.records) == 2


def test_problems_name_the_columns_of_the_file(tmp_path: Path) -> None:
    rows = [{"who": user, "post": "Tea?", "a": "Green.", "b": b} for user, b in (("ana", ""), ("ana", "Black."))]
    columns = {"user_column": "who", "prompt_column": "post", "chosen_column": "a", "rejected_column": "b"}
    result = converted(stored(tmp_path / "rows.jsonl", rows), **columns, min_history=0)
    assert result.rejected[0]["problem"] == ("rows.jsonl:1: 'a' has text and 'b' is empty, expected both or neither")


def test_texts_keep_their_white_space_and_names_lose_it(tmp_path: Path) -> None:
    rows = [choice(user=" ana", prompt=" Tea? \n"), choice(user="ana\t", prompt="Bike?")]
    first, second = converted(stored(tmp_path / "rows.jsonl", rows)).records
    assert (first["user"], second["user"], first["prompt"]) == ("ana", "ana", " Tea? \n")


def test_a_user_may_be_a_whole_number(tmp_path: Path) -> None:
    rows: list[Any] = [{**choice(), "user": 7}, choice(user="7", prompt="Bike?")]
    assert {record["user"] for record in converted(stored(tmp_path / "rows.jsonl", rows)).records} == {"7"}


def test_equal_rows_of_different_users_are_no_repetition(tmp_path: Path) -> None:
    rows = [*GOOD, *({**row, "user": "ben"} for row in GOOD)]
    result = converted(stored(tmp_path / "rows.jsonl", rows))
    assert (len(result.records), result.rejected) == (4, [])


# ids


def test_ids_are_those_given(tmp_path: Path) -> None:
    rows: list[Any] = [{**choice(), "key": 12}, {**choice(prompt="Bike?"), "key": " b "}, comment()]
    result = converted(stored(tmp_path / "rows.jsonl", rows), id_column="key")
    assert [record["id"] for record in result.records] == ["12", "b"]
    assert not result.rejected  # a comment needs none


def test_a_choice_without_an_id_or_with_one_that_is_taken_is_rejected(tmp_path: Path) -> None:
    rows: list[Any] = [
        {**choice(), "key": "a"},
        {**choice(prompt="Bike?"), "key": "b"},
        {**choice(prompt="Boat?"), "key": "a"},
        choice(prompt="Rain?"),
    ]
    result = converted(stored(tmp_path / "rows.jsonl", rows), id_column="key")
    assert [line["problem"] for line in result.rejected] == [
        "rows.jsonl:3: id 'a' was already used at rows.jsonl:1, expected a new one",
        "rows.jsonl:4: 'key' is empty, expected an id for the record",
    ]
    assert result.reasons == [Reason.ID_TAKEN.value, Reason.NO_ID.value]


def test_ids_made_from_a_row_stay_when_other_rows_and_settings_change(tmp_path: Path) -> None:
    few = converted(stored(tmp_path / "few.csv", GOOD), tmp_path / "a").records
    more = [comment(text="Wet."), choice(user="ben"), *reversed(GOOD)]
    many = converted(stored(tmp_path / "many.csv", more), tmp_path / "b", history=1, min_history=0, seed=3).records
    ids = {record["prompt"]: record["id"] for record in few}
    assert ids == {record["prompt"]: record["id"] for record in many if record["user"] == "ana"}
    assert len({record["id"] for record in many}) == 3
