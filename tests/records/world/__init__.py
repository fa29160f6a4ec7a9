"""Worlds made on the spot, and what their sentences say, read back without the code that wrote them."""

import json
from collections import defaultdict
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from alignx.records import load_taxonomy
from alignx.records.world import load_wordings
from alignx.records.world.synthesize import SynthesizeSettings, synthesize
from tests.records.rows import DIRECTION

TAXONOMY = load_taxonomy()
EXTENSION = Path(__file__).resolve().parents[3] / "data/taxonomies/humor-pragmatism.csv"
"""The paper's dimensions and two more, with the words for those."""
WORDINGS = load_wordings(TAXONOMY, range(90))
DEMO: dict[str, Any] = {
    "dimensions": "demo",
    "wordings": 2,
    "active": (6, 6),
    "mentions": (0.6, 0.4),
    "comments": 3,
    "choices": 1,
    "described": 0.0,
    "label_noise": 0.05,
}
"""The demo's world but for its size."""
TESTS = ("test", "test-comments-only", "test-choices-only", "test-reversed", "test-unseen-wordings")


class Said(NamedTuple):
    """What a clause says, and how."""

    dimension: int
    sign: int
    wording: int
    """-1 is the one that no training text may hold."""


MEANING: dict[str, Said] = {
    clause: Said(index, sign, -1 if number == len(wording.clauses) - 1 else number)
    for index, wording in WORDINGS.items()
    for number, pair in enumerate(wording.clauses)
    for sign, clause in enumerate(pair)
}
_HEAD = 6
_BY_HEAD: dict[str, list[str]] = defaultdict(list)
for _clause in sorted(MEANING, key=len, reverse=True):
    _BY_HEAD[_clause[:_HEAD]].append(_clause)


def made(folder: Path, **settings: Any) -> Path:
    """A world in a folder."""
    synthesize(SynthesizeSettings(output=folder, **settings))
    return folder


@lru_cache(maxsize=32)
def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    """The lines of one of a world's files; read once, so nothing may change them."""
    with (folder / f"{name}.jsonl").open(encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def said(text: str) -> list[Said]:
    """What each clause of a text says, in the text's order."""
    return [MEANING[clause] for clause in _split(text)[0]]


def frame(text: str) -> str:
    """A text with ``_`` in place of each clause."""
    return _split(text)[1]


def signs(text: str) -> dict[int, int]:
    """Dimension and pole of each clause of a text, which must name a dimension once."""
    found = said(text)
    assert len({one.dimension for one in found}) == len(found)
    return {one.dimension: one.sign for one in found}


def direction(row: dict[str, Any]) -> dict[int, int]:
    """The poles of a row's direction."""
    return {index: int(value) for index, value in enumerate(row[DIRECTION]) if value != 0.5}


def turned(poles: dict[int, int]) -> dict[int, int]:
    """The opposite poles."""
    return {index: 1 - sign for index, sign in poles.items()}


@cache
def _split(text: str) -> tuple[tuple[str, ...], str]:
    clauses: list[str] = []
    around: list[str] = []
    place = 0
    while place < len(text):
        here = next((c for c in _BY_HEAD.get(text[place : place + _HEAD], ()) if text.startswith(c, place)), None)
        if here is None:
            around.append(text[place])
            place += 1
        else:
            clauses.append(here)
            around.append("_")
            place += len(here)
    return tuple(clauses), "".join(around)
