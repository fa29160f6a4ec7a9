"""What the benchmarks that set two sides beside each other have in common.

A workload read from a file, a model of random weights, rounds in the order A B A B, the ratio with its spread, peak
memory of one side in a process of its own, and one JSON file with everything that was measured.
"""

import argparse
import copy
import ctypes
import gc
import json
import math
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml

from alignx.manifest import versions
from alignx.models.tiny import SIZES, Size

Item = TypeVar("Item")
WORKLOADS = Path(__file__).resolve().parent / "workloads"
SHAPES = {**SIZES, "8b": Size(hidden=4096, layers=32, heads=32, kv_heads=8, intermediate=14336, vocabulary=128256)}
"""The stand-ins', and Llama-3.1-8B's."""
MEMORY_IS_RETURNED = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "MALLOC_TOP_PAD_": "0",
}
"""Environment under which glibc gives freed memory back at once, so that resident memory is memory in use."""


@dataclass(frozen=True)
class Pair:
    """Token ids of a prompt and two responses."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


@dataclass(frozen=True)
class Workload:
    """What both sides are given; a length is a number, or bounds to draw from, with a median a log-normal's."""

    name: str
    prompt: int | dict[str, float]
    responses: int | dict[str, float]
    pairs: int
    micro_batch: int
    seed: int
    scale: float = 1
    """All lengths are divided by it."""
    size: str = "10m"

    def draw(self, vocabulary: int) -> list[Pair]:
        """Pairs of random tokens."""
        rng = random.Random(self.seed)

        def tokens(length: int | dict[str, float]) -> list[int]:
            count = max(1, round(_draw_length(length, rng) / self.scale))
            return rng.choices(range(vocabulary), k=count)

        return [Pair(tokens(self.prompt), tokens(self.responses), tokens(self.responses)) for _ in range(self.pairs)]

    def __str__(self) -> str:
        """Its lengths, in words."""
        scaled = f", lengths divided by {self.scale:g}" if self.scale != 1 else ""
        return (
            f"{self.name}: prompt {_length_in_words(self.prompt)}, responses {_length_in_words(self.responses)} tokens"
            f"{scaled}; {self.pairs} pairs a round, {self.micro_batch} a micro-batch"
        )


def _draw_length(length: int | dict[str, float], rng: random.Random) -> float:
    if isinstance(length, int):
        return length
    if "median" not in length:
        return rng.uniform(length["low"], length["high"])
    while True:
        found = rng.lognormvariate(math.log(length["median"]), length["sigma"])
        if length["low"] <= found <= length["high"]:
            return found


def _length_in_words(length: int | dict[str, float]) -> str:
    if isinstance(length, int):
        return str(length)
    median = f" (median {length['median']:g}, σ {length['sigma']:g})" if "median" in length else ""
    return f"{length['low']:g} to {length['high']:g}{median}"


def read_workload(name: str) -> Workload:
    """The workload of a file, or of a name in ``benchmarks/workloads``."""
    path = Path(name) if name.endswith(".yaml") else WORKLOADS / f"{name}.yaml"
    return Workload(name=path.stem, **yaml.safe_load(path.read_text(encoding="utf-8")))


def batches(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """Consecutive items, ``size`` at a time."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of every benchmark."""
    parser.add_argument("--size", choices=list(SHAPES), help="of the model; by default the workload's")
    parser.add_argument("--vocabulary", type=int, help="rows of the head; by default the size's own")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of weights and arithmetic")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--attention-form", choices=["sdpa", "varlen"], default="sdpa", help="varlen needs CUDA")
    parser.add_argument("--threads", type=_at_least(1), default=torch.get_num_threads(), help="by default one a core")
    parser.add_argument("--rounds", type=_at_least(0), default=5, help="timed rounds, 0 for none; by default 5")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")


def add_workload_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the benchmarks that run one workload."""
    names = ", ".join(sorted(path.stem for path in WORKLOADS.glob("*.yaml")))
    parser.add_argument("--workload", default="ica", help=f"a .yaml file, or one of {names}; by default ica")
    parser.add_argument("--pairs", type=_at_least(1), help="a round, instead of the workload's")
    parser.add_argument("--memory", action="store_true", help="also the peak memory of each side")
    parser.add_argument("--peak-tflops", type=float, help="of the device: also print the share of it that was used")
    parser.add_argument("--only", help=argparse.SUPPRESS)  # the peak memory of this side, printed as JSON


def _at_least(low: int) -> Callable[[str], int]:
    """A reader of whole numbers."""

    def read(text: str) -> int:
        if not text.isdigit() or int(text) < low:
            raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number from {low} on")
        return int(text)

    return read


def refuse_impossible(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Leave with a line that says what to do, before anything is made."""
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error(f"--device {options.device}: there is no such device here")
    if options.attention_form == "varlen" and not options.device.startswith("cuda"):
        parser.error("--attention-form varlen needs --device cuda")
    path = Path(options.workload) if options.workload.endswith(".yaml") else WORKLOADS / f"{options.workload}.yaml"
    if not path.is_file():
        parser.error(f"--workload {options.workload}: no such workload; see --help for their names")


