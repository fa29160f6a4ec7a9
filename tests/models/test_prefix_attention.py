"""Both forms of attention over a packed row; variable-length attention by its definition, where no kernel for it is."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.attention import varlen

from alignx.models import prefix_attention
from alignx.models.prefix_packing import Asked, Packed, pack

WIDTH = 8


def varlen_by_definition(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_ends: Tensor,
    key_ends: Tensor,
    longest_query: int,
    longest_key: int,
    *,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
) -> Tensor:
    """What torch documents: segments on their own, ``(-1, 0)`` causal with the last query seeing the last key."""
    assert window_size == (-1, 0)
    assert query_ends.dtype == key_ends.dtype == torch.int32
    pieces = []
    for (first, last), (start, end) in zip(pairwise(query_ends.tolist()), pairwise(key_ends.tolist()), strict=True):
        assert 0 < last - first <= longest_query
        assert 0 < end - start <= longest_key
        scores = torch.einsum("qhd,khd->hqk", query[first:last], key[start:end]) * (scale or query.shape[-1] ** -0.5)
        unseen = torch.ones(last - first, end - start, dtype=torch.bool).triu(end - start - (last - first) + 1)
        weights = scores.masked_fill(unseen, -torch.inf).softmax(-1)
        pieces.append(torch.einsum("hqk,khd->qhd", weights, value[start:end]))
    return torch.cat(pieces)


def packed_of(*groups: tuple[int, tuple[int, ...]], seed: int = 0) -> Packed:
    """Groups of a prompt of so many tokens and responses of so many."""
    rng = np.random.default_rng(seed)
    made = []
    for prompt, responses in groups:
        shared = rng.integers(0, 50, prompt)
        rows = [np.concatenate([shared, [50 + number], rng.integers(0, 50, n)]) for number, n in enumerate(responses)]
        made.append([Asked(tokens, np.arange(len(tokens)) >= prompt) for tokens in rows])
    return pack(made)


def states(packed: Packed, heads: int) -> Tensor:
    torch.manual_seed(heads)
    return torch.randn(1, heads, packed.input_ids.shape[1], WIDTH)


ROWS = {
    "a pair": [(9, (4, 6))],
    "two pairs and a lone response": [(9, (4, 6)), (3, (1, 12)), (5, (7,))],
    "a response of one token, which has no branch": [(9, (0, 6))],
    "five responses": [(6, (2, 3, 4, 5, 6))],
}


@pytest.mark.parametrize("groups", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("scale", [None, 0.3])
def test_both_forms_give_what_each_sequence_sees_alone(
    groups: list[tuple[int, tuple[int, ...]]], scale: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(varlen, "varlen_attn", varlen_by_definition)
    packed = packed_of(*groups)
    query, key, value = states(packed, 4), states(packed, 2), states(packed, 2)
    sdpa, by_segments = (
        form(query, key, value, packed, scale, 0.0) for form in (prefix_attention._sdpa, prefix_attention._varlen)
    )
    assert (sdpa - by_segments).abs().max() < 1e-6
    for group in packed.groups:
        for branch in group.branches:
            places = torch.cat([torch.arange(*group.prefix), torch.arange(*branch)])
            alone = torch.nn.functional.scaled_dot_product_attention(
                query[:, :, places],
                key[:, :, places].repeat_interleave(2, 1),
                value[:, :, places].repeat_interleave(2, 1),
                is_causal=True,
                scale=scale,
            )
            assert (sdpa[:, :, places] - alone).abs().max() < 1e-6


def test_segments_are_worked_out_once_a_row() -> None:
    packed = packed_of((3, (2, 0)))  # prompt at 0 to 2; of the responses, the first has two tokens beside its last
    segments = packed.segments
    assert segments.query_ends.tolist() == [0, 3, 5]
    assert segments.key_ends.tolist() == [0, 3, 8]
    assert segments.seen.tolist() == [0, 1, 2, 0, 1, 2, 3, 4]
    assert (segments.longest_query, segments.longest_key) == (3, 5)
    assert packed.segments is segments


def test_an_older_torch_is_asked_for_causal_attention_by_its_old_name(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = packed_of((9, (4, 6)))
    query, key, value = states(packed, 4), states(packed, 2), states(packed, 2)

    def older(*arguments: Any, scale: float | None = None, is_causal: bool = False) -> Tensor:
        assert is_causal
        return varlen_by_definition(*arguments, scale=scale, window_size=(-1, 0))

    monkeypatch.setattr(varlen, "varlen_attn", older)
    found = prefix_attention._varlen(query, key, value, packed, None, 0.0)
    assert (found - prefix_attention._sdpa(query, key, value, packed, None, 0.0)).abs().max() < 1e-6


def test_variable_length_attention_refuses_dropout() -> None:
    packed = packed_of((9, (4, 6)))
    with pytest.raises(ValueError, match=r"no dropout, got 0\.1"):
        prefix_attention._varlen(states(packed, 4), states(packed, 2), states(packed, 2), packed, None, 0.1)


def test_rows_on_a_cpu_repeat_no_heads_and_elsewhere_each_as_often_as_it_is_shared() -> None:
    heads = torch.arange(2.0).view(1, 2, 1, 1).expand(1, 2, 3, WIDTH)
    repeated = prefix_attention._repeated(heads, torch.zeros(1, 6, 3, WIDTH))
    assert repeated[0, :, 0, 0].tolist() == [0, 0, 0, 1, 1, 1]
