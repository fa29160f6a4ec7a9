"""From what is told to text: the instruction and the user turn, byte for byte as the presets say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from string import Formatter

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
    blocks = preset.blocks
    comments = _numbered(blocks.comments, blocks.comment, told.comments)
    choices = _numbered(blocks.choices, blocks.choice, told.choices)
    history = comments + choices + told.demographics
    if history:
        return preset.heading.ica + history + blocks.response
    heading = preset.heading.ica if preset.nothing_to_say.history_heading else ""
    return heading + preset.nothing_to_say.history_response


def _profile(preset: Preset, told: Told) -> str:
    return preset.heading.pba + (told.profile or preset.nothing_to_say.profile) + preset.blocks.response


def _numbered(heading: str, block: str, items: Sequence[Comment] | Sequence[Choice]) -> str:
    """A heading and a block for each item, numbered from 1; nothing without items."""
    if not items:
        return ""
    template, fields_of = _template(block, len(items))
    return heading + template % tuple(chain.from_iterable(map(fields_of, items)))


@lru_cache(maxsize=256)  # a preset's blocks are filled a million times, with a few items each
def _template(block: str, count: int) -> tuple[str, Callable[[Comment | Choice], tuple[str, ...]]]:
    """So many blocks in a row with a ``%s`` for each field, and what gives an item's fields in that order."""
    parts = [(literal.replace("%", "%%"), field) for literal, field, _, _ in Formatter().parse(block)]
    names = [field for _, field in parts if field not in (None, "number")]
    template = "".join(
        literal + ("" if field is None else str(number) if field == "number" else "%s")
        for number in range(1, count + 1)
        for literal, field in parts
    )
    return template, attrgetter(*filter(None, names))
