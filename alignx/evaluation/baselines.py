"""What can be had without a model: counting words, and reading the truth of a synthetic world."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from alignx.intervals import Estimate, clustered_mean
from alignx.prompts import Condition, Method
from alignx.prompts.telling import Told, tell
from alignx.records import Record, Taxonomy

Rule = Callable[[Record], float]
"""Above 0 where the chosen response is guessed, below where the rejected one; 0 is a guess by coin."""


@dataclass(frozen=True)
class Baseline:
    """A rule and its accuracy, where a coin decides as half a point."""

    name: str
    meaning: str
    accuracy: Estimate
    undecided: int


def baselines(records: Sequence[Record], training: Iterable[Record], taxonomy: Taxonomy) -> list[Baseline]:
    """The trivial rules, and for records with directions the best that a reader of the history could do."""
    condition = Condition(method=Method.ICA)
    told = {record.id: tell(record, condition, taxonomy) for record in records}
    responses = ResponseWords(training)
    rules: list[tuple[str, str, Rule]] = [
        (
            "words of the responses alone",
            "naive Bayes over words and word pairs of training responses; it never sees the persona",
            responses.rule,
        ),
        (
            "words shared with the persona",
            "the response that shares more words with the user's comments, chosen responses and description",
            lambda record: word_overlap(record, told[record.id]),
        ),
    ]
    if any(record.direction is not None for record in records):
        rules.append(
            (
                "reader who knows every direction",
                "compares the target's poles with the poles of the items told: what this history allows at most",
                lambda record: known_directions(record, told[record.id]),
            )
        )
    return [_measure(name, meaning, rule, records) for name, meaning, rule in rules]


def word_overlap(record: Record, told: Told) -> float:
    """How many more different words the chosen response shares with what is told of the user than the rejected one."""
    approved = [told.demographics, *(c.comment for c in told.comments), *(c.chosen for c in told.choices)]
    known = set(_words(" ".join(approved)))
    return float(len(known.intersection(_words(record.chosen))) - len(known.intersection(_words(record.rejected))))


def known_directions(record: Record, told: Told) -> float:
    """Agreement of the target's direction with the sum of the told items' directions."""
    if record.direction is None:
        return 0.0
    sums = [0] * len(record.direction)
    for direction in [*(c.direction for c in told.comments), *(c.direction for c in told.choices)]:
        for place, level in enumerate(direction or b""):
            sums[place] += level - 1
    return float(sum((level - 1) * total for level, total in zip(record.direction, sums, strict=True)))


class ResponseWords:
    """Naive Bayes on which words and word pairs are preferred, whoever the user is; add-one smoothed."""

    def __init__(self, training: Iterable[Record]) -> None:
        """Count the features of chosen and rejected responses."""
        self._chosen: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        for record in training:
            self._chosen.update(_features(record.chosen))
            self._rejected.update(_features(record.rejected))

    def rule(self, record: Record) -> float:
        """Log-odds of the chosen response over the rejected one."""
        return self._log_odds(record.chosen) - self._log_odds(record.rejected)

    def _log_odds(self, text: str) -> float:
        return sum(math.log((self._chosen[f] + 1) / (self._rejected[f] + 1)) for f in sorted(_features(text)))


def _measure(name: str, meaning: str, rule: Rule, records: Sequence[Record]) -> Baseline:
    guesses = [rule(record) for record in records]
    points = [0.5 if guess == 0 else float(guess > 0) for guess in guesses]
    accuracy = clustered_mean(points, [record.cluster for record in records])
    return Baseline(name, meaning, accuracy, sum(guess == 0 for guess in guesses))


def _words(text: str) -> list[str]:
    return re.findall(r"\w[\w'’-]*", text.lower())


def _features(text: str) -> set[str]:
    words = _words(text)
    return {*words, *(f"{one} {two}" for one, two in pairwise(words))}
