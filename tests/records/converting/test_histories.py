"""What a record's history shows of its user's other rows, and what it must not."""

from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from alignx.records.converting.rejection import Reason
from tests.records.converting.own import HEADER, Converted, choice, comment, converted, csv_text, stored
from tests.records.rows import CHOICES, COMMENTS, DEMOGRAPHICS


def of(result: Converted, prompt: str) -> dict[str, Any]:
    """The record about one post."""
    (found,) = (record for record in result.records if record["prompt"] == prompt)
    return found


def test_a_history_is_the_users_other_rows_older_and_newer_in_the_files_order(tmp_path: Path) -> None:
    rows = [
        comment(text="first"),
        choice(prompt="1?"),
        choice(user="ben", prompt="2?"),
        choice(prompt="3?"),
        comment(user="ben", text="his"),
        comment(text="last"),
    ]
    record = of(converted(stored(tmp_path / "rows.csv", rows)), "1?")
    assert record[COMMENTS] == [{"prompt": "Rain?", "comment": "first"}, {"prompt": "Rain?", "comment": "last"}]
    assert record[CHOICES] == [{"prompt": "3?", "chosen": "Green.", "rejected": "Black."}]


def test_comments_of_a_second_file_come_after_those_of_the_first(tmp_path: Path) -> None:
    second = stored(tmp_path / "comments.jsonl", [comment(text="second")])
    result = converted(stored(tmp_path / "rows.csv", [choice(), comment(text="first")]), comments=second)
    assert [item["comment"] for item in result.records[0][COMMENTS]] == ["first", "second"]


TELLING = {
    "the same pair turned round": choice(chosen="Black.", rejected="Green."),
    "the same but for white space": choice(prompt="Tea? ", chosen="Green.\n"),
    "the chosen response, preferred to another": choice(rejected="White."),
    "the chosen response, less liked than another": choice(chosen="White.", rejected="Green."),
    "the rejected response, in another pair": choice(chosen="White.", rejected="Black."),
    "a comment that repeats the chosen response": comment(prompt="Tea?", text="Green."),
    "a comment that repeats the rejected response": comment(prompt=" Tea?", text=" Black. "),
}


@pytest.mark.parametrize("what", TELLING)
def test_no_row_that_shows_a_response_of_the_target_under_its_post_is_in_the_history(tmp_path: Path, what: str) -> None:
    rows = [choice(), TELLING[what], comment()]
    result = converted(stored(tmp_path / "rows.jsonl", rows))
    record = result.records[0]
    assert (record["prompt"], record["chosen"]) == ("Tea?", "Green.")
    assert (record[COMMENTS], record[CHOICES]) == ([{"prompt": "Rain?", "comment": "Lovely."}], [])
    assert "left out, since they show a text of their record under the same post" in result.said


SILENT = {
    "other responses under the same post": choice(chosen="White.", rejected="Red."),
    "the same responses under another post": choice(prompt="Coffee?"),
    "a comment of other words under the same post": comment(prompt="Tea?", text="Green, please."),
    "the chosen response as a comment elsewhere": comment(prompt="Coffee?", text="Green."),
}


@pytest.mark.parametrize("what", SILENT)
def test_a_row_that_shows_no_response_of_the_target_under_its_post_is_in_the_history(tmp_path: Path, what: str) -> None:
    other = SILENT[what]
    result = converted(stored(tmp_path / "rows.jsonl", [choice(), other]))
    shown = [*result.records[0][COMMENTS], *result.records[0][CHOICES]]
    assert shown == [{name: text for name, text in other.items() if name != "user"}]
    assert "left out" not in result.said


def test_a_comment_that_came_with_a_choice_is_history_of_the_others_and_not_of_its_own(tmp_path: Path) -> None:
    rows = [
        {**choice(), "comment": "Green it is."},
        choice(prompt="Bike?"),
        comment(prompt="Tea?", text="Green it  is."),
    ]
    result = converted(stored(tmp_path / "rows.jsonl", rows))
    assert not result.rejected
    # the third row says, but for white space, what came with the first choice: it would give that one away
    assert of(result, "Tea?")[COMMENTS] == []
    assert [item["comment"] for item in of(result, "Bike?")[COMMENTS]] == ["Green it is.", "Green it  is."]
    assert result.said.startswith(f"{result.folder}: 3 rows in = 2 records + 1 comment + 0 rejected\n")


def test_a_comment_that_came_with_two_choices_is_shown_once(tmp_path: Path) -> None:
    rows = [{**choice(chosen=text), "comment": "Why not."} for text in ("Green.", "White.")] + [choice(prompt="Bike?")]
    record = of(converted(stored(tmp_path / "rows.jsonl", rows)), "Bike?")
    assert record[COMMENTS] == [{"prompt": "Tea?", "comment": "Why not."}]


def test_a_comment_that_came_with_an_earlier_choice_is_a_repetition(tmp_path: Path) -> None:
    twice = [{**choice(chosen=text), "comment": "Mm."} for text in ("Green.", "White.")]
    result = converted(
        stored(tmp_path / "rows.jsonl", [*twice, choice(prompt="Bike?"), comment(prompt="Tea?", text="Mm.")])
    )
    assert result.reasons == [Reason.REPEATED.value]
    assert result.rejected[0]["problem"].endswith(" as at rows.jsonl:1, expected it once")


def test_only_the_file_of_comments_needs_the_column_that_is_named_for_them(tmp_path: Path) -> None:
    choices = stored(tmp_path / "rows.csv", csv_text([choice()], HEADER[:-1]))
    comments = stored(tmp_path / "comments.jsonl", [{"user": "ana", "prompt": "Rain?", "said": "Lovely."}])
    record = converted(choices, comments=comments, comment_column="said").records[0]
    assert record[COMMENTS] == [{"prompt": "Rain?", "comment": "Lovely."}]


