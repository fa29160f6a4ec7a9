"""A page as HTML: well formed, self-contained, readable in both colour schemes, and safe against what it quotes."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignx.pages import Code, Fold, Paragraph, Quote, Row, Section, Table, literal, to_html
from alignx.pages.document import Page
from alignx.pages.html import read_css
from tests.pages.sheets import HOSTILE, ROWS, Reader, page_of, page_with_everything


def test_it_is_well_formed_and_every_id_is_unique() -> None:
    found = Reader(to_html(page_with_everything()))
    assert len(found.ids) == len(set(found.ids))
    assert {"results", "results-2", "section"} <= set(found.ids)


def test_every_reference_within_the_page_leads_somewhere() -> None:
    html = to_html(page_with_everything())
    wanted = set(re.findall(r'href="#([^"]+)"', html)) | set(re.findall(r"url\(#([^)]+)\)", html))
    assert {"results", "results-2", "section"} <= wanted <= set(Reader(html).ids)


def test_nothing_outside_the_page_is_loaded_and_nothing_runs() -> None:
    html = to_html(page_with_everything())
    found = Reader(html)
    links = {"https://a.example/x", "data:,"}
    for tag, attributes in found.tags:
        assert tag not in {"script", "iframe", "img", "object", "embed", "base", "form"}
        assert not {name for name in attributes if name.startswith("on") or name in {"src", "srcset", "xlink:href"}}
        href = attributes.get("href") or "#"
        assert href.startswith("#") or href in links
    assert set(re.findall(r"https?://[^\s\"'<]+", html)) == {"https://a.example/x", "http://www.w3.org/2000/svg"}
    assert not re.search(r"url\((?!#)|@import", html)
    assert "default-src 'none'" in html


def test_it_says_what_assistive_software_and_phones_need() -> None:
    html = to_html(page_with_everything())
    found = Reader(html)
    assert ("html", {"lang": "en"}) in found.tags
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in found.tags
    assert ("th", {"scope": "col", "class": "r"}) in found.tags
    assert ("th", {"scope": "row", "class": "l"}) in found.tags
    pictures = [attributes for tag, attributes in found.tags if tag == "svg"]
    assert [each["role"] for each in pictures] == ["img", "img"]
    assert pictures[0]["aria-label"] == 'accuracy of "own": 89.7 %'
    assert not {"width", "height"} & pictures[0].keys()


def test_every_number_given_is_there_and_rows_are_marked() -> None:
    found = Reader(to_html(page_with_everything()))
    assert found.text_of("td") == [cell for row in ROWS for cell in (getattr(row, "cells", row))[1:]]
    assert [attributes for tag, attributes in found.tags if tag == "tr"][1:] == [
        {"class": "strong"},
        {"class": "control"},
        {},
    ]


def test_a_row_below_another_and_a_narrow_table_are_marked_for_the_style() -> None:
    table = Table(["model", "n"], [Row(("ICA", "90"), "strong"), Row(("95 % interval", "[8, 9]"), "below")])
    found = Reader(to_html(page_of(table)))
    assert ("tr", {"class": "below"}) in found.tags
    assert ("table", {"class": "narrow"}) in found.tags
    for rule in ("tr.below > *", "tr:has(+ .below) > *", "table.narrow", "td.short", ".folded > .wide"):
        assert f"{rule} {{" in read_css()


def test_a_cell_of_a_word_is_set_on_one_line() -> None:
    found = Reader(to_html(page_of(Table(["row", "method"], [("a", "ica")]))))
    assert ("td", {"class": "l short"}) in found.tags


def parsed(text: str) -> str:
    """What a browser makes of the text of a ``pre``."""
    return text.removeprefix("\n")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_reads_as_text_wherever_it_stands(text: str) -> None:
    page = Page(
        text,
        literal(text),
        [Section(text, [Quote(text, text), Code(text), Fold(text, [Table([text], [(text,)], caption=literal(text))])])],
    )
    html = to_html(page)
    found = Reader(html)
    assert html.count("&#13;") == 2 * text.count("\r"), "a parser makes another line break of a bare one"
    assert [parsed(each) for each in found.text_of("pre")] == [text, text]
    for tag in ("title", "h1", "h2", "summary"):
        assert found.text_of(tag) == [text]
    assert found.text_of("th") == [text, text]
    assert found.text_of("p") == [text]


@settings(max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_text_is_kept_in_a_quote_and_in_prose(text: str) -> None:
    found = Reader(to_html(page_of(Quote("q", text), Paragraph(literal(text)))))
    assert parsed(found.text_of("pre")[0]) == text
    assert found.text_of("p")[-1] == text


def test_markup_of_prose_is_html() -> None:
    html = to_html(page_of(Paragraph("Run `a<b`, **now**: [x](https://a.example/?a=1&b=2).")))
    link = '<a href="https://a.example/?a=1&amp;b=2">x</a>'
    assert f"<p>Run <code>a&lt;b</code>, <strong>now</strong>: {link}.</p>" in html


def test_the_same_page_is_the_same_bytes() -> None:
    assert to_html(page_with_everything()) == to_html(page_with_everything())


# colours


def schemes() -> tuple[dict[str, str], dict[str, str]]:
    """Each colour of the light and of the dark scheme, by name."""
    first, second = re.findall(r":root \{(.*?)\}", read_css(), re.DOTALL)
    light = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", first))
    return light, dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", second))


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """Contrast of WCAG 2.2: from 1, the same colour, to 21, black on white."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_both_schemes_name_the_same_colours() -> None:
    light, dark = schemes()
    assert light.keys() == dark.keys()
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("scheme", schemes(), ids=["light", "dark"])
def test_text_has_the_contrast_of_wcag_aa_and_charts_that_of_graphics(scheme: dict[str, str]) -> None:
    for text in ("ink", "muted", "accent", "caution"):
        assert min(contrast(scheme[text], scheme[ground]) for ground in ("background", "surface")) >= 4.5
    for number in range(1, 6):
        assert contrast(scheme[f"series-{number}"], scheme["background"]) >= 3
