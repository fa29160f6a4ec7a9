"""What scores say when they are taken apart: reversal, history, length, dimensions, for the rows that allow it."""

from collections.abc import Iterator, Sequence

from alignx import manifest
from alignx.evaluation.benchmarks import Column
from alignx.evaluation.breakdown import Moves
from alignx.evaluation.breakdown.agreement import by_agreement
from alignx.evaluation.breakdown.dimensions import by_dimension
from alignx.evaluation.breakdown.history import Growth, growth
from alignx.evaluation.breakdown.lengths import by_length
from alignx.evaluation.breakdown.moves import together
from alignx.evaluation.breakdown.reversal import Reversal, find_unturned, reversal
from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.outcomes import Outcome, margins
from alignx.evaluation.published import name_and_training, published_rows
from alignx.evaluation.report import by_agreement as agreement_page
from alignx.evaluation.report import by_dimension as dimension_page
from alignx.evaluation.report import by_history as history_page
from alignx.evaluation.report import by_length as length_page
from alignx.evaluation.report import by_reversal as reversal_page
from alignx.evaluation.report.printed import printed
from alignx.evaluation.rows import Policy
from alignx.evaluation.sources import Sources
from alignx.intervals import FEW_CLUSTERS
from alignx.pages import Block, Definitions, Fold, Section
from alignx.prompts import Condition, PersonaSource
from alignx.prompts.parts import ALL

_FOLDS = 8
"""Rows that are folded one by one; more are folded by column."""
_GROWN = "AlignX_test"
"""The benchmark of the paper's Figure 3."""


def apart(settings: EvaluateSettings, sources: Sources, outcomes: Sequence[Outcome]) -> list[Section]:
    """The sections that the rows allow, those without anything to say left out.

    Args:
        settings: Which of the paper's numbers stand beside.
        sources: Where the records are.
        outcomes: All rows; one in which all are ties has nothing to be taken apart.
    """
    own = [
        one
        for one in outcomes
        if one.cell.persona is PersonaSource.OWN and one.cell.history == "all" and not one.cell.turns
    ]
    first = [one for one in own if one.cell.profile is None and one.found.ties < one.found.n]
    sections = [
        Section("When the persona is reversed", _reversed(settings, sources, first, outcomes)),
        Section("As the history grows", _grown(settings, outcomes)),
        Section("By length of the responses", _lengths(first)),
        Section("By preference dimension", _dimensions(sources, first)),
    ]
    return [section for section in sections if section.blocks]


