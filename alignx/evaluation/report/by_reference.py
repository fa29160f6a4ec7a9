"""How much accuracies depend on the reference (the paper's Table 9)."""

from collections.abc import Sequence

from alignx.evaluation.columns import Entry
from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.report.layout import short_or_folded
from alignx.evaluation.report.printed import printed
from alignx.evaluation.report.tallied import estimated
from alignx.pages import Block, Paragraph, Row, Table


def by_reference(settings: EvaluateSettings, entries: Sequence[Entry]) -> list[Block]:
    """The same policy's accuracies against one reference and others, and what the paper prints of another.

    Args:
        settings: What the references are called.
        entries: What was found.
    """
    rows: list[Row] = []
    for entry in entries:
        for outcome in entry.parts:
            if outcome.against:
                label = f"{entry.policy.name}, {outcome.cell.label}"
                rows.append(Row((label, settings.reference, *estimated(outcome.found.accuracy)), "strong"))
                rows += [Row((label, name, *estimated(a.accuracy))) for name, a in outcome.against.items()]
    if not rows:
        return []
    caption = "The same policy's scores against one reference and others, on the same prompts."
    table = Table(("row", "reference", "accuracy", "95 % interval"), rows, caption)
    return [
        Paragraph(
            "An alignment accuracy says what training changed relative to a reference; with another, it is another."
        ),
        short_or_folded(f"{len(rows)} accuracies against {1 + len(settings.references)} references", table),
        *printed(
            settings,
            "9",
            lambda row: f"{row.benchmark} {row.condition}",
            "accuracy in % against a larger reference than in Table 3.",
        ),
    ]
