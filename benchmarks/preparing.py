"""Preparing a training set beside the released way and TRL's: speed, memory, reading one record, a projection.

    python benchmarks/preparing.py --model out/demo/tiny                    # everything, 10,000 records
    python benchmarks/preparing.py --model out/demo/tiny --arms rendering   # one part of it
    python benchmarks/preparing.py --model out/demo/tiny --vocabulary 32000 --records 40000 --json out/preparing.json

The records are synthetic and shaped like AlignX's (``synthetic_records.py``), in Parquet. Every side does its work in a
process of its own, in turns (A B C A B C); a ratio is the median over rounds, with its lowest and highest. What a side
has to import is loaded before its clock starts; processes that it starts count.

- rendering: both methods, load to written file, in one process and with two. Ours (``alignx data prepare --form text``)
  beside the released preparation with its bugs fixed, and beside the same loop without its two slow steps
  (``preparing_sides.py``). Ours also checks every record, names it and writes Parquet with a manifest; they do not.
- stages: where the time of rendering goes, one stage after the other over the same records in this process.
- tokenising: ``alignx data prepare --method ica`` from records to written Parquet, beside TRL's own
  ``_prepare_dataset`` on the same texts rendered already, with the same number of processes.
- share: the same as a share of what the fast tokenizer alone does with as many threads on prompt and two responses,
  each once, its ids thrown away.
- memory: the most that a side and the processes it started hold together, sampled; shared pages count once (PSS) where
  the kernel tells. At N and at 4 N records, and what that comes to at 1.3 million.
- reading: one random row of prepared ids as training reads it. The million is made of shards linked under new names.
- projection: seconds = start + N · max(parent, (parent + workers) / cores), with the processor time per record of the
  parent (index, joining, handing out: what cannot be divided) and of the workers. Both are the slope between N and 4 N,
  with 2 workers; the start is what the straight line through both times leaves at no record. Reading from disk and
  memory bandwidth are taken to be no limit.
"""

import argparse
import gc
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import preparing_sides
import side_by_side
import synthetic_records

ALL_RECORDS = 1_311_622
ARMS = ("rendering", "stages", "tokenising", "share", "memory", "reading", "projection")
Run = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = _options(argv)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        bench = Bench(options, Path(folder))
        for arm in options.arms:
            result[arm] = _MEASURES[arm](bench)
            print(flush=True)
    side_by_side.write_json(result, options)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), help="by default all")
    parser.add_argument(
        "--model", type=Path, help="folder whose tokenizer is used; not needed for rendering, stages, memory"
    )
    parser.add_argument("--vocabulary", type=int, help="train a tokenizer of so many entries on the synthetic text")
    parser.add_argument("--records", type=int, default=10_000, help="N; by default 10,000")
    parser.add_argument("--prepared", type=int, default=1_000_000, help="rows of the folder of which one is read")
    parser.add_argument("--draws", type=int, default=2_000, help="rows that are read")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of processes; by default 1 2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where files are made and removed; by default the system's")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--quick", action="store_true", help="sizes at which figures mean nothing, to see that it runs")
    options = parser.parse_args(argv)
    options.device, options.threads = "cpu", max(options.workers)
    if options.quick:
        options.records, options.rounds, options.prepared, options.draws = 60, 1, 240, 20
    if options.model is None and {*options.arms} & {"tokenising", "share", "reading", "projection"}:
        parser.error("--model is required, but for --arms rendering stages memory; `alignx tiny-model` makes one")
    return options


