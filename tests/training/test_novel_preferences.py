"""New named dimensions: a checkpoint goes on learning on records whose taxonomy has more of them (paper Table 5)."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from alignx import manifest
from alignx.errors import AlignXError, DataError
from alignx.evaluation.accuracy import compare_files
from alignx.evaluation.grid import evaluate
from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.outcomes import Outcome, compare_all, margins
from alignx.evaluation.scores import score
from alignx.intervals import Estimate, clustered_mean
from alignx.manifest import Manifest
from alignx.models.loading import find_model
from alignx.prompts import choose_condition, load_tokenizer
from alignx.prompts.preparing import PrepareSettings, prepare
from alignx.prompts.previewing import PreviewSettings, preview
from alignx.records import load_taxonomy
from alignx.records.world.synthesize import SynthesizeSettings, synthesize
from alignx.settings import read_yaml, validate
from alignx.training import checkpoints
from alignx.training.run import train
from tests.evaluation.conftest import cell, evaluation
from tests.evaluation.conftest import settings as scoring
from tests.test_readme import commands_of, understood
from tests.training.prepared_rows import rows_of
from tests.training.runs import settings

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "data/taxonomies/humor-pragmatism.csv"
NEW_PHRASES = ("Values humor", "Values earnestness", "Values pragmatism", "Values idealism")
SHORT: dict[str, Any] = {"comments": 2, "choices": 1, "described": 0, "mentions": (1.0,), "train": 24, "test": 12}
TAKEN_OVER = {"method", "preset", "positive", "negative"}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world of four interests, one of the two new dimensions alone, and the latter's table with a phrase changed."""
    folder = tmp_path_factory.mktemp("worlds")
    synthesize(SynthesizeSettings(output=folder / "old", dimensions="47,49,50,52", active=(2, 2), **SHORT))
    synthesize(
        SynthesizeSettings(output=folder / "new", dimensions="90,91", active=(1, 2), taxonomy=EXTENSION, **SHORT)
    )
    (folder / "renamed.csv").write_text(EXTENSION.read_text().replace("Values humor", "Values wit"))
    return folder


@dataclass(frozen=True)
class Chain:
    """Two runs, the second from the checkpoint of the first."""

    before: Path
    after: Path
    method: str


@pytest.fixture(scope="module", params=["ica", "pba"])
def chain(request: pytest.FixtureRequest, worlds: Path, tiny_model: Path) -> Chain:
    """Trained on the old world in a preset and with a threshold that are nobody's default, then on the new one."""
    method = request.param
    unusual = {"preset": "released-train", "positive": "0.7"}
    before = train(settings(tiny_model, worlds / "old/train.jsonl", worlds / method, method=method, **unusual))
    after = worlds / f"{method}-novel"
    train(settings(before, worlds / "new/train.jsonl", after, method=method, taxonomy=EXTENSION))
    return Chain(before, after, method)


# Training goes on.


def test_a_continued_run_takes_over_the_condition_and_says_its_taxonomy_and_where_it_came_from(
    chain: Chain, tiny_model: Path
) -> None:
    before, after = manifest.read(chain.before), manifest.read(chain.after)
    assert before.condition is not None
    assert after.condition is not None
    assert {name: after.condition[name] for name in TAKEN_OVER} == {name: before.condition[name] for name in TAKEN_OVER}
    assert (after.condition["preset"], after.condition["positive"]) == ("released-train", "0.7")
    assert after.condition_reason == "as its checkpoint records"
    assert before.taxonomy == load_taxonomy().digest
    assert after.taxonomy == load_taxonomy(EXTENSION).digest != before.taxonomy
    assert after.model is not None
    assert after.model.digest == find_model(str(chain.before)).identity().digest
    assert after.model.trained_from == find_model(str(tiny_model)).identity().digest
    assert find_model(str(chain.after)).identity().digest not in (after.model.digest, after.model.trained_from)


def test_going_on_by_the_other_method_is_warned_of(chain: Chain) -> None:
    other = {"ica": "pba", "pba": "ica"}[chain.method]
    (warning,) = choose_condition(str(chain.before), {"method": other}).warnings
    assert warning == f"--method {other} contradicts the checkpoint, which was made with {chain.method}"


def test_pba_is_told_the_new_dimensions_in_words_and_ica_their_users_own_words(chain: Chain) -> None:
    tokenizer = load_tokenizer(str(chain.after))
    prompts = [
        tokenizer.decode(ids) for ids in rows_of(chain.after, load_taxonomy(EXTENSION))["prompt_ids"].to_pylist()
    ]
    assert len(prompts) == SHORT["train"]
    found = {phrase for phrase in NEW_PHRASES for prompt in prompts if phrase in prompt}
    if chain.method == "pba":
        assert found == set(NEW_PHRASES)
        assert all(any(phrase in prompt for phrase in NEW_PHRASES) for prompt in prompts)
    else:
        assert not found
        assert any("slip a joke into every second line" in prompt for prompt in prompts)


