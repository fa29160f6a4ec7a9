"""``alignx plan``: what a training run needs, and whether a machine has it, before anything is downloaded."""

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alignx import manifest
from alignx.errors import ModelError, SettingsError
from alignx.training.plan_memory import Memory, Needs, Way
from alignx.training.plan_schedule import schedule
from alignx.training.plan_settings import PlanSettings
from alignx.training.plan_words import GB, Words, gb
from alignx.training.rows import ready, records_of

_KNOWN_ROWS = {"JinaLeejnl/AlignX": (1_311_622, "paper v3")}
_LLAMA_8B = "meta-llama/Llama-3.1-8B-Instruct"
"""Not to be had without permission, not even its config.json."""
_LLAMA_8B_SHAPE: dict[str, Any] = {
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
}
_SUGGESTED_RANK = 64
"""Of adapters, as in configs/train/ica-lora.yaml."""
_MOST_GPUS = 1024


def plan(settings: PlanSettings) -> str:
    """Say what a run needs; returns it as text.

    Raises:
        DataError: The records cannot be read, or are fewer than a batch.
        ModelError: The model's shape is not to be had.
        SettingsError: The run cannot fit; the nearest settings that do are named. Or something is not known, or
            settings contradict each other.
    """
    way, memory, present = _described(settings)
    try:
        settings.accumulation(way.processes)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    if way.zero and not _has_deepspeed():
        raise SettingsError(
            f"--zero {way.zero}: DeepSpeed is not installed: pip install 'alignx[deepspeed]', or plan with --zero 0"
        )
    rows, counted_by = _rows(settings)
    run = schedule(settings, rows)
    needs = Needs(settings, model_config(settings), "bfloat16" if settings.dtype == "auto" else settings.dtype)
    room = int(memory * (1 - settings.headroom))
    _refuse_what_cannot_fit(needs, way, room, memory)
    words = Words(settings, way, needs, run, memory, room)
    if settings.json_file is not None:
        numbers = {"schedule": asdict(run), **words.numbers()}
        manifest.write_text(settings.json_file, json.dumps(numbers, indent=2, ensure_ascii=False) + "\n")
    return words.text(f"{rows:,} records ({counted_by})", present)


def _has_deepspeed() -> bool:
    return importlib.util.find_spec("deepspeed") is not None


# rows and steps


def _rows(settings: PlanSettings) -> tuple[int, str]:
    """Records of the source and how they were counted.

    Raises:
        DataError: The source is here and cannot be read.
        SettingsError: It is not here, and how many it has is not known.
    """
    if settings.rows is not None:
        return settings.rows, "as stated"
    source = settings.data
    if Path(source).exists():
        prepared = ready(settings, source)
        if prepared is not None:
            return int(prepared.counts["records"]), "prepared"
        return sum(1 for _ in records_of(settings, source)), "counted"
    name = source.split("@")[0]
    if name not in _KNOWN_ROWS:
        raise SettingsError(
            f"--rows is required: {source} is not on this machine, and how many records it has is not known"
        )
    rows, where = _KNOWN_ROWS[name]
    return min(rows, settings.limit or rows), where


# the machine and the model


def _described(settings: PlanSettings) -> tuple[Way, float, bool]:
    """The way that the settings describe, the bytes of a GPU, and whether they are of this machine.

    Raises:
        SettingsError: No machine is described, and this one has no GPU.
    """
    gpus, memory = settings.gpus, settings.gpu_memory and settings.gpu_memory * GB
    here = gpus is None or memory is None
    if here:
        import torch

        if not torch.cuda.is_available():
            missing = " and ".join(
                flag for flag, value in (("--gpus", gpus), ("--gpu-memory", memory)) if value is None
            )
            raise SettingsError(
                f"{missing}: this machine has no GPU to go by; describe one, such as --gpus 8 --gpu-memory 80"
            )
        found = [torch.cuda.get_device_properties(number).total_memory for number in range(torch.cuda.device_count())]
        gpus, memory = gpus or len(found), memory or float(min(found))
    assert gpus is not None
    assert memory is not None
    zero = settings.zero
    if zero is None:
        zero = 3 if gpus * settings.nodes > 1 or settings.offload else 0
    way = Way(
        checkpointing=settings.gradient_checkpointing,
        micro_batch=settings.micro_batch,
        zero=zero,
        offload=settings.offload,
        lora_rank=settings.lora_rank,
        gpus=gpus,
        nodes=settings.nodes,
    )
    return way, memory, here


def model_config(settings: PlanSettings) -> Any:
    """The model's configuration, without its weights.

    Raises:
        ModelError: It is not to be had.
    """
    name, folder = settings.model, Path(settings.model)
    if name == _LLAMA_8B and not folder.exists():
        from transformers import LlamaConfig

        return LlamaConfig(**_LLAMA_8B_SHAPE)
    if folder.is_dir():
        if (folder / "adapter_config.json").is_file():
            raise ModelError(f"{name}: is an adapter; merge it into its base first: alignx merge --model {name}")
        if not (folder / "config.json").is_file():
            raise ModelError(f"{name}: no config.json in {folder}, expected a model in Hugging Face format")
    elif folder.exists() or name.startswith((".", "/")):
        raise ModelError(f"{name}: no such model folder")
    else:
        folder = _config_from_hub(name, settings.revision)
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=settings.trust_remote_code)
    except Exception as error:  # transformers raises OSError, ValueError and KeyError for the same reason
        raise ModelError(f"{name}: cannot read config.json: {' '.join(str(error).split())[:300]}") from error


