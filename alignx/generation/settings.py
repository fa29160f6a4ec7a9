"""Settings of generation. Importing this loads no torch and no client."""

from copy import copy
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from alignx.chat.settings import ServerSettings
from alignx.generation.sampling import Sampling
from alignx.models.loading import Attention, DType
from alignx.prompts.settings import ConditionSettings, SourceSettings
from alignx.settings import required, setting

_OF_THE_SERVER = ("base_url", "api_key_env", "concurrency", "timeout", "patience", "tries", "prices", "max_cost")
"""Settings of :class:`~alignx.chat.settings.ServerSettings` that generation has too."""


def _of_the_server(name: str) -> Any:
    """A setting as everything that asks a server has it."""
    return copy(ServerSettings.model_fields[name])


class GenerateSettings(ConditionSettings, SourceSettings):
    """A response to every record's prompt, written as JSON Lines, one line a record.

    python eval/gen_ica.py --model out/ica --data data/sample/test.jsonl --output out/ica-responses.jsonl
    python eval/gen_few_shot.py --like out/ica-responses.jsonl --model out/tiny --data data/sample/test.jsonl
    --output out/base-responses.jsonl

    A run that was interrupted continues where it stopped; a finished one does no work. Under torchrun or accelerate
    launch the processes share the records. On one machine in float32 the same seed gives the same tokens, whatever the
    batch, the order and the number of processes. A server is sent the seed, and nothing is promised.
    """

    model: str = required("Model or adapter folder, or hub id; with --backend server as the server calls it.")
    base: str | None = setting(None, "Base of an adapter, if it is not where the adapter says.")
    output: Path = required("JSON Lines file to write.")
    like: Path | None = setting(
        None, "Responses or scores whose whole condition to copy, so that this model reads the same prompts."
    )
    max_new_tokens: int = setting(
        512, "Of a response, its end token included; --max-length leaves room for them.", gt=0, source="paper"
    )
    temperature: float = setting(0.9, "Of sampling; 0 takes the likeliest token each time.", ge=0, source="paper")
    top_k: int = setting(
        10, "Only so many of the likeliest tokens; 0 is all, and is not sent to a server.", ge=0, source="paper"
    )
    top_p: float = setting(
        0.95, "Of those only the likeliest, up to this probability together.", gt=0, le=1, source="paper"
    )
    greedy: bool = setting(False, "The same as --temperature 0.")
    seed: int = setting(42, "Of sampling, with the record's id.", ge=0)
    condition_seed: int | None = setting(
        None, "Of sampled history and of whose persona 'other' is; 42 by default. What scoring calls --seed.", ge=0
    )
    batch_size: int | None = setting(
        None, "Prompts answered together, at most; changes speed. By default 8 on a CPU, 32 elsewhere.", gt=0
    )
    batch_tokens: int | None = setting(
        None,
        "Tokens held together, at most, padding and the longest responses counted; changes speed. By default 16,384 "
        "on a CPU, 65,536 elsewhere.",
        gt=0,
    )
    dtype: DType = setting("auto", "auto is bfloat16 on a GPU that has it, else float32, which repeats exactly.")
    attention: Attention = setting("auto", "Attention implementation of transformers.")
    revision: str | None = setting(None, "Of a hub id.")
    trust_remote_code: bool = setting(False, "Run code that comes with the model.")
    backend: Literal["local", "server"] = setting(
        "local", "local: a transformers model on this machine; server: one that speaks OpenAI's protocol."
    )
    send: Literal["tokens", "messages"] = setting(
        "tokens",
        "With --backend server: token ids, exactly the prompt that is scored, to /completions (vLLM takes them); or "
        "messages to /chat/completions, around which the server puts a template of its own.",
    )
    tokenizer: str | None = setting(
        None, "With --backend server: folder or hub id of the model's tokenizer, by default --model."
    )
    skip_failed: int = setting(
        0, "With --backend server: at most this many records may stay without a response; they are counted.", ge=0
    )
    base_url: str | None = _of_the_server("base_url")
    api_key_env: str = _of_the_server("api_key_env")
    concurrency: int = _of_the_server("concurrency")
    timeout: float = _of_the_server("timeout")
    patience: float = _of_the_server("patience")
    tries: int = _of_the_server("tries")
    prices: Path | None = _of_the_server("prices")
    max_cost: float | None = _of_the_server("max_cost")
    dry_run: bool = setting(False, "Only say how much there is to do, and what a server would cost.")

    @model_validator(mode="after")
    def _fits_together(self) -> "GenerateSettings":
        if self.greedy and "temperature" in self.model_fields_set and self.temperature:
            raise ValueError(f"--greedy is temperature 0, but --temperature is {self.temperature:g}")
        local = ("base", "batch_size", "batch_tokens", "attention", "dtype")
        server = (*_OF_THE_SERVER, "send", "tokenizer", "skip_failed")
        for name in server if self.backend == "local" else local:
            if name in self.model_fields_set and getattr(self, name) != type(self).model_fields[name].default:
                fits = "server" if self.backend == "local" else "local"
                raise ValueError(f"--{name.replace('_', '-')} is for --backend {fits}")
        return self

    def wanted(self) -> dict[str, Any]:
        """What of the condition was set; its seed is another than that of sampling."""
        found = {name: value for name, value in super().wanted().items() if name != "seed"}
        return found if self.condition_seed is None else {**found, "seed": self.condition_seed}

    @property
    def sampling(self) -> Sampling:
        """How tokens are chosen."""
        return Sampling(0.0 if self.greedy else self.temperature, self.top_k, self.top_p, self.seed)

    @property
    def server(self) -> ServerSettings:
        """Which server is asked, and how patiently."""
        asked = {name: getattr(self, name) for name in _OF_THE_SERVER}
        return ServerSettings(**asked, temperature=self.sampling.temperature, structure="text")
