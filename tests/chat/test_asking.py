"""Asking many requests, of a server that behaves and of one that does not."""

import asyncio
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from alignx.chat import asking, outlook
from alignx.chat.asking import _Asking, ask
from alignx.chat.connections import Raw
from alignx.chat.receiving import RetryError
from alignx.chat.replies import Replies
from alignx.chat.server import Asked, ChatServer, completion, failure
from alignx.errors import ApiError, DataError, PartialError, SettingsError
from tests.chat.questioning import (
    MODEL,
    PRICES,
    all_right,
    answer,
    asks,
    number_in,
    problems,
    put,
    right,
    settings,
    values,
)
from tests.chat.storms import GOOD, Storm


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_FIRST_WAIT", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "replies.jsonl"


def always(name: str, **more: Any) -> Storm:
    return Storm(answer, chances={name: 1.0}, calm_after=None, **more)


def test_each_question_is_sent_once_and_answered(path: Path) -> None:
    storm = Storm(answer)
    with ChatServer(storm, model=MODEL) as server:
        tally = put(server, path, 40)
    assert values(path, 40) == all_right(40)
    assert (tally.answered, tally.sent, tally.failed, tally.known) == (40, 40, 0, 0)
    assert len(storm.records) == len(storm.answered) == 40


def test_what_is_known_is_not_asked_and_needs_neither_server_nor_key(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ChatServer(answer, model=MODEL) as server:
        put(server, path, 5)
        elsewhere = settings(server, api_key_env="NOT_SET_ANYWHERE")
    with Replies(path) as replies:
        tally = ask(asks(5), elsewhere, MODEL, replies, 5)
    assert (tally.known, tally.sent) == (5, 0)


def test_the_same_request_twice_is_a_mistake_of_the_caller(path: Path) -> None:
    with ChatServer(answer, model=MODEL) as server, pytest.raises(ValueError, match="number 1: asked twice"):
        put(server, path, [1, 1])


@pytest.mark.parametrize("trouble", ["429", "429-zero", "500", "502", "503", "drop", "short", "cut", "html"])
def test_a_failure_of_the_server_is_asked_again_by_this_client_alone(path: Path, trouble: str) -> None:
    storm = Storm(answer, chances={trouble: 1.0}, calm_after=2)
    with ChatServer(storm, model=MODEL) as server:
        tally = put(server, path, 2)
    assert values(path, 2) == all_right(2)
    assert [record.attempt for record in storm.records if record.did == GOOD] == [3, 3]
    assert tally.sent == len(storm.records) == 6


@pytest.mark.parametrize("status", [408, 409, 425, 529])
def test_other_statuses_that_pass_are_asked_again(path: Path, status: int) -> None:
    left = [failure(status, "later"), failure(status, "later")]
    with ChatServer(lambda asked: left.pop() if left else answer(asked), model=MODEL) as server:
        tally = put(server, path)
    assert (values(path), tally.sent) == (["A"], 3)


def test_a_server_that_hangs_is_left_after_the_timeout_and_asked_again(path: Path) -> None:
    storm = Storm(answer, chances={"hang": 1.0}, calm_after=1)
    with ChatServer(storm, model=MODEL) as server:
        tally = put(server, path, 3, timeout=0.3)
    assert values(path, 3) == all_right(3)
    assert tally.sent == 6
    assert tally.seconds < 3


def test_patience_ends_with_the_last_reason_and_the_number_of_attempts(path: Path) -> None:
    with ChatServer(always("503"), model=MODEL) as server:
        tally = put(server, path, patience=0.1)
    [problem] = problems(path)
    assert "HTTP 503: The engine is currently overloaded" in problem
    assert f"(attempt {tally.sent}; --patience is at an end)" in problem
    assert tally.sent > 2
    assert (tally.failed, tally.answered) == (1, 0)


def test_no_patience_means_one_attempt(path: Path) -> None:
    with ChatServer(always("500"), model=MODEL) as server:
        assert put(server, path, 3, patience=0).sent == 3


def test_waits_grow_to_a_limit_and_differ(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr(asking, "_FIRST_WAIT", 0.5)
    with ChatServer(answer, model=MODEL) as server, Replies(path) as replies:
        one = _Asking(settings(server), MODEL, replies)
    for failures, most in ((1, 0.5), (2, 1.0), (3, 2.0), (7, 30.0), (500, 30.0)):
        waits = [one._wait(RetryError("busy"), failures) for _ in range(50)]
        assert most / 2 <= min(waits) < max(waits) <= most
        assert len(set(waits)) > 40
    asked = [one._wait(RetryError("busy", 7.0), 1) for _ in range(50)]
    assert 7.0 <= min(asked) < max(asked) <= 7.5
    assert 0.25 <= one._wait(RetryError("busy", 0.0), 1) <= 0.5  # "at once", says a server that has just failed


@pytest.mark.parametrize(
    "headers", [{"Retry-After": "1"}, {"retry-after-ms": "1000"}, {"Retry-After": "999", "retry-after-ms": "1000"}]
)
def test_nothing_is_sent_before_the_time_that_a_server_names(path: Path, headers: dict[str, str]) -> None:
    seen: list[float] = []

    def busy_first(asked: Asked) -> str | Raw:
        seen.append(time.monotonic())
        return failure(429, "slow down", headers=headers) if len(seen) == 1 else answer(asked)

    with ChatServer(busy_first, model=MODEL) as server:
        tally = put(server, path, 4, concurrency=1)
    assert values(path, 4) == all_right(4)
    assert 0.99 <= seen[1] - seen[0] < 2
    assert (tally.sent, tally.throttled) == (5, 1)


def test_others_hold_too_while_the_server_wants_to_be_left_alone(path: Path) -> None:
    seen: list[float] = []
    begun = time.monotonic()

    def busy_first(asked: Asked) -> str | Raw:
        seen.append(time.monotonic() - begun)
        if len(seen) == 1:
            return failure(429, "slow down", headers={"Retry-After": "1"})
        return Raw(**{**vars(Raw.json(completion(asked, answer(asked)))), "hold": 0.1})

    with ChatServer(busy_first, model=MODEL) as server:
        put(server, path, 6, concurrency=2)
    assert values(path, 6) == all_right(6)
    assert [moment for moment in seen if seen[0] + 0.09 < moment < seen[0] + 0.95] == []


def test_patience_counts_from_the_first_failure_and_not_from_the_last(path: Path) -> None:
    storm = always("429-seconds", retry_after=0.1)
    with ChatServer(storm, model=MODEL) as server:
        tally = put(server, path, patience=0.5)
    assert 2 <= tally.sent <= 6
    assert "asks to wait 0.1 s; --patience is at an end" in problems(path)[0]


def test_a_few_failures_in_a_row_are_no_outage(path: Path) -> None:
    with ChatServer(lambda a: failure(500, "out") if number_in(a) < 20 else answer(a), model=MODEL) as server:
        tally = put(server, path, 40, patience=0)
    assert (tally.answered, tally.failed) == (20, 20)


def test_a_wait_beyond_patience_fails_its_request_and_keeps_nobody_else_waiting(path: Path) -> None:
    def never_one(asked: Asked) -> str | Raw:
        return failure(429, "tomorrow", headers={"Retry-After": "86400"}) if number_in(asked) == 1 else answer(asked)

    with ChatServer(never_one, model=MODEL) as server:
        tally = put(server, path, 30)
    assert [n for n, value in enumerate(values(path, 30)) if value is None] == [1]
    assert "asks to wait 86400 s; --patience is at an end" in problems(path, 30)[0]
    assert (tally.sent, tally.failed) == (30, 1)
    assert tally.seconds < 3


def test_a_server_that_wants_to_be_left_alone_for_too_long_is(path: Path) -> None:
    storm = always("429-seconds", retry_after=86400)
    wanted = r"asks to be left alone for 86400 s, longer than --patience 5 "
    with ChatServer(storm, model=MODEL) as server, pytest.raises(PartialError, match=wanted):
        put(server, path, 100, concurrency=4)
    assert len(storm.records) < 10


def test_a_server_that_is_out_is_given_up_long_before_every_request_has_run_out_of_patience(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlook, "_OUTAGE", 0.3)
    storm = Storm(answer, always={"500": lambda body: "number 1" in body["messages"][-1]["content"]})
    with ChatServer(storm, model=MODEL) as server, pytest.raises(ApiError, match=r"no reply for 0 s: HTTP 500"):
        put(server, path, [0, *range(100, 199)], concurrency=4, patience=0.1)
    assert len({record.digest for record in storm.records}) < 40
    assert values(path, [0]) == ["A"]


def test_requests_that_fail_for_ever_do_not_stop_the_others(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlook, "_OUTAGE", 0.2)
    storm = Storm(answer, always={"500": lambda body: int(body["messages"][-1]["content"].split()[-1][:-1]) % 4 == 1})
    with ChatServer(storm, model=MODEL) as server:
        tally = put(server, path, 60, concurrency=4, patience=0.15)
    assert values(path, 60) == [None if n % 4 == 1 else right(n) for n in range(60)]
    assert (tally.answered, tally.failed) == (45, 15)


HOPELESS = {
    "quota": "the quota is used up",
    "401": "the key is refused; put a valid one into the environment variable that --api-key-env names",
    "403": "the key may not do this",
    "404": "there is no model 'm'",
}


@pytest.mark.parametrize("trouble", HOPELESS)
def test_a_permanent_error_stops_at_once_says_so_plainly_and_keeps_what_is_under_way(
    path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    key = "sk-fake-key-0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    slow = Storm(answer, always={trouble: lambda body: "number 5?" in body["messages"][-1]["content"]})

    def one_bad(asked: Asked) -> Raw:
        raw = slow(asked)
        return raw if number_in(asked) == 5 else Raw(body=raw.body, hold=0.4, leaving=raw.leaving)

    with ChatServer(one_bad, model=MODEL) as server, pytest.raises(ApiError) as caught:
        put(server, path, 200, concurrency=8)
    assert HOPELESS[trouble] in str(caught.value)
    assert key not in str(caught.value)
    assert server.model in str(caught.value) or trouble != "404"
    assert int(caught.value.exit_code) == 5
    assert len(slow.records) == 8  # nothing was sent behind it
    assert sum(value is not None for value in values(path, 200)) == 7  # and the seven beside it arrived


def test_a_reply_that_takes_too_long_is_not_waited_for_when_all_stops(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_GRACE", 0.2)

    def refuse_one(asked: Asked) -> Raw:
        return failure(401, "no", code="invalid_api_key") if number_in(asked) == 0 else Raw(hold=60)

    with ChatServer(refuse_one, model=MODEL) as server:
        begun = time.monotonic()
        with pytest.raises(ApiError, match="the key is refused"):
            put(server, path, 20, timeout=30)
        assert time.monotonic() - begun < 3


def test_whoever_waits_for_a_retry_when_all_stops_does_not_keep_it_from_stopping(path: Path) -> None:
    def busy_then_quota(asked: Asked) -> Raw:
        if number_in(asked) == 0:
            return Raw(**{**vars(failure(429, "no money", code="insufficient_quota")), "hold": 0.3})
        return failure(503, "later", headers={"Retry-After": "4"})

    with ChatServer(busy_then_quota, model=MODEL) as server:
        begun = time.monotonic()
        with pytest.raises(ApiError, match="the quota is used up"):
            put(server, path, 20)
        assert time.monotonic() - begun < 2


def test_a_request_that_is_rejected_fails_alone_with_its_reason(path: Path) -> None:
    storm = Storm(answer, always={"400-context": lambda body: "number 3?" in body["messages"][-1]["content"]})
    with ChatServer(storm, model=MODEL) as server:
        tally = put(server, path, 20)
    assert problems(path, 20) == ["HTTP 400: This model's maximum context length is 1 tokens."]
    assert (tally.answered, tally.failed, tally.sent) == (19, 1, 20)


@pytest.mark.parametrize(
    ("said", "more", "hint"),
    [
        ("'response_format' is unknown", {}, "--structure json or text suits servers that know no schemas"),
        ("'response_format' is unknown", {"structure": "json"}, "--structure text may suit it"),
        ("'temperature' must be 1", {}, "--temperature none leaves it to the server"),
    ],
)
@pytest.mark.parametrize("count", [1, 100])
def test_a_server_that_rejects_everything_is_left_with_a_hint(
    path: Path, said: str, more: dict[str, Any], hint: str, count: int
) -> None:
    seen: list[Asked] = []

    def reject(asked: Asked) -> Raw:
        seen.append(asked)
        return failure(400, said)

    with ChatServer(reject, model=MODEL) as server, pytest.raises(ApiError, match="rejects every request") as caught:
        put(server, path, count, **more)
    assert hint in str(caught.value)
    assert len(seen) <= 16 + 5


def test_quick_rejections_before_the_first_slow_reply_do_not_stop_the_rest(path: Path) -> None:
    def slow_or_rejected(asked: Asked) -> str | Raw:
        if number_in(asked) < 12:
            return failure(400, "too long")
        time.sleep(0.3)
        return answer(asked)

    with ChatServer(slow_or_rejected, model=MODEL) as server:
        tally = put(server, path, 40)
    assert (tally.answered, tally.failed) == (28, 12)


UNUSABLE = {
    "no-choices": "no choices",
    "no-content": "empty",
    "refusal": "refused: I'm sorry, I cannot help with that.",
    "filter": "stopped by a content filter",
    "length": "cut off after ",
    "wrong-enum": "option is 'none of these', expected A, B or C",
    "wrong-schema": "no option in the reply",
}


@pytest.mark.parametrize("trouble", UNUSABLE)
def test_a_reply_that_cannot_be_used_is_paid_asked_again_and_named(path: Path, tmp_path: Path, trouble: str) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text(PRICES)
    storm = Storm(answer, always={trouble: lambda body: "number 1?" in body["messages"][-1]["content"]})
    with ChatServer(storm, model=MODEL) as server:
        tally = put(server, path, 3, tries=4, prices=prices)
    [problem] = problems(path, 3)
    assert problem.startswith(UNUSABLE[trouble])
    assert (tally.sent, tally.answered, tally.failed) == (6, 2, 1)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 6
    with Replies(path) as replies:
        assert replies.spent == pytest.approx(sum(line["cost"] for line in lines))
    for line in lines:
        assert line["cost"] == pytest.approx(0.1 * line["prompt_tokens"] + 0.4 * line["reply_tokens"])


def test_a_cut_reply_is_not_used_even_if_it_can_be_read(path: Path) -> None:
    def whole_but_cut(asked: Asked) -> Raw:
        return Raw.json(completion(asked, answer(asked), "length"))

    with ChatServer(whole_but_cut, model=MODEL) as server:
        assert put(server, path, tries=2).sent == 2
    assert problems(path)[0].startswith("cut off after ")


def test_what_failed_is_asked_again_by_the_next_start_and_only_that(path: Path) -> None:
    bad = Storm(answer, always={"refusal": lambda body: "number 1?" in body["messages"][-1]["content"]})
    with ChatServer(bad, model=MODEL) as server:
        put(server, path, 4)
    good = Storm(answer)
    with ChatServer(good, model=MODEL) as server:
        tally = put(server, path, 4)
    assert (tally.known, tally.sent) == (3, 1)
    assert [number_in(record.body) for record in good.records] == [1]  # type: ignore[arg-type]
    assert values(path, 4) == all_right(4)


def test_a_server_that_does_everything_wrong_at_times_changes_no_result(path: Path) -> None:
    names = ["429", "429-zero", "500", "502", "503", "drop", "short", "cut", "html", *UNUSABLE]
    storm = Storm(answer, seed=3, chances=dict.fromkeys(names, 0.04), calm_after=2)
    with ChatServer(storm, model=MODEL) as server:
        tally = put(server, path, 150)
    assert values(path, 150) == all_right(150)
    assert len(storm.did) > 12
    assert max(storm.answered.values()) == 1
    assert tally.sent == len(storm.records)


@pytest.mark.parametrize("concurrency", [1, 64])
def test_results_do_not_depend_on_how_many_are_asked_at_once(path: Path, concurrency: int) -> None:
    storm = Storm(answer, seed=1, chances={"500": 0.1, "wrong-enum": 0.1}, calm_after=2)
    with ChatServer(storm, model=MODEL) as server:
        put(server, path, 100, concurrency=concurrency)
    assert values(path, 100) == all_right(100)
    assert storm.most_at_once <= concurrency


def test_no_more_are_under_way_than_was_set(path: Path) -> None:
    storm = Storm(answer)
    with ChatServer(storm, model=MODEL, latency=0.02) as server:
        put(server, path, 100, concurrency=7)
    assert storm.most_at_once == 7


def test_a_storm_of_429_slows_down_and_is_over_when_the_server_recovers(path: Path) -> None:
    """The server objects for as long as more than four come at once; then it takes any number."""
    lock, under_way, seen = threading.Lock(), [0], []

    def at_most_four_at_first(asked: Asked) -> Raw:
        with lock:
            under_way[0] += 1
            now = under_way[0]
            seen.append(now)
            crowded = now > 4 and len(seen) <= 100
        time.sleep(0.01)
        with lock:
            under_way[0] -= 1
        return failure(429, "too many") if crowded else Raw.json(completion(asked, answer(asked)))

    with ChatServer(at_most_four_at_first, model=MODEL) as server, Replies(path) as replies:
        one = _Asking(settings(server, concurrency=32, patience=30), MODEL, replies)
        tally = asyncio.run(one.run(asks(300), 300))
    assert values(path, 300) == all_right(300)
    assert max(seen[:32]) > 4
    assert sorted(seen[50:100])[25] <= 8  # the middle one: it has slowed down
    assert one._pace.limit > 12  # and come back: a slot more for every round of replies
    assert 0 < tally.throttled < 80


def money(tmp_path: Path) -> Path:
    prices = tmp_path / "prices.csv"
    prices.write_text(PRICES)
    return prices


def spent_by(storm: Storm) -> float:
    """By the usage that the server counted, whether or not its reply arrived."""
    total = 0.0
    for record in storm.records:
        if record.did in (GOOD, "cut", "short"):
            usage = completion(record.body, answer(record.body))["usage"]  # type: ignore[arg-type]
            total += 0.1 * usage["prompt_tokens"] + 0.4 * usage["completion_tokens"]
    return total


@pytest.mark.parametrize("troubles", [{}, {"cut": 0.2, "short": 0.1, "500": 0.1}])
def test_the_limit_of_cost_is_never_exceeded_and_a_higher_one_goes_on(
    path: Path, tmp_path: Path, troubles: dict[str, float]
) -> None:
    storm = Storm(answer, chances=troubles)
    prices = money(tmp_path)
    with ChatServer(storm, model=MODEL, latency=0.01) as server:
        most = 0.1 * asks(1)[0].request.question.most_tokens + 0.4 * 40
        for limit in (100.0, 250.0):
            with pytest.raises(PartialError, match=rf"--max-cost {limit:g}: .* are spent") as caught:
                put(server, path, 200, prices=prices, max_cost=limit)
            assert int(caught.value.exit_code) == 6
            assert spent_by(storm) <= limit
            with Replies(path) as replies:
                assert spent_by(storm) - 1e-9 <= replies.spent <= limit
                assert replies.spent > limit - most - 0.1  # nothing less was left than one more could cost
        put(server, path, 200, prices=prices, max_cost=1e6)
    assert values(path, 200) == all_right(200)
    assert max(storm.answered.values()) == 1


def test_a_reply_that_did_not_arrive_may_have_been_paid_and_is_written_down_as_if(path: Path, tmp_path: Path) -> None:
    storm = Storm(answer, chances={"cut": 1.0}, calm_after=1)
    with ChatServer(storm, model=MODEL) as server:
        put(server, path, prices=money(tmp_path))
    one = asks(1)[0].request.question
    usage = completion(storm.records[0].body, answer(storm.records[0].body))["usage"]  # type: ignore[arg-type]
    paid = 0.1 * usage["prompt_tokens"] + 0.4 * usage["completion_tokens"]
    with Replies(path) as replies:
        assert replies.spent == pytest.approx(paid + 0.1 * one.most_tokens + 0.4 * one.max_tokens)


def test_a_reply_without_usage_is_taken_to_cost_what_it_may(path: Path, tmp_path: Path) -> None:
    def silent(asked: Asked) -> Raw:
        whole = completion(asked, answer(asked))
        del whole["usage"]
        return Raw.json(whole)

    with ChatServer(silent, model=MODEL) as server:
        put(server, path, prices=money(tmp_path))
    one = asks(1)[0].request.question
    with Replies(path) as replies:
        assert replies.spent == pytest.approx(0.1 * one.most_tokens + 0.4 * one.max_tokens)


def test_a_limit_without_a_price_is_refused_before_anything_is_sent(path: Path) -> None:
    storm = Storm(answer)
    with ChatServer(storm, model=MODEL) as server, pytest.raises(SettingsError, match="no known price"):
        put(server, path, max_cost=1.0)
    assert storm.records == []


def test_a_full_disk_stops_and_keeps_what_was_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __init__(self, stream: Any) -> None:
            self._stream, self._room = stream, 1000

        def write(self, data: bytes) -> int:
            if self._room == 0:
                raise OSError(28, "No space left on device")
            written = self._stream.write(data[: self._room])
            self._room -= written
            return written

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

    storm = Storm(answer)
    with ChatServer(storm, model=MODEL, latency=0.01) as server:
        with Replies(path) as replies:
            monkeypatch.setattr(replies, "_stream", Full(replies._stream))
            with pytest.raises(DataError, match=r"cannot be written: No space left on device; make room and run again"):
                ask(asks(50), settings(server, concurrency=4), MODEL, replies, 50)
        kept = path.read_bytes()
        assert 0 < len(kept) <= 1000
        assert kept.endswith(b"}\n")
        tally = put(server, path, 50)
    assert tally.known == len(kept.splitlines())
    assert values(path, 50) == all_right(50)


def test_a_warning_of_the_end_of_a_model_is_given_and_an_ended_one_is_not_asked(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storm = Storm(answer)
    with ChatServer(storm, model=MODEL, shutdown_date="2999-01-14") as server:
        tally = put(server, path)
        assert tally.model == {"shutdown_date": "2999-01-14"}
        assert "warning: the model will be shut down on 2999-01-14" in capsys.readouterr().err
        server.shutdown_date = "2026-10-23"
        with pytest.raises(ApiError, match="m was shut down on 2026-10-23; choose another model"):
            put(server, path, 2)
    assert len(storm.records) == 1


def test_nobody_at_the_address_is_said_at_once(path: Path) -> None:
    with ChatServer(answer, model=MODEL) as server:
        gone = settings(server)
    with Replies(path) as replies, pytest.raises(ApiError, match=r"no server answers \(.*is it running"):
        ask(asks(1), gone, MODEL, replies, 1)


def test_a_server_that_comes_back_is_asked_on(path: Path) -> None:
    """The connections of the first are gone, and its port is refused for a while."""
    server = ChatServer(answer, model=MODEL, latency=0.02)
    server.__enter__()
    port = int(server.base_url.rsplit(":", 1)[1].split("/")[0])

    async def both() -> None:
        with Replies(path) as replies:
            run = asyncio.create_task(
                _Asking(settings(server, patience=20, concurrency=4), MODEL, replies).run(asks(200), 200)
            )
            while len(replies) < 50:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(server.__exit__)
            await asyncio.sleep(0.1)
            with ChatServer(answer, model=MODEL, port=port):
                await run

    asyncio.run(both())
    assert values(path, 200) == all_right(200)
