"""Attention over a row of packed sequences: each prefix causally, each branch over its prefix and itself.

This is exactly what each sequence would see alone; no mask over the whole row is ever made. It takes the place of a
model's attention function and leaves calls without a packed row to the one that was there.
"""

import inspect
import sys
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
            # Each architecture has an eager form of its own, which is in no register.
            own: Any = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
            result: tuple[Tensor, Any] = ALL_ATTENTION_FUNCTIONS.get_interface(plain, own)(
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
    grouped = query.device.type == "cpu"  # elsewhere no fast kernel takes both a mask and fewer key heads
    if not grouped:
        key, value = _repeated(key, query), _repeated(value, query)
    pieces = []
    for group in packed.groups:
        start, end = group.prefix
        # The first branch stands right behind the prefix: the two are one causal sequence.
        _, together = group.branches[0] if group.branches else group.prefix
        if together > start:
            pieces.append(
                scaled_dot_product_attention(
                    query[:, :, start:together],
                    key[:, :, start:together],
                    value[:, :, start:together],
                    dropout_p=dropout,
                    is_causal=True,
                    scale=scale,
                    enable_gqa=grouped,
                )
            )
        for first, last in group.branches[1:]:
            pieces.append(
                scaled_dot_product_attention(
                    query[:, :, first:last],
                    torch.cat([key[:, :, start:end], key[:, :, first:last]], dim=2),
                    torch.cat([value[:, :, start:end], value[:, :, first:last]], dim=2),
                    attn_mask=packed.mask(end - start, last - first),
                    dropout_p=dropout,
                    scale=scale,
                    enable_gqa=grouped,
                )
            )
    return torch.cat(pieces, dim=2)


def _repeated(heads: Tensor, query: Tensor) -> Tensor:
    """Each key or value head as often as there are query heads that share it."""
    return heads.repeat_interleave(query.shape[1] // heads.shape[1], dim=1)


def _varlen(query: Tensor, key: Tensor, value: Tensor, packed: Packed, scale: float | None, dropout: float) -> Tensor:
    """By torch's variable-length attention, one call for all (CUDA); arguments as :func:`_sdpa`.

    Its causal window is aligned at the bottom right: the last query of a segment sees the segment's last key.

    Raises:
        ValueError: Dropout is asked for, which it cannot do.
    """
    if dropout:
        raise ValueError(f"variable-length attention has no dropout, got {dropout}")
    from torch.nn.attention import varlen

    segments = packed.segments
    causal: dict[str, Any] = {"window_size": (-1, 0)}
    if "window_size" not in inspect.signature(varlen.varlen_attn).parameters:  # before torch 2.11
        causal = {"is_causal": True}
    result = varlen.varlen_attn(
        query[0].transpose(0, 1),
        _repeated(key, query)[0].transpose(0, 1)[segments.seen],
        _repeated(value, query)[0].transpose(0, 1)[segments.seen],
        segments.query_ends,
        segments.key_ends,
        segments.longest_query,
        segments.longest_key,
        scale=scale,
        **causal,
    )
    assert isinstance(result, Tensor)  # nothing else was asked for
    return result.transpose(0, 1)[None]
