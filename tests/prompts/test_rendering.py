"""Prompt formats byte for byte: the package against strings written independently in ``by_the_book``."""

from itertools import chain, combinations
from typing import Any

import pytest
from pydantic import ValidationError

from alignx.errors import SettingsError
from alignx.models.tiny_tokenizer import CHAT_TEMPLATE, train_tokenizer
from alignx.prompts import Condition, Encoder, Rendered, render, tell
from alignx.prompts.presets import Blocks, load_preset
from alignx.prompts.rendering import _numbered
from alignx.records import Comment, Record, RecordParser, load_taxonomy
from tests.prompts import by_the_book
from tests.prompts.by_the_book import GOLDEN, GOLDEN_PROMPTS, METHODS, PARTS, PRESETS, row

TAXONOMY = load_taxonomy()
READY = "Likes humor, Dislikes fashion"
COMBINATIONS = list(chain.from_iterable(combinations(PARTS, n) for n in range(len(PARTS) + 1)))

every_preset = pytest.mark.parametrize("preset", PRESETS)
every_method = pytest.mark.parametrize("method", METHODS)
every_combination = pytest.mark.parametrize("parts", COMBINATIONS, ids=lambda parts: "+".join(parts) or "nothing")


def record(raw: dict[str, Any]) -> Record:
    return RecordParser(TAXONOMY).parse({"id": "one", **raw}, "a test")


def rendered(raw: dict[str, Any], **condition: Any) -> Rendered:
    chosen, one = Condition(**condition), record(raw)
    return render(one, tell(one, chosen, TAXONOMY), chosen)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer([text for name in GOLDEN_PROMPTS for text in by_the_book.golden_text(name).split("\n")], 600)


def decoded(tokenizer: Any, raw: dict[str, Any], **condition: Any) -> str:
    encoder = Encoder(tokenizer, Condition(**condition))
    return tokenizer.decode(encoder.prompt(rendered(raw, **condition)))


# ---- The two turns ----


def test_a_block_is_repeated_for_each_item_with_its_own_signs_as_they_are() -> None:
    found = _numbered(
        "By heart: ", "{number} of 100 %: {prompt} %s {comment}. ", (Comment("p", "{c}"), Comment("%d", "e"))
    )
    assert found == "By heart: 1 of 100 %: p %s {c}. 2 of 100 %: %d %s e. "


@every_combination
@every_method
@every_preset
def test_each_preset_says_each_combination_of_persona_parts_byte_for_byte(
    preset: str, method: str, parts: tuple[str, ...]
) -> None:
    found = rendered(row(parts), preset=preset, method=method)
    assert found.instruction == by_the_book.instruction(preset, method)
    assert found.user == by_the_book.user_turn(preset, method, row(parts))


@every_combination
@every_preset
def test_a_ready_profile_is_told_as_it_is_whatever_else_the_persona_holds(preset: str, parts: tuple[str, ...]) -> None:
    raw = row(parts, profile=READY)
    expected = by_the_book.user_turn(preset, "pba", raw, "ready")
    assert rendered(raw, preset=preset, method="pba").user == expected
    assert rendered(raw, preset=preset, method="pba", profile="ready").user == expected
    assert f"***User Preferences***\n\n{READY}\n\n***Response:***\n\n" in expected


@every_preset
def test_profile_history_overrules_a_ready_profile(preset: str) -> None:
    found = rendered(row(profile=READY), preset=preset, method="pba", profile="history")
    assert found.user == by_the_book.user_turn(preset, "pba", row(), "history")


@every_preset
def test_a_golden_profile_is_the_target_s_own_direction_in_words(preset: str) -> None:
    found = rendered(row(profile=READY), preset=preset, method="pba", profile="golden")
    assert found.user == by_the_book.user_turn(preset, "pba", row(), "golden")
    assert "***User Preferences***\n\nDetailed communication style, Likes humor\n\n***Response:***" in found.user


@every_preset
def test_a_ready_profile_is_never_told_in_context(preset: str) -> None:
    assert rendered(row(profile=READY), preset=preset, method="ica").user == by_the_book.user_turn(preset, "ica", row())


