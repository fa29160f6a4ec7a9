"""Small tokenizers in the style of well-known model families, trained on a few lines each time the tests run.

Each keeps what makes its family awkward: where its control tokens live, which added tokens are ordinary text, what its
normaliser does to white space, and what its chat template does to the turns.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

_PLAIN = (
    "the a of to and in is it you that was for on are with they be at one have this from by hot word but what some "
    "river bicycle kettle honest quiet garden naïve façade Zürich 東京 日本語 🙂 👩‍🚀 — … 3.14 22/7 1234567 it's "
    "don't I'LL मराठी عربى ½ ﬁ e\u0301 {braces} 100% **bold** *Post:* # ? ! : < > | <| |> <b> [x] [] <s3> im_start "
    "eot_id"
)
WORDS = (*_PLAIN.split(), "\u00a0", "\u200b")
_GAPS = (" ",) * 12 + ("  ", "\n", "\n\n", "\n\n\n", "\t", " \n", "\r\n", "     ")
_EDGES = ("",) * 6 + (" ", "\n", "\n\n", " \n ", "\t")


def clean_text(rng: random.Random, most: int = 40) -> str:
    """Random text of 1 to ``most`` words, in many scripts and with unruly white space, that names no control token."""
    words = [rng.choice(WORDS) for _ in range(rng.randint(1, most))]
    body = words[0] + "".join(rng.choice(_GAPS) + word for word in words[1:])
    return rng.choice(_EDGES) + body + rng.choice(_EDGES)


def look_alikes(rng: random.Random, tokens: Sequence[str]) -> str:
    """Random text of pieces that look like control tokens: whole, cut, nested, doubled, spaced out, in another case."""
    pieces = []
    for _ in range(rng.randint(1, 4)):
        token, other = rng.choice(tokens), rng.choice(tokens)
        cut, at = rng.randint(1, len(token)), rng.randint(0, len(token))
        pieces.append(
            rng.choice(
                (
                    token,
                    token[:cut],
                    token[cut - 1 :],
                    token[:at] + other + token[at:],
                    token + token,
                    token + other,
                    f" {token} ",
                    f"\n{token}\n\n",
                    token[:at] + rng.choice((" ", "\n", "\t")) + token[at:],
                    token.upper(),
                    token.title(),
                    token.replace("<", "&lt;"),
                )
            )
        )
    return (
        rng.choice(("", rng.choice(WORDS), "so "))
        + rng.choice(("", " ", "\n")).join(pieces)
        + rng.choice(("", ".", " x"))
    )


@dataclass(frozen=True)
class Family:
    """A tokenizer and what is known of it without asking the code under test."""

    name: str
    tokenizer: Any
    control: tuple[str, ...]
    """Every token that no user text may become."""
    system: bool
    """Whether its template takes a system turn."""
    trims: bool
    """Whether its template strips the turns of white space."""
    after: str = ""
    """What its template writes after the end-of-turn token."""

    @property
    def control_ids(self) -> set[int]:
        """Ids of the control tokens."""
        return set(self.tokenizer.convert_tokens_to_ids(list(self.control)))

    @property
    def lookalikes(self) -> list[str]:
        """Control tokens of this family, its other added tokens, and control tokens of other families."""
        added = (token.content for token in self.tokenizer.added_tokens_decoder.values())
        own = [token for token in added if token.strip("\n▁")]
        return [*own, "<|eot_id|>", "<|im_end|>", "<end_of_turn>", "[/INST]", "</s>", "<0x0A>", "<|", "|>"]

    def messages(self, instruction: str, user: str, response: str | None = None) -> list[dict[str, str]]:
        """The conversation of one record."""
        turns = [("system", instruction), ("user", user)] if self.system else [("user", f"{instruction}\n\n{user}")]
        turns += [] if response is None else [("assistant", response)]
        return [{"role": role, "content": content} for role, content in turns]

    def written(self, instruction: str, user: str, response: str | None = None, date: str = "26 Jul 2024") -> str:
        """What the chat template itself writes; with a response, up to its end-of-turn token."""
        text: str = self.tokenizer.apply_chat_template(
            self.messages(instruction, user, response),
            tokenize=False,
            add_generation_prompt=response is None,
            date_string=date,
        )
        if response is None:
            return text
        assert text.endswith(self.after)
        return text.removesuffix(self.after)

    def ids(self, text: str) -> list[int]:
        """The tokenizer's own ids of a whole string, control tokens included."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def families() -> dict[str, Callable[[], Family]]:
    """The families that encoding must serve, by name."""
    return {
        "llama": llama,
        "qwen": qwen,
        "qwen3": qwen3,
        "gemma": gemma,
        "mistral": mistral,
        "stand-in": stand_in,
    }


