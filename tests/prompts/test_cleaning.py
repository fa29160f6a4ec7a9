"""``alignx data clean``: what is named goes, everything else stays byte for byte, and all of it is counted."""

import json
from pathlib import Path
from typing import Any

import pytest

from alignx import manifest
from alignx.errors import DataError, SettingsError
from alignx.prompts.cleaning import CleanSettings, clean
from alignx.prompts.cleaning.settings import Drop
from alignx.records import Records
from alignx.settings import parse
from tests.prompts.health.planted import found_in, well, wrong
from tests.prompts.health.test_health import defective
from tests.records.rows import write_parquet
from tests.worlds import write_jsonl

CHOICES = "Pair-wise Comparative Feedback"
COMMENTS = "User-Generated Content"
TARGET = ("prompt", "chosen", "rejected")


def cleaned(folder: Path, rows: list[Any], **settings: Any) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """Clean rows: what is written, what the manifest counts, what is said."""
    data, output = write_jsonl(folder / "rows.jsonl", rows), folder / "out/clean.jsonl"
    said = clean(CleanSettings(data=str(data), output=output, **settings))
    written = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    return written, manifest.read(output).counts, said


def test_rows_keep_their_order_and_every_field_and_only_what_is_named_goes(tmp_path: Path) -> None:
    rows = [{**raw, "mood": {"today": [1, None, "fine"]}} for raw in well(6)]
    rows[4] |= {name: rows[1][name] for name in TARGET}
    rows[5][COMMENTS].append(rows[5][COMMENTS][0])
    written, counts, said = cleaned(tmp_path, rows, drop="duplicates")
    assert written == [raw for number, raw in enumerate(rows) if number != 4]
    assert counts["records_left_out"] == {"duplicates": 1}
    assert said.splitlines() == [
        f"6 rows read, 5 records written to {tmp_path}/out/clean.jsonl",
        "  records left out: duplicates 1",
    ]


def test_history_items_go_and_the_others_stay(tmp_path: Path) -> None:
    rows = well(4)
    kept = json.loads(json.dumps(rows))
    own = {name: rows[0][name] for name in TARGET}
    rows[0][CHOICES].insert(1, own)
    rows[1][COMMENTS].insert(0, {"prompt": "elsewhere", "comment": rows[1]["rejected"] + "\n"})
    rows[2][COMMENTS].append(rows[2][COMMENTS][0])
    rows[2][CHOICES].append(rows[2][CHOICES][1])
    rows[3][CHOICES].append({"prompt": "p", "chosen": "same", "rejected": "same"})
    rows[3]["profile"] = kept[3]["profile"] = "Young"
    written, counts, said = cleaned(tmp_path, rows, drop="own-target, repeated-items,equal-choices")
    assert written == kept
    assert counts["history_items_left_out"] == {"equal-choices": 1, "own-target": 2, "repeated-items": 2}
    assert counts["ready_profiles_of_more_history"] == 1
    assert "note: 1 records have a ready profile" in said


def elsewhere(folder: Path) -> Path:
    """Another folder, for another output."""
    (folder / "elsewhere").mkdir()
    return folder / "elsewhere"


def test_near_duplicates_go_and_the_first_of_each_stays(tmp_path: Path) -> None:
    rows = well(6)
    for copy in (2, 5):
        rows[copy] |= {name: rows[0][name].upper() for name in TARGET}
    rows[3] |= {name: rows[0][name] for name in TARGET}
    written, counts, _ = cleaned(tmp_path, rows, drop="near-duplicates")
    assert [raw["id"] for raw in written] == ["r0", "r1", "r3", "r4"]
    assert counts["records_left_out"] == {"near-duplicates": 2}
    written, counts, _ = cleaned(elsewhere(tmp_path), rows, drop="near-duplicates,duplicates")
    assert [raw["id"] for raw in written] == ["r0", "r1", "r4"]
    assert counts["records_left_out"] == {"duplicates": 1, "near-duplicates": 2}


