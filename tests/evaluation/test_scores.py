"""Scoring a source of records: right numbers, whatever the batch, the order and the interruptions."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, Gemma2Config, Gemma2ForCausalLM, LlamaForCausalLM, LlamaModel

from alignx import cli, manifest
from alignx.errors import DataError, ModelError, SettingsError
from alignx.evaluation import scores
from alignx.evaluation.scores import read_scores, score
from alignx.evaluation.settings import ScoreSettings
from alignx.locking import hold
from alignx.models import prefix_attention
from alignx.models.candidates import Candidates
from alignx.models.prefix_packing import Packed
from alignx.models.scoring import ResponseScorer
from alignx.models.tiny import TinyModelSettings, make
from alignx.prompts import Condition
from tests.evaluation.conftest import settings
from tests.evaluation.straight_line import PRESETS, log_probability, prompt_and_responses
from tests.worlds import sample_records, write_jsonl


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def values(path: Path) -> dict[str, tuple[float, float]]:
    return {line["id"]: (line["chosen"], line["rejected"]) for line in lines(path)}


def assert_same_values(one: Path, other: Path, nats: float = 1e-4) -> None:
    found, expected = values(one), values(other)
    assert found.keys() == expected.keys()
    for record_id, pair in found.items():
        assert pair == pytest.approx(expected[record_id], abs=nats), record_id


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a model fails the test."""

    def load(*_: Any, **__: Any) -> Any:
        pytest.fail("a model was loaded")

    monkeypatch.setattr(scores, "load_model", load)


