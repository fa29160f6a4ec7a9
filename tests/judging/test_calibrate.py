"""How good a judge is: by hand, with planted judges, and whatever happens on the way."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from alignx import manifest
from alignx.chat import asking
from alignx.chat.server import ChatServer
from alignx.errors import ApiError, DataError, PartialError, SettingsError
from alignx.judging.calibrating import calibrate
from alignx.judging.calibration import calibrated, seen_of
from alignx.judging.check_settings import CalibrateSettings
from alignx.judging.questions import Shown
from alignx.manifest import digest
from alignx.settings import parse
from tests.chat.storms import Storm
from tests.judging.checked import Tired, calibrate_settings, everything, known, report, words
from tests.judging.comparing import MODEL, by_chance, by_length, by_place, by_quality, judge, lines, run, two
from tests.judging.test_rates import LOST, TEN, TIED, WON, pair
from tests.worlds import write_jsonl


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_FIRST_WAIT", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def measured(folder: Path, mind: Any = by_quality, *, number: int = 30, wrong: int = 0, **more: Any) -> dict[str, Any]:
    """The report on a judge of this mind."""
    with ChatServer(judge(mind), model=MODEL) as server:
        calibrate(calibrate_settings(server, known(folder, number, wrong=wrong), folder / "out", **more))
    return report(folder / "out", "calibrate")


# numbers


def test_ten_pairs_by_hand() -> None:
    """Four right, two wrong, three ties of which one is the place's and one half a verdict, one unjudged."""
    found = calibrated(TEN)
    assert found.accuracy is not None
    assert found.accuracy.mean == pytest.approx(5.5 / 9)
    assert found.measured.overall.decided is not None
    assert found.measured.overall.decided.mean == pytest.approx(4 / 6)
    assert found.shrinkage == pytest.approx(2 / 9)
    of = {one.least: one for one in found.sure}
    assert [of[least].pairs for least in (0, 50, 70, 90)] == [9, 8, 5, 4]
    sure = of[70]  # four right at 90, and one of 80 that is half a verdict
    assert sure.accuracy is not None
    assert sure.decided is not None
    assert (sure.coverage, sure.accuracy.mean, sure.decided.mean) == pytest.approx((5 / 9, 0.9, 1.0))
    assert sure.stated == pytest.approx((4 * 2 * 90 + 2 * 80) / 10 / 100)


def test_the_longer_named_against_the_longer_chosen_by_hand() -> None:
    """Four pairs whose user chose the longer one: three right, one a tie. Two of the shorter: one right, one wrong."""
    found = calibrated(
        [
            *(pair(f"r{number}", *WON, longer=9) for number in range(3)),
            pair("t", *TIED, longer=9),
            pair("s", *WON, longer=-9),
            pair("w", *LOST, longer=-9),
            pair("e", *LOST),  # of equal length: no part of this
        ]
    ).length
    assert found is not None
    assert (found.named.mean, found.chosen.mean, found.named.n) == (pytest.approx(4 / 5), pytest.approx(3 / 5), 5)
    assert found.excess.mean == pytest.approx(1 / 5)
    assert found.where_longer is not None
    assert found.where_shorter is not None
    assert (found.where_longer.mean, found.where_shorter.mean) == (pytest.approx(3.5 / 4), pytest.approx(1 / 2))


def test_what_is_seen_of_a_true_rate_by_hand() -> None:
    assert seen_of(0.6, 0.8) == pytest.approx(0.56)  # 0.6 · 0.8 + 0.4 · 0.2
    assert seen_of(0.3, 1.0) == pytest.approx(0.3)  # who is always right shows what is
    assert seen_of(0.9, 0.5) == pytest.approx(0.5)  # a coin shows nothing
    assert seen_of(0.5, 0.7) == pytest.approx(0.5)
    assert seen_of(0.25, 0.7) == pytest.approx(1 - seen_of(0.75, 0.7))


def test_the_order_of_the_pairs_changes_nothing() -> None:
    assert calibrated(TEN[::-1]).as_dict() == calibrated(TEN).as_dict()


def test_nothing_judged_is_no_accuracy_and_no_pair_is_refused() -> None:
    found = calibrated([pair("u", None, None)])
    assert (found.accuracy, found.sure, found.length, found.seen) == (None, (), None, ())
    assert not found.above_chance
    with pytest.raises(ValueError, match="at least one"):
        calibrated([])


# judges of a known mind


