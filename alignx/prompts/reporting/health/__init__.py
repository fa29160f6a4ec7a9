"""What looks wrong with a source of records: one module a check, each counting a record at a time."""

from alignx.prompts.reporting.health.held import Health

__all__ = ["Health"]
