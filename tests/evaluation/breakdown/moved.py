"""Policies whose moves are given, and records whose directions are, for the tests of breakdowns."""

from collections.abc import Mapping, Sequence
from typing import Any

from alignx.evaluation.breakdown import Moves
from alignx.evaluation.outcomes import margins
from alignx.records import Choice, Comment, Dimension, Persona, Record, Taxonomy
from tests.evaluation.test_accuracy import by_id, one

FOUR = Taxonomy(
    (
        Dimension("age", "Young", "Older"),
        Dimension("big_five", "High Openness (to what is new)", "Low Openness"),
        Dimension("big_five", "High <b>Calm</b> & *care*", "Low Calm"),
        Dimension("age", "Likes tea", "Dislikes tea"),
    )
)
"""A small taxonomy; one phrase would be markup if it were not escaped."""


def moved(towards: Mapping[str, float], users: Mapping[str, str] | None = None, **score: Any) -> Moves:
    """A policy that moved by these nats towards each chosen response; each record is of its own user if not said."""
    cluster = {name: f"user:{(users or {}).get(name, name)}" for name in towards}
    policy = by_id(one(name, margin, 0.0, cluster=cluster[name], **score) for name, margin in towards.items())
    reference = by_id(one(name, 0.0, 0.0, cluster=cluster[name], **score) for name in towards)
    return Moves(policy, margins(policy, reference))


def turned_over(moves: Moves) -> Moves:
    """The same records in another order."""
    return Moves(dict(reversed(moves.scores.items())), dict(sorted(moves.margins.items(), reverse=True)))


def direction(levels: str | None) -> bytes | None:
    """``+``, ``-`` and ``.`` for positive, negative and neutral."""
    return None if levels is None else bytes("-.+".index(level) for level in levels)


def record(
    name: str,
    target: str | None = None,
    comments: Sequence[str | None] = (),
    choices: Sequence[str | None] = (),
    **persona: Any,
) -> Record:
    """A record with the direction of its target and of its history items, as :func:`direction` writes them."""
    said = tuple(Comment(f"post {i}", f"comment {i}", direction(each)) for i, each in enumerate(comments))
    chosen = tuple(Choice(f"pair {i}", f"yes {i}", f"no {i}", direction(each)) for i, each in enumerate(choices))
    told = Persona(comments=said, choices=chosen, **persona)
    return Record(name, f"prompt {name}", f"chosen {name}", f"rejected {name}", told, direction(target))


def known(*records: Record) -> dict[str, Record]:
    """Records by id."""
    return {each.id: each for each in records}
