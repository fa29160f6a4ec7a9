"""Agreement of inferred with known directions, worked by hand; and the page about it."""

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from alignx import pages
from alignx.annotation.agreement import Agreement, Compared, measure
from alignx.annotation.agreement_page import agreement_page
from alignx.annotation.questions import Answer
from alignx.errors import DataError
from alignx.records import Dimension, Taxonomy

TAXONOMY = Taxonomy((Dimension("some_group", "Likes tea", "Dislikes tea"), Dimension("some_group", "Bold", "Shy")))


def compared(known: Sequence[int] | bytes, *answers: tuple[int, int], cluster: str = "user:1") -> Compared:
    return Compared(bytes(known), cluster, {place: Answer(*one) for place, one in enumerate(answers)})


def failed(problem: str) -> Compared:
    return Compared(b"\2\2", "user:9", None, problem)


BY_HAND = [
    compared([2, 1], (2, 90), (1, 60), cluster="user:1"),  # both right
    compared([0, 1], (2, 55), (1, 95), cluster="user:1"),  # reversed, right
    compared([0, 1], (0, 80), (2, 30), cluster="user:2"),  # right, a pole out of nothing
    compared([1, 1], (1, 100), (1, 70), cluster="user:3"),  # both right
]


@pytest.fixture(scope="module")
def found() -> Agreement:
    return measure([*BY_HAND, failed("the JSON is cut"), failed("refused"), failed("the JSON is cut")], TAXONOMY)


def test_overall_agreement_and_its_interval_are_those_worked_by_hand(found: Agreement) -> None:
    """6 of 8 right; residuals of the users add up to 0, −1/2 and 1/2.

    The variance is v = 3/2 · (1/4 + 1/4) / 8² = 3/256, and the quantile of Student's t with two degrees of freedom
    4.302653. With p = 3/4 and a = t² v / (p − p²) = t² / 16 the interval's ends solve (p − m)² = a (m − m²), which is
    (1 + a) m² − (2p + a) m + p² = 0.
    """
    assert (found.items, found.overall.n, found.overall.clusters) == (4, 8, 3)
    assert found.overall.mean == 6 / 8
    error = math.sqrt(3 / 2 * (1 / 4 + 1 / 4) / 64)
    assert found.overall.standard_error == pytest.approx(error)
    a = 4.302653**2 / 16
    root = math.sqrt((3 / 2 + a) ** 2 - 4 * (1 + a) * 9 / 16)
    ends = (3 / 2 + a - root) / (2 + 2 * a), (3 / 2 + a + root) / (2 + 2 * a)
    assert (found.overall.low, found.overall.high) == pytest.approx(ends, abs=1e-6)
    assert ends == pytest.approx((0.2715752, 0.9602227), abs=1e-6)


def test_poles_are_counted_apart(found: Agreement) -> None:
    assert found.poles is not None
    assert found.reversed is not None
    assert found.stated is not None
    assert found.neutral.mean == 5 / 8
    assert (found.poles.mean, found.poles.n) == (pytest.approx(2 / 3), 3)
    assert (found.reversed.mean, found.reversed.n) == (pytest.approx(1 / 3), 3)
    assert (found.stated.mean, found.stated.n) == (2 / 4, 4)


def test_the_confusion_has_a_row_a_known_level(found: Agreement) -> None:
    assert found.confusion == ((1, 0, 1), (0, 4, 1), (0, 0, 1))
    assert found.row_shares == ((0.5, 0.0, 0.5), (0.0, 0.8, 0.2), (0.0, 0.0, 1.0))


def test_each_dimension_has_its_agreement_and_its_poles(found: Agreement) -> None:
    first, second = found.dimensions
    assert (first.index, first.agreement.mean, first.agreement.n) == (0, 3 / 4, 4)
    assert (first.poles, first.poles_right) == (3, 2)
    assert (second.index, second.agreement.mean, second.poles, second.poles_right) == (1, 3 / 4, 0, 0)


