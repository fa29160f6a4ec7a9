"""Each prompt once gives what the plain forward gives, for every family, and hides each branch from the others."""

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from alignx.models.prefix_packing import Asked, Packed, pack
from alignx.models.shared_prefix import TOLERANCE, SharedPrefix, Sharing, obstacle

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
    logps = model(input_ids=ids[None]).logits[0].float().log_softmax(-1)
    places = torch.tensor(one.mask.nonzero()[0])
    return logps[places - 1, ids[places]]


def shared(model: Any, packed: Packed) -> torch.Tensor:
    states = SharedPrefix(model).states(packed)
    return model.lm_head(states).float().log_softmax(-1).gather(1, packed.targets[:, None])[:, 0]


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


def test_a_model_keeps_its_own_scale_of_attention() -> None:
    torch.manual_seed(0)
    model = GraniteForCausalLM(GraniteConfig(**SHAPE, attention_multiplier=0.9)).eval()  # usually 8 ** -0.5
    expected = torch.cat([plain(model, one) for one in GROUPS["a pair"][0]])
    assert (shared(model, pack(GROUPS["a pair"])) - expected).abs().max().item() < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_those_of_the_plain_forward(family: str) -> None:
    model = model_of(family)
    other = copy.deepcopy(model)
    groups = GROUPS["two pairs"]
    torch.cat([plain(other, one) for group in groups for one in group]).sum().backward()
    shared(model, pack(groups)).sum().backward()
    for (name, mine), theirs in zip(model.named_parameters(), other.parameters(), strict=True):
        assert (mine.grad - theirs.grad).norm() <= 1e-4 * theirs.grad.norm() + 1e-7, name


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


def test_wrapping_again_changes_neither_the_name_nor_a_number() -> None:
    model, packed = model_of("llama"), pack(GROUPS["two pairs"])
    first = SharedPrefix(model).name
    before = shared(model, packed)
    assert [SharedPrefix(model).name for _ in range(3)] == [first] * 3 == [model.config._attn_implementation] * 3
    assert first == "alignx_shared_prefix_sdpa_sdpa"
    assert torch.equal(shared(model, packed), before)


def test_a_copy_of_a_prepared_model_has_its_own_weights() -> None:
    model = model_of("llama")
    SharedPrefix(model)
    other, packed = copy.deepcopy(model), pack(GROUPS["a pair"])
    before = shared(model, packed), plain(model, GROUPS["a pair"][0][0])
    with torch.no_grad():
        other.get_input_embeddings().weight.mul_(3)
    assert torch.equal(shared(model, packed), before[0])
    assert not torch.allclose(shared(other, packed), before[0], atol=1e-2)
    assert not torch.allclose(plain(other, GROUPS["a pair"][0][0]), before[1], atol=1e-2)


def test_a_prepared_model_is_saved_as_any_other(tmp_path: Path) -> None:
    model = model_of("llama")
    untouched = plain(model, GROUPS["a pair"][0][0])
    SharedPrefix(model)
    shared(model, pack(GROUPS["a pair"]))
    model.save_pretrained(tmp_path)
    for path in tmp_path.glob("*.json"):
        assert "alignx" not in path.read_text(encoding="utf-8"), path.name
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["model_type"] == "llama"
    loaded = LlamaForCausalLM.from_pretrained(tmp_path)
    assert loaded.config._attn_implementation == "sdpa"
    assert torch.equal(plain(loaded, GROUPS["a pair"][0][0]), untouched)


# bfloat16


def noisy(family: str) -> Any:
    """A model deep enough for rounding to show, in bfloat16."""
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 4, "initializer_range": 0.06}
    return model_of(family, **sizes).to(torch.bfloat16)


def pairs_of(prompts: Sequence[int], *, seed: int) -> list[list[Asked]]:
    """A pair for each prompt of so many tokens; responses of 5 to 39."""
    rng = np.random.default_rng(seed)
    groups = []
    for length in prompts:
        prompt = rng.integers(0, 300, length)
        groups.append([asked(prompt, rng.integers(0, 300, rng.integers(5, 40))) for _ in range(2)])
    return groups


@torch.inference_mode()
def together(model: Any, groups: Sequence[Sequence[Asked]]) -> torch.Tensor:
    """As :func:`plain`, all sequences as one padded batch."""
    rows = [one for group in groups for one in group]
    ids = torch.zeros(len(rows), max(len(one.tokens) for one in rows), dtype=torch.long)
    for number, one in enumerate(rows):
        ids[number, : len(one.tokens)] = torch.tensor(one.tokens)
    logps = model(input_ids=ids).logits.float().log_softmax(-1)
    pieces = []
    for number, one in enumerate(rows):
        places = torch.tensor(one.mask.nonzero()[0])
        pieces.append(logps[number, places - 1, ids[number, places]])
    return torch.cat(pieces)


