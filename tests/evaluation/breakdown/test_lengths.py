"""Length against preference."""

import json
import random

import pytest

from alignx.evaluation.breakdown import Moves
from alignx.evaluation.breakdown.lengths import BINS, EQUAL, ByLength, bin_of, by_length
from alignx.intervals import clustered_mean
from tests.evaluation.breakdown.moved import turned_over
from tests.evaluation.test_accuracy import one


def pairs(*of: tuple[int, int, float]) -> Moves:
    """Pairs a, b, c …: tokens of the chosen response, of the rejected, and the margin."""
    names = [chr(ord("a") + i) if len(of) < 27 else f"r{i}" for i in range(len(of))]
    lengths = zip(names, of, strict=True)
    scores = {n: one(n, 0.0, 0.0, chosen_tokens=c, rejected_tokens=r) for n, (c, r, _) in lengths}
    return Moves(scores, {name: margin for name, (_, _, margin) in zip(names, of, strict=True)})


#              chosen, rejected, margin
PAIRS = pairs((30, 10, 1.0), (30, 10, -1.0), (10, 30, 1.0), (10, 30, 0.0), (20, 20, 1.0), (21, 20, 2.0))


def test_lengths_by_hand() -> None:
    found = by_length(PAIRS)
    assert (found.n, found.equal, found.unmoved) == (6, 1, 1)
    # of a, b, c, d, f the longer is chosen in a, b, f; the policy moved towards it in a and f
    assert found.longer_chosen == clustered_mean([1.0, 1.0, 0.0, 0.0, 1.0], list("abcdf"))
    assert found.to_longer == clustered_mean([1.0, 0.0, 0.0, 0.0, 1.0], list("abcdf"))
    assert found.when_longer == PAIRS.tally("abf")
    assert found.when_shorter == PAIRS.tally("cd")
    assert found.when_equal == PAIRS.tally("e")
    assert {each.label: each.found for each in found.bins if each.found.n} == {
        "less than half as long": PAIRS.tally("cd"),
        EQUAL: PAIRS.tally("ef"),
        "more than twice as long": PAIRS.tally("ab"),
    }


def test_moving_towards_a_longer_rejected_response_is_moving_to_the_longer() -> None:
    found = by_length(pairs((10, 30, -1.0)))
    assert found.to_longer is not None
    assert found.longer_chosen is not None
    assert (found.to_longer.mean, found.longer_chosen.mean) == (1.0, 0.0)


def test_moving_neither_way_is_not_moving_to_the_longer() -> None:
    found = by_length(pairs((30, 10, 0.0), (10, 30, 0.0)))
    assert found.to_longer is not None
    assert (found.to_longer.mean, found.unmoved) == (0.0, 2)


@pytest.mark.parametrize(
    ("chosen", "rejected", "place"),
    [
        (11, 10, 3),  # exactly 1.1 times
        (111, 100, 4),
        (15, 10, 4),  # exactly 1.5 times
        (16, 10, 5),
        (20, 10, 5),  # exactly twice
        (21, 10, 6),
        (10, 10, 3),
    ],
)
def test_bins_end_where_they_say_on_both_sides(chosen: int, rejected: int, place: int) -> None:
    assert bin_of(one("a", 0, 0, chosen_tokens=chosen, rejected_tokens=rejected)) == BINS[place]
    assert bin_of(one("a", 0, 0, chosen_tokens=rejected, rejected_tokens=chosen)) == BINS[6 - place]


def test_every_pair_is_in_one_bin() -> None:
    rng = random.Random(1)
    found = by_length(pairs(*((rng.randint(1, 60), rng.randint(1, 60), 1.0) for _ in range(200))))
    assert sum(each.found.n for each in found.bins) == found.n == 200


def test_pairs_of_equal_length_alone_have_no_longer_response() -> None:
    found = by_length(pairs((5, 5, 1.0), (6, 6, -1.0)))
    assert (found.longer_chosen, found.to_longer, found.equal) == (None, None, 2)
    assert found.when_longer.accuracy is None
    assert found.when_equal.n == 2


def test_order_of_records_changes_nothing() -> None:
    assert by_length(turned_over(PAIRS)) == by_length(PAIRS)


def test_swapping_chosen_and_rejected_mirrors_every_bin() -> None:
    lengths = [(30, 10, 1.0), (30, 12, -1.0), (14, 20, 1.0), (21, 20, 2.0), (20, 20, -3.0)]
    straight = by_length(pairs(*lengths))
    mirrored = by_length(pairs(*((r, c, -m) for c, r, m in lengths)))
    assert straight.to_longer == mirrored.to_longer  # the same responses, the same moves
    assert straight.longer_chosen is not None
    assert mirrored.longer_chosen is not None
    assert straight.longer_chosen.mean == pytest.approx(1 - mirrored.longer_chosen.mean)
    sizes = [[each.found.n for each in found.bins] for found in (straight, mirrored)]
    assert sizes[0] == sizes[1][::-1]
    for one_bin, other in zip(straight.bins, reversed(mirrored.bins), strict=True):
        if one_bin.found.accuracy is not None and other.found.accuracy is not None:
            assert one_bin.found.accuracy.mean == pytest.approx(1 - other.found.accuracy.mean)  # nothing is a tie


def rising(likes_length: bool) -> ByLength:
    rng = random.Random(2)
    of = []
    for _ in range(2000):
        chosen, rejected = rng.randint(10, 60), rng.randint(10, 60)
        longer = 1.0 if chosen > rejected else -1.0
        of.append((chosen, rejected, longer if likes_length else rng.choice((1.0, 1.0, 1.0, -1.0))))
    return by_length(pairs(*of))


def test_a_policy_that_likes_length_alone_is_found_out() -> None:
    found = rising(likes_length=True)
    means = [each.found.accuracy.mean for each in found.bins if each.found.accuracy]
    assert means[:3] == [0, 0, 0]
    assert means[4:] == [1, 1, 1]
    assert found.to_longer is not None
    assert found.to_longer.mean == 1


def test_a_policy_that_cares_nothing_for_length_is_level() -> None:
    found = rising(likes_length=False)
    for each in found.bins:
        accuracy = each.found.accuracy
        assert accuracy is not None
        assert abs(accuracy.mean - 0.75) < 4 * accuracy.standard_error  # of seven intervals of 95 % one often misses
    assert found.to_longer is not None
    assert found.to_longer.low < 0.5 < found.to_longer.high


def test_every_number_is_in_the_json() -> None:
    found = json.loads(json.dumps(by_length(PAIRS).as_dict(), allow_nan=False))
    assert (found["n"], found["equal"], found["unmoved"]) == (6, 1, 1)
    assert found["longer_chosen"]["mean"] == 3 / 5
    assert found["when_shorter"]["ties"] == 1
    assert [each["n"] for each in found["bins"]] == [2, 0, 0, 2, 0, 0, 2]
    alone = by_length(pairs((5, 5, 1.0))).as_dict()
    assert (alone["longer_chosen"], alone["when_longer"]["accuracy"]) == (None, None)
