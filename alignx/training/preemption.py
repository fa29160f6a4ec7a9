"""Stopping when asked to: SIGTERM or SIGUSR1 saves a checkpoint at the next step boundary and leaves with code 85.

All processes agree at each step whether any of them was asked, so that none waits for another that has gone. The
launching script turns the file that is left into the exit code, as launchers lose a worker's own.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from alignx import manifest
from alignx.errors import PreemptedError
from alignx.training.checkpoints import PREEMPTED

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class _Asked(BaseException):
    """Raised wherever a signal arrives; no ``except Exception`` on the way may take it for an error of its own."""


class Preemption(TrainerCallback):
    """Listens for the signals while a run goes on."""

    def __init__(self, output: Path, is_main: bool) -> None:
        """Name the run's folder, and whether this process leaves the file."""
        self._output = output
        self._is_main = is_main
        self._asked = False
        self._training = False
        self.stopped_at: int | None = None
        """Step after which training was stopped; None when it was not."""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals; outside training they end the run at once, for nothing of it would be lost.

        Raises:
            PreemptedError: One arrived outside training.
        """
        (self._output / PREEMPTED).unlink(missing_ok=True)
        before = {number: signal.signal(number, self._take) for number in SIGNALS}
        try:
            yield
        except _Asked:
            self._mark()
            raise PreemptedError("asked to stop; run the same command again to go on") from None
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        if not self._training:
            raise _Asked

    def leave_together(self, state: Any) -> NoReturn:
        """Leave the run when all processes have saved: a launcher ends the others as soon as one has gone.

        Args:
            state: accelerate's.

        Raises:
            PreemptedError: Always.
        """
        self._mark()
        state.wait_for_everyone()
        raise PreemptedError(
            f"asked to stop; checkpoint-{self.stopped_at} is saved, run the same command again to go on"
        )

    def heed(self) -> None:
        """Act on a signal that came with the last step, when all that training made is saved."""
        if self._asked:
            raise _Asked

    def _mark(self) -> None:
        if self._is_main:
            manifest.write_text(self._output / PREEMPTED, "asked to stop; run the same command again to go on\n")

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """From now on a signal waits for the step to end."""
        self._training = True

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """If any process was asked to stop, all save and stop."""
        asked = torch.tensor(float(self._asked), device=args.device)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX)
        if asked.item():
            self.stopped_at = state.global_step
            control.should_save = control.should_training_stop = True

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """What follows can be done again."""
        self._training = False
