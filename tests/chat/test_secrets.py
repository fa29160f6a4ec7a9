"""Keys are written nowhere: not into files, messages, logs or bars, whoever repeats them."""

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest

from alignx.chat import secrets
from alignx.chat.asking import ask
from alignx.chat.connections import Raw
from alignx.chat.replies import Replies
from alignx.chat.secrets import redact
from alignx.chat.server import Asked, ChatServer, completion, failure
from alignx.chat.settings import ServerSettings
from alignx.errors import AlignXError
from alignx.settings import parse
from tests.chat.questioning import MODEL, answer, asks, number_in

SECRETS = {
    "OPENAI_API_KEY": "sk-fake-openai-4f9c1d2e",
    "HF_TOKEN": "hf_fakeHuggingFace77aa",
    "MY_LLM": "plain-looking-custom-value-1234",
    "PASSWORD_IN_URL": "fakePasswordInUrl99",
    "QUERY_IN_URL": "fakeQueryInUrl88",
    "GIVEN_BY_MISTAKE": "hf_fakeGivenByMistake66",
}
IN_ENVIRONMENT = {name: SECRETS[name] for name in ("OPENAI_API_KEY", "HF_TOKEN", "MY_LLM")}
"""The others are where nobody looks for them."""


@pytest.fixture(autouse=True)
def nothing_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_used", {})


