"""The sections of the report: every number and every count stands in them, and no label is markup."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any

import pytest
from markdown_it import MarkdownIt

from alignx.evaluation.breakdown.agreement import by_agreement as find_agreement
from alignx.evaluation.breakdown.dimensions import by_dimension as find_dimensions
from alignx.evaluation.breakdown.history import growth
from alignx.evaluation.breakdown.lengths import by_length as find_lengths
from alignx.evaluation.breakdown.reversal import reversal
from alignx.evaluation.report.by_agreement import by_agreement
from alignx.evaluation.report.by_dimension import by_dimension
from alignx.evaluation.report.by_history import by_history
from alignx.evaluation.report.by_length import by_length
from alignx.evaluation.report.by_reversal import by_reversal
from alignx.evaluation.report.tallied import corrected, estimated, of_few
from alignx.intervals import Estimate, clustered_mean
from alignx.pages import Block, Definitions, Figure, Fold, Note, Page, Paragraph, Section, Table, to_html, to_markdown
from alignx.pages.inline import plain
from alignx.prompts import Condition, Method
from tests.evaluation.breakdown import test_history, test_lengths, test_reversal
from tests.evaluation.breakdown.moved import FOUR, known, moved, record
from tests.pages.sheets import HOSTILE, Reader

MANY = 32
"""As many users as it takes for an interval that is not called too narrow."""


def blocks_of(kind: type, blocks: Sequence[Any]) -> list[Any]:
    found = []
    for block in blocks:
        found += [block] * isinstance(block, kind)
        if isinstance(block, Fold):
            found += blocks_of(kind, block.blocks)
    return found


def cells(blocks: Sequence[Block]) -> dict[str, tuple[str, ...]]:
    """The rows of all tables by their first cell."""
    return {row.cells[0]: tuple(row.cells[1:]) for table in blocks_of(Table, blocks) for row in table.lines}


def said(blocks: Sequence[Block]) -> str:
    return " ".join(plain(block.text) for kind in (Paragraph, Note) for block in blocks_of(kind, blocks))


def words(figure: Figure) -> str:
    """All text of a chart, which must be well-formed XML."""
    root = ET.fromstring(figure.svg)
    return " ".join(element.text or "" for element in root.iter() if element.tag.endswith("text"))


# By dimension


def by_hand(least: int = 30) -> list[Block]:
    """32 records Young, 1 of these also with low openness, 2 Older, 1 neutral, 1 without a direction."""
    targets = {f"y{i}": "+..." for i in range(MANY)} | {
        "y0": "+-..",
        "o0": "-...",
        "o1": "-...",
        "n": "....",
        "x": None,
    }
    towards = {name: -1.0 if name in {"y1", "o0"} else 1.0 for name in targets}
    records = known(*(record(name, target) for name, target in targets.items()))
    return by_dimension(find_dimensions(moved(towards), records, FOUR), least=least)


def test_dimensions_stand_with_their_poles_apart() -> None:
    found = cells(by_hand())
    either, young, older = found["Young / Older"], found["Young"], found["Older"]
    assert (either[0], either[2:5], either[6]) == ("94.1", ("34", "34", "0"), "Age")  # 32 of 34
    assert (young[0], young[2:]) == ("96.9", ("32", "32", "0", "", "Age"))  # 31 of 32
    assert (older[0], older[2:]) == ("50.0", ("2", "2", "0", "", "Age"))
    assert either[5] == "<0.001"


def test_scarce_dimensions_are_folded_away_and_those_without_a_target_are_named() -> None:
    blocks = by_hand()
    titles = [block.title for block in blocks if isinstance(block, Fold)]
    assert titles == [
        "The 1 dimensions in numbers, each pole apart",
        "The 1 dimensions with targets of fewer than 30 clusters",
        "The 2 dimensions in which no target has a pole",
    ]
    (figure,) = blocks_of(Figure, blocks)
    assert figure.name == "dimensions"
    assert figure.alt == "Age, Young: 94.1 %"
    assert "Openness" not in words(figure)
    assert cells(blocks)["High Openness (to what is new) / Low Openness"][2:] == ("1", "1", "0", "Big five")
    assert "High <b>Calm</b> & *care* / Low Calm; Likes tea / Dislikes tea." in said(blocks)


def test_the_minimum_is_the_callers_and_is_said() -> None:
    assert "1 of 4 dimensions have targets of at least 30 clusters and are drawn" in said(by_hand())
    blocks = by_hand(least=1)
    assert "2 of 4 dimensions have targets of at least 1 clusters and are drawn" in said(blocks)
    (figure,) = blocks_of(Figure, blocks)
    assert figure.alt == "Age, Young: 94.1 %; Big five, High Openness: 100.0 %"
    assert "about 0.1 miss the true value by chance" in said(blocks)


def test_what_is_in_no_dimension_is_counted() -> None:
    text = said(by_hand())
    assert "34 records count" in text
    assert "1 records have no direction and are in no dimension; 1 have a direction without any pole." in text
    complete = by_dimension(
        find_dimensions(moved({"a": 1.0, "b": 1.0}), known(record("a", "+..."), record("b", "-...")), FOUR)
    )
    assert "No record was left out." in said(complete)


def test_without_enough_of_any_dimension_there_is_no_chart() -> None:
    assert blocks_of(Figure, by_hand(least=100)) == []


def test_dimensions_are_sorted_within_their_group_and_groups_as_in_the_taxonomy() -> None:
    targets = {"a": "+++.", "b": "+.++", "c": ".++."}
    moves = moved({"a": 1.0, "b": -1.0, "c": 1.0})
    found = find_dimensions(moves, known(*(record(n, t) for n, t in targets.items())), FOUR)
    (figure,) = blocks_of(Figure, by_dimension(found, least=1))
    assert re.findall(r"([\w ]+, [\w <>/&*]+): ([\d.]+)", figure.alt) == [
        ("Age, Young", "50.0"),
        (" Age, Likes tea", "0.0"),
        (" Big five, High Openness", "100.0"),
        (" Big five, High <b>Calm</b> & *care*", "66.7"),
    ]


# By agreement


def test_agreement_stands_with_every_bin_and_count() -> None:
    records = known(
        record("whole", "+...", ["+..."]),
        record("against", "+...", ["-..."]),
        record("silent", "+..."),
        record("x", None, ["+..."]),
        record("n", "....", ["+..."]),
        record("u", "+...", [None]),
    )
    moves = moved({name: float(name == "whole") for name in records}, trimmed_items=1, profile="ready")
    blocks = by_agreement(find_agreement(moves, records, Condition(method=Method.ICA), FOUR))
    found = cells(blocks)
    assert len(found) == 18
    assert (found["alike: mean share"][0], found["alike: mean share"][2:]) == ("33.3", ("3", "3", "–"))
    assert (found["alike: all"][0], found["alike: all"][2:]) == ("100.0", ("1", "1", "0"))
    assert (found["alike: none"][0], found["alike: none"][2:]) == ("0.0", ("2", "2", "2"))
    assert found["opposite: up to a third"] == ("–", "–", "0", "0", "0")
    text = said(blocks)
    assert "3 records are counted in each of the three parts" in text
    assert "1 are told no history item" in text
    assert "3 had items trimmed" in text
    assert "3 were told a profile that was not made of the history" in text
    assert (
        "Records left out: 1 without a direction; 1 whose direction has no pole; 1 told history items of which none "
        "has a direction."
    ) in text
    (figure,) = blocks_of(Figure, blocks)
    assert "poles that it states oppositely, none (n = 2): 50.0 %" in figure.alt
    assert "(n = 0)" not in figure.alt
    assert "chance" in words(figure)


def test_agreement_of_nothing_says_why() -> None:
    found = find_agreement(moved({"x": 1.0}), known(record("x", None)), Condition(method=Method.ICA), FOUR)
    blocks = by_agreement(found)
    assert [type(block) for block in blocks] == [Paragraph]
    assert "0 records are counted" in said(blocks)
    assert "1 without a direction" in said(blocks)


# By length


def test_lengths_stand_with_ties_and_bins() -> None:
    blocks = by_length({"ICA, own": find_lengths(test_lengths.PAIRS)})
    found = cells(blocks)
    shares = found["ICA, own"]
    assert (shares[:3], shares[4], shares[6]) == (("6", "1", "60.0"), "40.0", "1")
    longer = found["ICA, own: the longer"]
    assert (longer[0], longer[2:]) == ("66.7", ("3", "3", "0"))
    assert found["ICA, own: the shorter"][2:] == ("2", "2", "1")
    assert found["ICA, own: exactly as long"][2:] == ("1", "1", "0")
    assert found["ICA, own: almost equal"][2:] == ("2", "2", "0")
    assert found["ICA, own: 1.5 to 2 times as long"] == ("–", "–", "0", "0", "0")
    (figure,) = blocks_of(Figure, blocks)
    assert figure.alt.startswith("ICA, own, less than half as long (n = 2): 50.0 %")
    assert any("1.1 times" in meaning for d in blocks_of(Definitions, blocks) for _, meaning in d.items)


# By reversal


def test_reversal_stands_with_definitions_and_ties() -> None:
    blocks = by_reversal({"ICA": reversal(test_reversal.OWN, test_reversal.TURNED, {"b"})})
    found = cells(blocks)
    expected = {
        "ICA: accuracy": ("50.0", "2"),
        "ICA: accuracy under reversal": ("50.0", "2"),
        "ICA: joint-correct": ("25.0", "3"),
        "ICA: any-flip": ("37.5", "3"),
        "ICA: wrong both ways": ("12.5", "3"),
        "ICA: under reversal minus own": ("+0.0", "3"),
    }
    assert {name: (row[0], row[-1]) for name, row in found.items()} == expected
    assert {row[2:4] for row in found.values()} == {("8", "6")}
    (definitions,) = blocks_of(Definitions, blocks)
    assert [term for term, _ in definitions.items] == [
        "accuracy",
        "accuracy under reversal",
        "joint-correct",
        "any-flip",
        "ties",
    ]
    assert "changes nothing that is told of 1 of 8 records" in said(blocks)
    (figure,) = blocks_of(Figure, blocks)
    assert figure.alt == (
        "ICA, accuracy: 50.0 %; ICA, accuracy under reversal: 50.0 %; ICA, joint-correct: 25.0 %; ICA, any-flip: 37.5 %"
    )


def test_where_all_can_be_turned_nothing_is_said_of_it() -> None:
    assert blocks_of(Note, by_reversal({"ICA": reversal(test_reversal.OWN, test_reversal.TURNED)})) == []


# By history


def test_history_stands_with_differences_and_those_who_have_it() -> None:
    blocks = by_history([growth("ICA", "UGC", test_history.SERIES)])
    everybody, those = blocks_of(Table, blocks)
    rows = {row.cells[0]: row.cells for row in everybody.lines}
    assert (rows["ICA, UGC: 0"][1], rows["ICA, UGC: 0"][3:]) == ("25.0", ("4", "4", "0", "4", "–", "–", "–"))
    assert (rows["ICA, UGC: 4"][1], rows["ICA, UGC: 4"][3:8]) == ("75.0", ("4", "4", "0", "1", "+50.0"))
    assert "corrected for 2 such differences" in everybody.caption
    assert [(row.cells[0], row.cells[1], row.cells[3]) for row in those.lines] == [
        ("ICA, UGC: 1", "66.7", "3"),
        ("ICA, UGC: 4", "100.0", "1"),
    ]
    assert "ICA, UGC: 1 of 4 at 1, 3 of 4 at 4." in said(blocks)
    (figure,) = blocks_of(Figure, blocks)
    assert figure.alt == "UGC: ICA: 25.0 % with 0, 50.0 % with 1, 75.0 % with 4"


def test_a_length_that_no_record_has_is_not_drawn_and_is_in_the_table() -> None:
    series = {n: moved({"a": 1.0, "b": -1.0}, history_items=min(n, 4)) for n in (2, 4, 8)}
    blocks = by_history([growth("ICA", "PAIR", series)])
    assert blocks_of(Figure, blocks)[0].alt == "PAIR: ICA: 50.0 % with 2, 50.0 % with 4"
    assert "ICA, PAIR: 2 of 2 at 8." in said(blocks)
    assert "ICA, PAIR: 8" in cells(blocks)
    alone = by_history([growth("ICA", "PAIR", {8: series[8]})])
    assert blocks_of(Figure, alone) == []


def test_complete_histories_need_no_note_and_no_second_table() -> None:
    series = {n: moved({"a": 1.0, "b": -1.0}, history_items=n) for n in (0, 2)}
    blocks = by_history([growth("ICA", "PAIR", series)])
    assert [type(block) for block in blocks] == [Figure, Fold]
    assert len(blocks_of(Table, blocks)) == 1


def test_profiles_that_no_history_changes_are_said() -> None:
    series = {n: moved({"a": 1.0, "b": -1.0}, history_items=n, profile="golden") for n in (0, 2)}
    assert "the same at every length. PBA, PAIR: 2." in said(by_history([growth("PBA", "PAIR", series)]))


def test_each_source_has_a_chart_and_many_policies_have_several() -> None:
    series = {n: moved({"a": 1.0, "b": -1.0}, history_items=n) for n in (0, 2)}
    found = [growth(f"P{i}", source, series) for source in ("UGC", "PAIR") for i in range(6 if source == "UGC" else 1)]
    figures = blocks_of(Figure, by_history(found, name="robustness"))
    assert [(figure.name, figure.alt.count("with 2")) for figure in figures] == [
        ("robustness-1", 5),
        ("robustness-2", 1),
        ("robustness-3", 1),
    ]
    assert ["UGC" in words(figure) for figure in figures] == [True, True, False]


# All


@pytest.mark.parametrize("make", [by_length, by_reversal])
def test_of_no_row_there_is_no_section(make: Any) -> None:
    assert make({}) == []
    assert by_history([]) == []


def sections(label: str) -> list[Section]:
    """Every section, with this label wherever a label goes."""
    series = {n: moved({"a": 1.0, "b": -1.0}, history_items=n // 2, profile="ready") for n in (0, 2)}
    records = known(record("a", "++++", ["+..."]), record("b", "+-.."))
    moves = moved({"a": 1.0, "b": -1.0})
    return [
        Section("dimensions", by_dimension(find_dimensions(moves, records, FOUR), least=1)),
        Section("agreement", by_agreement(find_agreement(moves, records, Condition(method=Method.ICA), FOUR))),
        Section("lengths", by_length({label: find_lengths(test_lengths.PAIRS)})),
        Section("reversal", by_reversal({label: reversal(test_reversal.OWN, test_reversal.TURNED, {"a"})})),
        Section("history", by_history([growth(label, f"{label} source", series)])),
    ]


@pytest.mark.parametrize("label", HOSTILE)
def test_no_label_is_markup_in_page_or_chart(label: str) -> None:
    page = Page("Breakdowns", "", sections(label), footer="The end.")
    found = Reader(to_html(page))
    tags = [tag for tag, _ in found.tags]
    assert not {"script", "b", "i", "img", "a"} & set(tags[tags.index("h2") : tags.index("footer")])
    assert found.text_of("strong") == ["Note."] * 3
    for figure in page.figures():
        assert words(figure)
        assert {element.tag.rpartition("}")[2] for element in ET.fromstring(figure.svg).iter()} <= {
            *("svg", "g", "path", "text", "defs", "use", "clipPath", "rect", "tspan")
        }
    rendered = MarkdownIt("commonmark").enable("table").render(to_markdown(page))
    assert rendered.count("<tr") == tags.count("tr") > 50


def test_a_label_reads_as_itself_in_prose() -> None:
    page = Page("Breakdowns", "", sections("**A** [x](http://a.example) `c`"))
    notes = [plain(note.text) for note in blocks_of(Note, [b for s in page.sections for b in s.blocks])]
    assert len(notes) == 3
    assert all("**A** [x](http://a.example) `c`" in note for note in notes)


def test_rows_of_few_clusters_are_counted() -> None:
    assert of_few([0, 1, 29, 30, 500]) == " 2 of the rows have fewer than 30 clusters: their intervals are too narrow."
    assert of_few([0, 30]) == ""
    for section in sections("ICA"):
        assert any("too narrow" in table.caption for table in blocks_of(Table, section.blocks)), section.title


def test_p_values_are_corrected_for_those_that_there_are() -> None:
    clear = clustered_mean([1.0] * 39 + [0.0], [str(i) for i in range(40)])
    even = clustered_mean([1.0, 0.0] * 10, [str(i) for i in range(20)])
    alone = Estimate(0.5, 0.0, 1.0, 3, 1, float("nan"), "", (0.0, 1.0))
    assert corrected([clear, None, even, alone], 0.5) == ["<0.001", "–", "1.000", "–"]
    assert corrected([even], 0.5) == ["1.000"]
    (once,), several = corrected([even], 0.25), corrected([even] * 4, 0.25)
    assert 0.001 < float(once) < 0.05 < float(several[0])
    assert several == [f"{4 * float(once):.3f}"] * 4 or abs(float(several[0]) - 4 * float(once)) < 0.002


def test_a_mean_that_is_none_has_dashes() -> None:
    assert estimated(None) == ("–", "–")
    assert estimated(Estimate(0.1, -0.05, 0.25, 9, 9, 0.1), signed=True) == ("+10.0", "[-5.0, +25.0]")


def test_where_no_response_is_longer_that_is_said_and_nothing_else() -> None:
    alike = moved({"a": 1.0, "b": -1.0}, chosen_tokens=3, rejected_tokens=3)
    (said_so,) = by_length({"ICA": find_lengths(alike), "PBA": find_lengths(alike)})
    assert isinstance(said_so, Paragraph)
    assert "as many tokens in every record" in said_so.text
    mixed = by_length({"ICA": find_lengths(alike), "PBA": find_lengths(test_lengths.PAIRS)})
    assert cells(mixed)["ICA"][:2] == ("2", "2")
