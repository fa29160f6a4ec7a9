"""The health sections of ``alignx data report``: each planted defect is found and counted, and a clean set is clean."""

import random
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from alignx.cli import COMMANDS, _load
from alignx.errors import DataError
from alignx.prompts.reporting import ReportSettings, report
from alignx.prompts.reporting.health.refusals import AllRows, kind_of
from alignx.records.world.synthesize import SynthesizeSettings, synthesize
from alignx.settings import parse
from tests.prompts.health.planted import found_in, ids, text, well, wrong
from tests.worlds import write_jsonl

CHOICES = "Pair-wise Comparative Feedback"
COMMENTS = "User-Generated Content"
DIRECTION = "Preference Direction"


def test_a_clean_set_has_nothing_to_find_and_says_so(tmp_path: Path) -> None:
    assert wrong(found_in(tmp_path, well(120))) == {}
    printed = report(ReportSettings(data=str(tmp_path / "rows.jsonl")))
    assert "Nothing was found: all 15 checks are well." in printed
    assert "alignx data clean" not in printed


def test_a_synthetic_world_is_clean(tmp_path: Path) -> None:
    synthesize(SynthesizeSettings(output=tmp_path / "world", train=400, test=60))
    printed = report(ReportSettings(data=str(tmp_path / "world/train.jsonl")))
    assert "Nothing was found: all 17 checks are well." in printed


def test_what_histories_give_away_is_told_apart(tmp_path: Path) -> None:
    rows = well(30)
    rows[3][CHOICES].append({name: rows[3][name] for name in ("prompt", "chosen", "rejected")})
    rows[5][COMMENTS][0]["comment"] = f" {rows[5]['chosen']}\n"
    rows[6][CHOICES][1]["chosen"] = rows[6]["rejected"]
    rows[8][COMMENTS].append(rows[8][COMMENTS][0])
    rows[9][CHOICES].append(rows[9][CHOICES][1])
    rows[11][CHOICES][0]["rejected"] = rows[11][CHOICES][0]["chosen"]
    found = found_in(tmp_path, rows)
    assert wrong(found) == {
        "history_contains_own_target": 1,
        "history_contains_own_text": 2,
        "history_repeats_an_item": 2,
        "history_choice_between_equals": 1,
    }
    assert ids(found["history_contains_own_target"]) == ["r3"]
    assert ids(found["history_contains_own_text"]) == ["r5", "r6"]
    assert ids(found["history_repeats_an_item"]) == ["r8", "r9"]
    assert found["history_repeats_an_item"]["share"] == 2 / 30


def test_repeated_targets_are_counted_and_named_with_the_first(tmp_path: Path) -> None:
    rows = well(20)
    for copy in (7, 12, 19):
        rows[copy] |= {name: rows[2][name] for name in ("prompt", "chosen", "rejected")}
    rows[15] |= {name: rows[4][name].upper() + " ?!" for name in ("prompt", "chosen", "rejected")}
    found = found_in(tmp_path, rows)
    assert wrong(found) == {"duplicate_targets": 3, "near_duplicate_targets": 1}
    assert found["duplicate_targets"]["numbers"] == {"distinct": 17, "repeated": 1, "most_repeated": 4}
    assert ids(found["duplicate_targets"]) == ["r7", "r12", "r19"]
    assert found["duplicate_targets"]["examples"][0]["what"].startswith("as r2: The ")
    assert found["near_duplicate_targets"]["examples"][0] | {"what": ""} == {"id": "r15", "what": ""}
    assert found["near_duplicate_targets"]["examples"][0]["what"].startswith("1.00 as r4: THE ")
    assert found["near_duplicate_targets"]["numbers"]["same_words"] == 1


def test_invalid_rows_are_counted_by_kind_and_do_not_stop_the_report(tmp_path: Path) -> None:
    rows: list[Any] = well(6)
    rows[1]["rejected"] = rows[1]["chosen"]
    rows[2]["chosen"] = " "
    rows[4]["id"] = "r3"
    rows.append(7)
    found = found_in(tmp_path, rows)
    refused = found["refused_rows"]
    assert (refused["n"], refused["whole"], refused["verdict"]) == (4, 7, "fix")
    assert refused["numbers"]["kinds"] == {
        "a value that is no object": 1,
        "an empty text": 1,
        "an id that was already used": 1,
        "chosen equals rejected": 1,
    }
    assert ids(refused) == ["rows.jsonl:2", "rows.jsonl:3", "rows.jsonl:5", "rows.jsonl:7"]
    assert found["duplicate_targets"]["whole"] == 3


def test_a_source_without_any_valid_row_is_an_error_that_says_what_is_wrong(tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "rows.jsonl", [{"prompt": "p", "chosen": "c", "rejected": "c"}] * 3)
    with pytest.raises(DataError, match=r"none of 3 rows is a valid record: 3 with chosen equals rejected; the first"):
        report(ReportSettings(data=str(data)))


def test_rows_that_are_read_twice_are_refused_once(tmp_path: Path) -> None:
    rows = AllRows(str(write_jsonl(tmp_path / "rows.jsonl", [*well(2), {}])))
    for _ in range(2):
        assert len(list(rows)) == 2
        assert (rows.refused.n, dict(rows.kinds), rows.identity.skipped) == (1, {"a missing text": 1}, 1)