def test_values_of_variables_that_are_called_secret_are_struck_out(monkeypatch: pytest.MonkeyPatch) -> None:
    named = ["WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "GITHUB_PAT", "myapikey"]
    named += ["BASIC_AUTH", "GOOGLE_CREDENTIALS", "OPENAI_API_KEY_2"]
    for number, name in enumerate(named):
        monkeypatch.setenv(name, f" secret-value-{number:02} ")
        assert redact(f"[secret-value-{number:02}]") == f"[[{name}]]"


def test_ordinary_variables_and_short_values_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary = {"GIT_AUTHOR_NAME": "Jane Example", "TOKENIZERS_PARALLELISM": "certainly", "KEYBOARD": "standard layout",
                "XAUTHORITY": "/home/jane/.Xauthority", "API_KEY": "EMPTY", "PATH_LIKE": "/usr/bin/thing"}  # fmt: skip
    for name, value in ordinary.items():
        monkeypatch.setenv(name, value)
        assert redact(f"so {value} is") == f"so {value} is", name


def test_a_key_that_was_used_is_struck_out_whatever_its_variable_is_called() -> None:
    assert redact("a plain-looking value") == "a plain-looking value"
    secrets.remember("MY_LLM", "plain-looking")
    assert redact("a plain-looking value") == "a [MY_LLM] value"
    secrets.remember("MY_LLM", "short")
    assert redact("a short value") == "a short value"


def test_a_secret_within_a_longer_one_does_not_leave_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRST_KEY", "abcdefgh")
    monkeypatch.setenv("SECOND_KEY", "abcdefgh-and-more")
    assert redact("abcdefgh-and-more, abcdefgh") == "[SECOND_KEY], [FIRST_KEY]"


def test_a_secret_is_found_as_json_writes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_PASSWORD", 'quote"back\\slash')
    assert redact(json.dumps({"said": 'quote"back\\slash'})) == '{"said": "[A_PASSWORD]"}'


def test_the_password_of_an_address_is_struck_out_and_other_addresses_are_not() -> None:
    assert redact("proxy http://jane:pw@proxy:3128 refused") == "proxy http://[…]@proxy:3128 refused"
    for same in ("https://example.org/@jane", "jane@example.org", "see https://a.org and b@c.org"):
        assert redact(same) == same
    assert redact("x" * 100_000 + "://" * 30_000)


PROGRAM = """
import sys
import traceback
from pathlib import Path
from alignx.chat import asking
from alignx.chat.asking import ask
from alignx.chat.replies import Replies
from alignx.chat.settings import ServerSettings
from alignx.errors import AlignXError
from alignx.settings import parse
from tests.chat.questioning import asks
asking._FIRST_WAIT = 0.01
try:
    settings = parse(ServerSettings, sys.argv[2:], "ask")
    with Replies(Path(sys.argv[1]) / "replies.jsonl") as replies:
        print(ask(asks(12), settings, "m", replies, 12))
except AlignXError as error:
    print("error:", error, file=sys.stderr)
"""


def everything_written(folder: Path, *flags: str, **env: str) -> str:
    """All that a run of its own process leaves: its two streams, and every file."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore", "-c", PROGRAM, str(folder), *flags],
        env={**os.environ, "OPENAI_LOG": "debug", "PYTHONUNBUFFERED": "1", **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    files = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    return "\n".join([done.stdout, done.stderr, *files])


def echo(asked: Asked) -> str | Raw:
    """Repeats the key in every way a server can: in errors of each kind, in pages, in replies and their parts."""
    said = f"You sent {asked.headers['Authorization']} with it"
    long = "x" * 280 + asked.headers["Authorization"]
    match number_in(asked):
        case 0:
            return failure(400, said)
        case 1:
            return failure(422, long)
        case 2:
            return Raw(status=400, headers={"Content-Type": "text/html"}, body=f"<html>{said}</html>".encode())
        case 3:
            return failure(500, said)
        case 4:
            return json.dumps({"option": asked.headers["Authorization"].removeprefix("Bearer ")})
        case 5:
            return Raw.json(completion(asked, None, refusal=long))
        case 6:
            return Raw.json({"error": {"message": said}})
        case 7:
            return Raw.json({**completion(asked, answer(asked), said), "model": said})
        case 8:
            return said
    return answer(asked)


def parts(secret: str) -> list[str]:
    """Beginnings and ends by which a secret could be recognised."""
    return [secret[:10], secret[-10:]]


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "MY_LLM"])
def test_a_server_that_repeats_the_key_in_every_way_gets_it_written_nowhere(tmp_path: Path, variable: str) -> None:
    with ChatServer(echo, model=MODEL, shutdown_date="2999-01-01") as server:
        flags = ["--base-url", server.base_url, "--patience", "0.1", "--tries", "1", "--api-key-env", variable]
        written = everything_written(tmp_path / "out", *flags, **SECRETS)
    assert "Tally(known=0, answered=4, failed=8" in written  # it did all it could
    assert f"You sent Bearer [{variable}] with it" in written
    for name, secret in SECRETS.items():
        for part in parts(secret):
            assert part not in written, f"{part!r} of {name}"


@pytest.mark.parametrize("status", [401, 403, 404, 429])
def test_a_permanent_error_that_repeats_the_key_does_not_show_it(tmp_path: Path, status: int) -> None:
    def refuse(asked: Asked) -> Raw:
        return failure(
            status, "x" * 270 + asked.headers["Authorization"], code="insufficient_quota" if status == 429 else None
        )

    with ChatServer(refuse, model=MODEL) as server:
        written = everything_written(tmp_path, "--base-url", server.base_url, **IN_ENVIRONMENT)
    assert f"(HTTP {status}: xxx" in written
    assert not [part for secret in SECRETS.values() for part in parts(secret) if part in written]


@pytest.mark.parametrize(
    "flags",
    [
        ["--base-url", "http://jane:{PASSWORD_IN_URL}@localhost:1/v1"],
        ["--base-url", "jane:{PASSWORD_IN_URL}@localhost:1/v1"],
        ["--base-url", "https://jane:{PASSWORD_IN_URL}@[bad/v1"],
        ["--base-url", "http://localhost:1/v1?api-key={QUERY_IN_URL}"],
        ["--base-url", "localhost:1/v1?api-key={QUERY_IN_URL}"],
        ["--base-url", "http://localhost:1/v1#{QUERY_IN_URL}"],
        ["--api-key-env", "{GIVEN_BY_MISTAKE}"],
        ["--api-key-env", "{OPENAI_API_KEY}"],
        ["--api-key-env", "{GIVEN_BY_MISTAKE}", "--base-url", "http://localhost:1/v1"],
        ["--api-key", "{GIVEN_BY_MISTAKE}"],
        ["--api-key={GIVEN_BY_MISTAKE}"],
        ["--base-url", "http://localhost:1/v1"],
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_and_not_repeated(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in IN_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    def run() -> None:
        settings = parse(ServerSettings, [flag.format(**SECRETS) for flag in flags], "ask")
        with Replies(tmp_path / "replies.jsonl") as replies:
            ask(asks(1), settings, MODEL, replies, 1)  # type: ignore[arg-type]

    with pytest.raises(AlignXError) as caught:
        run()
    shown = "".join(traceback.format_exception(caught.value))
    assert not [part for secret in SECRETS.values() for part in parts(secret) if part in shown]


def test_the_password_of_a_proxy_is_not_shown(tmp_path: Path) -> None:
    env: dict[str, Any] = {"http_proxy": f"http://jane:{SECRETS['PASSWORD_IN_URL']}@127.0.0.1:9", "no_proxy": ""}
    written = everything_written(
        tmp_path, "--base-url", "http://llm.invalid/v1", "--patience", "0", **IN_ENVIRONMENT, **env
    )
    assert "no server answers" in written
    bad = {"http_proxy": f"strange://jane:{SECRETS['PASSWORD_IN_URL']}@127.0.0.1:9"}
    written += everything_written(tmp_path, "--base-url", "http://llm.invalid/v1", **IN_ENVIRONMENT, **bad)
    assert "the proxy in the environment cannot be used" in written
    assert not [part for secret in SECRETS.values() for part in parts(secret) if part in written]
