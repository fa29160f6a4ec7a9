"""Generating for a source of records: the prompts of scoring, and a file that is whole, resumed and its own."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from transformers import AutoTokenizer

from alignx import cli, manifest
from alignx.errors import DataError, ModelError, SettingsError
from alignx.evaluation.scores import score
from alignx.evaluation.settings import ScoreSettings
from alignx.generation import generating, local
from alignx.generation.decoding import Generated, Generator, Prompt
from alignx.generation.generating import generate
from alignx.generation.prompting import PromptEncoder
from alignx.generation.responses import read_responses
from alignx.generation.settings import GenerateSettings
from alignx.locking import hold
from alignx.prompts import Condition, EncodedPair, Encoder, Method, PairEncoder, load_tokenizer
from alignx.records import Records
from tests.generation.conftest import NEW_TOKENS, settings
from tests.test_readme import commands_of, understood
from tests.worlds import sample_records, write_jsonl


def run(wanted: GenerateSettings) -> Path:
    made = generate(wanted)
    assert made == wanted.output
    return wanted.output


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


@pytest.fixture(scope="session")
def responded(model: Path, data: Path) -> Path:
    """Responses of the stand-in; treat them as read-only."""
    return run(settings(model, data, data.with_name("responses.jsonl")))


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a model fails the test."""

    def load(*_: Any, **__: Any) -> Any:
        pytest.fail("a model was loaded")

    monkeypatch.setattr(local, "load_model", load)


# prompts


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("preset", ["paper", "released-eval", "released-train"])
def test_prompts_are_those_that_are_scored(method: Method, preset: Any, model: Path, data: Path) -> None:
    condition, tokenizer = Condition(method=method, preset=preset), load_tokenizer(str(model))
    scored = list(PairEncoder(Records(str(data)), condition, Encoder(tokenizer, condition)))
    encoder = PromptEncoder(tokenizer, condition, 512, keep_texts=True)
    answered = list(PairEncoder(Records(str(data)), condition, encoder))
    assert [one.prompt_ids for one in answered] == [one.prompt_ids for one in scored]
    assert [(one.id, one.persona_empty, one.trimmed_items) for one in answered] == [
        (one.id, one.persona_empty, 0) for one in scored
    ]
    (again,) = encoder.prompts([encoder.said(answered[3])])
    assert again == answered[3].prompt_ids


def test_a_prompt_is_trimmed_to_what_the_longest_response_leaves(model: Path, data: Path) -> None:
    condition, tokenizer = Condition(method=Method.ICA, max_length=400), load_tokenizer(str(model))

    def prompts(new_tokens: int) -> list[EncodedPair]:
        return list(PairEncoder(Records(str(data)), condition, PromptEncoder(tokenizer, condition, new_tokens)))

    little, much = prompts(10), prompts(120)
    assert all(len(one.prompt_ids) <= 390 for one in little)
    assert all(len(one.prompt_ids) <= 280 for one in much)
    assert sum(one.trimmed_items for one in much) > sum(one.trimmed_items for one in little) > 0
    with pytest.raises(SettingsError, match="--max-new-tokens 400 leaves no room for a prompt in --max-length 400"):
        prompts(400)


def test_a_response_ends_with_what_ends_it_in_the_preset(model: Path) -> None:
    tokenizer = load_tokenizer(str(model))
    ids = tokenizer.get_vocab()
    tokenizer.eos_token = "<|end_of_text|>"  # as in a base model: the template ends turns with another token
    paper = PromptEncoder(tokenizer, Condition(method=Method.ICA), 5)
    assert paper.ends == (ids["<|eot_id|>"], ids["<|end_of_text|>"])
    released = PromptEncoder(tokenizer, Condition(method=Method.ICA, preset="released-eval"), 5)
    assert released.ends == (ids["<|end_of_text|>"],)
    assert paper.length("x") == 2  # the end token included


# the file


def test_a_line_says_what_was_generated_and_how_it_ended(
    model: Path, data: Path, rows: list[dict[str, Any]], responded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model)
    given: dict[str, tuple[Prompt, Generated]] = {}
    inner = Generator.generate

    def watched(self: Generator, batch: Sequence[Prompt]) -> list[Generated]:
        found = inner(self, batch)
        given.update({one.id: (one, said) for one, said in zip(batch, found, strict=True)})
        return found

    monkeypatch.setattr(Generator, "generate", watched)
    output = run(settings(model, data, responded.with_name("again.jsonl")))
    assert output.read_bytes() == responded.read_bytes()
    assert [line["id"] for line in lines(output)] == [row["id"] for row in rows]
    found, _ = read_responses(output)
    assert {one.finish for one in found.values()} == {"stop", "length"}
    for name, (prompt, said) in given.items():
        one = found[name]
        assert (one.prompt_tokens, one.response_tokens) == (len(prompt.ids), len(said.ids))
        assert one.finish == said.finish
        assert one.response == tokenizer.decode(said.ids, skip_special_tokens=True)
        assert "<|" not in one.response
        assert one.finish == "stop" or one.response_tokens == NEW_TOKENS
    assert [name for name, one in found.items() if one.persona_empty] == ["r10"]


