"""What the judge is shown of a user: parts of the persona, as the renderer writes them for the models."""

from collections.abc import Collection
from typing import Final, Literal, get_args

from alignx.prompts import Condition, Method, Told, render, tell
from alignx.prompts.presets import load_preset
from alignx.records import Persona, Record, Taxonomy

Part = Literal["history", "demographics", "profile"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
_HISTORY: Final = Condition(method=Method.ICA, preset="paper")
_PROFILE: Final = Condition(method=Method.PBA, preset="paper")
"""The judge is shown the same whatever format the models under comparison were given."""


def persona_text(record: Record, parts: Collection[Part], taxonomy: Taxonomy) -> str:
    """What is known of the user of a record, with the headings that the models see; empty where that is nothing.

    It is cut out of what :func:`alignx.prompts.render` gives a model, so that nothing is worded twice. The profile is
    the one that PBA is told: ready with the record, else made of its history; an empty profile is nothing.

    Args:
        record: Whose user.
        parts: Which parts to show; the order does not matter.
        taxonomy: The preference dimensions.

    Raises:
        DataError: The profile is wanted, and there is a history without directions to make it of.
    """
    shown = []
    if "history" in parts or "demographics" in parts:
        shown.append(_told(record, parts, taxonomy))
    if "profile" in parts:
        told = tell(record, _PROFILE, taxonomy)
        shown.append(_body(record, told, _PROFILE) if told.profile else "")
    return "\n\n".join(text for text in shown if text)


def _told(record: Record, parts: Collection[Part], taxonomy: Taxonomy) -> str:
    whole = tell(record, _HISTORY, taxonomy)
    comments, choices = (whole.comments, whole.choices) if "history" in parts else ((), ())
    told = Told(comments, choices, whole.demographics if "demographics" in parts else "")
    return _body(record, told, _HISTORY) if told.items or told.demographics else ""


def _body(record: Record, told: Told, condition: Condition) -> str:
    """A model's user turn without the task before and the response heading behind."""
    blocks = load_preset(condition.preset).blocks
    user = render(record, told, condition).user
    return user.removeprefix(blocks.task.format(prompt=record.prompt)).removesuffix(blocks.response).rstrip("\n")


def sources(persona: Persona) -> tuple[str, ...]:
    """Which parts of a persona a record has, to group by; not all of them need be shown to the judge."""
    has = {
        "comments": bool(persona.comments),
        "choices": bool(persona.choices),
        "description": bool(persona.demographics),
        "profile": persona.profile is not None,
    }
    return tuple(name for name, there in has.items() if there)
