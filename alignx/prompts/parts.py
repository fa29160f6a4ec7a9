"""Which parts of a persona are told: the paper's UGC, PAIR and DEMO, some of them, or a draw for each record."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Final

from pydantic import BeforeValidator

from alignx.manifest import digest
from alignx.records import Persona

ALL: Final = "all"
ARBITRARY: Final = "arbitrary"


class Part(StrEnum):
    """A part of a persona, in the order in which a prompt tells them."""

    COMMENTS = "comments"
    """User-generated content: UGC in the paper's tables."""
    CHOICES = "choices"
    """Pair-wise comparative feedback: PAIR."""
    DEMOGRAPHICS = "demographics"
    """The description: DEMO."""


_BY_NAME: Final[Mapping[str, Part]] = {
    **{part.value: part for part in Part},
    "ugc": Part.COMMENTS,
    "pair": Part.CHOICES,
    "demo": Part.DEMOGRAPHICS,
}
_EXPECTED: Final = (
    f"{ALL}, {ARBITRARY}, or some of comments (UGC), choices (PAIR), demographics (DEMO) with commas between"
)


def one_spelling(value: object) -> str:
    """The one way to write what is told: ``all``, ``arbitrary``, or names of parts in order with commas between.

    The paper's names are taken too, in either case, and a list of names as YAML writes it. All three parts are ``all``.

    Raises:
        ValueError: It is something else; the message says what was expected.
    """
    if not isinstance(value, str) and not (
        isinstance(value, Sequence) and value and all(isinstance(name, str) for name in value)
    ):
        raise ValueError(_EXPECTED)
    names = [str(name).strip().lower() for name in (value.split(",") if isinstance(value, str) else value)]
    if names in ([ALL], [ARBITRARY]):
        return names[0]
    if alone := next((name for name in names if name in (ALL, ARBITRARY)), None):
        raise ValueError(f"{_EXPECTED}; {alone!r} goes with nothing else")
    if unknown := [name for name in names if name not in _BY_NAME]:
        nearest = difflib.get_close_matches(unknown[0], [*_BY_NAME, ALL, ARBITRARY], n=1, cutoff=0.5)
        raise ValueError(f"{_EXPECTED}; did you mean {nearest[0]!r}?" if nearest else _EXPECTED)
    chosen = {_BY_NAME[name] for name in names}
    return ALL if len(chosen) == len(Part) else ",".join(part.value for part in Part if part in chosen)


Tell = Annotated[str, BeforeValidator(one_spelling)]
"""Which parts of a persona are told; see :func:`one_spelling`."""


def parts_of(persona: Persona) -> tuple[Part, ...]:
    """The parts that a persona has; a ready profile is none of them, it is made of them."""
    there = {
        Part.COMMENTS: bool(persona.comments),
        Part.CHOICES: bool(persona.choices),
        Part.DEMOGRAPHICS: bool(persona.demographics),
    }
    return tuple(part for part in Part if there[part])


def parts_told(tell: str, persona: Persona, record_id: str, seed: int) -> tuple[Part, ...]:
    """The parts of a persona that one record's prompt may tell.

    Args:
        tell: As :func:`one_spelling` writes it.
        persona: Whose parts they are.
        record_id: Of the record whose prompt it is.
        seed: Of the draw.

    Returns:
        Of the parts that the persona has: all; those that are named; or, for ``arbitrary``, a combination drawn by the
        seed and the id. Each combination but the empty one is as likely as any other; the method, the preset and the
        draw of history items have no part in it.
    """
    there = parts_of(persona)
    if tell == ALL or not there:
        return there
    if tell != ARBITRARY:
        named = tell.split(",")
        return tuple(part for part in there if part.value in named)
    drawn = 1 + int(digest(seed, "tell", record_id), 16) % (2 ** len(there) - 1)
    return tuple(part for place, part in enumerate(there) if drawn >> place & 1)


def only(persona: Persona, parts: Sequence[Part], *, keep_profile: bool = False) -> Persona:
    """A persona without its other parts.

    A ready profile is of the whole persona: it goes when a part goes, and when no part is left.

    Args:
        persona: The whole one.
        parts: What stays.
        keep_profile: Whether the ready profile stays all the same, because it was asked for by name.
    """
    whole = bool(parts) and {*parts_of(persona)} <= {*parts}
    return replace(
        persona,
        comments=persona.comments if Part.COMMENTS in parts else (),
        choices=persona.choices if Part.CHOICES in parts else (),
        demographics=persona.demographics if Part.DEMOGRAPHICS in parts else "",
        profile=persona.profile if whole or keep_profile else None,
    )
