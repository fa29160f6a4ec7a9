"""Training curves: what happened, as a picture."""

import json
from pathlib import Path
from typing import Any

_PANELS = (
    ("loss", "loss", "DPO loss (ln 2 = 0.693 at the start)"),
    ("rewards/accuracies", "accuracy", "share of pairs ordered rightly"),
    ("rewards/margins", "margin", "β · difference of log-ratios, nats"),
    ("learning_rate", "learning rate", "learning rate"),
)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def plot_curves(metrics: Path, picture: Path, title: str) -> None:
    """Loss, accuracy, margin and learning rate over steps, training and held-out, as a PNG."""
    from matplotlib.figure import Figure

    lines = read_metrics(metrics)
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    for axes, (key, name, label) in zip(figure.subplots(2, 2).flat, _PANELS, strict=True):
        for prefix, style, legend in (("", "-", "training"), ("eval_", "o--", "held out")):
            points = [(line["step"], line[prefix + key]) for line in lines if prefix + key in line]
            if points:
                axes.plot(*zip(*points, strict=True), style, markersize=4, linewidth=1.4, label=legend)
        axes.set(title=name, xlabel="step", ylabel=label)
        axes.grid(alpha=0.3)
        if any(f"eval_{key}" in line for line in lines):
            axes.legend()
    figure.suptitle(title)
    figure.savefig(picture, dpi=110)
