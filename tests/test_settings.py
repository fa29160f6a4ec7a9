"""Settings: one declaration, four sources in order of strength, and refusals that name the setting."""

from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from alignx.errors import SettingsError
from alignx.settings import Settings, parse, read_yaml, required, setting, validate
from alignx.training.settings import TrainSettings

ROOT = Path(__file__).resolve().parents[1]

PUBLISHED: dict[str, Any] = {
    # paper C.2 and the released code
    "model": "meta-llama/Llama-3.1-8B-Instruct",
    "data": "JinaLeejnl/AlignX",
    "learning_rate": 5e-7,
    "adam_beta1": 0.9,
    "adam_beta2": 0.95,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "min_lr_ratio": 0.1,
    "warmup_ratio": 0.1,
    "beta": 0.1,
    "global_batch": 128,
    "micro_batch": 2,
    "epochs": 1,
    "seed": 42,
    "max_length": 8192,
    "history": "sampled",
    "gradient_checkpointing": True,
}


class Kettle(Settings):
    """Boil water."""

    reads_config: ClassVar[bool] = True

    water: float = required("Litres.", gt=0)
    cups: int = setting(1, "Cups to fill.", ge=1, le=12)
    colour: Literal["red", "blue"] = setting("red", "Of the kettle.", source="the box")
    loud: bool = setting(False, "Whistle.")
    lid_open: str | None = setting(None, "Since when.")


def stored(folder: Path, text: str) -> str:
    path = folder / "kettle.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def refusal(*argv: str, model: type[Settings] = Kettle) -> str:
    """The one line with which a command line is refused."""
    with pytest.raises(SettingsError) as caught:
        parse(model, argv, "kettle")
    message = str(caught.value)
    assert "\n" not in message
    return message


# precedence


def test_broken_json_names_its_flag() -> None:
    from alignx.evaluation.grid_settings import EvaluateSettings

    with pytest.raises(SettingsError, match=r"^--policies: not valid JSON: "):
        parse(EvaluateSettings, ["--output", "o", "--policies", '[{"name": "x"', "--reference", "r"], "alignx")


@pytest.mark.parametrize(("file", "environment", "flag"), list(product([False, True], repeat=3)))
def test_a_flag_is_stronger_than_the_environment_the_file_and_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: bool, environment: bool, flag: bool
) -> None:
    argv = ["--water", "1.5"]
    if file:
        argv += ["--config", stored(tmp_path, "cups: 2\n")]
    if environment:
        monkeypatch.setenv("ALIGNX_CUPS", "3")
    if flag:
        argv += ["--cups", "4"]
    expected = 4 if flag else 3 if environment else 2 if file else 1
    assert parse(Kettle, argv, "kettle").cups == expected


@pytest.mark.parametrize(
    "argv", [["--cups", "4", "--config", "{}"], ["--config", "{}", "--cups", "4"], ["--config={}", "--cups=4"]]
)
def test_a_flag_is_stronger_than_the_file_wherever_it_stands(tmp_path: Path, argv: list[str]) -> None:
    path = stored(tmp_path, "cups: 2\nwater: 1\n")
    assert parse(Kettle, [word.format(path) for word in argv], "kettle").cups == 4


def test_each_setting_comes_from_the_strongest_source_that_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stored(tmp_path, "water: 0.3\ncups: 2\ncolour: blue\n")
    monkeypatch.setenv("ALIGNX_CUPS", "3")
    monkeypatch.setenv("ALIGNX_LID_OPEN", "noon")
    found = parse(Kettle, ["--config", path, "--loud"], "kettle")
    assert found == Kettle(water=0.3, cups=3, colour="blue", loud=True, lid_open="noon")
    assert found.model_fields_set == {"water", "cups", "colour", "loud", "lid_open"}


def test_only_what_was_said_counts_as_set() -> None:
    assert parse(Kettle, ["--water", "1"], "kettle").model_fields_set == {"water"}


def test_a_flag_may_switch_off_what_the_file_switches_on(tmp_path: Path) -> None:
    path = stored(tmp_path, "water: 1\nloud: true\n")
    assert parse(Kettle, ["--config", path], "kettle").loud
    assert not parse(Kettle, ["--config", path, "--no-loud"], "kettle").loud


@pytest.mark.parametrize("written", ["5e-7", "5E-7", "5.0e-7", "0.0000005", '"5e-7"'])
def test_a_small_number_in_yaml_is_a_number(tmp_path: Path, written: str) -> None:
    # YAML 1.1 takes 5e-7 for text, since its numbers need a dot
    found = parse(Kettle, ["--config", stored(tmp_path, f"water: {written}\n")], "kettle").water
    assert isinstance(found, float)
    assert found == 5e-7


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Kettle(water=1).cups = 3  # type: ignore[misc]


# unknown names


@pytest.mark.parametrize("written", ["--cup", "--cup=3", "--cpus"])
def test_an_unknown_flag_is_refused_with_the_nearest(written: str) -> None:
    assert refusal("--water", "1", written) == (f"unknown setting {written.split('=')[0]!r}; did you mean '--cups'?")