def test_words_of_a_row_do_not_decide_what_is_wrong_with_it() -> None:
    assert kind_of("x:1: found text ('is empty, expected text'), expected an object") == "a value that is no object"


def test_control_token_look_alikes_are_counted_by_field(tmp_path: Path, tiny_model: Path) -> None:
    rows = well(10)
    rows[0]["prompt"] += " <|eot_id|>"
    rows[1][COMMENTS][0]["comment"] += " [INST] now"
    rows[1][COMMENTS][1]["comment"] += " [INST] then <s>"
    rows[2]["chosen"] += " a < b [1] <b> |im_start|"
    found = found_in(tmp_path, rows, model=str(tiny_model))["control_token_look_alikes"]
    assert (found["n"], found["numbers"]["texts"]) == (2, 3)
    assert found["numbers"]["by_field"] == {"post: <|eot_id|>": 1, "comment: [INST]": 2, "comment: <s>": 1}


def test_contacts_are_counted_and_never_shown(tmp_path: Path) -> None:
    rows = well(8)
    rows[0]["chosen"] = "Write to jane.doe@mail-server.org, or call +44 20 7946 0958. " + rows[0]["chosen"]
    rows[3][CHOICES][0]["rejected"] += " (212) 664-7665"
    rows[5] |= {name: rows[0][name] for name in ("prompt", "chosen", "rejected")}
    rows[5]["prompt"] = rows[0]["prompt"] = "jane.doe@mail-server.org asks: " + rows[0]["prompt"]
    found = found_in(tmp_path, rows)
    assert wrong(found) == {"duplicate_targets": 1, "emails": 2, "phones": 3}
    assert found["phones"]["numbers"]["by_field"] == {"chosen": 2, "rejected of a choice": 1}
    assert found["emails"]["examples"][0]["what"] == "j•••@•••.org in post"
    for name in ("report.json", "report.md", "report.html"):
        written = (tmp_path / name).read_text(encoding="utf-8")
        assert "doe@" not in written
        assert "0958" not in written
        assert "7665" not in written


def test_odd_texts_are_counted(tmp_path: Path) -> None:
    rows = well(8)
    rows[1]["rejected"] = "no"
    rows[2][COMMENTS][0]["prompt"] *= 200
    rows[3]["prompt"] += "\u202eevil"
    rows[4]["chosen"] += " zero\u200bwidth"
    rows[5]["chosen"] += " \U0001f468\u200d\U0001f469\u200d\U0001f467 — “fine”"
    found = found_in(tmp_path, rows)
    odd = ("short_responses", "long_texts", "invisible_characters")
    assert {key: ids(found[key]) for key in odd} == dict(zip(odd, (["r1"], ["r2"], ["r3", "r4"]), strict=True))


def directed(rng: random.Random, history: int, *, opposite: bool) -> dict[str, Any]:
    """A row whose history items are all at one pole of three dimensions, and whose target is at the other, or there."""
    raw = well(1, seed=rng.randrange(10**9))[0]
    poles = [rng.choice((0, 1)) for _ in range(3)]
    raw[DIRECTION] = [1 - pole if opposite else pole for pole in poles] + [0.5] * 87
    items = [*raw[COMMENTS], *raw[CHOICES]]
    for item in items[:history]:
        item[DIRECTION] = poles + [0.5] * 87
    return raw


def test_directions_that_contradict_the_history_are_set_against_chance(tmp_path: Path) -> None:
    rng = random.Random(5)
    rows = [
        directed(rng, 4, opposite=number % 10 == 0) | {"id": f"d{number}", "user": f"u{number}"} for number in range(60)
    ]
    agreeing = found_in(tmp_path, rows)["directions_against_history"]
    assert (agreeing["n"], agreeing["verdict"]) == (6, "ok")
    assert agreeing["numbers"]["opposite_dimensions"] == 18
    assert agreeing["numbers"]["share_in_a_record"]["mean"] == pytest.approx(0.1)
    assert 0.4 < agreeing["numbers"]["chance"] < 0.6
    for raw in rows:
        raw[DIRECTION] = [1 - level for level in raw[DIRECTION]]
    against = found_in(tmp_path, rows)["directions_against_history"]
    assert (against["n"], against["verdict"]) == (54, "fix")


def test_dimensions_on_which_only_one_speaks_are_left_out(tmp_path: Path) -> None:
    raw = directed(random.Random(1), 4, opposite=False)
    raw[DIRECTION][10:20] = [1] * 10
    for item in (*raw[COMMENTS], *raw[CHOICES]):
        item[DIRECTION] = [*item[DIRECTION][:30], *[0] * 5, *item[DIRECTION][35:]]
    found = found_in(tmp_path, [raw])["directions_against_history"]
    assert (found["numbers"]["dimensions"], found["numbers"]["opposite_dimensions"]) == (3, 0)


