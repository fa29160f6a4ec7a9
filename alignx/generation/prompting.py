"""The prompts that are answered: those that are scored, with room left for the longest possible response."""

from collections.abc import Iterable, Sequence
from typing import Any

from alignx.errors import SettingsError
from alignx.prompts import Condition, EncodedPair, Encoder, Rendered
from alignx.prompts.framing import RESPONSE, Region


class PromptEncoder(Encoder):
    """Encodes prompts as ever; a response takes as many tokens as it may get."""

    _reserved: list[int] | None = None

    def __init__(self, tokenizer: Any, condition: Condition, max_new_tokens: int, *, keep_texts: bool = False) -> None:
        """Compile the framing.

        Args:
            tokenizer: A transformers tokenizer with a fast backend.
            condition: What a model is told.
            max_new_tokens: Room for a response.
            keep_texts: Whether :meth:`said` will be asked.

        Raises:
            ModelError: The tokenizer cannot be used with this preset.
            SettingsError: No room is left for a prompt.
        """
        if max_new_tokens >= condition.max_length:
            raise SettingsError(
                f"--max-new-tokens {max_new_tokens} leaves no room for a prompt in --max-length {condition.max_length}"
            )
        self._said: dict[tuple[int, ...], Rendered] | None = {} if keep_texts else None
        super().__init__(tokenizer, condition)
        self._reserved = [0] * max_new_tokens  # the framing has been checked, with responses as they are

    def prompts(self, batch: Sequence[Rendered]) -> list[list[int]]:
        """Token ids of several prompts."""
        found = super().prompts(batch)
        if self._said is not None:
            self._said.update(zip(map(tuple, found), batch, strict=True))
        return found

    def responses(self, texts: Iterable[str]) -> list[list[int]]:
        """The room for several responses, whatever they are: a record's own are not read."""
        if self._reserved is None:
            return super().responses(texts)
        return [self._reserved for _ in texts]

    def said(self, pair: EncodedPair) -> Rendered:
        """What a prompt of this encoder says, before it was encoded."""
        assert self._said is not None
        return self._said[tuple(pair.prompt_ids)]

    def length(self, text: str) -> int:
        """Tokens of a response."""
        return len(super().responses([text])[0])

    @property
    def ends(self) -> tuple[int, ...]:
        """Tokens that end a response: the one that ends it in this preset first, then the tokenizer's own."""
        parts = self.framing.response
        slot = next(n for n, part in enumerate(parts) if isinstance(part, Region) and RESPONSE in part.pieces)
        after = [part for part in parts[slot + 1 :] if isinstance(part, int)]
        own = [self.tokenizer.eos_token_id] if self.tokenizer.eos_token_id is not None else []
        return tuple(dict.fromkeys([*after, *own]))

    def text(self, ids: Sequence[int]) -> str:
        """What a response's tokens say, control tokens left out."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text
