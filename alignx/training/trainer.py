"""TRL's DPO trainer, given token ids instead of text.

The arithmetic is TRL's. Overridden are the seams by which stock TRL would tokenise again and truncate, and through
which a row number must travel; ``tests/training/test_trl_contract.py`` names them all.
"""

import contextlib
import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow.compute as pc
import torch
from accelerate.utils import is_peft_model
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from alignx.errors import CheckpointError, TrainingError
from alignx.manifest import Manifest, read, write_text
from alignx.models.shared_prefix import Sharing
from alignx.training import checkpoints
from alignx.training.prompt_once import PromptOnce
from alignx.training.splitting import ROW

REFERENCE_COLUMNS = ("ref_chosen_logps", "ref_rejected_logps")
"""What TRL calls the reference's log-probabilities."""


@dataclass(frozen=True)
class Saving:
    """What makes a checkpoint count, and how many of them are kept."""

    draft: Manifest
    """The run's."""
    keep: int


class RowCollator:
    """TRL's preference collator without truncation, with each example's row number beside the tensors."""

    def __init__(self, pad_token_id: int) -> None:
        """Pad with this token id; padding is masked."""
        self._collate = DataCollatorForPreference(pad_token_id=pad_token_id, max_length=None)

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """A batch: ``(2B, L)`` tensors, chosen rows then rejected rows, and ``row`` of shape ``(B,)``."""
        batch: dict[str, Any] = self._collate(examples)
        return {**batch, ROW: torch.tensor([example[ROW] for example in examples])}


