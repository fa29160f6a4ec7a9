"""The users of a synthetic world, known by what a request shows of them."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Final

from alignx import manifest
from alignx.errors import DataError
from alignx.judging.persona import PARTS, persona_text
from alignx.records import Record, Records, Taxonomy
from alignx.records.world.synthesize import VARIANTS

_SHOWN: Final = [parts for size in range(1, len(PARTS) + 1) for parts in combinations(PARTS, size)]
"""Every choice of what a judge may be told of a user."""


@dataclass(frozen=True)
class Stance:
    """What somebody thinks: dimension → 1 (positive pole) or 0 (negative pole); they care about no other."""

    poles: tuple[tuple[int, int], ...]

    @property
    def reversed(self) -> "Stance":
        """Of the opposite."""
        return Stance(tuple((dimension, 1 - sign) for dimension, sign in self.poles))


class Users:
    """Who is meant by a persona and a post, in any of the files of a world."""

    def __init__(self, world: Path, taxonomy: Taxonomy) -> None:
        """Read a world.

        Args:
            world: Folder that ``alignx data synthesize`` wrote.
            taxonomy: The one that its directions are over.

        Raises:
            DataError: It is none, is unfinished, or is over another taxonomy.
        """
        made = manifest.read(world)
        if made.kind != "world" or made.taxonomy != taxonomy.digest:
            what = "another taxonomy; give its --taxonomy" if made.kind == "world" else f"{made.kind!r}, not a world"
            raise DataError(f"{world}: is of {what}; expected a folder that `alignx data synthesize` wrote")
        self._taxonomy = taxonomy
        self._stances = dict(_stances(world / "users.jsonl", len(taxonomy)))
        self._by_post: dict[str, list[tuple[Record, Stance]]] = defaultdict(list)
        for name in ("train", *VARIANTS):
            turned = VARIANTS.get(name, {}).get("turned", False)
            for record in Records(str(world / f"{name}.jsonl"), taxonomy=taxonomy):
                stance = self._stance(world, record)
                self._by_post[record.prompt].append((record, stance.reversed if turned else stance))
        self.find = lru_cache(maxsize=4096)(self._find)  # both orders of a pair, and every comparison, ask again

    def __len__(self) -> int:
        """How many."""
        return len(self._stances)

    @property
    def dimensions(self) -> list[int]:
        """That anybody cares about."""
        return sorted({dimension for stance in self._stances.values() for dimension, _ in stance.poles})

    def _find(self, persona: str, post: str) -> Stance | None:
        """What the user thinks who is shown; None where nobody is, or several who think differently are."""
        found = {stance for record, stance in self._by_post.get(post, ()) if persona in self._personas(record)}
        return found.pop() if len(found) == 1 else None

    def _personas(self, record: Record) -> Iterator[str]:
        for parts in _SHOWN:
            with suppress(DataError):  # no profile can be made of this record, so that nobody was shown one
                yield persona_text(record, parts, self._taxonomy)

    def _stance(self, world: Path, record: Record) -> Stance:
        if record.user not in self._stances:
            raise DataError(f"{world}: record {record.id!r} is of {record.user!r}, who is not in users.jsonl")
        return self._stances[record.user]


def _stances(path: Path, size: int) -> Iterator[tuple[str, Stance]]:
    """Each user's name and what they think."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        user: Mapping[str, object] = json.loads(line)
        direction = user["Preference Direction"]
        if not isinstance(direction, list) or len(direction) != size:
            raise DataError(f"{path}:{number}: 'Preference Direction' is no list of {size} values")
        poles = tuple((index, int(value)) for index, value in enumerate(direction) if value in (0, 1))
        yield str(user["user"]), Stance(poles)
