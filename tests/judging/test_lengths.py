"""The length diagnostic: by hand, against planted truths, and where there is no answer."""

import math
import random

import pytest

from alignx.judging.lengths import measure_lengths
from alignx.judging.outcomes import Outcome
from tests.judging.test_rates import LOST, TIED, WON, pair


def planted(intercept: float, slope: float, number: int = 4000) -> list[Outcome]:
    """Pairs won with probability σ(intercept + slope · tanh(d / 100)), d of standard deviation 100 around 60."""
    rng = random.Random(1)
    found = []
    for index in range(number):
        apart = round(rng.gauss(60, 100))
        won = rng.random() < 1 / (1 + math.exp(-intercept - slope * math.tanh(apart / 100)))
        found.append(pair(f"{index}", *(WON if won else LOST), longer=apart))
    return found


def test_four_pairs_by_hand() -> None:
    """Two equally long pairs, one won; a longer one won and one lost of each sign: the slope is 0, the rate a half."""
    pairs = [pair("a", *WON), pair("b", *LOST), *(
        pair(f"{sign}{number}", *verdict, longer=sign * 10)
        for sign in (1, -1)
        for number, verdict in enumerate((WON, LOST))
    )]  # fmt: skip
    found = measure_lengths(pairs)
    assert found.rate is not None
    assert found.longer is not None
    assert (found.rate.mean, found.slope) == pytest.approx((0.5, 0.0))
    assert (found.longer.mean, found.longer.n) == (0.5, 4)
    assert found.difference.mean == 0
    assert found.spread == pytest.approx(10 * math.sqrt(4 / 6))


def test_a_saturated_fit_by_hand() -> None:
    """Of shorter candidates 1 in 4 wins, of longer ones 3 in 4: σ⁻¹ is ∓ ln 3 at tanh(∓1), so the rate is a half."""
    pairs = [
        pair(f"{sign}{number}", *(WON if (number < 3) == (sign > 0) else LOST), longer=sign * 10)
        for sign in (1, -1)
        for number in range(4)
    ]
    found = measure_lengths(pairs)
    assert found.rate is not None
    assert found.rate.mean == pytest.approx(0.5)
    assert found.slope == pytest.approx(math.log(3) / math.tanh(1))


@pytest.mark.parametrize(("intercept", "slope"), [(0.0, 2.0), (0.7, 0.0), (-0.5, 1.0), (0.5, -1.0)])
def test_what_was_planted_is_found_within_the_interval(intercept: float, slope: float) -> None:
    found = measure_lengths(planted(intercept, slope))
    assert found.rate is not None
    assert found.rate.low < 1 / (1 + math.exp(-intercept)) < found.rate.high
    assert found.rate.high - found.rate.low < 0.06
    assert found.slope == pytest.approx(slope, abs=0.25)


def test_the_interval_is_that_of_the_plain_rate_when_length_plays_no_part() -> None:
    """With lengths balanced in every cluster, the intercept's influence is that of the mean."""
    pairs = [
        pair(f"{user}{sign}", *(WON if user % 3 else LOST), user=f"u{user}", longer=sign * 5)
        for user in range(90)
        for sign in (1, -1)
    ]
    found = measure_lengths(pairs)
    assert found.rate is not None
    assert found.rate.mean == pytest.approx(2 / 3)
    assert (found.rate.n, found.rate.clusters) == (180, 90)
    assert found.rate.standard_error == pytest.approx(math.sqrt(2 / 9 / 89), rel=0.01)


@pytest.mark.parametrize(
    ("pairs", "problem"),
    [
        ([pair("a", *WON, longer=5), pair("b", *LOST, longer=5)], "differences in length are the same"),
        ([pair("a", *WON, longer=5), pair("b", *LOST, longer=-5)], "length alone"),
        ([pair("a", *WON, longer=5), pair("b", *WON, longer=-5)], "length alone"),
    ],
)
def test_where_there_is_no_rate_at_equal_length_it_says_why(pairs: list[Outcome], problem: str) -> None:
    found = measure_lengths(pairs)
    assert found.rate is None
    assert problem in found.problem


def test_ties_count_half_and_no_pair_at_all_is_refused() -> None:
    found = measure_lengths([pair("a", *TIED, longer=3), pair("b", *TIED, longer=-4), pair("c", *TIED)])
    assert found.rate is not None
    assert (found.rate.mean, found.longer) == (0.5, None)
    with pytest.raises(ValueError, match="at least one"):
        measure_lengths([])
    with pytest.raises(ValueError, match="judged pairs"):
        measure_lengths([pair("a", None, None)])
