"""Token ids of prompts and responses, for tokenizers in the style of each model family, made on the spot."""

import datetime as real_datetime
import os
import random
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from jinja2 import TemplateError
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from transformers import ByT5Tokenizer

from alignx.errors import ModelError
from alignx.prompts import Condition, Encoder, Method, Rendered, load_tokenizer, render, tell
from alignx.prompts.framing import RESPONSE, SYSTEM, USER
from alignx.records import Choice, Comment, Persona, Record, load_taxonomy
from tests.prompts.tokenizers_on_the_spot import (
    LLAMA_TEMPLATE,
    MISTRAL_TEMPLATE,
    QWEN_TEMPLATE,
    Family,
    byte_level,
    clean_text,
    families,
    llama,
    look_alikes,
    qwen,
    qwen3,
    sentence_piece,
    wrap,
)

PAPER = Condition(method=Method.ICA)
RELEASED = ("released-train", "released-eval")
PRESETS = ("paper", *RELEASED)
TAXONOMY = load_taxonomy()
CHATML = QWEN_TEMPLATE.replace("<tool_call>", "").replace("</tool_call>", "")
SPECIAL = ("<|im_start|>", "<|im_end|>")


@pytest.fixture(params=families())
def family(request: pytest.FixtureRequest) -> Family:
    return families()[request.param]()


def encode(encoder: Encoder, instruction: str, user: str, response: str) -> list[int]:
    return encoder.prompt(Rendered(instruction, user)) + encoder.responses([response])[0]


def chatml(
    template: str = CHATML, name: str = "odd-one", change: Callable[[Tokenizer], None] = lambda backend: None
) -> Any:
    """A small ChatML tokenizer, its backend changed."""
    backend = byte_level(r"\s+|\S+", merges=50)
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    change(backend)
    return wrap(backend, name, template, eos="<|im_end|>")


# Clean text: exactly the ids of the whole string.


def test_clean_text_gets_the_ids_that_the_tokenizer_gives_to_the_whole_conversation(family: Family) -> None:
    encoder, rng = Encoder(family.tokenizer, PAPER), random.Random(family.name)
    for _ in range(500):
        instruction, user = clean_text(rng), clean_text(rng)
        response = clean_text(rng)
        if not family.trims:  # what begins with a newline: see the two tests below
            response = re.sub(r"^\s*\n", "", response)
        assert encode(encoder, instruction, user, response) == family.ids(family.written(instruction, user, response))


def test_a_prompt_alone_gets_the_ids_of_the_generation_prompt(family: Family) -> None:
    encoder, rng = Encoder(family.tokenizer, PAPER), random.Random(family.name)
    for _ in range(200):
        instruction, user = clean_text(rng), clean_text(rng)
        own = family.written(instruction, user)
        if family.name == "qwen3":  # what stands between the generation prompt and an answer belongs to the response
            assert "<think>" not in own
        assert encoder.prompt(Rendered(instruction, user)) == family.ids(own)


def test_a_response_that_begins_with_a_newline_is_scored_after_the_prompt_as_generated() -> None:
    # Qwen's prompt ends in "assistant\n". Whole, "\n" + "\nYes" holds the token "\n\n"; a model that generates has read
    # "\n" and goes on with "\nYes".
    encoder, family = Encoder(qwen().tokenizer, PAPER), qwen()
    prompt = encoder.prompt(Rendered("Answer.", "Is it?"))
    (response,) = encoder.responses(["\nYes"])
    assert prompt == family.ids(family.written("Answer.", "Is it?"))
    assert response == family.ids("\nYes<|im_end|>")
    assert family.tokenizer.decode(prompt + response) == family.written("Answer.", "Is it?", "\nYes")
    assert prompt + response != family.ids(family.written("Answer.", "Is it?", "\nYes"))


def test_a_response_that_begins_with_a_newline_reads_as_the_template_writes_it(family: Family) -> None:
    # Qwen3's template removes newlines, and nothing else, from the beginning of an answer.
    encoder = Encoder(family.tokenizer, PAPER)
    found = family.tokenizer.decode(encode(encoder, "Answer.", "Is it?", "\n\n Yes \n"))
    assert found == family.written("Answer.", "Is it?", "\n\n Yes \n")


