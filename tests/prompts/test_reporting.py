"""``alignx data report``: the facts by hand, the same ones in print, JSON, Markdown and HTML, and its refusals."""

import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alignx import manifest
from alignx.errors import DataError, SettingsError
from alignx.pages import Definitions, Fold, Table, to_markdown
from alignx.prompts import Method
from alignx.prompts.reporting import ReportSettings, report
from alignx.prompts.reporting.page import report_page
from tests.pages.sheets import HOSTILE, Reader
from tests.records.rows import CHOICES, COMMENTS, DEMOGRAPHICS, DIRECTION, full_row, row
from tests.worlds import sample_records, write_jsonl

ROOT = Path(__file__).resolve().parents[2]


def reported(
    folder: Path, rows: list[dict[str, Any]], name: str = "out", **settings: Any
) -> tuple[dict[str, Any], str]:
    """Report on rows: what the JSON holds, and what is printed."""
    data, output = write_jsonl(folder / "rows.jsonl", rows), folder / f"{name}.json"
    printed = report(ReportSettings(data=str(data), output=output, **settings))
    return json.loads(output.read_text(encoding="utf-8")), printed


def three_dimensions(folder: Path) -> Path:
    """A taxonomy of one's own."""
    path = folder / "three.csv"
    path.write_text("index,group,positive,negative\n0,taste,Sweet,Sour\n1,taste,Hot,Mild\n2,pace,Fast,Slow\n")
    return path


def tastes(n: int) -> list[dict[str, Any]]:
    """Rows over three dimensions: who likes it sweet likes it mild, nine times in ten; nobody has a pace."""
    rng = random.Random(4)
    rows = []
    for number in range(n):
        sweet = rng.choice((0, 1))
        hot = rng.choices((1 - sweet, sweet, 0.5), (0.9, 0.05, 0.05))[0]
        rows.append(row(prompt=f"dish {number}", user=f"u{number % 7}", **{DIRECTION: [sweet, hot, 0.5]}))
    return rows


def test_what_is_counted_by_hand(tmp_path: Path) -> None:
    target = {"prompt": "Which kettle?", "chosen": "The quiet one.", "rejected": "The red one."}
    equal = {"prompt": "Either?", "chosen": "Yes", "rejected": "Yes"}
    comment = {"prompt": "Tea?", "comment": "Green"}
    rows = [
        full_row(id="full"),
        full_row(id="own", **{CHOICES: [target], COMMENTS: []}),
        row(id="twice", prompt="q", **{COMMENTS: [comment, comment], CHOICES: [equal]}),
        row(id="bare", chosen="cc"),
    ]
    found, printed = reported(tmp_path, rows)
    assert (found["records"], found["users"], found["distinct_targets"]) == (4, 1, 3)
    assert (found["repeated_targets"], found["most_repeated_target"]) == (1, 2)
    health = {finding["key"]: finding for finding in found["health"]}
    for key, name in (
        ("history_contains_own_target", "own"),
        ("history_repeats_an_item", "twice"),
        ("history_choice_between_equals", "twice"),
    ):
        assert (health[key]["n"], health[key]["whole"], health[key]["share"]) == (1, 4, 0.25)
        assert [example["id"] for example in health[key]["examples"]] == [name]
    assert found["comments_per_record"] == {"0": 2, "1": 1, "2": 1}
    assert found["choices_per_record"] == {"0": 1, "1": 3}
    assert found["chosen_is_longer"] == 3
    assert found["present"] == {
        "demographics": 2,
        "ready profile": 2,
        "own direction": 2,
        "items with direction": 1,
        "no persona": 1,
    }
    for line in (
        "- **records**: 4",
        "- **distinct targets**: 3; 1 occur more than once, one of them 2 times; intervals are clustered by user, else "
        "by target",
        "- **comments a record**: 0: 2, 1: 1, 2: 1",
        "**1 of 4 records (25.00 %).**",
    ):
        assert f"{line}\n" in printed


