"""The ``alignx`` command: one subcommand a verb. Nothing heavy is imported before the arguments are right."""

import importlib
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from alignx import __version__
from alignx.errors import AlignXError, DataError, ExitCode, SettingsError

PROG = "alignx"
EXTRAS = {
    "model": ("torch", "transformers", "accelerate", "safetensors", "jinja2"),
    "train": ("trl", "datasets", "peft", "matplotlib"),
    "eval": ("scipy",),
    "judge": ("openai",),
}
"""Which extra of the package brings which import."""


@dataclass(frozen=True)
class Command:
    """A verb: where its settings are declared and what runs it, both as ``module:name``."""

    summary: str
    settings: str
    run: str
    after_interrupt: str = "run the same command again"


COMMANDS: dict[tuple[str, ...], Command] = {
    ("data", "validate"): Command(
        "check every record against the schema",
        "alignx.prompts.validating:ValidateSettings",
        "alignx.prompts.validating:validate_source",
    ),
    ("data", "report"): Command(
        "count what is there and what looks wrong",
        "alignx.prompts.reporting:ReportSettings",
        "alignx.prompts.reporting:report",
    ),
    ("data", "clean"): Command(
        "write records without what the report found wrong",
        "alignx.prompts.cleaning:CleanSettings",
        "alignx.prompts.cleaning:clean",
    ),
    ("data", "preview"): Command(
        "show what a model will be told about a record",
        "alignx.prompts.previewing:PreviewSettings",
        "alignx.prompts.previewing:preview",
    ),
    ("data", "prepare"): Command(
        "encode records into Parquet shards for training",
        "alignx.prompts.preparing:PrepareSettings",
        "alignx.prompts.preparing:prepare",
    ),
    ("data", "synthesize"): Command(
        "make records of invented users whose preferences are known",
        "alignx.records.world.synthesize:SynthesizeSettings",
        "alignx.records.world.synthesize:synthesize",
    ),
    ("data", "convert"): Command(
        "make records from your own users' rows, CSV or JSON Lines",
        "alignx.records.converting.settings:ConvertSettings",
        "alignx.records.converting.conversion:convert",
    ),
    ("annotate", "directions"): Command(
        "infer the preference direction of history items, for PBA",
        "alignx.annotation.settings:AnnotateSettings",
        "alignx.annotation.annotating:annotate",
        "the same command goes on from the replies that are there",
    ),
    ("annotate", "oracle"): Command(
        "answer from a synthetic world's truth, as a local server",
        "alignx.annotation.oracle:OracleSettings",
        "alignx.annotation.oracle:serve",
    ),
    ("tiny-model",): Command(
        "make a small stand-in model, trained or not",
        "alignx.models.tiny:TinyModelSettings",
        "alignx.models.tiny:make",
    ),
    ("plan",): Command(
        "say what a training run needs, and whether it fits",
        "alignx.training.plan_settings:PlanSettings",
        "alignx.training.planning:plan",
    ),
    ("train",): Command(
        "train ICA or PBA by DPO (scripts/train_*.sh launch it)",
        "alignx.training.settings:TrainSettings",
        "alignx.training.run:train",
        "run the same command again to go on from the newest checkpoint",
    ),
    ("merge",): Command(
        "merge an adapter into its base",
        "alignx.models.merging:MergeSettings",
        "alignx.models.merging:merge",
    ),
    ("publish",): Command(
        "write a finished run's model card; publish it where asked",
        "alignx.training.publish_settings:PublishSettings",
        "alignx.training.publishing:publish",
    ),
    ("score",): Command(
        "log-probabilities of both responses (eval/loss_*.py)",
        "alignx.evaluation.settings:ScoreSettings",
        "alignx.evaluation.scores:score",
        "run the same command again to continue",
    ),
    ("accuracy",): Command(
        "alignment accuracy from two scores files (eval/acc.py)",
        "alignx.evaluation.settings:AccuracySettings",
        "alignx.evaluation.accuracy:accuracy",
    ),
    ("generate",): Command(
        "a response to every prompt (eval/gen_*.py)",
        "alignx.generation.settings:GenerateSettings",
        "alignx.generation.generating:generate",
        "run the same command again to continue",
    ),
    ("evaluate",): Command(
        "score policies under several conditions and write a report",
        "alignx.evaluation.grid_settings:EvaluateSettings",
        "alignx.evaluation.grid:evaluate",
        "run the same command again to continue",
    ),
    ("judge", "win-rate"): Command(
        "let a judge compare two systems' responses (eval/win_rate.py)",
        "alignx.judging.settings:WinRateSettings",
        "alignx.judging.win_rate:win_rate",
        "the same command goes on from the replies that are there",
    ),
    ("judge", "table"): Command(
        "put finished win rates side by side, benchmark by benchmark",
        "alignx.judging.settings:TableSettings",
        "alignx.judging.table:table",
    ),
    ("judge", "calibrate"): Command(
        "measure a judge where the user's choice is known",
        "alignx.judging.check_settings:CalibrateSettings",
        "alignx.judging.calibrating:calibrate",
        "the same command goes on from the replies that are there",
    ),
    ("judge", "selftest"): Command(
        "try to mislead a judge: canary attacks, a constant answer",
        "alignx.judging.check_settings:SelftestSettings",
        "alignx.judging.selftest:selftest",
        "the same command goes on from the replies that are there",
    ),
    ("judge", "oracle"): Command(
        "judge by a synthetic world's truth, as a local server",
        "alignx.judging.oracle:OracleSettings",
        "alignx.judging.oracle:serve",
    ),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; exits with a documented code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        _dispatch(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


def _dispatch(arguments: list[str]) -> None:
    if arguments in ([], ["-h"], ["--help"]):
        print(_help())
        return
    if arguments == ["--version"]:
        print(f"{PROG} {__version__}")
        return
    groups = {words[0] for words in COMMANDS if len(words) > 1}
    if arguments[0] in groups and arguments[1:] in ([], ["-h"], ["--help"]):
        print(_help(arguments[0]))
        return
    words = next((w for w in COMMANDS if tuple(arguments[: len(w)]) == w), None)
    if words is None:
        known = ", ".join(" ".join(w) for w in COMMANDS)
        _leave(SettingsError(f"unknown command {' '.join(arguments[:2])!r}; known: {known}"), PROG)
    run(COMMANDS[words], arguments[len(words) :], f"{PROG} {' '.join(words)}")


def run(command: Command, argv: Sequence[str], prog: str, **fixed: Any) -> None:
    """Parse a command's settings and run it.

    Args:
        command: Which.
        argv: Its flags.
        prog: How to call it in messages.
        fixed: Settings that the caller has decided, such as a published command's method.
    """
    try:
        from alignx.settings import parse, validate

        model = _load(command.settings)
        settings = parse(model, argv, prog)
        if fixed:
            _refuse_contradiction(settings, fixed)
            settings = validate(model, {**settings.model_dump(exclude_unset=True), **fixed})
        _quiet_libraries()
        result = _load(command.run)(settings)
        if isinstance(result, str):
            print(result)
        _end_group()
    except AlignXError as error:
        _leave(error, prog)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _leave(DataError(f"{where}{error.strerror or ' '.join(str(error).split())}"), prog)
    except ModuleNotFoundError as error:
        extra = next(
            (extra for extra, packages in EXTRAS.items() if (error.name or "").split(".")[0] in packages), None
        )
        if extra is None:
            raise
        _leave(SettingsError(f"this needs {error.name}, which is not installed: pip install 'alignx[{extra}]'"), prog)
    except KeyboardInterrupt:
        print(f"{prog}: interrupted; {command.after_interrupt}", file=sys.stderr)
        sys.exit(ExitCode.INTERRUPTED)


def _end_group() -> None:
    """End the group that a launcher's processes formed: its threads may abort a process that has done its work."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def score(method: str | None, argv: Sequence[str] | None = None) -> None:
    """``eval/loss_ica.py`` and its siblings: scoring with the method fixed, or left to the flags."""
    fixed = {} if method is None else {"method": method}
    run(COMMANDS[("score",)], sys.argv[1:] if argv is None else argv, _script_name(), **fixed)


def generate(method: str | None, argv: Sequence[str] | None = None) -> None:
    """``eval/gen_ica.py`` and its siblings: generating with the method fixed, or left to the flags."""
    fixed = {} if method is None else {"method": method}
    run(COMMANDS[("generate",)], sys.argv[1:] if argv is None else argv, _script_name(), **fixed)


def accuracy(argv: Sequence[str] | None = None) -> None:
    """``eval/acc.py``."""
    run(COMMANDS[("accuracy",)], sys.argv[1:] if argv is None else argv, _script_name())


def win_rate(argv: Sequence[str] | None = None) -> None:
    """``eval/win_rate.py``."""
    run(COMMANDS[("judge", "win-rate")], sys.argv[1:] if argv is None else argv, _script_name())


def _refuse_contradiction(settings: Any, fixed: dict[str, Any]) -> None:
    for name, value in fixed.items():
        given = getattr(settings, name)
        if name in settings.model_fields_set and given != value:
            raise SettingsError(f"--{name}: got {str(given)!r}, but this script is for {str(value)!r}")
        if name == "method" and getattr(settings, "like", None) is not None:
            script = "gen_few_shot.py" if hasattr(settings, "max_new_tokens") else "loss_few_shot.py"
            raise SettingsError(f"--like brings its own method; use eval/{script} --like")


def _quiet_libraries() -> None:
    """Keep libraries from telling a user of a CPU what they already know; warnings are one line, of one process."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    if os.environ.get("RANK", "0") != "0":
        warnings.filterwarnings("ignore", module="alignx")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if sys.platform == "linux" and not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd")):
        os.environ.setdefault("DS_ACCELERATOR", "cpu")


def _script_name() -> str:
    return Path(sys.argv[0]).name


def _load(path: str) -> Any:
    module, name = path.split(":")
    return getattr(importlib.import_module(module), name)


def _leave(error: AlignXError, prog: str) -> NoReturn:
    print(f"{prog}: error: {error}", file=sys.stderr)
    if exit_file := os.environ.get("ALIGNX_EXIT_FILE"):  # scripts/launch.sh: launchers turn every code into 1
        Path(exit_file).write_text(str(int(error.exit_code)))
    sys.exit(int(error.exit_code))


def _help(group: str = "") -> str:
    rows = [(" ".join(words), command.summary) for words, command in COMMANDS.items() if not group or words[0] == group]
    width = max(len(name) for name, _ in rows)
    lines = [
        f"usage: {PROG} COMMAND [flags]      {PROG} COMMAND --help explains every flag",
        "",
        "Align a language model with the person in front of it (AlignX, arXiv:2503.15463).",
        "",
        *(f"  {name:<{width}}  {summary}" for name, summary in rows),
    ]
    if not group:
        lines += [
            "",
            "A first round on the shipped sample, on any machine:",
            f"  {PROG} tiny-model --output out/tiny",
            "  bash scripts/train_ica.sh --model out/tiny --data data/sample/train.jsonl --output out/ica "
            "--global-batch 16",
            "  python eval/loss_ica.py --model out/ica --data data/sample/test.jsonl --output out/ica.jsonl",
            "  python eval/loss_few_shot.py --like out/ica.jsonl --model out/tiny --data data/sample/test.jsonl "
            "--output out/base.jsonl",
            "  python eval/acc.py --policy out/ica.jsonl --reference out/base.jsonl",
            "",
            "exit codes: 0 ok, 2 settings, 3 data, 4 model, 5 server, 6 partial, 85 preempted, 130 interrupted",
        ]
    return "\n".join(lines)