@torch.inference_mode()
def each_alone(model: Any, groups: Sequence[Sequence[Asked]]) -> torch.Tensor:
    return torch.cat([plain(model, one) for group in groups for one in group])


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Mean absolute difference, in nats a token."""
    return (one - other).abs().mean().item()


@pytest.mark.parametrize("family", FAMILIES)
def test_in_bfloat16_sharing_differs_no_more_than_another_batch_size_does(family: str) -> None:
    """Prompts that fill the 64 queries that a CPU's attention reads at a time.

    Other prompts end inside such a block; their last tokens are rounded as in a shorter sequence, which no batch size
    brings about where matrix products do not depend on it, as on most CPUs; for those the next test holds. Sharing then
    differs by nothing here; half as much again leaves room where both are samples of one and the same noise.
    """
    model, groups = noisy(family), pairs_of((256, 192, 128, 64, 64), seed=0)
    alone, batch = each_alone(model, groups), together(model, groups)
    with torch.inference_mode():
        found = shared(model, pack(groups))
    assert apart(batch, alone) > 1e-5  # there is noise to compare with
    assert apart(found, alone) <= 1.5 * apart(batch, alone)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("family", FAMILIES)
def test_in_bfloat16_sharing_is_as_near_to_float32_as_the_plain_forward(family: str, seed: int) -> None:
    """Within a tenth, which is how far two samples of a few hundred roundings differ (seen: 8 % less to 5 % more)."""
    model, groups = noisy(family), pairs_of((300, 151, 90, 61, 31, 20), seed=seed)
    exact = together(copy.deepcopy(model).float(), groups)
    alone = each_alone(model, groups)
    with torch.inference_mode():
        found = shared(model, pack(groups))
    own = apart(alone, exact)
    assert apart(found, exact) <= 1.1 * own
    assert apart(found, alone) <= own  # the two are nearer to each other than bfloat16 is to the truth
    assert apart(found, alone) < TOLERANCE[torch.bfloat16] / 5  # so the first batch is never blamed for rounding


# What cannot be read this way


def gemma(**changes: Any) -> Any:
    model = Gemma2ForCausalLM(Gemma2Config(**SHAPE, head_dim=8))
    for name, value in changes.items():
        setattr(model.config, name, value)
    return model


def with_rope(kind: str, **others: Any) -> Any:
    rope = {"rope_type": kind, "rope_theta": 10_000.0, "factor": 2.0, **others}
    return model_of("llama", rope_parameters=rope, max_position_embeddings=64)


UNABLE: dict[str, tuple[Callable[[], Any], str]] = {
    "windows": (lambda: model_of("mistral", sliding_window=16), "its attention slides over 16 tokens"),
    "windows in some layers": (gemma, "its attention slides over 4096 tokens"),
    "soft caps": (lambda: gemma(sliding_window=None), "it caps its attention scores softly"),
    "no attention but its own": (
        lambda: gemma(sliding_window=None, attn_logit_softcapping=None),
        "its attention cannot be replaced",
    ),
    "another kind of layer": (
        lambda: gemma(sliding_window=None, layer_types=["linear_attention", "full_attention"]),
        "its layers use linear_attention",
    ),
    "dynamic rope": (
        lambda: with_rope("dynamic"),
        "its positions (dynamic) depend on the longest sequence of a batch",
    ),
    "experts": (
        lambda: MixtralForCausalLM(MixtralConfig(**SHAPE, num_local_experts=4, sliding_window=None)),
        "it balances experts over all tokens of a batch",
    ),
    "no layers to be found": (
        lambda: GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=4)),
        "its backbone cannot be called apart from its head",
    ),
    "a backbone": (lambda: model_of("llama").model, "its backbone cannot be called apart from its head"),
}


@pytest.mark.parametrize(("make", "reason"), UNABLE.values(), ids=UNABLE)
def test_what_cannot_read_packed_rows_says_why(make: Callable[[], Any], reason: str) -> None:
    assert obstacle(make()) == reason


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_read_packed_rows(family: str) -> None:
    assert obstacle(model_of(family)) is None


@pytest.mark.parametrize("kind", ["default", "linear", "yarn"])
def test_positions_that_depend_on_the_token_alone_are_no_obstacle(kind: str) -> None:
    model = with_rope(kind)
    expected = torch.cat([plain(model, one) for one in GROUPS["a pair"][0]])
    assert obstacle(model) is None
    assert (shared(model, pack(GROUPS["a pair"])) - expected).abs().max().item() < 1e-4


def test_a_window_that_no_sequence_fills_is_no_obstacle() -> None:
    sliding = model_of("mistral", sliding_window=16)
    assert obstacle(sliding, 17) == "its attention slides over 16 tokens"
    assert obstacle(sliding, 16) is None
    assert obstacle(model_of("qwen2", sliding_window=16, use_sliding_window=False)) is None


# What was done, for manifests


def test_a_difference_beyond_rounding_switches_sharing_off_and_is_kept() -> None:
    sharing = Sharing(attention="a")
    assert (sharing.on, sharing.checked) == (True, False)
    sharing.compare(torch.tensor([-1.0, -2.0, -2.5]), torch.tensor([-1.0, -2.3, -2.5]), torch.float32)
    assert (sharing.on, sharing.checked) == (False, True)
    assert sharing.reason == "its first batch differed by 0.1 nats a token from the plain forward"
    found = sharing.as_dict()
    assert found.pop("mean_difference") == pytest.approx(0.1)
    assert found.pop("largest_difference") == pytest.approx(0.3)
    assert found == {"shared_prefix": False, "reason": sharing.reason, "attention": "a"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_difference_is_judged_by_the_dtype_and_in_the_mean(dtype: torch.dtype) -> None:
    bound = TOLERANCE[dtype]
    for share, on in ((0.9, True), (1.1, False)):
        sharing = Sharing()
        sharing.compare(torch.tensor([0.0, 2 * share * bound]), torch.zeros(2), dtype)
        assert sharing.on is on


def test_numbers_that_only_the_packed_forward_lacks_switch_sharing_off() -> None:
    sharing = Sharing()
    sharing.compare(torch.tensor([-1.0, torch.nan]), torch.tensor([-1.0, -2.0]), torch.float32)
    assert not sharing.on


def test_nothing_is_concluded_from_broken_weights() -> None:
    sharing = Sharing()
    sharing.compare(torch.tensor([-1.0, torch.nan]), torch.tensor([-1.0, torch.nan]), torch.float32)
    assert (sharing.on, sharing.checked) == (True, False)
