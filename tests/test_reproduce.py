"""``scripts/reproduce.sh``: every table of the paper, step by step."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from alignx.chat.server import ChatServer
from alignx.manifest import digest
from alignx.models.tiny import TinyModelSettings, make
from alignx.records import Records
from tests.chat.storms import Storm
from tests.judging.comparing import MODEL, by_length, judge
from tests.test_readme import ROOT, commands_of, run, understood
from tests.worlds import sample_records, write_jsonl

SCRIPT = "scripts/reproduce.sh"


def test_every_command_of_the_page_is_understood() -> None:
    assert sum(understood(words) for words in commands_of("docs/tables.md")) == 4


def test_help_says_every_step_and_every_variable() -> None:
    said = run("bash", SCRIPT, "--help")
    script = (ROOT / SCRIPT).read_text(encoding="utf-8")
    assert all(step in said for step in ("check", "directions", "win_rates", "tables", "novel"))
    variables = {"DATA", "OUT", "POLICIES", "REFERENCE", "NPROC", "ANNOTATOR", "LARGER_REFERENCE"}
    variables |= {"JUDGE", "PAIRS", "ICA_MODEL", "PBA_MODEL", "TEST_FILE"}
    assert all(f"{name}=" in said and f"${{{name}:-" in script for name in variables)
    assert "set -euo" not in said


@pytest.mark.parametrize(("words", "said"), [(["papers"], "got 'papers'"), (["paper", "table"], "no step table")])
def test_an_unknown_step_is_refused(words: list[str], said: str) -> None:
    done = subprocess.run(["bash", SCRIPT, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, said in done.stderr) == (2, True)


def two_files(folder: Path, model: Path) -> dict[str, str]:
    """The environment in which the script finds two of the paper's files, and one own model, without a network."""
    rows = [{"id": f"r{i}", **row, "profile": "Likes science"} for i, row in enumerate(sample_records(8, seed=7))]
    for name in ("benchmark/P-Soups/student_phd.json", "AlignX-test/Reddit_UGC.json"):
        (folder / "data" / name).parent.mkdir(parents=True)
        write_jsonl(folder / "data" / name, rows)
    return {
        "DATA": str(folder / "data"),
        "OUT": str(folder / "out"),
        "POLICIES": json.dumps([{"name": "Mine", "model": str(model), "method": "pba"}]),
        "REFERENCE": str(model),
        "HF_HUB_OFFLINE": "1",
        "ALIGNX_DTYPE": "float32",
    }


def finish(*steps: str, environment: Mapping[str, str]) -> tuple[int, str]:
    """The exit code of some of the paper's steps, and everything that they say."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    around = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(
        ["bash", SCRIPT, "paper", *steps], cwd=ROOT, env=around, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_the_papers_steps_measure_what_is_there_and_name_what_is_not(tiny_model: Path, tmp_path: Path) -> None:
    """About 15 s: two of the paper's files, an own model in place of the published ones, no network."""
    environment = two_files(tmp_path, tiny_model)
    data = Path(environment["DATA"])
    said = run("bash", SCRIPT, "paper", "directions", "win_rates", "tables", "novel", environment=environment)
    assert "directions: skipped, ANNOTATOR is not set" in said
    assert "win_rates: skipped, JUDGE is not set" in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["tables"]
    assert "novel: skipped" in said
    found = json.loads((tmp_path / "out/tables/benchmarks.json").read_text(encoding="utf-8"))
    measured = {(entry["column"], entry["condition"]) for entry in found["columns"] if entry["accuracy"]}
    assert ("AlignX UGC", "own persona") in measured
    assert not any(column == "P-Soups" for column, _ in measured), "two of its three files are absent"
    (soups,) = (e for e in found["columns"] if (e["column"], e["condition"]) == ("P-Soups", "own persona"))
    assert soups["n"] == 8
    assert list(soups["empty"]) == ["Informativeness", "Style"]
    assert soups["empty"]["Style"] == f"{data}/benchmark/P-Soups/friendly_unfriendly.json: no such file"
    assert found["files"]["benchmark/P-Soups/student_phd.json"]["records"] == 8
    page = (tmp_path / "out/tables/report.md").read_text(encoding="utf-8")
    assert "8 records, 600 are expected" in page