def _config_from_hub(name: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(name, "config.json", revision=revision)).parent
    except Exception as error:  # the hub client raises many unrelated types; each means that it is not to be had
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{name}: no such folder here, and its config.json is not to be had from the hub: {reason}"
        ) from error


# what cannot fit


def _refuse_what_cannot_fit(needs: Needs, way: Way, room: int, memory: float) -> None:
    """Refuse a run that is too large for a GPU, with the nearest ways that fit.

    Raises:
        SettingsError: It is.
    """
    whole = needs.reference_weights()
    if whole > room:
        raise SettingsError(
            f"the reference's pass has its {gb(whole)} GB of weights whole on each GPU, which has {gb(memory)} GB, "
            f"{gb(room)} of them to use; {_advice(needs.online(), way, room, '--reference online ')}"
        )
    if _fits(needs, way, room):
        return
    found = needs.memory(way)
    parts = ", ".join(
        f"{name} {gb(getattr(found, name))}"
        for name in ("weights", "gradients", "optimiser", "activations", "logits", "buffers")
    )
    problem = f"{gb(found.total)} GB a GPU ({parts}), but {gb(room)} of its {gb(memory)} GB are to be used"
    host = needs.settings.cpu_memory
    if found.total <= room and host is not None:
        problem = f"{gb(found.host)} GB of a machine's memory, but --cpu-memory is {host:g} GB"
    raise SettingsError(f"this run needs {problem}; {_advice(needs, way, room)}")


def _advice(needs: Needs, way: Way, room: int, flags: str = "") -> str:
    """The nearest ways that fit, by the flags that make them, after those that are needed anyway."""
    found = [way] if flags and _fits(needs, way, room) else _nearest(needs, way, room)
    nearest = [f"{flags}{_flags(way, other)}".strip() + f" ({_said(other, needs.memory(other))})" for other in found]
    return f"what fits: {'; or '.join(nearest)}" if nearest else "nothing that was tried fits; shorten --max-length"


def _fits(needs: Needs, way: Way, room: int) -> bool:
    """Whether a GPU has room for the run; what needs no counting is looked at first."""
    states, host = needs.states(way), needs.settings.cpu_memory
    if states.total > room or (host is not None and states.host > host * GB):
        return False
    return needs.memory(way).total <= room


def _nearest(needs: Needs, way: Way, room: int) -> list[Way]:
    """The nearest way that fits, and if it puts anything into the machine's memory, the nearest that does not."""
    found: list[Way] = []
    for other in _others(needs.settings, way):
        if found and other.offload:
            continue
        if _fits(needs, other, room):
            found.append(other)
            if not other.offload:
                break
    return found


def _others(settings: PlanSettings, way: Way) -> Iterator[Way]:
    """Other ways, the nearest first: each line tries all of the lines below it before it goes on."""
    for gpus, nodes in _machines(way):
        for rank in dict.fromkeys((way.lora_rank, way.lora_rank or _SUGGESTED_RANK)):
            for zero, offload in dict.fromkeys(((way.zero, way.offload), (3, way.offload), (3, True))):
                for micro_batch in _halves(way.micro_batch):
                    for checkpointing in dict.fromkeys((way.checkpointing, True)):
                        other = Way(checkpointing, micro_batch, zero, offload, rank, gpus, nodes)
                        divides = settings.global_batch % (micro_batch * other.processes) == 0
                        if other != way and divides and (not zero or _has_deepspeed()):
                            yield other


def _machines(way: Way) -> Iterator[tuple[int, int]]:
    """GPUs a machine and machines, doubled again and again; no machine has more than 8 unless this one has."""
    gpus, nodes = way.gpus, way.nodes
    while gpus * nodes <= _MOST_GPUS:
        yield gpus, nodes
        gpus, nodes = (2 * gpus, nodes) if 2 * gpus <= 8 else (gpus, 2 * nodes)


def _halves(size: int) -> Iterator[int]:
    while size:
        yield size
        size //= 2


def _flags(way: Way, other: Way) -> str:
    """The flags that make another way of one."""
    changed = []
    if other.checkpointing != way.checkpointing:
        changed.append("--gradient-checkpointing")
    for name in ("micro_batch", "zero", "lora_rank", "gpus", "nodes"):
        if getattr(other, name) != getattr(way, name):
            changed.append(f"--{name.replace('_', '-')} {getattr(other, name)}")
    if other.offload != way.offload:
        changed.append("--offload")
    return " ".join(changed)


def _said(way: Way, memory: Memory) -> str:
    host = f", and {gb(memory.host)} GB of a machine's memory" if way.offload else ""
    return f"{gb(memory.total)} GB a GPU{host}"
