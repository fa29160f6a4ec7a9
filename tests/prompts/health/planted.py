"""Rows of many words that look well, and what the report finds in them once something is planted."""

import json
import random
import re
from pathlib import Path
from typing import Any

from alignx.prompts.reporting import ReportSettings, report
from tests.worlds import write_jsonl

WORDS = re.findall(
    "[a-z]+",
    """walk river bicycle kettle honest quiet garden lemon morning orchard violin basket copper window saddle thunder
    velvet puzzle harbour candle meadow pocket ribbon shadow timber village whisper yellow anchor button cradle""",
)


def text(rng: random.Random, words: int = 20) -> str:
    """A sentence in words that are no other language's."""
    return "The " + " ".join(rng.choice(WORDS) for _ in range(words)) + " and this is it for you."


def well(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """``n`` rows of as many users with two comments and two choices each, without anything to find."""
    rng = random.Random(f"well {seed}")
    return [
        {
            "id": f"r{number}",
            "user": f"u{number}",
            **pair(rng),
            "User-Generated Content": [{"prompt": text(rng), "comment": text(rng)} for _ in range(2)],
            "Pair-wise Comparative Feedback": [pair(rng) for _ in range(2)],
        }
        for number in range(n)
    ]


def pair(rng: random.Random) -> dict[str, str]:
    """A post and two responses."""
    return {"prompt": text(rng), "chosen": text(rng), "rejected": text(rng)}


def found_in(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> dict[str, dict[str, Any]]:
    """The findings of a report on rows, by key."""
    output = folder / "report.json"
    report(ReportSettings(data=str(write_jsonl(folder / "rows.jsonl", rows)), output=output, **settings))
    return {finding["key"]: finding for finding in json.loads(output.read_text(encoding="utf-8"))["health"]}


def wrong(findings: dict[str, dict[str, Any]]) -> dict[str, int]:
    """What was not well, with how many of it."""
    return {key: finding["n"] for key, finding in findings.items() if finding["verdict"] != "ok"}


def ids(finding: dict[str, Any]) -> list[str]:
    """Which records are its examples."""
    return [example["id"] for example in finding["examples"]]
