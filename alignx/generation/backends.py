"""What answers prompts: the interface that a model on this machine and a server have in common."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from alignx.generation.prompting import PromptEncoder
from alignx.manifest import ModelIdentity
from alignx.prompts import EncodedPair


@dataclass(frozen=True)
class Said:
    """A response as it came."""

    text: str
    finish: Literal["stop", "length"]
    prompt_tokens: int
    response_tokens: int
    """The end token included."""


class Backend(Protocol):
    """Answers prompts."""

    @property
    def name(self) -> str:
        """Of the model, as far as it may say which preset it wants."""

    @property
    def folder(self) -> Path | None:
        """Of its files on this machine."""

    def identity(self) -> ModelIdentity:
        """Which model answers."""

    def tokenizer(self) -> Any:
        """Its tokenizer, loaded."""

    def answer(self, prompts: Sequence[EncodedPair], encoder: PromptEncoder) -> Iterator[tuple[EncodedPair, Said]]:
        """Each prompt with a response, in any order; one that cannot be had is left out and among the failures."""

    def estimate(self, prompts: Sequence[EncodedPair], encoder: PromptEncoder) -> str:
        """What it would take, in words; nothing is answered."""

    def failures(self) -> dict[str, str]:
        """Why there is no response, by id."""

    def found(self) -> dict[str, Any]:
        """What was found out on the way, for the manifest."""
