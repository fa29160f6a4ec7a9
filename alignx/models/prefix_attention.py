"""Attention over a row of packed sequences: each prefix causally, each branch over its prefix and itself.

This is exactly what each sequence would see alone; no mask over the whole row is ever made. It takes the place of a
model's attention function and leaves calls without a packed row to the one that was there.
"""

from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from alignx.models.prefix_packing import Packed

Form = Literal["sdpa", "varlen"]
NAME = "alignx_shared_prefix"


def register(plain: str, form: Form) -> str:
    """Make the attention known to transformers on top of an implementation that it knows; returns the new name.

    Args:
        plain: The model's own implementation, such as ``sdpa``; calls without a packed row go there.
        form: How a packed row is computed.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    def attention(
        module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **options: Any
    ) -> tuple[Tensor, Any]:
        packed: Packed | None = options.pop("shared_prefix", None)
        if packed is None:
            result: tuple[Tensor, Any] = ALL_ATTENTION_FUNCTIONS[plain](
                module, query, key, value, attention_mask, **options
            )
            return result
        compute = _varlen if form == "varlen" else _sdpa
        dropout = options.get("dropout", 0.0)
        return compute(query, key, value, packed, options.get("scaling"), dropout).transpose(1, 2).contiguous(), None

    name = f"{NAME}_{form}_{plain}"
    AttentionInterface.register(name, attention)
    masks = AttentionMaskInterface()
    if plain in masks:
        AttentionMaskInterface.register(name, masks[plain])
    return name


def _sdpa(query: Tensor, key: Tensor, value: Tensor, packed: Packed, scale: float | None, dropout: float) -> Tensor:
    """By torch's scaled-dot-product attention, a call a prefix and a call a branch.

    Args:
        query: ``(1, heads, N, width)``.
        key: ``(1, key heads, N, width)``.
        value: As ``key``.
        packed: What stands where.
        scale: Of the products; None is ``width ** -0.5``.
        dropout: Probability.

    Returns:
        ``(1, heads, N, width)``.
    """
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key, value = key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)
    pieces = []
    for group in packed.groups:
        start, end = group.prefix
        prefix_key, prefix_value = key[:, :, start:end], value[:, :, start:end]
        if end > start:
            pieces.append(
                scaled_dot_product_attention(
                    query[:, :, start:end], prefix_key, prefix_value, dropout_p=dropout, is_causal=True, scale=scale
                )
            )
        for first, last in group.branches:
            pieces.append(
                scaled_dot_product_attention(
                    query[:, :, first:last],
                    torch.cat([prefix_key, key[:, :, first:last]], dim=2),
                    torch.cat([prefix_value, value[:, :, first:last]], dim=2),
                    attn_mask=packed.mask(end - start, last - first),
                    dropout_p=dropout,
                    scale=scale,
                )
            )
    return torch.cat(pieces, dim=2)


def _varlen(query: Tensor, key: Tensor, value: Tensor, packed: Packed, scale: float | None, dropout: float) -> Tensor:
    """By torch's variable-length attention, one call for all (CUDA); arguments as :func:`_sdpa`.

    Its causal window is aligned at the bottom right: the last query of a segment sees the segment's last key.

    Raises:
        ValueError: Dropout is asked for, which it cannot do.
    """
    if dropout:
        raise ValueError(f"variable-length attention has no dropout, got {dropout}")
    from torch.nn.attention.varlen import varlen_attn

    queries, keys, index = [0], [0], []
    for group in packed.groups:
        prefix = torch.arange(*group.prefix, device=key.device)
        for start, end in (group.prefix, *group.branches):
            own = torch.arange(start, end, device=key.device)
            seen = own if (start, end) == group.prefix else torch.cat([prefix, own])
            if end > start:
                queries.append(queries[-1] + end - start)
                keys.append(keys[-1] + len(seen))
                index.append(seen)
    gathered = torch.cat(index)
    repeats = query.shape[1] // key.shape[1]
    longest = [max(b - a for a, b in pairwise(ends)) for ends in (queries, keys)]
    result = varlen_attn(
        query[0].transpose(0, 1),
        key[0].transpose(0, 1)[gathered].repeat_interleave(repeats, dim=1),
        value[0].transpose(0, 1)[gathered].repeat_interleave(repeats, dim=1),
        torch.tensor(queries, dtype=torch.int32, device=key.device),
        torch.tensor(keys, dtype=torch.int32, device=key.device),
        *longest,
        scale=scale,
        window_size=(-1, 0),
    )
    assert isinstance(result, Tensor)  # nothing else was asked for
    return result.transpose(0, 1)[None]
