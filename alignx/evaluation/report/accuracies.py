"""The numbers: accuracies, what was expected of them, what the words mean."""

from collections.abc import Sequence
from pathlib import Path

from alignx import manifest
from alignx.errors import DataError
from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.outcomes import Outcome, notes_of
from alignx.evaluation.rows import Expectation, Role
from alignx.intervals import Estimate
from alignx.pages import Block, Definitions, Figure, Note, Paragraph, Row, Table, literal
from alignx.pages.document import Mark
from alignx.prompts.condition import PersonaSource

_MARKS: dict[Role, Mark] = {"main": "strong", "control": "control", "oracle": "", "variant": ""}


def accuracies(settings: EvaluateSettings, outcomes: Sequence[Outcome]) -> list[Block]:
    """The chart and the table of all rows, and what was left out."""
    columns = ("row", "accuracy", "95 % interval", "n", _clusters(outcomes), "ties", "policy alone", "reference alone")
    rows = [
        Row(
            (
                f"{o.policy.name}, {o.cell.label}",
                percent(o.found.accuracy.mean),
                interval(o.found.accuracy),
                str(o.found.n),
                str(o.found.accuracy.clusters),
                str(o.found.ties),
                percent(o.found.raw.mean),
                percent(o.reference_raw.mean),
            ),
            _MARKS[o.cell.role],
        )
        for o in outcomes
    ]
    said = ["Alignment accuracy in %: how often training moved the model towards what the user prefers."]
    if settings.limit is not None:
        said.append(f"Only the first {settings.limit} records of each file were read.")
    said += [f"{literal(note)}." for note in notes_of(outcomes)]
    return [_forest(settings, outcomes), Table(columns, rows, " ".join(said)), Paragraph(left_out(outcomes))]


def expectations(outcomes: Sequence[Outcome]) -> list[Block]:
    """Each row of which something was expected, and whether it holds."""
    rows = []
    for o in outcomes:
        if o.cell.expect is not None:
            name = f"{o.policy.name}, {o.cell.label}"
            rows.append((name, "yes" if o.met else "NO", _say(o.cell.expect), _measured(o, o.cell.expect)))
    if not rows:
        return []
    held = sum(row[1] == "yes" for row in rows)
    return [Table(("row", "holds", "expected", "measured"), rows, f"{held} of {len(rows)} expectations hold.")]


def unmet(settings: EvaluateSettings, outcomes: Sequence[Outcome]) -> list[Note]:
    """What is not as expected, for the beginning of the page; nothing where all is."""
    met = [o.met for o in outcomes if o.met is not None]
    rows = [literal(f"{o.policy.name}, {o.cell.label}") for o in outcomes if o.met is False]
    if not rows:
        return []
    said = f"**Not as expected** ({sum(met)} of {len(met)} expectations hold): {'; '.join(rows)}."
    if settings.limit is not None:
        said += f" Expectations are made for whole files; of each, the first {settings.limit} records were read."
    return [Note(said)]


def meanings(outcomes: Sequence[Outcome]) -> list[Block]:
    """The terms of the tables, and the notes of the rows."""
    by_label: dict[str, set[str]] = {}
    for o in outcomes:
        by_label.setdefault(_condition(o), set()).add(o.cell.note)
    notes = {
        _condition(o) if len(by_label[_condition(o)]) == 1 else f"{o.policy.name}, {_condition(o)}": o.cell.note
        for o in outcomes
        if o.cell.note
    }
    terms = [
        ("policy, reference", "The trained model, and the model it was trained from."),
        ("ICA, PBA", "The persona itself is in the prompt; its preference direction, in words, is in the prompt."),
        (
            "accuracy",
            "Share of records where β·(log π(chosen) − log π_ref(chosen)) is above the same for rejected, strictly; "
            "both models read the same prompt. β scales both sides and changes nothing here.",
        ),
        ("n, users, ties", "Records; users they are of; records where both sides are equal, which count as not right."),
        (
            "95 % interval",
            "Wilson's for shares, mean ± t · error for differences; both with Student's t and an error clustered by "
            "user, or by target where no user is named. No resampling.",
        ),
        ("policy alone, reference alone", "Share where that model itself finds the preferred response likelier."),
    ]
    return [Definitions([*terms, *notes.items()])]


def _condition(outcome: Outcome) -> str:
    """What a note is about: the condition of a benchmark, in all of its columns, or a row by itself."""
    return outcome.cell.condition or outcome.cell.label


def percent(share: float) -> str:
    """``61.2``."""
    return f"{100 * share:.1f}"


