"""Each prompt once gives what the plain forward gives, for every family, and hides each branch from the others."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from alignx.models.prefix_packing import Asked, Packed, pack
from alignx.models.shared_prefix import SharedPrefix, obstacle

SHAPE = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
}
FAMILIES = {
    "llama": (LlamaConfig, LlamaForCausalLM, {}),
    "mistral": (MistralConfig, MistralForCausalLM, {"sliding_window": None}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {}),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {}),
}


def model_of(family: str, **others: Any) -> Any:
    config, model, extra = FAMILIES[family]
    torch.manual_seed(0)
    return model(config(**{**SHAPE, **extra, **others})).eval()


def asked(prompt: Sequence[int], response: Sequence[int]) -> Asked:
    tokens = np.array([*prompt, *response])
    return Asked(tokens, np.arange(len(tokens)) >= len(prompt))


def draw(*lengths: int, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 300, length).tolist() for length in lengths]


def plain(model: Any, one: Asked) -> torch.Tensor:
    """Log-probabilities of the asked tokens of one sequence, read alone."""
    ids = torch.tensor(one.tokens)
    logps = model(input_ids=ids[None]).logits[0].log_softmax(-1)
    places = torch.tensor(one.mask.nonzero()[0])
    return logps[places - 1, ids[places]]


def shared(model: Any, packed: Packed) -> torch.Tensor:
    states = SharedPrefix(model).states(packed)
    return model.lm_head(states).log_softmax(-1).gather(1, packed.targets[:, None])[:, 0]


PROMPT, A, B, C = draw(23, 7, 12, 1)
GROUPS = {
    "a pair": [[asked(PROMPT, A), asked(PROMPT, B)]],
    "two pairs": [[asked(PROMPT, A), asked(PROMPT, B)], [asked(B, PROMPT), asked(B, A)]],
    "three responses, one of a single token": [[asked(PROMPT, A), asked(PROMPT, B), asked(PROMPT, C)]],
    "a response alone": [[asked(PROMPT, A)]],
    "equal responses": [[asked(PROMPT, A), asked(PROMPT, A)]],
    "responses that begin alike": [[asked(PROMPT, [*A, 5]), asked(PROMPT, [*A, 6, 7])]],
    "a response that is the beginning of the other": [[asked(PROMPT, A), asked(PROMPT, [*A, *B])]],
    "prompts that differ at the end": [[asked([*PROMPT, 1, 2], A), asked([*PROMPT, 3], B)]],
    "nothing in common": [[asked([1, 2], A), asked([3, 4], B)]],
    "a prompt of one token": [[asked([9], A), asked([9], B)]],
}


@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
@pytest.mark.parametrize("family", FAMILIES)
def test_log_probabilities_are_those_of_the_plain_forward(family: str, groups: list[list[Asked]]) -> None:
    model = model_of(family)
    expected = torch.cat([plain(model, one) for group in groups for one in group])
    found = shared(model, pack(groups))
    assert (found - expected).abs().max().item() < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_those_of_the_plain_forward(family: str) -> None:
    model = model_of(family)
    other = copy.deepcopy(model)
    groups = GROUPS["two pairs"]
    torch.cat([plain(other, one) for group in groups for one in group]).sum().backward()
    shared(model, pack(groups)).sum().backward()
    for (name, mine), theirs in zip(model.named_parameters(), other.parameters(), strict=True):
        assert (mine.grad - theirs.grad).norm() <= 1e-4 * theirs.grad.norm() + 1e-7, name


def test_the_prompt_stands_once_and_the_last_tokens_are_left_out() -> None:
    packed = pack(GROUPS["a pair"])
    assert packed.input_ids[0].tolist() == [*PROMPT, *A[:-1], *B[:-1]]
    assert packed.position_ids[0].tolist() == [*range(23), *range(23, 29), *range(23, 34)]
    assert packed.scored[:3].tolist() == [22, 23, 24]  # the last prompt token predicts the first of each response
    assert packed.scored[7:10].tolist() == [22, 29, 30]
    assert packed.targets.tolist() == [*A, *B]
    assert packed.rows.tolist() == [0] * 7 + [1] * 12
    assert packed.columns.tolist() == [*range(23, 30), *range(23, 35)]


@pytest.mark.parametrize("place", range(12))
def test_no_token_of_one_response_changes_the_other(place: int) -> None:
    model = model_of("llama")
    changed = [*B[:place], (B[place] + 1) % 300, *B[place + 1 :]]
    before = shared(model, pack([[asked(PROMPT, A), asked(PROMPT, B)]]))[:7]
    after = shared(model, pack([[asked(PROMPT, A), asked(PROMPT, changed)]]))[:7]
    assert torch.equal(before, after)


@pytest.mark.parametrize("fault", ["a branch sees the other", "a position is off by one"])
def test_a_planted_fault_is_seen(fault: str) -> None:
    model, groups = model_of("llama"), GROUPS["a pair"]
    packed = pack(groups)
    if fault == "a position is off by one":
        packed.position_ids[0, 23:] += 1
    else:
        (group,) = packed.groups
        merged = (group.branches[0][0], group.branches[-1][1])
        object.__setattr__(packed, "groups", (type(group)(group.prefix, (merged,)),))
    expected = torch.cat([plain(model, one) for one in groups[0]])
    assert (shared(model, packed) - expected).abs().max().item() > 1e-2


def test_calls_without_a_packed_row_are_untouched() -> None:
    model = model_of("llama")
    other = copy.deepcopy(model)
    SharedPrefix(model)
    ids = torch.tensor([PROMPT, [*B, *B[:11]]])
    mask = torch.ones_like(ids)
    mask[1, 15:] = 0
    assert torch.equal(model(input_ids=ids).logits, other(input_ids=ids).logits)
    both = [each(input_ids=ids, attention_mask=mask).logits[1, :15] for each in (model, other)]
    assert torch.equal(*both)


def test_what_cannot_read_packed_rows_says_why() -> None:
    assert obstacle(model_of("llama")) is None
    sliding = model_of("mistral", sliding_window=16)
    assert obstacle(sliding) == obstacle(sliding, 17) == "its attention slides over 16 tokens"
    assert obstacle(sliding, 16) is None


def test_nothing_to_pack_and_a_first_token_that_is_asked_for_are_refused() -> None:
    with pytest.raises(ValueError, match="no sequence"):
        pack([])
    with pytest.raises(ValueError, match="first token"):
        pack([[Asked(np.array([1, 2]), np.array([True, True]))]])