def test_a_target_whose_first_record_goes_for_another_reason_is_not_lost(tmp_path: Path) -> None:
    rows = well(3)
    rows[2] |= {name: rows[0][name] for name in TARGET}
    rows[0] |= {COMMENTS: [], CHOICES: []}
    written, counts, _ = cleaned(tmp_path, rows, drop="duplicates,no-persona")
    assert [raw["id"] for raw in written] == ["r1", "r2"]
    assert counts["records_left_out"] == {"no-persona": 1}


def test_who_loses_the_last_history_item_has_no_persona(tmp_path: Path) -> None:
    rows = well(3)
    rows[1] |= {COMMENTS: [], CHOICES: [{name: rows[1][name] for name in TARGET}]}
    written, counts, _ = cleaned(tmp_path, rows, drop="own-target,no-persona")
    assert [raw["id"] for raw in written] == ["r0", "r2"]
    assert counts["records_left_out"] == {"no-persona": 1}


def test_texts_lose_contacts_invisible_characters_and_outer_space(tmp_path: Path) -> None:
    rows = well(2)
    rows[0] |= {"prompt": "Ask \u202ea@mail.org ", "chosen": "\n212-664-7665 \u200b", "note": "b@mail.org"}
    rows[0][CHOICES][0]["chosen"] = " Or c@mail.org\n"
    written, counts, _ = cleaned(tmp_path, rows, drop="invisible,outer-space", redact="phone,email")
    assert written[0]["prompt"] == "Ask [e-mail] "
    assert written[0]["chosen"] == "[phone]"
    assert written[0][CHOICES][0]["chosen"] == "Or [e-mail]"
    assert written[0]["note"] == "b@mail.org"
    assert written[1] == rows[1]
    assert counts["taken_out_of_texts"] == {"email": 2, "invisible": 2, "outer-space": 4, "phone": 1}


def test_a_record_that_cleaning_makes_invalid_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = well(2)
    rows[0] |= {"chosen": "a@mail.org", "rejected": "b@mail.org"}
    written, counts, said = cleaned(tmp_path, rows, redact="email")
    assert [raw["id"] for raw in written] == ["r1"]
    assert counts["records_left_out"] == {"no record any more": 1}
    assert "no record any more 1" in said


def test_invalid_rows_stop_it_unless_they_are_named(tmp_path: Path) -> None:
    rows: list[Any] = well(4)
    rows[1]["rejected"] = rows[1]["chosen"]
    rows[2]["prompt"] = 3
    with pytest.raises(DataError, match=r"jsonl:2: .*--drop equal-responses or refused leaves such rows out"):
        cleaned(tmp_path, rows, drop="duplicates")
    with pytest.raises(DataError, match=r"jsonl:3: .*--drop refused leaves such rows out"):
        cleaned(tmp_path, rows, drop="equal-responses")
    written, counts, said = cleaned(tmp_path, rows, drop="equal-responses", skip_invalid=1)
    assert [raw["id"] for raw in written] == ["r0", "r3"]
    assert counts["rows_refused"] == {"chosen equals rejected": 1, "skipped": 1}
    assert "invalid rows skipped: 1, such as rows.jsonl:3: 'prompt'" in said
    written, counts, _ = cleaned(elsewhere(tmp_path), rows, drop="refused")
    assert counts["rows_refused"] == {"a value that is no text": 1, "chosen equals rejected": 1, "skipped": 0}
    assert len(written) == 2


def test_what_the_report_finds_is_gone_after_its_commands(tmp_path: Path) -> None:
    names = set(Drop) - {Drop.NO_PERSONA}
    written, _, _ = cleaned(tmp_path, defective(), drop=",".join(sorted(names)), redact="email,phone")
    left = wrong(found_in(tmp_path, written))
    about_what_is_meant = {"directions_against_history", "empty_profiles", "control_token_look_alikes", "languages"}
    assert set(left) <= about_what_is_meant | {"long_texts", "format_asymmetries"}
    assert len(written) == 43  # of 48, without two copies, an equal pair, one that lacks a post and one that says "no"


def test_a_dry_run_says_the_same_and_writes_nothing(tmp_path: Path) -> None:
    rows = well(3)
    rows[2] |= {name: rows[0][name] for name in TARGET}
    data, output = write_jsonl(tmp_path / "rows.jsonl", rows), tmp_path / "new/clean.jsonl"
    settings = CleanSettings(data=str(data), output=output, drop="duplicates")
    dry = clean(settings.model_copy(update={"dry_run": True}))
    assert list(tmp_path.iterdir()) == [data]
    assert clean(settings) == dry.replace("would be written", "written")
    assert sorted(path.name for path in output.parent.iterdir()) == ["clean.jsonl", "clean.jsonl.manifest.json"]


