"""The part of the report about which preference dimensions go together: the heat map, the strongest pairs."""

from collections.abc import Mapping
from typing import Any

from alignx.pages import Block, Definitions, Figure, Paragraph, Table, literal

_LISTED = 5


def correlation_blocks(of: str, kind: str, each: Mapping[str, Any], figures: str | None) -> list[Block]:
    """The blocks.

    Args:
        of: Whose directions they are, in words.
        kind: The same as a name in the report's JSON.
        each: What was found of them.
        figures: Begins the name of the figure; None draws none.
    """
    found = each["correlation"]
    said = [Paragraph(text) for text in _what_has_no_correlation(each)]
    if not found["strongest"]:
        text = (
            f"No two dimensions are both poles in {found['enough']} directions or more: {each['directions']} "
            "directions are too few, or have too few poles, to say which dimensions go together. The JSON file of "
            "`--output` has the numbers."
        )
        return [*said, Paragraph(text)]
    rows = [
        (
            row["first"],
            row["second"],
            _signed(row["r"]),
            "–" if row["low"] is None else f"[{_signed(row['low'])}, {_signed(row['high'])}]",
            str(row["both"]),
            str(row["same"]),
            "–" if row["phi"] is None else _signed(row["phi"]),
        )
        for row in found["strongest"]
    ]
    caption = (
        f"The strongest correlations among the {found['pairs_with_enough']} of {found['pairs']} pairs of dimensions "
        f"that are both poles in at least {found['enough']} directions, by the phrases of their positive poles. "
        f"{found['pairs_beyond_chance']} of them are apart from 0 when the interval is widened for their number."
    )
    columns = ("dimension", "dimension", "r", "95 % interval", "both poles", "of these alike", "φ")
    drawn: list[Block] = [_heat(of, kind, each, figures)] if figures is not None else []
    return [*drawn, *said, Table(columns, rows, caption, "llrrrrr")]


def _what_has_no_correlation(each: Mapping[str, Any]) -> list[str]:
    constant = each["correlation"]["constant"]
    if not constant:
        return []
    names = [each["balance"][index]["positive"] for index in constant[:_LISTED]]
    more = f" and {len(constant) - _LISTED} more" if len(constant) > _LISTED else ""
    return [
        f"Without any correlation (which is not one of 0), as their level is the same in every direction: "
        f"{len(constant)} of {len(each['balance'])} dimensions, {literal(', '.join(names))}{more}."
    ]


def _heat(of: str, kind: str, each: Mapping[str, Any], figures: str | None) -> Figure:
    from alignx.pages.figures import HeatRow, heat

    found = each["correlation"]
    constant = set(found["constant"])
    shown = [index for index in range(len(each["balance"])) if index not in constant]
    rows = [HeatRow(each["balance"][i]["positive"], each["balance"][i]["group"].replace("_", " ")) for i in shown]
    values = [
        [found["r"][i][j] if found["both"][i][j] >= found["enough"] else None for j in shown[:place]]
        for place, i in enumerate(shown)
    ]
    name = "-".join(filter(None, (figures, "correlations", kind.replace("_", "-"))))
    missing = f"both are poles in fewer than {found['enough']} directions"
    svg = heat(rows, values, name=name, scale="correlation r of the levels −1, 0 and +1", missing=missing)
    first = found["strongest"][0]
    alt = (
        f"Correlation of each of {len(rows)} dimensions with each other, for {found['pairs_with_enough']} pairs that "
        f"are both poles often enough. The strongest is {_signed(first['r'])}, between {first['first']} and "
        f"{first['second']}."
    )
    caption = (
        f"Which dimensions go together in the directions of {of}: blue where they tend to the same side, orange "
        "where to opposite ones. Dimensions stand in the taxonomy's order, from top to bottom and from left to right."
    )
    return Figure(name, svg, alt, caption)


def meanings(analysed: Mapping[str, Any]) -> Definitions:
    """What the numbers mean, for who reads them for the first time."""
    enough = next(each["correlation"]["enough"] for each in analysed.values())
    return Definitions(
        [
            ("direction", "What a choice says of each dimension: a positive pole, a negative one, or neutral."),
            (
                "r",
                "Pearson's correlation of two dimensions' levels, −1, 0 and +1, over all directions. Most levels are "
                "neutral, so it is small even where two dimensions always agree when both are poles: “of these alike” "
                "says how often they do.",
            ),
            (
                "φ",
                "The same of being a pole at all, whichever: above 0, the two dimensions come up together more often "
                "than by chance; below, less often.",
            ),
            (
                "95 % interval",
                "Of one r alone, on Fisher's scale, with the standard error that holds for levels of any distribution; "
                f"directions are taken as independent. Below {enough} directions with both poles none is given, and no "
                "pair is listed or drawn.",
            ),
            (
                "widened for their number",
                "Of many pairs, some stand out by chance: 1 in 20 intervals would leave out 0. Widened intervals "
                "(Bonferroni) make it 1 in 20 for all pairs together.",
            ),
        ]
    )


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