def _by_column(own: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Rows of one column together, since a chart of all would be too long; rows by themselves under no name."""
    found: dict[str, list[Outcome]] = {}
    for one in own:
        found.setdefault(one.cell.column, []).append(one)
    return found


def _reversed(
    settings: EvaluateSettings, sources: Sources, own: Sequence[Outcome], outcomes: Sequence[Outcome]
) -> list[Block]:
    """What reversal does, by column where there are several, and what the paper prints of it."""
    found: dict[str, dict[str, Reversal]] = {}
    first: dict[str, list[Outcome]] = {}
    named: dict[str, Outcome] = {}
    for one, name, each in _reversals(settings, sources, own, outcomes):
        found.setdefault(one.cell.column, {})[name] = each
        first.setdefault(one.cell.column, []).append(one)
        named[name] = one
    if not found:
        return []
    paper = printed(
        settings,
        "6",
        lambda row: f"{row.benchmark}, {row.metric}",
        "accuracy under reversal and flip, in %; nearest to its flip is any-flip. It does not say which file of "
        "AlignX_test this is.",
    )
    if len(found) == 1:
        (rows,) = found.values()
        return [*reversal_page.by_reversal(rows), *paper]
    brief = {name: _brief(one, first[one.cell.column]) for name, one in named.items()}
    overview = reversal_page.overview(found, brief)
    folds = [
        Fold(f"{_called(column)}: chart, numbers, definitions", reversal_page.by_reversal(rows, name=f"reversal-{n}"))
        for n, (column, rows) in enumerate(found.items(), start=1)
    ]
    return [*overview, *paper, *folds]


def _grown(settings: EvaluateSettings, outcomes: Sequence[Outcome]) -> list[Block]:
    """What more history adds, the paper's values beside."""
    found = list(_growths(outcomes))
    if not found:
        return []
    paper = {
        (policy.name, column.name): values
        for policy in settings.policies
        for column in settings.columns
        if (values := _published_growth(settings, policy, column))
    }
    shown = {one.cell.column for one in outcomes if one.cell.tells_own}
    notes = [
        (column.name, column.note)
        for column in settings.columns
        if column.note and column.name not in shown and any(each.source == column.name for each in found)
    ]
    said = "accuracy in % with 2 to 16 items of history."
    beside = printed(settings, "F3", lambda row: row.condition.replace(" history ", ", "), said)
    return [*([Definitions(notes)] if notes else []), *history_page.by_history(found, paper=paper), *beside]


def _published_growth(settings: EvaluateSettings, policy: Policy, column: Column) -> dict[int, float]:
    """What Figure 3 shows of a policy in a column, by items of history.

    The figure is of AlignX_test with 16 items of one kind, which no table has: a column beside AlignX_test's
    own and whose one part is called as the figure calls it, UGC or PAIR.
    """
    beside = any(each.published is not None and each.published.benchmark == _GROWN for each in settings.columns)
    if not beside or column.published is not None or len(column.parts) > 1 or not policy.published:
        return {}
    model, training = name_and_training(policy.published)
    kind = f"{column.parts[0].name} history "
    return {
        int(row.condition.removeprefix(kind)): row.value
        for row in published_rows(table="F3", benchmark=_GROWN)
        if (row.model, row.training) == (model, training) and row.condition.startswith(kind)
    }


def _lengths(own: Sequence[Outcome]) -> list[Block]:
    """What length has to do with accuracy, by column where there are several."""
    found = {name: {_name(one): by_length(_moves(one)) for one in rows} for name, rows in _by_column(own).items()}
    if len(found) == 1:
        (rows,) = found.values()
        return length_page.by_length(rows)
    return [
        Fold(f"{_called(column)}: {len(rows)} rows", length_page.by_length(rows, name=f"lengths-{n}"))
        for n, (column, rows) in enumerate(found.items(), start=1)
    ]


def _called(column: str) -> str:
    return column or "Rows by themselves"


def _condition(outcome: Outcome) -> Condition:
    """What the models were told."""
    return Condition.model_validate(manifest.read(outcome.file).condition)


def _moves(outcome: Outcome) -> Moves:
    return Moves(outcome.scores, margins(outcome.scores, outcome.reference))


def _name(outcome: Outcome) -> str:
    return f"{outcome.policy.name}, {outcome.cell.label}"


def _brief(one: Outcome, among: Sequence[Outcome]) -> str:
    """A row's name among those of its column: the policy, and what tells it from others of the same policy."""
    mine = [other.cell for other in among if other.policy == one.policy]
    if not one.cell.column:
        return _name(one)
    part = f", {one.cell.part}" if len({cell.part for cell in mine}) > 1 else ""
    condition = f", {one.cell.condition}" if len({cell.condition for cell in mine}) > 1 else ""
    return f"{one.policy.name}{part}{condition}"


def _reversals(
    settings: EvaluateSettings, sources: Sources, own: Sequence[Outcome], outcomes: Sequence[Outcome]
) -> Iterator[tuple[Outcome, str, Reversal]]:
    """Each row told the own persona, with the row of the same records told its reverse; files of a column as one.

    A column of which a file is missing is not the column: its files stand by themselves.
    """
    columns = {column.name: column for column in settings.columns}
    groups: dict[tuple[str, str, str], list[tuple[Outcome, Outcome]]] = {}
    for one in own:
        for other in outcomes:
            if _turns(one, other):
                several = len(columns[one.cell.column].parts) if one.cell.column else 1
                whole = one.cell.condition if several > 1 else one.cell.label
                groups.setdefault((one.policy.name, one.cell.column, whole), []).append((one, other))
    for (policy, name, whole), pairs in groups.items():
        column = columns.get(name)
        if column is not None and 1 < len(column.parts) == len(pairs):
            yield pairs[0][0], f"{policy}, {name}, {whole}", _reversal(sources, column, pairs)
        else:
            for one, other in pairs:
                yield one, _name(one), reversal(_moves(one), _moves(other), _unturned(sources, one, other))


def _turns(one: Outcome, other: Outcome) -> bool:
    """Whether another row tells the same policy the reverse of what one tells it."""
    alike = (other.policy, other.cell.history, other.cell.tell) == (one.policy, one.cell.history, one.cell.tell)
    made = other.cell.persona is PersonaSource.REVERSED and other.cell.data == one.cell.data
    return alike and (made or (bool(other.cell.turns) and other.cell.turns == one.cell.data))


def _reversal(sources: Sources, column: Column, pairs: Sequence[tuple[Outcome, Outcome]]) -> Reversal:
    """Of all files of a column, averaged as the column is."""
    own = together({one.cell.part: _moves(one) for one, _ in pairs})
    turned = together({one.cell.part: _moves(other) for one, other in pairs})
    unturned = {f"{one.cell.part}/{name}" for one, other in pairs for name in _unturned(sources, one, other)}
    parts = {f"{one.cell.part}/{name}": one.cell.part for one, _ in pairs for name in one.scores}
    return reversal(own, turned, unturned, parts if column.average == "parts" else None)


def _unturned(sources: Sources, one: Outcome, other: Outcome) -> frozenset[str]:
    turned = sources.records(other.cell.data) if other.cell.turns else None
    return find_unturned(sources.records(one.cell.data), _condition(one), sources.taxonomy, turned)


def _growths(outcomes: Sequence[Outcome]) -> Iterator[Growth]:
    """Rows that differ in the length of the history alone, as series."""
    series: dict[tuple[str, str], dict[int, Outcome]] = {}
    grown = [o for o in outcomes if isinstance(o.cell.history, int) and o.cell.persona is PersonaSource.OWN]
    parts: dict[str, set[str]] = {}
    for one in grown:
        parts.setdefault(one.cell.column, set()).add(one.cell.part)
    for one in grown:
        whole = one.cell.column or one.cell.data
        source = f"{whole} {one.cell.part}" if len(parts[one.cell.column]) > 1 else whole
        if one.cell.tell != ALL:
            source += f", {one.cell.tell.replace(',', ' and ')} told"
        series.setdefault((one.policy.name, source), {})[int(one.cell.history)] = one
    for (policy, source), rows in series.items():
        if len(rows) > 1:
            kinds = max(_kinds(one) for one in rows.values())
            yield growth(policy, source, {items: _moves(rows[items]) for items in sorted(rows)}, kinds=kinds)


def _kinds(outcome: Outcome) -> int:
    """How many lists a history comes from: a length is of each."""
    asked = int(outcome.cell.history)
    most = max(score.history_items for score in outcome.scores.values())
    return 2 if most > asked else 1


def _dimensions(sources: Sources, own: Sequence[Outcome]) -> list[Block]:
    """Each row with directions, folded: its dimensions, and how history and target agree."""
    found_in: dict[str, list[Fold]] = {}
    for number, one in enumerate(own, start=1):
        records = sources.records(one.cell.data)
        if all(record.direction is None for record in records.values()):
            continue
        agreement = by_agreement(_moves(one), records, _condition(one), sources.taxonomy)
        found = by_dimension(_moves(one), records, sources.taxonomy)
        enough = sum(each.either.clusters >= FEW_CLUSTERS for each in found.dimensions)
        parts = [
            *dimension_page.by_dimension(found, name=f"dimensions-{number}"),
            *(agreement_page.by_agreement(agreement, name=f"agreement-{number}") if agreement.n else []),
        ]
        fold = Fold(f"{_name(one)}: {enough} dimensions with enough targets", parts)
        found_in.setdefault(one.cell.column, []).append(fold)
    if sum(map(len, found_in.values())) <= _FOLDS:
        return [fold for folds in found_in.values() for fold in folds]
    return [Fold(f"{_called(column)}: {len(folds)} rows", folds) for column, folds in found_in.items()]
