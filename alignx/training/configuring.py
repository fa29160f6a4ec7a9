"""A run's settings as TRL's and PEFT's."""

import math
import os
import warnings
from pathlib import Path
from typing import Any

from alignx.cache import cache_folder
from alignx.errors import SettingsError
from alignx.models.loading import ModelFiles, has_accelerator
from alignx.training.settings import TrainSettings


def trl_config(settings: TrainSettings, *, steps: int, accumulation: int, dtype: str, evaluates: bool) -> Any:
    """The settings as a ``DPOConfig``.

    Args:
        settings: Of the run.
        steps: Optimiser steps.
        accumulation: Forwards an optimiser step and process.
        dtype: To compute in.
        evaluates: Whether there is anything to evaluate on.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # TRL and transformers warn about defaults of their own
        from trl import DPOConfig

        return DPOConfig(
            output_dir=str(settings.output),
            max_steps=steps,
            per_device_train_batch_size=settings.micro_batch,
            per_device_eval_batch_size=settings.micro_batch,
            gradient_accumulation_steps=accumulation,
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
            f_divergence_type=settings.f_divergence,
            f_alpha_divergence_coef=settings.f_alpha,
            ld_alpha=settings.ld_alpha,
            discopop_tau=settings.discopop_tau,
            use_weighting=settings.wpo,
            precompute_ref_log_probs=settings.reference == "precomputed",
            max_length=None,
            bf16=dtype == "bfloat16",
            fp16=dtype == "float16",
            use_cpu=not has_accelerator(),
            gradient_checkpointing=settings.gradient_checkpointing,
            ddp_find_unused_parameters=False,
            eval_strategy="steps" if evaluates and settings.eval_every else "no",
            eval_steps=settings.eval_every,
            save_strategy="steps",
            save_steps=settings.saving_interval(steps),
            logging_steps=settings.log_every,
            logging_nan_inf_filter=False,
            report_to=settings.report_to,
            remove_unused_columns=False,
            seed=settings.drawing_seed,
            data_seed=settings.drawing_seed,
            disable_tqdm=True,
        )


def zero_stage() -> int:
    """How DeepSpeed, as the launcher set it up, shares a run among processes; 0 without it."""
    from accelerate.utils import DeepSpeedPlugin

    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() != "true":
        return 0
    return int(DeepSpeedPlugin().zero_stage)


def refuse_unknown_targets(settings: TrainSettings, files: ModelFiles) -> None:
    """Refuse adapters on layers that the model does not have, before anything is computed.

    Raises:
        SettingsError: It has none of some name.
    """
    if settings.lora_rank is None or settings.lora_targets == "all-linear":
        return
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(files.folder, trust_remote_code=settings.trust_remote_code)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=settings.trust_remote_code)
    linear = sorted({name.rpartition(".")[2] for name, layer in model.named_modules() if _is_linear(layer)})
    wrong = [name for name in settings.lora_targets.split(",") if name.rpartition(".")[2] not in linear]
    if wrong:
        raise SettingsError(
            f"--lora-targets: {files.name} has no linear layer called {', '.join(wrong)}; it has {', '.join(linear)}"
        )


def _is_linear(layer: Any) -> bool:
    import torch

    return isinstance(layer, torch.nn.Linear)


def lora_config(settings: TrainSettings) -> Any:
    """The adapters as PEFT's ``LoraConfig``, or None when all weights are trained."""
    if settings.lora_rank is None:
        return None
    from peft import LoraConfig

    targets = settings.lora_targets
    return LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha or 2 * settings.lora_rank,
        lora_dropout=0.0,  # TRL's trainer switches dropout off
        target_modules=targets if targets == "all-linear" else targets.split(","),
        task_type="CAUSAL_LM",
    )


_CALLED = {"azure_ml": "azureml", "comet_ml": "comet", "flyte": "flytekit"}
"""What transformers calls a tracker where it looks for its package, if not by its name."""


def refuse_unknown_trackers(report_to: str) -> None:
    """Refuse a tracker that TRL does not know, or whose package is missing, before anything is loaded.

    Raises:
        SettingsError: It is one; it is named, and the known ones where it is none of them.
    """
    from transformers.integrations import integration_utils

    if report_to in ("none", "all"):
        return
    if report_to not in integration_utils.INTEGRATION_TO_CALLBACK:
        known = ", ".join(integration_utils.INTEGRATION_TO_CALLBACK)
        raise SettingsError(f"--report-to: got {report_to!r}, expected none, all, or one of {known}")
    if not getattr(integration_utils, f"is_{_CALLED.get(report_to, report_to)}_available")():
        raise SettingsError(f"--report-to {report_to}: is not here; install its package first")


def reference_cache(settings: TrainSettings) -> Path:
    """Where the reference's log-probabilities are remembered."""
    return settings.reference_cache or cache_folder()
