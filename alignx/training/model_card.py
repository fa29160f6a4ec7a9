"""A model card made from what a run recorded, and from nothing else: what was not recorded is said to be unknown."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from alignx.manifest import Manifest
from alignx.prompts import Method
from alignx.prompts.pairs import describe_counts
from alignx.prompts.settings import ConditionSettings, SourceSettings
from alignx.training.card_origin import marked
from alignx.training.checkpoints import WENT_ON
from alignx.training.measured import Interval, Measured
from alignx.training.public_files import CURVES, public_name
from alignx.training.publish_settings import PublishSettings
from alignx.training.settings import TrainSettings

UNKNOWN = "unknown"
NOT_STATED = "not stated"
_PAPER = "[arXiv 2503.15463](https://arxiv.org/abs/2503.15463)"
_LLAMA_3_1 = re.compile(r"llama[-_ ]?3[._-]1", re.IGNORECASE)
_METHODS = {
    Method.ICA: "in-context alignment (ICA): what is known of the user, the *persona*, stands in the prompt",
    Method.PBA: "preference-bridged alignment (PBA): the user's preference direction stands in the prompt, in words",
}
_ELSEWHERE = {*ConditionSettings.model_fields, *SourceSettings.model_fields, "revision"}
"""Settings that other parts of a card tell."""
_ADAPTERS = ("lora_rank", "lora_alpha", "lora_targets")
_CURVES = (("loss", "loss"), ("rewards/accuracies", "share of pairs ordered rightly"), ("rewards/margins", "margin"))


@dataclass(frozen=True)
class Recorded:
    """What a run left on record, and what was measured of it."""

    manifest: Manifest
    weights: str
    """Digest of its weights, as scores name them."""
    adapter: bool
    metrics: Sequence[dict[str, Any]] = ()
    """Lines of ``metrics.jsonl``."""
    curves: bool = False
    """Whether there is a picture of them."""
    measured: Sequence[Measured] = ()
    base: str | None = None
    """Hub id of the base, where known."""
    dataset: str | None = None
    """Hub id of the training data, where known."""

    @property
    def method(self) -> Method:
        """How the persona reached the model."""
        return Method((self.manifest.condition or {})["method"])

    @property
    def base_name(self) -> str:
        """The base as others may know it."""
        return self.base or (public_name(self.manifest.model.name) if self.manifest.model else UNKNOWN)


def make_card(run: Recorded, said: PublishSettings) -> str:
    """The card, marked as ours.

    Args:
        run: What is on record.
        said: What the publisher says: licences, language, names on the hub.
    """
    name = said.repo.partition("/")[2] if said.repo else f"{run.method.upper()} on {run.base_name}"
    sections = (
        [f"# {_text(name)}", "", *_what(run)],
        ["## How to use it", "", *_use(run, said)],
        ["## Training data and licences", "", *_data(run), "", *_licences(run, said)],
        ["## Procedure", "", *_procedure(run)],
        ["## Curves", "", *_curves(run)],
        ["## Evaluation", "", *_evaluation(run)],
        ["## Limits", "", *_limits(run, said)],
        ["## Privacy", "", *_privacy(run)],
        ["## Provenance", "", *_provenance(run)],
    )
    return marked(_front(run, said), "\n" + "\n\n".join("\n".join(lines) for lines in sections) + "\n")


def reminders(base: str) -> list[str]:
    """What the licence of a base asks of whoever publishes, where the base's name tells which licence it has."""
    if not _LLAMA_3_1.search(base):
        return []
    return [
        "The base's name says Llama 3.1. The Llama 3.1 Community License asks whoever publishes a model made from it "
        "to pass the licence on, to show “Built with Llama”, and to begin the model's name with “Llama”. This is a "
        "reminder, not advice."
    ]


def _front(run: Recorded, said: PublishSettings) -> str:
    """The YAML that the hub reads. No ``model-index``: it has no place for an interval."""
    named = {"base_model": run.base, "base_model_relation": "adapter" if run.adapter else "finetune"}
    data = {
        "license": said.license,
        "language": [said.language] if said.language else None,
        **(named if run.base else {}),
        "datasets": [run.dataset] if run.dataset else None,
        "library_name": "peft" if run.adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["alignx", run.method.value, "dpo", "trl", *(["lora"] if run.adapter else [])],
    }
    known = {name: value for name, value in data.items() if value is not None}
    return f"---\n{yaml.safe_dump(known, sort_keys=False, allow_unicode=True)}---\n"


