"""What is said in the synthetic world, worked by hand with words of one's own."""

import random
from collections import Counter
from typing import Any

import pytest

from alignx.records.world import Mention, Speech, Utterance, Wording
from alignx.records.world.speech import enumerate_words

WORDINGS = {
    0: Wording("tea", (("no tea", "more tea"), ("pour it out", "pour it in"), ("tea bores me", "tea moves me"))),
    2: Wording("rain", (("dry me", "wet me"), ("a roof please", "no roof please"), ("rain stops", "rain starts"))),
}
PHRASES: dict[str, Any] = {
    "post": ["{topic}? A {job}, a {relative} and a {club} of {city} ask."],
    "opener": ["Hm, "],
    "joiner": [" and "],
    "last_joiner": [". Oh: "],
    "job": ["baker"],
    "relative": ["twin"],
    "club": ["choir"],
    "city": ["Oslo"],
}
SPEECH = Speech(WORDINGS, PHRASES, 3)
POST = "tea? A baker, a twin and a choir of Oslo ask."
TEA_YES, RAIN_NO = Mention(0, 1, 0), Mention(2, 0, 1)
BOTH = Utterance(POST, ("Hm, ", " and "), (TEA_YES, RAIN_NO))


def test_an_utterance_worked_by_hand() -> None:
    assert SPEECH.clause(RAIN_NO) == "a roof please"
    assert SPEECH.text(BOTH) == "Hm, more tea and a roof please."
    assert SPEECH.text(BOTH.reversed) == "Hm, no tea and no roof please."
    assert SPEECH.text(BOTH.reworded) == "Hm, tea moves me and rain stops."
    assert BOTH.reversed.reversed == BOTH
    assert (BOTH.reversed.post, BOTH.reversed.frame) == (BOTH.reworded.post, BOTH.reworded.frame) == (POST, BOTH.frame)


def test_a_comment_and_a_choice_worked_by_hand() -> None:
    assert SPEECH.comment(BOTH) == {
        "prompt": POST,
        "comment": "Hm, more tea and a roof please.",
        "Preference Direction": [1, 0.5, 0],
    }
    assert SPEECH.choice(BOTH) == {
        "prompt": POST,
        "chosen": "Hm, more tea and a roof please.",
        "rejected": "Hm, no tea and no roof please.",
        "Preference Direction": [1, 0.5, 0],
    }


def test_a_description_worked_by_hand() -> None:
    found = SPEECH.description([TEA_YES, RAIN_NO], "A {job} of {city}: {quotes}!", job="baker", city="Oslo")
    assert found == "**This person's persona is:**\nA baker of Oslo: “more tea” and “a roof please”!"


@pytest.mark.parametrize(
    ("parts", "text"),
    [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c"), (list("abcd"), "a, b, c and d")],
)
def test_words_are_listed_as_in_english(parts: list[str], text: str) -> None:
    assert enumerate_words(parts) == text


def test_a_reply_takes_its_stance_s_poles_in_turn_in_as_many_links() -> None:
    found = SPEECH.utter({2: 0, 0: 1}, random.Random(0))
    assert [(mention.dimension, mention.sign) for mention in found.mentions] == [(2, 0), (0, 1)]
    assert found.frame == ("Hm, ", " and ")
    assert found.post == "rain and tea? A baker, a twin and a choir of Oslo ask."
    assert SPEECH.utter({0: 1}, random.Random(0)).frame == ("Hm, ",)


def test_three_mentions_have_their_own_last_link() -> None:
    wordings = {**WORDINGS, 1: WORDINGS[0]}
    found = Speech(wordings, PHRASES, 3).utter({0: 1, 1: 1, 2: 1}, random.Random(0))
    assert found.frame == ("Hm, ", " and ", ". Oh: ")


def test_a_wording_is_drawn_evenly_from_all_but_the_unseen_one() -> None:
    rng = random.Random(0)
    drawn = Counter(SPEECH.mention(0, 1, rng).wording for _ in range(1000))
    assert drawn.keys() == {0, 1}
    assert abs(drawn[0] - 500) < 64  # four times √(1000 / 4)
