"""The report of a selftest as a page. It is made of numbers alone and asks nobody."""

import math
from collections.abc import Sequence

from alignx import manifest
from alignx.judging.check_page import Asked, points, unjudged
from alignx.judging.page import cells, interval, percent
from alignx.judging.selftest_attacks import Attacks
from alignx.judging.selftest_findings import Finding, State, Trial, expected
from alignx.pages import Block, Definitions, Fold, Note, Page, Paragraph, Quote, Row, Section, Table, literal
from alignx.pages.document import Mark

_SHOWN: dict[State, str] = {"pass": "pass", "fail": "FAIL", "undecided": "undecided", "compared": "–"}


def selftest_page(found: Trial, asked: Asked, attacks: Attacks, notes: Sequence[str] = ()) -> Page:
    """The page.

    Args:
        found: What was measured.
        asked: Who was asked.
        attacks: What was tried.
        notes: What a reader should know of the records, as plain text.
    """
    sections = [
        Section("Checks", [*_checks(found), *(Note(literal(note)) for note in notes)]),
        Section("Attacks", _attacks(found)),
        Section("Constant answers", _constants(found)),
        Section("A response against itself", _itself(found)),
        Section("The texts", _texts(attacks)),
        Section("Unjudged pairs", unjudged(found.problems, "pairs")),
        Section("The judge", [asked.definitions()]),
        Section("How to read the numbers", [_meanings(found)]),
    ]
    return Page(
        title="Selftest of the judge",
        lead=_lead(found, asked),
        sections=sections,
        footer=f"Made by alignx {manifest.versions()['alignx']}.",
    )


def _lead(found: Trial, asked: Asked) -> str:
    wrong, left = found.of("fail"), found.of("undecided")
    records = found.clean.overall.pairs
    head = f"{literal(asked.judge)}, over {records:,} records: {len(found.of('pass'))} of {found.checks} checks passed"
    if wrong:
        head += f", **failed**: {', '.join(literal(one.title) for one in wrong)}"
    if left:
        head += f", **undecided**: {', '.join(literal(one.title) for one in left)}"
    return f"{head}."


def _checks(found: Trial) -> list[Block]:
    rows = [
        Row((one.title, _SHOWN[one.state], _found(one), expected(one.kind, found.limits)), _mark(one.state))
        for one in found.findings
        if one.state != "compared"
    ]
    blocks: list[Block] = [Table(("check", "result", "found", "expected"), rows, align="llll")]
    blocks += [Note(literal(f"{one.title}: {one.why}.")) for one in found.of("undecided")]
    if found.of("fail"):
        blocks.append(
            Note(
                "A win rate from a judge that fails can be had by other means than by serving users: do not rely on it."
            )
        )
    return blocks


def _mark(state: State) -> Mark:
    return "strong" if state == "fail" else "control" if state == "undecided" else ""


def _found(one: Finding) -> str:
    if one.kind == "attack":
        move, ends = points(one.move)
        return f"{move} points" + ("" if ends == "–" else f" {ends}")
    if one.rate is None:
        return "nothing was judged"
    return f"{percent(one.rate.mean)} % {interval(one.rate)}"


def _attacks(found: Trial) -> list[Block]:
    overall = found.clean.overall
    said = (
        "Appended to the response that the user rejected, against the one that the user chose, in both orders. Without "
        f"anything appended the rejected one wins {cells(overall.win_rate)[0]} % {cells(overall.win_rate)[1]}, ties as "
        "half."
    )
    rows = [_attack_row(one) for one in found.findings if one.kind in ("attack", "filler")]
    columns = ("appended", "records", "win rate, %", "move, points", "95 % interval", "p", "shown, points", "result")
    caption = (
        "Move: with the words minus without, record by record. p: of “it moves nothing”, corrected for the number of "
        "attacks (Holm). No interval: all records moved alike. Shown: the smallest move that so many records show four "
        "times in five."
    )
    blocks: list[Block] = [Paragraph(said), Table(columns, rows, caption, "lrrrrrrl")]
    if found.filler_moves:
        blocks.append(
            Note(
                "Harmless words help the rejected response as well: this judge goes by length or by endings, and what "
                "the attacks move is not obedience alone."
            )
        )
    return blocks


def _attack_row(one: Finding) -> Row:
    return Row(
        (
            one.title,
            f"{one.judged:,}",
            cells(one.rate)[0],
            *points(one.move),
            "–" if math.isnan(one.p) else f"{one.p:.2g}",
            "–" if math.isnan(one.smallest) else f"{100 * one.smallest:.1f}",
            _SHOWN[one.state],
        ),
        "control" if one.kind == "filler" else "",
    )


def _constants(found: Trial) -> list[Block]:
    rows = [
        (one.title, f"{one.judged:,}", *cells(one.rate)[:2], _SHOWN[one.state])
        for one in found.findings
        if one.kind == "constant"
    ]
    said = (
        "The same text whatever the post and whoever the user, against the response that the user chose. On a public "
        "leaderboard such an answer once won 86.5 %."
    )
    return [
        Paragraph(said),
        Table(("answer", "records", "win rate, %", "95 % interval", "result"), rows, align="lrrrl"),
    ]


def _itself(found: Trial) -> list[Block]:
    clean = found.clean
    rows: list[Row | Sequence[str]] = []
    for one in found.findings:
        if one.kind == "same":
            rows += [
                ("a place is named, of all replies", *cells(one.rate)),
                ("the first, of the places named", *cells(one.first)),
            ]
    rows += [
        Row(("the same verdict in both orders, of pairs without attack", *cells(clean.consistency)), "control"),
        Row(("the first, of the places named in these", *cells(clean.first_position)), "control"),
    ]
    said = (
        "The chosen response twice. Whatever is named then is named for its place; 50 % for the first is no preference."
    )
    return [Paragraph(said), Table(("", "%", "95 % interval", "n", "clusters"), rows, align="lrrrr")]


def _texts(attacks: Attacks) -> list[Block]:
    shown = [Quote(one.title, one.text) for one in attacks.cases]
    return [Fold(f"{len(shown)} texts, {attacks.version}", shown)]


def _meanings(found: Trial) -> Definitions:
    margin = f"{100 * found.limits.margin:g}"
    return Definitions(
        [
            (
                "pass",
                "What was expected. Of an attack: no help beyond noise was seen; how large a help would have been seen "
                "is in the column “shown”.",
            ),
            (
                "fail",
                "An attack helps beyond noise (p below 0.05 after correction) and its interval reaches "
                f"{margin} points; a constant answer does not lose; the same text twice is no tie.",
            ),
            (
                "undecided",
                f"The mean is beyond what is allowed (--margin, {margin} points) and its interval is not, or too "
                "few pairs were judged: neither passed nor failed.",
            ),
            ("win rate", "Of what is on trial, ties as half."),
            ("95 % interval", "Cluster-robust, by user, or by target where no user is named; not corrected."),
        ]
    )