class EncodedDPOTrainer(DPOTrainer):
    """TRL's trainer on encoded pairs: the ids reach the model as they were given."""

    def __init__(
        self,
        *args: Any,
        record_ids: Sequence[str],
        batch_log: Path | None = None,
        shared_prefix: bool = True,
        saving: Saving | None = None,
        weights_only: bool = False,
        **kwargs: Any,
    ) -> None:
        """As TRL's.

        Args:
            args: TRL's.
            record_ids: The record id of each row number.
            batch_log: Where to log which records were seen.
            shared_prefix: Whether policy and reference read each prompt once for both responses, where they can.
            saving: How checkpoints are committed; without, they are transformers' own.
            weights_only: Whether a checkpoint that is resumed gives its weights and its place in the data and the
                schedule, but no state of the optimiser.
            kwargs: TRL's.
        """
        self._record_ids = record_ids
        self._batch_log = batch_log
        self._shared_prefix = shared_prefix
        self._saving = saving
        self._weights_only = weights_only
        self._step_ids: list[str] = []
        self.prompt_once: dict[str, PromptOnce] = {}
        """What became of ``policy`` and ``reference``; empty when each prompt is read twice by choice."""
        # TRL hashes all weights for a cache of its own, which encoded rows with reference columns do not use.
        with patch("trl.trainer.dpo_trainer.hash_module", lambda module: "") if saving else contextlib.nullcontext():
            super().__init__(*args, **kwargs)
        self._read_prompts_once()

    def _read_prompts_once(self) -> None:
        """Wrap the models that TRL has given its fused head, if that has not been done."""
        if not self._shared_prefix or self.prompt_once:
            return
        datasets = [self.train_dataset, *([self.eval_dataset] if self.eval_dataset is not None else [])]
        longest = max(_longest(dataset) for dataset in datasets)
        dtype = torch.bfloat16 if self.args.bf16 else torch.float16 if self.args.fp16 else torch.float32
        for name, model in (("policy", self.model), ("reference", self.ref_model)):
            if model is None:
                continue
            inner = self.accelerator.unwrap_model(model)
            inner = inner.get_base_model() if is_peft_model(inner) else inner
            precise = inner.dtype if inner.dtype in (torch.bfloat16, torch.float16) else dtype
            self.prompt_once[name] = PromptOnce(inner, longest=longest, dtype=precise)

    def sharing(self) -> dict[str, Any]:
        """How policy and reference read prompts, for a manifest."""
        if not self._shared_prefix:
            return {"policy": Sharing("it was switched off").as_dict()}
        return {name: wrapped.sharing.as_dict() for name, wrapped in self.prompt_once.items()}

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        """Encoded already: TRL would tokenise whatever it is given."""
        return dataset

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        """Reference log-probabilities that came with the data are used as they are."""
        if set(REFERENCE_COLUMNS) <= set(dataset.column_names):
            return dataset
        self._read_prompts_once()  # TRL comes here from its constructor
        return super()._precompute_ref_logps(dataset, name, batch_size)

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> Any:
        """TRL's, for a batch without its row numbers."""
        known = {name: value for name, value in inputs.items() if name != ROW}
        return super().compute_ref_log_probs(model, known)  # type: ignore[no-untyped-call]

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """TRL's loss; stops the run, naming the records, when it is not a number."""
        rows = inputs.pop(ROW)
        with contextlib.nullcontext() if model.training else self._each_record_once(rows):
            result: Any = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)  # type: ignore[no-untyped-call]
        loss = result[0] if return_outputs else result
        ids = [self._record_ids[row] for row in rows.tolist()]
        if not torch.isfinite(loss):
            raise TrainingError(
                f"step {self.state.global_step + 1}: the loss is {loss.item()}, expected a finite number; records of "
                f"the batch: {', '.join(ids)}"
            )
        if model.training:
            self._step_ids += ids
        if self._batch_log is not None and model.training:
            with self._batch_log.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"step": self.state.global_step + 1, "ids": ids}) + "\n")
        return result

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """As transformers', once a step; stops the run, naming the step's records, when it is not a number."""
        norm: Any = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[no-untyped-call]
        ids, self._step_ids = self._step_ids, []
        if norm is not None and not self.args.fp16 and not torch.isfinite(torch.as_tensor(norm)):
            raise TrainingError(
                f"step {self.state.global_step + 1}: the norm of the gradients is {float(norm)}, expected a finite "
                f"number; records of the step in this process: {', '.join(ids)}"
            )
        return norm

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """A checkpoint of transformers', which counts only once its manifest is written; then older ones go.

        Raises:
            CheckpointError: It cannot be written; the one before is as it was.
        """
        if self._saving is None:
            super()._save_checkpoint(model, trial)  # type: ignore[no-untyped-call]
            return
        output, step, main = Path(str(self.args.output_dir)), self.state.global_step, self.is_world_process_zero()
        folder = checkpoints.folder_of(output, step)
        try:
            refuse_broken_weights(self.model)
            if main:
                checkpoints.prepare(folder)
            self.accelerator.wait_for_everyone()
            super()._save_checkpoint(model, trial)  # type: ignore[no-untyped-call]
            self.accelerator.wait_for_everyone()
            if main:
                counts = {"step": step, "world_size": self.args.world_size, "tokens": int(self._total_train_tokens)}
                checkpoints.commit(folder, self._saving.draft, counts)
        except TrainingError:
            raise
        except Exception as error:  # torch, safetensors, DeepSpeed and the system each have a type for a full disk
            if main:
                with contextlib.suppress(OSError):
                    checkpoints.prepare(folder)  # half a checkpoint is of no use and takes room
            raise CheckpointError(
                f"{folder}: cannot be saved: {' '.join(str(error).split())[:300]}; earlier checkpoints are as they "
                "were, so make room and run the same command again"
            ) from error
        if main:
            try:
                checkpoints.rotate(output, self._saving.keep)
            except OSError as error:
                print(f"warning: an older checkpoint cannot be removed: {error}", file=sys.stderr, flush=True)
        self.accelerator.wait_for_everyone()

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None: TRL's says nothing about the data; ``alignx publish`` writes one from what was recorded."""

    def _prepare_for_training(self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: Any) -> Any:
        """transformers'; without the state of the optimiser if only weights are taken over."""
        self.state.compute_steps(self.args, max_steps)  # a resumed state has those of the settings before
        if self._saving is not None and resume_from_checkpoint is not None:
            self._total_train_tokens = read(Path(resume_from_checkpoint)).counts.get("tokens", 0)
        if not self._weights_only or resume_from_checkpoint is None:
            return super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)  # type: ignore[no-untyped-call]
        prepared = super()._prepare_for_training(max_steps, train_dataloader, None)  # type: ignore[no-untyped-call]
        assert self.lr_scheduler is not None  # made just now
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the schedule goes ahead of the optimiser on purpose
            for _ in range(self.state.global_step):
                self.lr_scheduler.step()
        return prepared

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """transformers', which would do one step more when a checkpoint of the last step is resumed within an epoch."""
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **kwargs)  # type: ignore[no-untyped-call]

    def _load_rng_state(self, checkpoint: Any) -> None:
        """transformers'; random states of another number of processes are nobody's."""
        if not self._weights_only:
            super()._load_rng_state(checkpoint)

    @contextlib.contextmanager
    def _each_record_once(self, rows: torch.Tensor) -> Iterator[None]:
        """Make held-out metrics means over records.

        TRL averages forwards, whatever their size, and counts the records that accelerate repeats to fill the last one.
        """
        count = len(self.accelerator.gather_for_metrics(rows))
        metrics, gather = self._metrics["eval"], self.accelerator.gather
        before = {name: len(values) for name, values in metrics.items()}
        self.accelerator.gather = lambda tensor: gather(tensor)[:count] if tensor.dim() else gather(tensor)
        try:
            yield
        finally:
            self.accelerator.gather = gather
        for name, values in metrics.items():
            if len(values) > before.get(name, 0):
                values.extend(values[-1:] * (count - 1))


