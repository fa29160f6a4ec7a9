"""Pairs as text: what a model is told and both responses, for tools that tokenise themselves."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from alignx.errors import DataError
from alignx.prompts.condition import Condition
from alignx.prompts.pairs import count_told, profile_kind, says_nothing, tell_all
from alignx.prompts.rendering import render
from alignx.prompts.telling import Told
from alignx.records import Record, Taxonomy


@dataclass(frozen=True)
class TextPair:
    """One record as text, whole: without a tokenizer there is no budget to trim it to."""

    id: str
    instruction: str
    """The system turn."""
    prompt: str
    """The user turn."""
    chosen: str
    rejected: str
    cluster: str
    target: str
    history_items: int
    profile: str
    persona_empty: bool


class BatchRenderer:
    """Renders records under one condition; what comes of a record depends on it alone."""

    def __init__(self, condition: Condition, taxonomy: Taxonomy) -> None:
        """Take what prompts depend on."""
        self.condition, self.taxonomy = condition, taxonomy
        self.counts: Counter[str] = Counter()
        """Records, empty personas, and where profiles came from."""

    def encode(
        self, batch: Sequence[Record], donors: Mapping[str, Record] | None = None
    ) -> Iterator[tuple[int, TextPair | DataError]]:
        """The place of each record in the batch, and its texts or why there are none; in no certain order."""
        told, refused = tell_all(batch, self.condition, self.taxonomy, donors)
        yield from refused
        for place, said in told:
            yield place, self._pair(batch[place], said)

    def _pair(self, record: Record, told: Told) -> TextPair:
        rendered = render(record, told, self.condition)
        profile, empty = profile_kind(told, self.condition), says_nothing(told, self.condition)
        count_told(self.counts, told, self.condition, profile, empty)
        return TextPair(
            record.id,
            rendered.instruction,
            rendered.user,
            record.chosen,
            record.rejected,
            record.cluster,
            record.target,
            told.items,
            profile,
            empty,
        )
