"""What became of each pair: a verdict, or none and why."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from alignx.drafts import read_lines
from alignx.judging.pairs import Side

Verdict = Literal["candidate", "baseline", "tie"]
How = Literal["same both ways", "opposite", "one tie", "one order", "identical", "unjudged"]
HOWS: Final[dict[How, str]] = {
    "same both ways": "the same verdict in either order",
    "opposite": "the other verdict when the order was changed: a tie",
    "one tie": "a verdict in one order and a tie in the other: a tie",
    "one order": "judged in one order only",
    "identical": "both responses are the same text: a tie, not asked",
    "unjudged": "no verdict",
}
"""How a verdict came about, in words."""


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Call(_Plain):
    """What the judge said of a pair in one order."""

    first: Side
    """Whose response it was shown first."""
    verdict: Verdict | None = None
    certainty: int = 0
    """From 0 to 100; means nothing without a verdict."""
    problem: str = ""
    """Why there is no verdict."""

    @property
    def names_first(self) -> bool | None:
        """Whether the response that was shown first is said to be better; None where neither is."""
        return None if self.verdict in (None, "tie") else self.verdict == self.first


class Outcome(_Plain):
    """Of one pair."""

    id: str
    cluster: str
    """The user, else the distinct target."""
    sources: tuple[str, ...]
    """Which parts of a persona the record has."""
    verdict: Verdict | None
    """None: unjudged."""
    how: How
    problem: str = ""
    """Why it is unjudged."""
    calls: tuple[Call, ...]
    candidate_characters: int
    baseline_characters: int

    @property
    def points(self) -> float | None:
        """1 for a win of the candidate, 0 for a loss, half for a tie; None where it is unjudged."""
        return None if self.verdict is None else {"candidate": 1.0, "tie": 0.5, "baseline": 0.0}[self.verdict]

    @property
    def asked(self) -> bool:
        """Whether its verdict is the judge's word."""
        return self.verdict is not None and bool(self.calls)

    @property
    def certainty(self) -> int:
        """The lower of the certainties that the judge stated."""
        return min(call.certainty for call in self.calls)


def settle(calls: Sequence[Call]) -> tuple[Verdict | None, How, str]:
    """The verdict on a pair from what was said in each order, how it came about, and why there is none.

    The same both ways stands. Opposite verdicts are a tie: the judge went by the place. A side in one order and a tie
    in the other is a tie as well, as the side was not named whatever the order; it is counted apart. A missing one
    leaves the pair unjudged: half of a comparison is what the place makes of it.
    """
    problems = [call.problem for call in calls if call.verdict is None]
    if problems or not calls:
        return None, "unjudged", problems[0] if problems else "not asked"
    if len(calls) == 1:
        return calls[0].verdict, "one order", ""
    named = {call.verdict for call in calls}
    if len(named) == 1:
        return calls[0].verdict, "same both ways", ""
    return "tie", "one tie" if "tie" in named else "opposite", ""


def to_lines(outcomes: Iterable[Outcome]) -> str:
    """JSON Lines, one an outcome."""
    return "".join(json.dumps(one.model_dump(mode="json"), ensure_ascii=False) + "\n" for one in outcomes)


def read_outcomes(path: Path) -> list[Outcome]:
    """What :func:`to_lines` wrote.

    Raises:
        DataError: A line is not an outcome, or an id is there twice.
    """
    return list(read_lines(path, Outcome, "outcome of a pair").values())
