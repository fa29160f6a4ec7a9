"""Log-probabilities of responses: the quantity behind every loss and every accuracy."""

from collections.abc import Callable

import torch
from torch import Tensor

from alignx.errors import ModelError

_TILE_ELEMENTS = {"cpu": 1 << 20, "cuda": 1 << 26}
"""Logits held at once: a tile of positions times the vocabulary. A CPU gains nothing from more than these 4 MB."""


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
    if not bool(response_mask.any(dim=1).all()) or bool(response_mask[:, 0].any()):
        raise BatchError("every row needs a response token, and a prompt token before it")
    rows, columns = response_mask.nonzero(as_tuple=True)
    per_token = token_logps(logits[rows, columns - 1], input_ids[rows, columns])
    return sum_by_row(per_token, rows, len(input_ids))


def token_logps(
    states: Tensor, targets: Tensor, to_logits: Callable[[Tensor], Tensor] | None = None, vocabulary: int = 0
) -> Tensor:
    """Log-probability of each token, in nats, log-softmax in float32.

    Args:
        states: ``(tokens, width)``: what predicts each token; logits themselves without ``to_logits``.
        targets: ``(tokens,)`` int64.
        to_logits: Projects ``(n, width)`` to ``(n, vocabulary)``, applied to a tile of tokens at a time.
        vocabulary: Width of the logits, if ``to_logits`` is given.

    Returns:
        ``(tokens,)`` float32.
    """
    project = to_logits or (lambda selected: selected)
    tile = max(1, _TILE_ELEMENTS.get(states.device.type, 1 << 26) // (vocabulary or states.shape[-1]))
    return torch.cat(
        [
            -torch.nn.functional.cross_entropy(project(part).float(), target, reduction="none")
            for part, target in zip(states.split(tile), targets.split(tile), strict=True)
        ]
    )


def sum_by_row(per_token: Tensor, rows: Tensor, count: int) -> Tensor:
    """Sums of the tokens of each row, ``(count,)`` float64 on the CPU.

    bfloat16 would round to 2 nats near 300, and float32 to 1e-4 near 1,000.
    """
    sums = torch.zeros(count, dtype=torch.float64)
    return sums.index_add_(0, rows.cpu(), per_token.cpu().double())
