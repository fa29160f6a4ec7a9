"""What an evaluation wants to know of the records that it holds: whose they are, and which look suspicious."""

from collections import Counter
from typing import Any

from alignx.prompts.reporting.contents import Contents
from alignx.prompts.reporting.health.histories import equal_choices, own_choices, repeated_items
from alignx.records import Record


class Health(Contents):
    """Counts with the names of users, targets and suspicious records: for sources small enough to be held."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        super().__init__()
        self.users: set[str] = set()
        self.targets: Counter[str] = Counter()
        self.contains_own_target: list[str] = []
        self.repeated_items: list[str] = []
        self.indifferent_items: list[str] = []

    def add(self, record: Record) -> None:
        """Count one record."""
        super().add(record)
        if record.user is not None:
            self.users.add(record.user)
        self.targets[record.target] += 1
        if own_choices(record):
            self.contains_own_target.append(record.id)
        if any(repeated_items(record.persona)):
            self.repeated_items.append(record.id)
        if equal_choices(record.persona):
            self.indifferent_items.append(record.id)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **super().as_dict(),
            "users": len(self.users),
            "distinct_targets": len(self.targets),
            "repeated_targets": sum(n > 1 for n in self.targets.values()),
            "most_repeated_target": max(self.targets.values(), default=0),
            "history_contains_own_target": self.contains_own_target,
            "history_repeats_an_item": self.repeated_items,
            "history_choice_between_equals": self.indifferent_items,
        }
