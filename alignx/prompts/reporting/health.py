"""What is there and what looks suspicious, counted a record at a time."""

from collections import Counter
from typing import Any

from alignx.records import Choice, Comment, Record


class Health:
    """What is counted, a record at a time."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.records = 0
        self.present: Counter[str] = Counter()
        self.comments: Counter[int] = Counter()
        self.choices: Counter[int] = Counter()
        self.users: set[str] = set()
        self.targets: Counter[str] = Counter()
        self.contains_own_target: list[str] = []
        self.repeated_items: list[str] = []
        self.indifferent_items: list[str] = []
        self.longer_chosen = 0

    def add(self, record: Record) -> None:
        """Count one record."""
        persona = record.persona
        items: list[Comment | Choice] = [*persona.comments, *persona.choices]
        self.records += 1
        self.comments[len(persona.comments)] += 1
        self.choices[len(persona.choices)] += 1
        self.present.update(
            name
            for name, there in {
                "demographics": bool(persona.demographics),
                "ready profile": persona.profile is not None,
                "own direction": record.direction is not None,
                "items with direction": any(item.direction is not None for item in items),
                "no persona": not (persona.comments or persona.choices or persona.demographics or persona.profile),
            }.items()
            if there
        )
        if record.user is not None:
            self.users.add(record.user)
        self.targets[record.target] += 1
        keys = [choice.key for choice in persona.choices]
        if record.target in keys:
            self.contains_own_target.append(record.id)
        if len(set(keys)) < len(keys) or len(set(persona.comments)) < len(persona.comments):
            self.repeated_items.append(record.id)
        if any(choice.chosen == choice.rejected for choice in persona.choices):
            self.indifferent_items.append(record.id)
        self.longer_chosen += len(record.chosen) > len(record.rejected)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "records": self.records,
            "users": len(self.users),
            "distinct_targets": len(self.targets),
            "repeated_targets": sum(n > 1 for n in self.targets.values()),
            "most_repeated_target": max(self.targets.values(), default=0),
            "present": dict(self.present),
            "comments_per_record": {str(k): v for k, v in sorted(self.comments.items())},
            "choices_per_record": {str(k): v for k, v in sorted(self.choices.items())},
            "history_contains_own_target": self.contains_own_target,
            "history_repeats_an_item": self.repeated_items,
            "history_choice_between_equals": self.indifferent_items,
            "chosen_is_longer": self.longer_chosen,
        }
