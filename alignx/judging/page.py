"""The report of a win rate as a page: Markdown, HTML and charts. It is made of numbers alone and asks nobody."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alignx import manifest
from alignx.evaluation.published import Published
from alignx.evaluation.report.win_rates import CAVEAT
from alignx.intervals import Estimate
from alignx.judging.outcomes import HOWS
from alignx.judging.rates import Bounds, Measured, Rates
from alignx.pages import Block, Definitions, Figure, Note, Page, Paragraph, Row, Section, Table, literal

_SHOWN = 12
"""Reasons for which pairs are unjudged, at most; the rest is counted together."""


@dataclass(frozen=True)
class About:
    """What was compared by whom: everything of a report that is not measured."""

    candidate: str
    baseline: str
    benchmark: str
    """As the data is called, if it is."""
    judge_model: str
    systems: Sequence[tuple[str, str, str]]
    """What is known of the two: what, of the candidate, of the baseline."""
    judge: Sequence[tuple[str, str]]
    """What is known of the judge and of how it was asked."""
    notes: Sequence[str] = ()
    """What a reader should know of the comparison, as plain text."""
    published: Published | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "candidate": self.candidate,
            "baseline": self.baseline,
            "systems": {what: {"candidate": one, "baseline": other} for what, one, other in self.systems},
            "benchmark": self.benchmark,
            "judge_model": self.judge_model,
            "judge": dict(self.judge),
            "notes": list(self.notes),
            "published": self.published and {**vars(self.published), "caveat": CAVEAT},
        }


def win_rate_page(found: Measured, about: About) -> Page:
    """The page.

    Args:
        found: What was measured.
        about: What was compared by whom.
    """
    sections = [
        Section("Win rate", _win_rate(found, about)),
        Section("The judge", _judge(found, about)),
        Section("By certainty", _certainty(found)),
        Section("By what is known of the user", _by_source(found)),
        Section("Length", _lengths(found)),
        Section("Unjudged pairs", _unjudged(found)),
        Section("What was compared", _compared(about)),
        Section("How to read the numbers", [_meanings()]),
    ]
    return Page(
        title="Win rate",
        lead=_lead(found.overall, about),
        sections=sections,
        footer=f"Made by alignx {manifest.versions()['alignx']}.",
    )


def _lead(found: Rates, about: About) -> str:
    where = f" ({literal(about.benchmark)})" if about.benchmark else ""
    who = f"{literal(about.candidate)} against {literal(about.baseline)}{where}, judged by {literal(about.judge_model)}"
    if found.win_rate is None:
        return f"{who}: none of {found.pairs:,} pairs was judged."
    return (
        f"{who}: of {found.pairs:,} pairs it found {found.wins:,} better, {found.losses:,} worse and "
        f"{found.ties:,} equal ({found.unjudged:,} unjudged). Win rate, ties as half: {percent(found.win_rate.mean)} % "
        f"{interval(found.win_rate)}."
    )


def _win_rate(found: Measured, about: About) -> list[Block]:
    overall = found.overall
    rows: list[Row | Sequence[str]] = [
        Row(("win rate, ties as half", *rate_cells(overall.win_rate, overall.win_rate_bounds)), "strong"),
        ("win rate without ties", *rate_cells(overall.decided, overall.decided_bounds)),
    ]
    if found.at_equal_length is not None:
        rows.append(Row(("at equal length (diagnostic)", *cells(found.at_equal_length), ""), "control"))
    if about.published is not None:
        paper = f"the paper's, {about.published.model} on {about.published.benchmark}"
        rows.append(Row((paper, f"{about.published.value:.2f}", "", "", "", ""), "control"))
    counts = Table(
        ("pairs", "win", "tie", "loss", "unjudged", "judged, %"),
        [(*map(_count, (overall.pairs, overall.wins, overall.ties, overall.losses, overall.unjudged)),
          percent(overall.coverage))],
        align="rrrrrr",
    )  # fmt: skip
    caption = "Bounds: had every unjudged pair been lost, and had every one been won."
    columns = ("", "%", "95 % interval", "n", "clusters", "bounds, %")
    blocks: list[Block] = [counts, Table(columns, rows, caption, "lrrrrr")]
    if overall.win_rate is not None:
        blocks += [Paragraph(_power(overall)), _forest(found, about)]
    notes = list(dict.fromkeys(one.note for one in (overall.win_rate, overall.decided) if one is not None and one.note))
    blocks += [Note(f"{literal(note[0].upper() + note[1:])}.") for note in [*notes, *about.notes]]
    if about.published is not None:
        blocks.append(Note(CAVEAT))
    return blocks


def _power(overall: Rates) -> str:
    p = "no p-value can be given" if math.isnan(overall.p) else f"p = {overall.p:.2g} of “neither is better”"
    if math.isnan(overall.smallest):
        return f"Over these pairs {p}."
    points = f"{100 * overall.smallest:.1f}"
    return f"Over these pairs {p}; so many show a true rate {points} points from 50 % four times in five."


def _forest(found: Measured, about: About) -> Figure:
    from alignx.pages.figures import Interval, Reference, intervals

    estimates = [("ties as half", found.overall.win_rate), ("without ties", found.overall.decided)]
    estimates += [("at equal length", found.at_equal_length)]
    rows = [_row(label, "Win rate", one) for label, one in estimates if one is not None]
    if len(found.by_source) > 1:
        rows += [
            _row(name, "Ties as half, by what is known", rates.win_rate)
            for name, rates in found.by_source.items()
            if rates.win_rate is not None
        ]
    judge = [("same verdict both ways", found.consistency), ("first shown is named", found.first_position)]
    judge += [("longer one wins", found.longer)]
    rows += [_row(label, "The judge", one) for label, one in judge if one is not None]
    references = [Reference(50.0, "no preference")]
    if about.published is not None:
        references.append(Reference(about.published.value, "the paper, without ties"))
    alt = "; ".join(f"{row.label}: {row.estimate:.1f} % [{row.low:.1f}, {row.high:.1f}]" for row in rows)
    assert all(isinstance(row, Interval) for row in rows)
    svg = intervals(rows, name="win-rate", xlabel="%", reference_lines=references)
    return Figure("win-rate", svg, alt, "Rates with their 95 % intervals.")


def _row(label: str, group: str, one: Estimate) -> Any:
    from alignx.pages.figures import Interval

    return Interval(label, group, 100 * one.mean, 100 * one.low, 100 * one.high)


def _judge(found: Measured, about: About) -> list[Block]:
    rows = [
        ("same verdict in both orders", *cells(found.consistency)),
        ("the response shown first is named, of all replies that name one", *cells(found.first_position)),
        ("the longer response wins, of pairs decided", *cells(found.longer)),
    ]
    hows = [(HOWS[how], _count(count)) for how, count in found.how.items()]  # type: ignore[index]
    return [
        Definitions([(term, literal(value)) for term, value in about.judge]),
        Table(("", "%", "95 % interval", "n", "clusters"), rows, "How far the judge can be believed.", "lrrrr"),
        Table(("how verdicts came about", "pairs"), hows, align="lr"),
        *_doubts(found),
    ]


def _doubts(found: Measured) -> list[Block]:
    """What the numbers say against the judge, in words: only what its intervals leave no doubt of."""
    said = doubts_of_orders(found.consistency, found.first_position)
    longer = found.longer
    if longer is not None and (longer.low > 0.5 or longer.high < 0.5):
        kind = "longer" if longer.mean > 0.5 else "shorter"
        share = longer.mean if longer.mean > 0.5 else 1 - longer.mean
        said.append(
            f"The {kind} response wins {percent(share)} % of the pairs decided. Either the judge goes by length, or "
            f"these users are served better by {kind} responses"
            + ("." if found.at_equal_length is None else "; see the rate at equal length.")
        )
    return [Note(text) for text in said]


def _certainty(found: Measured) -> list[Block]:
    if not found.certain:
        return [Paragraph("No pair was judged.")]
    rows = [
        (
            f"{one.least} or more",
            _count(one.pairs),
            percent(one.coverage),
            *cells(one.consistency)[:2],
            *cells(one.win_rate)[:2],
        )
        for one in found.certain
    ]
    columns = (
        "certainty",
        "pairs",
        "coverage, %",
        "same both ways, %",
        "95 % interval",
        "win rate, %",
        "95 % interval",
    )
    caption = (
        "The pairs that the judge was at least so certain of in every order: what share of the judged pairs they are, "
        "how often its verdicts agree with each other, and who wins. Where certainty means something, agreement rises "
        "down the table."
    )
    return [Table(columns, rows, caption, "lrrrrrr")]


def _by_source(found: Measured) -> list[Block]:
    rows = [
        (
            name,
            _count(rates.pairs),
            _count(rates.wins),
            _count(rates.ties),
            _count(rates.losses),
            _count(rates.unjudged),
            *cells(rates.win_rate)[:2],
            *cells(rates.decided)[:1],
        )
        for name, rates in found.by_source.items()
    ]
    columns = (
        "the record has",
        "pairs",
        "win",
        "tie",
        "loss",
        "unjudged",
        "win rate, %",
        "95 % interval",
        "without ties",
    )
    caption = "By the parts of a persona that the record has; what of it the judge was told is under “The judge”."
    return [Table(columns, rows, caption, "lrrrrrrrr")]


def _lengths(found: Measured) -> list[Block]:
    lengths = found.lengths
    if lengths is None:
        return [Paragraph("No pair was judged.")]
    apart = lengths.difference
    said = (
        f"The candidate's response has {apart.mean:+,.0f} characters against the baseline's on average (standard "
        f"deviation of the difference {lengths.spread:,.0f})."
    )
    if lengths.rate is None:
        return [Paragraph(said), Note(f"There is no rate at equal length: {lengths.problem}.")]
    return [
        Paragraph(
            f"{said} At equal length the win rate is {percent(lengths.rate.mean)} % {interval(lengths.rate)}; being "
            f"very much longer moves it by {lengths.slope:+.2f} logits."
        ),
        Paragraph(
            "This is a diagnostic, not a better win rate: a user may want what is longer, and then length is no error "
            "to be taken out."
        ),
    ]


def _unjudged(found: Measured) -> list[Block]:
    if not found.problems:
        return [Paragraph(f"Every one of {found.overall.pairs:,} pairs was judged.")]
    items = list(found.problems.items())
    rows = [(reason, _count(count)) for reason, count in items[:_SHOWN]]
    if rest := items[_SHOWN:]:
        rows.append((f"{len(rest)} other reasons", _count(sum(count for _, count in rest))))
    return [Table(("reason", "pairs"), rows, "Pairs without a verdict: in no rate, and within the bounds.", "lr")]


def _compared(about: About) -> list[Block]:
    return [Table(("", "candidate", "baseline"), list(about.systems), align="lll")]


def _meanings() -> Definitions:
    return Definitions(
        [
            ("win, loss", "The judge finds the candidate's, or the baseline's, response better for this user."),
            (
                "tie",
                "It finds neither better; or it does not say the same when the order of the two is changed; or both "
                "are the same text, which is not asked.",
            ),
            (
                "unjudged",
                "There is no verdict in one of the orders that were asked for: the reply cannot be used, the server "
                "failed, or nothing is known of the user. Never counted as a tie or as a loss.",
            ),
            ("same verdict in both orders", "Position consistency, over the pairs judged in both."),
            ("certainty", "As the judge states it; of the two orders the lower."),
            (
                "95 % interval",
                "Wilson's with the cluster-robust variance, by user, or by target where no user is named.",
            ),
        ]
    )


def doubts_of_orders(same: Estimate | None, first: Estimate | None) -> list[str]:
    """What speaks against a judge when the order changes, in sentences: only what its intervals leave no doubt of.

    Args:
        same: Share of the pairs with the same verdict in both orders.
        first: Of the replies that name a side, the share that names the response shown first.
    """
    said = []
    if first is not None and not first.low <= 0.5 <= first.high:
        place, share = ("first", first.mean) if first.mean > 0.5 else ("second", 1 - first.mean)
        said.append(
            f"The judge prefers what is shown {place}: of its replies that name one, {percent(share)} % name the "
            f"{place}."
        )
    if same is not None and same.high < 0.5:
        said.append(
            "The judge contradicts itself when the order changes more often than one that tosses a coin: its verdicts "
            "say little."
        )
    elif same is not None and same.low < 0.5:
        said.append(
            "These pairs do not show that the judge agrees with itself when the order changes more often than one that "
            "tosses a coin."
        )
    return said


def percent(share: float) -> str:
    """A share in percent, one digit behind the point."""
    return f"{100 * share:.1f}"


def interval(one: Estimate) -> str:
    """The interval of a share in percent."""
    return f"[{percent(one.low)}, {percent(one.high)}]"


def _count(number: int) -> str:
    return f"{number:,}"


def cells(one: Estimate | None) -> tuple[str, str, str, str]:
    """A share in percent, its interval, values and clusters."""
    if one is None:
        return "–", "–", "0", "0"
    return percent(one.mean), interval(one), _count(one.n), _count(one.clusters)


def rate_cells(one: Estimate | None, bounds: Bounds | None) -> tuple[str, str, str, str, str]:
    """The same and the bounds."""
    return (*cells(one), "–" if bounds is None else f"{percent(bounds.worst)} to {percent(bounds.best)}")
