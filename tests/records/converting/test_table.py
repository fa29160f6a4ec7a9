"""Files of rows: what is read from CSV and JSON, and what stops a conversion."""

import csv
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignx.errors import DataError
from alignx.records.converting.table import read_table
from tests.records.converting.own import HEADER, choice, comment, converted, csv_text, stored
from tests.records.rows import write_json, write_parquet

ROWS = [choice(), choice(prompt="Bike?", chosen="Yes,\nalways.", rejected='"No".'), comment()]


def refusal(path: Path, **changes: Any) -> str:
    """The one line with which a file is refused; nothing has been written."""
    with pytest.raises(DataError) as caught:
        converted(path, **changes)
    assert not (path.parent / "own").exists()
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{path.parent}/", "")


# what is read


def test_every_kind_of_file_gives_the_same_records(tmp_path: Path) -> None:
    files = [
        stored(tmp_path / "rows.csv", ROWS),
        stored(tmp_path / "rows.jsonl", ROWS),
        write_json(tmp_path / "rows.json", ROWS),
        write_parquet(tmp_path / "rows.parquet", ROWS),
    ]
    first, *others = (converted(path, tmp_path / path.suffix).records for path in files)
    assert [record["chosen"] for record in first] == ["Green.", "Yes,\nalways."]
    assert others == [first] * 3


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: "\n" + text.replace("\nana", "\n\nana") + "\n\n",
        lambda text: text.removesuffix("\n"),
        lambda text: csv_text(ROWS, quoting=csv.QUOTE_ALL),
        lambda text: csv_text(ROWS, HEADER[::-1]),
    ],
    ids=["byte-order mark", "CRLF", "CR", "blank lines", "no last line end", "all quoted", "other order"],
)
def test_how_a_csv_file_is_written_changes_no_record(tmp_path: Path, change: Any) -> None:
    plain = converted(stored(tmp_path / "plain.csv", ROWS), tmp_path / "a")
    changed = converted(stored(tmp_path / "changed.csv", change(csv_text(ROWS))), tmp_path / "b")
    assert changed.records == plain.records
    assert not changed.rejected


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12)


@settings(deadline=None, max_examples=100)
@given(cells=st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=5), delimiter=st.sampled_from(",;\t|"))
def test_cells_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, ...]], delimiter: str
) -> None:
    rows = [dict(zip("abc", row, strict=True)) for row in cells]
    text = csv_text(rows, "abc", delimiter=delimiter, quoting=csv.QUOTE_ALL)
    table = read_table(stored(tmp_path_factory.mktemp("csv") / "rows.csv", text), None, delimiter)
    assert [row.content for row in table.rows] == rows


def test_a_row_stands_where_it_begins(tmp_path: Path) -> None:
    table = read_table(stored(tmp_path / "rows.csv", [*ROWS[1:], choice(prompt="\n\n?"), choice()]), None, ",")
    # line 1 is the header; "Yes,\nalways." takes lines 2 and 3, the comment line 4, "\n\n?" lines 5 to 7
    assert [row.where for row in table.rows] == ["rows.csv:2", "rows.csv:4", "rows.csv:5", "rows.csv:8"]


