"""What the paper prints, as tables to stand beside one's own."""

from collections.abc import Callable, Iterable, Sequence

from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.published import Published, published_rows
from alignx.evaluation.report.layout import laid_out
from alignx.pages import Block, Row

PAPER = "arXiv:2503.15463"


def printed(
    settings: EvaluateSettings, table: str, place: Callable[[Published], str], caption: str, *, head: str = "published"
) -> list[Block]:
    """A table of the paper, of the benchmarks that this evaluation has; nothing where it has none of them.

    Args:
        settings: Which benchmarks there are.
        table: ``6``, or ``F3`` for Figure 3.
        place: The column that a number belongs to.
        caption: What it shows; what must be said with its numbers is added.
        head: Heading of the models' names.
    """
    here = {column.published.benchmark for column in settings.columns if column.published is not None}
    rows = [row for row in published_rows(table=table) if row.benchmark in here]
    if not rows:
        return []
    columns = list(dict.fromkeys(map(place, rows)))
    where = f"Figure {table[1:]}" if table.startswith("F") else f"Table {table}"
    notes = "; ".join(dict.fromkeys(row.note for row in rows if row.note))
    said = f"What the paper prints ({PAPER}, {where}): {caption}{f' Of these: {notes}.' if notes else ''}"
    return [laid_out(columns, printed_rows(rows, place, columns), said, head)]


def printed_rows(
    rows: Iterable[Published], place: Callable[[Published], str], columns: Sequence[str], *, suffix: str = ""
) -> list[Row]:
    """One row a model of the paper, its numbers as printed; a dash where it prints none.

    Args:
        rows: The numbers, in the paper's order.
        place: The column that a number belongs to.
        columns: All of the table.
        suffix: Ends each model's name.
    """
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        found.setdefault(called(row), {})[place(row)] = f"{row.value:.2f}"
    return [
        Row((f"{name}{suffix}", *(values.get(column, "–") for column in columns)), "control")
        for name, values in found.items()
    ]


def called(row: Published) -> str:
    """A model of the paper with what it was trained on: ``AlignXpert-ICA 7 %``."""
    training = "" if row.training == "none" else f" {row.training.replace('%', ' %')}"
    return f"{row.model}{training}{' (oracle)' if row.is_oracle else ''}"
