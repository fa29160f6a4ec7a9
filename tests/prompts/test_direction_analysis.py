"""Directions of a source: correlations by hand and against NumPy, distinct ones, poles that meet, honest intervals."""

import itertools
import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from alignx.prompts.reporting import directions
from alignx.prompts.reporting.analysis import analyse
from alignx.prompts.reporting.correlation import Correlations, correlations
from alignx.prompts.reporting.directions import DirectionCounts
from alignx.records import Dimension, Direction, Taxonomy

LEVEL = {"-": 0, "0": 1, "+": 2}


def taxonomy(size: int) -> Taxonomy:
    return Taxonomy(tuple(Dimension("some group", f"Likes {i}", f"Dislikes {i}") for i in range(size)))


def read(*lines: str) -> list[Direction]:
    """A direction for each line of ``-``, ``0`` and ``+``."""
    return [bytes(map(LEVEL.__getitem__, line)) for line in lines]


def counted(found: Iterable[Direction], size: int) -> DirectionCounts:
    counts = DirectionCounts(taxonomy(size))
    for direction in found:
        counts.add(direction)
    return counts


def correlated(found: Sequence[Direction]) -> Correlations:
    return correlations(counted(found, len(found[0])).together(), len(found))


def analysed(found: Sequence[Direction]) -> dict[str, Any]:
    analysis = analyse(counted(found, len(found[0])), taxonomy(len(found[0])))
    assert analysis is not None
    return analysis


def sparse(n: int, size: int, seed: int, poles: float = 0.3) -> list[Direction]:
    """Independent levels, most of them neutral, positive twice as often as negative."""
    rng = random.Random(seed)
    weights = [poles / 3, 1 - poles, 2 * poles / 3]
    return [bytes(rng.choices((0, 1, 2), weights, k=size)) for _ in range(n)]


def levels(found: Sequence[Direction]) -> NDArray[np.int64]:
    return np.array([list(direction) for direction in found]) - 1


def test_a_correlation_worked_by_hand() -> None:
    found = correlated(read("++", "+0", "--", "00"))
    # x = 1 1 −1 0, y = 1 0 −1 0: Σx = 1, Σy = 0, Σxy = 2, Σx² = 3, Σy² = 2, n = 4
    assert found.r[0, 1] == pytest.approx((4 * 2 - 1 * 0) / math.sqrt(4 * 3 - 1) / math.sqrt(4 * 2 - 0))
    # being a pole: 1 1 1 0 and 1 0 1 0
    assert found.phi[0, 1] == pytest.approx((4 * 2 - 3 * 2) / math.sqrt(4 * 3 - 9) / math.sqrt(4 * 2 - 4))
    assert (found.both[0, 1], found.same[0, 1]) == (2, 2)
    assert found.r[1, 0] == found.r[0, 1]
    assert found.r[0, 0] == 1


def test_a_standard_error_worked_by_hand() -> None:
    # Two fair signs that agree in 6 of 8: r = 0.5, and (u·v − r)² is 0.25 six times and 2.25 twice.
    found = correlated(read("++", "++", "++", "--", "--", "--", "+-", "-+"))
    assert found.r[0, 1] == 0.5
    error = math.sqrt((6 * 0.25 + 2 * 2.25) / 8 / 8)
    assert found.error[0, 1] == pytest.approx(error)
    half = 1.959964 * error / (1 - 0.25)
    assert found.interval(0, 1) == pytest.approx((math.tanh(math.atanh(0.5) - half), math.tanh(math.atanh(0.5) + half)))


def test_opposite_and_equal_dimensions_have_one_and_minus_one_and_no_interval() -> None:
    found = correlated(read("++-", "--+", "000", "++-"))
    assert (found.r[0, 1], found.r[0, 2]) == (1, -1)
    assert found.interval(0, 1) is None


def test_a_dimension_that_never_changes_has_no_correlation_which_is_not_zero() -> None:
    lines = read("+0+", "-0+", "00+", "+0+")
    found = correlated(lines)
    for i, j in ((0, 1), (0, 2), (1, 2), (1, 1), (2, 2)):
        assert math.isnan(found.r[i, j])
        assert math.isnan(found.error[i, j]) or i == j
        assert found.interval(i, j) is None
    analysis = analysed(lines)["correlation"]
    assert analysis["constant"] == [1, 2]
    assert analysis["r"] == [[], [None], [None, None]]
    assert analysis["pairs"] == 0


