"""Histories that give the answer away or say a thing twice."""

from collections.abc import Sequence

from alignx.prompts.reporting.health.finding import Commands, Finding, Tally, Verdict
from alignx.records import Choice, Persona, Record


def own_choices(record: Record) -> list[int]:
    """Which choices of a history are the record's own target: the same post, chosen and rejected."""
    target = (record.prompt, record.chosen, record.rejected)
    return [i for i, c in enumerate(record.persona.choices) if (c.prompt, c.chosen, c.rejected) == target]


def own_texts(record: Record) -> tuple[list[int], list[int]]:
    """Which comments and which choices of a history show one of the record's two responses, under whatever post.

    White space around a text does not count. A choice that is the target itself is among them.
    """
    texts = {record.chosen.strip(), record.rejected.strip()}
    comments = [i for i, c in enumerate(record.persona.comments) if c.comment.strip() in texts]
    choices = [
        i for i, c in enumerate(record.persona.choices) if c.chosen.strip() in texts or c.rejected.strip() in texts
    ]
    return comments, choices


def repeated_items(persona: Persona) -> tuple[list[int], list[int]]:
    """Which comments and which choices of a history have been there before, texts and directions compared."""
    return _again(persona.comments), _again(persona.choices)


def equal_choices(persona: Persona) -> list[int]:
    """Which choices of a history are between two equal texts."""
    return [i for i, choice in enumerate(persona.choices) if choice.chosen == choice.rejected]


def _again(items: Sequence[object]) -> list[int]:
    if len(items) < 2:
        return []
    seen: set[object] = set()
    again = []
    for place, item in enumerate(items):
        # The texts of a choice, whatever direction was inferred for it, as for the key of a target.
        key = (item.prompt, item.chosen, item.rejected) if isinstance(item, Choice) else item
        if key in seen:
            again.append(place)
        seen.add(key)
    return again


class Histories:
    """Counts of records, the first of each named."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.own_target, self.own_text, self.repeated, self.equal = Tally(), Tally(), Tally(), Tally()

    def add(self, record: Record) -> None:
        """Look at one record's history."""
        persona = record.persona
        if not (persona.comments or persona.choices):
            return
        if own_choices(record):
            self.own_target.add(record.id, record.prompt)
        else:
            comments, choices = own_texts(record)
            if comments or choices:
                shown = persona.comments[comments[0]].prompt if comments else persona.choices[choices[0]].prompt
                self.own_text.add(record.id, f"under {shown}")
        again = repeated_items(persona)
        if again[0] or again[1]:
            item = persona.comments[again[0][0]] if again[0] else persona.choices[again[1][0]]
            self.repeated.add(record.id, item.prompt)
        if equal := equal_choices(persona):
            self.equal.add(record.id, persona.choices[equal[0]].chosen)

    def findings(self, records: int, commands: Commands) -> list[Finding]:
        """What was found in so many records."""

        def finding(key: str, title: str, tally: Tally, verdict: Verdict, meaning: str, drop: str) -> Finding:
            said = [commands.clean(drop=drop)] if tally.n else []
            found: Verdict = verdict if tally.n else "ok"
            return Finding(key, title, tally.n, records, "records", found, meaning, said, tally.examples)

        return [
            finding(
                "history_contains_own_target",
                "Histories that contain their own target",
                self.own_target,
                "fix",
                "A choice of the history is the very one that is asked about: the prompt says the answer.",
                "own-target",
            ),
            finding(
                "history_contains_own_text",
                "Histories that show a response of their target",
                self.own_text,
                "fix",
                "The chosen or the rejected text stands in the history, as a comment or in another choice, under the "
                "same post or another: a model can look up which of them this user liked. Histories that contain the "
                "whole target are counted above and not here.",
                "own-target",
            ),
            finding(
                "history_repeats_an_item",
                "Histories that repeat an item",
                self.repeated,
                "look",
                "The same comment, or the same choice, stands in a history twice or more. It takes room in the prompt, "
                "and counts twice in a profile made from the history.",
                "repeated-items",
            ),
            finding(
                "history_choice_between_equals",
                "History choices between equal texts",
                self.equal,
                "look",
                "Chosen and rejected of a history item are the same text, so that it prefers nothing.",
                "equal-choices",
            ),
        ]
