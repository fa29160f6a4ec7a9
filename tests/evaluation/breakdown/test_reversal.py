"""Controllability: both outcomes from the same records scored twice."""

import json
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignx.errors import DataError
from alignx.evaluation.accuracy import compare
from alignx.evaluation.breakdown import Moves
from alignx.evaluation.breakdown.moves import together
from alignx.evaluation.breakdown.reversal import find_unturned, reversal
from alignx.evaluation.outcomes import margins
from alignx.intervals import clustered_mean
from alignx.prompts import Condition, Method, ProfileSource, render, tell
from alignx.prompts.condition import PersonaSource
from alignx.records import Comment, Persona, Record, verbalise
from tests.evaluation.breakdown.moved import FOUR, direction, known, moved, record, turned_over
from tests.evaluation.test_accuracy import by_id, one

#        margin towards the chosen response with the own persona, with the reversed one
MARGINS = {
    "a": (2.0, -1.0),  # right both ways
    "b": (1.0, 3.0),  # right, then wrong: the persona changed nothing
    "c": (-1.0, -1.0),  # wrong, then right: the same
    "d": (-1.0, 1.0),  # wrong both ways
    "e": (0.0, -1.0),  # a tie, then right: no ordering that could change
    "f": (1.0, 0.0),  # right, then a tie
    "g": (0.0, 0.0),
    "h": (5.0, -5.0),  # right both ways
}
USERS = {"a": "u", "h": "u", "b": "v", "c": "v"}
OWN = moved({name: own for name, (own, _) in MARGINS.items()}, USERS)
TURNED = moved({name: turned for name, (_, turned) in MARGINS.items()}, USERS)


def test_reversal_by_hand() -> None:
    found = reversal(OWN, TURNED)
    users = [USERS.get(name, name) for name in MARGINS]

    def share(names: str) -> object:
        return clustered_mean([float(name in names) for name in MARGINS], users)

    assert found.n == 8
    assert found.accuracy == share("abfh")
    assert found.reversed_accuracy == share("aceh")
    assert found.joint == share("ah")
    assert found.flip == share("adh")
    assert found.wrong_both == share("d")
    assert (found.ties, found.reversed_ties, found.tied) == (2, 2, 3)
    assert found.accuracy.clusters == 6
    values = [float(name in "ce") - float(name in "bf") for name in MARGINS]
    assert found.difference == clustered_mean(values, users, bounds=None)


logp = st.floats(-900, 0, width=32)


@given(st.lists(st.tuples(logp, logp, logp, logp), min_size=2, max_size=8))
def test_accuracy_under_reversal_is_that_of_records_whose_target_is_really_swapped(
    items: list[tuple[float, ...]],
) -> None:
    # the derivation: (p_l − r_l) − (p_w − r_w) is the negative of (p_w − r_w) − (p_l − r_l), bit for bit
    policy = by_id(one(str(i), chosen, rejected) for i, (chosen, rejected, _, _) in enumerate(items))
    reference = by_id(one(str(i), chosen, rejected) for i, (_, _, chosen, rejected) in enumerate(items))
    swapped, swapped_reference = (
        by_id(one(name, each.rejected, each.chosen) for name, each in scores.items()) for scores in (policy, reference)
    )
    straight, other = margins(policy, reference), margins(swapped, swapped_reference)
    assert other == {name: -margin for name, margin in straight.items()}
    expected = compare(swapped, swapped_reference)
    turned = Moves(policy, straight)
    found = reversal(turned, turned)
    assert found.reversed_accuracy == expected.accuracy
    assert found.reversed_ties == expected.ties


pair = st.tuples(*2 * [st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0])])


@given(st.lists(pair, min_size=2, max_size=10))
def test_what_always_holds_between_the_shares(of: list[tuple[float, float]]) -> None:
    own = moved({str(i): m for i, (m, _) in enumerate(of)})
    turned = moved({str(i): m for i, (_, m) in enumerate(of)})
    found = reversal(own, turned)
    assert found.flip.mean == pytest.approx(found.joint.mean + found.wrong_both.mean)
    assert found.joint.mean <= min(found.accuracy.mean, found.reversed_accuracy.mean)
    assert found.flip.mean <= 1 - found.tied / found.n + 1e-12
    assert found.difference.mean == pytest.approx(found.reversed_accuracy.mean - found.accuracy.mean)
    assert reversal(turned_over(own), turned_over(turned)) == found


@given(st.lists(pair, min_size=2, max_size=10))
def test_swapping_which_response_is_called_chosen_swaps_the_two_conditions(of: list[tuple[float, float]]) -> None:
    straight = reversal(
        moved({str(i): m for i, (m, _) in enumerate(of)}), moved({str(i): m for i, (_, m) in enumerate(of)})
    )
    mirrored = reversal(
        moved({str(i): -m for i, (_, m) in enumerate(of)}), moved({str(i): -m for i, (m, _) in enumerate(of)})
    )
    assert (straight.accuracy, straight.reversed_accuracy) == (mirrored.reversed_accuracy, mirrored.accuracy)
    assert (straight.joint, straight.flip, straight.wrong_both) == (mirrored.joint, mirrored.flip, mirrored.wrong_both)
    assert straight.difference.mean == -mirrored.difference.mean


def test_a_policy_that_ignores_the_persona_never_flips_and_is_right_under_reversal_where_it_was_wrong() -> None:
    found = reversal(OWN, OWN)
    assert (found.joint.mean, found.flip.mean, found.wrong_both.mean) == (0, 0, 0)
    assert found.reversed_accuracy.mean == 2 / 8  # c and d; ties are right neither way
    assert found.accuracy.mean + found.reversed_accuracy.mean + found.ties / 8 == 1