def test_a_preview_takes_the_taxonomy(worlds: Path) -> None:
    text = preview(PreviewSettings(data=str(worlds / "new/test.jsonl"), method="pba", taxonomy=EXTENSION))
    assert any(phrase in text for phrase in NEW_PHRASES)


def test_records_of_more_dimensions_are_refused_without_their_taxonomy(worlds: Path, tiny_model: Path) -> None:
    with pytest.raises(DataError, match="'Preference Direction' has 92 values, expected 90"):
        train(settings(tiny_model, worlds / "new/train.jsonl", worlds / "refused"))
    with pytest.raises(DataError, match="'Preference Direction' has 92 values, expected 90"):
        score(scoring(tiny_model, worlds / "new/test.jsonl", worlds / "refused.jsonl"))


# Scores and reports.


def test_policy_and_reference_under_the_same_taxonomy_are_compared(
    chain: Chain, worlds: Path, tiny_model: Path, tmp_path: Path
) -> None:
    data, policy, reference = worlds / "new/test.jsonl", tmp_path / "policy.jsonl", tmp_path / "reference.jsonl"
    score(scoring(chain.after, data, policy, method=chain.method, taxonomy=EXTENSION))
    score(scoring(chain.before, data, reference, like=policy, taxonomy=EXTENSION))
    found = compare_files(policy, reference)
    assert found.accuracy.n == SHORT["test"]
    assert found.accuracy.ties < found.accuracy.n
    assert found.of_policy.taxonomy == load_taxonomy(EXTENSION).digest
    assert not found.accuracy.notes  # the reference is the very model that training began with
    score(scoring(tiny_model, data, tmp_path / "base.jsonl", like=policy, taxonomy=EXTENSION))
    (note,) = compare_files(policy, tmp_path / "base.jsonl").accuracy.notes
    assert note == "the reference is not the model that the policy was trained from"


def test_policy_and_reference_under_different_taxonomies_are_refused_by_name(
    chain: Chain, worlds: Path, tmp_path: Path
) -> None:
    data, policy, reference = worlds / "new/test.jsonl", tmp_path / "policy.jsonl", tmp_path / "reference.jsonl"
    score(scoring(chain.after, data, policy, method=chain.method, taxonomy=EXTENSION))
    score(scoring(chain.before, data, reference, like=policy, taxonomy=worlds / "renamed.csv"))
    with pytest.raises(DataError, match=r"differ in taxonomy \(.* against .*\); score the reference again with --like"):
        compare_files(policy, reference)


def test_unfinished_scores_of_another_taxonomy_are_refused_by_name(chain: Chain, worlds: Path, tmp_path: Path) -> None:
    data, output = worlds / "new/test.jsonl", tmp_path / "scores.jsonl"
    score(scoring(chain.after, data, output, method=chain.method, taxonomy=EXTENSION))
    with pytest.raises(DataError, match=r"holds scores of something else, which differs in taxonomy \("):
        score(scoring(chain.after, data, output, method=chain.method, taxonomy=worlds / "renamed.csv"))


def test_a_report_takes_the_taxonomy(chain: Chain, worlds: Path, tiny_model: Path, tmp_path: Path) -> None:
    policies = [
        {"name": "Before", "model": chain.before.name, "method": chain.method},
        {"name": "After", "model": chain.after.name, "method": chain.method},
    ]
    cells = [cell("own", "new/test.jsonl"), cell("other", "new/test.jsonl", persona="other")]
    wanted = {"policies": policies, "reference": str(tiny_model), "world": "new", "taxonomy": EXTENSION}
    evaluate(evaluation(worlds, tmp_path / "report", *cells, **wanted))
    rows = json.loads((tmp_path / "report/results.json").read_text())
    assert [(row["policy"], row["label"], row["n"]) for row in rows] == [
        (name, label, SHORT["test"]) for name in ("Before", "After") for label in ("own", "other")
    ]
    page = (tmp_path / "report/report.md").read_text()
    assert any(phrase in page for phrase in NEW_PHRASES)
    with pytest.raises(DataError, match="has 92 values, expected 90"):
        evaluate(evaluation(worlds, tmp_path / "refused", *cells, **{**wanted, "taxonomy": None}))


# Another taxonomy is another run.


def test_the_same_run_under_another_taxonomy_is_refused_by_name(chain: Chain, worlds: Path) -> None:
    changed = settings(
        chain.before, worlds / "new/train.jsonl", chain.after, method=chain.method, taxonomy=worlds / "renamed.csv"
    )
    with pytest.raises(DataError, match=r"holds another run, which differs in taxonomy \("):
        train(changed)


