"""Manifests and digests: canonical, whole or absent, and silent about other tools' files."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignx import __version__, manifest
from alignx.errors import DataError
from alignx.manifest import (
    DataIdentity,
    Manifest,
    ModelIdentity,
    RunningDigest,
    canonical_json,
    digest,
    digest_of_texts,
)


def one(**changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "kind": "scores",
        "data": DataIdentity(source="rows.jsonl", digest="d" * 64, records=3),
        "taxonomy": "t" * 64,
        "model": ModelIdentity(name="out/ica", digest="m" * 64, tokenizer="k" * 64),
        "condition": {"method": "ica", "seed": 42},
        "settings": {"batch_tokens": 4, "data": "Zürich.jsonl"},
        "counts": {"trimmed": 1},
        **changes,
    }
    return Manifest(**values)


# digests


def test_a_digest_is_sha_256_of_the_canonical_json_of_its_parts() -> None:
    by_hand = hashlib.sha256('["é",{"a":[1,0.5,null,true],"b":"0102"}]'.encode()).hexdigest()
    assert digest("é", {"b": b"\x01\x02", "a": [1, 0.5, None, True]}) == by_hand


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)


def turned(value: Any) -> Any:
    """The same value with the keys of every object in the opposite order."""
    if isinstance(value, dict):
        return {name: turned(value[name]) for name in reversed(value)}
    return [turned(each) for each in value] if isinstance(value, list) else value


@settings(deadline=None, max_examples=100)
@given(VALUES)
def test_a_digest_does_not_depend_on_the_order_of_keys_or_a_trip_through_json(value: Any) -> None:
    assert digest(turned(value)) == digest(value) == digest(json.loads(json.dumps(value)))


TEXTS = st.recursive(st.none() | st.binary(max_size=3) | st.text(st.characters(), max_size=6), st.lists, max_leaves=9)


@settings(deadline=None, max_examples=300)
@given(st.lists(TEXTS, max_size=4))
def test_the_quick_digest_of_texts_is_the_digest(parts: list[Any]) -> None:
    assert digest_of_texts(*parts) == digest(*parts)


def test_the_quick_digest_writes_every_character_as_the_digest_does() -> None:
    for first in range(0, 0x3000, 0x100):
        text = "".join(map(chr, range(first, first + 0x100)))
        assert digest_of_texts(text) == digest(text)


def test_half_a_surrogate_pair_has_no_digest_of_either_kind() -> None:
    for made in (digest, digest_of_texts):
        with pytest.raises(UnicodeEncodeError):
            made("\ud800")


def test_a_digest_does_depend_on_the_order_of_a_list_and_where_parts_begin() -> None:
    parts = [("ab", "c"), ("a", "bc"), ("abc",), ("a", "b", "c"), (["a", "b", "c"],), ("c", "b", "a"), ()]
    assert len({digest(*each) for each in parts}) == len(parts)


def test_canonical_json_keeps_characters_and_leaves_out_spaces() -> None:
    assert canonical_json({"ö": "東京 🙂", "a": [1, 2]}) == '{"a":[1,2],"ö":"東京 🙂"}'


def test_paths_and_models_have_a_canonical_form_and_other_objects_none() -> None:
    identity = DataIdentity(source="x", digest="y", records=1)
    assert canonical_json([Path("a/b"), identity]) == '["a/b",{"digest":"y","records":1,"skipped":0,"source":"x"}]'
    with pytest.raises(TypeError, match="set has no canonical JSON form"):
        digest({1, 2})


def test_a_running_digest_depends_on_where_texts_begin_and_not_on_when_it_is_asked() -> None:
    def of(*texts: str) -> str:
        running = RunningDigest()
        for text in texts:
            running.add(text)
            running.hexdigest()
        return running.hexdigest()

    assert of("é", "b") == hashlib.sha256(b"\0" * 7 + b"\2\xc3\xa9" + b"\0" * 7 + b"\1b").hexdigest()
    assert len({of("ab", "c"), of("a", "bc"), of("abc"), of("c", "ab"), of("ab", "c", "")}) == 5


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"\0\xff" * 70_000)
    assert manifest.file_digest(path) == hashlib.sha256(b"\0\xff" * 70_000).hexdigest()


def test_a_file_in_the_hubs_cache_is_named_by_its_digest_and_not_read(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    blob = tmp_path / "blobs" / ("ab" * 32)
    blob.write_bytes(b"not what the name says")
    link = tmp_path / "model.safetensors"
    link.symlink_to(blob)
    assert manifest.file_digest(link) == "ab" * 32
    git = tmp_path / "blobs" / ("cd" * 20)  # small files are named by git's digest, which is another
    git.write_bytes(b"{}")
    assert manifest.file_digest(git) == hashlib.sha256(b"{}").hexdigest()


# differences


def test_differences_name_each_field_with_both_values() -> None:
    mine = one()
    theirs = one(
        taxonomy="u" * 64,
        condition={"method": "pba", "seed": 42, "history": "all"},
        data=DataIdentity(source="rows.jsonl", digest="e" * 64, records=3),
    )
    assert mine.differences(theirs, ["kind", "taxonomy", "data.digest", "data.records", "condition"]) == [
        f"taxonomy ({'t' * 12}… against {'u' * 12}…)",
        f"data.digest ({'d' * 12}… against {'e' * 12}…)",
        "condition.history (None against all)",
        "condition.method (ica against pba)",
    ]


def test_fields_that_were_not_asked_for_are_no_difference() -> None:
    assert one().differences(one(settings={}, taxonomy=None), ["kind", "data", "condition.seed"]) == []


def test_a_part_that_only_one_side_has_is_a_difference() -> None:
    assert one(model=None).differences(one(), ["model.name"]) == ["model.name (None against out/ica)"]


# on disk


def test_a_manifest_lies_inside_a_folder_and_beside_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert manifest.write(tmp_path / "out", one()) == tmp_path / "out" / "manifest.json"
    assert manifest.write(tmp_path / "scores.jsonl", one()) == tmp_path / "scores.jsonl.manifest.json"


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = manifest.write(tmp_path / "scores.jsonl", one())
    assert manifest.read(tmp_path / "scores.jsonl") == one()
    text = path.read_text(encoding="utf-8")
    assert "Zürich" in text
    assert text.endswith("}\n")
    assert json.loads(text)["format"] == "alignx-manifest/1"
    assert [entry.name for entry in tmp_path.iterdir()] == ["scores.jsonl.manifest.json"]


def test_how_models_read_is_kept_and_a_manifest_that_does_not_say_it_is_still_read(tmp_path: Path) -> None:
    forward = {"shared_prefix": False, "reason": "it was switched off", "mean_difference": None}
    path = manifest.write(tmp_path, one(forward=forward))
    assert manifest.read(tmp_path).forward == forward
    older = {name: value for name, value in json.loads(path.read_text(encoding="utf-8")).items() if name != "forward"}
    path.write_text(json.dumps(older), encoding="utf-8")
    assert manifest.read(tmp_path) == one()
    assert one().forward is None


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_an_interrupted_write_leaves_no_manifest_where_none_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("power cut")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="power cut"):
        manifest.write(tmp_path, one())
    assert not (tmp_path / "manifest.json").exists()
    assert manifest.read_if_present(tmp_path) is None


def test_an_interrupted_write_leaves_the_old_manifest_whole_and_the_next_one_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("power cut")

    manifest.write(tmp_path, one())
    before = (tmp_path / "manifest.json").read_bytes()
    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="power cut"):
            manifest.write(tmp_path, one(taxonomy=None))
    assert (tmp_path / "manifest.json").read_bytes() == before
    manifest.write(tmp_path, one(taxonomy=None))
    assert manifest.read(tmp_path).taxonomy is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["manifest.json"]


def test_the_text_is_on_the_disk_before_it_takes_the_old_ones_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append("replace"), replace(a, b))[1])
    manifest.write_text(tmp_path / "deeper" / "file.json", "{}")
    assert (steps, (tmp_path / "deeper" / "file.json").read_text()) == (["fsync", "replace"], "{}")


def test_an_output_without_a_manifest_is_unfinished_and_says_what_to_do(tmp_path: Path) -> None:
    assert manifest.read_if_present(tmp_path / "scores.jsonl") is None
    with pytest.raises(
        DataError,
        match=r"scores\.jsonl: no scores\.jsonl\.manifest\.json beside it.*run the command that makes it again",
    ):
        manifest.read(tmp_path / "scores.jsonl")


@pytest.mark.parametrize(
    "content",
    ["{}", '{"name": "my-web-app", "version": 3}', "[]", '"text"', '{"format": "other/1"}', '{"format": null}'],
)
def test_another_tools_manifest_is_not_ours(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content, encoding="utf-8")
    assert manifest.read_if_present(tmp_path) is None
    with pytest.raises(DataError, match="unfinished or was not made by this project"):
        manifest.read(tmp_path)


def test_a_manifest_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = manifest.write(tmp_path, one())
    whole = path.read_bytes()
    for length in range(0, len(whole.rstrip()), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(
            DataError, match=r"manifest\.json: cannot read the manifest \(.*; delete it to start again$"
        ):
            manifest.read(tmp_path)


def test_a_manifest_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(b"\xff\xfe{\0}\0")
    with pytest.raises(DataError, match=r"manifest\.json: cannot read the manifest"):
        manifest.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"format": "alignx-manifest/2"}, "format"),
        ({"kind": "cake"}, "kind"),
        ({"data": {"source": "x", "digest": "y"}}, "data.records"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_manifest_of_another_version_is_refused_with_the_field(
    tmp_path: Path, change: dict[str, Any], field: str
) -> None:
    path = manifest.write(tmp_path, one())
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    with pytest.raises(DataError, match=rf"manifest\.json: {field}: .*; expected the format alignx-manifest/1$"):
        manifest.read(tmp_path)


def test_versions_are_those_of_this_project_and_of_what_is_installed() -> None:
    found = manifest.versions("pydantic", "no-such-package")
    assert set(found) == {"alignx", "pydantic"}
    assert found["alignx"] == __version__