class Bench:
    """Files that sides work on, and sides at work."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        """Take a folder that is removed afterwards."""
        self.options, self.folder = options, folder
        self._outputs = 0
        self._tokenizer: Path | None = None
        self._texts: Path | None = None

    def texts(self) -> Path:
        """The conversations of N records."""
        if self._texts is None:
            self._texts = preparing_sides.write_conversations(self.data(self.options.records), self.folder)
        return self._texts

    def data(self, records: int) -> Path:
        """So many synthetic records."""
        path = self.folder / f"records-{records}.parquet"
        return path if path.exists() else synthetic_records.write(path, records, self.options.seed)

    def tokenizer(self) -> Path:
        """The model's tokenizer, or one trained in its style with more entries."""
        if self._tokenizer is None:
            self._tokenizer = self.options.model
            if self.options.vocabulary is not None:
                self._tokenizer = _trained(self.options.model, self.options.vocabulary, self.folder / "tokenizer")
        return self._tokenizer

    def output(self) -> Path:
        """A path of which nothing is there."""
        self._outputs += 1
        return self.folder / f"output-{self._outputs}"

    def run(self, side: str, *, sample: bool = False, **arguments: Any) -> Run:
        """One side in a new process; ``sample``: with ``peak``, the bytes that it held."""
        paths = {name: str(value) for name, value in arguments.items() if isinstance(value, Path)}
        paths.setdefault("output", str(self.output()))
        others = {name: value for name, value in arguments.items() if not isinstance(value, Path)}
        given = json.dumps({"side": side, "paths": paths, "arguments": others})
        environment = {
            **os.environ,
            "RAYON_NUM_THREADS": str(others.get("workers", 1)),
            "TOKENIZERS_PARALLELISM": "true" if side == "alone" else "false",
            "ALIGNX_CACHE": str(self.output()),  # nothing is remembered from another round
            "HF_DATASETS_CACHE": str(self.output()),
            "HF_HUB_OFFLINE": "1",
        }
        if side == "ours":
            del environment["TOKENIZERS_PARALLELISM"], environment["RAYON_NUM_THREADS"]
        command = [sys.executable, preparing_sides.__file__, given]
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
            peak = _peak_of_tree(process) if sample else 0
            printed, _ = process.communicate()
            if process.returncode:
                errors.seek(0)
                raise RuntimeError(f"{side} failed: {errors.read()[-2000:]}")
        found: Run = json.loads(printed.splitlines()[-1])
        return {**found, "peak": peak, "output": paths["output"]}

    def rounds(self, sides: dict[str, dict[str, Any]]) -> dict[str, list[Run]]:
        """Each side in turn, round by round, and what it took."""
        runs: dict[str, list[Run]] = {name: [] for name in sides}
        for _ in range(self.options.rounds):
            for name, given in sides.items():
                runs[name].append(self.run(**given))
                _remove(Path(runs[name][-1]["output"]))
        return runs


def rendering(bench: Bench) -> Any:
    """Both methods as text, load to written file."""
    data = bench.data(bench.options.records)
    peers = ("released", "lean")
    sides: dict[str, dict[str, Any]] = {name: {"side": name, "data": data} for name in peers}
    for workers in bench.options.workers:
        sides[f"ours, {workers}"] = {"side": "ours", "data": data, "workers": workers, "form": "text"}
    print(f"rendering: both methods of {bench.options.records} records, load to written file")
    runs = bench.rounds(sides)
    return _compared(runs, {name: list(peers) for name in sides if name not in peers})


def stages(bench: Bench) -> Any:
    """Where the time of rendering goes."""
    from alignx.prompts import Condition
    from alignx.prompts.pairs import BATCH
    from alignx.prompts.preparing.shards import Shard, ShardWriter
    from alignx.prompts.texts import BatchRenderer
    from alignx.records import RecordParser, load_taxonomy
    from alignx.records.batches import read_batch
    from alignx.records.files import parquet_batches
    from alignx.records.pieces import PIECE_ROWS

    data, taxonomy, seconds = bench.data(bench.options.records), load_taxonomy(), Counter[str]()
    conditions = [Condition.model_validate({"method": each, "history": "sampled"}) for each in ("ica", "pba")]

    def timed(stage: str, work: Callable[..., Any], *arguments: Any) -> Any:
        start = time.perf_counter()
        found = work(*arguments)
        seconds[stage] += time.perf_counter() - start
        return found

    def records_of(batch: Any) -> list[Any]:
        return [found[0] for found in read_batch(batch, RecordParser(taxonomy), 1, str)]

    def rendered(condition: Condition, records: list[Any]) -> list[Any]:
        return [pair for _, pair in BatchRenderer(condition, taxonomy).encode(records)]

    gc.disable()  # as where shards are made
    for _ in range(bench.options.rounds):
        batches = parquet_batches(data, PIECE_ROWS)
        while (batch := timed("Parquet to Arrow", next, batches, None)) is not None:
            records = timed("Arrow to records, checked and named", records_of, batch)
            writers = [ShardWriter(bench.folder, number, "text") for number in range(len(conditions))]
            for start in range(0, len(records), BATCH):
                for condition, writer in zip(conditions, writers, strict=True):
                    stage = f"{condition.method.upper()}: drawn, told and rendered"
                    pairs = timed(stage, rendered, condition, records[start : start + BATCH])
                    timed("rows to Arrow, both", writer.add, pairs)
            for writer in writers:
                timed("Arrow to Parquet on disk, both", writer.write, Shard(0, ""))
    gc.enable()
    taken = {stage: found / bench.options.rounds for stage, found in seconds.items()}
    print(f"stages: rendering both methods of {bench.options.records} records, mean of {bench.options.rounds} rounds")
    for stage, each in taken.items():
        print(f"  {1e6 * each / bench.options.records:6.1f} µs a record  {stage}")
    print(f"  {1e6 * sum(taken.values()) / bench.options.records:6.1f} µs a record  all of these")
    return taken


