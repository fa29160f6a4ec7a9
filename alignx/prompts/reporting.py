"""``alignx data report``: everything counted or suspected about a source of records, in one place."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignx import manifest
from alignx.errors import SettingsError
from alignx.manifest import Manifest
from alignx.prompts.choice import choose_condition
from alignx.prompts.condition import Method
from alignx.prompts.encoding import Encoder, load_tokenizer
from alignx.prompts.rendering import render
from alignx.prompts.settings import SourceSettings
from alignx.prompts.telling import tell
from alignx.records import Choice, Comment, Record, Taxonomy
from alignx.settings import setting

_SHOWN = 5
_BATCH = 256


class ReportSettings(SourceSettings):
    """Count what is in a source of records, and what looks wrong with it.

    alignx data report --data data/sample/train.jsonl --model out/tiny --output out/report.json
    """

    model: str | None = setting(None, "Model whose tokenizer counts tokens; without one, lengths are in characters.")
    method: Method = setting(Method.ICA, "Whose prompts are measured.")
    output: Path | None = setting(None, "JSON file to write, with a Markdown page beside it.")
    revision: str | None = setting(None, "Of a hub id.")


class Health:
    """What is counted, a record at a time."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        """Start with nothing seen."""
        self._taxonomy = taxonomy
        self.records = 0
        self.present: Counter[str] = Counter()
        self.comments: Counter[int] = Counter()
        self.choices: Counter[int] = Counter()
        self.users: set[str] = set()
        self.targets: Counter[str] = Counter()
        self.contains_own_target: list[str] = []
        self.repeated_items: list[str] = []
        self.indifferent_items: list[str] = []
        self.levels = [[0, 0, 0] for _ in range(len(taxonomy))]
        self.longer_chosen = 0

    def add(self, record: Record) -> None:
        """Count one record."""
        persona = record.persona
        items: list[Comment | Choice] = [*persona.comments, *persona.choices]
        self.records += 1
        self.comments[len(persona.comments)] += 1
        self.choices[len(persona.choices)] += 1
        self.present.update(
            name
            for name, there in {
                "demographics": bool(persona.demographics),
                "ready profile": persona.profile is not None,
                "own direction": record.direction is not None,
                "items with direction": any(item.direction is not None for item in items),
                "no persona": not (persona.comments or persona.choices or persona.demographics or persona.profile),
            }.items()
            if there
        )
        if record.user is not None:
            self.users.add(record.user)
        self.targets[record.target] += 1
        keys = [choice.key for choice in persona.choices]
        if record.target in keys:
            self.contains_own_target.append(record.id)
        if len(set(keys)) < len(keys) or len(set(persona.comments)) < len(persona.comments):
            self.repeated_items.append(record.id)
        if any(choice.chosen == choice.rejected for choice in persona.choices):
            self.indifferent_items.append(record.id)
        for index, level in enumerate(record.direction or b""):
            self.levels[index][level] += 1
        self.longer_chosen += len(record.chosen) > len(record.rejected)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "records": self.records,
            "users": len(self.users),
            "distinct_targets": len(self.targets),
            "repeated_targets": sum(n > 1 for n in self.targets.values()),
            "most_repeated_target": max(self.targets.values(), default=0),
            "present": dict(self.present),
            "comments_per_record": {str(k): v for k, v in sorted(self.comments.items())},
            "choices_per_record": {str(k): v for k, v in sorted(self.choices.items())},
            "history_contains_own_target": self.contains_own_target,
            "history_repeats_an_item": self.repeated_items,
            "history_choice_between_equals": self.indifferent_items,
            "chosen_is_longer": self.longer_chosen,
            "direction_balance": [
                {"positive": d.positive, "negative": d.negative, "counts": {"negative": n, "neutral": o, "positive": p}}
                for d, (n, o, p) in zip(self._taxonomy.dimensions, self.levels, strict=True)
            ]
            if self.present["own direction"]
            else [],
        }


def report(settings: ReportSettings) -> str:
    """Read everything once and describe it, as Markdown.

    Raises:
        DataError: Records are invalid.
        SettingsError: ``output`` is no JSON file.
    """
    if settings.output is not None and settings.output.suffix != ".json":
        raise SettingsError(f"--output: got {settings.output}, expected a .json file; the Markdown page goes beside it")
    from tqdm import tqdm

    records = settings.records()
    health = Health(records.taxonomy)
    lengths = _Lengths(settings, records.taxonomy)
    for record in tqdm(records, desc="reading", unit=" records", disable=None, leave=False):
        health.add(record)
        lengths.add(record)
    found = {**health.as_dict(), "lengths": lengths.summary(), "notes": records.notes()}
    page = as_markdown(settings.data, found)
    if settings.output is not None:
        manifest.write_text(settings.output, json.dumps(found, indent=2, ensure_ascii=False) + "\n")
        manifest.write_text(settings.output.with_suffix(".md"), page)
        files = {
            path.name: manifest.file_digest(path) for path in (settings.output, settings.output.with_suffix(".md"))
        }
        manifest.write(
            settings.output,
            Manifest(
                kind="data-report",
                data=records.identity,
                taxonomy=records.taxonomy.digest,
                settings=settings.model_dump(mode="json"),
                versions=manifest.versions("tokenizers"),
                files=files,
            ),
        )
    return page


class _Lengths:
    """Lengths of prompts and responses, in tokens where there is a tokenizer, else in characters."""

    def __init__(self, settings: ReportSettings, taxonomy: Taxonomy) -> None:
        import array

        self.unit = "characters" if settings.model is None else "tokens"
        self._taxonomy = taxonomy
        self._condition = choose_condition(settings.model, {"method": settings.method}, settings.revision).condition
        self._encoder = (
            None
            if settings.model is None
            else Encoder(load_tokenizer(settings.model, settings.revision), self._condition)
        )
        self._waiting: list[Record] = []
        self._found = {name: array.array("i") for name in ("prompt", "chosen", "rejected")}
        self.untold = 0

    def add(self, record: Record) -> None:
        self._waiting.append(record)
        if len(self._waiting) == _BATCH:
            self._measure()

    def _measure(self) -> None:
        from alignx.errors import DataError

        batch, self._waiting = self._waiting, []
        prompts = []
        for record in batch:
            try:
                prompts.append(render(record, tell(record, self._condition, self._taxonomy), self._condition))
            except DataError:  # a record that PBA cannot be told about is counted, not measured
                self.untold += 1
        if self._encoder is None:
            self._found["prompt"].extend(len(p.instruction) + len(p.user) for p in prompts)
            self._found["chosen"].extend(len(record.chosen) for record in batch)
            self._found["rejected"].extend(len(record.rejected) for record in batch)
            return
        self._found["prompt"].extend(map(len, self._encoder.prompts(prompts)))
        self._found["chosen"].extend(map(len, self._encoder.responses(record.chosen for record in batch)))
        self._found["rejected"].extend(map(len, self._encoder.responses(record.rejected for record in batch)))

    def summary(self) -> dict[str, Any]:
        self._measure()
        parts = {name: _quantiles(sorted(values)) for name, values in self._found.items() if values}
        return {"unit": self.unit, "method": self._condition.method.value, "untold": self.untold, **parts}


def _quantiles(ordered: list[int]) -> dict[str, float]:
    last = len(ordered) - 1
    return {
        "mean": sum(ordered) / len(ordered),
        **{
            name: ordered[round(share * last)]
            for name, share in {"min": 0, "median": 0.5, "p95": 0.95, "max": 1}.items()
        },
    }


def as_markdown(source: str, found: Mapping[str, Any]) -> str:
    """The report as a page a person reads."""
    records = found["records"]

    def share(count: int) -> str:
        return f"{count} ({100 * count / records:.1f} %)"

    def listed(name: str) -> str:
        ids = found[name]
        return share(len(ids)) + (f", such as {', '.join(ids[:_SHOWN])}" if ids else "")

    lengths = found["lengths"]
    lines = [
        f"# {source}",
        "",
        f"- records: {records}; users named: {found['users']}",
        f"- distinct targets: {found['distinct_targets']}"
        + (
            f"; {found['repeated_targets']} occur more than once, one of them {found['most_repeated_target']} times; "
            "intervals are clustered by user, else by target"
            if found["repeated_targets"]
            else ""
        ),
        "- records with: " + ", ".join(f"{name} {share(n)}" for name, n in sorted(found["present"].items())),
        "- comments a record: " + _histogram(found["comments_per_record"]),
        "- choices a record: " + _histogram(found["choices_per_record"]),
        f"- the longer response is the chosen one: {share(found['chosen_is_longer'])}",
        "",
        "## Suspicious",
        "",
        f"- histories that contain their own target: {listed('history_contains_own_target')}",
        f"- histories that repeat an item: {listed('history_repeats_an_item')}",
        f"- histories with a choice between equal texts: {listed('history_choice_between_equals')}",
        *(f"- {note}" for note in found["notes"]),
        "",
        f"## Lengths in {lengths['unit']} ({lengths['method'].upper()} prompts, whole history)",
        "",
        "| | mean | min | median | p95 | max |",
        "|---|---|---|---|---|---|",
    ]
    for name in ("prompt", "chosen", "rejected"):
        if name in lengths:
            row = lengths[name]
            lines.append(
                f"| {name} | {row['mean']:.1f} | {row['min']} | {row['median']} | {row['p95']} | {row['max']} |"
            )
    if lengths["untold"]:
        lines += ["", f"{share(lengths['untold'])} have no preference direction for PBA to put into words."]
    if found["direction_balance"]:
        lines += [
            "",
            "## Direction balance",
            "",
            "| positive pole | negative pole | positive | neutral | negative |",
            "|---|---|---|---|---|",
        ]
        for row in found["direction_balance"]:
            counts = row["counts"]
            if counts["positive"] or counts["negative"]:
                lines.append(
                    f"| {row['positive']} | {row['negative']} | {counts['positive']} | {counts['neutral']} | "
                    f"{counts['negative']} |"
                )
    return "\n".join(lines) + "\n"


def _histogram(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{length}: {n}" for length, n in counts.items())
