"""The demo over several seeds: another world, other weights, other draws each time; all of them in one table.

    python benchmarks/three_seeds.py --seeds 0 1 2 --output out/seeds

Runs ``scripts/demo.sh`` once a seed (about 8 minutes each on 2 cores; finished ones are not repeated) and prints the
tables of README.md: accuracies, and win rates by the oracle. Leaves with 1 if a row is not as
``configs/eval/demo.yaml`` expects, whichever the seed.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def run(seed: int, folder: Path) -> list[dict[str, Any]]:
    """One demo; returns its rows."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "SEED": str(seed), "OUT": str(folder)}
    subprocess.run(["bash", "scripts/demo.sh"], cwd=ROOT, env=environment, check=True, stdout=sys.stderr)
    rows: list[dict[str, Any]] = json.loads((folder / "report/results.json").read_text())
    return rows


def seconds(folder: Path) -> float:
    """How long a demo took."""
    lines = (folder / "timings.jsonl").read_text().splitlines()
    return sum(json.loads(line)["seconds"] for line in lines)


def cell(row: dict[str, Any]) -> str:
    """``92.0 [89.6, 93.9]``, marked where it is not as expected."""
    return estimate(row["accuracy"]) + (" **not as expected**" if row["met"] is False else "")


def estimate(found: dict[str, Any]) -> str:
    """In percent, with its interval."""
    return f"{100 * found['mean']:.1f} [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"


def win_rates(folders: dict[int, Path]) -> None:
    """Print the win rates by the oracle, ties as half, and how many responses were cut off."""
    tables = [json.loads((folder / "win-rates/win-rates.json").read_text())["rows"] for folder in folders.values()]
    print("| win rate by the oracle, ties as half | " + " | ".join(f"seed {seed}" for seed in folders) + " |")
    print("|---|" + "---|" * len(folders))
    for rows in zip(*tables, strict=True):
        what = f"{rows[0]['candidate']} against {rows[0]['baseline']}, {rows[0]['benchmark'].partition(': ')[2]}"
        print(f"| {what} | {' | '.join(estimate(row['win_rate']) for row in rows)} |")
    cut = []
    for folder in folders.values():
        files = sorted((folder / "responses").glob("*.jsonl.manifest.json"))
        counts = {path.name.partition(".")[0]: json.loads(path.read_text())["counts"] for path in files}
        cut.append(", ".join(f"{name} {100 * one['cut'] / one['records']:.0f} %" for name, one in counts.items()))
    print(f"| cut off | {' | '.join(cut)} |")


def main() -> int:
    """Run, print, and say whether everything is as expected."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("out/seeds"))
    args = parser.parse_args()
    folders = {seed: (args.output / f"seed-{seed}").resolve() for seed in args.seeds}
    found = {seed: run(seed, folder) for seed, folder in folders.items()}
    print("| row | " + " | ".join(f"seed {seed}" for seed in found) + " | reference alone |")
    print("|---|" + "---|" * (len(found) + 1))
    for rows in zip(*found.values(), strict=True):
        reference = " / ".join(f"{100 * row['reference_raw']['mean']:.0f}" for row in rows)
        print(f"| {rows[0]['policy']}, {rows[0]['label']} | {' | '.join(map(cell, rows))} | {reference} |")
    print()
    win_rates(folders)
    first = next(iter(found.values()))[0]
    minutes = ", ".join(f"{seconds(folder) / 60:.1f}" for folder in folders.values())
    print(f"\nn = {first['n']} records of {first['accuracy']['clusters']} held-out users; {minutes} minutes.")
    return int(any(row["met"] is False for rows in found.values() for row in rows))


if __name__ == "__main__":
    sys.exit(main())
