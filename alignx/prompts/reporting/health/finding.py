"""What a check found: how much of what, whether that is well, examples, and the command that mends it."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from alignx.prompts.reporting.health.contacts import redact
from alignx.prompts.settings import SourceSettings

Verdict = Literal["ok", "look", "fix"]
"""``fix``: numbers made from these records would mislead. ``look``: it may be meant, and someone should say so."""

SHOWN = 20
"""Examples that are kept of each finding, the first ones."""
EXCERPT = 60
"""Characters of a text that an example shows."""


@dataclass(frozen=True)
class Example:
    """A record in which something was found."""

    id: str
    what: str = ""
    """A few words of it; e-mail addresses and phone numbers are left out."""


class Tally:
    """How many records or texts something was found in, and the first of them: memory does not grow with their number.

    Attributes:
        n: How many.
        examples: The first ones.
    """

    def __init__(self) -> None:
        """Start with none."""
        self.n = 0
        self.examples: list[Example] = []

    def add(self, record_id: str, what: str = "", most: int = EXCERPT) -> None:
        """Count one, and keep up to ``most`` characters of what it was if it is among the first."""
        self.n += 1
        if len(self.examples) < SHOWN:
            self.examples.append(Example(record_id, excerpt(what, most)))


@dataclass(frozen=True)
class Listing:
    """A table that belongs to a finding."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    align: str = ""
    folded: str = ""
    """Title under which it is out of sight until asked for; empty: it is in sight."""


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        key: Name in the report's JSON.
        title: Name on the page.
        n: How many were found.
        whole: Of how many.
        unit: What is counted, such as ``records``.
        verdict: Whether it is well.
        meaning: What was looked for and what it does to a model, as prose.
        commands: Lines for a shell that mend it or work round it; the first is named in the summary.
        examples: Some of those found.
        listings: Tables.
        numbers: What else was measured, for JSON alone.
        shown: What the section says first in place of ``n`` and its share, where a rate says more.
        rate: That rate alone, for the summary.
    """

    key: str
    title: str
    n: int
    whole: int
    unit: str
    verdict: Verdict
    meaning: str
    commands: Sequence[str] = ()
    examples: Sequence[Example] = ()
    listings: Sequence[Listing] = ()
    numbers: dict[str, Any] = field(default_factory=dict)
    shown: str = ""
    rate: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        share = self.n / self.whole if self.whole else None
        return {**asdict(self), "share": share}


def excerpt(text: str, most: int = EXCERPT) -> str:
    """The beginning of a text on one line, without what could reach a person."""
    # A little more than is shown, so that an address that is cut at the end is still one.
    text = redact(" ".join(text[: 4 * most].split()))[0]
    text = re.sub(r"[\x00-\x1f\x7f\u200b\u2060\ufeff\u202a-\u202e\u2066-\u2069]", "�", text)
    return text if len(text) <= most else text[: most - 1] + "…"


class Commands:
    """Command lines about one source, as they would be typed."""

    def __init__(self, settings: SourceSettings) -> None:
        """Of the source that the settings name."""
        said = ["--data", shlex.quote(settings.data)]
        if settings.split is not None:
            said += ["--split", shlex.quote(settings.split)]
        if settings.taxonomy is not None:
            said += ["--taxonomy", shlex.quote(str(settings.taxonomy))]
        self.source = " ".join(said)

    def clean(self, *, drop: str = "", redact: str = "") -> str:
        """``alignx data clean``."""
        flags = "".join(f" --{flag} {what}" for flag, what in (("drop", drop), ("redact", redact)) if what)
        return f"alignx data clean {self.source} --output out/clean.jsonl{flags}"

    def prepare(self, flags: str) -> str:
        """``alignx data prepare``."""
        return f"alignx data prepare {self.source} --model MODEL --output out/prepared {flags}"

    def train(self, flags: str) -> str:
        """``alignx train``."""
        return f"alignx train {self.source} --model MODEL --output out/trained {flags}"
