"""The report of a calibration as a page. It is made of numbers alone and asks nobody."""

import math
from collections.abc import Sequence

from alignx import manifest
from alignx.judging.calibration import ASSUMPTION, Calibration
from alignx.judging.check_page import Asked, points, unjudged
from alignx.judging.outcomes import HOWS
from alignx.judging.page import cells, doubts_of_orders, interval, percent, rate_cells
from alignx.pages import Block, Definitions, Figure, Note, Page, Paragraph, Row, Section, Table, literal


def calibration_page(found: Calibration, asked: Asked, notes: Sequence[str] = ()) -> Page:
    """The page.

    Args:
        found: What was measured.
        asked: Who was asked.
        notes: What a reader should know of the records, as plain text.
    """
    sections = [
        Section("Accuracy", [*_accuracy(found), *(Note(literal(note)) for note in notes)]),
        Section("What a win rate from it is worth", _worth(found)),
        Section("By certainty", _certainty(found)),
        Section("Place and length", [*_habits(found), *_doubts(found)]),
        Section("By what is known of the user", _by_source(found)),
        Section("Unjudged pairs", unjudged(found.measured.problems, "pairs")),
        Section("The judge", [asked.definitions()]),
        Section("How to read the numbers", [_meanings()]),
    ]
    return Page(
        title="How good the judge is",
        lead=_lead(found, asked),
        sections=sections,
        footer=f"Made by alignx {manifest.versions()['alignx']}.",
    )


def _lead(found: Calibration, asked: Asked) -> str:
    overall, accuracy = found.measured.overall, found.accuracy
    if accuracy is None:
        return f"{literal(asked.judge)} judged none of {overall.pairs:,} pairs."
    return (
        f"{literal(asked.judge)} was asked about {overall.pairs:,} pairs of a response that the user chose and one "
        f"that the user rejected: {overall.wins:,} right, {overall.losses:,} wrong, {overall.ties:,} equal "
        f"({overall.unjudged:,} unjudged). Accuracy, ties as half: {percent(accuracy.mean)} % {interval(accuracy)}."
    )


def _accuracy(found: Calibration) -> list[Block]:
    overall = found.measured.overall
    rows: list[Row | Sequence[str]] = [
        Row(("accuracy, ties as half", *rate_cells(overall.win_rate, overall.win_rate_bounds)), "strong"),
        ("accuracy without ties", *rate_cells(overall.decided, overall.decided_bounds)),
    ]
    counts = Table(
        ("pairs", "right", "tie", "wrong", "unjudged", "judged, %"),
        [(*(f"{n:,}" for n in (overall.pairs, overall.wins, overall.ties, overall.losses, overall.unjudged)),
          percent(overall.coverage))],
        align="rrrrrr",
    )  # fmt: skip
    columns = ("", "%", "95 % interval", "n", "clusters", "bounds, %")
    caption = "Bounds: had every unjudged pair been judged wrongly, and had every one been judged rightly."
    blocks: list[Block] = [counts, Table(columns, rows, caption, "lrrrrr")]
    if overall.win_rate is not None:
        blocks.append(_forest(found))
        blocks += [Note(f"{literal(overall.win_rate.note)}.")] if overall.win_rate.note else []
    return blocks


def _forest(found: Calibration) -> Figure:
    from alignx.pages.figures import Interval, Reference, intervals

    overall = found.measured.overall
    drawn = [("Accuracy", "ties as half", overall.win_rate), ("Accuracy", "without ties", overall.decided)]
    drawn += [("Ties as half, by certainty", f"{one.least} or more", one.accuracy) for one in found.sure[1:]]
    if len(found.measured.by_source) > 1:
        drawn += [
            ("Ties as half, by what is known", name, rates.win_rate) for name, rates in found.measured.by_source.items()
        ]
    drawn += [("The judge", "same verdict both ways", found.measured.consistency)]
    drawn += [("The judge", "first shown is named", found.measured.first_position)]
    if found.length is not None:
        drawn += [("The judge", "longer one is named", found.length.named)]
        drawn += [("The judge", "longer one was chosen", found.length.chosen)]
    rows = [
        Interval(label, group, 100 * one.mean, 100 * one.low, 100 * one.high)
        for group, label, one in drawn
        if one is not None
    ]
    alt = "; ".join(f"{row.label}: {row.estimate:.1f} % [{row.low:.1f}, {row.high:.1f}]" for row in rows)
    svg = intervals(rows, name="calibrate", xlabel="%", reference_lines=[Reference(50.0, "a coin")])
    return Figure("calibrate", svg, alt, "Shares with their 95 % intervals.")


def _worth(found: Calibration) -> list[Block]:
    accuracy = found.accuracy
    if accuracy is None:
        return [Paragraph("No pair was judged.")]
    rows = [
        (f"{100 * one.true:.0f}", percent(one.shown), f"[{percent(one.low)}, {percent(one.high)}]")
        for one in found.seen
    ]
    caption = (
        f"What is to be expected of a true win rate. Assumed: {ASSUMPTION}. In brackets: at the ends of the accuracy's "
        "interval."
    )
    table = Table(("true win rate, %", "seen with this judge, %", "between"), rows, caption, "rrr")
    return [_in_words(found), table, Note(_CAUTION)]


