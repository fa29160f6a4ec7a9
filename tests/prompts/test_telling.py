"""Which part of a persona is told: the draw of history, profiles, other and reversed personas, and refusals."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignx.errors import DataError
from alignx.models.tiny_tokenizer import train_tokenizer
from alignx.prompts import Condition, Encoder, PairEncoder, ProfileSource, Told, choose_donors, render, tell
from alignx.prompts.telling import reverse_persona
from alignx.records import Choice, Comment, Persona, Record, Records, load_taxonomy
from tests.worlds import sample_records, write_jsonl

TAXONOMY = load_taxonomy()
PHRASES = [phrase for d in TAXONOMY.dimensions for phrase in (d.positive, d.negative)]


def levels(**poles: int) -> bytes:
    """A direction, neutral but for those named: ``levels(d73=2)`` likes humor, ``levels(d73=0)`` dislikes it."""
    return bytes(poles.get(f"d{index}", 1) for index in range(90))


LIKES_HUMOR, DISLIKES_HUMOR, NEUTRAL = levels(d73=2), levels(d73=0), levels()


def person(
    comments: Sequence[bytes | None] = (),
    choices: Sequence[bytes | None] = (),
    *,
    id: str = "one",
    direction: bytes | None = None,
    user: str | None = None,
    **persona: Any,
) -> Record:
    """A record with one history item per given direction; their texts say their place, oldest 0."""
    return Record(
        id,
        f"post of {id}",
        "yes",
        "no",
        Persona(
            tuple(Comment(f"post {i}", f"comment {i}", d) for i, d in enumerate(comments)),
            tuple(Choice(f"post {i}", f"good {i}", f"bad {i}", d) for i, d in enumerate(choices)),
            **persona,
        ),
        direction,
        user,
    )


def told(record: Record, method: str = "pba", donors: dict[str, Record] | None = None, **condition: Any) -> Told:
    return tell(record, Condition(method=method, **condition), TAXONOMY, donors)


def places(items: Sequence[Comment | Choice]) -> list[int]:
    return [int(item.prompt.removeprefix("post ")) for item in items]


def draw(n_comments: int, n_choices: int, **condition: Any) -> tuple[list[int], list[int]]:
    """Which comments and choices are sampled from so many."""
    record = person([NEUTRAL] * n_comments, [NEUTRAL] * n_choices, id=condition.pop("id", "one"))
    found = told(record, history="sampled", **condition)
    return places(found.comments), places(found.choices)


# ---- Sampled history ----


def test_sampled_history_has_zero_to_four_of_each_about_equally_often_and_never_none_at_all() -> None:
    draws = [draw(6, 6, id=str(i)) for i in range(2500)]
    # Each of the 25 combinations is expected 100 times in 2,500; (0, 0) becomes (4, 4): 0 loses 100 and 4 gains them.
    expected = {0: 400, 1: 500, 2: 500, 3: 500, 4: 600}
    for kind in (0, 1):
        found = Counter(len(drawn[kind]) for drawn in draws)
        assert found.keys() == expected.keys()
        for n, times in expected.items():
            assert found[n] == pytest.approx(times, abs=90)  # 4 standard deviations: at most 21.4 each
    both = Counter((len(comments), len(choices)) for comments, choices in draws)
    assert (0, 0) not in both
    assert both.pop((4, 4)) == pytest.approx(200, abs=55)
    assert len(both) == 23
    assert all(50 < times < 150 for times in both.values())


def test_each_item_is_drawn_about_equally_often() -> None:
    draws = [draw(6, 6, id=str(i)) for i in range(2500)]
    for kind in (0, 1):
        found = Counter(place for drawn in draws for place in drawn[kind])
        # On average 0.2·(1 + 2 + 3) + 0.24·4 = 2.16 of 6 items: 2,500 × 0.36 = 900 times each, standard deviation 24.
        assert [found[place] for place in range(6)] == pytest.approx([900] * 6, abs=100)


@pytest.mark.parametrize(("available", "never_fewer"), [(0, 0), (1, 1), (3, 1), (4, 1), (16, 1)])
def test_where_one_kind_is_all_there_is_something_of_it_is_told(available: int, never_fewer: int) -> None:
    most = min(4, available)
    for comments, choices in (draw(0, available, id=str(i)) for i in range(60)):
        assert comments == []
        assert never_fewer <= len(choices) <= most
    for comments, choices in (draw(available, 0, id=str(i)) for i in range(60)):
        assert choices == []
        assert never_fewer <= len(comments) <= most


def test_two_empty_draws_fall_back_to_four_of_each_or_what_there_is() -> None:
    sizes = Counter((len(c), len(p)) for c, p in (draw(16, 3, id=str(i)) for i in range(1000)))
    # Of 25 equal combinations, (4, 3) comes of (4, 3), of (4, 4) cut to 3, and in place of (0, 0): 3/25 = 120 of 1,000.
    # (3, 3) comes of (3, 3) and of (3, 4): 80. Without the fallback both would be 80.
    assert sizes[4, 3] == pytest.approx(120, abs=25)
    assert sizes[3, 3] == pytest.approx(80, abs=25)
    assert (0, 0) not in sizes


def test_the_draw_is_fixed_by_the_seed_and_the_id() -> None:
    first = [draw(16, 16, id=str(i)) for i in range(50)]
    random.seed(7)  # nobody else's generator matters
    assert [draw(16, 16, id=str(i)) for i in range(50)] == first
    assert [draw(16, 16, id=str(i), seed=43) for i in range(50)] != first
    assert len({str(drawn) for drawn in first}) > 40


def test_the_draw_is_the_same_in_every_process_and_version() -> None:
    # Recorded once. A change here makes finished trainings and evaluations incomparable with new ones.
    assert [draw(16, 16, id=f"record {i}", seed=42) for i in range(3)] == [
        ([9], []),
        ([1, 3, 9, 10], [12]),
        ([2, 15], [14]),
    ]
    assert draw(16, 16, id="record 1", seed=42, preset="released-train") == ([10, 3, 1, 9], [12])


def test_the_draw_depends_neither_on_the_method_nor_on_what_the_items_say() -> None:
    for i in range(30):
        plain = person([NEUTRAL] * 8, [NEUTRAL] * 8, id=str(i))
        other = person([LIKES_HUMOR] * 8, [DISLIKES_HUMOR] * 8, id=str(i), demographics="A person.")
        drawn = [
            (places(found.comments), places(found.choices))
            for found in (told(r, method, history="sampled") for r in (plain, other) for method in ("ica", "pba"))
        ]
        assert drawn == [drawn[0]] * 4


def test_sampled_items_keep_the_record_s_order_but_in_released_train() -> None:
    shuffled = 0
    for i in range(200):
        paper, evaluation, train = (
            draw(16, 16, id=str(i), preset=p) for p in ("paper", "released-eval", "released-train")
        )
        assert paper == evaluation == tuple(map(sorted, paper))
        assert tuple(map(sorted, train)) == paper  # the same items
        shuffled += train != paper
    # Only (0, 1), (1, 0) and (1, 1) of 25 sizes cannot be shuffled, and two lists of 2 keep their order 1 time in 4.
    assert shuffled > 100


@pytest.mark.parametrize("history", ["all", 3])
def test_released_train_shuffles_sampled_items_only(history: str | int) -> None:
    found = told(person([NEUTRAL] * 9, [NEUTRAL] * 9), history=history, preset="released-train")
    assert places(found.comments) == sorted(places(found.comments))
    assert places(found.choices) == sorted(places(found.choices))


@given(n_comments=st.integers(0, 9), n_choices=st.integers(0, 9), seed=st.integers(), id=st.text(min_size=1))
@settings(max_examples=50, deadline=None)
def test_a_draw_holds_at_most_four_different_items_of_each_and_something_where_there_is_something(
    n_comments: int, n_choices: int, seed: int, id: str
) -> None:
    for preset in ("paper", "released-train"):
        comments, choices = draw(n_comments, n_choices, id=id, seed=seed, preset=preset)
        assert len(set(comments)) == len(comments) <= min(4, n_comments)
        assert len(set(choices)) == len(choices) <= min(4, n_choices)
        assert bool(comments or choices) == bool(n_comments or n_choices)


# ---- All of the history, or the last of it ----


@pytest.mark.parametrize(
    ("history", "comments", "choices"),
    [
        ("all", [0, 1, 2, 3, 4], [0, 1, 2]),
        (0, [], []),
        (1, [4], [2]),
        (2, [3, 4], [1, 2]),
        (4, [1, 2, 3, 4], [0, 1, 2]),
        (5, [0, 1, 2, 3, 4], [0, 1, 2]),
        (99, [0, 1, 2, 3, 4], [0, 1, 2]),
    ],
)
def test_history_n_keeps_the_last_n_of_each_list(history: str | int, comments: list[int], choices: list[int]) -> None:
    record = person([NEUTRAL] * 5, [NEUTRAL] * 3)
    for method in ("ica", "pba"):
        found = told(record, method, history=history)
        assert (places(found.comments), places(found.choices)) == (comments, choices)
        assert found.items == len(comments) + len(choices)


def test_a_profile_is_made_of_the_items_that_are_used_and_no_others() -> None:
    record = person([LIKES_HUMOR, LIKES_HUMOR, DISLIKES_HUMOR])
    assert told(record, history="all").profile == "Likes humor"  # mean 2/3
    assert told(record, history=2).profile == ""  # mean 1/2
    assert told(record, history=1).profile == "Dislikes humor"
    assert told(record, history=0).profile == ""
    for i in range(40):
        sampled = told(replace(record, id=str(i)), history="sampled")
        shown = [c.direction for c in sampled.comments]
        balance = shown.count(LIKES_HUMOR) - shown.count(DISLIKES_HUMOR)
        assert sampled.profile == ("Likes humor" if balance > 0 else "Dislikes humor" if balance < 0 else "")


# ---- Profiles ----


def test_a_profile_lists_shared_poles_in_the_order_of_the_dimensions() -> None:
    record = person([levels(d89=0, d16=2)], [levels(d89=0, d0=0, d16=2)])
    # Dimension 0: (0 + 0.5)/2 = 0.25 → negative; 16: 1 → positive; 89: 0 → negative.
    found = told(record)
    assert found.profile == "Older, Concise communication style, Dislikes fashion"
    assert found.profile_source is ProfileSource.HISTORY


def test_thresholds_are_the_preset_s_unless_set() -> None:
    record = person([LIKES_HUMOR, *[NEUTRAL] * 5])
    # One positive and five neutral items: (1 + 5·0.5)/6 = 0.583, at least 0.51 but not 0.6.
    found = {preset: told(record, preset=preset).profile for preset in ("paper", "released-train", "released-eval")}
    assert found == {"paper": "", "released-train": "", "released-eval": "Likes humor"}
    assert told(record, positive="0.55").profile == "Likes humor"
    assert told(record, preset="released-eval", positive="0.6").profile == ""


def test_a_mean_exactly_at_a_threshold_counts() -> None:
    two_of_five = person([LIKES_HUMOR] * 2 + [DISLIKES_HUMOR] * 3)  # mean 0.4, which float32 puts above 0.4
    three_of_five = person([LIKES_HUMOR] * 3 + [DISLIKES_HUMOR] * 2)  # mean 0.6
    assert told(two_of_five).profile == "Dislikes humor"
    assert told(three_of_five).profile == "Likes humor"


def test_items_without_a_direction_do_not_dilute_the_others() -> None:
    assert told(person([LIKES_HUMOR, None, None], [None])).profile == "Likes humor"


@pytest.mark.parametrize(
    "record",
    [
        person(),
        person(demographics="A person."),
        person([NEUTRAL] * 4, [NEUTRAL] * 4),
        person([LIKES_HUMOR], [DISLIKES_HUMOR]),
        person(profile=""),
    ],
    ids=["no persona", "demographics only", "all neutral", "cancelling", "ready and empty"],
)
@pytest.mark.parametrize("preset", ["paper", "released-train", "released-eval"])
def test_an_empty_profile_asserts_no_pole(record: Record, preset: str) -> None:
    condition = Condition(method="pba", preset=preset)
    found = tell(record, condition, TAXONOMY)
    assert found.profile == ""
    text = render(record, found, condition).user
    assert [phrase for phrase in PHRASES if phrase in text] == []


def test_auto_takes_the_ready_profile_else_the_history_s() -> None:
    ready = person([LIKES_HUMOR], profile="Likes fashion")
    assert (told(ready).profile, told(ready).profile_source) == ("Likes fashion", ProfileSource.READY)
    history = person([LIKES_HUMOR])
    assert (told(history).profile, told(history).profile_source) == ("Likes humor", ProfileSource.HISTORY)
    assert told(ready, profile="history").profile == "Likes humor"
    assert told(person()).profile_source is None


def test_auto_takes_the_profile_of_sampled_history_before_a_ready_one_of_all() -> None:
    ready = person([LIKES_HUMOR], profile="Likes fashion")
    found = told(ready, history="sampled")
    assert (found.profile, found.profile_source) == ("Likes humor", ProfileSource.HISTORY)
    assert told(ready, history="sampled", profile="ready").profile == "Likes fashion"
    unknown = told(person([None], profile="Likes fashion"), history="sampled")
    assert (unknown.profile, unknown.profile_source) == ("Likes fashion", ProfileSource.READY)


def test_auto_takes_the_profile_of_the_told_items_before_a_ready_one_of_all() -> None:
    ready = person([LIKES_HUMOR, DISLIKES_HUMOR], profile="Likes fashion")
    said = [told(ready, history=items) for items in (0, 1, 2)]
    assert [found.profile for found in said] == ["", "Dislikes humor", ""], "the latest item first"
    assert [found.profile_source for found in said] == [None, ProfileSource.HISTORY, ProfileSource.HISTORY]
    unknown = person([None], profile="Likes fashion")
    for items in (0, 1):
        found = told(unknown, history=items)
        assert (found.profile, found.profile_source) == ("Likes fashion", ProfileSource.READY), "all that is known"


def test_an_empty_ready_profile_is_a_statement_and_not_an_absent_one() -> None:
    empty = person([LIKES_HUMOR], profile="")
    for wanted in ("auto", "ready"):
        assert (told(empty, profile=wanted).profile, told(empty).profile_source) == ("", ProfileSource.READY)


def test_auto_never_looks_at_the_target_s_own_direction() -> None:
    assert told(person([LIKES_HUMOR], direction=DISLIKES_HUMOR)).profile == "Likes humor"
    assert told(person(direction=DISLIKES_HUMOR)).profile == ""
    golden = told(person([LIKES_HUMOR], direction=DISLIKES_HUMOR), profile="golden")
    assert (golden.profile, golden.profile_source) == ("Dislikes humor", ProfileSource.GOLDEN)


def test_in_context_no_profile_is_told_and_no_direction_needed() -> None:
    found = told(person([None], [None], profile="Likes fashion", demographics="A person."), "ica")
    assert (found.profile, found.profile_source, found.demographics) == ("", None, "A person.")


@pytest.mark.parametrize(
    ("record", "condition", "reason"),
    [
        (person([LIKES_HUMOR]), {"profile": "ready"}, "record one: has no 'profile'; --profile history makes one"),
        (
            person([None, None], [None]),
            {},
            "record one: no 'profile', and none of its 3 history items has a 'Preference Direction'.*annotate",
        ),
        (person([None]), {"profile": "history"}, "none of its 1 history items has a 'Preference Direction'"),
        (
            person([LIKES_HUMOR], profile="Likes fashion"),
            {"profile": "golden"},
            "record one: has no 'Preference Direction' of its own, which --profile golden",
        ),
        (
            person(profile="Likes humor, likes a good laugh"),
            {"persona": "reversed"},
            "record one: its ready profile cannot be reversed: profile: 'likes a good laugh' is no phrase",
        ),
        (person([LIKES_HUMOR]), {"persona": "other"}, "record one: no donor for persona 'other'"),
    ],
)
def test_what_cannot_be_told_is_refused_with_the_reason(record: Record, condition: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        told(record, **condition)


@pytest.mark.parametrize("profile", ["ready", "history", "golden"])
def test_no_persona_needs_no_profile(profile: str) -> None:
    assert told(person([None]), profile=profile, persona="none") == Told()


# ---- A record's prompt depends on that record alone ----


def _tellings(path: Path, **condition: Any) -> dict[str, Told]:
    return {r.id: tell(r, Condition(**condition), TAXONOMY) for r in Records(str(path))}


CONDITIONS: list[dict[str, Any]] = [
    {"method": "pba", "history": "sampled"},
    {"method": "pba", "history": "sampled", "preset": "released-train"},
    {"method": "ica", "history": "sampled", "preset": "released-train"},
    {"method": "pba", "history": "all", "preset": "released-eval"},
    {"method": "pba", "history": 2, "persona": "reversed"},
]


@pytest.mark.parametrize("condition", CONDITIONS, ids=str)
def test_other_records_change_nothing_of_what_is_told(tmp_path: Path, condition: dict[str, Any]) -> None:
    rows, others = sample_records(40, seed=3), sample_records(40, seed=4)
    expected = _tellings(write_jsonl(tmp_path / "as made.jsonl", rows), **condition)
    shuffled = random.Random(0).sample(rows, len(rows))
    assert _tellings(write_jsonl(tmp_path / "shuffled.jsonl", shuffled), **condition) == expected
    mixed = [row for pair in zip(others, shuffled, strict=True) for row in pair]
    assert _tellings(write_jsonl(tmp_path / "mixed.jsonl", mixed), **condition).items() >= expected.items()
    for row in rows[:5]:
        alone = _tellings(write_jsonl(tmp_path / "alone.jsonl", [row]), **condition)
        assert alone.items() <= expected.items()


@pytest.mark.parametrize("condition", CONDITIONS, ids=str)
def test_other_records_change_no_token_of_a_prompt(tmp_path: Path, condition: dict[str, Any]) -> None:
    rows = sample_records(40, seed=3)
    encoder = Encoder(train_tokenizer([row["prompt"] for row in rows], 400), Condition(**condition))

    def encoded(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        records = Records(str(write_jsonl(tmp_path / name, rows)))
        return {pair.id: pair for pair in PairEncoder(records, Condition(**condition), encoder)}

    expected = encoded("as made.jsonl", rows)
    others = sample_records(20, seed=4)
    assert encoded("reversed.jsonl", others + rows[::-1]).items() >= expected.items()


def test_the_history_of_a_record_without_any_is_not_the_one_before_it_s() -> None:
    loud, silent = person([LIKES_HUMOR] * 4, id="loud"), person(id="silent")
    for record in (loud, silent, loud, silent):
        assert told(record, history="sampled").profile == ("Likes humor" if record.id == "loud" else "")


# ---- Another user's persona ----


def _crowd(n: int) -> list[Record]:
    return [person([LIKES_HUMOR], id=str(i), user=f"user {i // 2}", demographics=f"Person {i}.") for i in range(n)]


def test_each_record_borrows_from_another_user_with_another_target_and_another_persona(tmp_path: Path) -> None:
    records = list(Records(str(write_jsonl(tmp_path / "world.jsonl", sample_records(60, seed=5)))))
    donors = choose_donors(records, seed=42)
    assert donors.keys() == {record.id for record in records}
    for record in records:
        donor = donors[record.id]
        assert donor in records
        assert donor.user != record.user
        assert donor.target != record.target
        assert donor.persona != record.persona


@pytest.mark.parametrize(
    "twin",
    [
        person([LIKES_HUMOR], id="twin", user="a", demographics="Another."),  # the same user
        replace(person(id="twin", user="b", demographics="Another."), prompt="post of one"),  # the same target
        person([LIKES_HUMOR], id="twin", user="b"),  # the same persona
    ],
    ids=["same user", "same target", "same persona"],
)
def test_who_shares_user_target_or_persona_is_passed_over_and_refused_where_nobody_else_is_left(twin: Record) -> None:
    one = person([LIKES_HUMOR], id="one", user="a")
    stranger = person([DISLIKES_HUMOR], id="stranger", user="c")
    for seed in range(10):
        assert choose_donors([one, twin, stranger], seed)["one"] is stranger
        with pytest.raises(DataError, match="no other user in the data whose persona could stand in for its own"):
            choose_donors([one, twin], seed)


def test_a_lone_record_has_no_donor() -> None:
    with pytest.raises(DataError, match="record one: no other user"):
        choose_donors([person([LIKES_HUMOR])], seed=42)


def test_donors_depend_on_the_seed_and_not_on_the_order_of_records() -> None:
    crowd = _crowd(30)
    donors = choose_donors(crowd, seed=42)
    for order in range(3):
        assert choose_donors(random.Random(order).sample(crowd, len(crowd)), seed=42) == donors
    assert choose_donors(crowd, seed=43) != donors
    assert len({donor.id for donor in donors.values()}) > 15  # not one persona for everybody


def test_the_donor_s_history_demographics_and_profile_are_told_in_place_of_the_own() -> None:
    one = person([DISLIKES_HUMOR] * 3, id="one", demographics="Me.", direction=DISLIKES_HUMOR)
    donor = person([LIKES_HUMOR] * 2, id="two", demographics="Somebody.", direction=levels(d89=2))
    donors = {"one": donor}
    shown = told(one, "ica", donors, persona="other")
    assert (shown.comments, shown.demographics) == (donor.persona.comments, "Somebody.")
    assert told(one, "pba", donors, persona="other").profile == "Likes humor"
    assert told(one, "pba", donors, persona="other", profile="golden").profile == "Likes fashion"
    ready = {"one": replace(donor, persona=replace(donor.persona, profile="Likes humor, Likes fashion"))}
    assert told(one, "pba", ready, persona="other").profile == "Likes humor, Likes fashion"


# ---- The persona turned round ----


def test_reversing_swaps_choices_flips_directions_and_keeps_texts_and_target() -> None:
    record = person(
        [LIKES_HUMOR, None],
        [levels(d0=0, d89=2)],
        direction=levels(d16=2),
        user="a",
        demographics="A person.",
        profile="Older, Likes humor",
    )
    found = reverse_persona(record)
    assert (found.id, found.prompt, found.chosen, found.rejected, found.user) == (
        "one",
        "post of one",
        "yes",
        "no",
        "a",
    )
    assert found.direction == levels(d16=0)
    assert found.persona == Persona(
        comments=(Comment("post 0", "comment 0", DISLIKES_HUMOR), Comment("post 1", "comment 1", None)),
        choices=(Choice("post 0", "bad 0", "good 0", levels(d0=2, d89=0)),),
        demographics="A person.",
        profile="Older, Likes humor",  # reversed only where it is told, so that ICA needs no readable profile
    )
    assert told(record, persona="reversed").profile == "Young, Dislikes humor"


def test_reversing_twice_changes_nothing(tmp_path: Path) -> None:
    rows = sample_records(40, seed=6)
    for i, row in enumerate(rows):
        if i % 2:
            row["profile"] = ", ".join(d.positive if i % 4 == 1 else d.negative for d in TAXONOMY.dimensions[i::7])
    for record in Records(str(write_jsonl(tmp_path / "world.jsonl", rows))):
        once = reverse_persona(record)
        assert reverse_persona(once) == record
        assert once != record or record.persona == Persona(demographics=record.persona.demographics)


def test_a_phrase_with_commas_is_reversed_whole() -> None:
    comma = "Prefers superficial interaction (casual, stress-free chat), Likes humor"
    opposite = "Prefers deep interaction (discussing interests, emotional topics, etc.), Dislikes humor"
    assert told(person(profile=comma), persona="reversed").profile == opposite
    assert told(person(profile=opposite), persona="reversed").profile == comma


def test_a_reversed_ready_profile_keeps_its_order() -> None:
    assert told(person(profile="Likes humor, Older"), persona="reversed").profile == "Dislikes humor, Young"


def test_an_empty_ready_profile_stays_empty_and_an_absent_one_absent() -> None:
    empty, absent = told(person(profile=""), persona="reversed"), told(person(), persona="reversed")
    assert (empty.profile, empty.profile_source) == ("", ProfileSource.READY)
    assert (absent.profile, absent.profile_source) == ("", None)


def test_reversing_reverses_the_drawn_items_and_draws_the_same_ones() -> None:
    for i in range(20):
        record = person([LIKES_HUMOR] * 6, [levels(d89=2)] * 6, id=str(i))
        own, turned = (told(record, history="sampled", persona=persona) for persona in ("own", "reversed"))
        assert places(own.comments) == places(turned.comments)
        assert [(c.rejected, c.chosen) for c in own.choices] == [(c.chosen, c.rejected) for c in turned.choices]
        opposite = {"Likes humor": "Dislikes humor", "Likes fashion": "Dislikes fashion"}
        assert turned.profile.split(", ") == [opposite[phrase] for phrase in own.profile.split(", ")]


@pytest.mark.parametrize("condition", [{"method": "ica"}, {"method": "pba", "profile": "history"}], ids=str)
def test_a_ready_profile_that_is_not_used_need_not_be_readable_to_reverse(condition: dict[str, Any]) -> None:
    record = person([LIKES_HUMOR], [LIKES_HUMOR], profile="In words of nobody's taxonomy.")
    found = told(record, persona="reversed", **condition)
    assert (found.choices[0].chosen, found.choices[0].rejected) == ("bad 0", "good 0")


def test_who_says_nothing_of_themselves_is_told_nothing_under_another_s_persona_either() -> None:
    nobody, other = person(id="nobody"), person([LIKES_HUMOR], id="other")
    condition = Condition.model_validate({"method": "ica", "persona": "other"})
    assert tell(nobody, condition, TAXONOMY, {"nobody": other}).items == 0
    assert tell(other, condition, TAXONOMY, {"other": person([None, None], id="third")}).items == 2