@dataclass(frozen=True)
class Benchmark:
    """A script that sets sides beside each other on one workload."""

    script: str
    description: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    measure: Callable[[Workload, argparse.Namespace], dict[str, Any]]
    """Compares the sides, then times them."""
    peak: Callable[[Workload, argparse.Namespace], dict[str, int]]
    """Memory of the side that ``--only`` names."""
    beside: Callable[[argparse.Namespace], list[tuple[str, str]]]
    """Sides whose memory is compared."""
    pairs_share_memory: bool
    """Whether the pairs of a micro-batch are always read together, so that the peak a pair means something."""

    def main(self, argv: Sequence[str] | None) -> None:
        """Measure and print."""
        given = sys.argv[1:] if argv is None else list(argv)
        parser = argparse.ArgumentParser(
            description=self.description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        add_arguments(parser)
        add_workload_arguments(parser)
        self.add_arguments(parser)
        options = parser.parse_args(given)
        refuse_impossible(parser, options)
        torch.set_num_threads(options.threads)
        workload = workload_of(options)
        if options.only:
            print(json.dumps(self.peak(workload, options)))
            return
        result = self.measure(workload, options)
        describe(result)
        if options.memory:
            beside = self.beside(options)
            names = dict.fromkeys(chain(*zip(*beside, strict=True)))
            result["memory"] = {side: peak_in_new_process(self.script, given, side) for side in names}
            together = min(workload.micro_batch, workload.pairs) if self.pairs_share_memory else None
            describe_memory(result["memory"], beside, together)
        write_json(result, options)


def workload_of(options: argparse.Namespace) -> Workload:
    """The workload that the options ask for."""
    found = read_workload(options.workload)
    return replace(found, pairs=options.pairs) if options.pairs is not None else found


def shape_of(options: argparse.Namespace, workload: Workload) -> Size:
    """Shape of the model that the options ask for."""
    shape = SHAPES[options.size or workload.size]
    return replace(shape, vocabulary=options.vocabulary) if options.vocabulary else shape


def random_model(shape: Size, options: argparse.Namespace, seed: int) -> Any:
    """A Llama of random weights, made where it will compute."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=131072,
        initializer_range=shape.hidden**-0.5,  # at Llama's 0.02 so narrow a model would say the same of every token
    )
    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, options.dtype))
    try:
        with torch.device(options.device):
            return LlamaForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(before)


def twin(model: Any) -> Any:
    """The model over again with the very same weights: what is done to one forward is not done to the other."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())})


def alternate(sides: dict[str, Callable[[], Any]], rounds: int, device: str) -> dict[str, list[float]]:
    """Seconds of each side in each round, in the order A B A B; each has run before."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            synchronise(device)
            start = time.perf_counter()
            run()
            synchronise(device)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def synchronise(device: str) -> None:
    """Wait for the device."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """How many times as fast: the median over rounds, its lowest and its highest."""
    rounds = sorted(peer / own for own, peer in zip(ours, theirs, strict=True))
    return {"median": statistics.median(rounds), "lowest": rounds[0], "highest": rounds[-1]}


def compared(
    seconds: dict[str, list[float]], titles: dict[str, str], pairs: int, work: dict[str, float]
) -> dict[str, Any]:
    """Each side, and what the first of them gains on each other.

    Args:
        seconds: Of each round of each side, ours first.
        titles: What each side is.
        pairs: A round.
        work: FLOPs that a side needs; a side without them has no limit.
    """
    ours, *peers = seconds
    return {
        "sides": {
            name: {
                "what": titles[name],
                "seconds": taken,
                "pairs_per_second": pairs / statistics.median(taken),
                "needed_flops": work.get(name),
            }
            for name, taken in seconds.items()
        },
        "ratios": {
            peer: {**ratio(seconds[ours], seconds[peer]), "limit": work[peer] / work[ours] if peer in work else None}
            for peer in peers
        },
    }


def executed_flops(run: Callable[[], Any]) -> int:
    """FLOPs of matrix products that a call executes, recomputation counted; attention as if no key were hidden."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def describe(result: dict[str, Any]) -> None:
    """Print a comparison."""
    print(result["title"])
    for side in result.get("sides", {}).values():
        used = ""
        if "executed_tflops_per_second" in side:
            used = f"  {side['executed_tflops_per_second']:.3g} TFLOP/s"
            if "share_of_peak" in side:
                used += f", {side['share_of_peak']:.1%} of the peak"
        print(f"  {side['pairs_per_second']:9.3f} pairs/s  {side['what']}{used}")
    for peer, found in result.get("ratios", {}).items():
        rounds = f"rounds {found['lowest']:.2f} to {found['highest']:.2f}"
        limit = f"; theoretical limit {found['limit']:.2f}" if found["limit"] else ""
        print(f"  ratio to {peer}: {found['median']:.2f} × ({rounds}{limit})")


def add_throughput(result: dict[str, Any], runs: dict[str, Callable[[], Any]], peak_tflops: float | None) -> None:
    """FLOPs per second that each side executed, and the share of the peak."""
    for name, side in result["sides"].items():
        side["executed_flops"] = executed_flops(runs[name])
        rate = side["executed_flops"] / statistics.median(side["seconds"]) / 1e12
        side["executed_tflops_per_second"] = rate
        if peak_tflops:
            side["share_of_peak"] = rate / peak_tflops


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """On what, with what."""
    name = platform.processor()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    return {
        "cpu": name,
        "threads": options.threads,
        "device": torch.cuda.get_device_name() if options.device.startswith("cuda") else "cpu",
        "versions": {**versions("torch", "transformers", "trl"), "python": platform.python_version()},
    }


def model_in_words(shape: Size, parameters: int, options: argparse.Namespace) -> str:
    """``Llama of 12.1 M parameters, vocabulary 8000, float32, 1 thread, cpu``."""
    threads = f"{options.threads} thread{'s' if options.threads != 1 else ''}"
    return (
        f"Llama of {parameters / 1e6:.1f} M parameters, vocabulary {shape.vocabulary}, {options.dtype}, {threads}, "
        f"{options.device}"
    )


def write_json(result: dict[str, Any], options: argparse.Namespace) -> None:
    """Write what was measured, if asked to."""
    if options.json is None:
        return
    known = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**result, "options": known, "machine": machine(options)}, indent=1, default=asdict)
    options.json.write_text(text + "\n", encoding="utf-8")


