"""One request on the wire, and what each kind of reply to it means."""

import asyncio
import email.utils
import json
import socket
import threading
import time
from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignx.chat.connections import Raw
from alignx.chat.question import Ask, Question, Request
from alignx.chat.reading import LONGEST
from alignx.chat.receiving import (
    NoTextError,
    Received,
    RejectedError,
    RetryError,
    message_of,
    read_body,
    retry_after,
    short,
)
from alignx.chat.sending import Sender
from alignx.chat.server import Asked, ChatServer, completion, failure
from alignx.chat.settings import ServerSettings
from alignx.errors import ApiError, SettingsError
from tests.chat.questioning import MODEL, SCHEMA, answer, asks, settings

ONE = asks(1)[0].request


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def send(server: ServerSettings, request: Request = ONE) -> Received:
    async def once() -> Received:
        async with Sender(server, request.model) as sender:
            return await sender.send(request)

    return asyncio.run(once())


def reply_to(raw: Raw, **more: Any) -> Received:
    with ChatServer(lambda asked: raw, model=MODEL) as server:
        return send(settings(server, **more))


def seen_by_a_server(request: Request = ONE, **more: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """The body and the headers of a request, as they arrive."""
    seen: list[Asked] = []

    def remember(asked: Asked) -> str:
        seen.append(asked)
        return answer(asked)

    with ChatServer(remember, model=MODEL) as server:
        send(settings(server, **more), request)
    return dict(seen[0]), {name.lower(): value for name, value in seen[0].headers.items()}


@pytest.mark.parametrize(
    ("structure", "shape"),
    [
        ("schema", {"type": "json_schema", "json_schema": {"name": "option", "strict": True, "schema": SCHEMA}}),
        ("json", {"type": "json_object"}),
        ("text", None),
    ],
)
@pytest.mark.parametrize("temperature", [0.0, 0.7, None])
def test_the_body_is_what_was_asked_for_and_nothing_else(
    structure: str, shape: dict[str, Any] | None, temperature: float | None
) -> None:
    [one] = asks(1, temperature=temperature, structure=structure)
    expected: dict[str, Any] = {
        "model": "m",
        "messages": [{"role": "system", "content": "Answer."}, {"role": "user", "content": "Which is number 0?"}],
        "max_completion_tokens": 40,
    }
    if temperature is not None:
        expected["temperature"] = temperature
    if shape is not None:
        expected["response_format"] = shape
    assert seen_by_a_server(one.request)[0] == expected


def test_the_id_changes_with_everything_that_decides_the_reply_and_with_nothing_else() -> None:
    questions = [Question("a", "b", SCHEMA, "n", 5), Question("a", "b", SCHEMA, "n", 6)]
    questions += [
        Question("a", "b", {}, "n", 5),
        Question("ab", "", SCHEMA, "n", 5),
        Question("a", "b", SCHEMA, "o", 5),
    ]
    variants = [Request(*parts) for parts in product(questions, "mn", (None, 0.0, 1.0), ("schema", "json"))]
    assert len({one.id for one in variants}) == len(variants)
    assert Request(Question("a", "b", dict(reversed(SCHEMA.items())), "n", 5), "m", None, "schema").id == variants[0].id


def test_the_environment_of_the_client_library_redirects_and_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-own-key")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-leak")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-leak")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "admin-leak")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer other-leak\nX-Gateway: header-leak")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    _, headers = seen_by_a_server()
    assert headers.pop("content-length").isdecimal()
    assert headers.pop("host").startswith("127.0.0.1:")
    assert headers.pop("user-agent").startswith("AsyncOpenAI/")
    assert "gzip" in headers.pop("accept-encoding")
    assert headers == {
        "authorization": "Bearer sk-own-key",
        "accept": "application/json",
        "connection": "keep-alive",
        "content-type": "application/json",
    }


def test_a_redirection_is_not_followed_and_says_where_it_points() -> None:
    reached: list[Asked] = []

    def remember(asked: Asked) -> str:
        reached.append(asked)
        return answer(asked)

    with ChatServer(remember, model=MODEL) as other:
        for status in (301, 302, 307, 308):
            target = f"{other.base_url}/chat/completions"
            with pytest.raises(ApiError, match=f"not the server itself, it points to {target}"):
                reply_to(Raw(status=status, headers={"Location": target}))
    assert reached == []