def written(folder: Path) -> dict[Path, int]:
    """When each response and each comparison was written; the table of them is made anew each time."""
    files = [
        *(folder / "responses").rglob("*"),
        *(folder / "win-rates").glob("*-*/**/*"),
        folder / "win-rates/replies.jsonl",
    ]
    return {path: path.stat().st_mtime_ns for path in files}


def rows_of(folder: Path) -> dict[tuple[str, str, str], Mapping[str, Any]]:
    """The rows of the table by the two systems and the benchmark."""
    found = json.loads((folder / "win-rates/win-rates.json").read_text(encoding="utf-8"))["rows"]
    return {(row["candidate"], row["baseline"], row["benchmark"]): row for row in found}


def without_directions(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of which PBA cannot tell anything."""
    lists = {name: [without_directions(item) for item in value] for name, value in row.items() if is_history(value)}
    return {name: value for name, value in row.items() if name not in ("profile", "Preference Direction")} | lists


def is_history(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


@pytest.mark.slow
def test_table_4_is_judged_once_and_stands_in_the_report(tiny_model: Path, tmp_path: Path) -> None:
    """About 75 s: responses to two files and their comparisons by a local judge, all of it again, and the report."""
    other = make(TinyModelSettings(output=tmp_path / "other", size="0.2m", seed=1))
    environment = {
        **two_files(tmp_path, other),
        "ICA_MODEL": str(tiny_model),
        "PBA_MODEL": str(tiny_model),
        "PAIRS": "7",
        "ALIGNX_MAX_NEW_TOKENS": "12",
    }
    soups = Path(environment["DATA"]) / "benchmark/P-Soups/student_phd.json"
    write_jsonl(soups, map(without_directions, map(json.loads, soups.read_text(encoding="utf-8").splitlines())))
    out, ours, theirs = tmp_path / "out", tiny_model.name, other.name
    pairs = [
        (f"{ours} under ICA", f"{theirs} under ICA"),
        (f"{ours} under PBA", f"{theirs} under PBA"),
        (f"{ours} under ICA", f"{ours} under PBA"),
    ]
    storm = Storm(judge(by_length))
    with ChatServer(storm, model=MODEL) as server:
        environment["JUDGE"] = f"--judge-model {MODEL} --base-url {server.base_url}"
        code, said = finish("win_rates", environment=environment)
        asked = len(storm.records)
        assert (code, asked > 0) == (6, True), said
        made, rows = written(out), rows_of(out)
        absent = ("UF-P-4/honesty", "PRISM/prism", "P-Soups/friendly_unfriendly")
        assert all(f"{tmp_path}/data/benchmark/{name}.json is not there" in said for name in absent)
        unfinished = said.partition("not all of it: ")[2].partition(";")[0].split()
        assert {f"benchmark/{name}.json" for name in absent} < {*unfinished}
        assert "AlignX-test/Reddit_UGC.json" not in unfinished
        assert "PBA has no preference direction to put into words" in said
        assert "benchmark/P-Soups/student_phd.json" in unfinished
        part = "P-Soups, 1 of its 3 files"
        found = [(*key, row["pairs"], row["published"]) for key, row in rows.items()]
        assert found == [
            (*pairs[0], part, 3, None),  # a third of 7, rounded up; not the published benchmark
            (*pairs[0], "AlignX_test", 7, 60.14),
            (*pairs[1], "AlignX_test", 7, 51.82),
            (*pairs[2], "AlignX_test", 7, 58.49),
        ]

        code, said = finish("win_rates", "tables", environment=environment)
        assert code == 6, said
        assert said.count("nothing to do") == (2 + 1) + (4 + 3)
        assert (len(storm.records), written(out), rows_of(out)) == (asked, made, rows)

    (drawn,) = out.glob("responses/*student_phd*/records.jsonl")
    ids = [digest("draw", one.id) for one in Records(str(soups))]
    assert sorted(digest("draw", one.id) for one in Records(str(drawn))) == sorted(ids)[:3]
    page = (out / "tables/report.md").read_text(encoding="utf-8")
    section = page.partition("## Win rates")[2].partition("\n## ")[0]
    assert all(figure in section for figure in ("60.14", "51.82", "58.49"))
