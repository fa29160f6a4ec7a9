"""The stand-in: a small Llama with random weights and its own tokenizer, in Hugging Face format.

It takes the place of Llama-3.1-8B-Instruct where no weights can be had: same architecture, Llama-3's control tokens, a
Llama-3-style chat template (without the date), a byte-level BPE tokenizer trained on the sample. Its weights start at
width^-½: at Llama's own 0.02, meant for a width of 4,096, so narrow a model is slow to learn from its context.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from alignx import manifest
from alignx.errors import SettingsError
from alignx.manifest import Manifest
from alignx.models.corpora import read_documents, read_probes
from alignx.models.loading import find_model
from alignx.models.tiny_tokenizer import Pieces, train_tokenizer
from alignx.prompts import Condition, Method
from alignx.prompts.rendering import render
from alignx.prompts.telling import Told
from alignx.records import Record, Records
from alignx.settings import Settings, setting

_TOKENIZER_DOCUMENTS = 10_000
"""More text changes no merge worth having."""
SizeName = Literal["0.2m", "0.7m", "1m", "10m", "30m", "60m", "100m"]


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
    "0.7m": Size(128, 2, 4, 4, 384, 2048),
    "1m": Size(128, 3, 4, 2, 384, 4096),
    "10m": Size(320, 6, 8, 4, 896, 8000),
    "30m": Size(512, 8, 8, 4, 1408, 8000),
    "60m": Size(640, 11, 10, 5, 1792, 8000),
    "100m": Size(768, 13, 12, 6, 2048, 16000),
}


class TinyModelSettings(Settings):
    """Make a stand-in model: a small Llama with random weights and a tokenizer of its own.

    alignx tiny-model --output out/tiny --size 1m

    With --train it learns to read first, from text in no format of the task, so that DPO has something to start from:

    alignx tiny-model --output out/tiny --size 0.7m --pieces phrases --data out/world/train.jsonl
    --train out/world/corpus.jsonl --probe out/world/probe.jsonl
    """

    output: Path = setting(Path("out/tiny"), "Folder to write the model to.")
    size: SizeName = setting("1m", "Number of parameters, about.")
    vocab_size: int | None = setting(None, "Rows of the embedding, if not the size's own.", ge=300)
    data: str = setting("data/sample/train.jsonl", "Records whose text trains the tokenizer.")
    pieces: Pieces = setting(
        "words", "What a token may span: words, or phrases between punctuation marks, which a tiny model learns faster."
    )
    seed: int = setting(0, "Of the random weights and the order of the documents.")
    train: Path | None = setting(
        None, 'Documents to pre-train on, one {"text": …} a line; they train the tokenizer too.'
    )
    steps: int = setting(
        800, "Steps of pre-training, more if the probe wants more; never more than twice as many.", gt=0
    )
    batch_size: int = setting(32, "Documents a step.", gt=0)
    learning_rate: float = setting(3e-3, "Peak learning rate of pre-training.", gt=0)
    probe: Path | None = setting(
        None,
        'Lines {"kind": …, "text": …, "contrast": …}: pre-training goes on until the text is likelier often enough.',
    )
    enough: float = setting(0.9, "How often each kind's text must be likelier than its contrast.", ge=0.5, le=1)

    @model_validator(mode="after")
    def _probe_goes_with_training(self) -> "TinyModelSettings":
        if self.probe is not None and self.train is None:
            raise ValueError("--probe says when --train may stop, so it needs --train")
        return self


def make(settings: TinyModelSettings) -> Path:
    """Write a stand-in model and its manifest.

    Returns:
        Its folder.

    Raises:
        DataError: The records or the documents cannot be read.
        SettingsError: The folder holds something that is not a stand-in.
    """
    _refuse_other(settings.output)
    documents = read_documents(settings.train) if settings.train is not None else []
    probes = read_probes(settings.probe) if settings.probe is not None else []
    records = Records(settings.data)
    rows = settings.vocab_size or SIZES[settings.size].vocabulary
    read = (text for document in documents[:_TOKENIZER_DOCUMENTS] for text in document.texts)
    texts = chain(_texts(records, settings.pieces), read)
    tokenizer = train_tokenizer(texts, rows, settings.pieces)
    model = _random_model(SIZES[settings.size], rows, tokenizer, settings.seed)
    counts: dict[str, Any] = {"parameters": sum(p.numel() for p in model.parameters()), "tokens": len(tokenizer)}
    if documents:
        from alignx.models.pretraining import pretrain

        counts["pretraining"] = pretrain(model, tokenizer, documents, probes, settings)
    folder = settings.output
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
            counts=counts,
        ),
    )
    return folder


def _refuse_other(folder: Path) -> None:
    """Refuse to write over anything but an older stand-in.

    Raises:
        SettingsError: Something else is there.
    """
    if not folder.exists():
        return
    found = manifest.read_if_present(folder) if folder.is_dir() else None
    if (found is None or found.kind != "tiny-model") and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingsError(
            f"--output: {folder} holds something else, expected a new or empty folder or an older stand-in"
        )


def _random_model(size: Size, rows: int, tokenizer: Any, seed: int) -> Any:
    """The untrained network."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    tokens = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    torch.manual_seed(seed)
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
            initializer_range=size.hidden**-0.5,
            **tokens,
        )
    )
    model.generation_config = GenerationConfig(**tokens)
    return model


def _texts(records: Iterable[Record], pieces: Pieces) -> Iterator[str]:
    """Everything a prompt can hold; with phrases also the prompts as they are rendered, whose headings recur."""
    for record in records:
        yield from (record.prompt, record.chosen, record.rejected)
        yield from (record.persona.demographics, record.persona.profile or "")
        for comment in record.persona.comments:
            yield from (comment.prompt, comment.comment)
        for choice in record.persona.choices:
            yield from (choice.prompt, choice.chosen, choice.rejected)
        if pieces == "phrases":
            for method in Method:
                rendered = render(record, Told(choices=record.persona.choices), Condition(method=method))
                yield from (rendered.instruction, rendered.user)
