"""Scoring responses with a model: right numbers, however prompts are read and whatever is read together."""

import copy
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
)

from alignx.errors import ModelError
from alignx.models import prefix_attention, scoring
from alignx.models.candidates import Candidates
from alignx.models.logps import BatchError, response_logps
from alignx.models.prefix_packing import Asked, Group, Packed, pack
from alignx.models.scoring import ResponseScorer
from tests.models.test_shared_prefix import FAMILIES, SHAPE, model_of

BOTH_WAYS = pytest.mark.parametrize("shared_prefix", [True, False], ids=["shared", "plain"])
SHARED = "alignx_shared_prefix_sdpa_sdpa"
Scores = list[tuple[float, ...]]


def some(*lengths: tuple[int, ...], seed: int = 2) -> list[Candidates]:
    """A prompt and its responses for each tuple: the prompt's tokens, then each response's."""
    rng = np.random.default_rng(seed)

    def ids(n: int) -> list[int]:
        return rng.integers(3, SHAPE["vocab_size"], n).tolist()

    return [
        Candidates(f"record-{number}", ids(prompt), tuple(ids(n) for n in responses))
        for number, (prompt, *responses) in enumerate(lengths)
    ]


PAIRS = some((5, 3, 4), (17, 1, 6), (2, 9, 2), (30, 4, 1), (11, 7, 7))


def by_definition(model: Any, candidates: Sequence[Candidates]) -> Scores:
    """What the model itself says: each sequence alone, no padding, log-softmax over all its logits in float64."""

    def logp(prompt: Sequence[int], response: Sequence[int]) -> float:
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([[*prompt, *response]]), use_cache=False).logits[0]
        per_position = logits.double().log_softmax(-1)
        return sum(float(per_position[len(prompt) + i - 1, token]) for i, token in enumerate(response))

    return [tuple(logp(one.prompt_ids, response) for response in one.responses) for one in candidates]


def assert_close(found: Scores, expected: Scores, nats: float = 1e-4) -> None:
    assert [len(one) for one in found] == [len(one) for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=nats)


# Numbers


@BOTH_WAYS
def test_a_model_that_knows_nothing_pays_log_vocabulary_for_each_token_of_each_response(shared_prefix: bool) -> None:
    model = model_of("llama")
    with torch.no_grad():
        model.lm_head.weight.zero_()
    found = ResponseScorer(model, 0, shared_prefix=shared_prefix).score(some((6, 1, 3), (2, 4)))
    nats = math.log(300)
    assert_close(found, [(-nats, -3 * nats), (-4 * nats,)], 1e-5)


@BOTH_WAYS
@pytest.mark.parametrize("responses", [1, 2, 5])
@pytest.mark.parametrize("family", FAMILIES)
def test_any_number_of_responses_is_scored_by_the_definition(family: str, responses: int, shared_prefix: bool) -> None:
    model = model_of(family)
    lengths = [(prompt, *range(1, 2 * responses, 2)) for prompt in (1, 6, 23)]
    candidates = some(*lengths, seed=responses)
    expected = by_definition(model, candidates)
    if responses > 1:
        assert max(abs(one[0] - one[1]) for one in expected) > 1  # the model has opinions
    scorer = ResponseScorer(model, 0, shared_prefix=shared_prefix)
    assert_close(scorer.score(candidates), expected)
    assert scorer.sharing.on is shared_prefix
    assert not scorer.plain_head


def test_prompts_may_have_different_numbers_of_responses() -> None:
    model, candidates = model_of("llama"), some((4, 2), (9, 3, 1, 2, 8, 5), (6, 1, 1))
    expected = by_definition(model, candidates)
    assert_close(ResponseScorer(model, 0).score(candidates), expected)


@pytest.fixture(scope="module")
def reader() -> Any:
    """One model for the examples of a property; treat its weights as read-only."""
    return model_of("qwen2")


TOKENS = st.integers(3, 5)  # few, so that responses begin alike or are equal
CANDIDATES = st.builds(
    lambda prompt, responses: Candidates("drawn", prompt, tuple(responses)),
    st.lists(TOKENS, min_size=1, max_size=9),
    st.lists(st.lists(TOKENS, min_size=1, max_size=6), min_size=1, max_size=4),
)


