"""Controllability: what happens when the persona is reversed."""

from collections.abc import Mapping

from alignx.evaluation.breakdown.reversal import Reversal
from alignx.evaluation.report.tallied import drawn, estimated, of_few
from alignx.intervals import Estimate
from alignx.pages import Block, Definitions, Figure, Note, Row, Table, literal
from alignx.pages.figures import Reference, intervals

_MEANINGS = (
    ("accuracy", "With the own persona, training moved the model towards the chosen response."),
    (
        "accuracy under reversal",
        "With the persona reversed (choices swapped, directions and profiles flipped), it moved the model towards the "
        "originally rejected response. The two responses are the same, so this is the opposite margin, strictly.",
    ),
    ("joint-correct", "Right both ways, on the same record. Who decides by coin is at 25 %."),
    (
        "any-flip",
        "The ordering of the two responses changed between the two conditions: joint-correct, and wrong both ways. "
        "A policy that ignores the persona is at 0.",
    ),
    (
        "ties",
        "Records on which the policy moved neither way: not right, and no ordering that could change. Counted with the "
        "own persona beside accuracy, with the reversed one beside accuracy under reversal, with either in the other "
        "rows.",
    ),
)


def by_reversal(found: Mapping[str, Reversal], *, name: str = "reversal") -> list[Block]:
    """What policies do with each persona and with its reverse.

    Args:
        found: By what the report calls the row.
        name: What the figure is called.
    """
    if not found:
        return []
    unturned = [
        Note(
            f"{literal(row)}: reversal changes nothing that is told of {each.unturned} of {each.n} records, since "
            "comments and descriptions are free text and stay as they are. They are counted, and cannot be right both "
            "ways."
        )
        for row, each in found.items()
        if each.unturned
    ]
    return [*unturned, _chart(name, found), _table(found), Definitions(_MEANINGS)]


def _chart(name: str, found: Mapping[str, Reversal]) -> Figure:
    rows = [
        drawing
        for row, each in found.items()
        for what, estimate in _shares(each).items()
        for drawing in drawn(what, row, estimate)
    ]
    svg = intervals(rows, name=name, xlabel="% of records", reference_lines=[Reference(50, "50 %")])
    told = "; ".join(f"{row.group}, {row.label}: {row.estimate:.1f} %" for row in rows)
    caption = "The same records with their own persona and with its reverse, with 95 % intervals."
    return Figure(name, svg, told, caption)


def _shares(each: Reversal) -> dict[str, Estimate]:
    return {
        "accuracy": each.accuracy,
        "accuracy under reversal": each.reversed_accuracy,
        "joint-correct": each.joint,
        "any-flip": each.flip,
    }


def _table(found: Mapping[str, Reversal]) -> Table:
    rows: list[Row] = []
    for row, each in found.items():
        counts = (str(each.n), str(each.accuracy.clusters))
        ties = (each.ties, each.reversed_ties, each.tied, each.tied)
        for (what, estimate), tied in zip(_shares(each).items(), ties, strict=True):
            rows.append(Row((f"{row}: {what}", *estimated(estimate), *counts, str(tied))))
        rows.append(Row((f"{row}: wrong both ways", *estimated(each.wrong_both), *counts, str(each.tied))))
        difference = estimated(each.difference, signed=True)
        rows.append(Row((f"{row}: under reversal minus own", *difference, *counts, str(each.tied)), "control"))
    caption = "In % of the records; the last row of each in points, record by record."
    few = of_few(each.accuracy.clusters for each in found.values())
    return Table(("row: what", "share", "95 % interval", "n", "clusters", "ties"), rows, caption + few)
