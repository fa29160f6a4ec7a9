"""Arithmetic on directions: exact, inclusive at both thresholds, and never a pole out of nothing."""

import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignx.errors import SettingsError
from alignx.records import Thresholds, aggregate, load_taxonomy, reverse, verbalise
from alignx.records.directions import levels_of_floats

TRAIN = Thresholds(positive="0.6", negative="0.4")
EVALUATION = Thresholds(positive="0.51", negative="0.49")
NEGATIVE, NEUTRAL, POSITIVE = 0, 1, 2

LEVELS = st.sampled_from([NEGATIVE, NEUTRAL, POSITIVE])
HISTORIES = st.integers(1, 6).flatmap(
    lambda width: st.lists(st.lists(LEVELS, min_size=width, max_size=width).map(bytes), min_size=1, max_size=60)
)
HUNDREDTHS = st.integers(0, 100)
THRESHOLDS = st.tuples(HUNDREDTHS, HUNDREDTHS).filter(lambda pair: pair[0] < pair[1])


def of_one_dimension(*levels: int) -> list[bytes]:
    return [bytes([level]) for level in levels]


def decimal(hundredths: int) -> str:
    return f"{hundredths / 100:.2f}"


def by_the_definition(history: list[bytes], thresholds: Thresholds) -> bytes:
    """The mean of values 0, 1/2 and 1 in exact fractions, dimension by dimension."""
    found = []
    for dimension in range(len(history[0])):
        mean = sum((Fraction(direction[dimension], 2) for direction in history), Fraction()) / len(history)
        positive, negative = mean >= Fraction(thresholds.positive), mean <= Fraction(thresholds.negative)
        found.append(POSITIVE if positive else NEGATIVE if negative else NEUTRAL)
    return bytes(found)


def test_five_items_with_a_mean_of_four_tenths_are_negative_by_hand() -> None:
    # values 0, ½, ½, ½, ½: their sum is 2, their mean 2/5 = 0.4, which is at most 0.4
    history = of_one_dimension(NEGATIVE, NEUTRAL, NEUTRAL, NEUTRAL, NEUTRAL)
    assert aggregate(history, TRAIN) == bytes([NEGATIVE])
    assert aggregate([reverse(direction) for direction in history], TRAIN) == bytes([POSITIVE])  # 3/5 = 0.6
    assert float(np.float32(2) / np.float32(5)) > 0.4  # what floating point makes of it: the negative would be lost


def test_a_history_worked_by_hand() -> None:
    history = [bytes([2, 2, 0, 1]), bytes([2, 1, 0, 1]), bytes([0, 1, 1, 1])]
    # means: (1 + 1 + 0) / 3 = 0.67, (1 + ½ + ½) / 3 = 0.67, (0 + 0 + ½) / 3 = 0.17, ½
    assert aggregate(history, TRAIN) == bytes([POSITIVE, POSITIVE, NEGATIVE, NEUTRAL])


@pytest.mark.parametrize(
    ("thresholds", "items", "total", "level"),
    [
        (TRAIN, 5, 6, POSITIVE),  # 6 / 10 = 0.6
        (TRAIN, 5, 5, NEUTRAL),
        (TRAIN, 5, 4, NEGATIVE),  # 4 / 10 = 0.4
        (TRAIN, 20, 24, POSITIVE),  # 24 / 40 = 0.6
        (TRAIN, 20, 23, NEUTRAL),
        (TRAIN, 20, 17, NEUTRAL),
        (TRAIN, 20, 16, NEGATIVE),  # 16 / 40 = 0.4
        (EVALUATION, 50, 51, POSITIVE),  # 51 / 100 = 0.51
        (EVALUATION, 50, 50, NEUTRAL),
        (EVALUATION, 50, 49, NEGATIVE),  # 49 / 100 = 0.49
        (EVALUATION, 100, 102, POSITIVE),  # 102 / 200 = 0.51
        (EVALUATION, 100, 101, NEUTRAL),  # 0.505
        (EVALUATION, 100, 99, NEUTRAL),  # 0.495
        (EVALUATION, 100, 98, NEGATIVE),  # 98 / 200 = 0.49
        (EVALUATION, 4, 5, POSITIVE),  # one item of four beyond neutral: 0.625
        (EVALUATION, 4, 3, NEGATIVE),
        (Thresholds("1", "0"), 3, 6, POSITIVE),
        (Thresholds("1", "0"), 3, 5, NEUTRAL),
        (Thresholds("1", "0"), 3, 0, NEGATIVE),
    ],
)
def test_both_thresholds_belong_to_their_pole(thresholds: Thresholds, items: int, total: int, level: int) -> None:
    levels = [NEUTRAL] * items
    for index in range(abs(total - items)):
        levels[index] = POSITIVE if total > items else NEGATIVE
    assert sum(levels) == total
    assert aggregate(of_one_dimension(*levels), thresholds) == bytes([level])


@settings(deadline=None, max_examples=300)
@given(HISTORIES, THRESHOLDS)
def test_aggregation_agrees_with_exact_fractions(history: list[bytes], pair: tuple[int, int]) -> None:
    thresholds = Thresholds(positive=decimal(pair[1]), negative=decimal(pair[0]))
    assert aggregate(history, thresholds) == by_the_definition(history, thresholds)


