"""How turns become one sequence: control tokens by id, and between them regions of text with slots.

A framing is compiled once, from the tokenizer's chat template or from the released code's literal tokens. User text
only ever fills a slot, so control-token text inside a post stays text.
"""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alignx.errors import ModelError
from alignx.prompts.presets import Preset

SYSTEM, USER, RESPONSE = "ALIGNX0SYSTEM0SLOT", "ALIGNX0USER0SLOT", "ALIGNX0RESPONSE0SLOT"
_SLOTS = (SYSTEM, USER, RESPONSE)
_TRIMS = (None, "", "\n", " ")
_PADDINGS = ("\n", " ", "\t", " \n", "\n \n")
DATE_FORMAT = "%d %b %Y"


@dataclass(frozen=True)
class Region:
    """Text between two control tokens: literal pieces and slots, tokenised as one string."""

    pieces: tuple[str, ...]

    @property
    def varies(self) -> bool:
        """Whether its text differs from record to record."""
        return USER in self.pieces or RESPONSE in self.pieces

    def fill(self, texts: Mapping[str, str]) -> str:
        """The region's text with its slots filled."""
        return "".join(texts[piece] if piece in _SLOTS else piece for piece in self.pieces)


@dataclass(frozen=True)
class Trim:
    """What is removed from around a slot's text: these characters on each side; None is any white space, "" nothing."""

    left: str | None = ""
    right: str | None = ""

    def __call__(self, text: str) -> str:
        """The text without them."""
        return text.lstrip(self.left).rstrip(self.right)


@dataclass(frozen=True)
class Framing:
    """Everything around the texts of a conversation."""

    prompt: tuple[int | Region, ...]
    response: tuple[int | Region, ...]
    """From the end of the prompt to the end-of-turn token, included once."""
    trims: tuple[tuple[str, Trim], ...]
    """What the chat template, or the released code, removes from around each slot's text."""
    system_turn: bool = True
    """False: the template has none, and the instruction is the first paragraph of the user turn."""

    def texts(self, instruction: str, user: str) -> dict[str, str]:
        """The filling of a prompt's slots."""
        if not self.system_turn:
            return self._trimmed({USER: f"{instruction}\n\n{user}"})
        return self._trimmed({SYSTEM: instruction, USER: user})

    def response_texts(self, response: str) -> dict[str, str]:
        """The filling of a response's slot."""
        return self._trimmed({RESPONSE: response})

    def _trimmed(self, texts: dict[str, str]) -> dict[str, str]:
        trims = dict(self.trims)
        return {slot: trims[slot](text) if slot in trims else text for slot, text in texts.items()}


def conversation(tokenizer: Any, framing: Framing, date: str, turns: tuple[str, str, str]) -> str:
    """What the chat template itself makes of an instruction, a user turn and a response."""
    instruction, user, response = turns
    messages = [{"role": "system", "content": instruction}, {"role": "user", "content": user}]
    if not framing.system_turn:
        messages = [{"role": "user", "content": f"{instruction}\n\n{user}"}]
    return _render(tokenizer, [*messages, {"role": "assistant", "content": response}], date, answered=True)


def template_text(tokenizer: Any, date: str) -> str:
    """What the chat template writes around the slots, to see which tokens it uses; empty where it fails."""
    if not tokenizer.chat_template:
        return ""
    slots = _SLOTS if _has_system_turn(tokenizer, date) else (USER, RESPONSE)
    try:
        return _apply(tokenizer, date, slots, None) + _apply(tokenizer, date, slots, RESPONSE)
    except Exception:  # compile_framing says what is wrong with it
        return ""


def compile_framing(tokenizer: Any, control: Mapping[str, int], preset: Preset, date: str) -> Framing:
    """The framing of a preset for a tokenizer.

    Args:
        tokenizer: A transformers tokenizer.
        control: Its control tokens, text → id.
        preset: The prompt format.
        date: What a chat template that writes today's date is given instead.

    Raises:
        ModelError: The tokenizer lacks the chat template or the control tokens that the preset needs.
    """
    if preset.framing == "literal":
        return _literal(tokenizer, control, preset)
    return _from_template(tokenizer, control, date)


def _literal(tokenizer: Any, control: Mapping[str, int], preset: Preset) -> Framing:
    name = tokenizer.name_or_path
    for token in ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"):
        if token not in control:
            raise ModelError(f"{name}: no control token {token}, which the released presets need; use --preset paper")
    prompt = (
        f"<|start_header_id|>system<|end_header_id|>\n\n{SYSTEM}\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
        f"{USER}<|eot_id|><|start_header_id|>assistant<|end_header_id|>"
    )
    if preset.bos:
        if tokenizer.bos_token is None:
            raise ModelError(
                f"{name}: no beginning-of-sequence token, which preset released-eval needs; use --preset paper"
            )
        prompt = tokenizer.bos_token + prompt
    if tokenizer.eos_token is None:
        raise ModelError(f"{name}: no end-of-sequence token, which the released presets need; use --preset paper")
    response = f"{RESPONSE}{preset.response_end}{tokenizer.eos_token}"
    trims = ((RESPONSE, Trim(right="\n")),) if preset.strip_response_newlines else ()
    return Framing(_split(prompt, control), _split(response, control), trims)