def tokenising(bench: Bench) -> Any:
    """ICA as token ids, beside TRL."""
    return _as_ids(bench, "tokenising", {"TRL": "trl"})


def share(bench: Bench) -> Any:
    """ICA as token ids, beside the fast tokenizer alone."""
    return _as_ids(bench, "share", {"tokenizer alone": "alone"})


def _as_ids(bench: Bench, arm: str, peers: dict[str, str]) -> Any:
    data, model, texts = bench.data(bench.options.records), bench.tokenizer(), bench.texts()
    sides, beside = {}, {}
    for workers in bench.options.workers:
        given = {"workers": workers, "model": model}
        sides[f"ours, {workers}"] = {"side": "ours", "data": data, "form": "ids", **given}
        for peer, side in peers.items():
            sides[f"{peer}, {workers}"] = {"side": side, "texts": texts, **given}
        beside[f"ours, {workers}"] = [f"{peer}, {workers}" for peer in peers]
    print(f"{arm}: ICA of {bench.options.records} records, vocabulary {_entries(model)}")
    return _compared(bench.rounds(sides), beside)


def memory(bench: Bench) -> Any:
    """The peak at N and at 4 N, ours and the released."""
    workers, n = max(bench.options.workers), bench.options.records
    sides = {
        "ours": {"side": "ours", "workers": workers, "form": "text"},
        "released": {"side": "released"},
    }
    found: dict[str, Any] = {}
    print(f"memory: both methods as text, ours with {workers} workers")
    for name, given in sides.items():
        peaks = [bench.run(**given, data=bench.data(count), sample=True)["peak"] for count in (n, 4 * n)]
        slope = (peaks[1] - peaks[0]) / (3 * n)
        at_all = peaks[1] + slope * (ALL_RECORDS - 4 * n)
        found[name] = {"records": n, "peaks": peaks, "bytes_a_record": slope, "all": at_all}
        print(
            f"  {name:9s} {peaks[0] / 1e6:6.0f} MB at {n}, {peaks[1] / 1e6:6.0f} MB at {4 * n}: "
            f"{peaks[1] / peaks[0]:.2f} ×, {slope / 1e3:.1f} kB a record, {at_all / 1e9:.1f} GB at {ALL_RECORDS}"
        )
    return found


