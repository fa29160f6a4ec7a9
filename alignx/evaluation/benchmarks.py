"""Benchmarks as small declarations: which files, how many records they should hold, how they are averaged.

A benchmark is a YAML file with one or several columns of a table; a column is one or several files whose records count
together, or whose means do. Loads no torch.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alignx.errors import SettingsError
from alignx.settings import explain, read_yaml

Average = Literal["records", "parts"]


class Part(BaseModel):
    """One file of a column."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    data: str
    """File or folder, in the folder that the evaluation takes data from."""
    hub: str = ""
    """The same on the hub, read where the file is absent."""
    n: int | None = Field(None, gt=0)
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


class Column(BaseModel):
    """One column of a table of accuracies."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    parts: tuple[Part, ...] = Field(min_length=1)
    average: Average = "records"
    """``records``: each record counts alike. ``parts``: each part does, a macro-average."""
    published: Published | None = None
    conditions: tuple[str, ...] = ()
    """Names of the conditions it is for; empty: all."""
    note: str = ""
    """What a reader should know of it wherever its numbers stand."""


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
        raise SettingsError(f"{path}: {explain(error, Benchmark)}") from None
