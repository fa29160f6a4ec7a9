"""Accuracy by column: the chart, what the own persona adds, and every condition in numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from alignx.evaluation.columns import Entry, gain
from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.report.accuracies import left_out, percent
from alignx.evaluation.report.layout import laid_out, measured
from alignx.evaluation.report.main_table import (
    cells_of,
    expected_n,
    is_oracle,
    main_table,
    notes_of_columns,
    published_of,
    tells_own,
)
from alignx.evaluation.report.tallied import corrected, estimated, of_few
from alignx.intervals import Estimate, smallest_difference
from alignx.pages import Block, Figure, Fold, Paragraph, Row, Table
from alignx.pages.figures import Interval, Reference, intervals
from alignx.prompts.condition import PersonaSource
from alignx.prompts.parts import ALL

__all__ = ["by_benchmark", "details", "gains", "published_of"]

_DETAILS = ("policy", "column", "condition", "accuracy", "95 % interval", "n", "expected n", "clusters", "ties")


def by_benchmark(settings: EvaluateSettings, entries: Sequence[Entry], *, name: str = "benchmarks") -> list[Block]:
    """The paper's table and its chart, and what could not be measured.

    Args:
        settings: Which policies and columns.
        entries: What was found.
        name: What the figure is called.
    """
    if not entries:
        return []
    return [*main_table(settings, entries), *_chart(settings, entries, name)]


def _chart(settings: EvaluateSettings, entries: Sequence[Entry], name: str) -> list[Block]:
    """Own accuracies with intervals, the published values beside."""
    rows = []
    for entry in entries:
        found = entry.accuracy
        if found is None or not tells_own(entry):
            continue
        paper = published_of(entry.policy, entry)
        ends = (100 * found.mean, 100 * found.low, 100 * found.high)
        rows.append(Interval(entry.policy.name, entry.column.name, *ends, beside=paper.value if paper else None))
    if not rows:
        return []
    order = {column.name: place for place, column in enumerate(settings.columns)}
    rows.sort(key=lambda row: order[row.group])
    lines = [Reference(50, "chance")]
    svg = intervals(rows, name=name, xlabel="alignment accuracy, %", reference_lines=lines, beside="published")
    caption = "Alignment accuracy with the user's own persona, with 95 % intervals."
    if any(row.beside is not None for row in rows):
        caption += " The published values come without intervals."
    return [Figure(name, svg, "; ".join(map(_told, rows)), caption)]


def _told(row: Interval) -> str:
    beside = "" if row.beside is None else f" (published {row.beside:.2f} %)"
    return f"{row.group}, {row.label}: {row.estimate:.1f} %{beside}"


def details(entries: Sequence[Entry]) -> list[Block]:
    """Every column under every condition, folded."""
    rows = []
    for entry in entries:
        found = entry.accuracy
        rows.append(
            Row(
                (
                    entry.policy.name,
                    entry.column.name,
                    entry.condition,
                    *estimated(found),
                    str(entry.n),
                    str(expected_n(cells_of(entry)) or "–"),
                    str(found.clusters) if found else "–",
                    str(entry.ties),
                ),
                "strong" if tells_own(entry) else "",
            )
        )
    caption = (
        "Accuracy in %; ties count as not right. The expected n is what the benchmark says. A dash is a column of "
        "which a file could not be measured."
    )
    few = of_few(entry.accuracy.clusters for entry in entries if entry.accuracy)
    conditions = len({entry.condition for entry in entries})
    said = left_out([outcome for entry in entries for outcome in entry.parts])
    title = f"Every condition in numbers: {len(rows)} rows, {conditions} conditions, with n, ties and what was left out"
    elsewhere = {entry.column.name for entry in entries if _is_shown(entry)}
    notes = notes_of_columns([entry for entry in entries if entry.column.name not in elsewhere])
    return [Fold(title, [Table(_DETAILS, rows, caption + few), Paragraph(said), *notes])]


def _is_shown(entry: Entry) -> bool:
    """Whether the main table or the section about the history has the notes of its column."""
    grown = any(isinstance(cell.history, int) for cell in cells_of(entry))
    return tells_own(entry) or is_oracle(entry) or grown


@dataclass(frozen=True)
class _Gain:
    own: Entry
    other: Entry
    found: Estimate
    p: str


def gains(entries: Sequence[Entry]) -> list[Block]:
    """What the user's own persona adds to another's and to none, record by record, corrected for their number."""
    pairs = list(_own_against_others(entries))
    if not pairs:
        return []
    differences = [gain(own, other) for own, other in pairs]
    tested = corrected(differences)
    found = [_Gain(*pair, each, p) for pair, each, p in zip(pairs, differences, tested, strict=True)]
    return [*_over_another(found), _each_gain(found)]


def _over_another(found: Sequence[_Gain]) -> list[Block]:
    """The gain over another user's persona, a row a policy and a column a benchmark."""
    over = [each for each in found if _persona(each.other) is PersonaSource.OTHER]
    columns = list(dict.fromkeys(each.own.column.name for each in over))
    rows: list[Row] = []
    for policy in dict.fromkeys(each.own.policy.name for each in over):
        mine = {each.own.column.name: each for each in over if each.own.policy.name == policy}
        values = {column: each.found for column, each in mine.items()}
        tests = {"p, corrected": {column: each.p for column, each in mine.items()}}
        rows += measured(policy, values, columns, signed=True, beneath=tests)
    if not rows:
        return []
    caption = (
        "What is personalisation: accuracy with the user's own persona minus that with another user's, in points, "
        f"record by record. p is corrected for all {len(found)} differences (Holm), those from no persona among them."
    )
    return [laid_out(columns, rows, caption, "policy")]


def _each_gain(found: Sequence[_Gain]) -> Fold:
    rows = [
        (
            each.own.policy.name,
            each.own.column.name,
            each.other.condition,
            *estimated(each.found, signed=True),
            each.p,
            percent(smallest_difference(each.found)),
        )
        for each in found
    ]
    columns = (
        "policy",
        "column",
        "own persona minus",
        "points",
        "95 % interval",
        "p, corrected",
        "smallest to be seen",
    )
    caption = (
        "The last column is the smallest difference that so many records, as alike as these, show four times in five."
    )
    title = f"Each of {len(found)} differences, and the smallest that so many records can show"
    return Fold(title, [Table(columns, rows, caption)])


def _own_against_others(entries: Sequence[Entry]) -> Iterator[tuple[Entry, Entry]]:
    for own in entries:
        if own.empty or not tells_own(own):
            continue
        for other in entries:
            same = (other.policy, other.column.name) == (own.policy, own.column.name)
            whole = cells_of(other)[0].tell == ALL
            if same and whole and not other.empty and _persona(other) in (PersonaSource.OTHER, PersonaSource.NONE):
                yield own, other


def _persona(entry: Entry) -> PersonaSource:
    return cells_of(entry)[0].persona
