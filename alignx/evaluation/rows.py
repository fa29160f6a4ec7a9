"""What an evaluation is of: policies, references, rows, the conditions that make rows of benchmarks. Loads no torch."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from alignx.errors import SettingsError
from alignx.evaluation.published import name_and_training
from alignx.prompts.condition import History, Method, PersonaSource, PresetName, ProfileSource
from alignx.prompts.parts import ALL, Tell

Role = Literal["main", "control", "oracle", "variant"]
Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Policy(_Part):
    """A trained model."""

    name: str
    """How the report calls it."""
    model: str
    method: Method
    published: str = ""
    """How the paper calls it, with its training data, as in ``AlignXpert-ICA 7%``: its numbers then stand beside."""
    conditions: tuple[str, ...] = ()
    """Names of the conditions under which benchmarks are measured with it; empty: all."""

    @field_validator("published")
    @classmethod
    def _is_in_the_paper(cls, value: str) -> str:
        if value:
            try:
                name_and_training(value)
            except SettingsError as error:
                raise ValueError(str(error).removeprefix(f"got {value!r}, expected ")) from None
        return value


class Expectation(_Part):
    """What an accuracy should be if the method works; each is about an end of the 95 % interval, as a share."""

    low_above: Share | None = None
    high_below: Share | None = None
    low_at_most: Share | None = None
    """For controls: the value is inside the interval, or the interval is below it."""
    versus: str | None = None
    """Label of the row that ``reaches`` and ``exceeds`` compare with, record by record."""
    reaches: Annotated[float, Field(ge=-1, le=1)] | None = None
    """The upper end of the difference from ``versus`` is above this."""
    exceeds: Annotated[float, Field(ge=-1, le=1)] | None = None
    """The lower end of the difference from ``versus`` is above this."""

    @model_validator(mode="after")
    def _goes_together(self) -> "Expectation":
        if (self.versus is None) != (self.reaches is None and self.exceeds is None):
            raise ValueError("versus goes together with reaches, exceeds or both")
        return self


class Cell(_Part):
    """One row of the report: records and a condition, for some or all policies."""

    label: str
    data: str
    role: Role = "main"
    note: str = ""
    """What the row means, for readers of the report."""
    policies: tuple[str, ...] = ()
    """Names of the policies it is for; empty: all."""
    persona: PersonaSource = PersonaSource.OWN
    profile: ProfileSource | None = None
    history: History = "all"
    tell: Tell = ALL
    """Which parts of the persona: some of comments, choices and demographics, or arbitrary ones for each record."""
    preset: PresetName | None = None
    expect: Expectation | None = None
    method: Method | None = None
    """Only policies of this one; None: of both."""
    turns: str = ""
    """The data whose records are told here with the opposite persona, written down word for word; ``persona: reversed``
    cannot turn comments and descriptions round."""
    column: str = ""
    """Of the benchmark that the row belongs to; empty: a row by itself."""
    part: str = ""
    condition: str = ""
    expected_n: int | None = None
    """Records that the file should hold, where that is published."""
    absent: str = ""
    """Why a benchmark's file cannot be read: it is not there."""

    @property
    def where(self) -> str:
        """The column, and the file where it has several."""
        return self.label.removesuffix(f", {self.condition}")

    @property
    def tells_own(self) -> bool:
        """Whether the user's own persona is told, all of it: as for the paper's Table 3."""
        own = self.persona is PersonaSource.OWN and not self.turns
        return own and self.profile is None and self.history == "all" and self.tell == ALL

    @field_validator("expect")
    @classmethod
    def _something(cls, value: Expectation | None) -> Expectation | None:
        if value == Expectation():
            raise ValueError("expect: at least one of low_above, high_below, low_at_most, versus with reaches, exceeds")
        return value


class Asked(_Part):
    """A condition under which every benchmark is measured, for some or all policies."""

    name: str
    role: Role = "main"
    note: str = ""
    policies: tuple[str, ...] = ()
    """Names of the policies it is for; empty: all."""
    method: Method | None = None
    """Only policies of this one; None: of both."""
    columns: tuple[str, ...] = ()
    """Names of the benchmarks' columns it is for; empty: all."""
    persona: PersonaSource = PersonaSource.OWN
    profile: ProfileSource | None = None
    history: History = "all"
    tell: Tell = ALL
    """Which parts of the persona: some of comments, choices and demographics, or arbitrary ones for each record."""
    preset: PresetName | None = None
    expect: Expectation | None = None
    """As of a row; ``versus`` is the name of another condition."""
    expect_in: tuple[str, ...] = ()
    """Names of the columns of which it is expected; empty: all."""


class Reference(_Part):
    """A further model to compare with."""

    name: str
    model: str
    conditions: tuple[str, ...] = ()
    """Names of the conditions under which benchmarks are compared with it; empty: all, and the rows by themselves."""

    def is_for(self, cell: Cell) -> bool:
        """Whether a row is compared with it."""
        return not self.conditions or cell.condition in self.conditions
