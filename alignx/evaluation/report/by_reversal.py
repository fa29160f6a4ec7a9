"""Controllability: what happens when the persona is reversed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from alignx.evaluation.breakdown.reversal import Reversal
from alignx.evaluation.report.tallied import drawn, estimated, of_few
from alignx.intervals import Estimate
from alignx.pages import Block, Definitions, Figure, Fold, Note, Row, Table, literal
from alignx.pages.figures import Reference, intervals

_MEANINGS = (
    ("accuracy", "With the own persona, training moved the model towards the chosen response."),
    (
        "accuracy under reversal",
        "With the persona reversed (choices swapped, directions and profiles flipped; or the opposite one, where it is "
        "written down), it moved the model towards the originally rejected response. The two responses are the "
        "same, so this is the opposite margin, strictly.",
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
    """What policies do with each persona and with its reverse: a chart, the numbers and definitions folded.

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
    numbers = Fold("The same in numbers, and what each share is exactly", [_table(found), Definitions(_MEANINGS)])
    return [*unturned, _chart(name, found), numbers]


def overview(found: Mapping[str, Mapping[str, Reversal]], brief: Mapping[str, str]) -> list[Block]:
    """Many rows at a glance: a chart of what is right under reversal, and the shares folded, a line each.

    Args:
        found: By column, then by what the report calls the row.
        brief: What a row is called where its column is known.
    """
    drawings = [
        replace(drawing, beside=100 * each.accuracy.mean)
        for column, rows in found.items()
        for row, each in rows.items()
        for drawing in drawn(brief[row], column, each.reversed_accuracy)
    ]
    lines = [Reference(50, "50 %")]
    own = "with the own persona"
    svg = intervals(drawings, name="reversal", xlabel="% of records", reference_lines=lines, beside=own)
    told = "; ".join(f"{row.group}, {row.label}: {row.estimate:.1f} %" for row in drawings)
    caption = "Accuracy under reversal, with 95 % intervals: told the reversed persona, the rejected response is right."
    shares = [(row, each) for rows in found.values() for row, each in rows.items()]
    title = f"Accuracy, joint-correct and any-flip of the same {len(shares)} rows"
    return [Figure("reversal", svg, told, caption), Fold(title, [_overview(shares)])]


def _overview(found: Sequence[tuple[str, Reversal]]) -> Table:
    rows = [
        (row, *(" ".join(estimated(estimate)) for estimate in _shares(each).values()), str(each.n))
        for row, each in found
    ]
    caption = "The same records told their own persona and its reverse; in %, with 95 % intervals."
    return Table(("row", *_shares(found[0][1]), "n"), rows, caption)


def _chart(name: str, found: Mapping[str, Reversal]) -> Figure:
    rows = [
        drawing
        for row, each in found.items()
        for what, estimate in _shares(each).items()
        for drawing in drawn(what, row, estimate)
    ]
    svg = intervals(rows, name=name, xlabel="% of records", reference_lines=[])
    told = "; ".join(f"{row.group}, {row.label}: {row.estimate:.1f} %" for row in rows)
    caption = (
        "The same records told their own persona and its reverse, with 95 % intervals. Under reversal the rejected "
        "response is right; a guess has 50 % of both accuracies. Joint-correct: right in both (25 % by guessing). "
        "Any-flip: the order of the two responses changed, either way (0 % for who ignores the persona)."
    )
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