def test_an_earlier_output_is_replaced_and_anything_else_is_not(tmp_path: Path) -> None:
    data, output = write_jsonl(tmp_path / "rows.jsonl", well(3)), tmp_path / "clean.jsonl"
    settings = CleanSettings(data=str(data), output=output, redact="email")
    clean(settings)
    first = output.read_bytes()
    clean(settings)
    assert output.read_bytes() == first
    assert manifest.is_intact(output, manifest.read(output))
    manifest.path_of(output).unlink()
    for wrong_output, message in (
        (output, "holds something else, expected a new file or an earlier output"),
        (data, "is what is read"),
        (tmp_path / "clean.json", "expected a .jsonl file"),
    ):
        with pytest.raises(SettingsError, match=message):
            clean(settings.model_copy(update={"output": wrong_output}))
    assert output.read_bytes() == first


def test_an_output_without_its_own_manifest_never_passes_for_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, output = write_jsonl(tmp_path / "rows.jsonl", well(2)), tmp_path / "clean.jsonl"
    settings = CleanSettings(data=str(data), output=output, redact="email")
    clean(settings)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(manifest, "write", die)
    with pytest.raises(KeyboardInterrupt):
        clean(settings)
    assert manifest.read_if_present(output) is None


def test_a_clean_that_leaves_nothing_keeps_the_earlier_output(tmp_path: Path) -> None:
    data, output = write_jsonl(tmp_path / "rows.jsonl", well(2)), tmp_path / "clean.jsonl"
    clean(CleanSettings(data=str(data), output=output, drop="no-persona"))
    before = output.read_bytes()
    write_jsonl(data, [{**raw, COMMENTS: [], CHOICES: []} for raw in well(2)])
    with pytest.raises(DataError, match=r"no record is left of 2: no-persona 2"):
        clean(CleanSettings(data=str(data), output=output, drop="no-persona"))
    assert output.read_bytes() == before
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("other", [{"drop": "duplicates"}, {"drop": "no-persona", "redact": "email"}, {"data": True}])
def test_an_output_that_was_cleaned_otherwise_is_refused_and_left_as_it_is(
    other: dict[str, Any], tmp_path: Path
) -> None:
    data, output = write_jsonl(tmp_path / "rows.jsonl", well(2)), tmp_path / "clean.jsonl"
    clean(CleanSettings(data=str(data), output=output, drop="no-persona"))
    before = output.read_bytes()
    elsewhere = {"data": str(write_jsonl(tmp_path / "others.jsonl", well(3)))} if "data" in other else other
    with pytest.raises(SettingsError, match=r"clean.jsonl was made otherwise, which differs in settings\."):
        clean(CleanSettings(**{"data": str(data), "output": output, "drop": "no-persona", **elsewhere}))
    assert output.read_bytes() == before


def test_parquet_becomes_json_lines_that_read_the_same(tmp_path: Path) -> None:
    data, output = write_parquet(tmp_path / "rows.parquet", well(5)), tmp_path / "clean.jsonl"
    clean(CleanSettings(data=str(data), output=output, drop="duplicates"))
    assert list(Records(str(output))) == list(Records(str(data)))


def test_names_that_mean_nothing_and_nothing_to_do_are_refused() -> None:
    flags = ["--data", "x.jsonl", "--output", "y.jsonl"]
    with pytest.raises(SettingsError, match=r"--drop: .*of refused, equal-responses, .*'duplicate' is none"):
        parse(CleanSettings, [*flags, "--drop", "duplicate"], "alignx data clean")
    with pytest.raises(SettingsError, match=r"--redact: .*of email, phone; 'name' is none"):
        parse(CleanSettings, [*flags, "--redact", "email,name"], "alignx data clean")
    with pytest.raises(SettingsError, match=r"--drop or --redact is required"):
        parse(CleanSettings, flags, "alignx data clean")
