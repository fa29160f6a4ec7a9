"""Rules without a model: what they count, by hand, and what they reach in a world whose truth is known."""

import math
from itertools import permutations
from pathlib import Path

import pytest

from alignx.evaluation import baselines as module
from alignx.evaluation.baselines import ResponseWords, baselines, known_directions, word_overlap
from alignx.prompts.telling import Told
from alignx.records import Choice, Comment, Persona, Record, Records, load_taxonomy
from alignx.records.world.synthesize import SynthesizeSettings, synthesize

LIKES, NEUTRAL, DISLIKES = 2, 1, 0


def pair(chosen: str, rejected: str, direction: bytes | None = None, name: str = "x", user: str = "u") -> Record:
    return Record(name, "a post", chosen, rejected, Persona(), direction, user)


# Words shared with the persona


def test_overlap_counts_different_words_of_each_response_that_the_user_said() -> None:
    told = Told(comments=(Comment("which sport?", "I love tennis and chess"),))
    record = pair("tennis, chess and golf", "I play golf")
    assert word_overlap(record, told) == 3 - 1  # tennis, chess, and; I


def test_overlap_knows_comments_chosen_responses_and_the_description() -> None:
    told = Told(
        comments=(Comment("p", "alpha"),), choices=(Choice("p", "beta", "gamma"),), demographics="I said: delta"
    )
    assert word_overlap(pair("alpha beta delta", "omega"), told) == 3


@pytest.mark.parametrize(
    "told",
    [
        Told(choices=(Choice("post", "beta", "gamma"),)),  # what the user turned down
        Told(comments=(Comment("gamma", "beta"),)),  # what somebody else posted
        Told(choices=(Choice("gamma", "beta", "post"),)),
        Told(profile="gamma"),
    ],
)
def test_overlap_ignores_what_the_user_did_not_say_or_choose(told: Told) -> None:
    assert word_overlap(pair("gamma", "omega"), told) == 0


@pytest.mark.parametrize("text", ["TENNIS", "tennis!", "(tennis)", "tennis tennis tennis", "“tennis”"])
def test_overlap_ignores_case_punctuation_and_repetition(text: str) -> None:
    told = Told(comments=(Comment("p", "Tennis. Tennis; golf"),))
    assert word_overlap(pair(text, "chess"), told) == 1


@pytest.mark.parametrize("word", ["don't", "don’t", "co-op", "naïve", "東京"])
def test_a_word_with_an_apostrophe_a_hyphen_or_an_accent_is_one_word(word: str) -> None:
    told = Told(comments=(Comment("p", word),))
    assert word_overlap(pair(f"we {word}", "don co op na ve t"), told) == 1


def test_swapping_the_responses_turns_the_overlap_round() -> None:
    told = Told(comments=(Comment("p", "tennis and chess"),))
    one, other = "tennis, chess", "golf and more"
    assert word_overlap(pair(one, other), told) == -word_overlap(pair(other, one), told) == 1


# Knowing every direction


def test_reader_of_directions_sums_the_items_and_compares_them_with_the_target() -> None:
    target = bytes([LIKES, DISLIKES, NEUTRAL, LIKES])
    told = Told(
        comments=(Comment("p", "c", bytes([2, 0, 2, 1])), Comment("p", "c", bytes([2, 1, 2, 0]))),
        choices=(Choice("p", "c", "r", bytes([0, 0, 2, 0])),),
    )
    # sums (1+1−1, −1+0−1, +3, 0−1−1) = (1, −2, 3, −2); target (+1, −1, 0, +1): 1 + 2 + 0 − 2
    assert known_directions(pair("a", "b", target), told) == 1


@pytest.mark.parametrize(("level", "expected"), [(DISLIKES, -1), (NEUTRAL, 0), (LIKES, 1)])
def test_reader_of_directions_takes_a_level_for_dislike_neutral_or_like(level: int, expected: int) -> None:
    told = Told(comments=(Comment("p", "c", bytes([level])),))
    assert known_directions(pair("a", "b", bytes([LIKES])), told) == expected
    assert known_directions(pair("a", "b", bytes([DISLIKES])), told) == -expected
    assert known_directions(pair("a", "b", bytes([NEUTRAL])), told) == 0


def test_reader_of_directions_cannot_say_without_a_direction() -> None:
    liked = Comment("p", "c", bytes([LIKES]))
    assert known_directions(pair("a", "b"), Told(comments=(liked,))) == 0
    assert known_directions(pair("a", "b", bytes([LIKES])), Told()) == 0
    assert known_directions(pair("a", "b", bytes([LIKES])), Told(comments=(Comment("p", "c"), liked))) == 1


# Naive Bayes


