"""The paper's tables: each policy in each column, beside what was published."""

from collections.abc import Iterator, Sequence

from alignx.evaluation.columns import Entry, gain
from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.published import Published, published
from alignx.evaluation.report.accuracies import percent
from alignx.evaluation.report.tallied import corrected, estimated, of_few
from alignx.evaluation.rows import Policy
from alignx.intervals import smallest_difference
from alignx.pages import Block, Definitions, Figure, Note, Paragraph, Row, Table, literal
from alignx.pages.figures import Interval, Reference, intervals
from alignx.prompts.condition import PersonaSource

_TABLE_3 = "3"
_DETAILS = ("policy", "column", "condition", "accuracy", "95 % interval", "n", "clusters", "ties", "published")


def by_benchmark(settings: EvaluateSettings, entries: Sequence[Entry], *, name: str = "benchmarks") -> list[Block]:
    """Accuracy by column, the published values beside, and what could not be measured.

    Args:
        settings: Which policies and columns.
        entries: What was found.
        name: What the figure is called.
    """
    if not entries:
        return []
    return [
        *_empty(entries),
        *_unexpected(entries),
        *_chart(settings, entries, name),
        _table(entries),
        *_gains(settings, entries),
        *_notes(entries),
    ]


def published_of(policy: Policy, entry: Entry) -> Published | None:
    """The paper's number for an entry; None where it has none, or the condition is not the paper's."""
    column = entry.column.published
    if column is None or not policy.published or not _as_published(entry):
        return None
    model, _, training = policy.published.rpartition(" ")
    return published(
        table=_TABLE_3,
        model=model,
        training=training,
        benchmark=column.benchmark,
        condition=column.condition,
        metric="accuracy",
    )


def _as_published(entry: Entry) -> bool:
    """Whether it is the condition of the paper's table: the user's own persona, all of its history."""
    return all(
        (outcome.cell.persona, outcome.cell.profile, outcome.cell.history) == (PersonaSource.OWN, None, "all")
        for outcome in entry.parts
    )


def _empty(entries: Sequence[Entry]) -> list[Block]:
    """Files that are absent, and cells that cannot be filled, with the reason of each."""
    reasons: dict[str, list[str]] = {}
    for entry in entries:
        for one in entry.empty:
            reasons.setdefault(one.reason, []).append(f"{entry.policy.name}, {one.cell.label}")
    return [
        Note(f"Not measured: {literal('; '.join(dict.fromkeys(rows)))}. {literal(reason)}.")
        for reason, rows in reasons.items()
    ]


def _unexpected(entries: Sequence[Entry]) -> list[Block]:
    said = dict.fromkeys(f"{entry.column.name} {words}" for entry in entries for words in entry.unexpected)
    return [Note(f"Not as many records as published: {literal('; '.join(said))}.")] if said else []


def _chart(settings: EvaluateSettings, entries: Sequence[Entry], name: str) -> list[Block]:
    """Own accuracies with intervals, and the published points."""
    rows = []
    for entry in entries:
        found = entry.accuracy
        if found is None or not _as_published(entry):
            continue
        rows.append(Interval(entry.policy.name, entry.column.name, 100 * found.mean, 100 * found.low, 100 * found.high))
        paper = published_of(entry.policy, entry)
        if paper is not None:
            value = paper.value
            rows.append(Interval(f"{entry.policy.name}, published", entry.column.name, value, value, value))
    if not rows:
        return []
    order = {column.name: place for place, column in enumerate(settings.columns)}
    rows.sort(key=lambda row: order[row.group])
    svg = intervals(rows, name=name, xlabel="alignment accuracy, %", reference_lines=[Reference(50, "chance")])
    told = "; ".join(f"{row.group}, {row.label}: {row.estimate:.1f} %" for row in rows)
    caption = "Alignment accuracy by column with 95 % intervals. The published values come without intervals."
    return [Figure(name, svg, told, caption)]


def _table(entries: Sequence[Entry]) -> Table:
    rows = []
    for entry in entries:
        found, paper = entry.accuracy, published_of(entry.policy, entry)
        rows.append(
            Row(
                (
                    entry.policy.name,
                    entry.column.name,
                    entry.condition,
                    *estimated(found),
                    str(entry.n),
                    str(found.clusters) if found else "–",
                    str(entry.ties),
                    f"{paper.value:.2f}" if paper else "–",
                ),
                "strong" if _as_published(entry) else "",
            )
        )
    caption = (
        "Alignment accuracy in %: how often training moved the model towards what the user prefers, strictly; ties "
        "count as not right. A dash is a column of which a file could not be measured, or which the paper does not print."
    )
    return Table(_DETAILS, rows, caption + of_few(entry.accuracy.clusters for entry in entries if entry.accuracy))


def _gains(settings: EvaluateSettings, entries: Sequence[Entry]) -> list[Block]:
    """What the user's own persona adds to every other one, record by record, corrected for the number of rows."""
    pairs = list(_own_against_others(settings, entries))
    if not pairs:
        return []
    differences = [gain(own, other) for own, other in pairs]
    tested = corrected(differences)
    rows = [
        (
            own.policy.name,
            own.column.name,
            other.condition,
            *estimated(difference, signed=True),
            p,
            percent(smallest_difference(difference)),
        )
        for (own, other), difference, p in zip(pairs, differences, tested, strict=True)
    ]
    columns = ("policy", "column", "own persona minus", "points", "95 % interval", "p", "smallest to be seen")
    caption = (
        "What is personalisation: accuracy with the user's own persona minus that with another condition, on the same "
        "records. p is corrected for the number of rows (Holm); the last column is the difference that these records "
        "show four times in five."
    )
    return [Table(columns, rows, caption)]


def _own_against_others(settings: EvaluateSettings, entries: Sequence[Entry]) -> Iterator[tuple[Entry, Entry]]:
    for own in entries:
        if not own.parts or own.empty or not _as_published(own):
            continue
        for other in entries:
            same = (other.policy, other.column.name) == (own.policy, own.column.name)
            persona = {outcome.cell.persona for outcome in other.parts}
            if same and not other.empty and persona in ({PersonaSource.OTHER}, {PersonaSource.NONE}):
                yield own, other


def _notes(entries: Sequence[Entry]) -> list[Block]:
    """What readers should know of columns."""
    notes = {entry.column.name: entry.column.note for entry in entries if entry.column.note}
    return [Definitions(list(notes.items()))] if notes else []


def by_reference(entries: Sequence[Entry], main: str) -> list[Block]:
    """How much accuracies depend on what they are measured against.

    Args:
        entries: What was found.
        main: What the report calls the reference that all other tables use.
    """
    rows = []
    for entry in entries:
        names = list(dict.fromkeys(name for outcome in entry.parts for name in outcome.against))
        for outcome in entry.parts if names and not entry.empty else ():
            label = f"{entry.policy.name}, {outcome.cell.label}"
            rows.append((label, literal(main), *estimated(outcome.found.accuracy)))
            rows += [(label, name, *estimated(found.accuracy)) for name, found in outcome.against.items()]
    if not rows:
        return []
    caption = "The same policy's scores against one reference and another, on the same prompts."
    return [
        Paragraph(
            "An alignment accuracy says what training changed relative to a reference; with another, it is another."
        ),
        Table(("row", "reference", "accuracy", "95 % interval"), rows, caption),
    ]