def test_lengths_are_those_of_the_prompts_of_the_method_and_what_cannot_be_told_is_counted(tmp_path: Path) -> None:
    comments = [{"prompt": "p", "comment": "without a direction"}]
    rows = [row(prompt=f"p{n}", chosen="c" * (1 + n), rejected="r" * 7, **{COMMENTS: comments}) for n in range(5)]
    found, printed = reported(tmp_path, [*rows, full_row()], method=Method.PBA)
    assert found["lengths"]["chosen"] == {"mean": (15 + 14) / 6, "min": 1, "median": 3, "p95": 14, "max": 14}
    assert found["lengths"]["untold"] == 5
    assert "PBA prompts, whole history." in printed
    assert "5 (83.3 %) have no preference direction for PBA to put into words." in printed


def test_lengths_in_tokens_come_from_the_models_tokenizer(tmp_path: Path, tiny_model: Path) -> None:
    found, printed = reported(tmp_path, sample_records(5), model=str(tiny_model))
    characters, _ = reported(tmp_path, sample_records(5))
    assert "## Lengths in tokens\n" in printed
    assert 0 < found["lengths"]["chosen"]["mean"] < characters["lengths"]["chosen"]["mean"]


def test_a_planted_correlation_is_found_over_ones_own_dimensions(tmp_path: Path) -> None:
    found, printed = reported(tmp_path, tastes(200), taxonomy=three_dimensions(tmp_path))
    correlation = found["directions"]["targets"]["correlation"]
    assert [(each["first"], each["second"]) for each in correlation["strongest"]] == [("Sweet", "Hot")]
    assert -0.95 < correlation["strongest"][0]["r"] < -0.7
    assert correlation["r"][2] == [None, None]
    assert "the same in every direction: 1 of 3 dimensions, Fast.\n" in printed
    assert re.search(r"\| Sweet +\| Hot +\| −0\.\d{3} \| \[−0\.\d{3}, −0\.\d{3}\] \|", printed)
    assert "The 200 records are of 7 users." in printed
    assert (tmp_path / "figures/out-correlations-targets.svg").is_file()


def test_targets_and_history_items_are_told_apart(tmp_path: Path) -> None:
    food = three_dimensions(tmp_path)
    item = {"prompt": "p", "comment": "c", DIRECTION: [1, 0.5, 0.5]}
    choice = {"prompt": "p", "chosen": "c", "rejected": "r", DIRECTION: [1, 0.5, 0]}
    only_items, printed = reported(tmp_path, [row(**{COMMENTS: [item], CHOICES: [choice, choice]})], taxonomy=food)
    assert only_items["directions"]["targets"] is None
    assert only_items["directions"]["history_items"]["directions"] == 3
    assert only_items["directions"]["history_items"]["frequent"] == [{"direction": "Sweet, Slow", "count": 2}]
    assert "## Preference directions of history items\n" in printed
    assert "No preference direction is known of targets." in printed
    only_targets, printed = reported(tmp_path, [row(**{DIRECTION: [1, 0, 0.5]})], taxonomy=food)
    assert only_targets["directions"]["history_items"] is None
    assert only_targets["directions"]["targets"]["frequent"] == []
    assert "No direction occurs twice." in printed
    assert "No preference direction is known of history items." in printed


def test_records_without_any_direction_say_so_and_draw_nothing(tmp_path: Path) -> None:
    found, printed = reported(tmp_path, [row()])
    assert found["directions"] == {"targets": None, "history_items": None}
    assert "No record and no history item has a preference direction, so there is nothing to correlate." in printed
    assert not (tmp_path / "figures").exists()
    assert (tmp_path / "out.html").is_file()


def test_all_neutral_directions_have_words_and_no_correlation(tmp_path: Path) -> None:
    _, printed = reported(tmp_path, [row(prompt=f"p{n}", **{DIRECTION: [0.5] * 90}) for n in range(3)])
    assert re.search(r"\| \(all neutral\) +\| +3 \| 100\.00 \|", printed)
    for line in ("No direction has two poles.", "Every direction is neutral on every dimension."):
        assert line in printed


def test_the_shipped_sample_is_said_to_be_too_small_for_correlations(tmp_path: Path) -> None:
    output = tmp_path / "sample.json"
    printed = report(ReportSettings(data=str(ROOT / "data/sample/train.jsonl"), output=output))
    assert "No two dimensions are both poles in 10 directions or more: 320 directions are too few" in printed
    assert "- **distinct directions**: 258 (80.6 %); 208 of them occur once\n" in printed
    assert "of 16020 possible" in printed
    assert "## How to read the correlations" not in printed
    assert not (tmp_path / "figures").exists()


