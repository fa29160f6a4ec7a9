"""The report of ``alignx evaluate``: what was found, as a page."""

from collections.abc import Sequence
from pathlib import Path

from alignx import manifest
from alignx.evaluation.columns import entries
from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.outcomes import Empty, Outcome
from alignx.evaluation.report.accuracies import accuracies, expectations, meanings
from alignx.evaluation.report.apart import apart
from alignx.evaluation.report.by_benchmark import by_benchmark, by_reference
from alignx.evaluation.report.examples import INTRODUCTION, examples
from alignx.evaluation.report.files import expected_records, files
from alignx.evaluation.report.surroundings import durations, training_curves, without_a_model
from alignx.evaluation.sources import Sources
from alignx.pages import Note, Page, Paragraph, Section, write


def write_report(
    settings: EvaluateSettings, outcomes: Sequence[Outcome], empty: Sequence[Empty], sources: Sources
) -> list[Path]:
    """Write ``report.md``, ``report.html`` and their figures; returns the paths.

    Args:
        settings: What was asked.
        outcomes: What was found.
        empty: What could not be measured.
        sources: The records.
    """
    expected = expected_records(outcomes)
    of_columns = entries(settings, outcomes, empty)
    by_themselves = [outcome for outcome in outcomes if not outcome.cell.column]
    about = [Paragraph(text) for text in settings.about[1:]]
    shown = examples(settings, outcomes)
    sections = [
        Section("What this shows", [*([Note(settings.caution)] if settings.caution else []), *about]),
        Section("Benchmarks", by_benchmark(settings, of_columns)),
        Section("Accuracy", accuracies(settings, by_themselves) if by_themselves else []),
        Section("Another reference", by_reference(of_columns, settings.reference)),
        *apart(sources, outcomes),
        Section("How to read the numbers", meanings(outcomes)),
        Section("The records", files(expected, {data: sources.health(data) for data in expected})),
        Section("What was expected", expectations(outcomes)),
        Section("Without a model", without_a_model(settings)),
        Section("Training", training_curves(settings)),
        Section("How long it took", durations(settings)),
        Section("Examples", [Paragraph(INTRODUCTION), *shown] if shown else []),
    ]
    page = Page(
        title=settings.title,
        lead=settings.about[0] if settings.about else "",
        sections=[section for section in sections if section.blocks],
        footer=f"Made by alignx {manifest.versions()['alignx']}; `manifest.json` beside this page says how.",
    )
    return write(page, settings.output, "report")
