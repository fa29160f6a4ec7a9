"""Generating with a transformers model: batched, each response as if it were generated alone."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from alignx.errors import ModelError
from alignx.generation.sampling import Noise, Row, Sampling, choose

ERROR = 1e-4
"""By how much a float32 logit may differ between reading alone and reading in a batch, from a cache. It is many times
what is found (docs/generation.md), and every reading alone checks it."""
_SPARE = 8
"""Ranks that are looked at below the last that top-k keeps."""


@dataclass(frozen=True)
class Prompt:
    """What is answered."""

    id: str
    ids: Sequence[int]


@dataclass(frozen=True)
class Generated:
    """The tokens of a response, with its end token if it has one."""

    ids: list[int]
    finish: Literal["stop", "length"]


@dataclass
class Reading:
    """How near reading in a batch was to reading alone."""

    alone: int = 0
    """Tokens that were too near another to be chosen from a batch, and were chosen from the prompt read alone."""
    largest_difference: float = 0.0
    """Of a logit that mattered then, as found."""

    def as_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return {"read_alone": self.alone, "largest_difference": self.largest_difference, "allowed_difference": ERROR}


class Generator:
    """Generates responses under a model.

    In float32 a response is a function of its prompt, the sampling and its record's id alone. What a batch changes is
    the rounding of its logits; where the choice could depend on that, the prompt and the response so far are read
    again, alone, without padding or cache, on one thread where there is a choice, and decide. In other precisions
    rounding is as large as many differences, and nothing is read again.
    """

    def __init__(
        self,
        model: Any,
        ends: Sequence[int],
        sampling: Sampling,
        max_new_tokens: int,
        device: Any = None,
        *,
        exact: bool = True,
    ) -> None:
        """Place the model.

        Args:
            model: A transformers causal language model, in evaluation mode. Its own generation settings (a temperature,
                a penalty for repetition) are put aside.
            ends: Tokens that end a response.
            sampling: How tokens are chosen.
            max_new_tokens: Of a response, its end token included.
            device: Where to compute; by default where the model is.
            exact: Whether to read again, alone, what is too near to call; only float32 can.
        """
        self._model = model.to(device) if device is not None else model
        self._model.generation_config = GenerationConfig()
        self._ends, self._sampling, self._limit = tuple(ends), sampling, max_new_tokens
        self.exact = exact and self._model.dtype == torch.float32
        self.reading = Reading()

    def batches(self, prompts: Sequence[Prompt], rows: int, tokens: int) -> Iterator[Sequence[Prompt]]:
        """Consecutive prompts that are answered together, in order.

        Args:
            prompts: The longest first, if running out of memory is to show at once; near ones of a length waste least.
            rows: At most so many together.
            tokens: At most so many together, padding and the longest possible responses counted; one alone may have
                more.
        """
        start = 0
        while start < len(prompts):
            end, longest = start + 1, len(prompts[start].ids)
            while end < len(prompts) and end - start < rows:
                longest = max(longest, len(prompts[end].ids))
                if (end + 1 - start) * (longest + self._limit) > tokens:
                    break
                end += 1
            yield prompts[start:end]
            start = end

    @torch.inference_mode()
    def generate(self, batch: Sequence[Prompt]) -> list[Generated]:
        """A response to each prompt.

        Out of memory halves the batch and changes nothing else.

        Raises:
            ModelError: One prompt alone does not fit into memory, or a logit is not a number.
        """
        try:
            return self._together(batch)
        except torch.OutOfMemoryError as error:
            if len(batch) == 1:
                raise ModelError(
                    f"record {batch[0].id}: {len(batch[0].ids)} tokens and {self._limit} more do not fit into the "
                    "device's memory even alone; lower --max-length or --max-new-tokens"
                ) from error
        torch.cuda.empty_cache()  # here, where the failed attempt holds nothing any more
        half = len(batch) // 2
        return self.generate(batch[:half]) + self.generate(batch[half:])

    def _together(self, batch: Sequence[Prompt]) -> list[Generated]:
        device = self._model.device
        width = max(len(one.ids) for one in batch)
        ids = torch.full((len(batch), width), self._ends[0], dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, one in enumerate(batch):
            ids[row, width - len(one.ids) :] = torch.tensor(one.ids)
            mask[row, width - len(one.ids) :] = 1
        chooser = _Chooser(self, batch, width)
        self._model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            generation_config=GenerationConfig(
                max_new_tokens=self._limit, do_sample=False, eos_token_id=list(self._ends), pad_token_id=self._ends[0]
            ),
            logits_processor=LogitsProcessorList([chooser]),
        )
        return [Generated(found, "stop" if found[-1] in self._ends else "length") for found in chooser.found]

    def alone(self, ids: Sequence[int]) -> Tensor:
        """Logits of the next token after ``ids``, ``(vocab,)``: read alone, without padding, cache or other threads."""
        with _one_thread(self._model.device):
            read = self._model(
                input_ids=torch.tensor([ids], device=self._model.device), use_cache=False, logits_to_keep=1
            )
        logits: Tensor = read.logits[0, -1].float()
        return logits

    def next_token(self, prompt: Prompt, so_far: Sequence[int], noise: Noise, logits: Tensor, row: Row) -> int:
        """The token that follows ``so_far``, given what the model said of it in a batch.

        Args:
            prompt: Of the record.
            so_far: Tokens of the response.
            noise: Of the record.
            logits: ``(vocab,)``.
            row: The likeliest of them.

        Raises:
            ModelError: The likeliest is not a number.
        """
        sampling, error = self._sampling, ERROR if self.exact else 0.0
        if not np.isfinite(row.logits[0]):
            raise ModelError(
                f"record {prompt.id}: the logits of token {len(so_far) + 1} of its response are not finite numbers; "
                "the weights may be broken, or float16 may overflow: try --dtype float32"
            )
        if not row.suffices(sampling, error):
            row = _whole(logits)
        choice = choose(row, sampling, noise, len(so_far), error)
        if not self.exact or (choice.certain and self.reading.alone):
            return choice.token
        # The very first token is read alone whatever it is, so that the error that is allowed for is checked.
        again = self.alone([*prompt.ids, *so_far])
        self._compare(logits, again, row)
        return choose(_whole(again), sampling, noise, len(so_far)).token

    def _compare(self, together: Tensor, alone: Tensor, row: Row) -> None:
        likeliest = torch.from_numpy(row.tokens[:64]).to(together.device)
        difference = float((together[likeliest] - alone[likeliest]).abs().max())
        if difference > ERROR >= self.reading.largest_difference:
            warnings.warn(
                f"logits differ by up to {difference:.1e} between prompts read together and alone, more than the "
                f"{ERROR:.0e} allowed for; another --batch-size may change a response",
                stacklevel=4,
            )
        self.reading.alone += 1
        self.reading.largest_difference = max(difference, self.reading.largest_difference)


class _Chooser(LogitsProcessor):
    """Leaves one token of each row, the one that comes next."""

    def __init__(self, generator: Generator, batch: Sequence[Prompt], width: int) -> None:
        self._generator, self._batch = generator, batch
        self._noise = [Noise(generator._sampling.seed, one.id) for one in batch]
        self.found: list[list[int]] = [[] for _ in batch]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Keep one."""
        generator = self._generator
        ranks = generator._sampling.ranks
        size = scores.shape[-1]
        count = min(ranks + _SPARE, size) if ranks else size
        values, tokens = (found.cpu().numpy() for found in scores.topk(count, sorted=False))
        following = []
        for number, (one, so_far) in enumerate(zip(self._batch, self.found, strict=True)):
            if so_far and so_far[-1] in generator._ends:
                following.append(generator._ends[0])
                continue
            row = Row.of(tokens[number], values[number], count == size)
            so_far.append(generator.next_token(one, so_far, self._noise[number], scores[number], row))
            following.append(so_far[-1])
        index = torch.tensor(following, device=scores.device).unsqueeze(1)
        return torch.full_like(scores, -torch.inf).scatter_(1, index, 0.0)


def _whole(logits: Tensor) -> Row:
    return Row.of(np.arange(len(logits)), logits.cpu().numpy(), whole=True)


@contextmanager
def _one_thread(device: Any) -> Iterator[None]:
    """On a CPU compute on one thread, so that sums are taken in the same order whatever else runs."""
    if device.type != "cpu":
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