def held(device: str) -> int:
    """Bytes held now: on CUDA allocated, on a CPU resident, after everything free was given back."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        return torch.cuda.memory_allocated()
    with suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)
    try:
        return _status("VmRSS")
    except OSError:  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peak(run: Callable[[], Any], device: str) -> dict[str, int]:
    """Bytes held before a call, and the most held during it."""
    before = held(device)
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
        return {"before": before, "peak": torch.cuda.max_memory_allocated()}
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forget the highest so far
    except OSError:  # then only what goes beyond it is seen
        run()
        return {"before": before, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    run()
    return {"before": before, "peak": _status("VmHWM")}


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def peak_in_new_process(script: str, arguments: Sequence[str], side: str) -> dict[str, int]:
    """What the script prints when it is asked for the peak memory of one side only."""
    command = [sys.executable, script, *arguments, "--only", side]
    done = subprocess.run(
        command, env={**os.environ, **MEMORY_IS_RETURNED}, check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def describe_memory(
    memory: dict[str, dict[str, int]], beside: Sequence[tuple[str, str]], pairs: int | None = None
) -> None:
    """Print peaks, and what share of the second's the first's is.

    Args:
        memory: Of each side, in bytes: ``empty`` without a model, ``before`` the run, and at its ``peak``.
        beside: Sides to compare.
        pairs: If so many are always read together, the peak a pair is printed too.
    """
    above = {name: found["peak"] - found["before"] for name, found in memory.items()}
    together = {name: found["peak"] - found["empty"] for name, found in memory.items()}
    for name in memory:
        each = f" ({above[name] / pairs / 1e6:.1f} a pair)" if pairs else ""
        print(
            f"  {name:18s} peak {above[name] / 1e6:.1f} MB above what is held before{each}, "
            f"{together[name] / 1e6:.1f} MB with weights and whatever else is held"
        )
    for own, peer in beside:
        print(
            f"  memory of {own} / {peer}: {above[own] / above[peer]:.3f} × above what is held, "
            f"{together[own] / together[peer]:.3f} × in all"
        )
