"""Benchmarks as small declarations: which files, how many records they should hold, how they are averaged.

A benchmark is a YAML file with one or several columns of a table; a column is one or several files whose records count
together, or whose means do. Loads no torch.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from alignx.errors import SettingsError
from alignx.evaluation.published import published_rows
from alignx.settings import explain, read_yaml

Average = Literal["records", "parts"]
Name = Annotated[str, Field(min_length=1)]


class Part(BaseModel):
    """One file of a column."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    data: Name
    """File or folder, in the folder that the evaluation takes data from."""
    hub: str = ""
    """The same on the hub, read where the file is absent."""
    n: int | None = Field(None, gt=0, strict=True)
    """Records that it should hold, where that is published."""
    turned: str = ""
    """The same records told the opposite persona word for word, where that is known: read for a reversed persona, since
    comments and descriptions of others are free text, which nobody can reverse."""


class Published(BaseModel):
    """Under which names the paper prints this column."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    benchmark: str
    condition: str
    table: str = "3"

    @model_validator(mode="after")
    def _is_in_the_paper(self) -> "Published":
        try:
            found = published_rows(**self.model_dump(), metric="accuracy")
        except SettingsError as error:
            raise ValueError(str(error)) from None
        if not found:
            raise ValueError(f"table {self.table} has no {self.benchmark} under {self.condition}")
        return self


class Column(BaseModel):
    """One column of a table of accuracies."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    parts: tuple[Part, ...] = Field(min_length=1)
    average: Average = "records"
    """``records``: each record counts alike. ``parts``: each part does, a macro-average."""
    published: Published | None = None
    conditions: tuple[str, ...] = ()
    """Names of the conditions it is for; empty: all."""
    note: str = ""
    """What a reader should know of it wherever its numbers stand."""

    @model_validator(mode="after")
    def _each_once(self) -> "Column":
        for what, named in (("name", [part.name for part in self.parts]), ("data", [part.data for part in self.parts])):
            if repeated := next((name for name in named if named.count(name) > 1), None):
                raise ValueError(f"column {self.name!r}: {what} {repeated!r} is there twice, expected each part once")
        return self


class Benchmark(BaseModel):
    """A file of columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: tuple[Column, ...] = Field(min_length=1)


def load_benchmark(path: Path) -> Benchmark:
    """The benchmark that a file declares.

    Raises:
        SettingsError: There is no such file, or it declares something else.
    """
    found = read_yaml(path)
    try:
        return Benchmark.model_validate(found)
    except ValidationError as error:
        raise SettingsError(f"{path}: {explain(error, Benchmark, flags=False)}") from None
