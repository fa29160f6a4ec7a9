"""What requests will take, said before any is sent."""

import socket
import time
from pathlib import Path

import pytest

from alignx.chat.estimating import estimate, tokens_of
from alignx.chat.prices import Price
from alignx.chat.replies import Replies, Reply
from tests.chat.questioning import SCHEMA, asks, question

PRICE = Price(2.0, 8.0, "USD", "2026-06-21")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


def reply(number: int, prompt_tokens: int, reply_tokens: int, characters: int, **more: object) -> Reply:
    [one] = asks([number])
    fields = {"text": '{"option": "A"}', **more}
    return Reply(id=one.request.id, name=one.name, prompt_tokens=prompt_tokens, reply_tokens=reply_tokens,
                 characters=characters, **fields)  # type: ignore[arg-type]  # fmt: skip


@pytest.mark.usefixtures("no_network")
def test_ten_thousand_questions_are_estimated_in_seconds_without_network() -> None:
    begun = time.process_time()
    found = estimate(asks(10_000), None, PRICE)
    assert time.process_time() - begun < 5
    characters = sum(question(n).characters for n in range(10_000))
    assert (found.requests, found.known, found.counted) == (10_000, 0, 0)
    assert found.prompt_tokens == -(-characters // 4)
    assert found.reply_tokens == 40 * 10_000
    said = str(found)
    assert "requests: 10,000 to send, 0 answered already" in said
    assert "estimated at 4 characters a token, replies as long as they may be" in said
    assert f"cost: about {PRICE.of(found.prompt_tokens, 400_000):,.2f} USD at 2 and 8 USD a million tokens" in said


def test_a_small_cost_is_not_nothing() -> None:
    assert "cost: about 0.00081 USD" in str(estimate(asks(2), None, PRICE))
    assert "cost: about 0 USD" in str(estimate([], None, PRICE))


def test_an_unknown_price_is_said_to_be_unknown() -> None:
    assert "cost: unknown, the model is in no price list (--prices FILE)" in str(estimate(asks(1), None, None))


def test_the_servers_own_counts_are_used_once_there_are_enough(tmp_path: Path) -> None:
    with Replies(tmp_path / "replies.jsonl") as replies:
        for number in range(19):
            replies.add(reply(number, 50, 6, 100))
        before = estimate(asks(30), replies, PRICE)
        assert (before.requests, before.known, before.ratio, before.counted) == (11, 19, 4.0, 0)
        replies.add(reply(19, 50, 6, 100))
        after = estimate(asks(30), replies, PRICE)
        assert tokens_of(101, replies) == 51
    assert (after.requests, after.known, after.ratio, after.counted) == (10, 20, 2.0, 20)
    assert after.reply_tokens == 60
    assert after.prompt_tokens == sum(question(n).characters for n in range(20, 30)) // 2
    assert "by 20 replies of this server" in str(after)


def test_what_failed_is_counted_as_to_be_asked(tmp_path: Path) -> None:
    with Replies(tmp_path / "replies.jsonl") as replies:
        replies.add(reply(0, 50, 6, 100, text="I would say A"))
        replies.add(Reply(id=asks([1])[0].request.id, name="number 1", problem="HTTP 500: out"))
        replies.add(reply(2, 50, 6, 100))
        found = estimate(asks(3), replies, None)
    assert (found.requests, found.known) == (2, 1)


def test_the_most_that_a_prompt_can_be_is_a_token_a_byte() -> None:
    one = question(1)
    assert len(one.user) + len(one.system) < one.most_tokens
    assert one.characters <= one.most_tokens
    many = type(one)("", "東" * 1000, SCHEMA, "n", 5)
    assert many.most_tokens >= 3000 + len('{"type": "object"}')
