"""The page of several comparisons side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from alignx import manifest
from alignx.evaluation.report.win_rates import side_by_side
from alignx.pages import Page, Section, literal


def table_page(rows: Sequence[Mapping[str, Any]], judge: str) -> Page:
    """The page.

    Args:
        rows: Comparisons, as in the JSON beside the page.
        judge: Its model.
    """
    return Page(
        title="Win rates",
        lead=f"{len(rows)} comparisons, judged by {literal(judge)}.",
        sections=[Section("Win rates", side_by_side(rows))],
        footer=f"Made by alignx {manifest.versions()['alignx']}.",
    )
