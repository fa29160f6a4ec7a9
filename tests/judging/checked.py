"""Records of which everybody can see what was chosen, and the checks of a judge run on them."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignx.chat.server import Asked, ChatServer, failure
from alignx.judging.check_settings import CalibrateSettings, SelftestSettings
from tests.judging.comparing import MODEL, lines, world
from tests.worlds import write_jsonl


def known(folder: Path, number: int = 30, *, wrong: int = 0) -> Path:
    """Records whose chosen response is of better quality than the rejected one, but for one in ``wrong`` of them."""
    rows = lines(world(folder, number))
    for index, row in enumerate(rows):
        rng = random.Random(row["id"])
        better = f"quality {rng.randint(60, 99)}, {'so ' * rng.randint(1, 9)}said of {index}"
        worse = f"quality {rng.randint(10, 50)}, {'yes ' * rng.randint(1, 9)}put to {index}"
        row["chosen"], row["rejected"] = (worse, better) if wrong and index % wrong == 0 else (better, worse)
    return write_jsonl(folder / "known.jsonl", rows)


def calibrate_settings(server: ChatServer | None, data: Path, output: Path, **more: Any) -> CalibrateSettings:
    return CalibrateSettings(**{**_usual(server, data, output), **more})


def selftest_settings(server: ChatServer | None, data: Path, output: Path, **more: Any) -> SelftestSettings:
    return SelftestSettings(**{**_usual(server, data, output), **more})


def _usual(server: ChatServer | None, data: Path, output: Path) -> dict[str, Any]:
    url = server.base_url if server is not None else "http://127.0.0.1:9/v1"
    known = {"data": str(data), "output": output, "judge_model": MODEL, "base_url": url}
    return {**known, "patience": 5.0, "timeout": 5.0}


def report(output: Path, stem: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / f"{stem}.json").read_text(encoding="utf-8"))
    return found


def words(path: Path) -> str:
    """A page as one line."""
    return " ".join(path.read_text(encoding="utf-8").split())


def everything(output: Path, stem: str) -> Mapping[str, bytes]:
    """The report in all its forms, byte for byte, and the verdict on each pair."""
    paths = [*(output / f"{stem}.{kind}" for kind in ("json", "md", "html")), output / "pairs.jsonl"]
    return {path.name: path.read_bytes() for path in [*paths, *sorted(output.glob("figures/*"))]}


class Tired:
    """An answer that refuses for good after so many replies, until it is woken."""

    def __init__(self, inner: Any, replies: int) -> None:
        self._inner, self._replies, self._left = inner, replies, replies

    def __call__(self, asked: Asked) -> Any:
        self._left -= 1
        return self._inner(asked) if self._left >= 0 else failure(403, "come back later")

    def wake(self) -> None:
        self._left = self._replies