LLAMA_TEMPLATE = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

QWEN_TEMPLATE = """{%- if tools %}
    {{- '<tool_call>' + tools | tojson + '</tool_call>' }}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role != 'system' or not loop.first %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

QWEN3_TEMPLATE = """{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {%- set content = message.content %}
        {%- set reasoning = '' %}
        {%- if '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.last %}
            {{- '<|im_start|>assistant\\n<think>\\n' + reasoning.strip('\\n') }}
            {{- '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>assistant\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

GEMMA_TEMPLATE = (
    "{{ bos_token }}"
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{% if message['role'] == 'assistant' %}{% set role = 'model' %}{% else %}"
    "{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)

MISTRAL_TEMPLATE = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST]' + (system if loop.first else '') + message['content'] + '[/INST]' }}"
    "{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}"
)

_LLAMA_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN_SPLIT = _LLAMA_SPLIT.replace("{1,3}", "")
_LLAMA_CONTROL = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|finetune_right_pad_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
)
_QWEN_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|vision_start|>")


@cache
def llama() -> Family:
    """Llama-3: byte-level BPE, control tokens beyond its vocabulary, a template with a date that trims every turn."""
    backend = byte_level(_LLAMA_SPLIT)
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in _LLAMA_CONTROL])
    tokenizer = wrap(backend, "llama-like", LLAMA_TEMPLATE, bos="<|begin_of_text|>", eos="<|eot_id|>")
    return Family("llama", tokenizer, _LLAMA_CONTROL, system=True, trims=True)


@cache
def stand_in() -> Family:
    """The project's own stand-in."""
    from alignx.models.tiny_tokenizer import CONTROL_TOKENS, train_tokenizer

    tokenizer = train_tokenizer(_corpus(), 700)
    tokenizer.name_or_path = "stand-in"
    return Family("stand-in", tokenizer, CONTROL_TOKENS, system=True, trims=True)


@cache
def qwen() -> Family:
    """Qwen2.5: byte-level BPE after NFC, no beginning-of-sequence token, a default system turn, nothing trimmed.

    ``<tool_call>`` is an added token that is not special and that the template names; ``<|fim_prefix|>`` is one that it
    does not name, so it is text.
    """
    tokenizer = _qwen("qwen-like", QWEN_TEMPLATE, ("<tool_call>", "</tool_call>", "<|fim_prefix|>"))
    return Family("qwen", tokenizer, (*_QWEN_SPECIAL, "<tool_call>", "</tool_call>"), True, False, after="\n")


@cache
def qwen3() -> Family:
    """Qwen3: as Qwen2.5, but the last answer begins with an empty thought between tokens that are not special."""
    tokenizer = _qwen("qwen3-like", QWEN3_TEMPLATE, ("<think>", "</think>", "<|fim_prefix|>"))
    return Family("qwen3", tokenizer, (*_QWEN_SPECIAL, "<think>", "</think>"), True, False, after="\n")


