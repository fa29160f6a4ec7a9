"""Parts of a persona: how they are named, drawn and told, and what manifests and donors make of them."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from alignx.errors import DataError, SettingsError
from alignx.manifest import Manifest, digest
from alignx.models.tiny_tokenizer import train_tokenizer
from alignx.prompts import (
    Condition,
    Encoder,
    ProfileSource,
    Rendered,
    Told,
    choose_condition,
    choose_donors,
    render,
    tell,
)
from alignx.prompts.parts import Part, one_spelling, only, parts_of, parts_told
from alignx.prompts.previewing import PreviewSettings, preview
from alignx.prompts.telling import reverse_persona
from alignx.records import Choice, Comment, Persona, Record, RecordParser, Records, load_taxonomy
from alignx.records.world.synthesize import SynthesizeSettings, synthesize
from alignx.settings import parse
from tests.prompts import by_the_book
from tests.prompts.by_the_book import GOLDEN, METHODS, PRESETS
from tests.worlds import sample_records, write_jsonl

TAXONOMY = load_taxonomy()
FIELDS = {"comments": "ugc", "choices": "pair", "demographics": "demographics"}
"""Each part, and what the book calls it."""
SOME = [",".join(names) for n in (1, 2) for names in combinations(FIELDS, n)]
HISTORIES: list[str | int] = ["all", "sampled", 0, 1, 2]

every_preset = pytest.mark.parametrize("preset", PRESETS)
every_method = pytest.mark.parametrize("method", METHODS)
every_selection = pytest.mark.parametrize("told", SOME)


def levels(**poles: int) -> bytes:
    return bytes(poles.get(f"d{index}", 1) for index in range(90))


HUMOR, FASHION, NEITHER = levels(d73=2), levels(d89=2), levels()
EVERYTHING = Persona(
    (Comment("a", "b", HUMOR),), (Choice("c", "d", "e", FASHION),), "A potter.", "Likes science, Likes humor"
)


def one(persona: Persona = EVERYTHING, id: str = "one", **more: Any) -> Record:
    return Record(id, f"post of {id}", "yes", "no", persona, **more)


def told_of(record: Record, method: str = "pba", donors: dict[str, Record] | None = None, **condition: Any) -> Told:
    return tell(record, Condition(method=method, **condition), TAXONOMY, donors)


def record_of(raw: dict[str, Any]) -> Record:
    return RecordParser(TAXONOMY).parse({"id": "one", **raw}, "a test")


def prompt_of(record: Record, condition: Condition, donors: dict[str, Record] | None = None) -> Rendered:
    return render(record, tell(record, condition, TAXONOMY, donors), condition)


def without(record: Record, told: str) -> Record:
    """The record as a file has it in which only these parts are; a ready profile is of everything, so it goes too."""
    kept = told.split(",")
    persona = Persona(
        record.persona.comments if "comments" in kept else (),
        record.persona.choices if "choices" in kept else (),
        record.persona.demographics if "demographics" in kept else "",
    )
    return replace(record, persona=persona)


# ---- Names ----


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("all", "all"),
        ("ALL", "all"),
        ("arbitrary", "arbitrary"),
        ("UGC", "comments"),
        ("PAIR", "choices"),
        ("demo", "demographics"),
        ("choices,comments", "comments,choices"),
        (" DEMO , ugc ", "comments,demographics"),
        ("pair,choices", "choices"),
        (["choices", "UGC"], "comments,choices"),
        (["all"], "all"),
        ("demographics,comments,choices", "all"),
    ],
)
def test_each_way_to_say_it_has_one_spelling(said: object, meant: str) -> None:
    assert one_spelling(said) == meant
    assert Condition(method="ica", tell=said).tell == meant
    assert one_spelling(meant) == meant


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("coments", "did you mean 'comments'"),
        ("comments,pairs", "did you mean 'pair'"),
        ("arbitary", "did you mean 'arbitrary'"),
        ("comments,all", "'all' goes with nothing else"),
        ("arbitrary,ugc", "'arbitrary' goes with nothing else"),
        ("comments;choices", "expected"),
        ("profile", "expected"),
        ("", "expected"),
        ("comments,", "expected"),
    ],
)
def test_a_part_that_does_not_exist_is_refused_with_those_that_do(said: str, hint: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        choose_condition(None, {"method": "ica", "tell": said})
    message = str(refusal.value)
    assert f"--tell: got {said!r}, expected all, arbitrary, or some of comments (UGC), choices (PAIR)" in message
    assert hint in message


@pytest.mark.parametrize("said", [None, 3, [], [3], {"comments": True}, True])
def test_what_is_no_name_is_refused(said: object) -> None:
    with pytest.raises(ValidationError, match="all, arbitrary, or some of comments"):
        Condition.model_validate({"method": "ica", "tell": said})


def test_the_command_line_takes_parts_with_commas_between(tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "data.jsonl", [by_the_book.row()])
    flags = ["--data", str(data), "--method", "ica", "--tell"]
    settings = parse(PreviewSettings, [*flags, "PAIR,UGC"], "preview")
    assert settings.wanted() == {"method": "ica", "tell": "comments,choices"}
    shown = preview(settings)
    assert "*Comment:*" in shown
    assert "*Chosen:*" in shown
    assert "retired chemist" not in shown
    with pytest.raises(SettingsError, match=r"--tell: got 'demos', expected all, .*did you mean 'demo'"):
        parse(PreviewSettings, [*flags, "demos"], "preview")


# ---- The draw ----

BIG = st.lists(st.sampled_from(list(Part)), unique=True)


def with_parts(parts: Sequence[Part]) -> Persona:
    return only(EVERYTHING, parts)


@given(parts=BIG, seed=st.integers(), name=st.text(min_size=1))
def test_a_draw_is_of_parts_that_are_there_and_never_of_none_where_there_is_one(
    parts: list[Part], seed: int, name: str
) -> None:
    persona = with_parts(parts)
    drawn = parts_told("arbitrary", persona, name, seed)
    assert {*drawn} <= {*parts} == {*parts_of(persona)}
    assert bool(drawn) == bool(parts)
    assert drawn == parts_told("arbitrary", persona, name, seed)
    assert list(drawn) == [part for part in Part if part in drawn]


def test_each_combination_is_drawn_about_equally_often() -> None:
    found = Counter(parts_told("arbitrary", EVERYTHING, str(i), 42) for i in range(7000))
    possible = chain.from_iterable(combinations(Part, n) for n in (1, 2, 3))
    assert {*found} == {*possible}
    # Seven combinations, 1,000 times each, standard deviation √(7000 · 1/7 · 6/7) = 29.3.
    assert all(times == pytest.approx(1000, abs=4 * 29.3) for times in found.values())
    two = Counter(parts_told("arbitrary", with_parts([Part.COMMENTS, Part.CHOICES]), str(i), 42) for i in range(3000))
    assert all(times == pytest.approx(1000, abs=4 * 25.9) for times in two.values())
    assert len(two) == 3


def test_the_draw_is_the_same_in_every_process_and_version() -> None:
    # Recorded once. A change here makes finished trainings and evaluations incomparable with new ones.
    drawn = [",".join(parts_told("arbitrary", EVERYTHING, f"record {i}", 42)) for i in range(6)]
    assert drawn == RECORDED
    assert [",".join(parts_told("arbitrary", EVERYTHING, f"record {i}", 43)) for i in range(6)] != RECORDED


RECORDED = [
    "comments,demographics",
    "comments,choices,demographics",
    "choices",
    "choices,demographics",
    "demographics",
    "comments,choices,demographics",
]


def test_the_draw_depends_neither_on_the_method_nor_on_the_preset_nor_on_the_history() -> None:
    for i in range(20):
        record = one(id=str(i))
        drawn = {
            (bool(said.comments), bool(said.choices))
            for preset in PRESETS
            for method in METHODS
            for history in ("all", 1)
            for said in [told_of(record, method, preset=preset, history=history, tell="arbitrary")]
        }
        parts = parts_told("arbitrary", record.persona, record.id, 42)
        assert drawn == {(Part.COMMENTS in parts, Part.CHOICES in parts)}


# ---- Prompts, byte for byte ----


@every_selection
@every_method
@every_preset
def test_each_selection_of_parts_gives_the_prompt_of_a_record_that_has_no_others(
    preset: str, method: str, told: str
) -> None:
    alone = by_the_book.row([FIELDS[part] for part in told.split(",")] + ["direction"])
    found = prompt_of(record_of(by_the_book.row()), Condition(preset=preset, method=method, tell=told))
    assert found.instruction == by_the_book.instruction(preset, method)
    assert found.user == by_the_book.user_turn(preset, method, alone)


@every_method
@every_preset
def test_all_parts_by_name_are_all_of_them(preset: str, method: str) -> None:
    record = record_of(by_the_book.row(profile="Likes humor"))
    named = Condition(preset=preset, method=method, tell="comments,choices,demographics")
    assert named == Condition(preset=preset, method=method)
    source = "ready" if method == "pba" else "history"
    assert prompt_of(record, named).user == by_the_book.user_turn(
        preset, method, by_the_book.row(profile="Likes humor"), source
    )


@every_preset
def test_a_part_that_is_left_out_is_missing_from_the_golden_prompt_and_nothing_else_of_it_changes(preset: str) -> None:
    golden = (GOLDEN / f"{preset}-ica.txt").read_bytes().decode()
    tokenizer = train_tokenizer(golden.split("\n"), 600)
    condition, record = Condition(preset=preset, method="ica", tell="demographics,choices"), by_the_book.row()
    encoder = Encoder(tokenizer, condition)
    found = encoder.prompt(prompt_of(record_of(record), condition)) + encoder.responses([record["chosen"]])[0]
    start, end = golden.index("**This person has commented"), golden.index("**This person has chosen")
    assert tokenizer.decode(found) == golden[:start] + golden[end:]


@every_selection
@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("persona", ["own", "reversed", "none"])
def test_told_in_part_is_told_as_if_there_were_nothing_else(
    persona: str, history: str | int, told: str, tmp_path: Path
) -> None:
    records = list(Records(str(write_jsonl(tmp_path / "world.jsonl", sample_records(33, seed=8)))))
    seen = set()
    for preset in PRESETS:
        for method in METHODS:
            condition = Condition(method=method, preset=preset, persona=persona, history=history)
            part = condition.model_copy(update={"tell": told})
            for record in records:
                found = prompt_of(record, part)
                assert found == prompt_of(without(record, told), condition)
                seen.add(found == prompt_of(record, condition))
    assert False in seen or persona == "none" or history == 0


@given(
    parts=BIG,
    told=st.sampled_from(["all", "arbitrary", *SOME]),
    history=st.sampled_from(HISTORIES),
    preset=st.sampled_from(PRESETS),
    seed=st.integers(0, 99),
)
def test_no_word_of_a_part_that_is_left_out_is_told(
    parts: list[Part], told: str, history: str | int, preset: str, seed: int
) -> None:
    record = one(with_parts(parts))
    may = parts_told(told, record.persona, record.id, seed)
    said = told_of(record, "ica", tell=told, history=history, preset=preset, seed=seed)
    assert said.comments == () or Part.COMMENTS in may
    assert said.choices == () or Part.CHOICES in may
    assert not said.demographics or Part.DEMOGRAPHICS in may
    profile = told_of(record, "pba", tell=told, history=history, preset=preset, seed=seed)
    if profile.profile_source is ProfileSource.HISTORY:
        assert ("humor" in profile.profile) <= (Part.COMMENTS in may)
        assert ("fashion" in profile.profile) <= (Part.CHOICES in may)
        assert "science" not in profile.profile, "of the ready one"


def test_a_world_told_of_its_comments_is_the_world_s_own_file_of_comments(tmp_path: Path) -> None:
    synthesize(SynthesizeSettings(output=tmp_path / "world", train=8, test=60, seed=1))
    whole = list(Records(str(tmp_path / "world" / "test.jsonl")))
    compared = Counter[str]()
    for name, list_, other in (("comments", "comments", "choices"), ("choices", "choices", "comments")):
        alone = {record.id: record for record in Records(str(tmp_path / "world" / f"test-{name}-only.jsonl"))}
        for record in whole:
            file = alone[record.id]
            assert getattr(file.persona, list_) == getattr(record.persona, list_)
            assert getattr(file.persona, other) == ()
            parts = parts_of(file.persona)
            told = ",".join(parts) if parts else list_
            for method in METHODS:
                for history in ("all", "sampled", 2):
                    condition = Condition(method=method, history=history)
                    part = condition.model_copy(update={"tell": told})
                    assert prompt_of(record, part) == prompt_of(file, condition)
            compared[told] += 1
    assert compared["comments"] > 3, "records of which the file has the list alone"
    assert compared["choices"] > 3


# ---- Profiles ----


@pytest.mark.parametrize(
    ("told", "profile"), [("comments", "Likes humor"), ("choices", "Likes fashion"), ("demographics", "")]
)
def test_a_profile_is_made_of_the_told_items_alone(told: str, profile: str) -> None:
    found = told_of(one(), tell=told)
    assert found.profile == profile
    assert found.profile_source is (ProfileSource.HISTORY if profile else None)
    assert told_of(one(), tell=told, profile="history") == found


def test_a_ready_profile_is_told_where_nothing_that_the_record_has_is_left_out() -> None:
    ready = EVERYTHING.profile
    assert told_of(one()).profile == ready
    for part in Part:
        alone = replace(only(EVERYTHING, [part]), profile=ready)
        found = told_of(one(alone), tell=part.value)
        assert (found.profile, found.profile_source) == (ready, ProfileSource.READY)
        assert told_of(one(alone), tell="arbitrary").profile == ready, "there is only one combination"
    without_items = one(Persona(profile=ready))
    assert told_of(without_items).profile == ready
    assert told_of(without_items, tell="comments") == Told(), "it has no comments, so nothing may be told"
    assert told_of(without_items, tell="arbitrary") == Told()


def test_a_ready_profile_that_is_asked_for_by_name_is_told_whatever_the_parts() -> None:
    for told in SOME:
        found = told_of(one(), tell=told, profile="ready")
        assert (found.profile, found.profile_source) == (EVERYTHING.profile, ProfileSource.READY)
    with pytest.raises(DataError, match="record one: has no 'profile'"):
        told_of(one(replace(EVERYTHING, profile=None)), tell="comments", profile="ready")


def test_a_golden_profile_is_of_the_target_and_knows_no_parts() -> None:
    record = one(direction=FASHION)
    assert [told_of(record, profile="golden", tell=told).profile for told in SOME] == ["Likes fashion"] * len(SOME)


def test_told_items_without_directions_are_refused_rather_than_told_as_a_profile_of_everything() -> None:
    unknown = replace(EVERYTHING, comments=(Comment("a", "b"), Comment("c", "d")))
    with pytest.raises(DataError) as refusal:
        told_of(one(unknown), tell="comments")
    assert str(refusal.value) == (
        "record one: its 'profile' is of the whole persona, of which --tell comments tells a part, and none of the 2 "
        "history items told has a 'Preference Direction' to make one of; annotate the items (`alignx annotate "
        "directions`), or tell it all the same: --profile ready"
    )
    assert told_of(one(unknown), tell="choices").profile == "Likes fashion"
    assert told_of(one(unknown), "ica", tell="comments").items == 2, "in context no direction is needed"
    nothing = replace(unknown, profile=None)
    with pytest.raises(DataError, match="no 'profile', and none of its 2 history items has a 'Preference Direction'"):
        told_of(one(nothing), tell="comments")


def test_history_is_counted_in_what_is_left() -> None:
    many = replace(EVERYTHING, comments=tuple(Comment(str(i), "b", HUMOR) for i in range(5)))
    for history, expected in ((0, []), (2, ["3", "4"]), (9, ["0", "1", "2", "3", "4"])):
        found = told_of(one(many), "ica", tell="comments", history=history)
        assert [comment.prompt for comment in found.comments] == expected
        assert found.choices == ()
    assert told_of(one(), history=0, tell="comments").profile == ""


def test_released_train_never_shows_demographics_and_so_refuses_to_tell_them_alone() -> None:
    wanted = {"method": "ica", "preset": "released-train", "tell": "DEMO"}
    with pytest.raises(SettingsError, match="--tell demographics: preset released-train never shows them"):
        choose_condition(None, wanted)
    assert choose_condition(None, {**wanted, "persona": "none"}).condition.tell == "demographics"
    assert choose_condition(None, {**wanted, "preset": "released-eval"}).condition.tell == "demographics"
    assert choose_condition(None, {**wanted, "tell": "DEMO,UGC"}).condition.tell == "comments,demographics"
    assert told_of(one(), "ica", preset="released-train", tell="comments,demographics").demographics == ""


# ---- Other and reversed personas ----


@every_selection
def test_reversing_and_leaving_out_are_the_same_in_either_order(told: str) -> None:
    record = one()
    for method in METHODS:
        turned = told_of(record, method, persona="reversed", tell=told)
        assert turned == told_of(
            reverse_persona(replace(record, persona=replace(EVERYTHING, profile=None))), method, tell=told
        )
    choices = told_of(record, "ica", persona="reversed", tell="choices").choices
    assert [(choice.chosen, choice.rejected) for choice in choices] == [("e", "d")]


def test_an_arbitrary_part_is_reversed_as_it_is_told() -> None:
    for i in range(30):
        own = told_of(one(id=str(i)), "ica", tell="arbitrary")
        turned = told_of(one(id=str(i)), "ica", tell="arbitrary", persona="reversed")
        assert (len(own.comments), len(own.choices), own.demographics) == (
            len(turned.comments),
            len(turned.choices),
            turned.demographics,
        )


@pytest.mark.parametrize("told", ["arbitrary", *SOME])
def test_another_user_s_persona_is_told_in_the_same_parts_to_those_who_are_told_their_own(
    told: str, tmp_path: Path
) -> None:
    records = list(Records(str(write_jsonl(tmp_path / "world.jsonl", sample_records(60, seed=5)))))
    donors = choose_donors(records, 42, told)
    said = Counter[bool]()
    for record in records:
        own, other = (told_of(record, "ica", donors, tell=told, persona=persona) for persona in ("own", "other"))
        assert (own == Told()) == (other == Told())
        if other != Told():
            assert other != own
            if parts_of(record.persona) == parts_of(donors[record.id].persona) or told != "arbitrary":
                kinds = [(bool(each.comments), bool(each.choices), bool(each.demographics)) for each in (own, other)]
                allowed = [part.value in told or told == "arbitrary" for part in Part]
                assert all(may or not there for kind in kinds for may, there in zip(allowed, kind, strict=True))
            if told == "arbitrary" and parts_of(record.persona) == parts_of(donors[record.id].persona):
                assert kinds[0] == kinds[1]
        said[other != Told()] += 1
    assert said[True] > 20
    assert said[False] > 0, "the world has records without the part"


def test_donors_differ_in_the_parts_that_are_told() -> None:
    comment, other = (Comment("a", "b"),), (Comment("c", "d"),)
    here = one(Persona(comment, demographics="A potter."), "here", user="1")
    same = one(Persona(comment, demographics="A dancer."), "same", user="2")
    silent = one(Persona(demographics="A baker."), "silent", user="3")
    right = one(Persona(other), "right", user="4")
    for seed in range(8):
        assert choose_donors([here, same, silent, right], seed, "comments")["here"] is right
    with pytest.raises(DataError, match="no other user in the data"):
        choose_donors([here, same, silent], 1, "comments")
    assert choose_donors([here, same], 1)["here"] is same


# ---- What manifests say ----

PLAIN = (
    '{"method":"ica","preset":"paper","profile":"auto","persona":"own","history":"all","seed":42,"positive":"",'
    '"negative":"","max_length":8192,"date":"26 Jul 2024"}'
)


def test_a_whole_persona_is_written_as_it_was_before_there_were_parts() -> None:
    """Caches and checkpoints of before are found again: not a byte of the condition or its digest has changed."""
    condition = Condition(method="ica")
    assert condition.model_dump_json() == PLAIN
    assert condition.model_dump(mode="json") == json.loads(PLAIN)
    assert digest(condition) == digest(json.loads(PLAIN))
    assert Condition.model_validate_json(PLAIN) == condition
    assert Condition.model_validate_json(PLAIN).tell == "all"


@given(st.lists(st.sampled_from(["all", "arbitrary", *SOME]), min_size=2, max_size=2, unique=True))
def test_what_is_told_in_other_parts_has_another_digest_and_is_read_back(parts: list[str]) -> None:
    first, second = (Condition(method="pba", tell=told) for told in parts)
    assert digest(first) != digest(second)
    assert Condition.model_validate_json(first.model_dump_json()) == first
    assert first.resolved().tell == parts[0]


def test_manifests_that_say_no_parts_compare_as_all() -> None:
    before = Manifest(kind="scores", condition=json.loads(PLAIN))
    whole, part = (
        Manifest(kind="scores", condition=Condition(method="ica", tell=told).model_dump(mode="json"))
        for told in ("all", "comments")
    )
    assert before.differences(whole, ("condition",)) == []
    assert before.differences(part, ("condition",)) == ["condition.tell (all against comments)"]
    assert part.differences(before, ("condition",)) == ["condition.tell (comments against all)"]
    assert (before.told["tell"], part.told["tell"]) == ("all", "comments")
    nothing = Manifest(kind="world")
    assert nothing.told == {}
    assert nothing.differences(Manifest(kind="world"), ("condition",)) == []
