"""Records from the columns of Arrow batches: what the parser makes of the same rows, refusals included."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alignx.errors import DataError
from alignx.records import RecordParser, Taxonomy, batches
from alignx.records.batches import read_batch
from alignx.records.taxonomy import Dimension
from tests.records.rows import CHOICES, COMMENTS, DEMOGRAPHICS, DIRECTION

TAXONOMY = Taxonomy(tuple(Dimension("g", f"more {n}", f"less {n}") for n in range(3)))

TEXT = st.sampled_from(["a", "b", "two words", " c", "\x1fd", "é", "🙂 e"])
ODD = st.none() | st.sampled_from(["", " ", "\t\n", "\x1c", "\x85", "\u2003", "\u200b", "\ufeff"])
DIRECTIONS = st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=3, max_size=3)
ODD_DIRECTIONS = st.lists(st.none() | st.sampled_from([0.0, 1.0, 0.3, 2.0, float("nan")]), max_size=4)


def mostly(usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 19).flatmap(lambda die: odd if die == 0 else usual)


def items(*names: str) -> st.SearchStrategy[Any]:
    item = st.fixed_dictionaries(
        {**{name: mostly(TEXT, ODD) for name in names}, DIRECTION: mostly(DIRECTIONS | st.none(), ODD_DIRECTIONS)}
    )
    return st.none() | st.lists(mostly(item, st.none()), max_size=3)


ROW = st.fixed_dictionaries(
    {
        "prompt": mostly(TEXT, ODD),
        "chosen": mostly(TEXT, ODD),
        "rejected": mostly(TEXT, ODD),
        DIRECTION: mostly(DIRECTIONS | st.none(), ODD_DIRECTIONS),
        DEMOGRAPHICS: TEXT | ODD,
        "profile": TEXT | ODD,
        "user": st.none() | st.sampled_from(["u", "v"]) | mostly(TEXT, ODD),
        "id": st.none() | mostly(TEXT, ODD),
        COMMENTS: items("prompt", "comment"),
        CHOICES: items("prompt", "chosen", "rejected"),
        "score": st.none() | st.integers(0, 9),
    }
)


def item_type(text: Any, numbers: Any, *names: str) -> Any:
    return pa.struct([*((name, text) for name in names), (DIRECTION, numbers)])


def schema(text: Any, number: Any, lists: Any) -> Any:
    numbers = lists(number)
    return pa.schema(
        [
            *((name, text) for name in ("prompt", "chosen", "rejected", DEMOGRAPHICS, "profile", "user", "id")),
            (DIRECTION, numbers),
            (COMMENTS, lists(item_type(text, numbers, "prompt", "comment"))),
            (CHOICES, lists(item_type(text, numbers, "prompt", "chosen", "rejected"))),
            ("score", pa.int8()),
        ]
    )


SCHEMAS = {
    "usual": schema(pa.string(), pa.float64(), pa.list_),
    "large": schema(pa.large_string(), pa.float32(), pa.large_list),
}


def one_by_one(batch: Any, first: int = 1) -> tuple[list[Any], Counter[str]]:
    """What the parser makes of each row, a refusal as its words; and the fields that it had no use for."""
    parser, found = RecordParser(TAXONOMY), []
    for number, raw in enumerate(batch.to_pylist(), start=first):
        try:
            found.append(parser.read(raw, f"row {number}"))
        except DataError as error:
            found.append(str(error))
    return found, parser.unused_fields


def at_once(batch: Any, first: int = 1) -> tuple[list[Any], Counter[str]]:
    parser = RecordParser(TAXONOMY)
    found = read_batch(batch, parser, first, lambda number: f"row {number}")
    return [str(each) if isinstance(each, DataError) else each for each in found], parser.unused_fields


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ROW, max_size=9), st.sampled_from(sorted(SCHEMAS)), st.integers(0, 3), st.integers(0, 9))
def test_records_are_those_of_the_parser_of_a_part_of_a_batch_too(
    rows: list[dict[str, Any]], kind: str, skipped: int, count: int
) -> None:
    batch = pa.RecordBatch.from_pylist(rows, schema=SCHEMAS[kind]).slice(skipped, count)
    assert at_once(batch, 7) == one_by_one(batch, 7)


def usual(number: int) -> dict[str, Any]:
    """A row like any other."""
    return {
        "prompt": f"p{number}",
        "chosen": "c",
        "rejected": "r",
        DIRECTION: [0, 0.5, 1],
        COMMENTS: [{"prompt": "q", "comment": f"k{number}", DIRECTION: [1, 1, 0]}] * (number % 3),
        CHOICES: [{"prompt": "q", "chosen": f"x{number}", "rejected": "y", DIRECTION: None}] * (number % 2),
    }


def test_usual_rows_never_go_to_the_parser_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BATCH_ROWS", 4)
    batch = pa.RecordBatch.from_pylist([usual(number) for number in range(11)], schema=SCHEMAS["usual"])
    expected = one_by_one(batch)
    monkeypatch.setattr(RecordParser, "read", None)
    assert at_once(batch) == expected


def test_one_unusual_row_alone_goes_to_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [usual(number) for number in range(9)]
    rows[4]["rejected"] = "c"
    rows[6][COMMENTS] = [{"prompt": "q", "comment": " ", DIRECTION: None}]
    batch = pa.RecordBatch.from_pylist(rows, schema=SCHEMAS["usual"])
    expected, asked, read = one_by_one(batch), [], RecordParser.read

    def noted(self: RecordParser, raw: object, where: str) -> Any:
        asked.append(where)
        return read(self, raw, where)

    monkeypatch.setattr(RecordParser, "read", noted)
    assert at_once(batch) == expected
    assert asked == ["row 5", "row 7"]


@pytest.mark.parametrize(
    "columns",
    [
        {"prompt": pa.array([b"bytes", b"too"])},
        {"prompt": pa.array(["coded", "coded"]).dictionary_encode()},
        {"prompt": pa.nulls(2)},
        {"rejected": None},
        {DIRECTION: pa.array([[0, 1, 0], [1, 0, 1]], pa.list_(pa.int8(), 3))},
        {DIRECTION: pa.array([[0, 1, 0], None], pa.list_(pa.int64()))},
        {DIRECTION: pa.array([[True, False, True], None])},
        {DIRECTION: pa.nulls(2)},
        {COMMENTS: pa.nulls(2)},
        {COMMENTS: pa.array([[{"prompt": "q"}], []])},
        {COMMENTS: pa.array(["text", None])},
        {COMMENTS: pa.array([[{"prompt": "q", "comment": "k"}], None])},
        {"id": pa.array([12, None]), "user": pa.array([2**63 - 1, 0], pa.uint64())},
        {"id": pa.array([True, None])},
        {"id": pa.array([1.5, None])},
        {DEMOGRAPHICS: pa.array([3, 4])},
        {"profile": pa.nulls(2), "new": pa.array([{"a": 1}, None])},
        {DIRECTION: pa.array(np.zeros(2, dtype=np.float16))},
    ],
)
def test_columns_of_other_types_are_read_or_refused_as_ever(columns: dict[str, Any]) -> None:
    whole = {name: pa.array([name, f"{name}!"]) for name in ("prompt", "chosen", "rejected")} | columns
    batch = pa.RecordBatch.from_pydict({name: array for name, array in whole.items() if array is not None})
    assert at_once(batch) == one_by_one(batch)


def test_a_name_that_two_columns_have_is_read_as_ever() -> None:
    texts = [pa.array([text]) for text in ("p", "c", "r", "second p")]
    batch = pa.RecordBatch.from_arrays(texts, ["prompt", "chosen", "rejected", "prompt"])
    ((record, _),), _ = at_once(batch)
    assert record.prompt == "second p"


def test_a_list_that_is_missing_although_it_holds_values_is_missing() -> None:
    numbers = pa.ListArray.from_arrays(pa.array([0, 3, 6], pa.int32()), pa.array([0.0, 1, 0.5, 1, 1, 1]))
    numbers = pa.ListArray.from_buffers(
        numbers.type, 2, [pa.py_buffer(b"\x01"), numbers.buffers()[1]], children=[numbers.values]
    )
    comment = pa.StructArray.from_arrays([pa.array(["q", "s"]), pa.array(["k", "l"])], ["prompt", "comment"])
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), comment)
    lists = pa.ListArray.from_buffers(lists.type, 2, [pa.py_buffer(b"\x02"), lists.buffers()[1]], children=[comment])
    texts = {name: pa.array([name, f"{name}!"]) for name in ("prompt", "chosen", "rejected")}
    batch = pa.RecordBatch.from_pydict({**texts, DIRECTION: numbers, COMMENTS: lists})
    assert at_once(batch) == one_by_one(batch)
    (first, _), (second, _) = at_once(batch)[0]
    assert (first.direction, second.direction) == (bytes([0, 2, 1]), None)
    assert (len(first.persona.comments), len(second.persona.comments)) == (0, 1)
