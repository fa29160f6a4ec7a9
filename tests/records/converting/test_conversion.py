"""``alignx data convert`` as a whole: golden files, who is tested on, what is counted, and where it is written."""

import json
import random
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignx import manifest
from alignx.cli import main
from alignx.errors import DataError, SettingsError
from alignx.manifest import Manifest
from alignx.records import Records
from alignx.records.converting import gathering
from alignx.records.converting.conversion import convert
from alignx.records.converting.settings import ConvertSettings
from alignx.settings import validate
from tests.records.converting.own import HEADER, Converted, choice, comment, converted, csv_text, stored
from tests.records.rows import CHOICES, COMMENTS

HERE = Path(__file__).parent
GOLDEN = HERE.parents[1] / "golden" / "converted"
COLUMNS = {"user": "who", "prompt": "post", "chosen": "preferred", "rejected": "other", "comment": "wrote"} | {
    "demographics": "about"
}


def run(*argv: str | Path) -> None:
    main(["data", "convert", *map(str, argv)])


def refused(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> tuple[int, str]:
    """Exit code and the one line of a refusal."""
    with pytest.raises(SystemExit) as caught:
        run(*argv)
    error = capsys.readouterr().err
    assert error.startswith("alignx data convert: error: ")
    assert error.count("\n") == 1
    return int(caught.value.code or 0), error.removeprefix("alignx data convert: error: ").strip()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# the whole command


def test_the_fixture_gives_the_golden_files_byte_for_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ("--data", HERE / "choices.csv", "--comments", HERE / "comments.jsonl")
    columns = [part for role, name in COLUMNS.items() for part in (f"--{role}-column", name)]
    run(*files, *columns, "--test-users", "0.25", "--history", "2", "--output", tmp_path / "own")
    for name in ("train.jsonl", "test.jsonl", "rejected.jsonl"):
        assert (tmp_path / "own" / name).read_bytes() == (GOLDEN / name).read_bytes()
    said = capsys.readouterr().out.replace(str(tmp_path), "out")
    assert said == (GOLDEN / "said.txt").read_text(encoding="utf-8")


def test_the_commands_it_names_next_work_on_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(
        "--data",
        stored(tmp_path / "rows.csv", [choice(), comment()]),
        "--test-users",
        "0",
        "--output",
        tmp_path / "own",
    )
    said = capsys.readouterr().out
    (preview,) = re.findall(r"^  alignx (data preview .*)$", said, re.MULTILINE)
    main(preview.split())
    assert "Lovely." in capsys.readouterr().out
    main(["data", "validate", "--data", str(tmp_path / "own"), "--split", "train"])
    assert "1 valid records, 0 invalid rows" in capsys.readouterr().out
    assert f"--data {tmp_path / 'own'} --split train" in said


def test_the_manifest_is_the_commit_mark_and_says_what_was_done(tmp_path: Path) -> None:
    path = stored(tmp_path / "rows.csv", [choice(), comment(), comment(user="ben")])
    folder = converted(path, **{"from": "csv"}).folder
    found = manifest.read(folder)
    assert manifest.is_intact(folder, found)
    assert found.kind == "converted"
    assert found.files.keys() == {"train.jsonl", "test.jsonl", "rejected.jsonl"}
    assert found.data is not None
    assert (found.data.source, found.data.records, found.data.skipped) == (str(path), 3, 1)
    assert found.data.digest == manifest.digest(manifest.file_digest(path))
    assert found.settings["from"] == "csv"
    assert found.counts == {
        "rows": 3,
        "records": {"train": 1, "test": 0},
        "users": {"train": 1, "test": 0},
        "comments": 1,
        "rejected": {"comment of a user without a record": 1},
        "history_items_left_out": 0,
        "without_history": 0,
        "turned_round": 0,
        "test_pairs_seen_in_training": 0,
    }


# properties

SHORT = st.sampled_from(["a", "b", "a ", "", "c"])
ROW = st.fixed_dictionaries(
    {"user": st.sampled_from(["u", "v", "w", " u", ""]), "prompt": st.sampled_from(["p", "q", "p\n"])},
    optional={"chosen": SHORT, "rejected": SHORT, "comment": SHORT},
)
COLUMN_ROW = dict.fromkeys(HEADER, "x") | {"user": "always", "rejected": "y"}
"""So that every column occurs and a record comes out whatever is drawn."""


def plain(text: str) -> str:
    return " ".join(text.split())


def converted_anew(rows: Sequence[dict[str, str]], suffix: str, **changes: Any) -> Converted:
    with tempfile.TemporaryDirectory() as folder:
        return converted(stored(Path(folder) / f"rows{suffix}", rows), **changes)


@settings(deadline=None, max_examples=150)
@given(
    rows=st.lists(ROW, max_size=24),
    suffix=st.sampled_from([".csv", ".jsonl"]),
    history=st.integers(1, 3),
    least=st.integers(0, 2),
    share=st.sampled_from([0, 0.4, 1]),
)
def test_rows_in_are_records_and_comments_and_rejections_and_no_history_tells(
    rows: list[dict[str, str]], suffix: str, history: int, least: int, share: float
) -> None:
    rows = (
        [COLUMN_ROW, {**COLUMN_ROW, "prompt": "y"}, {**COLUMN_ROW, "prompt": "z"}]
        + [{**COLUMN_ROW, "user": "other", "prompt": prompt} for prompt in "xyz"]
        + rows
    )
    result = converted_anew(rows, suffix, history=history, min_history=least, test_users=share)
    numbers = re.match(r".*: (\d+) rows in = (\d+) records \+ (\d+) comments? \+ (\d+) rejected\n", result.said)
    assert numbers is not None
    rows_in, records, comments, rejected = map(int, numbers.groups())
    assert (rows_in, records, rejected) == (len(rows), len(result.records), len(result.rejected))
    assert rows_in == records + comments + rejected

    assert not {record["user"] for record in result.train} & {record["user"] for record in result.test}
    assert len({record["id"] for record in result.records}) == records
    said_by = {(plain(row["user"]), row["prompt"], row.get("comment")) for row in rows}
    for record in result.records:
        answers = {plain(record["chosen"]), plain(record["rejected"])}
        assert len(answers) == 2
        items = [*record[COMMENTS], *record[CHOICES]]
        assert len(items) >= min(least, 2 * history)
        assert max(len(record[COMMENTS]), len(record[CHOICES])) <= history
        for item in items:
            texts = {plain(text) for name, text in item.items() if name != "prompt"}
            assert plain(item["prompt"]) != plain(record["prompt"]) or not texts & answers
        for item in record[COMMENTS]:
            assert (record["user"], item["prompt"], item["comment"]) in said_by


def many(users: int, rows: int = 3) -> list[dict[str, str]]:
    return [choice(f"u{user}", f"post {row} of {user}") for row in range(rows) for user in range(users)]


def users_of(records: list[dict[str, Any]]) -> set[str]:
    return {record["user"] for record in records}


def test_the_same_rows_give_the_same_bytes_and_another_seed_other_test_users(tmp_path: Path) -> None:
    path = stored(tmp_path / "rows.csv", many(40))
    first, again, other = (
        converted(path, tmp_path / name, test_users=0.2, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert contents(first.folder) == contents(again.folder)
    assert users_of(first.test) != users_of(other.test)
    assert len(users_of(first.test)) == len(users_of(other.test)) == 8


def test_who_is_tested_on_does_not_depend_on_the_order_of_the_rows(tmp_path: Path) -> None:
    rows = many(20)
    first = converted(stored(tmp_path / "rows.csv", rows), tmp_path / "a", test_users=0.3)
    random.Random(0).shuffle(rows)
    shuffled = converted(stored(tmp_path / "rows.csv", rows), tmp_path / "b", test_users=0.3)
    assert users_of(shuffled.test) == users_of(first.test)
    assert {record["id"] for record in shuffled.train} == {record["id"] for record in first.train}


@pytest.mark.parametrize(
    ("share", "users", "tested"),
    [(0, 5, 0), (0.001, 5, 1), (0.1, 5, 1), (0.5, 5, 2), (0.5, 7, 4), (0.99, 5, 4), (1, 5, 5), (1, 1, 1), (0, 1, 0)],
)
def test_a_share_of_users_is_tested_on_at_least_one_and_not_all(
    tmp_path: Path, share: float, users: int, tested: int
) -> None:
    result = converted(stored(tmp_path / "rows.csv", many(users)), test_users=share)
    assert len(users_of(result.test)) == tested  # of 5 and 0.5 the even number: 2.5 rounds to 2, 3.5 to 4
    assert len(users_of(result.records)) == users


def test_one_user_cannot_be_on_both_sides(tmp_path: Path) -> None:
    path = stored(tmp_path / "rows.csv", [*many(1), choice("ben")])  # ben has too little history to count
    with pytest.raises(DataError, match="one user with records, 'u0', expected at least two to keep one for testing; "):
        converted(path, test_users=0.1)
    assert not (tmp_path / "own").exists()


def test_test_records_about_pairs_that_training_users_chose_between_are_counted(tmp_path: Path) -> None:
    rows = [choice("u0", "x", "a", "b"), choice("u1", "x ", "b", "a\n"), *many(2)]
    result = converted(stored(tmp_path / "rows.csv", rows), test_users=0.5)
    assert len(result.test) == 4
    assert "note: 1 of 4 test records ask about a pair that a training user chose between too" in result.said
    apart = converted(stored(tmp_path / "rows.csv", many(2)), tmp_path / "apart", test_users=0.5)
    assert "training user" not in apart.said


def test_long_work_shows_a_bar_and_short_work_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    path = stored(tmp_path / "rows.csv", many(3))
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    converted(path, tmp_path / "short")
    assert capfd.readouterr().err == ""
    for module in ("gathering", "choosing"):
        monkeypatch.setattr(f"alignx.records.converting.{module}.SHOW_PROGRESS", 9)
    assert gathering.SHOW_PROGRESS == 9
    converted(path, tmp_path / "long")
    shown = capfd.readouterr().err
    assert "reading" in shown
    assert "histories" in shown


# refusals


def test_nothing_comes_out_where_every_row_is_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = stored(tmp_path / "rows.csv", [choice(), choice("ben"), choice("")])
    code, error = refused(capsys, "--data", path, "--output", tmp_path / "own")
    assert code == 3
    assert error == (
        f"{path}: none of 3 rows became a record: 2 too little history (rows.csv:2: its user 'ana' has 0 other usable "
        "history items, expected at least 1; bring more of this user's rows, or lower --min-history); 1 no user "
        "(rows.csv:4: 'user' is empty, expected text)"
    )
    assert not (tmp_path / "own").exists()


def test_more_rejected_rows_than_allowed_write_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = stored(tmp_path / "rows.csv", [choice(), comment(), choice(""), comment(""), comment(user="ben")])
    argv = ("--data", path, "--test-users", "0", "--output", tmp_path / "own", "--max-rejected")
    code, error = refused(capsys, *argv, "2")
    assert code == 3
    assert error == (
        f"{path}: 3 of 5 rows are rejected, --max-rejected allows 2: 2 no user (rows.csv:4: 'user' is empty, expected "
        "text); 1 comment of a user without a record (rows.csv:6: no choice of its user 'ben' became a record, "
        "expected one to tell it about)"
    )
    assert not (tmp_path / "own").exists()
    run(*argv, "3")
    assert "3 rejected" in capsys.readouterr().out


REFUSED = {
    "--test-users 1.5": "--test-users: got '1.5', expected less than or equal to 1",
    "--test-users=-0.1": "--test-users: got '-0.1', expected greater than or equal to 0",
    "--history 0": "--history: got '0', expected greater than 0",
    "--min-history=-1": "--min-history: got '-1', expected greater than or equal to 0",
    "--max-rejected=-1": "--max-rejected: got '-1', expected greater than or equal to 0",
    "--delimiter ,;": "--delimiter: got ',;', expected one character that is no quote or line end, or tab",
    '--delimiter "': "--delimiter: got '\"', expected one character that is no quote or line end, or tab",
    "--from xlsx": "--from: got 'xlsx', expected 'csv' or 'jsonl'",
    "--user-column prompt": "--user-column and --prompt-column both name 'prompt', expected a column each",
    "--id-column user": "--user-column and --id-column both name 'user', expected a column each",
    "--chosen-column=": "--chosen-column: got '', expected String should have at least 1 character",
    "--form csv": "unknown setting '--form'; did you mean '--from'?",
}


@pytest.mark.parametrize("flags", REFUSED)
def test_impossible_settings_are_refused(flags: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = stored(tmp_path / "rows.csv", many(3))
    code, error = refused(capsys, "--data", path, "--output", tmp_path / "own", *flags.split(" "))
    assert (code, error) == (2, REFUSED[flags])
    assert not (tmp_path / "own").exists()


def test_rows_are_required(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys)[1].startswith("--data is required: Choices, ")


def test_settings_can_be_given_by_name_from_python() -> None:
    given = validate(ConvertSettings, {"data": "rows.txt", "from": "csv", "id_column": "key"})
    assert given.form == "csv"
    assert given.columns == {role: role for role in HEADER} | {"id": "key"}
    with pytest.raises(SettingsError, match="unknown setting 'form'"):
        validate(ConvertSettings, {"data": "rows.txt", "form": "csv"})


# the folder


@pytest.mark.parametrize("what", ["a folder", "a file", "another output"])
def test_an_output_that_holds_something_else_is_refused_and_stays(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "output"
    kept = output if what == "a file" else output / "train.jsonl"
    stored(kept, "years of work")
    if what == "another output":
        manifest.write(output, Manifest(kind="world"))
    code, error = refused(capsys, "--data", stored(tmp_path / "rows.csv", many(3)), "--output", output)
    assert code == 2
    assert error == (
        f"--output: {output} holds something else, expected a new or empty folder or an earlier conversion"
    )
    assert kept.read_text() == "years of work"


def test_the_records_of_an_earlier_conversion_are_not_read_from_under_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = converted(stored(tmp_path / "rows.csv", many(3))).folder
    before = contents(folder)
    code, error = refused(capsys, "--data", folder / "train.jsonl", "--output", folder)
    assert (code, error) == (
        2,
        f"--data: {folder / 'train.jsonl'} lies in the folder that --output fills, expected one outside it",
    )
    assert contents(folder) == before
    elsewhere = converted(folder / "train.jsonl", tmp_path / "again", id_column="id")
    assert elsewhere.train == converted(tmp_path / "rows.csv").train


def test_the_same_conversion_again_does_nothing(tmp_path: Path) -> None:
    path = stored(tmp_path / "rows.csv", many(3))
    converted(path)
    before = contents(tmp_path / "own")
    said = convert(ConvertSettings(data=path, output=tmp_path / "own", test_users=0))
    assert said == f"{tmp_path / 'own'}: these rows are converted already, 9 records; nothing to do"
    (tmp_path / "own" / "test.jsonl").write_text("damaged")
    convert(ConvertSettings(data=path, output=tmp_path / "own", test_users=0))
    assert contents(tmp_path / "own") == before


@pytest.mark.parametrize(
    ("rows", "others", "said"), [(2, {}, r"data\.digest"), (3, {"seed": 1}, r"settings\.seed \(0 against 1\)")]
)
def test_an_earlier_conversion_is_never_written_over(
    rows: int, others: dict[str, Any], said: str, tmp_path: Path
) -> None:
    before = contents(converted(stored(tmp_path / "rows.csv", many(3))).folder)
    path = stored(tmp_path / "rows.csv", many(rows))
    with pytest.raises(DataError, match=rf"own: holds an earlier conversion, which differs in {said}"):
        convert(ConvertSettings(data=path, output=tmp_path / "own", test_users=0, **others))
    assert contents(tmp_path / "own") == before
    assert {path.name for path in tmp_path.iterdir()} == {"own", "rows.csv"}


def test_where_one_user_is_left_it_is_said_what_became_of_the_other_rows(tmp_path: Path) -> None:
    path = stored(tmp_path / "rows.csv", [*many(1), choice("")])
    with pytest.raises(DataError, match=r"one user with records, .*; 1 rows were rejected: 1 no user \("):
        convert(ConvertSettings(data=path, output=tmp_path / "own"))


def test_an_interrupted_conversion_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    path = stored(tmp_path / "rows.csv", many(3))
    with monkeypatch.context() as patch:
        patch.setattr("alignx.records.parsing.RecordParser.parse", interrupt)
        with pytest.raises(KeyboardInterrupt):
            converted(path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"rows.csv"}
    assert len(converted(path).records) == 9


# what the records are for


def test_records_are_read_with_their_users_and_are_clustered_by_them(tmp_path: Path) -> None:
    result = converted(stored(tmp_path / "rows.csv", csv_text(many(6))), test_users=0.5)
    for split, lines in (("train", result.train), ("test", result.test)):
        records = list(Records(str(result.folder), split=split))
        assert [(record.id, record.user, record.prompt) for record in records] == [
            (line["id"], line["user"], line["prompt"]) for line in lines
        ]
        assert Counter(record.cluster for record in records) == {f"user:{line['user']}": 3 for line in lines}
        assert all(len(record.persona.choices) == 2 for record in records)


def test_every_line_of_rejected_rows_is_json_even_where_a_text_is_none(tmp_path: Path) -> None:
    rows = [choice(), comment(), choice("é\ud83d"), {**choice("Zoë"), "prompt": float("nan")}]
    result = converted(stored(tmp_path / "rows.jsonl", rows))
    lines = (result.folder / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["row"]["user"] for line in lines] == ["é\ud83d", "Zoë"]
    assert "\\u00e9\\ud83d" in lines[0]  # what UTF-8 cannot hold is escaped, and only on that line
    assert "Zoë" in lines[1]


def test_one_user_and_one_post_in_two_unicode_forms_are_one(tmp_path: Path) -> None:
    """A table of two exports, one of which takes letters and their accents apart."""
    composed, apart = "Zo\u00eb", "Zoe\u0308"
    rows = [
        {"user": composed, "prompt": "Caf\u00e9?", "chosen": "yes", "rejected": "no", "comment": ""},
        {"user": apart, "prompt": "Cafe\u0301?", "chosen": "no", "rejected": "yes", "comment": ""},
        {"user": apart, "prompt": "Tea?", "chosen": "green", "rejected": "black", "comment": ""},
    ]
    found = converted(stored(tmp_path / "rows.csv", rows))
    assert {record["user"] for record in found.records} == {composed}
    for record in found.records:
        told = [choice["prompt"] for choice in record[CHOICES] if choice["prompt"].startswith("Caf")]
        assert told == ([] if record["prompt"].startswith("Caf") else ["Caf\u00e9?", "Cafe\u0301?"])