def test_a_proxy_that_cannot_be_used_is_a_setting_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "strange://proxy:1")
    with pytest.raises(SettingsError, match="the proxy in the environment cannot be used"):
        Sender(ServerSettings(base_url="https://llm.invalid/v1"), MODEL)


def test_a_reply_says_its_text_its_usage_and_its_time() -> None:
    with ChatServer(lambda asked: "naïve 東京", model=MODEL, latency=0.1) as server:
        got = send(settings(server))
    assert (got.text, got.finish, got.model) == ("naïve 東京", "stop", "m")
    assert (got.prompt_tokens, got.reply_tokens) == (7, 2)  # 25 and 8 characters, 4 a token
    assert 0.1 <= got.seconds < 2


MESSAGE = {"message": {"content": "yes"}, "finish_reason": "stop"}


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4}, (3, 4)),
        ({"prompt_tokens": -3, "completion_tokens": True}, (None, None)),
        ({"prompt_tokens": "3", "completion_tokens": 4.0}, (None, None)),
        ({"prompt_tokens": 10**400, "completion_tokens": 0}, (None, 0)),
        (None, (None, None)),
        ([1], (None, None)),
    ],
)
def test_usage_is_taken_as_the_server_counts_it_where_it_makes_sense(
    usage: object, counts: tuple[object, object]
) -> None:
    got = read_body(Raw.json({"choices": [MESSAGE], "usage": usage}).body, 0.0)
    assert (got.prompt_tokens, got.reply_tokens, got.text) == (*counts, "yes")


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        ([], "no choices"),
        (["yes"], "no choices"),
        ([{"message": {"content": None}, "finish_reason": "stop"}], "empty"),
        ([{"message": {"content": " \n"}, "finish_reason": "stop"}], "empty"),
        ([{"message": None}], "empty"),
        ([{"message": {"content": ["yes"]}}], "empty"),
        ([{"message": {"content": "yes", "refusal": "I cannot"}, "finish_reason": "stop"}], "refused: I cannot"),
        ([{"message": {"content": "yes"}, "finish_reason": "length"}], "cut off after its tokens"),
        ([{"message": {"content": "yes"}, "finish_reason": "content_filter"}], "stopped by a content filter"),
    ],
)
def test_a_completion_without_a_text_says_why(choices: list[object], reason: str) -> None:
    with pytest.raises(NoTextError, match=f"^{reason}$"):
        read_body(Raw.json({"choices": choices}).body, 0.0)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[]", b'"yes"', b"{}", b'{"choices": null}', b'{"choices": {}}', b"<html>", b"\xff\xfe",
     b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5000, b"data: {}\n\n"],
)  # fmt: skip
def test_what_is_no_completion_may_have_been_counted_and_is_asked_again(body: bytes) -> None:
    with pytest.raises(RetryError, match=r"^the reply is no (JSON|chat completion)$") as caught:
        read_body(body, 0.0)
    assert caught.value.counted


def test_an_error_that_comes_as_a_success_says_what_it_says() -> None:
    with pytest.raises(RetryError, match=r"^the reply is no chat completion: upstream is down$"):
        read_body(b'{"error": {"message": "upstream is down", "code": 502}}', 0.0)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), lambda inner: st.lists(inner)
       | st.dictionaries(st.sampled_from(["choices", "message", "content", "refusal", "finish_reason", "usage",
       "prompt_tokens", "model", "error"]), inner), max_leaves=30))  # fmt: skip
def test_no_json_whatever_it_holds_is_more_than_a_reply_or_a_failure(value: object) -> None:
    try:
        text = read_body(Raw.json(value).body, 0.0).text
    except (RetryError, NoTextError) as error:
        text = str(error)
    assert text.strip()
    text.encode()


