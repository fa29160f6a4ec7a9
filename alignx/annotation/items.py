"""A history item as it is asked about: its kind and its texts, whoever's history it stands in."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from alignx.manifest import digest
from alignx.records import Choice, Comment

Kind = Literal["comment", "choice"]


@dataclass(frozen=True)
class Item:
    """What a question is about."""

    kind: Kind
    texts: tuple[str, ...]
    """Of a comment: post, comment. Of a choice: post, chosen, rejected."""

    def __post_init__(self) -> None:
        expected = {"comment": 2, "choice": 3}[self.kind]
        if len(self.texts) != expected:
            raise ValueError(f"a {self.kind} has {expected} texts, got {len(self.texts)}")

    @cached_property
    def key(self) -> str:
        """Digest of kind and texts, 32 hex digits: so many that nobody can write a text to share another's answer."""
        return digest(self.kind, list(self.texts))[:32]


def item_of(one: Comment | Choice) -> Item:
    """The item that a comment or a choice is; its direction, if it has one, is no part of it."""
    if isinstance(one, Comment):
        return Item("comment", (one.prompt, one.comment))
    return Item("choice", (one.prompt, one.chosen, one.rejected))