def test_a_judge_who_sees_what_is_good_is_right_where_users_chose_it(tmp_path: Path) -> None:
    found = measured(tmp_path, wrong=5)
    assert {name: found["accuracy"][name] for name in ("pairs", "right", "wrong", "ties")} == {
        "pairs": 30,
        "right": 24,
        "wrong": 6,
        "ties": 0,
    }
    assert found["accuracy"]["accuracy"]["mean"] == pytest.approx(0.8)
    assert found["win_rates"]["shrinkage"] == pytest.approx(0.6)
    seen = {one["true"]: one for one in found["win_rates"]["seen"]}
    assert seen[0.6]["shown"] == pytest.approx(0.56)
    assert seen[0.6]["low"] < 0.56 < seen[0.6]["high"]
    assert seen[0.5]["low"] == seen[0.5]["high"] == pytest.approx(0.5)
    page = words(tmp_path / "out" / "calibrate.md")
    assert "whichever system wrote it and however hard the pair is" in page
    assert "60.0 % of what it is, so that up to 2.8 times as many pairs" in page
    assert sum(rates["pairs"] for rates in found["by_source"].values()) == 30


def test_a_judge_who_goes_by_place_is_seen_through(tmp_path: Path) -> None:
    found = measured(tmp_path, by_place)
    assert found["accuracy"]["ties"] == 30
    assert (found["first_position_rate"]["mean"], found["position_consistency"]["mean"]) == (1.0, 0.0)
    page = words(tmp_path / "out" / "calibrate.md")
    assert "prefers what is shown first" in page
    assert "not to be told from a coin here" in page


def test_a_judge_who_goes_by_length_is_seen_through(tmp_path: Path) -> None:
    length = measured(tmp_path, by_length)["length"]
    assert length["named"]["mean"] == 1.0
    assert (length["where_longer"]["mean"], length["where_shorter"]["mean"]) == (1.0, 0.0)
    assert length["excess"]["mean"] == pytest.approx(1 - length["chosen"]["mean"])
    assert length["excess"]["low"] > 0
    assert "it goes by length, or by what comes with it" in words(tmp_path / "out" / "calibrate.md")


def test_a_judge_who_tosses_a_coin_is_not_above_chance(tmp_path: Path) -> None:
    found = measured(tmp_path, by_chance)["accuracy"]["accuracy"]
    assert found["low"] < 0.5 < found["high"]


def test_a_judge_whose_certainty_means_something_is_right_more_often_where_it_is_sure(tmp_path: Path) -> None:
    def unsure_where_wrong(shown: Shown) -> tuple[int, int]:
        place, _ = by_quality(shown)
        mistaken = int(shown.first.rsplit(" ", 1)[1]) % 5 == 0
        return place, 40 if mistaken else 95

    found = {one["least"]: one for one in measured(tmp_path, unsure_where_wrong, wrong=5)["by_certainty"]}
    assert (found[0]["accuracy"]["mean"], found[90]["accuracy"]["mean"]) == (pytest.approx(0.8), 1.0)
    assert (found[90]["coverage"], found[90]["stated"]) == pytest.approx((0.8, 0.95))


# what happens on the way


def test_however_often_it_is_interrupted_the_report_is_the_same_and_a_finished_one_asks_nobody(tmp_path: Path) -> None:
    data, tired, starts = known(tmp_path, 12), Tired(judge(), 7), 0
    with ChatServer(tired, model=MODEL) as server:
        while not manifest.path_of(tmp_path / "out").exists():
            starts += 1
            tired.wake()
            (tmp_path / "out").mkdir(exist_ok=True)
            with suppress(ApiError):
                calibrate(calibrate_settings(server, data, tmp_path / "out", concurrency=1))
    assert starts == 4  # 24 requests, 7 at a time
    with ChatServer(judge(), model=MODEL) as server:
        calibrate(calibrate_settings(server, data, tmp_path / "calm", concurrency=16))
    before = everything(tmp_path / "out", "calibrate")
    assert before == everything(tmp_path / "calm", "calibrate")
    assert "complete already" in calibrate(calibrate_settings(None, data, tmp_path / "out"))
    (tmp_path / "out" / "calibrate.md").unlink()
    assert "0 sent now" in calibrate(calibrate_settings(None, data, tmp_path / "out", reparse=True))
    assert everything(tmp_path / "out", "calibrate") == before
    assert manifest.read(tmp_path / "out").kind == "judge-check"


