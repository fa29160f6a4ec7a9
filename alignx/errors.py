"""Errors a user can act on: one base, one subclass an exit code, each also the stdlib class it refines.

The command line prints the message as one line and exits with ``exit_code``; a traceback means a defect.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the exit status of every command means."""

    OK = 0
    SETTINGS = 2
    DATA = 3
    MODEL = 4
    API = 5
    PARTIAL = 6
    PREEMPTED = 85
    INTERRUPTED = 130


class AlignXError(Exception):
    """Base of every error this project raises on purpose."""

    exit_code: ExitCode = ExitCode.PARTIAL


class SettingsError(AlignXError, ValueError):
    """A setting is unknown, impossible, or contradicts another."""

    exit_code = ExitCode.SETTINGS


class DataError(AlignXError, ValueError):
    """Records or outputs on disk are not what they must be; the message says where, what and what to do."""

    exit_code = ExitCode.DATA


class ModelError(AlignXError, RuntimeError):
    """A model, tokenizer or chat template cannot do what was asked of it."""

    exit_code = ExitCode.MODEL


class ApiError(AlignXError, RuntimeError):
    """A server cannot be asked at all: a wrong key, an unknown model, a used-up quota; replies so far are kept."""

    exit_code = ExitCode.API


class PartialError(AlignXError, RuntimeError):
    """The work stopped before its end and kept what it had; the same command goes on."""

    exit_code = ExitCode.PARTIAL


class TrainingError(AlignXError, RuntimeError):
    """Training cannot go on: a loss or gradient that is not a number, or a batch that cannot be formed."""

    exit_code = ExitCode.MODEL


class PreemptedError(AlignXError, RuntimeError):
    """The run was asked to stop, kept what it had done, and should be started again with the same command."""

    exit_code = ExitCode.PREEMPTED


class CheckpointError(AlignXError, OSError):
    """A checkpoint cannot be written; what was saved before is intact."""

    exit_code = ExitCode.PARTIAL
