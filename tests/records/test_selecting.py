"""Draws of records: by the rank of their ids, the same in any order, exact where a number is asked for."""

import hashlib
import json
import pickle
import random
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignx.errors import DataError
from alignx.manifest import digest
from alignx.records.mixing import Share
from alignx.records.selecting import Selection, rank, ranks

IDS = st.lists(st.text(), min_size=1, max_size=40, unique=True)
SHARES = st.decimals(min_value="0.001", max_value="0.999", places=3).map(lambda part: Share(part=part))


def ids(n: int) -> list[str]:
    return [f"record-{i}" for i in range(n)]


def taken(selection: Selection, of: Sequence[str]) -> list[str]:
    return [name for name in of if selection.selects(name)]


def exactly(count: int, of: Sequence[str], seed: int) -> Selection:
    return Selection.exactly(count, ranks(of, seed), seed)


def test_a_rank_is_the_beginning_of_a_digest_of_the_seed_and_the_id() -> None:
    written = hashlib.sha256(b'[42,"subset","one"]').hexdigest()
    assert rank(42, "one") == int(written[:16], 16)
    assert ranks(["one", "two"], 42).tolist() == [rank(42, "one"), rank(42, "two")]
    assert ranks([], 42).dtype == np.uint64
    assert rank(42, "one") != rank(43, "one")


@given(names=IDS, seed=st.integers(), at=st.integers(0, 10**6))
def test_so_many_are_those_that_sorting_by_the_digest_puts_first(names: list[str], seed: int, at: int) -> None:
    count = 1 + at % len(names)
    by_sorting = sorted(names, key=lambda name: digest(seed, "subset", name))[:count]
    assert {*taken(exactly(count, names, seed), names)} == {*by_sorting}


@pytest.mark.parametrize("count", [1, 2, 70, 999, 1000])
def test_so_many_are_exactly_so_many_in_any_order(count: int) -> None:
    names = ids(1000)
    selection = exactly(count, names, 7)
    assert len(taken(selection, names)) == count
    assert exactly(count, random.Random(0).sample(names, 1000), 7) == selection


@pytest.mark.parametrize("count", [0, -1, 11])
def test_more_records_than_there_are_are_refused(count: int) -> None:
    with pytest.raises(DataError, match=f"{count} records are asked for, expected at least 1 and at most the 10 there"):
        exactly(count, ids(10), 1)


def test_two_equal_ranks_at_the_border_are_refused_and_elsewhere_are_not() -> None:
    equal = np.array([5, 9, 9, 12], dtype=np.uint64)
    with pytest.raises(DataError, match=r"2 of 4 records cannot be drawn by seed 1: two have the rank 0{15}9"):
        Selection.exactly(2, equal, 1)
    assert [Selection.exactly(count, equal, 1).below for count in (1, 3)] == [6, 10]
    assert equal.tolist() == [5, 9, 9, 12], "the caller's array is as it was"


def test_the_highest_rank_there_can_be_is_among_all_and_not_among_fewer() -> None:
    highest = np.array([2**64 - 1, 0], dtype=np.uint64)
    assert Selection.exactly(1, highest, 1).below == 1
    assert Selection.exactly(2, highest, 1).below == 2**64
    nearly = np.array([2**64 - 2, 2**64 - 1], dtype=np.uint64)
    assert Selection.exactly(1, nearly, 1).below == 2**64 - 1, "beyond what a float holds"


def test_a_share_takes_each_record_by_itself_and_about_that_share_of_all() -> None:
    names = ids(20_000)
    selection = Selection.by_share(Share.parse("7%"), 42)
    found = taken(selection, names)
    # 1,400 are expected, with a standard deviation of √(20,000 · 0.07 · 0.93) = 36.1.
    assert len(found) == pytest.approx(1400, abs=4 * 36.1)
    assert taken(selection, names[5_000:6_000]) == [name for name in found if name in {*names[5_000:6_000]}]
    assert {*found} != {*taken(Selection.by_share(Share.parse("7%"), 43), names)}


def test_all_and_the_bound_of_a_share_are_exact() -> None:
    assert Selection.by_share(Share(), 1).below == 2**64
    assert taken(Selection.by_share(Share(), 1), ids(100)) == ids(100)
    assert Selection.by_share(Share(part=Decimal("0.5")), 1).below == 2**63
    # 2⁶⁴ · 0.07 = 1291272085159668613.12
    assert Selection.by_share(Share(part=Decimal("0.07")), 1).below == 1291272085159668613
    with pytest.raises(ValueError, match="a draw of 5 records needs the ranks of all"):
        Selection.by_share(Share(count=5), 1)


@given(names=IDS, seed=st.integers(), shares=st.tuples(SHARES, SHARES))
def test_a_smaller_draw_by_the_same_seed_is_part_of_a_larger_one(
    names: list[str], seed: int, shares: tuple[Share, Share]
) -> None:
    small, large = sorted(shares, key=lambda share: share.part or 0)
    few, more = ({*taken(Selection.by_share(share, seed), names)} for share in (small, large))
    assert few <= more
    if few:
        assert {*taken(exactly(len(few), names, seed), names)} == few, "a number of records is the same draw"


def test_a_draw_does_not_depend_on_the_process() -> None:
    # Recorded once. A change here takes other records into a training that has been reported.
    assert taken(exactly(4, ids(40), 42), ids(40)) == ["record-4", "record-13", "record-20", "record-28"]


@given(seed=st.integers(-(10**9), 10**9), share=SHARES)
def test_a_draw_travels_to_other_processes_and_into_manifests(seed: int, share: Share) -> None:
    for selection in (Selection.by_share(share, seed), Selection.by_share(Share(), seed), exactly(3, ids(9), seed)):
        assert pickle.loads(pickle.dumps(selection)) == selection
        assert Selection.from_dict(json.loads(json.dumps(selection.as_dict()))) == selection


@pytest.mark.parametrize(
    "saved",
    [
        {},
        {"share": "7%", "seed": 1},
        {"share": "0", "seed": 1, "below": "1"},
        {"share": "7%", "seed": 1, "below": "xyz"},
        {"share": "7%", "seed": 1, "below": 5},
        {"share": "7%", "seed": "one", "below": "5"},
        {"share": "7%", "seed": 1, "below": f"{2**64 + 1:x}"},
        {"share": "7%", "seed": 1, "below": "-1"},
    ],
)
def test_what_describes_no_draw_is_refused(saved: dict[str, object]) -> None:
    with pytest.raises(DataError, match="selection: got"):
        Selection.from_dict(saved)


def test_the_ranks_of_a_million_records_take_eight_bytes_each() -> None:
    assert ranks(ids(1000), 1).nbytes == 8000
