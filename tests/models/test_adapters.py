"""Adapters: found with their base, told apart, scored, and merged into it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from alignx import manifest
from alignx.cli import main
from alignx.errors import DataError, ModelError, SettingsError
from alignx.evaluation.scores import read_scores, score
from alignx.models.loading import find_model, load_model
from alignx.models.merging import MergeSettings, merge
from alignx.training.configuring import refuse_unknown_targets
from tests.evaluation.conftest import perturbed
from tests.evaluation.conftest import settings as scoring
from tests.training.runs import settings, short_records
from tests.worlds import write_jsonl

PRESET = "released-train"
"""What the adapter was trained under; not what a model that records nothing is scored under."""


@dataclass(frozen=True)
class Trained:
    """A LoRA checkpoint of ours, with what it was made from; read-only."""

    base: Path
    data: Path
    adapter: Path
    merged: Path
    scores: Path
    """Of the adapter."""


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    from alignx.training.run import train

    folder = tmp_path_factory.mktemp("adapters")
    rows = [{"id": f"r{i}", **row} for i, row in enumerate(short_records(8, seed=5))]
    data = write_jsonl(folder / "records.jsonl", rows)
    lora = {"lora_rank": 4, "learning_rate": 1e-2, "warmup_ratio": 0.0, "epochs": 2, "preset": PRESET}
    adapter = train(settings(tiny_model, data, folder / "adapter", **lora))
    merged = merge(MergeSettings(model=str(adapter), output=folder / "merged"))
    scores = score(scoring(adapter, data, folder / "adapter.jsonl"))
    return Trained(tiny_model, data, adapter, merged, scores)


@pytest.fixture
def copied(trained: Trained, tmp_path: Path) -> Path:
    """A copy of the adapter."""
    return Path(shutil.copytree(trained.adapter, tmp_path / "a copy"))


def values(scores: Path) -> list[float]:
    return [value for one in read_scores(scores)[0].values() for value in (one.chosen, one.rejected)]


def say_base(adapter: Path, base: str | None) -> None:
    """Rewrite where an adapter says its base is."""
    path = adapter / "adapter_config.json"
    said = json.loads(path.read_text())
    del said["base_model_name_or_path"]
    path.write_text(json.dumps(said if base is None else {**said, "base_model_name_or_path": base}))


# What training leaves.


def test_a_lora_run_saves_the_adapter_alone_and_where_its_base_is(trained: Trained) -> None:
    weights = [path.name for path in trained.adapter.rglob("*.safetensors")]
    assert weights == ["adapter_model.safetensors"]
    said = json.loads((trained.adapter / "adapter_config.json").read_text())
    assert said["base_model_name_or_path"] == str(trained.base.resolve())
    assert (said["r"], said["lora_alpha"], said["lora_dropout"]) == (4, 8, 0.0)
    found = load_file(trained.adapter / "adapter_model.safetensors")
    assert {name.split(".")[-2] for name in found} == {"lora_A", "lora_B"}
    projections = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert {name.split(".")[-3] for name in found} == projections
    assert all(each.abs().max() > 0 for name, each in found.items() if "lora_B" in name), "all of it was trained"
    recorded = manifest.read(trained.adapter)
    assert recorded.files["adapter_model.safetensors"] == manifest.file_digest(
        trained.adapter / "adapter_model.safetensors"
    )


# Finding and telling apart.


def test_an_adapter_is_found_with_its_base(trained: Trained) -> None:
    found = find_model(str(trained.adapter))
    assert found.folder == trained.adapter
    assert found.base is not None
    assert found.base.folder == trained.base.resolve()
    assert found.base.base is None


def test_an_adapter_is_another_model_than_its_base_trained_from_it(trained: Trained) -> None:
    adapter, base = (find_model(str(folder)).identity("float32") for folder in (trained.adapter, trained.base))
    assert adapter.digest != base.digest
    assert adapter.tokenizer == base.tokenizer
    assert (adapter.trained_from, base.trained_from) == (base.digest, None)


def test_a_copied_adapter_is_the_same_model_under_another_name(trained: Trained, copied: Path) -> None:
    adapter, copy = (find_model(str(folder)).identity() for folder in (trained.adapter, copied))
    assert copy.model_copy(update={"name": adapter.name}) == adapter


def test_one_changed_weight_of_the_adapter_changes_its_digest(trained: Trained, copied: Path) -> None:
    path = copied / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    adapter, changed = (find_model(str(folder)).identity() for folder in (trained.adapter, copied))
    assert changed.digest != adapter.digest


def test_the_scale_of_the_adapter_is_part_of_what_it_is(trained: Trained, copied: Path) -> None:
    path = copied / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "lora_alpha": 16}))
    adapter, changed = (find_model(str(folder)).identity() for folder in (trained.adapter, copied))
    assert changed.digest != adapter.digest


def test_another_base_changes_its_digest(trained: Trained, copied: Path, tmp_path: Path) -> None:
    manifest.path_of(copied).unlink()  # as an adapter from elsewhere, of which nobody knows what it was trained on
    other = perturbed(trained.base, tmp_path / "other", seed=1)
    one, two = (find_model(str(copied), base=str(base)).identity() for base in (trained.base, other))
    assert one.digest != two.digest
    assert one.digest == find_model(str(trained.adapter)).identity().digest
    assert one.trained_from is None


# A base that is not where it was.


@pytest.fixture
def moved(trained: Trained, copied: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The adapter and its base, after both have moved."""
    base = shutil.copytree(trained.base, tmp_path / "moved base")
    say_base(copied, str(tmp_path / "gone"))
    return copied, Path(base)


