"""The two forms of attention over packed rows on a GPU: do they agree with the plain forward, and what do they take?

    python benchmarks/attention_forms.py --size 1m --prompt 1500 --response 100

``sdpa`` calls scaled-dot-product attention once a prompt with its first response and once each other response,
``varlen`` torch's variable-length attention once for all. That one knows no float32, so both are held in bfloat16
against the plain forward in float32,
beside the plain forward in bfloat16: an exact form is no further from it than rounding alone is. Prints per-token
log-probabilities' and gradients' differences and the milliseconds of a forward and of a forward and backward, for each.
Leaves with 1 if a form does not agree; without a GPU it says so and leaves with 0. It has not been run on one.
"""

import argparse
import copy
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import side_by_side
import torch
from torch import Tensor

from alignx.models.logps import token_logps
from alignx.models.prefix_attention import Form
from alignx.models.prefix_packing import Asked, Packed, pack
from alignx.models.shared_prefix import SharedPrefix

FORMS: tuple[Form, ...] = ("sdpa", "varlen")
AGREES = 1.5
"""Times the distance of the plain forward in bfloat16 up to which a form counts as exact."""


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, time and print; says whether all agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=list(side_by_side.SHAPES), default="10m")
    parser.add_argument("--prompt", type=int, default=1500, help="tokens")
    parser.add_argument("--response", type=int, default=100, help="tokens of each response")
    parser.add_argument("--pairs", type=int, default=4, help="in a row")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(argv)
    if not torch.cuda.is_available():
        print("no GPU here: nothing was compared")
        return 0
    made = argparse.Namespace(device="cuda", dtype="float32")
    exact = side_by_side.random_model(side_by_side.SHAPES[options.size], made, seed=0)
    rounded = copy.deepcopy(exact).to(torch.bfloat16)
    rows = _rows(options, exact.config.vocab_size)
    packed = pack([rows[start : start + 2] for start in range(0, len(rows), 2)], "cuda")
    runs = {"plain": _plain(rounded, rows)}
    for form in FORMS:
        model = copy.deepcopy(rounded)
        runs[form] = _packed(model, SharedPrefix(model, form), packed)
    truth = _with_gradients(_plain(exact, rows))
    distances = {name: _distances(_with_gradients(run), truth) for name, run in runs.items()}
    reading = side_by_side.alternate({name: _no_grad(run) for name, run in runs.items()}, options.rounds, "cuda")
    training = side_by_side.alternate(
        {name: lambda run=run: _with_gradients(run) for name, run in runs.items()}, options.rounds, "cuda"
    )
    agreed = True
    for name, (logps, gradients) in distances.items():
        agrees = logps <= AGREES * distances["plain"][0] and gradients <= AGREES * distances["plain"][1]
        agreed &= agrees
        print(
            f"{name:7s} {logps:.2e} nats a token and {gradients:.2e} of the gradients from the plain forward in "
            f"float32: {'agrees' if agrees else 'DOES NOT AGREE'}; forward "
            f"{1e3 * statistics.median(reading[name]):.2f} ms, with backward "
            f"{1e3 * statistics.median(training[name]):.2f} ms"
        )
    return 0 if agreed else 1


class Run:
    """A model and how it gives the log-probabilities of the asked tokens, in order."""

    def __init__(self, model: Any, logps: Callable[[], Tensor]) -> None:
        self.model, self.logps = model, logps


def _rows(options: argparse.Namespace, vocabulary: int) -> list[Asked]:
    """Both sequences of each pair, one after the other."""
    rng, rows = random.Random(0), []
    for _ in range(options.pairs):
        prompt = rng.choices(range(vocabulary), k=options.prompt)
        for _ in range(2):
            tokens = np.array(prompt + rng.choices(range(vocabulary), k=options.response))
            rows.append(Asked(tokens, np.arange(len(tokens)) >= options.prompt))
    return rows


def _plain(model: Any, rows: Sequence[Asked]) -> Run:
    ids = torch.tensor(np.stack([row.tokens for row in rows]), device="cuda")
    start = int(rows[0].mask.argmax())

    def logps() -> Tensor:
        states = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, start - 1 : -1]
        return token_logps(states.flatten(0, 1), ids[:, start:].flatten(), model.lm_head, model.config.vocab_size)

    return Run(model, logps)


def _packed(model: Any, shared: SharedPrefix, packed: Packed) -> Run:
    def logps() -> Tensor:
        return token_logps(shared.states(packed), packed.targets, model.lm_head, model.config.vocab_size)

    return Run(model, logps)


def _no_grad(run: Run) -> Callable[[], Tensor]:
    return torch.no_grad()(run.logps)


def _with_gradients(run: Run) -> tuple[Tensor, list[Tensor]]:
    """Log-probabilities, and the gradients of their mean."""
    run.model.zero_grad()
    logps = run.logps()
    logps.mean().backward()
    return logps.detach(), [parameter.grad.float() for parameter in run.model.parameters()]


def _distances(found: tuple[Tensor, list[Tensor]], truth: tuple[Tensor, list[Tensor]]) -> tuple[float, float]:
    """Mean of the log-probabilities', and of the gradients' as a share of their norm."""
    apart = torch.stack([(a - b).norm() for a, b in zip(found[1], truth[1], strict=True)]).norm()
    whole = torch.stack([b.norm() for b in truth[1]]).norm()
    return float((found[0] - truth[0]).abs().mean()), float(apart / whole)


if __name__ == "__main__":
    sys.exit(main())
