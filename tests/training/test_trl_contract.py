"""What ``alignx/training/trainer.py`` and ``run.py`` rely on in TRL, by name.

TRL is pinned below 1.17 because of these. When one fails after an upgrade, its message says what changed: read the new
source, change the trainer, then this file.
"""

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import transformers
import trl
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from alignx.training.settings import LossType
from alignx.training.trainer import REFERENCE_COLUMNS, EncodedDPOTrainer, RowCollator
from tests.training.runs import first_batch, planted, response_logp, trainer_on

SEAMS = {
    "_prepare_dataset": ["self", "dataset", "processing_class", "args", "dataset_name"],
    "_precompute_ref_logps": ["self", "dataset", "name", "batch_size"],
    "compute_ref_log_probs": ["self", "model", "inputs"],
    "compute_loss": ["self", "model", "inputs", "return_outputs", "num_items_in_batch"],
    "create_model_card": ["self", "model_name", "dataset_name", "tags"],
    "_get_grad_norm": ["self", "model", "grad_norm"],
    "_save_checkpoint": ["self", "model", "trial"],
    "_prepare_for_training": ["self", "max_steps", "train_dataloader", "resume_from_checkpoint"],
    "_load_rng_state": ["self", "checkpoint"],
    "_run_epoch": list(inspect.signature(transformers.Trainer._run_epoch).parameters),  # all are handed on
}
"""Methods of TRL's trainer, or of transformers' under it, that ours overrides, with their parameters."""


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_trl_is_the_version_that_was_read() -> None:
    assert trl.__version__.startswith("1.16."), f"TRL is {trl.__version__}; the seams below were read in 1.16"


@pytest.mark.parametrize("name", SEAMS)
def test_overridden_methods_have_the_parameters_they_had(name: str) -> None:
    method = getattr(DPOTrainer, name, None)
    assert method is not None, f"DPOTrainer.{name} is gone: our override of it is never called"
    assert parameters(method) == SEAMS[name], f"DPOTrainer.{name} takes {parameters(method)}, took {SEAMS[name]}"


def test_the_loss_is_asked_for_without_outputs_unless_said() -> None:
    defaults = {name: p.default for name, p in inspect.signature(DPOTrainer.compute_loss).parameters.items()}
    assert defaults["return_outputs"] is False, "DPOTrainer.compute_loss returns a pair by default: ours takes the loss"
    assert defaults["num_items_in_batch"] is None, "DPOTrainer.compute_loss needs num_items_in_batch now"


def test_our_trainer_overrides_nothing_that_is_not_named_here() -> None:
    own = {name for name, value in vars(EncodedDPOTrainer).items() if callable(value)} - {"__init__"}
    assert {name for name in own if hasattr(DPOTrainer, name)} == set(SEAMS)


def test_the_trainer_takes_the_arguments_it_is_given() -> None:
    given = ["model", "args", "data_collator", "train_dataset", "eval_dataset", "processing_class", "callbacks"]
    missing = set(given) - set(parameters(DPOTrainer.__init__))
    assert not missing, f"DPOTrainer no longer takes {sorted(missing)}"


def test_stock_trl_tokenises_again_whatever_ids_it_is_given(tiny_model: Path, tmp_path: Path) -> None:
    from datasets import Dataset

    columns = planted(2, vocabulary=1000)
    trainer = trainer_on(tiny_model, columns, tmp_path)
    texts = {name: ["a river", "a garden"] for name in ("prompt", "chosen", "rejected")}
    prepared = DPOTrainer._prepare_dataset(
        trainer, Dataset.from_dict(columns | texts), trainer.processing_class, trainer.args, "train"
    )
    message = "DPOTrainer._prepare_dataset keeps encoded columns now: our override of it may not be needed any more"
    assert prepared["prompt_ids"][0] != columns["prompt_ids"][0], message


def test_nothing_but_prepare_dataset_touches_the_encoded_columns(tiny_model: Path, tmp_path: Path) -> None:
    training, evaluation = planted(3, vocabulary=1000), planted(2, vocabulary=1000, seed=1)
    trainer = trainer_on(tiny_model, training, tmp_path, eval_columns=evaluation)
    for found, given in ((trainer.train_dataset, training), (trainer.eval_dataset, evaluation)):
        assert found.to_dict() == given, "DPOTrainer.__init__ changes the dataset outside _prepare_dataset"


def test_a_batch_is_all_chosen_rows_and_then_all_rejected_rows() -> None:
    batch = RowCollator(pad_token_id=0)(
        [
            {"prompt_ids": [1, 2, 3], "chosen_ids": [4, 5], "rejected_ids": [6], "row": 7},
            {"prompt_ids": [7, 8], "chosen_ids": [9], "rejected_ids": [10, 11], "row": 3},
        ]
    )
    # 3 + 2 tokens is the longest; the others are padded on the right with 0
    layout = {
        "input_ids": [[1, 2, 3, 4, 5], [7, 8, 9, 0, 0], [1, 2, 3, 6, 0], [7, 8, 10, 11, 0]],
        "attention_mask": [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 0]],
        "completion_mask": [[0, 0, 0, 1, 1], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 1, 1, 0]],
        "row": [7, 3],
    }
    found = {name: tensor.tolist() for name, tensor in batch.items()}
    assert found == layout, "DataCollatorForPreference lays a batch out differently"


