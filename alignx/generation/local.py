"""Responses of a transformers model on this machine."""

from collections.abc import Iterator, Sequence
from typing import Any

from alignx.generation.backends import Said
from alignx.generation.prompting import PromptEncoder
from alignx.generation.settings import GenerateSettings
from alignx.manifest import ModelIdentity
from alignx.models.loading import choose_dtype, find_model, load_model
from alignx.prompts import EncodedPair, load_tokenizer

BATCH_SIZE = {"cpu": 8}
BATCH_TOKENS = {"cpu": 16_384}
_ELSEWHERE = 32, 65_536


class LocalModel:
    """A model whose files are here; its weights are loaded when there is something to answer."""

    def __init__(self, settings: GenerateSettings, device: Any) -> None:
        """Find it.

        Raises:
            ModelError: It is not there.
        """
        self._settings, self._device = settings, device
        self._files = find_model(settings.model, settings.revision, settings.base)
        self.name, self.folder = self._files.name, self._files.folder
        self._found: dict[str, Any] = {}

    def identity(self) -> ModelIdentity:
        """Digests of its weights and tokenizer."""
        return self._files.identity(choose_dtype(self._settings.dtype))

    def tokenizer(self) -> Any:
        """Its tokenizer, loaded."""
        return load_tokenizer(str(self.folder), trust_remote_code=self._settings.trust_remote_code)

    def answer(self, prompts: Sequence[EncodedPair], encoder: PromptEncoder) -> Iterator[tuple[EncodedPair, Said]]:
        """Each prompt with its response, the longest prompts first.

        Raises:
            ModelError: The model cannot be loaded, a prompt does not fit into memory, or logits are not numbers.
        """
        from alignx.generation.decoding import Generator, Prompt

        settings, device = self._settings, self._device.type
        dtype = choose_dtype(settings.dtype)
        model = load_model(self._files, dtype, settings.attention, settings.trust_remote_code)
        generator = Generator(model, encoder.ends, settings.sampling, settings.max_new_tokens, self._device)
        rows = settings.batch_size or BATCH_SIZE.get(device, _ELSEWHERE[0])
        tokens = settings.batch_tokens or BATCH_TOKENS.get(device, _ELSEWHERE[1])
        by_id = {pair.id: pair for pair in prompts}
        ordered = sorted(prompts, key=lambda pair: -len(pair.prompt_ids))
        for batch in generator.batches([Prompt(pair.id, pair.prompt_ids) for pair in ordered], rows, tokens):
            generated = generator.generate(batch)
            self._found = {"exact": generator.exact, **(generator.reading.as_dict() if generator.exact else {})}
            for one, response in zip(batch, generated, strict=True):
                stopped = response.finish == "stop"
                text = encoder.text(response.ids[:-1] if stopped else response.ids)
                yield by_id[one.id], Said(text, response.finish, len(one.ids), len(response.ids))

    def estimate(self, prompts: Sequence[EncodedPair], encoder: PromptEncoder) -> str:
        """How much there is to read and, at most, to write."""
        read = sum(len(pair.prompt_ids) for pair in prompts)
        most = len(prompts) * self._settings.max_new_tokens
        return f"{len(prompts):,} prompts of {read:,} tokens to read, at most {most:,} tokens to write, on this machine"

    def failures(self) -> dict[str, str]:
        """None: a model that cannot answer ends the run."""
        return {}

    def found(self) -> dict[str, Any]:
        """Whether responses are exact, and how near reading together was to reading alone."""
        return self._found
