"""Accuracy by what the history told has to do with the target."""

import json
import random
from fractions import Fraction

import pytest

from alignx.errors import DataError
from alignx.evaluation.breakdown.agreement import BINS, Agreement, bin_of, by_agreement, relate
from alignx.intervals import clustered_mean
from alignx.prompts import Condition, Method, PersonaSource
from alignx.records import aggregate
from tests.evaluation.breakdown.moved import FOUR, direction, known, moved, record, turned_over

ICA = Condition(method=Method.ICA)
RECORDS = known(
    record("whole", "++..", ["++.."]),
    record("half", "++..", ["+..."], ["+..."]),
    record("mixed", "+-+.", ["++.-"], ["++.."]),  # alike, opposite, unstated
    record("against", "+...", ["-..."]),
    record("silent", "+-.."),
)
MOVES = moved({"whole": 1.0, "half": 1.0, "mixed": -1.0, "against": -1.0, "silent": 0.0})


def sizes(found: Agreement, stated: str) -> dict[str, int]:
    (relation,) = [each for each in found.relations if each.stated == stated]
    return {each.label: each.found.n for each in relation.bins}


def test_relations_by_hand() -> None:
    found = by_agreement(MOVES, RECORDS, ICA, FOUR)
    assert sizes(found, "alike") == dict(zip(BINS, (2, 1, 1, 0, 1), strict=True))
    assert sizes(found, "opposite") == dict(zip(BINS, (3, 1, 0, 0, 1), strict=True))
    assert sizes(found, "unstated") == dict(zip(BINS, (2, 1, 1, 0, 1), strict=True))
    alike = found.relations[0]
    assert alike.mean == clustered_mean([1, 1 / 2, 1 / 3, 0, 0], list(RECORDS))
    assert alike.bins[0].found == MOVES.tally(["against", "silent"])
    assert alike.bins[-1].found == MOVES.tally(["whole"])
    assert (found.n, found.silent, found.trimmed, found.apart) == (5, 1, 0, 0)


def test_each_pole_is_alike_opposite_or_unstated() -> None:
    counts = relate(record("a", "+-+."), direction("++.-") or b"")
    assert counts == {"alike": 1, "opposite": 1, "unstated": 1}


@pytest.mark.parametrize(
    ("share", "label"),
    [
        (Fraction(0), "none"),
        (Fraction(1, 90), "up to a third"),
        (Fraction(1, 3), "up to a third"),
        (Fraction(34, 100), "up to two thirds"),
        (Fraction(2, 3), "up to two thirds"),
        (Fraction(67, 100), "more, not all"),
        (Fraction(89, 90), "more, not all"),
        (Fraction(1), "all"),
    ],
)
def test_shares_are_binned_as_fractions(share: Fraction, label: str) -> None:
    assert bin_of(share) == label


def test_thresholds_are_the_conditions() -> None:
    records = known(record("a", "+...", ["+...", "+...", "-...", "...."]))  # mean (2 + 2 + 0 + 1) / 8 = 0.625
    moves = moved({"a": 1.0})
    strict = ICA.model_copy(update={"positive": "0.7", "negative": "0.3"})
    assert sizes(by_agreement(moves, records, ICA, FOUR), "alike")["all"] == 1
    assert sizes(by_agreement(moves, records, strict, FOUR), "unstated")["all"] == 1
    assert aggregate([direction("+...") or b""], strict.thresholds) == direction("+...")


def test_only_items_that_are_told_count() -> None:
    records, moves = known(record("a", "+...", ["-...", "-...", "+..."])), moved({"a": 1.0})
    last = ICA.model_copy(update={"history": 1})
    assert sizes(by_agreement(moves, records, ICA, FOUR), "opposite")["all"] == 1
    assert sizes(by_agreement(moves, records, last, FOUR), "alike")["all"] == 1
    nothing = by_agreement(moves, records, ICA.model_copy(update={"history": 0}), FOUR)
    assert (nothing.silent, sizes(nothing, "unstated")["all"]) == (1, 1)