def test_many_different_numbers_of_poles_are_said_by_their_quartiles(tmp_path: Path) -> None:
    rows = [row(prompt=f"p{n}", **{DIRECTION: [1] * n + [0.5] * (90 - n)}) for n in range(16)]
    found, printed = reported(tmp_path, rows)
    assert found["directions"]["targets"]["poles_per_direction"] == {str(n): 1 for n in range(16)}
    assert "- **poles a direction**: 7.50 on average; 0 to 15, quartiles 3, 7, 11\n" in printed
    _, printed = reported(tmp_path, rows[:3])
    assert "- **poles a direction**: 1.00 on average; 0: 1, 1: 1, 2: 1\n" in printed


def test_repeated_targets_make_the_intervals_too_narrow_and_that_is_said(tmp_path: Path) -> None:
    rows = tastes(30)
    _, printed = reported(tmp_path, [*rows, *rows], taxonomy=three_dimensions(tmp_path))
    assert "The 60 records have 30 distinct targets" in printed
    assert "are too narrow." in printed


def test_everything_written_is_named_in_the_manifest_and_the_same_the_second_time(tmp_path: Path) -> None:
    food = three_dimensions(tmp_path)
    reported(tmp_path, tastes(60), taxonomy=food)
    output = tmp_path / "out.json"
    found = manifest.read(output)
    assert list(found.files) == ["out.json", "out.md", "out.html", "figures/out-correlations-targets.svg"]
    assert manifest.is_intact(output, found)
    before = {name: (tmp_path / name).read_bytes() for name in found.files}
    reported(tmp_path, tastes(60), taxonomy=food)
    assert {name: (tmp_path / name).read_bytes() for name in found.files} == before


def test_two_reports_in_one_folder_keep_their_figures_apart(tmp_path: Path) -> None:
    food = three_dimensions(tmp_path)
    for name in ("Train_1", "отчёт"):
        reported(tmp_path, tastes(60), name, taxonomy=food)
        written = manifest.read(tmp_path / f"{name}.json")
        assert (tmp_path / f"{name}.md").read_text(encoding="utf-8").count(list(written.files)[-1]) == 1
    drawn = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert drawn == ["correlations-targets.svg", "train-1-correlations-targets.svg"]


def test_rows_of_numbers_stand_on_one_line_of_the_json_and_texts_are_untouched(tmp_path: Path) -> None:
    rows = tastes(60)
    rows[0]["id"] = "odd [ 1,  2] id"
    rows[0][CHOICES] = [{name: rows[0][name] for name in ("prompt", "chosen", "rejected")}]
    found, _ = reported(tmp_path, rows, taxonomy=three_dimensions(tmp_path))
    own = next(finding for finding in found["health"] if finding["key"] == "history_contains_own_target")
    assert own["examples"][0]["id"] == "odd [ 1,  2] id"
    text = (tmp_path / "out.json").read_text(encoding="utf-8")
    assert re.search(r"\[ \d+, \d+ \]", text)
    assert len(text.splitlines()) < 1200


def test_what_is_printed_has_every_fact_of_the_page_and_no_picture_or_tag(tmp_path: Path) -> None:
    food = three_dimensions(tmp_path)
    found, printed = reported(tmp_path, tastes(60), taxonomy=food)
    page = report_page(str(tmp_path / "rows.jsonl"), found, "out")
    blocks = [block for section in page.sections for block in section.blocks]
    blocks += [inner for block in blocks if isinstance(block, Fold) for inner in block.blocks]
    tables = [block for block in blocks if isinstance(block, Table)]
    assert len(tables) == 10
    for table in tables:
        for line in table.lines:
            assert any(all(cell in text for cell in line.cells) for text in printed.splitlines()), line
    for definitions in (block for block in blocks if isinstance(block, Definitions)):
        assert all(term in printed for term, _ in definitions.items)
    for section in page.sections:
        assert f"## {section.title}\n" in printed
    assert not re.search("<[a-z/!]", printed)
    assert "![" not in printed
    assert to_markdown(page) == (tmp_path / "out.md").read_text(encoding="utf-8")