_CAUTION = (
    "The assumption is a strong one. Two systems may write responses that are more alike than a chosen and a rejected "
    "one, and then the judge is right less often than here; and a habit that favours one system, such as length, moves "
    "a win rate in one direction, which no table of this kind can take out again. So read the table as how far a real "
    "difference shrinks, not as a way to correct a win rate."
)


def _in_words(found: Calibration) -> Paragraph | Note:
    assert found.accuracy is not None
    if not found.above_chance:
        return Note(
            f"The judge is {found.beside_a_coin} here: a win rate from it says nothing of what these users would "
            "choose."
        )
    share = found.shrinkage
    return Paragraph(
        f"With an accuracy of {percent(found.accuracy.mean)} % a win rate's distance from 50 % is seen at "
        f"{percent(share)} % of what it is, so that up to {1 / share**2:.1f} times as many pairs are needed as with a "
        "judge that is always right (fewer where it calls many pairs equal)."
    )


def _certainty(found: Calibration) -> list[Block]:
    if not found.sure:
        return [Paragraph("No pair was judged.")]
    rows = [
        (
            f"{one.least} or more",
            f"{one.pairs:,}",
            percent(one.coverage),
            *cells(one.accuracy)[:2],
            *cells(one.decided)[:1],
            "–" if math.isnan(one.stated) else percent(one.stated),
        )
        for one in found.sure
    ]
    columns = ("certainty", "pairs", "share, %", "right, %", "95 % interval", "without ties", "certainty stated")
    caption = (
        "The pairs that the judge was at least so certain of in every order: what share of the judged pairs they are, "
        "and its accuracy on them, ties as half. Where certainty means something, accuracy rises down the table; where "
        "it means what the judge is asked for, accuracy is the mean certainty stated."
    )
    return [Table(columns, rows, caption, "lrrrrrr")]


def _habits(found: Calibration) -> list[Block]:
    measured, length = found.measured, found.length
    rows: list[Row | Sequence[str]] = [
        ("same verdict in both orders", *cells(measured.consistency)),
        ("the response shown first is named, of all replies that name one", *cells(measured.first_position)),
    ]
    if length is not None:
        rows += [
            ("the longer response is named, of pairs decided", *cells(length.named)),
            Row(("the longer response was chosen, of the same pairs", *cells(length.chosen)), "control"),
            ("named more often than chosen, points", *points(length.excess), *cells(length.excess)[2:]),
            ("right where the longer one was chosen, ties as half", *cells(length.where_longer)),
            ("right where the shorter one was chosen, ties as half", *cells(length.where_shorter)),
        ]
    hows = [(HOWS[how], f"{count:,}") for how, count in measured.how.items()]  # type: ignore[index]
    return [
        Table(("", "%", "95 % interval", "n", "clusters"), rows, align="lrrrr"),
        Table(("how verdicts came about", "pairs"), hows, align="lr"),
    ]


def _doubts(found: Calibration) -> list[Block]:
    """What the numbers say against the judge, in words: only what its intervals leave no doubt of."""
    said, length = doubts_of_orders(found.measured.consistency, found.measured.first_position), found.length
    if length is not None and (length.excess.low > 0 or length.excess.high < 0):
        kind = "longer" if length.excess.mean > 0 else "shorter"
        said.append(
            f"The judge names the {kind} response more often than users chose it, by "
            f"{100 * abs(length.excess.mean):.1f} points: it goes by length, or by what comes with it."
        )
    return [Note(text) for text in said]


def _by_source(found: Calibration) -> list[Block]:
    rows = [
        (
            name,
            *(f"{n:,}" for n in (rates.pairs, rates.wins, rates.ties, rates.losses, rates.unjudged)),
            *cells(rates.win_rate)[:2],
            *cells(rates.decided)[:1],
        )
        for name, rates in found.measured.by_source.items()
    ]
    columns = ("the record has", "pairs", "right", "tie", "wrong", "unjudged", "right, %", "95 % interval", "no ties")
    caption = "By the parts of a persona that the record has; what of it the judge was told is under “The judge”."
    return [Table(columns, rows, caption, "lrrrrrrrr")]


def _meanings() -> Definitions:
    return Definitions(
        [
            ("right, wrong", "The judge finds the response better that the user chose, or that the user rejected."),
            (
                "tie",
                "It finds neither better, or it does not say the same when the order of the two is changed. Half "
                "right, as a tie is half a win in a win rate.",
            ),
            ("unjudged", "There is no verdict in one of the orders that were asked for. Never counted as wrong."),
            ("certainty", "As the judge states it; of the two orders the lower. Stated: the mean over both."),
            (
                "95 % interval",
                "Cluster-robust, by user, or by target where no user is named; Wilson's for a share.",
            ),
        ]
    )
