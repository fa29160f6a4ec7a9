"""Blocks are checked when they are made, so that a writer never meets a broken one."""

import pytest

from alignx.pages import Definitions, Figure, Fold, Page, Section, Table
from tests.pages.sheets import chart, figure, page_of


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"table 'Accuracies': got 2 columns and 0 rows, expected at least one of each"
    ):
        Table(["condition", "accuracy"], [], caption="Accuracies")


def test_a_row_of_another_length_is_refused_with_its_number() -> None:
    with pytest.raises(ValueError, match=r"row 2 has 1 cells, expected 2"):
        Table(["a", "b"], [("1", "2"), ("3",)])


@pytest.mark.parametrize("align", ["l", "lc", "lrr"])
def test_an_alignment_that_does_not_fit_the_columns_is_refused(align: str) -> None:
    with pytest.raises(ValueError, match="align is"):
        Table(["a", "b"], [("1", "2")], align=align)


def test_columns_of_numbers_go_to_the_right() -> None:
    columns = {
        "name": ["a", "7"],
        "percent": ["89.7 %", "–"],
        "interval": ["[87.4, 92.0]", "[9.9, 14.9]"],
        "signed": ["−0.05", "+1.2"],
        "seconds": ["1,200 s", ""],
        "words": ["3 apples", "2"],
        "nothing": ["", ""],
    }
    assert Table(list(columns), list(zip(*columns.values(), strict=True))).sides == "lrrrrll"
    assert Table(["a", "b"], [("x", "1")], align="rl").sides == "rl"


def test_a_column_of_few_letters_stays_on_one_line_but_the_names_of_rows_do_not() -> None:
    table = Table(["row", "word", "twelve", "thirteen", "n"], [("a", "ica", "x" * 12, "x" * 13, "1")])
    assert table.classes == ["l", "l short", "l short", "l", "r"]


def test_a_table_of_few_numbers_is_narrow_and_one_of_words_is_not() -> None:
    assert Table(["row", "a", "b"], [("x", "1", "2")]).narrow
    assert not Table(["row", "a", "b", "c"], [("x", "1", "2", "3")]).narrow
    assert not Table(["row", "a", "b"], [("x", "1", "words")]).narrow
    assert not Table(["row"], [("x",)]).narrow


@pytest.mark.parametrize("name", ["", "Upper", "a b", "../a", "a--b", "-a", "a.svg"])
def test_a_figure_has_a_name_that_can_be_a_file_and_an_id(name: str) -> None:
    with pytest.raises(ValueError, match="lower-case words joined by hyphens"):
        Figure(name, "<svg ></svg>", "alt", "")


def test_a_figure_says_what_it_shows() -> None:
    with pytest.raises(ValueError, match="a text that says what it shows"):
        Figure("a", chart("a"), " ", "caption")


def test_two_figures_of_one_name_are_refused_also_in_a_fold() -> None:
    with pytest.raises(ValueError, match="more than one figure is called 'same'"):
        page_of(figure("same"), Fold("more", [figure("same")]))


def test_a_page_without_sections_and_definitions_without_terms_are_refused() -> None:
    with pytest.raises(ValueError, match="got no section"):
        Page("t", "", [])
    with pytest.raises(ValueError, match="without a term"):
        Definitions([])


def test_figures_are_found_in_order() -> None:
    page = Page("t", "", [Section("s", [Fold("f", [figure("b")]), figure("a")]), Section("s", [figure("c")])])
    assert [each.name for each in page.figures()] == ["b", "a", "c"]
