"""Accuracy by what the history told has to do with the target's direction."""

from alignx.evaluation.breakdown.agreement import Agreement, OneRelation
from alignx.evaluation.report.tallied import COLUMNS, READING, counted, drawn, estimated, of_few, tallied
from alignx.pages import Block, Figure, Paragraph, Row, Table
from alignx.pages.figures import Reference, intervals

_HEADINGS = {
    "alike": "poles that the history states alike",
    "opposite": "poles that it states oppositely",
    "unstated": "poles that it does not state",
}


def by_agreement(found: Agreement, *, name: str = "agreement") -> list[Block]:
    """What a policy makes of histories that agree, disagree or are silent, for one row of the report."""
    said = (
        "The directions of the history items that are told are aggregated, and each pole of the target is looked up "
        f"in the result. {_left_out(found)}"
    )
    if not found.n:
        return [Paragraph(said)]
    return [Paragraph(said), _chart(name, found), _table(found)]


def _left_out(found: Agreement) -> str:
    left_out = counted(
        {
            "without a direction": found.undirected,
            "whose direction has no pole": found.neutral,
            "told history items of which none has a direction": found.unannotated,
        }
    )
    within = counted(
        {
            "are told no history item, so that no pole is stated": found.silent,
            "had items trimmed from a prompt that was too long, which count as told here": found.trimmed,
            "were told a profile that was not made of the history": found.apart,
        }
    )
    said = [f"{found.n} records are counted in each of the three parts{f'; of these, {within}' if within else ''}."]
    return " ".join([*said, f"Records left out: {left_out}." if left_out else "No record was left out."])


def _chart(name: str, found: Agreement) -> Figure:
    rows = [
        row
        for relation in found.relations
        for each in relation.bins
        for row in drawn(f"{each.label} (n = {each.found.n})", _heading(relation), each.found.accuracy)
    ]
    svg = intervals(rows, name=name, xlabel="alignment accuracy, %", reference_lines=[Reference(50, "chance")])
    told = "; ".join(f"{row.group}, {row.label}: {row.estimate:.1f} %" for row in rows)
    caption = "Accuracy with 95 % intervals, by how many of the target's poles the history states, and how."
    return Figure(name, svg, told, caption)


def _table(found: Agreement) -> Table:
    rows: list[Row] = []
    for relation in found.relations:
        mean = relation.mean
        cells = (*estimated(mean), str(found.n), str(mean.clusters if mean else 0), "–")
        rows.append(Row((f"{relation.stated}: mean share", *cells), "strong"))
        rows += [Row((f"{relation.stated}: {each.label}", *tallied(each.found))) for each in relation.bins]
    few = of_few(each.found.clusters for relation in found.relations for each in relation.bins)
    caption = (
        f"{READING} The rows called mean share are no accuracy: which share of a target's poles that is, in %.{few}"
    )
    return Table(("share of the target's poles", *COLUMNS), rows, caption)


def _heading(relation: OneRelation) -> str:
    return _HEADINGS[relation.stated]
