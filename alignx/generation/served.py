"""Responses of a server that speaks OpenAI's protocol: token ids where it takes them, else messages."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from alignx.chat.asking import ask
from alignx.chat.estimating import estimate
from alignx.chat.prices import find_price
from alignx.chat.question import Ask, Question, Request
from alignx.chat.replies import Replies, reading
from alignx.errors import ApiError
from alignx.generation.backends import Said
from alignx.generation.prompting import PromptEncoder
from alignx.generation.settings import GenerateSettings
from alignx.manifest import ModelIdentity
from alignx.prompts import EncodedPair, load_tokenizer


class ServedModel:
    """A model behind an address. Replies are kept beside the output, so that nothing is paid twice."""

    def __init__(self, settings: GenerateSettings) -> None:
        """Name the server; nothing is sent.

        Raises:
            SettingsError: The address cannot be used.
        """
        self._settings, self._server = settings, settings.server
        self._url = self._server.url
        self.name = settings.tokenizer or settings.model
        self.folder = Path(self.name) if Path(self.name).is_dir() else None
        self.replies = settings.output.with_name(settings.output.name + ".replies.jsonl")
        self._failures: dict[str, str] = {}
        self._found: dict[str, Any] = {}

    def identity(self) -> ModelIdentity:
        """Its name alone: nobody knows a server's weights."""
        return ModelIdentity(name=self._settings.model, digest="", tokenizer="")

    def tokenizer(self) -> Any:
        """The tokenizer that prompts are measured with, and encoded where token ids are sent."""
        return load_tokenizer(self.name, self._settings.revision, self._settings.trust_remote_code)

    def answer(self, prompts: Sequence[EncodedPair], encoder: PromptEncoder) -> Iterator[tuple[EncodedPair, Said]]:
        """Ask for what has no reply yet, then give every reply there is.

        Raises:
            ApiError: No request can succeed.
            PartialError: The money that was allowed does not suffice, or the server asks for more patience.
        """
        asks = [self._ask(pair, encoder) for pair in prompts]
        with Replies(self.replies) as replies:
            try:
                tally = ask(asks, self._server, self._settings.model, replies, len(asks))
            except ApiError as error:
                if self._settings.send == "tokens" and "HTTP 404" in str(error):
                    raise ApiError(f"{error}; a server without /completions wants --send messages") from None
                raise
            requests = {**vars(tally), "seconds": round(tally.seconds, 1)}
            self._found = {"url": self._url, "requests": requests, "spent": round(replies.spent, 6)}
            self._found["tokens"] = replies.tokens.as_dict()
            for pair, one in zip(prompts, asks, strict=True):
                found = reading(one, replies)
                if found.problem is not None or found.reply is None:
                    self._failures[pair.id] = (found.problem or "no reply").partition(" (attempt")[0]
                    continue
                counted = found.reply
                yield (
                    pair,
                    Said(
                        text=found.value,
                        finish="length" if counted.finish == "length" else "stop",
                        prompt_tokens=counted.prompt_tokens or len(pair.prompt_ids),
                        response_tokens=counted.reply_tokens or encoder.length(found.value),
                    ),
                )

    def _ask(self, pair: EncodedPair, encoder: PromptEncoder) -> Ask:
        settings, said = self._settings, encoder.said(pair)
        sampling: dict[str, Any] = {"top_p": settings.top_p, "seed": settings.seed}
        if settings.top_k:
            sampling["top_k"] = settings.top_k
        ids = None
        if settings.send == "tokens":
            ids = tuple(pair.prompt_ids)
            sampling["stop_token_ids"] = list(encoder.ends)
        question = Question(said.instruction, said.user, {}, "response", settings.max_new_tokens)
        temperature = self._server.temperature
        return Ask(pair.id, Request(question, settings.model, temperature, "text", sampling, ids), str, any_text=True)

    def estimate(self, prompts: Sequence[EncodedPair], encoder: PromptEncoder) -> str:
        """What it takes to answer what has no reply yet; nothing is sent."""
        asks = [self._ask(pair, encoder) for pair in prompts]
        price = find_price(self._settings.model, self._settings.prices)
        if not self.replies.is_file():
            return str(estimate(asks, None, price))
        with Replies(self.replies) as replies:
            return str(estimate(asks, replies, price))

    def failures(self) -> dict[str, str]:
        """Why there is no response, by id."""
        return self._failures

    def found(self) -> dict[str, Any]:
        """Whom was asked, how often, and what it did cost."""
        return self._found
