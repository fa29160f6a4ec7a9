"""The page about one's own users, command by command: from a table to accuracies, with an invented annotator."""

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from alignx import manifest
from alignx.annotation.oracle import MODEL, Oracle
from alignx.chat.server import ChatServer
from alignx.records import Record, Records, load_taxonomy
from alignx.records.world.synthesize import SynthesizeSettings, synthesize
from tests.test_readme import commands_of, understood

ROOT = Path(__file__).resolve().parents[1]
PAGE = "docs/own-users.md"
HEADER = ("account", "asked", "preferred", "other", "wrote")


def test_every_command_of_the_page_is_understood() -> None:
    assert sum(understood(words) for words in commands_of(PAGE)) >= 13


def test_the_table_that_the_page_shows_is_read_as_it_says(tmp_path: Path) -> None:
    from alignx.records.converting.conversion import convert
    from alignx.records.converting.settings import ConvertSettings

    (shown,) = re.findall(r"```csv\n(.*?)```", (ROOT / PAGE).read_text(encoding="utf-8"), re.DOTALL)
    table = tmp_path / "choices.csv"
    table.write_text(shown)
    assert tuple(shown.splitlines()[0].split(",")) == HEADER
    names = dict(zip(("user_column", "prompt_column", "chosen_column", "rejected_column"), HEADER, strict=False))
    convert(ConvertSettings(data=table, output=tmp_path / "own", test_users=0, comment_column="wrote", **names))
    tea, bike = Records(str(tmp_path / "own/train.jsonl"))
    for record, other in ((tea, bike), (bike, tea)):
        assert [choice.prompt for choice in record.persona.choices] == [other.prompt]
        assert [comment.comment for comment in record.persona.comments] == ["Something slow, please."]


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Records of invented users, four each."""
    folder = tmp_path_factory.mktemp("world")
    synthesize(SynthesizeSettings(output=folder / "world", dimensions="demo", train=160, test=8, comments=2, choices=1))
    return list(Records(str(folder / "world/train.jsonl")))


@pytest.fixture
def table(users: list[Record], tmp_path: Path) -> Path:
    """What they chose and wrote, as the rows of a table."""
    path = tmp_path / "choices.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(HEADER)
        for record in users:
            writer.writerow([record.user, record.prompt, record.chosen, record.rejected, ""])
            writer.writerows([record.user, one.prompt, "", "", one.comment] for one in record.persona.comments)
    return path


@pytest.fixture
def annotator(users: list[Record]) -> Iterator[ChatServer]:
    """A server that knows these users, and the sample's."""
    known = [*users, *Records(str(ROOT / "data/sample/test.jsonl"))]
    with ChatServer(Oracle(known, load_taxonomy()), model=MODEL) as server:
        yield server


@pytest.mark.slow
def test_the_commands_of_the_page_lead_from_a_table_to_accuracies(
    table: Path, annotator: ChatServer, tiny_model: Path, tmp_path: Path
) -> None:
    """A minute and a half: two trainings and eleven other commands, each a process."""
    text = "\n".join(re.findall(r"```bash\n(.*?)```", (ROOT / PAGE).read_text(encoding="utf-8"), re.DOTALL))
    for said, here in {
        "choices.csv": str(table),
        "out/": f"{tmp_path}/",
        "http://localhost:8000/v1": annotator.base_url,
        "Qwen/Qwen2.5-14B-Instruct": MODEL,
        "meta-llama/Llama-3.1-8B-Instruct": str(tiny_model),
    }.items():
        assert said in text
        text = text.replace(said, here)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    own = {name: list(Records(str(tmp_path / f"own-{name}.jsonl"))) for name in ("train", "test")}
    assert {record.user for record in own["train"]}.isdisjoint({record.user for record in own["test"]})
    assert all(item.direction for records in own.values() for one in records for item in one.persona.choices)
    assert all(one.persona.profile for one in own["test"])
    for method in ("ica", "pba"):
        found = manifest.read(tmp_path / f"own-{method}.scores.jsonl")
        assert found.counts["scored"] == len(own["test"])
        assert found.model is not None
        assert found.model.trained_from == manifest.read(tmp_path / f"own-{method}").model.digest  # type: ignore[union-attr]
    assert done.stdout.count("alignment accuracy") == 2, done.stdout[-2000:]
    agreement = json.loads((tmp_path / "agreement.jsonl.agreement/agreement.json").read_text())
    assert agreement["agreement"]["mean"] == 1.0
