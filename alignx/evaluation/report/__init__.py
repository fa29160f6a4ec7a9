"""The report of ``alignx evaluate``: what was found, as a page."""

from collections.abc import Sequence
from pathlib import Path

from alignx import manifest
from alignx.evaluation.columns import entries
from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.outcomes import Empty, Outcome
from alignx.evaluation.report.accuracies import accuracies, expectations, meanings, unmet
from alignx.evaluation.report.apart import apart
from alignx.evaluation.report.by_benchmark import by_benchmark, details, gains
from alignx.evaluation.report.by_file import by_file
from alignx.evaluation.report.by_reference import by_reference
from alignx.evaluation.report.examples import INTRODUCTION, examples
from alignx.evaluation.report.files import expected_records, files
from alignx.evaluation.report.provenance import provenance
from alignx.evaluation.report.surroundings import durations, training_curves, without_a_model
from alignx.evaluation.report.win_rates import win_rates
from alignx.evaluation.sources import Sources
from alignx.pages import Block, Fold, Note, Page, Paragraph, Section, Table, write
from alignx.pages.inline import plain

_BEHIND = {
    "How to read the numbers": "What policy, reference, accuracy, ties and interval mean, and what each condition is",
    "The records": "How many records, users, distinct targets, profiles and directions each file holds",
    "Training": "Loss, pairs ordered rightly and margin of the policies that were trained here",
    "How long it took": "Seconds by part",
}
"""What a reader finds behind a fold that is not a table."""


def write_report(
    settings: EvaluateSettings, outcomes: Sequence[Outcome], empty: Sequence[Empty], sources: Sources
) -> list[Path]:
    """Write ``report.md``, ``report.html`` and their figures; returns the paths.

    A page with benchmarks begins with their table, and what stands around the numbers is folded.

    Args:
        settings: What was asked.
        outcomes: What was found.
        empty: What could not be measured.
        sources: The records.
    """
    of_columns = entries(settings, outcomes, empty)
    by_themselves = [outcome for outcome in outcomes if not outcome.cell.column]
    caution = [*([Note(settings.caution)] if settings.caution else []), *unmet(settings, outcomes)]
    about = [Paragraph(text) for text in settings.about[1:]]
    around = _around(settings, outcomes, sources)
    if of_columns:
        table = by_benchmark(settings, of_columns)
        first = Section("Accuracy by benchmark", [*caution, *table, *about, *details(of_columns)])
        around = [Section("Behind the numbers", [block for each in around for block in _behind(each)])]
    else:
        first = Section("What this shows", [*caution, *about])
    shown = examples(settings, outcomes)
    sections = [
        first,
        Section("What the own persona adds", gains(of_columns)),
        Section("Accuracy", accuracies(settings, by_themselves) if by_themselves else []),
        Section("Win rates", [block for name in settings.win_rates for block in win_rates(Path(settings.find(name)))]),
        Section("By file", by_file(settings, of_columns)),
        Section("Another reference", by_reference(settings, of_columns)),
        *apart(settings, sources, outcomes),
        *around,
        Section("Examples", [Paragraph(INTRODUCTION), *shown] if shown else []),
    ]
    page = Page(
        title=settings.title,
        lead=settings.about[0] if settings.about else "",
        sections=[section for section in sections if section.blocks],
        footer=f"Made by alignx {manifest.versions()['alignx']}; `manifest.json` beside this page says how.",
    )
    return write(page, settings.output, "report")


def _around(settings: EvaluateSettings, outcomes: Sequence[Outcome], sources: Sources) -> list[Section]:
    """What stands around the numbers."""
    expected = expected_records(outcomes)
    return [
        Section("How to read the numbers", meanings(outcomes)),
        Section("What was expected", expectations(outcomes)),
        Section("The records", files(expected, {data: sources.health(data) for data in expected})),
        Section("How each number was made", provenance(settings, outcomes)),
        Section("Without a model", without_a_model(settings)),
        Section("Training", training_curves(settings)),
        Section("How long it took", durations(settings)),
    ]


def _behind(section: Section) -> list[Block]:
    """The blocks of a section behind a line that says what they are."""
    notes = [block for block in section.blocks if isinstance(block, Note)]
    rest = [block for block in section.blocks if not isinstance(block, Note)]
    if not rest or any(isinstance(block, Fold) for block in rest):
        return list(section.blocks)
    captions = [plain(block.caption) for block in rest if isinstance(block, Table)]
    return [*notes, Fold(_BEHIND.get(section.title) or captions[0], rest)]
