"""Judging while the server misbehaves in every way and the process is killed; and no secret gets out."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from alignx.chat import asking, secrets
from alignx.chat.server import Asked, ChatServer, failure
from alignx.errors import ApiError
from tests.judging.comparing import MODEL, everything, judge, judged, lines, report, run, settings, two
from tests.judging.surviving import ROOT, TROUBLES, survive


@pytest.mark.slow
def test_kills_under_a_storm_lose_no_pair_count_none_twice_and_repeat_no_more_than_was_under_way(
    tmp_path: Path,
) -> None:
    """60 seconds: nine starts of a process of its own. ``benchmarks/judging_storm.py`` does it with 10,000 pairs."""
    flags = two(tmp_path, 200)
    found = survive(tmp_path, flags, kills=8, slots=16, trouble=0.025)
    assert found.kills == 8, "there was too little to do"
    assert set(TROUBLES) <= set(found.did), "not everything went wrong"
    assert (found.pairs, found.doubled) == (200, 0)
    assert found.usable == found.distinct
    assert found.repeated <= found.kills * found.slots
    assert found.same_report


def test_whatever_stops_a_run_the_next_goes_on_from_what_was_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after every few replies, in the process itself."""
    flags = two(tmp_path, 12)
    inner, left = judge(), [5]

    def tired(asked: Asked) -> Any:
        left[0] -= 1
        return inner(asked) if left[0] >= 0 else failure(403, "come back later")

    monkeypatch.setattr(asking, "_FIRST_WAIT", 0.01)
    starts = 0
    with ChatServer(tired, model=MODEL, shutdown_date="2999-01-14") as server:
        while not (tmp_path / "out" / "manifest.json").exists():
            starts, left[0] = starts + 1, 5
            with suppress(ApiError):
                run(server, tmp_path / "out", flags, concurrency=1)
    assert starts > 3
    with ChatServer(judge(), model=MODEL, shutdown_date="2999-01-14") as server:
        run(server, tmp_path / "calm", flags)
    assert everything(tmp_path / "out") == everything(tmp_path / "calm")


def test_a_start_that_was_killed_before_its_report_knows_when_the_judge_ends(tmp_path: Path) -> None:
    """All replies are there, so that the next start asks nobody, and nobody tells it the date again."""
    flags = two(tmp_path, 6)
    with ChatServer(judge(), model=MODEL, shutdown_date="2999-01-14") as server:
        run(server, tmp_path / "out", flags)
        before = everything(tmp_path / "out")
    for path in (tmp_path / "out").glob("*"):
        if path.name not in ("replies.jsonl", "judge.json") and path.is_file():
            path.unlink()
    run(None, tmp_path / "out", flags)
    assert everything(tmp_path / "out") == before


def test_a_last_line_that_a_kill_cut_off_is_asked_again(tmp_path: Path) -> None:
    flags = two(tmp_path, 6)
    judged(tmp_path / "out", flags)
    before = everything(tmp_path / "out")
    replies = tmp_path / "out" / "replies.jsonl"
    count = len(lines(replies))
    replies.write_bytes(replies.read_bytes()[:-30])
    (tmp_path / "out" / "manifest.json").unlink()
    judged(tmp_path / "out", flags)
    assert len(lines(replies)) == count
    assert everything(tmp_path / "out") == before


SECRETS = {
    "OPENAI_API_KEY": "sk-live-0123456789abcdef",
    "HF_TOKEN": "hf_AbCdEfGhIjKlMnOp",
    "JUDGE_KEY": "judge-key-5f4dcc3b",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMIK7MDENG",
    "DB_PASSWORD": "correct-horse-battery",
    "IN_THE_ADDRESS": "s3cret-in-the-address",
}


def written(folder: Path) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()]


def test_no_secret_of_environment_or_settings_reaches_a_file_a_log_or_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server repeats all of them, in replies, in refusals and in errors; the client logs all it can."""
    monkeypatch.setattr(secrets, "_used", {})
    flags = two(tmp_path, 6)
    inner = judge()
    known = {name: value for name, value in SECRETS.items() if name != "IN_THE_ADDRESS"}
    said = " ".join(known.values())

    def indiscreet(asked: Asked) -> Any:
        reply = json.loads(inner(asked))
        if reply["verdict"] == "tie":
            return failure(400, f"your secrets are {said}")
        return f"Your secrets are {said}. {json.dumps({**reply, 'reason': said})}"

    def start(server: ChatServer, output: Path, **more: Any) -> str:
        named = {
            **flags,
            "output": output,
            "judge-model": MODEL,
            "base-url": server.base_url,
            "api-key-env": "JUDGE_KEY",
            "tries": 1,
            **more,
        }
        words = [word for name, value in named.items() for word in (f"--{name}", str(value))]
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "ignore", str(ROOT / "eval" / "win_rate.py"), *words],
            env={**os.environ, "PYTHONPATH": str(ROOT), "OPENAI_LOG": "debug", **known},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    with ChatServer(indiscreet, model=MODEL) as server:
        texts = [start(server, tmp_path / "out")]
        address = server.base_url.replace("//", f"//me:{SECRETS['IN_THE_ADDRESS']}@")
        texts.append(start(server, tmp_path / "other", **{"base-url": address}))
        texts.append(start(server, tmp_path / "other", **{"api-key-env": SECRETS["HF_TOKEN"]}))
    with ChatServer(lambda asked: failure(401, f"refused: {asked.headers['Authorization']}"), model=MODEL) as server:
        texts.append(start(server, tmp_path / "refused"))
    assert "win rate" in texts[0]
    assert "holds a user name, a password or a query" in texts[1]
    assert "--api-key-env" in texts[2]
    assert "key is refused" in texts[3]
    assert "[JUDGE_KEY]" in "".join(written(tmp_path / "out"))  # it was repeated, and struck out
    for text in [*texts, *written(tmp_path)]:
        assert not [name for name, value in SECRETS.items() if value in text]


def test_the_reason_of_a_judge_is_data_wherever_it_is_printed(tmp_path: Path) -> None:
    def hostile(asked: Asked) -> str:
        reply = json.loads(judge()(asked))
        return json.dumps({**reply, "verdict": "<script>alert(1)</script>"})

    flags = two(tmp_path, 4)
    with ChatServer(hostile, model=MODEL) as server:
        run(server, tmp_path / "out", flags, tries=1)
    assert report(tmp_path / "out")["overall"]["judged"] == 0
    assert "<script>alert" not in (tmp_path / "out" / "win-rate.html").read_text()
    assert settings(None, tmp_path / "out", flags).least_coverage == 0
