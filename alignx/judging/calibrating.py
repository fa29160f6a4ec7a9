"""``alignx judge calibrate``: a judge is asked about responses of which the user's choice is known."""

from collections.abc import Iterator, Sequence

from alignx.judging.calibration import Calibration, calibrated
from alignx.judging.calibration_page import calibration_page
from alignx.judging.check_page import Asked
from alignx.judging.check_records import draw_records, pairs_of
from alignx.judging.check_settings import CalibrateSettings
from alignx.judging.checking import Check, Part, Report, draft_of
from alignx.judging.expecting import expected_half_widths
from alignx.judging.judge import Judge
from alignx.judging.outcomes import Outcome
from alignx.judging.page import percent
from alignx.judging.pairs import Pair


def calibrate(settings: CalibrateSettings) -> str:
    """Measure a judge on records with a known chosen and rejected; returns what came of it, in a few lines.

    Raises:
        ApiError: The server cannot be asked at all.
        DataError: The records cannot be used, or the output holds something else.
        PartialError: Too few pairs could be judged, or the money that was allowed is spent; what is there is kept.
        SettingsError: The address or the key cannot be used.
    """
    drawn = draw_records(settings, settings.pairs)
    pairs = pairs_of(settings, drawn.records)

    def make(outcomes: list[list[Outcome]], asked: Asked) -> Report:
        found = calibrated(outcomes[0])
        overall = found.measured.overall
        notes = drawn.notes()
        return Report(
            page=calibration_page(found, asked, notes),
            numbers={"notes": notes, **found.as_dict()},
            said=list(_in_words(found)),
            coverage=overall.coverage,
            problems=found.measured.problems,
        )

    draft = draft_of(settings, drawn.data, "calibrate")
    return Check(settings, [Part(Judge.of(settings), pairs)], draft, make).run(_head(pairs))


def _head(pairs: Sequence[Pair]) -> str:
    clusters = [pair.cluster for pair in pairs]
    alone, alike = expected_half_widths(clusters)
    return (
        f"{len(pairs):,} pairs of a chosen and a rejected response to judge; {len(set(clusters)):,} clusters\n"
        f"95 % interval to expect of an accuracy near 50 % without ties, where it is widest: ± {percent(alone)} "
        f"points, ± {percent(alike)} if all pairs of a user end alike"
    )


def _in_words(found: Calibration) -> Iterator[str]:
    overall, measured = found.measured.overall, found.measured
    yield (
        f"{overall.pairs:,} pairs: {overall.wins:,} right, {overall.ties:,} tied, {overall.losses:,} wrong, "
        f"{overall.unjudged:,} unjudged"
    )
    bounds = overall.win_rate_bounds
    within = f"; {percent(bounds.worst)} to {percent(bounds.best)} % with the unjudged" if overall.unjudged else ""
    yield f"accuracy, ties as half: {found.accuracy or 'nothing was judged'}{within}"
    if overall.decided is not None:
        yield f"accuracy without ties: {overall.decided}"
    if measured.consistency is not None:
        yield f"the judge says the same in both orders: {measured.consistency}"
    if measured.first_position is not None:
        yield f"the judge names the response shown first: {measured.first_position}"
    if (length := found.length) is not None:
        yield (
            f"the judge names the longer response in {percent(length.named.mean)} % of the pairs it decides, users "
            f"chose it in {percent(length.chosen.mean)} %"
        )
    if found.above_chance:
        shown = next(one for one in found.seen if one.true == 0.6)
        yield f"a true win rate of 60 % is seen as {percent(shown.shown)} %, if the judge errs alike everywhere"
    elif found.accuracy is not None:
        yield f"the judge is {found.beside_a_coin} here: a win rate from it says nothing"
