"""A training run: records or prepared pairs in, a checkpoint with its manifest out; resumable at any step."""

import json
import math
import sys
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignx import manifest
from alignx.errors import CheckpointError, DataError, ModelError, SettingsError
from alignx.locking import hold
from alignx.manifest import DataIdentity, Manifest
from alignx.models.loading import ModelFiles, choose_attention, choose_dtype, find_model, has_accelerator, load_model
from alignx.models.score_cache import ScoreCache
from alignx.prompts import Condition, Encoder, choose_condition, load_tokenizer
from alignx.prompts.pairs import describe_counts
from alignx.records.sources import refuse_missing
from alignx.training import checkpoints
from alignx.training.configuring import (
    lora_config,
    reference_cache,
    refuse_unknown_targets,
    refuse_unknown_trackers,
    trl_config,
    zero_stage,
)
from alignx.training.references import reference_scores
from alignx.training.rows import Rows, column, records_of
from alignx.training.settings import TrainSettings
from alignx.training.splitting import Split

if TYPE_CHECKING:
    from alignx.training.preemption import Preemption

_LOCK = ".lock"
_IDENTITY = ("kind", "data.digest", "taxonomy", "condition", "model.digest", "settings")


def train(settings: TrainSettings) -> Path:
    """Train and save; returns the checkpoint's folder.

    A run that was interrupted goes on from its newest checkpoint; a finished one does nothing.

    Raises:
        DataError: Records are invalid, too few, or the output holds another run.
        ModelError: The model or its tokenizer cannot do this.
        PreemptedError: The run was asked to stop; it has saved a checkpoint.
        SettingsError: Settings contradict each other, the number of processes, or the checkpoint to resume from.
        TrainingError: A loss or a gradient is not a number.
    """
    if settings.method is None:
        raise SettingsError("--method is required: ica or pba (scripts/train_ica.sh and train_pba.sh set it)")
    if settings.check:
        refuse_missing(settings.data)
        return settings.output
    return _Run(settings).run()