def test_a_text_longer_than_the_reader_of_csv_allows_by_default_is_read_whole(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    long = "word " * (limit // 5 + 1) + "."
    records = converted(stored(tmp_path / "rows.csv", [*ROWS, choice(chosen=long)])).records
    assert records[-1]["chosen"] == long
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(("given_as", "character"), [("tab", "\t"), ("\\t", "\t"), (";", ";")])
def test_cells_may_be_separated_by_something_else(tmp_path: Path, given_as: str, character: str) -> None:
    path = stored(tmp_path / "rows.csv", csv_text(ROWS, delimiter=character))
    assert len(converted(path, delimiter=given_as).records) == 2


@pytest.mark.parametrize(("name", "form"), [("rows.txt", "csv"), ("rows.ndjson", "jsonl"), ("rows.CSV", None)])
def test_a_file_of_another_name_is_read_as_is_said(tmp_path: Path, name: str, form: str | None) -> None:
    text = "".join(stored(tmp_path / f"rows.{form or 'csv'}", ROWS).read_text(encoding="utf-8"))
    assert len(converted(stored(tmp_path / name, text), **{"from": form}).records) == 2


def test_columns_without_a_name_are_numbered_and_not_used(tmp_path: Path) -> None:
    text = csv_text(ROWS).replace("\n", ",,\n").replace("Yes,,,\n", "Yes,\n")
    result = converted(stored(tmp_path / "rows.csv", text))
    assert len(result.records) == 2
    assert "note: columns that no setting names were not used: 'column 6', 'column 7'" in result.said


# what stops

PLAIN = csv_text(ROWS)
STOPS = {
    "no such column": (
        PLAIN.replace("prompt", "promt"),
        "rows.csv: no column 'prompt'; did you mean 'promt'? name the column with --prompt-column; found: 'user', "
        "'promt', 'chosen', 'rejected', 'comment'",
    ),
    "no column like it": (
        PLAIN.replace("user", "x"),
        "rows.csv: no column 'user'; name the column with --user-column; found: 'x', 'prompt', 'chosen', 'rejected', "
        "'comment'",
    ),
    "a column with a space": (
        PLAIN.replace(",chosen", ", chosen"),
        "rows.csv: no column 'chosen'; did you mean ' chosen'? name the column with --chosen-column; found: 'user', "
        "'prompt', ' chosen', 'rejected', 'comment'",
    ),
    "two columns of one name": (
        PLAIN.replace("comment", "prompt"),
        "rows.csv:1: columns 2, 5 are all called 'prompt', expected a name of its own for each",
    ),
    "another delimiter": (
        csv_text(ROWS, delimiter=";"),
        "rows.csv:1: one column, 'user;prompt;chosen;rejected;comment', expected several; try --delimiter ';'",
    ),
    "tabs": (
        csv_text(ROWS, delimiter="\t"),
        "rows.csv:1: one column, 'user\\tprompt\\tchosen\\trejected\\tcomment', expected several; try --delimiter "
        "'tab'",
    ),
    "one column": (
        "user\nana\n",
        "rows.csv: no column 'prompt'; name the column with --prompt-column; no column 'chosen'; name the column with "
        "--chosen-column; no column 'rejected'; name the column with --rejected-column; found: 'user'",
    ),
    "a quote that is never closed": (
        PLAIN + 'ana,Bike?,"Yes,No,\nana,Boat?,Yes,No,\n',
        "rows.csv:6: no CSV in the row that begins here (its quote is never closed), expected a quote at both ends of "
        'a quoted cell and "" for a quote inside it',
    ),
    "a quote that a later row closes": (
        PLAIN + 'ana,Bike?,"Yes,No,\nana,Boat?,"Yes",No,\n',
        "rows.csv:6: no CSV in the row that begins here (',' expected after '\"'), expected a quote at both ends of a "
        'quoted cell and "" for a quote inside it',
    ),
    "Latin-1": (
        PLAIN.replace("Tea?", "Thé?").encode("latin-1"),
        f"rows.csv: not UTF-8 near byte {PLAIN.index('Tea?') + 2}; save the file as UTF-8",
    ),
    "UTF-16": (PLAIN.encode("utf-16"), "rows.csv: not UTF-8 near byte 0; save the file as UTF-8"),
    "UTF-16 without a mark": (
        PLAIN.encode("utf-16-le"),
        "rows.csv:1: NUL characters among the column names; save the file as UTF-8",
    ),
    "nothing": ("", "rows.csv: the file is empty, expected a row of column names and rows below it"),
    "blank lines": ("\n\n", "rows.csv: the file is empty, expected a row of column names and rows below it"),
    "a header alone": (PLAIN.split("\n")[0], "rows.csv: no rows, expected at least one"),
    "comments alone": (
        csv_text([comment()], ("user", "prompt", "comment")),
        "rows.csv: no columns 'chosen' and 'rejected', and comments alone make no record; give the choices with --data "
        "and this file with --comments, or name the columns",
    ),
    "half the columns of a choice": (
        "user,prompt,chosen,comment\nana,Tea?,Green.,\n",
        "rows.csv: no column 'rejected'; name the column with --rejected-column; found: 'user', 'prompt', 'chosen', "
        "'comment'",
    ),
}


@pytest.mark.parametrize("what", STOPS)
def test_a_file_or_column_that_is_not_right_stops_the_conversion(tmp_path: Path, what: str) -> None:
    content, expected = STOPS[what]
    assert refusal(stored(tmp_path / "rows.csv", content)) == expected


def test_columns_of_json_are_those_of_all_its_rows(tmp_path: Path) -> None:
    rows = [{"user": "ana", "promt": "Tea?"}, {"chosen": "a"}, {"rejected": "b"}]
    assert refusal(stored(tmp_path / "rows.jsonl", rows)) == (
        "rows.jsonl: no column 'prompt'; did you mean 'promt'? name the column with --prompt-column; found: 'user', "
        "'promt', 'chosen', 'rejected'"
    )


def test_many_columns_are_not_all_listed(tmp_path: Path) -> None:
    text = ",".join(f"c{number}" for number in range(30)) + "\n" + "," * 29 + "\n"
    assert refusal(stored(tmp_path / "rows.csv", text)).endswith("'c10', 'c11', …")


@pytest.mark.parametrize("role", ["comment", "demographics", "id"])
def test_an_optional_column_that_is_asked_for_must_be_there(tmp_path: Path, role: str) -> None:
    path = stored(tmp_path / "rows.csv", ROWS)
    message = refusal(path, **{f"{role}_column": "commnt"})
    assert message.startswith("rows.csv: no column 'commnt'; did you mean 'comment'? ")
    assert f"name the column with --{role}-column; " in message


def test_a_file_of_comments_must_have_a_column_of_them(tmp_path: Path) -> None:
    path = stored(tmp_path / "rows.csv", ROWS)
    other = stored(tmp_path / "other.csv", csv_text([choice()], HEADER[:-1]))
    assert refusal(path, comments=other).startswith("other.csv: no column 'comment'; ")


def test_json_of_which_no_line_can_be_read_is_refused_with_the_first(tmp_path: Path) -> None:
    path = stored(tmp_path / "rows.jsonl", "user: ana\nuser: ben\n")
    assert refusal(path) == (
        "rows.jsonl: none of its 2 rows can be read; the first: rows.jsonl:1: not valid JSON at column 1 (Expecting "
        "value), expected one object a line"
    )


@pytest.mark.parametrize(
    ("content", "form", "expected"),
    [
        (b'{"user": "\xff"}', None, "not UTF-8 near byte 10; save the file as UTF-8"),
        (b"", None, "the file is empty, expected records"),
        (b"\n", None, "no rows, expected at least one"),
        (b'{"user": "ana"}', "csv", "rows.jsonl: no rows, expected at least one"),
    ],
)
def test_json_lines_that_are_none_are_refused(tmp_path: Path, content: bytes, form: str | None, expected: str) -> None:
    assert refusal(stored(tmp_path / "rows.jsonl", content), **{"from": form}).endswith(expected)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "rows.csv") == "rows.csv: no such file"
    (tmp_path / "folder").mkdir()
    assert refusal(tmp_path / "folder") == "folder: is a folder, expected a file"
    there = stored(tmp_path / "there.csv", ROWS)
    assert refusal(there, comments=tmp_path / "absent.csv") == "absent.csv: no such file"


def test_a_spreadsheet_may_say_how_its_cells_are_separated(tmp_path: Path) -> None:
    plain = read_table(stored(tmp_path / "plain.csv", csv_text(ROWS)), None, ",")
    said = read_table(stored(tmp_path / "said.csv", "sep=;\r\n" + csv_text(ROWS, delimiter=";")), None, ",")
    tabs = read_table(stored(tmp_path / "rows.tsv", csv_text(ROWS, delimiter="\t")), None, ",")
    assert [row.content for row in said.rows] == [row.content for row in plain.rows]
    assert [row.content for row in tabs.rows] == [row.content for row in plain.rows]
    assert said.rows[0].where == "said.csv:3"


def test_another_kind_of_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    assert refusal(stored(tmp_path / "rows.xlsx", b"PK")) == (
        "rows.xlsx: unknown kind of file '.xlsx', expected .csv, .tsv, .parquet, .json, .jsonl; say what it is with "
        "--from csv or --from jsonl, or export it as CSV"
    )