def test_a_dry_run_says_how_many_requests_there_are_and_asks_nobody(tmp_path: Path) -> None:
    data = known(tmp_path, 12)
    said = calibrate(calibrate_settings(None, data, tmp_path / "out", dry_run=True, pairs=10))
    assert "10 pairs of a chosen and a rejected response" in said
    assert "requests: 20 to send" in said
    assert not (tmp_path / "out").exists()
    storm = Storm(judge())
    with ChatServer(storm, model=MODEL) as server:
        calibrate(calibrate_settings(server, data, tmp_path / "out", pairs=10))
    assert len(storm.records) == 20
    ids = sorted((row["id"] for row in lines(data)), key=lambda name: digest("draw", name))[:10]
    assert [one["id"] for one in lines(tmp_path / "out" / "pairs.jsonl")] == sorted(ids)  # as a win rate draws them
    notes = report(tmp_path / "out", "calibrate")["notes"]
    assert notes == ["10 of 12 records were drawn by their ids."]


def test_no_more_is_spent_than_was_allowed(tmp_path: Path) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text(f"model,input,output,currency,as_of\n{MODEL},10,30,USD,2026-11-01\n")
    data = known(tmp_path, 12)
    with ChatServer(judge(), model=MODEL) as server, pytest.raises(PartialError, match=r"--max-cost 0\.1"):
        calibrate(calibrate_settings(server, data, tmp_path / "out", prices=prices, max_cost=0.1))
    assert 0 < sum(reply["cost"] for reply in lines(tmp_path / "out" / "replies.jsonl")) <= 0.1


def test_what_is_unjudged_is_in_no_rate_and_too_much_of_it_is_said(tmp_path: Path) -> None:
    data = known(tmp_path, 12)
    storm = Storm(judge(), always={"refusal": lambda body: "said of 3" in body["messages"][1]["content"]})
    with ChatServer(storm, model=MODEL) as server:
        flags = {"tries": 1, "least_coverage": 1.0}
        with pytest.raises(PartialError, match=r"91\.7 % is judged.*1 × refused"):
            calibrate(calibrate_settings(server, data, tmp_path / "out", **flags))
    found = report(tmp_path / "out", "calibrate")["accuracy"]
    assert (found["unjudged"], found["accuracy"]["mean"]) == (1, 1.0)
    assert found["accuracy_bounds"] == {"worst": pytest.approx(11 / 12), "best": 1.0}


def test_records_that_say_nothing_of_their_user_are_not_asked_about_and_counted(tmp_path: Path) -> None:
    rows = lines(known(tmp_path, 4))
    for name in ("Demographic Information", "User-Generated Content", "Pair-wise Comparative Feedback"):
        rows[1].pop(name, None)
    data = write_jsonl(tmp_path / "some.jsonl", rows)
    with ChatServer(judge(), model=MODEL) as server:
        calibrate(calibrate_settings(server, data, tmp_path / "out"))
    found = report(tmp_path / "out", "calibrate")
    assert found["accuracy"]["pairs"] == 3
    assert found["notes"][0].startswith("1 of 4 records say nothing of their user")
    nobody = write_jsonl(tmp_path / "nobody.jsonl", [rows[1]])
    with pytest.raises(DataError, match="none of 1 records says anything of its user"):
        calibrate(calibrate_settings(None, nobody, tmp_path / "other"))


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    data = known(tmp_path, 6)
    flags = two(tmp_path, 6)
    with ChatServer(judge(), model=MODEL) as server:
        run(server, tmp_path / "win-rate", flags)
        calibrate(calibrate_settings(server, data, tmp_path / "out"))
    with pytest.raises(DataError, match=r"kind \(win-rate against judge-check\)"):
        calibrate(calibrate_settings(None, data, tmp_path / "win-rate"))
    with pytest.raises(DataError, match=r"settings\.judge_model"):
        calibrate(calibrate_settings(None, data, tmp_path / "out", judge_model="another"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="holds something else"):
        calibrate(calibrate_settings(None, data, tmp_path / "full"))
    with pytest.raises(DataError, match=r"replies\.jsonl: no such file"):
        calibrate(calibrate_settings(None, data, tmp_path / "none", reparse=True))
    with pytest.raises(SettingsError, match="holds a user name, a password or a query"):
        calibrate(calibrate_settings(None, data, tmp_path / "none", base_url="http://me:secret@localhost/v1"))


def test_no_judge_is_assumed() -> None:
    with pytest.raises(SettingsError, match="--judge-model is required"):
        parse(CalibrateSettings, ["--data", "d", "--output", "o"], "x")
