"""Text to token ids: the only tokenisation in the project."""

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from alignx.errors import ModelError
from alignx.manifest import digest
from alignx.prompts.condition import Condition
from alignx.prompts.framing import Framing, Region, compile_framing, conversation, template_text
from alignx.prompts.presets import Preset, load_preset
from alignx.prompts.rendering import Rendered

_PROBE = Rendered(
    "Answer as this user would like it.",
    '***Task***\n\nIs 3.14 < 22/7? It\'s "naïve"…  two spaces,\ttab — 12345 🙂 日本語\n\n'
    "1. *Post:*\nx\n\n\n\n***Response:***\n\n",
)
_PROBE_RESPONSE = "Yes: 22/7 is 3.142857…\n\n- it's larger 🙂"


class Encoder:
    """Encodes prompts and responses for one tokenizer, preset and date.

    Region by region: the template's control tokens by id, the text between two of them as text. Control-token text
    inside a post or comment therefore stays text, and clean text gets exactly the ids of the whole string (but for a
    tokenizer that would merge the end of the prompt with the beginning of a response, which generation never does).
    """

    def __init__(self, tokenizer: Any, condition: Condition) -> None:
        """Compile the framing and check it on a probe.

        Args:
            tokenizer: A transformers tokenizer with a fast (Rust) backend.
            condition: Whose preset and date to use.

        Raises:
            ModelError: The tokenizer has no fast backend, lacks what the preset needs, or splits text so that regions
                and the whole string differ.
        """
        self.name: str = str(tokenizer.name_or_path)
        self.tokenizer = tokenizer
        self._control = control_tokens(tokenizer, condition.date)
        self.control_ids = frozenset(self._control.values())
        self._backend = _plain_backend(tokenizer, self._control)
        self._preset = preset = load_preset(condition.preset)
        self.framing: Framing = compile_framing(tokenizer, self._control, preset, condition.date)
        self._constants: dict[str, list[int]] = {}
        self._check_probe(preset, condition.date)

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs to encode alike, which is not transformers' tokenizer."""
        return {**self.__dict__, "tokenizer": None}

    @cached_property
    def digest(self) -> str:
        """Digest of the tokenizer's rules, the framing and the wording: equal digests encode alike."""
        control = sorted(self._control.items())
        return digest(self._backend.to_str(), control, repr(self.framing), self._preset)

    def prompt(self, rendered: Rendered) -> list[int]:
        """Token ids of a prompt, up to where the response begins."""
        return self.prompts([rendered])[0]

    def prompts(self, batch: Sequence[Rendered]) -> list[list[int]]:
        """Token ids of several prompts, encoded together on all cores."""
        return self._encode(
            [(self.framing.prompt, self.framing.texts(rendered.instruction, rendered.user)) for rendered in batch]
        )

    def responses(self, texts: Iterable[str]) -> list[list[int]]:
        """Token ids of several responses, each with its end-of-turn token."""
        return self._encode([(self.framing.response, self.framing.response_texts(text)) for text in texts])

    def _encode(self, jobs: list[tuple[tuple[int | Region, ...], dict[str, str]]]) -> list[list[int]]:
        """Fill, tokenise the varying regions of all jobs in one call, and join."""
        varying = [
            part.fill(texts) for parts, texts in jobs for part in parts if isinstance(part, Region) and part.varies
        ]
        tokenised = iter(self._tokenise(varying))
        sequences = []
        for parts, texts in jobs:
            ids: list[int] = []
            for part in parts:
                if isinstance(part, int):
                    ids.append(part)
                else:
                    ids += next(tokenised) if part.varies else self._constant(part.fill(texts))
            sequences.append(ids)
        return sequences

    def _constant(self, text: str) -> list[int]:
        """Ids of a region that no record changes: a role's name, the instruction."""
        if text not in self._constants:
            self._constants[text] = self._tokenise([text])[0]
        return self._constants[text]

    def _tokenise(self, texts: list[str]) -> list[list[int]]:
        """Ids of plain texts.

        Raises:
            ModelError: The tokenizer made a control token of plain text.
        """
        sequences = [encoding.ids for encoding in self._backend.encode_batch_fast(texts, add_special_tokens=False)]
        for text, ids in zip(texts, sequences, strict=True):
            if not self.control_ids.isdisjoint(ids):
                token = self._backend.id_to_token(next(i for i in ids if i in self.control_ids))
                raise ModelError(f"{self.name}: tokenises plain text into the control token {token}: {text[:60]!r}")
        return sequences

    def _check_probe(self, preset: Preset, date: str) -> None:
        """Compare regions with the whole string, and the framing with the chat template, on clean text.

        Raises:
            ModelError: They differ, so encoding region by region would not give the model its own format.
        """
        framing = self.framing
        texts = framing.texts(_PROBE.instruction, _PROBE.user) | framing.response_texts(_PROBE_RESPONSE)
        by_id = {token_id: token for token, token_id in self._control.items()}
        whole = "".join(
            by_id[part] if isinstance(part, int) else part.fill(texts) for part in (*framing.prompt, *framing.response)
        )
        if preset.framing == "chat-template":
            own = conversation(self.tokenizer, framing, date, (_PROBE.instruction, _PROBE.user, _PROBE_RESPONSE))
            if not own.startswith(whole):
                raise ModelError(
                    f"{self.name}: its chat template changes what a turn says, so its prompts cannot be reproduced "
                    "piece by piece"
                )
        expected: list[int] = self.tokenizer(whole, add_special_tokens=False)["input_ids"]
        found = self.prompt(_PROBE) + self.responses([_PROBE_RESPONSE])[0]
        if found != expected:
            place = next(
                (i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b),
                min(len(found), len(expected)),
            )
            raise ModelError(
                f"{self.name}: its tokenizer splits a text differently alone and inside the whole prompt (first at "
                f"token {place}), so "
                "user text cannot be kept apart from control tokens; use a tokenizer in the style of Llama-3, Qwen or "
                "Gemma"
            )


def control_tokens(tokenizer: Any, date: str) -> dict[str, int]:
    """The tokens that no user text may become: special ones, and those the chat template names or writes."""
    declared = getattr(tokenizer, "chat_control_tokens", None) or ()
    named = str(tokenizer.chat_template or "") + template_text(tokenizer, date)
    return {
        token.content: token_id
        for token_id, token in tokenizer.added_tokens_decoder.items()
        if token.special or token.content in declared or (token.content.strip() and token.content in named)
    }


def _plain_backend(tokenizer: Any, control: dict[str, int]) -> Any:
    """A copy of the fast tokenizer to which control tokens are ordinary text."""
    from tokenizers import Tokenizer

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise ModelError(f"{tokenizer.name_or_path}: its tokenizer has no fast (Rust) backend, which encoding needs")
    description = json.loads(backend.to_str())
    for token in description["added_tokens"]:
        token["special"] = token["content"] in control
    plain = Tokenizer.from_str(json.dumps(description))
    plain.encode_special_tokens = True
    plain.no_truncation()
    plain.no_padding()
    return plain


def load_tokenizer(name: str, revision: str | None = None, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a model folder or hub id.

    Raises:
        ModelError: It cannot be loaded.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=trust_remote_code)
    except Exception as error:  # transformers raises OSError, ValueError, KeyError and hub errors for the same reason
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{name}: cannot load its tokenizer: {reason}") from error
