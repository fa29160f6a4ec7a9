"""The page that ``alignx annotate directions --evaluate`` writes: how well the annotator agrees with what is known."""

from collections.abc import Sequence

from alignx import manifest
from alignx.annotation.agreement import LEVELS, Agreement, Dimensional
from alignx.intervals import Estimate
from alignx.pages import Block, Definitions, Figure, Fold, Note, Page, Paragraph, Row, Section, Table, literal
from alignx.records import Taxonomy


def agreement_page(found: Agreement, taxonomy: Taxonomy, about: Sequence[tuple[str, str]]) -> Page:
    """The page.

    Args:
        found: What was measured.
        taxonomy: The one it was measured over.
        about: Terms and values that say what was compared: annotator, way of asking, data.
    """
    sections = [
        Section("What was compared", _compared(found, about)),
        Section("Agreement", [_rates(found), _confusion(found)]),
        Section("By certainty", _certainty(found)),
        Section("By dimension", _dimensions(found, taxonomy)),
        Section("How to read the numbers", [_meanings()]),
    ]
    return Page(
        title="Inferred and known preference directions",
        lead=(
            f"{found.items} history items whose preference direction is known were annotated as if it were not; "
            f"the two agree on {_percent(found.overall.mean)} % of {found.overall.n} levels, where always saying "
            f"neutral would agree on {_percent(found.neutral.mean)} %."
        ),
        sections=sections,
        footer=f"Made by alignx {manifest.versions()['alignx']}.",
    )


def _compared(found: Agreement, about: Sequence[tuple[str, str]]) -> list[Block]:
    said: list[Block] = [Definitions([(term, literal(value)) for term, value in about])] if about else []
    if not found.unannotated:
        return said or [Paragraph(f"{found.items} distinct items, all of them annotated.")]
    reasons = "; ".join(f"{count} × {literal(reason)}" for reason, count in found.unannotated.items())
    missing = sum(found.unannotated.values())
    whole = found.items + missing
    return [*said, Note(f"{missing} of {whole} items were not annotated and are in no number here: {reasons}.")]


def _rates(found: Agreement) -> Table:
    rows = [
        Row(("all levels", *_cells(found.overall)), "strong"),
        Row(("always saying neutral", *_cells(found.neutral)), "control"),
        Row(("where the known level is a pole", *_cells(found.poles))),
        Row(("the opposite pole inferred there", *_cells(found.reversed))),
        Row(("where a pole is inferred", *_cells(found.stated))),
    ]
    return Table(("", "share, %", "95 % interval", "levels", "clusters"), rows, align="lrrrr")


def _confusion(found: Agreement) -> Table:
    rows = [
        (f"known {known}", *(_with_share(*cell) for cell in zip(counts, shares, strict=True)), str(sum(counts)))
        for known, counts, shares in zip(LEVELS, found.confusion, found.row_shares, strict=True)
    ]
    columns = ("", *(f"inferred {level}" for level in LEVELS), "all")
    return Table(columns, rows, "How often each level was taken for each; in brackets the share of the row.", "lrrrr")


def _with_share(count: int, share: float | None) -> str:
    return str(count) if share is None else f"{count} ({_percent(share)} %)"


def _certainty(found: Agreement) -> list[Block]:
    rows = [
        (
            f"{band.low} to {band.high}",
            _percent(band.share),
            _percent(band.agreement.mean),
            _interval(band.agreement),
            f"{band.poles_right} of {band.poles}",
            _percent(band.coverage),
            _percent(band.agreement_from_here.mean),
        )
        for band in found.bands
    ]
    columns = (
        "certainty",
        "answers, %",
        "agreement, %",
        "95 % interval",
        "poles right",
        "so certain, %",
        "of these, %",
    )
    caption = (
        "Whether certainty tells right from wrong: agreement should rise down the table. “Poles right” counts the "
        "answers that say a pole. The last two columns: share of answers that are at least so certain, and their "
        "agreement."
    )
    return [_certainty_figure(found), Table(columns, rows, caption, "lrrrrrr")]


