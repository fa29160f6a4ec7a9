"""The report on a source of records: what is there, what looks wrong, and which preferences go together."""

from alignx.prompts.reporting.report import report
from alignx.prompts.reporting.settings import ReportSettings

__all__ = ["ReportSettings", "report"]
