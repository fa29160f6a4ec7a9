"""The words of the synthetic world: what each dimension is spoken of with, and the rules that all clauses keep."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from alignx.errors import SettingsError
from alignx.records import Taxonomy, load_taxonomy
from alignx.records.world import load_phrases, load_wordings
from alignx.records.world.synthesize import DEMO_DIMENSIONS
from tests.records.world import MEANING, TAXONOMY, WORDINGS

_NO_POLE = (
    "a about an and any as at certain do does e etc for from g i in is it likely likes dislikes me my need not of on "
    "or strong the to up who with"
)
STOP_WORDS = set(_NO_POLE.split())
"""Words of phrases and clauses that mean no pole; likes and dislikes are looked for apart."""
SUFFIXES = ("fulness", "ances", "ance", "edly", "ings", "ing", "ness", "ions", "ion", "ies", "ed", "es", "er", "ly")


def clauses() -> Iterator[tuple[int, int, str]]:
    """Dimension, sign and words of every clause there is."""
    for clause, meaning in MEANING.items():
        yield meaning.dimension, meaning.sign, clause


def content(text: str) -> set[str]:
    return {word for word in re.findall(r"[a-z]+", text.lower()) if word not in STOP_WORDS}


def stem(word: str) -> str:
    for suffix in (*SUFFIXES, "s", "e", "y"):
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            return word.removesuffix(suffix)
    return word


def akin(word: str, other: str) -> bool:
    """Whether two words have the same stem, or stems of four letters and more that begin with the same five."""
    one, two = sorted((stem(word), stem(other)), key=len)
    return one == two or (len(one) >= 4 and two.startswith(one[:5]))


def test_every_dimension_has_a_topic_two_wordings_a_pole_and_one_unseen() -> None:
    assert list(WORDINGS) == list(range(90))
    for index, wording in WORDINGS.items():
        assert wording.topic
        # five for interests: four that training sees, one that it does not; three for all other dimensions
        assert len(wording.clauses) == (5 if TAXONOMY.dimensions[index].group == "interest" else 3)
        assert all(len(pair) == 2 and all(pair) for pair in wording.clauses)


def test_the_wordings_of_two_dimensions_by_hand() -> None:
    young, science = WORDINGS[0], WORDINGS[47]  # Young or Older; Likes or Dislikes science
    assert young.topic == "our generations"
    assert young.clauses == (
        ("my grandchildren explain the apps to me", "my student card is still in my wallet"),
        ("my working life is long behind me", "my first proper job is still ahead of me"),
        ("my pension still rules my calendar", "exam season still rules my calendar"),
    )
    assert science.topic == "science"
    assert science.clauses == (
        ("a microscope leaves me cold", "a microscope makes my day"),
        ("I soon tire of science", "I never tire of science"),
        ("an hour with a telescope drags on", "an hour with a telescope flies by"),
        ("I get no joy out of science", "I get endless joy out of science"),
        ("spare me science and I am happy", "hand me science and I am happy"),
    )


def test_fewer_wordings_are_the_first_ones_and_the_unseen_one() -> None:
    (two,) = load_wordings(TAXONOMY, [47], 2).values()
    assert two.clauses == (*WORDINGS[47].clauses[:2], WORDINGS[47].clauses[-1])


def test_an_interest_s_topic_names_it() -> None:
    for index, dimension in enumerate(TAXONOMY.dimensions):
        if dimension.group == "interest":
            label = dimension.positive.removeprefix("Likes ").split(" and ")[0]
            assert label in WORDINGS[index].topic
            assert label == WORDINGS[index].topic or index not in DEMO_DIMENSIONS  # one word each, and that very word


def test_no_two_clauses_are_alike_nor_one_inside_another() -> None:
    assert len(MEANING) == 47 * 3 * 2 + 43 * 5 * 2  # as a mapping it would have lost those that are alike
    everything = " | ".join(MEANING)
    assert all(everything.count(clause) == 1 for clause in MEANING)


def test_a_clause_holds_no_punctuation_that_could_end_it_and_three_to_eleven_words() -> None:
    for _, _, clause in clauses():
        assert re.fullmatch(r"[\w' -]+", clause), clause
        assert 3 <= len(clause.split()) <= 11, clause


def test_the_two_poles_of_a_wording_differ_in_at_most_three_words_of_length() -> None:
    differences = [
        abs(len(negative.split()) - len(positive.split()))
        for wording in WORDINGS.values()
        for negative, positive in wording.clauses
    ]
    assert max(differences) <= 3
    assert sum(difference > 1 for difference in differences) <= 0.08 * len(differences)  # 25 of 356 pairs


def test_no_clause_uses_the_profile_s_words_for_its_pole() -> None:
    for index, sign, clause in clauses():
        dimension = TAXONOMY.dimensions[index]
        own, other = (dimension.negative, dimension.positive)[:: 1 if sign == 0 else -1]
        neutral = content(WORDINGS[index].topic) | content(other)  # the topic, and what both poles are about
        telling = {word for word in content(own) if not any(akin(word, one) for one in neutral)}
        assert not {(word, one) for word in content(clause) for one in telling if akin(word, one)}, (clause, own)


def test_no_clause_says_likes_dislikes_or_prefers() -> None:
    assert not [clause for _, _, clause in clauses() if re.search(r"\b(dis)?likes\b|\bprefer", clause)]


def test_stemming_finds_what_it_is_there_to_find() -> None:
    for one, other in [("failure", "fail"), ("save", "saving"), ("emotional", "emotions"), ("relaxation", "relaxed")]:
        assert akin(one, other)
        assert akin(other, one)
    for one, other in [("risk", "rose"), ("weeks", "weddings"), ("care", "scare")]:
        assert not akin(one, other)


def test_another_table_s_dimensions_are_known_by_their_phrases_wherever_they_stand() -> None:
    chosen = Taxonomy((TAXONOMY.dimensions[47], TAXONOMY.dimensions[0]))
    assert load_wordings(chosen, [0, 1]) == {0: WORDINGS[47], 1: WORDINGS[0]}


def test_a_dimension_without_wordings_or_with_too_few_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("index,group,positive,negative\n0,g,Tall,Short\n")
    with pytest.raises(SettingsError, match=r"^--taxonomy: nobody has written wordings for 'Tall' yet$"):
        load_wordings(load_taxonomy(table), [0])
    with pytest.raises(SettingsError, match=r"^--wordings: got 3, but dimension 0 has 2 a pole$"):
        load_wordings(TAXONOMY, [47, 0], 3)
    assert len(load_wordings(TAXONOMY, [47], 4)[47].clauses) == 5
    with pytest.raises(SettingsError, match=r"^--wordings: got 5, but dimension 47 has 4 a pole$"):
        load_wordings(TAXONOMY, [47], 5)
    for outside in (90, -1):
        with pytest.raises(SettingsError, match=rf"^--dimensions: got {outside}, expected 0 to 89$"):
            load_wordings(TAXONOMY, [outside])


def test_the_phrases_around_a_clause_have_the_slots_that_are_filled() -> None:
    phrases = load_phrases()
    slots = {
        name: {frozenset(re.findall(r"\{(\w+)\}", text)) for text in phrases[name]}
        for name in ("post", "persona", "stated", "said", "opener", "joiner", "last_joiner")
    }
    assert all("topic" in found for found in slots["post"])
    assert slots["persona"] == {frozenset({"job", "city", "quotes"})}
    assert slots["stated"] == {frozenset({"name", "labels"})}
    assert slots["said"] == {frozenset({"name", "clause"})}
    assert slots["opener"] == slots["joiner"] == slots["last_joiner"] == {frozenset()}
    for name, texts in phrases.items():
        if isinstance(texts, list):
            assert len(set(texts)) == len(texts), name


def test_nothing_around_a_clause_holds_a_clause_a_pole_or_a_topic() -> None:
    poles = [phrase for d in TAXONOMY.dimensions for phrase in (d.positive, d.negative)]
    for name, texts in load_phrases().items():
        if not name.startswith("interest"):
            around = "\n".join(texts)
            assert not [clause for clause in MEANING if clause in around]
            assert not [pole for pole in poles if pole in around]
