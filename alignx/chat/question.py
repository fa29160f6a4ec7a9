"""What is asked in one request, and the reply that cannot be used."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from alignx.errors import AlignXError


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
