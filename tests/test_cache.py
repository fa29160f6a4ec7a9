"""What reading a file told is remembered as long as nobody touched it, and never longer."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from alignx import cache
from alignx.cache import cache_folder, known_digest, known_of
from alignx.manifest import file_digest


class Reader:
    """Reads files, and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, path: Path) -> dict[str, Any]:
        self.count += 1
        return {"text": path.read_text()}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.txt"
    path.write_text("one")
    return path


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are remembered without waiting for them to be two seconds old."""
    monkeypatch.setattr(cache, "_COARSEST_CLOCK", 0.0)


def tick() -> None:
    """Longer than the clock of a file system takes to go on."""
    time.sleep(0.02)


def memories() -> list[Path]:
    return [path for path in cache_folder().rglob("*") if path.is_file()]


@pytest.mark.usefixtures("at_once")
def test_a_file_that_nobody_touched_is_read_once(file: Path) -> None:
    read = Reader()
    assert [known_of(file, "text", read) for _ in range(3)] == [{"text": "one"}] * 3
    assert read.count == 1


def test_a_file_that_was_just_written_is_read_again(file: Path) -> None:
    read = Reader()
    assert [known_of(file, "text", read) for _ in range(3)] == [{"text": "one"}] * 3
    assert (read.count, memories()) == (3, [])


def test_another_kind_of_knowledge_is_read_for_itself(file: Path) -> None:
    read = Reader()
    known_of(file, "text", read)
    known_of(file, "text/2", read)
    assert read.count == 2


@pytest.mark.usefixtures("at_once")
def test_a_file_changed_in_place_is_noticed_though_size_and_time_are_set_back(file: Path) -> None:
    read = Reader()
    known_of(file, "text", read)
    tick()
    was = file.stat()
    with file.open("r+") as stream:
        stream.write("two")
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns, file.stat().st_ino) == (3, was.st_mtime_ns, was.st_ino)
    assert known_of(file, "text", read) == {"text": "two"}


@pytest.mark.usefixtures("at_once")
def test_a_file_that_takes_the_place_of_another_of_its_size_and_time_is_noticed(file: Path) -> None:
    read = Reader()
    known_of(file, "text", read)
    tick()
    was, other = file.stat(), file.with_name("other")
    other.write_text("two")
    os.utime(other, ns=(was.st_atime_ns, was.st_mtime_ns))
    other.replace(file)
    assert known_of(file, "text", read) == {"text": "two"}


def test_a_hundred_changes_in_a_moment_are_all_noticed(file: Path) -> None:
    for number in range(100):
        file.write_text(f"{number:03}")
        assert known_digest(file) == file_digest(file)


def test_two_files_of_the_same_folder_are_two(file: Path) -> None:
    other = file.with_name("other.txt")
    other.write_text("two")
    read = Reader()
    assert known_of(file, "text", read) == {"text": "one"}
    assert known_of(other, "text", read) == {"text": "two"}


@pytest.mark.usefixtures("at_once")
def test_a_link_is_the_file_it_leads_to(file: Path) -> None:
    link = file.with_name("link.txt")
    link.symlink_to(file)
    read = Reader()
    assert known_of(file, "text", read) == known_of(link, "text", read) == {"text": "one"}
    assert read.count == 1
    other = file.with_name("other.txt")
    other.write_text("two")
    link.unlink()
    link.symlink_to(other)
    assert known_of(link, "text", read) == {"text": "two"}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"null", b"[]", b"7", b'{"stamp": 1}', b'{"known": {}}', b'{"stamp": null}']
)
@pytest.mark.usefixtures("at_once")
def test_a_memory_that_is_damaged_costs_a_reading_and_is_mended(content: bytes, file: Path) -> None:
    read = Reader()
    known_of(file, "text", read)
    (memory,) = memories()
    memory.write_bytes(content)
    assert known_of(file, "text", read) == {"text": "one"}
    assert known_of(file, "text", read) == {"text": "one"}
    assert read.count == 2
    assert memories() == [memory]
    assert json.loads(memory.read_bytes())["known"] == {"text": "one"}


@pytest.mark.usefixtures("at_once")
def test_a_memory_that_cannot_be_written_costs_a_reading_each_time(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no folder").write_text("")
    monkeypatch.setenv("ALIGNX_CACHE", str(tmp_path / "no folder"))
    read = Reader()
    assert [known_of(file, "text", read) for _ in range(2)] == [{"text": "one"}] * 2
    assert read.count == 2
    assert known_digest(file) == file_digest(file)


@pytest.mark.usefixtures("at_once")
def test_a_folder_in_the_place_of_a_memory_costs_a_reading(file: Path) -> None:
    read = Reader()
    known_of(file, "text", read)
    (memory,) = memories()
    memory.unlink()
    memory.mkdir()
    assert known_of(file, "text", read) == {"text": "one"}


def test_a_file_that_is_not_there_is_not_known_although_it_was(file: Path) -> None:
    known_digest(file)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        known_digest(file)


@pytest.mark.parametrize(
    ("own", "general", "expected"),
    [("/own", "/general", "/own"), (None, "/general", "/general/alignx"), (None, None, "HOME/.cache/alignx")],
)
def test_the_place_is_what_the_environment_says(
    own: str | None, general: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("ALIGNX_CACHE", own), ("XDG_CACHE_HOME", general)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected.replace("HOME", str(Path.home())))
