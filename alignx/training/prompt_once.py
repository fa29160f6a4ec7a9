"""TRL's forward with each prompt once: the seam between :mod:`alignx.models.shared_prefix` and TRL's fused head.

TRL calls a model with ``(2B, L)`` rows, chosen then rejected, and ``fused_lm_head=True``, and gets per-token results of
shape ``(2B, L − 1)`` back. Here such a call reads one packed row and scatters the results to that shape, so that every
loss and metric of TRL works unchanged. ``tests/training/test_prompt_once_contract.py`` names what this relies on.
"""

import functools
import types
import warnings
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from alignx.models.prefix_attention import Form
from alignx.models.prefix_packing import Asked, Packed, pack
from alignx.models.shared_prefix import SharedPrefix, Sharing, inputs_of, obstacle, plain_attention

_IGNORED = -100
"""TRL's label of tokens that are not scored."""


class PromptOnce:
    """A model that TRL has given its fused head, reading each prompt once if it can."""

    def __init__(
        self, model: Any, *, longest: int | None = None, dtype: torch.dtype = torch.float32, form: Form = "sdpa"
    ) -> None:
        """Wrap a model's forward in place.

        Args:
            model: The transformers model itself, without adapter or engine around it.
            longest: Tokens of the longest sequence it will read, if known.
            dtype: What it computes in, under autocast perhaps; decides what rounding explains.
            form: How attention over a packed row is computed.
        """
        self.sharing = Sharing(obstacle(model, longest))
        self._dtype = dtype
        self._plain_attention = plain_attention(model)
        if self.sharing.on:
            self._wrap(model, SharedPrefix(model, form))
        self.sharing.attention = model.config.get_text_config()._attn_implementation

    def _wrap(self, model: Any, shared: SharedPrefix) -> None:
        fused = model.forward

        @functools.wraps(fused)
        def forward(this: Any, *args: Any, fused_lm_head: bool = False, **kwargs: Any) -> Any:
            if not fused_lm_head or args:  # TRL names every argument
                return fused(*args, fused_lm_head=fused_lm_head, **kwargs)
            if not self.sharing.checked:
                self._check(fused, kwargs)
            return self._packed(fused, kwargs) if self.sharing.on else fused(fused_lm_head=True, **kwargs)

        model.forward = types.MethodType(forward, model)

    def _packed(self, fused: Any, kwargs: dict[str, Any]) -> Any:
        """The fused call on a packed row, its per-token results in TRL's shape."""
        rest = {name: value for name, value in kwargs.items() if name not in ("input_ids", "attention_mask", "labels")}
        packed = pack_batch(kwargs["input_ids"], kwargs["attention_mask"], kwargs["labels"])
        outputs = fused(fused_lm_head=True, shift_labels=packed.targets[None], **inputs_of(packed), **rest)
        shape = (kwargs["input_ids"].shape[0], kwargs["input_ids"].shape[1] - 1)
        for name, value in list(outputs.items()):
            if isinstance(value, Tensor) and value.dim() == 2:
                outputs[name] = value.new_zeros(shape).index_put((packed.rows, packed.columns - 1), value[0])
        return outputs

    @torch.no_grad()
    def _check(self, fused: Any, kwargs: dict[str, Any]) -> None:
        """Compare the batch, packed as in every later step, with each of its rows read alone.

        Alone, because together they would need more memory than any step does afterwards. Every process of a
        distributed run is here at the same time with as many rows, and all go by the worst difference of any.
        """
        rows = range(len(kwargs["input_ids"]))
        asked = kwargs["labels"][:, 1:] != _IGNORED
        alone = torch.cat([fused(fused_lm_head=True, **_rows(kwargs, [row])).log_probs for row in rows]).float()
        found = self._packed(fused, kwargs).log_probs.float()
        # Where the plain forward gives no number, the weights are broken, and TRL's loss says so.
        difference = (found - alone).abs().masked_fill(~alone.isfinite(), 0.0)[asked]
        worst = torch.stack([difference.mean(), difference.max()]).nan_to_num(float("inf"))
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(worst, torch.distributed.ReduceOp.MAX)
        mean, largest = worst.tolist()
        self.sharing.settle(mean, largest, self._dtype)
        if not self.sharing.on:
            self.sharing.attention = self._plain_attention
            warnings.warn(f"each prompt is read twice: {self.sharing.reason}", stacklevel=2)


def pack_batch(input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> Packed:
    """TRL's batch of chosen rows, then rejected rows, padded on the right, as one row of unique tokens.

    Args:
        input_ids: ``(2B, L)``.
        attention_mask: ``(2B, L)``, 0 on padding.
        labels: ``(2B, L)``, -100 where nothing is asked for.
    """
    ids, kept, asked = (tensor.cpu().numpy() for tensor in (input_ids, attention_mask.bool(), labels != _IGNORED))
    rows = [Asked(ids[row][kept[row]], asked[row][kept[row]]) for row in range(len(ids))]
    half = len(rows) // 2
    packed = pack([[rows[one], rows[one + half]] for one in range(half)], input_ids.device)
    return replace(packed, rows=packed.rows // 2 + packed.rows % 2 * half)  # counted pair by pair until here


def _rows(kwargs: dict[str, Any], rows: list[int]) -> dict[str, Any]:
    """The arguments of a call for some of its rows."""
    return {name: value[rows] if isinstance(value, Tensor) else value for name, value in kwargs.items()}
