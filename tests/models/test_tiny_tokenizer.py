"""The stand-in's tokenizer whose tokens may span phrases: nothing is lost, nothing is forged, a phrase is a token."""

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from alignx.models.corpora import read_documents
from alignx.models.tiny import SIZES, _texts
from alignx.models.tiny_tokenizer import CHAT_TEMPLATE, CONTROL_TOKENS, SPLITS, train_tokenizer
from alignx.prompts import Condition, Encoder, Method, render, tell
from alignx.records import Records
from alignx.records.world import load_phrases
from alignx.records.world.synthesize import DEMO_DIMENSIONS
from tests.prompts.test_encoding import check_hostile, hostile_records
from tests.prompts.tokenizers_on_the_spot import Family
from tests.records.world import DEMO, MEANING, TAXONOMY, made

MARKS = '.,;:!?"“”()*'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("demo") / "world", **DEMO, train=1000, test=8, corpus=3000)


@pytest.fixture(scope="module")
def tokenizer(world: Path) -> Any:
    """As ``alignx tiny-model --size 0.7m --pieces phrases`` trains it."""
    read = (text for document in read_documents(world / "corpus.jsonl") for text in document.texts)
    texts = chain(_texts(Records(str(world / "train.jsonl")), "phrases"), read)
    trained = train_tokenizer(texts, SIZES["0.7m"].vocabulary, "phrases")
    trained.name_or_path = "phrases"
    return trained


def pieces(tokenizer: Any, text: str) -> list[str]:
    """A text's tokens as text."""
    return [tokenizer.decode([token]) for token in tokenizer(text, add_special_tokens=False)["input_ids"]]


def split(text: str) -> list[str]:
    from tokenizers import Regex

    cut = pre_tokenizers.Split(Regex(SPLITS["phrases"]), "isolated")
    return [piece for piece, _ in cut.pre_tokenize_str(text)]


def test_a_text_is_cut_at_marks_and_line_ends_and_nowhere_else() -> None:
    assert split("Well, I never tire of it. (So there!)\n\n***Task***") == [
        *("Well", ", ", "I never tire of it", ". ", "(", "So there", "!)", "\n\n", "***", "Task", "***")
    ]
    assert split("a\rb\r\n\nc") == ["a", "\r", "b", "\r\n\n", "c"]
    assert split("a-b 3.14  c") == ["a-b 3", ".", "14  c"]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
@settings(max_examples=300)
def test_cutting_loses_nothing(text: str) -> None:
    assert "".join(split(text)) == text


TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(MARKS + " \n\r\t<|>"), max_size=80)


@pytest.mark.parametrize("size", [300, 2048])
def test_any_unicode_text_survives_encoding_and_decoding(tokenizer: Any, size: int) -> None:
    some = tokenizer if size == 2048 else train_tokenizer(["a phrase, a phrase, another"], size, "phrases")

    @given(TEXTS)
    @settings(max_examples=300)
    def survives(text: str) -> None:
        ids = some(text, add_special_tokens=False)["input_ids"]
        assert some.decode(ids) == text

    survives()
    assert some.unk_token_id is None
    assert len(some) <= size


def test_every_byte_and_every_control_token_is_a_token(tokenizer: Any) -> None:
    vocabulary = tokenizer.get_vocab()
    assert set(pre_tokenizers.ByteLevel.alphabet()) | set(CONTROL_TOKENS) <= set(vocabulary)
    assert sorted(vocabulary.values()) == list(range(len(tokenizer)))
    assert all(len(pieces(tokenizer, token)) == 1 for token in CONTROL_TOKENS)
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|begin_of_text|>", "<|eot_id|>")
    assert tokenizer.pad_token == "<|finetune_right_pad_id|>"
    assert tokenizer.chat_template == CHAT_TEMPLATE


@pytest.mark.parametrize("method", Method)
def test_no_look_alike_in_any_field_becomes_a_control_token(tokenizer: Any, method: Method) -> None:
    family = Family("phrases", tokenizer, CONTROL_TOKENS, system=True, trims=True)
    assert Encoder(tokenizer, Condition(method=method)).control_ids == family.control_ids
    check_hostile(family, method, hostile_records(family, 150, f"phrases {method}"))


