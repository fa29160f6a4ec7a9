"""The benchmark of preparing runs, its records are shaped as it says, and the released arm says what ours says."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alignx.prompts import Condition, render, tell
from alignx.records import Records

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Benchmarks are scripts that import each other from their own folder."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def module(name: str) -> Any:
    return importlib.import_module(name)


def test_every_kind_of_file_holds_the_same_synthetic_records(tmp_path: Path) -> None:
    write = module("synthetic_records").write
    records = [list(Records(str(write(tmp_path / f"r{s}", 50)))) for s in (".jsonl", ".json", ".parquet")]
    assert records[0] == records[1] == records[2]
    assert [len(record.persona.comments) for record in records[0]] == [4] * 50
    assert [len(record.persona.choices) for record in records[0]] == [4] * 50
    assert write(tmp_path / "again.jsonl", 50).read_bytes() == (tmp_path / "r.jsonl").read_bytes()
    assert write(tmp_path / "other.jsonl", 50, seed=1).read_bytes() != (tmp_path / "r.jsonl").read_bytes()


def test_synthetic_texts_are_as_long_as_those_they_are_fitted_to() -> None:
    synthetic_records = module("synthetic_records")
    (columns,) = synthetic_records.chunks(4000)
    for texts, (mean, deviation) in (
        (columns["prompt"], synthetic_records.POST),
        (columns["chosen"], synthetic_records.RESPONSE),
        (columns["comments"]["comment"], synthetic_records.PAST_RESPONSE),
    ):
        logs = np.log([len(text.split()) for text in texts])
        assert logs.mean() == pytest.approx(mean, abs=0.05)
        assert logs.std() == pytest.approx(deviation, abs=0.05)
    described = sum(map(bool, columns["demographics"])) / 4000
    assert described == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize("side", ["released", "lean"])
def test_the_released_way_with_its_bugs_fixed_says_what_ours_says(
    side: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = module("preparing_sides")
    monkeypatch.setattr(sides.random.Random, "randint", lambda self, low, high: high)  # all items, in their order
    monkeypatch.setattr(sides.random.Random, "sample", lambda self, items, count: items)
    data = module("synthetic_records").write(tmp_path / "r.parquet", 40)
    assert sides.SIDES[side](data, tmp_path / "out.json") == 40
    rows = json.loads((tmp_path / "out.json").read_text())
    records = Records(str(data))
    for place, record in enumerate(records):
        row = rows[place]
        for method in ("ica", "pba"):
            condition = Condition.model_validate({"method": method, "history": "all"}).resolved()
            expected = render(record, tell(record, condition, records.taxonomy), condition)
            assert row[method] == f"{expected.instruction}\n\n{expected.user}"
            assert (row["chosen"], row["rejected"]) == (record.chosen, record.rejected)


def test_rendering_and_memory_are_measured_and_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "found.json"
    module("preparing").main(
        ["--quick", "--arms", "rendering", "stages", "memory", "--workers", "1", "--json", str(out)]
    )
    printed = capsys.readouterr().out
    assert re.search(r"ours, 1 against released: \d+\.\d\d × \(rounds \d+\.\d\d to \d+\.\d\d\)", printed)
    assert re.search(r"ours +\d+ MB at 60, +\d+ MB at 240", printed)
    result = json.loads(out.read_text())
    assert [run["records"] for runs in result["rendering"]["runs"].values() for run in runs] == [60, 60, 60]
    assert "µs a record  Arrow to records, checked and named" in printed
    assert min(result["stages"].values()) > 0
    assert min(result["memory"]["ours"]["peaks"]) > 20e6


@pytest.mark.slow  # 90 s: a dozen processes, four of which import TRL or torch
def test_every_arm_runs_and_trains_a_tokenizer(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arms = ["tokenising", "share", "reading", "projection"]
    module("preparing").main(["--quick", "--model", str(tiny_model), "--vocabulary", "3000", "--arms", *arms])
    printed = capsys.readouterr().out
    assert "vocabulary 3000" in printed
    for pattern in (
        r"ours, 2 against TRL, 2: \d+\.\d\d ×",
        r"ours, 2 against tokenizer alone, 2: \d+\.\d\d ×",
        r"reading: one of 240 rows in \d+\.\d+ ms",
        r"1311622 records on 64 cores: .* minutes",
    ):
        assert re.search(pattern, printed)
