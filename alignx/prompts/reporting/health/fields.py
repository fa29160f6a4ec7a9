"""The texts of a record with the field that each stands in."""

from collections.abc import Iterable, Iterator

from alignx.records import Choice, Comment, Direction, Record

FIELDS = (
    "post",
    "chosen",
    "rejected",
    "demographics",
    "profile",
    "post of a comment",
    "comment",
    "post of a choice",
    "chosen of a choice",
    "rejected of a choice",
)
"""Where a text can stand, as reports name it."""


def texts_of(record: Record) -> Iterator[tuple[str, str]]:
    """Each text that is there, with its field; those of the target first."""
    persona = record.persona
    yield "post", record.prompt
    yield "chosen", record.chosen
    yield "rejected", record.rejected
    if persona.demographics:
        yield "demographics", persona.demographics
    if persona.profile:
        yield "profile", persona.profile
    for comment in persona.comments:
        yield "post of a comment", comment.prompt
        yield "comment", comment.comment
    for choice in persona.choices:
        yield "post of a choice", choice.prompt
        yield "chosen of a choice", choice.chosen
        yield "rejected of a choice", choice.rejected


def directions_of(items: Iterable[Comment | Choice]) -> list[Direction]:
    """The directions of those history items that have one."""
    return [item.direction for item in items if item.direction is not None]
