"""The command: what it asks, what it writes, what it refuses, and what it never asks again."""

import json
import math
import os
import resource
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from alignx import manifest
from alignx.chat import asking
from alignx.chat.server import Asked, ChatServer
from alignx.errors import ApiError, DataError, PartialError, SettingsError
from alignx.judging.questions import shown_in
from alignx.judging.settings import WinRateSettings
from alignx.records import Record, Records
from alignx.settings import parse
from tests.chat.storms import Storm
from tests.judging.comparing import (
    MODEL,
    by_quality,
    everything,
    good,
    judge,
    judged,
    lines,
    poor,
    quality,
    report,
    responses,
    run,
    settings,
    two,
    world,
)
from tests.test_readme import commands_of, understood
from tests.worlds import write_jsonl

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_FIRST_WAIT", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def flags(tmp_path: Path) -> dict[str, Any]:
    return two(tmp_path)


def test_every_pair_is_judged_in_both_orders_and_the_better_response_wins(
    flags: dict[str, Any], tmp_path: Path
) -> None:
    storm = Storm(judge())
    with ChatServer(storm, model=MODEL) as server:
        said = run(server, tmp_path / "out", flags)
    expected = Counter[str]()
    known = [record for record in Records(flags["data"]) if record.persona.comments or record.persona.choices
             or record.persona.demographics]  # fmt: skip
    for record in known:
        apart = quality(good(record)) - quality(poor(record))
        expected["ties" if abs(apart) < 4 else "wins" if apart > 0 else "losses"] += 1
    found = report(tmp_path / "out")["overall"]
    assert {name: found[name] for name in ("wins", "ties", "losses")} == expected
    assert f"{expected['wins']} won" in said
    assert len(storm.asked) == len(storm.records) == 2 * len(known)
    shown = [shown_in(record.body["messages"][1]["content"]) for record in storm.records]
    assert Counter((one.post, *sorted((one.first, one.second))) for one in shown if one).total() == 2 * len(known)


def test_a_finished_comparison_is_not_judged_again_and_can_be_made_anew_from_its_replies(
    flags: dict[str, Any], tmp_path: Path
) -> None:
    judged(tmp_path / "out", flags)
    before = everything(tmp_path / "out")
    assert "complete already" in run(None, tmp_path / "out", flags)
    (tmp_path / "out" / "win-rate.json").unlink()
    assert "0 sent now" in run(None, tmp_path / "out", flags, reparse=True)
    assert everything(tmp_path / "out") == before


def test_without_replies_there_is_nothing_to_make_anew(flags: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"replies\.jsonl: no such file"):
        run(None, tmp_path / "out", flags, reparse=True)
    assert not (tmp_path / "out").exists()


def test_the_report_is_the_same_for_one_and_for_64_requests_at_a_time(flags: dict[str, Any], tmp_path: Path) -> None:
    for number in (1, 64):
        judged(tmp_path / f"{number}", flags, concurrency=number)
    assert everything(tmp_path / "1") == everything(tmp_path / "64")


def test_exchanging_candidate_and_baseline_asks_nothing_anew_and_mirrors_the_report(
    flags: dict[str, Any], tmp_path: Path
) -> None:
    replies = tmp_path / "replies.jsonl"
    here = judged(tmp_path / "here", flags, replies=replies)
    mirrored = {**flags, "candidate": flags["baseline"], "baseline": flags["candidate"]}
    run(None, tmp_path / "there", mirrored, replies=replies)
    there = report(tmp_path / "there")
    assert here["overall"]["wins"] == there["overall"]["losses"] > 0
    assert here["overall"]["win_rate"]["mean"] == pytest.approx(1 - there["overall"]["win_rate"]["mean"])
    assert here["position_consistency"] == there["position_consistency"]


