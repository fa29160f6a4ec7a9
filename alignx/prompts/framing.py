"""How turns become one sequence: control tokens by id, and between them regions of text with slots.

A framing is compiled once, from the tokenizer's chat template or from the released code's literal tokens. User text
only ever fills a slot, so control-token text inside a post stays text.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alignx.errors import ModelError
from alignx.prompts.presets import Preset

SYSTEM, USER, RESPONSE = "ALIGNX0SYSTEM0SLOT", "ALIGNX0USER0SLOT", "ALIGNX0RESPONSE0SLOT"
_SLOTS = (SYSTEM, USER, RESPONSE)
_PADDED = " \n{} \n"


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
class Framing:
    """Everything around the texts of a conversation."""

    prompt: tuple[int | Region, ...]
    response: tuple[int | Region, ...]
    """From the end of the prompt to the end-of-turn token, included once."""
    strips: frozenset[str]
    """Slots whose text the chat template strips of surrounding white space."""
    system_turn: bool
    """False: the template has none, and the instruction is the first paragraph of the user turn."""
    strip_response_newlines: bool = False

    def texts(self, instruction: str, user: str) -> dict[str, str]:
        """The filling of a prompt's slots."""
        if not self.system_turn:
            return {USER: self._clean(USER, f"{instruction}\n\n{user}")}
        return {SYSTEM: self._clean(SYSTEM, instruction), USER: self._clean(USER, user)}

    def response_texts(self, response: str) -> dict[str, str]:
        """The filling of a response's slot."""
        if self.strip_response_newlines:
            response = response.rstrip("\n")
        return {RESPONSE: self._clean(RESPONSE, response)}

    def _clean(self, slot: str, text: str) -> str:
        return text.strip() if slot in self.strips else text


def conversation(tokenizer: Any, framing: Framing, date: str, turns: tuple[str, str, str]) -> str:
    """What the chat template itself makes of an instruction, a user turn and a response."""
    instruction, user, response = turns
    messages = [{"role": "system", "content": instruction}, {"role": "user", "content": user}]
    if not framing.system_turn:
        messages = [{"role": "user", "content": f"{instruction}\n\n{user}"}]
    return _render(tokenizer, [*messages, {"role": "assistant", "content": response}], date, answered=True)


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
    return Framing(
        _split(prompt, control), _split(response, control), frozenset(), True, preset.strip_response_newlines
    )


def _from_template(tokenizer: Any, control: Mapping[str, int], date: str) -> Framing:
    if not tokenizer.chat_template:
        raise ModelError(
            f"{tokenizer.name_or_path}: no chat template, which preset paper needs; use an instruct model or a "
            "released preset"
        )
    system_turn = _has_system_turn(tokenizer, date)
    slots = _SLOTS if system_turn else (USER, RESPONSE)
    prompt = _apply(tokenizer, date, slots, None)
    whole = _apply(tokenizer, date, slots, RESPONSE)
    if not whole.startswith(prompt):
        raise ModelError(
            f"{tokenizer.name_or_path}: its chat template renders a prompt differently once it is answered, so a "
            "response cannot be scored after the prompt it would be generated from"
        )
    response = _split(whole[len(prompt) :], control)
    end = _first_control_after_slot(response)
    if end is None:
        raise ModelError(
            f"{tokenizer.name_or_path}: its chat template ends a response with no control token, so its end cannot be "
            "scored"
        )
    strips = frozenset(slot for slot in slots if _strips(tokenizer, date, slots, slot, whole))
    return Framing(_split(prompt, control), response[: end + 1], strips, system_turn)


def _has_system_turn(tokenizer: Any, date: str) -> bool:
    try:
        text = _apply(tokenizer, date, _SLOTS, None)
    except Exception:  # templates refuse a role with errors of their own choosing
        return False
    return SYSTEM in text


def _apply(tokenizer: Any, date: str, slots: tuple[str, ...], answer: str | None, padded: str | None = None) -> str:
    """The chat template's text around slots; ``padded`` names a slot to be surrounded by white space."""

    def content(slot: str) -> str:
        return _PADDED.format(slot) if slot == padded else slot

    messages = [{"role": "system", "content": content(SYSTEM)}] if SYSTEM in slots else []
    messages.append({"role": "user", "content": content(USER)})
    if answer is not None:
        messages.append({"role": "assistant", "content": content(answer)})
    return _render(tokenizer, messages, date, answered=answer is not None)


def _render(tokenizer: Any, messages: list[dict[str, str]], date: str, *, answered: bool) -> str:
    text: str = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=not answered, date_string=date
    )
    return text


def _strips(tokenizer: Any, date: str, slots: tuple[str, ...], slot: str, plain: str) -> bool:
    padded = _apply(tokenizer, date, slots, RESPONSE, padded=slot)
    if padded == plain:
        return True
    if padded == plain.replace(slot, _PADDED.format(slot)):
        return False
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