@pytest.mark.parametrize("greedy", [True, False], ids=["greedy", "sampled"])
def test_neither_batches_nor_order_nor_other_records_change_a_response(
    greedy: bool, model: Path, data: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    expected = run(settings(model, data, tmp_path / "all", greedy=greedy)).read_bytes()
    for name, change in {"one": {"batch_size": 1}, "few": {"batch_tokens": 900}}.items():
        assert run(settings(model, data, tmp_path / name, greedy=greedy, **change)).read_bytes() == expected
    turned = write_jsonl(tmp_path / "turned.jsonl", [*rows[::-1], {**rows[0], "id": "new"}])
    found = lines(run(settings(model, turned, tmp_path / "turned", greedy=greedy)))
    assert [line["id"] for line in found] == [*(row["id"] for row in rows[::-1]), "new"]
    assert sorted(found[:-1], key=str) == sorted(lines(tmp_path / "all"), key=str)
    assert (found[-1]["response"] == found[-2]["response"]) == greedy  # the same prompt, another id


def test_seeds_give_other_responses_and_greedy_is_temperature_zero(
    model: Path, data: Path, responded: Path, tmp_path: Path
) -> None:
    other = lines(run(settings(model, data, tmp_path / "other", seed=43)))
    assert sum(a["response"] != b["response"] for a, b in zip(lines(responded), other, strict=True)) >= 8
    assert other[0]["settings"] != lines(responded)[0]["settings"]
    greedy = lines(run(settings(model, data, tmp_path / "greedy", greedy=True)))
    cold = lines(run(settings(model, data, tmp_path / "cold", temperature=0)))
    assert greedy == cold


def test_manifest_says_what_responses_are_about_and_what_became_of_them(
    model: Path, data: Path, responded: Path
) -> None:
    found = read_responses(responded)[1]
    assert found.kind == "responses"
    assert found.data is not None
    assert (found.data.source, found.data.records) == (str(data), 11)
    assert found.model is not None
    assert (found.model.name, found.model.dtype) == (str(model), "float32")
    assert found.condition is not None
    assert (found.condition["method"], found.condition["seed"]) == ("ica", 42)
    sampling = {"temperature": 0.9, "top_k": 10, "top_p": 0.95, "seed": 42, "max_new_tokens": NEW_TOKENS}
    assert found.settings["decided_by"] == {**sampling, "backend": "local"}
    of = lines(responded)
    cut = sum(line["finish"] == "length" for line in of)
    assert 0 < cut < 11
    assert (found.counts["generated"], found.counts["cut"], found.counts["shares"]) == (11, cut, [11])
    assert found.counts["response_tokens"] == sum(line["response_tokens"] for line in of)
    assert found.forward is not None
    assert found.forward["exact"] is True
    assert found.forward["read_alone"] >= 1
    assert 0 < found.forward["largest_difference"] < found.forward["allowed_difference"]
    assert {line["settings"] for line in of} == {of[0]["settings"]}


def test_the_end_says_how_many_and_how_many_were_cut(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = lines(run(settings(model, data, tmp_path / "r")))
    said = capsys.readouterr().err
    cut, tokens = sum(one["finish"] == "length" for one in found), sum(one["response_tokens"] for one in found)
    assert f"{tmp_path / 'r'}: 11 records generated\n{cut} of them reached the limit of {NEW_TOKENS} tokens" in said
    assert f"{tokens} tokens written now, " in said


def test_bfloat16_is_said_to_be_not_exact(model: Path, data: Path, tmp_path: Path) -> None:
    found = manifest.read(run(settings(model, data, tmp_path / "r", dtype="bfloat16", limit=3)))
    assert found.forward == {"exact": False}
    assert found.model is not None
    assert found.model.dtype == "bfloat16"


# interruptions


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def interrupt(wanted: GenerateSettings, after: int) -> Path:
    """Start a run that ends without a farewell after ``after`` batches; returns the file of its unfinished lines."""
    inner, calls = Generator.generate, iter(range(after))

    def until_killed(self: Generator, batch: Any) -> Any:
        if next(calls, None) is None:
            raise Killed
        return inner(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Generator, "generate", until_killed)
        with pytest.raises(Killed):
            generate(wanted)
    assert not wanted.output.exists()
    (part,) = wanted.output.with_name(wanted.output.name + ".partial").glob("part-*.jsonl")
    return part


@pytest.mark.parametrize("cut", [0, 30])
def test_interrupted_run_continues_to_the_same_bytes_in_other_batches(
    cut: int, model: Path, data: Path, responded: Path, tmp_path: Path
) -> None:
    part = interrupt(settings(model, data, tmp_path / "r", batch_size=2), after=3)
    assert len(lines(part)) == 6
    part.write_bytes(part.read_bytes()[: -cut or None])  # within the last line
    with pytest.raises(DataError, match="no such file; its run was interrupted: run the same command again"):
        read_responses(tmp_path / "r")
    assert run(settings(model, data, tmp_path / "r")).read_bytes() == responded.read_bytes()
    assert not part.parent.exists()
    assert manifest.read(tmp_path / "r").counts["shares"] == [5 + bool(cut)]


@pytest.mark.usefixtures("no_model")
def test_finished_run_loads_no_model_and_encodes_nothing(
    model: Path, data: Path, responded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generating, "PairEncoder", lambda *_: pytest.fail("prompts were encoded"))
    before = [(path.stat().st_mtime_ns, path.read_bytes()) for path in (responded, manifest.path_of(responded))]
    run(settings(model, data, responded, batch_size=3, attention="eager"))
    assert [(path.stat().st_mtime_ns, path.read_bytes()) for path in (responded, manifest.path_of(responded))] == before
    assert "complete already, 11 records; nothing to do" in capsys.readouterr().err


DIFFERENCES = [
    pytest.param({"seed": 1}, "settings.decided_by.seed (42 against 1)", id="seed"),
    pytest.param({"temperature": 0.5}, "settings.decided_by.temperature (0.9 against 0.5)", id="temperature"),
    pytest.param({"top_k": 0}, "settings.decided_by.top_k (10 against 0)", id="top-k"),
    pytest.param({"top_p": 1.0}, "settings.decided_by.top_p (0.95 against 1.0)", id="top-p"),
    pytest.param({"max_new_tokens": 13}, "settings.decided_by.max_new_tokens (12 against 13)", id="length"),
    pytest.param({"preset": "released-eval"}, "condition.preset (paper against released-eval)", id="preset"),
    pytest.param({"limit": 10}, "data.digest", id="data"),
    pytest.param({"dtype": "bfloat16"}, "model.dtype (float32 against bfloat16)", id="dtype"),
    pytest.param({"condition_seed": 7}, "condition.seed (42 against 7)", id="condition"),
]


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(("change", "said"), DIFFERENCES)
@pytest.mark.parametrize("finished", [True, False], ids=["finished", "interrupted"])
def test_responses_to_something_else_are_refused_by_the_name_of_the_difference(
    change: dict[str, Any], said: str, finished: bool, model: Path, data: Path, responded: Path, tmp_path: Path
) -> None:
    output = tmp_path / "r"
    if finished:
        shutil.copy(responded, output)
        shutil.copy(manifest.path_of(responded), manifest.path_of(output))
    else:
        folder = tmp_path / "r.partial"
        folder.mkdir()
        manifest.write(folder, manifest.read(responded))
        shutil.copy(responded, folder / "part-0-0.jsonl")
    with pytest.raises(DataError, match="holds responses of something else, which differs in") as caught:
        generate(settings(model, data, output, **change))
    assert said in str(caught.value)


def test_an_output_that_another_run_is_writing_is_refused(model: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "r.partial").mkdir()
    held = hold(tmp_path / "r.partial/lock", "generating to this output")
    with pytest.raises(DataError, match=rf"process {os.getpid()} is generating to this output; wait for it or end it"):
        generate(settings(model, data, tmp_path / "r"))
    held.close()


def test_output_that_is_somebody_elses_file_is_refused_and_untouched(model: Path, data: Path, tmp_path: Path) -> None:
    precious = Path(shutil.copy(data, tmp_path / "records.jsonl"))
    with pytest.raises(DataError, match="is there and holds no responses; choose another --output"):
        generate(settings(model, precious, precious))
    assert precious.read_bytes() == data.read_bytes()


# the condition


def test_like_copies_the_condition_of_responses_and_of_scores(model: Path, data: Path, tmp_path: Path) -> None:
    first = run(settings(model, data, tmp_path / "first", method="pba", history=2, preset="released-eval"))
    found = run(settings(model, data, tmp_path / "second", like=first, seed=5))
    assert manifest.read(found).condition == manifest.read(first).condition
    assert manifest.read(found).condition_reason == f"as for {first}"
    of = {"method": "ica", "history": 1, "tell": "comments", "dtype": "float32"}
    scored = score(ScoreSettings(model=str(model), data=str(data), output=tmp_path / "scores", limit=3, **of))
    found = run(settings(model, data, tmp_path / "third", like=scored, limit=3))
    assert manifest.read(found).condition == manifest.read(scored).condition
    assert manifest.read(found).told["tell"] == "comments"


def test_like_and_a_flag_of_the_condition_are_refused_together(
    model: Path, data: Path, responded: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="so it cannot be joined with --history, --seed"):
        generate(settings(model, data, tmp_path / "r", like=responded, history=2, condition_seed=1))


def test_method_is_required_without_like(model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--method is required without --like: ica or pba"):
        generate(settings(model, data, tmp_path / "r", method=None))


def test_script_for_one_method_refuses_the_other_and_like(capsys: pytest.CaptureFixture[str]) -> None:
    for flags, said in (
        (["--method", "pba"], "--method: got 'pba', but this script is for 'ica'"),
        (["--like", "a.jsonl"], "--like brings its own method; use eval/gen_few_shot.py --like"),
    ):
        with pytest.raises(SystemExit) as caught:
            cli.generate("ica", ["--model", "m", "--data", "d", "--output", "o", *flags])
        assert caught.value.code == 2
        assert said in capsys.readouterr().err


# refusals


def test_a_model_without_a_chat_template_is_refused(model: Path, data: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(model, tmp_path / "bare"))
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template, which preset paper needs; use an instruct model"):
        generate(settings(bare, data, tmp_path / "r"))
    assert not (tmp_path / "r.partial").exists()


def test_a_record_that_cannot_fit_is_named_or_skipped_and_counted(model: Path, data: Path, tmp_path: Path) -> None:
    few = {"max_length": 130, "max_new_tokens": 60}
    with pytest.raises(DataError, match=r"record r\d+: \d+ prompt tokens with nothing left to leave out and 60 of the"):
        generate(settings(model, data, tmp_path / "r", **few))
    found = manifest.read(run(settings(model, data, tmp_path / "r", skip_invalid=11, **few)))
    assert found.data is not None
    assert found.data.skipped + found.counts["generated"] == 11
    assert found.data.skipped > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"temperature": -0.1}, "greater than or equal to 0"),
        ({"top_p": 0.0}, "greater than 0"),
        ({"top_p": 1.1}, "less than or equal to 1"),
        ({"top_k": -1}, "greater than or equal to 0"),
        ({"max_new_tokens": 0}, "greater than 0"),
        ({"batch_size": 0}, "greater than 0"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"greedy": True, "temperature": 0.7}, "--greedy is temperature 0, but --temperature is 0.7"),
        ({"base_url": "http://localhost:1/v1"}, "--base-url is for --backend server"),
        ({"skip_failed": 2}, "--skip-failed is for --backend server"),
        ({"backend": "server", "batch_size": 2}, "--batch-size is for --backend local"),
        ({"backend": "server", "dtype": "float32"}, "--dtype is for --backend local"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        GenerateSettings(model="m", data="d", output=Path("o"), method=Method.ICA, **change)


def test_defaults_are_the_papers() -> None:
    found = GenerateSettings(model="m", data="d", output=Path("o"))
    assert (found.max_new_tokens, found.temperature, found.top_k, found.top_p) == (512, 0.9, 10, 0.95)


def test_the_commands_of_the_page_about_responses_are_understood() -> None:
    assert sum(understood(words) for words in commands_of("docs/generation.md")) == 3


@pytest.mark.usefixtures("no_model")
def test_dry_run_says_how_much_there_is_to_do_and_writes_nothing(model: Path, data: Path, tmp_path: Path) -> None:
    said = generate(settings(model, data, tmp_path / "r", dry_run=True))
    assert isinstance(said, str)
    assert said.startswith("11 prompts of ")
    assert said.endswith("at most 132 tokens to write, on this machine")
    assert list(tmp_path.iterdir()) == []


def test_records_without_ids_get_them_and_the_same_responses_whatever_the_limit(model: Path, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "d.jsonl", sample_records(6, seed=3))
    whole = lines(run(settings(model, data, tmp_path / "whole")))
    assert lines(run(settings(model, data, tmp_path / "first", limit=3))) == whole[:3]
