"""Training runs, whole and in this process: what reaches the model, what is counted, what is saved, what is refused."""

import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import alignx
from alignx import manifest
from alignx.cli import main
from alignx.errors import AlignXError, DataError, SettingsError, TrainingError
from alignx.models.loading import find_model
from alignx.prompts.preparing import PrepareSettings, prepare
from alignx.prompts.preparing.making import Making
from alignx.settings import read_yaml, validate
from alignx.training.run import train
from alignx.training.settings import TrainSettings
from alignx.training.splitting import split
from tests.training.prepared_rows import rows_of
from tests.training.runs import (
    batches,
    first_batch,
    losses,
    planted,
    read_jsonl,
    response_logp,
    settings,
    short_records,
    snapshot,
    trainer_on,
)
from tests.worlds import write_jsonl

ROOT = Path(alignx.__file__).parents[1]
BETA = 0.2
OWN = {"seed": 7, "beta": BETA, "adam_beta1": 0.85, "weight_decay": 0.01, "max_grad_norm": 0.9}
"""Settings of the finished run that neither TRL nor this project has by default."""


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """24 records whose users and targets hang together in groups of 6, 9, 6 and, the last, 3."""
    return [{"id": f"r{i}", **row} for i, row in enumerate(short_records(24, seed=5))]


