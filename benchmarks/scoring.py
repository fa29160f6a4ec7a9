"""Scoring pairs per second against batched scoring of both halves and against the released loop, in one process.

    python benchmarks/scoring.py --workload ica
    python benchmarks/scoring.py --workload pba --memory --json out/scoring-pba.json
    python benchmarks/scoring.py --workload ica-8b --device cuda --dtype bfloat16 --peak-tflops 790

The sides, which share their weights:

- ours: ``ResponseScorer``: each prompt once, the head on response tokens, batches by a budget of tokens;
- halves: TRL-style, rows of prompt and response in padded micro-batches, the head on response tokens only. It is given
  no attention mask, which it can do without, and which makes it faster than TRL;
- loop: the arithmetic of the released scripts with the tokenizer loaded once: one sequence at a time, logits and
  log-softmax over every position;
- released: the same as it is, loading the tokenizer from disk for every pair. A byte-level BPE of
  ``--tokenizer-entries`` entries is made for it, with a merge for each and 256 special tokens as Llama-3's has (and
  twice the merges).

Tokenising itself is counted for no side. Sums are compared before anything is timed. In bfloat16 what is read together
can change which response is likelier; how often it does is printed too. ``--memory`` measures each side in a process
of its own: resident memory on a CPU, under settings with which glibc gives freed memory back at once. Needs no TRL.
Nothing here has been run on a GPU.
"""

import argparse
import copy
import functools
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import needed_flops
import side_by_side
import torch
from side_by_side import Pair, Workload

from alignx.models.candidates import BATCH_TOKENS, Candidates
from alignx.models.scoring import ResponseScorer
from alignx.models.tiny import Size

