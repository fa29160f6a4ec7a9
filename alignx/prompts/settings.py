"""Settings that several commands share: which records, and what a model is told. Importing this loads no torch."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from alignx.prompts.condition import MAX_LENGTH, History, Method, PersonaSource, PresetName, ProfileSource
from alignx.prompts.parts import Tell
from alignx.records import Records, load_taxonomy
from alignx.settings import Settings, required, setting


class SourceSettings(Settings):
    """Which records."""

    data: str = required("Records: a Parquet, JSON or JSON Lines file, a folder of Parquet, or a hub id.")
    split: str | None = setting(None, "Which files of a folder or hub id, by the split in their name.")
    limit: int | None = setting(None, "Only the first N records.", gt=0)
    skip_invalid: int = setting(
        0, "At most this many records may be invalid or too long; they are counted and shown.", ge=0
    )
    taxonomy: Path | None = setting(None, "CSV of preference dimensions, if not the paper's 90.")

    def records(self) -> Records:
        """The records, not yet read."""
        return Records(
            self.data,
            split=self.split,
            limit=self.limit,
            skip_invalid=self.skip_invalid,
            taxonomy=load_taxonomy(self.taxonomy),
        )


class ConditionSettings(Settings):
    """What a model is told; what is not set comes from the checkpoint, else from the defaults."""

    method: Method | None = setting(None, "ica (the persona in the prompt) or pba (its preference direction in words).")
    preset: PresetName | None = setting(None, "Prompt format; by default what the checkpoint records, else paper.")
    profile: ProfileSource | None = setting(
        None,
        "PBA's profile: auto (the default) is the ready one, else the history's, which comes first where a part of "
        "it is told (--history) and alone where a part of the persona is (--tell); golden is the target's own, an "
        "oracle.",
    )
    persona: PersonaSource | None = setting(
        None, "Whose persona: own (the default), none, another user's, or reversed."
    )
    history: History | None = setting(
        None, "History items of each list: all, sampled (0 to 4 by the seed), or the last N."
    )
    tell: Tell | None = setting(
        None,
        "Parts of the persona: all (the default); some of comments (UGC), choices (PAIR) and demographics (DEMO), with "
        "commas between; or arbitrary, a combination for each record, drawn by the seed.",
    )
    seed: int | None = setting(
        None, "Of sampled history, arbitrary parts, and whose persona 'other' is; 42 by default."
    )
    positive: Decimal | None = setting(
        None, "Mean direction from which on a history is positive; by default the preset's.", gt=0, le=1
    )
    negative: Decimal | None = setting(
        None, "Mean direction up to which a history is negative; by default the preset's.", ge=0, lt=1
    )
    max_length: int | None = setting(
        None, f"Prompt and longer response together, in tokens; {MAX_LENGTH} by default.", gt=0
    )

    def wanted(self) -> dict[str, Any]:
        """What of the condition was set."""
        return {name: value for name in ConditionSettings.model_fields if (value := getattr(self, name)) is not None}
