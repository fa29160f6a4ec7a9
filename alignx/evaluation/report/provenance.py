"""How each number was made: which models, which records, what they were told; from the manifests beside the scores."""

from collections.abc import Sequence
from pathlib import Path

from alignx import manifest
from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.outcomes import Outcome, scores_of
from alignx.manifest import Manifest
from alignx.pages import Block, Fold, Table, literal

_SHOWN = 12
"""Digits of a digest: enough to tell files apart; the manifests have all."""
_FORWARD = ("attention", "prompt read once")
_CONDITION = ("method", "preset", "profile", "persona", "history", "tell", "seed")


def provenance(settings: EvaluateSettings, outcomes: Sequence[Outcome]) -> list[Block]:
    """Models, data and rows, a table each, folded.

    Args:
        settings: What models and data are called.
        outcomes: All rows.

    Raises:
        DataError: Scores have no manifest.
    """
    if not outcomes:
        return []
    made = [(one, *_manifests(settings, one)) for one in outcomes]
    models = [
        called
        for one, policy, reference in made
        for called in ((one.policy.model, policy), (settings.reference, reference))
    ]
    return [
        _models(models),
        _data([(one.cell.data, policy) for one, policy, _ in made]),
        _rows([(one, policy) for one, policy, _ in made]),
    ]


def _manifests(settings: EvaluateSettings, one: Outcome) -> tuple[Manifest, Manifest]:
    reference: Path = scores_of(settings, one.policy, one.cell)[1]
    return manifest.read(one.file), manifest.read(reference)


def _models(found: Sequence[tuple[str, Manifest]]) -> Fold:
    """Each model once for each way in which it read."""
    rows: dict[tuple[str, ...], None] = {}
    for called, made in found:
        model, forward = made.model, made.forward or {}
        once = {True: "yes", False: "no"}.get(forward.get("shared_prefix", ""), "–")
        known = (
            (_short(model.digest), _short(model.tokenizer), _short(model.trained_from or ""), model.dtype or "–")
            if model
            else ("–",) * 4
        )
        rows[called, *known, str(forward.get("attention") or "–"), once] = None
    read = {row[:5] for row in rows if row[5] != "–"}
    shown = [row for row in rows if row[5] != "–" or row[:5] not in read]  # scores that were there already read nothing
    columns, cells, said = _varying(("model", "weights", "tokenizer", "trained from", "dtype", *_FORWARD), shown)
    caption = (
        f"Weights, tokenizer and the weights that a model was trained from by the first {_SHOWN} digits of their "
        f"SHA-256; a model that is not from here does not say what it was trained from.{said}"
    )
    names = ", ".join(dict.fromkeys(called for called, _ in found))
    title = f"How the numbers were made: {names}; weights, precision, attention"
    return Fold(title, [Table(columns, cells, caption, align="l" * len(columns))])


def _data(found: Sequence[tuple[str, Manifest]]) -> Fold:
    """Each file of records once."""
    rows: dict[tuple[str, ...], None] = {}
    for called, made in found:
        if made.data is not None:
            data = made.data
            rows[called, _short(data.digest), str(data.records), str(data.skipped)] = None
    columns = ("records", "digest", "read", "skipped")
    caption = f"The first {_SHOWN} digits of the SHA-256 of ids and contents, whatever the file is called."
    skipped = sum(int(row[3]) for row in rows)
    title = f"Which records were read: {len(rows)} files, {skipped or 'no'} records skipped"
    return Fold(title, [Table(columns, list(rows), caption, align="llrr")])


def _rows(found: Sequence[tuple[Outcome, Manifest]]) -> Fold:
    rows = []
    for one, made in found:
        told = (str(made.told.get(name, "–")) for name in _CONDITION)
        rows.append((f"{one.policy.name}, {one.cell.label}", one.cell.data, *told, _profiles(made), *_trimmed(made)))
    named = ("row", "records", *_CONDITION, "profiles told", "prompts trimmed", "items left out")
    columns, cells, said = _varying(named, rows)
    caption = (
        "What the policy was told; the reference read the very same prompts. Profile auto: the record's own where it "
        "has one, else made of its history; of the parts that are told where not all are. Each row has its scores in "
        f"`scores`, with a manifest beside.{said}"
    )
    trimmed = sum(int(row[-2]) for row in rows)
    title = f"What the models were told in each of {len(rows)} rows; {trimmed or 'no'} prompts trimmed"
    return Fold(title, [Table(columns, cells, caption, align="l" * len(columns))])


def _varying(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]], str]:
    """The first column and those that differ between rows; and what is the same in all, as prose."""
    values = list(zip(*rows, strict=True))
    kept = [n for n, column in enumerate(values) if n == 0 or len({*column}) > 1]
    alike = [f"{name} {literal(values[n][0])}" for n, name in enumerate(columns) if n not in kept]
    said = f" In all rows: {', '.join(alike)}." if alike else ""
    return [columns[n] for n in kept], [[row[n] for n in kept] for row in rows], said


def _profiles(made: Manifest) -> str:
    """How many profiles came from where."""
    counts = {name.removeprefix("profile_"): n for name, n in made.counts.items() if name.startswith("profile_") and n}
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items())) or "–"


def _trimmed(made: Manifest) -> tuple[str, str]:
    return str(made.counts.get("prompts_trimmed", 0)), str(made.counts.get("items_trimmed", 0))


def _short(digest: str) -> str:
    return digest[:_SHOWN] or "–"
