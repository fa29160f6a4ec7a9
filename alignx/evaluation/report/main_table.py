"""The paper's table: a row a model, a column a benchmark, what is published beside what was measured."""

from collections import Counter
from collections.abc import Iterable, Sequence

from alignx.evaluation.accuracy import OF_CONDITION
from alignx.evaluation.columns import Entry
from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.outcomes import Outcome
from alignx.evaluation.published import Published, name_and_training, published, published_rows
from alignx.evaluation.report.layout import laid_out, measured
from alignx.evaluation.report.printed import PAPER, printed_rows
from alignx.evaluation.report.tallied import of_few
from alignx.evaluation.rows import Cell, Policy
from alignx.pages import Block, Definitions, Fold, Note, Paragraph, Row, literal
from alignx.pages.document import Mark


def main_table(settings: EvaluateSettings, entries: Sequence[Entry]) -> list[Block]:
    """The table, what is missing in it, and what must be known of its columns; nothing without benchmarks.

    Args:
        settings: Which policies and columns.
        entries: What was found.
    """
    shown = [entry for entry in entries if tells_own(entry) or is_oracle(entry)]
    columns = [column for column in settings.columns if any(entry.column.name == column.name for entry in shown)]
    if not columns:
        return _empty(entries)
    names = [column.name for column in columns]
    place = {
        (column.published.table, column.published.benchmark, column.published.condition): column.name
        for column in columns
        if column.published is not None
    }

    def placed(row: Published) -> str:
        return place.get((row.table, row.benchmark, row.condition), "")

    papers = [row for table in dict.fromkeys(key[0] for key in place) for row in published_rows(table=table)]
    rows = printed_rows([row for row in papers if placed(row)], placed, names, suffix=" (published)")
    rows += [row for name, found in _by_row(shown).items() for row in _own(name, found, names)]
    rows += _counts(shown, names)
    table = laid_out(names, rows, _caption(settings, shown, sorted({key[0] for key in place})))
    return [table, *_empty(entries), *_unexpected(settings, entries), *_said(entries), *notes_of_columns(shown)]


def cells_of(entry: Entry) -> list[Cell]:
    """What was asked for, whether or not it could be measured."""
    return [*(one.cell for one in entry.parts), *(one.cell for one in entry.empty)]


def tells_own(entry: Entry) -> bool:
    """Whether it is the condition of the paper's table: the user's own persona, all of its history."""
    return all(cell.tells_own for cell in cells_of(entry))


def is_oracle(entry: Entry) -> bool:
    """Whether the policy was told what no user can offer."""
    return any(cell.role == "oracle" for cell in cells_of(entry))


def published_of(policy: Policy, entry: Entry) -> Published | None:
    """The paper's number for an entry; None where it has none, or the condition is not the paper's."""
    column = entry.column.published
    if column is None or not policy.published or not tells_own(entry):
        return None
    model, training = name_and_training(policy.published)
    return published(model=model, training=training, metric="accuracy", **column.model_dump())


def _by_row(shown: Sequence[Entry]) -> dict[str, list[Entry]]:
    """The entries of each row: a policy, and its condition where it has several."""
    own = {(entry.policy.name, entry.condition) for entry in shown if not is_oracle(entry)}
    conditions = Counter(policy for policy, _ in own)
    found: dict[str, list[Entry]] = {}
    for entry in shown:
        name = entry.policy.name
        if is_oracle(entry):
            name += f", {entry.condition} (oracle)"
        elif conditions[name] > 1:
            name += f", {entry.condition}"
        found.setdefault(name, []).append(entry)
    return found


def _own(name: str, found: Sequence[Entry], columns: Sequence[str]) -> list[Row]:
    mark: Mark = "" if is_oracle(found[0]) else "strong"
    return measured(name, {entry.column.name: entry.accuracy for entry in found}, columns, mark=mark)


def _counts(shown: Sequence[Entry], columns: Sequence[str]) -> list[Row]:
    """Records measured, and published, in each column."""
    counts = {name: [entry.n for entry in shown if entry.column.name == name and not entry.empty] for name in columns}
    expected = {entry.column.name: expected_n(cells_of(entry)) for entry in shown}
    rows = [Row(("n", *(_span(counts[name]) for name in columns)))]
    if any(expected.values()):
        rows.append(Row(("n, expected", *(str(expected[name] or "–") for name in columns)), "below"))
    return rows


