"""What the judge is asked about a pair, and how its reply is read. The wording is in ``wording/``."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Final, Literal, NamedTuple

from alignx.chat.fencing import CODE_LENGTH, code_of, fence
from alignx.chat.question import Question, UnreadableError
from alignx.chat.reading import last_json_object
from alignx.chat.receiving import plain_text
from alignx.chat.wording import load_wording
from alignx.manifest import digest

PROMPT: Final = "alignx-judge/1"
"""Version of the wording; a change that moves verdicts gets a new one. What tells exactly is :func:`prompt_digest`."""

Place = Literal["response 1", "response 2", "tie"]
PLACES: Final[tuple[Place, ...]] = ("response 1", "response 2", "tie")
_LABELS: Final = ("PERSONA", "POST", "RESPONSE 1", "RESPONSE 2")
_FIELDS: Final = ("reason", "certainty", "verdict")
_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        # The reason first: a verdict that stands before it is not reached by it.
        "reason": {"type": "string"},
        # No bounds: some servers refuse a schema that has them. They are in the wording, and checked on reading.
        "certainty": {"type": "integer"},
        "verdict": {"type": "string", "enum": list(PLACES)},
    },
    "required": list(_FIELDS),
    "additionalProperties": False,
}


class Said(NamedTuple):
    """What a judge says about two responses in the order in which it was shown them."""

    place: Place
    certainty: int
    """From 0 to 100."""
    reason: str


@dataclass(frozen=True)
class Shown:
    """The texts of a request."""

    persona: str
    post: str
    first: str
    second: str

    @property
    def texts(self) -> tuple[str, str, str, str]:
        """As they stand in the request."""
        return self.persona, self.post, self.first, self.second


def question(shown: Shown, reply_tokens: int) -> Question:
    """The request that shows these texts, each fenced; the same texts make the same request.

    Args:
        shown: Persona, post and responses.
        reply_tokens: That the reply may have.
    """
    return Question(_system(), _show(shown), _SCHEMA, "verdict", reply_tokens)


def read(text: str) -> Said:
    """What a reply says: its last complete JSON object that has a verdict.

    Words in prose around it and in the reason mean nothing. When the last object that has a verdict is not valid, the
    reply cannot be read, whatever an earlier one says: that may be a quotation.

    Raises:
        UnreadableError: There is no verdict, or it is not from the menu, or something else is not what was asked for.
    """
    found = last_json_object(text, _said)
    if isinstance(found, UnreadableError):
        raise found
    return found


def _said(found: Mapping[str, Any]) -> Said | UnreadableError:
    """What an object says, or what is wrong with one that was meant to be the reply."""
    try:
        return _checked(found)
    except UnreadableError as error:
        if "verdict" in found:
            return error
        raise


def _checked(found: Mapping[str, Any]) -> Said:
    missing = [name for name in _FIELDS if name not in found]
    extra = [name for name in found if name not in _FIELDS]
    if missing or extra:
        raise UnreadableError(f"{_short((missing or extra)[0])} is {'missing' if missing else 'not asked for'}")
    reason, certainty, verdict = (found[name] for name in _FIELDS)
    if not isinstance(reason, str):
        raise UnreadableError(f"reason is {_short(reason)}, expected a text")
    if type(certainty) is not int or not 0 <= certainty <= 100:  # true is an int to Python
        raise UnreadableError(f"certainty is {_short(certainty)}, expected a whole number from 0 to 100")
    if verdict not in PLACES:
        raise UnreadableError(f"verdict is {_short(verdict)}, expected {', '.join(PLACES)}")
    return Said(verdict, certainty, plain_text(reason))  # an escape within the text may be half a character


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 24 else text[:23] + "…"


@cache
def prompt_digest() -> str:
    """Digest of everything that shapes a request: wording, order, fences, schema; taken of a request itself."""
    return digest(asdict(question(Shown("a persona", "a post", "a response", "another"), 512)))


@cache
def _system() -> str:
    return load_wording("alignx.judging", "system").fill()


def _show(shown: Shown) -> str:
    code = code_of(shown.texts)
    fenced = [fence(label, text, code) for label, text in zip(_LABELS, shown.texts, strict=True)]
    names = ("persona", "post", "first", "second")
    return load_wording("alignx.judging", "pair").fill(code=code, **dict(zip(names, fenced, strict=True)))


def shown_in(user: str) -> Shown | None:
    """The texts that a user turn shows: the inverse of what :func:`question` makes; None where there are none."""
    return next(_all_shown(user), None)


def _all_shown(user: str) -> Iterator[Shown]:
    for begin in re.finditer(rf"\[BEGIN PERSONA ([0-9a-f]{{{CODE_LENGTH}}})\]\n", user):
        code = begin[1]
        fenced = re.findall(rf"\[BEGIN ([A-Z0-9 ]+) {code}\]\n(.*?)\n\[END \1 {code}\]", user, re.DOTALL)
        if tuple(label for label, _ in fenced) == _LABELS:
            shown = Shown(*(text for _, text in fenced))
            if _show(shown) == user:
                yield shown
