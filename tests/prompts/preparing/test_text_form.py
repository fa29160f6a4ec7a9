"""Prepared as text: what a prompt says, whole, for tools that tokenise themselves."""

from pathlib import Path
from typing import Any

import pytest

from alignx import manifest
from alignx.errors import DataError, SettingsError
from alignx.prompts import Condition, Method, render, tell
from alignx.prompts.preparing import PrepareSettings, prepare
from alignx.records import Records, load_taxonomy, pieces
from alignx.training.run import train
from tests.prompts.preparing.folders import files, rows
from tests.training.runs import settings as run_settings
from tests.worlds import sample_records, write_jsonl


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "records.jsonl", sample_records(25, seed=4))


def prepared(output: Path, data: Path, **told: Any) -> list[dict[str, Any]]:
    prepare(PrepareSettings(data=str(data), output=output, **{"form": "text", "method": "ica", "workers": 1, **told}))
    return rows(output)


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("preset", ["paper", "released-train", "released-eval"])
def test_columns_are_what_is_rendered(
    method: Method, preset: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", 10)
    found = prepared(tmp_path / "out", data, method=method, preset=preset)
    condition = Condition(method=method, preset=preset, history="sampled").resolved()
    expected = []
    for record in Records(str(data)):
        told = tell(record, condition, load_taxonomy())
        said = render(record, told, condition)
        expected.append((record.id, said.instruction, said.user, record.chosen, record.rejected, told.items))
    names = ("id", "instruction", "prompt", "chosen", "rejected", "history_items")
    assert [tuple(row[name] for name in names) for row in found] == expected
    records = {record.id: record for record in Records(str(data))}
    assert all(row["cluster"] == records[row["id"]].cluster for row in found)
    assert all(row["target"] == records[row["id"]].target for row in found)
    made = manifest.read(tmp_path / "out")
    assert (made.settings["form"], made.settings["tokenizer"], len(made.files)) == ("text", None, 3)


def test_nothing_is_trimmed_however_long(data: Path, tmp_path: Path) -> None:
    raw = sample_records(3, seed=4)
    write_jsonl(data, [{**raw[0], "prompt": "long " * 30_000}, *raw[1:]])
    found = prepared(tmp_path / "out", data)
    assert len(found) == 3
    assert "long " * 29_999 in found[0]["prompt"]
    with pytest.raises(SettingsError, match="--max-length is in tokens, and --form text has none"):
        prepared(tmp_path / "out", data, max_length=10)


def test_says_characters_and_nothing_of_training(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(tmp_path / "out", data)
    said = capsys.readouterr().out
    assert "\ncharacters: prompt " in f"\n{said}"
    assert said.endswith(f"{tmp_path / 'out'}: 25 pairs as text\n")
    lengths = manifest.read(tmp_path / "out").counts["lengths"]["chosen"]
    by_hand = sorted(len(record.chosen) for record in Records(str(data)))
    assert (lengths["min"], lengths["median"], lengths["max"]) == (by_hand[0], by_hand[12], by_hand[-1])
    assert lengths["p95"] == by_hand[23]  # the least that 95 % of 25, which is 23.75, do not exceed
    assert lengths["mean"] == round(sum(by_hand) / 25, 1)


def test_ids_need_a_model_and_text_does_not(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--model is required, whose tokenizer makes the ids; --form text needs"):
        prepared(tmp_path / "out", data, form="ids")
    assert not (tmp_path / "out").exists()


def test_training_refuses_text_in_words(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    prepared(tmp_path / "rows", data)
    with pytest.raises(SettingsError, match=r"rows: holds text, for other tools; prepare it with --form ids"):
        train(run_settings(tiny_model, tmp_path / "rows", tmp_path / "run"))


def test_text_never_takes_the_place_of_ids_nor_ids_of_text(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    text = prepared(tmp_path / "text", data)
    ids = prepared(tmp_path / "ids", data, form="ids", model=str(tiny_model))
    assert [row["id"] for row in ids] == [row["id"] for row in text]
    before = files(tmp_path)
    with pytest.raises(DataError, match=r"text: holds other rows, which differ in form \(text against ids\)"):
        prepared(tmp_path / "text", data, form="ids", model=str(tiny_model))
    with pytest.raises(DataError, match=r"ids: holds other rows, which differ in form \(ids against text\)"):
        prepared(tmp_path / "ids", data)
    assert files(tmp_path) == before


def test_folders_of_two_methods_never_stand_in_a_finished_one(data: Path, tmp_path: Path) -> None:
    prepared(tmp_path / "out", data, method="ica")
    before = files(tmp_path)
    with pytest.raises(DataError, match=r"out: is a finished folder, in which those of ica,pba would stand"):
        prepared(tmp_path / "out", data, method="ica,pba")
    assert files(tmp_path) == before


def test_a_record_that_cannot_be_told_is_refused_or_skipped(data: Path, tmp_path: Path) -> None:
    raw = sample_records(4, seed=4)
    mute = {"prompt": "p", "chosen": "c", "rejected": "r", "User-Generated Content": [{"prompt": "p", "comment": "c"}]}
    write_jsonl(data, [*raw, {**mute, "id": "mute"}])
    with pytest.raises(DataError, match="record mute: no 'profile', and none of its 1 history items"):
        prepared(tmp_path / "out", data, method="pba")
    assert len(prepared(tmp_path / "out", data, method="pba", skip_invalid=1)) == 4
    assert manifest.read(tmp_path / "out").data.skipped == 1
    with pytest.raises(DataError, match=r"record mute: .* \(--skip-invalid allows 0; .*out keeps the rows"):
        prepared(tmp_path / "out", data, method="pba")
    assert len(prepared(tmp_path / "out", data, method="pba", skip_invalid=1)) == 4