def test_a_direction_seen_in_pieces_gives_what_numpy_gives_for_the_whole() -> None:
    found = sparse(4096 + 700, 12, seed=3)  # more than are counted at once
    whole = levels(found)
    mine = correlated(found)
    np.testing.assert_allclose(mine.r, np.corrcoef(whole, rowvar=False), atol=1e-12)
    np.testing.assert_allclose(mine.phi, np.corrcoef(np.abs(whole), rowvar=False), atol=1e-12)
    np.testing.assert_array_equal(mine.both, np.abs(whole).T @ np.abs(whole))


def test_the_standard_error_is_that_of_the_whole_table() -> None:
    found = sparse(500, 2, seed=5)
    whole = levels(found).astype(float)
    u, v = ((whole - whole.mean(axis=0)) / whole.std(axis=0)).T
    r = float(np.mean(u * v))
    expected = math.sqrt(np.mean((u * v - r * (u * u + v * v) / 2) ** 2) / len(found))
    assert correlated(found).error[0, 1] == pytest.approx(expected)


def test_neither_order_nor_pieces_change_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    found = sparse(500, 5, seed=1)
    first = analysed(found)
    random.Random(2).shuffle(found)
    assert analysed(found) == first
    monkeypatch.setattr(directions, "_BATCH", 7)
    monkeypatch.setattr(directions, "_WAITING", 20)
    assert analysed(found) == first


@settings(max_examples=50)
@given(st.lists(st.text("-0+", min_size=11, max_size=11), min_size=1, max_size=40))
def test_distinct_directions_are_counted_exactly_and_read_back(lines: list[str]) -> None:
    # Of few different ones, so that some repeat; 11 dimensions do not fill their last byte.
    found = read(*(line[:2] + "0" * 9 for line in lines), *lines)
    counts, expected = counted(found, 11), Counter(found)
    assert counts.distinct() == (len(expected), sum(n == 1 for n in expected.values()))
    assert dict(counts.frequent(1000)) == {direction: n for direction, n in expected.items() if n > 1}
    listed = [n for _, n in counts.frequent(5)]
    assert listed == sorted((n for n in expected.values() if n > 1), reverse=True)[:5]


def test_directions_that_end_in_neutral_are_not_taken_for_one_another() -> None:
    # All-neutral bits are zero bytes, which some readers of bytes drop from the end.
    found = read("0" * 40, "-" + "0" * 39, "0" * 39 + "+", "0" * 40)
    counts = counted(found, 40)
    assert counts.distinct() == (3, 2)
    assert counts.frequent(3) == [(found[0], 2)]


def test_what_is_said_of_four_directions_by_hand() -> None:
    found = analysed(read("+-0", "+-0", "0+0", "000"))
    assert (found["directions"], found["distinct"], found["once"]) == (4, 3, 2)
    assert found["frequent"] == [{"direction": "Likes 0, Dislikes 1", "count": 2}]
    assert found["poles_per_direction"] == {"0": 1, "1": 1, "2": 2}
    assert found["mean_poles"] == 1.25
    assert [row["counts"] for row in found["balance"]] == [
        {"negative": 0, "neutral": 2, "positive": 2},
        {"negative": 2, "neutral": 1, "positive": 1},
        {"negative": 0, "neutral": 4, "positive": 0},
    ]
    # Four pairs of poles for each two of three dimensions; one of them occurs, twice. Alone, both poles occur twice.
    pair = {"first": "Dislikes 1", "second": "Likes 0", "count": 2, "expected": 2 * 2 / 4}
    assert found["pairs_of_poles"] == {"possible": 12, "occurring": 1, "meetings": 2, "frequent": [pair]}


def test_every_pair_of_poles_is_possible_but_those_of_one_dimension() -> None:
    lines = ["".join(line) for line in itertools.product("-0+", repeat=4)]
    found = analysed(read(*lines))["pairs_of_poles"]
    assert found["possible"] == found["occurring"] == 4 * math.comb(4, 2)
    assert found["meetings"] == sum(math.comb(4 - line.count("0"), 2) for line in lines)
    assert all(row["first"][-1] != row["second"][-1] for row in found["frequent"])