@every_combination
@every_method
@every_preset
def test_no_persona_is_told_as_a_record_without_one(preset: str, method: str, parts: tuple[str, ...]) -> None:
    found = rendered(row(parts, profile=READY), preset=preset, method=method, persona="none")
    assert found.user == by_the_book.user_turn(preset, method, row(()))


@pytest.mark.parametrize(
    ("preset", "method", "user"),
    [
        ("paper", "ica", "***Task***\n\nWhy?\n\n***Response:***\n\n"),
        (
            "paper",
            "pba",
            "***Task***\n\nWhy?\n\n***User Preferences***\n\nNo stated preferences.\n\n***Response:***\n\n",
        ),
        ("released-train", "ica", "***Task***\n\nWhy?\n\n***Historical Behavior***\n\n\n\n***Response:***\n\n"),
        ("released-train", "pba", "***Task***\n\nWhy?\n\n***User Preferences***\n\n\n\n***Response:***\n\n"),
        (
            "released-eval",
            "ica",
            "***Task***\n\n**Post:**\nWhy?\n\n"
            "***Historical Behavior and User Preferences***\n\n\n\n***Response:***\n\n",
        ),
        (
            "released-eval",
            "pba",
            "***Task***\n\n**Post:**\nWhy?\n\n***User Preferences***\n\n\n\n***Response:***\n\n",
        ),
    ],
)
def test_nothing_to_say_is_said_as_the_preset_says_it(preset: str, method: str, user: str) -> None:
    assert rendered(row((), prompt="Why?"), preset=preset, method=method).user == user


@every_combination
@every_method
@every_preset
def test_another_user_s_persona_stands_under_the_own_task(preset: str, method: str, parts: tuple[str, ...]) -> None:
    own, donor = record(row(prompt="My own question?")), record(row(parts, id="two"))
    condition = Condition(preset=preset, method=method, persona="other")
    found = render(own, tell(own, condition, TAXONOMY, {"one": donor}), condition)
    assert found.user == by_the_book.user_turn(preset, method, row(parts, prompt="My own question?"))


@every_combination
@every_method
@every_preset
def test_a_reversed_persona_swaps_choices_and_flips_directions(
    preset: str, method: str, parts: tuple[str, ...]
) -> None:
    found = rendered(row(parts), preset=preset, method=method, persona="reversed")
    assert found.user == by_the_book.user_turn(preset, method, by_the_book.reversed_row(row(parts)))


@every_preset
@pytest.mark.parametrize("source", ["ready", "golden"])
def test_a_reversed_ready_or_golden_profile_says_the_opposite_poles(preset: str, source: str) -> None:
    found = rendered(row(profile=READY), preset=preset, method="pba", profile=source, persona="reversed")
    assert found.user == by_the_book.user_turn(preset, "pba", by_the_book.reversed_row(row(profile=READY)), source)
    words = {"ready": "Dislikes humor, Likes fashion", "golden": "Concise communication style, Dislikes humor"}
    assert f"***User Preferences***\n\n{words[source]}\n\n***Response:***" in found.user


