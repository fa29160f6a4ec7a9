"""The local server of chat completions, asked by the client that will ask the real ones."""

import asyncio
import gc
import http.client
import json
import math
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from email.message import Message
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignx.chat.connections import Raw
from alignx.chat.server import Asked, ChatServer, completion
from alignx.errors import SettingsError

HELLO = {"model": "coin", "messages": [{"role": "user", "content": "heads?"}]}


def echo(asked: Asked) -> str:
    return str(asked["messages"][-1]["content"])


def client_of(server: ChatServer, **settings: Any) -> Any:
    from openai import OpenAI

    settings = {"timeout": 10.0, "_strict_response_validation": True, **settings}
    return OpenAI(base_url=server.base_url, api_key="unused", max_retries=0, **settings)


def say(server: ChatServer, text: str = "heads?", **more: Any) -> Any:
    with client_of(server) as client:
        return client.chat.completions.create(**{**HELLO, "messages": [{"role": "user", "content": text}], **more})


def connect(server: ChatServer) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(server.base_url).netloc, timeout=10)


def threads_of_servers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("chat-")]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer(echo, model="coin") as serving:
        yield serving


def test_a_reply_is_a_whole_chat_completion(server: ChatServer) -> None:
    before = int(time.time())
    reply = say(server, "tails, naïve 東京")
    assert reply.choices[0].message.model_dump(exclude_unset=True) == {
        "role": "assistant",
        "content": "tails, naïve 東京",
        "refusal": None,
    }
    assert (len(reply.choices), reply.choices[0].index, reply.choices[0].finish_reason) == (1, 0, "stop")
    assert (reply.object, reply.model) == ("chat.completion", "coin")
    assert before <= reply.created <= time.time()
    assert reply.id != say(server).id
    assert reply._request_id.startswith("req_")


def test_usage_is_a_token_for_every_four_characters_begun() -> None:
    messages = [
        {"role": "system", "content": "12345"},
        {"role": "user", "content": [{"type": "text", "text": "678"}]},
        {"role": "assistant", "content": None},
    ]
    usage = completion({"model": "coin", "messages": messages}, "12345")["usage"]
    assert usage == {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}  # 8 / 4, and 5 / 4 rounded up


def test_the_answer_sees_the_whole_request_and_its_headers() -> None:
    seen: list[Asked] = []

    def remember(asked: Asked) -> str:
        seen.append(asked)
        return "{}"

    shape = {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": {"type": "object"}}}
    with ChatServer(remember, model="coin") as server:
        say(server, response_format=shape, seed=3, temperature=0.0, max_completion_tokens=7)
    body = {**HELLO, "response_format": shape, "seed": 3, "temperature": 0.0, "max_completion_tokens": 7}
    assert seen == [body]
    assert seen[0].headers["authorization"] == "Bearer unused"


def test_a_reply_longer_than_asked_for_is_cut_and_says_so(server: ChatServer) -> None:
    reply = say(server, "123456789", max_completion_tokens=2)
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("12345678", "length")
    assert reply.usage.completion_tokens == 2
    whole = say(server, "12345678", max_completion_tokens=2)
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == ("12345678", "stop")


def test_models_are_listed_and_looked_up_with_the_date_of_their_end() -> None:
    with ChatServer(echo, model="maker/coin") as server, client_of(server) as client:
        assert [(model.id, model.shutdown_date) for model in client.models.list()] == [("maker/coin", None)]
        server.shutdown_date = "2027-01-14"
        assert client.models.retrieve("maker/coin").shutdown_date == "2027-01-14"


def test_what_cannot_be_asked_is_refused_in_the_classes_of_the_client(server: ChatServer) -> None:
    from openai import BadRequestError, NotFoundError

    with pytest.raises(NotFoundError, match="`dice` does not exist; this server has `coin`") as unknown:
        say(server, model="dice")
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    with client_of(server) as client, pytest.raises(NotFoundError, match="`dice`"):
        client.models.retrieve("dice")
    with client_of(server) as client, pytest.raises(NotFoundError, match=r"Invalid URL \(POST /v1/embeddings\)"):
        client.embeddings.create(model="coin", input="heads?")
    for wrong, param in (({"stream": True}, "stream"), ({"n": 2}, "n"), ({"messages": []}, "messages")):
        with pytest.raises(BadRequestError) as refused:
            say(server, **wrong)
        assert (refused.value.param, refused.value.type) == (param, "invalid_request_error")


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"", b'"x"', b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_a_bad_request(server: ChatServer, body: bytes) -> None:
    connection = connect(server)
    connection.request("POST", "/v1/chat/completions", body)
    refused = connection.getresponse()
    error = json.loads(refused.read())["error"]
    assert (refused.status, error["type"]) == (400, "invalid_request_error")
    assert "body" in error["message"]
    connection.request("GET", "/v1/models")  # and the connection still serves
    assert connection.getresponse().status == 200
    connection.close()


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["coin", "text", "\ud800"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["content", "text"]), inner),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries(
        {"model": st.just("coin") | anything, "messages": st.lists(anything, min_size=1, max_size=2) | anything},
        optional=dict.fromkeys(("n", "stream", "max_completion_tokens", "max_tokens"), anything),
    )
)
def test_any_json_gets_a_reply_that_is_json(body: dict[str, Any]) -> None:
    server = ChatServer(lambda request: "yes", model="coin")
    reply = server.respond("POST", "/v1/chat/completions", Message(), json.dumps(body).encode())
    assert reply.status in (200, 400, 404)
    assert ("choices" if reply.status == 200 else "error") in json.loads(reply.body)


