"""Optimiser steps over a source's rows, and the learning rate along them. Importing this loads no torch."""

import math
from dataclasses import dataclass

from alignx.errors import DataError
from alignx.training.settings import TrainSettings


@dataclass(frozen=True)
class Schedule:
    """Optimiser steps over the rows, and the learning rate along them."""

    rows: int
    """Records that train, those left over aside."""
    left_over: int
    held_out: int
    """At most."""
    steps: int
    warmup: int
    first_rate: float
    peak_rate: float
    peak_step: int
    """The first step of the highest rate, counted from 1."""
    last_rate: float
    """Of the last step."""
    end_rate: float
    """That the schedule would reach after it."""


def schedule(settings: TrainSettings, rows: int) -> Schedule:
    """The steps of a run over so many records.

    Raises:
        DataError: They are fewer than the settings ask for.
    """
    if settings.subset is not None and settings.subset > rows:
        raise DataError(f"--subset {settings.subset}: there are {rows} records")
    drawn = settings.subset or rows
    held_out = min(settings.eval_rows, drawn)
    left_over = (drawn - held_out) % settings.global_batch
    training = drawn - held_out - left_over
    if not training:
        raise DataError(
            f"{drawn - held_out} training records, expected at least one --global-batch of {settings.global_batch}"
        )
    steps = settings.steps(training)
    warmup = math.ceil(settings.warmup_ratio * steps)
    return Schedule(
        rows=training,
        left_over=left_over,
        held_out=held_out,
        steps=steps,
        warmup=warmup,
        first_rate=_rate(settings, 0, warmup, steps),
        peak_rate=_rate(settings, min(warmup, steps - 1), warmup, steps),
        peak_step=min(warmup, steps - 1) + 1,
        last_rate=_rate(settings, steps - 1, warmup, steps),
        end_rate=_rate(settings, steps, warmup, steps),
    )


def _rate(settings: TrainSettings, done: int, warmup: int, steps: int) -> float:
    """The learning rate after so many steps: a straight line up, half a cosine down to ``min_lr_ratio``."""
    if done < warmup:
        return settings.learning_rate * done / warmup
    progress = (done - warmup) / max(1, steps - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return settings.learning_rate * (cosine * (1 - settings.min_lr_ratio) + settings.min_lr_ratio)
