"""Judges with known faults, planted in the server: the report shows each."""

import random
from pathlib import Path
from typing import Any

import pytest

from tests.judging.comparing import by_chance, by_length, by_place, judged, two


@pytest.fixture
def flags(tmp_path: Path) -> dict[str, Any]:
    return two(tmp_path, 90)


def said(output: Path) -> str:
    return (output / "win-rate.md").read_text(encoding="utf-8")


def test_a_fair_judge_raises_no_doubt_of_its_place_or_its_word(flags: dict[str, Any], tmp_path: Path) -> None:
    found = judged(tmp_path / "out", flags)
    assert found["position_consistency"]["mean"] == 1
    assert found["first_position_rate"]["mean"] == 0.5
    assert "prefers what is shown" not in said(tmp_path / "out")
    assert "agrees with itself" not in said(tmp_path / "out")
    assert "contradicts itself" not in said(tmp_path / "out")


def test_few_pairs_of_a_fair_judge_are_said_to_show_little(flags: dict[str, Any], tmp_path: Path) -> None:
    assert judged(tmp_path / "out", flags, pairs=3)["position_consistency"]["mean"] == 1
    assert "These pairs do not show that the judge agrees with itself" in said(tmp_path / "out")
    assert "contradicts itself" not in said(tmp_path / "out")


def test_a_judge_that_likes_what_comes_first_wins_nothing_for_anybody(flags: dict[str, Any], tmp_path: Path) -> None:
    found = judged(tmp_path / "out", flags, by_place)
    assert found["first_position_rate"]["mean"] == 1
    assert found["position_consistency"]["mean"] == 0
    assert (found["overall"]["wins"], found["overall"]["losses"]) == (0, 0)
    assert found["overall"]["win_rate"]["mean"] == 0.5
    judge = "The judge prefers what is shown first: of its replies that name one, 100.0 % name the first."
    assert judge in said(tmp_path / "out")


def test_a_judge_that_likes_what_comes_last_is_said_to(flags: dict[str, Any], tmp_path: Path) -> None:
    found = judged(tmp_path / "out", flags, lambda _: (1, 70))
    assert found["first_position_rate"]["mean"] == 0
    judge = "The judge prefers what is shown second: of its replies that name one, 100.0 % name the second."
    assert judge in said(tmp_path / "out")


def test_a_judge_that_leans_towards_what_comes_first_is_found_out_too(flags: dict[str, Any], tmp_path: Path) -> None:
    def leaning(shown: Any) -> tuple[int, int]:
        rng = random.Random(shown.first + shown.second)
        return (0 if rng.random() < 0.75 else 1), 70

    found = judged(tmp_path / "out", flags, leaning)
    assert found["first_position_rate"]["low"] > 0.6
    assert "prefers what is shown first" in said(tmp_path / "out")


def test_a_judge_that_goes_by_length_is_shown_to(flags: dict[str, Any], tmp_path: Path) -> None:
    found = judged(tmp_path / "out", flags, by_length)
    assert found["lengths"]["longer_wins"]["mean"] == 1
    assert found["lengths"]["rate_at_equal_length"] is None
    assert "length alone tells the verdicts apart" in found["lengths"]["problem"]
    assert "The longer response wins 100.0 % of the pairs decided" in said(tmp_path / "out")


def test_a_judge_that_leans_towards_length_is_corrected_at_equal_length(tmp_path: Path) -> None:
    """The candidate is longer and no better: the plain rate says it wins, the rate at equal length that it does not."""
    flags = two(
        tmp_path,
        120,
        candidate=lambda record: "words " * random.Random(record.id).randint(5, 40),
        baseline=lambda record: "words " * random.Random(record.id[::-1]).randint(1, 30) + ".",
    )

    def leaning(shown: Any) -> tuple[int, int]:
        one, other = sorted((shown.first, shown.second))
        longer = len(one) > len(other)
        chooses_longer = random.Random(one + other).random() < 0.8
        better = one if longer == chooses_longer else other
        return (0 if better == shown.first else 1), 60

    found = judged(tmp_path / "out", flags, leaning)
    assert found["overall"]["win_rate"]["low"] > 0.5
    at_equal = found["lengths"]["rate_at_equal_length"]
    assert at_equal["low"] < 0.5 < at_equal["high"]
    assert found["lengths"]["longer_wins"]["low"] > 0.6
    assert found["lengths"]["slope"] > 0.5


def test_a_judge_that_tosses_a_coin_says_nothing_and_the_report_says_so(flags: dict[str, Any], tmp_path: Path) -> None:
    found = judged(tmp_path / "out", flags, by_chance)
    rate, same = found["overall"]["win_rate"], found["position_consistency"]
    assert rate["low"] < 0.5 < rate["high"]
    assert same["low"] < 0.5
    assert found["overall"]["p"] > 0.05
    assert "than one that tosses a coin" in said(tmp_path / "out")
    agreed = [one["consistency"]["mean"] for one in found["by_certainty"] if one["consistency"]]
    assert agreed[-1] < 0.8  # its certainty means nothing, and the table shows it


def test_a_judge_whose_certainty_means_something_agrees_more_where_it_is_sure(
    flags: dict[str, Any], tmp_path: Path
) -> None:
    def unsure(shown: Any) -> tuple[int, int]:
        one, other = sorted((shown.first, shown.second))
        sure = random.Random(one + other).random() < 0.5
        if sure:
            return (0 if shown.first == one else 1), 95
        return random.Random(shown.first + shown.second).randrange(2), 30

    found = {one["least"]: one for one in judged(tmp_path / "out", flags, unsure)["by_certainty"]}
    assert found[90]["consistency"]["mean"] == 1
    assert found[0]["consistency"]["high"] < 0.9
    assert 0.3 < found[90]["coverage"] < 0.7