TITLES = {
    "ours": "each prompt once",
    "halves": "both halves in padded batches, head on response tokens only",
    "loop": "the released loop's arithmetic, tokenizer loaded once",
    "released": "the released loop as it is, tokenizer loaded for every pair",
}
SUMS_AGREE = {"float32": 1e-3, "bfloat16": 2.0}
"""Largest difference of a summed log-probability, in nats."""
Scores = list[tuple[float, ...]]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    side_by_side.Benchmark(
        script=__file__,
        description=__doc__,
        add_arguments=add_arguments,
        measure=measure,
        peak=_peak,
        beside=lambda options: [("ours", "halves"), ("ours", "loop")],
        pairs_share_memory=False,
    ).main(argv)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of scoring alone."""
    parser.add_argument("--batch-tokens", type=int, help="our budget; by default what `alignx score` takes")
    parser.add_argument(
        "--tokenizer-entries", type=int, default=128_000, help="of the released loop's tokenizer; 0: no such side"
    )


def measure(workload: Workload, options: argparse.Namespace) -> dict[str, Any]:
    """Compare, then time all sides on one workload."""
    shape = side_by_side.shape_of(options, workload)
    pairs = workload.draw(shape.vocabulary)
    model = side_by_side.random_model(shape, options, seed=0)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    with _tokenizer(options.tokenizer_entries) as (folder, about):
        runs = _sides(model, pairs, workload.micro_batch, options, folder)
        found = {name: run() for name, run in runs.items()}  # also the first time, in which ours compares itself
        differences = {peer: _difference(found["ours"], found[peer]) for peer in list(runs)[1:]}
        for peer, difference in differences.items():
            assert difference < SUMS_AGREE[options.dtype], f"{difference} nats from {peer}"
        seconds = side_by_side.alternate(runs, options.rounds, options.device)
        flipped = _flipped_in_bfloat16(model, pairs, options)
        result: dict[str, Any] = {
            "title": f"scoring: {side_by_side.model_in_words(shape, parameters, options)}\n  {workload}\n"
            f"  {about}largest difference of a summed log-probability: "
            + ", ".join(f"{peer} {difference:.1e}" for peer, difference in differences.items())
            + f" nats\n  bfloat16: {flipped} of {len(pairs)} decisions differ between pairs alone and together",
            "workload": workload,
            "parameters": parameters,
            "differences": differences,
            "flipped_in_bfloat16": flipped,
            "tokenizer": about,
        }
        if options.rounds:
            work = needed(shape, pairs, workload.micro_batch)
            result |= side_by_side.compared(seconds, TITLES, len(pairs), work)
            if getattr(options, "peak_tflops", None):
                side_by_side.add_throughput(result, runs, options.peak_tflops)
    return result


def needed(shape: Size, pairs: Sequence[Pair], micro_batch: int) -> dict[str, float]:
    """FLOPs that each side needs for all pairs; what loading a tokenizer takes is none."""
    return {
        "ours": needed_flops.prompt_once(shape, pairs).scoring,
        "halves": needed_flops.both_halves(shape, side_by_side.batches(pairs, micro_batch)).scoring,
        "loop": needed_flops.one_by_one(shape, pairs).scoring,
    }


def _sides(
    model: Any, pairs: Sequence[Pair], micro_batch: int, options: argparse.Namespace, folder: Path | None
) -> dict[str, Callable[[], Scores]]:
    candidates = [Candidates(str(n), pair.prompt, (pair.chosen, pair.rejected)) for n, pair in enumerate(pairs)]
    scorer = ResponseScorer(side_by_side.twin(model), pad_id=0, form=options.attention_form)
    halves = ResponseScorer(side_by_side.twin(model), pad_id=0, shared_prefix=False)
    sides = {
        "ours": functools.partial(_score, scorer, list(scorer.batches(candidates, _budget(options)))),
        "halves": functools.partial(_score, halves, side_by_side.batches(candidates, micro_batch)),
        "loop": functools.partial(_loop, model, pairs, None),
    }
    if folder is not None:
        sides["released"] = functools.partial(_loop, model, pairs, folder)
    return sides


def _budget(options: argparse.Namespace) -> int:
    device = options.device.split(":")[0]
    return int(options.batch_tokens or BATCH_TOKENS[device])


def _score(scorer: ResponseScorer, batches: Sequence[Sequence[Candidates]]) -> Scores:
    scores = [score for batch in batches for score in scorer.score(batch)]
    wanted = scorer.sharing.reason != "it was switched off"
    assert scorer.sharing.on == wanted, f"prompts are read twice: {scorer.sharing.reason}"
    return scores


@torch.inference_mode()
def _loop(model: Any, pairs: Sequence[Pair], folder: Path | None) -> Scores:
    """One sequence at a time; with a folder, the tokenizer in it is loaded for every pair."""
    scores = []
    for pair in pairs:
        if folder is not None:
            from transformers import AutoTokenizer

            AutoTokenizer.from_pretrained(folder)
        scores.append(tuple(_straight(model, pair.prompt, response) for response in (pair.chosen, pair.rejected)))
    return scores


def _straight(model: Any, prompt: list[int], response: list[int]) -> float:
    ids = torch.tensor([prompt + response], device=model.device)
    logps = model(ids, use_cache=False).logits[0].float().log_softmax(-1)
    positions = torch.arange(len(prompt) - 1, ids.shape[1] - 1, device=model.device)
    return float(logps[positions, ids[0, positions + 1]].double().sum())


def _difference(ours: Scores, theirs: Scores) -> float:
    return max(abs(a - b) for one, other in zip(ours, theirs, strict=True) for a, b in zip(one, other, strict=True))


def _flipped_in_bfloat16(model: Any, pairs: Sequence[Pair], options: argparse.Namespace) -> int:
    """How many decisions differ when pairs are scored each alone and all together."""
    rounded = model if model.dtype == torch.bfloat16 else copy.deepcopy(model).to(torch.bfloat16)
    scorer = ResponseScorer(side_by_side.twin(rounded), pad_id=0, form=options.attention_form)
    candidates = [Candidates(str(n), pair.prompt, (pair.chosen, pair.rejected)) for n, pair in enumerate(pairs)]
    alone = _score(scorer, side_by_side.batches(candidates, 1))
    together = _score(scorer, [candidates])
    return sum((a > b) != (c > d) for (a, b), (c, d) in zip(alone, together, strict=True))


@contextmanager
def _tokenizer(entries: int) -> Iterator[tuple[Path | None, str]]:
    """A folder with a tokenizer to load, and what it is, in words that begin a line."""
    if not entries:
        yield None, ""
        return
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make_tokenizer(entries, folder)
        start = time.perf_counter()
        loaded = len(AutoTokenizer.from_pretrained(folder))
        seconds = time.perf_counter() - start
        size = (folder / "tokenizer.json").stat().st_size
        yield folder, f"tokenizer of {loaded} entries, {size / 1e6:.1f} MB, loaded in {seconds:.2f} s\n  "


def _make_tokenizer(entries: int, folder: Path) -> None:
    """A byte-level BPE whose merges join earlier entries at random."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    rng = random.Random(0)
    pieces = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary, merges = dict.fromkeys(pieces), []
    while len(pieces) < entries:
        left, right = rng.choice(pieces), rng.choice(pieces)
        if left + right not in vocabulary and len(left + right) <= 12:
            merges.append((left, right))
            pieces.append(left + right)
            vocabulary[left + right] = None
    tokenizer = Tokenizer(BPE({piece: number for number, piece in enumerate(pieces)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([f"<|special_{number}|>" for number in range(256)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|special_0|>").save_pretrained(folder)


def _peak(workload: Workload, options: argparse.Namespace) -> dict[str, int]:
    """Memory of scoring on the side that ``--only`` names; a tiny model goes before, so that libraries are loaded."""
    few = [Pair([1, 2, 3], [4, 5], [6, 7])]
    tiny = side_by_side.random_model(side_by_side.SHAPES["0.2m"], options, seed=0)
    _sides(tiny, few, 1, options, None)[options.only]()
    del tiny
    empty = side_by_side.held(options.device)
    shape = side_by_side.shape_of(options, workload)
    model = side_by_side.random_model(shape, options, seed=0)
    _sides(model, few, 1, options, None)[options.only]()
    run = _sides(model, workload.draw(shape.vocabulary), workload.micro_batch, options, None)[options.only]
    return {"empty": empty, **side_by_side.peak(run, options.device)}


if __name__ == "__main__":
    main()
