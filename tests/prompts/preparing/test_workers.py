"""Processes, parts and methods divide the work; the folder is the same to the last byte."""

import gc
import json
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any, cast

import pytest

from alignx.errors import DataError, SettingsError
from alignx.prompts.preparing import PrepareSettings, prepare, write_prepared
from alignx.prompts.preparing.making import Job, Making
from alignx.prompts.preparing.workers import _interrupts_later
from alignx.records import Records, load_taxonomy, pieces
from tests.prompts.preparing.folders import files, rows
from tests.prompts.preparing.test_one_by_one import CONDITIONS
from tests.prompts.preparing.unruly import encoder
from tests.worlds import sample_records, write_jsonl

COUNT = 150


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of which every sixth repeats one of another piece, and some bring ids, some of them twice."""
    found = sample_records(COUNT, seed=7)
    for number in range(5, COUNT, 6):
        found[number] = dict(found[number // 2])
    for number in range(2, COUNT, 9):
        found[number]["id"] = f"n{number % 27}"
    found[70] = {"prompt": "no responses"}
    return write_jsonl(tmp_path_factory.mktemp("data") / "records.jsonl", found)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", 16)


def made(output: Path, data: Path, model: Path, **told: Any) -> dict[str, bytes]:
    """The files of a preparation."""
    told = {"method": "ica", "model": str(model), "skip_invalid": 30, "workers": 1, **told}
    prepare(PrepareSettings(data=str(data), output=output, **told))
    return files(output)


@pytest.fixture(scope="module")
def calm(data: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process makes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE_ROWS", 16)
        patch.setenv("ALIGNX_CACHE", str(tmp_path_factory.mktemp("cache")))
        return made(tmp_path_factory.mktemp("calm") / "prepared", data, tiny_model)


@pytest.mark.parametrize("workers", [2, 4])
def test_the_number_of_processes_changes_no_byte(
    workers: int, data: Path, tiny_model: Path, tmp_path: Path, calm: dict[str, bytes]
) -> None:
    assert len(calm) == 1 + 10
    assert json.loads(calm["manifest.json"])["data"]["skipped"] > 3
    assert made(tmp_path / "out", data, tiny_model, workers=workers) == calm


@pytest.mark.parametrize("order", ["0/1", "0/2 1/2", "1/2 0/2", "2/3 0/3 1/3", "11/12", "1/4"])
def test_parts_that_other_machines_made_change_no_byte(
    order: str, data: Path, tiny_model: Path, tmp_path: Path, calm: dict[str, bytes]
) -> None:
    # the last two orders leave parts, or everything, to whoever joins them
    for part in order.split():
        made(tmp_path / "out", data, tiny_model, shard=part)
    if order != "0/1":
        assert not (tmp_path / "out" / "manifest.json").exists()
    assert made(tmp_path / "out", data, tiny_model) == calm


@pytest.mark.parametrize("shard", ["1/2", None], ids=["another part", "the join"])
def test_parts_made_with_other_settings_are_refused_and_left_as_they_are(
    shard: str | None, data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    made(tmp_path / "out", data, tiny_model, shard="0/2")
    before = files(tmp_path / "out")
    with pytest.raises(DataError, match=r"out: holds unfinished shards that were made with other settings"):
        made(tmp_path / "out", data, tiny_model, shard=shard, seed=3)
    after = {name: content for name, content in files(tmp_path / "out").items() if ".lock" not in name}
    assert after == before


def test_parts_are_made_again_for_nobody(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    for part in ("0/2", "1/2"):
        made(tmp_path / "out", data, tiny_model, shard=part)
    before = {path.name: path.stat() for path in (tmp_path / "out").glob("pairs-*.parquet")}
    assert len(before) == 10
    made(tmp_path / "out", data, tiny_model, shard="0/2")
    after = {path.name: path.stat() for path in (tmp_path / "out").glob("pairs-*.parquet")}
    assert {name: (was.st_ino, was.st_mtime_ns) for name, was in before.items()} == {
        name: (now.st_ino, now.st_mtime_ns) for name, now in after.items()
    }


def test_a_part_of_a_finished_folder_leaves_it_as_it_is(
    data: Path, tiny_model: Path, tmp_path: Path, calm: dict[str, bytes]
) -> None:
    made(tmp_path / "out", data, tiny_model)
    assert made(tmp_path / "out", data, tiny_model, shard="1/3") == calm


@pytest.mark.parametrize("form", ["ids", "text"])
def test_both_methods_from_one_reading_are_what_each_is_alone(
    form: str, data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    both = made(tmp_path / "both", data, tiny_model, method="ica,pba", form=form)
    alone = {
        f"{method}/{name}": content
        for method in ("ica", "pba")
        for name, content in made(tmp_path / method, data, tiny_model, method=method, form=form).items()
    }
    assert both == alone
    assert both["ica/pairs-00003.parquet"] != both["pba/pairs-00003.parquet"]


def test_a_method_that_is_there_already_is_not_made_again(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    made(tmp_path / "out" / "ica", data, tiny_model)
    before = {path: path.stat().st_ino for path in (tmp_path / "out" / "ica").iterdir()}
    both = made(tmp_path / "out", data, tiny_model, method="ica,pba")
    assert {path: path.stat().st_ino for path in (tmp_path / "out" / "ica").iterdir()} == before
    assert both == made(tmp_path / "fresh", data, tiny_model, method="ica,pba")


@pytest.mark.parametrize("limit", [1, 16, 17, 40, 63, 10_000])
def test_a_limit_leaves_no_shard_of_pieces_beyond_it(limit: int, data: Path, tiny_model: Path, tmp_path: Path) -> None:
    calm = made(tmp_path / "calm", data, tiny_model, limit=limit)
    assert len(rows(tmp_path / "calm")) == min(limit, json.loads(calm["manifest.json"])["counts"]["records"])
    for part in ("0/2", "1/2"):
        made(tmp_path / "parts", data, tiny_model, limit=limit, shard=part)
    assert made(tmp_path / "parts", data, tiny_model, limit=limit) == calm
    assert json.loads(calm["manifest.json"])["files"].keys() == calm.keys() - {"manifest.json"}
    inode = (tmp_path / "parts" / "manifest.json").stat().st_ino
    made(tmp_path / "parts", data, tiny_model, limit=limit)
    assert (tmp_path / "parts" / "manifest.json").stat().st_ino == inode  # it was finished


def test_a_limit_leaves_nothing_that_processes_made_ahead(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    calm = made(tmp_path / "calm", data, tiny_model, limit=20)
    assert made(tmp_path / "out", data, tiny_model, limit=20, workers=3) == calm
    assert set(calm) == {"manifest.json", "pairs-00000.parquet", "pairs-00001.parquet"}


def test_processes_refuse_the_row_that_one_refuses(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    said = []
    for workers in (1, 3):
        with pytest.raises(DataError) as caught:
            made(tmp_path / f"{workers}", data, tiny_model, workers=workers, skip_invalid=2)
        assert not (tmp_path / f"{workers}" / "manifest.json").exists()
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert "(and 2 rows before it; --skip-invalid allows 2)" in said[0]


def test_personas_of_others_are_found_by_every_process(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    calm = made(tmp_path / "calm", data, tiny_model, persona="other")
    assert made(tmp_path / "out", data, tiny_model, persona="other", workers=2) == calm


def test_processes_write_what_the_plain_writer_does_whatever_its_batches(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(3)
    found = []
    for number in range(3):
        monkeypatch.setattr(pieces, "PIECE_ROWS", rng.randint(5, 60))
        records = Records(str(data), skip_invalid=30)
        condition = CONDITIONS[0].model_copy(update={"max_length": 8192})
        write_prepared(tmp_path / f"{number}", records, condition, encoder(condition), {}, workers=1 + number % 2)
        found.append(rows(tmp_path / f"{number}"))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) > COUNT - 30


@pytest.mark.parametrize("said", ["2/2", "-1/2", "1", "a/b", "0/0", "1/2/3"])
def test_a_part_that_is_none_is_refused(said: str, tmp_path: Path) -> None:
    from alignx.settings import validate

    with pytest.raises(SettingsError, match=r"expected I/N with I from 0 to N-1, such as 0/8"):
        validate(PrepareSettings, {"output": tmp_path, "shard": said})


def test_an_interrupt_that_another_thread_receives_waits_for_the_end_of_the_block() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    ended, over = [], threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    number = other.ident or 0

    def interrupted() -> None:
        with _interrupts_later():
            signal.pthread_kill(number, signal.SIGINT)
            time.sleep(0.05)  # in which Python would raise it
            ended.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert [signal.SIGINT in mask for mask in ended] == [True]  # as processes inherit it
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        over.set()
        other.join()
        signal.signal(signal.SIGINT, before)


def test_cycles_are_not_searched_for_while_a_shard_is_made_and_are_again_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def make(_: Making, job: Any) -> Any:
        if job is None:
            raise DataError("changed")
        return gc.isenabled()

    monkeypatch.setattr(Making, "_make", make)
    making = Making(load_taxonomy(), ())
    assert gc.isenabled()
    assert making.make(cast("Job", "a job")) is False
    with pytest.raises(DataError, match="changed"):
        making.make(cast("Job", None))
    assert gc.isenabled()