def test_the_html_page_holds_the_same_numbers_and_the_heat_map_itself(tmp_path: Path) -> None:
    reported(tmp_path, tastes(60), taxonomy=three_dimensions(tmp_path))
    html = (tmp_path / "out.html").read_text(encoding="utf-8")
    found = Reader(html)
    assert {"Counts", "Health", "Repeated targets", "Preference directions of targets"} <= set(found.text_of("h2"))
    picture = next(attributes for tag, attributes in found.tags if tag == "svg")
    assert str(picture["aria-label"]).startswith("Correlation of each of 2 dimensions with each other, for 1 pairs")
    assert "1 Sweet" in html
    assert ">blank" not in html
    assert "<link rel" not in html.replace('<link rel="icon" href="data:,">', "")
    assert len(html) < 60_000


def test_a_pair_that_is_not_spoken_of_is_blank_in_the_heat_map(tmp_path: Path) -> None:
    rows = tastes(60)
    rows[0][DIRECTION] = [1, 0.5, 1]
    reported(tmp_path, rows, taxonomy=three_dimensions(tmp_path))
    svg = (tmp_path / "figures/out-correlations-targets.svg").read_text(encoding="utf-8")
    assert "blank: both are poles in fewer than 10 directions" in svg
    assert "3 Fast" in svg


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_users_and_of_a_taxonomy_are_only_texts(text: str, tmp_path: Path) -> None:
    phrase = re.sub(r"\s+", " ", text)
    food = three_dimensions(tmp_path)
    quoted = phrase.replace('"', '""')
    written = food.read_text().replace("Sweet", f'"{quoted}"').replace("Fast", f'"{quoted} at speed"')
    food.write_text(written, encoding="utf-8")
    rows = tastes(40)
    rows[0] |= {"id": f"id {text}", text: "unused"}
    rows[0][CHOICES] = [{name: rows[0][name] for name in ("prompt", "chosen", "rejected")}]
    reported(tmp_path, rows, taxonomy=food)
    found = Reader((tmp_path / "out.html").read_text(encoding="utf-8"))
    assert not {"script", "img", "b"} & {tag for tag, _ in found.tags}
    assert not [attributes for _, attributes in found.tags if "javascript" in (attributes.get("href") or "")]
    for tag, expected in (("th", phrase), ("th", f"id {phrase}"), ("p", f"{phrase} at speed")):
        assert any(" ".join(expected.split()) in " ".join(said.split()) for said in found.text_of(tag)), tag


def test_printing_needs_no_library_that_draws_and_a_page_misses_one_before_anything_is_read(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["matplotlib"] = sys.modules["jinja2"] = None
from alignx.prompts.reporting import ReportSettings, report
assert "records" in report(ReportSettings(data=sys.argv[1]))
try:
    report(ReportSettings(data="nowhere.jsonl", output=sys.argv[2]))
except ModuleNotFoundError as error:
    print(error.name)
"""
    data = write_jsonl(tmp_path / "rows.jsonl", sample_records(3))
    arguments = [sys.executable, "-c", code, str(data), str(tmp_path / "out.json")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "jinja2\n"


def test_an_output_that_is_no_json_file_and_missing_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--output: got .*out.html, expected a .json file; the pages go beside it"):
        report(ReportSettings(data="x.jsonl", output=tmp_path / "out.html"))
    with pytest.raises(DataError, match=r"missing.jsonl: no such file or folder"):
        report(ReportSettings(data=str(tmp_path / "missing.jsonl"), output=tmp_path / "out.json"))
    assert list(tmp_path.iterdir()) == []


def test_notes_and_demographics_are_reported(tmp_path: Path) -> None:
    found, printed = reported(tmp_path, [row(mood="fine", **{DEMOGRAPHICS: "A potter."})])
    assert found["present"] == {"demographics": 1}
    assert len(found["notes"]) == 1
    assert "> **Note.** fields that mean nothing here and were not used: 'mood' (1 rows)" in printed
