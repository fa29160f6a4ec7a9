"""Log-probabilities of responses, and the scorer that asks a model for them."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from alignx.errors import ModelError
from alignx.models import logps
from alignx.models.logps import BatchError, PairScorer, response_logps
from alignx.prompts import EncodedPair

VOCABULARY = 64
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


def mask(*rows: str) -> Tensor:
    """``..xx``: x marks response tokens."""
    return torch.tensor([[mark == "x" for mark in row] for row in rows])


def test_uniform_model_pays_log_vocabulary_for_each_response_token() -> None:
    found = response_logps(torch.zeros(1, 5, 8), torch.tensor([[3, 1, 4, 1, 5]]), mask("...xx"))
    assert found.tolist() == pytest.approx([-2 * math.log(8)])  # two tokens, ln 8 nats each


def test_position_t_predicts_token_t_plus_one() -> None:
    # Position 0 gives token 0 the odds 3:1, position 1 gives token 1 the odds 7:1, position 2 predicts nothing here.
    logits = torch.tensor([[[math.log(3), 0.0], [0.0, math.log(7)], [50.0, 0.0]]])
    found = response_logps(logits, torch.tensor([[1, 0, 1]]), mask(".xx"))
    assert found.tolist() == pytest.approx([math.log(3 / 4 * 7 / 8)])


def test_response_log_probability_is_a_sum_and_not_a_mean() -> None:
    logits, ids = torch.zeros(2, 5, 8), torch.ones(2, 5, dtype=torch.long)
    short, long = response_logps(logits, ids, mask("...x.", ".xxxx")).tolist()
    assert long == pytest.approx(4 * short)


def test_bfloat16_logits_are_normalised_in_float32_and_summed_in_float64() -> None:
    # ln 8 rounded to bfloat16 is 2.078125, which over 900 tokens would be 1.2 nats off.
    n = 900
    logits = torch.zeros(1, n + 1, 8, dtype=torch.bfloat16)
    found = response_logps(logits, torch.zeros(1, n + 1, dtype=torch.long), mask("." + n * "x"))
    one = float(torch.zeros(8).log_softmax(0)[0])  # in float32
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(n * one, abs=1e-9)


def test_padding_order_batch_and_tiling_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    logits, ids = 3 * torch.randn(5, 9, 11), torch.randint(11, (5, 9))
    response = mask("..xxx....", ".xxxxxxxx", "........x", "...xx....", ".......xx")
    together = response_logps(logits, ids, response)
    for row in range(5):
        end = int(response[row].nonzero().max()) + 1  # without the padding after the response
        one = slice(row, row + 1)
        alone = response_logps(logits[one, :end], ids[one, :end], response[one, :end])
        assert alone.item() == pytest.approx(together[row].item(), abs=1e-5)
    order = torch.tensor([3, 0, 4, 2, 1])
    assert torch.equal(response_logps(logits[order], ids[order], response[order]), together[order])
    monkeypatch.setattr(logps, "_TILE_ELEMENTS", 3 * 11)  # three positions a tile; one row's response spans several
    assert torch.allclose(response_logps(logits, ids, response), together, atol=1e-5)


def test_log_probabilities_are_at_most_zero() -> None:
    torch.manual_seed(1)
    found = response_logps(20 * torch.randn(6, 7, 5), torch.randint(5, (6, 7)), mask(*6 * ["..xxxxx"]))
    assert (found <= 0).all()
    assert found.shape == (6,)


@pytest.mark.parametrize(
    ("logits", "ids", "response", "said"),
    [
        ((2, 4, 8), (2, 5), (2, 5), "disagree"),
        ((2, 5, 8), (2, 5), (2, 4), "disagree"),
        ((1, 5, 8), (2, 5), (2, 5), "disagree"),
    ],
)
def test_tensors_that_do_not_belong_together_are_refused(
    logits: tuple[int, ...], ids: tuple[int, ...], response: tuple[int, ...], said: str
) -> None:
    with pytest.raises(BatchError, match=said):
        response_logps(torch.zeros(logits), torch.zeros(ids, dtype=torch.long), torch.ones(response, dtype=torch.bool))


@pytest.mark.parametrize("rows", [("..xx", "...."), ("..xx", "xxxx")])
def test_a_row_without_a_response_or_without_a_prompt_is_refused(rows: tuple[str, str]) -> None:
    with pytest.raises(BatchError, match="every row needs a response token, and a prompt token before it"):
        response_logps(torch.zeros(2, 4, 8), torch.zeros(2, 4, dtype=torch.long), mask(*rows))


def pair(name: str, prompt: Sequence[int], chosen: Sequence[int], rejected: Sequence[int]) -> EncodedPair:
    return EncodedPair(
        id=name,
        prompt_ids=list(prompt),
        chosen_ids=list(chosen),
        rejected_ids=list(rejected),
        cluster="target:t",
        target="t",
        trimmed_items=0,
        trimmed_demographics=False,
        history_items=0,
        profile="",
        persona_empty=False,
    )


def some_pairs() -> list[EncodedPair]:
    generator = torch.Generator().manual_seed(2)
    lengths = ((5, 3, 4), (17, 1, 6), (2, 9, 2), (30, 4, 1), (11, 7, 7))

    def ids(n: int) -> list[int]:
        return torch.randint(3, VOCABULARY, (n,), generator=generator).tolist()

    return [pair(f"record-{i}", ids(p), ids(c), ids(r)) for i, (p, c, r) in enumerate(lengths)]


def make(kind: type[Any], config: Any) -> Any:
    """A model with weights large enough that its logits are far from uniform."""
    torch.manual_seed(3)
    model = kind(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(12)
    return model


def llama() -> Any:
    return make(LlamaForCausalLM, LlamaConfig(**SHAPE, tie_word_embeddings=False))


def one_at_a_time(model: Any, pairs: Sequence[EncodedPair]) -> list[tuple[float, float]]:
    """What the model itself says: each sequence alone, no padding, log-softmax over all its logits in float64."""

    def logp(prompt: list[int], response: list[int]) -> float:
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([prompt + response]), use_cache=False).logits[0]
        per_position = logits.double().log_softmax(-1)
        return sum(float(per_position[len(prompt) + i - 1, token]) for i, token in enumerate(response))

    return [(logp(p.prompt_ids, p.chosen_ids), logp(p.prompt_ids, p.rejected_ids)) for p in pairs]


def assert_close(found: list[tuple[float, float]], expected: list[tuple[float, float]], nats: float) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=nats)


def test_scorer_agrees_with_one_sequence_at_a_time() -> None:
    model, pairs = llama(), some_pairs()
    scorer = PairScorer(model, pad_id=0)
    assert not scorer.plain_head
    expected = one_at_a_time(model, pairs)
    assert max(abs(chosen - rejected) for chosen, rejected in expected) > 1  # the model has opinions
    assert_close(scorer.score(pairs), expected, 1e-3)


def test_batch_size_and_pad_token_change_no_score() -> None:
    model, pairs = llama(), some_pairs()
    together = PairScorer(model, pad_id=0).score(pairs)
    alone = [PairScorer(model, pad_id=7).score([one])[0] for one in pairs]
    assert_close(alone, together, 1e-4)


def test_prompt_positions_never_reach_the_vocabulary_projection() -> None:
    model, pairs = llama(), some_pairs()
    scorer = PairScorer(model, pad_id=0)
    rows: list[int] = []
    model.lm_head.register_forward_hook(lambda _, inputs, __: rows.append(inputs[0].numel() // inputs[0].shape[-1]))
    scorer.score(pairs)
    # 3+1+9+4+7 tokens of chosen responses and 4+6+2+1+7 of rejected ones; the prompts have 65 more, twice
    assert sum(rows) == 24 + 20


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        pytest.param(Gemma2ForCausalLM, Gemma2Config(**SHAPE, final_logit_softcapping=5.0), id="soft-capping"),
        pytest.param(CohereForCausalLM, CohereConfig(**SHAPE, logit_scale=0.25), id="scaling"),
        pytest.param(GraniteForCausalLM, GraniteConfig(**SHAPE, logits_scaling=4.0), id="division"),
    ],
)
def test_model_that_changes_its_logits_after_projection_is_scored_the_plain_way(kind: type[Any], config: Any) -> None:
    model, pairs = make(kind, config), some_pairs()
    with pytest.warns(UserWarning, match=f"{kind.__name__} does more than a projection"):
        scorer = PairScorer(model, pad_id=0)
    expected = one_at_a_time(model, pairs)
    with torch.inference_mode():  # were the projection alone used, the scores would be others
        ids = torch.tensor([pairs[0].prompt_ids + pairs[0].chosen_ids])
        apart = model.get_output_embeddings()(model.base_model(input_ids=ids).last_hidden_state)
    wrong = response_logps(apart, ids, mask(5 * "." + 3 * "x")).item()
    assert abs(wrong - expected[0][0]) > 0.1
    assert_close(scorer.score(pairs), expected, 1e-3)


def limit_rows(model: Any, most: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the model run out of memory above ``most`` sequences; returns how many each run that fitted had."""
    inner, ran = model.base_model.forward, []

    def forward(*args: Any, input_ids: Tensor, **kwargs: Any) -> Any:
        if len(input_ids) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. (pretended)")
        ran.append(len(input_ids))
        return inner(*args, input_ids=input_ids, **kwargs)

    monkeypatch.setattr(model.base_model, "forward", forward)
    return ran