def test_one_order_takes_half_the_requests_and_says_that_nothing_is_known_of_the_other(
    flags: dict[str, Any], tmp_path: Path
) -> None:
    found = judged(tmp_path / "out", flags, orders="first")
    calls = lines(tmp_path / "out" / "verdicts.jsonl")
    assert len(calls) == found["overall"]["judged"]
    assert {call["first"] for call in calls} == {"candidate", "baseline"}
    assert found["position_consistency"] is None
    assert "one order only" in (tmp_path / "out" / "win-rate.md").read_text()


def test_a_line_a_request_says_what_was_asked_and_what_came(flags: dict[str, Any], tmp_path: Path) -> None:
    judged(tmp_path / "out", flags)
    first, second, *_ = lines(tmp_path / "out" / "verdicts.jsonl")
    assert (first["pair"], first["order"], second["pair"], second["order"]) == ("record-00000", 1, "record-00000", 2)
    assert {first["first"], second["first"]} == {"candidate", "baseline"}
    assert first["verdict"] == second["verdict"]
    reply = json.loads(first["text"])
    assert (first["reason"], first["certainty"]) == (reply["reason"], reply["certainty"])
    assert (first["status"], first["problem"], first["finish"], first["retries"]) == ("judged", None, "stop", 0)
    assert (first["model_requested"], first["model_returned"]) == (MODEL, MODEL)
    assert first["seconds"] >= 0
    assert first["prompt_tokens"] > 100


def test_equal_responses_are_ties_without_asking_and_a_user_of_whom_nothing_is_known_is_unjudged(
    tmp_path: Path,
) -> None:
    rows = lines(world(tmp_path, 4))
    for name in ("Demographic Information", "User-Generated Content", "Pair-wise Comparative Feedback"):
        rows[1].pop(name, None)
    data = write_jsonl(tmp_path / "data.jsonl", rows)

    def same_for_the_first(record: Record) -> str:
        return good(record) if record.id == "record-00000" else poor(record)

    flags = {
        "data": str(data),
        "candidate": responses(data, tmp_path / "a.jsonl", good),
        "baseline": responses(data, tmp_path / "b.jsonl", same_for_the_first),
    }
    storm = Storm(judge())
    with ChatServer(storm, model=MODEL) as server:
        run(server, tmp_path / "out", flags)
    found = report(tmp_path / "out")
    assert found["how"] == {"same both ways": 2, "identical": 1, "unjudged": 1}
    assert found["unjudged_by_reason"] == {"nothing is known of the user, or nothing that the judge is to be told": 1}
    assert len(storm.records) == 4
    assert "complete already" in run(None, tmp_path / "out", flags)
    for finished in (False, True):  # first made anew of the replies, as another share is asked for
        with pytest.raises(PartialError, match=r"1 of 4 pairs are unjudged.*Nobody can be asked") as failed:
            run(None, tmp_path / "out", flags, least_coverage=0.9)
        assert ("complete already" in str(failed.value)) is finished


def test_repeated_records_are_asked_about_once_and_count_each(tmp_path: Path) -> None:
    rows = lines(world(tmp_path, 6))
    again = [{**row, "id": f"again-{row['id']}"} for row in rows]
    data = write_jsonl(tmp_path / "data.jsonl", [*rows, *again])

    def of_the_post(write: Any) -> Any:
        return lambda record: write(Record(record.prompt, "", "", "", record.persona))

    flags = {
        "data": str(data),
        "candidate": responses(data, tmp_path / "a.jsonl", of_the_post(good)),
        "baseline": responses(data, tmp_path / "b.jsonl", of_the_post(poor)),
    }
    storm = Storm(judge())
    with ChatServer(storm, model=MODEL) as server:
        run(server, tmp_path / "out", flags)
    found = report(tmp_path / "out")
    assert found["overall"]["judged"] == 12
    assert len(storm.records) == 12
    assert found["about"]["judge"]["requests that the verdicts come from"].startswith("12, ")