@pytest.mark.parametrize("preset", RELEASED)
@pytest.mark.parametrize("name", ["llama", "stand-in"])
def test_a_released_preset_gets_the_ids_of_its_literal_string(name: str, preset: str) -> None:
    family = families()[name]()
    encoder, rng = Encoder(family.tokenizer, Condition(method=Method.ICA, preset=preset)), random.Random(preset)
    bos, end = {"released-train": ("", " <|eot_id|>"), "released-eval": ("<|begin_of_text|>", "<|eot_id|>")}[preset]
    for _ in range(300):
        instruction, user, response = clean_text(rng), clean_text(rng), clean_text(rng)
        kept = response.rstrip("\n") if preset == "released-train" else response
        whole = (
            f"{bos}<|start_header_id|>system<|end_header_id|>\n\n{instruction}\n<|eot_id|>"
            f"<|start_header_id|>user<|end_header_id|>\n\n{user}<|eot_id|>"
            f"<|start_header_id|>assistant<|end_header_id|>{kept}{end}"
        )
        assert encode(encoder, instruction, user, response) == family.ids(whole)


def test_llama_s_prompt_worked_by_hand() -> None:
    found = encode(Encoder(llama().tokenizer, PAPER), "Be brief.", " Hi\n\n", "\nYo ")
    assert llama().tokenizer.decode(found) == (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
        "Today Date: 26 Jul 2024\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nYo<|eot_id|>"
    )


def test_a_template_that_refuses_a_system_turn_gets_the_instruction_as_the_first_paragraph_of_the_user_turn() -> None:
    gemma = families()["gemma"]()
    with pytest.raises(TemplateError, match="System role not supported"):
        gemma.tokenizer.apply_chat_template([{"role": "system", "content": "Be brief."}], tokenize=False)
    found = encode(Encoder(gemma.tokenizer, PAPER), "Be brief.", "***Task***\n\nHi\n\n", "Yo")
    assert gemma.tokenizer.decode(found) == (
        "<bos><start_of_turn>user\nBe brief.\n\n***Task***\n\nHi<end_of_turn>\n<start_of_turn>model\nYo<end_of_turn>"
    )


def test_a_template_that_drops_the_system_turn_gets_the_instruction_in_the_user_turn() -> None:
    silent = CHATML.replace("messages[0]['role'] == 'system'", "false").replace("or not loop.first", "")
    tokenizer = chatml(silent)
    found = encode(Encoder(tokenizer, PAPER), "Be brief.", "Hi", "Yo")
    assert tokenizer.decode(found) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nBe brief.\n\nHi<|im_end|>\n"
        "<|im_start|>assistant\nYo<|im_end|>"
    )


def test_a_template_that_merges_the_system_turn_keeps_its_own_way_of_doing_so() -> None:
    mistral = families()["mistral"]()
    found = encode(Encoder(mistral.tokenizer, PAPER), "Be brief.", "Hi\n", "Yo")
    assert mistral.tokenizer.decode(found) == "<s>[INST]Be brief.\n\nHi\n[/INST]Yo</s>"


def test_what_the_template_writes_before_an_answer_belongs_to_the_response() -> None:
    encoder = Encoder(qwen3().tokenizer, PAPER)
    assert qwen3().tokenizer.decode(encoder.prompt(Rendered("I", "U"))).endswith("<|im_start|>assistant\n")
    (response,) = encoder.responses(["Yo"])
    assert qwen3().tokenizer.decode(response) == "<think>\n\n</think>\n\nYo<|im_end|>"


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_a_batch_is_encoded_as_its_texts_are_one_by_one(family: Family, batch: int) -> None:
    encoder, rng = Encoder(family.tokenizer, PAPER), random.Random(batch)
    rendered = [Rendered(rng.choice(("One.", "Two.")), clean_text(rng)) for _ in range(batch)]
    answers = [clean_text(rng) for _ in range(batch)]
    assert encoder.prompts(rendered) == [Encoder(family.tokenizer, PAPER).prompt(one) for one in rendered]
    assert encoder.responses(answers) == [encoder.responses([one])[0] for one in answers]


