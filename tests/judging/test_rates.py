"""The numbers of a comparison: by hand, mirrored, in any order, and refused."""

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignx.judging.outcomes import Call, Outcome, Verdict, settle
from alignx.judging.pairs import OTHER
from alignx.judging.rates import Bounds, Measured, measure, rates

SIDES = ("candidate", "tie", "baseline")


def pair(
    name: str, *said: Verdict | None, user: str = "", certainty: int = 80, longer: int = 0, has: Sequence[str] = ()
) -> Outcome:
    """An outcome from what was said with the candidate first, then with the baseline first."""
    calls = [
        Call(first=first, verdict=verdict, certainty=certainty, problem="" if verdict else "lost (attempt 3; x)")
        for first, verdict in zip(("candidate", "baseline"), said, strict=False)
    ]
    verdict, how, problem = settle(calls)
    return Outcome(
        id=name,
        cluster=user or name,
        sources=tuple(has),
        verdict=verdict,
        how=how,
        problem=problem,
        calls=tuple(calls),
        candidate_characters=100 + longer,
        baseline_characters=100,
    )


WON, LOST, TIED = ("candidate",) * 2, ("baseline",) * 2, ("tie",) * 2
TEN = [
    *(pair(f"w{number}", *WON, certainty=90) for number in range(4)),
    *(pair(f"l{number}", *LOST, certainty=60) for number in range(2)),
    pair("t", *TIED, certainty=40),
    pair("o", "candidate", "baseline", certainty=50),  # names the first both times
    pair("h", "tie", "candidate"),  # a tie and the second
    pair("u", "candidate", None),
]


def test_ten_pairs_by_hand() -> None:
    found = measure(TEN)
    overall = found.overall
    assert (overall.pairs, overall.wins, overall.ties, overall.losses, overall.unjudged) == (10, 4, 3, 2, 1)
    assert overall.coverage == 0.9
    assert overall.win_rate is not None
    assert overall.decided is not None
    assert overall.win_rate.mean == pytest.approx(5.5 / 9)
    assert (overall.win_rate.n, overall.win_rate.clusters) == (9, 9)
    assert overall.decided.mean == pytest.approx(4 / 6)
    assert vars(overall.win_rate_bounds) == pytest.approx({"worst": 0.55, "best": 0.65})
    assert vars(overall.decided_bounds) == pytest.approx({"worst": 4 / 7, "best": 5 / 7})
    assert found.how == {"same both ways": 7, "opposite": 1, "one tie": 1, "unjudged": 1}
    assert found.problems == {"lost": 1}
    assert found.consistency is not None
    assert found.consistency.mean == pytest.approx(7 / 9)
    assert found.first_position is not None  # 6 decided pairs name it once of twice, "o" twice, "h" not at all
    assert (found.first_position.mean, found.first_position.n) == (pytest.approx(8 / 15), 15)


def test_the_table_of_certainty_by_hand() -> None:
    found = {one.least: one for one in measure(TEN).certain}
    assert {least: one.pairs for least, one in found.items()} == {0: 9, 50: 8, 70: 5, 90: 4}
    assert found[70].coverage == pytest.approx(5 / 9)
    agreed = {least: one.consistency.mean for least, one in found.items() if one.consistency}
    assert agreed == pytest.approx({0: 7 / 9, 50: 6 / 8, 70: 4 / 5, 90: 1.0})
    assert found[50].win_rate is not None
    assert found[50].win_rate.mean == pytest.approx(5 / 8)


def test_an_unjudged_pair_is_in_no_rate_whatever_was_said_in_one_order() -> None:
    judged = TEN[:-1]
    with_it, without = measure(TEN), measure(judged)
    assert with_it.overall.win_rate == without.overall.win_rate
    assert (with_it.consistency, with_it.first_position) == (without.consistency, without.first_position)
    assert with_it.certain == without.certain


def test_identical_responses_are_ties_and_say_nothing_of_the_judge() -> None:
    same = Outcome(
        id="same", cluster="same", sources=(), verdict="tie", how="identical", calls=(),
        candidate_characters=5, baseline_characters=5,
    )  # fmt: skip
    found, before = measure([*TEN, same]), measure(TEN)
    assert found.overall.ties == before.overall.ties + 1
    assert (found.consistency, found.certain, found.lengths) == (before.consistency, before.certain, before.lengths)


