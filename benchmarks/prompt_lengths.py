"""What reading each prompt once gains from a prompt as long as a response to one 30 times as long.

    python benchmarks/prompt_lengths.py measure --json out/prompt-lengths.json
    python benchmarks/prompt_lengths.py plot out/prompt-lengths.json --output docs/figures

Measures training against stock TRL with the head on response tokens only, and scoring against batched scoring of both
halves and the released loop's arithmetic; see ``training.py`` and ``scoring.py``. All lengths do about the same work a
round. The plots, ``prompt-once-training.svg`` and ``prompt-once-scoring.svg``, have the theoretical line of
``needed_flops.py`` beside them.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import scoring
import side_by_side
import torch
import training
from side_by_side import Workload

from alignx.pages.figures import Band, bands

MEASURES = {"scoring": scoring.measure, "training": training.measure}
"""In this order: memory that a process has used for training slows its scoring down, of the packed rows most."""
PEERS = {
    "head": "stock TRL, head on responses",
    "stock": "stock TRL",
    "halves": "both halves in batches",
    "loop": "one sequence at a time",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure or plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure", help="write what was measured")
    side_by_side.add_arguments(measuring)
    training.add_arguments(measuring)
    scoring.add_arguments(measuring)
    measuring.add_argument("--what", nargs="+", choices=list(MEASURES), default=list(MEASURES))
    measuring.add_argument("--ratios", type=int, nargs="+", default=[1, 2, 4, 8, 16, 30], help="prompt : response")
    measuring.add_argument("--response", type=int, default=100, help="tokens of each response")
    measuring.add_argument("--tokens", type=int, default=3200, help="read in a round with each prompt once, about")
    measuring.set_defaults(peers=["head"], tokenizer_entries=0)
    plotting = commands.add_parser("plot", help="draw what was measured")
    plotting.add_argument("measured", type=Path)
    plotting.add_argument("--output", type=Path, default=Path("docs/figures"))
    options = parser.parse_args(argv)
    if options.command == "plot":
        plot(json.loads(options.measured.read_text(encoding="utf-8")), options.output)
        return
    torch.set_num_threads(options.threads)
    result: dict[str, Any] = {
        what: [measure(what, ratio, options) for ratio in options.ratios] for what in options.what
    }
    side_by_side.write_json(result, options)


def measure(what: str, ratio: int, options: argparse.Namespace) -> dict[str, Any]:
    """One point of a plot."""
    prompt, pairs = ratio * options.response, max(1, options.tokens // ((ratio + 2) * options.response))
    workload = Workload(f"{ratio} : 1", prompt, options.response, pairs, micro_batch=pairs, seed=0)
    found = MEASURES[what](workload, options)
    side_by_side.describe(found)
    return {"ratio": ratio, **found}


def plot(result: dict[str, Any], folder: Path) -> None:
    """Draw each measure over the ratio of prompt to response."""
    folder.mkdir(parents=True, exist_ok=True)
    for what in filter(result.get, MEASURES):
        points, series = result[what], []
        xs = [float(point["ratio"]) for point in points]
        for peer in points[0]["ratios"]:
            found = [point["ratios"][peer] for point in points]
            lows, medians, highs, limits = (
                [ratio[key] for ratio in found] for key in ("lowest", "median", "highest", "limit")
            )
            series.append(Band(f"measured against {PEERS[peer]}", xs, medians, lows, highs))
            series.append(Band(f"theoretical, {PEERS[peer]}", xs, limits, limits, limits))
        name = f"prompt-once-{what}"
        label = f"{what.capitalize()}: times as many pairs a second"
        svg = bands(series, name=name, xlabel="prompt tokens for each response token", ylabel=label, log2=True)
        (folder / f"{name}.svg").write_text(svg + "\n", encoding="utf-8")
        print(folder / f"{name}.svg")


if __name__ == "__main__":
    main()
