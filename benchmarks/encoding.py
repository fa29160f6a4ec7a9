"""Records rendered and encoded per second, and the peak memory of doing so.

    python benchmarks/encoding.py --model out/demo/tiny --data data/sample/train.jsonl

Each stage is measured alone, over the source repeated with other ids until there are ``--records`` of it: reading and
checking; reading and rendering; reading, rendering and encoding (``PairEncoder``, what scoring and training use); and
all of it with Parquet writing (``data prepare``). Medians of ``--rounds`` rounds, the stages in turn. Memory is the
peak resident set of a process of its own that prepares N records, and one that prepares 4 N.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from alignx.prompts import Condition, Encoder, PairEncoder, load_tokenizer, render, tell
from alignx.prompts.preparing import write_prepared
from alignx.records import Records


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="model whose tokenizer to use")
    parser.add_argument("--data", default="data/sample/train.jsonl")
    parser.add_argument("--records", type=int, default=3200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prepare-only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.prepare_only:
        _prepare(arguments.prepare_only, *_setup(arguments.model, "ica"))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    with tempfile.TemporaryDirectory() as folder:
        source = _repeat(arguments.data, arguments.records, Path(folder) / "records.jsonl")
        machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
        print(f"{arguments.records} records of {arguments.data}, {machine}\n")
        print("| method | read | + render | + encode | + write Parquet |\n|---|---|---|---|---|")
        for method in ("ica", "pba"):
            rates = _rates(source, arguments.model, method, arguments.rounds)
            print(f"| {method.upper()} | " + " | ".join(f"{rate:,.0f} records/s" for rate in rates) + " |")
        larger = _repeat(arguments.data, 4 * arguments.records, Path(folder) / "larger.jsonl")
        small, large = (_peak_memory(path, arguments) for path in (source, larger))
        print(f"\npeak memory of `data prepare`: {small:.0f} MB at N, {large:.0f} MB at 4 N ({large / small:.2f} ×)")


def _rates(source: str, model: str, method: str, rounds: int) -> list[float]:
    condition, encoder = _setup(model, method)
    taxonomy = Records(source).taxonomy

    def read() -> int:
        return sum(1 for _ in Records(source))

    def rendered() -> int:
        return sum(bool(render(record, tell(record, condition, taxonomy), condition)) for record in Records(source))

    def encoded() -> int:
        return sum(1 for _ in PairEncoder(Records(source), condition, encoder))

    def prepared() -> int:
        return _prepare(source, condition, encoder)

    stages: list[Callable[[], int]] = [read, rendered, encoded, prepared]
    seconds: list[list[float]] = [[] for _ in stages]
    count = 0
    for _ in range(rounds):
        for stage, measured in zip(stages, seconds, strict=True):
            start = time.perf_counter()
            count = stage()
            measured.append(time.perf_counter() - start)
    return [count / statistics.median(measured) for measured in seconds]


def _setup(model: str, method: str) -> tuple[Condition, Encoder]:
    condition = Condition.model_validate({"method": method, "history": "sampled"}).resolved()
    return condition, Encoder(load_tokenizer(model), condition)


def _prepare(source: str, condition: Condition, encoder: Encoder) -> int:
    with tempfile.TemporaryDirectory() as folder:
        found = write_prepared(Path(folder) / "prepared", Records(source), condition, encoder, {})
    return int(found.counts["records"])


def _peak_memory(source: str, arguments: argparse.Namespace) -> float:
    """Megabytes."""
    command = [sys.executable, __file__, "--model", arguments.model, "--prepare-only", source]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(output.split()[-1]) / 1024


def _repeat(source: str, count: int, target: Path) -> str:
    """The source's rows over and over, each with an id of its own."""
    rows = [json.loads(line) for line in Path(source).read_text(encoding="utf-8").splitlines()]
    with target.open("w", encoding="utf-8") as stream:
        for number in range(count):
            stream.write(json.dumps({**rows[number % len(rows)], "id": str(number)}, ensure_ascii=False) + "\n")
    return str(target)


if __name__ == "__main__":
    main()