def test_naive_bayes_by_hand() -> None:
    training = [pair("tea time", "coffee"), pair("tea", "coffee time")]
    rule = ResponseWords(training).rule
    # preferred: tea 2, time 1, "tea time" 1; turned down: coffee 2, time 1, "coffee time" 1; add one to each
    assert rule(pair("tea", "coffee")) == pytest.approx(math.log(3 / 1) - math.log(1 / 3))
    assert rule(pair("tea time", "new")) == pytest.approx(math.log(3 / 1) + math.log(2 / 2) + math.log(2 / 1))
    assert rule(pair("time tea", "new")) == pytest.approx(math.log(3))  # the pair stands in this order nowhere
    assert rule(pair("new", "unheard")) == 0


def test_naive_bayes_counts_a_word_once_a_response() -> None:
    rule = ResponseWords([pair("Tea, tea: tea", "coffee")]).rule
    assert rule(pair("tea", "x")) == pytest.approx(math.log(2))
    assert rule(pair("x", "tea and tea")) == pytest.approx(-math.log(2))


def test_naive_bayes_adds_up_in_one_order_whatever_the_order_of_a_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text is hashed anew in each process; a sum in another order could turn a guess by coin into a decision."""
    texts = ["a", "a b", "a b c", "a b c d", "a b c d e f g"]
    training = [pair(text, "x") for text in texts]
    found = set()
    for order in permutations(["a", "b", "c", "d", "e"]):
        rules = ResponseWords(training)
        with monkeypatch.context() as patch:
            patch.setattr(module, "_features", lambda text, order=order: list(order) if text == "t" else [])
            found.add(rules.rule(pair("t", "")))
    assert len(found) == 1


def test_naive_bayes_never_sees_the_persona() -> None:
    training = [pair("tea", "coffee")]
    record = Record("x", "p", "tea", "milk", Persona(comments=(Comment("p", "milk milk"),)), None, "u")
    assert ResponseWords(training).rule(record) == ResponseWords(training).rule(pair("tea", "milk"))


# Accuracies


def test_undecided_counts_as_half_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [
        Record(str(i), "p", chosen, "x", Persona(comments=(Comment("p", "tea milk"),)), None, f"u{i}")
        for i, chosen in enumerate(["tea", "tea milk", "nothing"])
    ]
    records.append(Record("3", "p", "x", "tea", records[0].persona, None, "u0"))
    found = {each.name: each for each in baselines(records, [pair("a", "b")], load_taxonomy())}
    overlap = found["words shared with the persona"]
    assert overlap.accuracy.mean == (1 + 1 + 0.5 + 0) / 4
    assert overlap.undecided == 1
    assert (overlap.accuracy.n, overlap.accuracy.clusters) == (4, 3)
    bayes = found["words of the responses alone"]
    assert (bayes.accuracy.mean, bayes.undecided) == (0.5, 4)


def test_the_reader_of_directions_is_there_only_where_a_record_has_one() -> None:
    plain, directed = pair("a", "b"), pair("a", "b", bytes([LIKES] * 90), name="y")
    assert len(baselines([plain], [plain], load_taxonomy())) == 2
    names = [each.name for each in baselines([plain, directed], [plain], load_taxonomy())]
    assert names[2:] == ["reader who knows every direction"]


def test_each_rule_says_what_it_does() -> None:
    found = baselines([pair("a", "b", bytes([LIKES] * 90))], [pair("a", "b")], load_taxonomy())
    assert len({each.meaning for each in found}) == 3
    assert all(each.meaning for each in found)


def test_in_a_world_words_alone_are_at_chance_and_directions_tell_most(tmp_path: Path) -> None:
    """Responses differ in the poles they take: only who is asked about says which is preferred."""
    settings = {"dimensions": "demo", "active": (6, 6), "comments": 3, "choices": 1, "described": 0, "wordings": 2}
    synthesize(SynthesizeSettings(output=tmp_path, train=800, test=480, **settings))
    taxonomy = load_taxonomy()
    test = list(Records(str(tmp_path / "test.jsonl"), taxonomy=taxonomy))
    bayes, overlap, reader = baselines(test, Records(str(tmp_path / "train.jsonl"), taxonomy=taxonomy), taxonomy)
    assert bayes.accuracy.low < 0.5 < bayes.accuracy.high
    assert reader.accuracy.low > 0.8
    assert 0.5 < overlap.accuracy.mean < reader.accuracy.mean
    assert {each.accuracy.n for each in (bayes, overlap, reader)} == {480}
    assert {each.accuracy.clusters for each in (bayes, overlap, reader)} == {120}


def test_the_history_that_baselines_know_is_that_of_in_context_alignment() -> None:
    """All of it, the description included."""
    persona = Persona(comments=tuple(Comment("p", f"word{i}") for i in range(9)), demographics="described")
    record = Record("x", "p", "word0 word8 described", "nothing", persona, None, "u")
    (overlap,) = [each for each in module.baselines([record], [record], load_taxonomy()) if "persona" in each.name]
    assert overlap.accuracy.mean == 1
    assert overlap.undecided == 0
