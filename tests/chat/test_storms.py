"""Each trouble is what its name says at the client that will meet it, and the storm's own books are right."""

import asyncio
import email.utils
import json
import random
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from alignx.chat.server import Asked, ChatServer
from tests.chat.spoiling import TRICKY, UNUSABLE
from tests.chat.storms import FATAL, GOOD, LOST, REJECTED, TEMPORARY, TROUBLES, Storm

SCHEMA = {
    "type": "object",
    "properties": {
        "reason": {"type": "string"},
        "verdict": {"anyOf": [{"$ref": "#/$defs/Side"}]},
        "certainty": {"type": "integer"},
    },
    "$defs": {"Side": {"type": "string", "enum": ["first", "second", "tie"]}},
    "required": ["reason", "verdict", "certainty"],
    "additionalProperties": False,
}
SHAPE = {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": SCHEMA}}
VERDICT = {"reason": "warm words", "verdict": "second", "certainty": 80}
KEY = "sk-fake-7f3a"


def body(text: str = "which?", **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], "response_format": SHAPE, **more}


def judge(asked: Asked) -> str:
    return json.dumps(VERDICT)


def ask(server: ChatServer, text: str = "which?", *, timeout: float = 10, **more: Any) -> Any:
    from openai import OpenAI

    with OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0, timeout=timeout) as client:
        return client.chat.completions.create(**body(text, **more))


def only(name: str, **settings: Any) -> Storm:
    return Storm(judge, chances={name: 1.0}, calm_after=None, **settings)


def reply_of(name: str) -> Any:
    with ChatServer(only(name), model="m") as server:
        return ask(server)


def failure_of(name: str, **settings: Any) -> Any:
    from openai import APIError

    with ChatServer(only(name, **settings), model="m") as server, pytest.raises(APIError) as failed:
        ask(server, timeout=0.3 if name == "hang" else 10)
    return failed.value


def test_every_trouble_is_of_one_kind() -> None:
    kinds = Counter((*TEMPORARY, *FATAL, *REJECTED, *UNUSABLE, *TRICKY))
    assert kinds == Counter(TROUBLES)
    assert set(LOST) < set(TEMPORARY)


@pytest.mark.parametrize(
    ("name", "error", "code"),
    [
        ("429", "RateLimitError", "rate_limit_exceeded"),
        ("429-seconds", "RateLimitError", "rate_limit_exceeded"),
        ("429-zero", "RateLimitError", "rate_limit_exceeded"),
        ("429-date", "RateLimitError", "rate_limit_exceeded"),
        ("quota", "RateLimitError", "insufficient_quota"),
        ("500", "InternalServerError", None),
        ("502", "InternalServerError", None),
        ("503", "InternalServerError", None),
        ("401", "AuthenticationError", "invalid_api_key"),
        ("403", "PermissionDeniedError", "permission_denied"),
        ("404", "NotFoundError", "model_not_found"),
        ("400-context", "BadRequestError", "context_length_exceeded"),
        ("400-schema", "BadRequestError", None),
        ("hang", "APITimeoutError", None),
        ("drop", "APIConnectionError", None),
        ("short", "APIConnectionError", None),
    ],
)
def test_a_refusal_or_a_lost_reply_is_the_error_of_that_name(name: str, error: str, code: str | None) -> None:
    failed = failure_of(name)
    assert (type(failed).__name__, failed.code) == (error, code)
    if name[:3].isdecimal():
        assert failed.status_code == int(name[:3])


def test_waits_are_asked_for_in_seconds_at_once_by_date_or_not_at_all() -> None:
    wait = {name: failure_of(name, retry_after=2.5).response.headers.get("retry-after") for name in _limits()}
    assert {name: wait[name] for name in _limits() if name != "429-date"} == {
        "429": None,
        "429-seconds": "2.5",
        "429-zero": "0",
    }
    assert 1 < email.utils.parsedate_to_datetime(wait["429-date"]).timestamp() - time.time() <= 3.5


def _limits() -> list[str]:
    return [name for name in TROUBLES if name.startswith("429")]


def test_a_refused_key_is_repeated_in_the_message_as_real_servers_do() -> None:
    assert KEY in str(failure_of("401"))


