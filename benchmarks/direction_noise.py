"""How much of PBA is left when the directions it is trained and tested on are inferred, and wrong now and then.

    make demo
    python benchmarks/direction_noise.py measure --demo out/demo --output out/noise --json out/direction-noise.json
    python benchmarks/direction_noise.py plot out/direction-noise.json --output docs/figures

Takes the world, the small model and the PBA checkpoint of the demo. For each share of noise a local server that knows
the truth, an oracle, annotates the history of all records through the same client and requests as a real one, replacing
that share of levels by one of the two others; then PBA is trained and tested on what came out, as in the demo. Each row
is compared with the demo's own on the same records: the difference and its 95 % interval, clustered by user. About half
an hour on 2 cores; what is finished is not repeated.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignx.annotation.annotating import annotate
from alignx.annotation.oracle import MODEL, Oracle
from alignx.annotation.settings import AnnotateSettings
from alignx.chat.server import ChatServer
from alignx.evaluation.accuracy import Compared, compare_files
from alignx.evaluation.outcomes import margins
from alignx.intervals import Estimate, clustered_mean
from alignx.pages.figures import Band, bands
from alignx.records import Records, load_taxonomy

ROOT = Path(__file__).resolve().parent.parent
NOISE = (0.0, 0.01, 0.05, 0.1)
CERTAIN = 81
"""Certainty that the oracle never claims where it is wrong."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure or plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure", help="annotate, train, score")
    measuring.add_argument("--demo", type=Path, default=Path("out/demo"), help="folder of a finished demo")
    measuring.add_argument("--output", type=Path, default=Path("out/noise"), help="folder to work in")
    measuring.add_argument("--noise", type=float, nargs="+", default=list(NOISE), help="shares of levels replaced")
    measuring.add_argument("--json", type=Path, default=Path("out/direction-noise.json"), help="file of the numbers")
    plotting = commands.add_parser("plot", help="draw what was measured")
    plotting.add_argument("measured", type=Path)
    plotting.add_argument("--output", type=Path, default=Path("docs/figures"))
    options = parser.parse_args(argv)
    if options.command == "plot":
        plot(json.loads(options.measured.read_text(encoding="utf-8")), options.output)
        return
    result = measure(options.demo, options.output, options.noise)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(result))


def measure(demo: Path, output: Path, noise: Sequence[float]) -> dict[str, Any]:
    """Accuracies of PBA on inferred directions, and how far they are from those on true ones."""
    truth = scored(demo, demo / "pba", demo / "world/test.jsonl", output / "truth")
    rows = []
    for share in noise:
        for least in (0, CERTAIN):
            folder = output / f"{share:g}-{least}"
            agreement = infer(demo / "world", folder, share, least, output / f"{share:g}-replies")
            train(demo, folder)
            found = scored(demo, folder / "pba", folder / "test.jsonl", folder)
            rows.append(
                {
                    "noise": share,
                    "least_certainty": least,
                    "poles_right": agreement,
                    "accuracy": found.accuracy.accuracy.as_dict(),
                    "difference": difference(found, truth).as_dict(),
                }
            )
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return {"truth": truth.accuracy.accuracy.as_dict(), "rows": rows}


def infer(world: Path, folder: Path, noise: float, least: int, replies: Path) -> float:
    """Annotate both splits; returns the share of stated poles that are right among the test items."""
    taxonomy = load_taxonomy()
    sources = {name: world / f"{name}.jsonl" for name in ("train", "test")}
    if not all((folder / f"{name}.jsonl.manifest.json").is_file() for name in sources):
        folder.mkdir(parents=True, exist_ok=True)
        records = (record for path in sources.values() for record in Records(str(path)))
        with ChatServer(Oracle(records, taxonomy, noise=noise), model=MODEL) as server:
            for name, path in sources.items():
                print(
                    annotate(
                        AnnotateSettings(
                            data=str(path),
                            output=folder / f"{name}.jsonl",
                            model=MODEL,
                            base_url=server.base_url,
                            known="replace",
                            replies=replies / f"{name}.replies.jsonl",
                            least_certainty=least,
                        )
                    ),
                    file=sys.stderr,
                )
    return stated_right(sources["test"], folder / "test.jsonl")


