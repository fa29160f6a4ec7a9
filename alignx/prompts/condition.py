"""What a model is told: one type, used by training, scoring, generation and judging, and kept in every manifest."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from alignx.prompts.parts import ALL, Tell
from alignx.prompts.presets import load_preset
from alignx.records import Thresholds

MAX_LENGTH = 8192


class Method(StrEnum):
    """How the persona reaches the model."""

    ICA = "ica"
    """In-context alignment: the persona itself is in the prompt."""
    PBA = "pba"
    """Preference-bridged alignment: the persona's preference direction, in words, is in the prompt."""


class ProfileSource(StrEnum):
    """Where PBA's profile comes from."""

    AUTO = "auto"
    """The ready one where the record has it, else the history's; where a part of the history is told, the part's.

    Where a part of the persona is told (:attr:`Condition.tell`), always that part's.
    """
    READY = "ready"
    """The record's own ``profile`` text, which is of the whole persona whatever part of it is told."""
    HISTORY = "history"
    """Aggregated from the directions of the history items that are used."""
    GOLDEN = "golden"
    """The target pair's own direction: an oracle, an upper bound."""


class PersonaSource(StrEnum):
    """Whose persona the model is told."""

    OWN = "own"
    NONE = "none"
    OTHER = "other"
    """Another user's: the control that shows how much is personalisation."""
    REVERSED = "reversed"
    """The own one turned round: chosen and rejected swapped in the history, directions and profile flipped."""


PresetName = Literal["paper", "released-train", "released-eval"]
History = Annotated[int, Field(ge=0)] | Literal["all", "sampled"]


class Condition(BaseModel):
    """What a model is told about the user, and in which format."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method
    preset: PresetName = "paper"
    profile: ProfileSource = ProfileSource.AUTO
    persona: PersonaSource = PersonaSource.OWN
    history: History = "all"
    """Items of each list: all; the last N; or drawn as in training, 0 to 4 of each by the seed and the record's id."""
    tell: Tell = ALL
    """Which parts of a persona are told: ``all``; some of ``comments``, ``choices``, ``demographics``; or
    ``arbitrary``, for each record a combination of the parts that there are, drawn by the seed and the record's id.

    What is not told does not reach the prompt by another way. PBA's profile is aggregated from the told items alone;
    demographics carry no direction and add nothing to it, so that a record of which they alone are told has an empty
    one. A ready profile is of the whole persona: where a part of what the record has is left out, it is told only under
    ``profile: ready``. ``golden`` is of the target and stays. A persona that has no other parts than those is whole.
    """
    seed: int = 42
    """Of the draw of history items, of arbitrary parts, and of whose persona ``other`` is."""
    positive: str = ""
    """Mean direction from which on a history counts as positive; empty: the preset's."""
    negative: str = ""
    max_length: Annotated[int, Field(gt=0)] = MAX_LENGTH
    """Prompt and longer response together, in tokens; older history goes first when it is too long."""
    date: str = "26 Jul 2024"
    """Written where a chat template wants today's date, so that a prompt is the same tomorrow."""

    @field_validator("date")
    @classmethod
    def _a_date(cls, value: str) -> str:
        datetime.strptime(value, "%d %b %Y")
        return value

    @field_validator("positive", "negative", mode="before")
    @classmethod
    def _one_spelling(cls, value: object) -> str:
        """0.6, ``0.60`` and ``.6`` are the same threshold, and manifests compare as text."""
        if value == "":
            return ""
        try:
            return format(Decimal(str(value)).normalize(), "f")
        except ArithmeticError:
            raise ValueError(f"got {value!r}, expected a decimal number such as 0.6") from None

    @model_serializer(mode="wrap")
    def _unsaid_where_whole(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A persona told whole is not mentioned: manifests and digests that know of no parts stay what they are."""
        said: dict[str, Any] = handler(self)
        return {name: value for name, value in said.items() if (name, value) != ("tell", ALL)}

    @property
    def thresholds(self) -> Thresholds:
        """Where the mean direction of a history counts as a pole."""
        rules = load_preset(self.preset).persona
        return Thresholds(self.positive or rules.positive, self.negative or rules.negative)

    def resolved(self) -> "Condition":
        """The same, with the preset's thresholds written out, so that a manifest says them.

        Raises:
            SettingsError: The thresholds are impossible.
        """
        thresholds = self.thresholds
        return self.model_copy(update={"positive": thresholds.positive, "negative": thresholds.negative})
