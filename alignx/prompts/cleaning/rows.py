"""What becomes of one row: which history items go, and what its texts become."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from alignx.prompts.cleaning.settings import Drop
from alignx.prompts.reporting.health.contacts import Contact, redact
from alignx.prompts.reporting.health.histories import equal_choices, own_texts, repeated_items
from alignx.prompts.reporting.health.oddities import INVISIBLE, SHORT, has_invisible
from alignx.records import Persona, Record
from alignx.records.parsing import CHOICES, COMMENTS, DEMOGRAPHICS

_NOBODY = Persona()
Change = Callable[[str], str]


class Rows:
    """Cleans rows one by one, and counts what it does.

    Attributes:
        items: History items that were left out, by why.
        texts: Characters and contacts taken out of texts, by what.
        profiles: Records with a ready profile whose history lost an item: the profile was made from all of it.
    """

    def __init__(self, drops: frozenset[Drop], contacts: tuple[Contact, ...]) -> None:
        """Say what to do; nothing is counted yet."""
        self._drops, self._contacts = drops, contacts
        self.items: Counter[str] = Counter()
        self.texts: Counter[str] = Counter()
        self.profiles = 0

    def reason_to_drop(self, record: Record) -> Drop | None:
        """Why a record is left out for itself, whatever others there are; None where it stays."""
        if (
            Drop.SHORT_RESPONSES in self._drops
            and min(len(record.chosen.strip()), len(record.rejected.strip())) < SHORT
        ):
            return Drop.SHORT_RESPONSES
        if Drop.NO_PERSONA in self._drops and self._without_items(record) == _NOBODY:
            return Drop.NO_PERSONA
        return None

    def _items_to_drop(self, record: Record) -> tuple[dict[int, Drop], dict[int, Drop]]:
        """Places of comments and of choices that are left out, with why; the first reason counts."""
        comments: dict[int, Drop] = {}
        choices: dict[int, Drop] = {}
        if Drop.OWN_TARGET in self._drops:
            own = own_texts(record)
            comments |= dict.fromkeys(own[0], Drop.OWN_TARGET)
            choices |= dict.fromkeys(own[1], Drop.OWN_TARGET)
        if Drop.EQUAL_CHOICES in self._drops:
            choices = dict.fromkeys(equal_choices(record.persona), Drop.EQUAL_CHOICES) | choices
        if Drop.REPEATED_ITEMS in self._drops:
            again = repeated_items(record.persona)
            comments = dict.fromkeys(again[0], Drop.REPEATED_ITEMS) | comments
            choices = dict.fromkeys(again[1], Drop.REPEATED_ITEMS) | choices
        return comments, choices

    def _without_items(self, record: Record) -> Persona:
        comments, choices = self._items_to_drop(record)
        persona = record.persona
        return replace(
            persona,
            comments=tuple(item for place, item in enumerate(persona.comments) if place not in comments),
            choices=tuple(item for place, item in enumerate(persona.choices) if place not in choices),
        )

    def clean(self, record: Record, raw: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """The row as it is written, and whether one of its texts changed."""
        row = dict(raw)
        for name, gone in zip((COMMENTS, CHOICES), self._items_to_drop(record), strict=True):
            if gone:
                row[name] = [item for place, item in enumerate(row[name]) if place not in gone]
                self.items.update(reason.value for reason in gone.values())
        lost = sum(len(row.get(name) or ()) for name in (COMMENTS, CHOICES))
        if record.persona.profile is not None and lost < len(record.persona.comments) + len(record.persona.choices):
            self.profiles += 1
        before = self.texts.total()
        self._change_texts(row)
        return row, self.texts.total() > before

    def _change_texts(self, row: dict[str, Any]) -> None:
        self._change(row, "prompt", self._plain)
        for name in ("chosen", "rejected"):
            self._change(row, name, self._response)
        for name in (DEMOGRAPHICS, "profile"):
            self._change(row, name, self._plain)
        for name in (COMMENTS, CHOICES):
            if row.get(name):
                items = [dict(item) for item in row[name]]
                for item in items:
                    self._change(item, "prompt", self._plain)
                    for said in ("comment", "chosen", "rejected"):
                        self._change(item, said, self._response)
                row[name] = items

    def _change(self, row: dict[str, Any], name: str, change: Change) -> None:
        if row.get(name):
            row[name] = change(row[name])

    def _plain(self, text: str) -> str:
        if Drop.INVISIBLE in self._drops and has_invisible(text):
            text, n = INVISIBLE.subn("", text)
            self.texts[Drop.INVISIBLE.value] += n
        if self._contacts:
            text, counts = redact(text, self._contacts)
            self.texts.update({kind: n for kind, n in counts.items() if n})
        return text

    def _response(self, text: str) -> str:
        text = self._plain(text)
        if Drop.OUTER_SPACE in self._drops and (bare := text.strip()) != text:
            self.texts[Drop.OUTER_SPACE.value] += len(text) - len(bare)
            return bare
        return text