def test_a_base_that_is_gone_is_asked_for(moved: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        find_model(str(moved[0]))
    said = f"{moved[0]}: is an adapter, and its base is not to be had: {tmp_path / 'gone'}"
    assert str(caught.value).startswith(said)
    assert str(caught.value).endswith("say where: --base")
    assert "\n" not in str(caught.value)


def test_a_base_is_taken_from_where_the_user_says(moved: tuple[Path, Path], trained: Trained, tmp_path: Path) -> None:
    adapter, base = moved
    found = score(scoring(adapter, trained.data, tmp_path / "s.jsonl", base=str(base)))
    assert values(found) == values(trained.scores)


def test_a_base_elsewhere_is_given_on_the_command_line(
    moved: tuple[Path, Path], trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter, base = moved
    command = ["score", "--model", str(adapter), "--data", str(trained.data), "--output", str(tmp_path / "s.jsonl")]
    command += ["--method", "ica", "--dtype", "float32"]
    with pytest.raises(SystemExit) as caught:
        main(command)
    assert caught.value.code == 4
    assert "--base" in capsys.readouterr().err.splitlines()[-1]
    main([*command, "--base", str(base)])
    assert values(tmp_path / "s.jsonl") == pytest.approx(values(trained.scores), abs=1e-4)


@pytest.mark.parametrize("where", ["in the adapter", "by the user"])
def test_other_weights_than_it_was_trained_on_are_refused(
    where: str, trained: Trained, copied: Path, tmp_path: Path
) -> None:
    other = perturbed(trained.base, tmp_path / "other", seed=1)
    say_base(copied, str(other if where == "in the adapter" else trained.base))
    with pytest.raises(ModelError, match=rf"was trained on other weights than those of {other}; .*--base"):
        find_model(str(copied), base=str(other) if where == "by the user" else None)


@pytest.mark.parametrize("config", [None, "{", "[]", "null"], ids=ascii)
def test_an_adapter_that_does_not_say_its_base_is_refused(config: str | None, copied: Path) -> None:
    if config is None:
        say_base(copied, None)
    else:
        (copied / "adapter_config.json").write_text(config)
    with pytest.raises(ModelError, match=r"adapter_config\.json does not say its base_model_name_or_path"):
        find_model(str(copied))


def test_an_adapter_without_safetensors_weights_is_refused(copied: Path) -> None:
    (copied / "adapter_model.safetensors").rename(copied / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"no adapter_model\.safetensors .*pickled weights are not loaded"):
        find_model(str(copied))


def test_a_cut_adapter_is_refused_in_one_line(copied: Path) -> None:
    path = copied / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot load the adapter: ") as caught:
        load_model(find_model(str(copied)), "float32")
    assert "\n" not in str(caught.value)


def test_a_whole_model_has_no_base(trained: Trained) -> None:
    for whole in (trained.base, trained.merged):
        with pytest.raises(ModelError, match="is a whole model, so it has no --base"):
            find_model(str(whole), base=str(trained.base))


# Scoring.


def test_scores_of_an_adapter_are_those_of_the_merged_model_and_not_of_its_base(
    trained: Trained, tmp_path: Path
) -> None:
    merged = values(score(scoring(trained.merged, trained.data, tmp_path / "merged.jsonl")))
    base = values(score(scoring(trained.base, trained.data, tmp_path / "base.jsonl", preset=PRESET)))
    found = values(trained.scores)
    assert len(found) == 16
    assert found == pytest.approx(merged, abs=1e-4)
    assert min(abs(one - other) for one, other in zip(found, base, strict=True)) > 1e-3


def test_neither_reading_prompts_twice_nor_larger_batches_change_an_adapters_scores(
    trained: Trained, tmp_path: Path
) -> None:
    how = {"shared_prefix": False, "batch_tokens": 4_000}
    found = score(scoring(trained.adapter, trained.data, tmp_path / "s.jsonl", **how))
    assert values(found) == pytest.approx(values(trained.scores), abs=1e-4)
    assert (manifest.read(trained.scores).forward or {})["shared_prefix"] is True


def test_adapter_and_merged_model_are_scored_under_the_condition_they_were_trained_under(
    trained: Trained, tmp_path: Path
) -> None:
    merged = score(scoring(trained.merged, trained.data, tmp_path / "merged.jsonl"))
    for found in (merged, trained.scores):
        said = manifest.read(found)
        assert (said.condition or {})["preset"] == PRESET
        assert said.condition_reason == "as its checkpoint records"
        assert said.model is not None
        assert said.model.trained_from == find_model(str(trained.base)).identity().digest


def test_an_adapter_computes_what_the_definition_says(trained: Trained) -> None:
    # W + (alpha / r)·B·A with alpha = 2r, on one projection.
    model = load_model(find_model(str(trained.adapter)), "float32")
    assert not model.training
    weights = load_file(trained.adapter / "adapter_model.safetensors")
    place = "base_model.model.model.layers.1.self_attn.q_proj"
    plain = load_file(trained.base / "model.safetensors")["model.layers.1.self_attn.q_proj.weight"]
    states = torch.randn(3, plain.shape[1], generator=torch.Generator().manual_seed(0))
    expected = states @ plain.T + 2 * states @ weights[f"{place}.lora_A.weight"].T @ weights[f"{place}.lora_B.weight"].T
    with torch.no_grad():
        assert torch.allclose(model.model.layers[1].self_attn.q_proj(states), expected, atol=1e-5)


# Merging.


def test_a_merged_model_is_whole_and_loads_with_transformers(trained: Trained) -> None:
    from transformers import AutoModelForCausalLM

    found = find_model(str(trained.merged))
    assert found.base is None
    assert not (trained.merged / "adapter_config.json").exists()
    whole = AutoModelForCausalLM.from_pretrained(trained.merged).eval()
    assert {each.dtype for each in whole.parameters()} == {torch.float32}  # the base's own
    ids = torch.arange(5, 45)[None]
    with torch.no_grad():
        expected = load_model(find_model(str(trained.adapter)), "float32")(input_ids=ids).logits
        assert torch.allclose(whole(input_ids=ids).logits, expected, atol=1e-4)


def test_the_manifest_of_a_merged_model_says_how_the_adapter_was_made_and_names_every_file(trained: Trained) -> None:
    found, adapter = manifest.read(trained.merged), manifest.read(trained.adapter)
    assert (found.kind, found.condition, found.settings) == ("checkpoint", adapter.condition, adapter.settings)
    assert (found.model, found.data) == (adapter.model, adapter.data)
    assert found.counts["merged_from"] == find_model(str(trained.adapter)).identity().digest
    assert "model.safetensors" in found.files
    assert manifest.is_intact(trained.merged, found)


def test_a_model_is_merged_in_the_precision_asked_for(trained: Trained, tmp_path: Path) -> None:
    half = merge(MergeSettings(model=str(trained.adapter), output=tmp_path / "half", dtype="bfloat16"))
    found = load_file(half / "model.safetensors")
    assert {each.dtype for each in found.values()} == {torch.bfloat16}
    whole = load_file(trained.merged / "model.safetensors")
    assert found.keys() == whole.keys()
    for name, each in whole.items():
        assert torch.allclose(found[name].float(), each, rtol=2e-2, atol=2e-2), name


def test_a_whole_model_cannot_be_merged(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is no adapter, there is nothing to merge"):
        merge(MergeSettings(model=str(trained.base), output=tmp_path / "merged"))
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize(
    "make",
    [lambda path: path.write_text("something"), lambda path: (path.mkdir(), (path / "a").write_text("something"))],
    ids=["a file", "a folder with something in it"],
)
def test_merging_overwrites_nothing(make: Callable[[Path], Any], trained: Trained, tmp_path: Path) -> None:
    output = tmp_path / "there"
    make(output)
    with pytest.raises((DataError, OSError)):
        merge(MergeSettings(model=str(trained.adapter), output=output))
    left = output if output.is_file() else output / "a"
    assert left.read_text() == "something"


def test_the_command_merges(trained: Trained, tmp_path: Path) -> None:
    main(["merge", "--model", str(trained.adapter), "--output", str(tmp_path / "merged")])
    assert (tmp_path / "merged/model.safetensors").read_bytes() == (trained.merged / "model.safetensors").read_bytes()


def test_an_adapter_from_elsewhere_is_merged_without_a_condition(
    trained: Trained, copied: Path, tmp_path: Path
) -> None:
    manifest.path_of(copied).unlink()
    found = manifest.read(merge(MergeSettings(model=str(copied), output=tmp_path / "merged")))
    assert found.condition is None
    assert found.model is not None
    assert found.model.digest == find_model(str(trained.base)).identity().digest


def test_adapters_on_layers_that_are_not_there_are_refused_before_anything_is_computed(
    tiny_model: Path, tmp_path: Path
) -> None:
    wrong = settings(tiny_model, tmp_path, tmp_path / "out", lora_rank=4, lora_targets="q_proj,foo")
    files = find_model(str(tiny_model))
    with pytest.raises(
        SettingsError, match=r"--lora-targets: .* no linear layer called foo; it has .*k_proj, .*q_proj"
    ):
        refuse_unknown_targets(wrong, files)
    for targets in ("all-linear", "q_proj,v_proj"):
        refuse_unknown_targets(wrong.model_copy(update={"lora_targets": targets}), files)
