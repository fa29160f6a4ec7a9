"""Prepared rows as Arrow tables: their columns, and how they are filled."""

from collections.abc import Sequence
from itertools import accumulate, chain
from operator import attrgetter
from typing import Any, Final

from alignx.prompts.pairs import EncodedPair
from alignx.prompts.texts import TextPair

Row = EncodedPair | TextPair

_SAME: Final = (
    ("cluster", "string"),
    ("target", "string"),
)
COLUMNS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "ids": (
        ("id", "string"),
        ("prompt_ids", "ids"),
        ("chosen_ids", "ids"),
        ("rejected_ids", "ids"),
        *_SAME,
        ("trimmed_items", "int32"),
        ("trimmed_demographics", "bool"),
        ("history_items", "int32"),
        ("profile", "string"),
        ("persona_empty", "bool"),
    ),
    "text": (
        ("id", "string"),
        ("instruction", "string"),
        ("prompt", "string"),
        ("chosen", "string"),
        ("rejected", "string"),
        *_SAME,
        ("history_items", "int32"),
        ("profile", "string"),
        ("persona_empty", "bool"),
    ),
}
"""Name and type of each column, by form."""


def table(rows: Sequence[Row], form: str) -> Any:
    """Rows as a table.

    Args:
        rows: Encoded pairs or pairs of texts.
        form: Which of :data:`COLUMNS`.
    """
    import pyarrow as pa

    types = {"string": pa.string(), "int32": pa.int32(), "bool": pa.bool_()}
    arrays, fields = [], []
    for name, kind in COLUMNS[form]:
        values = list(map(attrgetter(name), rows))
        array = _lists(values) if kind == "ids" else pa.array(values, types[kind])
        arrays.append(array)
        fields.append(pa.field(name, array.type))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _lists(values: Sequence[Sequence[int]]) -> Any:
    """Lists of token ids; by their flat numbers, as Arrow takes thirty times as long over a list of lists."""
    import numpy as np
    import pyarrow as pa

    ends = list(accumulate(map(len, values), initial=0))
    flat = np.fromiter(chain.from_iterable(values), dtype=np.int32, count=ends[-1])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(flat))
