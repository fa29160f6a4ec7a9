"""What judging costs above the bare client, and how much faster several requests at a time are.

    python benchmarks/judging.py cpu --pairs 3000
    python benchmarks/judging.py slots

``cpu``: processor time a request of the whole ``eval/win_rate.py``, report included, and of the openai client alone
sending the same requests; both are processes of their own, against the same server, taking turns. ``slots``: requests
a second against a server that takes 0.25 s, with 1, 16 and 32 under way.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from alignx import manifest  # noqa: E402
from alignx.chat.server import ChatServer  # noqa: E402
from alignx.judging.judge import Distinct, Judge  # noqa: E402
from alignx.judging.pairs import join, read_system  # noqa: E402
from alignx.records import Records, load_taxonomy  # noqa: E402
from tests.judging.comparing import MODEL, judge, run, two  # noqa: E402

SLOTS = 16
LATENCY = 0.25
MOST_MS = 1.0
LEAST = {16: 12.0, 32: 20.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    cpu = verbs.add_parser("cpu")
    cpu.add_argument("--pairs", type=int, default=3000)
    cpu.add_argument("--rounds", type=int, default=3)
    verbs.add_parser("slots")
    bare = verbs.add_parser("bare", help="one side of cpu: the client alone; prints its processor seconds")
    bare.add_argument("bodies", type=Path)
    bare.add_argument("base_url")
    arguments = parser.parse_args()
    if arguments.verb == "bare":
        print(asyncio.run(send_all(arguments.bodies, arguments.base_url)))
    elif arguments.verb == "cpu":
        measure_cpu(arguments.pairs, arguments.rounds)
    else:
        measure_slots()


async def send_all(bodies: Path, base_url: str) -> float:
    """Processor seconds of this process without those for reading the requests from their file."""
    from openai import AsyncOpenAI

    begun = time.process_time()
    waiting = iter([json.loads(line) for line in bodies.read_text(encoding="utf-8").splitlines()])
    reading = time.process_time() - begun

    async def work(client: AsyncOpenAI) -> None:
        for body in waiting:
            reply = await client.chat.completions.create(**body)
            assert reply.choices[0].message.content

    async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        await asyncio.gather(*(work(client) for _ in range(SLOTS)))
    return time.process_time() - reading


def seconds_of(words: list[str]) -> tuple[float, str]:
    """Processor seconds of a process, and what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said
    return used.ru_utime + used.ru_stime, said


def measure_cpu(pairs: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name, ChatServer(judge(), model=MODEL) as server:
        folder = Path(name)
        flags = two(folder, pairs)
        bodies, requests = folder / "bodies.jsonl", bodies_of(flags)
        bodies.write_text("".join(json.dumps(body) + "\n" for body in requests), encoding="utf-8")
        print(f"{pairs} pairs, {len(requests)} requests, {SLOTS} under way")
        ours, theirs = [], []
        for number in range(rounds):
            output = folder / f"out-{number}"
            named = {**flags, "output": output, "judge-model": MODEL, "base-url": server.base_url, "concurrency": SLOTS}
            words = [word for flag, value in named.items() for word in (f"--{flag}", str(value))]
            mine, _ = seconds_of([sys.executable, str(ROOT / "eval" / "win_rate.py"), *words])
            _, said = seconds_of([sys.executable, __file__, "bare", str(bodies), server.base_url])
            ours.append(1000 * mine / len(requests))
            theirs.append(1000 * float(said) / len(requests))
            print(f"  ms a request: win_rate {ours[-1]:.2f}, bare client {theirs[-1]:.2f}")
        above = [one - other for one, other in zip(ours, theirs, strict=True)]
        print(
            f"above the bare client: {median(above):.2f} ms ({min(above):.2f} to {max(above):.2f}); at most {MOST_MS}"
        )


def bodies_of(flags: dict[str, Any]) -> list[dict[str, Any]]:
    """What the command sends."""
    systems = [read_system(flags[side]).responses for side in ("candidate", "baseline")]
    pairs = join(Records(flags["data"]), *systems, ("history", "demographics"), load_taxonomy())
    return [one.request.body for one in Distinct(Judge(MODEL), pairs)]


def measure_slots() -> None:
    rates = {}
    with tempfile.TemporaryDirectory() as name, ChatServer(judge(), model=MODEL, latency=LATENCY) as server:
        for slots, pairs in ((1, 40), (16, 400), (32, 800)):
            folder = Path(name) / str(slots)
            folder.mkdir()
            run(server, folder / "out", two(folder, pairs), concurrency=slots, timeout=60)
            asked = manifest.read(folder / "out").counts["requests"]
            rates[slots] = asked["sent"] / asked["seconds"]
            print(f"{slots:3} under way: {asked['sent']} requests in {asked['seconds']} s, {rates[slots]:.1f} a second")
    for slots, least in LEAST.items():
        print(f"{slots} under way: {rates[slots] / rates[1]:.1f} × one at a time; at least {least:g}")


if __name__ == "__main__":
    main()
