"""How each preference dimension is spoken of in the synthetic world.

The words for the paper's dimensions are in the two files beside this. A taxonomy file brings the words for its own in
further columns, those of ``wordings.csv``.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from alignx.errors import DataError, SettingsError
from alignx.records.taxonomy import Taxonomy

Phrases = Mapping[str, Any]
"""Everything around the clauses: posts, openers, joiners, names, places."""

UNSEEN = -1
"""Index of the wording that no training text holds."""
_NAMES = ("a", "b", "unseen")
_CLAUSES = tuple(f"{pole}_{name}" for name in _NAMES for pole in ("negative", "positive"))
_EXAMPLES = ("example_a", "example_b")


@dataclass(frozen=True)
class Wording:
    """A dimension's neutral topic, and clauses in pairs that differ in their pole only."""

    topic: str
    clauses: tuple[tuple[str, str], ...]
    """``(negative pole, positive pole)`` each; the last pair is :data:`UNSEEN`."""


@lru_cache(maxsize=1)
def load_phrases() -> Phrases:
    """``phrases.json``."""
    phrases: Phrases = json.loads(_read("phrases.json"))
    return phrases


@lru_cache(maxsize=1)
def _table() -> dict[tuple[str, str], dict[str, str]]:
    """``wordings.csv`` joined with the taxonomy it was written for: by the two phrases of a dimension."""
    taxonomy = csv.DictReader(_read("../preference_dimensions.csv").splitlines())
    rows = csv.DictReader(_read("wordings.csv").splitlines())
    return {(known["negative"], known["positive"]): row for known, row in zip(taxonomy, rows, strict=True)}


def _own_table(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    """The rows of a taxonomy file that have a topic: the wordings it brings, by the two phrases of a dimension.

    Raises:
        DataError: One of them lacks a clause, or says the same for both poles.
    """
    found: dict[tuple[str, str], dict[str, str]] = {}
    reader = csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines())
    for line in reader:
        row = {name: line.get(name) or "" for name in ("negative", "positive", "topic", *_EXAMPLES, *_CLAUSES)}
        if not row["topic"]:
            continue
        needed = _EXAMPLES if any(row[name] for name in _EXAMPLES) else _CLAUSES
        if missing := [name for name in needed if not row[name]]:
            raise DataError(
                f"{path}:{reader.line_num}: {missing[0]} is empty, but there is a topic; expected "
                f"{', '.join(_CLAUSES)}, or for an interest {' and '.join(_EXAMPLES)}"
            )
        clauses = [clause for pair in _clauses(row) for clause in pair]
        if repeated := next((clause for clause in clauses if clauses.count(clause) > 1), None):
            raise DataError(f"{path}:{reader.line_num}: {repeated!r} stands twice, expected each clause once")
        found[row["negative"], row["positive"]] = row
    return found


def load_wordings(
    taxonomy: Taxonomy, dimensions: Sequence[int], count: int | None = None, file: Path | None = None
) -> dict[int, Wording]:
    """The wordings of some dimensions of a taxonomy.

    Args:
        taxonomy: The dimensions, known by their phrases.
        dimensions: Indices.
        count: How many wordings a pole, the unseen one aside; by default all there are.
        file: The taxonomy's own, which may bring wordings; they go before those of the same dimension here.

    Raises:
        DataError: The file's wordings are incomplete.
        SettingsError: A dimension is not in the taxonomy, has no wordings, or fewer than asked for.
    """
    known = _table() if file is None else {**_table(), **_own_table(file)}
    found = {}
    for index in dimensions:
        if not 0 <= index < len(taxonomy):
            raise SettingsError(f"--dimensions: got {index}, expected 0 to {len(taxonomy) - 1}")
        dimension = taxonomy.dimensions[index]
        row = known.get((dimension.negative, dimension.positive))
        if row is None:
            raise SettingsError(
                f"--taxonomy: nobody has written wordings for {dimension.positive!r} yet; write them into columns of "
                f"that file: topic, {', '.join(_CLAUSES)}"
            )
        clauses = _clauses(row)
        if count is not None and count > len(clauses) - 1:
            raise SettingsError(f"--wordings: got {count}, but dimension {index} has {len(clauses) - 1} a pole")
        found[index] = Wording(row["topic"], (*clauses[:-1][:count], clauses[UNSEEN]))
    return found


def _clauses(row: Mapping[str, str]) -> list[tuple[str, str]]:
    """All pairs of a dimension, the unseen one last; interests share their sentences."""
    if not row["example_a"]:
        return [(row[f"negative_{name}"], row[f"positive_{name}"]) for name in _NAMES]
    phrases = load_phrases()
    negative = [*phrases["interest_negative"], phrases["interest_negative_unseen"]]
    positive = [*phrases["interest_positive"], phrases["interest_positive_unseen"]]
    return [(no.format(**row), yes.format(**row)) for no, yes in zip(negative, positive, strict=True)]


def _read(name: str) -> str:
    folder = resources.files("alignx.records")
    path = folder / name.removeprefix("../") if name.startswith("../") else folder / "world" / name
    return path.read_text(encoding="utf-8")