def test_certainty_is_set_against_agreement_in_bands(found: Agreement) -> None:
    told = [(one.low, one.high, one.share, one.agreement.mean, one.poles, one.poles_right) for one in found.bands]
    assert told == [
        (25, 49, 1 / 8, 0.0, 1, 0),
        (50, 59, 1 / 8, 0.0, 1, 0),
        (60, 69, 1 / 8, 1.0, 0, 0),
        (70, 79, 1 / 8, 1.0, 0, 0),
        (80, 89, 1 / 8, 1.0, 1, 1),
        (90, 94, 1 / 8, 1.0, 1, 1),
        (95, 100, 2 / 8, 1.0, 0, 0),
    ]
    assert [one.coverage for one in found.bands] == [number / 8 for number in (8, 7, 6, 5, 4, 3, 2)]
    assert [one.agreement_from_here.mean for one in found.bands] == pytest.approx([6 / 8, 6 / 7, 1, 1, 1, 1, 1])


def test_what_was_not_annotated_is_counted_by_reason_and_in_no_number(found: Agreement) -> None:
    assert found.unannotated == {"the JSON is cut": 2, "refused": 1}
    assert list(found.unannotated) == ["the JSON is cut", "refused"]
    assert found.coverage == 4 / 7
    alone = measure(BY_HAND, TAXONOMY)
    assert alone.coverage == 1
    assert {**found.as_dict(), "unannotated": {}, "coverage": 1.0} == alone.as_dict()


def test_neither_order_nor_the_names_of_clusters_change_anything() -> None:
    rng = random.Random(0)
    items = [
        compared(
            [rng.randrange(3), rng.randrange(3)],
            *((rng.randrange(3), rng.randrange(101)) for _ in range(2)),
            cluster=f"user:{rng.randrange(9)}",
        )
        for _ in range(60)
    ]
    expected = measure(items, TAXONOMY).as_dict()
    assert measure(items[::-1], TAXONOMY).as_dict() == expected
    renamed = [Compared(one.known, one.cluster + "!", one.answers) for one in items]
    assert measure(renamed, TAXONOMY).as_dict() == expected
    assert sum(map(sum, expected["confusion"])) == 120
    assert sum(one["share"] for one in expected["certainty"]) == pytest.approx(1)
    overall = sum(one["share"] * one["agreement"]["mean"] for one in expected["certainty"])
    assert overall == pytest.approx(expected["agreement"]["mean"])


def test_whoever_says_the_truth_agrees_wholly_and_reverses_nothing() -> None:
    items = [compared([level, 1], (level, 100), (1, 100), cluster=f"user:{level}") for level in range(3)]
    found = measure(items, TAXONOMY)
    assert found.poles is not None
    assert found.reversed is not None
    assert (found.overall.mean, found.poles.mean, found.reversed.mean) == (1, 1, 0)
    assert found.overall.low < 1  # three users do not prove that everyone is understood


def test_whoever_always_says_neutral_is_no_better_than_saying_so() -> None:
    items = [compared(one.known, (1, 50), (1, 50), cluster=one.cluster) for one in BY_HAND]
    found = measure(items, TAXONOMY)
    assert found.overall == found.neutral
    assert found.stated is None
    assert found.poles is not None
    assert found.poles.mean == 0


def test_without_a_known_pole_nothing_is_said_about_poles() -> None:
    found = measure([compared([1, 1], (1, 9), (2, 9))], TAXONOMY)
    assert (found.poles, found.reversed) == (None, None)
    assert found.as_dict()["where_known_is_a_pole"] is None
    assert found.row_shares[0] == (None, None, None)
    assert "where the known level is a pole: there is none; reversed there is none" in str(found)


def test_when_nothing_was_annotated_there_is_nothing_to_compare() -> None:
    with pytest.raises(DataError, match=r"nothing to compare \(2 × refused; 1 × the JSON is cut\)"):
        measure([failed("the JSON is cut"), failed("refused"), failed("refused")], TAXONOMY)
    with pytest.raises(DataError, match=r"nothing to compare \(no items\)"):
        measure([], TAXONOMY)