def test_empty_profiles_depend_on_the_thresholds(tmp_path: Path) -> None:
    rows = well(10)
    for raw in rows[:4]:  # of four items one is positive: a mean of 0.625; and one of 20 that are: 0.525
        for number, item in enumerate((*raw[COMMENTS], *raw[CHOICES])):
            item[DIRECTION] = [1 if number == 0 else 0.5] + [0.5] * 89
    rows[9][COMMENTS] = [{**rows[9][COMMENTS][0], "prompt": f"post {n}", DIRECTION: [0.5] * 90} for n in range(20)]
    rows[9][COMMENTS][0][DIRECTION] = [0, *[0.5] * 89]
    found = found_in(tmp_path, rows)["empty_profiles"]
    assert (found["n"], found["whole"], ids(found)) == (1, 5, ["r9"])
    # At 0.51 / 0.49 a mean of 0.475 is negative; at 0.53 / 0.47 it is not.
    assert found["numbers"]["empty"][0] == [1, 1, 1, 1, 0]


def test_languages_are_guessed_and_a_second_one_is_seen(tmp_path: Path) -> None:
    rows = well(20)
    rows[3]["chosen"] = "Der Hund und die Katze sind nicht im Haus, aber wir gehen mit dem Auto auf den Berg."
    rows[4]["chosen"] = "Je ne sais pas pourquoi le chat est dans la maison avec les enfants et vous."
    rows[5]["prompt"] = "東京の天気はどうですか。散歩に行きましょう。"
    rows[6]["prompt"] = "Почему небо синее, и кто это решил?"
    rows[7]["prompt"] = "Ça va? Déjà!"
    counts = found_in(tmp_path, rows)["languages"]["numbers"]["counts"]
    assert counts == {"English": 255, "German": 1, "French": 1, "Japanese": 1, "Cyrillic": 1, "unknown": 1}


def defective() -> list[Any]:
    """Rows with every kind of defect."""
    rng = random.Random(1)
    rows: list[Any] = [directed(rng, 4, opposite=True) | {"id": f"x{n}", "user": f"x{n}"} for n in range(40)]
    rows += [directed(rng, 2, opposite=False) | {"id": f"y{n}", "user": f"y{n}"} for n in range(8)]
    for raw in rows[40:]:
        for item in (*raw[COMMENTS], *raw[CHOICES]):
            item[DIRECTION] = [0.5] * 90
    for raw in rows:
        raw["chosen"] += " (yes)\n"
    for copy, change in ((1, ""), (2, " …")):
        rows[copy] |= {name: rows[0][name] + change for name in ("prompt", "chosen", "rejected")}
    rows[3][CHOICES].append({name: rows[3][name] for name in ("prompt", "chosen", "rejected")})
    rows[4][COMMENTS][0]["comment"] = rows[4]["chosen"]
    rows[5][COMMENTS].append(rows[5][COMMENTS][0])
    rows[6][CHOICES][0]["rejected"] = rows[6][CHOICES][0]["chosen"]
    rows[7]["prompt"] += " <|eot_id|> joe@mail-server.org +4915112345678 \u200b" + "long " * 5000
    rows[8]["rejected"] = "no"
    rows[9][COMMENTS][0]["comment"] = "Der Hund und die Katze sind nicht im Haus."
    rows[9][COMMENTS][1]["comment"] = "Der Hund und die Katze sind nicht da, aber ich auch nicht."
    rows[10]["rejected"] = rows[10]["chosen"]
    rows[11]["prompt"] = ""
    for number in range(20, 32):
        rows[number][CHOICES][1]["chosen"] = (
            f"Der Hund und die Katze {number} sind nicht im Haus mit dem Ball. {text(rng, 2)[:0]}"
        )
    return rows


def test_every_check_finds_its_defect_and_names_commands_that_exist(tmp_path: Path) -> None:
    found = found_in(tmp_path, defective())
    well_ones = [key for key, finding in found.items() if finding["verdict"] == "ok"]
    assert well_ones == []
    lines = {line for finding in found.values() for line in finding["commands"]}
    assert len(lines) >= 15
    for line in lines:
        words = shlex.split(
            re.sub(r"\bN$", "1", line.replace("--row N", "--row 1").replace("--skip-invalid N", "--skip-invalid 1"))
        )
        verb = next(verb for verb in COMMANDS if tuple(words[1 : 1 + len(verb)]) == verb)
        arguments = words[1 + len(verb) :]
        assert parse(_load(COMMANDS[verb].settings), arguments, "alignx") is not None, line


def test_a_source_of_a_split_is_named_with_its_split_in_commands(tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    folder.mkdir()
    rows = well(5)
    rows[1][COMMENTS].append(rows[1][COMMENTS][0])
    write_jsonl(folder / "train.jsonl", rows)
    printed = report(ReportSettings(data=str(folder), split="train"))
    (command,) = re.findall(r"(?m)^alignx data clean (?:.*\\\n)*.*$", printed)
    words = ["--data", str(folder), "--split", "train", "--output", "out/clean.jsonl", "--drop", "repeated-items"]
    assert shlex.split(command.replace("\\\n", "")) == ["alignx", "data", "clean", *words]
    assert len(command.splitlines()) > 1
