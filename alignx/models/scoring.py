"""Scoring responses with a causal language model: each prompt once, no padding, the head on response tokens only."""

import functools
import types
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alignx.errors import ModelError
from alignx.models.candidates import Candidates
from alignx.models.logps import BatchError, response_logps, sum_by_row, token_logps
from alignx.models.prefix_attention import Form
from alignx.models.prefix_packing import Asked, pack
from alignx.models.shared_prefix import SharedPrefix, Sharing, obstacle, plain_attention

_SLICE = {"cpu": 256, "cuda": 4_096}
"""Tokens that pass a feed-forward layer together. Its inner states are several times as wide as the row itself and
would be most of the memory; on a CPU a slice also stays in its cache."""


class ResponseScorer:
    """Log-probabilities of responses under a model.

    Candidates of a batch stand in one row, each prompt once; states that predict response tokens are all that reaches
    the vocabulary projection. A model that cannot read such rows, or whose first candidates come out differently when
    read alone, reads padded rows of prompt and response instead; :attr:`sharing` says which, and why.
    """

    def __init__(
        self,
        model: Any,
        pad_id: int,
        device: Any = None,
        *,
        shared_prefix: bool = True,
        longest: int | None = None,
        form: Form = "sdpa",
    ) -> None:
        """Place the model and find out how it can read.

        Args:
            model: A transformers causal language model, in evaluation mode.
            pad_id: Any token id; padding is on the right and changes nothing.
            device: Where to compute; by default where the model is.
            shared_prefix: Whether to read each prompt once, if the model can.
            longest: Tokens of the longest prompt and response it will read, if known.
            form: How attention over a packed row is computed.
        """
        self._model = model.to(device) if device is not None else model
        self._pad = pad_id
        self._backbone, self._head = model.base_model, model.get_output_embeddings()
        self.plain_head = not self._head_stands_alone()
        if self.plain_head:
            warnings.warn(
                f"{type(model).__name__} does more than a projection to make logits; scoring all positions the plain "
                "way",
                stacklevel=2,
            )
        self.sharing = Sharing(self._obstacle(longest) if shared_prefix else "it was switched off")
        if shared_prefix and not self.plain_head:
            self._warn()
        self._shared = SharedPrefix(model, form) if self.sharing.on else None
        if self._shared is not None:  # hence a plain decoder
            _feed_forward_in_slices(self._backbone, _SLICE.get(self._model.device.type, 4_096))
        self.sharing.attention = self._shared.name if self._shared else plain_attention(model)

    def _obstacle(self, longest: int | None) -> str | None:
        if self.plain_head:
            return "its logits are more than a projection of its states"
        return obstacle(self._model, longest)

    def _warn(self) -> None:
        """Say why each prompt is read once a response, if it is; the same words are shown once."""
        if not self.sharing.on:
            warnings.warn(f"each prompt is read once a response: {self.sharing.reason}", stacklevel=3)

    def batches(self, candidates: Sequence[Candidates], tokens: int) -> Iterator[Sequence[Candidates]]:
        """Consecutive candidates that are read together, in order.

        Args:
            candidates: The longest first, if running out of memory is to show at once.
            tokens: At most so many are read together, padding counted; candidates that have more stand alone.
        """
        start = 0
        while start < len(candidates):
            end = start + 1
            while end < len(candidates) and self._tokens(candidates[start : end + 1]) <= tokens:
                end += 1
            yield candidates[start:end]
            start = end

    def _tokens(self, batch: Sequence[Candidates]) -> int:
        if self.sharing.on:
            return sum(one.tokens for one in batch)
        return sum(len(one.responses) for one in batch) * max(one.longest for one in batch)

    @torch.inference_mode()
    def score(self, batch: Sequence[Candidates]) -> list[tuple[float, ...]]:
        """Log-probability of each response of each prompt, summed over its tokens, in nats.

        Out of memory halves the batch and changes nothing else.

        Raises:
            BatchError: A prompt or a response has no token.
            ModelError: One prompt alone does not fit into memory, or a log-probability is not a number.
        """
        for one in batch:
            if not len(one.prompt_ids) or not one.responses or not all(map(len, one.responses)):
                raise BatchError(f"record {one.id}: a prompt and each of its responses need at least one token")
        try:
            sums = self._sums(batch)
        except torch.OutOfMemoryError as error:
            if len(batch) == 1:
                raise ModelError(
                    f"record {batch[0].id}: {batch[0].longest} tokens do not fit into the device's memory even alone"
                ) from error
            torch.cuda.empty_cache()
            half = len(batch) // 2
            return self.score(batch[:half]) + self.score(batch[half:])
        values = iter(sums.tolist())
        scores = [tuple(next(values) for _ in one.responses) for one in batch]
        for one, found in zip(batch, scores, strict=True):
            if not all(abs(value) < float("inf") for value in found):
                named = ", ".join(map(str, found))
                raise ModelError(
                    f"record {one.id}: the log-probabilities of its responses are {named}, expected finite numbers; "
                    "the weights may be broken, or float16 may overflow: try --dtype float32"
                )
        return scores

    def _sums(self, batch: Sequence[Candidates]) -> Tensor:
        if not self.sharing.on:
            return self._padded(batch)
        per_token, rows = self._packed(batch)
        if not self.sharing.checked:
            self._check(batch, per_token)
            if not self.sharing.on:
                self.sharing.attention = plain_attention(self._model)
                self._warn()
                return self._padded(batch)
        return sum_by_row(per_token, rows, sum(len(one.responses) for one in batch))

    def _packed(self, batch: Sequence[Candidates]) -> tuple[Tensor, Tensor]:
        """Log-probabilities of all response tokens, response by response, and the number of each one's response."""
        assert self._shared is not None
        packed = pack([_asked(one) for one in batch], self._model.device)
        states = self._shared.states(packed)
        return token_logps(states, packed.targets, self._head, self._head.weight.shape[0]), packed.rows

    def _check(self, batch: Sequence[Candidates], per_token: Tensor) -> None:
        """Let the model read each response of the batch alone with its prompt, by its own head, and compare."""
        alone = []
        for one in batch:
            for response in one.responses:
                ids = torch.tensor([[*one.prompt_ids, *response]], device=self._model.device)
                logits = self._model(input_ids=ids, use_cache=False, logits_to_keep=len(response) + 1).logits[0]
                alone.append(token_logps(logits[-len(response) - 1 : -1], ids[0, -len(response) :]))
        self.sharing.compare(per_token, torch.cat(alone), self._model.dtype)
        # The head apart from the model may be what differs.
        self.plain_head = self.plain_head or not self.sharing.on

    def _padded(self, batch: Sequence[Candidates]) -> Tensor:
        rows = [(one.prompt_ids, response) for one in batch for response in one.responses]
        longest = max(one.longest for one in batch)
        input_ids = torch.full((len(rows), longest), self._pad, dtype=torch.long)
        asked = torch.zeros_like(input_ids, dtype=torch.bool)
        for row, (prompt, response) in enumerate(rows):
            end = len(prompt) + len(response)
            input_ids[row, :end] = torch.tensor([*prompt, *response])
            asked[row, len(prompt) : end] = True
        device = self._model.device
        input_ids, asked = input_ids.to(device), asked.to(device)
        # No attention mask: padding is on the right, where causal attention never looks; without one it is faster.
        if self.plain_head:
            return response_logps(self._model(input_ids=input_ids, use_cache=False).logits, input_ids, asked)
        states = self._backbone(input_ids=input_ids, use_cache=False).last_hidden_state
        of, columns = asked.nonzero(as_tuple=True)
        selected, targets = states[of, columns - 1], input_ids[of, columns]
        per_token = token_logps(selected, targets, self._head, self._head.weight.shape[0])
        return sum_by_row(per_token, of, len(rows))

    @torch.inference_mode()
    def _head_stands_alone(self) -> bool:
        """Whether projecting the backbone's states gives the model's own logits (no soft-capping, no scaling)."""
        if self._head is None or self._backbone is self._model:
            return False
        config = self._model.config.get_text_config()
        if getattr(config, "final_logit_softcapping", None):  # small logits would not show it
            return False
        probe = torch.arange(8, device=self._model.device).unsqueeze(0)
        apart = self._head(self._backbone(input_ids=probe, use_cache=False).last_hidden_state).float()
        own = self._model(input_ids=probe, use_cache=False).logits.float()
        return apart.shape == own.shape and torch.allclose(apart, own, rtol=1e-3, atol=1e-3, equal_nan=True)


def _asked(one: Candidates) -> list[Asked]:
    prompt = np.asarray(one.prompt_ids, dtype=np.int64)
    sequences = [np.concatenate([prompt, np.asarray(response, dtype=np.int64)]) for response in one.responses]
    return [Asked(tokens, np.arange(len(tokens)) >= len(prompt)) for tokens in sequences]


def _feed_forward_in_slices(backbone: Any, tokens: int) -> None:
    """Let the feed-forward layers read so many tokens at a time, in place, while no gradients are asked for."""
    for layer in backbone.layers:
        module = getattr(layer, "mlp", None)
        if module is None or getattr(module, "_alignx_slices", False):
            continue
        plain = module.forward
        unbound = getattr(plain, "__func__", None)  # a copy of the model must run with its own weights

        @functools.wraps(plain)
        def forward(self: Any, states: Tensor, unbound: Any = unbound, plain: Any = plain) -> Any:
            whole = functools.partial(unbound, self) if unbound else plain
            slices = states.split(states.shape[1] if torch.is_grad_enabled() else tokens, dim=1)
            return torch.cat([whole(part) for part in slices], dim=1) if len(slices) > 1 else whole(slices[0])

        module.forward = types.MethodType(forward, module)
        module._alignx_slices = True
