"""From the text of a reply to the JSON object it was asked for, where no server saw to its form."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from alignx.chat.question import UnreadableError

LONGEST: Final = 100_000
"""Characters; a longer reply is not what was asked for, and each ``{`` of it that begins nothing costs time."""
_BEGINNING = re.compile(r"\{(?=\s*(?:[\"}]|\Z))")
"""A brace with which an object can begin; also the last character of a cut reply."""

T = TypeVar("T")


def last_json_object(text: str, fits: Callable[[Mapping[str, Any]], T]) -> T:
    """What the last complete JSON object that fits says; prose and fences around it mean nothing.

    An object inside another is a part, never the reply. A key that occurs twice makes an object unreadable. A reply
    that ends inside an object is cut, whatever came before: what it was about to say might have been something else.

    Args:
        text: The reply.
        fits: From an object to what it says; raises :class:`UnreadableError` where it is not what was asked for.

    Raises:
        UnreadableError: There is none; the reason is that of the last object, if there is one.
    """
    if not text.strip():
        raise UnreadableError("the reply is empty")
    if len(text) > LONGEST:
        raise UnreadableError(f"the reply has {len(text)} characters, at most {LONGEST} are read")
    problem, found = UnreadableError("no JSON object in the reply"), []
    for candidate in _objects(text):
        try:
            if candidate is None:
                raise UnreadableError("a key twice in one object")
            found = [fits(candidate)]
        except UnreadableError as error:
            problem = error
    if not found:
        raise problem
    return found[0]


def _objects(text: str) -> list[dict[str, Any] | None]:
    """The outermost complete objects, in order; None for one with a key twice.

    Each is looked for behind the previous one, or behind where the previous attempt failed, so that nothing is decoded
    twice: what stands inside a broken object is a part of it.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_unique)
    found: list[dict[str, Any] | None] = []
    after, end = 0, len(text.rstrip())
    while begin := _BEGINNING.search(text, after):
        try:
            candidate, after = decoder.raw_decode(text, begin.start())
            found.append(candidate)
        except json.JSONDecodeError as error:
            if error.pos >= end or error.msg.startswith("Unterminated string"):
                raise UnreadableError("the JSON is cut") from None
            after = max(error.pos, begin.end())
        except (RecursionError, ValueError):  # nested beyond reason, or a number of thousands of digits
            raise UnreadableError("the JSON cannot be decoded") from None
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any] | None:
    found = dict(pairs)
    return found if len(found) == len(pairs) else None