def stated_right(truth: Path, inferred: Path) -> float:
    """Of the poles that inferred directions state, the share that the true ones state too."""
    right = stated = 0
    for one, other in zip(Records(str(truth)), Records(str(inferred)), strict=True):
        for mine, theirs in zip(_items(one), _items(other), strict=True):
            pairs = [(a, b) for a, b in zip(mine.direction, theirs.direction, strict=True) if b != 1]
            stated += len(pairs)
            right += sum(a == b for a, b in pairs)
    return right / stated


def _items(record: Any) -> list[Any]:
    return [*record.persona.comments, *record.persona.choices]


def train(demo: Path, folder: Path) -> None:
    """PBA as the demo trains it."""
    flags = "--global-batch 32 --micro-batch 32 --max-steps 125 --learning-rate 7e-4 --no-gradient-checkpointing"
    files = ["--model", demo / "tiny", "--data", folder / "train.jsonl", "--output", folder / "pba"]
    run("-m", "alignx", "train", "--method", "pba", *files, "--seed", 0, *flags.split())


def scored(demo: Path, policy: Path, data: Path, folder: Path) -> Compared:
    """A policy against the small model on the same prompts."""
    ours, reference = folder / "policy.jsonl", folder / "reference.jsonl"
    run("eval/loss_pba.py", "--model", policy, "--data", data, "--output", ours)
    run("eval/loss_few_shot.py", "--like", ours, "--model", demo / "tiny", "--data", data, "--output", reference)
    return compare_files(ours, reference)


def run(*words: object) -> None:
    """Run one of the project's commands."""
    subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, check=True, stdout=sys.stderr)


def difference(one: Compared, truth: Compared) -> Estimate:
    """Mean over records of being right on inferred directions minus being right on true ones."""
    mine, theirs = (margins(compared.policy, compared.reference) for compared in (one, truth))
    return clustered_mean(
        [float(mine[name] > 0) - float(theirs[name] > 0) for name in mine],
        [one.policy[name].cluster for name in mine],
        bounds=None,
    )


def table(result: dict[str, Any]) -> str:
    """The numbers as Markdown."""
    truth = result["truth"]
    lines = [
        f"True directions: {_percent(truth)}, n = {truth['n']}, {truth['clusters']} users.",
        "",
        "| noise | poles stated that are right | accuracy | against true directions |",
        "|---|---|---|---|",
    ]
    for row in result["rows"]:
        kept = f", certainty ≥ {row['least_certainty']}" if row["least_certainty"] else ""
        right = f"{100 * row['poles_right']:.0f} %"
        lines.append(
            f"| {row['noise']:g}{kept} | {right} | {_percent(row['accuracy'])} | {_percent(row['difference'])} |"
        )
    return "\n".join(lines)


def _percent(found: dict[str, Any]) -> str:
    return f"{100 * found['mean']:.1f} [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"


def plot(result: dict[str, Any], folder: Path) -> None:
    """Draw accuracy over noise, with and without a least certainty."""
    series = []
    for least, name in ((0, "every answer taken"), (CERTAIN, f"poles of certainty {CERTAIN} or more")):
        rows = [row for row in result["rows"] if row["least_certainty"] == least]
        means, lows, highs = ([100 * row["accuracy"][key] for row in rows] for key in ("mean", "low", "high"))
        series.append(Band(name, [100 * row["noise"] for row in rows], means, lows, highs))
    svg = bands(series, name="direction-noise", xlabel="levels replaced, %", ylabel="PBA's alignment accuracy, %")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "direction-noise.svg").write_text(svg + "\n", encoding="utf-8")
    print(folder / "direction-noise.svg")


if __name__ == "__main__":
    main()
