"""Differences in form between chosen and rejected that a model could exploit instead of knowing the user."""

import math
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alignx.intervals import Estimate, clustered_mean, holm, p_value
from alignx.prompts.reporting.health.finding import Commands, Finding, Listing, Verdict
from alignx.prompts.reporting.health.predicting import FOLDS, outcomes
from alignx.prompts.reporting.health.sampling import Drawn, Sample
from alignx.prompts.reporting.health.shapes import FORMS, form, opening
from alignx.records import Record

ENOUGH = 100
"""Pairs below which no classifier is fitted."""
SUSPICIOUS, TELLING = 0.05, 0.2
"""Distance from 50 % at which a difference that is no chance is worth a look, and at which numbers would mislead."""
_OPENINGS = 10
_REMEMBERED = 100_000
_TOGETHER = "all of them together"


@dataclass(frozen=True)
class Rule:
    """How often the chosen response is the one with more of something, ties counted half."""

    name: str
    accuracy: Estimate
    differing: int
    """Pairs in which the two differ in it."""
    p: float
    """Of 50 %, corrected for the number of rules; nan where there is none."""

    @property
    def verdict(self) -> Verdict:
        """Whether a model could live off it."""
        distance = abs(self.accuracy.mean - 0.5)
        if not self.p < 0.05 or distance < SUSPICIOUS:
            return "ok"
        return "fix" if distance >= TELLING else "look"


class Asymmetries:
    """The forms of pairs as they pass: of all, or of a sample where there are very many."""

    def __init__(self) -> None:
        """Start with none."""
        self._sample = Sample(2 * len(FORMS) + 2)
        self._openings: dict[int, str] = {}

    def add(self, record: Record) -> None:
        """Note one pair."""
        numbers = []
        for text in (record.chosen, record.rejected):
            word = opening(text)
            key = zlib.crc32(word.encode("utf-8", "surrogatepass")) & 0xFFFFFF  # float32 holds 24 bits exactly
            if len(self._openings) < _REMEMBERED:
                self._openings.setdefault(key, word)
            numbers += [*form(text), key]
        self._sample.add(record, numbers)

    def finding(self, commands: Commands) -> Finding:
        """What was found."""
        drawn = self._sample.drawn()
        rules = self._rules(drawn)
        best = max(rules, key=lambda rule: abs(rule.accuracy.mean - 0.5), default=None)
        suspicious = [rule for rule in rules if rule.verdict != "ok"]
        verdict: Verdict = "ok"
        if suspicious:
            verdict = "fix" if any(rule.verdict == "fix" for rule in suspicious) else "look"
        if suspicious:
            best = max(suspicious, key=lambda rule: abs(rule.accuracy.mean - 0.5))
        shown = "no two responses differ in form" if best is None else f"{best.name}: {_percent(best.accuracy)}"
        return Finding(
            "format_asymmetries",
            "Form of chosen against rejected",
            len(suspicious),
            len(rules),
            "rules",
            verdict,
            _meaning(drawn),
            _commands(commands, suspicious),
            listings=[_listing(rules)] if rules else [],
            numbers={
                "pairs": len(drawn.values),
                "of": drawn.seen,
                "rules": [_as_dict(rule) for rule in rules],
            },
            shown=shown,
            rate="50.0 %" if best is None else f"{100 * best.accuracy.mean:.1f} %",
        )

    def _rules(self, drawn: Drawn) -> list[Rule]:
        """The rules that differ in at least one pair, from the most telling down; the classifier first."""
        chosen, rejected = np.split(drawn.values, 2, axis=1)
        names, differences = list(FORMS), chosen[:, :-1] - rejected[:, :-1]
        for key in self._frequent(chosen[:, -1], rejected[:, -1]):
            names.append(f"opens with “{self._openings[key]}”")
            opens = (chosen[:, -1] == key).astype(np.float32) - (rejected[:, -1] == key)
            differences = np.column_stack((differences, opens))
        clusters = drawn.names
        found = [
            (name, clustered_mean(_wins(column), clusters), int(np.count_nonzero(column)))
            for name, column in zip(names, differences.T, strict=True)
            if column.any()
        ]
        if found and len(differences) >= ENOUGH:
            # The classifier sees forms alone: of an opening word it would learn the word.
            logarithms = np.log1p(chosen[:, :-1]) - np.log1p(rejected[:, :-1])
            together = outcomes(logarithms, drawn.clusters)
            estimate = clustered_mean(together.tolist(), clusters)
            found.append((_TOGETHER, estimate, int(np.count_nonzero(together != 0.5))))
        corrected = holm(_p(estimate) for _, estimate, _ in found)
        rules = [Rule(name, estimate, n, p) for (name, estimate, n), p in zip(found, corrected, strict=True)]
        return sorted(rules, key=lambda rule: (rule.name != _TOGETHER, -abs(rule.accuracy.mean - 0.5)))

    def _frequent(self, chosen: NDArray[np.float32], rejected: NDArray[np.float32]) -> list[int]:
        """The opening words that most often distinguish two responses."""
        differ = chosen != rejected
        counts = Counter(np.concatenate((chosen[differ], rejected[differ])).astype(int).tolist())
        frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return [key for key, _ in frequent if self._openings.get(key)][:_OPENINGS]