def test_a_failure_is_no_verdict_and_is_asked_for_again_alone(flags: dict[str, Any], tmp_path: Path) -> None:
    def unlucky(body: Any) -> bool:
        return "quality 8" in body["messages"][1]["content"]

    bad = Storm(judge(), always={"wrong-enum": unlucky})
    with ChatServer(bad, model=MODEL) as server:
        run(server, tmp_path / "out", flags, tries=1)
    found = report(tmp_path / "out")
    lost = found["overall"]["unjudged"]
    assert 0 < lost < 30
    assert "verdict is 'none of these', expected response 1, response 2, tie" in found["unjudged_by_reason"]
    worst, best = found["overall"]["win_rate_bounds"].values()
    assert best - worst == pytest.approx(lost / 30)
    well = Storm(judge())
    with ChatServer(well, model=MODEL) as server:
        run(server, tmp_path / "out", flags, tries=1)
    assert report(tmp_path / "out")["unjudged_by_reason"].keys() <= {
        "nothing is known of the user, or nothing that the judge is to be told"
    }
    assert set(well.asked) == {one.digest for one in bad.records if one.did == "wrong-enum"}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("refusal", "refused: I'm sorry"),
        ("filter", "content filter"),
        ("length", "cut off after"),
        ("no-choices", "no choices"),
        ("no-content", "empty"),
        ("wrong-schema", "not asked for|is missing"),
        ("400-context", "maximum context length"),
    ],
)
def test_what_is_no_verdict_is_unjudged_with_its_reason(fault: str, reason: str, tmp_path: Path) -> None:
    flags = two(tmp_path, 6)
    storm = Storm(judge(), always={fault: lambda body: "quality 6" in body["messages"][1]["content"]})
    with ChatServer(storm, model=MODEL) as server, pytest.raises(PartialError, match=reason):
        run(server, tmp_path / "out", flags, tries=1, least_coverage=1.0)
    assert storm.did[fault]
    assert report(tmp_path / "out")["overall"]["judged"] > 0
    assert manifest.read(tmp_path / "out").kind == "win-rate"


@pytest.mark.parametrize("fault", ["quoted", "fenced"])
@pytest.mark.parametrize("structure", ["schema", "text"])
def test_verdict_words_that_are_quoted_do_not_count(
    fault: str, structure: str, flags: dict[str, Any], tmp_path: Path
) -> None:
    storm = Storm(judge(), always={fault: lambda _: True})
    with ChatServer(storm, model=MODEL) as server:
        run(server, tmp_path / "out", flags, structure=structure)
    expected = judged(tmp_path / "calm", flags)
    found = report(tmp_path / "out")
    assert {name: found[name] for name in ("overall", "by_certainty")} == {
        name: expected[name] for name in ("overall", "by_certainty")
    }


@pytest.mark.parametrize(("fault", "message"), [("401", "key is refused"), ("403", "may not"), ("404", "no model"),
                                                ("quota", "quota is used up")])  # fmt: skip
def test_a_permanent_error_stops_at_once_and_what_was_answered_is_kept(
    fault: str, message: str, flags: dict[str, Any], tmp_path: Path
) -> None:
    count = iter(range(10**6))
    storm = Storm(judge(), always={fault: lambda _: next(count) >= 20})
    with ChatServer(storm, model=MODEL) as server, pytest.raises(ApiError, match=message):
        run(server, tmp_path / "out", flags, concurrency=2)
    assert storm.did[fault] <= 2
    assert len(lines(tmp_path / "out" / "replies.jsonl")) >= 20
    assert not manifest.path_of(tmp_path / "out").exists()
    well = Storm(judge())
    with ChatServer(well, model=MODEL) as server:
        run(server, tmp_path / "out", flags)
    assert len(well.records) <= 60 - 20


