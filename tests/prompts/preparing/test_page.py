"""Every command of docs/preparing.md, run as it stands there."""

from pathlib import Path

import pytest

from alignx import manifest
from alignx.cli import main
from tests.prompts.preparing.folders import files
from tests.test_readme import ROOT, commands_of, understood

PAGE = "docs/preparing.md"


def test_the_commands_of_the_page_do_what_it_says(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").symlink_to(ROOT / "data")
    (tmp_path / "out/demo").mkdir(parents=True)
    (tmp_path / "out/demo/tiny").symlink_to(tiny_model)
    monkeypatch.chdir(tmp_path)
    commands = commands_of(PAGE)
    assert [words[:3] for words in commands if words[0] == "alignx"] == 8 * [["alignx", "data", "prepare"]]
    for words in commands:
        assert understood(words)
        if words[0] == "alignx":
            main(words[1:])
    counts = {
        name: manifest.read(Path("out") / name).counts["records"] for name in ("prepared/ica", "hundred", "text/pba")
    }
    assert counts == {"prepared/ica": 320, "hundred": 100, "text/pba": 320}
    assert manifest.read(Path("out/part")).counts["left_out"] == {"not_drawn": 320 - _records("part")}
    assert 320 < _records("mixed") < 320 + 96
    assert files(Path("out/shared")) == files(Path("out/prepared/ica"))


def _records(name: str) -> int:
    count: int = manifest.read(Path("out") / name).counts["records"]
    return count
