"""The numbers of the paper (arXiv:2503.15463 v3), as rows to stand beside one's own."""

import csv
import difflib
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import Any

from alignx.errors import DataError, SettingsError

BASELINES = ("Llama-3-8B-Instruct", "Qwen2.5-7B-Instruct", "Mistral-7B-Instruct-v0.2", "VPL")
"""What the paper calls baselines, where it says by how much its methods are better than the best of them."""

FILE = "published.csv"


@dataclass(frozen=True)
class Published:
    """One published number; a field that does not apply is empty."""

    table: str
    """``1`` to ``9``, or ``F3`` for Figure 3."""
    model: str
    training: str
    """Share of the training data, such as ``7%``; ``none``: an instruction-tuned model as it is."""
    benchmark: str
    """In Tables 1 and 2 the file, such as ``P-Soups Style``."""
    condition: str
    """What the model was told, such as ``PAIR``; in Table 8 the dimension, in Figure 3 with the items of history."""
    metric: str
    """``accuracy``, ``win rate`` and ``flip`` in percent; ``items`` and ``records`` are counts."""
    value: float
    note: str
    """What must be said with the number."""

    @property
    def is_baseline(self) -> bool:
        """Whether the paper compares its methods with it."""
        return self.model in BASELINES

    @property
    def is_oracle(self) -> bool:
        """Whether the model was told the direction of the very pair that it is asked about."""
        return self.model.endswith(" golden")


_NAMES = tuple(field.name for field in fields(Published))
_KEYS = tuple(name for name in _NAMES if name not in ("value", "note"))


def published_rows(**keys: str | int) -> list[Published]:
    """All published numbers with these keys, in the paper's order.

    Args:
        **keys: Any of table, model, training, benchmark, condition and metric; those not given may be anything.

    Returns:
        None of them, where each name is known but not together: the paper left that cell empty.

    Raises:
        SettingsError: A key or a name is unknown.
    """
    found = list(_all())
    for key, value in keys.items():
        if key not in _KEYS:
            raise SettingsError(f"{key}: no such key of a published number{_nearest(key, _KEYS)}")
        known = dict.fromkeys(getattr(row, key) for row in _all())
        if str(value) not in known:
            raise SettingsError(f"{key} {str(value)!r} is nowhere in the paper's tables{_nearest(str(value), known)}")
        found = [row for row in found if getattr(row, key) == str(value)]
    return found


def published(**keys: str | int) -> Published | None:
    """The one published number with these keys; None where the paper left that cell empty.

    ``published(table=3, model="AlignXpert-ICA", training="7%", benchmark="P-Soups", condition="PAIR")``

    Args:
        **keys: As for :func:`published_rows`.

    Raises:
        SettingsError: A key or a name is unknown, or several numbers have these keys.
    """
    found = published_rows(**keys)
    if len(found) > 1:
        given = ", ".join(f"{key} {value!r}" for key, value in keys.items())
        differ = [key for key in _KEYS if len({getattr(row, key) for row in found}) > 1]
        raise SettingsError(f"{given}: {len(found)} published numbers, expected one; say {' and '.join(differ)} too")
    return found[0] if found else None


def name_and_training(name: str) -> tuple[str, str]:
    """A model of the paper's tables and what it was trained on, from both in one: ``AlignXpert-ICA 7%``.

    Raises:
        SettingsError: No published number is of that.
    """
    known = {f"{row.model} {row.training}".strip(): (row.model, row.training) for row in _all() if row.model}
    if name not in known:
        meant = _nearest(name, tuple(known))
        raise SettingsError(f"got {name!r}, expected a model of the paper's tables and its training{meant}")
    return known[name]


def expected_items(benchmark: str) -> list[Published]:
    """How many items each file of a benchmark should have (Table 2), with what the paper says otherwise as its note.

    Args:
        benchmark: Its name, such as ``P-Soups`` for all three files, or one file's, such as ``P-Soups Style``.

    Raises:
        SettingsError: Table 2 has no such benchmark.
    """
    rows = published_rows(table=2)
    found = [row for row in rows if row.benchmark == benchmark or row.benchmark.startswith(f"{benchmark} ")]
    if not found:
        names = dict.fromkeys(name for row in rows for name in (row.benchmark.partition(" ")[0], row.benchmark))
        raise SettingsError(f"benchmark {benchmark!r} is not in the paper's Table 2{_nearest(benchmark, names)}")
    return found


@cache
def _all() -> tuple[Published, ...]:
    text = (resources.files("alignx.evaluation") / FILE).read_text(encoding="utf-8")
    return _parse(text, FILE)


def _parse(text: str, where: str) -> tuple[Published, ...]:
    reader = csv.DictReader(text.splitlines(), strict=True)
    if tuple(reader.fieldnames or ()) != _NAMES:
        raise DataError(f"{where}: columns are {reader.fieldnames}, expected {', '.join(_NAMES)}")
    rows: dict[tuple[str, ...], Published] = {}
    for line in reader:
        here = f"{where}:{reader.line_num}"
        if len(line) != len(_NAMES) or None in line.values():
            raise DataError(f"{here}: holds more or fewer than {len(_NAMES)} fields")
        key = tuple(line[name] for name in _KEYS)
        if key in rows:
            raise DataError(f"{here}: {', '.join(filter(None, key))} is there twice, expected each number once")
        typed: dict[str, Any] = dict(line)
        try:
            typed["value"] = float(line["value"])
        except ValueError:
            raise DataError(f"{here}: value is {line['value']!r}, expected a number") from None
        rows[key] = Published(**typed)
    return tuple(rows.values())


def _nearest(name: str, known: dict[str, None] | tuple[str, ...]) -> str:
    """What was probably meant, else all there is, as the end of a message."""
    nearest = difflib.get_close_matches(name, [one for one in known if one], n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]!r}?" if nearest else f", expected one of {', '.join(filter(None, known))}"
