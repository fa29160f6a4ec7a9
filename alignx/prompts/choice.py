"""Which condition a model is asked under: what its checkpoint says, unless told otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from alignx import manifest
from alignx.errors import DataError, SettingsError
from alignx.manifest import Manifest
from alignx.prompts.condition import Condition, Method, PersonaSource
from alignx.prompts.parts import Part
from alignx.prompts.presets import load_preset
from alignx.settings import explain

PUBLISHED = tuple(f"JinaLeejnl/AlignXpert-{method}-{size}" for method in ("ICA", "PBA") for size in ("Subset", "Full"))
"""The authors' checkpoints, trained and evaluated on the bytes of the released code."""


@dataclass(frozen=True)
class ChosenCondition:
    """A condition, why it is this one, and what in it contradicts the checkpoint."""

    condition: Condition
    reason: str
    warnings: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """What a user should know of it, a line each."""
        chosen = f"{self.condition.method.upper()} in preset {self.condition.preset} ({self.reason})"
        return [*(f"warning: {warning}" for warning in self.warnings), chosen]


def condition_asked_for(
    wanted: Mapping[str, Any],
    like: Path | None,
    model: str | None,
    revision: str | None = None,
    folder: Path | None = None,
) -> ChosenCondition:
    """The condition of a command that takes ``--like``: that of another output, else the model's own.

    Args:
        wanted: What the user set, by the names of :class:`Condition`.
        like: An output whose whole condition to copy.
        model: Folder or hub id.
        revision: Of the hub id.
        folder: Where its files are on this machine.

    Raises:
        DataError: ``like`` or the checkpoint says no condition that can be read.
        SettingsError: Both ``like`` and a condition were given, neither says the method, or it is impossible.
    """
    if like is None:
        if "method" not in wanted:
            raise SettingsError("--method is required without --like: ica or pba")
        chosen = choose_condition(model, wanted, revision, folder)
        return replace(chosen, reason="set by --preset") if "preset" in wanted else chosen
    if wanted:
        names = ", ".join("--" + name.replace("_", "-") for name in wanted)
        raise SettingsError(f"--like copies the whole condition of {like}, so it cannot be joined with {names}")
    found = manifest.read(like)
    if found.condition is None:
        raise DataError(f"{like}: its manifest says no condition; expected the scores or responses of a policy")
    return ChosenCondition(Condition.model_validate(found.condition), f"as for {like}")


def choose_condition(
    model: str | None, wanted: Mapping[str, Any], revision: str | None = None, folder: Path | None = None
) -> ChosenCondition:
    """The condition for a model.

    Args:
        model: Folder or hub id; None where there is none yet.
        wanted: What the user set, by the names of :class:`Condition`; at least ``method``.
        revision: Of the hub id.
        folder: Where its files are on this machine, once they are; then nothing is looked up.

    Returns:
        The preset and thresholds of the checkpoint's own manifest; for the authors' four names ``released-eval``; for
        anything else ``paper``; each overridden by ``wanted``.

    Raises:
        DataError: The checkpoint's manifest is unreadable.
        SettingsError: What was set is impossible.
    """
    said, reason = _said_by(model, revision, folder)
    merged = {**{name: value for name, value in said.items() if name != "method"}, **wanted}
    if "preset" in wanted and wanted["preset"] != said.get("preset"):
        for name in ("positive", "negative"):  # the thresholds go with the preset unless they were set too
            merged = {k: v for k, v in merged.items() if k != name or name in wanted}
    try:
        condition = Condition.model_validate(merged).resolved()
    except ValidationError as error:
        raise SettingsError(explain(error, Condition)) from None
    _refuse_silence(condition)
    warnings = tuple(
        f"--{name} {getattr(condition, name)} contradicts the checkpoint, which was made with {said[name]}"
        for name in ("method", "preset", "positive", "negative")
        if name in wanted and name in said and getattr(condition, name) != said[name]
    )
    return ChosenCondition(condition, reason, warnings)


def _refuse_silence(condition: Condition) -> None:
    """Refuse to tell demographics alone in a format that never shows them.

    Raises:
        SettingsError: Whatever the records are, no prompt would say anything about a user.
    """
    shown = load_preset(condition.preset).persona.demographics or condition.method is not Method.ICA
    if condition.tell == Part.DEMOGRAPHICS and condition.persona is not PersonaSource.NONE and not shown:
        raise SettingsError(
            f"--tell {condition.tell}: preset {condition.preset} never shows them, so that nothing would be told; set "
            "--preset, tell comments or choices, or say --persona none if that is meant"
        )


def _said_by(model: str | None, revision: str | None, folder: Path | None) -> tuple[dict[str, Any], str]:
    if model is None:
        return {}, "the default: no model"
    found = checkpoint_manifest(str(folder or model), revision)
    if found is not None and found.kind == "checkpoint" and found.condition:
        keys = ("method", "preset", "positive", "negative", "date")
        return {key: found.condition[key] for key in keys if found.condition.get(key)}, "as its checkpoint records"
    if model.rstrip("/") in PUBLISHED:
        method = "ica" if "-ICA-" in model else "pba"
        return {"method": method, "preset": "released-eval"}, "one of the authors' published checkpoints"
    return {}, "the default: the model records no preset"


def checkpoint_manifest(model: str, revision: str | None = None) -> Manifest | None:
    """The manifest beside a model's weights; None where it has none (or is on the hub and cannot be reached).

    Raises:
        DataError: There is one and it cannot be read.
    """
    folder = Path(model)
    if folder.is_dir():
        return manifest.read_if_present(folder)
    if model.rstrip("/") in PUBLISHED or folder.exists():
        return None
    from huggingface_hub import hf_hub_download

    try:
        return manifest.load(Path(hf_hub_download(model, manifest.FOLDER_MANIFEST, revision=revision)))
    except OSError:  # absent on the hub, or no network: loading the weights will say so if that matters
        return None
    except ValueError:  # not a hub id either: loading the model says so
        return None
