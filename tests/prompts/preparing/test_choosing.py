"""Which records are prepared: a share, a number, several sources, without those that are held out."""

import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from alignx import manifest
from alignx.errors import DataError, SettingsError
from alignx.manifest import RunningDigest, digest
from alignx.prompts import EncodedPair, PairEncoder, pairs
from alignx.prompts.preparing import PrepareSettings, making, prepare
from alignx.prompts.preparing.command import work_of
from alignx.prompts.preparing.preparation import Ingredients, Preparation
from alignx.prompts.preparing.sources import Source, Wanted
from alignx.records import Record, Records, load_taxonomy, pieces
from alignx.records.held_out import HeldOut
from alignx.records.mixing import Share
from alignx.records.selecting import Selection, ranks
from tests.prompts.preparing.folders import files, rows
from tests.prompts.preparing.test_one_by_one import CONDITIONS
from tests.prompts.preparing.unruly import KINDS, encoder, rows_at_random, write_source
from tests.records.rows import write_parquet
from tests.training.runs import settings as run_settings
from tests.worlds import sample_records, write_jsonl


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", 16)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Records of which every seventh repeats one of another piece."""
    found = sample_records(120, seed=2)
    for number in range(6, 120, 7):
        found[number] = found[number // 2]
    return write_jsonl(tmp_path / "data.jsonl", found)


def text(output: Path, **told: Any) -> list[dict[str, Any]]:
    """What is prepared as text, which takes no tokenizer."""
    prepare(PrepareSettings(output=output, **{"method": "ica", "form": "text", "workers": 1, **told}))
    return rows(output)


def of(path: Path) -> list[Record]:
    return list(Records(str(path)))


def place(seed: int, record_id: str) -> int:
    """Where a record comes in the draw, of 2⁶⁴."""
    return int(digest(seed, "subset", record_id)[:16], 16)


@pytest.mark.parametrize("seed", [42, 7])
def test_a_share_is_of_records_whose_place_is_below_it(seed: int, data: Path, tmp_path: Path) -> None:
    found = [row["id"] for row in text(tmp_path / "out", data=str(data), subset="30%", seed=seed)]
    assert found == [record.id for record in of(data) if place(seed, record.id) < 2**64 * 3 // 10]
    assert 20 < len(found) < 60
    assert any(name.endswith("-2") for name in found)
    made = manifest.read(tmp_path / "out")
    assert made.counts["left_out"] == {"not_drawn": 120 - len(found)}
    assert made.settings["sources"][str(data)]["selection"] == {
        "share": "0.3",
        "seed": seed,
        "below": f"{2**64 * 3 // 10:x}",
    }


def test_a_number_is_of_the_records_that_come_first_in_the_draw(data: Path, tmp_path: Path) -> None:
    found = [row["id"] for row in text(tmp_path / "out", data=str(data), subset="20")]
    wanted = {*sorted((record.id for record in of(data)), key=lambda name: place(42, name))[:20]}
    assert found == [record.id for record in of(data) if record.id in wanted]
    made = manifest.read(tmp_path / "out")
    assert (made.data.records, made.counts["left_out"]) == (20, {"not_drawn": 100})
    again = Selection.from_dict(made.settings["sources"][str(data)]["selection"])
    assert {record.id for record in of(data) if again.selects(record.id)} == wanted


def test_a_smaller_share_is_part_of_a_larger_one(data: Path, tmp_path: Path) -> None:
    found = [
        {row["id"] for row in text(tmp_path / share, data=str(data), subset=share)} for share in ("7%", "20", "50%")
    ]
    assert found[0] < found[1] < found[2]


def test_more_than_there_are_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{data}: 121 records are asked for, expected at least 1 and at most the 120"):
        text(tmp_path / "out", data=str(data), subset="121")


def test_no_user_and_no_target_that_is_held_out_is_left(data: Path, tmp_path: Path) -> None:
    raw = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    test = write_jsonl(tmp_path / "test.jsonl", [raw[3], {**raw[50], "user": "a stranger"}])
    more = write_parquet(tmp_path / "more.parquet", [{**raw[80], "prompt": "Another post?"}])
    found = text(tmp_path / "out", data=str(data), without=(str(test), str(more)))
    held = [*of(test), *of(more)]
    users, targets = {record.cluster for record in held}, {record.target for record in held}
    assert not users & {row["cluster"] for row in found}
    assert not targets & {row["target"] for row in found}
    assert [row["id"] for row in found] == [
        record.id for record in of(data) if record.cluster not in users and record.target not in targets
    ]
    by_user = sum(record.cluster in users for record in of(data))
    left_out = manifest.read(tmp_path / "out").counts["left_out"]
    assert left_out == {"held_out_user": by_user, "held_out_target": 120 - len(found) - by_user}
    assert min(left_out.values()) > 0
    said = manifest.read(tmp_path / "out").settings["sources"][str(data)]["held_out"]
    assert (said["users"], said["targets"]) == (3, 3)


def test_a_number_is_drawn_of_those_that_are_not_held_out(data: Path, tmp_path: Path) -> None:
    test = write_jsonl(tmp_path / "test.jsonl", sample_records(30, seed=2))
    free = [row["id"] for row in text(tmp_path / "free", data=str(data), without=(str(test),))]
    found = [row["id"] for row in text(tmp_path / "out", data=str(data), without=(str(test),), subset="10")]
    wanted = {*sorted(free, key=lambda name: place(42, name))[:10]}
    assert found == [name for name in free if name in wanted]
    with pytest.raises(DataError, match=rf"{len(free) + 1} records are asked for, .* at most the {len(free)}"):
        text(tmp_path / "more", data=str(data), without=(str(test),), subset=str(len(free) + 1))


def test_where_nothing_is_left_that_is_said(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{data}: no record is left to prepare \(120 held out user; 0 rows"):
        text(tmp_path / "out", data=str(data), without=(str(data),))
    assert not (tmp_path / "out" / "manifest.json").exists()
    with pytest.raises(DataError, match=r"3 records are asked for, .* at most the 0 there are"):
        text(tmp_path / "more", data=str(data), without=(str(data),), subset="3")


def test_a_mixture_is_its_sources_in_order_under_their_names(data: Path, tmp_path: Path) -> None:
    # the other source has the same users and some of the same records, of which ids say nothing
    other = write_parquet(tmp_path / "other.parquet", [*sample_records(30, seed=2), *sample_records(30, seed=3)])
    mix = (f"a:50%:{data}", f"b:10:{other}")
    found = text(tmp_path / "out", mix=mix)
    expected = [
        (f"a/{record.id}", f"user:a/{record.user}", record.target)
        for record in of(data)
        if place(42, record.id) < 2**63
    ]
    drawn = {*sorted((record.id for record in of(other)), key=lambda name: place(42, name))[:10]}
    expected += [
        (f"b/{record.id}", f"user:b/{record.user}", record.target) for record in of(other) if record.id in drawn
    ]
    assert [(row["id"], row["cluster"], row["target"]) for row in found] == expected
    made = manifest.read(tmp_path / "out")
    assert made.data.source == f"a:0.5:{data}, b:10:{other}"
    running = RunningDigest()
    contents = {
        f"{name}/{record.id}": record.digest for name, path in (("a", data), ("b", other)) for record in of(path)
    }
    for name, _, _ in expected:
        running.add(name)
        running.add(contents[name])
    assert (made.data.records, made.data.digest) == (len(found), running.hexdigest())


def test_held_out_users_are_left_out_of_every_source_of_a_mixture(data: Path, tmp_path: Path) -> None:
    other = write_jsonl(tmp_path / "other.jsonl", sample_records(30, seed=5))
    test = write_jsonl(tmp_path / "test.jsonl", sample_records(4, seed=8))  # of user-0 and user-1
    found = text(tmp_path / "out", mix=(f"a:all:{data}", f"b:all:{other}"), without=(str(test),))
    clusters = {row["cluster"] for row in found}
    assert {"user:a/user-2", "user:b/user-2"} <= clusters
    assert not clusters & {f"user:{name}/user-{number}" for name in "ab" for number in (0, 1)}


def test_parts_processes_and_methods_of_a_mixture_change_no_byte(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    other = write_parquet(tmp_path / "other.parquet", sample_records(40, seed=5), row_group_size=7)
    test = write_jsonl(tmp_path / "test.jsonl", sample_records(4, seed=8))
    told = {
        "mix": (f"a:50%:{data}", f"b:10:{other}"),
        "without": (str(test),),
        "method": "ica,pba",
        "model": str(tiny_model),
    }

    def made(name: str, **more: Any) -> dict[str, bytes]:
        prepare(PrepareSettings(output=tmp_path / name, **{"workers": 1, **told, **more}))
        return files(tmp_path / name)

    calm = made("calm")
    assert made("workers", workers=3) == calm
    for part in ("2/3", "0/3", "1/3"):
        made("parts", shard=part)
    assert made("parts") == calm


def test_a_mixture_trains(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    from alignx.training.run import train

    other = write_parquet(tmp_path / "other.parquet", sample_records(40, seed=5))
    mix = (f"a:10:{data}", f"b:10:{other}")
    prepare(PrepareSettings(output=tmp_path / "rows", mix=mix, method="ica", model=str(tiny_model), workers=1))
    shards = [pq.read_metadata(shard) for shard in (tmp_path / "rows").glob("pairs-*.parquet")]
    assert min(shard.num_rows for shard in shards) == 0  # of one whose row group is empty, datasets makes an error
    train(run_settings(tiny_model, tmp_path / "rows", tmp_path / "run", eval_rows=4, max_steps=1))
    run = manifest.read(tmp_path / "run")
    assert run.data == manifest.read(tmp_path / "rows").data
    named = json.loads((tmp_path / "run" / "split.json").read_text())
    assert named["evaluation"]
    assert {*named["evaluation"], *named["left_over"]} <= {row["id"] for row in rows(tmp_path / "rows")}


CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "neither": ({}, "name the records: either --data PATH, or --mix"),
    "both": ({"data": "x", "mix": ("a:all:x",)}, "name the records: either --data PATH, or --mix"),
    "subset": ({"mix": ("a:all:x",), "subset": "5"}, "--subset is of one source"),
    "limit": ({"mix": ("a:all:x",), "limit": 5}, "--limit is of one source"),
    "share": ({"data": "x", "subset": "0%"}, "expected a share such as 0.07 or 7%"),
    "two of a name": ({"mix": ("a:all:x", "a:all:y")}, "have one name"),
}


@pytest.mark.parametrize(("told", "message"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_what_cannot_be_chosen_is_refused_before_anything_is_made(
    told: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=message):
        text(tmp_path / "out", **told)
    assert not (tmp_path / "out").exists()


class Chosen(Records):
    """The wanted records of one source, the plain way."""

    def __init__(self, source: Source, wanted: Wanted, allowed: int) -> None:
        super().__init__(source.path, limit=source.limit, skip_invalid=allowed)
        self._wanted = wanted
        self.left_out: dict[str, int] = {}

    def __iter__(self) -> Iterator[Record]:
        self.left_out, digest = {}, RunningDigest()
        self.taken = 0
        for record in super().__iter__():
            named, why = self._wanted.look_at(record)
            if why is None:
                digest.add(named.id)
                digest.add(record.digest)
                self.taken += 1
                yield named
            else:
                self.left_out[why] = self.left_out.get(why, 0) + 1
        self.told = digest.hexdigest()


def plainly(source: Source, wanted: Wanted, condition: Any, allowed: int) -> tuple[Any, ...] | str:
    try:
        if source.share.count is not None:
            everything = Wanted(source.name, wanted.held_out)
            ids = [
                record.id
                for record in Records(source.path, limit=source.limit, skip_invalid=allowed)
                if everything.look_at(record)[1] is None
            ]
            selection = Selection.exactly(source.share.count, ranks(ids, 42), 42)
        else:
            selection = Selection.by_share(source.share, 42)
        chosen = Chosen(source, Wanted(source.name, wanted.held_out, selection), allowed)
        found = list(PairEncoder(chosen, condition, encoder(condition)))
    except DataError as error:
        return str(error).removeprefix(f"{source}: ")
    return found, chosen.told, chosen.taken, len(chosen.problems), chosen.left_out


@pytest.mark.parametrize("seed", range(100))
def test_what_is_chosen_of_unruly_sources_is_what_the_plain_way_chooses(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(f"choosing {seed}")
    raw = rows_at_random(rng, rng.randint(4, 40))
    path = write_source(rng, tmp_path / "data", rng.choice(KINDS), raw)
    told: Mapping[str, Any] = {
        "share": Share.parse(rng.choice(["30%", "0.6", "all", "1", "3", "8"])),
        "name": rng.choice(["", "mixed"]),
        "limit": rng.choice([None, None, rng.randint(1, 40)]),
    }
    source, allowed = Source(str(path), **told), rng.choice([0, 3, 1000, 1000, 1000])
    held_out = None
    if rng.random() < 0.5:
        named = [row for row in raw if isinstance(row, dict) and "user" in row]
        test = write_jsonl(tmp_path / "test.jsonl", named[:2] or [{"prompt": "p", "chosen": "c", "rejected": "r"}])
        held_out = HeldOut.of([_valid(test)])
    condition = rng.choice(CONDITIONS)
    monkeypatch.setattr(pairs, "BATCH", 1)
    expected = plainly(source, Wanted(source.name, held_out), condition, allowed)
    monkeypatch.setattr(pieces, "PIECE_ROWS", rng.randint(1, 9))
    monkeypatch.setattr(making, "BATCH", rng.randint(1, 4))
    ingredients = Ingredients((source,), load_taxonomy(), held_out, 42, allowed)
    work = work_of(tmp_path / "out", ingredients, condition, encoder(condition))
    preparation = Preparation(ingredients, [work], {}, workers=1)
    if isinstance(expected, str):
        with pytest.raises(DataError) as caught:
            preparation.run()
        # while records are counted to be drawn, not all that is wrong with them is known, so that another may be named
        assert str(caught.value).removeprefix(f"{source}: ") == expected or source.share.count is not None
        return
    if not expected[0]:
        with pytest.raises(DataError, match="no record is left to prepare"):
            preparation.run()
        return
    (made,) = preparation.run()
    assert made.data is not None
    encoded = [EncodedPair(**row) for row in rows(tmp_path / "out")]
    assert (encoded, made.data.digest, made.data.records, made.data.skipped, made.counts["left_out"]) == expected


def _valid(path: Path) -> list[Record]:
    return list(Records(str(path), skip_invalid=9)) if path.read_text().strip() else []