def _certainty_figure(found: Agreement) -> Figure:
    from alignx.pages.figures import Band, bands

    points = [(100 * band.coverage, band.low, band.agreement_from_here) for band in reversed(found.bands)]
    line = Band(
        "agreement",
        [coverage for coverage, _, _ in points],
        [100 * estimate.mean for _, _, estimate in points],
        [100 * estimate.low for _, _, estimate in points],
        [100 * estimate.high for _, _, estimate in points],
    )
    xlabel = "answers kept, from the most certain down, %"
    svg = bands([line], name="certainty", xlabel=xlabel, ylabel="agreement of the answers kept, %")
    alt = "; ".join(
        f"certainty {low} or more: {coverage:.1f} % of answers, {100 * estimate.mean:.1f} % agree"
        for coverage, low, estimate in points
    )
    caption = "Coverage against agreement: what keeping only the more certain answers would give, with 95 % intervals."
    return Figure("certainty", svg, alt, caption)


def _dimensions(found: Agreement, taxonomy: Taxonomy) -> list[Block]:
    held = [one for one in found.dimensions if one.poles]
    rows = [
        (
            str(one.index),
            _name(one, taxonomy),
            _percent(one.agreement.mean),
            _interval(one.agreement),
            str(one.agreement.n),
            f"{one.poles_right} of {one.poles}",
        )
        for one in found.dimensions
    ]
    columns = ("", "dimension", "agreement, %", "95 % interval", "items", "known poles found")
    blocks: list[Block] = [Fold("Every dimension as a table", [Table(columns, rows, align="rlrrrr")])]
    if not held:
        return [Paragraph("No item is known to have a pole on any dimension."), *blocks]
    left_out = len(found.dimensions) - len(held)
    return [_forest(held, taxonomy, left_out), *blocks]


def _forest(held: Sequence[Dimensional], taxonomy: Taxonomy, left_out: int) -> Figure:
    from alignx.pages.figures import Interval, intervals

    rows = [
        Interval(
            _name(one, taxonomy),
            taxonomy.dimensions[one.index].group.replace("_", " "),
            100 * one.agreement.mean,
            100 * one.agreement.low,
            100 * one.agreement.high,
        )
        for one in held
    ]
    worst = min(held, key=lambda one: one.agreement.mean)
    alt = (
        f"Agreement on each of {len(held)} dimensions; the lowest is {_percent(worst.agreement.mean)} % on "
        f"{_name(worst, taxonomy)}."
    )
    caption = "Agreement with 95 % intervals, by the phrase of the positive pole."
    if left_out:
        caption += f" Dimensions on which every known level is neutral ({left_out}) are in the table only."
    return Figure("dimensions", intervals(rows, name="dimensions", xlabel="agreement, %"), alt, caption)


def _meanings() -> Definitions:
    return Definitions(
        [
            ("level", "One dimension of one distinct item: negative, neutral or positive."),
            (
                "known, inferred",
                "What the records say, and what the annotator said without being told. Neutral stands for “cannot "
                "tell”.",
            ),
            (
                "always saying neutral",
                "What an annotator that never sees a preference would reach. Agreement below it does not mean that "
                "nothing was found: profiles are made of poles, so look at those.",
            ),
            (
                "95 % interval",
                "Wilson's, with Student's t and an error clustered by user, or by target where no user is named.",
            ),
        ]
    )


def _name(one: Dimensional, taxonomy: Taxonomy) -> str:
    return taxonomy.dimensions[one.index].positive


def _cells(estimate: Estimate | None) -> tuple[str, str, str, str]:
    if estimate is None:
        return "–", "–", "0", "0"
    return _percent(estimate.mean), _interval(estimate), str(estimate.n), str(estimate.clusters)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _interval(estimate: Estimate) -> str:
    return f"[{_percent(estimate.low)}, {_percent(estimate.high)}]"
