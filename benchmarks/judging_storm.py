"""Ten thousand pairs judged in a storm, the judging process killed at twenty random points and started again.

    python benchmarks/judging_storm.py
    python benchmarks/judging_storm.py --pairs 500 --kills 5

Every kind of trouble that the test server knows happens (429 with and without Retry-After, 5xx, time-outs, closed
connections, cut JSON, HTML, refusals, filters, cut and empty replies, verdicts that are not on the menu or only
quoted). The command stops with an error unless no pair is lost, none is counted twice, at most one paid request a kill
and slot is repeated, and the report is byte for byte that of a calm run.
"""

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.judging.comparing import two  # noqa: E402
from tests.judging.surviving import TROUBLES, survive  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--trouble", type=float, default=0.02, help="chance of each kind of trouble")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        flags = two(folder, chosen.pairs)
        found = survive(
            folder,
            flags,
            kills=chosen.kills,
            slots=chosen.slots,
            trouble=chosen.trouble,
            seed=chosen.seed,
        )
    did = ", ".join(f"{count} × {what}" for what, count in sorted(found.did.items(), key=lambda pair: -pair[1]))
    print(f"{found.requests} requests reached the server: {did}")
    print(f"{found.kills} kills, {found.slots} slots, {found.seconds:.0f} s")
    print(f"pairs: {found.pairs} of {chosen.pairs}, {found.unjudged} of them unjudged")
    print(f"distinct requests: {found.distinct}; usable replies kept: {found.usable}, twice: {found.doubled}")
    print(f"paid twice: {found.repeated}, at most {found.kills * found.slots} allowed")
    print(f"report the same as that of a calm run: {found.same_report}")
    kept = (found.kills, found.pairs, found.usable, found.doubled) == (chosen.kills, chosen.pairs, found.distinct, 0)
    kept = kept and found.same_report and found.repeated <= found.kills * found.slots
    if not kept or set(TROUBLES) - {*found.did}:
        sys.exit("a promise was broken")


if __name__ == "__main__":
    main()
