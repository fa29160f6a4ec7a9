"""Tables as the paper has them: a row a model, a column a benchmark, the interval of each number beneath it."""

from collections.abc import Mapping, Sequence

from alignx.evaluation.report.tallied import estimated
from alignx.intervals import Estimate
from alignx.pages import Block, Fold, Row, Table
from alignx.pages.document import Mark

_LONG = 12
"""Rows of a table that a reader is shown without asking for it."""


def laid_out(columns: Sequence[str], rows: Sequence[Row], caption: str, head: str = "model") -> Table:
    """A table whose first column names the rows and whose others are numbers."""
    return Table((head, *columns), rows, caption, align="l" + "r" * len(columns))


def measured(
    name: str,
    found: Mapping[str, Estimate | None],
    columns: Sequence[str],
    *,
    mark: Mark = "strong",
    signed: bool = False,
    beneath: Mapping[str, Mapping[str, str]] | None = None,
) -> list[Row]:
    """The rows of one model: its numbers, and their intervals.

    Args:
        name: What the row is called.
        found: By column; a dash stands where there is nothing.
        columns: All of the table.
        mark: How the numbers stand out.
        signed: Differences, in points, in place of shares.
        beneath: Further lines by their names, each by column.
    """
    cells = [estimated(found.get(column), signed=signed) for column in columns]
    intervals = Row(("95 % interval", *(interval for _, interval in cells)), "below")
    further = [
        Row((called, *(line.get(column, "–") for column in columns)), "below")
        for called, line in (beneath or {}).items()
    ]
    return [Row((name, *(mean for mean, _ in cells)), mark), intervals, *further]


def short_or_folded(title: str, table: Table) -> Block:
    """The table, out of sight where it is long."""
    return table if len(table.rows) <= _LONG else Fold(title, [table])