@pytest.mark.parametrize(
    "one",
    [
        compared([2], (2, 90)),
        compared([2, 2], (2, 90)),
        compared([2, 2], (2, 90), (2, 90), (2, 90)),
        Compared(b"\2\2", "user:1", {0: Answer(2, 9), 2: Answer(2, 9)}),
    ],
)
def test_an_item_over_another_taxonomy_or_in_part_is_refused(one: Compared) -> None:
    with pytest.raises(ValueError, match="expected 2 of each"):
        measure([*BY_HAND, one], TAXONOMY)


# ---- What is written ----


def test_it_is_json_without_what_json_cannot_say(found: Agreement) -> None:
    written = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert written["agreement"]["mean"] == 0.75
    assert written["confusion"][1] == [0, 4, 1]
    assert written["dimensions"][0]["poles_right"] == 2
    assert written["certainty"][0]["agreement_from_here"]["n"] == 8
    lonely = measure([BY_HAND[0]], TAXONOMY).as_dict()  # one cluster: no standard error
    assert json.loads(json.dumps(lonely, allow_nan=False))["agreement"]["standard_error"] is None


def test_in_a_few_lines_it_says_the_numbers_and_what_is_missing(found: Agreement) -> None:
    lines = str(found).splitlines()
    assert lines[0].startswith("agreement with known directions, 4 items: 75.00 % [27.16, 96.02] (n = 8, 3 clusters")
    assert lines[-1] == "  not annotated and in none of these: 2 × the JSON is cut; 1 × refused"


def test_the_page_has_every_number_and_both_charts(found: Agreement, tmp_path: Path) -> None:
    page = agreement_page(found, TAXONOMY, [("annotator", "an oracle"), ("way of asking", "each")])
    text, html = (path.read_text(encoding="utf-8") for path in pages.write(page, tmp_path, "agreement")[:2])
    assert "4 history items" in text
    assert "75.0 % of 8 levels" in text
    assert "neutral would agree on 62.5 %" in text
    assert "> **Note.** 3 of 7 items were not annotated" in text
    assert "2 × the JSON is cut; 1 × refused" in text
    assert "- **annotator**: an oracle" in text
    rows = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in cells(text)}
    assert rows["known neutral"] == ["0 (0.0 %)", "4 (80.0 %)", "1 (20.0 %)", "5"]
    assert rows["where the known level is a pole"][::2] == ["66.7", "3"]
    # One user: nothing is known of others. Two users, both wholly right: 1 − 0.025^(1/2) of 1 at most is left.
    assert rows["80 to 89"] == ["12.5", "100.0", "[0.0, 100.0]", "1 of 1", "50.0", "100.0"]
    assert rows["95 to 100"] == ["25.0", "100.0", "[15.8, 100.0]", "0 of 0", "25.0", "100.0"]
    assert [rows["0"][place] for place in (0, 1, 3, 4)] == ["Likes tea", "75.0", "4", "2 of 3"]
    assert html.count("<svg ") == 2
    assert "some group" in html
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"certainty.svg", "dimensions.svg"}
    assert "Dimensions on which every known level is neutral (1) are in the table only." in text


def cells(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| ")]


def test_a_page_without_known_poles_and_without_failures_can_be_made() -> None:
    page = agreement_page(measure([compared([1, 1], (1, 9), (1, 9))], TAXONOMY), TAXONOMY, [])
    text = pages.to_markdown(page)
    assert "1 distinct items, all of them annotated." in text
    assert "No item is known to have a pole on any dimension." in text
    assert "Note." not in text


def test_a_reason_cannot_write_on_the_page() -> None:
    hostile: Any = "</td><script>alert(1)</script> **bold** [x](javascript:1)"
    page = agreement_page(measure([*BY_HAND, failed(hostile)], TAXONOMY), TAXONOMY, [("data", hostile)])
    assert "<script>" not in pages.to_html(page)
    assert "**bold**" not in pages.to_markdown(page)
