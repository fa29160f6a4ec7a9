"""Records straight from the columns of an Arrow batch, several times as fast as a row at a time.

Only what is as it should be is read this way. A row with anything unusual, and a batch with a column of an unusual
type, goes to the parser as a row like those of any other file; that is where it is refused or put right.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

from alignx.errors import DataError
from alignx.records.columns import is_list, is_number, is_string, objects
from alignx.records.directions import Direction, levels_of_array
from alignx.records.files import BATCH_ROWS, BadRow, held_rows
from alignx.records.identities import generated_id
from alignx.records.parsing import (
    CHOICES,
    COMMENTS,
    DEMOGRAPHICS,
    DIRECTION,
    USED_FIELDS,
    RecordParser,
    digest_of_content,
)
from alignx.records.record import Choice, Comment, Persona, Record

_PRINTABLE = (0x21, 0x7E)
"""First bytes that say a text is not blank: those of a visible ASCII character."""
_Item = TypeVar("_Item", Comment, Choice)


class _Unusual(Exception):
    """A column that cannot be read here."""


def read_batch(
    batch: Any, parser: RecordParser, first: int, where: Callable[[int], str]
) -> Iterator[tuple[Record, str | None] | DataError]:
    """What :meth:`RecordParser.read` gives for each row of a batch, or its refusal.

    Args:
        batch: A pyarrow ``RecordBatch``.
        parser: Of the source.
        first: Number of the first row.
        where: What a row is called in messages, by its number.
    """
    for start in range(0, len(batch), BATCH_ROWS):
        part = batch.slice(start, BATCH_ROWS)
        try:
            rows = _quickly(part, parser)
        except (_Unusual, UnicodeDecodeError):
            rows = iter([None] * len(part))
        for number, found in enumerate(rows, start=first + start):
            yield found or _slowly(part.slice(number - first - start, 1), parser, number, where)


def _slowly(
    row: Any, parser: RecordParser, number: int, where: Callable[[int], str]
) -> tuple[Record, str | None] | DataError:
    try:
        (raw,) = held_rows(row, number, where)
        return raw if isinstance(raw, BadRow) else parser.read(raw, where(number))
    except DataError as error:
        return error


def _quickly(batch: Any, parser: RecordParser) -> Iterator[tuple[Record, str | None] | None]:
    """Each row's record and the id that it brings; None for one that is unusual.

    Raises:
        _Unusual: A column is.
    """
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    if len(columns) < len(batch.schema.names):
        raise _Unusual
    many, dimensions, unusual = len(batch), parser.dimensions, set[int]()
    prompts, chosen, rejected = (_texts(columns.get(name), unusual) for name in ("prompt", "chosen", "rejected"))
    demographics, profiles = (_optional(columns.get(name), many) for name in (DEMOGRAPHICS, "profile"))
    users, given = (_names(columns.get(name), many, unusual) for name in ("user", "id"))
    directions = _directions(columns.get(DIRECTION), many, dimensions, unusual)
    comments = _history(columns.get(COMMENTS), many, ("prompt", "comment"), Comment, dimensions)
    choices = _history(columns.get(CHOICES), many, ("prompt", "chosen", "rejected"), Choice, dimensions)
    unusual |= comments.unusual | choices.unusual
    unused = columns.keys() - USED_FIELDS
    for name in unused:
        _refuse_no_text(columns[name])

    def read(
        place: int,
        texts: tuple[str, str, str],
        user: str | None,
        described: str | None,
        profile: str | None,
        name: str | None,
    ) -> tuple[Record, str | None] | None:
        if place in unusual or texts[1] == texts[2]:
            return None
        if unused:
            parser.unused_fields.update(unused)
        described = described or ""
        said = [*texts, directions.hexes[place], user, described, profile]
        content = digest_of_content(said, comments.said[place], choices.said[place])
        persona = Persona(comments.items[place], choices.items[place], described, profile)
        direction = directions.levels[place]
        return Record(name or generated_id(content), *texts, persona, direction, user, content), name

    rows = zip(zip(prompts, chosen, rejected, strict=True), users, demographics, profiles, given, strict=True)
    return (read(place, *row) for place, row in enumerate(rows))


def _refuse_no_text(array: Any) -> None:
    """Look at what nobody uses only for text that is not UTF-8: every reader refuses a row with it."""
    import pyarrow as pa

    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        raise _Unusual from None


def _texts(array: Any, unusual: set[int]) -> list[str]:
    """Texts that must be there; places of those that are missing or blank are added to the unusual ones."""
    if array is None or not is_string(array.type):
        raise _Unusual
    values: list[str] = objects(array)
    unusual.update(place for place in _suspects(array) if not values[place] or values[place].isspace())
    return values


def _suspects(array: Any) -> list[int]:
    """Places of texts that are missing or begin with something else than a visible ASCII character."""
    import numpy as np
    from pyarrow import types

    _, starts, data = array.buffers()
    if data is None or not data.size:  # no text has a character
        return list(range(len(array)))
    width = np.int64 if types.is_large_string(array.type) else np.int32
    offsets = np.frombuffer(starts, dtype=width)[array.offset : array.offset + len(array) + 1]
    begin = offsets[:-1]
    first = np.frombuffer(data, dtype=np.uint8)[np.minimum(begin, data.size - 1)]
    low, high = _PRINTABLE
    suspect = (begin == offsets[1:]) | (first < low) | (first > high)
    if array.null_count:
        suspect |= ~array.is_valid().to_numpy(zero_copy_only=False)
    places: list[int] = np.flatnonzero(suspect).tolist()
    return places


def _optional(array: Any, many: int) -> list[str | None]:
    """Texts that may be missing; blank ones say nothing."""
    from pyarrow import types

    if array is None or types.is_null(array.type):
        return [None] * many
    if not is_string(array.type):
        raise _Unusual
    values: list[str | None] = objects(array)
    for place in _suspects(array):
        if (value := values[place]) is not None and value.isspace():
            values[place] = ""
    return values


def _names(array: Any, many: int, unusual: set[int]) -> list[str | None]:
    """Ids or users, which may be whole numbers."""
    from pyarrow import types

    if array is None or types.is_null(array.type):
        return [None] * many
    if not (is_string(array.type) or types.is_integer(array.type)):
        raise _Unusual
    values: list[str | int | None] = array.to_pylist()
    unusual.update(place for place, value in enumerate(values) if value == "")
    return [None if value is None else str(value) for value in values]


@dataclass(frozen=True)
class _Directions:
    levels: list[Direction | None]
    hexes: list[str | None]
    """The same as digests take them."""


def _directions(array: Any, many: int, dimensions: int, unusual: set[int]) -> _Directions:
    """Directions that may be missing; places of those that are of another length are added to the unusual ones."""
    import numpy as np
    from pyarrow import types

    if array is None or types.is_null(array.type):
        return _Directions([None] * many, [None] * many)
    if not is_list(array.type) or not is_number(array.type.value_type):
        raise _Unusual
    offsets, inner = _inner(array)
    flat = None if inner.null_count else levels_of_array(inner.to_numpy(zero_copy_only=False))
    if flat is None:
        raise _Unusual
    hexed, other = flat.hex(), np.diff(offsets) != dimensions
    if array.null_count or other.any():
        there = _there(array)
        unusual.update(np.flatnonzero(there & other).tolist())
        begins = offsets[:-1].tolist()
        spans = [at if known else None for at, known in zip(begins, there, strict=True)]
        return _Directions(
            [None if at is None else flat[at : at + dimensions] for at in spans],
            [None if at is None else hexed[2 * at : 2 * (at + dimensions)] for at in spans],
        )
    return _Directions(
        [flat[at : at + dimensions] for at in range(0, len(flat), dimensions)],
        [hexed[at : at + 2 * dimensions] for at in range(0, len(hexed), 2 * dimensions)],
    )


@dataclass(frozen=True)
class _History:
    items: list[tuple[Any, ...]]
    """Of each row."""
    said: list[list[tuple[str | None, ...]]]
    """The same as digests take them: an item's texts and its direction in hex."""
    unusual: set[int]
    """Places of rows with an item that is."""