@settings(max_examples=40)
@given(
    drawn=st.lists(CANDIDATES, min_size=1, max_size=5),
    turned=st.randoms(use_true_random=False),
    tokens=st.integers(1, 60),
    pad=st.integers(0, 9),
    shared_prefix=st.booleans(),
)
def test_order_batches_padding_and_how_prompts_are_read_change_no_score(
    reader: Any, drawn: list[Candidates], turned: Any, tokens: int, pad: int, shared_prefix: bool
) -> None:
    order = turned.sample(range(len(drawn)), len(drawn))
    scorer = ResponseScorer(reader, pad, shared_prefix=shared_prefix)
    found = [one for batch in scorer.batches([drawn[i] for i in order], tokens) for one in scorer.score(batch)]
    assert scorer.sharing.on is shared_prefix
    expected = by_definition(reader, drawn)
    assert_close(found, [expected[i] for i in order])


@settings(max_examples=40)
@given(data=st.data(), lengths=st.lists(st.integers(1, 6), min_size=2, max_size=4), prompt=st.integers(1, 9))
def test_no_token_of_one_response_changes_another_or_another_prompt(
    reader: Any, data: st.DataObject, lengths: list[int], prompt: int
) -> None:
    # Each response has tokens of its own, so that what all begin with stays the prompt and rounding the same.
    def response(number: int) -> list[int]:
        return [60 * number + 7 * place % 60 for place in range(lengths[number])]

    responses = [response(number) for number in range(len(lengths))]
    changed = data.draw(st.integers(0, len(lengths) - 1))
    place = data.draw(st.integers(0, lengths[changed] - 1))
    token = data.draw(st.integers(60 * changed, 60 * changed + 59).filter(lambda t: t != responses[changed][place]))
    other = [list(each) for each in responses]
    other[changed][place] = token
    (neighbour,) = some((8, 3, 4))
    scorer = ResponseScorer(reader, 0)
    before, beside = scorer.score([Candidates("a", range(prompt), tuple(responses)), neighbour])
    after, beside_after = scorer.score([Candidates("a", range(prompt), tuple(other)), neighbour])
    unchanged = [number for number in range(len(lengths)) if number != changed]
    assert [after[number] for number in unchanged] == [before[number] for number in unchanged]
    assert beside == beside_after
    assert after[changed] != before[changed]


@BOTH_WAYS
def test_only_response_positions_reach_the_vocabulary_projection(shared_prefix: bool) -> None:
    model = model_of("llama")
    scorer = ResponseScorer(model, pad_id=0, shared_prefix=shared_prefix)
    scorer.score(PAIRS[:1])  # with the comparison of the first batch
    rows: list[int] = []
    model.lm_head.register_forward_hook(lambda _, inputs, __: rows.append(inputs[0].numel() // inputs[0].shape[-1]))
    scorer.score(PAIRS)
    # 3+1+9+4+7 tokens of first responses and 4+6+2+1+7 of second ones; the prompts have 65 more, twice
    assert sum(rows) == 24 + 20


def test_backbone_reads_each_prompt_once_and_no_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("llama")
    scorer = ResponseScorer(model, pad_id=0)
    scorer.score(PAIRS[:1])
    ran = limit_prompts(model, 99, monkeypatch)
    scorer.score(PAIRS)
    # 65 tokens of prompts and 44 of responses, of which the last of each predicts nothing
    assert ran == [(len(PAIRS), 65 + 44 - 10)]


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        pytest.param(Gemma2ForCausalLM, Gemma2Config(**SHAPE, head_dim=8, final_logit_softcapping=5.0), id="capping"),
        pytest.param(CohereForCausalLM, CohereConfig(**SHAPE, pad_token_id=0, logit_scale=0.25), id="scaling"),
        pytest.param(GraniteForCausalLM, GraniteConfig(**SHAPE, logits_scaling=4.0), id="division"),
    ],
)
def test_model_that_changes_its_logits_after_projection_is_scored_the_plain_way(kind: type[Any], config: Any) -> None:
    torch.manual_seed(3)
    model = kind(config).eval()
    with torch.no_grad():  # far from uniform, so that the change matters
        model.get_output_embeddings().weight.mul_(6)
    with pytest.warns(UserWarning, match=f"{kind.__name__} does more than a projection") as said:
        scorer = ResponseScorer(model, pad_id=0)
    assert len(said) == 1  # and not once more that prompts are read twice
    assert scorer.plain_head
    assert scorer.sharing.reason == "its logits are more than a projection of its states"
    expected = by_definition(model, PAIRS)
    with torch.inference_mode():  # were the projection alone used, the scores would be others
        ids = torch.tensor([[*PAIRS[0].prompt_ids, *PAIRS[0].responses[0]]])
        apart = model.get_output_embeddings()(model.base_model(input_ids=ids).last_hidden_state)
    wrong = response_logps(apart, ids, torch.arange(8)[None] >= 5).item()
    assert abs(wrong - expected[0][0]) > 0.1
    assert_close(scorer.score(PAIRS), expected)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_whatever_attention_was_chosen_prompts_are_read_once_with_the_right_numbers(attention: str) -> None:
    model = model_of("llama")
    model.set_attn_implementation(attention)
    expected = by_definition(model, PAIRS)
    scorer = ResponseScorer(model, pad_id=0)
    assert_close(scorer.score(PAIRS), expected)
    assert scorer.sharing.reason is None
    assert scorer.sharing.attention == f"alignx_shared_prefix_sdpa_{attention}"
    assert_close(by_definition(model, PAIRS), expected)  # the model itself goes on as before