def test_an_answer_that_fails_is_status_500_with_the_reason_and_the_next_one_is_served() -> None:
    from openai import InternalServerError

    answers: Any = iter([ValueError("no such side: 'edge'"), 7, "heads"])

    def answer(asked: Asked) -> str:
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    with ChatServer(answer, model="coin") as server, client_of(server) as client:
        with pytest.raises(InternalServerError, match="ValueError: no such side: 'edge'"):
            client.chat.completions.create(**HELLO)
        with pytest.raises(InternalServerError, match="the answer is a int, expected a str or a Raw reply"):
            client.chat.completions.create(**HELLO)
        assert client.chat.completions.create(**HELLO).choices[0].message.content == "heads"


def test_a_raw_reply_arrives_byte_for_byte() -> None:
    left: list[bool] = []
    raw = Raw(
        status=529, headers={"Retry-After": "2", "Content-Type": "text/plain"}, body=b"\x00full", leaving=left.append
    )
    with ChatServer(lambda request: raw, model="coin") as server:
        connection = connect(server)
        connection.request("POST", "/v1/chat/completions", json.dumps(HELLO))
        reply = connection.getresponse()
        assert (reply.status, reply.headers["Retry-After"], reply.read()) == (529, "2", b"\x00full")
        assert reply.headers["Content-Type"] == "text/plain"
        assert left == [True]
        connection.close()


def test_64_connections_are_served_at_the_same_time() -> None:
    from openai import AsyncOpenAI

    together = threading.Barrier(64)

    def answer(asked: Asked) -> str:
        together.wait(10)  # breaks unless all of them are being answered at once
        return echo(asked)

    async def ask(server: ChatServer) -> list[str | None]:
        async with AsyncOpenAI(base_url=server.base_url, api_key="unused", max_retries=0, timeout=20) as client:

            async def one(number: int) -> str | None:
                asked: Any = {**HELLO, "messages": [{"role": "user", "content": str(number)}]}
                return (await client.chat.completions.create(**asked)).choices[0].message.content

            return await asyncio.gather(*(one(number) for number in range(64)))

    with ChatServer(answer, model="coin") as server:
        assert asyncio.run(ask(server)) == [str(number) for number in range(64)]


def test_connections_that_come_all_at_once_are_not_turned_away(server: ChatServer) -> None:
    address = urlsplit(server.base_url)
    started = time.monotonic()
    with ExitStack() as stack:
        talks = [stack.enter_context(socket.socket()) for _ in range(256)]
        for talk in talks:
            talk.setblocking(False)
        for talk in talks:
            talk.connect_ex((address.hostname, address.port))
        for talk in talks:
            talk.setblocking(True)
            talk.settimeout(10)
            talk.sendall(b"GET /v1/models HTTP/1.1\r\n\r\n")
        assert all(talk.recv(100).startswith(b"HTTP/1.1 200") for talk in talks)
    assert time.monotonic() - started < 3  # who is turned away tries again after 1, 2, 4… seconds


def test_a_connection_is_kept_for_the_next_request(server: ChatServer) -> None:
    connection = connect(server)
    connection.request("GET", "/v1/models")
    connection.getresponse().read()
    kept = connection.sock
    assert kept is not None
    connection.request("POST", "/v1/chat/completions", json.dumps(HELLO))
    assert connection.getresponse().status == 200
    assert connection.sock is kept
    connection.close()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"BREW /v1/models HTTP/1.1\r\n\r\n", 501),
        (b"POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
    ],
)
def test_what_is_no_proper_request_is_refused_in_json_and_the_connection_ends(
    server: ChatServer, sent: bytes, status: int
) -> None:
    with socket.create_connection((urlsplit(server.base_url).hostname, urlsplit(server.base_url).port), 10) as talk:
        talk.sendall(sent)
        head, _, body = b"".join(iter(lambda: talk.recv(4096), b"")).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(body)["error"]["type"] == "invalid_request_error"


