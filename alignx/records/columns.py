"""Rows of an Arrow batch as Python objects: what pyarrow's ``to_pylist`` gives, without a scalar for each number."""

from itertools import pairwise
from typing import Any


def rows_of(batch: Any) -> list[dict[str, Any]]:
    """The rows of a pyarrow ``RecordBatch``.

    Raises:
        OverflowError: A value is one that Python cannot hold.
        UnicodeDecodeError: A text is not UTF-8.
    """
    names = batch.schema.names
    if not names:
        rows: list[dict[str, Any]] = batch.to_pylist()
        return rows
    columns = map(_values, batch)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _values(array: Any) -> list[Any]:
    from pyarrow import types

    kind = array.type
    if is_string(kind) or (is_number(kind) and not array.null_count):
        return objects(array)
    if types.is_struct(kind) and kind.num_fields:
        return _structs(array)
    if is_list(kind):
        return _lists(array)
    return _by_arrow(array)


def _by_arrow(array: Any) -> list[Any]:
    """The values by Arrow's own conversion; times of which Python cannot hold one, as whole numbers of their unit."""
    import pyarrow as pa

    try:
        values: list[Any] = array.to_pylist()
    except UnicodeDecodeError:
        raise
    except (OverflowError, ValueError):
        width = pa.int32() if array.type.bit_width == 32 else pa.int64()
        try:
            values = array.cast(width).to_pylist()
        except pa.ArrowException as error:
            raise OverflowError(f"of type {array.type}: {error}") from None
    return values


def is_string(kind: Any) -> bool:
    """Whether an Arrow type is of texts."""
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind))


def is_list(kind: Any) -> bool:
    """Whether an Arrow type is of lists of any length."""
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind))


def is_number(kind: Any) -> bool:
    """Whether an Arrow type is of numbers that NumPy has; half precision is not, which Arrow itself hands out."""
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_float32(kind) or types.is_float64(kind))


def objects(array: Any) -> list[Any]:
    """The values of an array of texts, or of numbers of which none is missing.

    Raises:
        UnicodeDecodeError: A text is not UTF-8.
    """
    import pyarrow as pa

    try:
        values: list[Any] = array.to_numpy(zero_copy_only=False).tolist()
    except pa.ArrowException:  # bytes that are not UTF-8, of which the slow way says which
        values = array.to_pylist()
    return values


def _lists(array: Any) -> list[Any]:
    offsets = array.offsets.to_pylist()
    first, last = offsets[0], offsets[-1]
    flat = _values(array.values.slice(first, last - first))
    return _without_null([flat[start - first : stop - first] for start, stop in pairwise(offsets)], array)


def _structs(array: Any) -> list[Any]:
    names = [array.type.field(index).name for index in range(array.type.num_fields)]
    columns = [_values(array.field(index)) for index in range(len(names))]
    return _without_null([dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)], array)


def _without_null(values: list[Any], array: Any) -> list[Any]:
    """The values, None where the array has none."""
    if not array.null_count:
        return values
    return [value if there else None for value, there in zip(values, array.is_valid().to_pylist(), strict=True)]
