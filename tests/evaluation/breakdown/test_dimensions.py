"""Accuracy by dimension and pole."""

import json
import random
from dataclasses import replace

import pytest

from alignx.errors import DataError
from alignx.evaluation.breakdown.dimensions import by_dimension
from alignx.intervals import clustered_mean
from alignx.records import load_taxonomy, reverse
from tests.evaluation.breakdown.moved import FOUR, known, moved, record, turned_over

RECORDS = known(record("a", "+-.."), record("b", "+..."), record("c", "-..."), record("d", "...."), record("e", None))
MOVES = moved({"a": 1.0, "b": -1.0, "c": 0.0, "d": 1.0, "e": 1.0})


def test_dimensions_by_hand() -> None:
    found = by_dimension(MOVES, RECORDS, FOUR)
    assert (found.n, found.undirected, found.neutral) == (3, 1, 1)
    age, openness, calm, tea = found.dimensions
    assert (age.either.n, age.positive.n, age.negative.n) == (3, 2, 1)
    assert age.either.accuracy == clustered_mean([1.0, 0.0, 0.0], ["a", "b", "c"])
    assert age.positive.accuracy == clustered_mean([1.0, 0.0], ["a", "b"])
    assert (age.positive.ties, age.negative.ties, age.either.ties) == (0, 1, 1)
    assert (openness.either.n, openness.positive.n, openness.negative.n) == (1, 0, 1)
    assert calm.either.n == tea.either.n == 0
    assert [each.dimension for each in found.dimensions] == list(FOUR.dimensions)


def test_a_record_counts_in_every_dimension_where_its_target_has_a_pole() -> None:
    found = by_dimension(moved({"a": 1.0}), known(record("a", "+-+-")), FOUR)
    assert [(each.positive.n, each.negative.n) for each in found.dimensions] == [(1, 0), (0, 1), (1, 0), (0, 1)]


def test_records_of_one_user_are_one_cluster() -> None:
    moves = moved({"a": 1.0, "b": 1.0, "c": -1.0}, users={"a": "same", "b": "same"})
    assert by_dimension(moves, RECORDS, FOUR).dimensions[0].either.clusters == 2


def test_order_of_records_changes_nothing() -> None:
    turned = dict(reversed(RECORDS.items()))
    assert by_dimension(turned_over(MOVES), turned, FOUR) == by_dimension(MOVES, RECORDS, FOUR)


def test_swapping_the_poles_of_every_target_swaps_the_tallies() -> None:
    mirrored = {n: replace(r, direction=r.direction and reverse(r.direction)) for n, r in RECORDS.items()}
    for one, other in zip(
        by_dimension(MOVES, RECORDS, FOUR).dimensions, by_dimension(MOVES, mirrored, FOUR).dimensions, strict=True
    ):
        assert (one.either, one.positive, one.negative) == (other.either, other.negative, other.positive)


def test_a_planted_effect_is_found_in_its_pole_and_in_no_other() -> None:
    rng = random.Random(5)
    targets = {f"r{i}": "".join(rng.choice("+-.") for _ in range(4)) for i in range(2000)}
    towards = {n: rng.choice((1.0, 1.0, 1.0, -1.0) if t[1] == "+" else (1.0, -1.0)) for n, t in targets.items()}
    found = by_dimension(moved(towards), known(*(record(n, t) for n, t in targets.items())), FOUR)
    planted = found.dimensions[1].positive.accuracy
    assert planted is not None
    assert 0.70 < planted.low < 0.75 < planted.high < 0.80
    others = [found.dimensions[1].negative, *(t for i in (0, 2, 3) for t in (found.dimensions[i].positive,))]
    assert all(each.accuracy is not None and each.accuracy.high < planted.low for each in others)


def test_a_direction_of_another_taxonomy_is_refused() -> None:
    with pytest.raises(DataError, match=r"record a: its direction has 4 dimensions, the taxonomy 90"):
        by_dimension(moved({"a": 1.0}), known(record("a", "+...")), load_taxonomy())


def test_every_number_is_in_the_json() -> None:
    found = json.loads(json.dumps(by_dimension(MOVES, RECORDS, FOUR).as_dict(), allow_nan=False))
    assert (found["n"], found["undirected"], found["neutral"]) == (3, 1, 1)
    age = found["dimensions"][0]
    assert (age["positive"], age["either"]["n"], age["positive_pole"]["accuracy"]["mean"]) == ("Young", 3, 0.5)
    assert found["dimensions"][3]["negative_pole"] == {"n": 0, "ties": 0, "accuracy": None}
