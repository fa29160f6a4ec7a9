"""What README and the help promise is run, or at least understood."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from alignx.cli import COMMANDS, _load
from alignx.settings import parse

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = {
    "eval/loss_ica.py": ("score",),
    "eval/loss_pba.py": ("score",),
    "eval/loss_few_shot.py": ("score",),
    "eval/acc.py": ("accuracy",),
    "eval/gen_ica.py": ("generate",),
    "eval/gen_pba.py": ("generate",),
    "eval/gen_few_shot.py": ("generate",),
    "eval/win_rate.py": ("judge", "win-rate"),
    "scripts/train_ica.sh": ("train",),
    "scripts/train_pba.sh": ("train",),
}
RESPONSES = [f"{method}{whose}" for method in ("ica", "pba") for whose in ("", "-reference", "-other-user")]
CONFIG = {"scripts/train_ica.sh": "configs/train/ica.yaml", "scripts/train_pba.sh": "configs/train/pba.yaml"}


def commands_of(page: str) -> list[list[str]]:
    """The commands in a page's shell blocks, continuation lines joined and comments dropped."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def understood(words: list[str]) -> bool:
    """Parse one of the project's commands; False for somebody else's."""
    if words[0] in ("python", "bash") and words[1] in SCRIPTS:
        assert (ROOT / words[1]).is_file()
        config = ["--config", str(ROOT / CONFIG[words[1]])] if words[1] in CONFIG else []
        parse(_load(COMMANDS[SCRIPTS[words[1]]].settings), [*config, *words[2:]], words[1])
    elif words[0] == "alignx" and not words[1].startswith("-"):
        name = next(name for name in COMMANDS if tuple(words[1 : 1 + len(name)]) == name)
        parse(_load(COMMANDS[name].settings), words[1 + len(name) :], "alignx")
    else:
        return False
    return True


def test_every_command_in_the_readme_is_understood() -> None:
    assert sum(understood(words) for words in commands_of("README.md")) >= 9


def test_the_commands_in_the_help_are_understood() -> None:
    from alignx.cli import _help

    lines = [shlex.split(line) for line in _help().splitlines() if re.match(r"  (alignx .* --|bash |python )", line)]
    assert sum(understood(words) for words in lines) == 5


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    wanted = {words[1] for words in commands_of("README.md") if words[0] == "make"}
    assert wanted == {"demo", "test"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in wanted)


def run(*words: str, environment: dict[str, str] | None = None) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        words,
        cwd=ROOT,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def judged_by_the_oracle(demo: Path, said: str) -> dict[Path, int]:
    """Check the win rates of a demo, and that each page says who judged; returns when each file was written."""
    found = json.loads((demo / "win-rates/win-rates.json").read_text())
    rows = [(row["candidate"], row["baseline"], row["benchmark"].partition(": ")[2]) for row in found["rows"]]
    assert rows == [
        ("ica", "tiny under ICA", "trained or not"),
        ("pba", "tiny under PBA", "trained or not"),
        ("ica, persona own", "ica, persona other", "told of this user or of another"),
        ("pba, persona own", "pba, persona other", "told of this user or of another"),
        ("ica", "pba", "which method"),
    ]
    assert all(row["benchmark"].startswith("synthetic world, by an oracle: ") for row in found["rows"])
    assert all(row["wins"] + row["ties"] + row["losses"] == row["pairs"] == 16 for row in found["rows"])
    pages = sorted(demo.glob("win-rates/**/win-rate*.html"))
    assert len(pages) == 6
    assert all("synthetic-world-oracle" in page.read_text() for page in pages)
    assert said.count("the verdicts of an oracle for a synthetic world, not of a real judge") == 1
    assert all(len((demo / "responses" / f"{name}.jsonl").read_text().splitlines()) == 16 for name in RESPONSES)
    files = [*demo.glob("responses/*"), *demo.glob("win-rates/**/*.*")]
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.mark.slow
def test_the_demo_ends_with_a_report_and_continues_when_run_again(tmp_path: Path) -> None:
    """About 110 s: the whole path through the launchers, then again without doing anything twice; then every table."""
    environment = {"QUICK": "1", "OUT": str(tmp_path / "demo"), "OMP_NUM_THREADS": "2"}
    first = run("bash", "scripts/demo.sh", environment=environment)
    rows = json.loads((tmp_path / "demo/report/results.json").read_text())
    assert {row["policy"] for row in rows} == {"ICA", "PBA"}
    assert len(rows) == 15
    assert all(row["n"] == 40 for row in rows)
    assert first.count("(n = 40, 10 clusters") == len(rows)
    page = (tmp_path / "demo/report/report.html").read_text()
    parts = [json.loads(line)["part"] for line in (tmp_path / "demo/timings.jsonl").read_text().splitlines()]
    assert len(parts) == 6
    assert all(f"{row['policy']}, {row['label']}" in page.replace("&#39;", "'") for row in rows)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").glob("*/model.safetensors")}
    assert len(written) == 3
    judged = judged_by_the_oracle(tmp_path / "demo", first)
    second = run("bash", "scripts/demo.sh", environment=environment)
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert judged_by_the_oracle(tmp_path / "demo", second) == judged
    assert json.loads((tmp_path / "demo/report/results.json").read_text()) == rows
    assert len((tmp_path / "demo/timings.jsonl").read_text().splitlines()) == 6
    said = run("bash", "scripts/reproduce.sh", environment=environment)
    tables = json.loads((tmp_path / "demo/tables/results.json").read_text())
    assert len(tables) == 4 + 6 + 1 + 2 * 12, "ICA, PBA, untrained, and two files with six lengths of history for two"
    assert said.count("(n = 40, 10 clusters") == len(rows) + len(tables), "the demo says its rows again"
    assert {path: path.stat().st_mtime_ns for path in written} == written
