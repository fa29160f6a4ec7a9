"""Two systems' responses, the judge of a known mind who is asked about them, and the command that asks."""

import json
import random
import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from alignx import manifest
from alignx.chat.server import Asked, ChatServer
from alignx.generation.responses import Response
from alignx.judging.questions import PLACES, Shown, shown_in
from alignx.judging.settings import WinRateSettings
from alignx.judging.win_rate import win_rate
from alignx.manifest import DataIdentity, Manifest, ModelIdentity, digest
from alignx.prompts import Condition, Method
from alignx.records import Record, Records, load_taxonomy
from tests.worlds import sample_records, write_jsonl

MODEL = "judge"
SAMPLING = {"temperature": 0.9, "top_k": 10, "top_p": 0.95, "max_new_tokens": 512, "seed": 42}
Write = Callable[[Record], str]


def world(folder: Path, number: int = 30, seed: int = 3) -> Path:
    """Records of users, three each, every one of whom something is known."""
    rows = [row for row in sample_records(2 * number, seed) if len(row) > 5][:number]
    for index, row in enumerate(rows):
        row["id"] = f"record-{index:05}"
    assert len(rows) == number
    return write_jsonl(folder / "data.jsonl", rows)


def responses(
    data: Path, path: Path, write: Write, *, name: str = "", method: Method = Method.ICA, **more: Any
) -> Path:
    """A file of responses as generation writes them.

    Args:
        data: Records.
        path: Of the file.
        write: From a record to the response.
        name: Of the model; by default that of the file.
        method: What the model was told by.
        more: ``condition`` and ``settings`` to differ from the usual, ``limit`` of the records.
    """
    records, identity = _read(data, more.get("limit"))
    write_jsonl(path, (_line(record, write(record)) for record in records))
    model = ModelIdentity(name=name or path.stem, digest=digest(name or path.stem), tokenizer=digest("tokens"))
    condition = Condition(method=method).resolved().model_dump(mode="json") | more.get("condition", {})
    manifest.write(
        path,
        Manifest(
            kind="responses",
            data=identity,
            taxonomy=load_taxonomy().digest,
            model=model,
            condition=condition,
            settings=SAMPLING | more.get("settings", {}),
            files={path.name: manifest.file_digest(path)},
        ),
    )
    return path


@lru_cache(maxsize=1)
def _read(data: Path, limit: int | None) -> tuple[list[Record], DataIdentity]:
    source = Records(str(data), limit=limit)
    return list(source), source.identity


def _line(record: Record, text: str) -> dict[str, Any]:
    one = Response(
        id=record.id,
        response=text,
        finish="stop",
        prompt_tokens=9,
        response_tokens=len(text.split()),
        trimmed_items=0,
        trimmed_demographics=False,
        persona_empty=False,
        settings="0" * 16,
    )
    return one.model_dump(mode="json")


def good(record: Record) -> str:
    """A response whose quality a judge can see."""
    rng = random.Random(record.id)
    return f"quality {rng.randint(40, 99)}, warmly said {'so ' * rng.randint(0, 9)}"


def poor(record: Record) -> str:
    """Another, worse on average: of about the same length."""
    rng = random.Random(record.id[::-1])
    return f"quality {rng.randint(10, 69)}, plainly put {'yes ' * rng.randint(0, 7)}"


def two(folder: Path, number: int = 30, candidate: Write = good, baseline: Write = poor) -> dict[str, Any]:
    """Flags of a comparison: data, candidate and baseline."""
    data = world(folder, number)
    return {
        "data": str(data),
        "candidate": responses(data, folder / "candidate.jsonl", candidate),
        "baseline": responses(data, folder / "baseline.jsonl", baseline),
    }


def quality(text: str) -> int:
    found = re.search(r"quality (\d+)", text)
    return int(found[1]) if found else 0


def by_quality(shown: Shown) -> tuple[int, int]:
    """Place (0 first, 1 second, 2 tie) and certainty of a judge who sees what is good."""
    apart = quality(shown.first) - quality(shown.second)
    return (2 if abs(apart) < 4 else 0 if apart > 0 else 1), min(100, 50 + abs(apart))


def by_place(shown: Shown) -> tuple[int, int]:
    """Of one who likes what comes first, whatever it is."""
    return 0, 90


def by_length(shown: Shown) -> tuple[int, int]:
    """Of one who likes what is longer."""
    return (0 if len(shown.first) > len(shown.second) else 1 if len(shown.first) < len(shown.second) else 2), 80


def by_chance(shown: Shown) -> tuple[int, int]:
    """Of one who tosses a coin, the same for the same request."""
    return random.Random(digest(shown.texts)).randrange(2), random.Random(digest(shown.texts)).randrange(101)


Mind = Callable[[Shown], tuple[int, int]]


def answer(mind: Mind, asked: Asked) -> str:
    """The reply of a judge of this mind."""
    shown = shown_in(asked["messages"][1]["content"])
    assert shown is not None, "what was asked cannot be read back"
    place, certainty = mind(shown)
    return json.dumps({"reason": "it fits", "certainty": certainty, "verdict": PLACES[place]})


def judge(mind: Mind = by_quality) -> Callable[[Asked], str]:
    return partial(answer, mind)


def settings(server: ChatServer | None, output: Path, flags: Mapping[str, Any], **more: Any) -> WinRateSettings:
    url = server.base_url if server is not None else "http://127.0.0.1:9/v1"
    usual = {"judge_model": MODEL, "base_url": url, "patience": 5.0, "timeout": 5.0, "least_coverage": 0.0}
    return WinRateSettings(**{**usual, "output": output, **flags, **more})


def run(server: ChatServer | None, output: Path, flags: Mapping[str, Any], **more: Any) -> str:
    """The command; what it says."""
    return win_rate(settings(server, output, flags, **more))


def judged(output: Path, flags: Mapping[str, Any], mind: Mind = by_quality, **more: Any) -> dict[str, Any]:
    """The report of a comparison by a judge of this mind, whose server never fails."""
    with ChatServer(judge(mind), model=MODEL) as server:
        run(server, output, flags, **more)
    return report(output)


def report(output: Path) -> dict[str, Any]:
    """What a finished comparison says."""
    found: dict[str, Any] = json.loads((output / "win-rate.json").read_text(encoding="utf-8"))
    return found


def everything(output: Path) -> dict[str, bytes]:
    """The report in all its forms, byte for byte, and the verdict on each pair."""
    names = ["win-rate.json", "win-rate.md", "win-rate.html", "pairs.jsonl"]
    paths = [output / name for name in names] + sorted((output / "figures").iterdir())
    return {path.name: path.read_bytes() for path in paths}


def lines(path: Path) -> list[dict[str, Any]]:
    """Of a file of JSON Lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
