"""The one estimator of a mean and its uncertainty."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from alignx.intervals import Estimate, clustered_mean, holm, macro_mean, p_value, smallest_difference


def test_interval_worked_by_hand_for_three_clusters() -> None:
    # Mean 3/4. Residuals by cluster: a (1, 1) → 1/2; b (0) → −3/4; c (1) → 1/4. Squares: 4/16 + 9/16 + 1/16 = 14/16.
    # Variance 3/2 · 14/16 / 4² = 21/256. Two degrees of freedom: t = 4.302653.
    found = clustered_mean([1, 1, 0, 1], ["a", "a", "b", "c"], bounds=None)
    assert (found.mean, found.n, found.clusters) == (0.75, 4, 3)
    assert found.standard_error == pytest.approx(math.sqrt(21) / 16)
    assert found.low == pytest.approx(0.75 - 4.302653 * math.sqrt(21) / 16)
    assert found.high == pytest.approx(0.75 + 4.302653 * math.sqrt(21) / 16)


def test_interval_of_a_share_worked_by_hand_stays_within_what_it_can_be() -> None:
    # As above, where the symmetric interval is −0.48 to 1.98. With p = 3/4, t² = 18.512820 and
    # a = t² · 21/256 / (p − p²) = 8.099359, the ends solve (p − m)² = a (m − m²), which is
    # (1 + a) m² − (2p + a) m + p² = 0.
    found = clustered_mean([1, 1, 0, 1], ["a", "a", "b", "c"])
    assert (found.low, found.high) == pytest.approx((0.0622737, 0.9926752), abs=1e-6)
    assert found.standard_error == pytest.approx(math.sqrt(21) / 16)


def test_interval_of_independent_items_is_wilsons() -> None:
    values = [1.0] * 2700 + [0.0] * 300  # so many that t is close to the normal quantile that Wilson's takes
    found = clustered_mean(values, [str(i) for i in range(3000)])
    exact = stats.binomtest(2700, 3000).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=2e-5)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=30))
def test_interval_follows_the_unit_and_the_sign_of_what_is_measured(items: list[tuple[bool, int]]) -> None:
    clusters = [str(g) for _, g in items]
    share = clustered_mean([float(v) for v, _ in items], clusters)
    wrong = clustered_mean([1.0 - v for v, _ in items], clusters)
    percent = clustered_mean([200.0 * v - 100 for v, _ in items], clusters, bounds=(-100, 100))
    assert (wrong.low, wrong.high) == pytest.approx((1 - share.high, 1 - share.low))
    assert (percent.low, percent.high) == pytest.approx((200 * share.low - 100, 200 * share.high - 100))
    assert 0 <= share.low <= share.mean <= share.high <= 1


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
    # p = 3/4: variance 0.1875/399, t(399) = 1.965927, so a = t²/399 = 0.009686: the middle (0.75 + a/2)/(1 + a) =
    # 0.747602, and half the width √(a · 0.1875 + a²/4)/(1 + a) = 0.042480.
    assert str(found) == "75.00 % [70.51, 79.01] (n = 400, 400 clusters)"


@pytest.mark.parametrize(("values", "clusters"), [([], []), ([1.0], []), ([1.0, 0.0], ["a"])])
def test_no_values_or_lists_of_two_lengths_are_refused(values: list[float], clusters: list[str]) -> None:
    with pytest.raises(ValueError, match="expected as many of each and at least one"):
        clustered_mean(values, clusters)


@pytest.mark.parametrize("values", [[-0.1, 0.0], [1.5, 1.0]])
def test_mean_outside_its_bounds_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"expected 0\.0 to 1\.0; bounds=None is for differences"):
        clustered_mean(values, ["a", "b"])


def test_bounds_are_no_finding_and_not_written() -> None:
    found = clustered_mean([0.0, 1.0], ["a", "b"])
    assert found.bounds == (0.0, 1.0)
    assert list(found.as_dict()) == ["mean", "low", "high", "n", "clusters", "standard_error", "note"]


# The macro-average


def test_macro_average_worked_by_hand_for_two_parts_that_share_a_cluster() -> None:
    # Part x: 1, 0 | 1 of clusters a | b, mean 2/3, residual sums −1/3 | 1/3. Part y: 1 | 0 of b | c, mean 1/2, residual
    # sums 1/2 | −1/2. Each part has two clusters: √2, and weighs 1/(2 · 3) or 1/(2 · 2). So a: −√2/18; b: √2/18 + √2/8;
    # c: −√2/8; or √2/72 times −4, 4 + 9 and −9.
    found = macro_mean([1, 0, 1, 1, 0], ["a", "a", "b", "b", "c"], ["x", "x", "x", "y", "y"], bounds=None)
    assert (found.mean, found.n, found.clusters) == (pytest.approx(7 / 12), 5, 3)
    assert found.standard_error == pytest.approx(math.sqrt(2 * (4**2 + 13**2 + 9**2)) / 72)
    assert found.high - found.mean == pytest.approx(4.302653 * found.standard_error)


ITEMS = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 4), st.sampled_from("xyz")), min_size=1)


@given(ITEMS)
def test_macro_average_agrees_with_a_straight_line_computation(items: list[tuple[float, int, str]]) -> None:
    values, names, parts = [v for v, *_ in items], [str(g) for _, g, _ in items], [part for *_, part in items]
    found = macro_mean(values, names, parts)
    means, counts, variance = {}, {}, 0.0
    for part in set(parts):
        means[part] = statistics.fmean(v for v, _, p in items if p == part)
        counts[part] = len({g for _, g, p in items if p == part})
    assert found.mean == pytest.approx(statistics.fmean(means.values()))
    if 1 in counts.values():
        assert math.isnan(found.standard_error)
        assert (found.low, found.high) == (0, 1)
        assert "one cluster: nothing can be said" in found.note
        return
    for v, g, p in items:
        for w, h, q in items:
            if g == h:
                factor = math.sqrt(counts[p] / (counts[p] - 1) * counts[q] / (counts[q] - 1))
                weight = 1 / (len(means) ** 2 * parts.count(p) * parts.count(q))
                variance += factor * weight * (v - means[p]) * (w - means[q])
    assert found.standard_error**2 == pytest.approx(variance, abs=1e-12)


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.integers(0, 9)), min_size=1, max_size=30))
def test_macro_average_of_one_part_is_the_clustered_mean(items: list[tuple[float, int]]) -> None:
    values, names = [v for v, _ in items], [str(g) for _, g in items]
    one, other = macro_mean(values, names, len(items) * ["all"]), clustered_mean(values, names)
    assert (one.n, one.clusters, one.note) == (other.n, other.clusters, other.note)
    assert (one.mean, one.low, one.high) == pytest.approx((other.mean, other.low, other.high), abs=1e-9)


def test_parts_that_share_no_cluster_add_their_variances() -> None:
    long = clustered_mean([1, 0, 1, 1, 0, 1], list("abcdef"))
    short = clustered_mean([1, 1, 0, 0], list("ghhi"))
    both = macro_mean([1, 0, 1, 1, 0, 1, 1, 1, 0, 0], list("abcdefghhi"), [*6 * ["long"], *4 * ["short"]])
    assert both.standard_error == pytest.approx(math.hypot(long.standard_error, short.standard_error) / 2)


def test_how_far_parts_lie_apart_is_no_error_of_their_average() -> None:
    values, clusters, parts = [1, 0, 1, 1, 0, 1], list("abcabc"), list("xxxyyy")
    apart = [value + 5 * (part == "y") for value, part in zip(values, parts, strict=True)]
    one, other = (macro_mean(v, clusters, parts, bounds=None) for v in (values, apart))
    assert other.mean == pytest.approx(one.mean + 2.5)
    assert other.standard_error == pytest.approx(one.standard_error)


def test_part_with_few_clusters_is_noted() -> None:
    clusters = [str(i) for i in range(110)]
    values = [i % 2 for i in range(110)]
    few = macro_mean(values, clusters, [*100 * ["x"], *10 * ["y"]])
    assert few.note == "a part has fewer than 30 clusters: the interval is too narrow"
    assert macro_mean(values, clusters, [*60 * ["x"], *50 * ["y"]]).note == ""
    one = macro_mean([*values, 1], [*clusters, "last"], [*110 * ["x"], "y"])
    assert one.note == "a part has one cluster: nothing can be said about other users"
    assert math.isnan(p_value(one, 0.5))


def test_parts_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="got 2 values and 2 clusters and 1 parts"):
        macro_mean([1.0, 0.0], ["a", "b"], ["x"])


# Comparisons


@given(st.lists(st.floats(-10, 10, width=32), min_size=2, max_size=20))
def test_p_value_of_singleton_clusters_is_the_plain_t_tests(values: list[float]) -> None:
    found = clustered_mean(values, [str(i) for i in range(len(values))], bounds=None)
    if found.standard_error > 1e-6:
        assert p_value(found) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=1e-9)
        assert p_value(found, 1.5) == pytest.approx(stats.ttest_1samp(values, 1.5).pvalue, abs=1e-9)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=2), st.booleans(), st.floats(0.01, 0.99))
def test_p_value_is_below_a_twentieth_where_the_interval_leaves_the_value_out(
    items: list[tuple[bool, int]], bounded: bool, null: float
) -> None:
    found = clustered_mean([float(v) for v, _ in items], [str(g) for _, g in items], (0, 1) if bounded else None)
    p = p_value(found, null)
    if not math.isnan(p) and min(abs(null - found.low), abs(null - found.high)) > 1e-9:
        assert (p < 0.05) is not (found.low < null < found.high)


def test_p_value_of_all_right_is_the_exact_one() -> None:
    found = clustered_mean(20 * [1.0], [str(i % 10) for i in range(20)])
    assert p_value(found, 0.5) == pytest.approx(stats.binomtest(10, 10, 0.5).pvalue)  # 2 · 0.5¹⁰
    none = clustered_mean(20 * [0.0], [str(i % 10) for i in range(20)])
    assert p_value(none, 0.3) == pytest.approx(2 * 0.7**10)
    assert p_value(none, 0.01) == 1


def test_no_p_value_is_made_of_data_that_say_nothing() -> None:
    assert math.isnan(p_value(clustered_mean([0.2, -0.1], ["a", "a"], bounds=None)))
    assert math.isnan(p_value(clustered_mean([0.2, 0.2], ["a", "b"], bounds=None)))
    assert math.isnan(p_value(clustered_mean([0.0, 1.0, 0.0, 1.0], list("aabb")), 0.4))


@pytest.mark.parametrize("null", [0.0, 1.0, 1.2])
def test_share_is_not_tested_against_its_bounds(null: float) -> None:
    with pytest.raises(ValueError, match="expected a mean between"):
        p_value(clustered_mean([0.0, 1.0], ["a", "b"]), null)


def test_holm_worked_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.04; none may be below the one before.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.6]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1)))
def test_holm_lies_between_the_p_value_and_bonferronis(p_values: list[float]) -> None:
    for p, adjusted in zip(p_values, holm(p_values), strict=True):
        assert p <= adjusted <= min(1, len(p_values) * p)
    ordered = [adjusted for _, adjusted in sorted(zip(p_values, holm(p_values), strict=True))]
    assert ordered == sorted(ordered)


def test_comparison_without_a_p_value_still_counts_as_made() -> None:
    first, none, last = holm([0.01, math.nan, 0.5])
    assert (first, last) == (0.03, 1)
    assert math.isnan(none)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.inf])
def test_holm_refuses_what_is_no_p_value(wrong: float) -> None:
    with pytest.raises(ValueError, match="expected p-values between 0 and 1"):
        holm([0.5, wrong])


@pytest.mark.parametrize("clusters", [10, 30, 237])
def test_smallest_difference_would_be_found_four_times_in_five(clusters: int) -> None:
    found = Estimate(0.02, 0, 0, 600, clusters, 0.013)
    degrees, critical = clusters - 1, stats.t.ppf(0.975, clusters - 1)
    shift = smallest_difference(found) / found.standard_error
    power = stats.nct.sf(critical, degrees, shift) + stats.nct.cdf(-critical, degrees, shift)
    assert power == pytest.approx(0.8, abs=0.01)


def test_smallest_difference_worked_by_hand_does_not_depend_on_what_was_found() -> None:
    # Student's t with 2 degrees of freedom at p is (2p − 1) √(2/(4p(1 − p))): 4.302653 at 0.975, 1.060660 at 0.8.
    assert smallest_difference(Estimate(0.3, 0, 0, 60, 3, 0.02)) == pytest.approx(0.02 * 5.363313)
    assert smallest_difference(Estimate(0.0, 0, 0, 60, 3, 0.02)) == pytest.approx(0.02 * 5.363313)


def test_smallest_difference_of_data_that_say_nothing_is_unknown() -> None:
    assert math.isnan(smallest_difference(clustered_mean([1.0, 0.0], ["a", "a"])))
    assert math.isnan(smallest_difference(clustered_mean([0.2, 0.2], ["a", "b"], bounds=None)))