def expected_n(cells: Iterable[Cell]) -> int | None:
    """How many records the files of a column should hold; None where that of one is not published."""
    known = [cell.expected_n for cell in cells]
    return None if None in known else sum(filter(None, known))


def _span(counts: Sequence[int]) -> str:
    if not counts:
        return "–"
    return str(counts[0]) if len({*counts}) == 1 else f"{min(counts)}–{max(counts)}"


def _caption(settings: EvaluateSettings, shown: Sequence[Entry], tables: Sequence[str]) -> str:
    said = [
        "Alignment accuracy in %: how often training moved the model towards what the user prefers, strictly; ties "
        "count as not right. What has an interval beneath was measured here; bold, with the user's own persona."
    ]
    if tables:
        said.append(f"Italic: what the paper prints ({PAPER}, Table {' and '.join(tables)}), without intervals.")
    if settings.limit is not None:
        said.append(f"Only the first {settings.limit} records of each file were read.")
    if any(is_oracle(entry) for entry in shown):
        said.append("An oracle is told the direction of the very pair that it is asked about.")
    if macro := [name for name in dict.fromkeys(e.column.name for e in shown if e.column.average == "parts")]:
        said.append(f"{literal(', '.join(macro))}: the mean of the files' accuracies; By file has both means.")
    return " ".join(said) + of_few(entry.accuracy.clusters for entry in shown if entry.accuracy)


def _empty(entries: Sequence[Entry]) -> list[Block]:
    """Files that are absent and cells that cannot be filled: what in short, and folded the reason of each."""
    reasons: dict[str, dict[str, None]] = {}
    columns: dict[str, None] = {}
    for entry in entries:
        for one in entry.empty:
            reasons.setdefault(one.reason, {})[f"{entry.policy.name}, {one.cell.label}"] = None
            columns[entry.column.name] = None
    if not reasons:
        return []
    why: list[Block] = [
        Paragraph(f"Not measured: {literal('; '.join(rows))}. {literal(reason)}.") for reason, rows in reasons.items()
    ]
    count = sum(map(len, reasons.values()))
    short = f"A dash is a number that could not be measured, or that the paper does not print. {count} rows are missing"
    return [Note(f"{short}, of {literal(', '.join(columns))}."), Fold(f"Why {count} rows could not be measured", why)]


def _unexpected(settings: EvaluateSettings, entries: Sequence[Entry]) -> list[Block]:
    """Files that hold more or fewer records than they should; of the first few the caption says so."""
    if settings.limit is not None:
        return []
    said = dict.fromkeys(words for entry in entries for words in entry.unexpected)
    return [Note(f"Not as many records as expected: {literal('; '.join(said))}.")] if said else []


def _said(entries: Sequence[Entry]) -> list[Block]:
    """What the comparisons say of themselves, with the policies in all or some of whose rows they say it."""
    rows: Counter[str] = Counter()
    found: dict[str, Counter[str]] = {}
    for entry in entries:
        for outcome in entry.parts:
            rows[entry.policy.name] += 1
            for note in outcome.found.notes:
                if not note.startswith(OF_CONDITION):  # the row's name says it
                    found.setdefault(note, Counter())[entry.policy.name] += 1
    said = []
    for note, policies in found.items():
        which = [name if n == rows[name] else f"{name} in {n} of {rows[name]} rows" for name, n in policies.items()]
        said.append(f"{note} ({', '.join(which)})")
    text = "; ".join(said)
    return [Note(literal(f"{text[0].upper()}{text[1:]}."))] if said else []


def notes_of_columns(entries: Sequence[Entry]) -> list[Block]:
    """What readers should know of columns."""
    notes: dict[str, str] = {}
    for entry in entries:
        said = [entry.column.note, _repeated([] if entry.empty else entry.parts)]
        if not notes.get(entry.column.name):
            notes[entry.column.name] = " ".join(filter(None, said))
    items = [(name, note) for name, note in notes.items() if note]
    return [Definitions(items)] if items else []


def _repeated(parts: Sequence[Outcome]) -> str:
    """How many distinct targets there are, where no user is named and some targets are repeated."""
    scores = [score for outcome in parts for score in outcome.scores.values()]
    targets = {score.cluster for score in scores}
    if not scores or len(targets) == len(scores) or not all(name.startswith("target:") for name in targets):
        return ""
    return f"Here {len(scores)} records have {len(targets)} distinct targets, by which intervals are clustered."
