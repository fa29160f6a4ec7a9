"""The words of the synthetic world: what each dimension is spoken of with, and the rules that all clauses keep."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from alignx.errors import DataError, SettingsError
from alignx.records import Taxonomy, load_taxonomy
from alignx.records.world import Wording, load_phrases, load_wordings
from alignx.records.world.synthesize import DEMO_DIMENSIONS
from tests.records.world import EXTENSION, MEANING, TAXONOMY, WORDINGS

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
    for file in (None, table):
        with pytest.raises(SettingsError, match=r"^--taxonomy: nobody has written wordings for 'Tall' yet; write them"):
            load_wordings(load_taxonomy(table), [0], file=file)
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


# ---- Wordings that a taxonomy file brings ----

HEADER = "index,group,positive,negative,topic,example_a,example_b"
CLAUSES = "negative_a,positive_a,negative_b,positive_b,negative_unseen,positive_unseen"
TALL = "0,g,Tall,Short,ladders,,,I look up,I look down,I am five foot,I am six foot,low is fine,high is fine"


def own(folder: Path, *lines: str) -> Path:
    """A taxonomy file with all columns."""
    table = folder / "table.csv"
    table.write_text("\n".join([f"{HEADER},{CLAUSES}", *lines]) + "\n")
    return table


def test_a_taxonomy_file_brings_its_own_wordings_under_any_order_of_columns(tmp_path: Path) -> None:
    table = own(tmp_path, TALL, "1,g,Likes snow,Dislikes snow,snow,a sledge,a snowman,,,,,,", "2,g,Old,New" + "," * 9)
    taxonomy = load_taxonomy(table)
    found = load_wordings(taxonomy, [0, 1], file=table)
    assert found[0] == Wording(
        "ladders", (("I look up", "I look down"), ("I am five foot", "I am six foot"), ("low is fine", "high is fine"))
    )
    assert found[1].clauses[0] == ("a sledge leaves me cold", "a sledge makes my day")
    assert found[1].clauses[-1] == ("spare me snow and I am happy", "hand me snow and I am happy")
    with pytest.raises(SettingsError, match="nobody has written wordings for 'Old' yet"):
        load_wordings(taxonomy, [2], file=table)


def test_a_file_s_wordings_go_before_those_that_are_shipped_and_leave_the_others(tmp_path: Path) -> None:
    young = "0,g,Young,Older,the past,,,a,b,c,d,e,f"
    table = own(tmp_path, young, "1,g,Female,Male" + "," * 9)
    found = load_wordings(load_taxonomy(table), [0, 1], file=table)
    assert found[0].topic == "the past"
    assert found[1] == WORDINGS[1]
    assert load_wordings(load_taxonomy(table), [0]) == {0: WORDINGS[0]}  # a table alone brings none


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (TALL.replace("six foot,", ",").replace("I am ,", ","), r":2: positive_b is empty, but there is a topic; expe"),
        (TALL.replace("high is fine", "low is fine"), r":2: 'low is fine' stands twice, expected each clause once$"),
        ("0,g,Likes snow,Dislikes snow,snow,a sledge,,,,,,,", r":2: example_b is empty, but there is a topic"),
    ],
)
def test_wordings_that_are_not_complete_are_refused_with_file_and_line(tmp_path: Path, line: str, said: str) -> None:
    table = own(tmp_path, line)
    with pytest.raises(DataError, match=f"^{table}{said}"):
        load_wordings(load_taxonomy(table), [0], file=table)


# ---- The shipped extension: Humor and Pragmatism ----


def test_the_extension_is_the_paper_s_dimensions_and_two_more() -> None:
    extended = load_taxonomy(EXTENSION)
    assert extended.dimensions[:90] == TAXONOMY.dimensions
    assert [(d.group, d.positive, d.negative) for d in extended.dimensions[90:]] == [
        ("novel", "Values humor", "Values earnestness"),
        ("novel", "Values pragmatism", "Values idealism"),
    ]
    assert load_wordings(extended, range(90), file=EXTENSION) == WORDINGS


def test_the_new_dimensions_keep_the_rules_of_all_clauses() -> None:
    extended = load_taxonomy(EXTENSION)
    wordings = load_wordings(extended, [90, 91], file=EXTENSION)
    everything = " | ".join([*MEANING, *(clause for w in wordings.values() for pair in w.clauses for clause in pair)])
    around = "\n".join(text for texts in load_phrases().values() for text in (texts if isinstance(texts, list) else []))
    for index, wording in wordings.items():
        dimension = extended.dimensions[index]
        assert len(wording.clauses) == 3
        assert wording.topic not in everything
        for pair in wording.clauses:
            assert abs(len(pair[0].split()) - len(pair[1].split())) <= 1
            for sign, clause in enumerate(pair):
                assert re.fullmatch(r"[\w' -]+", clause), clause
                assert 3 <= len(clause.split()) <= 11, clause
                assert everything.count(clause) == 1
                assert clause not in around
                own_pole, other = (dimension.negative, dimension.positive)[:: 1 if sign == 0 else -1]
                neutral = content(wording.topic) | content(other)
                telling = {word for word in content(own_pole) if not any(akin(word, one) for one in neutral)}
                assert telling
                assert not [word for word in content(clause) if any(akin(word, one) for one in telling)], clause