def _what(run: Recorded) -> list[str]:
    loss = run.manifest.settings.get("loss_type", UNKNOWN)
    objective = "DPO" if loss == "sigmoid" else f"TRL's preference loss {_code(loss)}"
    made = "Adapters for" if run.adapter else "Made from"
    return [
        f"{made} {_code(run.base_name)} by {objective} on records of what single users preferred, with "
        f"{_METHODS[run.method]} ({_PAPER}). It is meant to answer one user as that user would like, from what its "
        "prompt says of them.",
    ]


def _use(run: Recorded, said: PublishSettings) -> list[str]:
    repo, base = said.repo or "OWNER/NAME", run.base or "BASE"
    lines = [
        "With [AlignX](https://arxiv.org/abs/2503.15463)'s commands. The prompt format "
        f"(preset {_code((run.manifest.condition or {}).get('preset'))}) comes from this repository's `manifest.json` "
        "by itself; prompts in another format are not what the model was trained on.",
        "",
        "```bash",
        "# exactly what the model is told about a record",
        f"alignx data preview --model {repo} --method {run.method.value} --data RECORDS",
        "# log-probabilities of both responses of every record",
        f"python eval/loss_{run.method.value}.py --model {repo} --data RECORDS --output out/policy.jsonl",
        "# the same of the base, on the same prompts; then the alignment accuracy",
        f"python eval/loss_few_shot.py --like out/policy.jsonl --model {base} --data RECORDS --output out/base.jsonl",
        "python eval/acc.py --policy out/policy.jsonl --reference out/base.jsonl",
        "```",
    ]
    if run.adapter:
        where = "" if run.base else " Where the base is on the hub is not on record: give `--base FOLDER` when scoring."
        lines += [
            "",
            f"These are adapters: they need their base, {_code(run.base_name)}, and are refused on other weights."
            f"{where} `alignx merge --model {repo} --output FOLDER` makes a whole model of both.",
        ]
    return lines


def _data(run: Recorded) -> list[str]:
    found, counts = run.manifest, run.manifest.counts
    lines = [f"- Records: {_source(found.data.source if found.data else None, run.dataset)}"]
    if found.data is not None:
        lines[0] += f", {found.data.records:,} read, {found.data.skipped:,} skipped as invalid or too long"
    taken = {name: found.settings.get(name) for name in ("split", "limit", "subset")}
    drawn = ", ".join(f"{name} {_code(value)}" for name, value in taken.items() if value is not None)
    if drawn:
        lines.append(f"- Of its source only: {drawn}")
    lines.append(
        f"- Trained on {_count(counts, 'train')}; held out {_count(counts, 'evaluation')}; left over, not filling a "
        f"batch, {_count(counts, 'left_over')}"
    )
    if found.settings.get("eval_data"):
        lines.append(f"- Held-out records come from {_code(public_name(str(found.settings['eval_data'])))}")
    encoding = counts.get("encoding")
    if not isinstance(encoding, dict):
        return [*lines, "- How many prompts were too long or said nothing about the user: unknown"]
    return [*lines, *(f"- {_text(line)}" for line in describe_counts(encoding))]


def _source(source: str | None, dataset: str | None) -> str:
    if source is None:
        return UNKNOWN
    name = public_name(source)
    if dataset is None or name.startswith(dataset):
        return _code(name)
    return f"{_code(name)}, which the publisher says is {_code(dataset)}"


def _licences(run: Recorded, said: PublishSettings) -> list[str]:
    stated = {
        "this model": said.license,
        f"the base, {_code(run.base_name)}": said.base_license,
        "the training data": said.data_license,
    }
    rows = [(what, _text(licence) if licence else NOT_STATED) for what, licence in stated.items()]
    lines = [*_table(("what", "licence, as the publisher states it"), rows)]
    for reminder in reminders(run.base_name):
        lines += ["", reminder]
    return lines


def _procedure(run: Recorded) -> list[str]:
    found, counts = run.manifest, run.manifest.counts
    merged = "; the adapters were then merged into the base" if "merged_from" in counts else ""
    lines = [
        f"Optimiser steps: {_count(counts, 'steps')}; processes: {_count(counts, 'world_size')}{merged}. "
        f"{_reading(found.forward)}",
        *_went_on(counts),
        "",
        "What the model was told:",
        "",
        *_table(("", ""), [(_code(name), _value(value)) for name, value in (found.condition or {}).items()]),
        "",
        f"Why this prompt format: {_text(found.condition_reason or UNKNOWN)}.",
        "",
        "Hyper-parameters and other settings:",
        "",
        *_table(("setting", "value", "meaning"), _settings(found.settings)),
    ]
    return lines