# Batches


def sizes(scorer: ResponseScorer, candidates: Sequence[Candidates], tokens: int) -> list[int]:
    return [len(batch) for batch in scorer.batches(candidates, tokens)]


def test_batches_count_a_prompt_once_or_padded_rows_as_they_will_be_read(reader: Any) -> None:
    shared, plain = (ResponseScorer(reader, 0, shared_prefix=on) for on in (True, False))
    candidates = some((10, 2, 3), (10, 2, 3), (4, 1))
    # Shared: 15, 15 and 5 tokens. Plain: rows of 13, 13, 13, 13 and 5 tokens, all as long as the longest.
    assert [sizes(shared, candidates, n) for n in (14, 15, 29, 30, 34, 35)] == [
        [1, 1, 1],
        [1, 1, 1],
        [1, 2],
        [2, 1],
        [2, 1],
        [3],
    ]
    assert [sizes(plain, candidates, n) for n in (25, 26, 38, 39, 51, 52, 64, 65)] == [
        [1, 1, 1],
        [1, 1, 1],
        [1, 1, 1],
        [1, 2],
        [1, 2],
        [2, 1],
        [2, 1],
        [3],
    ]


def test_batches_of_nothing_are_none(reader: Any) -> None:
    assert list(ResponseScorer(reader, 0).batches([], 100)) == []


@settings(max_examples=60)
@given(drawn=st.lists(CANDIDATES, max_size=8), tokens=st.integers(1, 90), shared_prefix=st.booleans())
def test_batches_keep_order_and_budget_and_leave_over_long_candidates_alone(
    reader: Any, drawn: list[Candidates], tokens: int, shared_prefix: bool
) -> None:
    def size(batch: Sequence[Candidates]) -> int:
        if shared_prefix:
            return sum(len(one.prompt_ids) + sum(map(len, one.responses)) for one in batch)
        rows = [len(one.prompt_ids) + len(response) for one in batch for response in one.responses]
        return len(rows) * max(rows)

    scorer = ResponseScorer(reader, 0, shared_prefix=shared_prefix)
    batches = list(scorer.batches(drawn, tokens))
    assert [one for batch in batches for one in batch] == drawn
    for number, batch in enumerate(batches):
        assert len(batch) == 1 or size(batch) <= tokens
        if number + 1 < len(batches):  # one more would not have fitted
            assert size([*batch, batches[number + 1][0]]) > tokens


def test_batches_are_counted_anew_once_the_model_has_fallen_back(monkeypatch: pytest.MonkeyPatch) -> None:
    model, candidates = model_of("llama"), some(*[(10, 2, 3)] * 6)
    sees_the_other(monkeypatch)
    scorer = ResponseScorer(model, 0)
    batches = scorer.batches(candidates, 30)
    first = next(batches)
    with pytest.warns(UserWarning, match="each prompt is read once a response"):
        scorer.score(first)
    # 15 tokens each at first, then two rows of 13
    assert [len(first), *map(len, batches)] == [2, 1, 1, 1, 1]


