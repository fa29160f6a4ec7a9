r"""The little markup that prose may use: ``code`` in backticks, **bold** and [links](url); nothing else means anything.

A backslash takes the meaning from a mark: ``\*``, ``\```, ``\[``, ``\]``, ``\\``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

Kind = Literal["text", "code", "strong", "link"]

_MARKS = r"\\`*\[\]"
_MARKUP = re.compile(
    rf"""
      \\(?P<taken>[{_MARKS}])
    | `(?P<code>[^`]*[^`\s][^`]*)`
    | \*\*(?=\S)(?P<strong>(?:\\.|[^\\*])+?)(?<=\S)\*\*
    | \[(?P<link>(?:\\.|[^\\\[\]])+)\]\((?P<url>[^\s()<>]+)\)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Span:
    """A run of prose that is written in one way."""

    text: str
    kind: Kind = "text"
    url: str = ""


def literal(text: str) -> str:
    """Prose that reads as ``text`` whatever it contains: for names and values that came from a user."""
    return re.sub(rf"([{_MARKS}])", r"\\\1", text)


def plain(prose: str) -> str:
    """Prose without its markup."""
    return "".join(span.text for span in spans(prose))


def spans(prose: str) -> list[Span]:
    """The runs of a prose text. A mark without its partner, and a link that could run a script, stay as they are."""
    joined: list[Span] = []
    for span in _spans(prose):
        if joined and span.kind == "text" == joined[-1].kind:
            joined[-1] = Span(joined[-1].text + span.text)
        elif span.text:
            joined.append(span)
    return joined


def _spans(prose: str) -> Iterator[Span]:
    end = 0
    for found in _MARKUP.finditer(prose):
        yield Span(prose[end : found.start()])
        yield _span(found)
        end = found.end()
    yield Span(prose[end:])


def _span(found: re.Match[str]) -> Span:
    if found["taken"]:
        return Span(found["taken"])
    if found["code"]:
        return Span(found["code"], "code")
    if found["strong"]:
        return Span(_untaken(found["strong"]), "strong")
    if _leads_to_a_page(found["url"]):
        return Span(_untaken(found["link"]), "link", found["url"])
    return Span(_untaken(found[0]))


def _untaken(text: str) -> str:
    return re.sub(rf"\\([{_MARKS}])", r"\1", text)


def _leads_to_a_page(url: str) -> bool:
    try:
        return urlsplit(url).scheme in {"", "http", "https", "mailto"} and not url.startswith(("//", "\\"))
    except ValueError:
        return False