def test_when_the_judge_will_be_shut_down_is_said_and_kept_however_often_it_is_read_anew(
    flags: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ChatServer(judge(), model=MODEL, shutdown_date="2999-01-14") as server:
        run(server, tmp_path / "out", flags)
    assert "will be shut down on 2999-01-14" in capsys.readouterr().err
    run(None, tmp_path / "out", flags, reparse=True)
    assert report(tmp_path / "out")["about"]["judge"]["to be shut down on"] == "2999-01-14"
    with (
        ChatServer(judge(), model=MODEL, shutdown_date="2020-01-14") as server,
        pytest.raises(ApiError, match="was shut down on 2020-01-14"),
    ):
        run(server, tmp_path / "other", flags)


def test_no_more_is_spent_than_was_allowed(flags: dict[str, Any], tmp_path: Path) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text(f"model,input,output,currency,as_of\n{MODEL},10,30,USD,2026-11-01\n")
    with ChatServer(judge(), model=MODEL) as server:
        with pytest.raises(PartialError, match=r"--max-cost 0\.2"):
            run(server, tmp_path / "out", flags, prices=prices, max_cost=0.2)
        spent = sum(reply["cost"] for reply in lines(tmp_path / "out" / "replies.jsonl"))
        assert 0 < spent <= 0.2
        run(None, tmp_path / "out", flags, prices=prices, reparse=True)
        assert report(tmp_path / "out")["unjudged_by_reason"]["not asked yet"] > 0
        said = run(server, tmp_path / "out", flags, prices=prices)
    assert "USD spent on them" in said
    assert "10 and 30 USD a million tokens" in report(tmp_path / "out")["about"]["judge"]["price"]


def test_the_published_figure_stands_beside_with_what_must_be_said(flags: dict[str, Any], tmp_path: Path) -> None:
    judged(tmp_path / "out", flags, benchmark="PRISM", published="AlignXpert-ICA vs base")
    text = (tmp_path / "out" / "win-rate.md").read_text()
    assert "64.71" in text
    assert "no second judgement with the order changed, drops ties" in text
    run(None, tmp_path / "out", flags)  # without it, the report is made anew and nobody is asked
    assert "64.71" not in (tmp_path / "out" / "win-rate.md").read_text()
    with pytest.raises(SettingsError, match="AlignXpert-ICA vs base"):
        run(None, tmp_path / "out", flags, benchmark="PRISM", published="AlignXpert-ICA vs bass")


def test_the_page_says_at_once_who_was_compared_on_what_and_who_judged(flags: dict[str, Any], tmp_path: Path) -> None:
    judged(tmp_path / "out", flags, benchmark="a synthetic world")
    lead = (tmp_path / "out" / "win-rate.md").read_text().split("\n")[2]
    assert lead.startswith("candidate under ICA against baseline under ICA (a synthetic world), judged by judge: of 30")


def test_only_some_pairs_are_judged_where_that_is_wanted(flags: dict[str, Any], tmp_path: Path) -> None:
    found = judged(tmp_path / "out", flags, pairs=10)
    assert found["overall"]["pairs"] == 10
    assert "10 of 30 pairs were drawn by their ids" in found["about"]["notes"]


def test_another_comparison_into_the_same_folder_is_refused_by_what_differs(
    flags: dict[str, Any], tmp_path: Path
) -> None:
    judged(tmp_path / "out", flags)
    for more, name in (({"judge_model": "x"}, "judge_model"), ({"judge_persona": ("history",)}, "judge_persona")):
        with pytest.raises(DataError, match=rf"holds another comparison.*settings\.{name}"):
            run(None, tmp_path / "out", flags, **more)
    with pytest.raises(DataError, match=r"holds 'responses', expected 'win-rate' or nothing"):
        run(None, Path(flags["candidate"]), flags)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="holds something else"):
        run(None, tmp_path / "full", flags)


def test_nothing_is_asked_of_a_server_by_settings_that_hold_a_key(flags: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="holds a user name, a password or a query"):
        run(None, tmp_path / "out", flags, base_url="http://me:secret@localhost/v1")