def _went_on(counts: dict[str, Any]) -> list[str]:
    """Where a run was not one run: after which steps it went on with something else changed."""
    lines = []
    for one in counts.get(WENT_ON) or []:
        differed = "; ".join(map(_text, one["differed"]))
        lines += ["", f"**Up to step {one['step']} something was different**: {differed}."]
    return lines


def _reading(forward: dict[str, Any] | None) -> str:
    """How often prompts were read."""
    said = []
    for name, sharing in (forward or {}).items():
        if isinstance(sharing, dict) and "reason" in sharing:
            reason = sharing["reason"]
            often = "once for both responses" if reason is None else f"twice, once a response: {_text(reason)}"
            said.append(f"The {_text(name)} read each prompt {often}.")
    return " ".join(said) or "How often each prompt was read is unknown."


def _settings(recorded: dict[str, Any]) -> Iterable[tuple[str, ...]]:
    """Each setting that other parts do not tell, in the order in which they are declared."""
    declared = list(TrainSettings.model_fields)
    for name in (*(n for n in declared if n in recorded), *(n for n in recorded if n not in declared)):
        if name in _ELSEWHERE or (name in _ADAPTERS and recorded.get("lora_rank") is None):
            continue
        field = TrainSettings.model_fields.get(name)
        meaning = re.sub(r" \[[^\]]*\]$", "", field.description or "") if field is not None else ""
        yield _code(name), _value(recorded[name]), _text(meaning)


def _curves(run: Recorded) -> list[str]:
    lines = [f"![Loss, accuracy, margin and learning rate over the steps]({CURVES})", ""] if run.curves else []
    training = [line for line in run.metrics if "loss" in line]
    held_out = [line for line in run.metrics if "eval_loss" in line]
    if not training:
        return [*lines, "No curves are on record."]
    first, last = training[0], training[-1]
    header = ["", f"step {first.get('step', UNKNOWN)}", f"step {last.get('step', UNKNOWN)}"]
    if held_out:
        header.append(f"held out, after step {held_out[-1].get('step', UNKNOWN)}")
    rows = [
        [label, _number(first.get(key)), _number(last.get(key))]
        + [_number(line.get(f"eval_{key}")) for line in held_out[-1:]]
        for key, label in _CURVES
    ]
    lines += _table(header, rows)
    if held_out:
        n = run.manifest.counts.get("evaluation")
        lines += [
            "",
            f"Held-out values are means over n = {UNKNOWN if n is None else n} records that share no user and no "
            "target with the training set; no interval of theirs is on record.",
        ]
    return lines


def _parts(told: dict[str, Any]) -> str:
    """Which parts of a persona were told, where it was not all of it."""
    return f", of it {_text(told['tell'])}" if "tell" in told else ""


def _evaluation(run: Recorded) -> list[str]:
    if not run.measured:
        return ["No accuracy was given when this card was made."]
    rows, notes = [], []
    for one in run.measured:
        found, told = one.counted, one.condition
        rows.append(
            (
                _text(one.label) if one.label else "",
                _code(public_name(one.data.source)) if one.data else UNKNOWN,
                f"{_text(told.get('persona', UNKNOWN))}{_parts(told)}, history {_text(told.get('history', UNKNOWN))}, "
                f"profile {_text(told.get('profile', UNKNOWN))}",
                f"{found.n:,}",
                f"{found.accuracy.clusters:,}",
                _interval(found.accuracy),
                _interval(found.raw),
                _against(one, run),
            )
        )
        label = _text(one.label or (public_name(one.data.source) if one.data else UNKNOWN))
        notes += [f"- {label}: {note}" for note in _notes(one)]
    header = ("row", "data", "persona told", "n", "clusters", "accuracy, 95 % interval", "policy alone", "reference")
    return [
        "Alignment accuracy: the share of records in which training moved the model towards the response that this "
        "user prefers, relative to the reference. Intervals are clustered by user where records name one, else by "
        "target.",
        "",
        *_table(header, rows),
        *(["", *notes] if notes else []),
    ]


def _notes(one: Measured) -> list[str]:
    """What a reader of an accuracy should know."""
    found = one.counted
    counted = {
        f"{found.ties} ties count as wrong": found.ties,
        f"{found.skipped} records were skipped and are not among them": found.skipped,
        f"{found.trimmed} prompts lost history or description, being too long": found.trimmed,
        f"{found.persona_empty} prompts say nothing about the user": found.persona_empty,
        f"{found.n} records have {found.targets} distinct targets": found.targets != found.n,
    }
    said = [text for text, matters in counted.items() if matters]
    return [*said, *map(_text, [*([found.accuracy.note] if found.accuracy.note else []), *found.notes])]


