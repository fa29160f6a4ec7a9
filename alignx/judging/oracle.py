"""A judge that knows the truth, for synthetic worlds and tests; never one for real users.

It looks up what the invented user who is shown really thinks, hears which poles each response takes, and prefers the
one that this user agrees with more. Faults can be planted in it, to see whether a report finds them.
"""

import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import model_validator

from alignx.chat.connections import Raw
from alignx.chat.server import ChatServer, completion
from alignx.judging.oracle_users import Stance, Users
from alignx.judging.questions import PLACES, Place, Said, Shown, shown_in
from alignx.records import Taxonomy, load_taxonomy
from alignx.records.world import load_wordings
from alignx.records.world.hearing import Hearing
from alignx.settings import Settings, required, setting

MODEL: Final = "synthetic-world-oracle"
"""Its name says in every report, table and file what its verdicts are."""


Pole = tuple[int, int]
"""Of a dimension: 1 the positive one, 0 the negative one."""


@dataclass(frozen=True)
class Heard:
    """What a response says about dimensions that the user cares about, each counted once however often it is said."""

    agrees: tuple[Pole, ...]
    contradicts: tuple[Pole, ...]

    @property
    def score(self) -> int:
        """Agreements less contradictions."""
        return len(self.agrees) - len(self.contradicts)


@dataclass(frozen=True)
class Faults:
    """Shares of the pairs whose verdict is not what the oracle knows; a pair is drawn by its texts, whatever the order.

    Raises:
        ValueError: They are no shares, or more than all together.
    """

    noise: float = 0.0
    """One of the two other verdicts, drawn anew in either order."""
    by_place: float = 0.0
    """Response 1, whatever it is."""
    by_length: float = 0.0
    """The longer response."""
    seed: int = 0

    def __post_init__(self) -> None:
        shares = (self.noise, self.by_place, self.by_length)
        if min(shares) < 0 or sum(shares) > 1:
            raise ValueError(
                f"noise, by place and by length are {', '.join(f'{share:g}' for share in shares)}; expected shares "
                "from 0 to 1, of at most 1 together"
            )


class Oracle:
    """Answers requests of the judge's from what a synthetic world's users think."""

    def __init__(self, users: Users, hearing: Hearing, taxonomy: Taxonomy, faults: Faults | None = None) -> None:
        """Take everything that is known.

        Args:
            users: Of the world.
            hearing: How responses are understood.
            taxonomy: What dimensions are called in a reason.
            faults: To judge wrongly with.
        """
        self.users, self._hearing, self._taxonomy = users, hearing, taxonomy
        self._faults = faults or Faults()

    def __call__(self, body: Mapping[str, Any]) -> str | Raw:
        """The reply to a request; a refusal where the oracle does not know who is shown.

        Args:
            body: Of a chat-completions request.

        Raises:
            ValueError: The request is none of ours.
        """
        user = next((message["content"] for message in body["messages"] if message["role"] == "user"), "")
        shown = shown_in(user)
        if shown is None:
            raise ValueError("the oracle answers requests of `alignx judge` only; this is none of them")
        said = self.verdict(shown)
        if said is None:
            unknown = "this oracle knows no user of its world, or no single one, with this persona and this post"
            return Raw.json(completion(body, None, "stop", refusal=unknown))
        return json.dumps({"reason": said.reason, "certainty": said.certainty, "verdict": said.place})

    def verdict(self, shown: Shown) -> Said | None:
        """What it says about two responses; None where it does not know who is shown.

        It is the surer the more the scores differ: 50 where they are equal, 15 more for each point.
        """
        stance = self.users.find(shown.persona, shown.post)
        if stance is None:
            return None
        first, second = (self.heard(text, stance) for text in (shown.first, shown.second))
        ahead = first.score - second.score
        true = Said(_place(ahead), min(100, 50 + 15 * abs(ahead)), self._reason(first, second))
        return self._faulty(shown, true)

    def heard(self, text: str, stance: Stance) -> Heard:
        """What a text says to somebody; a dimension on which it says as much for as against counts as neither."""
        said = Counter((mention.dimension, mention.sign) for mention in self._hearing.mentions(text))
        theirs, opposite = stance.poles, stance.reversed.poles
        return Heard(
            tuple(pole for pole, other in zip(theirs, opposite, strict=True) if said[pole] > said[other]),
            tuple(other for pole, other in zip(theirs, opposite, strict=True) if said[other] > said[pole]),
        )

    def _faulty(self, shown: Shown, true: Said) -> Said:
        """The true verdict, or what is said in its place."""
        faults = self._faults
        pair = random.Random(f"{faults.seed} {shown.persona!r} {shown.post!r} {sorted((shown.first, shown.second))!r}")
        drawn = pair.random()
        if drawn < faults.by_place:
            return Said("response 1", 90, "It is shown first. (A fault that was planted in this oracle.)")
        if drawn < faults.by_place + faults.by_length:
            ahead = len(shown.first) - len(shown.second)
            return Said(_place(ahead), 90, "By length alone. (A fault that was planted in this oracle.)")
        if drawn < faults.by_place + faults.by_length + faults.noise:
            request = random.Random(f"{faults.seed} {shown.texts!r}")
            other = request.choice([place for place in PLACES if place != true.place])
            return Said(other, request.randint(20, 80), "Drawn by chance. (A fault that was planted in this oracle.)")
        return true

    def _reason(self, first: Heard, second: Heard) -> str:
        said = "; ".join(f"response {number} {self._words(one)}" for number, one in enumerate((first, second), start=1))
        return f"By the true preferences of this invented user: {said}."

    def _words(self, heard: Heard) -> str:
        parts = (("agrees with them", heard.agrees), ("contradicts them", heard.contradicts))
        said = [f"{verb} ({', '.join(map(self._name, poles))})" for verb, poles in parts if poles]
        return " and ".join(said) or "takes no side that they care about"

    def _name(self, pole: Pole) -> str:
        dimension = self._taxonomy.dimensions[pole[0]]
        return dimension.positive if pole[1] else dimension.negative


