"""What stands around the numbers: what rules without a model reach, how training went, how long it took."""

import contextlib
import json
from pathlib import Path
from typing import Any

from alignx.evaluation.baselines import baselines
from alignx.evaluation.grid import TIMINGS
from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.report.accuracies import interval, percent
from alignx.pages import Block, Figure, Table
from alignx.records import Records, load_taxonomy

_CURVES = (
    ("loss", "DPO loss", "nats a pair; ln 2 at the start"),
    ("rewards/accuracies", "pairs ordered rightly", "share of the batch; 0 at first, all ties"),
    ("rewards/margins", "margin", "β · difference of log-ratios, nats"),
)


def without_a_model(settings: EvaluateSettings) -> list[Block]:
    """The trivial baselines on a synthetic world's test records."""
    if settings.world is None:
        return []
    world, taxonomy = Path(settings.find(settings.world)), load_taxonomy(settings.taxonomy)
    test = list(Records(str(world / "test.jsonl"), limit=settings.limit, taxonomy=taxonomy))
    found = baselines(test, Records(str(world / "train.jsonl"), taxonomy=taxonomy), taxonomy)
    rows = [(b.name, b.meaning, percent(b.accuracy.mean), interval(b.accuracy), str(b.undecided)) for b in found]
    columns = ("rule", "what it does", "accuracy", "95 % interval", "undecided")
    caption = f"Rules without a model on the same {len(test)} test records; an undecided one counts as half."
    return [Table(columns, rows, caption)]


def training_curves(settings: EvaluateSettings) -> list[Block]:
    """Loss, accuracy and margin of the policies that were trained here."""
    from alignx.pages.figures import Line, Panel, curves

    paths = {policy.name: Path(settings.find(policy.model)) / "metrics.jsonl" for policy in settings.policies}
    runs = {name: _read(path) for name, path in paths.items() if path.is_file()}
    if not runs:
        return []
    panels = []
    for key, title, label in _CURVES:
        points = {name: [(float(e["step"]), float(e[key])) for e in run if key in e] for name, run in runs.items()}
        drawn = [Line(name, *zip(*of_run, strict=True)) for name, of_run in points.items() if of_run]
        if drawn:
            panels.append(Panel(title, label, "step", drawn))
    if not panels:
        return []
    alt = f"Loss, share of pairs ordered rightly and margin over the steps of {', '.join(runs)}."
    return [Figure("training", curves(panels, name="training"), alt, "Training batches, as TRL's trainer logged them.")]


def durations(settings: EvaluateSettings) -> list[Block]:
    """How long each part took, where that was written down; lines of one part add up."""
    from alignx.pages.figures import Bar, bars

    if settings.timings is None or not (path := Path(settings.find(settings.timings))).is_file():
        return []
    scoring = settings.output / TIMINGS
    parts: dict[str, float] = {}
    for line in [*_read(path), *(_read(scoring) if scoring.is_file() else [])]:
        parts[line["part"]] = parts.get(line["part"], 0.0) + float(line["seconds"])
    if not parts:
        return []
    svg = bars(
        [Bar(name, value, f"{value:.0f} s") for name, value in parts.items()], name="durations", xlabel="seconds"
    )
    alt = "; ".join(f"{name}: {value:.0f} s" for name, value in parts.items())
    total = sum(parts.values())
    caption = f"{total:.0f} s together."
    return [Figure("durations", svg, alt, caption)]


def _read(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; what a kill cut off is left out, since a report about finished scores must not fail on it."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found
