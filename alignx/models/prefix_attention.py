"""Attention over a row of packed sequences: each prefix causally, each branch over its prefix and itself.

This is exactly what each sequence would see alone; no mask over the whole row is ever made. It takes the place of a
model's attention function and leaves calls without a packed row to the one that was there.
"""

import functools
import inspect
import sys
from collections.abc import Iterator
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
    """By torch's scaled-dot-product attention, a call a prefix with its first branch and a call for each other branch.

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
    # Cut once, so that the gradients of all parts are put together once: a slice would make a whole row of its own.
    sizes = [end - start for start, end in _stretches(packed)]
    queries, keys, values = (iter(states.split(sizes, dim=2)) for states in (query, key, value))
    attend = functools.partial(scaled_dot_product_attention, dropout_p=dropout, scale=scale, enable_gqa=grouped)
    pieces = []
    for group in packed.groups:
        prefix = group.prefix[1] - group.prefix[0]
        first_key, first_value = next(keys), next(values)
        pieces.append(attend(next(queries), first_key, first_value, is_causal=True))
        for start, end in group.branches[1:]:
            seen_key = torch.cat([first_key[:, :, :prefix], next(keys)], dim=2)
            seen_value = torch.cat([first_value[:, :, :prefix], next(values)], dim=2)
            pieces.append(attend(next(queries), seen_key, seen_value, attn_mask=packed.mask(prefix, end - start)))
    return torch.cat([piece.transpose(1, 2) for piece in pieces], dim=1).transpose(1, 2)


def _stretches(packed: Packed) -> Iterator[tuple[int, int]]:
    """Parts of the row that are attended to in one call each: a prefix with its first branch, every other branch.

    The first branch stands right behind its prefix, so that the two are one causal sequence.
    """
    for group in packed.groups:
        yield group.prefix[0], group.branches[0][1] if group.branches else group.prefix[1]
        yield from group.branches[1:]


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
