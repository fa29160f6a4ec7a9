"""What all breakdowns count with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignx.errors import DataError
from alignx.evaluation.accuracy import compare
from alignx.evaluation.breakdown import Moves, Tally
from alignx.evaluation.breakdown.moves import is_apart, refuse_regrouped
from alignx.intervals import clustered_mean
from tests.evaluation.breakdown.moved import known, moved, record, turned_over
from tests.evaluation.test_accuracy import POLICY, REFERENCE, one


def test_a_tally_by_hand_is_strict_and_counts_ties() -> None:
    moves = moved({"a": 1.0, "b": 0.5, "c": -1.0, "d": 0.0, "e": 3.0}, users={"a": "u", "b": "u"})
    found = moves.tally(["a", "b", "c", "d"])
    assert (found.n, found.ties, found.clusters) == (4, 1, 3)
    assert found.accuracy == clustered_mean([1.0, 1.0, 0.0, 0.0], ["u", "u", "c", "d"])


def test_a_tally_of_all_is_the_accuracy_of_the_report() -> None:
    from alignx.evaluation.outcomes import margins

    whole = Moves(POLICY, margins(POLICY, REFERENCE)).tally(POLICY)
    expected = compare(POLICY, REFERENCE)
    assert (whole.n, whole.ties, whole.accuracy) == (expected.n, expected.ties, expected.accuracy)


def test_a_tally_of_nothing_has_no_accuracy_instead_of_nought() -> None:
    found = moved({"a": 1.0}).tally([])
    assert found == Tally(0, 0, None)
    assert found.clusters == 0
    assert found.as_dict() == {"n": 0, "ties": 0, "accuracy": None}


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=2, max_size=12))
def test_order_of_records_changes_no_tally(found: list[float]) -> None:
    moves = moved({str(i): margin for i, margin in enumerate(found)}, users={str(i): str(i % 3) for i in range(12)})
    assert turned_over(moves).tally(reversed(list(moves.scores))) == moves.tally(moves.scores)


def test_bins_stand_in_the_order_of_their_labels_also_when_empty() -> None:
    moves = moved({"a": 1.0, "b": -1.0, "c": 1.0})
    found = moves.bins(("low", "middle", "high"), {"c": "high", "a": "low", "b": "low"})
    assert [(each.label, each.found.n) for each in found] == [("low", 2), ("middle", 0), ("high", 1)]
    assert [each.found for each in found] == [moves.tally("ab"), moves.tally(""), moves.tally("c")]


def test_scores_and_margins_of_different_records_are_refused() -> None:
    moves = moved({"a": 1.0, "b": 1.0})
    with pytest.raises(DataError, match=r"1 ids are in one only, such as 'b'; expected the same records"):
        Moves(moves.scores, {"a": 1.0})


def test_no_scores_are_refused() -> None:
    with pytest.raises(DataError, match="no scores"):
        Moves({}, {})


def test_a_scored_id_without_a_record_is_refused_and_a_record_without_a_score_is_not() -> None:
    moves = moved({"a": 1.0, "b": 1.0})
    assert moves.records_of(known(record("a"), record("b"), record("c"))).keys() == {"a", "b"}
    with pytest.raises(DataError, match=r"1 scored ids are among no records, such as 'b'"):
        moves.records_of(known(record("a")))


@pytest.mark.parametrize("changed", [{"target": "another"}, {"cluster": "user:another"}])
def test_runs_about_other_choices_or_users_are_refused(changed: dict[str, str]) -> None:
    moves = moved({"a": 1.0})
    other = Moves({"a": one("a", 0.0, 0.0, **changed)}, {"a": 1.0})
    refuse_regrouped(moves, "these", moved({"a": -1.0}), "those")
    with pytest.raises(DataError, match=r"record 'a': these have .*another.*expected the same choices"):
        refuse_regrouped(moves, "these", other, "those")


@pytest.mark.parametrize(
    ("profile", "apart"), [("ready", True), ("golden", True), ("history", False), ("empty", False), ("", False)]
)
def test_ready_and_golden_profiles_are_not_made_of_the_history(profile: str, apart: bool) -> None:
    assert is_apart(one("a", 0.0, 0.0, profile=profile)) is apart
