"""``alignx annotate directions`` from records to records, against a local server that knows the truth."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from alignx import manifest
from alignx.annotation.annotating import annotate
from alignx.annotation.filling import ANNOTATION
from alignx.annotation.oracle import MODEL, Oracle
from alignx.annotation.questions import shown_in
from alignx.annotation.settings import AnnotateSettings
from alignx.chat.server import ChatServer
from alignx.errors import ApiError, DataError, PartialError, SettingsError
from alignx.prompts import Condition
from alignx.prompts.telling import tell
from alignx.records import Records, load_taxonomy
from alignx.records.parsing import CHOICES, COMMENTS, DIRECTION
from tests.test_cli import in_process
from tests.worlds import sample_records, write_jsonl

TAXONOMY = load_taxonomy()


class Teller:
    """A server's answers from the truth, with what was asked; items whose text holds a word are failed instead."""

    def __init__(self, data: Path, noise: float = 0.0) -> None:
        self.oracle = Oracle(Records(str(data)), TAXONOMY, noise=noise)
        self.asked: list[str] = []
        self.fails: str | None = None

    def __call__(self, body: Mapping[str, Any]) -> str:
        user = body["messages"][1]["content"]
        self.asked.append(user)
        item = shown_in(user)
        if self.fails is not None and item is not None and self.fails in item.texts[-1]:
            return "I would rather not say."
        return self.oracle(body)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """10 rows of 3 users; two history items occur twice, one of them within a history."""
    found = sample_records(10, seed=2)
    found[3][COMMENTS] = [*found[3].get(COMMENTS, []), found[0].get(COMMENTS, found[1].get(COMMENTS))[0]]
    found[3][COMMENTS] = [*found[3][COMMENTS], found[3][COMMENTS][-1]]
    return found


@pytest.fixture
def truth(rows: list[dict[str, Any]], tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "truth.jsonl", rows)


@pytest.fixture
def data(rows: list[dict[str, Any]], tmp_path: Path) -> Path:
    """The same rows without the directions of their items."""
    return write_jsonl(tmp_path / "data.jsonl", map(stripped, rows))


def stripped(row: Mapping[str, Any]) -> dict[str, Any]:
    def without(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{name: value for name, value in item.items() if name not in (DIRECTION, ANNOTATION)} for item in items]

    found = {name: without(value) if name in (COMMENTS, CHOICES) else value for name, value in row.items()}
    found.pop("profile", None)
    return found


def items_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*row.get(COMMENTS, []), *row.get(CHOICES, [])]


def directions(row: Mapping[str, Any]) -> list[Any]:
    return [item.get(DIRECTION) for item in items_of(row)]


@pytest.fixture
def teller(truth: Path) -> Teller:
    return Teller(truth)


@pytest.fixture
def server(teller: Teller) -> Iterator[ChatServer]:
    with ChatServer(teller, model=MODEL) as found:
        yield found


def settings(server: ChatServer, data: Path, output: Path, **others: Any) -> AnnotateSettings:
    quick = {"patience": 2.0, "timeout": 5.0, **others}
    return AnnotateSettings(data=str(data), output=output, model=MODEL, base_url=server.base_url, **quick)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("way", ["all", "each"])
def test_a_server_that_knows_the_truth_gives_the_records_their_directions_back(
    way: str, server: ChatServer, teller: Teller, rows: list[dict[str, Any]], data: Path, tmp_path: Path
) -> None:
    chosen = {"limit": 2} if way == "each" else {}
    said = annotate(settings(server, data, tmp_path / "out.jsonl", way=way, **chosen))
    done = read(tmp_path / "out.jsonl")
    rows = rows[: len(done)]
    assert len(done) == (2 if way == "each" else 10)
    assert [directions(row) for row in done] == [directions(row) for row in rows]
    assert [{**stripped(row), "id": None} for row in done] == [{**stripped(row), "id": None} for row in rows]
    assert [row["id"] for row in done] == [record.id for record in Records(str(data), limit=len(done))]
    distinct = {
        json.dumps(stripped({COMMENTS: [item]}))
        for row in rows
        for name in (COMMENTS, CHOICES)
        for item in row.get(name, [])
    }
    assert len(teller.asked) == len(set(teller.asked)) == len(distinct) * (90 if way == "each" else 1)
    assert f"({len(distinct)} distinct ones to ask about)" in said
    provenance = [item[ANNOTATION] for row in done for item in row.get(COMMENTS, [])]
    assert {(one["model"], one["way"]) for one in provenance} == {(MODEL, way)}
    assert all(len(one["certainty"]) == 90 for one in provenance)


