"""``scripts/reproduce.sh``: every table of the paper, step by step."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.test_readme import ROOT, commands_of, run, understood
from tests.worlds import sample_records, write_jsonl

SCRIPT = "scripts/reproduce.sh"


def test_every_command_of_the_page_is_understood() -> None:
    assert sum(understood(words) for words in commands_of("docs/tables.md")) == 4


def test_help_says_every_step_and_every_variable() -> None:
    said = run("bash", SCRIPT, "--help")
    script = (ROOT / SCRIPT).read_text(encoding="utf-8")
    assert all(step in said for step in ("check", "directions", "tables", "novel"))
    variables = {"DATA", "OUT", "POLICIES", "REFERENCE", "NPROC", "ANNOTATOR", "LARGER_REFERENCE"}
    assert all(f"{name}=" in said and f"${{{name}:-" in script for name in variables)
    assert "set -euo" not in said


@pytest.mark.parametrize(("words", "said"), [(["papers"], "got 'papers'"), (["paper", "table"], "no step table")])
def test_an_unknown_step_is_refused(words: list[str], said: str) -> None:
    done = subprocess.run(["bash", SCRIPT, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, said in done.stderr) == (2, True)


@pytest.mark.slow
def test_the_papers_steps_measure_what_is_there_and_name_what_is_not(tiny_model: Path, tmp_path: Path) -> None:
    """About 15 s: two of the paper's files, an own model in place of the published ones, no network."""
    data = tmp_path / "data"
    rows = [{"id": f"r{i}", **row, "profile": "Likes science"} for i, row in enumerate(sample_records(8, seed=7))]
    for name in ("benchmark/P-Soups/student_phd.json", "AlignX-test/Reddit_UGC.json"):
        (data / name).parent.mkdir(parents=True)
        write_jsonl(data / name, rows)
    policy = {"name": "Mine", "model": str(tiny_model), "method": "pba"}
    environment = {
        "DATA": str(data),
        "OUT": str(tmp_path / "out"),
        "POLICIES": json.dumps([policy]),
        "REFERENCE": str(tiny_model),
        "HF_HUB_OFFLINE": "1",
        "ALIGNX_DTYPE": "float32",
    }
    said = run("bash", SCRIPT, "paper", "directions", "tables", "novel", environment=environment)
    assert "directions: skipped, ANNOTATOR is not set" in said
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
