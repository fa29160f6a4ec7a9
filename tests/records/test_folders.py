"""Folders that a command fills: all or nothing, over an older output of the same kind, and over nothing else."""

from pathlib import Path

import pytest

from alignx import manifest
from alignx.errors import SettingsError
from alignx.manifest import Manifest
from alignx.records.folders import draft_of, refuse_foreign


def output(folder: Path, *names: str) -> Path:
    """A finished output of the given files."""
    with draft_of(folder) as draft:
        for name in names:
            (draft / name).write_text(name)
    manifest.write(folder, Manifest(kind="converted", files=dict.fromkeys(names, "")))
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_an_older_output_makes_room_and_other_files_stay(tmp_path: Path) -> None:
    folder = output(tmp_path / "a", "old.txt", "both.txt")
    (folder / "mine.txt").write_text("mine")
    with draft_of(folder) as draft:
        (draft / "both.txt").write_text("new")
        assert names(folder) == {"old.txt", "both.txt", "mine.txt", "manifest.json"}
    assert names(folder) == {"both.txt", "mine.txt"}  # without a manifest until the new one is written
    assert (folder / "both.txt").read_text() == "new"
    assert names(tmp_path) == {"a"}


def test_a_failure_leaves_the_older_output_and_no_draft(tmp_path: Path) -> None:
    folder = output(tmp_path / "a", "old.txt")

    def fill() -> None:
        with draft_of(folder) as draft:
            (draft / "new.txt").write_text("new")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        fill()
    assert names(folder) == {"old.txt", "manifest.json"}
    assert names(tmp_path) == {"a"}


def test_a_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    assert names(output(tmp_path / "a" / "b", "new.txt")) == {"new.txt", "manifest.json"}


def test_the_folder_one_stands_in_can_be_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refuse_foreign(Path(), "converted", "a conversion")
    assert names(output(Path(), "new.txt")) == {"new.txt", "manifest.json"}


def test_new_empty_and_own_folders_are_accepted_and_others_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "new", tmp_path / "empty", output(tmp_path / "own", "a.txt")):
        refuse_foreign(folder, "converted", "a conversion")
    (tmp_path / "file").write_text("years of work")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    for folder, kind in (
        (tmp_path / "file", "converted"),
        (tmp_path / "full", "converted"),
        (tmp_path / "own", "world"),
    ):
        with pytest.raises(SettingsError, match="holds something else, expected a new or empty folder or a world"):
            refuse_foreign(folder, kind, "a world")