def test_the_persona_is_the_one_that_is_told() -> None:
    records = known(record("a", "+...", ["+..."]), record("b", "+...", ["-..."]))
    moves = moved({"a": 1.0, "b": 1.0})

    def told(persona: PersonaSource) -> Agreement:
        donors = {"a": records["b"], "b": records["b"]}
        return by_agreement(moves, records, ICA.model_copy(update={"persona": persona}), FOUR, donors)

    assert sizes(told(PersonaSource.OWN), "alike")["all"] == 1
    assert sizes(told(PersonaSource.OTHER), "opposite")["all"] == 2
    assert sizes(told(PersonaSource.NONE), "unstated")["all"] == told(PersonaSource.NONE).silent == 2
    reversed_ = told(PersonaSource.REVERSED)
    assert sizes(reversed_, "alike") == sizes(told(PersonaSource.OWN), "opposite")


def test_a_missing_donor_is_refused() -> None:
    other = ICA.model_copy(update={"persona": PersonaSource.OTHER})
    with pytest.raises(DataError, match="no donor"):
        by_agreement(MOVES, RECORDS, other, FOUR)


def test_what_cannot_be_compared_is_counted_by_reason() -> None:
    records = known(
        record("no direction", None, ["+..."]),
        record("no pole", "....", ["+..."]),
        record("no item with one", "+...", [None], [None]),
        record("some items with one", "+...", [None, "+..."]),
    )
    found = by_agreement(moved(dict.fromkeys(records, 1.0)), records, ICA, FOUR)
    assert (found.n, found.undirected, found.neutral, found.unannotated) == (1, 1, 1, 1)
    assert sizes(found, "alike")["all"] == 1


def test_trimmed_prompts_and_profiles_from_elsewhere_are_counted() -> None:
    pba = Condition(method=Method.PBA)
    found = by_agreement(moved({"whole": 1.0}, trimmed_items=2, profile="ready"), RECORDS, pba, FOUR)
    assert (found.n, found.trimmed, found.apart) == (1, 1, 1)


def test_order_of_records_changes_nothing() -> None:
    turned = dict(reversed(RECORDS.items()))
    assert by_agreement(turned_over(MOVES), turned, ICA, FOUR) == by_agreement(MOVES, RECORDS, ICA, FOUR)


def test_reversing_every_history_swaps_alike_and_opposite() -> None:
    turned = by_agreement(MOVES, RECORDS, ICA.model_copy(update={"persona": PersonaSource.REVERSED}), FOUR)
    straight = by_agreement(MOVES, RECORDS, ICA, FOUR)
    alike, opposite, unstated = straight.relations
    assert [each.bins for each in turned.relations] == [opposite.bins, alike.bins, unstated.bins]


def test_a_planted_effect_rises_with_what_is_alike_and_falls_with_what_is_opposite() -> None:
    rng = random.Random(6)
    targets = {f"r{i}": "".join(rng.choice("+-") for _ in range(4)) for i in range(3000)}
    said = {n: "".join(rng.choice((p, ".", "+-"[p == "+"])) for p in t) for n, t in targets.items()}
    alike = {n: sum(a == b for a, b in zip(t, said[n], strict=True)) / 4 for n, t in targets.items()}
    towards = {n: 1.0 if rng.random() < 0.3 + 0.5 * share else -1.0 for n, share in alike.items()}
    records = known(*(record(n, t, [said[n]]) for n, t in targets.items()))
    by_alike, by_opposite, _ = by_agreement(moved(towards), records, ICA, FOUR).relations
    first, last = by_alike.bins[0].found.accuracy, by_alike.bins[-1].found.accuracy
    assert first is not None
    assert last is not None
    assert first.low < 0.3 < first.high < last.low < 0.8 < last.high
    assert by_opposite.bins[0].found.accuracy is not None
    assert by_opposite.bins[-1].found.accuracy is not None
    assert by_opposite.bins[0].found.accuracy.low > by_opposite.bins[-1].found.accuracy.high


def test_directions_of_two_taxonomies_are_refused() -> None:
    with pytest.raises(DataError, match=r"record a: its direction has 4 dimensions, its history's 2"):
        by_agreement(moved({"a": 1.0}), known(record("a", "+...", ["+."])), ICA, FOUR)


def test_every_number_is_in_the_json() -> None:
    found = json.loads(json.dumps(by_agreement(MOVES, RECORDS, ICA, FOUR).as_dict(), allow_nan=False))
    assert (found["n"], found["silent"], found["apart"]) == (5, 1, 0)
    assert [each["stated"] for each in found["relations"]] == ["alike", "opposite", "unstated"]
    assert found["relations"][0]["bins"][0]["n"] == 2
    assert found["relations"][0]["mean_share"]["n"] == 5
