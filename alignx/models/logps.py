"""Log-probabilities of responses: the quantity behind every loss and every accuracy."""

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from alignx.errors import ModelError

if TYPE_CHECKING:
    from alignx.prompts import EncodedPair

_TILE_ELEMENTS = 1 << 26
"""Logits held at once, 256 MB in float32: a tile of positions times the vocabulary."""


class BatchError(ModelError, ValueError):
    """Tensors of a batch do not belong together."""


def response_logps(logits: Tensor, input_ids: Tensor, response_mask: Tensor) -> Tensor:
    """Log-probability of each response given its prompt, summed over its tokens, in nats.

    This is ``log π(y | x, c)`` of Eq. 1 and 2 (arXiv:2503.15463). A sum, not a mean: DPO relies on that.

    Args:
        logits: ``(batch, seq, vocab)``, any float dtype; position ``t`` predicts token ``t + 1``.
        input_ids: ``(batch, seq)`` int64, the prompt followed by the response.
        response_mask: ``(batch, seq)`` bool, true on response tokens only.

    Returns:
        ``(batch,)`` float64, each at most 0.

    Raises:
        BatchError: The shapes disagree, or a row has no response token, or one without a token before it.
    """
    if logits.shape[:2] != input_ids.shape or response_mask.shape != input_ids.shape:
        raise BatchError(
            f"logits {tuple(logits.shape)}, input_ids {tuple(input_ids.shape)} and response_mask "
            f"{tuple(response_mask.shape)} "
            "disagree, expected (batch, seq, vocab), (batch, seq) and (batch, seq)"
        )
    return _sum_over_responses(logits, lambda selected: selected, logits.shape[-1], input_ids, response_mask)


def _sum_over_responses(
    states: Tensor, to_logits: Callable[[Tensor], Tensor], vocabulary: int, input_ids: Tensor, response_mask: Tensor
) -> Tensor:
    """As :func:`response_logps`, from states that ``to_logits`` projects a tile at a time.

    Log-softmax in float32 and the sum in float64: bfloat16 rounds to 2 nats near 300, and float32 to 1e-4 near 1,000.
    """
    if not bool(response_mask.any(dim=1).all()) or bool(response_mask[:, 0].any()):
        raise BatchError("every row needs a response token, and a prompt token before it")
    rows, columns = response_mask.nonzero(as_tuple=True)
    selected = states[rows, columns - 1]  # (tokens, width): the states that predict response tokens
    targets = input_ids[rows, columns]
    tile = max(1, _TILE_ELEMENTS // vocabulary)
    per_token = torch.cat(
        [
            -torch.nn.functional.cross_entropy(to_logits(part).float(), target, reduction="none")
            for part, target in zip(selected.split(tile), targets.split(tile), strict=True)
        ]
    )
    sums = torch.zeros(len(input_ids), dtype=torch.float64)
    return sums.index_add_(
        0, rows.cpu(), per_token.double().cpu() if per_token.device.type != "mps" else per_token.cpu().double()
    )


class PairScorer:
    """Scores both responses of encoded pairs with a causal language model.

    The backbone runs on whole sequences; only states that predict response tokens reach the vocabulary projection.
    """

    def __init__(self, model: Any, pad_id: int, device: Any = None) -> None:
        """Place the model and check that its head can be applied apart.

        Args:
            model: A transformers causal language model.
            pad_id: Any token id; padding is on the right and changes nothing.
            device: Where to compute; by default where the model is.
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

    @torch.inference_mode()
    def score(self, pairs: "Sequence[EncodedPair]") -> list[tuple[float, float]]:
        """Summed log-probabilities, in nats, of each pair's chosen and rejected response.

        Out of memory halves the batch and changes nothing else.

        Raises:
            ModelError: One pair alone does not fit into memory, or a log-probability is not a number.
        """
        try:
            sums = self._forward(pairs).tolist()
        except torch.OutOfMemoryError as error:
            if len(pairs) == 1:
                raise ModelError(
                    f"record {pairs[0].id}: {pairs[0].length} tokens do not fit into the device's memory even alone"
                ) from error
            torch.cuda.empty_cache()
            half = len(pairs) // 2
            return self.score(pairs[:half]) + self.score(pairs[half:])
        for pair, *both in zip(pairs, sums[: len(pairs)], sums[len(pairs) :], strict=True):
            if not all(abs(value) < float("inf") for value in both):
                raise ModelError(
                    f"record {pair.id}: log-probabilities are {both[0]} (chosen) and {both[1]} (rejected), expected "
                    "finite numbers; "
                    "the weights may be broken, or float16 may overflow: try --dtype float32"
                )
        return list(zip(sums[: len(pairs)], sums[len(pairs) :], strict=True))

    def _forward(self, pairs: "Sequence[EncodedPair]") -> Tensor:
        rows = [(p.prompt_ids, p.chosen_ids) for p in pairs] + [(p.prompt_ids, p.rejected_ids) for p in pairs]
        longest = max(len(prompt) + len(response) for prompt, response in rows)
        input_ids = torch.full((len(rows), longest), self._pad, dtype=torch.long)
        response = torch.zeros_like(input_ids, dtype=torch.bool)
        for row, (prompt_ids, response_ids) in enumerate(rows):
            end = len(prompt_ids) + len(response_ids)
            input_ids[row, :end] = torch.tensor(prompt_ids + response_ids)
            response[row, len(prompt_ids) : end] = True
        device = self._model.device
        input_ids, response = input_ids.to(device), response.to(device)
        # No attention mask: padding is on the right, where causal attention never looks; without one it is faster.
        if self.plain_head:
            logits = self._model(input_ids=input_ids, use_cache=False).logits
            return response_logps(logits, input_ids, response)
        states = self._backbone(input_ids=input_ids, use_cache=False).last_hidden_state
        return _sum_over_responses(states, self._head, self._head.weight.shape[0], input_ids, response)

    @torch.inference_mode()
    def _head_stands_alone(self) -> bool:
        """Whether projecting the backbone's states gives the model's own logits (no soft-capping, no scaling)."""
        if self._head is None or self._backbone is self._model:
            return False
        probe = torch.arange(8, device=self._model.device).unsqueeze(0)
        apart = self._head(self._backbone(input_ids=probe, use_cache=False).last_hidden_state).float()
        own = self._model(input_ids=probe, use_cache=False).logits.float()
        return apart.shape == own.shape and torch.allclose(apart, own, rtol=1e-3, atol=1e-3, equal_nan=True)