def test_clients_that_break_off_get_no_reply_and_make_no_noise(capfd: pytest.CaptureFixture[str]) -> None:
    asked: list[Asked] = []
    reset = struct.pack("ii", 1, 0)  # close at once, without a word
    with ChatServer(lambda request: str(asked.append(request)), model="coin") as server:
        address = urlsplit(server.base_url)
        head = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 999\r\n\r\n"
        for sent in (head + json.dumps(HELLO).encode(), b"GET /v1/mod", b""):
            with socket.create_connection((address.hostname, address.port), 10) as talk:
                talk.sendall(sent)
                talk.shutdown(socket.SHUT_WR)
                assert not talk.recv(1)
            with socket.create_connection((address.hostname, address.port), 10) as talk:
                talk.sendall(b"GET /v1/models HTTP/1.1\r\n\r\n" + sent)
                talk.recv(1)
                talk.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    assert asked == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning")
def test_the_end_leaves_no_socket_to_be_collected(server: ChatServer) -> None:
    say(server)
    server.__exit__()
    gc.collect()
    server.__enter__()  # for the fixture to end
    assert say(server).choices


def test_latency_is_waited_by_all_at_once() -> None:
    with ChatServer(echo, model="coin") as server:
        say(server)
        server.latency = 0.3
        started = time.monotonic()
        threads = [threading.Thread(target=say, args=(server,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 0.3 <= time.monotonic() - started < 2.4  # one after the other, eight of them would take this long


def test_only_this_machine_can_reach_it_unless_told_otherwise(server: ChatServer) -> None:
    port = urlsplit(server.base_url).port
    with pytest.raises(OSError):  # noqa: PT011  (refused or unreachable, by operating system)
        socket.create_connection(("127.0.0.2", port), 5)  # a server on every address answers here


def test_the_end_closes_every_connection_and_leaves_no_thread() -> None:
    from openai import APIConnectionError

    failures: list[Exception] = []

    def wait_for_ever(server: ChatServer) -> None:
        try:
            say(server)
        except APIConnectionError as error:
            failures.append(error)

    with ChatServer(echo, model="coin", latency=math.inf) as server:
        waiting = threading.Thread(target=wait_for_ever, args=(server,))
        waiting.start()
        idle = connect(server)
        idle.request("GET", "/v1/models")
        idle.getresponse().read()
        while threads_of_servers().count("chat-client") < 2:
            time.sleep(0.01)
        address = urlsplit(server.base_url)
        started = time.monotonic()
    assert time.monotonic() - started < 2
    assert threads_of_servers() == []
    waiting.join(5)
    assert [str(error) for error in failures] == ["Connection error."]
    assert idle.sock is not None
    assert idle.sock.recv(1) == b""
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port), 5)


def test_a_client_that_leaves_is_not_waited_for() -> None:
    from openai import APITimeoutError

    left: list[bool] = []
    raw = Raw(hold=math.inf, leaving=left.append)
    with ChatServer(lambda request: raw, model="coin") as server, client_of(server, timeout=0.1) as client:
        with pytest.raises(APITimeoutError):
            client.chat.completions.create(**HELLO)
        patience = time.monotonic() + 5
        while "chat-client" in threads_of_servers() and time.monotonic() < patience:
            time.sleep(0.01)
        assert threads_of_servers() == ["chat-server"]
        assert left == [False]


def test_a_taken_port_and_a_server_that_does_not_serve_say_so(server: ChatServer) -> None:
    port = urlsplit(server.base_url).port
    assert port is not None
    with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1, port {port}: .*port 0 takes a free one"):
        ChatServer(echo, model="coin", port=port).__enter__()
    for use in (lambda: ChatServer(echo, model="coin").base_url, ChatServer(echo, model="coin").serve_forever):
        with pytest.raises(SettingsError, match="is not serving"):
            use()


def test_the_same_port_can_be_served_again_at_once() -> None:
    with ChatServer(echo, model="coin") as server:
        idle = connect(server)
        idle.request("GET", "/v1/models")
        idle.getresponse().read()
        port = idle.port  # closed by the server first, so that the system remembers it for a while
    with ChatServer(echo, model="coin", port=port) as again:
        assert say(again, "again").choices[0].message.content == "again"
    idle.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_server_that_serves_for_ever(number: signal.Signals) -> None:
    program = """
import signal, threading, time
from alignx.chat.server import ChatServer
def say_when_ready():
    while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        time.sleep(0.01)
    print(server.base_url, flush=True)
with ChatServer(lambda request: "heads", model="coin", latency=float("inf")) as server:
    threading.Thread(target=say_when_ready, daemon=True).start()
    server.serve_forever()
print("ended")
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        try:
            assert process.stdout is not None
            address = urlsplit(process.stdout.readline())
            waiting = http.client.HTTPConnection(address.netloc, timeout=10)
            waiting.request("POST", "/v1/chat/completions", json.dumps(HELLO))
            process.send_signal(number)
            assert process.communicate(timeout=10)[0] == "ended\n"
        finally:
            process.kill()
    assert process.returncode == 0
    with pytest.raises(ConnectionError):  # whether or not the server had read the request yet
        waiting.getresponse()
    waiting.close()