def test_a_reply_too_long_to_be_read_is_kept_as_its_beginning() -> None:
    body = json.dumps({"choices": [{"message": {"content": "x" * (LONGEST + 1)}, "finish_reason": "stop"}]})
    with pytest.raises(
        NoTextError, match=f"the reply has {LONGEST + 1} characters, at most {LONGEST} are read"
    ) as told:
        read_body(body.encode(), 0.0)
    assert len(told.value.received.text) < 400
    request = Request(Question("Answer.", "Why?", {}, "response", 7), "m", 0.5, "text")
    assert not Ask("a", request, str, any_text=True).takes(told.value.received.finish)


def test_half_a_character_becomes_a_question_mark() -> None:
    got = read_body(b'{"choices": [{"message": {"content": "\\ud800 yes"}, "finish_reason": "st\\udfffop"}]}', 0.0)
    assert (got.text, got.finish) == ("? yes", "st?op")


@pytest.mark.parametrize(
    ("raw", "reason", "counted"),
    [
        (failure(500, "out"), "HTTP 500: out", False),
        (failure(429, "slow"), "HTTP 429: slow", False),
        (Raw(status=502, headers={"Content-Type": "text/html"}, body=b"<html>\n Bad </html>"),
         "HTTP 502: <html> Bad </html>", False),
        (Raw(status=503), "HTTP 503: no further word", False),
        (Raw(status=500, body=b"[" * 100_000), r"HTTP 500: \[\[\[", False),
        (Raw(status=500, headers={"Content-Type": "text/html; charset=base64"}, body=b"\xff"),
         "the reply cannot be decoded", False),
        (Raw(headers={"Content-Encoding": "gzip"}, body=b"no gzip"), "the connection failed: Error -3", True),
        (Raw(body=b"{}", headers={"Content-Length": "9"}, close=True), "the connection failed: peer closed", True),
        (Raw(status=None), "the connection failed: Server disconnected", True),
        (Raw(status=204), "the reply is no JSON", True),
    ],
)  # fmt: skip
def test_a_failure_of_the_server_is_one_to_be_asked_again(raw: Raw, reason: str, counted: bool) -> None:
    with pytest.raises(RetryError, match=f"^{reason}") as caught:
        reply_to(raw)
    assert caught.value.counted is counted
    assert caught.value.throttled is (raw.status == 429)
    assert len(str(caught.value)) < 350


