"""Model cards: everything that was recorded, and nothing else."""

import json
import math
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from alignx import manifest
from alignx.errors import DataError
from alignx.evaluation.accuracy import accuracy, compare
from alignx.evaluation.outcomes import scores_of
from alignx.evaluation.settings import AccuracySettings
from alignx.manifest import DataIdentity, Manifest, ModelIdentity
from alignx.prompts import Condition
from alignx.training.card_origin import marked, origin
from alignx.training.measured import weights_digest
from alignx.training.model_card import _code, _text, reminders
from alignx.training.publish_settings import PublishSettings
from alignx.training.publishing import publish
from tests.evaluation.conftest import cell, evaluation
from tests.evaluation.test_accuracy import CONDITION, POLICY, REFERENCE, write
from tests.test_readme import understood
from tests.training.finished_runs import COMMIT, COUNTS, JOES, LLAMA, METRICS, change_manifest, finished_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return finished_run(tmp_path / "run")


def card_of(folder: Path, **settings: Any) -> str:
    """The card that publishing without pushing writes."""
    publish(PublishSettings(model=folder, **settings))
    return (folder / "README.md").read_text(encoding="utf-8")


def front_of(card: str) -> dict[str, Any]:
    """The YAML that the hub reads."""
    _, front, _ = card.split("---\n", 2)
    found = yaml.safe_load(front)
    assert isinstance(found, dict)
    return found


def section(card: str, title: str) -> str:
    """The text under a heading, up to the next."""
    return card.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows_of(text: str) -> list[list[str]]:
    """The cells of a section's tables."""
    return [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in text.splitlines() if line[:1] == "|"]


# What the hub reads.


