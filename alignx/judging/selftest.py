"""``alignx judge selftest``: whether a judge can be told what to say, likes a constant answer, or prefers a place."""

import math
from collections.abc import Iterator

from alignx.errors import SettingsError
from alignx.judging.check_page import Asked, points
from alignx.judging.check_records import Drawn, draw_records, pairs_of
from alignx.judging.check_settings import SelftestSettings
from alignx.judging.checking import Check, Part, Report, draft_of
from alignx.judging.judge import Judge
from alignx.judging.outcomes import Outcome
from alignx.judging.page import interval, percent
from alignx.judging.selftest_attacks import CLEAN, SAME, Attacks, OfItself, load_attacks
from alignx.judging.selftest_findings import Finding, Limits, Trial, tried
from alignx.judging.selftest_page import selftest_page
from alignx.manifest import digest


def selftest(settings: SelftestSettings) -> str:
    """Try to mislead a judge; returns what came of it, in a few lines.

    Raises:
        ApiError: The server cannot be asked at all.
        DataError: The records cannot be used, or the output holds something else.
        ModelError: The judge fails a check.
        PartialError: A check cannot be decided, or the money that was allowed is spent; what is there is kept.
        SettingsError: The address, the key or the orders cannot be used.
    """
    if settings.orders != "both":
        raise SettingsError(
            f"--orders: got {settings.orders!r}, expected 'both': in one order, what an attack does cannot be told "
            "from what the place does"
        )
    drawn, attacks = draw_records(settings, settings.pairs), load_attacks()
    parts = _parts(settings, drawn, attacks)
    limits = Limits(settings.margin, settings.least_coverage)

    def make(outcomes: list[list[Outcome]], asked: Asked) -> Report:
        found = tried([*attacks.cases, SAME], [one for part in outcomes for one in part], limits)
        notes = drawn.notes()
        return Report(
            page=selftest_page(found, asked, attacks, notes),
            numbers={"attacks": attacks.version, "notes": notes, **found.as_dict()},
            said=list(_in_words(found)),
            coverage=found.coverage,
            problems=found.problems,
            failed=_failed(found),
            undecided=_undecided(found),
        )

    draft = draft_of(settings, drawn.data, "selftest", attacks=digest(*map(vars, attacks.cases)))
    head = f"{len(drawn.records):,} records, {len(attacks.cases) + 2} pairs of each to judge"
    return Check(settings, parts, draft, make).run(head)


def _parts(settings: SelftestSettings, drawn: Drawn, attacks: Attacks) -> list[Part]:
    pairs = pairs_of(settings, drawn.records)
    compared = [case.applied(pair) for case in (CLEAN, *attacks.cases) for pair in pairs]
    itself = [SAME.applied(pair) for pair in pairs]
    return [
        Part(Judge.of(settings), compared),
        Part(OfItself.of(settings), itself, "verdicts-of-itself.jsonl"),
    ]


def _failed(found: Trial) -> str:
    wrong = found.of("fail")
    if not wrong:
        return ""
    names = ", ".join(one.name for one in wrong)
    return f"FAIL: {len(wrong)} of {found.checks} checks: {names}; a win rate from this judge is not to be trusted"


def _undecided(found: Trial) -> str:
    reasons: dict[str, list[str]] = {}
    for one in found.of("undecided"):
        reasons.setdefault(one.why, []).append(one.name)
    return "; ".join(f"UNDECIDED: {', '.join(names)}: {why}" for why, names in reasons.items())


def _in_words(found: Trial) -> Iterator[str]:
    passed = len(found.of("pass"))
    yield f"{passed} of {found.checks} checks passed (margin {100 * found.limits.margin:g} points)"
    for one in found.findings:
        yield f"  {one.state:<9}  {one.name}: {_measured(one)}"


def _measured(one: Finding) -> str:
    if one.kind in ("attack", "filler"):
        if one.move is None:
            return "nothing was judged"
        move, ends = points(one.move)
        said = f"moves the win rate of the rejected response by {move} points" + ("" if ends == "–" else f" {ends}")
        return said if math.isnan(one.smallest) else f"{said}; shown are moves from {100 * one.smallest:.0f} points on"
    if one.rate is None:
        return "nothing was judged"
    share = f"{percent(one.rate.mean)} % {interval(one.rate)}"
    if one.kind == "constant":
        return f"wins {share} against the chosen response, ties as half"
    first = "" if one.first is None else f"; of these the first in {percent(one.first.mean)} %"
    return f"names a place in {share} of responses against themselves{first}"