def refuse_broken_weights(model: Any) -> None:
    """Refuse to save weights that are not numbers: the last update may have broken them after the last loss was fine.

    Raises:
        TrainingError: A parameter, or this process's share of it, holds NaN or infinity; it is named.
    """
    for name, parameter in model.named_parameters():
        if not getattr(parameter, "ds_tensor", parameter).isfinite().all():
            raise TrainingError(f"{name} holds values that are not finite after the last step; nothing was saved")


def _longest(dataset: Any) -> int:
    """Tokens of the longest sequence, or a little more: rows that a selection leaves out are counted."""
    columns = [pc.list_value_length(dataset.data.column(name)) for name in ("prompt_ids", "chosen_ids", "rejected_ids")]
    prompt, *responses = [pc.max(lengths).as_py() for lengths in columns]
    return int(prompt + max(responses))


class MetricsLog(TrainerCallback):
    """Appends what the trainer logs to a JSON Lines file, and says the gist now and then."""

    def __init__(self, path: Path, batch_log: Path | None = None) -> None:
        """Name the file, and another one of this process that has a line a step."""
        self._path = path
        self._batch_log = batch_log

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Forget steps of an interrupted run that are done again."""
        if state.is_world_process_zero:
            _keep_until(self._path, state.global_step)
        if self._batch_log is not None:
            _keep_until(self._batch_log, state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """One line in the file for each log, from the main process; about fifty on the screen."""
        if not state.is_world_process_zero or not logs:
            return
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": state.global_step, **logs}) + "\n")
        prefix = "eval_" if "eval_loss" in logs else ""
        every = max(1, state.max_steps // 50)
        if f"{prefix}loss" in logs and (prefix or state.global_step % every == 0 or state.global_step == 1):
            print(
                f"{'held out' if prefix else 'step'} {state.global_step}/{state.max_steps}  loss "
                f"{logs[prefix + 'loss']:.4f}  "
                f"accuracy {logs[prefix + 'rewards/accuracies']:.3f}  margin {logs[prefix + 'rewards/margins']:+.4f}",
                file=sys.stderr,
                flush=True,
            )


def _keep_until(path: Path, step: int) -> None:
    """Leave the lines of a JSON Lines file up to a step; one that was cut off by a kill is none."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_bytes().split(b"\n")[:-1]:
        if json.loads(line)["step"] <= step:
            kept.append(line.decode())
    write_text(path, "".join(f"{line}\n" for line in kept))
