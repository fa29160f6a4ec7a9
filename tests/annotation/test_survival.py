"""Annotating while the server misbehaves in every way and the process is killed; and no secret gets out."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from alignx.annotation.annotating import annotate
from alignx.annotation.oracle import MODEL, Oracle
from alignx.chat.server import ChatServer
from alignx.errors import PartialError
from alignx.records import Records, load_taxonomy
from tests.annotation.test_annotating import read, settings, stripped
from tests.chat.spoiling import TRICKY
from tests.chat.storms import GOOD, Storm
from tests.worlds import sample_records, write_jsonl

ROOT = Path(__file__).resolve().parents[2]
SLOTS = 8
EVERYTHING = {
    **{name: 0.04 for name in ("429", "429-seconds", "429-zero", "500", "502", "503", "hang", "drop", "cut", "html")},
    **{name: 0.04 for name in ("no-choices", "no-content", "refusal", "filter", "length", "wrong-enum", "quoted")},
}


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "truth.jsonl", sample_records(45, seed=6))


@pytest.fixture
def data(truth: Path, tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "data.jsonl", map(stripped, read(truth)))


def oracle(truth: Path) -> Oracle:
    return Oracle(Records(str(truth)), load_taxonomy())


def calm(truth: Path, data: Path, folder: Path) -> Path:
    """What comes of a server without a fault."""
    with ChatServer(oracle(truth), model=MODEL) as server:
        annotate(settings(server, data, folder / "calm.jsonl"))
    return folder / "calm.jsonl"


def command(server: ChatServer, data: Path, output: Path) -> list[str]:
    flags = {"data": data, "output": output, "model": MODEL, "base-url": server.base_url, "concurrency": SLOTS}
    short = {"timeout": 1, "patience": 60, "tries": 8}
    words = [word for name, value in {**flags, **short}.items() for word in (f"--{name}", str(value))]
    return [sys.executable, "-m", "alignx", "annotate", "directions", *words]


@pytest.mark.slow
def test_ten_kills_under_a_storm_lose_nothing_and_ask_nothing_twice_beyond_the_slots(
    truth: Path, data: Path, tmp_path: Path
) -> None:
    """40 seconds: eleven starts of a process of its own."""
    expected = calm(truth, data, tmp_path).read_bytes()
    storm = Storm(oracle(truth), seed=1, chances=EVERYTHING, calm_after=6, retry_after=0.05)
    rng, kills = random.Random(0), 0
    with ChatServer(storm, model=MODEL, latency=0.1) as server:
        words = command(server, data, tmp_path / "out.jsonl")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        while kills < 10:
            before = len(storm.records)
            process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while len(storm.records) == before and process.poll() is None:
                time.sleep(0.01)
            time.sleep(rng.uniform(0.05, 0.5))
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert kills == 10, "there was too little to do"
    assert len(storm.did) > len(EVERYTHING) / 2, "hardly anything went wrong"
    assert (tmp_path / "out.jsonl").read_bytes() == expected
    replies = read(tmp_path / "out.jsonl.replies.jsonl")
    usable = [reply["id"] for reply in replies if "problem" not in reply]
    given = Counter(one.digest for one in storm.records if one.sent and one.did in (GOOD, *TRICKY))
    assert len(usable) == len(set(usable)) == len(given)
    assert given.total() - len(given) <= kills * SLOTS


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("refusal", "refused"),
        ("wrong-enum", "option is"),
        ("no-choices", "no choices"),
        ("length", "cut off"),
        ("filter", "filter"),
        ("no-content", "empty"),
        ("400-context", "maximum context length"),
    ],
)
def test_an_item_that_always_fails_ends_with_its_reason_and_the_others_are_annotated(
    fault: str, reason: str, truth: Path, data: Path, tmp_path: Path
) -> None:
    def unlucky(body: Any) -> bool:
        return "naïve" in body["messages"][1]["content"]

    storm = Storm(oracle(truth), always={fault: unlucky}, retry_after=0.01)
    with ChatServer(storm, model=MODEL) as server, pytest.raises(PartialError, match=reason):
        annotate(settings(server, data, tmp_path / "out.jsonl", tries=2))
    items = [
        item
        for row in read(tmp_path / "out.jsonl")
        for name in ("User-Generated Content", "Pair-wise Comparative Feedback")
        for item in row.get(name, [])
    ]
    failed = [item for item in items if "Preference Direction" not in item]
    assert 0 < len(failed) < len(items)
    assert all(reason in item["annotation"]["problem"] for item in failed)


SECRETS = {
    "OPENAI_API_KEY": "sk-live-0123456789abcdef",
    "HF_TOKEN": "hf_AbCdEfGhIjKlMnOp",
    "ANNOTATOR_KEY": "annotator-key-5f4dcc3b",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMIK7MDENG",
    "DB_PASSWORD": "correct-horse-battery",
    "WANDB_API_KEY": "w" * 24,
}


def test_no_secret_of_the_environment_reaches_a_file_or_a_message(
    truth: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server repeats all of them, in errors and in replies."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    told = " ".join(SECRETS.values())
    inner = oracle(truth)

    def indiscreet(body: Any) -> str:
        return f"Your secrets are {told}. {inner(body)}"

    output = tmp_path / "out" / "out.jsonl"
    flags = {"api_key_env": "ANNOTATOR_KEY", "evaluate": False}
    with ChatServer(indiscreet, model=MODEL) as server:
        said = annotate(settings(server, data, output, **flags))
    with ChatServer(Storm(inner, always={"401": lambda _: True}), model=MODEL) as server:
        output.unlink()
        (output.parent / "out.jsonl.manifest.json").unlink()
        (output.parent / "out.jsonl.replies.jsonl").unlink()
        with pytest.raises(Exception, match="key") as refused:
            annotate(settings(server, data, output, **flags))
    shown = capsys.readouterr()
    written = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*") if path.is_file()]
    for text in (said, str(refused.value), shown.out, shown.err, *written):
        for value in SECRETS.values():
            assert value not in text


def test_what_a_server_repeats_is_struck_out_of_its_reply_and_the_rest_is_kept(
    truth: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRETS["OPENAI_API_KEY"])
    inner = oracle(truth)
    with ChatServer(lambda body: f"{SECRETS['OPENAI_API_KEY']} {inner(body)}", model=MODEL) as server:
        annotate(settings(server, data, tmp_path / "out.jsonl", limit=3))
    texts = [json.loads(line)["text"] for line in (tmp_path / "out.jsonl.replies.jsonl").read_text().splitlines()]
    assert texts
    assert all(text.startswith("[OPENAI_API_KEY] {") for text in texts)
