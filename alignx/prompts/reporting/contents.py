"""What is in a source of records, counted a record at a time in memory that does not grow."""

from collections import Counter
from typing import Any

from alignx.records import Choice, Comment, Record


class Contents:
    """Which parts records have, and how many history items."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.records = 0
        self.present: Counter[str] = Counter()
        self.comments: Counter[int] = Counter()
        self.choices: Counter[int] = Counter()
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
                "no persona": not (items or persona.demographics or persona.profile),
            }.items()
            if there
        )
        self.longer_chosen += len(record.chosen) > len(record.rejected)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "records": self.records,
            "present": dict(self.present),
            "comments_per_record": {str(k): v for k, v in sorted(self.comments.items())},
            "choices_per_record": {str(k): v for k, v in sorted(self.choices.items())},
            "chosen_is_longer": self.longer_chosen,
        }
