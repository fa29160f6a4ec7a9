"""A page as one HTML file that needs nothing else: style and figures are inside, and there is no script."""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from alignx.pages.document import Page, Section
from alignx.pages.inline import plain, spans

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup


def to_html(page: Page) -> str:
    """The page as one self-contained HTML text."""
    from markupsafe import Markup

    anchors = _anchors(page.sections)
    return _template().render(page=page, anchors=anchors, css=Markup(read_css())) + "\n"


def read_css() -> str:
    """The style of every page."""
    return (files("alignx.pages") / "page.css").read_text(encoding="utf-8")


@cache
def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "kind": lambda block: type(block).__name__,
        "plain": plain,
        "spans": spans,
        "verbatim": _verbatim,
        "svg": Markup,
    }
    return environment.from_string((files("alignx.pages") / "page.html.jinja").read_text(encoding="utf-8"))


def _verbatim(text: str) -> "Markup":
    """What a ``pre`` shows as ``text``, byte for byte: a parser drops a first line break, and unifies the others."""
    from markupsafe import Markup, escape

    return Markup("\n") + escape(text).replace("\r", Markup("&#13;"))


def _anchors(sections: Sequence[Section]) -> list[str]:
    """An id for each section, made from its title; never two hyphens in a row, which begin the ids of figures."""
    found: list[str] = []
    for section in sections:
        ascii_only = unicodedata.normalize("NFKD", section.title).encode("ascii", "ignore").decode().lower()
        slug = "-".join(re.findall("[a-z0-9]+", ascii_only)) or "section"
        number = 1
        while (anchor := slug if number == 1 else f"{slug}-{number}") in found:
            number += 1
        found.append(anchor)
    return found
