"""A plan says what the published run needs, refuses what cannot fit, and downloads nothing."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alignx import manifest
from alignx.cli import main
from alignx.errors import DataError, ModelError, SettingsError
from alignx.manifest import DataIdentity, Manifest
from alignx.settings import parse
from alignx.training import footprint, planning
from alignx.training.plan_memory import Needs, Way
from alignx.training.plan_schedule import schedule
from alignx.training.plan_settings import PlanSettings
from alignx.training.plan_words import GB
from alignx.training.planning import model_config, plan
from tests.worlds import sample_records, write_jsonl

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = 8_030_261_248
"""Of Llama-3.1-8B-Instruct, as its model card's safetensors say."""
TRAINED_STEPS = {91_918: (718, 14), 1_311_622: (10_247, 6)}
EIGHT = ("--gpus", "8", "--gpu-memory", "80")
ONE = ("--gpus", "1", "--gpu-memory", "80")
WAY = Way(checkpointing=True, micro_batch=2, zero=3, offload=False, lora_rank=None, gpus=8, nodes=1)
_SEEN: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that plan the same step share what was counted."""
    for name in ("counted", "shape_of"):
        real = getattr(footprint, name)

        def remembered(config: Any, *args: Any, _real: Any = real, _name: str = name, **options: Any) -> Any:
            key = repr((_name, config.to_json_string(), args, options))
            if key not in _SEEN:
                _SEEN[key] = _real(config, *args, **options)
            return _SEEN[key]

        monkeypatch.setattr(footprint, name, remembered)


def published(*flags: str, config: str = "ica") -> PlanSettings:
    """A shipped configuration, with flags."""
    return parse(PlanSettings, ["--config", str(ROOT / f"configs/train/{config}.yaml"), *flags], "alignx plan")


def numbers(tmp_path: Path, *flags: str, config: str = "ica") -> dict[str, Any]:
    """The plan of a shipped configuration, as numbers."""
    file = tmp_path / "plan.json"
    plan(published(*flags, "--json-file", str(file), config=config))
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def tiny_plan(tiny_model: Path, data: Path | str, *flags: str) -> PlanSettings:
    argv = ["--model", str(tiny_model), "--data", str(data), "--output", "out", "--global-batch", "4", *flags]
    if "--gpus" not in flags:
        argv += ["--gpus", "1", "--gpu-memory", "2"]
    return parse(PlanSettings, argv, "alignx plan")


# steps and rates


@pytest.mark.parametrize(("rows", "steps"), TRAINED_STEPS.items(), ids=["7 %", "all"])
@pytest.mark.parametrize(("gpus", "nodes"), [(1, 1), (4, 1), (8, 1), (8, 2), (8, 8)])
def test_the_published_run_has_its_steps_on_any_number_of_gpus(
    tmp_path: Path, rows: int, steps: tuple[int, int], gpus: int, nodes: int
) -> None:
    machine = ("--gpus", str(gpus), "--nodes", str(nodes), "--gpu-memory", "400", "--zero", "3")
    found = numbers(tmp_path, *machine, config="ica" if rows > 10**6 else "ica-subset")
    assert (found["schedule"]["steps"], found["schedule"]["left_over"]) == steps
    assert found["schedule"]["rows"] + found["schedule"]["left_over"] == rows
    assert found["schedule"]["warmup"] == {718: 72, 10_247: 1_025}[steps[0]]


@pytest.mark.parametrize("rows", [128, 256, 1_300, 91_918, 1_311_622])
@pytest.mark.parametrize("warmup_ratio", ["0", "0.1", "0.9"])
def test_the_rates_are_those_of_transformers_schedule(rows: int, warmup_ratio: str) -> None:
    import torch
    from transformers import get_cosine_with_min_lr_schedule_with_warmup

    chosen = published(*EIGHT, "--warmup-ratio", warmup_ratio)
    found = schedule(chosen, rows)
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=chosen.learning_rate)
    theirs = get_cosine_with_min_lr_schedule_with_warmup(
        optimiser, found.warmup, found.steps, min_lr_rate=chosen.min_lr_ratio
    )
    rates = []
    for _ in range(found.steps + 1):
        rates.append(theirs.get_last_lr()[0])
        optimiser.step()
        theirs.step()
    assert found.first_rate == pytest.approx(rates[0], rel=1e-9)
    assert found.last_rate == pytest.approx(rates[found.steps - 1], rel=1e-9)
    assert found.end_rate == pytest.approx(rates[found.steps], rel=1e-9)
    assert found.peak_rate == pytest.approx(max(rates[:-1]), rel=1e-9)
    assert rates[found.peak_step - 1] == pytest.approx(found.peak_rate, rel=1e-9)


def test_the_published_rate_rises_from_nothing_to_5e_7_and_falls_to_a_tenth() -> None:
    found = schedule(published(*EIGHT), 1_311_622)
    assert (found.first_rate, found.peak_rate, found.peak_step) == (0.0, 5e-7, 1_026)
    assert found.end_rate == pytest.approx(5e-8)
    assert found.end_rate < found.last_rate < 5.00001e-8


def test_held_out_records_and_epochs_change_the_steps() -> None:
    found = schedule(published(*EIGHT, "--eval-rows", "300", "--epochs", "2"), 1_000)
    assert (found.rows, found.held_out, found.left_over, found.steps) == (640, 300, 60, 10)
    assert schedule(published(*EIGHT, "--max-steps", "3"), 1_000).steps == 3


# rows


def test_a_local_source_is_counted_by_reading_it(tiny_model: Path, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "records.jsonl", sample_records(9, seed=3))
    text = plan(tiny_plan(tiny_model, data))
    assert "optimiser steps" in text
    assert "9 records (counted)" in text
    assert " 2  of 4 pairs = 2 × 1 GPU × 2 accumulated" in text


def test_a_prepared_folder_says_how_many_it_holds(tiny_model: Path, tmp_path: Path) -> None:
    identity = DataIdentity(source="records.jsonl", digest="0", records=21)
    manifest.write(tmp_path, Manifest(kind="prepared", data=identity, counts={"records": 20}))
    assert "20 records (prepared)" in plan(tiny_plan(tiny_model, tmp_path))


def test_stated_rows_and_those_of_the_paper_are_said_to_be(tmp_path: Path) -> None:
    assert "(paper v3)" in plan(published(*EIGHT))
    assert "50,000 records (as stated)" in plan(published(*EIGHT, "--rows", "50000"))
    assert "1,000 records (paper v3)" in plan(published(*EIGHT, "--limit", "1000"))


def test_a_source_of_unknown_size_needs_rows() -> None:
    with pytest.raises(SettingsError, match=r"--rows is required: some/data is not on this machine"):
        plan(published(*EIGHT, "--data", "some/data"))


def test_too_few_records_are_refused() -> None:
    with pytest.raises(DataError, match="100 training records, expected at least one --global-batch of 128"):
        plan(published(*EIGHT, "--rows", "100"))
    with pytest.raises(DataError, match="--subset 91918: there are 5000 records"):
        plan(published(*EIGHT, "--rows", "5000", config="ica-subset"))


# memory


def needs_of(*flags: str, config: str = "ica") -> Needs:
    chosen = published(*EIGHT, *flags, config=config)
    return Needs(chosen, model_config(chosen), "bfloat16")


def test_the_shape_written_down_has_the_parameters_of_the_published_model() -> None:
    shape = needs_of().shape(None)
    assert (shape.parameters, shape.trained, shape.obstacle) == (PARAMETERS, PARAMETERS, None)
    assert shape.largest == 128_256 * 4_096
    assert shape.alike


@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("gpus", [1, 8])
def test_states_under_zero_are_deepspeeds_estimates(gpus: int, offload: bool) -> None:
    from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs
    from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs

    needs = needs_of()
    for stage in (2, 3):
        way = Way(True, 2, stage, offload, None, gpus, 2)
        found = needs.states(way)
        if stage == 2:
            host, gpu = estimate_zero2_model_states_mem_needs(PARAMETERS, gpus, 2, offload)
        else:
            host, gpu, _ = estimate_zero3_model_states_mem_needs(
                PARAMETERS, 128_256 * 4_096, gpus, 2, offload, cpu_offload_params=offload
            )
        assert found.weights + found.gradients + found.optimiser == gpu
        assert found.host == host
        assert min(found.weights, found.buffers) > 0
        assert (found.optimiser == 0) == offload


def test_the_states_of_8_billion_parameters_by_hand() -> None:
    needs = needs_of()
    alone = needs.states(Way(True, 2, 0, False, None, 1, 1))
    assert [alone.weights, alone.gradients, alone.optimiser, alone.buffers] == [
        4 * PARAMETERS,
        4 * PARAMETERS,
        8 * PARAMETERS,
        0,
    ]
    half = needs_of("--no-master-weights").states(Way(True, 2, 0, False, None, 8, 1))
    assert [half.weights, half.gradients, half.optimiser, half.buffers] == [
        2 * PARAMETERS,
        2 * PARAMETERS,
        4 * PARAMETERS,
        2 * PARAMETERS,
    ]
    shared = needs.states(WAY)
    assert shared.optimiser == PARAMETERS
    assert shared.weights == pytest.approx(6 / 8 * PARAMETERS + 2 * 128_256 * 4_096, abs=8)


@pytest.mark.parametrize("flags", [(), ("--no-master-weights",), ("--lora-rank", "4")])
def test_states_without_zero_are_what_a_step_holds(tiny_model: Path, flags: tuple[str, ...]) -> None:
    chosen = tiny_plan(tiny_model, "JinaLeejnl/AlignX", *flags, "--prompt-tokens", "60", "--response-tokens", "5")
    needs = Needs(chosen, model_config(chosen), "bfloat16")
    way = Way(True, 2, 0, False, chosen.lora_rank, 1, 1)
    states, found = needs.states(way), needs.footprint(way)
    assert (states.weights, states.gradients) == (found.weights, found.gradients)
    assert states.optimiser == 2 * states.gradients


def test_an_online_reference_has_weights_of_its_own() -> None:
    online, before = needs_of("--reference", "online"), needs_of()
    for zero, more in ((0, 4 * PARAMETERS), (2, 2 * PARAMETERS), (3, 2 * PARAMETERS // 8)):
        way = Way(True, 2, zero, False, None, 8, 1)
        assert online.states(way).weights - before.states(way).weights == more
        adapters = Way(True, 2, zero, False, 64, 8, 1)
        assert online.states(adapters) == before.states(adapters)  # the base without its adapters is the reference


def test_the_parts_of_the_memory_sum_to_its_total(tmp_path: Path) -> None:
    memory = numbers(tmp_path, *EIGHT)["memory"]
    parts = ("weights", "gradients", "optimiser", "activations", "logits", "buffers")
    assert sum(memory[name] for name in parts) == memory["total"]
    assert min(memory[name] for name in parts if name != "logits") > 0
    assert memory["total"] <= memory["room"] == 76 * GB
    text = plan(published(*EIGHT))
    for name in parts:
        assert f"  {name} " in text


def test_a_larger_micro_batch_needs_more_and_checkpointing_less(tiny_model: Path) -> None:
    chosen = tiny_plan(tiny_model, "JinaLeejnl/AlignX", "--prompt-tokens", "900", "--response-tokens", "2")
    needs = Needs(chosen, model_config(chosen), "bfloat16")
    two, one = (needs.memory(Way(True, pairs, 3, False, None, 8, 1)) for pairs in (2, 1))
    kept = needs.memory(Way(False, 1, 3, False, None, 8, 1))
    assert one.activations < two.activations
    assert one.activations < kept.activations
    assert one.weights == two.weights == kept.weights


# what fits and what does not


def test_the_published_run_fits_eight_gpus_under_zero_3(tmp_path: Path) -> None:
    found = numbers(tmp_path, *EIGHT)
    assert found["way"]["zero"] == 3  # as the scripts start
    assert found["parameters"] == PARAMETERS
    assert 30 * GB < found["memory"]["total"] < 76 * GB


def test_adapters_fit_one_gpu_of_80_gb(tmp_path: Path) -> None:
    found = numbers(tmp_path, *ONE, config="ica-lora")
    assert found["way"]["zero"] == 0
    assert found["memory"]["total"] < 76 * GB
    assert found["trained"] < PARAMETERS / 30
    assert found["disk"]["checkpoint"] == 12 * found["trained"]


def test_all_weights_do_not_fit_one_gpu_and_what_does_is_named() -> None:
    with pytest.raises(SettingsError) as refused:
        plan(published(*ONE))
    said = str(refused.value)
    assert said.startswith("this run needs ")
    assert "but 76.0 of its 80.0 GB are to be used" in said
    nearest, second = said.split("; what fits: ")[1].split("; or ")
    assert nearest.startswith("--zero 3 --offload (")
    assert "GB of a machine's memory" in nearest
    assert second.startswith(("--lora-rank 64 (", "--micro-batch 1 --lora-rank 64 ("))
    assert "\n" not in said


@pytest.mark.parametrize("number", [0, 1])
def test_what_a_refusal_names_is_then_accepted(number: int) -> None:
    with pytest.raises(SettingsError) as refused:
        plan(published(*ONE))
    flags = str(refused.value).split("; what fits: ")[1].split("; or ")[number].split(" (")[0].split()
    assert "fits" in plan(published(*ONE, *flags))


def test_the_nearest_way_changes_as_little_as_possible() -> None:
    with pytest.raises(SettingsError, match=r"what fits: --gradient-checkpointing \("):
        plan(published(*EIGHT, "--no-gradient-checkpointing"))
    with pytest.raises(SettingsError, match=r"what fits: --zero 3 \("):
        plan(published(*EIGHT, "--zero", "0"))
    with pytest.raises(SettingsError, match=r"what fits: --micro-batch 2 \("):
        plan(published("--gpus", "8", "--gpu-memory", "36", "--micro-batch", "4"))


def test_a_run_that_fits_nowhere_is_told_to_shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_fits", lambda *args: False)
    with pytest.raises(SettingsError, match="nothing that was tried fits; shorten --max-length"):
        plan(published(*EIGHT))


def test_offloading_is_not_advised_to_a_machine_without_the_memory() -> None:
    with pytest.raises(SettingsError) as refused:
        plan(published(*ONE, "--cpu-memory", "128"))
    assert "--offload" not in str(refused.value)
    assert "--lora-rank 64" in str(refused.value)
    with pytest.raises(SettingsError, match=r"of a machine's memory, but --cpu-memory is 128 GB"):
        plan(published(*ONE, "--zero", "3", "--offload", "--cpu-memory", "128"))


def test_a_reference_that_does_not_fit_whole_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"the reference's pass has its 16.1 GB of weights whole on each GPU"):
        plan(published("--gpus", "8", "--gpu-memory", "16"))


@pytest.mark.parametrize("gpus", ["1", "8"])
def test_what_fits_without_a_whole_reference_is_then_accepted(gpus: str) -> None:
    machine = ("--gpus", gpus, "--gpu-memory", "16", "--zero", "3", "--offload")
    with pytest.raises(SettingsError) as refused:
        plan(published(*machine))
    advice = str(refused.value).split("; what fits: ")[1].split("; or ")[0].split(" (")[0]
    assert advice.startswith("--reference online")
    assert "fits" in plan(published(*machine, *advice.split()))


def test_a_run_that_ends_early_asks_the_reference_for_as_many_records(tmp_path: Path) -> None:
    whole, short = (numbers(tmp_path, *EIGHT, *flags) for flags in ((), ("--max-steps", "10")))
    assert short["tokens"]["reference"] == 10 * 128 * short["tokens"]["pair"]
    assert whole["tokens"]["reference"] == 1_311_616 * whole["tokens"]["pair"]
    assert "1,280 of them are read" in plan(published(*EIGHT, "--max-steps", "10"))


def test_more_tokens_than_the_model_was_made_for_are_named() -> None:
    assert "reads 200,000 tokens although it was made for 131,072" in plan(
        published("--gpus", "8", "--gpu-memory", "800", "--max-length", "200000", "--prompt-tokens", "1000")
    )


def test_headroom_is_what_is_said_to_be_free(tmp_path: Path) -> None:
    found = numbers(tmp_path, *EIGHT, "--headroom", "0.1")
    assert found["memory"]["room"] == 72 * GB


# time, tokens, disk


def test_without_a_stated_throughput_no_time_is_claimed(tmp_path: Path) -> None:
    assert numbers(tmp_path, *EIGHT)["hours"] is None
    text = plan(published(*EIGHT))
    assert "no throughput was stated (--tokens-per-second)" in text
    assert "if a GPU reads 1,000 tokens a second" in text


def test_time_is_tokens_over_throughput(tmp_path: Path) -> None:
    found = numbers(tmp_path, *EIGHT, "--mean-tokens", "2000", "--tokens-per-second", "5000", config="ica-subset")
    assert found["tokens"]["step"] == 128 * 2_000
    assert found["tokens"]["all"] == 718 * 128 * 2_000
    assert found["hours"]["training"] == pytest.approx(718 * 128 * 2_000 / 5_000 / 8 / 3600)
    assert found["hours"]["reference"] == pytest.approx(found["hours"]["training"] / 4)  # one of its four passes
    online = numbers(tmp_path, *EIGHT, "--reference", "online", "--mean-tokens", "2000", "--tokens-per-second", "5000")
    assert online["hours"]["reference"] == 0
    assert online["disk"]["reference_cache"] == 0


def test_tokens_read_are_those_of_the_prompt_once_or_twice(tmp_path: Path) -> None:
    lengths = ("--prompt-tokens", "1500", "--response-tokens", "100")
    once, twice = needs_of(*lengths), needs_of(*lengths, "--no-shared-prefix")
    assert (once.pair, once.read_once) == (1500 + 99 + 99, True)
    assert (twice.pair, twice.read_once) == (3200, False)
    longest = numbers(tmp_path, *EIGHT)["tokens"]
    assert (longest["pair"], longest["prompt_read"]) == (8192 - 512 + 2 * 511, "once")


@pytest.mark.parametrize(("zero", "bytes_each", "final"), [(2, 16, 2), (3, 14, 2), (0, 12, 4)])
def test_a_checkpoint_holds_weights_their_float32_and_both_moments(
    tmp_path: Path, zero: int, bytes_each: int, final: int
) -> None:
    machine = ("--gpus", "8", "--gpu-memory", "999", "--zero", str(zero))
    disk = numbers(tmp_path, *machine, "--keep-checkpoints", "3")["disk"]
    assert disk["checkpoint"] == bytes_each * PARAMETERS
    assert disk["at_rotation"] == 4 * disk["checkpoint"]
    assert disk["final"] == final * PARAMETERS


def test_the_bytes_of_a_checkpoint_and_of_the_cache_are_what_is_written(tiny_model: Path, tmp_path: Path) -> None:
    """A checkpoint of AdamW on a real model, and lines of the real cache."""
    import torch
    from transformers import AutoModelForCausalLM

    from alignx.manifest import ModelIdentity
    from alignx.models.score_cache import ScoreCache, pair_key

    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype="float32")
    optimiser = torch.optim.AdamW(model.parameters())
    model(input_ids=torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss.backward()
    optimiser.step()
    model.save_pretrained(tmp_path / "saved")
    torch.save(optimiser.state_dict(), tmp_path / "saved" / "optimizer.pt")
    written = sum(path.stat().st_size for path in (tmp_path / "saved").iterdir())
    file = tmp_path / "plan.json"
    plan(tiny_plan(tiny_model, "JinaLeejnl/AlignX", "--json-file", str(file), "--prompt-tokens", "60"))
    disk = json.loads(file.read_text(encoding="utf-8"))["disk"]
    assert disk["checkpoint"] == pytest.approx(written, rel=0.05)
    cache = ScoreCache(tmp_path / "cache", ModelIdentity(name="m", digest="d", tokenizer="t"))
    with cache.writing() as writer:
        for row in range(100):
            writer.add(pair_key([row], [1], [2]), (-123.45678901234567 - row, -98.76543210987654 + row))
    lines = sum(path.stat().st_size for path in cache.folder.glob("*.jsonl"))
    assert disk["reference_cache"] / 1_311_622 == pytest.approx(lines / 100, rel=0.1)


# refusals


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--zero", "1"), "--zero 1 has no configuration here"),
        (("--zero", "0", "--offload"), "--offload is DeepSpeed's"),
        (("--zero", "4"), "--zero: got '4', expected"),
        (("--prompt-tokens", "8000", "--response-tokens", "500"), "are 8500 tokens together, expected at most"),
        (("--max-length", "300"), "are 513 tokens together, expected at most --max-length 300"),
        (("--headroom", "1"), "--headroom: got '1', expected less than 1"),
        (("--gpus", "0"), "--gpus: got '0'"),
        (("--tokens-per-second", "0"), "--tokens-per-second: got '0'"),
    ],
)
def test_impossible_settings_are_refused_by_name(flags: tuple[str, ...], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        published(*flags)
    assert said in str(refused.value)


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(SettingsError, match="--global-batch 128 is no multiple of --micro-batch 2 times 6 processes"):
        plan(published("--gpus", "6", "--gpu-memory", "80"))


def test_a_machine_without_a_gpu_must_be_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SettingsError, match="--gpus and --gpu-memory: this machine has no GPU to go by; describe one"):
        plan(published())
    with pytest.raises(SettingsError, match="--gpu-memory: this machine has no GPU"):
        plan(published("--gpus", "8"))


def test_the_present_machine_is_asked_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [85_000_000_000, 84_000_000_000, 85_000_000_000, 85_000_000_000]
    with monkeypatch.context() as changed:
        changed.setattr("torch.cuda.is_available", lambda: True)
        changed.setattr("torch.cuda.device_count", lambda: len(sizes))
        changed.setattr("torch.cuda.get_device_properties", lambda number: SimpleNamespace(total_memory=sizes[number]))
        way, memory, here = planning._described(published())
        assert planning._described(published("--gpus", "2"))[0].gpus == 2
    assert (way.gpus, way.zero, memory, here) == (4, 3, 84e9, True)
    monkeypatch.setattr(planning, "_described", lambda settings: (way, memory, here))
    assert "4 GPUs of 84.0 GB (this machine), ZeRO-3" in plan(published())


def test_zero_without_deepspeed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_has_deepspeed", lambda: False)
    with pytest.raises(SettingsError, match=r"pip install 'alignx\[deepspeed\]'"):
        plan(published(*EIGHT))
    with pytest.raises(SettingsError) as refused:
        plan(published(*EIGHT, "--zero", "0"))
    assert "--zero 3" not in str(refused.value)
    assert "--lora-rank 64" in str(refused.value)


def test_a_model_that_is_not_to_be_had_is_named(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text('{"model_type": "no-such-model"}')
    for name, said in [
        (str(tmp_path / "missing"), "no such model folder"),
        (str(tmp_path / "adapter"), "is an adapter; merge it"),
        (str(tmp_path / "empty"), "no config.json in"),
        (str(tmp_path / "broken"), "cannot read config.json"),
        ("someone/else", "its config.json is not to be had from the hub"),
    ]:
        with pytest.raises(ModelError) as refused:
            plan(published(*EIGHT, "--model", name))
        assert said in str(refused.value)
        assert str(refused.value).startswith(name)


# the command


def test_the_command_prints_a_plan_and_writes_its_numbers(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plan.json"
    argv = ["--model", str(tiny_model), "--rows", "100", "--data", "some/data", "--output", "out", "--dtype", "float32"]
    main(["plan", *argv, "--global-batch", "8", "--gpus", "1", "--gpu-memory", "8", "--json-file", str(file)])
    out = capsys.readouterr().out
    for title in ("steps", "memory of a GPU at its fullest, in GB", "disk, in GB", "taken for granted"):
        assert f"\n{title}\n" in out
    assert "None" not in out
    assert all(line == line.rstrip() for line in out.splitlines())
    assert json.loads(file.read_text(encoding="utf-8"))["schedule"]["steps"] == 12


def test_the_command_leaves_with_2_when_a_run_cannot_fit(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["plan", "--config", str(ROOT / "configs/train/ica.yaml"), *ONE])
    captured = capsys.readouterr()
    assert left.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith("alignx plan: error: this run needs ")
    assert captured.err.count("\n") == 1


def test_what_the_page_shows_is_what_is_printed() -> None:
    blocks = (ROOT / "docs/plan.md").read_text(encoding="utf-8").split("```text\n")[1:]
    shown, refusal = (block.split("\n```")[0] for block in blocks)
    assert plan(published(*EIGHT)) == shown
    with pytest.raises(SettingsError) as refused:
        plan(published(*ONE))
    assert f"alignx plan: error: {refused.value}" == refusal


def test_help_says_what_a_machine_is_and_takes_the_runs_own_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["plan", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "--gpu-memory" in said
    assert "--config FILE" in said
    assert "refuse what cannot fit" in said


@pytest.mark.parametrize("config", sorted(path.stem for path in (ROOT / "configs/train").glob("*.yaml")))
def test_every_shipped_configuration_can_be_planned(config: str) -> None:
    machine = ONE if "lora" in config else EIGHT
    text = plan(published(*machine, config=config))
    assert "fits; " in text
    assert ("adapters of rank 64" in text) == ("lora" in config)
