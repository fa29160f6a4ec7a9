"""A small questionnaire: which of A, B and C is number N, asked of a server that knows."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alignx.chat.asking import Tally, ask
from alignx.chat.question import Ask, Question, Request, UnreadableError
from alignx.chat.replies import Replies, reading
from alignx.chat.server import Asked, ChatServer
from alignx.chat.settings import ServerSettings

MODEL = "m"
SCHEMA = {
    "type": "object",
    "properties": {"option": {"type": "string", "enum": ["A", "B", "C"]}},
    "required": ["option"],
    "additionalProperties": False,
}
PRICES = "model,input,output,currency,as_of\nm,100000,400000,USD,2026-11-01\n"
"""A tenth of a dollar a token in, four tenths a token out."""


def question(number: int, max_tokens: int = 40) -> Question:
    return Question("Answer.", f"Which is number {number}?", SCHEMA, "option", max_tokens)


def read(text: str) -> str:
    try:
        said = json.loads(text)["option"]
    except (ValueError, KeyError, TypeError):
        raise UnreadableError("no option in the reply") from None
    if said not in ("A", "B", "C"):
        raise UnreadableError(f"option is {said!r}, expected A, B or C")
    return str(said)


def asks(numbers: int | Iterable[int], *, temperature: float | None = 0.0, structure: str = "schema") -> list[Ask]:
    chosen = range(numbers) if isinstance(numbers, int) else numbers
    return [Ask(f"number {n}", Request(question(n), MODEL, temperature, structure), read) for n in chosen]


def number_in(asked: Asked) -> int:
    return int(asked["messages"][-1]["content"].split()[-1].rstrip("?"))


def right(number: int) -> str:
    return "ABC"[number % 3]


def answer(asked: Asked) -> str:
    return json.dumps({"option": right(number_in(asked))})


def settings(server: ChatServer, **more: Any) -> ServerSettings:
    return ServerSettings(**{"base_url": server.base_url, "patience": 5.0, "timeout": 5.0, **more})


def put(server: ChatServer, path: Path, numbers: int | Iterable[int] = 1, **more: Any) -> Tally:
    """Ask, each of so many numbers, and keep the replies at ``path``."""
    wanted = asks(numbers)
    with Replies(path) as replies:
        return ask(wanted, settings(server, **more), MODEL, replies, len(wanted))


def found(path: Path, numbers: int | Iterable[int] = 1) -> dict[str, Any]:
    """What the replies at ``path`` say: the option, or the problem."""
    with Replies(path) as replies:
        readings = {one.name: reading(one, replies) for one in asks(numbers)}
    return {name: one.value if one.problem is None else UnreadableError(one.problem) for name, one in readings.items()}


def values(path: Path, numbers: int | Iterable[int] = 1) -> list[Any]:
    return [None if isinstance(one, UnreadableError) else one for one in found(path, numbers).values()]


def problems(path: Path, numbers: int | Iterable[int] = 1) -> list[str]:
    return [str(one) for one in found(path, numbers).values() if isinstance(one, UnreadableError)]


def all_right(numbers: int) -> list[str]:
    return [right(number) for number in range(numbers)]
