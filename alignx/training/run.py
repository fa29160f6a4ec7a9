"""A training run: records or prepared pairs in, a checkpoint with its manifest out."""

import json
import math
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

from alignx import manifest
from alignx.errors import DataError, SettingsError, TrainingError
from alignx.manifest import DataIdentity, Manifest
from alignx.models.loading import ModelFiles, choose_dtype, find_model, has_accelerator, load_model
from alignx.prompts import Condition, Encoder, choose_condition, load_tokenizer
from alignx.prompts.pairs import describe_counts
from alignx.prompts.preparing import SHARDS, write_prepared
from alignx.records import Records, load_taxonomy
from alignx.records.sources import refuse_missing
from alignx.training.settings import TrainSettings
from alignx.training.splitting import ROW, Split, split

_IDENTITY = ("kind", "data.digest", "taxonomy", "condition", "model.digest", "settings")


def train(settings: TrainSettings) -> Path:
    """Train and save; returns the checkpoint's folder.

    Raises:
        DataError: Records are invalid, too few, or the output holds another run.
        ModelError: The model or its tokenizer cannot do this.
        SettingsError: Settings contradict each other or the number of processes.
        TrainingError: A loss is not a number.
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
        _refuse_unknown_trackers(settings.report_to)
        try:
            self.accumulation = settings.accumulation(self.state.num_processes)
        except ValueError as error:
            raise SettingsError(str(error)) from None

    def run(self) -> Path:
        files = find_model(self.settings.model, self.settings.revision)
        tokenizer = load_tokenizer(str(files.folder), trust_remote_code=self.settings.trust_remote_code)
        chosen = choose_condition(files.name, self.settings.wanted(), self.settings.revision, files.folder)
        condition = chosen.condition
        for warning in chosen.warnings:
            self._say(f"warning: {warning}")
        self._reason = "set by --preset" if self.settings.preset else chosen.reason
        self._say(f"{condition.method.upper()} in preset {condition.preset} ({self._reason})")
        encoder = Encoder(tokenizer, condition)
        if self._finished(files, condition):
            return self.output
        self.state.wait_for_everyone()  # nobody writes before everybody has looked
        if self.state.is_main_process:  # also the mark of a run that has begun
            resolved = json.dumps(self.settings.model_dump(mode="json"), indent=2)
            manifest.write_text(self.output / "settings.json", resolved + "\n")
        prepared, data = self._prepared(self.settings.data, self.output / "data", condition, encoder)
        for line in describe_counts(data.counts):
            self._say(line)
        run_manifest = self._manifest(files, data.data, data.taxonomy, condition)
        rows, parts = self._rows(prepared)
        evaluation = rows.select(parts.evaluation) if parts.evaluation else None
        if self.settings.eval_data is not None:
            evaluation = self._evaluation_rows(rows, condition, encoder)
        self._save_split(parts, rows)
        trainer = self._trainer(files, tokenizer, rows, rows.select(parts.train), evaluation)
        self._say(self._plan(parts, trainer))
        warnings.filterwarnings("ignore", category=FutureWarning, module="transformers.modeling_utils")
        trainer.train()
        refuse_broken_weights(trainer.model)
        evaluated = any(
            "eval_loss" in log and log["step"] == trainer.state.global_step for log in trainer.state.log_history
        )
        if evaluation is not None and not evaluated:
            trainer.evaluate()
        trainer.save_model(str(self.output))
        self.state.wait_for_everyone()
        if self.state.is_main_process:
            run_manifest = run_manifest.model_copy(update={"counts": {"encoding": data.counts}})
            self._commit(run_manifest, parts, evaluation, trainer)
        self.state.wait_for_everyone()
        return self.output

    def _say(self, text: str) -> None:
        if self.state.is_main_process:
            print(text, file=sys.stderr, flush=True)

    def _records(self, source: str) -> Records:
        settings = self.settings
        return Records(
            source,
            split=settings.split,
            limit=settings.limit,
            skip_invalid=settings.skip_invalid,
            taxonomy=load_taxonomy(settings.taxonomy),
        )

    def _ready(self, source: str) -> Manifest | None:
        """The manifest of a source that is prepared already.

        Raises:
            SettingsError: It is, and the settings say which of its records to take.
        """
        found = manifest.read_if_present(Path(source)) if Path(source).is_dir() else None
        if found is None or found.kind != "prepared":
            return None
        for name in ("limit", "split", "taxonomy"):
            if getattr(self.settings, name) is not None:
                raise SettingsError(f"--{name}: {source} is prepared already; give it to `alignx data prepare`")
        return found

    def _prepared(self, source: str, folder: Path, condition: Condition, encoder: Encoder) -> tuple[Path, Manifest]:
        """A folder of encoded pairs: the source itself if it is one, else made from its records by one process."""
        ready = self._ready(source)
        if ready is not None:
            self._refuse_other_preparation(source, ready, condition, encoder)
            return Path(source), ready
        with self.state.main_process_first():
            records = self._records(source)
            found = write_prepared(folder, records, condition, encoder, {"data": source})
            for line in records.notes():
                self._say(line)
        return folder, found

    def _refuse_other_preparation(self, source: str, ready: Manifest, condition: Condition, encoder: Encoder) -> None:
        wanted = ready.model_copy(update={"condition": condition.model_dump(mode="json")})
        differences = ready.differences(wanted, ("condition",))
        if ready.settings.get("tokenizer") != encoder.digest:
            differences.append("the tokenizer")
        if not manifest.is_intact(Path(source), ready):
            raise DataError(f"{source}: its shards are not those of its manifest; prepare it again")
        if differences:
            raise DataError(
                f"{source}: was prepared for something else, which differs in {'; '.join(differences)}; prepare it "
                "again"
            )

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
                mode="json", exclude={"model", "data", "output", "check", "log_batches", "report_to"}
            ),
            versions=manifest.versions("torch", "transformers", "trl", "accelerate", "datasets", "peft", "deepspeed"),
        )

    def _unfinished_or_empty(self) -> bool:
        """Whether the output is a folder that an unfinished run may go on to fill."""
        begun = (self.output / "settings.json").is_file()
        return self.output.is_dir() and (begun or not any(self.output.iterdir()))

    def _finished(self, files: ModelFiles, condition: Condition) -> bool:
        """Whether the output already holds this run, finished. Nothing is written before this is known.

        Raises:
            DataError: It holds another run, or something that no run of ours left.
        """
        found = manifest.read_if_present(self.output) if self.output.is_dir() else None
        if found is None:
            if self.output.exists() and not self._unfinished_or_empty():
                raise DataError(f"{self.output}: holds something else than a run of ours, choose another --output")
            return False
        ready = self._ready(self.settings.data)
        if ready is None:
            records = self._records(self.settings.data)
            for _ in records:
                pass
            wanted = self._manifest(files, records.identity, records.taxonomy.digest, condition)
        else:
            wanted = self._manifest(files, ready.data, ready.taxonomy, condition)
        differences = found.differences(wanted, _IDENTITY)
        if differences:
            raise DataError(
                f"{self.output}: holds another run, which differs in {'; '.join(differences)}; choose another --output"
            )
        self._say(f"{self.output}: trained already, with these settings on this data; nothing to do")
        return True

    def _rows(self, prepared: Path) -> tuple[Any, Split]:
        """The encoded pairs, memory-mapped, each with its row number; and how they are divided."""
        rows = _load_rows(prepared, self.output / ".arrow", self.state)
        settings = self.settings
        if settings.drop_empty:
            told = [row for row, empty in enumerate(rows["persona_empty"]) if not empty]
            self._say(
                f"{len(rows) - len(told)} of {len(rows)} records dropped: their prompts say nothing about the user"
            )
            rows = rows.select(told).remove_columns(ROW).add_column(ROW, list(range(len(told))))
        parts = split(
            rows["cluster"],
            rows["target"],
            eval_rows=settings.eval_rows,
            global_batch=settings.global_batch,
            seed=settings.seed if settings.seed is not None else 42,
        )
        return rows, parts

    def _evaluation_rows(self, rows: Any, condition: Condition, encoder: Encoder) -> Any:
        """The records of ``eval_data``.

        Raises:
            DataError: One shares its user or target with the training set.
        """
        assert self.settings.eval_data is not None
        folder, _ = self._prepared(self.settings.eval_data, self.output / "eval-data", condition, encoder)
        evaluation = _load_rows(folder, self.output / ".arrow", self.state, first=len(rows))
        shared = (set(rows["cluster"]) & set(evaluation["cluster"])) | (set(rows["target"]) & set(evaluation["target"]))
        if shared:
            raise DataError(
                f"{self.settings.eval_data}: {len(shared)} users or targets are in the training set too, such as "
                f"{min(shared)}; evaluate on others"
            )
        return evaluation

    def _save_split(self, parts: Split, rows: Any) -> None:
        if not self.state.is_main_process:
            return
        ids = rows["id"]
        named = {
            "evaluation": [ids[row] for row in parts.evaluation],
            "left_over": [ids[row] for row in parts.left_over],
        }
        manifest.write_text(self.output / "split.json", json.dumps(named, indent=1) + "\n")

    def _trainer(self, files: ModelFiles, tokenizer: Any, rows: Any, training: Any, evaluation: Any) -> Any:
        config = self._config(len(training), evaluation is not None)  # before the model: ZeRO-3 shards it while loading
        from transformers import PrinterCallback

        from alignx.training.trainer import EncodedDPOTrainer, MetricsLog, RowCollator

        settings = self.settings
        sharded = getattr(config, "deepspeed_plugin", None) is not None
        model = load_model(files, self.dtype if sharded else "float32", settings.attention, settings.trust_remote_code)
        batch_log = self.output / f"batches-{self.state.process_index}.jsonl" if settings.log_batches else None
        if batch_log is not None:
            batch_log.unlink(missing_ok=True)
        trainer = EncodedDPOTrainer(
            model=model,
            args=config,
            data_collator=RowCollator(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0),
            train_dataset=training,
            eval_dataset=evaluation,
            processing_class=tokenizer,
            callbacks=[MetricsLog(self.output / "metrics.jsonl")],
            record_ids=rows["id"]
            if evaluation is None or settings.eval_data is None
            else [*rows["id"], *evaluation["id"]],
            batch_log=batch_log,
            shared_prefix=settings.shared_prefix,
        )
        trainer.remove_callback(PrinterCallback)  # MetricsLog prints instead
        return trainer

    def _config(self, train_rows: int, evaluates: bool) -> Any:
        """These settings as TRL's."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # TRL and transformers warn about defaults of their own
            from trl import DPOConfig

            settings, steps = self.settings, self.settings.steps(train_rows)
            return DPOConfig(
                output_dir=str(self.output),
                max_steps=steps,
                per_device_train_batch_size=settings.micro_batch,
                per_device_eval_batch_size=settings.micro_batch,
                gradient_accumulation_steps=self.accumulation,
                learning_rate=settings.learning_rate,
                adam_beta1=settings.adam_beta1,
                adam_beta2=settings.adam_beta2,
                weight_decay=settings.weight_decay,
                max_grad_norm=settings.max_grad_norm,
                lr_scheduler_type="cosine_with_min_lr",
                lr_scheduler_kwargs={"min_lr_rate": settings.min_lr_ratio},
                warmup_steps=math.ceil(settings.warmup_ratio * steps),
                beta=settings.beta,
                loss_type=[settings.loss_type],
                label_smoothing=settings.label_smoothing,
                max_length=None,
                bf16=self.dtype == "bfloat16",
                fp16=self.dtype == "float16",
                use_cpu=not has_accelerator(),
                gradient_checkpointing=settings.gradient_checkpointing,
                ddp_find_unused_parameters=False,
                eval_strategy="steps" if evaluates and settings.eval_every else "no",
                eval_steps=settings.eval_every,
                save_strategy="no",
                logging_steps=settings.log_every,
                logging_nan_inf_filter=False,
                report_to=settings.report_to,
                remove_unused_columns=False,
                seed=settings.seed if settings.seed is not None else 42,
                disable_tqdm=True,
            )

    def _plan(self, parts: Split, trainer: Any) -> str:
        settings = self.settings
        return (
            f"{trainer.args.max_steps} steps of {settings.global_batch} pairs ({settings.micro_batch} × "
            f"{self.state.num_processes} processes × "
            f"{self.accumulation} accumulated) over {len(parts.train)} records; {len(parts.evaluation)} held out, "
            f"{len(parts.left_over)} left over; "
            f"on {self.state.device}, {self.dtype}; each prompt is read {self._readings(trainer)}"
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
        shutil.rmtree(self.output / ".arrow", ignore_errors=True)
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
        files = {path.name: manifest.file_digest(path) for path in saved}
        update = {"counts": counts, "files": files, "forward": trainer.sharing()}
        manifest.write(self.output, draft.model_copy(update=update))
        self._say(f"{self.output}: trained; curves in {self.output / 'curves.png'}")
        self._say(f"next: python eval/loss_{self.settings.method}.py --model {self.output} --data … --output …")


def _refuse_unknown_trackers(report_to: str) -> None:
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    if report_to not in ("none", "all", *INTEGRATION_TO_CALLBACK):
        known = ", ".join(INTEGRATION_TO_CALLBACK)
        raise SettingsError(f"--report-to: got {report_to!r}, expected none, all, or one of {known}")


def refuse_broken_weights(model: Any) -> None:
    """Refuse weights that are not numbers: the last update may have broken them after the last loss was fine.

    Raises:
        TrainingError: A parameter holds NaN or infinity; it is named.
    """
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise TrainingError(f"{name} holds values that are not finite after the last step; nothing was saved")


def _load_rows(folder: Path, cache: Path, state: Any, first: int = 0) -> Any:
    """Encoded pairs as a memory-mapped dataset with a column of row numbers that begins at ``first``."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    files = sorted(str(path) for path in folder.glob(SHARDS))
    with state.main_process_first():
        rows = Dataset.from_parquet(files, cache_dir=str(cache))
    return rows.add_column(ROW, list(range(first, first + len(rows))))
