"""Texts of strangers inside a request: between lines that the texts themselves cannot contain."""

from collections.abc import Sequence
from itertools import count

from alignx.manifest import digest

CODE_LENGTH = 16


def code_of(texts: Sequence[str]) -> str:
    """What marks the fences of a request: 16 hex digits that occur in none of its texts.

    It is a digest of the texts and not drawn: the same texts make the same request, so that caches find it again, and
    who writes one of the texts cannot know it, since it depends on what they write and on the others. Should it occur
    in a text all the same, the next one is taken.
    """
    for number in count():
        code = digest("fence", number, list(texts))[:CODE_LENGTH]
        if not any(code in text for text in texts):
            break
    return code


def fence(label: str, text: str, code: str) -> str:
    """A text byte for byte between two lines of ours."""
    return f"[BEGIN {label} {code}]\n{text}\n[END {label} {code}]"