def _place(ahead: int) -> Place:
    return "tie" if ahead == 0 else "response 1" if ahead > 0 else "response 2"


def load_oracle(world: Path, taxonomy: Path | None = None, faults: Faults | None = None) -> Oracle:
    """The oracle of a synthetic world.

    Args:
        world: Folder that ``alignx data synthesize`` wrote.
        taxonomy: The CSV that it was made for, if not the paper's 90 dimensions.
        faults: To judge wrongly with.

    Raises:
        DataError: It is no such folder, or of another taxonomy.
    """
    dimensions = load_taxonomy(taxonomy)
    users = Users(world, dimensions)
    hearing = Hearing(load_wordings(dimensions, users.dimensions, file=taxonomy))
    return Oracle(users, hearing, dimensions, faults)


class OracleSettings(Settings):
    """Judge by the truth: an oracle for a synthetic world, never for real users.

    alignx judge oracle --world out/demo/world --port 8124

    A response's score is the number of dimensions on which it agrees with the user, less those on which it contradicts
    them; the higher one wins. Whoever it does not know, it refuses to judge. The last settings plant faults.
    """

    world: Path = required("Folder that `alignx data synthesize` wrote.")
    taxonomy: Path | None = setting(None, "CSV of preference dimensions, if not the paper's 90.")
    port: int = setting(8124, "Port of this machine to listen on; 0 takes a free one.", ge=0, le=65535)
    latency: float = setting(0.0, "Seconds that each reply takes.", ge=0)
    noise: float = setting(0.0, "Share of pairs with one of the two other verdicts, drawn by chance.", ge=0, le=1)
    by_place: float = setting(0.0, "Share of pairs judged for what is shown first.", ge=0, le=1)
    by_length: float = setting(0.0, "Share of pairs judged for what is longer.", ge=0, le=1)
    seed: int = setting(0, "Of the faults.")

    @model_validator(mode="after")
    def _possible(self) -> "OracleSettings":
        _ = self.faults
        return self

    @property
    def faults(self) -> Faults:
        """What is wrong with it."""
        return Faults(self.noise, self.by_place, self.by_length, self.seed)


def serve(settings: OracleSettings) -> None:
    """Judge until interrupted.

    Raises:
        DataError: The world cannot be read.
        SettingsError: The port is taken.
    """
    oracle = load_oracle(settings.world, settings.taxonomy, settings.faults)
    with ChatServer(oracle, model=MODEL, port=settings.port, latency=settings.latency) as server:
        print(
            f"an oracle for a synthetic world: it knows what {len(oracle.users):,} invented users think; noise "
            f"{settings.noise:g}, by place {settings.by_place:g}, by length {settings.by_length:g}",
            f"{server.base_url}\n",
            f"  python eval/win_rate.py --candidate A.jsonl --baseline B.jsonl --data {settings.world / 'test.jsonl'} "
            f"--judge-model {MODEL} --base-url {server.base_url} --output out/win-rate\n",
            "ctrl-C ends it",
            sep="\n",
            flush=True,
        )
        server.serve_forever()
