"""How many records would have an empty profile under PBA, by the thresholds of aggregation."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from alignx.prompts.condition import Condition, Method
from alignx.prompts.reporting.health.agreement import history_levels, limits
from alignx.prompts.reporting.health.fields import directions_of
from alignx.prompts.reporting.health.finding import Commands, Finding, Listing, Tally, Verdict
from alignx.prompts.telling import tell
from alignx.records import Record, Taxonomy, Thresholds

THRESHOLDS = tuple(
    Thresholds(*pair)
    for pair in (("0.6", "0.4"), ("0.57", "0.43"), ("0.55", "0.45"), ("0.53", "0.47"), ("0.51", "0.49"))
)
"""From what the paper trains with to what its released test profiles follow."""
_SAMPLED = Condition(method=Method.ICA, history="sampled")
"""Says which items training draws; ICA needs no profile to say it."""
_MANY = 0.05
"""Share of empty profiles, at the paper's thresholds, from which it is worth a look."""


class EmptyProfiles:
    """Counts of empty profiles, of whole histories and of those that training draws."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        """Start with none."""
        self._taxonomy = taxonomy
        self._size = len(taxonomy)
        self._known = 0
        self._sampled = 0
        self._empty = np.zeros((2, len(THRESHOLDS)), np.int64)
        self._examples = Tally()

    def add(self, record: Record) -> None:
        """Count one record."""
        if (whole := history_levels(record, self._size)) is None:
            return
        self._known += 1
        empty = _empty(*whole)
        self._empty[0] += empty
        if empty[0]:
            self._examples.add(record.id, record.prompt)
        told = tell(record, _SAMPLED, self._taxonomy)
        items = directions_of([*told.comments, *told.choices])
        if items:
            self._sampled += 1
            levels = np.frombuffer(b"".join(items), np.uint8).reshape(len(items), self._size)
            part = levels.sum(axis=0, dtype=np.int64)
            self._empty[1] += _empty(part, len(items))

    def finding(self, commands: Commands) -> Finding | None:
        """What was found; None where no history item has a direction."""
        if not self._known:
            return None
        rows = [
            (
                f"{thresholds.positive} / {thresholds.negative}",
                *(
                    f"{n} ({100 * n / whole:.1f} %)" if whole else "–"
                    for n, whole in ((whole_n, self._known), (sampled_n, self._sampled))
                ),
            )
            for thresholds, whole_n, sampled_n in zip(THRESHOLDS, *self._empty.tolist(), strict=True)
        ]
        n = int(self._empty[0, 0])
        sampled = int(self._empty[1, 0])
        many = n > _MANY * self._known or sampled > _MANY * max(1, self._sampled)
        verdict: Verdict = "look" if many else "ok"
        drop = partial(commands.train, "--method pba --drop-empty")
        keep = partial(commands.train, "--method pba --positive 0.51 --negative 0.49")
        return Finding(
            "empty_profiles",
            "Empty profiles",
            n,
            self._known,
            "records",
            verdict,
            "PBA tells a model the mean direction of the history where it is far enough from neutral; a history whose "
            "items are few, neutral or at odds gives an empty profile, and the prompt then says that no preference is "
            f"known. Of {self._known} records with directions in their history (ready profiles apart); sampled: with "
            f"the items that training draws. Worth a look where more than {100 * _MANY:.0f} % would be empty at 0.6 / "
            "0.4: leave such records out of training, or lower the thresholds.",
            [drop(), keep()] if many else [],
            self._examples.examples,
            [
                Listing(
                    ("thresholds", "empty, whole history", "empty, sampled"),
                    rows,
                    f"Of {self._known} records, and of {self._sampled} in which a drawn item has a direction.",
                    "lrr",
                )
            ],
            {
                "records": self._known,
                "sampled_records": self._sampled,
                "thresholds": [[t.positive, t.negative] for t in THRESHOLDS],
                "empty": self._empty.tolist(),
            },
        )


def _empty(sums: NDArray[np.int64], n: int) -> list[bool]:
    """Whether a history of ``n`` items with these sums of levels has an empty profile, by each of the thresholds."""
    least, most = int(sums.min()), int(sums.max())
    poles = (limits(n, thresholds) for thresholds in THRESHOLDS)
    return [negative < least and most < positive for negative, positive in poles]
