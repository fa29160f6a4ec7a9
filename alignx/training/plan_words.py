"""A plan in words and in numbers."""

from dataclasses import asdict
from typing import Any

from alignx.training.plan_memory import Needs, Way
from alignx.training.plan_schedule import Schedule
from alignx.training.plan_settings import PlanSettings

GB = 10**9
_CACHED_PAIR = 80
"""Bytes of a line of the reference's cache: a key of 32 characters and two log-probabilities."""


class Words:
    """A plan in numbers and in words."""

    def __init__(self, settings: PlanSettings, way: Way, needs: Needs, run: Schedule, memory: float, room: int) -> None:
        self._settings, self._way, self._needs, self._run = settings, way, needs, run
        self._gpu, self._room = memory, room
        self._memory = needs.memory(way)
        self._shape = needs.shape(way.lora_rank)
        pair = settings.mean_tokens or needs.pair
        self._step_tokens = pair * settings.global_batch
        self._tokens = self._step_tokens * run.steps
        precomputed = settings.reference == "precomputed"
        self._scored = (min(run.rows, run.steps * settings.global_batch) + run.held_out) * precomputed
        self._reference_tokens = pair * self._scored
        # A forward of the layers is one part; their backward two, or one where no weight is trained; recomputing one.
        self._share = 1 / (1 + way.checkpointing + (2 if way.lora_rank is None else 1))

    def numbers(self) -> dict[str, Any]:
        """For a file."""
        return {
            "model": self._settings.model,
            "way": asdict(self._way),
            "parameters": self._shape.parameters,
            "trained": self._shape.trained,
            "tokens": {
                "pair": self._settings.mean_tokens or self._needs.pair,
                "step": self._step_tokens,
                "all": self._tokens,
                "reference": self._reference_tokens,
                "prompt_read": "once" if self._needs.read_once else "twice",
            },
            "memory": {**asdict(self._memory), "total": self._memory.total, "room": self._room, "gpu": int(self._gpu)},
            "hours": self._hours(self._settings.tokens_per_second),
            "disk": self._disk(),
        }

    def _hours(self, tokens_per_second: float | None) -> dict[str, float] | None:
        if tokens_per_second is None:
            return None
        rate = tokens_per_second * self._way.processes * 3600
        training, reference = self._tokens / rate, self._reference_tokens * self._share / rate
        return {"training": training, "reference": reference, "all": training + reference}

    def _disk(self) -> dict[str, int]:
        """Bytes of what a run writes."""
        trained, zero = self._shape.trained, self._way.zero
        if zero:  # float32 weights and moments in shards, a 16-bit model beside them, in stage 2 once more in its own
            saved, checkpoint = 2 * trained, (16 if zero == 2 else 14) * trained
        else:
            wide = self._settings.master_weights or self._way.lora_rank is not None
            saved = (4 if wide else self._needs.width) * trained
            checkpoint = 3 * saved
        kept = self._settings.keep_checkpoints
        pairs = self._run.rows + self._run.left_over + self._run.held_out
        return {
            "checkpoint": checkpoint,
            "at_rotation": (kept + 1) * checkpoint,
            "final": saved + (kept * checkpoint if self._settings.keep_after else 0),
            "reference_cache": _CACHED_PAIR * self._scored,
            "encoded_at_most": 2 * 4 * (self._needs.prompt + 2 * self._needs.response) * pairs,
        }

    def text(self, source: str, present: bool) -> str:
        """For a person."""
        way, settings = self._way, self._settings
        sharing = "no DeepSpeed" if not way.zero else f"ZeRO-{way.zero}" + (", offloaded" if way.offload else "")
        machines = f" on {way.nodes} machines" if way.nodes > 1 else ""
        kind = f"adapters of rank {way.lora_rank}" if way.lora_rank else "all weights"
        lines = [
            f"{settings.model}, {kind}, on {settings.data}",
            f"{_gpus(way.processes)} of {gb(self._gpu)} GB{machines}{' (this machine)' if present else ''}, {sharing}",
            *self._steps(source),
            *self._memory_lines(),
            *self._time(),
            *self._disk_lines(),
            *self._assumptions(),
        ]
        return "\n".join(lines)

    def _steps(self, source: str) -> list[str]:
        run, settings, way = self._run, self._settings, self._way
        accumulation = settings.accumulation(way.processes)
        drawn = f"{settings.subset:,} drawn from {source}" if settings.subset else source
        epochs = f"{settings.epochs} epoch{'s' * (settings.epochs > 1)}"
        shortened = f", stopped by --max-steps {settings.max_steps}" if settings.max_steps else ""
        once = "prompt once" if self._needs.read_once else f"prompt twice: {self._reason()}"
        said = "mean stated" if settings.mean_tokens else "every pair as long as planned for"
        pair = settings.mean_tokens or self._needs.pair
        held = [("held out", f"{run.held_out:,}", "records at most")] if run.held_out else []
        return _table(
            "steps",
            [
                (
                    "optimiser steps",
                    f"{run.steps:,}",
                    f"of {settings.global_batch} pairs = {way.micro_batch} × {_gpus(way.processes)} × {accumulation} "
                    f"accumulated{shortened}",
                ),
                ("records", f"{run.rows:,}", f"of {drawn}; {epochs if not settings.max_steps else self._read()}"),
                *held,
                ("left over", f"{run.left_over:,}", "records that would not fill a batch"),
                ("warm-up", f"{run.warmup:,}", "steps"),
                ("learning rate", f"{run.first_rate:.3g}", "first step"),
                ("", f"{run.peak_rate:.3g}", f"step {run.peak_step:,}, the highest"),
                ("", f"{run.last_rate:.3g}", f"last step; the schedule ends at {run.end_rate:.3g}"),
                ("tokens a step", f"{self._step_tokens:,.0f}", f"{pair:,.0f} a pair, {once}; {said}"),
                ("tokens in all", f"{self._tokens:,.0f}", ""),
            ],
        )

    def _read(self) -> str:
        read = min(self._run.rows, self._run.steps * self._settings.global_batch)
        return f"{read:,} of them are read"

    def _reason(self) -> str:
        return self._needs.shape(None).obstacle or "--no-shared-prefix"

    def _memory_lines(self) -> list[str]:
        memory, way, shape = self._memory, self._way, self._shape
        estimate = "DeepSpeed's estimate" if way.zero else f"{shape.trained:,} parameters trained"
        of = f"{shape.parameters:,} parameters; {estimate}" if way.zero else f"of {shape.parameters:,} parameters"
        logits = "TRL's head"
        if not memory.logits:
            logits = f"at that moment; {gb(memory.tile)} while TRL's head runs, when there is less of the rest"
        buffers = {
            0: "DDP's copy of the gradients",
            2: "DeepSpeed's bucket of gradients",
            3: "DeepSpeed's bucket of gradients, layers fetched ahead",
        }[way.zero]
        moments = "AdamW's two moments" + (", in the machine's memory" if way.offload else "")
        again = "layers run again in the backward" if way.checkpointing else "all layers' kept"
        rows = [
            ("weights", gb(memory.weights), of),
            ("gradients", gb(memory.gradients), "" if way.zero else estimate),
            ("optimiser", gb(memory.optimiser), moments),
            (
                "activations",
                gb(memory.activations),
                f"{way.micro_batch} pair{'s' * (way.micro_batch > 1)} a forward, {again}",
            ),
            ("logits", gb(memory.logits), logits),
            *([("buffers", gb(memory.buffers), buffers)] if memory.buffers else []),
            (
                "total",
                gb(memory.total),
                f"of {gb(self._gpu)}: fits; {gb(self._gpu - self._room)} are kept free, "
                f"{gb(self._room - memory.total)} are over",
            ),
        ]
        reference = self._needs.reference_weights()
        if reference:
            rows.append(("before that", gb(reference), "the reference's weights, whole on each GPU, and its batch"))
        if memory.host:
            stated = self._settings.cpu_memory
            checked = f"of {stated:g}" if stated is not None else "not checked without --cpu-memory"
            rows.append(("machine", gb(memory.host), f"memory beside its GPUs, DeepSpeed's estimate; {checked}"))
        return _table("memory of a GPU at its fullest, in GB", rows)

    def _time(self) -> list[str]:
        stated = self._settings.tokens_per_second
        hours = self._hours(stated or 1000.0)
        assert hours is not None
        if stated is None:
            title = (
                "time: no throughput was stated (--tokens-per-second); in hours if a GPU reads 1,000 tokens a second"
            )
        else:
            title = f"time, in hours, if a GPU reads {stated:,.0f} tokens a second as stated"
        share = f"1/{1 / self._share:.0f} of training's time a token, by its arithmetic"
        rows = [("training", f"{hours['training']:,.1f}", "")]
        if self._reference_tokens:
            rows.append(("reference", f"{hours['reference']:,.1f}", f"its pass before training, {share}"))
        gpu_hours = hours["all"] * self._way.processes
        digits = 0 if gpu_hours >= 10 else 1
        rows.append(("together", f"{hours['all']:,.1f}", f"{gpu_hours:,.{digits}f} GPU hours"))
        return _table(title, rows)

    def _disk_lines(self) -> list[str]:
        disk, keep = self._disk(), self._settings.keep_checkpoints
        after = "weights" if self._way.lora_rank is None else "adapters"
        every = self._settings.saving_interval(self._run.steps)
        often = f"{every:,} steps" if every > 1 else "step"
        return _table(
            "disk, in GB",
            [
                ("a checkpoint", gb(disk["checkpoint"]), f"{after} and the optimiser's state, every {often}"),
                ("at most", gb(disk["at_rotation"]), f"{keep} kept and one being written"),
                ("at the end", gb(disk["final"]), after + (" and checkpoints" if self._settings.keep_after else "")),
                *([("reference", gb(disk["reference_cache"]), "its log-probabilities")] * bool(self._reference_tokens)),
                ("encoded pairs", gb(disk["encoded_at_most"]), "in the cache, at most: all as long as planned for"),
            ],
        )

    def _assumptions(self) -> list[str]:
        settings, needs = self._settings, self._needs
        lengths = "the longest that --max-length allows" if settings.prompt_tokens is None else "as stated"
        bits = f"{needs.dtype}" + (" (auto: GPUs are taken to have it)" if settings.dtype == "auto" else "")
        positions = needs.positions
        beyond = [f"the model reads {settings.longest:,} tokens although it was made for {positions:,}"]
        lines = [
            *(beyond if positions is not None and settings.longest > positions else []),
            f"a pair is a prompt of {needs.prompt:,} tokens and two responses of {needs.response:,}: {lengths}",
            f"computed in {bits}; GB are 10⁹ bytes",
            "activations and logits are counted in one forward and backward of this shape, gradients of earlier "
            "micro-batches in place",
            f"{settings.headroom:.0%} of a GPU is kept free for CUDA's context, NCCL and fragmentation (--headroom)",
        ]
        if settings.attention == "flash_attention_2" and not needs.read_once:
            lines.append("FlashAttention is taken to keep what torch's attention does without a mask")
        if settings.reference == "online" and self._way.lora_rank is None:
            lines.append("the online reference is among the weights; its forward needs less than the policy's backward")
        if settings.drop_empty:
            lines.append("records that --drop-empty would leave out are counted, as only encoding finds them")
        if needs.dtype == "float32" and self._way.zero:
            lines.append("DeepSpeed's estimates are for 16 bits; float32 needs up to twice as much")
        return ["", "taken for granted", *(f"  {line}" for line in lines)]


def _gpus(number: int) -> str:
    return f"{number} GPU{'s' * (number > 1)}"


def gb(size: float) -> str:
    """Bytes in GB of 10⁹, to three digits."""
    return f"{size / GB:,.2f}" if size < 10 * GB else f"{size / GB:,.1f}"


def _table(title: str, rows: list[tuple[str, str, str]]) -> list[str]:
    return ["", title, *(f"  {name:<16}{number:>16}  {note}".rstrip() for name, number, note in rows)]
