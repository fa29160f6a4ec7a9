"""The picture of a training run."""

import json
from pathlib import Path
from typing import Any

import pytest

from alignx.training.curves import plot_curves, read_metrics

LINES: list[dict[str, Any]] = [
    {"step": 1, "loss": 0.69, "rewards/accuracies": 0.0, "rewards/margins": 0.0, "learning_rate": 0.0},
    {"step": 2, "loss": 0.5, "rewards/accuracies": 0.75, "rewards/margins": 1.5, "learning_rate": 1e-3},
    {"step": 2, "train_runtime": 1.6, "train_loss": 0.6},
    {"step": 2, "eval_loss": 0.6, "eval_rewards/accuracies": 0.5, "eval_rewards/margins": 0.25},
]


def drawn(folder: Path, lines: list[dict[str, Any]], patch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What is drawn from metrics: for each panel its curves, as (legend, steps, values), by the panel's title."""
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    metrics = folder / "metrics.jsonl"
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    figures: list[Figure] = []
    save = Figure.savefig

    def watched(self: Figure, *args: Any, **kwargs: Any) -> None:
        figures.append(self)
        save(self, *args, **kwargs)

    patch.setattr(Figure, "savefig", watched)
    plot_curves(metrics, folder / "curves.png", "ICA: tiny")
    (figure,) = figures
    axes: list[Axes] = figure.axes
    assert figure.get_suptitle() == "ICA: tiny"
    return {
        axis.get_title(): [
            (line.get_label(), list(map(float, line.get_xdata())), list(map(float, line.get_ydata())))
            for line in axis.get_lines()
        ]
        for axis in axes
    }


def test_each_panel_has_a_training_and_a_held_out_curve_over_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert drawn(tmp_path, LINES, monkeypatch) == {
        "loss": [("training", [1, 2], [0.69, 0.5]), ("held out", [2], [0.6])],
        "accuracy": [("training", [1, 2], [0.0, 0.75]), ("held out", [2], [0.5])],
        "margin": [("training", [1, 2], [0.0, 1.5]), ("held out", [2], [0.25])],
        "learning rate": [("training", [1, 2], [0.0, 1e-3])],
    }
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_a_run_without_evaluation_has_training_curves_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = drawn(tmp_path, LINES[:3], monkeypatch)
    assert [[name for name, *_ in curves] for curves in found.values()] == [["training"]] * 4


def test_metrics_without_a_single_step_still_make_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A run shorter than --log-every logs its summary alone.
    assert set(map(len, drawn(tmp_path, LINES[2:3], monkeypatch).values())) == {0}
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_metrics_are_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 0.5}\n{"step": 2}\n', encoding="utf-8")
    assert read_metrics(path) == [{"step": 1, "loss": 0.5}, {"step": 2}]


def test_a_run_without_metrics_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"metrics\.jsonl"):
        plot_curves(tmp_path / "metrics.jsonl", tmp_path / "curves.png", "nothing")
    assert not (tmp_path / "curves.png").exists()
