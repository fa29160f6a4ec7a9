"""The stand-in's tokenizer: byte-level BPE with Llama-3's control tokens and chat template."""

from collections.abc import Iterable
from typing import Any, Literal

Pieces = Literal["words", "phrases"]

CONTROL_TOKENS = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|finetune_right_pad_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
)
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Llama-3's pre-tokenizer: a word with the space before it, a few digits, a run of punctuation."""
_MARKS = '.,;:!?"“”()*'
_PHRASES = rf"[^\r\n{_MARKS}]+|[{_MARKS}]+ *|[\r\n]+"
"""Everything between punctuation marks is one piece, so that a phrase that recurs becomes a token."""
SPLITS = {"words": _WORDS, "phrases": _PHRASES}
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str], size: int, pieces: Pieces = "words") -> Any:
    """A byte-level BPE tokenizer with Llama-3's control tokens and chat template.

    Args:
        texts: What to learn merges from.
        size: At most this many tokens, control tokens included; the 256 bytes are always among them, so that every
            text has its tokens and comes back from them.
        pieces: What a token may span: words, as Llama-3's, or whole phrases between punctuation marks, which makes
            prompts several times shorter and a tiny model several times quicker to teach.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLITS[pieces]), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(CONTROL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        pad_token="<|finetune_right_pad_id|>",
        clean_up_tokenization_spaces=False,
        model_max_length=131072,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(CONTROL_TOKENS)})
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
