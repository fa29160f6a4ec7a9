"""The form of a response, without its words: what a model could tell chosen from rejected by."""

import re
from collections.abc import Callable

_LIST = re.compile(r"^[ \t]*(?:[-*•]|[0-9]{1,3}[.)])[ \t]", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} ", re.MULTILINE)
_DIGIT = re.compile("[0-9]")
_CAPITAL = re.compile("[A-Z]")
_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf]")
_OPENING = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\S")
_SENTENCE_ENDS = frozenset(".!?…。！？")
_CLOSERS = "\"'”’»)]}*_`"


def _ends_a_sentence(text: str) -> bool:
    return text.rstrip().rstrip(_CLOSERS)[-1:] in _SENTENCE_ENDS


def _is_cut(text: str) -> bool:
    """Whether it ends in a letter, a digit or a mark after which something must follow."""
    last = text.rstrip()[-1:]
    return last.isalnum() or last in {",", ";", ":", "(", "[", "{", "-", "–", "—"}


def _starts_with_capital(text: str) -> bool:
    return text.lstrip()[:1].isupper()


FORMS: dict[str, Callable[[str], float]] = {
    "characters": len,
    "words": lambda text: len(text.split()),
    "line breaks": lambda text: text.strip().count("\n"),
    "brackets and parentheses": lambda text: text.count("(") + text.count("[") + text.count("{"),
    "list markers": lambda text: len(_LIST.findall(text)),
    "headings": lambda text: len(_HEADING.findall(text)) if "#" in text else 0,
    "bold marks": lambda text: text.count("**"),
    "code fences": lambda text: text.count("```"),
    "URLs": lambda text: text.count("http://") + text.count("https://") + text.count("www."),
    "emoji": lambda text: 0 if text.isascii() else len(_EMOJI.findall(text)),
    "digits": lambda text: len(_DIGIT.findall(text)),
    "capital letters": lambda text: len(_CAPITAL.findall(text)),
    "capitalised start": _starts_with_capital,
    "ends a sentence": _ends_a_sentence,
    "is cut short": _is_cut,
    "full stops": lambda text: text.count("."),
    "exclamation marks": lambda text: text.count("!"),
    "question marks": lambda text: text.count("?"),
    "commas": lambda text: text.count(","),
    "quotation marks": lambda text: text.count('"') + text.count("“"),
    "dashes": lambda text: text.count("—") + text.count("–"),
    "white space at the start": lambda text: len(text) - len(text.lstrip()),
    "white space at the end": lambda text: len(text) - len(text.rstrip()),
}
"""What is counted of a response; truth is 1."""


def form(text: str) -> list[float]:
    """The numbers of :data:`FORMS`, in order."""
    return [count(text) for count in FORMS.values()]


def opening(text: str) -> str:
    """The first word of a text, or its first mark, without case."""
    found = _OPENING.search(text)
    return found[0].lower() if found else ""
