"""The three prompt formats, each a TOML file beside this one, filled strictly."""

import string
import tomllib
from functools import lru_cache
from importlib import resources
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from alignx.errors import SettingsError
from alignx.records import Thresholds

PRESETS = ("paper", "released-train", "released-eval")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ByMethod(_Strict):
    """A piece of wording that differs between the methods."""

    ica: str
    pba: str

    def __getitem__(self, method: str) -> str:
        """The wording for ``ica`` or ``pba``."""
        return self.ica if method == "ica" else self.pba


class Blocks(_Strict):
    """The repeated pieces of a user turn; ``{fields}`` are filled by name."""

    task: str
    comments: str
    comment: str
    choices: str
    choice: str
    response: str

    @model_validator(mode="after")
    def _fields_are_those_expected(self) -> "Blocks":
        expected = {
            "task": {"prompt"},
            "comments": set(),
            "comment": {"number", "prompt", "comment"},
            "choices": set(),
            "choice": {"number", "prompt", "chosen", "rejected"},
            "response": set(),
        }
        for name, fields in expected.items():
            found = {field for _, field, _, _ in string.Formatter().parse(getattr(self, name)) if field is not None}
            if found != fields:
                raise ValueError(f"block {name!r} has the fields {sorted(found)}, expected {sorted(fields)}")
        return self


class NothingToSay(_Strict):
    """What stands in place of an empty history or an empty profile."""

    history_heading: bool
    """Whether the heading stays with nothing under it."""
    history_response: str
    """The response heading after an empty history."""
    profile: str


class PersonaRules(_Strict):
    """How a preset reads a persona."""

    demographics: bool
    """Whether ICA shows the demographic description."""
    shuffle: bool
    """Whether sampled history items are shuffled; otherwise they keep the record's order."""
    positive: str
    negative: str

    @property
    def thresholds(self) -> Thresholds:
        """Where the mean direction of a history counts as a pole."""
        return Thresholds(self.positive, self.negative)


class Preset(_Strict):
    """One prompt format, byte for byte."""

    framing: Literal["chat-template", "literal"]
    """``literal``: Llama-3's control tokens as the released code writes them, whatever the chat template says."""
    bos: bool = False
    """Literal framing: whether a beginning-of-sequence token comes first."""
    strip_response_newlines: bool = False
    """Literal framing: whether trailing newlines of a response are removed."""
    response_end: str = ""
    """Literal framing: text between a response and its end-of-sequence token."""
    instruction: ByMethod
    heading: ByMethod
    blocks: Blocks
    nothing_to_say: NothingToSay
    persona: PersonaRules


@lru_cache(maxsize=len(PRESETS))
def load_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        SettingsError: There is none.
    """
    if name not in PRESETS:
        raise SettingsError(f"--preset: got {name!r}, expected one of {', '.join(PRESETS)}")
    text = (resources.files(__name__) / f"{name}.toml").read_text(encoding="utf-8")
    return Preset.model_validate(tomllib.loads(text))
