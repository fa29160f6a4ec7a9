"""What the controls are for: a fault planted anywhere in the chain must show in them."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignx.evaluation.accuracy import compare
from alignx.evaluation.outcomes import margins
from alignx.evaluation.scores import Score, read_scores, score
from alignx.evaluation.settings import ScoreSettings
from alignx.intervals import Estimate, clustered_mean
from alignx.models.tiny import TinyModelSettings, make
from alignx.records.world.synthesize import SynthesizeSettings, synthesize
from alignx.training.run import train
from alignx.training.settings import TrainSettings

pytestmark = pytest.mark.slow

Row = dict[str, Any]
Persona = ("User-Generated Content", "Pair-wise Comparative Feedback")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight interests, and a small model that has learnt to read about them; about 45 s."""
    folder = tmp_path_factory.mktemp("world")
    settings = {"dimensions": "47,49,50,52,53,55,57,59", "active": (4, 4), "comments": 2, "choices": 1, "described": 0}
    synthesize(SynthesizeSettings(output=folder / "world", train=1600, test=320, corpus=16000, wordings=2, **settings))
    make(
        TinyModelSettings(
            output=folder / "tiny",
            size="0.7m",
            pieces="phrases",
            data=str(folder / "world/train.jsonl"),
            train=folder / "world/corpus.jsonl",
            probe=folder / "world/probe.jsonl",
            steps=400,
            seed=1,
        )
    )
    return folder


def personas_shuffled(rows: list[Row]) -> None:
    order = random.Random(0).sample(range(len(rows)), len(rows))
    personas = [{name: rows[place][name] for name in Persona} for place in order]
    for row, persona in zip(rows, personas, strict=True):
        row.update(persona)


def half_the_users_swapped(rows: list[Row]) -> None:
    for row in rows:
        if int(row["user"].removeprefix("user-")) % 2:
            row["chosen"], row["rejected"] = row["rejected"], row["chosen"]


def profile_of_the_record_before(rows: list[Row]) -> None:
    """As when a variable of the loop survives from one row to the next."""
    previous = [{name: row[name] for name in Persona} for row in [rows[-1], *rows[:-1]]]
    for row, persona in zip(rows, previous, strict=True):
        row.update(persona)


def nothing(rows: list[Row]) -> None:
    """No fault."""


def train_pba(world: Path, fault: Callable[[list[Row]], None]) -> Path:
    rows = [json.loads(line) for line in (world / "world/train.jsonl").read_text().splitlines()]
    fault(rows)
    data = world / f"{fault.__name__}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return train(
        TrainSettings(
            model=str(world / "tiny"),
            data=str(data),
            output=world / fault.__name__,
            method="pba",
            learning_rate=7e-4,
            global_batch=32,
            micro_batch=32,
            gradient_checkpointing=False,
        )
    )


def scores(world: Path, model: Path, data: Path, name: str, **condition: Any) -> dict[str, Score]:
    output = model / f"scores-{name}.jsonl"
    settings = ScoreSettings(model=str(model), data=str(data), output=output, method="pba", history="all", **condition)
    return read_scores(score(settings, quiet=True))[0]


class Found:
    """Accuracies of one policy under the user's own, another user's and the reversed persona."""

    def __init__(self, world: Path, policy: Path, test: str = "test") -> None:
        def both(data: str, **condition: Any) -> tuple[dict[str, Score], dict[str, Score]]:
            path, name = world / f"world/{data}.jsonl", f"{data}-{condition.get('persona', 'own')}"
            return scores(world, policy, path, name, **condition), scores(
                world, world / "tiny", path, f"{policy.name}-{name}", **condition
            )

        own, other = both(test), both(test, persona="other")
        self.own = compare(*own).accuracy
        self.other = compare(*other).accuracy
        self.reversed = compare(*both("test-reversed")).accuracy
        mine, theirs = margins(*own), margins(*other)
        clusters = [own[0][name].cluster for name in mine]
        self.gain: Estimate = clustered_mean(
            [float(mine[name] > 0) - float(theirs[name] > 0) for name in mine], clusters, bounds=None
        )


def test_without_a_fault_the_controls_are_as_they_should_be(world: Path) -> None:
    """About 45 s, and as long for the world and its model."""
    found = Found(world, train_pba(world, nothing))
    assert found.own.low > 0.7
    assert found.other.low <= 0.5
    assert found.reversed.high < 0.4
    assert found.gain.low > 0.2


@pytest.mark.parametrize("fault", [personas_shuffled, half_the_users_swapped, profile_of_the_record_before])
def test_a_fault_in_training_shows(world: Path, fault: Callable[[list[Row]], None]) -> None:
    """About 45 s each."""
    found = Found(world, train_pba(world, fault))
    assert found.own.high < 0.7
    assert found.gain.low < 0.1  # telling the user's own persona gains nothing over telling somebody else's
    assert found.reversed.high > 0.4


def test_a_profile_of_the_wrong_record_in_evaluation_shows(world: Path) -> None:
    """About 3 s where the first test has trained the policy."""
    policy = world / "nothing" if (world / "nothing/manifest.json").is_file() else train_pba(world, nothing)
    rows = [json.loads(line) for line in (world / "world/test.jsonl").read_text().splitlines()]
    profile_of_the_record_before(rows)
    (world / "world/test-wrong.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = Found(world, policy, test="test-wrong")
    assert found.own.high < 0.7
    assert found.gain.low < 0.1