@settings(deadline=None, max_examples=100)
@given(HISTORIES, st.randoms(use_true_random=False))
def test_the_order_of_a_history_changes_nothing(history: list[bytes], random: object) -> None:
    shuffled = list(history)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert aggregate(shuffled, TRAIN) == aggregate(history, TRAIN)


def test_one_item_is_its_own_aggregate() -> None:
    direction = bytes([0, 1, 2])
    assert aggregate([direction], TRAIN) == aggregate([direction], EVALUATION) == direction


@pytest.mark.parametrize("thresholds", [TRAIN, EVALUATION])
def test_an_all_neutral_history_gives_an_empty_profile_and_no_poles(thresholds: Thresholds) -> None:
    together = aggregate([bytes([NEUTRAL] * 90)] * 5, thresholds)
    assert together == bytes([NEUTRAL] * 90)
    assert verbalise(together, load_taxonomy()) == ""


def test_items_that_contradict_each_other_give_no_pole() -> None:
    assert aggregate(of_one_dimension(POSITIVE, NEGATIVE), EVALUATION) == bytes([NEUTRAL])


def test_no_items_have_no_aggregate() -> None:
    with pytest.raises(ValueError, match="no directions to aggregate"):
        aggregate([], TRAIN)


def test_directions_of_different_lengths_have_no_aggregate() -> None:
    with pytest.raises(ValueError, match="zip"):
        aggregate([bytes([1, 1]), bytes([1])], TRAIN)


def test_reversing_swaps_the_poles_and_keeps_neutral() -> None:
    assert reverse(bytes([0, 1, 2, 2])) == bytes([2, 1, 0, 0])


@given(st.lists(LEVELS, max_size=90).map(bytes))
def test_reversing_twice_changes_nothing(direction: bytes) -> None:
    assert reverse(reverse(direction)) == direction


@settings(deadline=None, max_examples=200)
@given(HISTORIES, st.integers(0, 49))
def test_reversing_commutes_with_aggregating_when_the_thresholds_are_symmetric(history: list[bytes], low: int) -> None:
    symmetric = Thresholds(positive=decimal(100 - low), negative=decimal(low))
    assert aggregate([reverse(direction) for direction in history], symmetric) == reverse(aggregate(history, symmetric))


@pytest.mark.parametrize(
    ("positive", "negative"), [("0.4", "0.6"), ("0.5", "0.5"), ("1.1", "0.4"), ("0.6", "-0.1"), ("0", "0")]
)
def test_thresholds_that_leave_no_neutral_or_no_pole_are_refused(positive: str, negative: str) -> None:
    with pytest.raises(SettingsError, match=r"^thresholds: got .* expected 0 <= negative < positive <= 1$"):
        Thresholds(positive=positive, negative=negative)


@pytest.mark.parametrize(
    ("positive", "negative"), [("most", "0.4"), ("0.6", ""), ("nan", "0.4"), ("inf", "0"), ("1/0", "0")]
)
def test_thresholds_that_are_no_numbers_are_refused_with_an_example(positive: str, negative: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Thresholds(positive=positive, negative=negative)
    assert str(caught.value) == (
        f"thresholds: got positive {positive!r}, negative {negative!r}, expected decimals such as 0.6, 0.4"
    )


def test_a_profile_is_the_phrases_of_its_poles_in_the_order_of_the_dimensions() -> None:
    assert verbalise(bytes([0, 2, 1, 2] + [1] * 86), load_taxonomy()) == "Older, Female, High Extraversion"


def test_a_direction_for_another_taxonomy_is_not_put_into_words() -> None:
    with pytest.raises(ValueError, match="direction has 89 dimensions, the taxonomy 90"):
        verbalise(bytes([1] * 89), load_taxonomy())


def test_more_items_than_a_byte_can_count_are_aggregated_too() -> None:
    for items in (127, 128, 300):
        history = [bytes([2, 1, 0])] * items
        assert aggregate(history, TRAIN) == bytes([2, 1, 0])
        assert aggregate([*history, bytes([0, 1, 2])], TRAIN) == bytes([2, 1, 0])


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=95))
def test_a_list_of_floats_is_read_as_its_levels(values: list[float]) -> None:
    assert levels_of_floats(values) == bytes(int(2 * value) for value in values)


WRONG = (
    st.floats() | st.integers() | st.booleans() | st.none() | st.text(max_size=2) | st.just([0.5]) | st.just(object())
)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=9), WRONG, st.integers(0, 9))
def test_a_list_with_anything_else_has_no_levels(values: list[object], wrong: object, place: int) -> None:
    values.insert(place, wrong)
    if not (type(wrong) is float and wrong in (0.0, 0.5, 1.0)):
        assert levels_of_floats(values) is None


@pytest.mark.parametrize("bits", [0xFFF8 << 48, 0xFF12 << 48, 0x3FE0000000000001, 0x3F00 << 48, 0x00E0 << 48])
def test_floats_that_share_bytes_with_a_level_have_none(bits: int) -> None:
    value = struct.unpack("<d", bits.to_bytes(8, "little"))[0]
    assert levels_of_floats([0.5, value, 1.0]) is None