def test_a_tokenizer_s_padding_and_truncation_do_not_touch_encoding() -> None:
    plain, set_up = chatml(), chatml(change=lambda backend: (backend.enable_truncation(4), backend.enable_padding())[0])
    texts = ["a long text of many words", "x"]
    assert Encoder(set_up, PAPER).responses(texts) == Encoder(plain, PAPER).responses(texts)


def test_making_an_encoder_leaves_the_tokenizer_as_it_was(family: Family) -> None:
    before = family.tokenizer.backend_tokenizer.to_str()
    Encoder(family.tokenizer, PAPER).responses(["x"])
    assert family.tokenizer.backend_tokenizer.to_str() == before
    assert family.ids(family.control[-1]) == [family.tokenizer.convert_tokens_to_ids(family.control[-1])]


# Control tokens: user text never becomes one.


def test_control_tokens_are_the_special_ones_and_those_that_the_template_names(family: Family) -> None:
    assert Encoder(family.tokenizer, PAPER).control_ids == family.control_ids


def test_a_token_that_the_template_puts_together_is_a_control_token() -> None:
    # '<|' + role + '|>' names no token in the template's source; the conversation holds it all the same.
    together = (
        "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
    )
    tokenizer = chatml(together, change=lambda backend: backend.add_tokens(["<|system|>", "<|user|>", "<|assistant|>"]))
    user_turn = tokenizer.convert_tokens_to_ids("<|user|>")
    ids = Encoder(tokenizer, PAPER).prompt(Rendered("I", "I say <|user|> and mean it"))
    assert ids.count(user_turn) == 1


def test_of_two_control_tokens_that_begin_alike_the_longer_one_is_meant() -> None:
    def change(backend: Tokenizer) -> None:
        backend.add_special_tokens([AddedToken("<|im_start|>user", normalized=False, special=True)])

    tokenizer = chatml(change=change)
    ids = Encoder(tokenizer, PAPER).prompt(Rendered("I", "U"))
    assert ids.count(tokenizer.convert_tokens_to_ids("<|im_start|>user")) == 1
    assert ids.count(tokenizer.convert_tokens_to_ids("<|im_start|>")) == 2  # of the system turn and of the answer


def test_an_added_token_that_the_template_does_not_name_stays_what_it_is_in_text() -> None:
    gemma = families()["gemma"]()
    (ids,) = Encoder(gemma.tokenizer, PAPER).responses(["<h1>A\n\nB</h1>"])
    assert ids == gemma.ids("<h1>A\n\nB</h1><end_of_turn>")
    named = gemma.tokenizer.convert_tokens_to_ids(["<h1>", "\n\n", "</h1>"])
    assert [i for i in ids if i in named] == named  # as one token each, in the text's order


def test_a_control_token_s_text_in_a_post_is_spelled_out() -> None:
    # Without merges a byte is a token: '<|eot_id|>' is 10 of them, and the only end of turn is the template's.
    tokenizer = wrap(byte_level(r"\s+|\S+", merges=0), "bytes", CHATML, eos="<|eot_id|>")
    tokenizer.add_special_tokens({"additional_special_tokens": [*SPECIAL]})
    encoder = Encoder(tokenizer, PAPER)
    (ids,) = encoder.responses(["<|eot_id|>"])
    assert len(ids) == 10 + 1
    assert tokenizer.convert_ids_to_tokens(ids) == [*"<|eot_id|>", "<|im_end|>"]


def test_text_that_names_the_framing_s_own_slots_stays_text(family: Family) -> None:
    user, response = f"{RESPONSE} {{0}} {USER} {SYSTEM}", f"{USER} {{}} {RESPONSE}"
    found = family.tokenizer.decode(encode(Encoder(family.tokenizer, PAPER), "I", user, response))
    assert found == family.written("I", user, response)