class _Run:
    """One process of a training run."""

    def __init__(self, settings: TrainSettings) -> None:
        from accelerate import PartialState

        self.settings = settings
        self.output = settings.output
        self.dtype = choose_dtype(settings.dtype)
        self.state = PartialState(cpu=not has_accelerator())
        self._weights_only = False
        self._overridden: list[str] = []
        self._reference_forward: dict[str, Any] | None = None
        refuse_unknown_trackers(settings.report_to)
        try:
            self.accumulation = settings.accumulation(self.state.num_processes)
        except ValueError as error:
            raise SettingsError(str(error)) from None

    def run(self) -> Path:
        files = find_model(self.settings.model, self.settings.revision)
        if files.base is not None:
            raise ModelError(
                f"{files.name}: is an adapter; merge it into its base first: alignx merge --model {files.name}"
            )
        tokenizer = load_tokenizer(str(files.folder), trust_remote_code=self.settings.trust_remote_code)
        condition = self._condition(files)
        encoder = Encoder(tokenizer, condition)
        if self._finished(files, condition, encoder):
            return self.output
        from alignx.training.preemption import Preemption

        refuse_unknown_targets(self.settings, files)
        self.state.wait_for_everyone()  # nobody writes before everybody has looked
        with self._alone():
            if self.state.is_main_process:  # also the mark of a run that has begun
                resolved = json.dumps(self.settings.model_dump(mode="json"), indent=2)
                manifest.write_text(self.output / "settings.json", resolved + "\n")
            preemption = Preemption(self.output, self.state.is_main_process)
            with preemption.listening():
                return self._train(files, tokenizer, condition, encoder, preemption)

    def _alone(self) -> AbstractContextManager[object]:
        """The output, held by the main process against other runs, such as one that its script did not survive.

        Raises:
            DataError: Another run holds it, or has finished meanwhile.
        """
        if not self.state.is_main_process:
            return nullcontext()
        self.output.mkdir(parents=True, exist_ok=True)
        held = hold(self.output / _LOCK, "training to this output")
        if manifest.path_of(self.output).is_file():  # whoever held it ended while this start was looking
            (self.output / _LOCK).unlink()
            held.close()
            raise DataError(f"{self.output}: another start has just finished this run; run the same command again")
        return held

    def _train(
        self, files: ModelFiles, tokenizer: Any, condition: Condition, encoder: Encoder, preemption: "Preemption"
    ) -> Path:
        source = Rows(self.settings, condition, encoder, self.state, self._say)
        prepared, data = source.prepare(self.settings.data)
        for line in describe_counts(data.counts):
            self._say(line)
        draft = self._manifest(files, data.data, data.taxonomy, condition)
        resumed = self._resumed(draft)
        draft = draft.model_copy(update={"counts": self._course(resumed)})
        rows, parts = source.load(prepared)
        source.save_split(parts, rows)
        evaluation = source.load_evaluation(rows, data.taxonomy) if self.settings.eval_data is not None else None
        reference: dict[str, int] = {}
        if self.settings.reference == "precomputed":
            needed = sorted({*source.read_in_training(parts), *parts.evaluation})
            rows = self._with_references(files, tokenizer, rows, needed, reference)
            if evaluation is not None:
                evaluation = self._with_references(files, tokenizer, evaluation, range(len(evaluation)), reference)
        training = rows.select(parts.train)
        if parts.evaluation:
            evaluation = rows.select(parts.evaluation)
        ids = column(rows, "id")
        if evaluation is not None and self.settings.eval_data is not None:
            ids += column(evaluation, "id")
        trainer = self._trainer(files, tokenizer, ids, training, evaluation, draft, resumed, preemption)
        self._say(self._plan(parts, trainer))
        warnings.filterwarnings("ignore", category=FutureWarning)  # of libraries about each other
        trainer.train(resume_from_checkpoint=str(resumed.folder) if resumed.folder is not None else None)
        if preemption.stopped_at is not None:
            preemption.leave_together(self.state)
        preemption.heed()
        if evaluation is not None and not self._evaluated(trainer.state.global_step):
            trainer.evaluate()
        self._save(trainer)
        if self.state.is_main_process:
            counts = {**draft.counts, "encoding": data.counts, **({"reference": reference} if reference else {})}
            self._commit(draft.model_copy(update={"counts": counts}), parts, evaluation, trainer)
        self.state.wait_for_everyone()
        return self.output

    def _say(self, text: str) -> None:
        if self.state.is_main_process:
            print(text, file=sys.stderr, flush=True)

    def _condition(self, files: ModelFiles) -> Condition:
        chosen = choose_condition(files.name, self.settings.wanted(), self.settings.revision, files.folder)
        for warning in chosen.warnings:
            self._say(f"warning: {warning}")
        self._reason = "set by --preset" if self.settings.preset else chosen.reason
        self._say(f"{chosen.condition.method.upper()} in preset {chosen.condition.preset} ({self._reason})")
        return chosen.condition

    def _manifest(
        self, files: ModelFiles, data: DataIdentity | None, taxonomy: str | None, condition: Condition
    ) -> Manifest:
        return Manifest(
            kind="checkpoint",
            data=data,
            taxonomy=taxonomy,
            model=files.identity(self.dtype),
            condition=condition.model_dump(mode="json"),
            condition_reason=self._reason,
            settings=self.settings.model_dump(
                mode="json",
                exclude={
                    "check",
                    "data",
                    "keep_after",
                    "keep_checkpoints",
                    "log_batches",
                    "model",
                    "output",
                    "preparing_workers",
                    "reference_cache",
                    "report_to",
                    "resume_despite",
                    "save_every",
                    "taxonomy",
                },
            ),
            versions=manifest.versions("torch", "transformers", "trl", "accelerate", "datasets", "peft", "deepspeed"),
        )

    def _unfinished_or_empty(self) -> bool:
        """Whether the output is a folder that an unfinished run may go on to fill."""
        begun = (self.output / "settings.json").is_file()
        return self.output.is_dir() and (begun or all(path.name == _LOCK for path in self.output.iterdir()))

    def _finished(self, files: ModelFiles, condition: Condition, encoder: Encoder) -> bool:
        """Whether the output already holds this run, finished. Nothing is written before this is known.

        Raises:
            DataError: It holds another run, or something that no run of ours left.
        """
        found = manifest.read_if_present(self.output) if self.output.is_dir() else None
        if found is None:
            if self.output.exists() and not self._unfinished_or_empty():
                raise DataError(f"{self.output}: holds something else than a run of ours, choose another --output")
            return False
        if found.kind != "checkpoint":
            raise DataError(f"{self.output}: holds {found.kind!r}, which is no training run; choose another --output")
        prepared = Rows(self.settings, condition, encoder, self.state, self._say).known(self.settings.data)
        if prepared is None:
            records = records_of(self.settings, self.settings.data)
            for _ in records:
                pass
            wanted = self._manifest(files, records.identity, records.taxonomy.digest, condition)
        else:
            wanted = self._manifest(files, prepared.data, prepared.taxonomy, condition)
        differences = found.differences(wanted, _IDENTITY)
        if differences:
            raise DataError(
                f"{self.output}: holds another run, which differs in {'; '.join(differences)}; choose another --output"
            )
        self._say(f"{self.output}: trained already, with these settings on this data; nothing to do")
        return True

    def _resumed(self, draft: Manifest) -> checkpoints.Newest:
        """The checkpoint to go on from, the same for all processes.

        Raises:
            SettingsError: It is of another run, and that was not overridden by name.
        """
        from accelerate.utils import broadcast_object_list

        found = [checkpoints.newest(self.output) if self.state.is_main_process else None]
        newest: checkpoints.Newest = broadcast_object_list(found)[0]
        for folder, problem in newest.passed_over:
            self._say(f"{folder}: passed over, {problem}")
            if self.state.is_main_process:
                checkpoints.disown(folder)
        if newest.folder is None or newest.manifest is None:
            return newest
        differing = checkpoints.differences(newest.manifest, draft, self.state.num_processes, zero_stage())
        self._overridden = checkpoints.refuse(newest.folder, differing, self.settings.resume_despite)
        self._weights_only = checkpoints.WORLD_SIZE in differing or checkpoints.ZERO_STAGE in differing
        self._say(f"{newest.folder}: going on after step {newest.step}")
        for line in self._overridden:
            self._say(f"warning: although this differs: {line}")
        if self._weights_only:
            self._say(
                "warning: only its weights can be used by processes that share otherwise; the optimiser starts anew"
            )
        return newest

    def _course(self, resumed: checkpoints.Newest) -> dict[str, Any]:
        """What every manifest of this run says of its course: how it was shared, and what it went on in spite of."""
        went_on = list(resumed.manifest.counts.get(checkpoints.WENT_ON, [])) if resumed.manifest is not None else []
        if self._overridden:
            went_on.append({"step": resumed.step, "differed": self._overridden})
        return {checkpoints.ZERO_STAGE: zero_stage(), **({checkpoints.WENT_ON: went_on} if went_on else {})}

    def _with_references(
        self, files: ModelFiles, tokenizer: Any, rows: Any, needed: Sequence[int], counts: dict[str, int]
    ) -> Any:
        """The rows with the reference's log-probabilities beside them; counts how many were remembered.

        Args:
            files: Of the reference.
            tokenizer: Its.
            rows: Encoded pairs.
            needed: Numbers of the rows that are trained or evaluated on; the others get none.
            counts: Added to.
        """
        from alignx.training.trainer import REFERENCE_COLUMNS

        settings = self.settings
        cache = ScoreCache(reference_cache(settings), files.identity(self.dtype))
        found = reference_scores(
            rows.select(needed),
            cache,
            lambda: load_model(files, self.dtype, settings.attention, settings.trust_remote_code),
            self.state,
            _padding(tokenizer),
            settings.shared_prefix,
        )
        self._reference_forward = found.forward or self._reference_forward
        computed = len(needed) - found.remembered
        self._say(f"reference: {computed} pairs computed, {found.remembered} remembered in {cache.folder}")
        counts["computed"] = counts.get("computed", 0) + computed
        counts["remembered"] = counts.get("remembered", 0) + found.remembered
        for name, values in zip(REFERENCE_COLUMNS, (found.chosen, found.rejected), strict=True):
            column = [math.nan] * len(rows)
            for row, value in zip(needed, values, strict=True):
                column[row] = value
            rows = rows.add_column(name, column)
        return rows

    def _trainer(
        self,
        files: ModelFiles,
        tokenizer: Any,
        ids: Sequence[str],
        training: Any,
        evaluation: Any,
        draft: Manifest,
        resumed: checkpoints.Newest,
        preemption: "Preemption",
    ) -> Any:
        settings = self.settings
        config = trl_config(
            settings,
            steps=settings.steps(len(training)),
            accumulation=self.accumulation,
            dtype=self.dtype,
            evaluates=evaluation is not None,
        )  # before the model: ZeRO-3 shards it while loading
        from transformers import PrinterCallback

        from alignx.training.trainer import EncodedDPOTrainer, MetricsLog, RowCollator, Saving

        sharded = getattr(config, "deepspeed_plugin", None) is not None
        master = settings.master_weights and not sharded and settings.lora_rank is None  # adapters keep a frozen base
        precision = "float32" if master else self.dtype
        weights = files
        if resumed.folder is not None and self._weights_only and sharded:
            if settings.lora_rank is not None:
                raise SettingsError(
                    f"{resumed.folder}: adapters under DeepSpeed can be resumed by as many processes only"
                )
            weights = ModelFiles(files.name, resumed.folder, None)  # nothing is loaded into the engine later
        attention = choose_attention(settings.attention, settings.shared_prefix)
        model = load_model(weights, precision, attention, settings.trust_remote_code)
        model.config._name_or_path = str(files.folder)  # TRL loads an online reference from there
        if settings.lora_rank is not None:  # PEFT writes it into the adapter
            model.name_or_path = files.name if files.revision is not None else str(files.folder.resolve())
        batch_log = self.output / f"batches-{self.state.process_index}.jsonl" if settings.log_batches else None
        trainer = EncodedDPOTrainer(
            model=model,
            args=config,
            data_collator=RowCollator(_padding(tokenizer)),
            train_dataset=training,
            eval_dataset=evaluation,
            processing_class=tokenizer,
            peft_config=lora_config(settings),
            callbacks=[MetricsLog(self.output / "metrics.jsonl", batch_log), preemption],
            record_ids=ids,
            batch_log=batch_log,
            shared_prefix=settings.shared_prefix,
            saving=Saving(draft, settings.keep_checkpoints),
            weights_only=self._weights_only,
        )
        trainer.remove_callback(PrinterCallback)  # MetricsLog prints instead
        return trainer

    def _evaluated(self, step: int) -> bool:
        """Whether the held-out records have been evaluated after a step, by this start of the run or an earlier one."""
        self.state.wait_for_everyone()
        lines = map(json.loads, (self.output / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
        return any("eval_loss" in line and line["step"] == step for line in lines)

    def _save(self, trainer: Any) -> None:
        """Save the model.

        Raises:
            CheckpointError: It cannot be written; the last checkpoint is as it was.
        """
        from alignx.training.trainer import refuse_broken_weights

        refuse_broken_weights(trainer.model)
        try:
            trainer.save_model(str(self.output))
        except Exception as error:  # safetensors and the system each have a type for a full disk
            raise CheckpointError(
                f"{self.output}: the model cannot be saved: {' '.join(str(error).split())[:300]}; make room and run "
                "the same command again, which goes on from the last checkpoint"
            ) from error
        self.state.wait_for_everyone()

    def _plan(self, parts: Split, trainer: Any) -> str:
        settings = self.settings
        return (
            f"{trainer.args.max_steps} step{'s' * (trainer.args.max_steps > 1)} of {settings.global_batch} pairs "
            f"({settings.micro_batch} × "
            f"{self.state.num_processes} processes × "
            f"{self.accumulation} accumulated) over {len(parts.train)} records; {len(parts.evaluation)} held out, "
            f"{len(parts.left_over)} left over; "
            f"on {self.state.device.type}, {self.dtype}; each prompt is read {self._readings(trainer)}"
        )

    @staticmethod
    def _readings(trainer: Any) -> str:
        """How often a prompt is read for a pair, and why twice."""
        reason = trainer.sharing()["policy"]["reason"]
        return "once" if reason is None else f"twice: {reason}"

    def _commit(self, draft: Manifest, parts: Split, evaluation: Any, trainer: Any) -> None:
        """Plot, digest what was saved, and write the manifest last."""
        from alignx.training.curves import plot_curves

        name = f"{self.settings.method and self.settings.method.upper()}: {self.settings.model}"
        plot_curves(self.output / "metrics.jsonl", self.output / "curves.png", name)
        (self.output / "training_args.bin").unlink(missing_ok=True)  # a pickle; settings.json says the same
        counts = {
            **draft.counts,
            "steps": trainer.state.global_step,
            "train": len(parts.train),
            "evaluation": 0 if evaluation is None else len(evaluation),
            "left_over": len(parts.left_over),
            "world_size": self.state.num_processes,
        }
        saved = sorted(path for pattern in ("*.safetensors", "*.json", "*.jinja") for path in self.output.glob(pattern))
        checkpoints.to_disk(saved)
        files = {path.name: manifest.file_digest(path) for path in saved}
        reference = {"reference": self._reference_forward} if self._reference_forward is not None else {}
        update = {"counts": counts, "files": files, "forward": {**trainer.sharing(), **reference}}
        manifest.write(self.output, draft.model_copy(update=update))
        if not self.settings.keep_after:
            checkpoints.remove_all(self.output)
        (self.output / _LOCK).unlink(missing_ok=True)
        self._say(f"{self.output}: trained; curves in {self.output / 'curves.png'}")
        self._say(f"next: python eval/loss_{self.settings.method}.py --model {self.output} --data … --output …")


def _padding(tokenizer: Any) -> int:
    return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