def test_the_collator_cuts_nothing_and_carries_reference_columns() -> None:
    example = {"prompt_ids": [5] * 3000, "chosen_ids": [6] * 70, "rejected_ids": [7], "row": 0}
    batch = RowCollator(pad_token_id=0)([example | {"ref_chosen_logps": -1.5, "ref_rejected_logps": 99.25}])
    assert batch["attention_mask"].sum(dim=1).tolist() == [3070, 3001], "DataCollatorForPreference truncates"
    found = [batch[name].tolist() for name in REFERENCE_COLUMNS if name in batch]
    assert found == [[-1.5], [99.25]], f"DataCollatorForPreference no longer carries {REFERENCE_COLUMNS}"


def test_the_collator_takes_no_maximal_length() -> None:
    fields = {field.name: field.default for field in dataclasses.fields(DataCollatorForPreference)}
    assert "pad_token_id" in fields, "DataCollatorForPreference no longer takes pad_token_id"
    assert fields.get("max_length", 0) is None, "DataCollatorForPreference truncates unless told otherwise"


def test_truncation_is_on_by_default_and_none_turns_it_off(tmp_path: Path) -> None:
    default, ours = (
        DPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, **said) for said in ({}, {"max_length": None})
    )
    assert default.max_length == 1024, f"DPOConfig.max_length is {default.max_length} by default, was 1024"
    assert ours.max_length is None, "DPOConfig does not take max_length=None any more"


def test_unused_columns_would_take_the_row_number_away(tiny_model: Path, tmp_path: Path) -> None:
    trainer = trainer_on(tiny_model, planted(2, vocabulary=1000), tmp_path)
    trainer._signature_columns = None
    trainer._set_signature_columns_if_needed()
    expected = ["prompt_ids", "chosen_ids", "rejected_ids", *REFERENCE_COLUMNS]
    assert trainer._signature_columns == expected, f"TRL now keeps the columns {trainer._signature_columns}"
    assert trainer.args.remove_unused_columns is False


def test_without_the_precompute_flag_a_reference_model_is_loaded(tiny_model: Path, tmp_path: Path) -> None:
    trainer = trainer_on(tiny_model, planted(2, vocabulary=1000), tmp_path)
    assert trainer.ref_model is not None, "DPOTrainer loads no reference model although it is not told one"
    assert trainer.ref_model is not trainer.model
    assert trainer.train_dataset.column_names == list(planted(2, vocabulary=1000)), "references were computed unasked"


def test_with_the_precompute_flag_and_ready_columns_nothing_is_computed(tiny_model: Path, tmp_path: Path) -> None:
    columns = planted(2, vocabulary=1000) | {"ref_chosen_logps": [1.0, 2.0], "ref_rejected_logps": [3.0, 4.0]}
    trainer = trainer_on(
        tiny_model, columns, tmp_path, eval_columns=columns, precompute_ref_log_probs=True, per_device_eval_batch_size=1
    )
    assert trainer.ref_model is None, "DPOTrainer keeps a reference model in spite of precompute_ref_log_probs"
    assert trainer.train_dataset.to_dict() == columns, "DPOTrainer recomputes references that are there"
    assert trainer.eval_dataset.to_dict() == columns, "DPOTrainer recomputes references that are there"


def test_with_the_precompute_flag_alone_references_are_computed(tiny_model: Path, tmp_path: Path) -> None:
    columns = planted(3, vocabulary=1000)
    trainer = trainer_on(tiny_model, columns, tmp_path, precompute_ref_log_probs=True)
    found = trainer.train_dataset.to_dict()
    for name, side in zip(REFERENCE_COLUMNS, ("chosen_ids", "rejected_ids"), strict=True):
        expected = [
            response_logp(trainer.model, p, r) for p, r in zip(columns["prompt_ids"], columns[side], strict=True)
        ]
        assert found[name] == pytest.approx(expected, abs=1e-3), f"DPOTrainer._precompute_ref_logps: {name} is off"


@pytest.mark.parametrize("loss_type", get_args(LossType))
def test_every_loss_that_the_settings_offer_is_known_to_trl(loss_type: str, losses_trainer: EncodedDPOTrainer) -> None:
    losses_trainer.loss_types, losses_trainer.label_smoothing = [loss_type], 0.1
    loss = losses_trainer.compute_loss(losses_trainer.model, first_batch(losses_trainer))
    assert torch.isfinite(loss), f"TRL's loss {loss_type!r} gives {loss}"


@pytest.fixture(scope="module")
def losses_trainer(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> EncodedDPOTrainer:
    trainer: EncodedDPOTrainer = trainer_on(tiny_model, planted(2, vocabulary=1000), tmp_path_factory.mktemp("losses"))
    return trainer


def test_held_out_metrics_are_kept_by_mode_one_value_a_record(tiny_model: Path, tmp_path: Path) -> None:
    trainer = trainer_on(tiny_model, planted(3, 1000), tmp_path)
    trainer.model.eval()
    trainer.compute_loss(trainer.model, first_batch(trainer))
    counts = {name: len(values) for name, values in trainer._metrics["eval"].items()}
    rows = trainer.args.per_device_train_batch_size
    assert counts["rewards/margins"] == counts["rewards/accuracies"] == rows > 1, "TRL keeps its metrics otherwise"
