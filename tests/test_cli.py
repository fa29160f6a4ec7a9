"""The ``alignx`` command: quick, explained, and every failure one line with a documented exit code."""

import json
import math
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alignx import __version__, cli
from alignx.cli import COMMANDS, Command, main
from alignx.errors import AlignXError, DataError, ExitCode, ModelError, SettingsError, TrainingError
from tests.records.rows import DIRECTION, row, write_json, write_parquet
from tests.worlds import sample_records, write_jsonl

ROOT = Path(__file__).resolve().parents[1]
NAMES = [" ".join(words) for words in COMMANDS]
SECONDS = 1.5
"""What a process may use of a processor to print its help or refuse its settings.

An idle machine needs well under a second. Processor time is measured, not the clock, since the tests share the machine
with each other; half a second on top is for processors that slow down when all of them are busy. Torch alone is more.
"""


def in_process(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    """Run the command here: its exit code, output and error stream."""
    code = 0
    try:
        main(argv)
    except SystemExit as done:
        code = int(done.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def alignx(*argv: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "alignx", *argv],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def timed(*argv: str, cwd: Path | None = None) -> tuple[float, subprocess.CompletedProcess[str]]:
    """The least that three runs of the command used of a processor; fewer runs where one was quick enough."""
    least = math.inf
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = alignx(*argv, cwd=cwd)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        least = min(least, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
        if least < SECONDS:
            break
    return least, done


# help


@pytest.mark.parametrize("argv", [(), ("-h",), ("--help",)])
def test_help_names_every_command_and_every_exit_code(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...]
) -> None:
    code, out, err = in_process(capsys, *argv)
    assert (code, err) == (0, "")
    for words, command in COMMANDS.items():
        assert f"  {' '.join(words)} " in out
        assert command.summary in out
    assert f"exit codes: {', '.join(f'{int(code)} {WORDS[code]}' for code in ExitCode)}" in out


WORDS = {
    ExitCode.OK: "ok",
    ExitCode.SETTINGS: "settings",
    ExitCode.DATA: "data",
    ExitCode.MODEL: "model",
    ExitCode.API: "server",
    ExitCode.PARTIAL: "partial",
    ExitCode.PREEMPTED: "preempted",
    ExitCode.INTERRUPTED: "interrupted",
}


@pytest.mark.parametrize("group", sorted({words[0] for words in COMMANDS if len(words) > 1}))
def test_a_group_has_its_own_help(capsys: pytest.CaptureFixture[str], group: str) -> None:
    code, out, _ = in_process(capsys, group, "--help")
    assert code == 0
    listed = [line.split("  ")[1] for line in out.splitlines() if line.startswith("  ")]
    assert listed == [name for name in NAMES if name.startswith(f"{group} ")]
    assert in_process(capsys, group) == (0, out, "")


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process(capsys, "--version") == (0, f"alignx {__version__}\n", "")


@pytest.mark.parametrize("name", NAMES)
def test_every_commands_help_explains_each_of_its_settings(capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, out, err = in_process(capsys, *name.split(), "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: alignx {name} ")
    explained = " ".join(out.split()).replace("- ", "-")  # as if on one line, hyphenated words whole
    fields = cli._load(COMMANDS[tuple(name.split())].settings).model_fields
    assert fields
    for setting, field in fields.items():
        assert f"--{setting.replace('_', '-')}" in explained
        assert field.description
        assert field.description.replace("- ", "-") in explained
        if field.default not in (None, False) and not field.is_required():
            assert "(default: " in explained


def test_help_shows_the_values_that_a_choice_takes(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = in_process(capsys, "data", "report", "--help")
    assert "--method {ica,pba}" in out
    assert "(default: ica)" in out  # as it is written, not the name of an enum's member


def test_help_takes_less_than_a_second() -> None:
    seconds, done = timed("--help")
    assert seconds < SECONDS
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: alignx COMMAND")


# settings errors


@pytest.mark.parametrize(
    "argv",
    [
        ("train", "--betta", "1"),
        ("train", "--model", "m", "--data", "d", "--output", "o", "--beta", "-1"),
        ("train", "--config", "missing.yaml"),
        ("train", "--model", "m", "--data", "rows.jsonl", "--output", "o", "--check"),  # no method
        ("score", "--model", "m", "--data", "d", "--output", "o", "--batch-tokens", "0"),
        ("accuracy", "--policy", "a.jsonl"),
        ("tiny-model", "--size", "8b"),
        ("data", "preview", "--data", "rows.jsonl"),
        ("bake",),
    ],
)
def test_a_settings_error_takes_less_than_a_second_and_is_one_line(argv: tuple[str, ...], tmp_path: Path) -> None:
    seconds, done = timed(*argv, cwd=tmp_path)
    assert seconds < SECONDS
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("alignx")
    assert ": error: " in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["score", "evaluate"])
def test_the_former_batch_size_is_refused_and_not_ignored(capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, out, err = in_process(capsys, name, "--batch-size", "8")
    assert (code, out) == (2, "")
    assert "--batch-size" in err


@pytest.mark.parametrize("argv", [("bake",), ("data", "bake"), ("--data", "x"), ("Train",)])
def test_an_unknown_command_is_refused_with_those_there_are(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...]
) -> None:
    code, out, err = in_process(capsys, *argv)
    assert (code, out) == (2, "")
    assert err == f"alignx: error: unknown command {' '.join(argv)!r}; known: {', '.join(NAMES)}\n"


def test_a_config_flag_without_a_file_is_one_line_under_the_commands_name(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = in_process(capsys, "train", "--config")
    assert (code, out) == (2, "")
    assert err == "alignx train: error: argument --config: expected one argument\n"


@pytest.mark.parametrize(("positive", "negative"), [("0.3", "0.6"), ("most", "0.4")])
def test_impossible_thresholds_are_a_settings_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, positive: str, negative: str
) -> None:
    data = write_jsonl(tmp_path / "rows.jsonl", sample_records(1))
    flags = ["--data", str(data), "--method", "pba", "--positive", positive, "--negative", negative]
    code, _, err = in_process(capsys, "data", "preview", *flags)
    assert code == 2
    assert err.startswith("alignx data preview: error: ")
    assert f"got {positive!r}" in err or "got negative 3/5, positive 3/10" in err
    assert err.count("\n") == 1


def test_a_missing_extra_is_named_with_how_to_install_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    data = write_jsonl(tmp_path / "rows.jsonl", sample_records(2))
    code, _, err = in_process(capsys, "tiny-model", "--data", str(data), "--output", str(tmp_path / "tiny"))
    assert (code, err) == (
        2,
        "alignx tiny-model: error: this needs torch, which is not installed: pip install 'alignx[model]'\n",
    )


# exit codes


@pytest.mark.parametrize(
    ("error", "code", "refines"),
    [
        (SettingsError, 2, ValueError),
        (DataError, 3, ValueError),
        (ModelError, 4, RuntimeError),
        (TrainingError, 4, RuntimeError),
    ],
)
def test_each_error_leaves_with_its_code_one_line_and_a_note_for_the_launcher(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[AlignXError],
    code: int,
    refines: type[Exception],
) -> None:
    assert issubclass(error, refines)

    def fail(_: object) -> None:
        raise error("what went wrong")

    monkeypatch.setattr("alignx.prompts.validating.validate_source", fail)
    monkeypatch.setenv("ALIGNX_EXIT_FILE", str(tmp_path / "code"))
    assert in_process(capsys, "data", "validate", "--data", "d") == (
        code,
        "",
        "alignx data validate: error: what went wrong\n",
    )
    assert (tmp_path / "code").read_text() == str(code)


def test_an_interruption_leaves_with_130_and_says_that_work_continues(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("alignx.prompts.validating.validate_source", interrupt)
    code, _, err = in_process(capsys, "data", "validate", "--data", "d")
    assert code == 130
    assert err == "alignx data validate: interrupted; run the same command again\n"


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise KeyError("defect")

    monkeypatch.setattr("alignx.prompts.validating.validate_source", fail)
    with pytest.raises(KeyError, match="defect"):
        main(["data", "validate", "--data", "d"])


def test_a_missing_module_that_no_extra_brings_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise ModuleNotFoundError("No module named 'alignx.oven'", name="alignx.oven")

    monkeypatch.setattr("alignx.prompts.validating.validate_source", fail)
    with pytest.raises(ModuleNotFoundError, match=r"alignx\.oven"):
        main(["data", "validate", "--data", "d"])


def test_a_command_ends_the_group_of_processes_when_its_work_is_done(tmp_path: Path) -> None:
    """Else the group's threads abort a process now and then that has done everything."""
    import torch.distributed as group

    group.init_process_group("gloo", init_method=f"file://{tmp_path / 'rendezvous'}", rank=0, world_size=1)
    main(["data", "validate", "--data", str(write_jsonl(tmp_path / "records.jsonl", sample_records(2)))])
    assert not group.is_initialized()


def test_a_settings_value_that_a_script_has_decided_is_not_contradicted(capsys: pytest.CaptureFixture[str]) -> None:
    command = Command("", "alignx.evaluation.settings:ScoreSettings", "alignx.evaluation.scores:score")
    flags = ["--model", "m", "--data", "d", "--output", "o"]
    for extra, message in (
        (["--method", "pba"], "--method: got 'pba', but this script is for 'ica'"),
        (["--like", "a.jsonl"], "--like brings its own method; use eval/loss_few_shot.py --like"),
    ):
        with pytest.raises(SystemExit, match="2"):
            cli.run(command, [*flags, *extra], "loss_ica.py", method="ica")
        assert capsys.readouterr().err == f"loss_ica.py: error: {message}\n"


# data


def validate(capsys: pytest.CaptureFixture[str], data: Path, *flags: str) -> tuple[int, str, str]:
    return in_process(capsys, "data", "validate", "--data", str(data), *flags)


def written(path: Path, content: Any) -> Path:
    """Rows as a file of the path's kind, or text or bytes as they are."""
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    else:
        {".json": write_json, ".jsonl": write_jsonl, ".parquet": write_parquet}[path.suffix](path, content)
    return path


LINE = json.dumps(row())
WHOLE_FILE: dict[str, tuple[str, Any, str]] = {
    "a cut array": ("rows.json", f"[{LINE}, {LINE[:-9]}", "not valid JSON in row 2 "),
    "UTF-16": ("rows.jsonl", f"{LINE}\n".encode("utf-16"), "not UTF-8 near byte 0; save the file as UTF-8"),
    "Parquet without a footer": ("rows.parquet", b"PAR1" + b"\0" * 100, "not a whole Parquet file after row 0 ("),
    "an empty file": ("rows.jsonl", "", "the file is empty, expected records"),
    "another kind of file": (
        "rows.csv",
        "a,b\n",
        "unknown kind of file '.csv', expected one of .parquet, .json, .jsonl",
    ),
}
ROWS: dict[str, tuple[str, Any, str]] = {
    "a cut line": ("rows.jsonl", f"{LINE}\n{LINE[:-9]}", "rows.jsonl:2: not valid JSON at column "),
    "89 dimensions": (
        "rows.jsonl",
        [row(), row(**{DIRECTION: [0.5] * 89})],
        f"rows.jsonl:2: '{DIRECTION}' has 89 values, expected 90; ",
    ),
    "0.3": (
        "rows.parquet",
        [row(), row(**{DIRECTION: [0.5] * 89 + [0.3]})],
        f"rows.parquet: row 2: '{DIRECTION}' value 89 is 0.3, expected 0 (negative), 0.5 (neutral) or 1 (positive)",
    ),
    "NaN": (
        "rows.jsonl",
        [row(), row(**{DIRECTION: [math.nan] * 90})],
        f"rows.jsonl:2: '{DIRECTION}' value 0 is nan, expected 0 (negative)",
    ),
    "a number for text": (
        "rows.json",
        [row(), row(chosen=3)],
        "rows.json: row 2: 'chosen' is a number (3), expected text",
    ),
    "chosen equal to rejected": (
        "rows.jsonl",
        [row(), row(rejected="c")],
        "rows.jsonl:2: 'chosen' equals 'rejected', expected two different responses; ",
    ),
    "an id twice": (
        "rows.jsonl",
        [row(id="a"), row(id="a")],
        "rows.jsonl:2: 'id' 'a' was already used at rows.jsonl:1, expected a new one",
    ),
    "half a surrogate pair": (
        "rows.jsonl",
        f'{LINE}\n{{"prompt": "\\ud800", "chosen": "c", "rejected": "r"}}\n',
        "rows.jsonl:2: 'prompt' holds half a surrogate pair at character 0, expected Unicode text",
    ),
}


@pytest.mark.parametrize("what", ["a cut array", "Parquet without a footer", "UTF-16"])
def test_validating_a_file_that_cannot_be_read_is_refused_in_one_line_with_exit_code_3(
    tmp_path: Path, what: str
) -> None:
    name, content, expected = WHOLE_FILE[what]
    path = written(tmp_path / name, content)
    done = alignx("data", "validate", "--data", str(path))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"alignx data validate: error: {path}: {expected}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("what", ["a cut line", "89 dimensions", "half a surrogate pair"])
def test_validating_invalid_rows_lists_them_and_leaves_with_exit_code_3(tmp_path: Path, what: str) -> None:
    name, content, expected = ROWS[what]
    path = written(tmp_path / name, content)
    done = alignx("data", "validate", "--data", str(path))
    assert done.returncode == 3
    (listed,) = done.stdout.splitlines()
    assert listed.startswith(f"  {expected}")
    assert done.stderr == f"alignx data validate: error: {path}: 1 of 2 rows are invalid\n"


def test_validating_with_an_impossible_setting_leaves_with_exit_code_2() -> None:
    done = alignx("data", "validate", "--data", "rows.jsonl", "--skip-invalid", "-1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "alignx data validate: error: --skip-invalid: got '-1', expected greater than or equal to 0\n"
    )


@pytest.mark.parametrize("what", [*WHOLE_FILE, *ROWS])
def test_a_command_that_needs_the_records_is_refused_in_one_line_with_place_field_got_and_expected(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, what: str
) -> None:
    name, content, expected = {**WHOLE_FILE, **ROWS}[what]
    path = written(tmp_path / name, content)
    flags = ["--method", "ica", "--row", "2"]
    code, out, err = in_process(capsys, "data", "preview", "--data", str(path), *flags)
    assert (code, out) == (3, "")
    where = f"{path}: " if what in WHOLE_FILE else ""
    assert err.startswith(f"alignx data preview: error: {where}{expected}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("what", [*WHOLE_FILE, *ROWS])
def test_validating_says_the_same_of_every_kind_of_bad_input(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, what: str
) -> None:
    name, content, expected = {**WHOLE_FILE, **ROWS}[what]
    code, out, err = validate(capsys, written(tmp_path / name, content))
    assert code == 3
    assert expected in (err if what in WHOLE_FILE else out)
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.parquet", "rows"])
def test_validating_a_missing_path_is_a_data_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    code, out, err = validate(capsys, tmp_path / name)
    assert (code, out) == (3, "")
    assert err == f"alignx data validate: error: {tmp_path / name}: no such file or folder\n"


def test_validating_good_records_counts_their_parts(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = [row(), row(**{DIRECTION: [0.5] * 90}), row(user="u", profile="Young", **{"Demographic Information": "d"})]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    assert validate(capsys, path) == (
        0,
        f"{path}: 3 valid records, 0 invalid rows; records with comments 0, choices 0, demographics 1, "
        "ready profile 1, own direction 1, user 1\n",
        "",
    )


def test_validating_allows_as_many_invalid_rows_as_are_set_and_no_more(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [row(), row(prompt=""), row(chosen=""), row()])
    code, out, err = validate(capsys, path, "--skip-invalid", "2")
    assert (code, err) == (0, "")
    assert "2 valid records, 2 invalid rows" in out
    assert "  rows.jsonl:2: 'prompt' is empty" in out
    assert "  rows.jsonl:3: 'chosen' is empty" in out
    code, _, err = validate(capsys, path, "--skip-invalid", "1")
    assert (code, err) == (3, f"alignx data validate: error: {path}: 2 of 4 rows are invalid\n")


def test_validating_shows_some_problems_and_counts_all(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [row(), *[row(prompt="")] * 7])
    code, out, err = validate(capsys, path, "--show", "3")
    assert (code, out.count("'prompt' is empty"), out.splitlines()[-1]) == (3, 3, "  … and 4 more")
    assert "7 of 8 rows are invalid" in err


def test_validating_counts_each_row_once_when_none_is_valid(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [row(prompt="")] * 2)
    code, _, err = validate(capsys, path)
    assert (code, err) == (3, f"alignx data validate: error: {path}: 2 of 2 rows are invalid\n")


def test_validating_refuses_a_source_of_skipped_rows_alone_as_every_other_command_does(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [row(prompt="")] * 2)
    code, _, err = validate(capsys, path, "--skip-invalid", "2")
    assert (code, err.count("\n")) == (3, 1)
    assert err.startswith(f"alignx data validate: error: {path}: ")


def test_validating_names_fields_that_mean_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = validate(capsys, write_jsonl(tmp_path / "rows.jsonl", [row(Prompt="?"), row(profile_full="?")]))
    assert code == 0
    assert "  note: fields that mean nothing here and were not used: 'Prompt' (1 rows)\n" in out


def test_a_field_whose_name_is_half_a_surrogate_pair_is_named_without_a_traceback(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.jsonl", LINE[:-1] + ', "x\\ud800": 1}\n')
    done = alignx("data", "validate", "--data", str(path))
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 3)


def test_validating_chooses_a_split_and_refuses_to_guess_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_parquet(tmp_path / "train.parquet", [row()] * 2)
    write_parquet(tmp_path / "test.parquet", [row()])
    assert validate(capsys, tmp_path)[0] == 3
    assert "2 valid records" in validate(capsys, tmp_path, "--split", "train")[1]
    assert "1 valid records" in validate(capsys, tmp_path, "--split", "test")[1]
    assert "1 valid records" in validate(capsys, tmp_path, "--split", "train", "--limit", "1")[1]


def test_validating_takes_another_taxonomy_from_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    table = written(tmp_path / "table.csv", "index,group,positive,negative\n0,g,Dry,Wet\n")
    path = write_jsonl(tmp_path / "rows.jsonl", [row(**{DIRECTION: [1]})])
    assert validate(capsys, path, "--taxonomy", str(table))[0] == 0
    assert validate(capsys, path)[0] == 3
    code, _, err = validate(capsys, path, "--taxonomy", str(tmp_path / "missing.csv"))
    assert (code, err.count("\n")) == (3, 1)
    assert f"{tmp_path / 'missing.csv'}: cannot read the taxonomy: " in err
