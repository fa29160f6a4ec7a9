"""Settings of ``alignx data prepare``. Importing this loads no torch."""

import re
from pathlib import Path
from typing import Literal

from pydantic import field_validator

from alignx.prompts.condition import History, Method
from alignx.prompts.settings import ConditionSettings, SourceSettings
from alignx.settings import required, setting

_SHARE = re.compile(r"(\d+)/(\d+)")


class PrepareSettings(ConditionSettings, SourceSettings):
    """Encode records into a folder of Parquet shards that training reads.

    alignx data prepare --data data/sample/train.jsonl --model out/tiny --method ica --output out/prepared-ica
    """

    data: str | None = setting(  # type: ignore[assignment]
        None, "Records: a Parquet, JSON or JSON Lines file, a folder of Parquet, or a hub id."
    )
    mix: tuple[str, ...] = setting(
        (),
        "Several sources instead, with commas between, each name:share:path: reddit:7%:a.parquet,safety:all:b.parquet; "
        "a share is a part such as 7% or 0.07, a whole number of records, or all.",
    )
    subset: str | None = setting(None, "Part of --data, drawn by the seed: a share such as 7%, or a number of records.")
    without: tuple[str, ...] = setting(
        (), "Records whose users and targets are left out, with commas between: what you will evaluate on."
    )
    method: str | None = setting(  # type: ignore[assignment]
        None, "ica, pba, or ica,pba: both from one reading, into OUTPUT/ica and OUTPUT/pba."
    )
    model: str | None = setting(None, "Model whose tokenizer and chat template to use.")
    output: Path = required("Folder to write.")
    form: Literal["ids", "text"] = setting(
        "ids", "ids: tokens, for training here; text: instruction, prompt and responses as text, for other tools."
    )
    workers: int | None = setting(None, "Processes; by default one a core. Nothing but the time depends on it.", gt=0)
    shard: str | None = setting(
        None, "I/N: only every Nth part of the work, from I (0 to N-1), on this machine; then once without, to join."
    )
    history: History | None = setting(
        "sampled", "History items of each list: sampled (0 to 4 by the seed, as in training), all, or the last N."
    )
    revision: str | None = setting(None, "Of a hub id.")

    @field_validator("method")
    @classmethod
    def _methods(cls, value: str | None) -> str | None:
        if value is None:
            return None
        names = [name.strip() for name in value.split(",")]
        if sorted({*names}) != sorted(names) or not {*names} <= {*Method}:
            raise ValueError("ica, pba or ica,pba")
        return ",".join(names)

    @field_validator("shard")
    @classmethod
    def _a_share(cls, value: str | None) -> str | None:
        if value is not None:
            found = _SHARE.fullmatch(value)
            if found is None or not int(found[1]) < int(found[2]):
                raise ValueError("I/N with I from 0 to N-1, such as 0/8")
        return value

    @property
    def methods(self) -> list[Method]:
        """Of each folder that is made."""
        return [Method(name) for name in (self.method or "").split(",") if name]

    @property
    def part(self) -> tuple[int, int]:
        """Which of how many parts of the work this is; the first of one by default."""
        part, parts = (self.shard or "0/1").split("/")
        return int(part), int(parts)
