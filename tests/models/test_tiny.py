"""The stand-in model and its tokenizer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from alignx import manifest
from alignx.errors import DataError, SettingsError
from alignx.models.loading import find_model
from alignx.models.tiny import SIZES, TinyModelSettings, make
from alignx.models.tiny_tokenizer import CONTROL_TOKENS
from tests.worlds import sample_records, write_jsonl


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_jsonl(tmp_path_factory.mktemp("data") / "records.jsonl", sample_records(12, seed=5)))


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.mark.parametrize("name", SIZES)
def test_number_of_parameters_is_near_the_name_of_the_size(name: str) -> None:
    size = SIZES[name]
    with torch.device("meta"):  # shapes without memory
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=size.vocabulary,
                hidden_size=size.hidden,
                intermediate_size=size.intermediate,
                num_hidden_layers=size.layers,
                num_attention_heads=size.heads,
                num_key_value_heads=size.kv_heads,
                tie_word_embeddings=True,
            )
        )
    assert size.hidden % size.heads == size.heads % size.kv_heads == 0
    assert model.num_parameters() == pytest.approx(1e6 * float(name.removesuffix("m")), rel=0.2)


def test_manifest_says_the_number_of_parameters_worked_by_hand(tiny_model: Path) -> None:
    # Embeddings 1024·64 (tied). A layer: q and o of 64·64, k and v of 64·32, three MLP matrices of 64·192, two norms.
    layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 192 + 2 * 64
    assert manifest.read(tiny_model).counts["parameters"] == 1024 * 64 + 2 * layer + 64


def test_same_seed_gives_the_same_model_and_another_seed_another(data: str, tmp_path: Path) -> None:
    def identity(folder: str, seed: int) -> Any:
        made = make(TinyModelSettings(output=tmp_path / folder, size="0.2m", data=data, seed=seed))
        return find_model(str(made)).identity()

    first, again, other = identity("a", 0), identity("b", 0), identity("c", 1)
    assert (again.digest, again.tokenizer) == (first.digest, first.tokenizer)
    assert other.digest != first.digest
    assert other.tokenizer == first.tokenizer


def test_manifest_names_the_weights_and_the_records_behind_the_tokenizer(data: str, tmp_path: Path) -> None:
    made = make(TinyModelSettings(output=tmp_path / "m", size="0.2m", data=data))
    found = manifest.read(made)
    assert found.kind == "tiny-model"
    assert found.model == find_model(str(made)).identity("float32")
    assert found.data is not None
    assert (found.data.source, found.data.records) == (data, 12)


def test_every_byte_is_a_token_and_every_token_has_a_row(tokenizer: Any, tiny_model: Path) -> None:
    vocabulary = tokenizer.get_vocab()
    assert set(pre_tokenizers.ByteLevel.alphabet()) <= set(vocabulary)
    assert set(CONTROL_TOKENS) <= set(vocabulary)
    rows = LlamaConfig.from_pretrained(tiny_model).vocab_size
    assert max(vocabulary.values()) < rows
    assert len(vocabulary) == len(tokenizer) <= rows


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_unicode_text_survives_encoding_and_decoding(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert tokenizer.unk_token_id is None


def test_chat_template_is_llama_3s_without_the_date(tokenizer: Any) -> None:
    turns = [{"role": "system", "content": " S\n"}, {"role": "user", "content": "U"}]
    prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert prompt == (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    answered = tokenizer.apply_chat_template([*turns, {"role": "assistant", "content": "R"}], tokenize=False)
    assert answered == prompt + "R<|eot_id|>"


def test_control_tokens_are_single_tokens_and_a_turn_ends_with_the_end_of_sequence(tokenizer: Any) -> None:
    assert all(len(tokenizer(t, add_special_tokens=False)["input_ids"]) == 1 for t in CONTROL_TOKENS)
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|begin_of_text|>", "<|eot_id|>")


def test_vocabulary_size_can_be_set_and_needs_room_for_the_bytes(data: str, tmp_path: Path) -> None:
    made = make(TinyModelSettings(output=tmp_path / "m", size="0.2m", vocab_size=300, data=data))
    assert LlamaConfig.from_pretrained(made).vocab_size == 300
    assert len(AutoTokenizer.from_pretrained(made)) <= 300
    with pytest.raises(ValueError, match="greater than or equal to 300"):
        TinyModelSettings(output=tmp_path / "n", vocab_size=299)


def test_older_stand_in_is_replaced_and_anything_else_is_refused(data: str, tmp_path: Path) -> None:
    folder = make(TinyModelSettings(output=tmp_path / "m", size="0.2m", data=data))
    first = find_model(str(folder)).identity()
    make(TinyModelSettings(output=folder, size="0.2m", data=data, seed=9))
    assert find_model(str(folder)).identity().digest != first.digest

    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    with pytest.raises(SettingsError, match="holds something else"):
        make(TinyModelSettings(output=other, size="0.2m", data=data))
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]


def test_records_that_cannot_be_read_leave_no_model_behind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        make(TinyModelSettings(output=tmp_path / "m", size="0.2m", data=str(tmp_path / "absent.jsonl")))
    assert not (tmp_path / "m").exists()


def test_weights_start_at_the_inverse_root_of_the_width(tiny_model: Path) -> None:
    weights = LlamaForCausalLM.from_pretrained(tiny_model).model.embed_tokens.weight
    assert weights.std().item() == pytest.approx(64**-0.5, rel=0.02)  # Llama's own 0.02 is far too small here
