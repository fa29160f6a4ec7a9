"""What is scored: a prompt and its responses. Importing this loads no torch."""

from collections.abc import Sequence
from dataclasses import dataclass

BATCH_TOKENS = {"cpu": 2_048, "cuda": 16_384}
"""Tokens read together unless said otherwise, by device: more gain a CPU nothing and cost memory."""


@dataclass(frozen=True)
class Candidates:
    """A prompt and the responses to score under it, as token ids; any number of responses."""

    id: str
    prompt_ids: Sequence[int]
    responses: tuple[Sequence[int], ...]

    @property
    def tokens(self) -> int:
        """Tokens to read when the prompt stands once."""
        return len(self.prompt_ids) + sum(map(len, self.responses))

    @property
    def longest(self) -> int:
        """Tokens of the prompt and the longest response."""
        return len(self.prompt_ids) + max(map(len, self.responses), default=0)
