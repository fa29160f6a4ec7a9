"""The report as a page: made from what its JSON holds, so that both say the same."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from alignx import manifest
from alignx.pages import Block, Definitions, Figure, Fold, Note, Page, Paragraph, Section, Table, literal, to_markdown
from alignx.prompts.reporting.direction_sections import direction_sections, share
from alignx.prompts.reporting.health.sections import health_sections


def report_page(source: str, found: Mapping[str, Any], figures: str | None = None) -> Page:
    """The page.

    Args:
        source: Where the records come from, as the user named it.
        found: What was counted, as in the report's JSON.
        figures: Begins the name of every figure; without one, none is drawn, which needs no library that draws.
    """
    return Page(
        title=source,
        lead="What is in these records, what looks wrong with them, and which preferences go together.",
        sections=[
            Section("Counts", [_counts(found), *(Note(literal(note)) for note in found["notes"])]),
            *health_sections(found["health"]),
            Section(f"Lengths in {found['lengths']['unit']}", _lengths(found)),
            *direction_sections(found, figures),
        ],
        footer=f"Made by alignx {manifest.versions()['alignx']}.",
    )


def for_a_terminal(page: Page) -> str:
    """The page as Markdown for who reads it where it is printed: without pictures, and with nothing folded away."""
    sections = [replace(section, blocks=_unfolded(section.blocks)) for section in page.sections]
    return to_markdown(replace(page, sections=sections, footer="")).rstrip("\n")


def _unfolded(blocks: Any) -> list[Block]:
    found: list[Block] = []
    for block in blocks:
        if isinstance(block, Fold):
            found += [Paragraph(f"{literal(block.title)}:"), *_unfolded(block.blocks)]
        elif not isinstance(block, Figure):
            found.append(block)
    return found


def _counts(found: Mapping[str, Any]) -> Definitions:
    records = found["records"]
    targets = f"{found['distinct_targets']}"
    if found["repeated_targets"]:
        targets += (
            f"; {found['repeated_targets']} occur more than once, one of them {found['most_repeated_target']} times; "
            "intervals are clustered by user, else by target"
        )
    present = ", ".join(f"{name} {share(n, records)}" for name, n in sorted(found["present"].items()))
    return Definitions(
        [
            ("records", f"{records}"),
            ("users named", f"{found['users']}"),
            ("distinct targets", targets),
            ("records with", present or "nothing but a post and two responses"),
            ("comments a record", _histogram(found["comments_per_record"])),
            ("choices a record", _histogram(found["choices_per_record"])),
        ]
    )


def _histogram(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{length}: {n}" for length, n in counts.items())


def _lengths(found: Mapping[str, Any]) -> list[Block]:
    lengths = found["lengths"]
    rows = [
        (name, f"{row['mean']:.1f}", *(str(row[at]) for at in ("min", "median", "p95", "max")))
        for name in ("prompt", "chosen", "rejected")
        if (row := lengths.get(name))
    ]
    caption = f"{lengths['method'].upper()} prompts, whole history."
    said: list[Block] = [Table(("", "mean", "min", "median", "p95", "max"), rows, caption)]
    if lengths["untold"]:
        untold = share(lengths["untold"], found["records"])
        said.append(Paragraph(f"{untold} have no preference direction for PBA to put into words."))
    return said
