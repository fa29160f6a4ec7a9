"""What ``training/prompt_once.py`` and ``models/shared_prefix.py`` rely on in TRL and transformers, by name.

When one fails after an upgrade, its message says what changed: read the new source, change those files, then this one.
"""

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import create_causal_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from trl.trainer.utils import FusedCausalLMOutput, add_fused_lm_head

from alignx.models.shared_prefix import SharedPrefix
from alignx.training.trainer import EncodedDPOTrainer
from tests.training.parity import FAMILIES, arms, batch_of, call, draws, model_of, step
from tests.training.runs import first_batch, planted, trainer_on

PER_TOKEN = ("log_probs", "entropy", "mean_logits", "is_top1")
"""Fields that TRL's trainer asks of the policy's head."""
IDS = torch.tensor([[5, 6, 7, 8, 9, 10]])


def fused_model(**others: Any) -> Any:
    model = model_of("llama", **others)
    add_fused_lm_head(model, outputs=PER_TOKEN)
    return model


@pytest.fixture(scope="module")
def plain(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> EncodedDPOTrainer:
    """Stock TRL's calls: nothing is wrapped."""
    folder = tmp_path_factory.mktemp("plain")
    trainer: EncodedDPOTrainer = trainer_on(tiny_model, planted(3, 1000), folder, shared_prefix=False)
    return trainer


# TRL's fused head.


def test_the_fused_head_is_added_as_it_was() -> None:
    found = list(inspect.signature(add_fused_lm_head).parameters)
    assert found == ["model", "temperature", "cast_lm_head_to_fp32", "outputs"], f"add_fused_lm_head takes {found}"


def test_the_output_has_the_fields_it_had() -> None:
    found = [field.name for field in dataclasses.fields(FusedCausalLMOutput)]
    expected = ["loss", "log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1", "label_mask", "aux_loss"]
    assert found == expected, f"FusedCausalLMOutput has {found}: is each per-token field still told by its two axes?"


@pytest.mark.parametrize("which", ["model", "ref_model"])
def test_policy_and_reference_are_given_the_fused_head_on_the_model_itself(
    plain: EncodedDPOTrainer, which: str
) -> None:
    forward = vars(getattr(plain, which)).get("forward")
    assert forward is not None, (
        f"TRL patches the forward of {which} no longer on the instance: nothing would be wrapped"
    )
    taken = inspect.signature(forward, follow_wrapped=False).parameters
    for name in ("fused_lm_head", "labels", "shift_labels", "kwargs"):
        assert name in taken, f"the forward that TRL gave {which} takes {list(taken)}, not {name}"


def test_labels_that_are_shifted_already_are_scored_as_they_stand() -> None:
    model = fused_model()
    logits = model(input_ids=IDS).logits[0].log_softmax(-1)
    targets = torch.tensor([[3, 1, -100, 4, 1, 5]])
    found = model(input_ids=IDS, shift_labels=targets, fused_lm_head=True).log_probs
    assert found.shape == targets.shape, f"shift_labels of shape (1, 6) give results of shape {tuple(found.shape)}"
    expected = [0.0 if token < 0 else logits[at, token].item() for at, token in enumerate(targets[0].tolist())]
    assert found[0].tolist() == pytest.approx(expected, abs=1e-5), "shift_labels are shifted, or -100 is not zero"


def test_labels_that_are_not_shifted_give_a_column_less() -> None:
    model = fused_model()
    logits = model(input_ids=IDS).logits[0].log_softmax(-1)
    found = model(input_ids=IDS, labels=IDS, fused_lm_head=True).log_probs
    assert found.shape == (1, 5), f"labels of shape (1, 6) give results of shape {tuple(found.shape)}"
    assert found[0].tolist() == pytest.approx([logits[at, IDS[0, at + 1]].item() for at in range(5)], abs=1e-5)


def test_per_token_fields_have_two_axes_and_the_others_have_not() -> None:
    outputs = fused_model()(input_ids=IDS, shift_labels=IDS, fused_lm_head=True)
    two = {name for name, value in outputs.items() if value.dim() == 2}
    assert two == {*PER_TOKEN, "label_mask"}, f"fields of two axes are {sorted(two)}"
    assert all(outputs[name].shape == IDS.shape for name in two)


def test_the_head_scores_whatever_states_the_backbone_returns() -> None:
    model = fused_model()
    backbone = model.base_model.forward

    def some(*args: Any, **kwargs: Any) -> Any:
        outputs = backbone(*args, **kwargs)
        outputs.last_hidden_state = outputs.last_hidden_state[:, [4, 1]]
        return outputs

    whole = model(input_ids=IDS).logits[0].log_softmax(-1)
    model.base_model.forward = some
    found = model(input_ids=IDS, shift_labels=torch.tensor([[3, 1]]), fused_lm_head=True).log_probs
    expected = [whole[4, 3].item(), whole[1, 1].item()]
    assert found[0].tolist() == pytest.approx(expected, abs=1e-5), (
        "add_fused_lm_head does not go by base_model any more"
    )


def test_unknown_arguments_go_through_the_head_to_the_backbone() -> None:
    model, seen = fused_model(), {}
    hook = lambda module, args, kwargs: seen.update(kwargs)  # noqa: E731
    model.base_model.register_forward_pre_hook(hook, with_kwargs=True)
    mark = object()
    model(input_ids=IDS, shift_labels=IDS, fused_lm_head=True, shared_prefix_mark=mark)
    assert seen.get("shared_prefix_mark") is mark, "the fused head does not hand unknown arguments on to the backbone"


# TRL's calls.


def calls_of_a_step(trainer: EncodedDPOTrainer, model: Any, precompute: bool) -> list[tuple[tuple[Any, ...], Any]]:
    seen = []
    hook = model.register_forward_pre_hook(lambda _, args, kwargs: seen.append((args, kwargs)), with_kwargs=True)
    try:
        batch = first_batch(trainer)
        if precompute:
            trainer.compute_ref_log_probs(model, batch)
        else:
            trainer.compute_loss(trainer.model, batch)
    finally:
        hook.remove()
    return seen


@pytest.mark.parametrize(("which", "precompute"), [("model", False), ("ref_model", False), ("ref_model", True)])
def test_trl_names_every_argument_that_it_calls_a_model_with(
    plain: EncodedDPOTrainer, which: str, precompute: bool
) -> None:
    ((args, kwargs),) = calls_of_a_step(plain, getattr(plain, which), precompute)
    assert args == (), "TRL calls a model with arguments that it does not name: they would be read the plain way"
    expected = {"input_ids", "attention_mask", "labels", "use_cache", "fused_lm_head"}
    assert set(kwargs) == expected, f"TRL calls a model with {sorted(kwargs)}"
    assert kwargs["fused_lm_head"] is True


def test_trl_gives_chosen_rows_then_rejected_rows_padded_on_the_right(plain: EncodedDPOTrainer) -> None:
    ((_, kwargs),) = calls_of_a_step(plain, plain.model, precompute=False)
    columns = plain.train_dataset.to_dict()
    sides = [columns[side][row] for side in ("chosen_ids", "rejected_ids") for row in (0, 1)]
    sequences = [columns["prompt_ids"][row % 2] + side for row, side in enumerate(sides)]
    for row, sequence in enumerate(sequences):
        rest = kwargs["input_ids"].shape[1] - len(sequence)
        assert kwargs["input_ids"][row, : len(sequence)].tolist() == sequence, "TRL's batch is ordered otherwise"
        assert kwargs["attention_mask"][row].tolist() == [1] * len(sequence) + [0] * rest, "TRL pads otherwise"
        labels = [-100] * len(columns["prompt_ids"][row % 2]) + sides[row] + [-100] * rest
        assert kwargs["labels"][row].tolist() == labels, "TRL's labels are not -100 outside the response"


def test_trl_makes_its_loss_and_metrics_of_nothing_but_the_fields_that_are_scattered(
    tiny_model: Path, tmp_path: Path
) -> None:
    both = arms(tiny_model, tmp_path)
    batch = batch_of(draws(1, 2))
    with torch.no_grad():
        once, twice = (call(arm.model, batch) for arm in (both.once, both.twice))
    for name in (*PER_TOKEN, "label_mask"):
        assert once[name].shape == twice[name].shape == (4, batch["input_ids"].shape[1] - 1), name
        assert once[name].dtype == twice[name].dtype, name
        assert (once[name].float() - twice[name].float()).abs().max() < 1e-4, name
    assert step(both.once, batch).metrics.keys() == step(both.twice, batch).metrics.keys()


# transformers' attention.


def test_an_attention_can_be_registered_and_set_by_name() -> None:
    def ours(*args: Any, **kwargs: Any) -> Any:
        return ALL_ATTENTION_FUNCTIONS["sdpa"](*args, **kwargs)

    AttentionInterface.register("alignx_contract", ours)
    assert ALL_ATTENTION_FUNCTIONS["alignx_contract"] is ours, "AttentionInterface.register is not seen by models"
    model = model_of("llama")
    expected = model(input_ids=IDS).logits
    model.set_attn_implementation("alignx_contract")
    assert model.config._attn_implementation == "alignx_contract", "set_attn_implementation takes no registered name"
    assert torch.equal(model(input_ids=IDS).logits, expected)


def test_the_masks_of_an_attention_can_be_had_and_registered_by_name() -> None:
    masks = AttentionMaskInterface()
    assert "sdpa" in masks, "AttentionMaskInterface does not list sdpa"
    AttentionMaskInterface.register("alignx_contract_mask", masks["sdpa"])
    assert "alignx_contract_mask" in AttentionMaskInterface(), "AttentionMaskInterface.register is not seen"
    assert AttentionMaskInterface()["alignx_contract_mask"] is masks["sdpa"]


@pytest.mark.parametrize("implementation", ["sdpa", "eager", "ours"])
def test_a_mask_of_four_axes_is_handed_on_as_it_is(implementation: str) -> None:
    model = model_of("llama")
    if implementation == "ours":
        SharedPrefix(model)
    else:
        model.set_attn_implementation(implementation)
    mask = torch.zeros((1, 1, 1, 1), dtype=torch.long)
    found = create_causal_mask(
        config=model.config,
        inputs_embeds=torch.zeros(1, 6, 32),
        attention_mask=mask,
        past_key_values=None,
        position_ids=torch.arange(6)[None],
    )
    assert found is mask, "create_causal_mask makes something of a mask of four axes: the stand-in costs a mask now"


@pytest.mark.parametrize("checkpointing", [None, False, True], ids=["plain", "checkpointing", "reentrant"])
@pytest.mark.parametrize("family", FAMILIES)
def test_arguments_of_the_backbone_reach_the_attention_of_every_layer(family: str, checkpointing: bool | None) -> None:
    seen: list[Any] = []

    def ours(*args: Any, **kwargs: Any) -> Any:
        seen.append((kwargs.pop("shared_prefix", None), "scaling" in kwargs, "dropout" in kwargs))
        return ALL_ATTENTION_FUNCTIONS["sdpa"](*args, **kwargs)

    name = f"alignx_contract_{family}"
    AttentionInterface.register(name, ours)
    model = model_of(family).train()
    model.set_attn_implementation(name)
    if checkpointing is not None:
        model.gradient_checkpointing_enable({"use_reentrant": checkpointing})
        model.enable_input_require_grads()
    mark = object()
    model.base_model(input_ids=IDS, use_cache=False, shared_prefix=mark).last_hidden_state.sum().backward()
    calls = 2 if checkpointing is None else 4  # two layers, forward and again in the backward
    assert seen == [(mark, True, True)] * calls, "the backbone hands its arguments on to the attention no longer"


@pytest.mark.parametrize("family", FAMILIES)
def test_positions_that_are_given_are_the_positions_that_are_rotated(family: str) -> None:
    model = model_of(family)
    mask = torch.ones(1, 1, 6, 6, dtype=torch.bool).tril()
    given = {"input_ids": IDS, "attention_mask": mask, "use_cache": False}

    def states(*positions: int) -> torch.Tensor:
        result: torch.Tensor = model.base_model(position_ids=torch.tensor([positions]), **given).last_hidden_state
        return result

    counted = model.base_model(**given).last_hidden_state
    assert torch.allclose(states(0, 1, 2, 3, 4, 5), counted, atol=1e-5), "positions do not begin at 0"
    assert torch.allclose(states(7, 8, 9, 10, 11, 12), counted, atol=1e-4), "the rotation is not relative"
    assert not torch.allclose(states(0, 1, 2, 3, 3, 4), counted, atol=1e-2), "position_ids are not used"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_backbone_and_the_head_are_found_by_their_names(family: str) -> None:
    model = model_of(family)
    assert model.base_model is model.model, "base_model is not the backbone"
    assert hasattr(model.base_model, "layers")
    assert model.get_output_embeddings() is model.lm_head, "get_output_embeddings is not the head"
    states = model.base_model(input_ids=IDS, use_cache=False).last_hidden_state
    assert torch.equal(model.lm_head(states), model(input_ids=IDS).logits), "the logits are not a projection of states"
    assert model._supports_sdpa, "obstacle() goes by these two names"
    assert model._supports_attention_backend, "obstacle() goes by these two names"


def test_an_instance_forward_is_what_the_module_calls() -> None:
    model = model_of("llama")
    model.base_model.forward = lambda *args, **kwargs: "ours"
    assert model.base_model(input_ids=IDS) == "ours", "modules no longer call a forward that was set on the instance"


def test_a_saved_model_forgets_the_name_of_its_attention(tmp_path: Path) -> None:
    model = model_of("llama")
    SharedPrefix(model)
    model.save_pretrained(tmp_path)
    assert "alignx" not in (tmp_path / "config.json").read_text(encoding="utf-8"), "the attention's name is saved now"
