"""Small invented worlds for tests: rows in AlignX's format, made on the spot."""

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

DIMENSIONS = 90
_TEXT = """the a of to and in is it you that was for on are with they be at one have this from by hot word but
what some walk river bicycle kettle honest quiet garden naïve façade Zürich 東京 日本語 🙂 — … 3.14 22/7 42 it's don't
{braces} 100% **bold** - # ? ! :"""
_WORDS = _TEXT.split()


def sample_records(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """``n`` rows, the first of them the same whatever ``n`` is.

    Three records a user; every fifth record has the same target as an earlier one of another user. History lists have
    0 to 6 items; every part of the persona is absent in some rows, and now and then all of it. Texts have 3 to 100
    words, some with newlines at either end. No row has an id or a ready profile.
    """
    rng = random.Random(f"world {seed}")
    rows: list[dict[str, Any]] = []
    for index in range(n):
        target = {
            "prompt": _text(rng, 40),
            "chosen": _text(rng, 100),
            "rejected": _text(rng, 100),
            "Preference Direction": _direction(rng),
        }
        persona = {
            "Demographic Information": "**This person's persona is:**\n" + _text(rng, 30),
            "User-Generated Content": [
                {"prompt": _text(rng, 30), "comment": _text(rng, 30), "Preference Direction": _direction(rng)}
                for _ in range(rng.randint(0, 6))
            ],
            "Pair-wise Comparative Feedback": [
                {
                    "prompt": _text(rng, 30),
                    "chosen": _text(rng, 30),
                    "rejected": _text(rng, 30),
                    "Preference Direction": _direction(rng),
                }
                for _ in range(rng.randint(0, 6))
            ],
        }
        for part in list(persona):
            if rng.random() < 0.25 or index % 11 == 10:
                del persona[part]
        if index % 5 == 4:
            target = {name: rows[index - 3][name] for name in target}
        rows.append({**target, **persona, "user": f"user-{index // 3}"})
    return rows


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Write rows as JSON Lines; returns the path."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def _text(rng: random.Random, most: int) -> str:
    words = [rng.choice(_WORDS) for _ in range(rng.randint(3, most))]
    if rng.random() < 0.2:
        words.insert(len(words) // 2, "\n\n")
    text = " ".join(words)
    return rng.choice(("", "", "", "\n", " ")) + text + rng.choice(("", "", "", "\n", "\n\n", " "))


def _direction(rng: random.Random) -> list[float]:
    """Mostly neutral, at least one pole."""
    values = [rng.choice((0, 1)) if rng.random() < 0.1 else 0.5 for _ in range(DIMENSIONS)]
    values[rng.randrange(DIMENSIONS)] = rng.choice((0, 1))
    return values
