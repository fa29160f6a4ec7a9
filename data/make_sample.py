"""A small synthetic sample in AlignX's record format: invented users with known, sparse preferences.

    python data/make_sample.py --output data/sample --seed 0 --train 320 --test 96

The same arguments give the same bytes. Users are split between the two files; no two targets share a text.
The words are those of ``wordings.csv`` (each dimension's topic and clauses) and ``phrases.json`` beside it.
"""

import argparse
import csv
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TAXONOMY = HERE.parent / "alignx" / "records" / "preference_dimensions.csv"

Item = dict[str, Any]
Stance = dict[int, int]
"""Dimension → 1 (positive pole) or 0 (negative pole); dimensions not named are neutral."""

ACTIVE = (4, 8)  # dimensions a user cares about
MENTIONED = (0.5, 0.4, 0.1)  # shares of texts that express 1, 2, 3 dimensions
LENGTHS = (0.08, 0.08, 0.12, 0.14, 0.50, 0.03, 0.02, 0.02, 0.01)  # shares of histories with 0, 1, … 8 items
ON_TARGET = 0.6  # how often a history item starts from a dimension of its record's target
DESCRIBED = 0.7  # share of records with demographic information
ATTEMPTS = 1000

PHRASES: dict[str, list[str]] = json.loads((HERE / "phrases.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Dimension:
    """How one preference dimension is spoken of: a neutral topic, and several clauses for each pole."""

    topic: str
    clauses: tuple[Sequence[str], Sequence[str]]
    """Negative pole, positive pole."""


@dataclass(frozen=True)
class User:
    """An invented person."""

    name: str
    job: str
    city: str
    stance: Stance


def load_dimensions(taxonomy: Path, wordings: Path) -> list[Dimension]:
    """The wordings of every dimension of a taxonomy, in its order; interests share theirs.

    Raises:
        SystemExit: The two tables do not list the same dimensions, or a wording is empty.
    """
    known, rows = (list(csv.DictReader(path.read_text("utf-8").splitlines())) for path in (taxonomy, wordings))
    if [row["index"] for row in rows] != [row["index"] for row in known]:
        raise SystemExit(f"{wordings}: {len(rows)} dimensions, expected the {len(known)} of {taxonomy} in order")
    dimensions = []
    for row in rows:
        poles = []
        for pole in ("negative", "positive"):
            shared = [text.format(**row) for text in PHRASES[f"interest_{pole}"]]
            poles.append(shared if row["example_a"] else [row[f"{pole}_a"], row[f"{pole}_b"]])
        if not all([row["topic"], *poles[0], *poles[1]]):
            raise SystemExit(f"{wordings}: dimension {row['index']} needs a topic, and examples or clauses")
        dimensions.append(Dimension(row["topic"], (poles[0], poles[1])))
    return dimensions


class World:
    """Draws users and what they say; everything follows from the random generator."""

    def __init__(self, dimensions: list[Dimension], rng: random.Random) -> None:
        """Start with a fresh deck of dimensions for each pole."""
        self._dimensions = dimensions
        self._rng = rng
        self._decks = (self._deck(), self._deck())
        self._signs = cycle((0, 1)), cycle((0, 1))  # of targets, of history items

    def records(self, count: int, user_names: Sequence[str], targets: set[str]) -> Iterator[Item]:
        """Records of new users, at least two each where there are enough, in random order."""
        users = [self._user(name) for name in user_names]
        owners = (users * 2 + self._rng.choices(users, k=count))[:count]
        self._rng.shuffle(owners)
        for owner in owners:
            yield self._record(owner, targets)

    def _deck(self) -> Iterator[int]:
        """All dimensions in random order, over and over, so that users cover them evenly."""
        order = list(range(len(self._dimensions)))
        while True:
            self._rng.shuffle(order)
            yield from order

    def _user(self, name: str) -> User:
        """A person with as many positive as negative poles, give or take one."""
        stance: Stance = {}
        wanted, sign = self._rng.randint(*ACTIVE), self._rng.randrange(2)
        while len(stance) < wanted:
            stance.setdefault(next(self._decks[sign]), sign)
            sign = 1 - sign
        return User(name, self._pick("job"), self._pick("city"), stance)

    def _record(self, user: User, targets: set[str]) -> Item:
        """A target of new texts, which join ``targets``, and a history that shares none of them."""
        target = self._fresh(self._choice, user.stance, {}, targets)
        aim = {i: sign for i, sign in user.stance.items() if target["Preference Direction"][i] != 0.5}
        said = {text for text in target.values() if isinstance(text, str)}
        if self._rng.random() < DESCRIBED:
            target["Demographic Information"] = self._persona(user, aim)
        histories = {"User-Generated Content": self._comment, "Pair-wise Comparative Feedback": self._choice}
        for field, make in histories.items():
            length = self._rng.choices(range(len(LENGTHS)), LENGTHS)[0]
            target[field] = [self._fresh(make, user.stance, aim, said) for _ in range(length)]
        return {**target, "user": user.name}

    def _fresh(self, make: Callable[[Stance], Item], stance: Stance, aim: Stance, taken: set[str]) -> Item:
        """An item none of whose texts is taken; its texts are taken from then on."""
        for _ in range(ATTEMPTS):
            item = make(self._mention(stance, aim))
            texts = {value for value in item.values() if isinstance(value, str)}
            if taken.isdisjoint(texts):
                taken |= texts
                return item
        raise SystemExit(f"no unused text in {ATTEMPTS} draws; ask for fewer records or add wordings")

    def _mention(self, stance: Stance, aim: Stance) -> Stance:
        """A few of a stance's dimensions, often starting from one of ``aim``, else from each pole in turn."""
        sign = next(self._signs[bool(aim)])
        on_target = bool(aim) and self._rng.random() < ON_TARGET
        first = self._rng.choice(list(aim) if on_target else [i for i in stance if stance[i] == sign])
        rest = [index for index in stance if index != first]
        count = self._rng.choices((1, 2, 3), MENTIONED)[0]
        return {index: stance[index] for index in [first, *self._rng.sample(rest, count - 1)]}

    def _comment(self, stance: Stance) -> Item:
        post, text = self._post(stance), self._speak(stance, self._frame())
        return {"prompt": post, "comment": text, "Preference Direction": self._direction(stance)}

    def _choice(self, stance: Stance) -> Item:
        """Two replies alike but for their poles: same post, dimensions, order and frame."""
        frame = self._frame()
        return {
            "prompt": self._post(stance),
            "chosen": self._speak(stance, frame),
            "rejected": self._speak({index: 1 - sign for index, sign in stance.items()}, frame),
            "Preference Direction": self._direction(stance),
        }

    def _post(self, stance: Stance) -> str:
        """A neutral post about the topics of some dimensions."""
        topic = _enumerate([self._dimensions[index].topic for index in stance])
        words = {name: self._pick(name) for name in ("job", "city", "relative", "club")}
        return self._pick("post").format(topic=topic, **words)

    def _frame(self) -> tuple[str, ...]:
        """What goes before each of up to three clauses."""
        return self._pick("opener"), self._pick("joiner"), self._pick("last_joiner")

    def _speak(self, stance: Stance, frame: tuple[str, ...]) -> str:
        """A reply of one to three sentences that takes each pole of a stance in turn."""
        text = "".join(link + clause for link, clause in zip(frame, self._clauses(stance), strict=False))
        return text[0].upper() + text[1:] + "."

    def _persona(self, user: User, stance: Stance) -> str:
        quotes = _enumerate([f"“{clause}”" for clause in self._clauses(stance)])
        text = self._pick("persona").format(job=user.job, city=user.city, quotes=quotes)
        return f"**This person's persona is:**\n{text}"

    def _clauses(self, stance: Stance) -> list[str]:
        return [self._rng.choice(self._dimensions[index].clauses[sign]) for index, sign in stance.items()]

    def _direction(self, stance: Stance) -> list[float]:
        return [stance.get(index, 0.5) for index in range(len(self._dimensions))]

    def _pick(self, name: str) -> str:
        return self._rng.choice(PHRASES[name])


def _enumerate(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def main() -> None:
    """Write ``train.jsonl`` and ``test.jsonl``."""
    parser = argparse.ArgumentParser(description="Write train.jsonl and test.jsonl, made of invented users.")
    parser.add_argument("--output", type=Path, default=HERE / "sample", help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same bytes (default: 0)")
    parser.add_argument("--train", type=int, default=320, help="training records (default: 320)")
    parser.add_argument("--test", type=int, default=96, help="test records (default: 96)")
    parser.add_argument("--taxonomy", type=Path, default=TAXONOMY, help="CSV of the preference dimensions")
    args = parser.parse_args()

    dimensions = load_dimensions(args.taxonomy, HERE / "wordings.csv")
    args.output.mkdir(parents=True, exist_ok=True)
    targets: set[str] = set()
    users = 0
    for split, count in (("train", args.train), ("test", args.test)):
        names = [f"user-{users + number:04}" for number in range(1, max(1, count // 4) + 1)]
        users += len(names)
        world = World(dimensions, random.Random(f"{args.seed} {split}"))
        path = args.output / f"{split}.jsonl"
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for record in world.records(count, names, targets):
                file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
        print(f"{path}: {count} records of {len(names)} users, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
