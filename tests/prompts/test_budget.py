"""What is left out of a prompt that is too long, in which order, and what is said about it."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignx.errors import DataError
from alignx.prompts import Condition, EncodedPair, Encoder, Method, PairEncoder, Told, render, tell
from alignx.prompts.pairs import describe_counts, fit
from alignx.records import Choice, Comment, Persona, Record, Records, load_taxonomy
from tests.prompts.tokenizers_on_the_spot import clean_text, llama, one_byte_one_token
from tests.worlds import sample_records, write_jsonl

TAXONOMY = load_taxonomy()
HEADING = "***Historical Behavior and User Preferences***\n\n"
RESPONSE = "\n\n***Response:***\n\n"
ROW: dict[str, Any] = {
    "id": "one",
    "prompt": "Why?",
    "chosen": "Yes, it is.",
    "rejected": "No.",
    "User-Generated Content": [{"prompt": f"post {n}", "comment": f"comment {n}"} for n in "ABC"],
    "Pair-wise Comparative Feedback": [
        {"prompt": f"post {n}", "chosen": f"chosen {n}", "rejected": f"rejected {n}"} for n in "XY"
    ],
    "Demographic Information": "**This person's persona is:**\nA baker.",
}
LONGER = len("Yes, it is.") + 1  # tokens of the longer response: a byte a token, and the end of turn

# Three comments A B C and two choices X Y, oldest first. Each step worked by hand: the longer list loses its first item
# (of equal ones the comments), and at last the demographics go whole.
KEPT = [
    ("ABC", "XY", True),
    ("BC", "XY", True),  # 3 > 2: comment A
    ("C", "XY", True),  # 2 = 2: comment B
    ("C", "Y", True),  # 1 < 2: choice X
    ("", "Y", True),  # 1 = 1: comment C
    ("", "", True),  # 0 < 1: choice Y
    ("", "", False),  # no item is left: the demographics
]
ITEMS_GONE = [0, 1, 2, 3, 4, 5, 5]


def prompt_text(comments: str, choices: str, demographics: bool) -> str:
    """The whole prompt with these items, written out without the package."""
    history = ""
    if comments:
        history += "**This person has commented on some posts:**\n\n"
        for number, n in enumerate(comments, start=1):
            history += f"{number}. *Post:*\npost {n}\n\n*Comment:*\ncomment {n}\n\n"
    if choices:
        history += "**This person has chosen or rejected comments on some posts:**\n\n"
        for number, n in enumerate(choices, start=1):
            history += f"{number}. *Post:*\npost {n}\n\n*Chosen:*\nchosen {n}\n\n*Rejected:*\nrejected {n}\n\n"
    if demographics:
        history += "**This person's persona is:**\nA baker."
    user = "***Task***\n\nWhy?\n\n" + (HEADING + history + RESPONSE if history else "***Response:***\n\n")
    instruction = "Generate a task-specific response based on user historical behavior and preferences."
    return (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
        f"Today Date: 26 Jul 2024\n\n{instruction}<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
        f"{user.strip()}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def tokens(text: str) -> int:
    """Tokens of a prompt: one for each of its nine control tokens, and one for each other byte."""
    for control in ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"):
        text = text.replace(control, "#")
    return len(text.encode())


@cache
def bytes_encoder(preset: str = "paper") -> Encoder:
    return Encoder(one_byte_one_token(), Condition(method=Method.ICA, preset=preset))


def encode(rows: list[dict[str, Any]], folder: Path, **told: Any) -> tuple[list[EncodedPair], PairEncoder]:
    """The pairs of some rows with a byte a token; ``skip_invalid`` goes to the records, the rest to the condition."""
    skipped = told.pop("skip_invalid", 0)
    condition = Condition(**{"method": Method.ICA, **told})
    records = Records(str(write_jsonl(folder / "rows.jsonl", rows)), skip_invalid=skipped)
    pairs = PairEncoder(records, condition, bytes_encoder(condition.preset))
    return list(pairs), pairs


def text_of(pair: EncodedPair) -> str:
    text: str = bytes_encoder().tokenizer.decode(pair.prompt_ids)
    return text


# The order, worked by hand.


@pytest.mark.parametrize("step", range(7))
def test_at_each_length_the_prompt_keeps_what_was_worked_out_by_hand(step: int, tmp_path: Path) -> None:
    expected = prompt_text(*KEPT[step])
    ((pair,), _) = encode([ROW], tmp_path, max_length=tokens(expected) + LONGER)  # exactly as long as may be
    assert text_of(pair) == expected
    assert pair.length == tokens(expected) + LONGER
    assert (pair.trimmed_items, pair.trimmed_demographics) == (ITEMS_GONE[step], step == 6)
    assert pair.history_items == 5 - ITEMS_GONE[step]


@pytest.mark.parametrize("step", range(6))
def test_one_token_less_takes_the_next_step(step: int, tmp_path: Path) -> None:
    ((pair,), _) = encode([ROW], tmp_path, max_length=tokens(prompt_text(*KEPT[step])) + LONGER - 1)
    assert text_of(pair) == prompt_text(*KEPT[step + 1])


def test_one_token_less_than_the_bare_task_is_an_error_that_names_the_record_and_the_lengths(tmp_path: Path) -> None:
    bare = tokens(prompt_text("", "", False))
    lengths = f"{bare} prompt tokens with nothing left to leave out and 12 of the longer response"
    message = f"record one: {lengths}, expected at most {bare + 11} together"
    with pytest.raises(DataError, match=message):
        encode([ROW], tmp_path, max_length=bare + 11)


def test_the_longer_list_loses_first_when_that_is_the_choices(tmp_path: Path) -> None:
    row = {**ROW, "User-Generated Content": ROW["User-Generated Content"][:1]}  # A against X Y: X goes, then A (a tie)
    for kept in (("A", "Y", True), ("", "Y", True)):
        ((pair,), _) = encode([row], tmp_path, max_length=tokens(prompt_text(*kept)) + LONGER)
        assert text_of(pair) == prompt_text(*kept)


def test_the_responses_are_never_shortened_and_the_longer_one_counts(tmp_path: Path) -> None:
    limit = tokens(prompt_text("C", "Y", True)) + LONGER
    for first, second in (("Yes, it is.", "No."), ("No.", "Yes, it is.")):
        ((pair,), _) = encode([{**ROW, "chosen": first, "rejected": second}], tmp_path, max_length=limit)
        assert text_of(pair) == prompt_text("C", "Y", True)
        decode = bytes_encoder().tokenizer.decode
        assert [decode(pair.chosen_ids), decode(pair.rejected_ids)] == [f"{first}<|eot_id|>", f"{second}<|eot_id|>"]


def test_a_response_longer_than_the_budget_is_an_error_that_names_the_record(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"record one: .* and 501 of the longer response"):
        encode([{**ROW, "rejected": "x" * 500}], tmp_path, max_length=400)


def test_released_eval_keeps_its_heading_over_a_history_that_went(tmp_path: Path) -> None:
    # "Why?" and the heading, with the preset's own **Post:** line; 200 tokens are far fewer than the history needs.
    bare = {k: ROW[k] for k in ("id", "prompt", "chosen", "rejected")}
    ((expected,), _) = encode([bare], tmp_path, preset="released-eval")
    ((pair,), _) = encode([ROW], tmp_path, preset="released-eval", max_length=expected.length)
    assert pair.prompt_ids == expected.prompt_ids
    assert HEADING + RESPONSE in text_of(pair)
    assert (pair.trimmed_items, pair.trimmed_demographics) == (5, True)


# The search is a short cut for trimming one item at a time.


def one_at_a_time(record: Record, condition: Condition, encoder: Encoder, budget: int) -> Told | None:
    """The rule of the specification, read aloud."""
    told = tell(record, condition, TAXONOMY)
    comments, choices, demographics = list(told.comments), list(told.choices), told.demographics
    while True:
        told = Told(tuple(comments), tuple(choices), demographics)
        if len(encoder.prompt(render(record, told, condition))) <= budget:
            return told
        if len(choices) > len(comments):
            choices.pop(0)
        elif comments:
            comments.pop(0)
        elif demographics:
            demographics = ""
        else:
            return None


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**9),
    comments=st.integers(0, 12),
    choices=st.integers(0, 12),
    demographics=st.booleans(),
    budget=st.integers(1, 1200),
    preset=st.sampled_from(["paper", "released-train", "released-eval"]),
)
def test_the_search_finds_what_trimming_one_item_at_a_time_finds(
    seed: int, comments: int, choices: int, demographics: bool, budget: int, preset: str
) -> None:
    rng = random.Random(seed)

    def text() -> str:
        return clean_text(rng, 12)

    persona = Persona(
        tuple(Comment(text(), text()) for _ in range(comments)),
        tuple(Choice(text(), text(), text()) for _ in range(choices)),
        text() if demographics else "",
    )
    record = Record("r", text(), text(), text(), persona)
    condition = Condition(method=Method.ICA, preset=preset)
    encoder = llama_encoder(preset)
    told = tell(record, condition, TAXONOMY)
    whole = encoder.prompt(render(record, told, condition))
    expected = one_at_a_time(record, condition, encoder, budget)
    if expected is None:
        with pytest.raises(DataError, match=r"record r: "):
            fit(record, told, condition, encoder, whole, budget)
    else:
        found, ids = fit(record, told, condition, encoder, whole, budget)
        assert found == expected
        assert ids == encoder.prompt(render(record, expected, condition))
        assert len(ids) <= budget


@cache
def llama_encoder(preset: str) -> Encoder:
    return Encoder(llama().tokenizer, Condition(method=Method.ICA, preset=preset))


def test_a_long_history_is_searched_with_few_encodings(monkeypatch: pytest.MonkeyPatch) -> None:
    # 400 items: one at a time would encode up to 400 prompts; halving needs 9, and one more for the prompt itself.
    comments = tuple(Comment(f"post {n}", "x" * 20) for n in range(400))
    record = Record("r", "Why?", "a", "b", Persona(comments))
    condition, encoder = Condition(method=Method.ICA), bytes_encoder()
    told = tell(record, condition, TAXONOMY)
    whole = encoder.prompt(render(record, told, condition))
    calls = []
    monkeypatch.setattr(encoder, "prompt", lambda rendered: calls.append(1) or encoder.prompts([rendered])[0])
    found, _ = fit(record, told, condition, encoder, whole, len(whole) // 2)
    assert 150 < found.items < 250
    assert len(calls) <= 10


# Counts.


def test_counts_say_how_many_prompts_items_and_descriptions_went(tmp_path: Path) -> None:
    # At the length of step 6 the first record loses 5 items and its demographics; the second has only its demographics,
    # too long as well; the third has nothing to lose.
    bare = {k: ROW[k] for k in ("prompt", "chosen", "rejected")}
    rows = [
        ROW,
        {**bare, "id": "two", "Demographic Information": ROW["Demographic Information"]},
        {**bare, "id": "three"},
    ]
    pairs, encoder = encode(rows, tmp_path, max_length=tokens(prompt_text("", "", False)) + LONGER)
    assert [(p.trimmed_items, p.trimmed_demographics) for p in pairs] == [(5, True), (0, True), (0, False)]
    assert {name: n for name, n in encoder.counts.items() if n} == {
        "records": 3,
        "prompts_trimmed": 2,
        "items_trimmed": 5,
        "demographics_trimmed": 2,
        "personas_empty": 3,
    }
    assert describe_counts(encoder.counts) == [
        "2 of 3 prompts were too long: 5 oldest history items and 2 descriptions were left out",
        "3 of 3 prompts say nothing about the user",
    ]


@pytest.mark.parametrize("persona", ["own", "reversed"])
def test_a_bridge_that_has_nothing_to_say_of_anybody_is_refused(persona: str, tmp_path: Path) -> None:
    bare = {k: ROW[k] for k in ("id", "prompt", "chosen", "rejected")}
    with pytest.raises(DataError, match="no record has a 'profile' or a history with a stated direction"):
        encode([bare], tmp_path, method="pba", persona=persona)
    for asked in ({"persona": "none"}, {"persona": persona, "history": 0}):
        pairs, _ = encode([bare], tmp_path, method="pba", **asked)
        assert [pair.persona_empty for pair in pairs] == [True], "where silence is what was asked for"


def test_nothing_is_said_of_trimming_where_everything_fits(tmp_path: Path) -> None:
    pairs, encoder = encode([ROW], tmp_path)
    assert text_of(pairs[0]) == prompt_text("ABC", "XY", True)
    assert (encoder.counts["prompts_trimmed"], encoder.counts["records"]) == (0, 1)
    assert describe_counts(encoder.counts) == []


def test_counts_start_anew_with_each_reading(tmp_path: Path) -> None:
    _, encoder = encode([ROW], tmp_path)
    first = dict(encoder.counts)
    assert len(list(encoder)) == 1
    assert dict(encoder.counts) == first


# Records that cannot fit.


def long_row(name: str) -> dict[str, Any]:
    return {**ROW, "id": name, "prompt": "W" * 3000}


def test_skip_invalid_counts_a_record_that_cannot_fit_and_keeps_the_others_in_order(tmp_path: Path) -> None:
    rows = [{**ROW, "id": "before"}, long_row("too long"), {**ROW, "id": "after"}]
    pairs, encoder = encode(rows, tmp_path, max_length=2000, skip_invalid=1)
    assert [pair.id for pair in pairs] == ["before", "after"]
    assert encoder.counts["records"] == 2
    assert encoder.records.identity.skipped == 1
    (problem,) = encoder.records.problems
    assert problem.startswith("record too long: 32")  # 3,000 bytes of the post and over 200 of the rest
    assert "skipped 1 invalid rows: record too long" in encoder.records.notes()[0]


def test_one_record_too_many_that_cannot_fit_is_an_error_with_its_id(tmp_path: Path) -> None:
    rows = [long_row("first"), ROW, long_row("second")]
    with pytest.raises(DataError, match=r"record second: .*\(and 1 rows before it; --skip-invalid allows 1\)"):
        encode(rows, tmp_path, max_length=2000, skip_invalid=1)


def test_unreadable_rows_and_records_that_cannot_fit_are_counted_together(tmp_path: Path) -> None:
    rows = [{**ROW, "id": "bad", "chosen": 3}, long_row("too long"), ROW]
    pairs, encoder = encode(rows, tmp_path, max_length=2000, skip_invalid=2)
    assert [pair.id for pair in pairs] == ["one"]
    assert encoder.records.identity.skipped == 2
    with pytest.raises(DataError, match=r"record too long: "):
        encode(rows, tmp_path, max_length=2000, skip_invalid=1)


# PBA.


def test_pba_never_trims_because_the_history_is_not_in_its_prompt(tmp_path: Path) -> None:
    items = [{"prompt": "p" * 500, "comment": "c" * 500} for _ in range(50)]
    row = {**ROW, "User-Generated Content": items, "profile": "Likes science"}
    ((pair,), encoder) = encode([row], tmp_path, method=Method.PBA, max_length=600)
    assert "***User Preferences***\n\nLikes science\n\n***Response:***" in text_of(pair)
    assert (pair.trimmed_items, pair.trimmed_demographics) == (0, False)
    assert encoder.counts["prompts_trimmed"] == 0


def test_a_profile_that_is_too_long_is_an_error_and_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {**ROW, "profile": ", ".join(d.positive for d in TAXONOMY.dimensions)}
    ((whole,), _) = encode([row], tmp_path, method=Method.PBA)
    ((same,), _) = encode([row], tmp_path, method=Method.PBA, max_length=whole.length)
    assert same == whole
    monkeypatch.setattr(Encoder, "prompt", lambda *_: pytest.fail("looked for something to leave out"))
    with pytest.raises(DataError, match=rf"record one: {len(whole.prompt_ids)} prompt tokens"):
        encode([row], tmp_path, method=Method.PBA, max_length=whole.length - 1)


# Streams and batches.


class Counted(Records):
    """5,000 records that say how far they were read."""

    def __init__(self) -> None:
        super().__init__("counted")
        self.read = 0

    def __iter__(self) -> Iterator[Record]:
        for self.read in range(1, 5001):
            yield Record(f"r{self.read}", "Why?", "a", "b", Persona())


def test_records_are_read_at_most_a_batch_ahead_of_the_pairs() -> None:
    records = Counted()
    pairs = PairEncoder(records, Condition(method=Method.ICA), bytes_encoder())
    assert records.read == 0  # naming them reads nothing
    for taken, _ in enumerate(pairs, start=1):
        assert records.read <= taken + 255  # batches of 256
        if taken == 1000:
            break


def test_pairs_do_not_depend_on_which_records_are_encoded_together(tmp_path: Path) -> None:
    rows = [{**row, "id": f"r{n}"} for n, row in enumerate(sample_records(300, seed=3))]  # two batches
    together, _ = encode(rows, tmp_path, max_length=2500)
    assert 0 < sum(pair.trimmed_items > 0 for pair in together) < 300
    for n in (0, 1, 254, 255, 256, 257, 299):
        (alone, _) = encode([rows[n]], tmp_path, max_length=2500)
        assert alone == [together[n]]


def test_the_ids_of_a_pair_are_those_of_its_own_record(tmp_path: Path) -> None:
    rows = [{**row, "id": f"r{n}"} for n, row in enumerate(sample_records(40, seed=4))]
    pairs, _ = encode(rows, tmp_path, skip_invalid=1)
    assert [pair.id for pair in pairs] == [row["id"] for row in rows]
    for row, pair in zip(rows, pairs, strict=True):
        decode = bytes_encoder().tokenizer.decode
        assert decode(pair.chosen_ids) == row["chosen"].strip() + "<|eot_id|>"
        assert decode(pair.rejected_ids) == row["rejected"].strip() + "<|eot_id|>"
        assert f"***Task***\n\n{row['prompt'].lstrip()}\n\n" in text_of(pair).replace(
            row["prompt"], row["prompt"].lstrip()
        )


def test_a_skipped_record_does_not_shift_the_responses_of_those_after_it(tmp_path: Path) -> None:
    # Under PBA a record without profile or directions cannot be told: it goes before the batch is encoded.
    ready = {k: ROW[k] for k in ("prompt", "chosen", "rejected")} | {"profile": "Likes science"}
    untold = {k: v for k, v in ROW.items() if k != "id"}
    rows = [{**ready, "id": "a", "chosen": "A"}, {**untold, "id": "b"}, {**ready, "id": "c", "chosen": "C"}]
    pairs, encoder = encode(rows, tmp_path, method=Method.PBA, skip_invalid=1)
    decode = bytes_encoder().tokenizer.decode
    assert [(pair.id, decode(pair.chosen_ids)) for pair in pairs] == [("a", "A<|eot_id|>"), ("c", "C<|eot_id|>")]
    assert encoder.records.problems[0].startswith("record b: no 'profile'")
    assert json.dumps(encoder.records.identity.model_dump()).count('"skipped": 1') == 1


def test_trimming_leaves_the_record_itself_alone() -> None:
    persona = Persona(tuple(Comment(f"p{n}", "c" * 50) for n in range(5)), demographics="A baker.")
    record = Record("r", "Why?", "a", "b", persona)
    before, condition, encoder = replace(record), Condition(method=Method.ICA), bytes_encoder()
    told = tell(record, condition, TAXONOMY)
    fit(record, told, condition, encoder, encoder.prompt(render(record, told, condition)), 450)
    assert record == before
    assert len(told.comments) == 5
