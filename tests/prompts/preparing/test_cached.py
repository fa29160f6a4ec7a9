"""Prepared rows of raw records: made once, found by whoever asks for the same, never stale."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from alignx import manifest
from alignx.cache import cache_folder
from alignx.errors import DataError
from alignx.evaluation.scores import score
from alignx.evaluation.settings import ScoreSettings
from alignx.locking import hold
from alignx.prompts import Condition, Method, PairEncoder
from alignx.prompts.preparing import Cached
from alignx.prompts.preparing.making import Making
from alignx.records import Records, pieces
from alignx.training.run import train
from tests.prompts.preparing.folders import files
from tests.prompts.preparing.started import make_cached
from tests.prompts.preparing.unruly import encoder
from tests.training.runs import settings as run_settings
from tests.training.runs import short_records
from tests.worlds import sample_records, write_jsonl

ICA = Condition(method=Method.ICA).resolved()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "records.jsonl", short_records(24, seed=6))


def cached(data: Path, condition: Condition = ICA, **told: Any) -> Cached:
    return Cached(Records(str(data), **told), condition, encoder(condition), workers=1)


def forbid(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Making, "make", lambda *_: pytest.fail("prepared again"))


def test_what_was_never_made_is_not_known_and_asking_makes_nothing(data: Path) -> None:
    assert cached(data).known() is None
    assert not (cache_folder() / "prepared").exists()


def test_what_is_made_is_what_the_plain_way_makes(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", 7)
    records = Records(str(data))
    expected = list(PairEncoder(records, ICA, encoder(ICA)))
    made = cached(data).made()
    assert cached(data).pairs() == expected
    assert made.data == records.identity
    assert len(made.files) == 4


def test_a_second_asking_makes_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cached(data).made()
    before = files(cached(data).folder)
    forbid(monkeypatch)
    assert cached(data).known() == cached(data).made() == first
    assert files(cached(data).folder) == before


def test_the_same_records_are_found_under_another_name_and_called_by_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cached(data).made()
    other = tmp_path / "other.jsonl"
    other.write_bytes(data.read_bytes())
    forbid(monkeypatch)
    found = cached(other).made()
    assert (first.data.source, found.data.source) == (str(data), str(other))
    assert found.data.digest == first.data.digest
    assert cached(other).known() == found


def test_each_condition_has_a_place_of_its_own(data: Path) -> None:
    changes: list[dict[str, Any]] = [{}, {"history": 1}, {"seed": 3, "history": "sampled"}, {"date": "01 Feb 2003"}]
    made = {cached(data, ICA.model_copy(update=change)).folder for change in changes}
    assert len(made | {cached(data, limit=3).folder}) == 5


def test_fewer_may_be_skipped_than_were(data: Path) -> None:
    raw = short_records(6, seed=6)
    write_jsonl(data, [*raw, {"prompt": "no responses"}])
    assert cached(data, skip_invalid=1).made().data.skipped == 1
    assert cached(data, skip_invalid=2).known() is not None
    assert cached(data).known() is None
    before = files(cached(data).folder)
    with pytest.raises(DataError, match=r"records.jsonl:7: 'chosen' is missing.*--skip-invalid allows 0") as caught:
        cached(data).made()
    assert "\n" not in str(caught.value)
    assert files(cached(data).folder) == before


def test_a_damaged_set_is_made_again(data: Path) -> None:
    made = cached(data).made()
    (shard,) = (cached(data).folder / name for name in made.files)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert cached(data).known() is None
    assert cached(data).made() == made
    assert cached(data).known() == made


def test_who_asks_while_another_makes_it_waits_and_finds_it(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    context = multiprocessing.get_context("spawn")  # a fork would hold the file too
    folder, answers = cached(data).folder, context.Queue()
    folder.mkdir(parents=True)
    stream = hold(folder / ".lock", "preparing records there")
    waiting = [context.Process(target=make_cached, args=(data, ICA, answers), daemon=True) for _ in range(2)]
    for process in waiting:
        process.start()
    assert [answers.get(timeout=60) for _ in waiting] == [None, None]  # both looked, and found nothing
    waiting[0].join(0.5)
    assert all(process.is_alive() for process in waiting)
    assert not list(folder.glob("*.parquet"))
    stream.close()
    found = [answers.get(timeout=60) for _ in waiting]
    for process in waiting:
        process.join(60)
    assert [process.exitcode for process in waiting] == [0, 0]
    assert found[0] == found[1] == cached(data).known().model_dump(mode="json")
    assert set(files(folder)) == {"manifest.json", *found[0]["files"]}
    assert "waiting for process" in capfd.readouterr().err


def test_scoring_the_same_records_again_prepares_nothing_and_names_them_itself(
    tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scored(path: Path, name: str) -> Path:
        return score(ScoreSettings(model=str(tiny_model), data=str(path), output=tmp_path / name, method="ica"))

    first = scored(data, "first.jsonl")
    other = tmp_path / "other.jsonl"
    other.write_bytes(data.read_bytes())
    forbid(monkeypatch)
    second = scored(other, "second.jsonl")
    assert second.read_bytes() == first.read_bytes()
    assert manifest.read(second).data.source == str(other)
    assert manifest.read(second).data.digest == manifest.read(first).data.digest


def test_training_on_the_same_records_again_prepares_nothing(
    tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(run_settings(tiny_model, data, tmp_path / "first", max_steps=1))
    forbid(monkeypatch)
    train(run_settings(tiny_model, data, tmp_path / "second", max_steps=1))
    assert manifest.read(tmp_path / "second").data == manifest.read(tmp_path / "first").data
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("first", "second")]
    assert weights[0] == weights[1]


def test_changed_records_are_never_taken_for_what_they_were(data: Path) -> None:
    before = cached(data).made()
    write_jsonl(data, sample_records(5, seed=1))
    assert cached(data).known() is None
    assert cached(data).made().data.records == 5
    assert before.data.records == 24
