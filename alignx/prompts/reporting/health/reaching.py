"""Texts by which a person could be reached: e-mail addresses and phone numbers, counted and never shown."""

from collections import Counter
from collections.abc import Iterable

from alignx.prompts.reporting.health.contacts import CONTACTS, Contact, find, mask, maybe
from alignx.prompts.reporting.health.finding import Commands, Finding, Listing, Tally

_NAMES: dict[Contact, str] = {"email": "E-mail addresses", "phone": "Phone numbers"}


class Reaching:
    """Counts of records and of fields, with masked examples."""

    def __init__(self) -> None:
        """Start with none."""
        self._tallies = {kind: Tally() for kind in CONTACTS}
        self._fields: dict[Contact, Counter[str]] = {kind: Counter() for kind in CONTACTS}

    def add(self, record_id: str, texts: Iterable[tuple[str, str]], everything: str) -> None:
        """Look at a record's texts, by field; ``everything`` holds them all."""
        for kind in CONTACTS:
            if not maybe(everything, kind):
                continue
            named = ""
            for field, text in texts:
                if found := find(text, kind):
                    self._fields[kind][field] += len(found)
                    named = named or f"{mask(found[0])} in {field}"
            if named:
                self._tallies[kind].add(record_id, named)

    def findings(self, records: int, commands: Commands) -> list[Finding]:
        """What was found in so many records."""
        return [self._finding(kind, records, commands) for kind in CONTACTS]

    def _finding(self, kind: Contact, records: int, commands: Commands) -> Finding:
        tally, fields = self._tallies[kind], self._fields[kind]
        rows = [(field, str(n)) for field, n in sorted(fields.items(), key=lambda item: (-item[1], item[0]))]
        return Finding(
            f"{kind}s",
            _NAMES[kind],
            tally.n,
            records,
            "records",
            "fix" if tally.n else "ok",
            "A model may learn them by heart and say them to others. Counted where the form leaves little doubt, so "
            "that versions, dates, prices, ISBNs and @mentions are not taken for one; others may be left. The examples "
            "are masked here; `data clean` puts a placeholder in their place.",
            [commands.clean(redact=kind)] if tally.n else [],
            tally.examples,
            [Listing(("field", "how many"), rows, f"{sum(fields.values())} in all.", "lr", "By field")] if rows else [],
            {"occurrences": sum(fields.values()), "by_field": dict(fields)},
        )
