"""The oracle of a synthetic world: the truth where nothing is planted, what is planted, and nothing about strangers."""

import json
import urllib.request
from pathlib import Path
from typing import Any, Final

import pytest

from alignx.chat.connections import Raw
from alignx.chat.server import ChatServer
from alignx.errors import DataError, SettingsError
from alignx.judging.oracle import MODEL, Faults, Oracle, OracleSettings, load_oracle, serve
from alignx.judging.oracle_users import Stance, Users
from alignx.judging.persona import PARTS, Part, persona_text
from alignx.judging.questions import Shown, question, read
from alignx.manifest import digest
from alignx.records import Record, Records, Taxonomy, load_taxonomy
from alignx.records.world import load_wordings
from alignx.records.world.synthesize import VARIANTS, SynthesizeSettings, synthesize
from alignx.settings import parse
from tests.judging.comparing import report, responses, run
from tests.worlds import write_jsonl

PAPER = load_taxonomy()
SCIENCE, CINEMA, LAW = 47, 50, 57
TRUE = {SCIENCE: 0, CINEMA: 1}
"""What the user of the cases by hand thinks."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("oracle") / "world"
    synthesize(SynthesizeSettings(output=folder, train=12, test=60, dimensions="demo", comments=3, choices=1))
    return folder


@pytest.fixture(scope="module")
def oracle(world: Path) -> Oracle:
    return load_oracle(world)


def records(world: Path, name: str = "test") -> list[Record]:
    return list(Records(str(world / f"{name}.jsonl")))


HISTORY: Final[tuple[Part, ...]] = ("history",)


def shown(record: Record, first: str, second: str, parts: Any = HISTORY) -> Shown:
    return Shown(persona_text(record, parts, PAPER), record.prompt, first, second)


def asked(texts: Shown) -> dict[str, Any]:
    put = question(texts, 512)
    messages = [{"role": "system", "content": put.system}, {"role": "user", "content": put.user}]
    return {"model": MODEL, "messages": messages, "max_completion_tokens": put.max_tokens}


def known(world: Path, oracle: Oracle) -> tuple[Record, dict[int, int]]:
    """A record of a user who cares about some dimensions, and what they think."""
    record = records(world)[0]
    stance = Stance(tuple(sorted(truths(world)[str(record.user)].items())))
    assert oracle.verdict(shown(record, "one", "two")) is not None
    return record, dict(stance.poles)


def truths(world: Path) -> dict[str, dict[int, int]]:
    lines = [json.loads(line) for line in (world / "users.jsonl").read_text().splitlines()]
    return {
        line["user"]: {index: int(value) for index, value in enumerate(line["Preference Direction"]) if value != 0.5}
        for line in lines
    }


def clause(dimension: int, sign: int, wording: int = 0) -> str:
    return load_wordings(PAPER, [dimension])[dimension].clauses[wording][sign]


# ---- What it hears ----


def test_a_response_by_hand(oracle: Oracle) -> None:
    stance = Stance(tuple(TRUE.items()))
    text = f"{clause(SCIENCE, 0)}. {clause(SCIENCE, 0, 1)}! {clause(CINEMA, 0)}; {clause(LAW, 1)}"
    heard = oracle.heard(text, stance)
    assert heard.agrees == ((SCIENCE, 0),), "said twice, counted once; law is nothing to this user"
    assert heard.contradicts == ((CINEMA, 0),)
    assert heard.score == 0


def test_who_says_as_much_for_as_against_takes_no_side(oracle: Oracle) -> None:
    both = f"{clause(SCIENCE, 0)}, and {clause(SCIENCE, 1)}."
    assert oracle.heard(both, Stance(tuple(TRUE.items()))) == oracle.heard("", Stance(()))


# ---- What it says ----


def test_verdict_certainty_and_reason_by_hand(world: Path, oracle: Oracle) -> None:
    record, truth = known(world, oracle)
    (one, sign), (two, other) = list(truth.items())[:2]
    better, worse = f"{clause(one, sign)}. {clause(two, other)}.", f"{clause(one, 1 - sign)}."
    said = oracle.verdict(shown(record, better, worse))
    assert said is not None
    assert (said.place, said.certainty) == ("response 1", 95), "2 against -1: three points apart"
    labels = [PAPER.dimensions[one].negative, PAPER.dimensions[one].positive]
    assert said.reason.endswith(f"response 2 contradicts them ({labels[1 - sign]}).")
    assert f"response 1 agrees with them ({labels[sign]}, " in said.reason
    equal = oracle.verdict(shown(record, better, f"{better} {better}"))
    assert equal is not None
    assert (equal.place, equal.certainty) == ("tie", 50)
    silent = oracle.verdict(shown(record, "Good morning.", worse))
    assert silent is not None
    assert (silent.place, silent.certainty) == ("response 1", 65)
    assert "response 1 takes no side that they care about" in silent.reason


@pytest.mark.parametrize("name", VARIANTS)
def test_it_prefers_what_the_user_chose_and_what_their_opposite_did_not(world: Path, oracle: Oracle, name: str) -> None:
    """Every record of every file, in both orders, through the request and back."""
    wanted = ("response 2", "response 1") if name == "test-reversed" else ("response 1", "response 2")
    for record in records(world, name):
        for first, second, expected in ((record.chosen, record.rejected, 0), (record.rejected, record.chosen, 1)):
            reply = oracle(asked(shown(record, first, second)))
            assert isinstance(reply, str)
            assert read(reply).place == wanted[expected]


def test_it_knows_users_by_whatever_part_of_the_persona_is_shown(world: Path, oracle: Oracle) -> None:
    for record in records(world):
        for parts in (PARTS, HISTORY, ("profile",), ("history", "profile"), ("history", "demographics")):
            said = oracle.verdict(shown(record, record.chosen, record.rejected, parts))
            assert said is not None
            assert said.place == "response 1"


# ---- What it does not know ----


def test_strangers_are_not_judged(world: Path, oracle: Oracle) -> None:
    one, other = records(world)[:2]
    mixed = Shown(persona_text(one, HISTORY, PAPER), other.prompt, "a", "b")
    for texts in (mixed, Shown("Somebody else.", one.prompt, "a", "b")):
        reply = oracle(asked(texts))
        assert isinstance(reply, Raw)
        message = json.loads(reply.body)["choices"][0]["message"]
        assert message["content"] is None
        assert message["refusal"].startswith("this oracle knows no user of its world")


def test_two_who_look_alike_and_think_otherwise_are_not_judged(world: Path) -> None:
    users = Users(world, PAPER)
    record = records(world)[0]
    persona = persona_text(record, HISTORY, PAPER)
    found = users.find(persona, record.prompt)
    assert found is not None
    users._by_post[record.prompt].append((record, found.reversed))
    users.find.cache_clear()
    assert users.find(persona, record.prompt) is None


def test_other_requests_are_refused(oracle: Oracle) -> None:
    with pytest.raises(ValueError, match="this is none of them"):
        oracle({"messages": [{"role": "user", "content": "Which one?"}]})


def test_a_folder_that_is_no_world_is_refused(world: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="manifest"):
        load_oracle(tmp_path)
    with pytest.raises(DataError, match="another taxonomy"):
        Users(world, Taxonomy(PAPER.dimensions[:10]))


def test_a_record_of_nobody_is_refused(world: Path, tmp_path: Path) -> None:
    copy = tmp_path / "world"
    copy.mkdir()
    for path in world.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    lines = (copy / "users.jsonl").read_text().splitlines(keepends=True)
    (copy / "users.jsonl").write_text("".join(lines[:1]))
    with pytest.raises(DataError, match=r"who is not in users\.jsonl"):
        load_oracle(copy)


# ---- Planted faults ----


def verdicts(world: Path, **faults: Any) -> list[tuple[str, str, str]]:
    """The place that is true, the one that is said, and the one that is said in the other order; of many pairs."""
    true, faulty = load_oracle(world), load_oracle(world, faults=Faults(**faults))
    found = []
    for record in records(world):
        for number in range(10):
            texts = shown(record, record.chosen, f"{record.rejected}{'!' * number}")
            turned = shown(record, texts.second, texts.first)
            said = [one.verdict(which) for one, which in ((true, texts), (faulty, texts), (faulty, turned))]
            found.append(tuple(one.place for one in said if one is not None))
    return found  # type: ignore[return-value]


def test_all_judged_by_place(world: Path) -> None:
    assert {said[1:] for said in verdicts(world, by_place=1.0)} == {("response 1", "response 1")}


def test_all_judged_by_length(world: Path, oracle: Oracle) -> None:
    judge = load_oracle(world, faults=Faults(by_length=1.0))
    record = records(world)[0]
    for first, second, expected in (("aa", "b", "response 1"), ("a", "bb", "response 2"), ("a", "b", "tie")):
        said = judge.verdict(shown(record, first, second))
        assert said is not None
        assert said.place == expected
        assert "planted" in said.reason


def test_all_judged_wrongly(world: Path) -> None:
    found = verdicts(world, noise=1.0)
    assert all(true != said for true, said, _ in found)
    assert {said for _, said, _ in found} == {"response 2", "tie"}


@pytest.mark.parametrize("fault", ["noise", "by_place", "by_length"])
def test_a_share_is_about_that_share_and_stays_the_same(world: Path, fault: str) -> None:
    found = verdicts(world, **{fault: 0.3})
    assert found == verdicts(world, **{fault: 0.3})
    assert found != verdicts(world, **{fault: 0.3, "seed": 1})
    true = {"response 1": "response 2", "response 2": "response 1"}
    wrong = sum((said, turned) != (place, true[place]) for place, said, turned in found) / len(found)
    assert len(found) == 600
    if fault == "by_length":  # of which the longer one is the true one's rival, but for one in ten of equal length
        assert 0.2 < wrong < 0.37
    else:
        assert 0.24 < wrong < 0.36


@pytest.mark.parametrize("faults", [{"noise": -0.1}, {"noise": 1.1}, {"noise": 0.5, "by_place": 0.6}])
def test_faults_that_are_no_shares_are_refused(faults: dict[str, Any], world: Path) -> None:
    with pytest.raises(ValueError, match="expected shares from 0 to 1"):
        Faults(**faults)
    flags = [part for name, value in faults.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    with pytest.raises(SettingsError):
        parse(OracleSettings, ["--world", str(world), *flags], "alignx judge oracle")


# ---- The win rate that comes of it ----


@pytest.fixture
def flags(world: Path, tmp_path: Path) -> dict[str, Any]:
    data = world / "test.jsonl"
    return {
        "data": str(data),
        "judge_model": MODEL,
        "candidate": responses(data, tmp_path / "candidate.jsonl", lambda record: record.chosen),
        "baseline": responses(data, tmp_path / "baseline.jsonl", lambda record: record.rejected),
    }


def compared(oracle: Oracle, output: Path, flags: dict[str, Any]) -> dict[str, Any]:
    with ChatServer(oracle, model=MODEL) as server:
        run(server, output, flags)
    return report(output)


def test_what_users_chose_always_wins_and_every_page_says_who_judged(
    oracle: Oracle, tmp_path: Path, flags: dict[str, Any]
) -> None:
    found = compared(oracle, tmp_path / "out", flags)
    assert (found["overall"]["wins"], found["overall"]["unjudged"]) == (60, 0)
    assert found["position_consistency"]["mean"] == 1
    for name in ("win-rate.html", "win-rate.md", "win-rate.json", "manifest.json"):
        assert MODEL in (tmp_path / "out" / name).read_text(encoding="utf-8")


def test_faults_show_in_the_report(world: Path, tmp_path: Path, flags: dict[str, Any]) -> None:
    judge = load_oracle(world, faults=Faults(by_place=0.6))
    found = compared(judge, tmp_path / "out", flags)
    assert found["position_consistency"]["mean"] < 0.6
    assert "The judge prefers what is shown first" in (tmp_path / "out/win-rate.md").read_text(encoding="utf-8")


def test_pairs_about_strangers_are_unjudged_and_say_why(
    oracle: Oracle, world: Path, tmp_path: Path, flags: dict[str, Any]
) -> None:
    rows = [json.loads(line) for line in (world / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows[-20:]:  # a judge with no usable reply to its first requests would be given up
        row["prompt"] = f"Elsewhere: {row['prompt']}"
    data = write_jsonl(tmp_path / "mixed.jsonl", rows)
    mixed = {
        **flags,
        "data": str(data),
        "candidate": responses(data, tmp_path / "mixed-candidate.jsonl", lambda record: record.chosen),
        "baseline": responses(data, tmp_path / "mixed-baseline.jsonl", lambda record: record.rejected),
    }
    found = compared(oracle, tmp_path / "out", mixed)
    assert (found["overall"]["wins"], found["overall"]["unjudged"]) == (40, 20)
    assert "this oracle knows no user of its world" in (tmp_path / "out/win-rate.md").read_text(encoding="utf-8")


# ---- The command ----


def test_it_is_served_to_whoever_speaks_the_protocol(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record, replies = records(world)[0], []

    def ask(server: Any) -> None:
        body = json.dumps(asked(shown(record, record.chosen, record.rejected))).encode()
        request = urllib.request.Request(f"{server.base_url}/chat/completions", body, method="POST")
        with urllib.request.urlopen(request, timeout=20) as answer:
            replies.append(json.load(answer)["choices"][0]["message"]["content"])

    monkeypatch.setattr(ChatServer, "serve_forever", ask)
    serve(OracleSettings(world=world, port=0))
    assert read(replies[0]).place == "response 1"
    out = capsys.readouterr().out
    assert out.startswith("an oracle for a synthetic world")
    assert f"--judge-model {MODEL} --base-url http://127.0.0.1:" in out


def test_the_same_world_makes_the_same_oracle(world: Path) -> None:
    one, other = load_oracle(world), load_oracle(world)
    replies = [
        [judge(asked(shown(record, record.chosen, "Hm."))) for record in records(world)] for judge in (one, other)
    ]
    assert digest(replies[0]) == digest(replies[1])