def _history(array: Any, many: int, names: tuple[str, ...], make: Callable[..., _Item], dimensions: int) -> _History:
    """The items of each row; of a row without a list, none."""
    import numpy as np
    from pyarrow import types

    if array is None or types.is_null(array.type):
        return _History([()] * many, [[]] * many, set())
    if not is_list(array.type) or not types.is_struct(array.type.value_type):
        raise _Unusual
    offsets, inner = _inner(array)
    fields = [inner.type.field(place).name for place in range(inner.type.num_fields)]
    if len(set(fields)) < len(fields) or not {*names}.issubset(fields):
        raise _Unusual
    unusual: set[int] = set(np.flatnonzero(~_there(inner)).tolist())
    columns = [_texts(inner.field(fields.index(name)), unusual) for name in names]
    own = inner.field(fields.index(DIRECTION)) if DIRECTION in fields else None
    directions = _directions(own, len(inner), dimensions, unusual)
    made = list(map(make, *columns, directions.levels))
    said = list(zip(*columns, directions.hexes, strict=True))
    of_items: list[int] = (np.searchsorted(offsets, sorted(unusual), side="right") - 1).tolist()
    of_no_list: list[int] = np.flatnonzero(~_there(array) & (np.diff(offsets) > 0)).tolist()
    spans = list(pairwise(offsets.tolist()))
    return _History([tuple(made[a:b]) for a, b in spans], [said[a:b] for a, b in spans], {*of_items, *of_no_list})


def _inner(array: Any) -> tuple[Any, Any]:
    """Where each list of an array begins among the values of all, and after the last; and these values."""
    offsets = array.offsets.to_numpy()
    return offsets - offsets[0], array.values.slice(offsets[0], offsets[-1] - offsets[0])


def _there(array: Any) -> Any:
    """Which values are not missing."""
    return array.is_valid().to_numpy(zero_copy_only=False)