def test_a_reply_that_trickles_is_cut_off_by_the_clock() -> None:
    """Each byte arrives in time for a client that only watches the gaps between them."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        done = threading.Event()

        def trickle() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not done.wait(0.05):
                    connection.sendall(b" ")

        thread = threading.Thread(target=trickle)
        thread.start()
        begun = time.monotonic()
        with pytest.raises(RetryError, match=r"^no reply within 0.4 s$") as caught:
            send(ServerSettings(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}/v1", timeout=0.4))
        done.set()
        thread.join()
    assert caught.value.counted
    assert time.monotonic() - begun < 2


def test_a_refused_connection_cannot_have_been_counted() -> None:
    with ChatServer(answer, model=MODEL) as server:
        gone = settings(server)
    with pytest.raises(RetryError, match=r"^the connection failed: All connection") as caught:
        send(gone)
    assert not caught.value.counted


@pytest.mark.parametrize("status", [400, 405, 413, 415, 422, 451])
def test_a_request_that_is_rejected_says_why(status: int) -> None:
    with pytest.raises(RejectedError, match=f"^HTTP {status}: too long$"):
        reply_to(failure(status, "too long"))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (failure(401, "no"), "the key is refused; put a valid one into the environment variable"),
        (failure(402, "pay"), "the quota is used up"),
        (failure(403, "no"), "the key may not do this"),
        (failure(404, "no"), "there is no model 'm', or the address is wrong"),
        (failure(410, "gone"), "the model 'm' is no longer served"),
        (failure(429, "no", code="insufficient_quota"), "the quota is used up"),
        (failure(429, "no", kind="insufficient_quota"), "the quota is used up"),
        (failure(403, "no", code="insufficient_quota"), "the quota is used up"),
        (failure(400, "no", code="model_not_found"), "there is no model 'm'"),
        (Raw(status=404, body=b"<html>nginx</html>"), r"or the address is wrong \(HTTP 404: <html>nginx</html>\)"),
    ],
)
def test_a_permanent_error_says_what_to_do(raw: Raw, said: str) -> None:
    with pytest.raises(ApiError, match=rf"^http://127.0.0.1:\d+/v1: .*{said}"):
        reply_to(raw)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "1e9"}, 1e9),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 21 Oct 99999 07:28:00 GMT"}, None),
        ({"retry-after": "Fri, 31 Dec 999999999999 23:59:59 GMT"}, None),
    ],
)
def test_the_time_to_wait_is_read_in_every_form(headers: Mapping[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_a_date_to_wait_for_is_turned_into_seconds() -> None:
    for form in (
        email.utils.formatdate(time.time() + 60, usegmt=True),
        email.utils.formatdate(time.time() + 60, localtime=True),
    ):
        wait = retry_after({"retry-after": form})
        assert wait is not None
        assert 58 < wait <= 60


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,4} [A-Z][a-z]{2} \d{1,12} \d+:\d+:\d+ \S{0,8}", fullmatch=True))
def test_no_header_whatever_it_says_is_more_than_a_time_or_none(value: str) -> None:
    wait = retry_after({"retry-after": value})
    assert wait is None or wait >= 0


def test_an_error_body_is_shown_in_one_short_line() -> None:
    assert message_of({"error": {"message": " a\n b "}}) == "a b"
    assert message_of({"error": "a"}) == message_of({"message": "a"}) == message_of("a") == "a"
    assert message_of({"detail": [{"msg": "Field required"}]}) == "{'detail': [{'msg': 'Field required'}]}"
    assert message_of(None) == message_of("") == "no further word"
    assert len(message_of("x" * 10_000)) == 300
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert message_of(deep) == "list"
    while deep:  # or Python runs out of stack when it is forgotten
        deep = deep[0]


def test_an_error_without_a_text_is_named_by_its_type() -> None:
    assert short(TimeoutError()) == "TimeoutError"


def test_looking_at_the_model_fails_only_where_the_requests_would() -> None:
    def look(server: ServerSettings) -> dict[str, Any]:
        async def once() -> dict[str, Any]:
            async with Sender(server, MODEL) as sender:
                return await sender.look()

        return asyncio.run(once())

    with ChatServer(answer, model=MODEL) as server:
        assert look(settings(server)) == {}
        server.shutdown_date = "2999-01-01"
        assert look(settings(server)) == {"shutdown_date": "2999-01-01"}
        server.shutdown_date = "2026-10-23"
        with pytest.raises(ApiError, match="m was shut down on 2026-10-23; choose another model"):
            look(settings(server))
        server.model = "other"
        assert look(settings(server)) == {}
        strange = [
            failure(401, "no"),
            failure(403, "scope"),
            failure(500, "out"),
            Raw(body=b"<html>"),
            Raw(status=None),
        ]
        strange += [Raw(body=b"[" * 100_000), Raw(hold=9), Raw.json({"shutdown_date": 3}), Raw.json([])]
        for raw in strange:
            server.respond = lambda *_, raw=raw: raw  # type: ignore[method-assign, misc]
            server._listener.respond = server.respond  # type: ignore[union-attr]
            assert look(settings(server, timeout=0.3)) == {}
        gone = settings(server)
    with pytest.raises(ApiError, match=r"no server answers \(.*\); is it running, is the address right\?"):
        look(gone)


def test_the_library_does_not_retry_by_itself() -> None:
    seen: list[Asked] = []

    def fail(asked: Asked) -> Raw:
        seen.append(asked)
        return failure(500, "out", headers={"x-should-retry": "true"})

    with ChatServer(fail, model=MODEL) as server, pytest.raises(RetryError):
        send(settings(server))
    assert len(seen) == 1


def test_connections_are_kept_and_no_more_than_are_needed() -> None:
    with ChatServer(lambda asked: Raw.json(completion(asked, "yes")), model=MODEL) as server:

        async def many() -> None:
            async with Sender(settings(server, concurrency=4), MODEL) as sender:
                for _ in range(5):
                    await asyncio.gather(*(sender.send(ONE) for _ in range(4)))

        asyncio.run(many())
        assert server._listener is not None
        assert len(server._listener._talking) <= 4
