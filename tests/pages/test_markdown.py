"""A page as Markdown, read back by a parser of CommonMark where it is installed."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignx.pages import Block, Code, Fold, Note, Paragraph, Quote, Row, Table, literal, to_markdown
from alignx.pages.document import one_line
from tests.pages.sheets import HOSTILE, Reader, page_of, page_with_everything

TEXTS = st.text(
    st.characters(exclude_categories=["C"]) | st.sampled_from(list("`*_[]()<>|~#-+\\&!$=.:1 \n")), max_size=30
)


def read(markdown: str) -> Reader:
    """What a reader of the Markdown gets, HTML included: as on a site that lets all of it through."""
    parser = pytest.importorskip("markdown_it").MarkdownIt("commonmark", {"html": True})
    return Reader(parser.enable(["table", "strikethrough"]).render(markdown))


def body(*blocks: Block) -> str:
    return to_markdown(page_of(*blocks)).split("## Only\n\n")[1]


def test_a_table_is_aligned_and_escapes_the_bar() -> None:
    table = Table(["name", "n"], [Row(("a|b", "12"), "strong"), Row(("世界", "7"), "control"), ("c", "")])
    assert body(table) == (
        "| name     |      n |\n"
        "| -------- | -----: |\n"
        "| **a\\|b** | **12** |\n"
        "| *世界*   |    *7* |\n"
        "| c        |        |\n"
    )


def test_a_row_below_another_is_a_row() -> None:
    table = Table(["model", "n"], [Row(("ICA", "90"), "strong"), Row(("interval", "[8, 9]"), "below")])
    assert to_markdown(page_of(table)).splitlines()[-2:] == ["| **ICA**  | **90** |", "| interval | [8, 9] |"]


def test_an_interval_stays_readable_and_a_link_in_a_cell_does_not_work() -> None:
    assert body(Paragraph("89.7 [87.4, 92.0]")) == "89.7 [87.4, 92.0]\n"
    assert "\\[a\\](https://x.example)" in body(Table(["a"], [("[a](https://x.example)",)]))


def test_a_note_a_figure_and_a_fold_are_written_as_github_shows_them() -> None:
    written = to_markdown(page_with_everything())
    assert "> **Note.** All is `synthetic`." in written
    assert '![accuracy of "own": 89.7 %](figures/first.svg)\n\nWhat `own` gives.' in written
    assert "<details>\n<summary>Example &lt;1&gt;</summary>\n\nSee [it](https://a.example/x)." in written


def test_every_number_given_is_there() -> None:
    written = to_markdown(page_with_everything())
    for number in ("4,000", "89.7 %", "[87.4, 92.0]", "55.3 %", "[51.9, 58.7]", "638", "639", "640", "91.2 %"):
        assert number in written


@pytest.mark.parametrize("text", HOSTILE)
def test_verbatim_text_is_kept_byte_for_byte_behind_a_fence_it_cannot_close(text: str) -> None:
    for block in (Code(text), Quote("label", text), Fold("fold", [Code(text)])):
        fences = re.search(r"(`{3,})text\n(.*)\n\1(?!`)", body(block), re.DOTALL)
        assert fences is not None
        assert fences[2] == text
        assert fences[1] not in text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_reads_as_text(text: str) -> None:
    found = read(body(Quote(text, text), Fold(text, [Table(["c"], [(text,)])])))
    assert found.text_of("strong") == [one_line(text)]
    assert found.text_of("code") == [re.sub("\r\n?", "\n", text + "\n")]  # as every reader of Markdown has it
    assert [each.strip() for each in found.text_of("td")] == [one_line(text)]
    assert found.text_of("summary") == [one_line(text)]


@given(TEXTS)
def test_any_literal_text_reads_as_text_in_a_paragraph(text: str) -> None:
    wanted = one_line(text)
    found = read(body(Paragraph(literal(text)), Note("x" + literal(text))))
    paragraphs = found.text_of("p")
    if wanted:
        assert paragraphs[0].strip() == wanted.strip()
    assert {tag for tag, _ in found.tags} <= {"p", "blockquote", "strong"}


def test_code_in_prose_is_not_escaped() -> None:
    assert body(Paragraph("Use `--a_b *c*`, **not** d_e or *f*.")) == "Use `--a_b *c*`, **not** d_e or \\*f\\*.\n"


@pytest.mark.parametrize(
    ("prose", "written"),
    [("- a", "\\- a"), ("1. a", "1\\. a"), ("# a", "\\# a"), ("> a", "\\> a"), ("-0.3", "-0.3"), ("1.5 s", "1.5 s")],
)
def test_a_paragraph_does_not_begin_a_list_or_a_heading(prose: str, written: str) -> None:
    assert body(Paragraph(prose)) == written + "\n"