def test_the_same_taxonomy_in_another_file_is_the_same_run(chain: Chain, worlds: Path) -> None:
    copied = Path(shutil.copy(EXTENSION, worlds / "copied.csv"))
    made = (chain.after / "model.safetensors").stat().st_mtime_ns
    train(settings(chain.before, worlds / "new/train.jsonl", chain.after, method=chain.method, taxonomy=copied))
    assert (chain.after / "model.safetensors").stat().st_mtime_ns == made


def test_a_checkpoint_is_not_resumed_under_another_taxonomy_whatever_its_file_is_called() -> None:
    def of(taxonomy: str, file: str) -> Manifest:
        return Manifest(kind="training-state", taxonomy=taxonomy, settings={"taxonomy": file}, counts={"world_size": 1})

    saved = of("a" * 64, "table.csv")
    assert checkpoints.differences(saved, of("b" * 64, "table.csv"), 1).keys() == {"taxonomy"}
    assert checkpoints.differences(saved, of("a" * 64, "elsewhere/table.csv"), 1) == {}


def test_training_and_held_out_records_prepared_under_different_taxonomies_are_refused(
    worlds: Path, tiny_model: Path, tmp_path: Path
) -> None:
    for name, split, taxonomy in (("a", "train", EXTENSION), ("b", "test", worlds / "renamed.csv")):
        data = str(worlds / f"new/{split}.jsonl")
        prepare(
            PrepareSettings(model=str(tiny_model), data=data, output=tmp_path / name, method="pba", taxonomy=taxonomy)
        )
    wanted = settings(tiny_model, tmp_path / "a", tmp_path / "out", method="pba", eval_data=str(tmp_path / "b"))
    with pytest.raises(AlignXError, match="taxonomy"):
        train(wanted)


def test_an_adapter_to_go_on_from_is_refused_until_it_is_merged(worlds: Path, tiny_model: Path, tmp_path: Path) -> None:
    adapter = train(settings(tiny_model, worlds / "old/train.jsonl", tmp_path / "adapter", lora_rank=2))
    with pytest.raises(AlignXError, match=r"adapter.*alignx merge"):
        train(settings(adapter, worlds / "new/train.jsonl", tmp_path / "novel", taxonomy=EXTENSION))
    assert not (tmp_path / "novel").exists()


# The page that shows it.

PAGE = "docs/novel-preferences.md"


def commands() -> str:
    """The page's commands, as one script."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / PAGE).read_text(encoding="utf-8"), re.DOTALL)
    return "\n".join(blocks)


def test_every_command_of_the_page_is_understood() -> None:
    assert sum(understood(words) for words in commands_of(PAGE)) >= 9


Outcomes = dict[tuple[str, str], Outcome]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """What the page's commands give, run as they stand but for the folder: policy and row → outcome."""
    folder = tmp_path_factory.mktemp("shown")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands().replace("out/novel", str(folder))],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    chosen = {"root": folder, "output": folder / "report", "taxonomy": EXTENSION}
    found = compare_all(validate(EvaluateSettings, {**read_yaml(ROOT / "configs/eval/novel.yaml"), **chosen}))
    return {(outcome.policy.name, outcome.cell.label): outcome for outcome in found}


def gained(before: Outcome, after: Outcome) -> Estimate:
    """How much more often a second policy is right than a first one, record by record."""
    ones, others = (margins(outcome.scores, outcome.reference) for outcome in (before, after))
    assert ones.keys() == others.keys()
    values = [float(others[name] > 0) - float(ones[name] > 0) for name in ones]
    return clustered_mean(values, [before.scores[name].cluster for name in ones], bounds=None)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ICA", "PBA"])
def test_a_checkpoint_learns_dimensions_that_it_was_not_trained_on(shown: Outcomes, method: str) -> None:
    """About 300 s for both methods."""
    before = shown[f"{method} before", "new dimensions, not seen yet"]
    after = shown[f"{method} after", "new dimensions"]
    other = shown[f"{method} after", "new dimensions, another user's persona"]
    gain = gained(before, after)
    kept = gained(shown[f"{method} before", "old dimensions"], shown[f"{method} after", "old dimensions"])
    print(f"{method} before: {before.found.accuracy}; after: {after.found.accuracy}; other: {other.found.accuracy}")
    print(f"{method} new dimensions, gained: {gain}; old dimensions, gained: {kept}")
    assert after.found.n == before.found.n == 320
    assert before.found.accuracy.low < 0.55
    assert after.found.accuracy.low > 0.65
    assert other.found.accuracy.low <= 0.5
    assert gain.low > 0.1
    assert kept.low > -0.2
