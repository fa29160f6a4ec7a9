"""Training with each prompt once gives what stock TRL gives: log-probabilities, gradients, metrics, weights."""

import copy
import random
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings, strategies

from alignx.errors import TrainingError
from alignx.training import prompt_once
from alignx.training.settings import LossType
from tests.training.parity import (
    FAMILIES,
    VOCABULARY,
    Arms,
    Pair,
    arms,
    assert_parity,
    assert_same_step,
    batch_of,
    call,
    draw,
    draws,
    model_of,
    step,
    tokens_read,
)
from tests.training.runs import planted

RNG = random.Random(1)
PLAIN = draw(RNG, 20, 6, 9)
CASES = {
    "one pair": [PLAIN],
    "a prompt of one token": [draw(RNG, 1, 5, 3)],
    "a short prompt beside a long one": [draw(RNG, 2, 4, 4), draw(RNG, 60, 5, 7)],
    "responses of one token": [draw(RNG, 12, 1, 1), draw(RNG, 5, 1, 4), draw(RNG, 8, 6, 1)],
    "prompts that differ in their last token": [
        Pair([*PLAIN.prompt, 7], PLAIN.chosen, PLAIN.rejected, [*PLAIN.prompt, 8]),
        draw(RNG, 9, 3, 3),
    ],
    "prompts of which one goes on": [Pair([*PLAIN.prompt, 7, 9], PLAIN.chosen, PLAIN.rejected, [*PLAIN.prompt, 8])],
    "prompts with nothing in common": [Pair([3, 4, 5], PLAIN.chosen, PLAIN.rejected, [6, 7])],
    "responses that begin alike": [Pair(PLAIN.prompt, [5, 6, *PLAIN.chosen], [5, 6, *PLAIN.rejected])],
    "a response that begins the other": [Pair(PLAIN.prompt, [5, 6], [5, 6, 7, 8]), draw(RNG, 4, 2, 2)],
    "five pairs": draws(2, 5),
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Arms:
    return arms(tiny_model, tmp_path_factory.mktemp("arms"), request.param)


@pytest.fixture(scope="module")
def llama(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Arms:
    return arms(tiny_model, tmp_path_factory.mktemp("llama"))


@pytest.mark.parametrize("pairs", CASES.values(), ids=CASES)
def test_a_batch_gives_what_stock_trl_gives(family: Arms, pairs: list[Pair]) -> None:
    assert_parity(family, batch_of(pairs))
    assert all(wrapped.sharing.on and wrapped.sharing.checked for wrapped in family.once.prompt_once.values())


@settings(max_examples=20)
@given(seed=strategies.integers(0, 10**6), pairs=strategies.integers(1, 5))
def test_random_lengths_and_batch_sizes_give_what_stock_trl_gives(family: Arms, seed: int, pairs: int) -> None:
    assert_parity(family, batch_of(draws(seed, pairs)))


def test_eager_attention_gives_what_stock_trl_gives(tiny_model: Path, tmp_path: Path) -> None:
    models = [model_of("llama", seed=seed) for seed in (0, 1)]
    for model in models:
        model.set_attn_implementation("eager")
    assert_parity(arms(tiny_model, tmp_path, *models), batch_of(draws(1, 2)))


def test_equal_responses_give_the_same_metrics_and_no_gradient(family: Arms) -> None:
    # The gradients of the two cancel, up to rounding of terms as large as another batch's gradient.
    batch = batch_of([Pair(PLAIN.prompt, PLAIN.chosen, PLAIN.chosen)])
    size = {name: gradient.norm() for name, gradient in step(family.twice, batch_of([PLAIN])).gradients.items()}
    once, twice = step(family.once, batch), step(family.twice, batch)
    assert once.loss == pytest.approx(twice.loss, abs=1e-4)
    assert once.metrics == pytest.approx(twice.metrics, abs=1e-4)
    assert once.metrics["rewards/accuracies"] == 0
    for name, gradient in once.gradients.items():
        assert (gradient - twice.gradients[name]).norm() <= 1e-5 * size[name] + 1e-7, name


def test_ten_steps_of_sgd_arrive_at_the_same_weights(tiny_model: Path, tmp_path: Path) -> None:
    both = arms(tiny_model, tmp_path)
    start = weights(both.twice.model)
    for number in range(10):
        batch = batch_of(draws(number, 3))
        for arm in (both.once, both.twice):
            step(arm, batch)
            with torch.no_grad():
                for parameter in arm.model.parameters():
                    parameter -= 0.1 * parameter.grad
    once, twice = weights(both.once.model), weights(both.twice.model)
    moved = (twice - start).norm()
    assert moved >= 0.01 * start.norm()
    assert (once - twice).norm() <= 1e-3 * moved


def weights(model: Any) -> torch.Tensor:
    """All of them in a row."""
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


# One response and the other.


@settings(max_examples=40)
@given(place=strategies.integers(0, 8), token=strategies.integers(1, VOCABULARY - 1), pair=strategies.integers(0, 1))
def test_no_token_of_rejected_changes_anything_of_chosen(llama: Arms, place: int, token: int, pair: int) -> None:
    pairs = [draw(random.Random(seed), 20 - seed, 6, 9) for seed in (1, 2)]
    if place == 0 and token == pairs[pair].chosen[0]:
        token = token % (VOCABULARY - 1) + 1  # what both begin with belongs to both
    rejected = pairs[pair].rejected
    other = replace(pairs[pair], rejected=[*rejected[:place], token, *rejected[place + 1 :]])
    changed = [other if one is pairs[pair] else one for one in pairs]
    with torch.no_grad():
        before, after = (call(llama.once.model, batch_of(batch)).log_probs[:2] for batch in (pairs, changed))
    assert llama.once.prompt_once["policy"].sharing.on
    assert torch.equal(before, after)


def test_a_beginning_that_both_responses_share_changes_chosen_by_rounding_alone(llama: Arms) -> None:
    pair = Pair(PLAIN.prompt, [5, 6, 7, 8], [5, 6, 7, 9])
    with torch.no_grad():
        alike, unlike = (
            call(llama.once.model, batch_of([replace(pair, rejected=rejected)])).log_probs[0]
            for rejected in (pair.rejected, [4, 6, 7, 9])
        )
    assert (alike - unlike).abs().max() < 1e-5


# Faults.


def faulty(packed: Any, fault: str) -> Any:
    """A row in which something is wrong."""
    if fault == "a branch sees the other":
        merged = [
            replace(group, branches=((group.branches[0][0], group.branches[-1][1]),)) if group.branches else group
            for group in packed.groups
        ]
        return replace(packed, groups=tuple(merged))
    if fault == "a position is off by one":
        positions = packed.position_ids.clone()
        for group in packed.groups:
            positions[0, group.prefix[1] : group.branches[-1][1]] += 1
        return replace(packed, position_ids=positions)
    if fault == "a branch is predicted from the state before":
        return replace(packed, scored=(packed.scored - 1).clamp(min=0))
    assert fault == "results of two pairs change places"
    return replace(packed, rows=packed.rows ^ 1)


FAULTS = [
    "a branch sees the other",
    "a position is off by one",
    "a branch is predicted from the state before",
    "results of two pairs change places",
]


@pytest.fixture
def planted_fault(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = prompt_once.pack_batch
    monkeypatch.setattr(prompt_once, "pack_batch", lambda *batch: faulty(sound(*batch), request.param))


@pytest.mark.parametrize("planted_fault", FAULTS, indirect=True)
@pytest.mark.usefixtures("planted_fault")
def test_a_planted_fault_fails_the_comparison_with_stock_trl(tiny_model: Path, tmp_path: Path) -> None:
    both = arms(tiny_model, tmp_path)
    for wrapped in both.once.prompt_once.values():
        wrapped.sharing.settle(0.0, 0.0, torch.float32)  # as if the first batch had been found equal
    with pytest.raises(AssertionError):
        assert_parity(both, batch_of(draws(3, 2)))


@pytest.mark.parametrize("planted_fault", FAULTS, indirect=True)
@pytest.mark.usefixtures("planted_fault")
def test_a_planted_fault_is_seen_on_the_first_batch_and_said_once(tiny_model: Path, tmp_path: Path) -> None:
    model = model_of("llama")
    both = arms(tiny_model, tmp_path, model, copy.deepcopy(model))
    batch = batch_of(draws(3, 2))
    with pytest.warns(UserWarning, match="each prompt is read twice: its first batch differed by") as said:
        once = step(both.once, batch)
    assert len({str(warning.message) for warning in said if "each prompt" in str(warning.message)}) == 1
    for model_said in both.once.sharing().values():
        assert not model_said["shared_prefix"]
        assert model_said["reason"].endswith("nats a token from the plain forward")
        assert model_said["mean_difference"] > 1e-2
        assert model_said["largest_difference"] >= model_said["mean_difference"]
    assert once.loss == step(both.twice, batch).loss
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="each prompt")
        assert_parity(both, batch_of(draws(4, 3)))


def test_what_is_no_number_where_the_plain_forward_gives_one_is_a_difference(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = arms(tiny_model, tmp_path)
    packed = prompt_once.PromptOnce._packed

    def broken(self: Any, *args: Any) -> Any:
        outputs = packed(self, *args)
        outputs.log_probs = outputs.log_probs * float("nan")
        return outputs

    monkeypatch.setattr(prompt_once.PromptOnce, "_packed", broken)
    batch = batch_of(draws(3, 2))
    with pytest.warns(UserWarning, match="each prompt is read twice"):
        once = step(both.once, batch)
    assert not both.once.sharing()["policy"]["shared_prefix"]
    assert once.loss == step(both.twice, batch).loss


def test_weights_that_are_no_numbers_are_not_put_down_to_the_reading(tiny_model: Path, tmp_path: Path) -> None:
    model = model_of("llama")
    model.model.norm.weight.data[3] = float("nan")
    both = arms(tiny_model, tmp_path, model, copy.deepcopy(model))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="each prompt")
        with pytest.raises(TrainingError, match="the loss is nan, expected a finite number"):
            step(both.once, batch_of(draws(3, 2)))
    assert both.once.sharing()["policy"]["shared_prefix"]


def test_the_first_batch_of_a_sound_model_says_how_near_it_is(tiny_model: Path, tmp_path: Path) -> None:
    trainer = arms(tiny_model, tmp_path).once
    before = trainer.sharing()
    assert set(before) == {"policy", "reference"}
    assert all(said["mean_difference"] is None for said in before.values())
    step(trainer, batch_of(draws(3, 2)))
    for said in trainer.sharing().values():
        assert said["shared_prefix"]
        assert said["reason"] is None
        assert 0 < said["mean_difference"] <= said["largest_difference"] < 1e-4
        assert said["attention"].startswith("alignx_shared_prefix")


# What reaches the backbone.


def test_only_unique_tokens_reach_the_backbone(llama: Arms) -> None:
    pairs = [*CASES["prompts that differ in their last token"], *draws(5, 2), *CASES["responses that begin alike"]]
    step(llama.once, batch_of(draws(4, 1)))  # the first batch is read twice more, to be checked
    with tokens_read(llama.once.model) as policy, tokens_read(llama.once.ref_model) as reference:
        step(llama.once, batch_of(pairs))
    assert policy == reference == [sum(pair.unique for pair in pairs)]


def test_a_pair_that_differs_from_the_first_response_token_is_its_prompt_and_two_responses_less_their_last() -> None:
    pair = draw(random.Random(0), 20, 6, 9)
    batch = batch_of([pair])
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    packed = prompt_once.pack_batch(batch["input_ids"], batch["attention_mask"], labels)
    assert pair.unique == 20 + 5 + 8
    assert packed.input_ids[0].tolist() == pair.prompt + pair.chosen[:-1] + pair.rejected[:-1]


def test_results_of_a_batch_stand_where_trl_looks_for_them() -> None:
    pairs = [Pair([1, 2], [3], [4, 5]), Pair([6], [7, 8], [9])]
    batch = batch_of(pairs)
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    packed = prompt_once.pack_batch(batch["input_ids"], batch["attention_mask"], labels)
    found = torch.full(labels.shape, -100).index_put((packed.rows, packed.columns), packed.targets)
    assert found.tolist() == labels.tolist()


# TRL's losses.


@pytest.mark.parametrize("loss_type", get_args(LossType))
def test_every_loss_is_the_same(llama: Arms, loss_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for arm in (llama.once, llama.twice):
        monkeypatch.setattr(arm, "loss_types", [loss_type])
        monkeypatch.setattr(arm, "label_smoothing", 0.1)
    batch = batch_of(draws(6, 3))
    assert_same_step(step(llama.once, batch), step(llama.twice, batch))


# Models that cannot.


@pytest.mark.parametrize(
    ("family", "others", "reason"),
    [
        ("mistral", {"sliding_window": 16}, "its attention slides over 16 tokens"),
        ("gemma2", {"sliding_window": 4096, "attn_logit_softcapping": 20.0}, "it caps its attention scores softly"),
    ],
)
def test_a_model_with_an_obstacle_reads_as_stock_trl_does_and_says_why(
    tiny_model: Path, tmp_path: Path, family: str, others: dict[str, Any], reason: str
) -> None:
    both = arms(tiny_model, tmp_path, *(model_of(family, seed=seed, **others) for seed in (0, 1)))
    for said in both.once.sharing().values():
        assert (said["shared_prefix"], said["reason"], said["mean_difference"]) == (False, reason, None)
    batch = batch_of(draws(7, 2))
    assert step(both.once, batch).loss == step(both.twice, batch).loss


def test_a_window_wider_than_the_data_is_no_obstacle(tiny_model: Path, tmp_path: Path) -> None:
    longest = 29  # of what planted() makes: a prompt of 20 and a response of 9
    columns = planted(1, VOCABULARY) | {"chosen_ids": [[1] * 9], "rejected_ids": [[2] * 4]}
    for window, reason in ((longest, None), (longest - 1, "its attention slides over 28 tokens")):
        models = [model_of("mistral", seed=seed, sliding_window=window) for seed in (0, 1)]
        both = arms(tiny_model, tmp_path, *models, columns=columns)
        assert [said["reason"] for said in both.once.sharing().values()] == [reason, reason]
        assert_parity(both, batch_of([draw(random.Random(0), 20, 9, 4)]))


def test_evaluation_data_count_for_the_window(tiny_model: Path, tmp_path: Path) -> None:
    models = [model_of("mistral", seed=seed, sliding_window=35) for seed in (0, 1)]
    both = arms(tiny_model, tmp_path, *models, eval_columns=planted(1, VOCABULARY, first=40))
    assert both.once.sharing()["policy"]["reason"] == "its attention slides over 35 tokens"


def test_without_sharing_nothing_is_wrapped(llama: Arms) -> None:
    assert llama.twice.prompt_once == {}
    assert llama.twice.model.config._attn_implementation == "sdpa"
    said = llama.twice.sharing()["policy"]
    assert (said["shared_prefix"], said["reason"]) == (False, "it was switched off")
