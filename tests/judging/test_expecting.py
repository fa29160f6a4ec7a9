"""The interval to expect, before anybody is asked."""

import math

import pytest

from alignx.judging.expecting import expected_half_widths


def test_four_hundred_users_of_one_pair_each() -> None:
    """1.966 · ½ / √399, and Wilson's interval is a little narrower than that: the known ± 4.9 points."""
    alone, alike = expected_half_widths(f"{number}" for number in range(400))
    assert alone == alike == pytest.approx(0.0489, abs=2e-4)


def test_four_pairs_a_user_at_worst_are_worth_one() -> None:
    alone, alike = expected_half_widths(f"{number % 100}" for number in range(400))
    assert alone == pytest.approx(0.0489, abs=2e-4)
    assert alike == expected_half_widths(f"{number}" for number in range(100))[0]
    assert alike / alone == pytest.approx(2, rel=0.02)


def test_one_user_says_nothing_and_no_pair_is_refused() -> None:
    assert expected_half_widths(["u"] * 9) == (0.5, 0.5)
    assert math.isfinite(sum(expected_half_widths(["a", "b"])))
    with pytest.raises(ValueError, match="0 values"):
        expected_half_widths([])
