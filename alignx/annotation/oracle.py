"""An annotator that knows the truth, for synthetic worlds and tests; never one for real users.

Records that carry directions are read, and requests about their history are answered from them, with as much noise as
wanted. It speaks the chat-completions protocol, so that everything from a request to a profile can be tried without a
model.
"""

import json
import random
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from alignx.annotation.items import Item, item_of
from alignx.annotation.questions import MOST_AT_ONCE, WAYS, Answer, Way, shown_in, way
from alignx.chat.server import ChatServer
from alignx.errors import DataError
from alignx.records import Choice, Comment, Direction, Record, Records, Taxonomy, load_taxonomy
from alignx.records.directions import NEGATIVE, NEUTRAL, POSITIVE
from alignx.settings import Settings, required, setting

MODEL = "oracle"


class Oracle:
    """Answers requests of either way of asking from the directions that records carry.

    With noise, a level is replaced by one of the two others. Certainty is then lower on average, and overlaps: from 20
    to 80 where the level was replaced, from 50 to 100 where it is the true one. Both are drawn by seed, item and
    dimension alone, so that the same question has the same answer however and whenever it is asked.
    """

    def __init__(self, records: Iterable[Record], taxonomy: Taxonomy, *, noise: float = 0.0, seed: int = 0) -> None:
        """Learn the directions of all history items, and of the records' own choices.

        Args:
            records: Of a synthetic world.
            taxonomy: The one their directions are over.
            noise: Share of levels that are replaced, from 0 to 1.
            seed: Of the noise and of the certainties.

        Raises:
            DataError: No item carries a direction, or one carries two different ones.
            ValueError: The noise is no share.
        """
        if not 0 <= noise <= 1:
            raise ValueError(f"noise is {noise}, expected a share from 0 to 1")
        self._noise, self._seed = noise, seed
        self._truth = _truths(records)
        self._ways = [way(name, taxonomy) for name in WAYS if name == "each" or len(taxonomy) <= MOST_AT_ONCE]
        self._requests = lru_cache(maxsize=64)(self._requests_about)  # 90 requests about an item come in a row

    def __len__(self) -> int:
        """Distinct items whose direction is known."""
        return len(self._truth)

    def __call__(self, body: Mapping[str, Any]) -> str:
        """The content of a reply, as the request's schema wants it.

        Args:
            body: Of a chat-completions request.

        Raises:
            ValueError: The request is none of ours, or is about an item that no record holds.
        """
        user = next((message["content"] for message in body["messages"] if message["role"] == "user"), "")
        item = shown_in(user)
        if item is None:
            raise ValueError("the oracle answers questions of `alignx annotate directions` only; this is none of them")
        if item.key not in self._truth:
            raise ValueError(
                f"the oracle knows no {item.kind} {item.texts[-1][:40]!r}: it is in none of the records that it was "
                "given, or has no direction there"
            )
        asked = self._requests(item).get(user)
        if asked is None:
            raise ValueError("the request is worded, or its dimensions are named, otherwise than the oracle's")
        said = [self._say(asked[0], item, dimension) for dimension in asked[1]]
        found = said[0] if asked[0].name == "each" else {f"d{place}": one for place, one in enumerate(said)}
        return json.dumps(found)

    def answer(self, item: Item, dimension: int) -> Answer:
        """What it says about one dimension of an item that it knows."""
        rng = random.Random(f"{self._seed} {item.key} {dimension}")
        true = self._truth[item.key][dimension]
        if rng.random() < self._noise:
            others = [level for level in (NEGATIVE, NEUTRAL, POSITIVE) if level != true]
            return Answer(rng.choice(others), rng.randint(20, 80))
        return Answer(true, rng.randint(50, 100))

    def _say(self, asked: Way, item: Item, dimension: int) -> dict[str, Any]:
        level, certainty = self.answer(item, dimension)
        option = next(letter for letter, stands_for in asked.letters(item, dimension) if stands_for == level)
        return {"option": option, "certainty": certainty}

    def _requests_about(self, item: Item) -> dict[str, tuple[Way, list[int]]]:
        """User turn → how it asks, and about which dimensions."""
        return {
            question.user: (one, [number] if one.name == "each" else list(range(len(one.taxonomy))))
            for one in self._ways
            for number, question in enumerate(one.questions(item))
        }


def _truths(records: Iterable[Record]) -> dict[str, Direction]:
    """Direction of each item, by its key."""
    found: dict[str, Direction] = {}
    for item, direction in chain.from_iterable(map(_directions, records)):
        if found.setdefault(item.key, direction) != direction:
            raise DataError(
                f"the {item.kind} {item.texts[-1][:40]!r} occurs with two different directions, so that there is no "
                "one truth to answer from; the oracle is for synthetic worlds"
            )
    if not found:
        raise DataError("no history item carries a direction, and the oracle has nothing else to answer from")
    return found


def _directions(record: Record) -> Iterator[tuple[Item, Direction]]:
    """Everything of a record that carries a direction; its own choice may stand in the history of another."""
    own = Choice(record.prompt, record.chosen, record.rejected, record.direction)
    history: tuple[Comment | Choice, ...] = (*record.persona.comments, *record.persona.choices, own)
    for one in history:
        if one.direction is not None:
            yield item_of(one), one.direction


class OracleSettings(Settings):
    """Answer `alignx annotate directions` from the truth: an oracle for a synthetic world, never for real users.

    alignx annotate oracle --data out/world/train.jsonl --data out/world/test.jsonl --noise 0.1
    """

    data: tuple[str, ...] = required(
        "Records whose history carries directions: a file, a folder of Parquet, or a hub id; give the flag again for "
        "more.",
        min_length=1,
    )
    taxonomy: Path | None = setting(None, "CSV of preference dimensions, if not the paper's 90.")
    noise: float = setting(0.0, "Share of levels that are replaced by one of the two others.", ge=0, le=1)
    seed: int = setting(0, "Of the noise and of the certainties.")
    port: int = setting(8123, "Port of this machine to listen on; 0 takes a free one.", ge=0, le=65535)
    latency: float = setting(0.0, "Seconds that each reply takes.", ge=0)


def serve(settings: OracleSettings) -> None:
    """Answer until interrupted.

    Raises:
        DataError: The records cannot be read, or carry no directions.
        SettingsError: The port is taken.
    """
    taxonomy = load_taxonomy(settings.taxonomy)
    records = chain.from_iterable(Records(source, taxonomy=taxonomy) for source in settings.data)
    oracle = Oracle(records, taxonomy, noise=settings.noise, seed=settings.seed)
    with ChatServer(oracle, model=MODEL, port=settings.port, latency=settings.latency) as server:
        print(
            f"an oracle for a synthetic world: it knows the directions of {len(oracle):,} items, noise "
            f"{settings.noise:g}\n{server.base_url}\n\n  alignx annotate directions --data {settings.data[0]} "
            f"--output out/annotated.jsonl --base-url {server.base_url} --model {MODEL}\n\nctrl-C ends it",
            flush=True,
        )
        server.serve_forever()
