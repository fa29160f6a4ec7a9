"""Rows of Arrow batches: what pyarrow's own conversion gives."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignx.records.columns import rows_of
from tests.records.rows import COMMENTS, DIRECTION

TEXT = st.none() | st.text("ab é🙂", max_size=4)
NUMBERS = st.none() | st.lists(st.none() | st.sampled_from([0.0, 0.5, 1.0, 0.3]), max_size=4)
ITEMS = st.none() | st.lists(st.none() | st.fixed_dictionaries({"prompt": TEXT, DIRECTION: NUMBERS}), max_size=3)
ROWS = st.lists(
    st.fixed_dictionaries(
        {"prompt": TEXT, DIRECTION: NUMBERS, COMMENTS: ITEMS, "score": st.none() | st.integers(0, 9)}
    ),
    max_size=6,
)
KINDS = pa.schema(
    [
        ("prompt", pa.string()),
        (DIRECTION, pa.list_(pa.float64())),
        (COMMENTS, pa.list_(pa.struct([("prompt", pa.large_string()), (DIRECTION, pa.large_list(pa.float32()))]))),
        ("score", pa.int8()),
    ]
)


@settings(deadline=None, max_examples=200)
@given(ROWS, st.integers(0, 3), st.integers(0, 6))
def test_rows_are_those_of_pyarrow_of_a_part_of_a_batch_too(
    rows: list[dict[str, Any]], skipped: int, count: int
) -> None:
    batch = pa.RecordBatch.from_pylist(rows, schema=KINDS).slice(skipped, count)
    assert rows_of(batch) == batch.to_pylist()


def test_other_types_are_left_to_pyarrow() -> None:
    columns = {
        "truth": pa.array([True, None]),
        "half": pa.array(np.array([0.5, 1], dtype=np.float16)),
        "coded": pa.array(["a", "b"]).dictionary_encode(),
        "bytes": pa.array([b"a", None]),
        "fixed": pa.array([[0.5, 1.0], None], pa.list_(pa.float64(), 2)),
        "nothing": pa.nulls(2),
        "empty": pa.array([{}, {}], pa.struct([])),
    }
    batch = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    assert rows_of(batch) == batch.to_pylist()


@pytest.mark.parametrize(
    "kind", [pa.timestamp("s"), pa.timestamp("us", "Mars/Phobos"), pa.duration("s"), pa.date32(), pa.date64()]
)
def test_a_time_that_python_cannot_hold_comes_as_a_number(kind: Any) -> None:
    number, whole = (2**30, pa.int32()) if kind == pa.date32() else (2**62, pa.int64())
    batch = pa.RecordBatch.from_arrays([pa.array([number, 0, None], whole).cast(kind)], ["when"])
    assert [row["when"] for row in rows_of(batch)] == [number, 0, None]


def test_times_that_python_can_hold_stay_times() -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([2**40, 0, None], pa.int64()).cast(pa.timestamp("us"))], ["when"])
    assert rows_of(batch) == batch.to_pylist()


def test_bytes_that_are_no_text_are_said_to_be_none() -> None:
    with pytest.raises(UnicodeDecodeError, match="byte 0xff in position 0"):
        rows_of(pa.RecordBatch.from_arrays([not_utf_8()], ["prompt"]))


def not_utf_8() -> Any:
    """Two texts, of which the second is not UTF-8."""
    ends, data = np.array([0, 2, 4], dtype=np.int32), b"ab\xff\xfe"
    return pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(ends), pa.py_buffer(data)])