def test_out_of_memory_halves_the_batch_and_changes_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    model, pairs = llama(), some_pairs()
    scorer = PairScorer(model, pad_id=0)
    expected = scorer.score(pairs)
    ran = limit_rows(model, 2, monkeypatch)  # one pair is two sequences
    assert_close(scorer.score(pairs), expected, 1e-4)
    assert ran == [2] * len(pairs)


def test_out_of_memory_of_one_pair_alone_names_the_record_and_its_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    model, pairs = llama(), some_pairs()
    scorer = PairScorer(model, pad_id=0)
    limit_rows(model, 1, monkeypatch)
    with pytest.raises(ModelError, match="record record-0: 9 tokens do not fit"):  # prompt 5, longer response 4
        scorer.score(pairs[:2])


def test_broken_weights_are_an_error_that_names_the_first_record_they_spoil() -> None:
    model, pairs = llama(), some_pairs()
    spoilt = pair("the-spoilt-one", [3, 63, 4], [5, 6], [7])
    others = [
        pair(p.id, *([t % 60 + 3 for t in ids] for ids in (p.prompt_ids, p.chosen_ids, p.rejected_ids))) for p in pairs
    ]
    assert all(63 not in p.prompt_ids + p.chosen_ids + p.rejected_ids for p in others)
    with torch.no_grad():
        model.get_input_embeddings().weight[63] = math.nan
    scorer = PairScorer(model, pad_id=0)
    with pytest.raises(ModelError, match=r"record the-spoilt-one: .*nan .*expected finite numbers"):
        scorer.score([*others, spoilt])
    assert len(scorer.score(others)) == len(others)
