"""Settings of a training run. Importing this loads no torch."""

import difflib
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import model_validator

from alignx.models.loading import Attention, DType
from alignx.prompts.condition import History
from alignx.prompts.settings import ConditionSettings, SourceSettings
from alignx.settings import required, setting

LossType = Literal[
    "sigmoid", "hinge", "ipo", "robust", "exo_pair", "nca_pair", "apo_zero", "apo_down", "sigmoid_norm", "discopop"
]
Divergence = Literal["reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"]
Reference = Literal["precomputed", "online"]
_ANY_DIVERGENCE = ("sigmoid", "sigmoid_norm", "hinge", "ipo", "exo_pair", "robust", "discopop")


class TrainSettings(ConditionSettings, SourceSettings):
    """Train a model by DPO on records (ICA or PBA), with TRL.

    bash scripts/train_ica.sh --model out/tiny --data data/sample/train.jsonl --output out/ica --global-batch 16

    The scripts read configs/train/ica.yaml or pba.yaml, the published run; flags and ALIGNX_* variables override it.
    """

    reads_config: ClassVar[bool] = True

    model: str = required("Model folder or hub id to start from; also the reference.")
    output: Path = required("Folder for the checkpoint, its manifest, metrics and curves.")
    history: History | None = setting(
        "sampled", "History items of each list: 0 to 4 drawn by the seed, all, or the last N.", source="paper §5"
    )

    learning_rate: float = setting(5e-7, "Peak learning rate.", gt=0, source="paper C.2")
    adam_beta1: float = setting(0.9, "AdamW's first decay.", ge=0, lt=1, source="paper C.2")
    adam_beta2: float = setting(0.95, "AdamW's second decay.", ge=0, lt=1, source="paper C.2")
    weight_decay: float = setting(0.0, "AdamW's weight decay.", ge=0, source="paper C.2")
    max_grad_norm: float = setting(1.0, "Gradients are clipped to this norm.", gt=0, source="paper C.2")
    min_lr_ratio: float = setting(0.1, "The cosine ends at this share of the peak.", ge=0, le=1, source="released code")
    warmup_ratio: float = setting(0.1, "Share of steps in which the rate rises.", ge=0, lt=1, source="paper C.2")
    beta: float = setting(0.1, "Strength of the pull towards the reference.", gt=0, source="paper C.2")
    loss_type: LossType = setting("sigmoid", "TRL's preference loss; sigmoid is DPO.", source="paper Eq. 1")
    label_smoothing: float = setting(
        0.0, "Share of pairs taken to be labelled wrongly, where the loss uses it.", ge=0, lt=0.5
    )
    f_divergence: Divergence = setting("reverse_kl", "Divergence from the reference (f-DPO).")
    f_alpha: float = setting(0.5, "Coefficient of alpha_divergence.", gt=0)
    ld_alpha: float | None = setting(
        None, "Weight of what the longer response has beyond the shorter one's length (LD-DPO).", ge=0, le=1
    )
    discopop_tau: float = setting(0.05, "Temperature of the discopop loss.", gt=0)
    wpo: bool = setting(False, "Weight pairs by the policy's own probability of them (WPO).")

    lora_rank: int | None = setting(None, "Train adapters of this rank instead of all weights.", gt=0)
    lora_alpha: int | None = setting(None, "Scale of the adapters; by default twice the rank.", gt=0)
    lora_targets: str = setting("all-linear", "Modules with adapters: all-linear, or names with commas between.")

    reference: Reference = setting(
        "precomputed",
        "precomputed: its log-probabilities are computed before training and remembered; online: it is kept in memory "
        "and run at every step.",
    )
    reference_cache: Path | None = setting(
        None, "Folder where they are remembered; by default $ALIGNX_CACHE, else alignx in the user's cache folder."
    )

    preparing_workers: int | None = setting(
        None, "Processes that prepare raw records; by default one a core. Nothing but the time depends on it.", gt=0
    )

    global_batch: int = setting(128, "Pairs an optimiser step, whatever the number of GPUs.", gt=0, source="paper C.2")
    micro_batch: int = setting(2, "Pairs a GPU a forward.", gt=0, source="released code")
    epochs: int = setting(1, "Passes over the data.", gt=0, source="paper C.2")
    max_steps: int | None = setting(None, "Optimiser steps; by default floor(rows / global batch) an epoch.", gt=0)

    subset: int | None = setting(None, "Only so many records, drawn at random by the seed.", gt=0)
    drop_empty: bool = setting(
        False, "Leave out records whose prompt would say nothing about the user; they are counted."
    )
    eval_rows: int = setting(
        0, "At most this many records of held-out users or targets, taken out before the steps are counted.", ge=0
    )
    eval_data: str | None = setting(
        None, "Records to evaluate on instead; none may have a user or target of the training set."
    )
    eval_every: int | None = setting(None, "Steps between evaluations; by default once, at the end.", gt=0)

    dtype: DType = setting("auto", "bfloat16 where a GPU has it, else float32.", source="paper C.2")
    master_weights: bool = setting(
        True,
        "Keep weights and optimiser in float32 while computing in --dtype. Without, they take a third of the memory, "
        "and updates at rates like 5e-7 are mostly lost in rounding.",
    )
    attention: Attention = setting("auto", "Attention implementation of transformers.")
    shared_prefix: bool = setting(
        True, "Read each prompt once for both responses, where the model can; changes speed and memory, not results."
    )
    gradient_checkpointing: bool = setting(True, "Recompute activations to save memory.", source="paper C.2")
    save_every: int | None = setting(None, "Steps between checkpoints to resume from; by default a tenth of all.", gt=0)
    keep_checkpoints: int = setting(2, "Newest checkpoints kept while training.", gt=0)
    keep_after: bool = setting(False, "Keep them when training is finished, too.")
    resume_despite: tuple[str, ...] = setting(
        (), "Resume a checkpoint although these differ: beta, seed, data, world_size and so on, as the refusal says."
    )
    log_every: int = setting(1, "Steps between lines of metrics.jsonl.", gt=0)
    log_batches: bool = setting(False, "Write which records each process saw at each step to batches-RANK.jsonl.")
    report_to: str = setting(
        "none", "A tracker that TRL supports, such as wandb or tensorboard; its keys come from the environment."
    )
    check: bool = setting(False, "Only check the settings, and leave.")
    revision: str | None = setting(None, "Of the model's hub id.")
    trust_remote_code: bool = setting(False, "Run code that comes with the model.")

    @model_validator(mode="after")
    def _one_way_to_evaluate(self) -> "TrainSettings":
        if self.eval_rows and self.eval_data is not None:
            raise ValueError("--eval-rows and --eval-data exclude each other")
        if self.eval_every and not self.eval_rows and self.eval_data is None:
            raise ValueError("--eval-every needs records to evaluate on: --eval-rows or --eval-data")
        return self

    @model_validator(mode="after")
    def _differences_are_known(self) -> "TrainSettings":
        known = [*TrainSettings.model_fields, "data", "taxonomy", "model", "dtype", "date", "world_size", "zero_stage"]
        for name in self.resume_despite:
            if name not in known:
                nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
                raise ValueError(f"--resume-despite: {name!r} is nothing that two runs differ in{hint}")
        return self

    @model_validator(mode="after")
    def _batches_divide(self) -> "TrainSettings":
        self.accumulation(1)
        return self

    @model_validator(mode="after")
    def _adapters_are_asked_for(self) -> "TrainSettings":
        if self.lora_rank is None and (self.lora_alpha is not None or self.lora_targets != "all-linear"):
            raise ValueError("--lora-alpha and --lora-targets need --lora-rank")
        return self

    @model_validator(mode="after")
    def _companions_go_with_the_loss(self) -> "TrainSettings":
        if self.f_divergence != "reverse_kl" and self.loss_type not in _ANY_DIVERGENCE:
            raise ValueError(f"--f-divergence {self.f_divergence} has no meaning with --loss-type {self.loss_type}")
        if self.f_alpha != 0.5 and self.f_divergence != "alpha_divergence":
            raise ValueError("--f-alpha needs --f-divergence alpha_divergence")
        if self.ld_alpha is not None and self.reference == "precomputed":
            raise ValueError("--ld-alpha needs --reference online: it weighs the reference's log-probabilities too")
        if self.discopop_tau != 0.05 and self.loss_type != "discopop":
            raise ValueError("--discopop-tau needs --loss-type discopop")
        return self

    @model_validator(mode="after")
    def _smoothing_goes_with_the_loss(self) -> "TrainSettings":
        if self.loss_type == "exo_pair" and not self.label_smoothing:
            raise ValueError("--loss-type exo_pair needs a --label-smoothing above 0, such as 1e-3")
        if self.label_smoothing and self.loss_type not in ("exo_pair", "robust"):
            raise ValueError(
                f"--label-smoothing changes nothing with --loss-type {self.loss_type}; use robust or exo_pair"
            )
        return self

    @property
    def drawing_seed(self) -> int:
        """Of every draw: which rows train, which are held out, in what order they are read."""
        return 42 if self.seed is None else self.seed

    def steps(self, rows: int) -> int:
        """Optimiser steps over so many training rows: whole batches only, ``floor(rows / global batch)`` an epoch."""
        return self.max_steps or self.epochs * (rows // self.global_batch)

    def saving_interval(self, steps: int) -> int:
        """Steps between checkpoints of a run of so many."""
        return self.save_every or max(1, -(-steps // 10))

    def accumulation(self, processes: int) -> int:
        """Forwards an optimiser step and process, so that a step sees ``global_batch`` pairs.

        Raises:
            ValueError: The global batch does not divide.
        """
        accumulation, rest = divmod(self.global_batch, self.micro_batch * processes)
        if rest:
            times = f" times {processes} processes" if processes > 1 else ""
            raise ValueError(
                f"--global-batch {self.global_batch} is no multiple of --micro-batch {self.micro_batch}{times}"
            )
        return accumulation