def test_items_are_numbered_from_one_in_each_list_however_long_it_is() -> None:
    comments = [{"prompt": f"post {i}", "comment": f"comment {i}"} for i in range(12)]
    choices = [{"prompt": f"post {i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(11)]
    raw = row((), **{"User-Generated Content": comments, "Pair-wise Comparative Feedback": choices})
    found = rendered(raw, method="ica").user
    assert found == by_the_book.user_turn("paper", "ica", raw)
    assert "12. *Post:*\npost 11\n\n*Comment:*\ncomment 11\n\n**This person has chosen" in found
    assert found.endswith(
        "11. *Post:*\npost 10\n\n*Chosen:*\ngood 10\n\n*Rejected:*\nbad 10\n\n\n\n***Response:***\n\n"
    )


@every_combination
@every_method
@every_preset
def test_an_absent_part_is_never_written_as_none(preset: str, method: str, parts: tuple[str, ...]) -> None:
    nulls = dict.fromkeys(
        (
            "Preference Direction",
            "Demographic Information",
            "User-Generated Content",
            "Pair-wise Comparative Feedback",
            "profile",
            "user",
        )
    )
    found = rendered({**nulls, **row(parts)}, preset=preset, method=method)
    assert found.user == by_the_book.user_turn(preset, method, row(parts))
    assert "None" not in found.user + found.instruction
    assert "null" not in found.user


@every_preset
def test_items_without_directions_are_shown_in_context_all_the_same(preset: str) -> None:
    raw = row()
    for item in raw["User-Generated Content"] + raw["Pair-wise Comparative Feedback"]:
        del item["Preference Direction"]
    assert rendered(raw, preset=preset, method="ica").user == by_the_book.user_turn(preset, "ica", row())


@every_method
@every_preset
def test_braces_and_marks_of_the_layout_in_user_text_stay_text(preset: str, method: str) -> None:
    text = "{prompt} {number} {} {{x}} %s {0.__class__} ***Response:*** \\n ALIGNX0USER0SLOT"
    raw = row(prompt=text, profile=text)
    raw["User-Generated Content"][0].update(prompt=text, comment=text)
    raw["Pair-wise Comparative Feedback"][0].update(prompt=text, chosen=text, rejected=text + "!")
    raw["Demographic Information"] = text
    assert rendered(raw, preset=preset, method=method).user == by_the_book.user_turn(preset, method, raw, "ready")


# ---- The whole prompt, control tokens included ----


@every_combination
@every_method
@every_preset
def test_the_ids_of_a_prompt_decode_to_the_whole_string(
    tokenizer: Any, preset: str, method: str, parts: tuple[str, ...]
) -> None:
    assert decoded(tokenizer, row(parts), preset=preset, method=method) == by_the_book.full_prompt(
        preset, method, row(parts)
    )


@every_combination
@every_method
def test_preset_paper_is_what_the_chat_template_itself_makes_of_the_two_turns(
    tokenizer: Any, method: str, parts: tuple[str, ...]
) -> None:
    system, user = by_the_book.instruction("paper", method), by_the_book.user_turn("paper", method, row(parts))
    turns = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    own = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert decoded(tokenizer, row(parts), method=method) == own


def test_preset_paper_follows_a_chat_template_that_is_not_llama_s(tokenizer: Any) -> None:
    template = (
        "{% for m in messages %}{{ '<|eom_id|>' + m['role'] + '\n' + m['content'] + '<|python_tag|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|eom_id|>assistant\n' }}{% endif %}"
    )
    try:
        tokenizer.chat_template = template
        encoder = Encoder(tokenizer, Condition(method="ica"))
        prompt = tokenizer.decode(encoder.prompt(rendered(row((), prompt="Why?"), method="ica")))
        response = tokenizer.decode(encoder.responses([" So.\n"])[0])
    finally:
        tokenizer.chat_template = CHAT_TEMPLATE
    # This template strips nothing, has no beginning of sequence and ends a turn with <|python_tag|>.
    assert prompt == (
        "<|eom_id|>system\n"
        "Generate a task-specific response based on user historical behavior and preferences.<|python_tag|>\n"
        "<|eom_id|>user\n***Task***\n\nWhy?\n\n***Response:***\n\n<|python_tag|>\n<|eom_id|>assistant\n"
    )
    assert response == " So.\n<|python_tag|>"


def test_a_chat_template_that_writes_the_date_is_given_a_fixed_one(tokenizer: Any) -> None:
    dated = (
        "{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
        "{{ bos_token + 'Today Date: ' + date_string + '\n\n' }}"
    )
    try:
        tokenizer.chat_template = dated + CHAT_TEMPLATE.removeprefix("{{ bos_token }}")
        default, other = (decoded(tokenizer, row(()), method="ica", **date) for date in ({}, {"date": "1 Jan 2031"}))
    finally:
        tokenizer.chat_template = CHAT_TEMPLATE
    rest = by_the_book.full_prompt("paper", "ica", row(())).removeprefix("<|begin_of_text|>")
    assert default == f"<|begin_of_text|>Today Date: 26 Jul 2024\n\n{rest}"
    assert other == f"<|begin_of_text|>Today Date: 1 Jan 2031\n\n{rest}"


@pytest.mark.parametrize(("preset", "times"), [("paper", 1), ("released-train", 0), ("released-eval", 1)])
def test_the_beginning_of_sequence_comes_once_or_not_at_all(tokenizer: Any, preset: str, times: int) -> None:
    ids = Encoder(tokenizer, Condition(method="ica", preset=preset)).prompt(rendered(row(), method="ica"))
    assert ids.count(tokenizer.bos_token_id) == times
    assert (ids[0] == tokenizer.bos_token_id) == bool(times)


@pytest.mark.parametrize(
    ("preset", "response", "expected"),
    [
        ("paper", "Blue.", "Blue.<|eot_id|>"),
        ("paper", " Blue.\n\n", "Blue.<|eot_id|>"),  # the template strips a turn
        ("released-train", "Blue.", "Blue. <|eot_id|>"),
        ("released-train", "\n Blue. \n\n", "\n Blue.  <|eot_id|>"),  # newlines at the end, and nothing else
        ("released-eval", "Blue.", "Blue.<|eot_id|>"),
        ("released-eval", "\n Blue. \n\n", "\n Blue. \n\n<|eot_id|>"),
    ],
)
def test_each_preset_ends_a_response_in_its_own_way(tokenizer: Any, preset: str, response: str, expected: str) -> None:
    ids = Encoder(tokenizer, Condition(method="ica", preset=preset)).responses([response])[0]
    assert tokenizer.decode(ids) == expected == by_the_book.full_response(preset, response)


def test_the_released_presets_end_a_response_with_the_tokenizer_s_own_end_of_sequence(tokenizer: Any) -> None:
    usual = tokenizer.eos_token
    try:
        tokenizer.eos_token = "<|end_of_text|>"
        ends = {
            preset: tokenizer.decode(Encoder(tokenizer, Condition(method="ica", preset=preset)).responses(["Blue."])[0])
            for preset in PRESETS
        }
    finally:
        tokenizer.eos_token = usual
    assert ends == {
        "paper": "Blue.<|eot_id|>",
        "released-train": "Blue. <|end_of_text|>",
        "released-eval": "Blue.<|end_of_text|>",
    }


# ---- Golden files ----


@pytest.mark.parametrize("name", GOLDEN_PROMPTS)
def test_prompt_and_response_equal_the_golden_file(tokenizer: Any, name: str) -> None:
    preset, method, parts, source = GOLDEN_PROMPTS[name]
    condition = Condition(preset=preset, method=method, profile=source if method == "pba" else "auto")
    one = record(row(parts))
    encoder = Encoder(tokenizer, condition)
    ids = encoder.prompt(render(one, tell(one, condition, TAXONOMY), condition)) + encoder.responses([one.chosen])[0]
    golden = (GOLDEN / f"{name}.txt").read_bytes()
    assert tokenizer.decode(ids).encode() == golden
    assert tokenizer(golden.decode(), add_special_tokens=False)["input_ids"] == ids


def test_every_golden_prompt_has_a_case_and_is_what_the_book_writes() -> None:
    found = {path.stem: path.read_bytes() for path in GOLDEN.glob("*.txt") if path.stem.startswith(PRESETS)}
    assert found == {name: by_the_book.golden_text(name).encode() for name in GOLDEN_PROMPTS}


# ---- Presets ----


def test_an_unknown_preset_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="got 'papers', expected one of paper, released-train, released-eval"):
        load_preset("papers")


@pytest.mark.parametrize(
    ("block", "wording"),
    [("task", "{post}\n"), ("task", "no field"), ("comment", "{number} {prompt}"), ("response", "{response}")],
)
def test_wording_with_a_missing_or_unknown_field_is_refused(block: str, wording: str) -> None:
    blocks = load_preset("paper").blocks.model_dump()
    with pytest.raises(ValidationError, match=f"block '{block}' has the fields"):
        Blocks(**{**blocks, block: wording})


@pytest.mark.parametrize(
    ("preset", "positive", "negative"),
    [("paper", "0.6", "0.4"), ("released-train", "0.6", "0.4"), ("released-eval", "0.51", "0.49")],
)
def test_each_preset_has_the_thresholds_of_its_own_code(preset: str, positive: str, negative: str) -> None:
    condition = Condition(method="pba", preset=preset).resolved()
    assert (condition.positive, condition.negative) == (positive, negative)
