"""Reports: a document is described once, and written as Markdown and as one HTML file that needs nothing else."""

from pathlib import Path

from alignx import manifest
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
    Section,
    Table,
)
from alignx.pages.html import to_html
from alignx.pages.inline import literal
from alignx.pages.markdown import to_markdown

__all__ = [
    "Block",
    "Code",
    "Definitions",
    "Figure",
    "Fold",
    "Note",
    "Page",
    "Paragraph",
    "Quote",
    "Row",
    "Section",
    "Table",
    "literal",
    "to_html",
    "to_markdown",
    "write",
]


def write(page: Page, folder: Path, stem: str) -> list[Path]:
    """Write ``stem.md``, ``stem.html`` and ``figures/NAME.svg`` for each figure; returns where, in this order."""
    texts = {f"{stem}.md": to_markdown(page), f"{stem}.html": to_html(page)}
    texts |= {f"figures/{figure.name}.svg": figure.alone + "\n" for figure in page.figures()}
    for name, text in texts.items():
        # Half of a surrogate pair, which JSON can carry, has no bytes in UTF-8.
        manifest.write_text(folder / name, text.encode("utf-8", "replace").decode())
    return [folder / name for name in texts]
