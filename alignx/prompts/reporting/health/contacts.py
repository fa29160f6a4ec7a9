"""E-mail addresses and phone numbers: found where the form leaves little doubt, masked in reports, taken out on demand.

The patterns are narrow on purpose: a version number, a date, a price, an ISBN or an @mention that were taken out by
mistake would spoil a text. A number without any sign that it is one for a phone is left alone.
"""

import re
from collections.abc import Callable, Collection
from typing import Literal, get_args

Contact = Literal["email", "phone"]
CONTACTS: tuple[Contact, ...] = get_args(Contact)
PLACEHOLDERS: dict[Contact, str] = {"email": "[e-mail]", "phone": "[phone]"}

_EMAIL = re.compile(
    r"(?<![\w.+@/%-])[^\W_][\w.%+-]{0,63}@((?:[^\W_](?:(?:[^\W_]|-){0,61}[^\W_])?\.)+)([^\W\d_]{2,24})(?![\w@-])(?!:\w)",
    re.IGNORECASE,
)
_FILES = frozenset(
    ["png", "jpg", "jpeg", "gif", "svg", "webp", "bmp", "ico", "js", "ts", "css", "py", "json", "html", "htm", "pdf"]
)
"""What ends a file's name and not a domain's: ``logo@2x.png``."""
_RESERVED = re.compile(r"(?:^|\.)example\.(?:com|org|net)$|\.(?:example|invalid|test|localhost)$", re.IGNORECASE)
"""Domains that are nobody's (RFC 2606)."""

_OUTLINE = bytes(
    ord("0") if chr(byte).isdigit() and byte < 128 else ord("-") if chr(byte) in " ().-/" else ord(" ")
    for byte in range(256)
)
_DIGITS = re.compile(rb"0[0-]{5,}0")
"""What every phone number has in outline; looked for first, as most texts have none."""
_BEFORE = r"(?<![\w.,$€£#+/-])(?<![$€£#][ ])"
_AFTER = r"(?![\w]|[-.,/][0-9])"
_NORTH_AMERICA = (
    r"(?:\([2-9][0-9]{2}\)[ ]?|[2-9][0-9]{2}(?P<mark%d>[-. ]))[2-9][0-9]{2}(?(mark%d)(?P=mark%d)|[-. ])[0-9]{4}"
)
_PHONE = re.compile(
    rf"""{_BEFORE}(?:
        \+1[-. ]?{_NORTH_AMERICA % (1, 1, 1)}
      | \+[2-9][0-9]{{9,13}}
      | (?:\+|00)[2-9][0-9]{{0,2}}(?:[-. ]?\(0\))?(?:[-. ]\(?[0-9]{{2,11}}\)?){{1,5}}
      | {_NORTH_AMERICA % (2, 2, 2)}
      | (?i:(?:tele)?phone|tel|mobile|cell|call|whatsapp|fax)
        (?i:[ ](?:me|us|number|no))?(?i:[ ](?:at|on|is))?[.:]{{0,2}}[ ]?
        (?P<told>\(?0[0-9]{{1,4}}\)?(?:[-/. ]?[0-9]{{2,8}}){{1,4}})
    ){_AFTER}""",
    re.VERBOSE,
)
_FEWEST, _MOST = 8, 15
"""Digits of a phone number (ITU-T E.164 allows 15)."""
_FEWEST_DIFFERENT = 3
"""Of 555-555-5555 nobody answers, and +20 000 000 is a quantity."""


def find(text: str, kind: Contact) -> list[str]:
    """The e-mail addresses or phone numbers in a text."""
    found: list[str] = []

    def keep(contact: str) -> str:
        found.append(contact)
        return contact

    _replace(text, kind, keep)
    return found


def redact(text: str, kinds: Collection[Contact] = CONTACTS) -> tuple[str, dict[Contact, int]]:
    """A text with a placeholder for each contact, and how many of each kind were taken out."""
    counts: dict[Contact, int] = {}
    for kind in CONTACTS:
        if kind in kinds:
            counts[kind] = 0

            def take(contact: str, kind: Contact = kind) -> str:
                counts[kind] += 1
                return PLACEHOLDERS[kind]

            text = _replace(text, kind, take)
    return text, counts


def mask(contact: str) -> str:
    """What a report may show: the form of a contact without the contact."""
    if "@" in contact:
        name, _, domain = contact.partition("@")
        return f"{name[0]}•••@•••.{domain.rpartition('.')[2]}"
    return re.sub("[0-9]", "•", contact)


def maybe(text: str, kind: Contact) -> bool:
    """Whether a text could hold one at all: a fast test that is never wrong about a no."""
    if kind == "email":
        return "@" in text
    return _DIGITS.search(text.encode("utf-8", "surrogatepass").translate(_OUTLINE)) is not None


def _replace(text: str, kind: Contact, by: Callable[[str], str]) -> str:
    if not maybe(text, kind):
        return text
    return _EMAIL.sub(lambda m: _email(m, by), text) if kind == "email" else _PHONE.sub(lambda m: _phone(m, by), text)


def _email(match: re.Match[str], by: Callable[[str], str]) -> str:
    domain, last = match[1] + match[2], match[2].lower()
    return match[0] if last in _FILES or _RESERVED.search(domain) else by(match[0])


def _phone(match: re.Match[str], by: Callable[[str], str]) -> str:
    number = match["told"] or match[0]
    digits = re.sub("[^0-9]", "", number)
    if not _FEWEST <= len(digits) <= _MOST or len(set(digits[2:])) < _FEWEST_DIFFERENT:
        return match[0]
    return match[0][: len(match[0]) - len(number)] + by(number)