# Out of memory


def limit_prompts(model: Any, most: int, monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, int]]:
    """Let the model run out of memory above so many pairs; returns how many, and tokens, each run that fitted had."""
    inner, ran = model.base_model.forward, []

    def forward(*args: Any, input_ids: Tensor, **kwargs: Any) -> Any:
        packed: Packed | None = kwargs.get("shared_prefix")
        prompts = len(packed.groups) if packed is not None else len(input_ids) / 2
        if prompts > most:
            raise torch.OutOfMemoryError("CUDA out of memory. (pretended)")
        ran.append((prompts, input_ids.numel()))
        return inner(*args, input_ids=input_ids, **kwargs)

    monkeypatch.setattr(model.base_model, "forward", forward)
    return ran


@BOTH_WAYS
@pytest.mark.parametrize("already_read", [True, False], ids=["later", "at once"])
def test_out_of_memory_halves_the_batch_and_changes_no_score(
    already_read: bool, shared_prefix: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of("llama")
    expected = by_definition(model, PAIRS)
    scorer = ResponseScorer(model, pad_id=0, shared_prefix=shared_prefix)
    if already_read:
        scorer.score(PAIRS)
    ran = limit_prompts(model, 1, monkeypatch)
    assert_close(scorer.score(PAIRS), expected)
    assert [prompts for prompts, _ in ran].count(1) == len(PAIRS)
    assert scorer.sharing.on is scorer.sharing.checked is shared_prefix


@BOTH_WAYS
def test_out_of_memory_of_one_prompt_alone_names_the_record_and_its_tokens(
    shared_prefix: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of("llama")
    scorer = ResponseScorer(model, pad_id=0, shared_prefix=shared_prefix)
    limit_prompts(model, 0, monkeypatch)
    with pytest.raises(ModelError, match="record record-0: 9 tokens do not fit"):  # prompt 5, longer response 4
        scorer.score(PAIRS[:2])


# What cannot be scored


@BOTH_WAYS
@pytest.mark.parametrize(
    "empty", [Candidates("e", [], ([1],)), Candidates("e", [1], ()), Candidates("e", [1], ([2], []))]
)
def test_a_prompt_or_a_response_without_a_token_is_refused_by_name(
    empty: Candidates, shared_prefix: bool, reader: Any
) -> None:
    scorer = ResponseScorer(reader, 0, shared_prefix=shared_prefix)
    with pytest.raises(BatchError, match="record e: a prompt and each of its responses need at least one token"):
        scorer.score([PAIRS[0], empty])


@BOTH_WAYS
@pytest.mark.parametrize("place", [0, 5], ids=["first", "last"])
def test_broken_weights_are_an_error_that_names_the_record_they_spoil_and_nothing_else(
    place: int, shared_prefix: bool
) -> None:
    model = model_of("llama")
    others = [*PAIRS]
    assert all(299 not in ids for one in others for ids in (one.prompt_ids, *one.responses))
    expected = by_definition(model, others)
    with torch.no_grad():
        model.get_input_embeddings().weight[299] = math.nan
    spoilt = Candidates("the-spoilt-one", [3, 299, 4], ([5, 6], [7]))
    scorer = ResponseScorer(model, pad_id=0, shared_prefix=shared_prefix)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nobody blames the way prompts are read
        with pytest.raises(ModelError, match=r"record the-spoilt-one: .*nan.*expected finite numbers"):
            scorer.score([*others[:place], spoilt, *others[place:]])
        assert_close(scorer.score(others), expected)
    assert scorer.sharing.on is shared_prefix


# Falling back


def dynamic() -> Any:
    rope = {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 2.0}
    return model_of("llama", rope_parameters=rope, max_position_embeddings=64)


def gemma() -> Any:
    torch.manual_seed(0)
    config = Gemma2Config(**SHAPE, head_dim=8, attn_logit_softcapping=1.0, final_logit_softcapping=None)
    return Gemma2ForCausalLM(config).eval()


def experts() -> Any:
    torch.manual_seed(0)
    return MixtralForCausalLM(MixtralConfig(**SHAPE, num_local_experts=4, sliding_window=None)).eval()


UNABLE: dict[str, tuple[Callable[[], Any], str]] = {
    "sliding window": (lambda: model_of("mistral", sliding_window=8), "its attention slides over 8 tokens"),
    "soft-capped attention, in windows too": (gemma, "its attention slides over 4096 tokens"),
    "mixture of experts": (experts, "it balances experts over all tokens of a batch"),
    "dynamic rope": (dynamic, r"its positions (dynamic) depend on the longest sequence of a batch"),
}


@pytest.mark.parametrize(("make", "reason"), UNABLE.values(), ids=UNABLE)
def test_a_model_that_cannot_share_says_why_and_is_scored_by_the_definition(
    make: Callable[[], Any], reason: str
) -> None:
    model = make()
    own = model.config._attn_implementation
    expected = by_definition(model, PAIRS)
    with pytest.warns(UserWarning, match="each prompt") as said:
        scorer = ResponseScorer(model, pad_id=0)
    assert [str(each.message) for each in said] == [f"each prompt is read once a response: {reason}"]
    assert_close(scorer.score(PAIRS), expected)
    assert scorer.sharing.as_dict() == {
        "shared_prefix": False,
        "reason": reason,
        "attention": own,
        "mean_difference": None,
        "largest_difference": None,
    }


def test_who_switches_sharing_off_is_told_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scorer = ResponseScorer(model_of("llama"), pad_id=0, shared_prefix=False)
        scorer.score(PAIRS)
    assert scorer.sharing.as_dict() == {
        "shared_prefix": False,
        "reason": "it was switched off",
        "attention": "sdpa",
        "mean_difference": None,
        "largest_difference": None,
    }


def change_groups(monkeypatch: pytest.MonkeyPatch, change: Callable[[tuple[Group, ...]], tuple[Group, ...]]) -> None:
    inner = prefix_attention._sdpa

    def faulty(query: Tensor, key: Tensor, value: Tensor, packed: Packed, *others: Any) -> Tensor:
        return inner(query, key, value, replace(packed, groups=change(packed.groups)), *others)

    monkeypatch.setattr(prefix_attention, "_sdpa", faulty)


def sees_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second response sees the first."""

    def merged(group: Group) -> Group:
        return replace(group, branches=((group.branches[0][0], group.branches[-1][1]),)) if group.branches else group

    change_groups(monkeypatch, lambda groups: tuple(map(merged, groups)))


def sees_the_prompt_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second prompt of a row on, each token sees all that stands between that prompt and itself."""

    def joined(groups: tuple[Group, ...]) -> tuple[Group, ...]:
        if len(groups) == 1:
            return groups
        return groups[0], Group((groups[1].prefix[0], groups[-1].branches[-1][1]), ())

    change_groups(monkeypatch, joined)


def position_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both responses begin one position late."""

    def faulty(groups: Sequence[Sequence[Asked]], device: Any = "cpu") -> Packed:
        packed = pack(groups, device)
        for group in packed.groups:
            for start, end in group.branches:
                packed.position_ids[0, start:end] += 1
        return packed

    monkeypatch.setattr(scoring, "pack", faulty)


def gives_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention over packed rows overflows."""
    inner = prefix_attention._sdpa
    monkeypatch.setattr(prefix_attention, "_sdpa", lambda *args: inner(*args) * math.nan)


FAULTS = (sees_the_other, sees_the_prompt_before, position_is_off, gives_no_numbers)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("plant", FAULTS)
def test_a_fault_in_reading_packed_rows_is_seen_in_the_first_batch_and_changes_no_score(
    plant: Callable[[pytest.MonkeyPatch], None], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of("llama").to(dtype)
    expected = ResponseScorer(copy.deepcopy(model), pad_id=0, shared_prefix=False).score(PAIRS)
    plant(monkeypatch)
    scorer = ResponseScorer(model, pad_id=0)
    with pytest.warns(UserWarning, match="each prompt") as said:
        found = scorer.score(PAIRS)
    assert found == expected
    assert scorer.score(PAIRS) == expected  # and says nothing more
    (message,) = {str(each.message) for each in said}
    assert message.startswith("each prompt is read once a response: its first batch differed by ")
    assert message.endswith(" nats a token from the plain forward")
    forward = scorer.sharing.as_dict()
    assert (forward["shared_prefix"], f"each prompt is read once a response: {forward['reason']}") == (False, message)


@pytest.mark.parametrize("plant", FAULTS[:3])
def test_each_planted_fault_would_change_scores_if_nobody_looked(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of("llama")
    expected = by_definition(model, PAIRS)
    plant(monkeypatch)
    monkeypatch.setattr(ResponseScorer, "_check", lambda *_: None)
    found = ResponseScorer(model, pad_id=0).score(PAIRS)
    differences = np.subtract(found, expected)
    assert np.abs(differences).max() > 0.1


def test_the_first_batch_alone_is_compared_and_its_difference_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("llama")
    scorer = ResponseScorer(model, pad_id=0)
    assert not scorer.sharing.checked
    scorer.score(PAIRS)
    first = scorer.sharing.as_dict()
    assert 0 <= first["mean_difference"] <= first["largest_difference"] < 1e-4
    ran = limit_prompts(model, 99, monkeypatch)
    scorer.score(PAIRS[::-1])
    assert len(ran) == 1
    assert scorer.sharing.as_dict() == first


# One model, several scorers


def test_a_model_that_several_scorers_have_had_goes_on_working() -> None:
    model = model_of("llama")
    expected = by_definition(model, PAIRS)
    for _ in range(3):
        shared = ResponseScorer(model, pad_id=0)
        assert shared.sharing.attention == model.config._attn_implementation == SHARED
        assert_close(shared.score(PAIRS), expected)
        assert_close(ResponseScorer(model, pad_id=0, shared_prefix=False).score(PAIRS), expected)
        assert shared.sharing.on
    assert by_definition(model, PAIRS) == expected  # to the last bit: its plain forward is untouched


def test_logits_that_are_capped_only_where_they_are_large_are_scored_by_the_models_own_head() -> None:
    config = Gemma2Config(**SHAPE, head_dim=8, final_logit_softcapping=5.0, attn_logit_softcapping=None)
    model = Gemma2ForCausalLM(config).eval()
    with torch.no_grad():  # the first ids, which a probe might look at, have small logits; all others large ones
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone() * 400)
        model.lm_head.weight[:8] = 0
    (found,) = ResponseScorer(model, 0).score(PAIRS[:1])
    assert found == pytest.approx(by_definition(model, PAIRS[:1])[0], abs=1e-3)


def test_a_head_that_is_not_the_models_own_is_seen_in_the_first_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("llama")
    expected = by_definition(model, PAIRS)
    monkeypatch.setattr(ResponseScorer, "_head_stands_alone", lambda self: True)
    other = torch.nn.Linear(model.config.hidden_size, model.config.vocab_size, bias=False)
    monkeypatch.setattr(model, "get_output_embeddings", lambda: other)
    scorer = ResponseScorer(model, 0)
    with pytest.warns(UserWarning, match="its first batch differed"):
        found = scorer.score(PAIRS)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-3)


# The feed-forward layers in slices


def test_feed_forward_layers_read_slices_when_scoring_and_whole_rows_with_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, candidates = model_of("llama"), some((50, 7, 9), (20, 5, 5))
    expected = ResponseScorer(copy.deepcopy(model), 0, shared_prefix=False).score(candidates)
    monkeypatch.setitem(scoring._SLICE, "cpu", 16)
    scorer = ResponseScorer(model, 0)
    read: list[int] = []
    model.model.layers[0].mlp.gate_proj.register_forward_hook(lambda _, given, __: read.append(given[0].shape[1]))
    found = scorer.score(candidates[:1])
    assert read[:4] == [16, 16, 16, 16]  # 50 of the prompt, 6 and 8 of the responses
    assert np.allclose(found, expected[:1], atol=1e-4)
    read.clear()
    model(input_ids=torch.arange(40)[None])
    assert read == [40]
    read.clear()
    assert np.allclose(ResponseScorer(model, 0).score(candidates), expected, atol=1e-4)  # prepared once only
    assert max(read) == 16