def reading(bench: Bench) -> Any:
    """One random row of a prepared folder."""
    from alignx.prompts.preparing.shards import SHARDS, shard_path
    from alignx.training.rows import Rows

    made = bench.run("ours", data=bench.data(bench.options.records), workers=1, form="ids", model=bench.tokenizer())
    shards = sorted(Path(made["output"]).glob(SHARDS))
    linked = bench.folder / "linked"
    linked.mkdir()
    copies = -(-bench.options.prepared // int(made["records"]))
    for number, shard in enumerate(shards * copies):
        os.link(shard, shard_path(linked, number))
    os.environ["ALIGNX_CACHE"] = str(bench.folder / "cache")
    start = time.perf_counter()
    rows = Rows._mapped(Rows.__new__(Rows), linked)
    opened = time.perf_counter() - start
    rng, seconds = random.Random(bench.options.seed), []
    for _ in range(bench.options.draws):
        place = rng.randrange(len(rows))
        start = time.perf_counter()
        row = rows[place]
        seconds.append(time.perf_counter() - start)
        assert row["prompt_ids"]
    median, slow = statistics.median(seconds), statistics.quantiles(seconds, n=100)[98]
    print(
        f"reading: one of {len(rows)} rows in {median * 1e3:.3f} ms (median of {len(seconds)}), {slow * 1e3:.3f} ms "
        f"(99th percentile); opened in {opened:.1f} s"
    )
    return {"rows": len(rows), "median": median, "percentile_99": slow, "opened": opened}


def projection(bench: Bench) -> Any:
    """The time of all of AlignX, from the processor time of parent and workers."""
    n, model = bench.options.records, bench.tokenizer()
    sides = {
        f"{count} with {workers}": {
            "side": "ours",
            "data": bench.data(count),
            "workers": workers,
            "form": "ids",
            "model": model,
        }
        for count in (n, 4 * n)
        for workers in (1, 2)
    }
    runs = bench.rounds(sides)
    middle = {
        name: {kind: statistics.median(run[kind] for run in found) for kind in ("seconds", "own", "others")}
        for name, found in runs.items()
    }
    print("projection: ICA as token ids")
    for name, taken in middle.items():
        print(
            f"  {name}: {taken['seconds']:.2f} s; processor: parent {taken['own']:.2f} s, "
            f"workers {taken['others']:.2f} s"
        )

    def slope(kind: str, workers: int = 2) -> float:
        return (middle[f"{4 * n} with {workers}"][kind] - middle[f"{n} with {workers}"][kind]) / (3 * n)

    parent, others = slope("own"), slope("others")
    start = max(0.0, middle[f"{n} with 2"]["seconds"] - n * slope("seconds"))
    projected = {cores: start + ALL_RECORDS * max(parent, (parent + others) / cores) for cores in (2, 64)}
    print(f"  a record: parent {parent * 1e6:.0f} µs, workers {others * 1e6:.0f} µs; start {start:.1f} s")
    for cores, seconds in projected.items():
        print(
            f"  {ALL_RECORDS} records on {cores} cores: start + N · max(parent, (parent + workers) / {cores}) = "
            f"{seconds / 60:.1f} minutes"
        )
    one_by_one = start + ALL_RECORDS * slope("seconds")
    print(f"  the straight line through the times with 2 workers: {one_by_one / 60:.1f} minutes")
    return {"runs": runs, "start": start, "parent": parent, "workers": others, "projected": projected}


_MEASURES: dict[str, Callable[[Bench], Any]] = {
    "rendering": rendering,
    "stages": stages,
    "tokenising": tokenising,
    "share": share,
    "memory": memory,
    "reading": reading,
    "projection": projection,
}


def _compared(runs: dict[str, list[Run]], beside: dict[str, list[str]]) -> Any:
    """Print rates and ratios."""
    seconds = {name: [run["seconds"] for run in found] for name, found in runs.items()}
    for name, taken in seconds.items():
        records = runs[name][0]["records"]
        busy = statistics.median(run["own"] + run["others"] for run in runs[name])
        print(
            f"  {records / statistics.median(taken):9.0f} records/s, {1e6 * busy / records:6.0f} µs of processor time "
            f"a record  {name}"
        )
    ratios = {}
    for own, peers in beside.items():
        for peer in peers:
            found = ratios[f"{own} / {peer}"] = side_by_side.ratio(seconds[own], seconds[peer])
            print(
                f"  {own} against {peer}: {found['median']:.2f} × (rounds {found['lowest']:.2f} to "
                f"{found['highest']:.2f})"
            )
    return {"runs": runs, "ratios": ratios}


def _peak_of_tree(process: "subprocess.Popen[str]") -> int:
    """The most bytes that a process and all it started held together, looked at every 50 ms until it ends."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(_held, _tree(process.pid))))
        time.sleep(0.05)
    return peak


def _tree(pid: int) -> list[int]:
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it has ended
        return []
    return [pid, *(found for child in children for found in _tree(child))]


def _held(pid: int) -> int:
    """Bytes of a process: shared pages by its part of them, or resident ones where the kernel does not tell."""
    for name, field in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            lines = Path(f"/proc/{pid}/{name}").read_text().splitlines()
        except OSError:
            continue
        found = next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), 0)
        if found:
            return found
    return 0


def _remove(output: Path) -> None:
    if output.is_dir():
        shutil.rmtree(output)
    else:
        output.unlink(missing_ok=True)


def _entries(model: Path) -> int:
    from alignx.prompts import load_tokenizer

    return len(load_tokenizer(str(model)))


def _trained(model: Path, vocabulary: int, folder: Path) -> Path:
    """A tokenizer in the style of a model's, trained on synthetic texts; smaller than asked if these hold no more."""
    from alignx.prompts import load_tokenizer

    text = synthetic_records.pool(0).text
    texts = (text[start : start + 2000] for start in range(0, len(text), 2000))
    trained = load_tokenizer(str(model)).train_new_from_iterator(texts, vocabulary)
    trained.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