@pytest.fixture(scope="module")
def data(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, as a file."""
    return write_jsonl(tmp_path_factory.mktemp("training") / "records.jsonl", rows)


@dataclass(frozen=True)
class Finished:
    """A finished run."""

    settings: TrainSettings
    output: Path
    arguments: dict[str, Any]
    """What its trainer was built with."""


@pytest.fixture(scope="module")
def finished(tiny_model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run that held out the group of 3, left one row over and trained 5 steps on 20; treat it as read-only."""
    output = tmp_path_factory.mktemp("finished") / "ica"
    wanted = settings(tiny_model, data, output, eval_rows=3, warmup_ratio=0.3, log_batches=True, **OWN)
    with pytest.MonkeyPatch.context() as patch:
        built = watch_trainers(patch)
        assert train(wanted) == output
    return Finished(wanted, output, built[0])


def watch_trainers(patch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments of every trainer that is built from here on."""
    from alignx.training import trainer

    built = []

    class Watched(trainer.EncodedDPOTrainer):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            built.append(kwargs)
            super().__init__(*args, **kwargs)

    patch.setattr(trainer, "EncodedDPOTrainer", Watched)
    return built


def dpo_loss(policy: tuple[float, float], reference: tuple[float, float], beta: float = BETA) -> float:
    """−log σ(β·(chosen − reference's) − β·(rejected − reference's)), Eq. 1; each pair is (chosen, rejected)."""
    return math.log1p(math.exp(-beta * ((policy[0] - reference[0]) - (policy[1] - reference[1]))))


def logps(model: Any, columns: dict[str, list[Any]], row: int) -> tuple[float, float]:
    prompt = columns["prompt_ids"][row]
    return (
        response_logp(model, prompt, columns["chosen_ids"][row]),
        response_logp(model, prompt, columns["rejected_ids"][row]),
    )


# What reaches the model.


def test_planted_ids_reach_policy_and_reference_exactly_as_given(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoTokenizer, LlamaModel

    data = write_jsonl(tmp_path / "records.jsonl", short_records(8))
    columns = planted(8, vocabulary=1024, first=1500)  # one prompt is longer than TRL's default limit of 1,024
    known = len(AutoTokenizer.from_pretrained(tiny_model))
    assert max(max(ids) for ids in columns["prompt_ids"]) >= known, "some id must be one that the tokenizer cannot make"
    prepared = plant(tiny_model, data, tmp_path / "prepared", columns)
    seen: dict[bool, list[tuple[list[int], list[int]]]] = {True: [], False: []}
    forward = LlamaModel.forward

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        rows = [
            ids[mask.bool()].tolist() for ids, mask in zip(kwargs["input_ids"], kwargs["attention_mask"], strict=True)
        ]
        half = len(rows) // 2
        seen[self.training] += zip(rows[:half], rows[half:], strict=True)  # chosen rows first, then rejected ones
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(LlamaModel, "forward", watched)
    # Whole rows are seen where each prompt is read twice; test_prompt_once.py says that once gives the same.
    train(settings(tiny_model, prepared, tmp_path / "out", shared_prefix=False, reference="online"))
    wanted = sorted(
        (prompt + chosen, prompt + rejected)
        for prompt, chosen, rejected in zip(
            columns["prompt_ids"], columns["chosen_ids"], columns["rejected_ids"], strict=True
        )
    )
    assert sorted(seen[True]) == wanted, "the policy, which trains"
    assert sorted(seen[False]) == wanted, "the reference, which does not"


def plant(model: Path, data: Path, folder: Path, columns: dict[str, list[Any]]) -> Path:
    """A prepared folder of ``data`` whose token ids are replaced."""
    prepare(PrepareSettings(model=str(model), data=str(data), output=folder, method="ica"))
    (part,) = folder.glob("pairs-*.parquet")
    table = pq.read_table(part)
    for name in ("prompt_ids", "chosen_ids", "rejected_ids"):
        field = table.schema.field(name)
        table = table.set_column(table.column_names.index(name), field, pa.array(columns[name], type=field.type))
    pq.write_table(table, part)
    found = manifest.read(folder)
    manifest.write(folder, found.model_copy(update={"files": {part.name: manifest.file_digest(part)}}))
    return folder


@pytest.mark.parametrize("precompute", [False, True])
def test_no_row_number_reaches_a_model(tiny_model: Path, tmp_path: Path, precompute: bool) -> None:
    from transformers import LlamaModel

    names: set[str] = set()
    forward = LlamaModel.forward

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        names.update(kwargs)
        return forward(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LlamaModel, "forward", watched)
        trainer = trainer_on(tiny_model, planted(2, 1000), tmp_path, precompute_ref_log_probs=precompute)
        trainer.compute_loss(trainer.model, first_batch(trainer))
    assert {"input_ids", "attention_mask"} <= names
    assert "row" not in names


def test_ready_reference_columns_are_used_as_they_are(tiny_model: Path, tmp_path: Path) -> None:
    # No model could have said these: positive log-probabilities, hundreds of nats apart.
    absurd = {"ref_chosen_logps": [300.0, -300.0], "ref_rejected_logps": [-2.0, 40.0]}
    columns = planted(2, vocabulary=1000) | absurd
    trainer = trainer_on(tiny_model, columns, tmp_path, precompute_ref_log_probs=True, beta=BETA)
    loss = trainer.compute_loss(trainer.model, first_batch(trainer)).item()
    by_hand = [
        dpo_loss(
            logps(trainer.model, columns, row), (absurd["ref_chosen_logps"][row], absurd["ref_rejected_logps"][row])
        )
        for row in (0, 1)
    ]
    # With β = 0.2 the margins are about −0.2·302 = −60.4 and 0.2·340 = 68, so the losses are about 60.4 and 0.
    assert by_hand[0] == pytest.approx(60.4, abs=10)
    assert by_hand[1] < 1e-9
    assert loss == pytest.approx(sum(by_hand) / 2, abs=1e-4)


def test_a_policy_equal_to_its_reference_pays_ln_2(tiny_model: Path, tmp_path: Path) -> None:
    trainer = trainer_on(tiny_model, planted(2, vocabulary=1000), tmp_path)
    assert trainer.compute_loss(trainer.model, first_batch(trainer)).item() == pytest.approx(math.log(2), abs=1e-6)


def test_a_loss_that_is_no_number_stops_training_and_names_the_batch(tiny_model: Path, tmp_path: Path) -> None:
    broken = {"ref_chosen_logps": [0.0, 0.0, math.nan, 0.0], "ref_rejected_logps": [0.0] * 4}
    trainer = trainer_on(
        tiny_model, planted(4, vocabulary=1000) | broken, tmp_path, precompute_ref_log_probs=True, max_steps=2
    )
    with pytest.raises(TrainingError, match=r"^step [12]: the loss is nan, expected a finite number") as caught:
        trainer.train()
    named = str(caught.value).split("batch: ")[1].split(", ")
    assert len(named) == 2
    assert "planted-2" in named


# How many steps, how large, how fast.


def test_the_published_run_takes_718_steps_on_the_subset_and_10247_on_all() -> None:
    published = validate(TrainSettings, read_yaml(ROOT / "configs/train/ica.yaml"))
    targets = [str(row) for row in range(91_918)]
    parts = split(targets, targets, eval_rows=0, global_batch=published.global_batch, seed=42)
    assert (len(parts.train), len(parts.left_over)) == (718 * 128, 14)
    assert published.steps(len(parts.train)) == 718  # 91,918 / 128 = 718.1
    assert published.steps(91_918) == 718
    assert published.steps(1_311_622) == 10_247  # 1,311,622 / 128 = 10,247.05


def test_epochs_multiply_whole_batches_and_max_steps_replaces_them(tmp_path: Path) -> None:
    model = data = tmp_path
    assert settings(model, data, tmp_path, epochs=3).steps(11) == 6  # 2 whole batches of 4 in each of 3 epochs
    assert settings(model, data, tmp_path, epochs=3, max_steps=5).steps(11) == 5


@pytest.mark.parametrize(
    ("global_batch", "micro_batch", "processes", "accumulated"),
    [(128, 2, 8, 8), (128, 2, 1, 64), (16, 8, 2, 1), (4, 1, 2, 2)],
)
def test_accumulation_fills_the_global_batch(
    tmp_path: Path, global_batch: int, micro_batch: int, processes: int, accumulated: int
) -> None:
    wanted = settings(tmp_path, tmp_path, tmp_path, global_batch=global_batch, micro_batch=micro_batch)
    assert wanted.accumulation(processes) == accumulated


@pytest.mark.parametrize(("global_batch", "micro_batch", "processes"), [(128, 2, 3), (6, 3, 4), (2, 2, 2)])
def test_a_global_batch_that_does_not_divide_is_refused_with_its_numbers(
    tmp_path: Path, global_batch: int, micro_batch: int, processes: int
) -> None:
    wanted = settings(tmp_path, tmp_path, tmp_path, global_batch=global_batch, micro_batch=micro_batch)
    message = f"--global-batch {global_batch} is no multiple of --micro-batch {micro_batch} times {processes} processes"
    with pytest.raises(ValueError, match=message):
        wanted.accumulation(processes)


def test_the_rate_rises_to_its_peak_and_falls_along_a_cosine(finished: Finished) -> None:
    # 5 steps, warm-up ceil(0.3 · 5) = 2: none, half, the peak; then 0.1 + 0.9 · (1 + cos 60°) / 2 = 0.775 and
    # 0.1 + 0.9 · (1 + cos 120°) / 2 = 0.325 of it. A sixth step would have 0.1.
    rates = [line["learning_rate"] for line in read_jsonl(finished.output / "metrics.jsonl") if "loss" in line]
    assert rates == pytest.approx([0.0, 0.5e-3, 1e-3, 0.775e-3, 0.325e-3])


def test_the_published_schedule_peaks_after_72_of_718_steps_and_ends_at_a_tenth(finished: Finished) -> None:
    from transformers import get_scheduler

    args = finished.arguments["args"]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=5e-7)
    scheduler = get_scheduler(
        args.lr_scheduler_type, optimizer, math.ceil(0.1 * 718), 718, scheduler_specific_kwargs=args.lr_scheduler_kwargs
    )
    rates = []
    for _ in range(718):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates.index(max(rates)) == 72
    assert max(rates) == pytest.approx(5e-7)
    assert rates[-1] == pytest.approx(5e-8, rel=1e-3)


def test_the_settings_reach_trl(finished: Finished) -> None:
    args, wanted = finished.arguments["args"], finished.settings
    for name in (
        "learning_rate",
        "adam_beta1",
        "adam_beta2",
        "weight_decay",
        "max_grad_norm",
        "beta",
        "gradient_checkpointing",
    ):
        assert getattr(args, name) == getattr(wanted, name), name
    assert args.loss_type == [wanted.loss_type]
    assert args.per_device_train_batch_size == 2
    assert args.gradient_accumulation_steps == 2  # 4 pairs a step, 2 a forward, one process
    assert args.seed == 7
    assert args.max_length is None, "TRL would cut sequences at its end"
    assert args.remove_unused_columns is False, "TRL would take the row number away"
    assert args.logging_nan_inf_filter is False, "a loss that is no number would be logged as 0"


def test_each_epoch_sees_every_training_record_once(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"id": f"r{i}", **row} for i, row in enumerate(short_records(9, seed=3))]
    data = write_jsonl(tmp_path / "records.jsonl", rows)
    train(settings(tiny_model, data, tmp_path / "out", epochs=2, log_batches=True))
    left_over = json.loads((tmp_path / "out/split.json").read_text())["left_over"]
    assert len(left_over) == 1  # 9 records, 2 steps of 4 an epoch
    expected = sorted({row["id"] for row in rows} - set(left_over))
    seen = [record for batch in batches(tmp_path / "out") for record in batch]
    assert len(seen) == 16
    assert sorted(seen[:8]) == sorted(seen[8:]) == expected
    assert seen[:8] != seen[8:], "the order is drawn anew in each epoch"


def test_records_that_say_nothing_about_the_user_are_left_out_where_asked(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"id": f"r{i}", **row} for i, row in enumerate(short_records(7, seed=3))]
    silent = {f"r{i}" for i in (0, 4, 6)}
    for row in rows:
        if row["id"] in silent:
            for part in ("Demographic Information", "User-Generated Content", "Pair-wise Comparative Feedback"):
                row.pop(part, None)
        else:
            row.setdefault("Demographic Information", "A potter.")
    data = write_jsonl(tmp_path / "records.jsonl", rows)
    train(settings(tiny_model, data, tmp_path / "out", drop_empty=True, log_batches=True))
    # 7 records, 3 of them silent: 4 train, in one step
    seen = [record for batch in batches(tmp_path / "out") for record in batch]
    assert sorted(seen) == sorted({row["id"] for row in rows} - silent)


# What a run leaves behind.


def test_a_checkpoint_loads_with_transformers_and_has_learned(finished: Finished, tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    policy, base = (AutoModelForCausalLM.from_pretrained(folder) for folder in (finished.output, tiny_model))
    moved = [not torch.equal(new, old) for new, old in zip(policy.parameters(), base.parameters(), strict=True)]
    assert all(moved)
    assert all(torch.isfinite(weights).all() for weights in policy.parameters())
    text = "the naïve river 東京"
    ours, theirs = (AutoTokenizer.from_pretrained(folder)(text).input_ids for folder in (finished.output, tiny_model))
    assert ours == theirs


def test_the_manifest_says_data_model_condition_counts_and_the_digest_of_each_file(
    finished: Finished, tiny_model: Path, data: Path
) -> None:
    found = manifest.read(finished.output)
    assert found.kind == "checkpoint"
    assert (found.data.source, found.data.records, found.data.skipped) == (str(data), 24, 0)
    assert found.model == find_model(str(tiny_model)).identity("float32")
    assert (found.condition["method"], found.condition["preset"]) == ("ica", "paper")
    assert (found.condition["history"], found.condition["seed"]) == ("sampled", 7)
    expected = {"steps": 5, "train": 20, "evaluation": 3, "left_over": 1, "world_size": 1}
    assert {name: found.counts[name] for name in expected} == expected
    assert {"model.safetensors", "config.json", "tokenizer.json", "settings.json", "split.json"} <= set(found.files)
    assert found.files == {name: manifest.file_digest(finished.output / name) for name in found.files}
    assert found.versions["trl"].startswith("1.")


def test_a_run_leaves_no_pickle(finished: Finished) -> None:
    assert not [path.name for path in finished.output.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".pkl")]


def test_the_resolved_settings_are_saved_and_can_be_read_back(finished: Finished) -> None:
    saved = json.loads((finished.output / "settings.json").read_text())
    assert validate(TrainSettings, saved) == finished.settings


def test_no_record_is_evaluated_on_that_was_trained_on_or_shares_its_user_or_target(
    finished: Finished, rows: list[dict[str, Any]]
) -> None:
    named = json.loads((finished.output / "split.json").read_text())
    seen = [record for batch in batches(finished.output) for record in batch]
    assert named["evaluation"] == ["r21", "r22", "r23"]  # the only group of at most 3
    assert len(seen) == len(set(seen)) == 20
    assert set(seen).isdisjoint([*named["evaluation"], *named["left_over"]])
    by_id = {row["id"]: row for row in rows}
    for fields in (["user"], ["prompt", "chosen", "rejected"]):
        trained, held_out = (
            {tuple(by_id[record][field] for field in fields) for record in records}
            for records in ([*seen, *named["left_over"]], named["evaluation"])
        )
        assert not trained & held_out


def test_the_batch_log_has_each_forward_under_its_step(finished: Finished) -> None:
    lines = read_jsonl(finished.output / "batches-0.jsonl")
    assert [line["step"] for line in lines] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert {len(line["ids"]) for line in lines} == {2}


def test_metrics_begin_at_ln_2_and_have_a_line_a_step(finished: Finished) -> None:
    lines = [line for line in read_jsonl(finished.output / "metrics.jsonl") if "loss" in line]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert lines[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert lines[-1]["loss"] != pytest.approx(math.log(2), abs=1e-4)


@pytest.mark.parametrize("metric", ["loss", "rewards/margins", "rewards/accuracies"])
def test_held_out_metrics_are_means_over_the_records(finished: Finished, tiny_model: Path, metric: str) -> None:
    # 3 records in forwards of 2 and 1: each record counts once, whichever forward it is in.
    from transformers import AutoModelForCausalLM

    policy, base = (AutoModelForCausalLM.from_pretrained(folder) for folder in (finished.output, tiny_model))
    table = rows_of(finished.output).to_pydict()
    found: dict[str, list[float]] = {"loss": [], "rewards/margins": [], "rewards/accuracies": []}
    for row in map(table["id"].index, ("r21", "r22", "r23")):
        ours, reference = logps(policy, table, row), logps(base, table, row)
        margin = BETA * ((ours[0] - reference[0]) - (ours[1] - reference[1]))
        found["loss"].append(dpo_loss(ours, reference))
        found["rewards/margins"].append(margin)
        found["rewards/accuracies"].append(float(margin > 0))
    (line,) = (line for line in read_jsonl(finished.output / "metrics.jsonl") if "eval_loss" in line)
    assert line[f"eval_{metric}"] == pytest.approx(sum(found[metric]) / 3, abs=1e-4)


def test_curves_are_a_png_picture(finished: Finished) -> None:
    picture = (finished.output / "curves.png").read_bytes()
    width, height = (int.from_bytes(picture[at : at + 4], "big") for at in (16, 20))
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert min(width, height) > 300
    assert len(picture) > 10_000


@pytest.mark.parametrize("prepared", [False, True])
def test_a_checkpoint_without_a_manifest_is_trained_again_from_the_start(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepared: bool
) -> None:
    data = write_jsonl(tmp_path / "records.jsonl", short_records(4, seed=3))
    if prepared:
        data = prepare(PrepareSettings(model=str(tiny_model), data=str(data), output=tmp_path / "p", method="ica"))
    wanted = settings(tiny_model, data, tmp_path / "out")

    def interrupted(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("alignx.training.curves.plot_curves", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(wanted)
    assert (wanted.output / "model.safetensors").is_file()
    assert manifest.read_if_present(wanted.output) is None, "the manifest is the commit mark and comes last"
    train(wanted)
    assert manifest.read(wanted.output).counts["steps"] == 1
    assert len(losses(wanted.output)) == 1, "the metrics of the unfinished run are gone"


# Running again, and elsewhere.


def test_a_finished_run_does_nothing_again(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def loaded(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a finished run loads no model")

    monkeypatch.setattr("alignx.training.run.load_model", loaded)
    before = snapshot(finished.output)
    assert train(finished.settings) == finished.output
    assert snapshot(finished.output) == before
    assert "nothing to do" in capsys.readouterr().err


def test_another_run_in_the_same_folder_is_refused_by_what_differs(finished: Finished) -> None:
    before = snapshot(finished.output)
    other = finished.settings.model_copy(update={"beta": 0.3})
    with pytest.raises(DataError, match=r"holds another run, which differs in settings\.beta \(0\.2 against 0\.3\)"):
        train(other)
    assert snapshot(finished.output) == before


def test_a_refused_run_on_other_data_leaves_the_finished_one_as_it_is(
    finished: Finished, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished.output, copy)
    before = snapshot(copy)
    data = write_jsonl(tmp_path / "others.jsonl", rows[:-1])
    with pytest.raises(DataError, match=r"holds another run, which differs in data\.digest"):
        train(finished.settings.model_copy(update={"data": str(data), "output": copy}))
    assert snapshot(copy) == before


def test_training_from_a_prepared_folder_equals_training_from_its_records(
    finished: Finished, tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = PrepareSettings(
        model=str(tiny_model), data=str(data), output=tmp_path / "prepared", method="ica", seed=finished.settings.seed
    )
    folder, output = prepare(wanted), tmp_path / "out"
    monkeypatch.setattr(Making, "make", lambda *_: pytest.fail("prepared again"))
    train(finished.settings.model_copy(update={"data": str(folder), "output": output}))
    assert losses(output) == pytest.approx(losses(finished.output), abs=1e-6)
    assert batches(output) == batches(finished.output)
    assert manifest.read(output).data.digest == manifest.read(finished.output).data.digest


@pytest.mark.parametrize(
    ("prepared_for", "difference"),
    [
        ({"method": "pba"}, r"condition\.method \(pba against ica\)"),
        ({"method": "ica", "history": 2}, r"condition\.history \(2 against sampled\)"),
        ({"method": "ica", "seed": 7}, r"condition\.seed \(7 against 42\)"),
        ({"method": "ica", "preset": "released-train"}, r"condition\.preset \(released-train against paper\)"),
    ],
)
def test_a_folder_prepared_for_another_condition_is_refused_by_what_differs(
    tiny_model: Path, data: Path, tmp_path: Path, prepared_for: dict[str, Any], difference: str
) -> None:
    folder = prepare(PrepareSettings(model=str(tiny_model), data=str(data), output=tmp_path / "p", **prepared_for))
    with pytest.raises(DataError, match=rf"was prepared for something else, which differs in {difference}"):
        train(settings(tiny_model, folder, tmp_path / "out"))


def test_a_folder_prepared_with_another_tokenizer_is_refused(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    from alignx.models.tiny import TinyModelSettings, make

    few = write_jsonl(tmp_path / "few.jsonl", short_records(3, seed=9))
    other = make(TinyModelSettings(output=tmp_path / "other", size="0.2m", data=str(few)))
    folder = prepare(PrepareSettings(model=str(other), data=str(data), output=tmp_path / "prepared", method="ica"))
    with pytest.raises(DataError, match="was prepared for something else, which differs in the tokenizer"):
        train(settings(tiny_model, folder, tmp_path / "out"))


def test_another_process_recognises_a_prepared_folder(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    # Ranks of one run, and a run after `data prepare`, are other processes: what they compare must not depend on one.
    command = [sys.executable, "-m", "alignx", "data", "prepare", "--method", "ica", "--model", str(tiny_model)]
    command += ["--data", str(data), "--output", str(tmp_path / "prepared")]
    made = []
    for seed in ("0", "1"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        subprocess.run(command, env=env, check=True, capture_output=True, timeout=120)
        made.append(snapshot(tmp_path / "prepared"))
    assert made[0] == made[1]


def test_a_limit_that_a_prepared_folder_cannot_honour_is_refused(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    folder = prepare(PrepareSettings(model=str(tiny_model), data=str(data), output=tmp_path / "prepared", method="ica"))
    with pytest.raises(AlignXError, match="--limit"):
        train(settings(tiny_model, folder, tmp_path / "out", limit=8, max_steps=1))


@pytest.mark.parametrize("there", ["the model itself", "a file"])
def test_an_output_that_holds_something_else_is_refused_and_left_as_it_is(
    tiny_model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], there: str
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    manifest.path_of(model).unlink()  # as a model from elsewhere
    output = model
    if there == "a file":
        output = tmp_path / "file"
        output.write_text("something")
    before = snapshot(tmp_path)
    code, line = refused(command(model, data, output, "--max-steps", "1"), capsys)
    assert code in (2, 3)
    assert str(output) in line
    assert snapshot(tmp_path) == before


# Evaluating on other records.


def test_eval_data_of_other_users_and_targets_is_evaluated_on_under_its_own_ids(
    tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [{**row, "id": f"e{i}", "user": f"other-{i}"} for i, row in enumerate(short_records(4, seed=77))]
    eval_data = write_jsonl(tmp_path / "others.jsonl", others)
    built = watch_trainers(monkeypatch)
    train(settings(tiny_model, data, tmp_path / "out", eval_data=str(eval_data), max_steps=1, log_batches=True))
    counts = manifest.read(tmp_path / "out").counts
    assert (counts["evaluation"], counts["train"], counts["left_over"]) == (4, 24, 0)
    assert any("eval_loss" in line for line in read_jsonl(tmp_path / "out/metrics.jsonl"))
    assert {record[0] for batch in batches(tmp_path / "out") for record in batch} == {"r"}
    evaluation, ids = built[0]["eval_dataset"], built[0]["record_ids"]
    assert list(evaluation["id"]) == ["e0", "e1", "e2", "e3"]
    assert [ids[row] for row in evaluation["row"]] == ["e0", "e1", "e2", "e3"], "an error would name other records"


def test_each_evaluation_happens_once(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{**row, "user": f"user-{i}"} for i, row in enumerate(short_records(5, seed=3))]
    data = write_jsonl(tmp_path / "records.jsonl", rows[:4] + short_records(1, seed=4))
    train(settings(tiny_model, data, tmp_path / "out", global_batch=2, eval_rows=1, eval_every=1))
    lines = read_jsonl(tmp_path / "out/metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == [1, 2]
    assert [line["step"] for line in lines if "eval_loss" in line] == [1, 2]


@pytest.mark.parametrize("shared", ["user", "target"])
def test_eval_data_that_shares_a_user_or_a_target_is_refused(
    tiny_model: Path, data: Path, rows: list[dict[str, Any]], tmp_path: Path, shared: str
) -> None:
    others = [{**row, "user": f"other-{i}"} for i, row in enumerate(short_records(4, seed=77))]
    fields = ["user"] if shared == "user" else ["prompt", "chosen", "rejected"]
    others[2].update({field: rows[5][field] for field in fields})
    eval_data = write_jsonl(tmp_path / "others.jsonl", others)
    with pytest.raises(DataError, match=r"others\.jsonl: 1 users or targets are in the training set too, such as "):
        train(settings(tiny_model, data, tmp_path / "out", eval_data=str(eval_data)))
    assert manifest.read_if_present(tmp_path / "out") is None


# Refusals, through the command line: a code and one line.


def command(tiny_model: Path, data: Path, output: Path, *more: str) -> list[str]:
    return [
        *["train", "--model", str(tiny_model), "--data", str(data), "--output", str(output), "--method", "ica"],
        *["--global-batch", "4", "--micro-batch", "2", "--dtype", "float32", "--no-gradient-checkpointing", *more],
    ]


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code of a command and the last line that it says, which is its error."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(arguments)
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return int(str(left.value.code)), said.splitlines()[-1]


def test_weights_that_are_no_numbers_stop_the_first_step_and_commit_nothing(
    tiny_model: Path, data: Path, finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][3] = math.nan
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    output = tmp_path / "out"
    flags = ["--eval-rows", "3", "--seed", "7", "--reference", "online"]
    code, said = refused(command(broken, data, output, *flags), capsys)
    first = ", ".join(batches(finished.output)[0])  # the same data and seed, so the same first batch
    assert code == 4
    assert f"step 1: the loss is nan, expected a finite number; records of the batch: {first}" in said
    assert not list(output.glob("*.safetensors"))
    assert manifest.read_if_present(output) is None


def test_a_last_update_that_overflows_commits_nothing(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_jsonl(tmp_path / "records.jsonl", short_records(4))
    flags = ["--max-steps", "1", "--warmup-ratio", "0", "--learning-rate", "3e38"]
    code, line = refused(command(tiny_model, data, tmp_path / "out", *flags), capsys)
    assert code == 4
    assert "finite" in line
    assert manifest.read_if_present(tmp_path / "out") is None


def test_an_unknown_tracker_is_refused_in_a_line(
    tiny_model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = refused(command(tiny_model, data, tmp_path / "out", "--report-to", "nonsense"), capsys)
    assert code == 2
    assert "--report-to" in line


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--eval-rows", "3", "--eval-data", "x.jsonl"], "--eval-rows and --eval-data exclude each other"),
        (["--global-batch", "7"], "--global-batch 7 is no multiple of --micro-batch 2"),
        (["--global-batch", "2", "--micro-batch", "4"], "--global-batch 2 is no multiple of --micro-batch 4"),
        (["--loss-type", "exo_pair"], "--label-smoothing"),
        (["--beta", "-1"], "--beta"),
        (["--learning-rate", "0"], "--learning-rate"),
        (["--max-steps", "0"], "--max-steps"),
        (["--learning-rat", "1"], "did you mean '--learning-rate'"),
    ],
)
def test_an_impossible_setting_is_refused_by_name_before_anything_is_loaded(
    tiny_model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    code, line = refused(command(tiny_model, data, tmp_path / "out", *flags, "--check"), capsys)
    assert code == 2
    assert said in line
    assert not (tmp_path / "out").exists()


def test_a_global_batch_that_the_processes_cannot_share_writes_nothing(
    tiny_model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from accelerate import PartialState

    assert PartialState(cpu=True).num_processes == 1
    monkeypatch.setitem(PartialState._shared_state, "num_processes", 3)
    code, line = refused(command(tiny_model, data, tmp_path / "out"), capsys)
    assert code == 2
    assert "--global-batch 4 is no multiple of --micro-batch 2 times 3 processes" in line
    assert not (tmp_path / "out").exists()


def test_checking_possible_settings_writes_nothing(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    main(command(tiny_model, data, tmp_path / "out", "--check"))
    assert not (tmp_path / "out").exists()


def test_a_method_is_required_before_anything_is_loaded(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--method is required"):
        train(settings(tiny_model, data, tmp_path / "out", method=None, check=True))


def test_too_few_records_for_a_batch_are_refused(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_jsonl(tmp_path / "few.jsonl", short_records(3))
    code, line = refused(command(tiny_model, data, tmp_path / "out"), capsys)
    assert code == 3
    assert "3 training records, expected at least one --global-batch of 4" in line
