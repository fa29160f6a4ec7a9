"""The stand-in: a small Llama with random weights and its own tokenizer, in Hugging Face format.

It takes the place of Llama-3.1-8B-Instruct where no weights can be had: same architecture, Llama-3's control tokens, a
Llama-3-style chat template (without the date), a byte-level BPE tokenizer trained on the sample.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from alignx import manifest
from alignx.errors import SettingsError
from alignx.manifest import Manifest
from alignx.models.loading import find_model
from alignx.records import Record, Records
from alignx.settings import Settings, setting

SizeName = Literal["0.2m", "1m", "10m", "30m", "60m", "100m"]

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
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Llama-3's pre-tokenizer."""
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Size:
    """Shape of a stand-in."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int


SIZES: dict[str, Size] = {
    "0.2m": Size(64, 2, 4, 2, 192, 1024),
    "1m": Size(128, 3, 4, 2, 384, 4096),
    "10m": Size(320, 6, 8, 4, 896, 8000),
    "30m": Size(512, 8, 8, 4, 1408, 8000),
    "60m": Size(640, 11, 10, 5, 1792, 8000),
    "100m": Size(768, 13, 12, 6, 2048, 16000),
}


class TinyModelSettings(Settings):
    """Make a stand-in model: a small Llama with random weights and a tokenizer of its own.

    alignx tiny-model --output out/tiny --size 1m
    """

    output: Path = setting(Path("out/tiny"), "Folder to write the model to.")
    size: SizeName = setting("1m", "Number of parameters, about.")
    vocab_size: int | None = setting(None, "Rows of the embedding, if not the size's own.", ge=300)
    data: str = setting("data/sample/train.jsonl", "Records whose text trains the tokenizer.")
    seed: int = setting(0, "Of the random weights.")


def make(settings: TinyModelSettings) -> Path:
    """Write a stand-in model and its manifest.

    Returns:
        Its folder.

    Raises:
        DataError: The records for the tokenizer cannot be read.
        SettingsError: The folder holds something that is not a stand-in.
    """
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    folder = settings.output
    found = manifest.read_if_present(folder) if folder.is_dir() else None
    if (
        folder.exists()
        and (found is None or found.kind != "tiny-model")
        and (not folder.is_dir() or any(folder.iterdir()))
    ):
        raise SettingsError(
            f"--output: {folder} holds something else, expected a new or empty folder or an older stand-in"
        )
    size = SIZES[settings.size]
    rows = settings.vocab_size or size.vocabulary
    records = Records(settings.data)
    tokenizer = train_tokenizer(_texts(records), rows)
    torch.manual_seed(settings.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=rows,
            hidden_size=size.hidden,
            intermediate_size=size.intermediate,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            num_key_value_heads=size.kv_heads,
            max_position_embeddings=131072,
            rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    manifest.path_of(folder).unlink(missing_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    manifest.write(
        folder,
        Manifest(
            kind="tiny-model",
            data=records.identity,
            taxonomy=records.taxonomy.digest,
            model=find_model(str(folder)).identity("float32"),
            settings=settings.model_dump(mode="json"),
            versions=manifest.versions("torch", "transformers", "tokenizers"),
            counts={"parameters": sum(p.numel() for p in model.parameters()), "tokens": len(tokenizer)},
        ),
    )
    return folder


def train_tokenizer(texts: Iterable[str], size: int) -> Any:
    """A byte-level BPE tokenizer with Llama-3's control tokens and chat template.

    Args:
        texts: What to learn merges from.
        size: At most this many tokens, control tokens included; the 256 bytes are always among them.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
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
    tokenizer.add_special_tokens({"additional_special_tokens": [t for t in CONTROL_TOKENS]})
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _texts(records: Iterable[Record]) -> Iterator[str]:
    """Everything a prompt can hold."""
    for record in records:
        yield from (
            record.prompt,
            record.chosen,
            record.rejected,
            record.persona.demographics,
            record.persona.profile or "",
        )
        for comment in record.persona.comments:
            yield from (comment.prompt, comment.comment)
        for choice in record.persona.choices:
            yield from (choice.prompt, choice.chosen, choice.rejected)