def test_a_server_without_schemas_says_what_it_cannot_do_and_takes_other_requests() -> None:
    assert failure_of("400-schema").param == "response_format"
    with ChatServer(only("400-schema"), model="m") as server:
        plain = ask(server, response_format={"type": "json_object"})
    assert json.loads(plain.choices[0].message.content) == VERDICT


def test_a_reply_cut_in_its_json_or_replaced_by_a_page_is_what_the_client_makes_of_it() -> None:
    with pytest.raises(json.JSONDecodeError):
        reply_of("cut")
    page = reply_of("html")
    assert isinstance(page, str)
    assert page.startswith("<html>")


def test_an_unusable_completion_says_nothing() -> None:
    assert reply_of("no-choices").choices == []
    found = {name: reply_of(name).choices[0] for name in UNUSABLE if name != "no-choices"}
    said = {name: (choice.finish_reason, choice.message.content) for name, choice in found.items()}
    whole = json.dumps(VERDICT)
    assert said == {
        "no-content": ("stop", None),
        "refusal": ("stop", None),
        "filter": ("content_filter", ""),
        "length": ("length", whole[: len(whole) // 2]),
        "wrong-enum": ("stop", json.dumps({**VERDICT, "verdict": "none of these"})),
        "wrong-schema": ("stop", '{"reason": "warm words", "verdict": "second", "unexpected": 1}'),
    }
    assert [name for name, choice in found.items() if choice.message.refusal] == ["refusal"]


def test_the_right_reply_is_the_last_of_several_or_in_a_fence() -> None:
    whole = json.dumps(VERDICT)
    assert reply_of("fenced").choices[0].message.content == f"```json\n{whole}\n```"
    quoted = reply_of("quoted").choices[0].message.content
    assert quoted.endswith(f"\nbut I say\n{whole}")
    assert all(f'"{word}"' in quoted.partition("Somebody")[0] for word in ("first", "second", "tie"))
    other = json.loads(quoted.splitlines()[1])
    assert other == {**VERDICT, "verdict": "first"}


def test_without_a_menu_or_json_there_is_still_something_wrong() -> None:
    storm = Storm(lambda asked: "heads", chances={"wrong-enum": 1.0}, calm_after=None)
    with ChatServer(storm, model="m") as server:
        assert ask(server, response_format={"type": "text"}).choices[0].message.content == '"none of these"'


def weather(seed: int, texts: list[str], workers: int = 1) -> dict[tuple[str, int], str]:
    """What each attempt at each body met, when so many threads ask for them in the order given."""
    storm = Storm(judge, seed=seed, chances={"500": 0.3, "cut": 0.2, "refusal": 0.2}, calm_after=None)
    left = iter(texts)
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                text = next(left, None)
            if text is None:
                return
            storm(Asked(body(text)))

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {(record.digest, record.attempt): record.did for record in storm.records}


def test_the_weather_depends_on_seed_body_and_attempt_alone() -> None:
    texts = [f"item {number % 50}" for number in range(200)]  # each four times
    shuffled = random.Random(1).sample(texts, len(texts))
    first = weather(1, texts)
    assert len(first) == 200
    assert len({tuple(first[digest, attempt] for attempt in (1, 2, 3, 4)) for digest, _ in first}) > 20
    assert weather(1, shuffled, workers=4) == first
    assert weather(2, texts) != first


def test_each_trouble_comes_as_often_as_its_chance_says() -> None:
    storm = Storm(judge, seed=4, chances={"500": 0.3, "cut": 0.1, "hang": 0.05})
    for number in range(2000):
        storm(Asked(body(str(number))))
    expected = {"500": 600, "cut": 200, "hang": 100, GOOD: 1100}
    assert {name: abs(storm.did[name] - count) < 4 * count**0.5 for name, count in expected.items()} == dict.fromkeys(
        expected, True
    )


def test_a_body_meets_so_many_troubles_and_then_none_unless_it_always_does() -> None:
    storm = Storm(
        judge,
        chances={"502": 1.0},
        calm_after=2,
        always={"refusal": lambda asked: asked["messages"][0]["content"] == "never"},
    )
    for text in ("one", "two", "never") * 5:
        storm(Asked(body(text)))
    met: dict[str, list[str]] = {text: [] for text in ("one", "two", "never")}
    for record in storm.records:
        met[record.body["messages"][0]["content"]].append(record.did)
    assert met == {"one": ["502"] * 2 + [GOOD] * 3, "two": ["502"] * 2 + [GOOD] * 3, "never": ["refusal"] * 5}


def test_the_books_say_who_asked_what_and_what_was_sent() -> None:
    from openai import InternalServerError

    storm = Storm(judge, chances={"500": 1.0}, calm_after=1)
    before = time.monotonic()
    with ChatServer(storm, model="m") as server:
        with pytest.raises(InternalServerError):
            ask(server)
        ask(server)
        ask(server)
    known = storm.digest_of(body())
    assert (storm.asked, storm.answered) == (Counter({known: 3}), Counter({known: 2}))
    assert storm.did == Counter({GOOD: 2, "500": 1})
    assert storm.most_at_once == 1
    assert [(record.attempt, record.did, record.sent) for record in storm.records] == [
        (1, "500", True),
        (2, GOOD, True),
        (3, GOOD, True),
    ]
    assert {record.authorization for record in storm.records} == {f"Bearer {KEY}"}
    assert storm.records[0].body == body()
    times = [record.time for record in storm.records]
    assert before <= times[0] < times[1] < times[2] <= time.monotonic()


def test_a_good_reply_to_a_client_that_has_left_does_not_count_as_answered() -> None:
    from openai import APITimeoutError

    storm = Storm(judge)
    with ChatServer(storm, model="m", latency=5) as server, pytest.raises(APITimeoutError):
        ask(server, timeout=0.1)
    assert (sum(storm.asked.values()), storm.answered) == (1, Counter())


def test_bodies_that_differ_at_random_can_be_told_apart_by_something_else() -> None:
    storm = Storm(judge, known_by=lambda asked: asked["messages"][0]["content"].split()[0])
    for text in ("a 1", "a 2", "b 3"):
        storm(Asked(body(text)))
    assert storm.asked == Counter(a=2, b=1)


def test_a_client_with_four_slots_is_never_seen_with_five_requests() -> None:
    from openai import AsyncOpenAI, OpenAIError

    storm = Storm(judge, seed=2, chances={"500": 0.3, "drop": 0.1}, calm_after=None)

    async def storm_through(server: ChatServer) -> None:
        slots = asyncio.Semaphore(4)
        async with AsyncOpenAI(base_url=server.base_url, api_key=KEY, max_retries=0, timeout=10) as client:

            async def one(number: int) -> None:
                async with slots:
                    with suppress(OpenAIError):
                        await client.chat.completions.create(**body(str(number)))

            await asyncio.gather(*(one(number) for number in range(80)))

    with ChatServer(storm, model="m", latency=0.01) as server:
        asyncio.run(storm_through(server))
    assert (storm.most_at_once, len(storm.records)) == (4, 80)


def test_an_answer_that_fails_is_a_reply_in_the_books() -> None:
    from openai import InternalServerError

    def answer(asked: Asked) -> str:
        raise KeyError("edge")

    storm = Storm(answer)
    with ChatServer(storm, model="m") as server, pytest.raises(InternalServerError, match="KeyError: 'edge'"):
        ask(server)
    assert [(record.did, record.sent) for record in storm.records] == [("broken", True)]


def test_the_end_of_the_server_releases_whoever_hangs() -> None:
    from openai import APIConnectionError, APITimeoutError

    storm = only("hang")
    failed: list[Exception] = []

    def wait(server: ChatServer) -> None:
        try:
            ask(server, timeout=30)
        except APIConnectionError as error:
            failed.append(error)

    with ChatServer(storm, model="m") as server:
        waiting = threading.Thread(target=wait, args=(server,))
        waiting.start()
        while not storm.records:
            time.sleep(0.01)
        ended = time.monotonic()
    waiting.join(5)
    assert time.monotonic() - ended < 3
    assert len(failed) == 1
    assert not isinstance(failed[0], APITimeoutError)
    assert not storm.records[0].sent


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"chances": {"418": 0.1}}, r"unknown troubles \['418'\]; there are 429, "),
        ({"always": {"sometimes": bool}}, r"unknown troubles \['sometimes'\]"),
        ({"chances": {"500": 0.7, "502": 0.4}}, "add up to at most 1"),
        ({"chances": {"500": -0.1}}, "must be 0 or more"),
    ],
)
def test_a_storm_that_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Storm(judge, **settings)
