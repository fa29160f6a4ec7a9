"""Finding a model's files and telling one model from another."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from alignx.errors import ModelError
from alignx.models.loading import choose_attention, choose_dtype, find_model, load_model


@pytest.fixture
def copied(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "a copy under another name"))


def change_one_weight(folder: Path) -> None:
    (path,) = folder.glob("*.safetensors")
    weights = load_file(path)
    name = sorted(weights)[0]
    weights[name].view(-1)[0] += 1
    save_file(weights, path, metadata={"format": "pt"})


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all"])
def test_missing_folder_is_refused_without_asking_the_hub(name: str) -> None:
    with pytest.raises(ModelError, match=f"{name}: no such model folder"):
        find_model(name)


def test_file_in_place_of_a_folder_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="no such model folder"):
        find_model(str(tiny_model / "config.json"))


def test_hub_id_that_cannot_be_reached_is_refused_in_one_line() -> None:
    with pytest.raises(
        ModelError, match="somebody/some-model: no such folder here, and not to be had from the hub"
    ) as e:
        find_model("somebody/some-model")
    assert "\n" not in str(e.value)


def test_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json in .*expected a model in Hugging Face format"):
        find_model(str(tmp_path))


def test_folder_with_pickled_weights_only_is_refused(copied: Path) -> None:
    (weights,) = copied.glob("*.safetensors")
    weights.rename(copied / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no \*\.safetensors in .*pickled weights are not loaded"):
        find_model(str(copied))


@pytest.mark.parametrize(
    ("name", "value", "another"),
    [
        ("rms_norm_eps", 1e-3, True),
        ("rope_theta", 5.0, True),
        ("use_cache", False, False),
        ("dtype", "bfloat16", False),
    ],
)
def test_a_setting_that_changes_what_is_computed_makes_another_model(
    name: str, value: Any, another: bool, tiny_model: Path, copied: Path
) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, name: value}))
    digests = [find_model(str(folder)).identity().digest for folder in (tiny_model, copied)]
    assert (digests[0] != digests[1]) is another


def test_copied_model_has_the_same_identity_but_for_its_name(tiny_model: Path, copied: Path) -> None:
    original, copy = (find_model(str(folder)).identity("float32") for folder in (tiny_model, copied))
    assert copy.name != original.name
    assert copy.model_copy(update={"name": original.name}) == original
    assert len(original.digest) == len(original.tokenizer) == 64


def test_one_changed_weight_changes_the_digest_and_not_the_tokenizers(tiny_model: Path, copied: Path) -> None:
    change_one_weight(copied)
    original, changed = (find_model(str(folder)).identity() for folder in (tiny_model, copied))
    assert changed.digest != original.digest
    assert changed.tokenizer == original.tokenizer


@pytest.mark.parametrize("part", ["tokenizer.json", "chat_template.jinja"])
def test_changed_tokenizer_or_template_changes_its_digest_and_not_the_weights(
    part: str, tiny_model: Path, copied: Path
) -> None:
    path = copied / part
    path.write_text(path.read_text(encoding="utf-8") + " ", encoding="utf-8")
    original, changed = (find_model(str(folder)).identity() for folder in (tiny_model, copied))
    assert changed.tokenizer != original.tokenizer
    assert changed.digest == original.digest


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_model_is_loaded_in_the_dtype_asked_for_and_in_evaluation_mode(dtype: str, tiny_model: Path) -> None:
    model = load_model(find_model(str(tiny_model)), dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {getattr(torch, dtype)}
    assert not model.training


def test_attention_implementation_is_the_one_asked_for(tiny_model: Path) -> None:
    model = load_model(find_model(str(tiny_model)), "float32", attention="eager")
    assert model.config._attn_implementation == "eager"


def test_model_of_an_unknown_architecture_is_refused_in_one_line(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "model_type": "unheard-of"}))
    with pytest.raises(ModelError, match=r"cannot load the model: .*unheard-of") as caught:
        load_model(find_model(str(copied)), "float32")
    assert "\n" not in str(caught.value)


def test_cut_weights_are_refused(copied: Path) -> None:
    (weights,) = copied.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot load the model"):
        load_model(find_model(str(copied)), "float32")


def test_automatic_dtype_is_float32_without_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_dtype("auto") == "float32"
    assert choose_dtype("float16") == "float16"


def test_automatic_dtype_is_bfloat16_where_the_accelerator_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for supported, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda supported=supported: supported)
        assert choose_dtype("auto") == expected


@pytest.mark.parametrize(
    ("wanted", "shared_prefix", "installed", "expected"),
    [
        ("auto", True, True, "auto"),
        ("auto", False, True, "flash_attention_2"),
        ("auto", False, False, "auto"),
        ("eager", False, True, "eager"),
    ],
)
def test_flash_attention_is_taken_where_prompts_are_read_twice_and_it_is_there(
    wanted: Any, shared_prefix: bool, installed: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.utils.import_utils.is_flash_attn_2_available", lambda: installed)
    assert choose_attention(wanted, shared_prefix) == expected
