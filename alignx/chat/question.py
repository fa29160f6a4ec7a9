"""What is asked in one request, and the reply that cannot be used."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from alignx.errors import AlignXError
from alignx.manifest import digest

_TEMPLATE = 64
"""Tokens that a server puts around the texts, at most."""


class UnreadableError(AlignXError, ValueError):
    """A reply arrived and does not say what was asked for; the message is the reason, in a few words."""


@dataclass(frozen=True)
class Question:
    """One request to a model: an instruction, a text, and the JSON that the reply must be."""

    system: str
    user: str
    schema: Mapping[str, Any] = field(hash=False)
    """JSON schema of the reply in OpenAI's strict subset: every property required, no additional ones."""
    name: str
    """Of the schema: letters, digits, underscores."""
    max_tokens: int
    """Tokens that the reply may have; more than it needs when it is what was asked for."""

    @property
    def characters(self) -> int:
        """Of the texts and the schema, to estimate tokens from."""
        return len(self.system) + len(self.user) + self._schema_characters

    @property
    def most_tokens(self) -> int:
        """More than these can be in any tokenizer: a token is a byte at least, and a template adds a few of its own."""
        return len(self.system.encode()) + len(self.user.encode()) + self._schema_characters + _TEMPLATE

    @cached_property
    def _schema_characters(self) -> int:
        return len(json.dumps(self.schema))


@dataclass(frozen=True)
class Request:
    """A question as a particular model is asked it."""

    question: Question
    model: str
    temperature: float | None
    structure: str
    sampling: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What else decides the reply, as the protocol names it: ``top_p``, ``seed``."""
    prompt_ids: tuple[int, ...] | None = None
    """The question as token ids, for the server's completions; None: as messages, for its chat completions."""

    @cached_property
    def id(self) -> str:
        """Digest of everything that decides the reply; not of the address, since servers move."""
        asked = self.question
        more = [dict(self.sampling), self.prompt_ids] if self.sampling or self.prompt_ids is not None else []
        return digest(
            "chat/1",
            [self.model, self.temperature, self.structure],
            [asked.system, asked.user, asked.schema, asked.name, asked.max_tokens],
            *more,
        )[:32]

    @property
    def path(self) -> str:
        """Where it is sent, below the server's address."""
        return "/chat/completions" if self.prompt_ids is None else "/completions"

    @cached_property
    def body(self) -> dict[str, Any]:
        """What is sent."""
        asked = self.question
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "system", "content": asked.system}, {"role": "user", "content": asked.user}],
            "max_completion_tokens": asked.max_tokens,
            **self.sampling,
        }
        if self.prompt_ids is not None:
            del body["messages"], body["max_completion_tokens"]
            body |= {"prompt": list(self.prompt_ids), "max_tokens": asked.max_tokens}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.structure == "schema":
            schema = {"name": asked.name, "strict": True, "schema": dict(asked.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif self.structure == "json":
            body["response_format"] = {"type": "json_object"}
        return body


@dataclass(frozen=True)
class Ask:
    """A request, what it is about, and how its reply is read."""

    name: str
    """Of what is asked about, for messages."""
    request: Request
    read: Callable[[str], object]
    """Takes the reply's text; raises :class:`UnreadableError`."""
    any_text: bool = False
    """Whether whatever the model says is the reply, nothing and what the limit of tokens cut off included."""

    def takes(self, finish: str | None) -> bool:
        """Whether a reply that ended so is what was asked for, whatever its text."""
        return self.any_text and finish in ("stop", "length")