def test_an_unknown_flag_like_no_other_is_refused_with_all() -> None:
    message = refusal("--zzz")
    assert message.startswith("unknown setting '--zzz'; known: ")
    for flag in ("--config", "--water", "--cups", "--colour", "--loud", "--lid-open"):
        assert flag in message


def test_a_flag_is_not_shortened() -> None:
    assert "unknown setting '--wat'" in refusal("--wat", "1")


def test_a_word_that_belongs_to_no_flag_is_refused() -> None:
    assert refusal("--water", "1", "boil").startswith("unknown setting 'boil'")


def test_an_unknown_name_in_the_file_is_refused_with_the_file_and_the_nearest(tmp_path: Path) -> None:
    path = stored(tmp_path, "water: 1\ncusp: 2\n")
    assert refusal("--config", path) == f"{path}: unknown setting 'cusp'; did you mean 'cups'?"


def test_a_flags_spelling_in_the_file_is_refused_with_the_settings_own(tmp_path: Path) -> None:
    path = stored(tmp_path, "lid-open: noon\n")
    assert refusal("--config", path) == f"{path}: unknown setting 'lid-open'; did you mean 'lid_open'?"


@pytest.mark.parametrize("name", ["1", "on", "2026-01-01", "null"])
def test_a_name_in_the_file_that_yaml_takes_for_no_text_is_refused(tmp_path: Path, name: str) -> None:
    path = stored(tmp_path, f"{name}: 2\n")
    assert refusal("--config", path).startswith(f"{path}: unknown setting ")


def test_a_command_that_reads_no_file_refuses_one() -> None:
    class Cup(Settings):
        """Hold water."""

        full: bool = setting(False, "To the brim.")

    assert "unknown setting '--config'" in refusal("--config", "kettle.yaml", model=Cup)


# impossible values


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--water", "0"], "--water: got '0', expected greater than 0"),
        (["--water", "-1"], "--water: got '-1', expected greater than 0"),
        (["--water", "much"], "--water: got 'much', expected a valid number"),
        (["--water", "1", "--cups", "0"], "--cups: got '0', expected greater than or equal to 1"),
        (["--water", "1", "--cups", "13"], "--cups: got '13', expected less than or equal to 12"),
        (["--water", "1", "--cups", "1.5"], "--cups: got '1.5', expected a valid integer"),
        (["--water", "1", "--colour", "green"], "--colour: got 'green', expected 'red' or 'blue'"),
        (["--cups", "2"], "--water is required: Litres."),
        (["--water"], "argument --water: expected one argument"),
    ],
)
def test_an_impossible_flag_is_refused_with_what_was_given_and_what_is_possible(argv: list[str], expected: str) -> None:
    assert refusal(*argv).startswith(expected)


def test_all_problems_are_said_at_once() -> None:
    assert refusal("--cups", "0", "--colour", "green").split("; ") == [
        "--water is required: Litres.",
        "--cups: got '0', expected greater than or equal to 1",
        "--colour: got 'green', expected 'red' or 'blue'",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("water: -1\n", "--water: got -1, expected greater than 0"),
        ("water: much\n", "--water: got 'much', expected a valid number"),
        ("water: [1]\n", "--water: got [1], expected a valid number"),
        ("water: null\n", "--water: got None, expected a valid number"),
        ("water: 1\ncups: 1.5\n", "--cups: got 1.5, expected a valid integer"),
        ("water: 1\nlid_open: 12\n", "--lid-open: got 12, expected a valid string"),
        ("water: 1\nloud: perhaps\n", "--loud: got 'perhaps', expected a valid boolean"),
    ],
)
def test_an_impossible_value_in_the_file_is_refused_with_the_file(tmp_path: Path, text: str, expected: str) -> None:
    path = stored(tmp_path, text)
    assert refusal("--config", path).startswith(f"{path}: {expected}")


@pytest.mark.parametrize("text", ["water: true\n", "water: 1\ncups: true\n"])
def test_a_truth_value_is_no_number(tmp_path: Path, text: str) -> None:
    path = stored(tmp_path, text)
    assert refusal("--config", path).startswith(
        f"{path}: --{'cups' if 'cups' in text else 'water'}: got True, expected "
    )


def test_the_file_is_not_blamed_for_what_a_flag_says(tmp_path: Path) -> None:
    path = stored(tmp_path, "water: 1\ncups: 2\n")
    assert refusal("--config", path, "--cups", "99") == "--cups: got '99', expected less than or equal to 12"


def test_an_impossible_value_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNX_CUPS", "99")
    assert "got '99', expected less than or equal to 12" in refusal("--water", "1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ": found NoneType, expected `name: value` lines"),
        ("- water\n", ": found list, expected `name: value` lines"),
        ("water\n", ": found str, expected `name: value` lines"),
        ("water: [1\n", ": not valid YAML: "),
        ("water: 1\n\tcups: 2\n", ": not valid YAML: "),
    ],
)
def test_a_file_that_holds_no_settings_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    path = stored(tmp_path, text)
    assert refusal("--config", path).startswith(path + expected)


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    assert refusal("--config", str(missing)) == f"{missing}: cannot read the settings file: No such file or directory"
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"water: \xff\n")
    assert refusal("--config", str(binary)).startswith(f"{binary}: not valid YAML: ")


