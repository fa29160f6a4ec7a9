"""Accuracy as the history grows."""

import json
import random
from typing import Any

import pytest

from alignx.errors import DataError, SettingsError
from alignx.evaluation.breakdown import Moves
from alignx.evaluation.breakdown.history import growth
from alignx.intervals import clustered_mean
from tests.evaluation.breakdown.moved import moved, turned_over


def told(items: dict[str, int], towards: dict[str, float], **score: Any) -> Moves:
    """A policy that was told so many items of each record."""
    moves = moved(towards, **score)
    counted = {n: each.model_copy(update={"history_items": items[n]}) for n, each in moves.scores.items()}
    return Moves(counted, moves.margins)


#                 how many items each record has: a 0, b 1, c 2, d 9
SERIES = {
    4: told({"a": 0, "b": 1, "c": 2, "d": 4}, {"a": -1.0, "b": 1.0, "c": 1.0, "d": 1.0}),
    1: told({"a": 0, "b": 1, "c": 1, "d": 1}, {"a": -1.0, "b": 1.0, "c": 0.0, "d": 1.0}),
    0: told({"a": 0, "b": 0, "c": 0, "d": 0}, {"a": -1.0, "b": -1.0, "c": -1.0, "d": 1.0}),
}


def test_lengths_under_which_nobody_was_told_another_prompt_are_no_comparisons() -> None:
    told = {0: 0, 4: 4, 8: 4}  # no record has eight
    series = {items: moved({"a": 1.0, "b": -1.0}, history_items=n) for items, n in told.items()}
    found = growth("ICA", "UGC", series)
    assert [point.difference is None for point in found.points] == [True, False, True]
    ready = {items: moved({"a": 1.0, "b": -1.0}, history_items=items, profile="ready") for items in (0, 4)}
    assert growth("PBA", "UGC", ready).points[1].difference is None


def test_a_series_by_hand() -> None:
    found = growth("ICA", "UGC", SERIES)
    assert (found.policy, found.source) == ("ICA", "UGC")
    none, one, four = found.points
    assert [point.items for point in found.points] == [0, 1, 4]
    assert none.found.accuracy == clustered_mean([0, 0, 0, 1], list("abcd"))
    assert none.difference is None
    assert one.found.ties == 1
    assert one.difference == clustered_mean([0, 1, 0, 0], list("abcd"), bounds=None)
    assert four.difference == clustered_mean([0, 1, 1, 0], list("abcd"), bounds=None)
    assert [(point.full.n, point.short) for point in found.points] == [(4, 0), (3, 1), (1, 3)]
    assert four.full == SERIES[4].tally("d")
    assert one.full == SERIES[1].tally("bcd")


def test_differences_are_paired_and_clustered_by_user() -> None:
    users = {"a": "u", "b": "u", "c": "v", "d": "v"}
    series = {n: moved({"a": m, "b": m, "c": 1.0, "d": 1.0}, users, history_items=n) for n, m in ((0, -1.0), (2, 1.0))}
    difference = growth("ICA", "UGC", series).points[1].difference
    assert difference == clustered_mean([1, 1, 0, 0], ["u", "u", "v", "v"], bounds=None)


def test_from_a_tie_to_right_is_a_gain() -> None:
    series = {n: moved({"a": m, "b": 1.0}, history_items=n) for n, m in ((0, 0.0), (2, 1.0))}
    difference = growth("ICA", "UGC", series).points[1].difference
    assert difference is not None
    assert difference.mean == 0.5


def test_order_of_records_and_of_lengths_changes_nothing() -> None:
    turned = {items: turned_over(SERIES[items]) for items in sorted(SERIES)}
    assert growth("ICA", "UGC", turned) == growth("ICA", "UGC", SERIES)


def test_a_history_of_both_kinds_has_as_many_of_each() -> None:
    series = {0: moved({"a": 1.0, "b": 1.0}, history_items=0), 2: told({"a": 4, "b": 3}, {"a": 1.0, "b": 1.0})}
    (_, two) = growth("ICA", "both", series, kinds=2).points
    assert (two.full.n, two.short) == (1, 1)


def test_more_items_than_asked_for_are_refused() -> None:
    with pytest.raises(DataError, match=r"record 'd': was told 4 history items, expected at most 2"):
        growth("ICA", "UGC", {0: SERIES[0], 2: SERIES[4]})


def test_profiles_that_no_history_changes_are_counted() -> None:
    series = {n: moved({"a": 1.0, "b": 1.0}, history_items=0, profile="ready") for n in (0, 2)}
    assert [point.unvaried for point in growth("PBA", "PAIR", series).points] == [2, 2]
    assert growth("ICA", "UGC", SERIES).points[0].unvaried == 0


def test_lengths_about_different_records_are_refused() -> None:
    with pytest.raises(DataError, match=r"the scores with 0 items and those with 2 .* 'd'"):
        growth("ICA", "UGC", {0: SERIES[0], 2: moved({"a": 1.0, "b": 1.0, "c": 1.0})})


@pytest.mark.parametrize("lengths", [{}, {-1: SERIES[0], 4: SERIES[4]}])
def test_no_length_or_one_below_nought_is_refused(lengths: dict[int, Moves]) -> None:
    with pytest.raises(SettingsError, match="expected at least one, from 0"):
        growth("ICA", "UGC", lengths)


def test_planted_growth_is_found_and_a_plateau_is_none() -> None:
    rng = random.Random(8)
    luck = {f"r{i}": rng.random() for i in range(1500)}
    right = {0: 0.5, 2: 0.6, 8: 0.7, 16: 0.7}
    series = {n: moved({r: 1.0 if x < p else -1.0 for r, x in luck.items()}, history_items=n) for n, p in right.items()}
    none, two, eight, sixteen = growth("ICA", "UGC", series).points
    assert none.found.accuracy is not None
    for point, gain in ((two, 0.1), (eight, 0.2), (sixteen, 0.2)):
        assert point.difference is not None
        assert 0 < point.difference.low < gain < point.difference.high
        assert point.difference.standard_error < 1.2 * none.found.accuracy.standard_error  # pairing helps
    assert eight.difference == sixteen.difference


def test_every_number_is_in_the_json() -> None:
    found = json.loads(json.dumps(growth("ICA", "UGC", SERIES).as_dict(), allow_nan=False))
    assert (found["policy"], found["source"]) == ("ICA", "UGC")
    assert [(each["items"], each["n"], each["short"]) for each in found["points"]] == [(0, 4, 0), (1, 4, 1), (4, 4, 3)]
    assert found["points"][0]["difference"] is None
    assert found["points"][2]["difference"]["mean"] == 0.5
    assert found["points"][2]["full"]["n"] == 1
