"""Rows of one's own users, and what converting them gives, as the tests of converting share them."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignx.records.converting.conversion import convert
from alignx.records.converting.settings import ConvertSettings

HEADER = ("user", "prompt", "chosen", "rejected", "comment")


def choice(user: str = "ana", prompt: str = "Tea?", chosen: str = "Green.", rejected: str = "Black.") -> dict[str, str]:
    """A row with a choice."""
    return {"user": user, "prompt": prompt, "chosen": chosen, "rejected": rejected}


def comment(user: str = "ana", prompt: str = "Rain?", text: str = "Lovely.") -> dict[str, str]:
    """A row with a comment alone."""
    return {"user": user, "prompt": prompt, "comment": text}


def csv_text(rows: Sequence[dict[str, str]], header: Sequence[str] = HEADER, **dialect: Any) -> str:
    """Rows as CSV; what a row lacks is blank."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, header, restval="", **{"lineterminator": "\n", **dialect})
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def stored(path: Path, content: str | bytes | Sequence[Any]) -> Path:
    """Write bytes, text as UTF-8, or rows as their suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, (str, bytes)):
        content = csv_text(content) if path.suffix == ".csv" else "".join(json.dumps(row) + "\n" for row in content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


class Converted:
    """A finished conversion, read back."""

    def __init__(self, folder: Path, said: str) -> None:
        self.folder, self.said = folder, said
        self.train, self.test, self.rejected = (_lines(folder / f"{n}.jsonl") for n in ("train", "test", "rejected"))

    @property
    def records(self) -> list[dict[str, Any]]:
        """Of both splits."""
        return [*self.train, *self.test]

    @property
    def reasons(self) -> list[str]:
        """Why rows were rejected, in the files' order."""
        return [line["reason"] for line in self.rejected]


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def converted(data: Path, output: Path | None = None, **changes: Any) -> Converted:
    """Convert a file; by default all users are training users."""
    folder = output or data.parent / "own"
    return Converted(folder, convert(ConvertSettings(**{"data": data, "output": folder, "test_users": 0, **changes})))
