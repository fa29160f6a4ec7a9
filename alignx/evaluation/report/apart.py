"""What scores say when they are taken apart: reversal, history, length, dimensions, for the rows that allow it."""

from collections.abc import Iterator, Sequence

from alignx import manifest
from alignx.evaluation.breakdown import Moves
from alignx.evaluation.breakdown.agreement import by_agreement
from alignx.evaluation.breakdown.dimensions import by_dimension
from alignx.evaluation.breakdown.history import Growth, growth
from alignx.evaluation.breakdown.lengths import by_length
from alignx.evaluation.breakdown.reversal import Reversal, find_unturned, reversal
from alignx.evaluation.outcomes import Outcome, margins
from alignx.evaluation.report import by_agreement as agreement_page
from alignx.evaluation.report import by_dimension as dimension_page
from alignx.evaluation.report import by_history as history_page
from alignx.evaluation.report import by_length as length_page
from alignx.evaluation.report import by_reversal as reversal_page
from alignx.evaluation.sources import Sources
from alignx.pages import Block, Fold, Section
from alignx.prompts import Condition, PersonaSource


def apart(sources: Sources, outcomes: Sequence[Outcome]) -> list[Section]:
    """The sections that the rows allow, those without anything to say left out.

    Args:
        sources: Where the records are.
        outcomes: All rows.
    """
    own = [
        one
        for one in outcomes
        if one.cell.persona is PersonaSource.OWN and one.cell.history == "all" and not one.cell.turns
    ]
    first = [one for one in own if one.cell.profile is None]
    lengths = {_name(one): by_length(_moves(one)) for one in first}
    sections = [
        Section("When the persona is reversed", reversal_page.by_reversal(dict(_reversals(sources, first, outcomes)))),
        Section("As the history grows", history_page.by_history(list(_growths(outcomes)))),
        Section("By length of the responses", length_page.by_length(lengths)),
        Section("By preference dimension", _dimensions(sources, first)),
    ]
    return [section for section in sections if section.blocks]


def _condition(outcome: Outcome) -> Condition:
    """What the models were told."""
    return Condition.model_validate(manifest.read(outcome.file).condition)


def _moves(outcome: Outcome) -> Moves:
    return Moves(outcome.scores, margins(outcome.scores, outcome.reference))


def _name(outcome: Outcome) -> str:
    return f"{outcome.policy.name}, {outcome.cell.label}"


def _reversals(sources: Sources, own: Sequence[Outcome], outcomes: Sequence[Outcome]) -> Iterator[tuple[str, Reversal]]:
    """Each row told the own persona, with the row of the same records told its reverse."""
    for one in own:
        for other in outcomes:
            alike = (other.policy, other.cell.history) == (one.policy, one.cell.history)
            made = other.cell.persona is PersonaSource.REVERSED and other.cell.data == one.cell.data
            written = bool(other.cell.turns) and other.cell.turns == one.cell.data
            if alike and (made or written):
                turned = sources.records(other.cell.data) if written else None
                unturned = find_unturned(sources.records(one.cell.data), _condition(one), sources.taxonomy, turned)
                yield _name(one), reversal(_moves(one), _moves(other), unturned)


def _growths(outcomes: Sequence[Outcome]) -> Iterator[Growth]:
    """Rows that differ in the length of the history alone, as series."""
    series: dict[tuple[str, str], dict[int, Outcome]] = {}
    for one in outcomes:
        if isinstance(one.cell.history, int) and one.cell.persona is PersonaSource.OWN:
            series.setdefault((one.policy.name, one.cell.column or one.cell.data), {})[one.cell.history] = one
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
    blocks: list[Block] = []
    for number, one in enumerate(own, start=1):
        records = sources.records(one.cell.data)
        if all(record.direction is None for record in records.values()):
            continue
        agreement = by_agreement(_moves(one), records, _condition(one), sources.taxonomy)
        parts = [
            *dimension_page.by_dimension(
                by_dimension(_moves(one), records, sources.taxonomy), name=f"dimensions-{number}"
            ),
            *(agreement_page.by_agreement(agreement, name=f"agreement-{number}") if agreement.n else []),
        ]
        blocks.append(Fold(_name(one), parts))
    return blocks
