"""Near-duplicate targets: what is found is what comparing every two finds, and the numbers by hand."""

import random
from itertools import combinations

import numpy as np
import pytest

from alignx.errors import DataError
from alignx.prompts.reporting.health import near
from alignx.prompts.reporting.health.near import SIMILAR, Signatures, candidates, shingles, similarity, words_of
from alignx.prompts.reporting.health.targets import Targets
from alignx.records import Persona, Record
from tests.prompts.health.planted import WORDS

Texts = tuple[str, str, str]


def targets(n: int, seed: int = 0) -> list[Texts]:
    """Targets of which most are an earlier one with some words changed."""
    rng = random.Random(seed)
    found: list[Texts] = []
    for _ in range(n):
        if found and rng.random() < 0.7:
            texts = [text.split() for text in rng.choice(found)]
            for _ in range(rng.choice((0, 1, 1, 2, 5, 20))):
                words = rng.choice(texts)
                words[rng.randrange(len(words))] = rng.choice(WORDS)
        else:
            texts = [[rng.choice(WORDS) for _ in range(rng.randint(20, 80))] for _ in range(3)]
        prompt, chosen, rejected = (" ".join(words) for words in texts)
        found.append((prompt, chosen, rejected))
    return found


def paired(found: list[Texts]) -> set[tuple[int, int]]:
    signatures = Signatures()
    for texts in found:
        signatures.add(texts)
    return {(int(i), int(j)) for i, j in candidates(signatures.bands(), np.arange(len(found)))}


def test_a_similarity_worked_by_hand() -> None:
    # a b c d: ··a ·ab abc bcd; a b c e: ··a ·ab abc bce. Three of five are shared.
    assert shingles(["a", "b"]) == {("", "", "a"), ("", "a", "b")}
    assert similarity(["A b, c d", "x", "y"], ["a b c e", "X!", " y"]) == pytest.approx(3 / 5)
    assert similarity(["same", "x", "y"], ["same", "y", "x"]) == 0
    assert similarity(["?!", "x", "x"], ["?!", "x", "x"]) == 1
    assert similarity(["?!", "x", "x"], ["!", "x", "x"]) == 0


def test_words_are_without_case_and_punctuation_in_any_script() -> None:
    assert words_of("Don't — STOP_it, Zürich 3.5!") == ["don", "t", "stop", "it", "zürich", "3", "5"]
    assert words_of("Don't STOP_it 3.5!") == ["don", "t", "stop", "it", "3", "5"]
    assert words_of("東京の3") == ["東", "京", "の", "3"]


def test_every_pair_above_the_threshold_is_a_candidate_of_its_first_or_found_beside_it() -> None:
    found = targets(150)
    alike = {(i, j) for i, j in combinations(range(len(found)), 2) if similarity(found[i], found[j]) >= SIMILAR}
    assert len(alike) > 40
    later = {j for _, j in alike}
    near_ones = {j for i, j in paired(found) if similarity(found[i], found[j]) >= SIMILAR}
    assert near_ones == later


def test_unrelated_targets_are_hardly_ever_candidates() -> None:
    rng = random.Random(2)
    found = [tuple(" ".join(rng.choices(WORDS, k=40)) for _ in range(3)) for _ in range(300)]
    assert len(paired(found)) < 5  # type: ignore[arg-type]


def test_a_long_post_in_common_makes_no_near_targets() -> None:
    rng = random.Random(3)
    post = " ".join(rng.choices(WORDS, k=2000))
    found = [(post, " ".join(rng.choices(WORDS, k=20)), " ".join(rng.choices(WORDS, k=20))) for _ in range(40)]
    assert not paired(found)


def test_batches_change_no_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [*targets(20), ("?", "!", "."), ("one", "", "two words")]
    whole = Signatures()
    for texts in found:
        whole.add(texts)
    expected = whole.bands().copy()
    monkeypatch.setattr(near, "_BATCH", 3)
    small = Signatures()
    for texts in found:
        small.add(texts)
    assert np.array_equal(small.bands(), expected)


def records(found: list[Texts]) -> list[Record]:
    return [Record(f"r{n}", *texts, Persona(), digest=f"{n}") for n, texts in enumerate(found)]


def test_copies_agree_with_comparing_every_two() -> None:
    found = [texts for texts in targets(120, seed=4) for _ in range(2)]
    read = records(found)
    noted = Targets()
    for record in read:
        noted.add(record)
    copies = noted.copies(read, lambda again, _: again)
    seen: dict[Texts, int] = {}
    exact = []
    for number, texts in enumerate(found):
        exact.append(seen.setdefault(texts, number) != number)
    assert copies.exact.tolist() == exact
    assert (copies.distinct, copies.most) == (len(seen), max(map(found.count, seen)))
    kept: list[int] = []
    for number in seen.values():
        if not any(similarity(found[other], found[number]) >= SIMILAR for other in kept):
            kept.append(number)
    assert copies.near.tolist() == [seen[texts] not in kept for texts in found]
    assert np.count_nonzero(copies.near) > 20


def test_records_that_are_gone_when_they_are_read_again_are_missed() -> None:
    noted = Targets()
    read = records([("a b c", "d e f", "g h i")] * 3)
    for record in read:
        noted.add(record)
    with pytest.raises(DataError, match="the records changed while they were read"):
        noted.copies(read[:2], lambda again, _: again)


def test_nothing_is_read_again_where_nothing_repeats() -> None:
    noted = Targets()
    for record in records([("a b c", "d e f", "g h i"), ("j k l", "m n o", "p q r")]):
        noted.add(record)

    def refuse(again: object, doing: str) -> list[Record]:
        raise AssertionError("read again")

    copies = noted.copies([], refuse)
    assert (copies.distinct, copies.repeated, copies.most) == (2, 0, 1)
