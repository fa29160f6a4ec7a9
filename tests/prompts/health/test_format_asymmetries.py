"""Differences of form between chosen and rejected: planted ones are found, chance and preferences are not."""

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alignx.intervals import clustered_mean
from alignx.prompts.reporting.health import sampling
from alignx.prompts.reporting.health.predicting import outcomes
from alignx.prompts.reporting.health.sampling import Sample
from alignx.prompts.reporting.health.shapes import FORMS, form, opening
from alignx.records import Persona, Record
from tests.prompts.health.planted import found_in, well


def rules(folder: Path, rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    finding = found_in(folder, rows)["format_asymmetries"]
    return {rule["name"]: {**rule, "of": finding["verdict"]} for rule in finding["numbers"]["rules"]}


def test_forms_of_a_text_worked_by_hand() -> None:
    text = " - Sure (see [1]): **no**!\n2. “Why?” https://x.org 🙂\n```\nx\n``` "
    found = dict(zip(FORMS, form(text), strict=True))
    assert {name: number for name, number in found.items() if number} == {
        "characters": len(text),
        "words": 12,
        "line breaks": 4,
        "brackets and parentheses": 2,
        "list markers": 2,
        "bold marks": 2,
        "code fences": 2,
        "URLs": 1,
        "emoji": 1,
        "digits": 2,
        "capital letters": 2,
        "full stops": 2,
        "exclamation marks": 1,
        "question marks": 1,
        "quotation marks": 1,
        "white space at the start": 1,
        "white space at the end": 1,
    }
    ends = {"Done.": (1, 0), "Done": (0, 1), "So he said,": (0, 1), 'He said "yes."': (1, 0), "**Bold!**": (1, 0)}
    for said, (sentence, cut) in ends.items():
        numbers = dict(zip(FORMS, form(said), strict=True))
        assert (numbers["ends a sentence"], numbers["is cut short"]) == (sentence, cut), said
    assert [opening(said) for said in ("  Don't go", "“Yes”", "", "42 apples")] == ["don't", "“", "", "4"]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("list markers", lambda text: "- " + text),
        ("brackets and parentheses", lambda text: text + " (really)."),
        ("white space at the end", lambda text: text + " "),
        ("code fences", lambda text: "```\n" + text + "\n```"),
        ("emoji", lambda text: text + " 🙂"),
        ("line breaks", lambda text: text.replace(" ", "\n", 1)),
        ("exclamation marks", lambda text: text[:-1] + "!"),
        ("opens with “certainly”", lambda text: "Certainly " + text),
    ],
)
def test_a_form_that_gives_the_answer_away_is_found(name: str, change: Any, tmp_path: Path) -> None:
    rows = well(150)
    for raw in rows[:120]:
        raw["chosen"] = change(raw["chosen"])
    found = rules(tmp_path, rows)[name]
    assert found["accuracy"]["mean"] == pytest.approx((120 + 15) / 150)
    assert found["differing"] == 120
    assert found["p"] < 0.001
    assert (found["verdict"], found["of"]) == ("fix", "fix")


def test_a_form_that_only_rejected_has_is_as_suspicious(tmp_path: Path) -> None:
    rows = well(150)
    for raw in rows:
        raw["rejected"] = raw["rejected"][:-1]
    found = rules(tmp_path, rows)
    assert found["full stops"]["accuracy"]["mean"] == 1
    assert found["ends a sentence"]["accuracy"]["mean"] == 1
    assert found["is cut short"]["accuracy"]["mean"] == 0
    assert found["is cut short"]["verdict"] == "fix"


def test_a_few_users_with_many_records_are_no_evidence(tmp_path: Path) -> None:
    rows = well(150)
    for raw in rows[:100]:
        raw |= {"chosen": raw["chosen"] + " !", "user": "one"}
    found = rules(tmp_path, rows)["exclamation marks"]
    assert found["accuracy"]["mean"] == pytest.approx(125 / 150)
    assert found["accuracy"]["clusters"] == 51
    assert found["p"] > 0.05
    assert found["verdict"] == "ok"


def test_forms_that_tell_only_together_are_found_by_the_classifier(tmp_path: Path) -> None:
    rng = random.Random(8)
    rows = well(400)
    for raw in rows:
        # As many marks of each kind in chosen as in rejected on average; only their difference tells.
        noise = rng.randint(0, 12)
        raw["chosen"] += " ?" * (noise + 1) + " !" * noise
        noise = rng.randint(0, 12)
        raw["rejected"] += " ?" * noise + " !" * (noise + 1)
    found = rules(tmp_path, rows)
    assert found["all of them together"]["accuracy"]["mean"] > 0.95
    assert max(abs(rule["accuracy"]["mean"] - 0.5) for name, rule in found.items() if "all" not in name) < 0.2


def test_the_classifier_never_sees_what_it_is_tested_on() -> None:
    rng = np.random.default_rng(1)
    clusters = np.repeat(rng.integers(0, 2**63, 40, dtype=np.uint64), 10)
    # Each cluster has a direction of its own, which tells nothing of the others: 50 % unless folds share clusters.
    own = rng.normal(size=(40, 30)).repeat(10, axis=0).astype(np.float32)
    estimate = clustered_mean(outcomes(own, clusters).tolist(), [str(cluster) for cluster in clusters])
    assert estimate.low < 0.5 < estimate.high
    assert outcomes(np.ones((50, 1), np.float32), np.arange(50, dtype=np.uint64) << np.uint64(7)).tolist() == [1.0] * 50
    assert (
        outcomes(np.zeros((50, 2), np.float32), np.arange(50, dtype=np.uint64) << np.uint64(7)).tolist() == [0.5] * 50
    )


def test_turning_every_pair_round_turns_the_accuracy_round(tmp_path: Path) -> None:
    rows = well(120)
    for raw in rows[::2]:
        raw["chosen"] += " (and)"
    before = rules(tmp_path, rows)
    after = rules(tmp_path, [{**raw, "chosen": raw["rejected"], "rejected": raw["chosen"]} for raw in rows])
    assert set(after) == set(before)
    for name, rule in before.items():
        if name != "all of them together":
            assert rule["accuracy"]["mean"] == pytest.approx(1 - after[name]["accuracy"]["mean"])


def test_a_sample_is_the_same_whatever_the_order_and_never_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "_BATCH", 7)
    rows = [Record(f"r{n}", "p", "c", "r", Persona(), user=f"u{n % 9}", digest=f"d{n}") for n in range(100)]

    def drawn(records: list[Record]) -> tuple[set[float], int, int]:
        sample = Sample(1, most=20)
        for record in records:
            sample.add(record, [float(record.id[1:])])
        found = sample.drawn()
        return set(found.values[:, 0].tolist()), len(found.names), found.seen

    values, size, seen = drawn(rows)
    assert (size, seen) == (20, 100)
    assert drawn(rows[::-1])[0] == values
    assert not math.isclose(sum(values), sum(range(20)))
