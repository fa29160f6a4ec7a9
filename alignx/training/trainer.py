"""TRL's DPO trainer, given token ids instead of text.

The arithmetic is TRL's. Overridden are the seams by which stock TRL would tokenise again and truncate, and through
which a row number must travel; ``tests/training/test_trl_contract.py`` names them all.
"""

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import torch
from accelerate.utils import is_peft_model
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from alignx.errors import TrainingError
from alignx.models.shared_prefix import Sharing
from alignx.training.prompt_once import PromptOnce
from alignx.training.splitting import ROW

REFERENCE_COLUMNS = ("ref_chosen_logps", "ref_rejected_logps")


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
        **kwargs: Any,
    ) -> None:
        """As TRL's.

        Args:
            args: TRL's.
            record_ids: The record id of each row number.
            batch_log: Where to log which records were seen.
            shared_prefix: Whether policy and reference read each prompt once for both responses, where they can.
            kwargs: TRL's.
        """
        self._record_ids = record_ids
        self._batch_log = batch_log
        self._shared_prefix = shared_prefix
        self.prompt_once: dict[str, PromptOnce] = {}
        """What became of ``policy`` and ``reference``; empty when each prompt is read twice by choice."""
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
        if self._batch_log is not None and model.training:
            with self._batch_log.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"step": self.state.global_step + 1, "ids": ids}) + "\n")
        return result

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


def _longest(dataset: Any) -> int:
    """Tokens of the longest sequence, or a little more: rows that a selection leaves out are counted."""
    columns = [pc.list_value_length(dataset.data.column(name)) for name in ("prompt_ids", "chosen_ids", "rejected_ids")]
    prompt, *responses = [pc.max(lengths).as_py() for lengths in columns]
    return int(prompt + max(responses))


class MetricsLog(TrainerCallback):
    """Appends what the trainer logs to a JSON Lines file, and says the gist now and then."""

    def __init__(self, path: Path) -> None:
        """Name the file; it starts anew with the training."""
        self._path = path

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Forget an earlier, unfinished run."""
        if state.is_world_process_zero:
            self._path.unlink(missing_ok=True)

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
