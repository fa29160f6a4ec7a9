"""Settings of ``alignx evaluate``: which policies, under which conditions, and what is expected. Loads no torch."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from alignx.errors import SettingsError
from alignx.evaluation.benchmarks import Column, load_benchmark
from alignx.models.loading import Attention, DType
from alignx.prompts.condition import History, Method, PersonaSource, PresetName, ProfileSource
from alignx.settings import Settings, required, setting

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


class Expectation(_Part):
    """What an accuracy should be if the method works; each is about an end of the 95 % interval, as a share."""

    low_above: Share | None = None
    high_below: Share | None = None
    low_at_most: Share | None = None
    """For controls: the value is inside the interval, or the interval is below it."""
    versus: str | None = None
    """Label of the row that ``reaches`` compares with, record by record."""
    reaches: Annotated[float, Field(ge=-1, le=1)] | None = None
    """The upper end of the difference from ``versus`` is above this."""

    @model_validator(mode="after")
    def _goes_together(self) -> "Expectation":
        if (self.versus is None) != (self.reaches is None):
            raise ValueError("versus and reaches go together")
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
    preset: PresetName | None = None
    expect: Expectation | None = None
    method: Method | None = None
    """Only policies of this one; None: of both."""
    column: str = ""
    """Of the benchmark that the row belongs to; empty: a row by itself."""
    part: str = ""
    condition: str = ""
    expected_n: int | None = None
    """Records that the file should hold, where that is published."""

    @field_validator("expect")
    @classmethod
    def _something(cls, value: Expectation | None) -> Expectation | None:
        if value == Expectation():
            raise ValueError("expect: at least one of low_above, high_below, low_at_most, versus with reaches")
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
    preset: PresetName | None = None
    expect: Expectation | None = None
    """As of a row; ``versus`` is the name of another condition."""


class Reference(_Part):
    """A further model to compare with."""

    name: str
    model: str


class EvaluateSettings(Settings):
    """Score policies and their reference under several conditions and write one report.

    alignx evaluate --config configs/eval/demo.yaml --root out/demo --output out/demo/report

    What is scored already is not scored again. The report is Markdown, one self-contained HTML page and results.json.
    """

    reads_config: ClassVar[bool] = True

    title: str = setting("Evaluation", "Heading of the report.")
    about: tuple[str, ...] = setting((), "Paragraphs that say what the numbers do and do not show.")
    caution: str = setting("", "A note that stands before every number.")
    policies: tuple[Policy, ...] = required("Trained models: name, model and method of each.", min_length=1)
    reference: str = required("The model they were trained from.")
    references: tuple[Reference, ...] = setting((), "Further references, to see how much the accuracies depend on it.")
    cells: tuple[Cell, ...] = setting((), "Rows of the report: label, data and condition of each.")
    benchmarks: tuple[Path, ...] = setting((), "Files that declare benchmarks; each is measured under all conditions.")
    conditions: tuple[Asked, ...] = setting((Asked(name="own persona"),), "What the benchmarks are measured under.")
    expectations: bool = setting(True, "Check the rows against what the configuration expects of them.")
    root: Path = setting(Path(), "Relative names of models and data below are looked up in this folder.")
    output: Path = required("Folder for scores, results and the report.")
    world: str | None = setting(
        None, "Folder of a synthetic world: adds what its truth allows, a ceiling and trivial baselines."
    )
    timings: str | None = setting(
        None, 'JSON Lines of {"part": …, "seconds": …} to show in the report, beside the time of scoring.'
    )
    examples: int = setting(6, "Records to show in full, from the first row's data.", ge=0)
    limit: int | None = setting(None, "Only the first N records of each file.", gt=0)
    seed: int = setting(42, "Of whose persona 'other' is, and of sampled history.")
    beta: float = setting(0.1, "Strength of the pull in DPO.", gt=0, source="paper C.2")
    batch_tokens: int | None = setting(
        None, "Tokens read together; changes speed, not results. By default 2,048 on a CPU, 16,384 elsewhere.", gt=0
    )
    shared_prefix: bool = setting(True, "Read each prompt once for both responses, where a model can.")
    dtype: DType = setting("auto", "auto is bfloat16 on a GPU that has it, else float32.")
    attention: Attention = setting("auto", "Attention implementation of transformers.")
    taxonomy: Path | None = setting(None, "CSV of preference dimensions, if not the paper's 90.")
    trust_remote_code: bool = setting(False, "Run code that comes with a model.")

    @model_validator(mode="after")
    def _something_is_measured(self) -> "EvaluateSettings":
        if not self.cells and not self.benchmarks:
            raise ValueError("--cells or --benchmarks: nothing is to be measured")
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> "EvaluateSettings":
        names = [policy.name for policy in self.policies]
        if len(set(names)) < len(names):
            raise ValueError(f"--policies: got {', '.join(names)}, expected each name once")
        for condition in self.conditions:
            if unknown := sorted({*condition.policies} - {*names}):
                said = f"{condition.name!r} is for {unknown[0]!r}"
                raise ValueError(f"--conditions: {said}, known are {', '.join(names)}")
        for cell in self.cells:
            if unknown := sorted({*cell.policies} - {*names}):
                raise ValueError(f"--cells: {cell.label!r} is for {unknown[0]!r}, known are {', '.join(names)}")
        for policy in self.policies:
            self._check_rows_of(policy)
        return self

    def _check_rows_of(self, policy: Policy) -> None:
        name, cells = policy.name, self.cells_of(policy.name)
        labels = [cell.label for cell in cells]
        if not cells:
            raise ValueError(f"--cells: no row is for {name}")
        if repeated := next((label for label in labels if labels.count(label) > 1), None):
            raise ValueError(f"--cells: {repeated!r} stands twice for {name}")
        for cell in cells:
            if cell.profile is not None and policy.method is Method.ICA:
                said = f"{cell.label!r} has profile {cell.profile}"
                raise ValueError(f"--cells: {said}, but {name} is ICA and has none; name the policies it is for")
            if cell.expect and cell.expect.versus is not None and cell.expect.versus not in labels:
                raise ValueError(f"--cells: {cell.label!r} has {cell.expect.versus!r} as versus, no row of {name}")

    def cells_of(self, policy: str) -> list[Cell]:
        """The rows of one policy, in order: those of its own, then the benchmarks'."""
        method = next(one.method for one in self.policies if one.name == policy)
        cells = [
            cell
            for cell in self._all_cells
            if (not cell.policies or policy in cell.policies) and cell.method in (None, method)
        ]
        return cells if self.expectations else [cell.model_copy(update={"expect": None}) for cell in cells]

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns of all benchmarks.

        Raises:
            SettingsError: A file declares none, or a name stands twice.
        """
        found = [column for path in self.benchmarks for column in load_benchmark(path).columns]
        names = [column.name for column in found]
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise SettingsError(f"--benchmarks: column {repeated!r} is declared twice")
        for condition in self.conditions:
            if unknown := sorted({*condition.columns} - {*names}):
                raise SettingsError(
                    f"--conditions: {condition.name!r} is for column {unknown[0]!r}, known are {', '.join(names)}"
                )
        known = {condition.name for condition in self.conditions}
        for column in found:
            if unknown := sorted({*column.conditions} - known):
                raise SettingsError(
                    f"--benchmarks: column {column.name!r} is for condition {unknown[0]!r}, known are "
                    f"{', '.join(sorted(known))}"
                )
        return tuple(found)

    @cached_property
    def _all_cells(self) -> tuple[Cell, ...]:
        return (*self.cells, *self._benchmark_cells())

    def _benchmark_cells(self) -> Iterator[Cell]:
        """A row for each file of each column under each condition."""
        for column in self.columns:
            for condition in self.conditions:
                if condition.columns and column.name not in condition.columns:
                    continue
                if column.conditions and condition.name not in column.conditions:
                    continue
                told = condition.model_dump(exclude={"name", "columns", "expect"})
                for part in column.parts:
                    where = column.name if len(column.parts) == 1 else f"{column.name} {part.name}"
                    expect = condition.expect
                    if expect is not None and expect.versus is not None:
                        expect = expect.model_copy(update={"versus": f"{where}, {expect.versus}"})
                    yield Cell(
                        label=f"{where}, {condition.name}",
                        data=part.data,
                        column=column.name,
                        part=part.name,
                        condition=condition.name,
                        expected_n=part.n,
                        expect=expect,
                        **told,
                    )

    def find(self, name: str) -> str:
        """A model or data name as it is to be opened: under ``root`` where it exists there."""
        inside = self.root / name
        return str(inside) if inside.exists() else name
