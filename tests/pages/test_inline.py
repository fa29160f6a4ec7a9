"""Prose: three marks mean something, and nothing else does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignx.pages.inline import Span, literal, plain, spans


def test_code_bold_and_links_are_told_from_text() -> None:
    assert spans("Run `make *x*`, **now**: see [it](https://a.example/?q=1).") == [
        Span("Run "),
        Span("make *x*", "code"),
        Span(", "),
        Span("now", "strong"),
        Span(": see "),
        Span("it", "link", "https://a.example/?q=1"),
        Span("."),
    ]


@pytest.mark.parametrize(
    "prose", ["2 * 3 ** 4", "a ` b", "** x **", "[87.4, 92.0]", "[a](b c)", "*a*", "_a_", "<b>", "` `"]
)
def test_a_mark_that_marks_nothing_is_text(prose: str) -> None:
    assert spans(prose) == [Span(prose)]


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "//evil.example", "vbscript:x", "http://[x"],
)
def test_a_link_that_could_run_a_script_or_leave_unseen_is_text(url: str) -> None:
    assert all(span.kind == "text" for span in spans(f"a [b]({url}) c"))


@pytest.mark.parametrize("url", ["https://a.example/x", "mailto:a@b.example", "#results", "figures/a.svg", "../b"])
def test_links_to_pages_are_links(url: str) -> None:
    assert Span("b", "link", url) in spans(f"a [b]({url}) c")


@given(st.text())
def test_literal_text_reads_as_it_is_also_within_bold(text: str) -> None:
    assert plain(literal(text)) == text
    assert all(span.kind == "text" for span in spans(literal(text)))
    assert spans(f"a **x{literal(text)}x** b")[1] == Span(f"x{text}x", "strong")