def _against(one: Measured, run: Recorded) -> str:
    if one.reference is None:
        return UNKNOWN
    if run.manifest.model is not None and one.reference.digest == run.manifest.model.digest:
        return "the base"
    return f"{_code(public_name(one.reference.name))}, not the base"


def _interval(of: Interval) -> str:
    return f"{100 * of.mean:.2f} % [{100 * of.low:.2f}, {100 * of.high:.2f}] (n = {of.n:,})"


def _limits(run: Recorded, said: PublishSettings) -> list[str]:
    condition, model = run.manifest.condition or {}, run.manifest.model
    language = "Which languages the data are in is unknown"
    if said.language:
        language = f"The data's language is {_code(said.language)}, as the publisher states it"
    lines = [
        f"- Trained on prompts of preset {_code(condition.get('preset'))}, with their responses at most "
        f"{condition.get('max_length', UNKNOWN)} tokens; other formats and longer prompts are untried.",
        f"- {language}. Who its users are, and whom they leave out, is not on record.",
        "- An alignment accuracy compares two given responses. How the model writes by itself, whether what it writes "
        "is true, and whether it is safe, was not measured here.",
        "- It is meant to follow what its prompt says of a user, also where that is wrong, somebody else's, or meant "
        "to mislead it. Limits of the base hold on.",
    ]
    if not run.measured:
        lines.append("- Nothing above says how well it works: no accuracy was given.")
    if model is not None and model.dtype is not None and model.dtype != "float32":
        lines.append(f"- Trained in {_code(model.dtype)}; other precisions change its log-probabilities a little.")
    return lines


def _privacy(run: Recorded) -> list[str]:
    what = (
        "users' own comments, choices and descriptions, as far as the records have them"
        if run.method is Method.ICA
        else "users' preference directions in words, drawn from their histories or given with the records"
    )
    return [
        f"- Histories are personal data. The training prompts held {what}; the responses that users preferred and "
        "rejected were trained on directly.",
        "- DPO can make a model memorise what it saw. Nothing here was trained with a guarantee of privacy, and "
        "memorisation was not measured.",
        "- Not published with it: records and prepared prompts, ids of records and users (held-out records are "
        "counted, not named), which records each batch saw, checkpoints with optimiser states, paths of the machine.",
        "- Whoever uses it puts somebody's history into a prompt, and needs that person's leave.",
    ]


def _provenance(run: Recorded) -> list[str]:
    found = run.manifest
    model = found.model
    assert model is not None
    recorded = public_name(model.name)
    told = "" if run.base in (None, recorded) else f", which the publisher says is {_code(run.base)}"
    rows = [
        ("these weights", _code(run.weights)),
        ("base", f"{_code(recorded)}{told}"),
        ("base's weights", _code(model.digest)),
        ("base's revision", _code(model.revision) if model.revision else f"{UNKNOWN}: it was read from a folder"),
        ("base's tokenizer", _code(model.tokenizer)),
        ("records", _code(found.data.digest) if found.data else UNKNOWN),
        ("preference dimensions", _code(found.taxonomy) if found.taxonomy else UNKNOWN),
        ("computed in", _code(model.dtype) if model.dtype else UNKNOWN),
    ]
    versions = ", ".join(f"{_text(name)} {_text(version)}" for name, version in found.versions.items())
    return [
        *_table(("what", "SHA-256 or name"), rows),
        "",
        f"Versions: {versions or UNKNOWN}. `manifest.json` has the digest of each file of the model; equal digests are "
        "equal contents, wherever they are.",
    ]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _text(value: object) -> str:
    """Text of others, in one line and without markup of its own."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", " ".join(str(value).split()))


def _code(value: object) -> str:
    """A name as it is, in one line; what would end the code or a table's cell is replaced."""
    words = " ".join(str(value).split()).replace("`", "'").replace("|", "¦")
    return f"`{words}`" if words else UNKNOWN


def _value(value: object) -> str:
    if value is None or value == "":
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _code(public_name(str(f"{value:g}" if isinstance(value, float) else value)))


def _count(counts: dict[str, Any], name: str) -> str:
    value = counts.get(name)
    return f"{value:,}" if isinstance(value, int) else UNKNOWN


def _number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) and math.isfinite(value) else UNKNOWN