def test_planted_correlations_come_first_with_their_counts_and_the_rest_is_not_taken_for_any() -> None:
    rng = random.Random(7)
    found = []
    for direction in sparse(3000, 10, seed=7):
        planted = bytearray(direction)
        if planted[2] != 1 and rng.random() < 0.5:
            planted[6] = 2 - planted[2]  # the opposite pole
        if planted[1] != 1 and rng.random() < 0.2:
            planted[4] = planted[1]
        found.append(bytes(planted))
    analysis = analysed(found)["correlation"]
    first, second, *others = analysis["strongest"]
    assert (first["first"], first["second"]) == ("Likes 2", "Likes 6")
    assert (second["first"], second["second"]) == ("Likes 1", "Likes 4")
    assert 0 < second["low"] < second["r"] < second["high"] < -first["high"]
    whole = levels(found)
    assert first["r"] == pytest.approx(np.corrcoef(whole[:, 2], whole[:, 6])[0, 1])
    assert first["r"] < -0.3
    assert first["low"] < first["r"] < first["high"] < 0
    assert first["both"] == np.count_nonzero(whole[:, 2] * whole[:, 6])
    assert first["same"] == np.count_nonzero(whole[:, 2] * whole[:, 6] > 0)
    assert all(abs(other["r"]) < 0.1 for other in others)
    assert (analysis["pairs_with_enough"], analysis["pairs_beyond_chance"]) == (45, 2)


def test_pairs_with_too_few_common_poles_are_kept_in_the_matrix_and_not_spoken_of() -> None:
    nine, ten = (analysed(read(*["++"] * n, *["-0", "0-"] * 50))["correlation"] for n in (9, 10))
    assert (nine["pairs_with_enough"], nine["strongest"]) == (0, [])
    assert nine["r"][1][0] is not None
    assert nine["both"] == [[], [9]]
    assert [row["both"] for row in ten["strongest"]] == [10]


def test_dimensions_that_are_always_poles_have_no_phi_and_still_a_correlation() -> None:
    found = analysed(read(*["++"] * 9, *["--"] * 8, "+-"))["correlation"]
    assert found["strongest"][0]["phi"] is None
    assert found["phi"] == [[], [None]]
    assert found["strongest"][0]["r"] > 0.8


def test_one_direction_and_one_dimension_are_enough_to_be_described() -> None:
    single = analysed(read("+"))
    assert single["pairs_of_poles"] == {"possible": 0, "occurring": 0, "meetings": 0, "frequent": []}
    assert single["correlation"]["strongest"] == []
    assert single["distinct"] == 1


def test_no_direction_at_all_has_no_analysis() -> None:
    assert analyse(DirectionCounts(taxonomy(3)), taxonomy(3)) is None


def test_intervals_cover_the_truth_as_often_as_they_say_with_mostly_neutral_levels() -> None:
    """1,000 intervals of a known correlation, as sparse as real directions; (1 − r²) / √n would cover 75 % of them."""
    # x is a pole 1 time in 5; y has the same level 6 times in 10 then, and otherwise one of its own.
    rng = np.random.default_rng(11)
    n, times, agree = 1000, 1000, 0.6
    truth, covered, plain = agree, 0, 0
    for _ in range(times):
        x, own = rng.choice((-1, 0, 1), (2, n), p=(0.1, 0.8, 0.1))
        y = np.where(rng.random(n) < agree, x, own)
        found = correlated([bytes(row) for row in (np.stack((x, y), axis=1) + 1).astype(np.uint8)])
        interval = found.interval(0, 1)
        assert interval is not None
        covered += interval[0] <= truth <= interval[1]
        plain += abs(math.atanh(found.r[0, 1]) - math.atanh(truth)) <= 1.96 / math.sqrt(n - 3)
    assert 0.93 * times <= covered <= 0.97 * times
    assert plain < 0.8 * times


def test_of_independent_dimensions_hardly_ever_is_any_pair_beyond_chance() -> None:
    """190 pairs at a time, 40 times: 1 time in 20 may have one."""
    false = sum(analysed(sparse(800, 20, seed))["correlation"]["pairs_beyond_chance"] > 0 for seed in range(40))
    assert false <= 6