def test_the_front_matter_of_a_run_on_a_hub_model_is_what_the_hub_knows(tmp_path: Path) -> None:
    card = card_of(
        finished_run(tmp_path / "run", on_hub=True),
        repo="joe/Llama-ica",
        license="llama3.1",
        language="en",
        dataset="JinaLeejnl/AlignX",
    )
    assert front_of(card) == {
        "license": "llama3.1",
        "language": ["en"],
        "base_model": LLAMA,
        "base_model_relation": "finetune",
        "datasets": ["JinaLeejnl/AlignX"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["alignx", "ica", "dpo", "trl"],
    }


def test_nothing_that_was_not_recorded_or_said_is_in_the_front_matter(run: Path) -> None:
    found = front_of(card_of(run))
    assert found.keys() == {"library_name", "pipeline_tag", "tags"}, "base and data were folders of a machine"


def test_an_adapter_is_one_and_names_its_base(tmp_path: Path) -> None:
    card = card_of(finished_run(tmp_path / "run", adapter=True, on_hub=True))
    found = front_of(card)
    assert (found["library_name"], found["base_model"], found["base_model_relation"]) == ("peft", LLAMA, "adapter")
    assert "lora" in found["tags"]
    assert f"they need their base, `{LLAMA}`" in section(card, "How to use it")
    assert ["`lora_rank`", "`64`"] in [row[:2] for row in rows_of(section(card, "Procedure"))]


def test_an_adapter_whose_base_nobody_can_find_says_how_to_give_it(tmp_path: Path) -> None:
    card = card_of(finished_run(tmp_path / "run", adapter=True))
    assert "give `--base FOLDER`" in section(card, "How to use it")


def test_the_hub_client_reads_the_card(tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard(card_of(finished_run(tmp_path / "run", on_hub=True), license="llama3.1"))
    assert card.data.base_model == LLAMA
    assert card.data.license == "llama3.1"
    assert card.text.lstrip().startswith("<!-- made by alignx publish")


# What was recorded.


@pytest.mark.parametrize("method", ["ica", "pba"])
def test_the_card_says_how_it_was_trained_on_what(tmp_path: Path, method: str) -> None:
    card = card_of(finished_run(tmp_path / "run", method=method, on_hub=True))
    data = section(card, "Training data and licences")
    assert "1,031 read, 7 skipped as invalid or too long" in data
    assert "Trained on 1,024; held out 3; left over, not filling a batch, 4" in data
    assert "12 of 1031 prompts were too long: 34 oldest history items and 5 descriptions were left out" in data
    assert "6 of 1031 prompts say nothing about the user" in data
    procedure = section(card, "Procedure")
    assert procedure.lstrip().startswith("Optimiser steps: 2; processes: 8. ")
    assert "The policy read each prompt once for both responses." in procedure
    told = {row[0]: row[1] for row in rows_of(procedure) if len(row) == 2}
    assert told["`method`"] == f"`{method}`"
    assert (told["`preset`"], told["`history`"], told["`max_length`"]) == ("`paper`", "`sampled`", "`8192`")
    assert "the default: the model records no preset" in procedure
    origin_of = {row[0]: row[1] for row in rows_of(section(card, "Provenance"))}
    assert origin_of["base's revision"] == f"`{COMMIT}`"
    assert (origin_of["base's weights"], origin_of["records"]) == (f"`{'b' * 64}`", f"`{'d' * 64}`")
    assert "alignx 0.1.0, trl 1.16.0" in section(card, "Provenance")


def test_every_recorded_setting_stands_with_its_value_and_meaning(run: Path) -> None:
    rows = {row[0]: row[1:] for row in rows_of(section(card_of(run), "Procedure")) if len(row) == 3}
    assert rows["`beta`"] == ["`0.1`", "Strength of the pull towards the reference."]
    assert rows["`learning_rate`"][0] == "`5e-07`"
    assert rows["`global_batch`"][0] == "`128`"
    assert rows["`max_steps`"][0] == "not set"
    assert rows["`wpo`"][0] == "no"
    assert "`lora_rank`" not in rows, "no adapters were trained"
    recorded = set(manifest.read(run).settings)
    elsewhere = {"lora_rank", "lora_alpha", "lora_targets", "revision", "split", "limit", "skip_invalid", "taxonomy"}
    elsewhere |= {"method", "preset", "profile", "persona", "history", "tell"}
    elsewhere |= {"seed", "positive", "negative", "max_length"}
    assert rows.keys() - {"setting", "---"} == {f"`{name}`" for name in recorded - elsewhere}


def test_a_setting_of_another_version_is_shown_without_a_meaning(run: Path) -> None:
    change_manifest(run, settings={"beta": 0.1, "older_setting": 3})
    rows = rows_of(section(card_of(run), "Procedure"))
    assert ["`older_setting`", "`3`", ""] in rows


def test_curves_are_the_first_the_last_and_the_held_out_values(run: Path) -> None:
    text = section(card_of(run), "Curves")
    assert "](curves.png)" in text
    assert rows_of(text) == [
        ["", "step 1", "step 2", "held out, after step 2"],
        ["---", "---", "---", "---"],
        ["loss", "0.6931", "0.5512", "0.6023"],
        ["share of pairs ordered rightly", "0.0000", "0.8125", "0.6667"],
        ["margin", "0.0000", "0.3210", "0.1234"],
    ]
    assert "means over n = 3 records" in text
    assert "no interval of theirs is on record" in text


def test_a_metric_that_is_no_number_is_unknown(run: Path) -> None:
    lines = [METRICS[0], {**METRICS[1], "loss": math.nan, "rewards/margins": None}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = section(card_of(run), "Curves")
    assert ["loss", "0.6931", "unknown"] in rows_of(text)
    assert ["margin", "0.0000", "unknown"] in rows_of(text)
    assert "held out" not in text


def test_what_was_not_recorded_is_unknown(run: Path) -> None:
    change_manifest(run, data=None, taxonomy=None, counts={}, forward=None, versions={}, condition_reason=None)
    for name in ("metrics.jsonl", "curves.png"):
        (run / name).unlink()
    card = card_of(run)
    data = section(card, "Training data and licences")
    assert "Records: unknown" in data
    assert "Trained on unknown; held out unknown; left over, not filling a batch, unknown" in data
    assert "too long or said nothing about the user: unknown" in data
    assert "Optimiser steps: unknown; processes: unknown. How often each prompt was read is unknown." in card
    assert "Why this prompt format: unknown." in card
    assert "No curves are on record." in section(card, "Curves")
    assert "curves.png" not in card
    assert ["records", "unknown"] in rows_of(section(card, "Provenance"))
    assert "Versions: unknown." in card
    assert not re.search(r"\bNone\b", card)


@pytest.mark.parametrize("name", ["train", "evaluation", "left_over", "steps", "world_size"])
def test_each_count_reaches_the_card(run: Path, name: str) -> None:
    before = card_of(run)
    after = card_of(change_manifest(run, counts={**COUNTS, name: 7_654_321}))
    assert "7,654,321" in after or "7654321" in after
    assert "7,654,321" not in before


def test_a_prompt_read_twice_says_why(run: Path) -> None:
    change_manifest(run, forward={"policy": {"reason": "its attention slides over 4096 tokens"}})
    assert "read each prompt twice, once a response: its attention slides over 4096 tokens" in card_of(run)


def test_another_loss_than_dpo_is_named(run: Path) -> None:
    settings = {**manifest.read(run).settings, "loss_type": "ipo"}
    assert "by TRL's preference loss `ipo` on records" in card_of(change_manifest(run, settings=settings))


def test_the_same_record_gives_the_same_card(run: Path) -> None:
    assert card_of(run) == card_of(run)


def test_no_path_of_the_machine_is_in_the_card(run: Path) -> None:
    card = card_of(run)
    assert "tiny-base" in card
    assert "users.jsonl" in card
    assert JOES not in card
    assert str(run) not in card


# What the publisher says.


def test_licences_are_the_publishers_word_or_not_stated(run: Path) -> None:
    silent = rows_of(section(card_of(run), "Training data and licences"))
    assert [row[1] for row in silent[2:]] == ["not stated"] * 3
    said = card_of(run, license="apache-2.0", base_license="Llama 3.1 Community", data_license="CC BY 4.0 | mostly")
    stated = rows_of(section(said, "Training data and licences"))
    assert [row[1] for row in stated[2:]] == ["apache-2.0", "Llama 3.1 Community", "CC BY 4.0 \\| mostly"]


def test_names_on_the_hub_that_the_run_did_not_record_are_quoted_as_said(run: Path) -> None:
    card = card_of(run, base_model="joe/tiny-base-1", dataset="joe/users")
    assert (front_of(card)["base_model"], front_of(card)["datasets"]) == ("joe/tiny-base-1", ["joe/users"])
    assert "`users.jsonl`, which the publisher says is `joe/users`" in card
    provenance = {row[0]: row[1] for row in rows_of(section(card, "Provenance"))}
    assert provenance["base"] == "`tiny-base`, which the publisher says is `joe/tiny-base-1`"


def test_the_language_is_unknown_unless_said(run: Path) -> None:
    assert "Which languages the data are in is unknown" in card_of(run)
    assert "language is `de`, as the publisher states it" in card_of(run, language="de")


@pytest.mark.parametrize(
    ("base", "reminded"),
    [
        (LLAMA, True),
        ("meta-llama/Meta-Llama-3.1-70B", True),
        ("/models/llama3.1-8b", True),
        ("meta-llama/Llama-3.2-1B", False),
        ("meta-llama/Llama-2-7b", False),
        ("Qwen/Qwen3-8B", False),
        ("tiny-base", False),
    ],
)
def test_the_llama_licence_is_recalled_for_bases_of_that_name_only(base: str, reminded: bool) -> None:
    said = " ".join(reminders(base))
    assert ("Llama 3.1 Community License" in said) is reminded
    assert ("“Built with Llama”" in said) is reminded


def test_a_llama_base_is_recalled_in_the_card_and_on_the_screen(tmp_path: Path) -> None:
    said = publish(PublishSettings(model=finished_run(tmp_path / "run", on_hub=True)))
    assert "Built with Llama" in said
    card = (tmp_path / "run/README.md").read_text(encoding="utf-8")
    assert "Built with Llama" in section(card, "Training data and licences")


@given(st.text())
def test_text_of_others_stays_in_its_cell_and_starts_no_markup(text: str) -> None:
    for shown in (_text(text), _code(text)):
        assert "\n" not in shown
        assert len(re.split(r"(?<!\\)(?:\\\\)*\|", f"a{shown}b")) == 1, "a bare | would end the cell"
    assert not re.search(r"(?<!\\)(?:\\\\)*[<>`*\[\]]", _text(text))
    assert "`" not in _code(text)[1:-1]


# Using it.


@pytest.mark.parametrize("method", ["ica", "pba"])
def test_the_commands_of_a_card_are_understood(tmp_path: Path, method: str) -> None:
    card = card_of(finished_run(tmp_path / "run", method=method, on_hub=True), repo="joe/Llama-ica")
    block = section(card, "How to use it").split("```bash\n")[1].split("```")[0]
    commands = [words for line in block.splitlines() if (words := shlex.split(line, comments=True))]
    assert [words[1] for words in commands if words[0] == "python"] == [
        f"eval/loss_{method}.py",
        "eval/loss_few_shot.py",
        "eval/acc.py",
    ]
    assert all(understood(words) for words in commands)
    assert all("joe/Llama-ica" in words for words in commands[:2])
    assert LLAMA in commands[2]


@pytest.mark.parametrize(("method", "held"), [("ica", "comments, choices and descriptions"), ("pba", "in words")])
def test_privacy_says_what_the_prompts_held(tmp_path: Path, method: str, held: str) -> None:
    text = section(card_of(finished_run(tmp_path / "run", method=method)), "Privacy")
    assert "Histories are personal data" in text
    assert held in text
    assert "memorise" in text
    assert "Not published with it" in text


# Accuracies.


def scores(folder: Path, run: Path, **others: Any) -> tuple[Path, Path]:
    """Invented scores of a run's weights and of its base; two of five records are right."""
    found = manifest.read(run)
    assert found.model is not None
    policy = ModelIdentity(name=str(run), digest=weights_digest(run, found, False), tokenizer="t", dtype="float32")
    data = DataIdentity(source=f"{JOES}/test.jsonl", digest="data", records=5)
    files = []
    for name, values, model in (("policy", POLICY, policy), ("base", REFERENCE, found.model)):
        told = {"model": model.model_copy(update={"dtype": "float32"}), "data": data, **others}
        files.append(write(folder / f"{name}.jsonl", values, **told))
    return files[0], files[1]


@pytest.fixture
def measured(run: Path, tmp_path: Path) -> Path:
    """An accuracy of the run, as the command writes it."""
    policy, reference = scores(tmp_path, run)
    accuracy(AccuracySettings(policy=policy, reference=reference, output=tmp_path / "accuracy.json"))
    return tmp_path / "accuracy.json"


def test_an_accuracy_on_a_part_of_the_persona_says_which(run: Path, tmp_path: Path) -> None:
    condition = Condition(method="ica", tell="UGC").model_dump(mode="json")
    policy, reference = scores(tmp_path, run, condition=condition)
    accuracy(AccuracySettings(policy=policy, reference=reference, output=tmp_path / "part.json"))
    text = section(card_of(run, accuracy=(tmp_path / "part.json",)), "Evaluation")
    (row,) = rows_of(text)[2:]
    assert row[2] == "own, of it comments, history all, profile auto"
    assert "of the persona only comments are told" in text


def test_an_accuracy_stands_with_its_n_clusters_and_interval(run: Path, measured: Path) -> None:
    text = section(card_of(run, accuracy=(measured,)), "Evaluation")
    found = compare(POLICY, REFERENCE)
    (row,) = rows_of(text)[2:]
    assert row[1:5] == ["`test.jsonl`", "own, history all, profile auto", "5", "5"]
    low, high = (f"{100 * value:.2f}" for value in (found.accuracy.low, found.accuracy.high))
    assert row[5] == f"40.00 % [{low}, {high}] (n = 5)"  # 2 of 5, by hand in tests/evaluation/test_accuracy.py
    assert row[6].startswith("80.00 % [")
    assert row[7] == "the base"
    assert "2 ties count as wrong" in text
    assert "fewer than 30 clusters: the interval is too narrow" in text


def test_a_reference_that_is_not_the_base_is_said(run: Path, tmp_path: Path) -> None:
    other = ModelIdentity(name=f"{JOES}/other", digest="e" * 64, tokenizer="t", dtype="float32")
    policy, _ = scores(tmp_path, run)
    data = manifest.read(policy).data
    reference = write(tmp_path / "other.jsonl", REFERENCE, model=other, data=data)
    accuracy(AccuracySettings(policy=policy, reference=reference, output=tmp_path / "accuracy.json"))
    (row,) = rows_of(section(card_of(run, accuracy=(tmp_path / "accuracy.json",)), "Evaluation"))[2:]
    assert row[7] == "`other`, not the base"


def test_an_accuracy_with_an_oracles_profile_says_so(run: Path, tmp_path: Path) -> None:
    golden = {**CONDITION, "method": "pba", "profile": "golden"}
    policy, reference = scores(tmp_path, run, condition=golden)
    accuracy(AccuracySettings(policy=policy, reference=reference, output=tmp_path / "accuracy.json"))
    text = section(card_of(run, accuracy=(tmp_path / "accuracy.json",)), "Evaluation")
    assert "profile golden" in text
    assert "an oracle, an upper bound" in text


def test_without_an_accuracy_none_is_shown(run: Path) -> None:
    card = card_of(run)
    assert section(card, "Evaluation").strip() == "No accuracy was given when this card was made."
    assert "no accuracy was given" in section(card, "Limits")
    assert "%" not in section(card, "Evaluation")


def test_an_accuracy_of_another_model_is_refused_with_both(run: Path, measured: Path, tmp_path: Path) -> None:
    other = finished_run(tmp_path / "other")
    (other / "model-00001-of-00002.safetensors").write_bytes(b"other weights")
    files = {name: manifest.file_digest(other / name) for name in manifest.read(other).files}
    change_manifest(other, files=files)
    with pytest.raises(DataError, match=r"accuracy\.json: is the accuracy of .*run \([0-9a-f]{12}…\), not of these"):
        publish(PublishSettings(model=other, accuracy=(measured,)))
    assert not (other / "README.md").exists()


def test_an_accuracy_of_the_base_is_refused(run: Path, tmp_path: Path) -> None:
    policy, reference = scores(tmp_path, run)
    turned = {"policy": reference, "reference": policy, "output": tmp_path / "accuracy.json"}
    accuracy(AccuracySettings(**turned))
    with pytest.raises(DataError, match=r"is the accuracy of .*tiny-base"):
        publish(PublishSettings(model=run, accuracy=(tmp_path / "accuracy.json",)))


def test_an_accuracy_that_was_changed_or_is_unfinished_is_refused(run: Path, measured: Path) -> None:
    said = json.loads(measured.read_text())
    said["accuracy"]["mean"] = 0.99
    measured.write_text(json.dumps(said))
    with pytest.raises(DataError, match="is not as it was written"):
        publish(PublishSettings(model=run, accuracy=(measured,)))
    manifest.path_of(measured).unlink()
    with pytest.raises(DataError, match="unfinished"):
        publish(PublishSettings(model=run, accuracy=(measured,)))
    measured.unlink()
    with pytest.raises(DataError, match="no such file"):
        publish(PublishSettings(model=run, accuracy=(measured,)))


@pytest.mark.parametrize("gone", ["low", "n", "clusters"])
def test_an_accuracy_without_its_interval_or_n_is_refused(run: Path, measured: Path, gone: str) -> None:
    said = json.loads(measured.read_text())
    del said["accuracy"][gone]
    measured.write_text(json.dumps(said))
    found = manifest.read(measured)
    manifest.write(measured, found.model_copy(update={"files": {measured.name: manifest.file_digest(measured)}}))
    with pytest.raises(DataError, match=rf"accuracy\.json: accuracy\.{gone}: Field required"):
        publish(PublishSettings(model=run, accuracy=(measured,)))


@pytest.fixture
def report(run: Path, tmp_path: Path) -> Path:
    """A report of two policies in one row each, of which the first is the run."""
    asked = evaluation(tmp_path, tmp_path / "report", cell("own | persona"))
    (asked.output / "scores").mkdir(parents=True)
    rows = []
    for number, policy in enumerate(asked.policies):
        files = scores(tmp_path, run)
        for place, file in enumerate(scores_of(asked, policy, asked.cells[0])):
            found = manifest.read(files[place])
            assert found.model is not None
            digest = found.model.digest if number == 0 or place == 1 else "f" * 64
            model = found.model.model_copy(update={"digest": digest})
            write(file, POLICY if place == 0 else REFERENCE, model=model, data=found.data)
        counted = compare(POLICY, REFERENCE).as_dict()
        rows.append({"policy": policy.name, "label": asked.cells[0].label, "role": "main", **counted})
    results = asked.output / "results.json"
    results.write_text(json.dumps(rows))
    manifest.write(
        asked.output, Manifest(kind="report", files={"results.json": manifest.file_digest(results), "gone.html": "0"})
    )
    return results


@pytest.mark.parametrize("named", ["file", "folder"])
def test_a_reports_rows_about_this_model_are_taken_and_no_others(run: Path, report: Path, named: str) -> None:
    text = section(card_of(run, report=report if named == "file" else report.parent), "Evaluation")
    (row,) = rows_of(text)[2:]
    assert row[0] == "own \\| persona"
    assert row[5].startswith("40.00 % [")
    assert row[5].endswith("(n = 5)")


def test_a_report_about_other_models_is_refused(run: Path, report: Path) -> None:
    for file in report.parent.glob("scores/one-*.manifest.json"):
        if "reference" not in file.name:
            file.write_text(file.read_text().replace(weights_digest(run, manifest.read(run), False), "0" * 64))
    with pytest.raises(DataError, match=r"results\.json: none of its 2 rows is about these weights"):
        publish(PublishSettings(model=run, report=report))


def test_a_report_that_was_changed_or_lost_its_scores_is_refused(run: Path, report: Path) -> None:
    for file in report.parent.glob("scores/two-*"):
        file.unlink()
    with pytest.raises(DataError, match=r"0 files of scores for the row Two, own \| persona"):
        publish(PublishSettings(model=run, report=report))
    report.write_text(report.read_text().replace("0.4", "0.9"))
    with pytest.raises(DataError, match="is not as it was written"):
        publish(PublishSettings(model=run, report=report))


# Whose card it is.


def test_a_card_is_ours_until_a_letter_of_it_changes(run: Path) -> None:
    card = card_of(run)
    assert origin(card) == "ours"
    assert origin(card.replace("\n", "\r\n")) == "ours", "line ends of another system change nothing"
    assert origin(card.replace("0.6931", "0.6932")) == "changed"
    assert origin(card.replace("ica", "pba", 1)) == "changed"
    assert origin("# My model\n") == "theirs"


@given(st.text(alphabet=st.characters(exclude_characters="\r")), st.text(min_size=1))
def test_any_addition_to_a_card_is_noticed(body: str, more: str) -> None:
    card = marked("---\na: 1\n---\n", body)
    assert origin(card) == "ours"
    assert origin(card + more) == "changed"