def _wins(differences: NDArray[np.float32]) -> list[float]:
    """1 where chosen has more, 0 where it has less, ½ where neither has."""
    found: list[float] = ((np.sign(differences) + 1) / 2).tolist()
    return found


def _p(estimate: Estimate) -> float:
    return p_value(estimate, 0.5) if estimate.clusters > 1 else math.nan


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.mean:.1f} % [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def _listing(rules: Sequence[Rule]) -> Listing:
    rows = [
        (
            rule.name,
            f"{100 * rule.accuracy.mean:.1f} %",
            f"[{100 * rule.accuracy.low:.1f}, {100 * rule.accuracy.high:.1f}]",
            str(rule.differing),
            "–" if math.isnan(rule.p) else f"{rule.p:.3f}" if rule.p >= 0.001 else "< 0.001",
            rule.verdict,
        )
        for rule in rules
    ]
    caption = (
        "How often the chosen response is the one that has more of it, ties counted half, with the 95 % interval "
        "clustered by user, else by target. "
        f"p is that of 50 %, corrected for {len(rules)} rules (Holm)."
    )
    columns = ("the chosen one has more", "accuracy", "95 % interval", "pairs that differ", "p", "")
    return Listing(columns, rows, caption, "lrrrrl")


def _meaning(drawn: Drawn) -> str:
    sampled = (
        f" Measured on {len(drawn.values):,} of {drawn.seen:,} pairs, drawn by their digests."
        if drawn.seen > len(drawn.values)
        else ""
    )
    return (
        "At 50 % a form says nothing. Far above, or far below, a model can choose right by it without reading the "
        "words or knowing the user; one such leak made a published replication look nearly perfect. A preference may "
        "show in form honestly, as a liking for brevity does, and then differs from user to user. **All of them "
        f"together** is a logistic regression that sees the forms and never the words, on pairs that it was not fitted "
        f"to ({FOLDS} folds by cluster). Called suspicious is what is at least {100 * SUSPICIOUS:.0f} points from 50 % "
        f"with p below 0.05, and misleading at {100 * TELLING:.0f} points.{sampled}"
    )


def _commands(commands: Commands, suspicious: Sequence[Rule]) -> list[str]:
    """What to do about rules that tell too much: take away spaces that do; measure what is gained without a persona."""
    if not suspicious:
        return []
    spaces = any(rule.name.startswith("white space") for rule in suspicious)
    alone = "--method ica --persona none --output out/no-persona.jsonl"
    return [
        *([commands.clean(drop="outer-space")] if spaces else []),
        f"alignx score {commands.source} --model CHECKPOINT {alone}",
    ]


def _as_dict(rule: Rule) -> dict[str, Any]:
    p = None if math.isnan(rule.p) else rule.p
    return {
        "name": rule.name,
        "accuracy": rule.accuracy.as_dict(),
        "differing": rule.differing,
        "p": p,
        "verdict": rule.verdict,
    }