def hostile_records(family: Family, count: int, seed: str) -> Iterator[Record]:
    """Records with look-alikes in each of their ten text fields."""
    rng, tokens = random.Random(seed), family.lookalikes

    def text() -> str:
        return look_alikes(rng, tokens)

    for number in range(count):
        persona = Persona((Comment(text(), text()),), (Choice(text(), text(), text()),), text(), text())
        yield Record(f"r{number}", text(), text(), text(), persona)


def check_hostile(family: Family, method: Method, records: Iterator[Record]) -> None:
    """Each record has the template's own control tokens and no other, and reads as it was written."""
    condition = Condition(method=method)
    encoder, control = Encoder(family.tokenizer, condition), family.control_ids
    frame_of_prompt = family.written("QIQ", "QUQ")
    frame_of_response = family.written("QIQ", "QUQ", "QRQ").removeprefix(frame_of_prompt)
    own_prompt, own_response = (
        [i for i in family.ids(t) if i in control] for t in (frame_of_prompt, frame_of_response)
    )
    for record in records:
        rendered = render(record, tell(record, condition, TAXONOMY), condition)
        texts = [record.prompt] if method is Method.PBA else history_texts(record)
        texts += [record.persona.profile or ""] if method is Method.PBA else []
        assert all(text in rendered.user for text in texts)
        prompt = encoder.prompt(rendered)
        assert [i for i in prompt if i in control] == own_prompt
        assert decoded(family, prompt) == filled(family, frame_of_prompt, QIQ=rendered.instruction, QUQ=rendered.user)
        for answer, ids in zip(
            (record.chosen, record.rejected), encoder.responses([record.chosen, record.rejected]), strict=True
        ):
            assert [i for i in ids if i in control] == own_response
            if family.name == "qwen3" and answer.startswith("\n"):
                continue  # the test on leading newlines
            assert decoded(family, ids) == filled(family, frame_of_response, QRQ=answer)


def history_texts(record: Record) -> list[str]:
    """Every text of a record that ICA shows in the prompt."""
    (comment,), (choice,) = record.persona.comments, record.persona.choices
    history = [comment.prompt, comment.comment, choice.prompt, choice.chosen, choice.rejected]
    return [record.prompt, *history, record.persona.demographics]


def filled(family: Family, frame: str, **texts: str) -> str:
    """The template's text with its markers replaced: what the template does to hostile text has no say in it."""
    if not family.system and "QUQ" in texts:
        texts = {"QIQ\n\nQUQ": f"{texts['QIQ']}\n\n{texts['QUQ']}"}
    for marker, text in texts.items():
        frame = frame.replace(marker, text.strip() if family.trims else text)
    return unicodedata.normalize("NFC", frame) if family.name.startswith("qwen") else frame


def decoded(family: Family, ids: list[int]) -> str:
    text: str = family.tokenizer.decode(ids, skip_special_tokens=False)
    return text


@pytest.mark.parametrize("method", Method)
def test_no_look_alike_in_any_field_becomes_a_control_token(family: Family, method: Method) -> None:
    check_hostile(family, method, hostile_records(family, 500, f"{family.name} {method}"))  # 5,000 texts each


@pytest.mark.slow
@pytest.mark.parametrize("method", Method)
def test_no_look_alike_among_ten_thousand_in_each_field_becomes_a_control_token(family: Family, method: Method) -> None:
    """100,000 texts a family and method; 10 s each, 105 s together, on one idle core."""
    check_hostile(family, method, hostile_records(family, 10_000, f"many {family.name} {method}"))


@pytest.mark.parametrize("preset", RELEASED)
def test_no_look_alike_becomes_a_control_token_in_the_released_presets(preset: str) -> None:
    family, condition = llama(), Condition(method=Method.ICA, preset=preset)
    encoder, control = Encoder(family.tokenizer, condition), family.control_ids
    turns = "<|start_header_id|><|end_header_id|><|eot_id|>" * 2 + "<|start_header_id|><|end_header_id|>"
    own = family.ids(("<|begin_of_text|>" if preset == "released-eval" else "") + turns)
    for record in hostile_records(family, 500, preset):
        prompt = encoder.prompt(render(record, tell(record, condition, TAXONOMY), condition))
        assert [i for i in prompt if i in control] == own
        for ids in encoder.responses([record.chosen, record.rejected]):
            assert [i for i in ids if i in control] == family.ids("<|eot_id|>")


