"""Each prompt once in every mode: adapters, checkpointing, bfloat16, references first, evaluation, whole runs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaModel

from alignx import manifest
from alignx.cli import main
from alignx.training.run import train
from alignx.training.trainer import REFERENCE_COLUMNS
from tests.training.parity import (
    VOCABULARY,
    Arms,
    Pair,
    arms,
    assert_same_metrics,
    assert_same_step,
    batch_of,
    call,
    draws,
    model_of,
    named,
    step,
    tokens_read,
)
from tests.training.runs import losses, planted, read_jsonl, settings, short_records, trainer_of
from tests.worlds import write_jsonl

TIMES = ("runtime", "samples_per_second", "steps_per_second", "jit_compilation_time")


def pairs_of(columns: dict[str, list[Any]]) -> list[Pair]:
    return [
        Pair(*ids) for ids in zip(*(columns[f"{name}_ids"] for name in ("prompt", "chosen", "rejected")), strict=True)
    ]


# Adapters.


@pytest.fixture(scope="module")
def lora(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Arms:
    """Adapters that do something from the start, so that the policy is not its reference."""
    from peft import LoraConfig

    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM")
    both = arms(tiny_model, tmp_path_factory.mktemp("lora"), model_of("llama"), peft_config=config)
    torch.manual_seed(2)
    values = {
        name: torch.randn_like(parameter) * 0.2
        for name, parameter in both.once.model.named_parameters()
        if parameter.requires_grad
    }
    assert values
    assert all("lora" in name for name in values)
    for arm in (both.once, both.twice):
        arm.model.load_state_dict(values, strict=False)
    return both


def test_adapters_get_the_same_loss_and_gradients(lora: Arms) -> None:
    for seed in range(3):
        batch = batch_of(draws(seed, 3))
        once, twice = step(lora.once, batch), step(lora.twice, batch)
        assert_same_step(once, twice)
        assert_same_metrics(once.metrics, twice.metrics)
        assert abs(twice.metrics["rewards/margins"]) > 1e-2, "the adapter changes nothing"
    assert lora.once.sharing()["policy"]["shared_prefix"]


def test_with_an_adapter_policy_and_reference_both_read_unique_tokens(lora: Arms) -> None:
    step(lora.once, batch_of(draws(1, 1)))
    pairs = draws(2, 3)
    with tokens_read(named(lora.once)) as counts:
        step(lora.once, batch_of(pairs))
    assert counts == [sum(pair.unique for pair in pairs)] * 2  # with the adapter, and without it


# Gradient checkpointing.


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_changes_nothing(tiny_model: Path, tmp_path: Path, reentrant: bool) -> None:
    both = arms(tiny_model, tmp_path)
    for arm in (both.once, both.twice):
        arm.model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        if reentrant:
            arm.model.enable_input_require_grads()
    for seed in range(3):
        batch = batch_of(draws(seed, 3))
        with calls_of(both.once.model.model.layers[0].self_attn) as calls:
            once = step(both.once, batch)
        assert_same_step(once, step(both.twice, batch))
    assert len(calls) == 2, "forward, and again in the backward"
    assert both.once.sharing()["policy"]["shared_prefix"]


@contextmanager
def calls_of(module: Any) -> Iterator[list[None]]:
    calls: list[None] = []
    hook = module.register_forward_hook(lambda *_: calls.append(None))
    try:
        yield calls
    finally:
        hook.remove()


# bfloat16.


def test_in_bfloat16_it_is_as_near_to_rows_read_alone_as_the_plain_forward_of_a_batch_is(
    tiny_model: Path, tmp_path: Path
) -> None:
    shape = {"hidden_size": 128, "head_dim": 32, "intermediate_size": 384, "num_hidden_layers": 4}
    models = [model_of("llama", seed=seed, initializer_range=0.09, **shape) for seed in (0, 1)]
    both = arms(tiny_model, tmp_path, *models, bf16=True)
    apart: dict[str, list[torch.Tensor]] = {"once": [], "twice": [], "rounding": []}
    for seed in range(8):
        batch = batch_of(draws(seed, 4, longest=60))
        asked = batch["completion_mask"][:, 1:].bool()
        with torch.no_grad():
            exact = call(both.twice.model, batch).log_probs[asked]
            with torch.autocast("cpu", torch.bfloat16):
                once, twice = (call(arm.model, batch).log_probs[asked] for arm in (both.once, both.twice))
                alone = torch.cat([read_alone(both.twice.model, batch, row) for row in range(8)])
        apart["once"].append((once - alone).abs())
        apart["twice"].append((twice - alone).abs())
        apart["rounding"].append((twice - exact).abs())
    assert both.once.sharing()["policy"]["shared_prefix"]
    assert torch.cat(apart["rounding"]).mean() > 1e-3, "this was computed in float32"
    assert torch.cat(apart["once"]).mean() <= torch.cat(apart["twice"]).mean()


def read_alone(model: Any, batch: dict[str, Any], row: int) -> torch.Tensor:
    """Log-probabilities of the response in a row, read in a batch of one, without padding."""
    length = int(batch["attention_mask"][row].sum())
    alone = {name: batch[name][[row], :length] for name in ("input_ids", "attention_mask", "completion_mask")}
    result: torch.Tensor = call(model, alone).log_probs[alone["completion_mask"][:, 1:].bool()]
    return result


def test_in_bfloat16_the_loss_is_that_of_stock_trl_up_to_rounding(tiny_model: Path, tmp_path: Path) -> None:
    both = arms(tiny_model, tmp_path, bf16=True)
    for arm in (both.once, both.twice):
        arm.model.to(torch.bfloat16)
        arm.ref_model.to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        once, twice = (step(arm, batch_of(draws(3, 4))) for arm in (both.once, both.twice))
    assert both.once.sharing()["policy"]["shared_prefix"]
    assert once.loss == pytest.approx(twice.loss, rel=0.05)


# References that are computed first.


def test_references_computed_first_are_read_once_too(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    forward = LlamaModel.forward

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        counts.append(kwargs["input_ids"].numel())
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(LlamaModel, "forward", counted)
    columns, found, read = planted(5, VOCABULARY, seed=3), [], []
    for shared in (True, False):
        counts.clear()
        # TRL keeps what it computed by a digest of data and weights: under other ids it computes again.
        columns["id"] = [f"{shared}-{row}" for row in range(5)]
        model = model_of("llama", vocab_size=1024)  # as many as the tokenizer has, which pads
        trainer = trainer_of(
            model, None, tiny_model, columns, tmp_path, shared_prefix=shared, precompute_ref_log_probs=True
        )
        found.append([value for name in REFERENCE_COLUMNS for value in trainer.train_dataset[name]])
        read.append(list(counts))
    pairs = pairs_of(columns)
    batches = [pairs[:2], pairs[2:4], pairs[4:]]
    unique = [sum(pair.unique for pair in batch) for batch in batches]
    padded = [batch_of(batch)["input_ids"].numel() for batch in batches]
    alone = [padded[0] // 4] * 4  # the first batch is also read row by row, to be compared
    assert read[0] == [*alone, unique[0], *unique]
    assert read[1] == padded
    assert found[0] == pytest.approx(found[1], abs=1e-4)


# Evaluation.


def test_evaluation_gives_the_same_metrics(tiny_model: Path, tmp_path: Path) -> None:
    models = [model_of("llama", seed=seed, vocab_size=1024) for seed in (0, 1)]
    both = arms(
        tiny_model, tmp_path, *models, columns=planted(5, VOCABULARY), eval_columns=planted(5, VOCABULARY, seed=4)
    )
    once, twice = (
        {name: value for name, value in arm.evaluate().items() if not name.endswith(TIMES)}
        for arm in (both.once, both.twice)
    )
    assert {"eval_loss", "eval_rewards/margins", "eval_rewards/accuracies", "eval_mean_token_accuracy"} <= set(twice)
    assert_same_metrics(once, twice)
    assert once["eval_rewards/accuracies"] == twice["eval_rewards/accuracies"]
    assert both.once.sharing()["policy"]["shared_prefix"]


# Whole runs.


@dataclass(frozen=True)
class Runs:
    """The same run with each prompt read once, and twice."""

    once: Path
    twice: Path


@pytest.fixture(scope="module")
def runs(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("runs")
    data = write_jsonl(folder / "records.jsonl", short_records(14, seed=5))
    both = Runs(folder / "once", folder / "twice")
    for output, flag in ((both.once, "--shared-prefix"), (both.twice, "--no-shared-prefix")):
        main(
            [
                *["train", "--model", str(tiny_model), "--data", str(data), "--output", str(output), "--method", "ica"],
                *["--global-batch", "4", "--micro-batch", "2", "--dtype", "float32", "--learning-rate", "1e-3"],
                *["--warmup-ratio", "0", "--eval-rows", "3", flag],
            ]
        )
    return both


def test_a_run_says_in_its_manifest_how_prompts_were_read(runs: Runs) -> None:
    once, twice = manifest.read(runs.once).forward, manifest.read(runs.twice).forward
    assert set(once) == {"policy", "reference"}
    for said in once.values():
        assert (said["shared_prefix"], said["reason"]) == (True, None)
        assert 0 < said["mean_difference"] <= said["largest_difference"] < 1e-4
    assert [said["shared_prefix"] for said in twice.values()] == [False]
    assert twice["policy"]["reason"] == "it was switched off"


def test_a_run_reads_prompts_once_unless_told_otherwise(tiny_model: Path, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "records.jsonl", short_records(4))
    output = train(settings(tiny_model, data, tmp_path / "out"))
    assert manifest.read(output).forward["policy"]["shared_prefix"] is True


def test_a_checkpoint_names_no_attention_of_ours(runs: Runs) -> None:
    for text in (path.read_text(encoding="utf-8") for path in runs.once.glob("*config*.json")):
        assert "alignx_shared_prefix" not in text
        assert "_attn_implementation" not in json.loads(text)
    model = AutoModelForCausalLM.from_pretrained(runs.once)
    assert model.config._attn_implementation == "sdpa"
    assert torch.isfinite(model(input_ids=torch.tensor([[1, 2, 3]])).logits).all()


def test_runs_arrive_at_the_same_losses_and_weights(runs: Runs, tiny_model: Path) -> None:
    assert losses(runs.once) == pytest.approx(losses(runs.twice), abs=1e-4)
    assert len(losses(runs.once)) == manifest.read(runs.once).counts["steps"] > 1
    held_out = [
        [line["eval_loss"] for line in read_jsonl(run / "metrics.jsonl") if "eval_loss" in line]
        for run in (runs.once, runs.twice)
    ]
    assert len(held_out[1]) == 1
    assert held_out[0] == pytest.approx(held_out[1], abs=1e-4)
    once, twice, start = (
        torch.cat([weights.flatten() for weights in AutoModelForCausalLM.from_pretrained(folder).parameters()])
        for folder in (runs.once, runs.twice, tiny_model)
    )
    assert (once - twice).norm() <= 1e-3 * (twice - start).norm()
