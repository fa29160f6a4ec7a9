"""The one estimator of a mean and its uncertainty."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from alignx.intervals import clustered_mean


def test_interval_worked_by_hand_for_three_clusters() -> None:
    # Mean 3/4. Residuals by cluster: a (1, 1) → 1/2; b (0) → −3/4; c (1) → 1/4. Squares: 4/16 + 9/16 + 1/16 = 14/16.
    # Variance 3/2 · 14/16 / 4² = 21/256. Two degrees of freedom: t = 4.302653.
    found = clustered_mean([1, 1, 0, 1], ["a", "a", "b", "c"], bounds=None)
    assert (found.mean, found.n, found.clusters) == (0.75, 4, 3)
    assert found.standard_error == pytest.approx(math.sqrt(21) / 16)
    assert found.low == pytest.approx(0.75 - 4.302653 * math.sqrt(21) / 16)
    assert found.high == pytest.approx(0.75 + 4.302653 * math.sqrt(21) / 16)


def test_interval_stays_within_what_a_share_can_be() -> None:
    found = clustered_mean([1, 1, 0, 1], ["a", "a", "b", "c"])  # unbounded: −0.48 to 1.98
    assert (found.low, found.high) == (0.0, 1.0)
    assert found.standard_error == pytest.approx(math.sqrt(21) / 16)


def test_repeating_each_observation_within_its_cluster_changes_nothing() -> None:
    values, clusters = [1, 0, 1, 1, 0, 1], list("abcdef")
    once, thrice = clustered_mean(values, clusters), clustered_mean(3 * values, 3 * clusters)
    assert thrice.standard_error == pytest.approx(once.standard_error)  # copies are no new evidence
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))
    assert thrice.n == 3 * once.n


@given(st.lists(st.floats(-10, 10, width=32), min_size=2, max_size=40))
def test_singleton_clusters_give_the_plain_t_interval(values: list[float]) -> None:
    found = clustered_mean(values, [str(i) for i in range(len(values))], bounds=None)
    error = statistics.stdev(values) / math.sqrt(len(values))
    half = float(stats.t.ppf(0.975, len(values) - 1)) * error
    assert found.standard_error == pytest.approx(error, abs=1e-9)
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half), abs=1e-6)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=30), st.randoms())
def test_order_and_names_of_clusters_change_nothing(items: list[tuple[bool, int]], rng: random.Random) -> None:
    one = clustered_mean([float(v) for v, _ in items], [f"user:{g}" for _, g in items])
    rng.shuffle(items)
    other = clustered_mean([float(v) for v, _ in items], [f"{7 - g} renamed" for _, g in items])
    assert (other.low, other.high, other.n, other.clusters) == pytest.approx((one.low, one.high, one.n, one.clusters))
    assert one.low <= one.mean <= one.high


@pytest.mark.parametrize(("value", "low", "high"), [(0.0, 0.0, 0.308497), (1.0, 0.691503, 1.0)])
def test_none_or_all_of_ten_clusters_give_the_exact_binomial_interval(value: float, low: float, high: float) -> None:
    # Clopper and Pearson for 0 of 10: 1 − 0.025^(1/10) = 0.308497; for 10 of 10 its mirror image.
    found = clustered_mean(20 * [value], [str(i % 10) for i in range(20)])  # two observations a cluster are no 20
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)
    exact = stats.binomtest(round(10 * value), 10).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_exact_interval_follows_other_bounds() -> None:
    found = clustered_mean(10 * [-1.0], [str(i) for i in range(10)], bounds=(-1.0, 1.0))
    assert (found.low, found.high) == pytest.approx((-1.0, -1 + 2 * 0.308497), abs=1e-6)


def test_one_cluster_says_nothing_about_others() -> None:
    found = clustered_mean([1, 0, 1], ["a", "a", "a"])
    assert (found.low, found.high) == (0.0, 1.0)
    assert math.isnan(found.standard_error)
    assert "one cluster" in str(found)
    difference = clustered_mean([0.2, -0.1], ["a", "a"], bounds=None)
    assert (difference.low, difference.high) == (-math.inf, math.inf)


@pytest.mark.parametrize(("clusters", "noted"), [(2, True), (29, True), (30, False), (200, False)])
def test_few_clusters_are_noted(clusters: int, noted: bool) -> None:
    found = clustered_mean([i % 2 for i in range(clusters)], [str(i) for i in range(clusters)])
    assert ("fewer than 30 clusters: the interval is too narrow" in str(found)) is noted


def test_estimate_is_printed_in_percent_with_its_numbers() -> None:
    found = clustered_mean([i % 4 > 0 for i in range(400)], [str(i) for i in range(400)])
    # p = 3/4: standard error √(0.1875/399) = 0.021678; t(399) = 1.965927 → ± 4.26 %
    assert str(found) == "75.00 % [70.74, 79.26] (n = 400, 400 clusters)"


@pytest.mark.parametrize(("values", "clusters"), [([], []), ([1.0], []), ([1.0, 0.0], ["a"])])
def test_no_values_or_lists_of_two_lengths_are_refused(values: list[float], clusters: list[str]) -> None:
    with pytest.raises(ValueError, match="expected as many of each and at least one"):
        clustered_mean(values, clusters)


def test_interval_covers_the_truth_19_times_in_20_when_users_differ() -> None:
    # 60 users with shares drawn from Beta(2, 1) (mean 2/3), 1 to 6 items each whatever the share: true mean 2/3.
    rng = random.Random(4)
    repetitions, covered, covered_without_clusters = 500, 0, 0
    for _ in range(repetitions):
        values: list[float] = []
        users: list[str] = []
        for user in range(60):
            share, items = rng.betavariate(2, 1), rng.randint(1, 6)
            values += [float(rng.random() < share) for _ in range(items)]
            users += items * [str(user)]
        for found, own in (
            (clustered_mean(values, users), True),
            (clustered_mean(values, [str(i) for i in range(len(values))]), False),
        ):
            inside = found.low <= 2 / 3 <= found.high
            covered += inside and own
            covered_without_clusters += inside and not own
    assert 0.92 <= covered / repetitions <= 0.98
    assert covered_without_clusters / repetitions < 0.9  # taking items for independent would be too sure