def _qwen(name: str, template: str, added: Sequence[str]) -> Any:
    backend = byte_level(_QWEN_SPLIT)
    backend.normalizer = normalizers.NFC()
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in _QWEN_SPECIAL])
    backend.add_tokens([AddedToken(token, normalized=False, special=False) for token in added])
    return wrap(backend, name, template, eos="<|im_end|>", pad="<|endoftext|>")


@cache
def gemma() -> Family:
    """Gemma: BPE over ``▁`` with bytes to fall back on, control tokens inside its vocabulary, no system turn.

    Its vocabulary also holds added tokens that are ordinary text: runs of newlines and spaces, and some HTML.
    """
    special = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<unused0>", "<start_of_turn>", "<end_of_turn>")
    backend = sentence_piece(special, ("\n", "\n\n", "\n\n\n", "▁▁", "▁▁▁", "<h1>", "</h1>", "<table>"))
    tokenizer = wrap(backend, "gemma-like", GEMMA_TEMPLATE, bos="<bos>", eos="<eos>", pad="<pad>")
    return Family("gemma", tokenizer, special, system=False, trims=True, after="\n")


@cache
def mistral() -> Family:
    """Mistral Nemo: byte-level BPE, ``[INST]``, the system turn merged into the user's, an end-of-sequence token."""
    control = ("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]")
    backend = byte_level(_LLAMA_SPLIT.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)|", ""))
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in control])
    tokenizer = wrap(backend, "mistral-like", MISTRAL_TEMPLATE, bos="<s>", eos="</s>")
    return Family("mistral", tokenizer, control, system=True, trims=False)


def one_byte_one_token(template: str | None = None) -> Any:
    """A Llama-style tokenizer without merges, so that a text has as many tokens as UTF-8 bytes."""
    backend = byte_level(_LLAMA_SPLIT, merges=0)
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in _LLAMA_CONTROL])
    template = template or LLAMA_TEMPLATE
    return wrap(backend, "one byte one token", template, bos="<|begin_of_text|>", eos="<|eot_id|>")


def byte_level(split: str, merges: int = 400) -> Tokenizer:
    """A byte-level BPE without added tokens."""
    backend = Tokenizer(models.BPE(ignore_merges=True))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=256 + merges, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(_corpus() if merges else [], trainer)
    return backend


def sentence_piece(special: Sequence[str], added: Sequence[str]) -> Tokenizer:
    """A BPE over characters in the style of sentencepiece, its special and added tokens inside the vocabulary."""
    backend = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.pre_tokenizer = pre_tokenizers.Split(
        Regex("▁*[^▁\n]+"), "isolated"
    )  # while training only: merges stay in words
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=[*special, *fallback, *added], min_frequency=2, show_progress=False
    )
    backend.train_from_iterator(_corpus(), trainer)
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return keep_added(backend, special, added)


def keep_added(backend: Tokenizer, special: Sequence[str], added: Sequence[str]) -> Tokenizer:
    """The same model with exactly these added tokens; training had made all of them, and the bytes, special."""
    import json

    description = json.loads(backend.to_str())
    description["added_tokens"] = []
    plain = Tokenizer.from_str(json.dumps(description))
    plain.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    plain.add_tokens([AddedToken(token, normalized=False, special=False) for token in added])
    return plain


def wrap(
    backend: Tokenizer, name: str, template: str | None, *, eos: str, bos: str | None = None, pad: str | None = None
) -> Any:
    """A transformers tokenizer around a backend."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=bos, eos_token=eos, pad_token=pad or eos, clean_up_tokenization_spaces=False
    )
    tokenizer.name_or_path = name
    tokenizer.chat_template = template
    return tokenizer


def _corpus() -> list[str]:
    rng = random.Random("corpus")
    headings = (
        "***Task***\n\n***Historical Behavior and User Preferences***\n\n1. *Post:*\n*Comment:*\n\n***Response:***\n\n"
    )
    return [headings, *(clean_text(rng) for _ in range(200))]
