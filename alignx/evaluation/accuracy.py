"""Alignment accuracy: does training move the model towards what this user prefers?"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignx import manifest
from alignx.errors import DataError
from alignx.evaluation.scores import Score, read_scores
from alignx.evaluation.settings import AccuracySettings
from alignx.intervals import Estimate, clustered_mean
from alignx.manifest import Manifest

SHARED = ("data.digest", "data.records", "taxonomy", "condition", "model.dtype")
"""What policy and reference must have in common to be compared."""
OF_CONDITION = ("the profile is", "the persona told is", "of the persona only")
"""How notes begin that are about what was asked for, not about what was found."""
NOISE = 1e-3
"""Margins below this many nats are within what batching can change in float32."""


@dataclass(frozen=True)
class Accuracy:
    """What was counted."""

    n: int
    targets: int
    correct: int
    ties: int
    within_noise: int
    """Items, ties among them, whose margin is below :data:`NOISE` nats."""
    accuracy: Estimate
    raw: Estimate
    """Share of items where the policy alone finds the preferred response likelier."""
    mean_margin: float
    """Mean of β·(chosen − reference's) − β·(rejected − reference's)."""
    skipped: int
    """Records left out when the scores were made, invalid or too long."""
    trimmed: int
    """Items whose prompt lost history or description because it was too long."""
    persona_empty: int
    """Items whose prompt says nothing about the user."""
    prompts_differ: int
    """Items whose history was trimmed differently for the two models."""
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **self.__dict__,
            "accuracy": self.accuracy.as_dict(),
            "raw": self.raw.as_dict(),
            "mean_margin": round(self.mean_margin, 6),  # what batching changes in float32 is below that
            "notes": list(self.notes),
        }


def accuracy(settings: AccuracySettings) -> Accuracy:
    """Compare the scores of a policy and a reference; print, and write where asked.

    Raises:
        DataError: A file is unfinished or broken, the two are about different data or conditions, or an id is
            missing in one.
    """
    compared = compare_files(settings.policy, settings.reference, settings.beta)
    _refuse_overwriting(settings.output)
    found = compared.accuracy
    print(describe(found))
    if settings.output is not None:
        _write(settings, found, compared.of_policy, compared.of_reference)
        print(f"written to {settings.output}")
    return found


@dataclass(frozen=True)
class Compared:
    """Two scores files and what comparing them gives."""

    accuracy: Accuracy
    policy: dict[str, Score]
    reference: dict[str, Score]
    of_policy: Manifest
    of_reference: Manifest


def compare_files(policy: Path, reference: Path, beta: float = 0.1) -> Compared:
    """Compare two scores files, once they are known to belong together.

    Raises:
        DataError: A file is unfinished or broken, the two are about different data or conditions, the models were
            swapped, or an id is missing in one.
    """
    scores, of_policy = read_scores(policy)
    others, of_reference = read_scores(reference)
    _refuse_swapped(of_policy, of_reference)
    _refuse_unlike(policy, reference, of_policy, of_reference)
    skipped = of_policy.data.skipped if of_policy.data else 0
    found = compare(scores, others, beta, _notes(of_policy, of_reference), skipped)
    return Compared(found, scores, others, of_policy, of_reference)


def compare(
    policy: dict[str, Score],
    reference: dict[str, Score],
    beta: float = 0.1,
    notes: tuple[str, ...] = (),
    skipped: int = 0,
) -> Accuracy:
    """Alignment accuracy from scores, joined by id.

    An item is correct when β·(log π(y_w) − log π_ref(y_w)) > β·(log π(y_l) − log π_ref(y_l)), strictly (spec §4).

    Raises:
        DataError: An id is in one and not in the other.
    """
    _refuse_unmatched(policy, reference)
    items = [(one, reference[one.id]) for one in policy.values()]
    margins = [beta * ((p.chosen - r.chosen) - (p.rejected - r.rejected)) for p, r in items]
    clusters = [p.cluster for p, _ in items]
    trims = [(p.trimmed_items, p.trimmed_demographics) != (r.trimmed_items, r.trimmed_demographics) for p, r in items]
    ties = sum(margin == 0 for margin in margins)
    if ties == len(margins):
        notes = (*notes, "every item is a tie: the policy scores exactly as the reference does")
    return Accuracy(
        n=len(items),
        targets=len({p.target for p, _ in items}),
        correct=sum(margin > 0 for margin in margins),
        ties=ties,
        within_noise=sum(abs(margin) < beta * NOISE for margin in margins),
        accuracy=clustered_mean([float(margin > 0) for margin in margins], clusters),
        raw=clustered_mean([float(p.chosen > p.rejected) for p, _ in items], clusters),
        mean_margin=sum(margins) / len(margins),
        skipped=skipped,
        trimmed=sum(p.trimmed_items > 0 or p.trimmed_demographics for p, _ in items),
        persona_empty=sum(p.persona_empty for p, _ in items),
        prompts_differ=sum(trims),
        notes=notes,
    )


def describe(found: Accuracy) -> str:
    """The result in a few lines."""
    lines = [
        f"alignment accuracy {found.accuracy}",
        f"  correct {found.correct}, ties {found.ties}, wrong {found.n - found.correct - found.ties} of n = {found.n} "
        "items with "
        f"{found.targets} distinct targets",
        f"  policy alone, without the reference: {found.raw}",
        f"  mean margin {found.mean_margin:+.4f}; {found.within_noise} margins are below {NOISE} nats",
    ]
    left_out = {
        f"{found.skipped} records were skipped and are not among them": found.skipped,
        f"{found.trimmed} prompts lost history or description, being too long": found.trimmed,
        f"{found.persona_empty} prompts say nothing about the user": found.persona_empty,
    }
    lines += [f"  {text}" for text, count in left_out.items() if count]
    if found.prompts_differ:
        lines.append(
            f"  {found.prompts_differ} prompts were trimmed differently for policy and reference (their tokenizers "
            "differ)"
        )
    return "\n".join([*lines, *(f"  note: {note}" for note in found.notes)])


def _refuse_unlike(policy_file: Path, reference_file: Path, policy: Manifest, reference: Manifest) -> None:
    differences = policy.differences(reference, SHARED)
    if differences:
        raise DataError(
            f"{policy_file} and {reference_file} differ in {'; '.join(differences)}; score the reference again with "
            f"--like {policy_file}"
        )


def _refuse_swapped(policy: Manifest, reference: Manifest) -> None:
    if policy.model and reference.model and reference.model.trained_from == policy.model.digest:
        raise DataError(
            f"the reference {reference.model.name} was trained from the policy {policy.model.name}; swap --policy and "
            "--reference"
        )


def _refuse_unmatched(policy: dict[str, Score], reference: dict[str, Score]) -> None:
    for missing, side in (
        (policy.keys() - reference.keys(), "reference"),
        (reference.keys() - policy.keys(), "policy"),
    ):
        if missing:
            raise DataError(
                f"{len(missing)} ids are missing from the {side}'s scores, the first is {min(missing)!r}; expected "
                "the same ids in both"
            )


def _refuse_overwriting(output: Path | None) -> None:
    if output is None or not output.exists():
        return
    found = manifest.read_if_present(output)
    if found is None or found.kind != "accuracy":
        raise DataError(f"{output}: is there and is no accuracy; choose another --output")


def _notes(policy: Manifest, reference: Manifest) -> tuple[str, ...]:
    """What the two manifests say that a reader of the number should know."""
    notes = []
    if policy.model and reference.model and policy.model.digest == reference.model.digest:
        notes.append("policy and reference are the same weights, so the accuracy says nothing")
    elif policy.model and reference.model and policy.model.trained_from not in (None, reference.model.digest):
        notes.append("the reference is not the model that the policy was trained from")
    condition = policy.condition or {}
    if condition.get("profile") == "golden":
        notes.append(f"{OF_CONDITION[0]} the target's own direction: an oracle, an upper bound")
    if condition.get("persona") != "own":
        notes.append(f"{OF_CONDITION[1]} {condition.get('persona')!r}, not the user's own")
    if (parts := policy.told.get("tell", "all")) != "all":
        which = "a part drawn for each record is" if parts == "arbitrary" else f"{parts.replace(',', ' and ')} are"
        notes.append(f"{OF_CONDITION[2]} {which} told")
    if "bfloat16" in {m.model.dtype for m in (policy, reference) if m.model}:
        notes.append("computed in bfloat16: batching can change single decisions")
    return tuple(notes)


def _write(settings: AccuracySettings, found: Accuracy, policy: Manifest, reference: Manifest) -> None:
    assert settings.output is not None
    text = json.dumps(
        {
            **found.as_dict(),
            "beta": settings.beta,
            "policy": {"scores": str(settings.policy), "model": policy.model and policy.model.model_dump(mode="json")},
            "reference": {
                "scores": str(settings.reference),
                "model": reference.model and reference.model.model_dump(mode="json"),
            },
        },
        indent=2,
        ensure_ascii=False,
    )
    manifest.write_text(settings.output, text + "\n")
    manifest.write(
        settings.output,
        Manifest(
            kind="accuracy",
            data=policy.data,
            taxonomy=policy.taxonomy,
            model=policy.model,
            condition=policy.condition,
            settings=settings.model_dump(mode="json"),
            versions=manifest.versions("scipy"),
            files={settings.output.name: manifest.file_digest(settings.output)},
        ),
    )
