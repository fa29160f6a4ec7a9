"""What a user sees while requests are asked."""

from pathlib import Path
from typing import Any

import pytest

from alignx.chat import asking, progress
from alignx.chat.progress import Progress
from alignx.chat.server import ChatServer
from alignx.errors import ApiError
from tests.chat.questioning import MODEL, all_right, answer, put, values
from tests.chat.storms import Storm


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_FIRST_WAIT", 0.01)


def test_a_log_file_gets_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with Progress(1_000) as shown:
        for second in range(100):
            clock[0] = float(second)
            shown.update(failed=2, spent=0.5)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("asking: ")]
    assert lines == [
        f"asking: {number} of 1,000 requests, 2 without a usable reply, 0.50 spent" for number in (31, 61, 91)
    ]


def test_a_server_that_fails_is_said_to_fail_now_and_then(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storm = Storm(answer, chances={"html": 1.0}, calm_after=2)
    with ChatServer(storm, model=MODEL) as server:
        put(server, tmp_path / "replies.jsonl", 8)
    said = [line for line in capsys.readouterr().err.splitlines() if "asked again" in line]
    assert len(said) == 1
    assert "the reply is no JSON; asked again, each request for up to 5 s" in said[0]
    assert values(tmp_path / "replies.jsonl", 8) == all_right(8)


def test_a_model_that_never_says_what_is_asked_is_given_up_early(tmp_path: Path) -> None:
    storm = Storm(answer, chances={"wrong-enum": 1.0}, calm_after=None)
    with (
        ChatServer(storm, model=MODEL) as server,
        pytest.raises(ApiError, match="none to the first 10 requests"),
    ):
        put(server, tmp_path / "replies.jsonl", 200, concurrency=4, tries=2)
    assert len(storm.records) <= 2 * (10 + 4)


def test_a_model_that_is_understood_once_is_asked_to_the_end(tmp_path: Path) -> None:
    storm = Storm(answer, always={"wrong-enum": lambda body: "number 0?" not in body["messages"][-1]["content"]})
    with ChatServer(storm, model=MODEL) as server:
        tally = put(server, tmp_path / "replies.jsonl", 30, concurrency=1, tries=1)
    assert (tally.answered, tally.failed) == (1, 29)


def test_requests_that_cannot_succeed_never_keep_those_behind_them_from_being_asked(tmp_path: Path) -> None:
    """The first 12 are always unusable: the first start gives up, and the second begins with the others."""

    def unlucky(body: Any) -> bool:
        return int(body["messages"][-1]["content"].split()[-1].rstrip("?")) < 12

    storm = Storm(answer, always={"wrong-enum": unlucky})
    with ChatServer(storm, model=MODEL) as server:
        with pytest.raises(ApiError, match="none to the first 10 requests"):
            put(server, tmp_path / "replies.jsonl", 40, concurrency=1, tries=1)
        tally = put(server, tmp_path / "replies.jsonl", 40, concurrency=1, tries=1)
    assert (tally.answered, tally.failed) == (28, 12)
    assert values(tmp_path / "replies.jsonl", 40)[12:] == all_right(40)[12:]