def interval(estimate: Estimate, *, signed: bool = False) -> str:
    """``[57.3, 65.1]``, in percent or points."""
    sign = "+" if signed else ""
    return f"[{100 * estimate.low:{sign}.1f}, {100 * estimate.high:{sign}.1f}]"


def _forest(settings: EvaluateSettings, outcomes: Sequence[Outcome]) -> Figure:
    from alignx.pages.figures import Interval, Reference, intervals

    rows = [
        Interval(o.cell.label, o.policy.name, 100 * found.mean, 100 * found.low, 100 * found.high)
        for o in outcomes
        for found in [o.found.accuracy]
    ]
    for o in _firsts(outcomes):
        e, label = o.reference_raw, f"{o.policy.name} prompts, {o.cell.label}"
        rows.append(Interval(label, "reference alone, before DPO", 100 * e.mean, 100 * e.low, 100 * e.high))
    most = ceiling(settings)
    lines = [Reference(50, "chance")]
    caption = (
        "Alignment accuracy with 95 % intervals. The rows of the reference alone are no such accuracy: how often the "
        "model before DPO finds the preferred response likelier by itself."
    )
    if most is not None and most < 1:
        lines.append(Reference(100 * most, f"ceiling {100 * most:g} %"))
        noise = f"{100 - 100 * most:g} % of the users' choices are slips"
        caption += f" {noise}, so who knows the user perfectly is right up to the ceiling."
    svg = intervals(rows, name="accuracy", xlabel="alignment accuracy, %", reference_lines=lines)
    told = "; ".join(f"{o.policy.name}, {o.cell.label}: {percent(o.found.accuracy.mean)} %" for o in outcomes)
    return Figure("accuracy", svg, told, caption)


def _firsts(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Each policy's first row."""
    return list({o.policy.name: o for o in reversed(outcomes)}.values())[::-1]


def ceiling(settings: EvaluateSettings) -> float | None:
    """One minus the label noise of the synthetic world; None without one.

    Raises:
        DataError: The folder holds no world.
    """
    if settings.world is None:
        return None
    folder = Path(settings.find(settings.world))
    found = manifest.read(folder)
    if found.kind != "world":
        raise DataError(f"{folder}: its manifest says {found.kind!r}, expected 'world' (alignx data synthesize)")
    return 1 - float(found.settings["label_noise"])


def _clusters(outcomes: Sequence[Outcome]) -> str:
    """What observations are grouped by: users where records name them, else distinct targets."""
    grouped = {score.cluster.partition(":")[0] for o in outcomes for score in o.scores.values()}
    return {"user": "users", "target": "targets"}.get(grouped.pop(), "clusters") if len(grouped) == 1 else "clusters"


def left_out(outcomes: Sequence[Outcome]) -> str:
    """What was skipped, cut or empty, which must not go unsaid, as prose."""
    said = []
    for o in outcomes:
        counts = {
            "records skipped": o.found.skipped,
            "prompts trimmed": o.found.trimmed,
            "trimmed differently for the two models": o.found.prompts_differ,
        }
        if o.cell.persona is not PersonaSource.NONE:
            counts["prompts that say nothing about the user"] = o.found.persona_empty
        parts = [f"{count} {what}" for what, count in counts.items() if count]
        if parts:
            said.append(f"{o.policy.name}, {o.cell.label}: {', '.join(parts)}")
    return literal("; ".join(said)) + "." if said else "No record was skipped and no prompt trimmed."


def _measured(outcome: Outcome, expected: Expectation) -> str:
    """The intervals that an expectation is about."""
    said = []
    if (expected.low_above, expected.high_below, expected.low_at_most) != (None, None, None):
        said.append(interval(outcome.found.accuracy))
    if outcome.difference is not None:
        said.append(interval(outcome.difference, signed=True))
    return "; ".join(said)


def _say(expected: Expectation) -> str:
    said = []
    if expected.low_above is not None:
        said.append(f"interval above {percent(expected.low_above)}")
    if expected.high_below is not None:
        said.append(f"interval below {percent(expected.high_below)}")
    if expected.low_at_most is not None:
        said.append(f"not above {percent(expected.low_at_most)}: the interval reaches it or is below")
    if expected.reaches is not None:
        said.append(f"difference from “{expected.versus}” reaches above {100 * expected.reaches:+.3g} points")
    if expected.exceeds is not None:
        said.append(f"difference from “{expected.versus}” is above {100 * expected.exceeds:+.3g} points")
    return "; ".join(said)
