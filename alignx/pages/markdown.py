"""A page as Markdown (CommonMark, with GitHub's tables)."""

import re
import unicodedata
from collections.abc import Sequence
from html import escape as escape_html

from alignx.pages.document import (
    Block,
    Code,
    Definitions,
    Figure,
    Fold,
    Note,
    Page,
    Paragraph,
    Quote,
    Row,
    Table,
    one_line,
)
from alignx.pages.inline import Span, spans

_INTERVAL = r"\[[-+−\d.,% ]*\d[-+−\d.,% ]*\](?![(\[:])"
_SPECIAL = r"[\\`*~$<\[\]]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)|!\Z"
_ESCAPED = re.compile(rf"(?P<kept>{_INTERVAL})|(?P<special>{_SPECIAL})")
"""What to escape in running text. ``[87.4, 92.0]`` is no link, and stays readable where the Markdown is read raw."""
_OPENING = re.compile(r"([-+#=>](?=[-+#=>\s]|\Z)|>|\d{1,9}(?=[.)](?:\s|\Z)))")
"""The beginning of a line that would start a list, a heading, a quotation or a rule."""


def to_markdown(page: Page) -> str:
    """The page as one Markdown text; its figures are expected in ``figures/NAME.svg`` beside it."""
    parts = [f"# {_text(page.title)}", _prose(page.lead)]
    for section in page.sections:
        parts += [f"## {_text(section.title)}", _blocks(section.blocks)]
    if page.footer:
        parts += ["---", _prose(page.footer)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _blocks(blocks: Sequence[Block]) -> str:
    return "\n\n".join(filter(None, map(_block, blocks)))


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return _prose(text)
        case Note(text):
            return f"> **Note.** {_prose(text)}"
        case Table():
            return "\n\n".join(filter(None, (_prose(block.caption), _table(block))))
        case Figure():
            picture = f"![{_text(block.alt)}](figures/{block.name}.svg)"
            return "\n\n".join(filter(None, (picture, _prose(block.caption))))
        case Quote(label, text):
            return f"**{_text(label)}**\n\n{_verbatim(text)}"
        case Code(text):
            return _verbatim(text)
        case Definitions(items):
            return "\n".join(f"- **{_text(term)}**: {_prose(meaning)}" for term, meaning in items)
        case Fold(title, blocks):
            summary = escape_html(one_line(title), quote=False)
            return f"<details>\n<summary>{summary}</summary>\n\n{_blocks(blocks)}\n\n</details>"


def _prose(prose: str) -> str:
    written = one_line("".join(map(_span, spans(prose))))
    opening = _OPENING.match(written)
    if opening is None:
        return written
    at = opening.end() if opening[0].isdigit() else 0
    return written[:at] + "\\" + written[at:]


def _span(span: Span) -> str:
    if span.kind == "code":
        return f"`{one_line(span.text)}`"
    text = _escape(span.text)
    if span.kind == "strong":
        return f"**{text}**"
    return f"[{text}]({span.url})" if span.kind == "link" else text


def _escape(text: str) -> str:
    """Running text in which nothing means anything to Markdown."""
    return _ESCAPED.sub(lambda found: found["kept"] or "\\" + found["special"], text)


def _text(text: str) -> str:
    """A text that stands for itself, on one line and not at the beginning of one."""
    return _escape(one_line(text))


def _verbatim(text: str) -> str:
    """A fenced block: the fence is longer than any run of backticks inside, so nothing inside can close it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"


def _table(table: Table) -> str:
    lines = [[_cell(text) for text in table.columns], *map(_cells, table.lines)]
    widths = [max(3, *map(_width, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * (width - 1) + (":" if side == "r" else "-") for width, side in zip(widths, table.sides, strict=True)]
    padded = [[_pad(*each) for each in zip(cells, widths, table.sides, strict=True)] for cells in lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (padded[0], rule, *padded[1:]))


def _cells(row: Row) -> list[str]:
    around = {"": "", "strong": "**", "control": "*", "below": ""}[row.mark]
    return [f"{around}{text}{around}" if text else "" for text in map(_cell, row.cells)]


def _cell(text: str) -> str:
    return _text(text).replace("|", "\\|")


def _pad(text: str, width: int, side: str) -> str:
    gap = " " * (width - _width(text))
    return gap + text if side == "r" else text + gap


def _width(text: str) -> int:
    """Columns that a text takes in a terminal: two for a wide character, none for an accent."""
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )
