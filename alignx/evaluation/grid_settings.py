"""Settings of ``alignx evaluate``: which policies, under which conditions, and what is expected. Loads no torch."""

import difflib
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from pydantic import model_validator

from alignx.errors import SettingsError
from alignx.evaluation.benchmarks import Column, Part, load_benchmark
from alignx.evaluation.rows import Asked, Cell, Policy, Reference
from alignx.models.loading import Attention, DType
from alignx.prompts.condition import Method, PersonaSource
from alignx.settings import Settings, required, setting


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
    inferred: Path = setting(
        Path("inferred"),
        "Folder in --root of copies of the benchmarks' files whose history has directions that `alignx annotate "
        "directions` inferred, each under the file's own name but with .jsonl; PBA reads a copy where there is one.",
    )
    only: tuple[str, ...] = setting(
        (),
        "Measure only these, with commas between: names of policies, of benchmarks' columns, of conditions, and labels "
        "of rows. A kind of which none is named is not narrowed. A name that has a comma goes in a JSON list.",
    )
    expectations: bool = setting(True, "Check the rows against what the configuration expects of them.")
    root: Path = setting(Path(), "Relative names of models and data below are looked up in this folder.")
    output: Path = required("Folder for scores, results and the report.")
    world: str | None = setting(
        None, "Folder of a synthetic world: adds what its truth allows, a ceiling and trivial baselines."
    )
    timings: str | None = setting(
        None, 'JSON Lines of {"part": …, "seconds": …} to show in the report, beside the time of scoring.'
    )
    win_rates: tuple[str, ...] = setting(
        (), "Folders that `alignx judge table` wrote, with commas between: their win rates become part of the report."
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
        asked = [condition.name for condition in self.conditions]
        references = [reference.name for reference in self.references]
        for flag, each in (("conditions", asked), ("references", references)):
            if len(set(each)) < len(each):
                raise ValueError(f"--{flag}: got {', '.join(each)}, expected each name once")
        if same := next((one.name for one in self.references if one.model == self.reference), None):
            raise ValueError(f"--references: {same!r} is the reference itself, expected another model")
        for policy in self.policies:
            if unknown := sorted({*policy.conditions} - {*asked}):
                said = f"{policy.name!r} is for condition {unknown[0]!r}"
                raise ValueError(f"--policies: {said}, known are {', '.join(asked)}")
        if len(set(names)) < len(names):
            raise ValueError(f"--policies: got {', '.join(names)}, expected each name once")
        for reference in self.references:
            if unknown := sorted({*reference.conditions} - {*asked}):
                said = f"{reference.name!r} is for condition {unknown[0]!r}"
                raise ValueError(f"--references: {said}, known are {', '.join(asked)}")
        for condition in self.conditions:
            if unknown := sorted({*condition.policies} - {*names}):
                said = f"{condition.name!r} is for {unknown[0]!r}"
                raise ValueError(f"--conditions: {said}, known are {', '.join(names)}")
        for cell in self.cells:
            if unknown := sorted({*cell.policies} - {*names}):
                raise ValueError(f"--cells: {cell.label!r} is for {unknown[0]!r}, known are {', '.join(names)}")
        for policy in self.policies:
            self._check_rows_of(policy)
        self._check_only()
        return self

    def _check_rows_of(self, policy: Policy) -> None:
        name, cells = policy.name, self._rows_of(policy)
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

    def _check_only(self) -> None:
        names = list(dict.fromkeys(name for kind in self._kinds.values() for name in kind))
        if unknown := sorted({*self.only} - {*names}):
            nearest = difflib.get_close_matches(unknown[0], names, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known are {', '.join(names)}"
            raise ValueError(f"--only: {unknown[0]!r} is no policy, column, condition or row; {hint}")
        if not any(self.cells_of(policy.name) for policy in self.policies):
            raise ValueError(f"--only: no row is {' and '.join(map(repr, self.only))}")

    def cells_of(self, policy: str) -> list[Cell]:
        """The rows of one policy that are to be measured, in order: those of its own, then the benchmarks'."""
        rows = self._rows_of(next(one for one in self.policies if one.name == policy))
        cells = [cell for cell in rows if self._is_wanted(policy, cell)]
        labels = {cell.label for cell in cells}
        return [cell if self._is_expected(cell, labels) else cell.model_copy(update={"expect": None}) for cell in cells]

    def _is_expected(self, cell: Cell, measured: Collection[str]) -> bool:
        """Whether what is expected of a row can be said: the row that it is compared with is measured too."""
        versus = cell.expect.versus if cell.expect is not None else None
        return self.expectations and (versus is None or versus in measured)

    def _rows_of(self, policy: Policy) -> list[Cell]:
        return [
            cell
            for cell in self._all_cells
            if (not cell.policies or policy.name in cell.policies)
            and cell.method in (None, policy.method)
            and (not cell.column or not policy.conditions or cell.condition in policy.conditions)
        ]

    def _is_wanted(self, policy: str, cell: Cell) -> bool:
        """Whether ``only`` leaves a row in."""
        own = {"policies": policy, "columns": cell.column, "conditions": cell.condition, "rows": cell.label}
        return all(own[kind] in wanted for kind, names in self._kinds.items() if (wanted := {*names} & {*self.only}))

    @cached_property
    def _kinds(self) -> dict[str, tuple[str, ...]]:
        """What ``only`` can name."""
        return {
            "policies": tuple(policy.name for policy in self.policies),
            "columns": tuple(column.name for column in self.columns),
            "conditions": tuple(condition.name for condition in self.conditions),
            "rows": tuple(cell.label for cell in self._all_cells),
        }

    def references_of(self, policy: Policy, cell: Cell) -> list[Reference]:
        """The further references that a row is compared with: none where the policy is the reference itself."""
        if self.find(policy.model) == self.find(self.reference):
            return []
        return [reference for reference in self.references if reference.is_for(cell)]

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
            if unknown := sorted({*condition.columns, *condition.expect_in} - {*names}):
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
                for part in column.parts:
                    yield from self._cells_of_part(column, part, condition)

    def _cells_of_part(self, column: Column, part: Part, condition: Asked) -> Iterator[Cell]:
        """A row for a file under a condition: one for each method, where they read different files."""
        where = column.name if len(column.parts) == 1 else f"{column.name} {part.name}"
        expect = None if condition.expect_in and column.name not in condition.expect_in else condition.expect
        if expect is not None and expect.versus is not None:
            expect = expect.model_copy(update={"versus": f"{where}, {expect.versus}"})
        told = condition.model_dump(exclude={"name", "columns", "expect", "expect_in"})
        cell = Cell(
            label=f"{where}, {condition.name}",
            column=column.name,
            part=part.name,
            condition=condition.name,
            expected_n=part.n,
            expect=expect,
            **self._placed(part.data, part.hub),
            **told,
        )
        if part.turned and condition.persona is PersonaSource.REVERSED:
            placed = self._placed(part.turned)
            yield cell.model_copy(update={**placed, "turns": cell.data, "persona": PersonaSource.OWN})
        elif condition.method is not Method.ICA and (inferred := self._inferred(part.data)):
            yield cell.model_copy(update={"data": inferred, "absent": "", "method": Method.PBA})
            if condition.method is None:
                yield cell.model_copy(update={"method": Method.ICA})
        else:
            yield cell

    def _placed(self, data: str, hub: str = "") -> dict[str, Any]:
        """Where a benchmark's file is read from, and why not where it is absent."""
        if (self.root / data).exists():
            return {"data": data, "absent": ""}
        return {"data": hub or data, "absent": "" if hub else f"{self.root / data}: no such file"}

    def _inferred(self, data: str) -> str:
        """The copy of a file whose history has inferred directions; empty where there is none."""
        name = Path(data)
        copy = self.inferred / name.relative_to(name.anchor).with_suffix(".jsonl")
        return str(copy) if (self.root / copy).is_file() else ""

    def find(self, name: str) -> str:
        """A model or data name as it is to be opened: under ``root`` where it exists there."""
        inside = self.root / name
        return str(inside) if inside.exists() else name
