"""Drafts: what scoring and generation have in common of a long piece of work."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import BaseModel

from alignx import manifest
from alignx.drafts import Drafts, Words
from alignx.errors import DataError
from alignx.manifest import Manifest

WORDS = Words(lines="guesses", line="guess", doing="guessing", done="guessed", do="guess")
ABOUT = Manifest(kind="scores", taxonomy="t")


class Guess(BaseModel):
    id: str
    value: float


def drafts(output: Path, rank: int = 0, world: int = 1, said: list[str] | None = None) -> Drafts[Guess]:
    state = SimpleNamespace(
        process_index=rank, num_processes=world, is_main_process=rank == 0, wait_for_everyone=lambda: None
    )
    return Drafts(output, Guess, WORDS, ("kind", "taxonomy"), state, (said if said is not None else []).append)


def put(of: Drafts[Guess], *ids: str) -> None:
    with of.part() as stream:
        for one in ids:
            stream.write(json.dumps({"id": one, "value": len(one)}) + "\n")


def test_lines_of_all_processes_and_starts_are_committed_in_the_order_asked_for(tmp_path: Path) -> None:
    output, said = tmp_path / "g.jsonl", list[str]()
    with drafts(output) as first, drafts(output, rank=1, world=2) as second:
        assert first.open(ABOUT) == set()
        second.open(ABOUT)
        put(first, "a")
        put(second, "ccc")
    with drafts(output, said=said) as again:
        assert again.open(ABOUT) == {"a", "ccc"}
        put(again, "bb")
        again.commit(["a", "bb", "ccc"], ABOUT)
    assert [json.loads(line) for line in output.read_text().splitlines()] == [
        {"id": one, "value": len(one)} for one in ("a", "bb", "ccc")
    ]
    assert said == [f"{output}: continuing, 2 records are guessed already", f"{output}: 3 records guessed"]
    assert not again.folder.exists()
    assert manifest.read(output).counts == {"guessed": 3}
    assert drafts(output, said=said).finished(lambda: ABOUT)
    assert said[-1] == f"{output}: complete already, 3 records; nothing to do"


def test_shares_are_disjoint_and_together_the_whole(tmp_path: Path) -> None:
    shares = [drafts(tmp_path / "g", rank, 3).share(range(10)) for rank in range(3)]
    assert sorted(one for share in shares for one in share) == list(range(10))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_the_output_is_let_go_however_the_work_ends_even_if_somebody_keeps_the_drafts(tmp_path: Path) -> None:
    kept = drafts(tmp_path / "g")

    def work() -> None:
        with kept:
            kept.open(ABOUT)
            with pytest.raises(DataError, match=r"g\.partial: process \d+ is guessing to this output"):
                drafts(tmp_path / "g").open(ABOUT)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    with drafts(tmp_path / "g") as again:
        assert again.open(ABOUT) == set()


def test_other_work_broken_lines_and_missing_ones_are_refused(tmp_path: Path) -> None:
    with drafts(tmp_path / "g") as of:
        of.open(ABOUT)
        put(of, "a")
        with pytest.raises(DataError, match="1 records have no guess, the first is b; run the command again"):
            of.commit(["a", "b"], ABOUT)
    with drafts(tmp_path / "g") as of:
        with pytest.raises(DataError, match=r"holds guesses of something else, which differs in taxonomy \(t against"):
            of.open(ABOUT.model_copy(update={"taxonomy": "u"}))
        (of.folder / "part-0-0.jsonl").write_text('{"id": "a"}\n')
        with pytest.raises(DataError, match=r"part-0-0.jsonl:1: no guess line .*; delete this file to guess its rec"):
            list(of.lines())


def test_what_processes_found_out_is_kept(tmp_path: Path) -> None:
    with drafts(tmp_path / "g") as first, drafts(tmp_path / "g", rank=1, world=2) as second:
        first.open(ABOUT)
        for of, number in ((first, 1), (second, 2), (first, 3)):
            of.note("found", {"number": number})
        assert sorted(one["number"] for one in first.notes("found")) == [1, 2, 3]
        assert first.notes("other") == []