# how much of it


def test_the_newest_of_each_kind_stay_and_what_no_record_shows_is_rejected(tmp_path: Path) -> None:
    rows = [comment(text=f"c{number}") for number in range(5)] + [choice(prompt=f"p{number}") for number in range(4)]
    result = converted(stored(tmp_path / "rows.csv", rows), history=2)
    assert [[item["comment"] for item in record[COMMENTS]] for record in result.records] == [["c3", "c4"]] * 4
    assert [[item["prompt"] for item in record[CHOICES]] for record in result.records] == [
        ["p2", "p3"],
        ["p2", "p3"],
        ["p1", "p3"],
        ["p1", "p2"],
    ]
    assert result.reasons == [Reason.OLDER_COMMENT.value] * 3
    assert result.rejected[0]["problem"] == (
        "rows.csv:2: its user 'ana' has 4 newer comments and a history shows 2; raise --history"
    )


def test_an_item_that_would_tell_leaves_its_place_to_an_older_one(tmp_path: Path) -> None:
    rows = [comment(text="old"), comment(prompt="Tea?", text="Green."), choice(), choice(prompt="Bike?")]
    result = converted(stored(tmp_path / "rows.csv", rows), history=1)
    assert of(result, "Tea?")[COMMENTS] == [{"prompt": "Rain?", "comment": "old"}]
    assert of(result, "Bike?")[COMMENTS] == [{"prompt": "Tea?", "comment": "Green."}]
    assert not result.rejected


def test_a_choice_with_too_little_history_is_rejected_and_still_history_of_others(tmp_path: Path) -> None:
    rows = [choice(), choice(rejected="White."), choice(prompt="Bike?")]
    result = converted(stored(tmp_path / "rows.csv", rows), min_history=2)
    assert [record["prompt"] for record in result.records] == ["Bike?"]
    assert len(result.records[0][CHOICES]) == 2
    assert [line["problem"] for line in result.rejected] == [
        f"rows.csv:{line}: its user 'ana' has 1 other usable history items (without 1 that would give the answer "
        "away), expected at least 2; bring more of this user's rows, or lower --min-history"
        for line in (2, 3)
    ]


def test_items_beyond_those_shown_count_as_history_there_is(tmp_path: Path) -> None:
    rows = [choice(prompt=f"p{number}") for number in range(5)]
    assert len(converted(stored(tmp_path / "rows.csv", rows), history=1, min_history=4).records) == 5


def test_choices_of_users_with_nothing_else_are_kept_if_that_is_asked_for(tmp_path: Path) -> None:
    result = converted(stored(tmp_path / "rows.csv", [choice()]), min_history=0)
    assert (result.records[0][COMMENTS], result.records[0][CHOICES]) == ([], [])
    assert "note: 1 record without any history" in result.said


def test_a_comment_of_somebody_without_a_record_is_rejected(tmp_path: Path) -> None:
    rows = [choice(), comment(), comment(user="ben")]
    result = converted(stored(tmp_path / "rows.csv", rows))
    assert [line["problem"] for line in result.rejected] == [
        "rows.csv:4: no choice of its user 'ben' became a record, expected one to tell it about"
    ]
    assert result.reasons == [Reason.NO_RECORD.value]


def test_a_comment_that_tells_every_record_of_its_user_is_rejected(tmp_path: Path) -> None:
    rows = [choice(), comment(prompt="Tea?", text="Black."), comment()]
    result = converted(stored(tmp_path / "rows.csv", rows))
    assert result.reasons == [Reason.TELLING_COMMENT.value]
    assert result.rejected[0]["problem"].startswith("rows.csv:3: it shows a response of every record of user 'ana' ")


def test_choices_that_contradict_each_other_are_both_records_and_that_is_told(tmp_path: Path) -> None:
    rows = [choice(), choice(chosen="Black.", rejected=" Green."), choice(prompt="Bike?")]
    result = converted(stored(tmp_path / "rows.csv", rows))
    assert len(result.records) == 3
    assert "note: 2 records contradict another of the same user: the same pair the other way round" in result.said
    calm = converted(stored(tmp_path / "calm.csv", [rows[0], choice(chosen="Green. "), rows[2]]), tmp_path / "calm")
    assert "contradict another" not in calm.said  # the same way round twice, but for white space


# descriptions


def test_a_record_has_its_rows_description_else_the_last_of_its_user(tmp_path: Path) -> None:
    rows = [
        {**choice(prompt="1?"), "about": "Young."},
        {**choice(prompt="2?"), "about": " "},
        {**comment(), "about": "**This person's persona is:**\nOld."},
        choice(user="ben", prompt="3?"),
        comment(user="ben"),
    ]
    result = converted(stored(tmp_path / "rows.jsonl", rows), demographics_column="about")
    assert [record.get(DEMOGRAPHICS) for record in result.records] == [
        "**This person's persona is:**\nYoung.",
        "**This person's persona is:**\nOld.",
        None,
    ]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_history_depends_on_nothing_of_other_users(tmp_path: Path, order: tuple[int, ...]) -> None:
    own = [choice(), comment(), choice(prompt="Bike?")]
    others = [[choice(user=name), comment(user=name, text=name)] for name in ("ben", "cy", "dee")]
    alone = converted(stored(tmp_path / "alone.csv", own), tmp_path / "alone").records
    mixed = [own[0], *others[order[0]], own[1], *others[order[1]], own[2], *others[order[2]]]
    among = converted(stored(tmp_path / "mixed.csv", mixed), tmp_path / "mixed").records
    assert [record for record in among if record["user"] == "ana"] == alone