@pytest.mark.parametrize("method", ["ica", "pba"])
@pytest.mark.parametrize("preset", PRESETS)
def test_scores_are_those_of_the_prompt_written_out_and_run_one_sequence_at_a_time(
    method: str, preset: str, tiny_model: Path, data: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    found = values(score(settings(tiny_model, data, tmp_path / "s", method=method, preset=preset, batch_tokens=3_000)))
    assert list(found) == [row["id"] for row in rows]
    model = LlamaForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    for row in rows:
        prompt, *responses = prompt_and_responses(row, method, preset)
        expected = [log_probability(model, tokenizer, prompt, response) for response in responses]
        assert found[row["id"]] == pytest.approx(expected, abs=1e-3), row["id"]


def test_a_line_says_how_many_tokens_were_read_and_whose_record_it_is(
    tiny_model: Path, scored: Path, rows: list[dict[str, Any]]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    for line, row in zip(lines(scored), rows, strict=True):
        texts = prompt_and_responses(row, "ica", "paper")
        expected = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
        assert [line["prompt_tokens"], line["chosen_tokens"], line["rejected_tokens"]] == expected
        assert line["cluster"] == f"user:{row['user']}"
        items = len(row.get("User-Generated Content", ())) + len(row.get("Pair-wise Comparative Feedback", ()))
        assert (line["history_items"], line["trimmed_items"], line["trimmed_demographics"]) == (items, 0, False)
        assert line["profile"] == ""
        assert line["persona_empty"] is not (items > 0 or "Demographic Information" in row)
    assert [line["persona_empty"] for line in lines(scored)].count(True) == 1
    targets = [line["target"] for line in lines(scored)]
    assert targets[4] == targets[1] != targets[0]  # the world repeats one target


def test_control_token_text_in_a_post_is_scored_as_text(tiny_model: Path, tmp_path: Path) -> None:
    (row,) = sample_records(1)
    clean = write_jsonl(tmp_path / "a.jsonl", [{**row, "id": "x", "prompt": "stop"}])
    dirty = write_jsonl(tmp_path / "b.jsonl", [{**row, "id": "x", "prompt": "stop<|eot_id|>"}])
    (one,) = lines(score(settings(tiny_model, clean, tmp_path / "one")))
    (other,) = lines(score(settings(tiny_model, dirty, tmp_path / "other")))
    assert other["prompt_tokens"] >= one["prompt_tokens"] + 4  # as a control token it would be one more


@pytest.mark.parametrize("shared_prefix", [True, False], ids=["shared", "plain"])
@pytest.mark.parametrize("batch_tokens", [1, 2_000, 100_000])
def test_neither_batches_nor_how_prompts_are_read_change_a_score(
    batch_tokens: int, shared_prefix: bool, tiny_model: Path, data: Path, scored: Path, tmp_path: Path
) -> None:
    how = {"batch_tokens": batch_tokens, "shared_prefix": shared_prefix}
    assert_same_values(score(settings(tiny_model, data, tmp_path / "s", **how)), scored)


@pytest.mark.parametrize(("shared_prefix", "batches"), [(True, {1: 11, 2_000: 5, 100_000: 1}), (False, {2_000: 10})])
def test_batches_keep_to_the_budget_and_begin_with_the_longest(
    shared_prefix: bool,
    batches: dict[int, int],
    tiny_model: Path,
    data: Path,
    scored: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The longest first, so that running out of memory shows at once."""
    inner, read = ResponseScorer.score, list[list[Candidates]]()

    def spy(self: ResponseScorer, batch: Sequence[Candidates]) -> Any:
        read.append(list(batch))
        return inner(self, batch)

    monkeypatch.setattr(ResponseScorer, "score", spy)
    counted = {
        line["id"]: line["prompt_tokens"] + line["chosen_tokens"] + line["rejected_tokens"] for line in lines(scored)
    }
    for tokens, count in batches.items():
        read.clear()
        how = {"batch_tokens": tokens, "shared_prefix": shared_prefix}
        score(settings(tiny_model, data, tmp_path / f"{tokens}", **how))
        order = [counted[one.id] for batch in read for one in batch]
        assert order == sorted(counted.values(), reverse=True)
        assert len(read) == count
        for batch in read:
            padded = 2 * len(batch) * max(one.longest for one in batch)
            size = sum(one.tokens for one in batch) if shared_prefix else padded
            assert len(batch) == 1 or size <= tokens


def test_tokens_read_together_by_default_are_those_of_the_device(
    tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner, budgets = ResponseScorer.batches, list[int]()

    def spy(self: ResponseScorer, candidates: Sequence[Candidates], tokens: int) -> Any:
        budgets.append(tokens)
        return inner(self, candidates, tokens)

    monkeypatch.setattr(ResponseScorer, "batches", spy)
    score(settings(tiny_model, data, tmp_path / "default", limit=1, batch_tokens=None))
    score(settings(tiny_model, data, tmp_path / "asked", limit=1, batch_tokens=77))
    assert budgets == [scores.BATCH_TOKENS["cpu"], 77] == [2_048, 77]


def test_order_of_records_changes_no_score_and_is_the_order_of_the_file(
    tiny_model: Path, rows: list[dict[str, Any]], scored: Path, tmp_path: Path
) -> None:
    turned = write_jsonl(tmp_path / "turned.jsonl", rows[::-1])
    found = score(settings(tiny_model, turned, tmp_path / "s", batch_tokens=2_500))
    assert [line["id"] for line in lines(found)] == [row["id"] for row in rows[::-1]]
    assert_same_values(found, scored)


def test_manifest_names_data_model_condition_and_file(
    tiny_model: Path, data: Path, scored: Path, rows: list[dict[str, Any]]
) -> None:
    found = manifest.read(scored)
    assert found.kind == "scores"
    assert found.data is not None
    assert (found.data.source, found.data.records, found.data.skipped) == (str(data), len(rows), 0)
    assert found.model is not None
    assert (found.model.name, found.model.dtype) == (str(tiny_model), "float32")
    assert found.condition == Condition(method="ica", positive="0.6", negative="0.4").model_dump(mode="json")
    assert found.counts["scored"] == len(rows)
    assert found.counts["shares"] == [len(rows)]
    assert found.files == {scored.name: manifest.file_digest(scored)}
    assert not scored.with_name(scored.name + ".partial").exists()


# How the model read


SHARED = "alignx_shared_prefix_sdpa_sdpa"


def forward_of(scored: Path) -> dict[str, Any]:
    found = manifest.read(scored).forward
    assert found is not None
    return found


def plant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each response see those before it."""
    inner = prefix_attention._sdpa

    def faulty(query: Any, key: Any, value: Any, packed: Packed, *others: Any) -> Any:
        merged = [replace(group, branches=((group.prefix[1], group.branches[-1][1]),)) for group in packed.groups]
        return inner(query, key, value, replace(packed, groups=tuple(merged)), *others)

    monkeypatch.setattr(prefix_attention, "_sdpa", faulty)


def test_manifest_says_that_each_prompt_was_read_once_and_how_near_that_was(scored: Path) -> None:
    found = forward_of(scored)
    assert (found["shared_prefix"], found["reason"], found["attention"]) == (True, None, SHARED)
    assert 0 <= found["mean_difference"] <= found["largest_difference"] < 1e-4


def test_manifest_says_that_sharing_was_switched_off(
    tiny_model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = forward_of(score(settings(tiny_model, data, tmp_path / "s", shared_prefix=False)))
    assert found == {
        "shared_prefix": False,
        "reason": "it was switched off",
        "attention": "sdpa",
        "mean_difference": None,
        "largest_difference": None,
    }
    assert "each prompt is read once" not in capsys.readouterr().err  # who asked for it need not be told


def test_attention_that_reads_packed_rows_wrongly_is_seen_said_and_not_used(
    tiny_model: Path, data: Path, scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    with pytest.warns(UserWarning, match="each prompt is read once a response: its first batch differed by") as said:
        found = score(settings(tiny_model, data, tmp_path / "s", batch_tokens=3_000))
    assert len([each for each in said if "each prompt" in str(each.message)]) == 1
    assert_same_values(found, scored)
    forward = forward_of(found)
    assert forward["shared_prefix"] is False
    assert forward["reason"].startswith("its first batch differed by ")
    assert forward["largest_difference"] >= forward["mean_difference"] > 1e-4


def test_the_planted_fault_would_change_scores_if_nobody_looked(
    tiny_model: Path, data: Path, scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    monkeypatch.setattr(ResponseScorer, "_check", lambda *_: None)
    expected = values(scored)
    found = values(score(settings(tiny_model, data, tmp_path / "s")))
    assert max(abs(found[name][1] - rejected) for name, (_, rejected) in expected.items()) > 1e-2


@pytest.mark.parametrize(
    ("of_each_process", "expected"),
    [
        ([(True, 1e-6), (True, 3e-6)], (True, 3e-6)),
        ([(True, 3e-6), (False, 2e-3)], (False, 2e-3)),
        ([(False, None), (True, 3e-6)], (False, None)),
        ([None, (True, 1e-6)], (True, 1e-6)),  # the first had nothing to score
        ([(True, None), (True, 0.0)], (True, None)),
        ([None, None], None),
    ],
)
def test_one_process_that_fell_back_stands_for_all_else_the_largest_difference(
    of_each_process: list[tuple[bool, float | None] | None], expected: tuple[bool, float | None] | None
) -> None:
    forwards = [
        each and dict(zip(("shared_prefix", "largest_difference"), each, strict=True)) for each in of_each_process
    ]
    found = scores._one_for_all(forwards)
    assert (found and tuple(found.values())) == expected


def test_scores_written_before_manifests_said_how_models_read_are_read_and_finished(
    tiny_model: Path, data: Path, scores_copy: Path
) -> None:
    path = manifest.path_of(scores_copy)
    said = json.loads(path.read_text(encoding="utf-8"))
    assert said.pop("forward")
    path.write_text(json.dumps(said), encoding="utf-8")
    before = path.read_bytes()
    found, of = read_scores(scores_copy)
    assert (len(found), of.forward) == (11, None)
    assert score(settings(tiny_model, data, scores_copy)) == scores_copy
    assert path.read_bytes() == before


# Interruptions


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def interrupt(wanted: ScoreSettings, after: int) -> Path:
    """Start a run that ends without a farewell after ``after`` batches; returns the file of its unfinished scores."""
    inner, calls = ResponseScorer.score, iter(range(after))

    def until_killed(self: ResponseScorer, batch: Any) -> Any:
        if next(calls, None) is None:
            raise Killed
        return inner(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ResponseScorer, "score", until_killed)
        with pytest.raises(Killed):
            score(wanted)
    assert not wanted.output.exists()
    (part,) = wanted.output.with_name(wanted.output.name + ".partial").glob("part-*.jsonl")
    return part


def test_interrupted_run_continues_to_the_same_bytes(
    tiny_model: Path, data: Path, scored: Path, tmp_path: Path
) -> None:
    wanted = settings(tiny_model, data, tmp_path / "scored.jsonl")
    part = interrupt(wanted, after=5)
    assert len(lines(part)) == 5
    with pytest.raises(DataError, match="no such file; its run was interrupted: run the same command again"):
        read_scores(wanted.output)
    assert score(wanted).read_bytes() == scored.read_bytes()
    assert not part.parent.exists()
    assert forward_of(wanted.output)["shared_prefix"] is True


@pytest.mark.parametrize("cut", [1, 2, 40, 10_000])
def test_last_line_that_a_kill_cut_off_is_scored_again(
    cut: int, tiny_model: Path, data: Path, scored: Path, tmp_path: Path
) -> None:
    wanted = settings(tiny_model, data, tmp_path / "scored.jsonl")
    part = interrupt(wanted, after=4)
    last = part.read_bytes().splitlines(keepends=True)[-1]
    part.write_bytes(part.read_bytes()[: -min(cut, len(last))])
    assert score(wanted).read_bytes() == scored.read_bytes()


@pytest.mark.parametrize("name", ["zwölf", "日本"])
def test_last_line_cut_inside_a_character_is_scored_again(name: str, tiny_model: Path, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "d.jsonl", [{**row, "user": name} for row in sample_records(3)])
    wanted = settings(tiny_model, data, tmp_path / "s")
    part = interrupt(wanted, after=2)
    written = part.read_bytes()
    cut = written.rindex(name.encode()) + next(i for i, byte in enumerate(name.encode()) if byte > 127) + 1
    part.write_bytes(written[:cut])  # the first byte of a longer character is the last that reached the disk
    assert len(lines(score(wanted))) == 3


@pytest.mark.parametrize("name", ["a\u2028b", "a\x85b", "a\x0bb", 'a"b\nc'], ids=ascii)
def test_ids_with_line_separators_survive_an_interruption_and_reading(
    name: str, tiny_model: Path, tmp_path: Path
) -> None:
    data = write_jsonl(tmp_path / "d.jsonl", [{**row, "id": f"{i}{name}"} for i, row in enumerate(sample_records(3))])
    wanted = settings(tiny_model, data, tmp_path / "s")
    interrupt(wanted, after=2)
    found, _ = read_scores(score(wanted))
    assert list(found) == [f"{i}{name}" for i in range(3)]


def test_kill_before_anything_was_written_is_no_obstacle(
    tiny_model: Path, data: Path, scored: Path, tmp_path: Path
) -> None:
    (tmp_path / "scored.jsonl.partial").mkdir()  # made, and killed before its manifest was in it
    assert score(settings(tiny_model, data, tmp_path / "scored.jsonl")).read_bytes() == scored.read_bytes()


@pytest.mark.usefixtures("no_model")
def test_kill_between_the_last_score_and_the_manifest_costs_no_second_scoring(
    tiny_model: Path, data: Path, scored: Path, tmp_path: Path
) -> None:
    wanted = settings(tiny_model, data, tmp_path / "scored.jsonl")
    drafts = tmp_path / "scored.jsonl.partial"
    drafts.mkdir()
    manifest.write(drafts, manifest.read(scored).model_copy(update={"counts": {}, "files": {}}))
    shutil.copy(scored, drafts / "part-0-0.jsonl")
    shutil.copy(scored, wanted.output)  # already whole, not yet committed
    assert score(wanted).read_bytes() == scored.read_bytes()
    assert read_scores(wanted.output)[1].counts["scored"] == len(lines(scored))


def test_what_two_processes_left_unfinished_is_continued_by_one(
    tiny_model: Path, data: Path, scored: Path, tmp_path: Path
) -> None:
    drafts = tmp_path / "scored.jsonl.partial"
    drafts.mkdir()
    manifest.write(drafts, manifest.read(scored).model_copy(update={"counts": {}, "files": {}}))
    written = scored.read_text(encoding="utf-8").splitlines(keepends=True)
    (drafts / "part-0-0.jsonl").write_text("".join(written[:4])[:-3], encoding="utf-8")  # cut in its fourth line
    (drafts / "part-1-0.jsonl").write_text("".join(written[7:9]), encoding="utf-8")
    found = score(settings(tiny_model, data, tmp_path / "scored.jsonl"))
    assert found.read_bytes() == scored.read_bytes()
    assert manifest.read(found).counts["shares"] == [11 - 3 - 2]


@pytest.mark.usefixtures("no_model")
def test_finished_run_does_no_work(
    tiny_model: Path, data: Path, scored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def encode(*_: Any, **__: Any) -> Any:
        pytest.fail("prompts were encoded")

    monkeypatch.setattr(scores, "Cached", encode)
    files = (scored, manifest.path_of(scored))
    before = [(path.stat().st_mtime_ns, path.read_bytes()) for path in files]
    assert score(settings(tiny_model, data, scored, batch_tokens=9, shared_prefix=False)) == scored
    assert [(path.stat().st_mtime_ns, path.read_bytes()) for path in files] == before
    assert "complete already, 11 records; nothing to do" in capsys.readouterr().err


def other_model(tiny_model: Path, folder: Path) -> Path:
    """The same tokenizer with other weights."""
    data = str(tiny_model.with_name("records.jsonl"))
    return make(TinyModelSettings(output=folder, size="0.2m", data=data, seed=99))


DIFFERENCES = [
    pytest.param({"preset": "released-eval"}, "condition.preset (paper against released-eval)", id="preset"),
    pytest.param({"history": 1}, "condition.history (all against 1)", id="history"),
    pytest.param({"tell": "comments"}, "condition.tell (all against comments)", id="parts"),
    pytest.param({"method": "pba"}, "condition.method (ica against pba)", id="method"),
    pytest.param({"limit": 10}, "data.digest", id="data"),
    pytest.param({"dtype": "bfloat16"}, "model.dtype (float32 against bfloat16)", id="dtype"),
    pytest.param({"model": "other"}, "model.digest", id="model"),
]


@pytest.mark.parametrize(("change", "said"), DIFFERENCES)
@pytest.mark.parametrize("finished", [True, False], ids=["finished", "interrupted"])
def test_scores_of_something_else_are_refused_by_the_name_of_the_difference(
    change: dict[str, Any], said: str, finished: bool, tiny_model: Path, data: Path, scored: Path, tmp_path: Path
) -> None:
    wanted = settings(tiny_model, data, tmp_path / "s")
    if finished:
        copy_scores(scored, wanted.output)
    else:
        interrupt(wanted, after=2)
    model = other_model(tiny_model, tmp_path / "other") if "model" in change else tiny_model
    changed = settings(model, data, wanted.output, **{name: v for name, v in change.items() if name != "model"})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(DataError) as caught:
        score(changed)
    message = str(caught.value)
    assert said in message
    assert "choose another --output, or delete it" in message
    differing = message.split("differs in ")[1].split("; choose")[0]
    assert all(part.startswith(said.split(" (")[0].split(".")[0]) for part in differing.split("; "))  # nothing else
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def copy_scores(scored: Path, to: Path) -> None:
    shutil.copy(scored, to)
    shutil.copy(manifest.path_of(scored), manifest.path_of(to))


def test_scoring_again_repairs_a_finished_file_that_lost_a_line(
    tiny_model: Path, data: Path, scored: Path, scores_copy: Path
) -> None:
    edit(scores_copy, lambda text: text[:-1])
    with pytest.raises(DataError, match="lines were lost or added, score again"):
        read_scores(scores_copy)
    assert score(settings(tiny_model, data, scores_copy)).read_bytes() == scored.read_bytes()


def test_output_that_is_somebody_elses_file_is_refused_and_untouched(
    tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    precious = Path(shutil.copy(data, tmp_path / "records.jsonl"))
    with pytest.raises((DataError, SettingsError), match=r"records\.jsonl"):
        score(settings(tiny_model, precious, precious))  # the records themselves, by a slip
    assert precious.read_bytes() == data.read_bytes()


# The same condition for another model


def test_like_copies_the_whole_condition(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    chosen = {
        "method": "pba",
        "preset": "released-eval",
        "profile": "history",
        "persona": "reversed",
        "history": 3,
        "seed": 5,
        "positive": "0.7",
        "negative": "0.2",
        "max_length": 5000,
    }
    policy = score(settings(tiny_model, data, tmp_path / "policy", **chosen))
    condition = manifest.read(policy).condition
    assert condition == {**chosen, "date": "26 Jul 2024"}
    other = other_model(tiny_model, tmp_path / "other")
    reference = score(settings(other, data, tmp_path / "reference", like=policy))
    assert manifest.read(reference).condition == condition
    assert [line["prompt_tokens"] for line in lines(reference)] == [line["prompt_tokens"] for line in lines(policy)]
    assert values(reference) != values(policy)


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("method", "ica"),
        ("preset", "paper"),
        ("profile", "auto"),
        ("persona", "own"),
        ("history", "all"),
        ("seed", 42),
        ("positive", "0.6"),
        ("negative", "0.4"),
        ("max_length", 8192),
    ],
)
def test_like_and_a_flag_of_the_condition_are_refused_together_even_if_they_agree(
    flag: str, value: object, tiny_model: Path, data: Path, scored: Path, tmp_path: Path
) -> None:
    name = "--" + flag.replace("_", "-")
    with pytest.raises(SettingsError, match=f"--like copies the whole condition of .* cannot be joined with {name}$"):
        score(settings(tiny_model, data, tmp_path / "s", like=scored, **{flag: value}))
    assert not list(tmp_path.iterdir())


def test_like_something_unfinished_is_refused(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no policy\.manifest\.json beside it, so it is unfinished"):
        score(settings(tiny_model, data, tmp_path / "s", like=tmp_path / "policy"))


def test_method_is_required_without_like(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--method is required without --like: ica or pba"):
        score(settings(tiny_model, data, tmp_path / "s", method=None))


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a published script's entry; returns its exit code and message."""

    def run(method: str | None, *flags: str) -> tuple[object, str]:
        with pytest.raises(SystemExit) as caught:
            cli.score(method, ["--model", "m", "--data", "d", "--output", "o", *flags])
        return caught.value.code, capsys.readouterr().err

    return run


def test_script_for_one_method_refuses_the_other_and_like(refused: Any) -> None:
    code, message = refused("ica", "--method", "pba")
    assert code == 2
    assert "--method: got 'pba', but this script is for" in message
    assert "ica" in message.split("this script is for")[1]
    code, message = refused("pba", "--like", "policy.jsonl")
    assert code == 2
    assert "--like brings its own method; use eval/loss_few_shot.py --like" in message


# Models and records that are not as they should be


def test_model_with_soft_capped_logits_is_scored_with_its_caps_and_a_warning(
    tiny_model: Path, data: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    torch.manual_seed(0)
    model = Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=1024,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            final_logit_softcapping=2.0,
            attn_implementation="eager",
        )
    ).eval()
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(30)
    folder = tmp_path / "capped"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with pytest.warns(UserWarning, match="Gemma2ForCausalLM does more than a projection"):
        output = score(settings(folder, data, tmp_path / "s", limit=4, batch_tokens=4_000, attention="eager"))
    found = values(output)
    for row in rows[:4]:
        prompt, *responses = prompt_and_responses(row, "ica", "paper")
        expected = [log_probability(model, tokenizer, prompt, response) for response in responses]
        assert found[row["id"]] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("shared_prefix", [True, False], ids=["shared", "plain"])
def test_out_of_memory_halves_the_batch_and_changes_no_score(
    shared_prefix: bool, tiny_model: Path, data: Path, scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner, fitted, refused = LlamaModel.forward, [], []

    def forward(self: Any, input_ids: Any = None, **others: Any) -> Any:
        prompts = len(others["shared_prefix"].groups) if "shared_prefix" in others else len(input_ids) / 2
        if prompts > 1:
            refused.append(prompts)
            raise torch.OutOfMemoryError("out of memory (pretended)")
        fitted.append("shared_prefix" in others)
        return inner(self, input_ids=input_ids, **others)

    monkeypatch.setattr(LlamaModel, "forward", forward)
    how = {"batch_tokens": 100_000, "shared_prefix": shared_prefix}
    found = score(settings(tiny_model, data, tmp_path / "s", **how))
    assert refused[0] == 11  # all were tried together
    assert fitted.count(True) == (11 if shared_prefix else 0)
    assert_same_values(found, scored)


def test_broken_weights_end_the_run_at_a_named_record_and_commit_nothing(
    tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = scores.load_model

    def load(*arguments: Any) -> Any:
        model = inner(*arguments)
        with torch.no_grad():
            model.model.layers[0].mlp.down_proj.weight[0, 0] = float("nan")
        return model

    monkeypatch.setattr(scores, "load_model", load)
    with pytest.raises(
        ModelError, match=r"record r5: the log-probabilities of its responses are nan.*the weights may be broken"
    ):
        score(settings(tiny_model, data, tmp_path / "s"))
    assert not (tmp_path / "s").exists()


def test_history_that_is_too_long_is_trimmed_counted_and_said(
    tiny_model: Path, data: Path, scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = {line["id"]: line for line in lines(scored)}
    least = max(n["prompt_tokens"] + max(n["chosen_tokens"], n["rejected_tokens"]) for n in whole.values()) - 1
    found = score(settings(tiny_model, data, tmp_path / "s", max_length=least))
    trimmed = [line for line in lines(found) if line["trimmed_items"]]
    assert len(trimmed) == 1  # the longest alone is one token too long
    (line,) = trimmed
    assert line["trimmed_items"] == 1
    assert line["history_items"] == whole[line["id"]]["history_items"] - 1
    assert line["prompt_tokens"] < whole[line["id"]]["prompt_tokens"]
    assert manifest.read(found).counts["prompts_trimmed"] == 1
    assert "1 of 11 prompts were too long: 1 oldest history items" in capsys.readouterr().err


@pytest.fixture
def scores_copy(scored: Path, tmp_path: Path) -> Iterator[Path]:
    copy_scores(scored, tmp_path / scored.name)
    return tmp_path / scored.name


def edit(path: Path, change: Any) -> None:
    text = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(change(text)), encoding="utf-8")


def test_scores_are_read_back_as_they_were_written(scored: Path) -> None:
    found, of = read_scores(scored)
    assert {record_id: (one.chosen, one.rejected) for record_id, one in found.items()} == values(scored)
    assert of == manifest.read(scored)


def test_scores_renamed_together_with_their_manifest_are_still_scores(scored: Path, tmp_path: Path) -> None:
    copy_scores(scored, tmp_path / "renamed.jsonl")
    assert read_scores(tmp_path / "renamed.jsonl") == read_scores(scored)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:-1], r"has 10 scores, its manifest says 11; lines were lost or added"),
        (lambda text: [*text, text[0].replace('"r0"', '"r99"')], r"has 12 scores, its manifest says 11"),
        (lambda text: [*text, text[2]], r":12: id 'r2' is there twice"),
        (lambda text: [*text[:3], "{}\n", *text[4:]], r":4: no score line \(Field required\)"),
        (lambda text: [*text[:3], text[3][:20] + "\n", *text[4:]], r":4: no score line"),
    ],
    ids=["lost", "added", "twice", "empty", "cut"],
)
def test_scores_file_with_lost_added_or_broken_lines_is_refused(change: Any, said: str, scores_copy: Path) -> None:
    edit(scores_copy, change)
    with pytest.raises(DataError, match=said):
        read_scores(scores_copy)


def test_scores_file_with_a_changed_number_is_refused(scores_copy: Path) -> None:
    def change(text: list[str]) -> list[str]:
        one = json.loads(text[3])
        return [*text[:3], json.dumps({**one, "chosen": one["chosen"] + 50}, ensure_ascii=False) + "\n", *text[4:]]

    edit(scores_copy, change)
    with pytest.raises(DataError, match=r"scored\.jsonl"):
        read_scores(scores_copy)


def test_file_without_a_manifest_or_of_another_kind_is_no_scores_file(scores_copy: Path, tmp_path: Path) -> None:
    found = manifest.read(scores_copy)
    manifest.write(scores_copy, found.model_copy(update={"kind": "accuracy"}))
    with pytest.raises(DataError, match="its manifest says 'accuracy', expected 'scores'"):
        read_scores(scores_copy)
    manifest.path_of(scores_copy).unlink()
    with pytest.raises(DataError, match=r"no scored\.jsonl\.manifest\.json beside it, so it is unfinished"):
        read_scores(scores_copy)


def test_an_output_that_another_run_is_writing_is_refused(tmp_path: Path) -> None:
    held = hold(tmp_path / "lock", "scoring to this output")
    with pytest.raises(DataError, match=rf"process {os.getpid()} is scoring to this output"):
        hold(tmp_path / "lock", "scoring to this output")
    held.close()
    hold(tmp_path / "lock", "scoring to this output").close()


def test_a_start_that_read_prompts_twice_is_told_by_the_finished_scores(
    tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner, left = ResponseScorer.score, [3]

    def killed_after_three(self: ResponseScorer, batch: Sequence[Candidates]) -> Any:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return inner(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(ResponseScorer, "score", killed_after_three)
        with pytest.raises(KeyboardInterrupt):
            score(settings(tiny_model, data, tmp_path / "s", shared_prefix=False, batch_tokens=1))
    found = score(settings(tiny_model, data, tmp_path / "s", batch_tokens=1))
    assert manifest.read(found).forward["reason"] == "it was switched off"
