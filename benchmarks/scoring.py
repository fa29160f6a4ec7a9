"""Scoring pairs per second against the straight-line computation, side by side in one process.

    python benchmarks/scoring.py --size 10m --prompt 1500 --response 100

Ours is ``PairScorer``: batched, only response positions reach the vocabulary. The peer is what the released scripts
compute: one sequence at a time, logits and log-softmax over every position (the tokenizer is not counted for either).
Rounds alternate A B A B; parity is asserted first. Random weights and random tokens: the arithmetic is the same.

In bfloat16 the batch can change a decision (which response is likelier); the share that it changes is printed too.
"""

import argparse
import random
import statistics
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from alignx.models.logps import PairScorer
from alignx.models.tiny import SIZES
from alignx.prompts import EncodedPair


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="10m")
    parser.add_argument("--prompt", type=int, default=1500, help="prompt tokens")
    parser.add_argument("--response", type=int, default=100, help="tokens of each response")
    parser.add_argument("--pairs", type=int, default=4, help="pairs a round")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model, pairs = _model(arguments.size), _pairs(arguments)
    scorer = PairScorer(model, pad_id=0)

    def ours() -> list[tuple[float, float]]:
        size = arguments.batch_size
        return [score for i in range(0, len(pairs), size) for score in scorer.score(pairs[i : i + size])]

    def straight() -> list[tuple[float, float]]:
        return [
            (_straight(model, p.prompt_ids, p.chosen_ids), _straight(model, p.prompt_ids, p.rejected_ids))
            for p in pairs
        ]

    difference = max(abs(a - b) for x, y in zip(ours(), straight(), strict=True) for a, b in zip(x, y, strict=True))
    assert difference < 1e-3, f"the two disagree by {difference} nats"
    seconds: dict[str, list[float]] = {"ours": [], "straight": []}
    for _ in range(arguments.rounds):
        for name, run in (("ours", ours), ("straight", straight)):
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    ratios = sorted(b / a for a, b in zip(seconds["ours"], seconds["straight"], strict=True))
    flipped = _flipped_in_bfloat16(model, pairs, arguments.batch_size)
    print(
        f"Llama of {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters, vocabulary "
        f"{model.config.vocab_size}, "
        f"float32, {arguments.threads} threads; prompt {arguments.prompt}, responses {arguments.response}, batch "
        f"{arguments.batch_size}\n"
        f"largest difference of a summed log-probability: {difference:.1e} nats\n"
        f"PairScorer    {len(pairs) / statistics.median(seconds['ours']):.2f} pairs/s\n"
        f"straight line {len(pairs) / statistics.median(seconds['straight']):.2f} pairs/s\n"
        f"ratio         {statistics.median(ratios):.2f} × (rounds {ratios[0]:.2f} to {ratios[-1]:.2f})\n"
        f"bfloat16: {flipped} of {len(pairs)} decisions differ between batch 1 and batch {arguments.batch_size}"
    )


def _flipped_in_bfloat16(model: LlamaForCausalLM, pairs: list[EncodedPair], size: int) -> int:
    """How many decisions differ when pairs are scored alone and ``size`` at a time."""
    scorer = PairScorer(model.to(torch.bfloat16), pad_id=0)
    alone = [score for pair in pairs for score in scorer.score([pair])]
    batched = [score for i in range(0, len(pairs), size) for score in scorer.score(pairs[i : i + size])]
    return sum((a > b) != (c > d) for (a, b), (c, d) in zip(alone, batched, strict=True))


@torch.inference_mode()
def _straight(model: LlamaForCausalLM, prompt: list[int], response: list[int]) -> float:
    ids = torch.tensor([prompt + response])
    logps = model(ids, use_cache=False).logits[0].float().log_softmax(-1)
    positions = torch.arange(len(prompt) - 1, ids.shape[1] - 1)
    return float(logps[positions, ids[0, positions + 1]].double().sum())


def _model(size: str) -> LlamaForCausalLM:
    shape = SIZES[size]
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=shape.vocabulary,
            hidden_size=shape.hidden,
            intermediate_size=shape.intermediate,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            max_position_embeddings=8192,
        )
    ).eval()


def _pairs(arguments: argparse.Namespace) -> list[EncodedPair]:
    rng = random.Random(0)

    def tokens(count: int) -> list[int]:
        return [rng.randrange(SIZES[arguments.size].vocabulary) for _ in range(count)]

    return [
        EncodedPair(
            id=str(number),
            prompt_ids=tokens(arguments.prompt),
            chosen_ids=tokens(arguments.response),
            rejected_ids=tokens(arguments.response),
            cluster=str(number),
            target=str(number),
            trimmed_items=0,
            trimmed_demographics=False,
            history_items=0,
            profile="",
        )
        for number in range(arguments.pairs)
    ]


if __name__ == "__main__":
    main()