def test_flags_take_lists_with_commas_and_no_judge_is_assumed() -> None:
    usual = ["--candidate", "a", "--baseline", "b", "--data", "d", "--output", "o"]
    found = parse(WinRateSettings, [*usual, "--judge-model", "m", "--judge-persona", "history,profile"], "x")
    assert found.judge_persona == ("history", "profile")
    with pytest.raises(SettingsError, match="--judge-model is required"):
        parse(WinRateSettings, usual, "x")
    with pytest.raises(SettingsError, match="judge-persona"):
        parse(WinRateSettings, [*usual, "--judge-model", "m", "--judge-persona", "horoscope"], "x")


def test_the_commands_of_its_page_are_understood() -> None:
    assert sum(understood(words) for words in commands_of("docs/judging.md")) == 4


def test_the_published_command_is_the_same_as_the_verb(flags: dict[str, Any], tmp_path: Path) -> None:
    with ChatServer(judge(), model=MODEL) as server:
        given = settings(server, tmp_path / "out", flags)
        words = ["--judge-model", MODEL, "--base-url", server.base_url]
        words += [
            word for name, value in {**flags, "output": given.output}.items() for word in (f"--{name}", str(value))
        ]
        done = subprocess.run(
            [sys.executable, str(ROOT / "eval" / "win_rate.py"), *words],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "win rate, ties as half:" in done.stdout
    assert report(tmp_path / "out") == judged(tmp_path / "again", flags, by_quality)


def test_a_dry_run_says_requests_tokens_price_and_the_interval_to_expect_and_asks_nobody(
    flags: dict[str, Any], tmp_path: Path
) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text(f"model,input,output,currency,as_of\n{MODEL},1,2,USD,2026-11-01\n")
    said = run(None, tmp_path / "out", flags, dry_run=True, prices=prices)
    assert not (tmp_path / "out").exists()
    assert "estimated at 4 characters a token" in said
    assert "95 % interval to expect of a win rate near 50 %" in said
    requests = int(said.split("requests: ")[1].split()[0])
    storm = Storm(judge())
    with ChatServer(storm, model=MODEL) as server:
        run(server, tmp_path / "out", flags)
    assert len(storm.records) == requests
    again = run(None, tmp_path / "out", flags, dry_run=True, prices=prices)
    assert f"0 to send, {requests} answered already" in again


@pytest.mark.slow
def test_a_dry_run_of_ten_thousand_pairs_takes_less_than_five_seconds(tmp_path: Path) -> None:
    """In a process of its own, by processor time, the least of three starts: a busy machine is no failure.

    Takes 10 to 25 seconds.
    """
    texts = world(tmp_path, 10).read_text(encoding="utf-8").splitlines()
    data = tmp_path / "many.jsonl"
    many = [texts[n % 10].replace(f"record-{n % 10:05}", f"record-{n:05}") for n in range(10_000)]
    data.write_text("\n".join(many), encoding="utf-8")
    words = [sys.executable, str(ROOT / "eval" / "win_rate.py"), "--data", str(data), "--judge-model", "gpt-4.1-mini"]
    words += ["--output", str(tmp_path / "out"), "--dry-run"]
    for name, write in (("candidate", good), ("baseline", poor)):
        words += [f"--{name}", str(responses(data, tmp_path / f"{name}.jsonl", write))]
    least = math.inf
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        least = min(least, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
        if least < 5:
            break
    assert "10,000 pairs to judge" in done.stdout
    assert least < 5


def test_a_judge_that_reads_nothing_of_the_persona_it_was_not_to_be_told(flags: dict[str, Any], tmp_path: Path) -> None:
    seen: list[str] = []

    def listening(asked: Asked) -> str:
        seen.append(asked["messages"][1]["content"])
        return judge()(asked)

    with ChatServer(listening, model=MODEL) as server:
        run(server, tmp_path / "out", flags, judge_persona=("demographics",))
    assert seen
    assert not [text for text in seen if "has commented on" in text or "chosen or rejected" in text]
    assert all("***Historical Behavior and User Preferences***" in text for text in seen)
