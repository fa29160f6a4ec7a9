"""What length has to do with accuracy."""

from collections.abc import Mapping

from alignx.evaluation.breakdown import Bin
from alignx.evaluation.breakdown.lengths import EQUAL, ByLength
from alignx.evaluation.report.layout import short_or_folded
from alignx.evaluation.report.tallied import COLUMNS, READING, drawn, estimated, of_few, tallied
from alignx.pages import Block, Definitions, Figure, Fold, Paragraph, Row, Table
from alignx.pages.figures import Reference, intervals

_COLUMNS = (
    *("row", "n", "equal length", "longer is chosen", "95 % interval"),
    *("moved to the longer", "95 % interval", "unmoved"),
)


def by_length(found: Mapping[str, ByLength], *, name: str = "lengths") -> list[Block]:
    """Whether policies prefer what users prefer or what is longer: in short, and folded by how much longer.

    Args:
        found: By what the report calls the row.
        name: What the figure is called.
    """
    if not found:
        return []
    if all(each.equal == each.n for each in found.values()):
        return [Paragraph("Both responses have as many tokens in every record, so length decides nothing.")]
    title = f"Accuracy by how much longer the chosen response is: chart and numbers of {len(found)} rows"
    shares = short_or_folded(f"Length and choice in {len(found)} rows", _shares(found))
    return [shares, Fold(title, [_chart(name, found), _table(found), _meanings()])]


def _shares(found: Mapping[str, ByLength]) -> Table:
    rows = [
        (
            row,
            str(each.n),
            str(each.equal),
            *estimated(each.longer_chosen),
            *estimated(each.to_longer),
            str(each.unmoved),
        )
        for row, each in found.items()
    ]
    caption = (
        "How often the longer response is the chosen one, which is a fact of the data, and how often the policy moved "
        "towards the longer one, in % of the pairs of unequal length. A policy that only likes length reaches the "
        "first number in accuracy and 100 in the second."
    )
    return Table(_COLUMNS, rows, caption)


def _chart(name: str, found: Mapping[str, ByLength]) -> Figure:
    rows = [
        drawing
        for row, each in found.items()
        for part in each.bins
        for drawing in drawn(f"{part.label} (n = {part.found.n})", row, part.found.accuracy)
    ]
    svg = intervals(rows, name=name, xlabel="alignment accuracy, %", reference_lines=[Reference(50, "chance")])
    told = "; ".join(f"{row.group}, {row.label}: {row.estimate:.1f} %" for row in rows)
    caption = (
        "Accuracy by how long the chosen response is beside the rejected, with 95 % intervals. A policy that follows "
        "length rises from top to bottom; one that does not is level."
    )
    return Figure(name, svg, told, caption)


def _table(found: Mapping[str, ByLength]) -> Table:
    parts = [(row, part) for row, each in found.items() for part in (*_three(each), *each.bins)]
    rows = [
        Row((f"{row}: {part.label}", *tallied(part.found)), "strong" if part.label == EQUAL else "")
        for row, part in parts
    ]
    few = of_few(part.found.clusters for _, part in parts)
    return Table(("row: the chosen response is", *COLUMNS), rows, READING + few)


def _three(each: ByLength) -> list[Bin]:
    return [
        Bin("the longer", each.when_longer),
        Bin("the shorter", each.when_shorter),
        Bin("exactly as long", each.when_equal),
    ]


def _meanings() -> Definitions:
    return Definitions(
        [
            ("length", "Tokens of a response, end token included, as the policy's tokenizer counts them."),
            (
                "almost equal",
                "The longer response has at most 1.1 times the tokens of the shorter; equal ones are among them. Of "
                "the other parts, a pair of exactly 1.5 or 2 times is in the one nearer to equal.",
            ),
            (
                "equal length, unmoved",
                "Pairs in which neither response is the longer; pairs of unequal length in which "
                "the policy moved neither way, which count as not towards the longer.",
            ),
        ]
    )