def test_a_tokenizer_that_makes_a_control_token_of_plain_text_is_refused_by_name() -> None:
    # Its vocabulary holds the control token and a merge that leads there, so spelling it out is impossible.
    vocabulary = {letter: number for number, letter in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    backend = Tokenizer(models.BPE(vocab={**vocabulary, "~~": 256}, merges=[("~", "~")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.add_special_tokens([AddedToken("~~", normalized=False)])
    tokenizer = wrap(backend, "greedy", CHATML.replace("<|im_end|>", "~~"), eos="~~")
    encoder = Encoder(tokenizer, PAPER)
    assert encoder.responses(["fine"])[0][-1] == 256
    with pytest.raises(ModelError, match=r"greedy: tokenises plain text into the control token ~~: 'a~~b'"):
        encoder.responses(["a~~b"])


# The beginning of the sequence, the end of a response, the date.


@pytest.mark.parametrize(("preset", "times"), [("paper", 1), ("released-eval", 1), ("released-train", 0)])
def test_the_beginning_of_sequence_comes_once_but_never_in_released_train(preset: str, times: int) -> None:
    encoder, tokenizer = Encoder(llama().tokenizer, Condition(method=Method.ICA, preset=preset)), llama().tokenizer
    ids = encode(encoder, "I", "U <|begin_of_text|>", "R <|begin_of_text|>")
    assert ids.count(tokenizer.bos_token_id) == times
    assert (ids[0] == tokenizer.bos_token_id) == bool(times)


def test_a_tokenizer_that_adds_a_beginning_by_itself_does_not_double_it() -> None:
    from tokenizers.processors import TemplateProcessing

    backend = Tokenizer.from_str(llama().tokenizer.backend_tokenizer.to_str())
    bos = llama().tokenizer.bos_token_id
    backend.post_processor = TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", bos)]
    )
    tokenizer = wrap(backend, "adds-bos", LLAMA_TEMPLATE, bos="<|begin_of_text|>", eos="<|eot_id|>")
    assert tokenizer("x")["input_ids"].count(bos) == 1  # it does add one
    assert encode(Encoder(tokenizer, PAPER), "I", "U", "R").count(bos) == 1


@pytest.mark.parametrize("preset", PRESETS)
def test_the_end_of_a_response_comes_once_and_last(preset: str) -> None:
    encoder = Encoder(llama().tokenizer, Condition(method=Method.ICA, preset=preset))
    end = llama().tokenizer.eos_token_id
    for text in ("Yes.", "Yes.\n\n", "Yes.<|eot_id|>", "<|eot_id|>", " "):
        (ids,) = encoder.responses([text])
        assert (ids.count(end), ids[-1]) == (1, end)


def test_every_family_ends_a_response_once_with_its_end_of_turn(family: Family) -> None:
    (ids,) = Encoder(family.tokenizer, PAPER).responses(["Yes."])
    end = {"gemma": "<end_of_turn>", "mistral": "</s>"}.get(family.name, family.tokenizer.eos_token)
    assert ids[-1] == family.tokenizer.convert_tokens_to_ids(end)
    assert ids.count(ids[-1]) == 1


def test_released_train_strips_the_response_s_newlines_and_ends_it_with_a_space_and_the_end() -> None:
    encoder = Encoder(llama().tokenizer, Condition(method=Method.ICA, preset="released-train"))
    (ids,) = encoder.responses(["\nYes. \n\n"])
    assert llama().tokenizer.decode(ids) == "\nYes.  <|eot_id|>"  # its own space, then the preset's


def test_the_date_in_a_prompt_is_the_condition_s() -> None:
    for condition, date in ((PAPER, "26 Jul 2024"), (Condition(method=Method.ICA, date="01 Feb 2003"), "01 Feb 2003")):
        prompt = llama().tokenizer.decode(Encoder(llama().tokenizer, condition).prompt(Rendered("I", "U")))
        assert f"Today Date: {date}\n\nI<|eot_id|>" in prompt


@pytest.mark.parametrize(
    "template",
    [
        pytest.param(LLAMA_TEMPLATE, id="date_string or today"),
        pytest.param("{{ '<|im_start|>' + strftime_now('%d %b %Y') }}" + CHATML, id="today whatever date_string says"),
    ],
)
def test_a_prompt_is_the_same_tomorrow(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.utils import chat_template_utils

    def on(day: int) -> list[int]:
        class Clock(real_datetime.datetime):
            @classmethod
            def now(cls, tz: Any = None) -> "Clock":
                return cls(2031, 5, day)

        monkeypatch.setattr(chat_template_utils, "datetime", Clock)
        tokenizer = llama().tokenizer if template == LLAMA_TEMPLATE else chatml(template)
        return Encoder(tokenizer, PAPER).prompt(Rendered("I", "U"))

    assert on(7) == on(8)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("strftime_now('%d %B %Y')", "26 July 2024"),
        ('strftime_now("%Y-%m-%d") + strftime_now( "%A" )', "2024-07-26Friday"),
        ("(strftime_now('%Y') if strftime_now is defined else '')", "2024"),
    ],
)
def test_a_template_that_writes_today_s_date_writes_the_condition_s_in_its_own_format(call: str, said: str) -> None:
    tokenizer = chatml("{{ '<|im_start|>' + " + call + " }}" + CHATML)
    prompt = tokenizer.decode(Encoder(tokenizer, PAPER).prompt(Rendered("I", "U")))
    assert prompt.startswith(f"<|im_start|>{said}<|im_start|>system\nI<|im_end|>")


@pytest.mark.parametrize(
    "said",
    [
        "{% set wanted = '%Y' %}{{ '<|im_start|>' + strftime_now(wanted) }}",
        "{{ '<|im_start|>' + strftime_now(format='%Y') }}",
        "{% set now = strftime_now %}{{ '<|im_start|>' + now('%Y') }}",
    ],
    ids=["in a variable", "by keyword", "by another name"],
)
def test_a_template_whose_date_format_cannot_be_read_never_gets_today_s_date(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.utils import chat_template_utils

    class Clock(real_datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Clock":
            return cls(2031, 5, 7)

    monkeypatch.setattr(chat_template_utils, "datetime", Clock)
    tokenizer = chatml(said + CHATML)
    try:
        found = tokenizer.decode(Encoder(tokenizer, PAPER).prompt(Rendered("I", "U")))
    except ModelError as refusal:
        found = str(refusal)
        assert found.startswith("odd-one: its chat template")
    assert "2031" not in found


# What is refused, by name.


def metaspace(scheme: str, control: Sequence[str] = SPECIAL) -> Tokenizer:
    """A backend in the style of sentencepiece that puts a space before texts."""
    backend = sentence_piece(control, ())
    backend.normalizer = None
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme, split=False)
    return backend


def spaced(scheme: str) -> Any:
    return wrap(metaspace(scheme), "odd-one", CHATML, eos="<|im_end|>")


def eats_white_space(token: str, **sides: bool) -> Any:
    def change(backend: Tokenizer) -> None:
        backend.add_special_tokens([AddedToken(token, normalized=False, special=True, **sides)])

    return chatml(change=change)


REFUSED_TOKENIZERS = {
    "a space is put before the first text only": lambda: spaced("first"),
    "a space is put before every text": lambda: spaced("always"),  # so before an answer that follows "assistant\n"
    "a control token eats the white space after it": lambda: eats_white_space("<|im_end|>", rstrip=True),
    "a control token eats the white space before it": lambda: eats_white_space("<|im_end|>", lstrip=True),
}


@pytest.mark.parametrize("make", REFUSED_TOKENIZERS.values(), ids=REFUSED_TOKENIZERS)
def test_a_tokenizer_that_splits_a_text_differently_alone_is_refused_by_name(make: Callable[[], Any]) -> None:
    with pytest.raises(ModelError, match=r"odd-one: its tokenizer splits a text differently alone and inside"):
        Encoder(make(), PAPER)


def test_a_tokenizer_that_puts_a_space_before_every_text_passes_where_control_tokens_surround_each_text() -> None:
    # [INST]…[/INST]answer</s>: every text stands between control tokens, so alone and whole get the same space.
    control = ("<unk>", "<s>", "</s>", "[INST]", "[/INST]")
    tokenizer = wrap(metaspace("always", control), "spaced", MISTRAL_TEMPLATE, bos="<s>", eos="</s>")
    family, rng = Family("spaced", tokenizer, control, system=True, trims=False), random.Random(6)
    encoder = Encoder(tokenizer, PAPER)
    for _ in range(200):
        instruction, user, response = clean_text(rng), clean_text(rng), clean_text(rng)
        assert encode(encoder, instruction, user, response) == family.ids(family.written(instruction, user, response))


def test_a_tokenizer_without_a_fast_backend_is_refused_by_name() -> None:
    slow = ByT5Tokenizer()
    slow.name_or_path, slow.chat_template = "slow-one", CHATML
    with pytest.raises(ModelError, match=r"slow-one: its tokenizer has no fast \(Rust\) backend"):
        Encoder(slow, PAPER)


def turns(content: str) -> str:
    """A ChatML template that does something to every content."""
    return (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + ("
        + content
        + ") + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )


CHANGES = {
    "lower case": turns("m['content'] | lower"),
    "upper case": turns("m['content'] | upper"),
    "escaped HTML": turns("m['content'] | e"),
    "joined lines": turns("m['content'] | replace('\n\n', '\n')"),
    "cut short": turns("m['content'][:40]"),
    "double spaces": turns("m['content'] | replace('  ', ' ')"),
    "no user turn": turns("m['content'] if m['role'] != 'user' else ''"),
    "no answer": turns("m['content'] if m['role'] != 'assistant' else ''"),
    "a kind of white space stripped": turns("m['content'].strip('\t')"),
}


@pytest.mark.parametrize("template", CHANGES.values(), ids=CHANGES)
def test_a_template_that_changes_what_a_turn_says_is_refused_by_name(template: str) -> None:
    with pytest.raises(ModelError, match=r"^odd-one: its chat template"):
        Encoder(chatml(template), PAPER)


@pytest.mark.parametrize(
    ("strip", "kept"),
    [("lstrip()", "Yes \n"), ("rstrip('\n')", "\n Yes "), ("strip()", "Yes"), ("strip(' ')", "\n Yes \n")],
)
def test_what_a_template_strips_is_stripped_likewise(strip: str, kept: str) -> None:
    tokenizer = chatml(turns(f"m['content'].{strip}"))
    assert tokenizer.decode(Encoder(tokenizer, PAPER).responses(["\n Yes \n"])[0]) == kept + "<|im_end|>"


def test_a_template_that_says_a_turn_as_it_is_passes_where_those_above_are_refused() -> None:
    tokenizer = chatml(turns("m['content']"))
    assert tokenizer.decode(Encoder(tokenizer, PAPER).responses(["A  b\n"])[0]) == "A  b\n<|im_end|>"


REFUSED_TEMPLATES = {
    "no template": (None, "no chat template, which preset paper needs"),
    "a prompt that changes once answered": (
        MISTRAL_TEMPLATE.replace("system if loop.first", "system if loop.last"),
        "renders a prompt differently once it is answered",
    ),
    "no end of turn": (
        "{% for m in messages %}{{ m['content'] }}{% endfor %}",
        "ends a response with no control token",
    ),
    "a template with an error": ("{% for m in messages %}{{ m['content'] }}", "chat template"),
    "a template that refuses everything": ("{{ raise_exception('no') }}", "chat template"),
}


@pytest.mark.parametrize(("template", "message"), REFUSED_TEMPLATES.values(), ids=REFUSED_TEMPLATES)
def test_a_template_that_cannot_frame_a_response_is_refused_by_name(template: str | None, message: str) -> None:
    with pytest.raises(ModelError, match=rf"^odd-one: .*{message}"):
        Encoder(chatml(template), PAPER)  # type: ignore[arg-type]


@pytest.mark.parametrize("preset", RELEASED)
def test_a_released_preset_without_llama_s_control_tokens_is_refused_by_name(preset: str) -> None:
    with pytest.raises(
        ModelError, match=r"qwen-like: no control token <\|start_header_id\|>, which the released presets need"
    ):
        Encoder(qwen().tokenizer, Condition(method=Method.ICA, preset=preset))


def llama_control_only(bos: str | None, eos: str | None) -> Any:
    backend = byte_level(r"\s+|\S+", merges=0)
    names = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|begin_of_text|>"]
    backend.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in names])
    tokenizer = wrap(backend, "bare", None, bos=bos, eos=eos or "<|eot_id|>")
    tokenizer.eos_token = eos
    return tokenizer


def test_released_eval_without_a_beginning_of_sequence_is_refused_by_name_and_released_train_is_not() -> None:
    tokenizer = llama_control_only(None, "<|eot_id|>")
    with pytest.raises(ModelError, match=r"bare: no beginning-of-sequence token, which preset released-eval needs"):
        Encoder(tokenizer, Condition(method=Method.ICA, preset="released-eval"))
    assert Encoder(tokenizer, Condition(method=Method.ICA, preset="released-train")).prompt(Rendered("I", "U"))


@pytest.mark.parametrize("preset", RELEASED)
def test_a_released_preset_without_an_end_of_sequence_is_refused_by_name(preset: str) -> None:
    with pytest.raises(ModelError, match=r"bare: no end-of-sequence token, which the released presets need"):
        Encoder(llama_control_only("<|begin_of_text|>", None), Condition(method=Method.ICA, preset=preset))


def test_a_tokenizer_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere: cannot load its tokenizer: \S"):
        load_tokenizer(str(tmp_path / "nowhere"))


# The digest.


def test_the_digest_tells_tokenizers_templates_presets_and_dates_apart() -> None:
    tokenizer = llama().tokenizer
    other_words = chatml(change=lambda backend: setattr(backend, "normalizer", normalizers.NFC()))
    digests = [
        Encoder(tokenizer, PAPER).digest,
        Encoder(tokenizer, Condition(method=Method.ICA, date="01 Feb 2003")).digest,
        Encoder(tokenizer, Condition(method=Method.ICA, preset="released-eval")).digest,
        Encoder(tokenizer, Condition(method=Method.ICA, preset="released-train")).digest,
        Encoder(chatml(), PAPER).digest,
        Encoder(chatml(CHATML.replace("<|im_end|>' + '\\n'", "<|im_end|>'")), PAPER).digest,
        Encoder(chatml(turns("m['content'] | trim")), PAPER).digest,
        Encoder(other_words, PAPER).digest,
    ]
    assert len(set(digests)) == len(digests)
    # Another template's source that frames these turns alike is no difference.
    assert Encoder(chatml(CHATML.replace("helpful", "kind")), PAPER).digest == Encoder(chatml(), PAPER).digest


def test_the_digest_of_a_saved_and_loaded_tokenizer_is_the_same(tmp_path: Path) -> None:
    llama().tokenizer.save_pretrained(tmp_path)
    assert Encoder(load_tokenizer(str(tmp_path)), PAPER).digest == Encoder(llama().tokenizer, PAPER).digest


def test_the_digest_is_the_same_in_every_process() -> None:
    # Python orders sets by a number drawn anew for each process; nothing of that may reach the digest.
    code = (
        "from alignx.prompts.condition import Condition; from alignx.prompts.encoding import Encoder\n"
        "from tests.prompts.tokenizers_on_the_spot import one_byte_one_token\n"
        "print(Encoder(one_byte_one_token(), Condition(method='ica')).digest)"
    )
    root = str(Path(__file__).parents[2])
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": root},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("0", "1")
    ]
    first, second = (run.communicate()[0].strip() for run in runs)
    assert len(first) == 64
    assert first == second
