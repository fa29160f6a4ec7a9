"""What the pages of both checks share: differences, and what is said of the judge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignx.chat.prices import Price
from alignx.intervals import Estimate
from alignx.judging.check_settings import CheckSettings
from alignx.judging.questions import PROMPT, prompt_digest
from alignx.judging.verdicts import Used
from alignx.pages import Block, Definitions, Paragraph, Table, literal

_SHOWN = 12
"""Reasons for which pairs are unjudged, at most; the rest is counted together."""


@dataclass(frozen=True)
class Asked:
    """Who was asked, and how; the same for the same replies, whenever and however they came."""

    judge: str
    items: Sequence[tuple[str, str]]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"judge": dict(self.items)}

    def definitions(self) -> Definitions:
        """For a page."""
        return Definitions([(term, literal(value)) for term, value in self.items])


def about_judge(settings: CheckSettings, used: Used, price: Price | None, model: Mapping[str, Any]) -> Asked:
    """What is said of the judge.

    Args:
        settings: Of the command.
        used: What the replies that count say of themselves.
        price: Of the judge, if known.
        model: What the server said of the judge.
    """
    returned = ", ".join(f"{name} ({count:,} replies)" for name, count in sorted(used.models.items()))
    counted = f"{used.prompt_tokens:,} tokens" if used.replies > used.uncounted else "not counted by the server"
    items = [
        ("judge", settings.judge_model),
        ("as the server calls it", returned or "nothing was replied"),
        ("to be shut down on", str(model.get("shutdown_date") or "the server does not say")),
        ("is told of the user", ", ".join(sorted(settings.judge_persona))),
        ("orders", "both: each pair twice" if settings.orders == "both" else "one a pair, drawn by the texts"),
        ("temperature", "left to the server" if settings.temperature is None else f"{settings.temperature:g}"),
        ("form of a reply", settings.structure),
        ("prompt", f"{PROMPT}, digest {prompt_digest()[:16]}"),
        ("requests that the verdicts come from", f"{used.replies:,}, {counted}"),
    ]
    if price is not None:
        items += [("price", str(price))]
    return Asked(settings.judge_model, items)


def points(one: Estimate | None) -> tuple[str, str]:
    """A difference of shares in percentage points, and its interval."""
    if one is None:
        return "–", "–"
    if not one.standard_error > 0:  # all moved alike, or one cluster: there is no interval to speak of
        return f"{100 * one.mean:+.1f}", "–"
    return f"{100 * one.mean:+.1f}", f"[{100 * one.low:+.1f}, {100 * one.high:+.1f}]"


def unjudged(problems: Mapping[str, int], what: str) -> list[Block]:
    """Why some of ``what`` have no verdict."""
    if not problems:
        return [Paragraph(f"All {what} have a verdict.")]
    items = list(problems.items())
    rows = [(reason, f"{count:,}") for reason, count in items[:_SHOWN]]
    if rest := items[_SHOWN:]:
        rows.append((f"{len(rest)} other reasons", f"{sum(count for _, count in rest):,}"))
    return [Table(("reason", what), rows, "Without a verdict: in no rate, and within the bounds.", "lr")]
