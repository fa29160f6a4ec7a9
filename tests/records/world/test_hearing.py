"""Hearing is the way back from speech."""

import random

import pytest

from alignx.errors import DataError
from alignx.records import load_taxonomy
from alignx.records.world import Mention, Speech, Utterance, Wording, load_phrases, load_wordings
from alignx.records.world.hearing import Hearing

PAPER = load_taxonomy()
WORDINGS = load_wordings(PAPER, range(len(PAPER)))
HEARING = Hearing(WORDINGS)


@pytest.mark.parametrize("dimension", WORDINGS)
def test_every_clause_of_every_dimension_is_heard_as_what_it_means(dimension: int) -> None:
    for number, clauses in enumerate(WORDINGS[dimension].clauses):
        for sign, clause in enumerate(clauses):
            meant = (Mention(dimension, sign, number),)
            assert HEARING.mentions(f"Well, {clause}.") == HEARING.mentions(clause[0].upper() + clause[1:]) == meant


def test_whole_utterances_are_heard_in_order() -> None:
    speech, rng = Speech(WORDINGS, load_phrases(), len(PAPER)), random.Random(1)
    for _ in range(300):
        stance = {dimension: rng.randrange(2) for dimension in rng.sample(range(len(PAPER)), 3)}
        said: Utterance = speech.utter(stance, rng)
        assert HEARING.mentions(speech.text(said)) == said.mentions
        assert HEARING.mentions(speech.text(said.reworded)) == tuple(
            Mention(one.dimension, one.sign, len(WORDINGS[one.dimension].clauses) - 1) for one in said.mentions
        )


def test_by_hand() -> None:
    hearing = Hearing({7: Wording("tea", (("tea is dull", "tea is fun"), ("no tea", "more tea")))})
    assert hearing.mentions("He saysTea is fun. tea is funny; No tea") == (Mention(7, 1, 0), Mention(7, 0, 1))
    assert hearing.mentions("no teapot, and nothing else") == ()
    assert Hearing({}).mentions("tea is fun") == ()


def test_the_longer_of_two_clauses_is_heard() -> None:
    hearing = Hearing({1: Wording("art", (("I hate art", "I love art"), ("I hate art and law", "I love art and law")))})
    assert hearing.mentions("I love art and law") == (Mention(1, 1, 1),)


def test_a_clause_for_two_poles_is_refused() -> None:
    with pytest.raises(DataError, match="'More tea' is said for two poles"):
        Hearing({7: Wording("tea", (("no tea", "more tea"),)), 8: Wording("milk", (("More tea", "milk"),))})