def test_pairs_of_one_user_count_as_one_observation_of_a_user() -> None:
    apart = [pair(f"{number}", *(WON if number < 30 else LOST)) for number in range(60)]
    alike = [pair(f"{number}", *(WON if number < 30 else LOST), user=f"u{number % 30 // 3 + (number >= 30) * 10}")
             for number in range(60)]  # fmt: skip
    narrow, wide = (measure(one).overall.win_rate for one in (apart, alike))
    assert narrow is not None
    assert wide is not None
    assert wide.clusters == 20
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(math.sqrt(3), rel=0.06)


def test_sources_are_groups_whose_pairs_add_up() -> None:
    found = measure(
        [pair("a", *WON, has=("comments", "choices")), pair("b", *LOST), pair("c", *LOST, has=("comments",))]
    )
    assert {name: one.pairs for name, one in found.by_source.items()} == {
        "comments": 1,
        "comments + choices": 1,
        "nothing": 1,
    }


def test_nothing_judged_has_no_rate_and_the_widest_bounds() -> None:
    found = measure([pair("a", None, None), pair("b", "tie", None)])
    assert found.overall.win_rate is found.overall.decided is found.consistency is found.lengths is None
    assert found.overall.win_rate_bounds == found.overall.decided_bounds == Bounds(0.0, 1.0)
    assert found.certain == ()
    assert math.isnan(found.overall.p)


def test_only_ties_have_no_rate_without_ties() -> None:
    found = rates([pair("a", *TIED), pair("b", *TIED)])
    assert found.win_rate is not None
    assert (found.win_rate.mean, found.decided, found.decided_bounds) == (0.5, None, None)


def test_no_pair_and_a_pair_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="got 0 outcomes"):
        measure([])
    with pytest.raises(ValueError, match="each pair once"):
        measure([TEN[0], TEN[0]])


SAID = st.sampled_from([*SIDES, None])
PAIRS = st.lists(
    st.tuples(SAID, SAID, st.integers(0, 5), st.integers(0, 100), st.integers(-50, 50)), min_size=1, max_size=30
)


def built(drawn: Sequence[tuple[Verdict | None, Verdict | None, int, int, int]]) -> list[Outcome]:
    return [
        pair(f"{number}", first, second, user=f"u{user}", certainty=certainty, longer=longer)
        for number, (first, second, user, certainty, longer) in enumerate(drawn)
    ]


def swapped(one: Outcome) -> Outcome:
    """With candidate and baseline exchanged."""
    other = {**OTHER, "tie": "tie", None: None}
    calls = tuple(
        call.model_copy(update={"first": other[call.first], "verdict": other[call.verdict]}) for call in one.calls
    )
    update = {"calls": calls, "verdict": other[one.verdict]}
    characters = {"candidate_characters": one.baseline_characters, "baseline_characters": one.candidate_characters}
    return one.model_copy(update={**update, **characters})


@given(PAIRS)
def test_exchanging_candidate_and_baseline_mirrors_every_number(
    drawn: Sequence[tuple[Verdict | None, Verdict | None, int, int, int]],
) -> None:
    found, mirrored = measure(built(drawn)), measure(map(swapped, built(drawn)))
    here, there = found.overall, mirrored.overall
    assert (here.wins, here.ties, here.losses, here.unjudged) == (there.losses, there.ties, there.wins, there.unjudged)
    assert here.win_rate_bounds.worst == pytest.approx(1 - there.win_rate_bounds.best)
    for name in ("win_rate", "decided"):
        _mirrored(getattr(here, name), getattr(there, name))
    _mirrored(found.at_equal_length, mirrored.at_equal_length)
    assert (found.consistency, found.first_position, found.longer) == (
        mirrored.consistency,
        mirrored.first_position,
        mirrored.longer,
    )


def _mirrored(one: object, other: object) -> None:
    if one is None or other is None:
        assert one is other is None
        return
    mean, low, high = (getattr(one, name) for name in ("mean", "low", "high"))
    expected = tuple(1 - getattr(other, name) for name in ("mean", "high", "low"))
    assert (mean, low, high) == pytest.approx(expected, abs=1e-7)


@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_pairs_changes_nothing(
    drawn: Sequence[tuple[Verdict | None, Verdict | None, int, int, int]], rng: random.Random
) -> None:
    outcomes = built(drawn)
    shuffled = outcomes[:]
    rng.shuffle(shuffled)
    first: Measured = measure(outcomes)
    assert repr(first) == repr(measure(shuffled))
