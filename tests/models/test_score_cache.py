"""Log-probabilities remembered by content: found again exactly, never mixed up, whole after a kill."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alignx.cache import cache_folder
from alignx.errors import DataError
from alignx.manifest import ModelIdentity
from alignx.models import score_cache
from alignx.models.score_cache import ScoreCache, pair_key

MODEL = ModelIdentity(name="m", digest="a" * 64, tokenizer="b" * 64, dtype="float32")


def cache_of(folder: Path, **changes: Any) -> ScoreCache:
    return ScoreCache(folder, MODEL.model_copy(update=changes))


def remember(cache: ScoreCache, **entries: tuple[float, float]) -> Path:
    """Write entries as one process does; returns its file."""
    before = set(cache.folder.glob("*"))
    with cache.writing() as writer:
        for key, scores in entries.items():
            writer.add(key, scores)
    (path,) = set(cache.folder.glob("*")) - before
    return path


# Names of pairs.


@pytest.mark.parametrize("kind", [list, tuple, np.array, lambda ids: np.array(ids, dtype=np.int32)])
def test_a_pair_has_one_name_whatever_holds_its_tokens(kind: Any) -> None:
    assert pair_key(kind([1, 2]), kind([3]), kind([4, 5])) == pair_key([1, 2], [3], [4, 5])


def test_other_tokens_or_other_borders_between_them_have_other_names() -> None:
    pairs = [
        ([1, 2], [3], [4, 5]),
        ([1], [2, 3], [4, 5]),  # the same tokens in a row
        ([1, 2], [3, 4], [5]),
        ([1, 2, 3], [], [4, 5]),
        ([1, 2], [4, 5], [3]),  # chosen and rejected exchanged
        ([2, 1], [3], [4, 5]),
        ([1, 2], [3], [4, 6]),
        ([1, 2], [3], [4, 5, 0]),
        ([258], [3], [4, 5]),  # 1 and 2 as bytes of one number
    ]
    assert len({pair_key(*pair) for pair in pairs}) == len(pairs)


# Remembering.


@pytest.mark.parametrize("scores", [(-1.5, -2.25), (-0.1, -1e-300), (-123456.78901234567, 0.0), (-1 / 3, -2 / 3)])
def test_what_is_remembered_comes_back_to_the_last_bit(scores: tuple[float, float], tmp_path: Path) -> None:
    remember(cache_of(tmp_path), one=scores)
    assert cache_of(tmp_path).read() == {"one": scores}


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    remember(cache_of(tmp_path), one=(-1.0, -2.0), two=(-3.0, -4.0))
    assert cache_of(tmp_path).read(["two", "three"]) == {"two": (-3.0, -4.0)}
    assert cache_of(tmp_path).read([]) == {}
    assert cache_of(tmp_path).read(key for key in ("one",)) == {"one": (-1.0, -2.0)}


def test_an_empty_place_knows_nothing_and_reading_makes_none(tmp_path: Path) -> None:
    assert cache_of(tmp_path / "new").read() == {}
    with cache_of(tmp_path / "new").writing():
        pass  # nothing to compute
    assert not (tmp_path / "new").exists()


def test_several_processes_write_at_once_and_all_is_known(tmp_path: Path) -> None:
    first, second = cache_of(tmp_path), cache_of(tmp_path)
    with first.writing() as one, second.writing() as two:
        one.add("a", (-1.0, -2.0))
        two.add("b", (-3.0, -4.0))
        assert cache_of(tmp_path).read() == {"a": (-1.0, -2.0), "b": (-3.0, -4.0)}, "no entry waits in a buffer"
        one.add("c", (-5.0, -6.0))
    assert set(cache_of(tmp_path).read()) == {"a", "b", "c"}
    assert len(list(first.folder.glob("*.jsonl"))) == 2


def test_an_error_while_writing_loses_no_entry(tmp_path: Path) -> None:
    def interrupted() -> None:
        with cache_of(tmp_path).writing() as writer:
            writer.add("a", (-1.0, -2.0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert cache_of(tmp_path).read() == {"a": (-1.0, -2.0)}


@pytest.mark.parametrize("change", [{"digest": "c" * 64}, {"dtype": "bfloat16"}, {"dtype": None}])
def test_other_weights_and_another_precision_are_other_models(change: dict[str, Any], tmp_path: Path) -> None:
    remember(cache_of(tmp_path), one=(-1.0, -2.0))
    assert cache_of(tmp_path, **change).read() == {}


@pytest.mark.parametrize("change", [{"name": "elsewhere"}, {"revision": "main"}, {"tokenizer": "c" * 64}])
def test_the_same_weights_are_the_same_model_under_any_name_and_tokenizer(
    change: dict[str, Any], tmp_path: Path
) -> None:
    remember(cache_of(tmp_path), one=(-1.0, -2.0))
    assert cache_of(tmp_path, **change).read() == {"one": (-1.0, -2.0)}


def test_what_an_older_version_computed_otherwise_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(cache_of(tmp_path), one=(-1.0, -2.0))
    monkeypatch.setattr(score_cache, "FORMAT", score_cache.FORMAT + 1)
    assert cache_of(tmp_path).read() == {}


# Kills and damage.


@pytest.mark.parametrize("cut", [1, 2, 10, 1_000])
def test_a_last_line_that_a_kill_cut_off_is_left_out(cut: int, tmp_path: Path) -> None:
    path = remember(cache_of(tmp_path), one=(-1.0, -2.0), two=(-3.0, -4.0))
    last = path.read_bytes().splitlines(keepends=True)[-1]
    path.write_bytes(path.read_bytes()[: -min(cut, len(last))])
    assert cache_of(tmp_path).read() == {"one": (-1.0, -2.0)}
    remember(cache_of(tmp_path), two=(-3.0, -4.0))
    assert cache_of(tmp_path).read() == {"one": (-1.0, -2.0), "two": (-3.0, -4.0)}


@pytest.mark.parametrize(
    "line", ['["two", -3', "[]", '["two", -3.0]', '["two", "much", -4.0]', '{"two": 1}', "null", '["two", null, 1]', ""]
)
def test_a_broken_line_that_is_not_the_last_is_named_with_what_to_do(line: str, tmp_path: Path) -> None:
    path = remember(cache_of(tmp_path), one=(-1.0, -2.0))
    path.write_text(path.read_text() + line + "\n" + json.dumps(["three", -5.0, -6.0]) + "\n")
    with pytest.raises(DataError) as caught:
        cache_of(tmp_path).read()
    assert str(caught.value).startswith(f"{path}:2: ")
    assert "delete this file to have them computed again" in str(caught.value)


# Where.


def test_the_place_is_the_one_that_was_set_else_the_users_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("ALIGNX_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("ALIGNX_CACHE")
    assert cache_folder() == tmp_path / "xdg/alignx"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / "home/.cache/alignx"


@pytest.mark.parametrize("name", ["ALIGNX_CACHE", "XDG_CACHE_HOME"])
def test_an_empty_variable_says_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in ("ALIGNX_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(name, "")
    assert cache_folder() == tmp_path / ".cache/alignx"
