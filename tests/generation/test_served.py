"""Responses of a server: what it is sent, what is kept, and what happens when it fails."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from alignx import cli, manifest
from alignx.chat.connections import Raw
from alignx.chat.server import Answer, Asked, ChatServer, completion, failure
from alignx.errors import ApiError, DataError, PartialError, SettingsError
from alignx.generation.generating import generate
from alignx.generation.responses import read_responses
from alignx.generation.settings import GenerateSettings
from alignx.prompts import Condition, EncodedPair, Encoder, Method, PairEncoder, load_tokenizer, render, tell
from alignx.records import Records
from tests.generation.conftest import NEW_TOKENS, settings


class CompletionServer(ChatServer):
    """Also serves /v1/completions, as vLLM does: token ids in, text out."""

    def respond(self, method: str, path: str, headers: Message, body: bytes) -> Raw:
        if (method, path) != ("POST", "/v1/completions"):
            return super().respond(method, path, headers, body)
        asked = Asked(json.loads(body), headers)
        if asked["model"] != self.model:
            return failure(404, "no such model", code="model_not_found")
        found = self.answer(asked)
        if isinstance(found, Raw):
            return found
        usage = {"prompt_tokens": len(asked["prompt"]), "completion_tokens": len(found.split())}
        choice = {"index": 0, "text": found, "finish_reason": "stop", "stop_reason": None}
        return Raw.json({"object": "text_completion", "model": self.model, "choices": [choice], "usage": usage})


@dataclass
class Notebook:
    """What a server was asked, and what it says."""

    say: Callable[[Asked], str | Raw] = lambda asked: f"All {asked['seed']} of it."
    asked: list[Asked] = field(default_factory=list)

    def __call__(self, asked: Asked) -> str | Raw:
        self.asked.append(asked)
        return self.say(asked)


def server(answer: Answer, model: Path) -> ChatServer:
    return CompletionServer(answer, model=str(model))


def wanted(model: Path, data: Path, output: Path, at: ChatServer, **others: Any) -> GenerateSettings:
    """Settings for a server that calls the model by its folder, as vLLM does; it is asked with little patience."""
    patience = {"patience": 2.0, "timeout": 5.0}
    return settings(model, data, output, backend="server", base_url=at.base_url, **{**patience, **others})


def encoded(model: Path, data: Path) -> list[EncodedPair]:
    condition = Condition(method=Method.ICA)
    return list(PairEncoder(Records(str(data)), condition, Encoder(load_tokenizer(str(model)), condition)))


def test_token_ids_are_those_of_the_prompt_that_is_scored(model: Path, data: Path, tmp_path: Path) -> None:
    book = Notebook()
    with server(book, model) as at:
        generate(wanted(model, data, tmp_path / "r", at, seed=9))
    of = encoded(model, data)
    assert sorted(one["prompt"] for one in book.asked) == sorted(one.prompt_ids for one in of)
    tokenizer = load_tokenizer(str(model))
    how = {"temperature": 0.9, "top_k": 10, "top_p": 0.95, "seed": 9, "stop_token_ids": [tokenizer.eos_token_id]}
    for one in book.asked:
        assert {**one} == {"model": str(model), "prompt": one["prompt"], "max_tokens": NEW_TOKENS, **how}
    found, said = read_responses(tmp_path / "r")
    assert list(found) == [one.id for one in of]
    assert {one.response for one in found.values()} == {"All 9 of it."}
    assert [(one.prompt_tokens, one.response_tokens, one.finish) for one in found.values()] == [
        (len(one.prompt_ids), 4, "stop") for one in of
    ]
    assert said.model is not None
    assert (said.model.name, said.model.digest) == (str(model), "")
    assert said.settings["decided_by"]["send"] == "tokens"
    assert said.forward is not None
    assert said.forward["requests"]["sent"] == 11


def test_messages_are_the_instruction_and_the_text(model: Path, data: Path, tmp_path: Path) -> None:
    book = Notebook()
    with server(book, model) as at:
        generate(wanted(model, data, tmp_path / "r", at, send="messages", top_k=0, greedy=True))
    records, condition = Records(str(data)), Condition(method=Method.ICA)
    said = [render(one, tell(one, condition, records.taxonomy), condition) for one in records]
    expected = [[{"role": "system", "content": one.instruction}, {"role": "user", "content": one.user}] for one in said]
    assert sorted((one["messages"] for one in book.asked), key=str) == sorted(expected, key=str)
    for one in book.asked:
        how = {"temperature": 0.0, "top_p": 0.95, "seed": 42, "max_completion_tokens": NEW_TOKENS}
        assert {**one} == {"model": str(model), "messages": one["messages"], **how}, "no top_k, no form of reply"
    assert manifest.read(tmp_path / "r").settings["decided_by"]["send"] == "messages"


def test_a_trimmed_prompt_is_sent_trimmed_as_messages_too(model: Path, data: Path, tmp_path: Path) -> None:
    book = Notebook()
    with server(book, model) as at:
        generate(wanted(model, data, tmp_path / "r", at, send="messages", max_length=400))
        whole = Notebook()
        at.answer = whole
        generate(wanted(model, data, tmp_path / "whole", at, send="messages"))
    trimmed = [one.id for one in read_responses(tmp_path / "r")[0].values() if one.trimmed_items]
    sent = [{str(one["messages"]) for one in of.asked} for of in (book, whole)]
    assert 0 < len(trimmed) == len(sent[0] - sent[1])
    assert max(map(len, sent[0])) < max(map(len, sent[1]))


def test_a_reply_that_was_cut_or_is_empty_is_a_response_and_asked_for_once(
    model: Path, data: Path, tmp_path: Path
) -> None:
    def say(asked: Asked) -> Raw:
        empty = len(book.asked) % 2
        found = completion(asked, "" if empty else "word " * 40, "stop" if empty else "length")
        return Raw.json(found)

    book = Notebook(say)
    with server(book, model) as at:
        generate(wanted(model, data, tmp_path / "r", at, send="messages"))
    found, said = read_responses(tmp_path / "r")
    assert len(book.asked) == 11
    assert sorted((one.response, one.finish) for one in found.values()) == (
        [("", "stop")] * 6 + [("word " * 40, "length")] * 5
    )
    assert said.counts["cut"] == 5
    assert all(one.response_tokens > 0 for one in found.values())


def test_what_failed_is_counted_with_reasons_and_asked_for_again_alone(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = [encoded(model, data)[n].prompt_ids for n in (2, 5)]

    def say(asked: Asked) -> str | Raw:
        if asked["prompt"] == refused[0]:
            return failure(400, "this is too long")
        if asked["prompt"] == refused[1]:
            return Raw.json({"choices": [{"text": "", "finish_reason": "content_filter"}]})
        return "Fine."

    book = Notebook(say)
    with server(book, model) as at:
        of = wanted(model, data, tmp_path / "r", at)
        said = r"2 of 11 records have no response: 1 × .*; all others are kept, and the same command asks for these"
        with pytest.raises(PartialError, match=said) as caught:
            generate(of)
        assert "1 × HTTP 400: this is too long" in str(caught.value)
        assert "1 × stopped by a content filter" in str(caught.value)
        assert caught.value.exit_code == 6
        with pytest.raises(DataError, match="its run was interrupted"):
            read_responses(tmp_path / "r")
        book.asked.clear()
        book.say = lambda _: "Fine now."
        generate(of)
        assert sorted(one["prompt"] for one in book.asked) == sorted(refused)
        book.asked.clear()
        generate(of)
        assert book.asked == []
    found, _ = read_responses(tmp_path / "r")
    assert [one.response for one in found.values()].count("Fine now.") == 2
    assert "complete already, 11 records; nothing to do" in capsys.readouterr().err


def test_records_that_may_stay_without_a_response_are_left_out_and_counted(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = encoded(model, data)[0].prompt_ids
    with server(lambda asked: failure(400, "no") if asked["prompt"] == first else "Yes.", model) as at:
        generate(wanted(model, data, tmp_path / "r", at, skip_failed=1))
    found, said = read_responses(tmp_path / "r")
    assert list(found) == [f"r{n}" for n in range(1, 11)]
    assert (said.counts["failed"], said.counts["generated"]) == (1, 10)
    assert "1 records have no response: 1 × HTTP 400: no" in capsys.readouterr().err


def test_replies_are_kept_when_the_server_dies_and_nothing_is_asked_twice(
    model: Path, data: Path, tmp_path: Path
) -> None:
    def dies(asked: Asked) -> str | Raw:
        return "Yes." if len(book.asked) <= 4 else failure(401, "the key has been revoked")

    book = Notebook(dies)
    with server(book, model) as at:
        of = wanted(model, data, tmp_path / "r", at, concurrency=1)
        with pytest.raises(ApiError, match="the key is refused"):
            generate(of)
        book.asked.clear()
        book.say = lambda _: "Yes."
        generate(of)
    assert len(book.asked) == 7
    assert len(read_responses(tmp_path / "r")[0]) == 11


def test_the_number_of_requests_under_way_changes_no_response(model: Path, data: Path, tmp_path: Path) -> None:
    with server(lambda asked: f"I was told {sum(asked['prompt'])}.", model) as at:
        for name, concurrency in (("one", 1), ("many", 32)):
            generate(wanted(model, data, tmp_path / name, at, concurrency=concurrency))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "many").read_bytes()


def test_a_server_without_completions_is_named_with_the_setting_that_helps(
    model: Path, data: Path, tmp_path: Path
) -> None:
    with ChatServer(lambda _: "Yes.", model=str(model)) as at:
        of = settings(model, data, tmp_path / "r", backend="server", base_url=at.base_url, patience=2.0)
        with pytest.raises(ApiError, match="a server without /completions wants --send messages"):
            generate(of)
        generate(of.model_copy(update={"send": "messages", "output": tmp_path / "m"}))


def test_another_tokenizer_can_be_named(model: Path, data: Path, tmp_path: Path) -> None:
    book = Notebook()
    with CompletionServer(book, model="served-as-this") as at:
        generate(wanted(Path("served-as-this"), data, tmp_path / "r", at, tokenizer=str(model)))
    assert sorted(one["prompt"] for one in book.asked) == sorted(one.prompt_ids for one in encoded(model, data))


def test_dry_run_sends_nothing(model: Path, data: Path, tmp_path: Path) -> None:
    book = Notebook()
    with server(book, model) as at:
        said = generate(wanted(model, data, tmp_path / "r", at, dry_run=True))
    assert isinstance(said, str)
    assert said.startswith("requests: 11 to send, 0 answered already")
    assert book.asked == []
    assert list(tmp_path.iterdir()) == []


def test_a_server_is_asked_by_one_process(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accelerate import PartialState

    monkeypatch.setitem(PartialState()._shared_state, "num_processes", 2)
    with pytest.raises(SettingsError, match="one process asks a server; --concurrency says how much at once"):
        generate(settings(model, data, tmp_path / "r", backend="server", base_url="http://localhost:1/v1"))


def test_nobody_at_the_address_is_exit_code_5(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--model", model, "--data", data, "--output", tmp_path / "r", "--backend", "server"]
    with pytest.raises(SystemExit) as caught:
        cli.generate("ica", [*map(str, flags), "--base-url", "http://127.0.0.1:9/v1"])
    assert caught.value.code == 5
    assert "no server answers" in capsys.readouterr().err


def test_without_an_address_requests_need_the_key_of_the_public_server(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(SettingsError, match="OPENAI_API_KEY is not set"):
        generate(settings(model, data, tmp_path / "r", backend="server"))
