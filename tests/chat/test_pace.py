"""How many requests are under way at once."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest

from alignx.chat.pace import Pace


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 10))


def test_no_more_slots_are_given_than_there_are_and_each_comes_back() -> None:
    async def test() -> None:
        pace, now, most = Pace(3), 0, 0

        async def one() -> None:
            nonlocal now, most
            async with pace.slot():
                now += 1
                most = max(most, now)
                await asyncio.sleep(0.001)
                now -= 1

        await asyncio.gather(*(one() for _ in range(30)))
        assert most == 3

    run(test)


def test_objections_of_one_round_halve_once_and_of_two_rounds_twice() -> None:
    async def test() -> None:
        pace = Pace(16)
        async with AsyncExitStack() as stack:
            sent = [await stack.enter_async_context(pace.slot()) for _ in range(16)]
            for number in sent:
                pace.objected(number, None)
            assert pace.limit == 8
        async with pace.slot() as later:
            pace.objected(sent[0], None)  # a straggler of the first round
            assert pace.limit == 8
            pace.objected(later, None)
        assert pace.limit == 4
        for _ in range(10):
            async with pace.slot() as number:
                pace.objected(number, None)
        assert pace.limit == 1

    run(test)


def test_each_round_of_replies_brings_one_slot_back_up_to_the_setting() -> None:
    pace = Pace(4)
    for _ in range(3):
        pace.objected(pace._cuts, None)
    assert pace.limit == 1
    limits = []
    for _ in range(12):
        pace.went_well()
        limits.append(pace.limit)
    assert limits == [2, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 4]  # 1, 2, 2.5, 2.9, 3.24, 3.55, 3.83, 4


def test_nobody_is_let_through_before_the_time_that_the_server_named() -> None:
    async def test() -> None:
        pace, begun = Pace(4), time.monotonic()
        async with pace.slot() as sent:
            pace.objected(sent, 0.2)
            pace.objected(sent, 0.05)  # a shorter one does not take it back
        async with pace.slot():
            assert 0.19 <= time.monotonic() - begun < 1

    run(test)


def test_a_slot_comes_back_when_its_request_fails_or_is_cancelled() -> None:
    async def test() -> None:
        pace = Pace(1)
        for error in (RuntimeError, asyncio.CancelledError):
            with pytest.raises(error):
                async with pace.slot():
                    raise error
        async with pace.slot():
            second = pace.slot()
            queued = asyncio.create_task(second.__aenter__())
            await asyncio.sleep(0.01)
            queued.cancel()
            with pytest.raises(asyncio.CancelledError):
                await queued
        async with asyncio.timeout(1), pace.slot():
            assert pace._active == 1

    run(test)
