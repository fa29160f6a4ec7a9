"""From what was said in each order to a verdict, or none and why."""

from pathlib import Path

import pytest

from alignx.errors import DataError
from alignx.judging.outcomes import Call, How, Outcome, Verdict, read_outcomes, settle, to_lines


def calls(*verdicts: Verdict | None) -> list[Call]:
    firsts = ("candidate", "baseline")
    return [
        Call(first=first, verdict=verdict, problem="" if verdict else f"problem {first}")
        for first, verdict in zip(firsts, verdicts, strict=False)
    ]


@pytest.mark.parametrize(
    ("said", "verdict", "how"),
    [
        (("candidate", "candidate"), "candidate", "same both ways"),
        (("baseline", "baseline"), "baseline", "same both ways"),
        (("tie", "tie"), "tie", "same both ways"),
        (("candidate", "baseline"), "tie", "opposite"),
        (("baseline", "candidate"), "tie", "opposite"),
        (("tie", "candidate"), "tie", "one tie"),
        (("baseline", "tie"), "tie", "one tie"),
        (("baseline",), "baseline", "one order"),
        (("tie",), "tie", "one order"),
    ],
)
def test_verdicts_in_two_orders_make_one(said: tuple[Verdict, ...], verdict: Verdict, how: How) -> None:
    assert settle(calls(*said)) == (verdict, how, "")


@pytest.mark.parametrize("said", [(None, "candidate"), ("tie", None), (None, None), (None,)])
def test_a_pair_with_an_order_missing_is_unjudged_with_the_first_reason(said: tuple[Verdict | None, ...]) -> None:
    verdict, how, problem = settle(calls(*said))
    assert (verdict, how) == (None, "unjudged")
    assert problem == ("problem candidate" if said[0] is None else "problem baseline")


def test_nothing_asked_is_unjudged() -> None:
    assert settle([]) == (None, "unjudged", "not asked")


def outcome(name: str = "r1") -> Outcome:
    return Outcome(
        id=name,
        cluster="user:1",
        sources=("comments",),
        verdict="tie",
        how="opposite",
        calls=tuple(calls("candidate", "baseline")),
        candidate_characters=3,
        baseline_characters=4,
    )


def test_outcomes_are_read_as_they_were_written(tmp_path: Path) -> None:
    found = [outcome("é\u2028"), outcome("r2")]
    (tmp_path / "pairs.jsonl").write_text(to_lines(found), encoding="utf-8")
    assert read_outcomes(tmp_path / "pairs.jsonl") == found


def test_a_line_that_is_no_outcome_and_an_id_that_comes_twice_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(to_lines([outcome()]) + "{}\n")
    with pytest.raises(DataError, match=r"pairs\.jsonl:2: no outcome"):
        read_outcomes(path)
    path.write_text(to_lines([outcome(), outcome()]))
    with pytest.raises(DataError, match=r":2: id 'r1' is there twice"):
        read_outcomes(path)


def test_a_call_names_the_first_the_second_or_neither() -> None:
    first, second = calls("candidate", "candidate")
    assert (first.names_first, second.names_first, calls("tie")[0].names_first) == (True, False, None)