def test_the_output_is_ready_for_both_methods(server: ChatServer, data: Path, tmp_path: Path) -> None:
    annotate(settings(server, data, tmp_path / "out.jsonl"))
    records = list(Records(str(tmp_path / "out.jsonl")))
    for record in records:
        for history in ("all", "sampled"):
            told = tell(record, Condition(method="pba", history=history), TAXONOMY)
            assert (told.profile_source is None) == (not told.comments and not told.choices)
    assert any(tell(record, Condition(method="pba"), TAXONOMY).profile for record in records)


def test_without_noise_pba_is_told_what_it_is_told_of_true_directions(
    server: ChatServer, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    """So training on inferred directions is, prompt by prompt, training on true ones."""
    named = [{"id": f"r{number}", **row} for number, row in enumerate(rows)]
    truth = write_jsonl(tmp_path / "named.jsonl", named)
    annotate(settings(server, write_jsonl(tmp_path / "bare.jsonl", map(stripped, named)), tmp_path / "out.jsonl"))
    for history in ("all", "sampled", 2):
        condition = Condition(method="pba", history=history)
        one, other = (
            [tell(record, condition, TAXONOMY).profile for record in Records(str(path))]
            for path in (truth, tmp_path / "out.jsonl")
        )
        assert one == other, "where a part is told, its own directions are, though the whole has a profile by now"


def test_a_finished_output_asks_nobody_again(server: ChatServer, teller: Teller, data: Path, tmp_path: Path) -> None:
    wanted = settings(server, data, tmp_path / "out.jsonl")
    annotate(wanted)
    before, asked = (tmp_path / "out.jsonl").read_bytes(), len(teller.asked)
    said = annotate(settings(server, data, tmp_path / "out.jsonl", least_certainty=0))
    assert "complete already" in said
    assert len(teller.asked) == asked
    assert (tmp_path / "out.jsonl").read_bytes() == before
    (tmp_path / "out.jsonl").write_text("changed\n")
    annotate(wanted)
    assert (tmp_path / "out.jsonl").read_bytes() == before
    assert len(teller.asked) == asked, "the replies were there"


def test_items_that_cannot_be_annotated_say_why_and_are_asked_again_by_the_next_start(
    server: ChatServer, teller: Teller, data: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    teller.fails = "the"
    wanted = settings(server, data, tmp_path / "out.jsonl", tries=2)
    with pytest.raises(PartialError, match=r"distinct items could not be annotated: \d+ × no JSON"):
        annotate(wanted)
    items = [item for row in read(tmp_path / "out.jsonl") for item in items_of(row)]
    failed = [item for item in items if DIRECTION not in item]
    assert failed
    assert all("problem" in item[ANNOTATION] and teller.fails in str(item) for item in failed)
    assert manifest.read(tmp_path / "out.jsonl").counts["unannotated"] == len(failed)
    asked = len(teller.asked)
    teller.fails = None
    annotate(wanted)
    assert len(teller.asked) - asked == len({json.dumps(item) for item in failed})
    assert [directions(row) for row in read(tmp_path / "out.jsonl")] == [directions(row) for row in rows]


def test_known_directions_are_kept_or_replaced(server: ChatServer, truth: Path, teller: Teller, tmp_path: Path) -> None:
    kept = annotate(settings(server, truth, tmp_path / "kept.jsonl"))
    assert teller.asked == []
    assert " 0 annotated" in kept
    annotate(settings(server, truth, tmp_path / "replaced.jsonl", known="replace"))
    assert teller.asked
    one, other = (read(tmp_path / name) for name in ("kept.jsonl", "replaced.jsonl"))
    assert [directions(row) for row in one] == [directions(row) for row in other]
    assert [row.get("profile") for row in one] == [row.get("profile") for row in other]


def test_evaluation_measures_agreement_and_keeps_what_is_known(truth: Path, tmp_path: Path) -> None:
    noisy = Teller(truth, noise=0.2)
    with ChatServer(noisy, model=MODEL) as server:
        said = annotate(settings(server, truth, tmp_path / "out.jsonl", evaluate=True))
    found = json.loads((tmp_path / "out.jsonl.agreement" / "agreement.json").read_text())
    assert found["agreement"]["mean"] == pytest.approx(0.8, abs=0.03)
    assert "agreement with known directions" in said
    assert (tmp_path / "out.jsonl.agreement" / "agreement.html").is_file()
    assert [directions(row) for row in read(tmp_path / "out.jsonl")] == [directions(row) for row in read(truth)]


def test_evaluation_without_a_known_direction_is_refused_before_anything_is_paid(
    server: ChatServer, teller: Teller, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="no history item carries a 'Preference Direction'"):
        annotate(settings(server, data, tmp_path / "out.jsonl", evaluate=True))
    assert teller.asked == []


def test_the_users_own_files_are_never_written_over(
    server: ChatServer, teller: Teller, data: Path, tmp_path: Path
) -> None:
    before, shared = data.read_bytes(), tmp_path / "shared.jsonl"
    annotate(settings(server, data, tmp_path / "new" / "out.jsonl", replies=shared))
    asked = len(teller.asked)
    with pytest.raises(SettingsError, match="is the file that is read, expected another"):
        annotate(settings(server, data, data, replies=shared))
    (tmp_path / "mine.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="has no manifest of this command"):
        annotate(settings(server, data, tmp_path / "mine.jsonl", replies=shared))
    assert (data.read_bytes(), (tmp_path / "mine.jsonl").read_text()) == (before, "{}\n")
    assert len(teller.asked) == asked


def test_a_dry_run_sends_and_writes_nothing(server: ChatServer, teller: Teller, data: Path, tmp_path: Path) -> None:
    said = annotate(settings(server, data, tmp_path / "out.jsonl", dry_run=True))
    assert "requests: " in said
    assert "estimated at 4 characters a token" in said
    assert teller.asked == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.jsonl", "truth.jsonl"]


def test_an_output_of_something_else_is_refused(server: ChatServer, data: Path, tmp_path: Path) -> None:
    annotate(settings(server, data, tmp_path / "out.jsonl"))
    with pytest.raises(DataError, match=r"was annotated otherwise, which differs in settings\.structure"):
        annotate(settings(server, data, tmp_path / "out.jsonl", structure="text"))
    with pytest.raises(DataError, match=r"was annotated otherwise, which differs in data\.digest"):
        annotate(settings(server, data, tmp_path / "out.jsonl", limit=3))
    (tmp_path / "mine.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="has no manifest of this command"):
        annotate(settings(server, data, tmp_path / "mine.jsonl"))
    assert (tmp_path / "mine.jsonl").read_text() == "{}\n"


def test_what_is_made_of_the_replies_may_change_and_nobody_is_asked_again(
    server: ChatServer, teller: Teller, data: Path, tmp_path: Path
) -> None:
    annotate(settings(server, data, tmp_path / "out.jsonl"))
    asked, before = len(teller.asked), read(tmp_path / "out.jsonl")
    annotate(settings(server, data, tmp_path / "out.jsonl", least_certainty=75))
    after = read(tmp_path / "out.jsonl")
    annotate(settings(server, data, tmp_path / "out.jsonl"))
    assert read(tmp_path / "out.jsonl") == before != after
    assert len(teller.asked) == asked
    poles = [
        sum(level != 0.5 for row in rows for item in directions(row) for level in item) for rows in (before, after)
    ]
    assert 0 < poles[1] < poles[0]


def test_outputs_of_one_annotator_may_share_their_replies(
    server: ChatServer, teller: Teller, data: Path, tmp_path: Path
) -> None:
    shared = tmp_path / "replies.jsonl"
    annotate(settings(server, data, tmp_path / "some.jsonl", limit=4, replies=shared))
    asked = len(teller.asked)
    annotate(settings(server, data, tmp_path / "all.jsonl", replies=shared))
    assert asked > 0
    assert len(teller.asked) == len(set(teller.asked)) > asked
    assert sorted(path.name for path in tmp_path.glob("*.replies.jsonl")) == []


def test_a_server_that_is_not_there_is_said_to_be_not_there(data: Path, tmp_path: Path) -> None:
    with ChatServer(lambda _: "", model=MODEL) as server:
        gone = settings(server, data, tmp_path / "out.jsonl")
    with pytest.raises(ApiError, match="no server answers"):
        annotate(gone)
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"way": "all"}, "--way all needs a server"),
        ({"base_url": "http://localhost:1/v1"}, "--base-url: --backend local asks no server"),
        ({"max_cost": 1.0}, "--max-cost: --backend local asks no server"),
    ],
)
def test_a_local_model_takes_no_settings_of_a_server(others: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        AnnotateSettings(data="d", output=tmp_path / "o", model="m", backend="local", **others)


def test_impossible_thresholds_are_refused_before_anything_is_asked(
    server: ChatServer, teller: Teller, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="expected 0 <= negative < positive <= 1"):
        annotate(settings(server, data, tmp_path / "out.jsonl", positive="0.3"))
    assert teller.asked == []


def test_the_command_says_what_came_of_it(
    server: ChatServer, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--data", str(data), "--output", str(tmp_path / "out.jsonl"), "--model", MODEL]
    code, out, _ = in_process(capsys, "annotate", "directions", *flags, "--base-url", server.base_url)
    assert code == 0
    assert "10 records" in out
    assert f"next: bash scripts/train_pba.sh --data {tmp_path / 'out.jsonl'}" in out
    assert f"python eval/loss_pba.py --data {tmp_path / 'out.jsonl'}" in out
    code, _, err = in_process(capsys, "annotate", "directions", *flags, "--base-url", "http://me:secret@host/v1")
    assert code == 2
    assert "secret" not in err
