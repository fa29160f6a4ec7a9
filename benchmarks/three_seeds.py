"""The demo over several seeds: another world, other weights, other draws each time; all of them in one table.

    python benchmarks/three_seeds.py --seeds 0 1 2 --output out/seeds

Runs ``scripts/demo.sh`` once a seed (about 5 minutes each on 2 cores; finished ones are not repeated) and prints the
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

from alignx.records import load_taxonomy
from alignx.records.world import load_wordings
from alignx.records.world.hearing import Hearing
from alignx.records.world.synthesize import DEMO_DIMENSIONS

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
    for name in ("ica", "ica-reference", "ica-other-user", "pba", "pba-reference", "pba-other-user"):
        cells = [", ".join(said(folder, name)) for folder in folders.values()]
        print(f"| {name}: sides that are the user's, takes none, cut off | {' | '.join(cells)} |")


def said(folder: Path, name: str) -> tuple[str, ...]:
    """Of the sides that responses take where the user takes one, how many are the user's; how many responses take none;
    and how many were cut off.
    """
    truth = {row["user"]: row["Preference Direction"] for row in read(folder / "world/users.jsonl")}
    users = {row["id"]: row["user"] for row in read(folder / "world/test.jsonl")}
    hearing = Hearing(load_wordings(load_taxonomy(), DEMO_DIMENSIONS))
    rows = read(folder / f"responses/{name}.jsonl")
    agrees = []
    for row in rows:
        taken = {(one.dimension, one.sign) for one in hearing.mentions(row["response"])}
        prefers = truth[users[row["id"]]]
        agrees.append([prefers[dimension] == sign for dimension, sign in taken if prefers[dimension] != 0.5])
    sides = [one for each in agrees for one in each]
    silent, cut = sum(not each for each in agrees), sum(row["finish"] == "length" for row in rows)
    shares = (f"{100 * count / len(rows):.0f}" for count in (silent, cut))
    return f"{100 * sum(sides) / len(sides):.1f} of {len(sides)}", *shares


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


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
