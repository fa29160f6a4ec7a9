"""Columns of several files, taken apart: each file, and both ways to average them (the paper's Table 8)."""

from collections.abc import Sequence

from alignx.evaluation.columns import Entry, average
from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.published import Published, published_rows
from alignx.evaluation.report.layout import laid_out, measured
from alignx.evaluation.report.main_table import cells_of, tells_own
from alignx.evaluation.report.printed import PAPER, printed_rows
from alignx.intervals import Estimate
from alignx.pages import Block, Fold, Row, Table, literal

MACRO, MICRO = "mean of files (macro)", "mean of records (micro)"
_IN_MAIN_TABLE = {"parts": MACRO, "records": MICRO}
_BY_FILE = "8"


def by_file(settings: EvaluateSettings, entries: Sequence[Entry]) -> list[Block]:
    """A table for each column of several files, with the user's own persona; nothing where each column is one file.

    Args:
        settings: Which columns.
        entries: What was found.
    """
    blocks: list[Block] = []
    for column in settings.columns:
        own = [entry for entry in entries if entry.column.name == column.name and tells_own(entry) and entry.parts]
        if len(column.parts) > 1 and own:
            parts = [part.name for part in column.parts]
            table = _table(own, parts)
            missing = any(entry.empty for entry in own)  # then these are the only numbers there are
            blocks.append(table if missing else Fold(f"{column.name}: {', '.join(parts)}", [table]))
    return blocks


def _table(own: Sequence[Entry], parts: Sequence[str]) -> Table:
    column = own[0].column
    columns = [*parts, MACRO, MICRO]
    rows = [*_published(own[0], columns)]
    for entry in own:
        several = [each.condition for each in own if each.policy.name == entry.policy.name]
        name = entry.policy.name if len(several) == 1 else f"{entry.policy.name}, {entry.condition}"
        rows += measured(name, _accuracies(entry), columns)
    rows += _counts(own[0], columns)
    said = (
        f"{literal(column.name)}: accuracy in % by file, with the user's own persona. The table of all benchmarks has "
        f"the {_IN_MAIN_TABLE[column.average]}."
    )
    if any(row.mark == "control" for row in rows):
        said += f" Italic: what the paper prints ({PAPER}, Table {_BY_FILE}); its mean is that of Table 3."
    return laid_out(columns, rows, said)


def _accuracies(entry: Entry) -> dict[str, Estimate | None]:
    found: dict[str, Estimate | None] = {outcome.cell.part: outcome.found.accuracy for outcome in entry.parts}
    if not entry.empty:
        for name, way in ((MACRO, "parts"), (MICRO, "records")):
            found[name] = average(entry.column.model_copy(update={"average": way}), entry.parts)
    return found


def _published(entry: Entry, columns: Sequence[str]) -> list[Row]:
    """The paper's numbers of the files, and under the mean that it takes its number of the whole."""
    named = entry.column.published
    if named is None:
        return []
    by_part = [
        row for row in published_rows(table=_BY_FILE) if row.benchmark == named.benchmark and row.condition in columns
    ]
    if not by_part:
        return []
    models = {(row.model, row.training) for row in by_part}
    whole = [row for row in published_rows(**named.model_dump()) if (row.model, row.training) in models]

    def placed(row: Published) -> str:
        return row.condition if row.table == _BY_FILE else _IN_MAIN_TABLE[entry.column.average]

    return printed_rows([*by_part, *whole], placed, columns, suffix=" (published)")


def _counts(entry: Entry, columns: Sequence[str]) -> list[Row]:
    """Records of each file, those that are expected, and distinct targets."""
    lines = {
        "n": {outcome.cell.part: str(outcome.found.n) for outcome in entry.parts},
        "n, expected": {cell.part: str(cell.expected_n) for cell in cells_of(entry) if cell.expected_n is not None},
        "distinct targets": {outcome.cell.part: str(outcome.found.targets) for outcome in entry.parts},
    }
    if not entry.empty:
        lines["n"] |= dict.fromkeys((MACRO, MICRO), str(entry.n))
    rows: list[Row] = []
    for name, line in lines.items():
        if line:
            rows.append(Row((name, *(line.get(column, "–") for column in columns)), "below" if rows else ""))
    return rows
