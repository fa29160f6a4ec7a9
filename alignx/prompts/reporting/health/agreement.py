"""Whether the direction of a target agrees with the directions of its user's history."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from alignx.intervals import FEW_CLUSTERS, Estimate, clustered_mean
from alignx.prompts.reporting.health.fields import directions_of
from alignx.prompts.reporting.health.finding import Commands, Finding, Listing, Tally, Verdict
from alignx.prompts.reporting.health.sampling import Sample
from alignx.records import Record, Taxonomy, Thresholds, aggregate
from alignx.records.directions import NEGATIVE, POSITIVE

THRESHOLDS = Thresholds("0.6", "0.4")
_FEW = 2
"""Dimensions on which both must speak before a record is named."""


def history_levels(record: Record, size: int) -> tuple[NDArray[np.int64], int] | None:
    """Sum of the history items' levels in each dimension, and how many items have a direction; None where none has."""
    directions = directions_of([*record.persona.comments, *record.persona.choices])
    if not directions:
        return None
    levels = np.frombuffer(b"".join(directions), np.uint8).reshape(len(directions), size)
    return levels.sum(axis=0, dtype=np.int64), len(directions)


@lru_cache(maxsize=4096)
def limits(n: int, thresholds: Thresholds) -> tuple[int, int]:
    """The largest sum of ``n`` levels that is negative and the smallest that is positive, by ``aggregate`` itself.

    −1 where no sum is negative, ``2 · n + 1`` where none is positive.
    """
    poles = [_pole_of_sum(total, n, thresholds) for total in range(2 * n + 1)]
    negative = max((total for total, pole in enumerate(poles) if pole == NEGATIVE), default=-1)
    positive = min((total for total, pole in enumerate(poles) if pole == POSITIVE), default=2 * n + 1)
    return negative, positive


def _pole_of_sum(total: int, n: int, thresholds: Thresholds) -> int:
    levels = [min(2, max(0, total - 2 * place)) for place in range(n)]
    return aggregate([bytes([level]) for level in levels], thresholds)[0]


class Agreement:
    """Poles of targets against those of histories, counted a record at a time."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        """Start with none."""
        self._size = len(taxonomy)
        self._sample = Sample(2)
        self._opposite = Tally()
        self._both = 0
        self._cells = np.zeros((2, 2, self._size), np.int64)
        """Records in which target (first) and history are this pole of a dimension, negative before positive."""

    def add(self, record: Record) -> None:
        """Compare one record's target with its history."""
        if record.direction is None or (found := history_levels(record, self._size)) is None:
            return
        sums, n = found
        negative, positive = limits(n, THRESHOLDS)
        history = (sums >= positive).astype(np.int8) - (sums <= negative)
        target = np.frombuffer(record.direction, np.uint8).astype(np.int8) - 1
        both = np.flatnonzero(target * history)
        if not len(both):
            return
        mine, theirs = target[both], history[both]
        np.add.at(self._cells, ((mine > 0).astype(np.int8), (theirs > 0).astype(np.int8), both), 1)
        opposite = int(np.count_nonzero(mine != theirs))
        self._both += 1
        self._sample.add(record, (opposite, len(both)))
        if len(both) >= _FEW and 2 * opposite > len(both):
            self._opposite.add(record.id, f"{opposite} of {len(both)}: {record.prompt}")

    def finding(self, commands: Commands) -> Finding | None:
        """What was found; None where no record has both."""
        if not self._both:
            return None
        drawn = self._sample.drawn()
        shares = (drawn.values[:, 0] / drawn.values[:, 1]).tolist()
        estimate = clustered_mean(shares, drawn.names)
        spoken = int(self._cells.sum())
        opposed = int(self._cells[0, 1].sum() + self._cells[1, 0].sum())
        chance = self._by_chance() / spoken
        verdict = _verdict(estimate, chance)
        interval = f"{100 * estimate.mean:.1f} % [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
        rows = [
            ("records in which both speak on some dimension", str(self._both)),
            ("dimensions on which both speak, over all records", str(spoken)),
            ("of these with opposite poles", f"{opposed} ({100 * opposed / spoken:.1f} %)"),
            ("share of opposite poles in a record, on average", interval),
            ("by chance", f"{100 * chance:.1f} %"),
            ("records that are mostly opposite", str(self._opposite.n)),
        ]
        return Finding(
            "directions_against_history",
            "Directions that disagree with the history",
            self._opposite.n,
            self._both,
            "records",
            verdict,
            "The direction of the target (chosen over rejected) against the aggregated direction of its history "
            f"(thresholds {THRESHOLDS.positive} and {THRESHOLDS.negative}), on dimensions on which neither is neutral. "
            "By chance is what would be opposite if target and history had nothing to do with each other but the "
            "same shares of poles in each dimension; "
            "a history that tells something of its user is opposite less often. People do contradict themselves: "
            f"single records are examples, named where most of at least {_FEW} dimensions are opposite, and "
            "the verdict is on the share.",
            [f"alignx annotate directions {commands.source} --known replace --model MODEL --output out/annotated.jsonl"]
            if verdict != "ok"
            else [],
            self._opposite.examples,
            [Listing(("", ""), rows, align="lr")],
            {
                "records": self._both,
                "dimensions": spoken,
                "opposite_dimensions": opposed,
                "share_in_a_record": estimate.as_dict(),
                "chance": chance,
                "sampled": len(shares),
            },
            shown=f"{interval} opposite, {100 * chance:.1f} % by chance",
            rate=f"{100 * estimate.mean:.1f} %",
        )

    def _by_chance(self) -> float:
        """Opposite poles expected if, where both speak, target and history were independent in each dimension."""
        spoken = self._cells.sum(axis=(0, 1))
        some = spoken > 0
        target, history = self._cells[1].sum(axis=0)[some], self._cells[:, 1].sum(axis=0)[some]
        n = spoken[some]
        return float(np.sum((target * (n - history) + (n - target) * history) / n))


def _verdict(estimate: Estimate, chance: float) -> Verdict:
    """A history that is opposite as often as by chance says nothing; one that is more often says the contrary."""
    if estimate.clusters < FEW_CLUSTERS or not 0 < chance < 1 or estimate.high < chance:
        return "ok"
    return "fix" if estimate.low > chance else "look"
