"""From what is told to text: the instruction and the user turn, byte for byte as the presets say."""

from collections.abc import Sequence
from dataclasses import dataclass

from alignx.prompts.condition import Condition, Method
from alignx.prompts.presets import Preset, load_preset
from alignx.prompts.telling import Told
from alignx.records import Choice, Comment, Record


@dataclass(frozen=True)
class Rendered:
    """The two turns a model is given, before the framing."""

    instruction: str
    user: str


def render(record: Record, told: Told, condition: Condition) -> Rendered:
    """The instruction and the user turn of one record (spec: Prompt formats)."""
    preset = load_preset(condition.preset)
    body = _history(preset, told) if condition.method is Method.ICA else _profile(preset, told)
    task = preset.blocks.task.format(prompt=record.prompt)
    return Rendered(preset.instruction[condition.method], task + body)


def _history(preset: Preset, told: Told) -> str:
    history = _comments(preset, told.comments) + _choices(preset, told.choices) + told.demographics
    if history:
        return preset.heading.ica + history + preset.blocks.response
    heading = preset.heading.ica if preset.nothing_to_say.history_heading else ""
    return heading + preset.nothing_to_say.history_response


def _profile(preset: Preset, told: Told) -> str:
    return preset.heading.pba + (told.profile or preset.nothing_to_say.profile) + preset.blocks.response


def _comments(preset: Preset, items: Sequence[Comment]) -> str:
    if not items:
        return ""
    return preset.blocks.comments + "".join(
        preset.blocks.comment.format(number=number, prompt=item.prompt, comment=item.comment)
        for number, item in enumerate(items, start=1)
    )


def _choices(preset: Preset, items: Sequence[Choice]) -> str:
    if not items:
        return ""
    return preset.blocks.choices + "".join(
        preset.blocks.choice.format(number=number, prompt=item.prompt, chosen=item.chosen, rejected=item.rejected)
        for number, item in enumerate(items, start=1)
    )