@pytest.mark.parametrize("method", Method)
def test_a_prompt_has_the_ids_of_the_whole_conversation(tokenizer: Any, world: Path, method: Method) -> None:
    family = Family("phrases", tokenizer, CONTROL_TOKENS, system=True, trims=True)
    condition = Condition(method=method)
    encoder = Encoder(tokenizer, condition)
    for record in Records(str(world / "test.jsonl")):
        rendered = render(record, tell(record, condition, TAXONOMY), condition)
        found = encoder.prompt(rendered) + encoder.responses([record.chosen])[0]
        assert found == family.ids(family.written(rendered.instruction, rendered.user, record.chosen))


def test_a_clause_is_one_token_and_the_same_one_whatever_precedes_it(tokenizer: Any) -> None:
    phrases = load_phrases()
    before = ["", "\n", "“", "Ada says, ", "Ada nods at: ", "Heard from Ada: "]
    before += [*phrases["opener"], *phrases["joiner"], *phrases["last_joiner"]]
    known = [c for c, said in MEANING.items() if said.dimension in DEMO_DIMENSIONS and said.wording in (0, 1)]
    assert len(known) == 64
    for clause in known:
        assert pieces(tokenizer, clause) == [clause]
        assert {pieces(tokenizer, start + clause)[-1] for start in before} == {clause}


def test_a_label_is_one_token_and_the_same_one_wherever_it_stands(tokenizer: Any) -> None:
    for index in DEMO_DIMENSIONS:
        dimension = TAXONOMY.dimensions[index]
        for label in (dimension.positive, dimension.negative):
            assert pieces(tokenizer, label) == [label]
            profile = f"***User Preferences***\n\nLikes law, {label}\n\n***Response:***\n\n"
            assert pieces(tokenizer, profile)[5:8] == [", ", label, "\n\n"]
            assert pieces(tokenizer, f"Notes on Ada: {label}.")[-2:] == [label, "."]


def test_what_was_never_seen_falls_back_to_smaller_pieces(tokenizer: Any) -> None:
    unseen = [clause for clause, said in MEANING.items() if said.dimension == 47 and said.wording == -1]
    for clause in unseen:
        assert len(pieces(tokenizer, clause)) > 1
        assert "".join(pieces(tokenizer, clause)) == clause


def test_prompts_in_phrases_are_several_times_shorter_than_in_words(tokenizer: Any, world: Path) -> None:
    documents = read_documents(world / "corpus.jsonl")[:300]
    words = train_tokenizer([document.text or "" for document in documents], 2048, "words")
    condition = Condition(method=Method.ICA)
    record = next(iter(Records(str(world / "test.jsonl"))))
    rendered = render(record, tell(record, condition, TAXONOMY), condition)
    assert 2.5 * len(pieces(tokenizer, rendered.user)) < len(pieces(words, rendered.user))


def test_words_is_what_is_trained_when_nothing_is_said() -> None:
    texts = ["a phrase of words, a phrase of words", "of words a phrase"]
    plain, words, phrases = (train_tokenizer(texts, 400, *kind) for kind in ((), ("words",), ("phrases",)))
    assert plain.get_vocab() == words.get_vocab() != phrases.get_vocab()
    assert pieces(plain, "a phrase of") == ["a", " phrase", " of"]


def test_records_are_rendered_for_the_tokenizer_of_phrases_only(world: Path) -> None:
    record = next(iter(Records(str(world / "train.jsonl"))))
    plain, rendered = list(_texts([record], "words")), list(_texts([record], "phrases"))
    assert rendered[: len(plain)] == plain
    more = rendered[len(plain) :]
    assert len(more) == 4  # instruction and user turn of either method
    assert any("***Historical Behavior and User Preferences***" in text for text in more)
    assert any("***User Preferences***" in text for text in more)
    assert set(plain) >= {record.prompt, record.chosen, record.rejected, record.persona.comments[0].comment}
    bare = replace(record, persona=replace(record.persona, profile="Likes law", demographics="A baker."))
    assert {"Likes law", "A baker."} <= set(_texts([bare], "words"))
