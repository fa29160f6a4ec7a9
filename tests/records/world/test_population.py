"""Who lives in the synthetic world, and the records that are drawn for them."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from alignx.errors import DataError
from alignx.records.world import Drawn, Mention, Population, Shape, Speech, User, Utterance, load_phrases, load_wordings
from alignx.records.world.population import MIXED
from alignx.records.world.synthesize import DEMO_DIMENSIONS
from tests.records.rows import CHOICES, COMMENTS, DEMOGRAPHICS, DIRECTION
from tests.records.world import TAXONOMY, WORDINGS

PHRASES = load_phrases()
FULL = Speech(WORDINGS, PHRASES, 90)
PLAIN = Shape()
SMALL_TALK: dict[str, Any] = {**PHRASES, "post": ["{topic}?"], "opener": ["Hm, "], "joiner": [" and "]}
"""One post and one frame a topic, so that texts run out."""


def population(
    shape: Shape = PLAIN, dimensions: Any = range(90), seed: str = "0", phrases: Any = PHRASES
) -> Population:
    speech = Speech(load_wordings(TAXONOMY, dimensions), phrases, 90)
    return Population(speech, dimensions, phrases, shape, seed)


def drawn(
    shape: Shape, count: int = 200, people: int = 50, seed: str = "0", dimensions: Any = range(90)
) -> list[Drawn]:
    world = population(shape, dimensions, seed)
    users = [world.user(f"u{place}") for place in range(people)]
    return list(world.records(count, users, "r", set()))


def text(utterance: Utterance) -> str:
    return FULL.text(utterance)


# ---- A record in words, by hand ----

PERSON = User("ann", "baker", "Oslo", {47: 1, 74: 0})
SCIENCE, MUSIC = Mention(47, 1, 0), Mention(74, 0, 1)
"""A microscope makes my day; I soon tire of music."""
TARGET = Utterance("Science?", ("Hm, ",), (SCIENCE,))
COMMENT = Utterance("Music?", ("Well, ",), (MUSIC,))
CHOICE = Utterance("Both?", ("So: ", ", and "), (MUSIC, SCIENCE))
RECORD = Drawn("r-1", PERSON, TARGET, (COMMENT,), (CHOICE,), ("A {job} in {city}: {quotes}.", (SCIENCE,)), False)


def vector(**poles: int) -> list[float]:
    return [poles.get(f"d{index}", 0.5) for index in range(90)]


ROW = {
    "id": "r-1",
    "user": "ann",
    "prompt": "Science?",
    "chosen": "Hm, a microscope makes my day.",
    "rejected": "Hm, a microscope leaves me cold.",
    DIRECTION: vector(d47=1),
    DEMOGRAPHICS: "**This person's persona is:**\nA baker in Oslo: “a microscope makes my day”.",
    COMMENTS: [{"prompt": "Music?", "comment": "Well, I soon tire of music.", DIRECTION: vector(d74=0)}],
    CHOICES: [
        {
            "prompt": "Both?",
            "chosen": "So: I soon tire of music, and a microscope makes my day.",
            "rejected": "So: I never tire of music, and a microscope leaves me cold.",
            DIRECTION: vector(d47=1, d74=0),
        }
    ],
}


def test_a_record_in_words_worked_by_hand() -> None:
    assert RECORD.row(FULL) == ROW
    assert list(RECORD.row(FULL)) == list(ROW)


def test_each_way_to_show_a_record_changes_what_it_says_and_nothing_else() -> None:
    assert RECORD.row(FULL, comments=False) == {**ROW, COMMENTS: []}
    assert RECORD.row(FULL, choices=False) == {**ROW, CHOICES: []}
    assert RECORD.row(FULL, unseen=True) == {
        **ROW,
        "chosen": "Hm, hand me science and I am happy.",
        "rejected": "Hm, spare me science and I am happy.",
    }
    assert RECORD.row(FULL, turned=True) == {
        **ROW,
        DEMOGRAPHICS: "**This person's persona is:**\nA baker in Oslo: “a microscope leaves me cold”.",
        COMMENTS: [{"prompt": "Music?", "comment": "Well, I never tire of music.", DIRECTION: vector(d74=1)}],
        CHOICES: [
            {
                "prompt": "Both?",
                "chosen": "So: I never tire of music, and a microscope leaves me cold.",
                "rejected": "So: I soon tire of music, and a microscope makes my day.",
                DIRECTION: vector(d47=0, d74=1),
            }
        ],
    }


def test_a_slipped_record_has_its_target_swapped_and_keeps_its_persona() -> None:
    swapped = {"chosen": ROW["rejected"], "rejected": ROW["chosen"], DIRECTION: vector(d47=0)}
    slipped = replace(RECORD, slipped=True)
    assert slipped.row(FULL) == {**ROW, **swapped}
    assert slipped.row(FULL, turned=True) == {**RECORD.row(FULL, turned=True), **swapped}
    unseen = slipped.row(FULL, unseen=True)
    assert (unseen["chosen"], unseen[DIRECTION]) == ("Hm, spare me science and I am happy.", vector(d47=0))


def test_a_record_without_description_has_no_such_field() -> None:
    assert DEMOGRAPHICS not in replace(RECORD, described=None).row(FULL)


# ---- Users ----


def test_users_care_about_as_many_dimensions_as_asked_each_number_as_often() -> None:
    world = population(Shape(active=(4, 8)))
    sizes = Counter(len(world.user("u").stance) for _ in range(1000))
    assert sizes.keys() == {4, 5, 6, 7, 8}
    assert all(abs(count - 200) < 51 for count in sizes.values())  # four times √(1000 · 1/5 · 4/5) = 50.6


def test_users_cover_all_dimensions_and_both_poles_evenly() -> None:
    world = population(Shape(active=(6, 6)), DEMO_DIMENSIONS)
    users = [world.user("u") for _ in range(800)]
    poles = Counter((index, sign) for user in users for index, sign in user.stance.items())
    assert len(poles) == 32
    assert all(abs(count - 150) <= 15 for count in poles.values())  # 800 · 6 / 32 = 150, but for clashes of the decks


def test_a_user_has_as_many_positive_as_negative_poles_give_or_take_one() -> None:
    world = population(Shape(active=(6, 7)), DEMO_DIMENSIONS)
    for _ in range(500):
        stance = world.user("u").stance
        assert abs(2 * sum(stance.values()) - len(stance)) <= 1


@pytest.mark.parametrize("active", [1, 2, 3])
def test_users_of_few_dimensions_can_be_drawn(active: int) -> None:
    assert len(drawn(Shape(active=(active, active), comments=1, choices=1), dimensions=(47, 49, 50))) == 200


def test_a_user_can_care_about_every_dimension() -> None:
    world = population(Shape(active=(16, 16)), DEMO_DIMENSIONS)
    assert {frozenset(world.user("u").stance) for _ in range(20)} == {frozenset(DEMO_DIMENSIONS)}


def test_users_have_a_job_a_city_and_the_name_they_are_given() -> None:
    world = population()
    users = [world.user(f"u{place}") for place in range(300)]
    assert [user.name for user in users] == [f"u{place}" for place in range(300)]
    assert {user.job for user in users} == set(PHRASES["job"])
    assert {user.city for user in users} == set(PHRASES["city"])


# ---- Records ----


def test_everything_follows_from_the_seed() -> None:
    assert drawn(Shape()) == drawn(Shape())
    assert drawn(Shape(), seed="1") != drawn(Shape())


def test_each_user_has_as_many_records_as_any_other_give_or_take_one_in_no_order() -> None:
    records = drawn(Shape(), 203, 50)
    counts = Counter(Counter(one.user.name for one in records).values())
    assert counts == {4: 47, 5: 3}
    owners = [one.user.name for one in records]
    assert sum(one == other for one, other in pairwise(owners)) < 20  # 202 · 4/203 = 4 by chance
    assert owners[:50] != [f"u{place}" for place in range(50)]


def test_ids_are_numbers_of_equal_length_after_the_prefix() -> None:
    assert [one.id for one in drawn(Shape(), 10)] == [*(f"r-0{place}" for place in range(1, 10)), "r-10"]


def test_a_target_and_its_history_say_what_the_user_thinks() -> None:
    for one in drawn(Shape(label_noise=0.3)):
        for item in (one.target, *one.comments, *one.choices):
            assert item.mentions
            assert all(one.user.stance[mention.dimension] == mention.sign for mention in item.mentions)
            assert len({mention.dimension for mention in item.mentions}) == len(item.mentions)


def test_no_history_holds_a_text_of_its_target_or_a_text_twice() -> None:
    # Four dimensions, one post and one frame each: without care, most histories would.
    shape = Shape(active=(4, 4), mentions=(1.0,), comments=1, choices=1)
    world = population(shape, (47, 49, 50, 52), phrases=SMALL_TALK)
    for sign in (0, 1):
        user = User("u", "baker", "Oslo", {47: sign, 49: sign, 50: 1 - sign, 52: 1 - sign})
        records = list(world.records(12, [user], "r", set()))
        for one in records:
            items = (one.target, *one.comments, *one.choices)
            texts = [each for item in items for each in (item.post, text(item), text(item.reversed))]
            assert len(set(texts)) == len(texts) == 9


def test_no_target_comes_twice_whether_chosen_or_rejected() -> None:
    # One dimension, one post, one frame, four wordings: four targets for two users of either pole, not eight.
    shape = Shape(active=(2, 2), mentions=(1.0,), comments=0, choices=0, described=0)
    world = population(shape, (47, 49), phrases=SMALL_TALK)
    both = [User("a", "baker", "Oslo", {47: 0, 49: 1}), User("b", "baker", "Oslo", {47: 1, 49: 0})]
    taken: set[tuple[str, str]] = set()
    records = list(world.records(6, both, "r", taken))
    keys = {(one.target.post, frozenset({text(one.target), text(one.target.reversed)})) for one in records}
    assert len(keys) == len(taken) == 6
    with pytest.raises(
        DataError, match=r"^no new target in 1000 draws after 8; ask for fewer records, or more dimensi"
    ):
        list(world.records(10, both, "r", taken))


def test_targets_that_exist_already_do_not_come_again() -> None:
    shape = Shape(active=(4, 4), mentions=(1.0,), comments=0, choices=0)
    dimensions = (47, 49, 50, 52)
    taken: set[tuple[str, str]] = set()
    for split in ("train", "test"):  # 4 dimensions of 4 wordings: 16 targets in all
        world = population(shape, dimensions, split, SMALL_TALK)
        users = [User(split, "baker", "Oslo", {47: 0, 49: 0, 50: 1, 52: 1})]
        assert len(list(world.records(7, users, split, taken))) == 7
    assert len(taken) == 14


def test_a_history_that_is_longer_than_there_are_texts_is_refused() -> None:
    # Five dimensions have five posts: the target's own and four more.
    def history(length: int) -> list[Drawn]:
        shape = Shape(active=(5, 5), mentions=(1.0,), comments=length, choices=0)
        world = population(shape, (47, 49, 50, 52, 53), phrases=SMALL_TALK)
        user = User("u", "baker", "Oslo", {47: 0, 49: 0, 50: 1, 52: 1, 53: 1})
        return list(world.records(1, [user], "r", set()))

    assert len(history(4)[0].comments) == 4
    with pytest.raises(DataError, match=r"^no history of 5 different items in 1000 draws; ask for shorter ones$"):
        history(5)


def test_histories_are_as_long_as_asked() -> None:
    for one in drawn(Shape(comments=3, choices=0), 50):
        assert (len(one.comments), len(one.choices)) == (3, 0)


def test_histories_of_no_set_length_have_none_to_eight_items_half_of_them_four() -> None:
    assert len(MIXED) == 9
    assert sum(MIXED) == pytest.approx(1)
    lengths = [n for one in drawn(Shape(), 1000, 250) for n in (len(one.comments), len(one.choices))]
    counts = Counter(lengths)
    for length, share in enumerate(MIXED):
        assert abs(counts[length] - 2000 * share) <= 4 * (2000 * share * (1 - share)) ** 0.5


def test_texts_speak_to_one_two_or_three_dimensions_as_often_as_asked() -> None:
    records = drawn(Shape(active=(4, 8), mentions=(0.5, 0.4, 0.1)), 1000, 250)
    for share, count in zip((0.5, 0.4, 0.1), range(1, 4), strict=True):
        found = sum(len(one.target.mentions) == count for one in records)
        assert abs(found - 1000 * share) <= 4 * (1000 * share * (1 - share)) ** 0.5
    assert {len(one.target.mentions) for one in drawn(Shape(mentions=(0, 0, 1)))} == {3}
    assert {len(one.target.mentions) for one in drawn(Shape(mentions=(0, 1)))} == {2}


def test_a_text_speaks_to_no_more_dimensions_than_its_user_cares_about() -> None:
    world = population(Shape(mentions=(0, 0, 1), comments=2, choices=0), (47, 49))
    users = [User("u", "baker", "Oslo", {47: 0, 49: 1})]
    for one in world.records(20, users, "r", set()):
        assert [len(item.mentions) for item in (one.target, *one.comments)] == [2, 2, 2]


def test_targets_and_history_items_each_start_from_the_two_poles_in_turn() -> None:
    # Three mentions each, so that no text comes twice and has to be drawn again.
    records = drawn(Shape(active=(6, 6), mentions=(0, 0, 1), comments=2, choices=1, on_target=0), 100)
    assert [one.target.mentions[0].sign for one in records] == [0, 1] * 50
    items = [item.mentions[0].sign for one in records for item in (*one.comments, *one.choices)]
    assert items == [0, 1] * 150


@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_history_items_start_from_a_dimension_of_the_target_as_often_as_asked(share: float) -> None:
    records = drawn(Shape(active=(8, 8), mentions=(0, 1), comments=4, choices=4, on_target=share), 400)
    hits = [
        item.mentions[0].dimension in {mention.dimension for mention in one.target.mentions}
        for one in records
        for item in (*one.comments, *one.choices)
    ]
    expected = share + (1 - share) * 2 / 8  # where it is not asked for, two of the user's eight by chance
    assert abs(sum(hits) - len(hits) * expected) <= 4 * (len(hits) * expected * (1 - expected)) ** 0.5


def test_a_history_of_one_kind_starts_from_any_dimension_of_a_longer_target() -> None:
    records = drawn(Shape(active=(8, 8), mentions=(0, 0, 1), comments=4, choices=0, on_target=1), 300)
    starts = Counter(
        [mention.dimension for mention in one.target.mentions].index(item.mentions[0].dimension)
        for one in records
        for item in one.comments
    )
    assert all(abs(starts[place] - 400) <= 66 for place in range(3))  # four times √(1200 · 1/3 · 2/3) = 65.3


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.7, 301, 399), (1.0, 500, 500)])
def test_as_many_records_as_asked_have_a_description(share: float, low: int, high: int) -> None:
    found = sum(one.described is not None for one in drawn(Shape(described=share), 500, 125))
    assert low <= found <= high  # 350 ± 4 √(500 · 0.7 · 0.3) = 350 ± 41


def test_a_description_quotes_the_user_on_the_target_s_dimensions_slipped_or_not() -> None:
    for one in drawn(Shape(described=1, label_noise=0.4)):
        assert one.described is not None
        frame, mentions = one.described
        assert frame in PHRASES["persona"]
        assert [(m.dimension, m.sign) for m in mentions] == [(m.dimension, m.sign) for m in one.target.mentions]


def test_a_description_quotes_in_words_of_its_own_draw() -> None:
    # One dimension that is no interest: two wordings, so the target's own half the time.
    records = drawn(Shape(active=(6, 6), mentions=(1.0,), described=1, comments=0, choices=0), dimensions=range(40))
    same = sum(one.described is not None and one.described[1] == one.target.mentions for one in records)
    assert abs(same - 100) <= 28  # four times √(200 / 4)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.4])
def test_as_many_users_slip_as_asked(noise: float) -> None:
    slipped = sum(one.slipped for one in drawn(Shape(comments=0, choices=0, label_noise=noise), 1000, 250))
    assert abs(slipped - 1000 * noise) <= 4 * (1000 * noise * (1 - noise)) ** 0.5


def test_rest_of_a_longer_text_is_drawn_from_all_other_dimensions_of_the_user() -> None:
    stance = {47: 0, 49: 1, 50: 0, 52: 1}
    world = population(Shape(mentions=(0, 1)), (47, 49, 50, 52))
    users = [User("u", "baker", "Oslo", stance)]
    pairs = Counter(tuple(m.dimension for m in one.target.mentions) for one in world.records(600, users, "r", set()))
    assert len(pairs) == 12  # each of four first, each of three others second
    assert all(abs(count - 50) <= 28 for count in pairs.values())  # four times √(600 · 1/12 · 11/12) = 27