def _from_template(tokenizer: Any, control: Mapping[str, int], date: str) -> Framing:
    if not tokenizer.chat_template:
        raise ModelError(
            f"{tokenizer.name_or_path}: no chat template, which preset paper needs; use an instruct model or a "
            "released preset"
        )
    system_turn = _has_system_turn(tokenizer, date)
    slots = _SLOTS if system_turn else (USER, RESPONSE)
    try:
        prompt = _apply(tokenizer, date, slots, None)
        whole = _apply(tokenizer, date, slots, RESPONSE)
    except Exception as error:  # templates fail with errors of their own choosing
        raise ModelError(
            f"{tokenizer.name_or_path}: its chat template fails: {' '.join(str(error).split())}"
        ) from error
    if not whole.startswith(prompt):
        raise ModelError(
            f"{tokenizer.name_or_path}: its chat template renders a prompt differently once it is answered, so a "
            "response cannot be scored after the prompt it would be generated from"
        )
    for slot in slots:
        if whole.count(slot) != 1:
            turn = slot.split("0")[1].lower()
            raise ModelError(
                f"{tokenizer.name_or_path}: its chat template writes the {turn} turn {whole.count(slot)} times, "
                "expected once"
            )
    response = _split(whole[len(prompt) :], control)
    end = _first_control_after_slot(response)
    if end is None:
        raise ModelError(
            f"{tokenizer.name_or_path}: its chat template ends a response with no control token, so its end cannot be "
            "scored"
        )
    trims = tuple((slot, _trim(tokenizer, date, slots, slot, whole)) for slot in slots)
    return Framing(_split(prompt, control), response[: end + 1], trims, system_turn)


def _has_system_turn(tokenizer: Any, date: str) -> bool:
    try:
        text = _apply(tokenizer, date, _SLOTS, None)
    except Exception:  # templates refuse a role with errors of their own choosing
        return False
    return SYSTEM in text


def _apply(tokenizer: Any, date: str, slots: Sequence[str], answer: str | None, **contents: str) -> str:
    """The chat template's text around slots; ``contents`` puts other text in a slot's place."""

    def content(slot: str) -> str:
        return contents.get(slot, slot)

    messages = [{"role": "system", "content": content(SYSTEM)}] if SYSTEM in slots else []
    messages.append({"role": "user", "content": content(USER)})
    if answer is not None:
        messages.append({"role": "assistant", "content": content(answer)})
    return _render(tokenizer, messages, date, answered=answer is not None)


def _render(tokenizer: Any, messages: list[dict[str, str]], date: str, *, answered: bool) -> str:
    text: str = tokenizer.apply_chat_template(
        messages,
        chat_template=_dated(tokenizer.get_chat_template(), date),
        tokenize=False,
        add_generation_prompt=not answered,
        date_string=date,
    )
    return text


def _dated(template: str, date: str) -> str:
    """A chat template in which ``strftime_now`` is the condition's date: a macro of that name hides the function."""
    if "strftime_now" not in template:
        return template
    day = datetime.strptime(date, DATE_FORMAT)
    formats = re.findall(r"""['"]([^'"\n]*%[a-zA-Z-][^'"\n]*)['"]""", template)
    said = json.dumps({wanted: day.strftime(wanted) for wanted in formats})
    return (
        "{% macro strftime_now(format) %}{% set said = " + said + " %}{% if format in said %}{{ said[format] }}"
        "{% else %}{{ raise_exception('asks for a date in a format that cannot be read from it') }}{% endif %}"
        "{% endmacro %}" + template
    )


def _trim(tokenizer: Any, date: str, slots: Sequence[str], slot: str, plain: str) -> Trim:
    """What the chat template removes from around a slot's text, found by trying."""

    def gives(padded: str, trimmed: str) -> bool:
        return _apply(tokenizer, date, slots, RESPONSE, **{slot: padded}) == plain.replace(slot, trimmed)

    for left, right in itertools.product(_TRIMS, _TRIMS):
        trim = Trim(left, right)
        if all(gives(p + slot, trim(p + slot)) and gives(slot + p, trim(slot + p)) for p in _PADDINGS):
            return trim
    raise ModelError(
        f"{tokenizer.name_or_path}: its chat template changes the white space of a turn in a way that cannot be "
        "reproduced"
    )


def _split(text: str, control: Mapping[str, int]) -> tuple[int | Region, ...]:
    """A framing's text as control tokens and regions."""
    longest_first = sorted(control, key=len, reverse=True)
    pattern = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")") if control else re.compile("(?!)()")
    slots = re.compile("(" + "|".join(_SLOTS) + ")")
    parts: list[int | Region] = []
    for index, part in enumerate(pattern.split(text)):
        if index % 2:
            parts.append(control[part])
        elif part:
            parts.append(Region(tuple(piece for piece in slots.split(part) if piece)))
    return tuple(parts)


def _first_control_after_slot(parts: tuple[int | Region, ...]) -> int | None:
    seen = False
    for index, part in enumerate(parts):
        if isinstance(part, Region):
            seen = seen or RESPONSE in part.pieces
        elif seen:
            return index
    return None
