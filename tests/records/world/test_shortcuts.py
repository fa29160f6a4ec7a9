"""No way round the persona: words alone say nothing of which reply is chosen, nor does its length."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from alignx.intervals import Estimate, clustered_mean
from tests.records.world import DEMO, direction, made, rows

Row = dict[str, Any]
Split = tuple[list[Row], list[Row]]
SEEDS = 3
SIZES = {"train": 1200, "test": 640}
WORLDS: dict[str, dict[str, Any]] = {"demo": DEMO, "full": {"label_noise": 0.05, "described": 0.0}}


@pytest.fixture(scope="module", params=WORLDS)
def splits(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Split]]:
    """Training and test records of several seeds; only the demo's own has histories, as targets are looked at."""
    folder, settings = tmp_path_factory.mktemp("worlds"), WORLDS[request.param]
    bare = {**settings, "comments": 0, "choices": 0}
    worlds = [made(folder / "0", **(settings if request.param == "demo" else bare), **SIZES)]
    worlds += [made(folder / str(seed), **bare, **SIZES, seed=seed) for seed in range(1, SEEDS)]
    yield [(rows(world, "train"), rows(world, "test")) for world in worlds]
    rows.cache_clear()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("one") / "demo", **{**DEMO, "comments": 0, "choices": 0}, **SIZES)


def features(text: str) -> set[str]:
    """Words, and pairs of words that stand at most three apart, so that ``never … science`` is one."""
    row = text.lower().split()
    return {*row, *(f"{one} {other}" for place, one in enumerate(row) for other in row[place + 1 : place + 4])}


def hits(train: Sequence[Row], test: Sequence[Row]) -> list[float]:
    """Where a naive Bayes classifier that sees the two replies and nothing else is right; ties count one half."""
    counts = {side: Counter(f for row in train for f in features(row[side])) for side in ("chosen", "rejected")}

    def score(text: str) -> float:
        return sum(math.log((counts["chosen"][f] + 1) / (counts["rejected"][f] + 1)) for f in sorted(features(text)))

    margins = [score(row["chosen"]) - score(row["rejected"]) for row in test]
    return [0.5 + 0.5 * ((margin > 1e-9) - (margin < -1e-9)) for margin in margins]


def bag_of_words(train: Sequence[Row], test: Sequence[Row]) -> Estimate:
    """Its accuracy on test users."""
    return clustered_mean(hits(train, test), [row["user"] for row in test])


def words(text: str) -> int:
    return len(text.split())


def longer(records: Sequence[Row], length: Callable[[str], int]) -> Estimate:
    """How often the chosen reply is the longer one, where one of them is."""
    unequal = [row for row in records if length(row["chosen"]) != length(row["rejected"])]
    values = [float(length(row["chosen"]) > length(row["rejected"])) for row in unequal]
    return clustered_mean(values, [row["user"] for row in unequal])


def is_chance(found: Estimate) -> bool:
    """Whether a half is within four standard errors: one seed in twenty is outside its 95 % interval by chance."""
    return abs(found.mean - 0.5) <= 4 * found.standard_error <= 0.1


def test_a_classifier_that_does_not_see_the_persona_is_at_chance(splits: list[Split]) -> None:
    found = bag_of_words(*splits[0])
    assert (found.n, found.clusters) == (640, 160)
    assert found.low <= 0.5 <= found.high, str(found)
    assert found.high - found.low < 0.1
    for train, test in splits:
        assert is_chance(bag_of_words(train, test))


def test_over_several_seeds_together_it_is_at_chance_too(splits: list[Split]) -> None:
    margins: list[float] = []
    users: list[str] = []
    for seed, (train, test) in enumerate(splits):
        margins += hits(train, test)
        users += [f"{seed} {row['user']}" for row in test]
    found = clustered_mean(margins, users)
    assert (found.n, found.clusters) == (1920, 480)
    assert is_chance(found), str(found)
    assert found.standard_error < 0.015


def test_the_chosen_reply_is_the_longer_one_no_more_often_than_chance(splits: list[Split]) -> None:
    for train, test in splits:
        records = [*train, *test]
        assert is_chance(longer(records, len))
        if any(words(row["chosen"]) != words(row["rejected"]) for row in records):  # never so in the demo's world
            assert is_chance(longer(records, words))


def test_the_classifier_finds_one_extra_word_in_the_rejected_replies(demo: Path) -> None:
    def padded(name: str) -> list[Row]:
        return [{**row, "rejected": row["rejected"].replace(".", " indeed.", 1)} for row in rows(demo, name)]

    assert bag_of_words(padded("train"), padded("test")).mean > 0.99
    assert longer(padded("test"), words).high < 0.05


def test_the_classifier_finds_users_who_are_positive_more_often(demo: Path) -> None:
    def slanted(name: str) -> list[Row]:
        """All positive targets, and every third negative one."""
        kept = [row for row in rows(demo, name) if len(direction(row)) == 1]
        negative = [row for row in kept if not sum(direction(row).values())][::3]
        return [row for row in kept if sum(direction(row).values())] + negative

    found = bag_of_words(slanted("train"), slanted("test"))
    assert 0.65 < found.mean < 0.85  # three of four, less what the training counts miss
    assert found.low > 0.6


def test_the_classifier_finds_a_single_dimension_that_all_agree_on(demo: Path) -> None:
    def agreed(row: Row) -> Row:
        wrong = direction(row).get(47) == 0
        return {**row, "chosen": row["rejected"], "rejected": row["chosen"]} if wrong else row

    about = [agreed(row) for row in rows(demo, "test") if 47 in direction(row)]
    assert bag_of_words([agreed(row) for row in rows(demo, "train")], about).low > 0.6
    assert len(about) > 30