def test_a_policy_equal_to_its_reference_is_all_ties() -> None:
    still = moved(dict.fromkeys("abc", 0.0))
    found = reversal(still, still)
    assert (found.accuracy.mean, found.reversed_accuracy.mean, found.flip.mean, found.tied) == (0, 0, 0, 3)


def test_planted_shares_are_found() -> None:
    rng = random.Random(4)
    kinds = [rng.choices([(1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)], [0.6, 0.3, 0.1])[0] for _ in range(3000)]
    own, turned = (moved({str(i): kind[way] for i, kind in enumerate(kinds)}) for way in (0, 1))
    found = reversal(own, turned)
    for estimate, share in (
        (found.accuracy, 0.9),
        (found.reversed_accuracy, 0.6),
        (found.joint, 0.6),
        (found.flip, 0.7),
    ):
        assert estimate.low < share < estimate.high
        assert estimate.high - estimate.low < 0.04


def test_two_conditions_about_different_records_are_refused() -> None:
    with pytest.raises(DataError, match=r"own persona's scores and the reversed persona's .* 1 ids are in one only"):
        reversal(OWN, moved({name: 0.0 for name in "abcdefgh" if name != "c"}, USERS))


def test_records_of_other_users_are_refused() -> None:
    with pytest.raises(DataError, match="expected the same choices"):
        reversal(OWN, moved(dict.fromkeys(MARGINS, 0.0)))


def test_no_number_is_lost_in_the_json() -> None:
    found = json.loads(json.dumps(reversal(OWN, TURNED, {"b", "elsewhere"}).as_dict(), allow_nan=False))
    assert found["joint"]["mean"] == 0.25
    assert (found["ties"], found["reversed_ties"], found["tied"], found["unturned"]) == (2, 2, 3, 1)
    assert math.isclose(found["flip"]["mean"], 3 / 8)


def test_files_of_a_column_are_told_apart_and_may_count_alike() -> None:
    own = together({"one": moved({"a": 1.0, "b": 1.0, "c": -1.0}), "two": moved({"a": 1.0})})
    turned = together({"one": moved({"a": -1.0, "b": 1.0, "c": 1.0}), "two": moved({"a": -1.0})})
    parts = {name: name.partition("/")[0] for name in own.scores}
    every_record, every_file = reversal(own, turned), reversal(own, turned, parts=parts)
    assert (every_record.n, every_file.n) == (4, 4)
    assert (every_record.accuracy.mean, every_record.joint.mean) == (3 / 4, 2 / 4)
    assert every_file.accuracy.mean == pytest.approx((2 / 3 + 1) / 2)
    assert every_file.joint.mean == pytest.approx((1 / 3 + 1) / 2)
    assert every_file.difference.mean == pytest.approx((1 / 3 - 2 / 3 + 0) / 2)
    assert every_file.accuracy.clusters == 3, "the users of both files, one of whom is in both"


# What reversal cannot turn

PERSONAS = known(
    record("comments", "+...", ["+..."]),
    record("choices", "+...", [], ["+..."]),
    record("both", "+...", ["+..."], ["+..."]),
    record("nobody", "+..."),
    record("description", "+...", demographics="a person"),
)


def test_in_context_only_choices_can_be_turned() -> None:
    found = find_unturned(PERSONAS, Condition(method=Method.ICA), FOUR)
    assert found == {"comments", "nobody", "description"}


def test_choices_that_are_not_told_turn_nothing() -> None:
    found = find_unturned(PERSONAS, Condition(method=Method.ICA, history=0), FOUR)
    assert found == PERSONAS.keys()


def test_a_bridge_turns_with_every_item_that_has_a_direction_and_an_empty_one_does_not() -> None:
    neutral = record("neutral", "+...", ["+...", "-..."])
    found = find_unturned({**PERSONAS, "neutral": neutral}, Condition(method=Method.PBA), FOUR)
    assert found == {"nobody", "description", "neutral"}


def test_a_ready_profile_turns() -> None:
    words = verbalise(direction("+-..") or b"", FOUR)
    records = known(record("ready", None, profile=words), record("empty", None, profile=""))
    found = find_unturned(records, Condition(method=Method.PBA, profile=ProfileSource.READY), FOUR)
    assert found == {"empty"}


def test_opposites_that_somebody_wrote_down_turn_comments_too() -> None:
    persona = Persona(comments=(Comment("post 0", "the opposite", direction("-...")),))
    opposites = {**PERSONAS, "comments": replace(PERSONAS["comments"], persona=persona)}
    found = find_unturned(PERSONAS, Condition(method=Method.ICA), FOUR, opposites)
    assert found == {"choices", "both", "nobody", "description"}, "the others are the same in both"


def test_opposites_of_other_records_are_refused() -> None:
    opposites = {name: each for name, each in PERSONAS.items() if name != "both"}
    with pytest.raises(DataError, match="1 ids are in one only, such as 'both'"):
        find_unturned(PERSONAS, Condition(method=Method.ICA), FOUR, opposites)


@pytest.mark.parametrize("each", PERSONAS.values(), ids=PERSONAS)
def test_unturned_means_that_the_two_prompts_are_the_same(each: Record) -> None:
    for method in Method:
        ways = [Condition(method=method, persona=way) for way in (PersonaSource.OWN, PersonaSource.REVERSED)]
        own, turned = (render(each, tell(each, way, FOUR), way) for way in ways)
        assert (own == turned) == bool(find_unturned({each.id: each}, ways[0], FOUR))