def test_a_config_flag_without_a_file_is_refused_like_any_other_flag() -> None:
    assert refusal("--water", "1", "--config") == "argument --config: expected one argument"


def test_values_from_a_program_are_refused_in_the_same_words() -> None:
    with pytest.raises(SettingsError, match=r"^--cups: got 0, expected greater than or equal to 1$"):
        validate(Kettle, {"water": 1, "cups": 0})
    with pytest.raises(SettingsError, match=r"^unknown setting 'cusp'; did you mean 'cups'\?$"):
        validate(Kettle, {"water": 1, "cusp": 2})


# training's own


def train(*argv: str) -> str:
    return refusal("--model", "m", "--data", "d", "--output", "o", "--method", "ica", *argv, model=TrainSettings)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--beta", "-0.1"], "--beta: got '-0.1', expected greater than 0"),
        (["--beta", "0"], "--beta: got '0', expected greater than 0"),
        (["--beta", "nan"], "--beta: got 'nan', expected "),
        (["--learning-rate", "inf"], "--learning-rate: got 'inf', expected "),
        (["--global-batch", "0"], "--global-batch: got '0', expected greater than 0"),
        (["--micro-batch", "0"], "--micro-batch: got '0', expected greater than 0"),
        (["--global-batch", "many"], "--global-batch: got 'many', expected a valid integer"),
        (["--preset", "papers"], "--preset: got 'papers', expected 'paper', 'released-train' or 'released-eval'"),
        (["--method", "dpo"], "--method: got 'dpo', expected 'ica' or 'pba'"),
        (["--history", "-1"], "--history: got '-1', expected greater than or equal to 0"),
        (["--learning-rate", "0"], "--learning-rate: got '0', expected greater than 0"),
        (["--adam-beta2", "1"], "--adam-beta2: got '1', expected less than 1"),
        (["--warmup-ratio", "1"], "--warmup-ratio: got '1', expected less than 1"),
        (["--min-lr-ratio", "2"], "--min-lr-ratio: got '2', expected less than or equal to 1"),
        (["--label-smoothing", "0.5"], "--label-smoothing: got '0.5', expected less than 0.5"),
        (["--loss-type", "dpo"], "--loss-type: got 'dpo', expected 'sigmoid', 'hinge'"),
        (["--max-length", "0"], "--max-length: got '0', expected greater than 0"),
        (["--betta", "1"], "unknown setting '--betta'; did you mean '--beta'?"),
    ],
)
def test_an_impossible_training_run_is_refused(argv: list[str], expected: str) -> None:
    assert train(*argv).startswith(expected)


def test_two_settings_that_exclude_each_other_are_refused_by_their_names_alone() -> None:
    message = train("--eval-rows", "3", "--eval-data", "held-out.jsonl")
    assert "--eval-rows and --eval-data exclude each other" in message
    assert "--settings" not in message  # there is no such flag
    assert "got {" not in message


# the shipped files


@pytest.mark.parametrize("name", ["ica", "pba"])
def test_the_training_file_of_each_method_states_exactly_the_published_run(name: str) -> None:
    path = ROOT / "configs/train" / f"{name}.yaml"
    found = parse(TrainSettings, ["--config", str(path)], "train")
    stated = found.model_dump(mode="json", exclude_unset=True)
    assert stated == {**PUBLISHED, "method": name, "output": f"out/alignx-{name}"}
    assert set(read_yaml(path)) == set(stated)


@pytest.mark.parametrize("path", sorted((ROOT / "configs/train").glob("*.yaml")), ids=lambda path: path.name)
def test_every_training_file_loads(path: Path) -> None:
    parse(TrainSettings, ["--config", str(path), "--model", "m", "--data", "d", "--output", "o"], "train")


def test_the_defaults_are_the_published_run_too() -> None:
    found = parse(TrainSettings, ["--model", "m", "--data", "d", "--output", "o"], "train")
    optional = {name: value for name, value in PUBLISHED.items() if name not in ("model", "data", "seed", "max_length")}
    assert found.model_dump(include=set(optional)) == optional
    assert (found.seed, found.max_length) == (None, None)  # the checkpoint's, else the condition's:
    from alignx.prompts import Condition

    condition = Condition(method="ica", **found.wanted())
    assert (condition.seed, condition.max_length) == (PUBLISHED["seed"], PUBLISHED["max_length"])


def test_a_flag_wins_over_a_shipped_file(monkeypatch: pytest.MonkeyPatch) -> None:
    config = str(ROOT / "configs/train/ica.yaml")
    monkeypatch.setenv("ALIGNX_BETA", "0.2")
    monkeypatch.setenv("ALIGNX_GLOBAL_BATCH", "64")
    found = parse(TrainSettings, ["--config", config, "--global-batch", "16"], "train")
    assert (found.beta, found.global_batch, found.learning_rate) == (0.2, 16, 5e-7)
