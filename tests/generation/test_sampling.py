"""Choosing a token: the order of temperature, top-k and top-p, the noise, and when a choice is certain."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.random import Philox
from scipy import stats
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from alignx.generation.sampling import Noise, Row, Sampling, choose

PROBABILITIES = (0.5, 0.3, 0.2)
"""Of three tokens, before anything is done to them."""


def row(logits: list[float] | np.ndarray) -> Row:
    return Row.of(np.arange(len(logits)), logits, whole=True)


def drawn(logits: list[float], sampling: Sampling, count: int) -> list[int]:
    """One token for each of so many records."""
    return [choose(row(logits), sampling, Noise(sampling.seed, f"r{n}"), 0).token for n in range(count)]


def intended(logits: list[float], sampling: Sampling) -> list[float]:
    """The probabilities that transformers' own processors leave, in the order in which it applies them."""
    scores = torch.tensor([logits], dtype=torch.float64)
    ids = torch.zeros((1, 1), dtype=torch.long)
    scores = TemperatureLogitsWarper(sampling.temperature)(ids, scores)
    if sampling.top_k:
        scores = TopKLogitsWarper(sampling.top_k)(ids, scores)
    if sampling.top_p < 1:
        scores = TopPLogitsWarper(sampling.top_p)(ids, scores)
    return [float(one) for one in scores.softmax(-1)[0]]


def test_temperature_comes_before_top_k_and_top_k_before_top_p() -> None:
    """Probabilities .5 .3 .2 at temperature ½ are .25 .09 .04 of .38, so .658 .237 .105; of the first two .735 .265.

    Up to 0.7, only the first is left. Were top-p to come first, .5 < .7 would keep the second; were top-k to come last,
    .658 < .7 would keep it too.
    """
    logits = [math.log(one) for one in PROBABILITIES]
    assert set(drawn(logits, Sampling(0.5, 2, 0.7), 300)) == {0}
    assert set(drawn(logits, Sampling(1.0, 2, 0.7), 300)) == {0, 1}  # top-p of the plain probabilities: .625 < .7
    assert set(drawn(logits, Sampling(0.5, 3, 0.7), 300)) == {0, 1}  # top-p before top-k: .658 < .7
    assert set(drawn(logits, Sampling(0.5, 2, 0.74), 300)) == {0, 1}  # .735 < .74


def test_a_sample_is_the_largest_of_logit_over_temperature_plus_noise_worked_out_by_hand() -> None:
    logits, sampling, noise = [1.0, 0.5, 0.0], Sampling(0.5, 0, 1.0, seed=3), Noise(3, "a")
    raw = Philox(key=noise._key, counter=[0, 7, 0, 0]).random_raw(3)
    value = [
        logit / 0.5 - math.log(-math.log((int(one) // 2**11 + 0.5) / 2**53))
        for logit, one in zip(logits, raw, strict=True)
    ]
    assert choose(row(logits), sampling, noise, 7).token == value.index(max(value))


SETTINGS = [Sampling(), Sampling(1.0, 0, 1.0), Sampling(0.7, 3, 1.0), Sampling(1.3, 0, 0.8), Sampling(2.0, 5, 0.6)]


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
def test_frequencies_are_those_of_transformers_processors(sampling: Sampling) -> None:
    logits = [1.1, -0.3, 2.0, 0.4, 1.9, -2.0, 0.0, 1.0, -0.7, 0.8, 0.1, -1.5]
    count = 4_000
    counted = np.bincount(drawn(logits, sampling, count), minlength=len(logits))
    for token, probability in enumerate(intended(logits, sampling)):
        low, high = stats.binom.ppf([1e-6, 1 - 1e-6], count, probability)
        assert low <= counted[token] <= high, (token, probability)
        assert (counted[token] == 0) or probability > 0


@given(
    logits=st.lists(st.floats(-8, 8).map(lambda one: round(one, 3)), min_size=1, max_size=30, unique=True),
    temperature=st.floats(0.2, 3),
    top_k=st.integers(0, 12),
    top_p=st.floats(0.05, 1),
    record=st.text(max_size=5),
)
def test_only_tokens_that_transformers_would_keep_are_chosen(
    logits: list[float], temperature: float, top_k: int, top_p: float, record: str
) -> None:
    sampling = Sampling(temperature, top_k, top_p)
    left = intended(logits, sampling)
    found = [choose(row(logits), sampling, Noise(1, record), position).token for position in range(5)]
    assert all(left[token] > 0 for token in found)


@given(
    logits=st.lists(st.floats(-3, 3).map(lambda one: round(one, 2)), min_size=1, max_size=12),
    temperature=st.sampled_from([0.0, 0.5, 0.9, 2.0]),
    top_k=st.integers(0, 6),
    top_p=st.sampled_from([0.3, 0.8, 0.95, 1.0]),
    error=st.sampled_from([1e-4, 0.01, 0.1]),
    data=st.data(),
)
def test_a_certain_choice_stays_whatever_the_error_does_to_each_logit(
    logits: list[float], temperature: float, top_k: int, top_p: float, error: float, data: st.DataObject
) -> None:
    """Logits of two digits, so that many are tied and many are a hundredth apart."""
    sampling, noise = Sampling(temperature, top_k, top_p), Noise(5, str(logits))
    found = choose(row(logits), sampling, noise, 0, error)
    assume(found.certain)
    off = data.draw(st.lists(st.sampled_from([-error, 0.0, error]), min_size=len(logits), max_size=len(logits)))
    moved = [one + 0.999 * by for one, by in zip(logits, off, strict=True)]
    assert choose(row(moved), sampling, noise, 0).token == found.token


@pytest.mark.parametrize(
    "sampling", [Sampling(0.0), Sampling(0.5, 3, 0.8), Sampling(1.0, 2, 1.0), Sampling(1.0, 0, 0.6)]
)
def test_certain_choices_stay_among_logits_as_near_as_the_error(sampling: Sampling) -> None:
    """Rows of six logits a few errors apart, each moved eight times as far as it goes; most must stay uncertain."""
    rng, error, certain = np.random.default_rng(0), 0.05, 0
    for number in range(1_500):
        logits = rng.integers(-6, 7, 6) * 0.04
        found = choose(row(logits), sampling, Noise(0, str(number)), 0, error)
        if found.certain:
            certain += 1
            for signs in rng.choice([-0.999, 0.999], (8, 6)):
                assert choose(row(logits + error * signs), sampling, Noise(0, str(number)), 0).token == found.token
    assert certain > 60, "else nothing was tried"


def test_choices_are_certain_but_for_near_ties_which_are_not() -> None:
    wide, near = [3.0, 1.0, -1.0, -4.0], [3.0, 3.0 - 1e-5, -1.0, -4.0]
    certain = [choose(row(wide), Sampling(top_k=2), Noise(0, str(n)), 0, 1e-4).certain for n in range(500)]
    assert sum(certain) > 495  # two of them are within 2e-4 / 0.9 of each other once in some thousand
    assert choose(row(wide), Sampling(0.0), Noise(0, "a"), 0, 1e-4).certain
    assert not choose(row(near), Sampling(0.0), Noise(0, "a"), 0, 1e-4).certain
    border = [0.0, -1.0, -1.0 + 1e-5, -9.0]  # which of two is the second of two
    unsure = [choose(row(border), Sampling(1.0, 2, 1.0), Noise(0, str(n)), 0, 1e-4) for n in range(300)]
    assert any(one.certain for one in unsure)  # the first is kept and wins whichever that is
    assert not any(one.certain for one in unsure if one.token in (1, 2))


def test_of_equal_logits_greedy_takes_the_lowest_number_and_top_k_keeps_all() -> None:
    tied = Row.of([7, 3, 9, 5], [1.0, 1.0, 1.0, 0.0], whole=True)
    assert choose(tied, Sampling(0.0), Noise(0, "a"), 0).token == 3
    assert {choose(tied, Sampling(1.0, 1, 1.0), Noise(0, str(n)), 0).token for n in range(100)} == {3, 7, 9}
    assert {choose(tied, Sampling(1.0, 0, 0.5), Noise(0, str(n)), 0).token for n in range(100)} == {3, 7, 9}


def test_a_token_is_kept_while_less_than_top_p_is_likelier() -> None:
    """Of ½, ¼ and ¼ exactly, up to ½ keeps the first alone, as transformers does; a hair more keeps all."""
    logits = [math.log(2), 0.0, 0.0]
    assert set(drawn(logits, Sampling(1.0, 0, 0.5), 200)) == {0}
    assert set(drawn(logits, Sampling(1.0, 0, 0.5 + 1e-9), 200)) == {0, 1, 2}


def test_a_short_row_suffices_unless_what_it_leaves_out_could_be_kept() -> None:
    short = Row.of([1, 2, 3], [3.0, 2.0, 1.0], whole=False)
    assert short.suffices(Sampling(top_k=2), 0.1)
    assert not short.suffices(Sampling(top_k=2), 0.5)  # the third, and so a fourth, could be as likely as the second
    assert not short.suffices(Sampling(top_k=3), 0.0)
    assert not short.suffices(Sampling(top_k=0), 0.0)
    assert short.suffices(Sampling(0.0), 0.1)
    assert Row.of([1], [3.0], whole=True).suffices(Sampling(top_k=0), 9.0)


# noise


def test_noise_of_a_token_is_the_same_alone_among_few_and_among_many() -> None:
    noise = Noise(42, "x")
    many = noise.of(3, np.arange(1_000))
    assert noise.of(3, np.array([999, 0, 17, 18])).tolist() == many[[999, 0, 17, 18]].tolist()
    assert noise.of(3, np.array([17])).tolist() == [many[17]]
    assert noise.of(2**40, np.array([200_000])).shape == (1,)


def test_noise_differs_with_seed_record_and_position_and_repeats_with_the_same() -> None:
    tokens = np.arange(64)
    drawn = [
        Noise(seed, record).of(position, tokens) for seed, record, position in itertools.product((0, 1), "ab", (0, 1))
    ]
    assert all(not np.intersect1d(one, other).size for one, other in itertools.combinations(drawn, 2))
    assert (Noise(1, "b").of(1, tokens) == drawn[-1]).all()


def test_noise_of_records_and_positions_is_independent_and_gumbel() -> None:
    tokens = np.arange(2_000)
    by_record = np.array([Noise(0, f"r{n}").of(0, tokens) for n in range(12)])
    by_position = np.array([Noise(0, "r0").of(n, tokens) for n in range(12)])
    for drawn in (by_record, by_position, by_record.T[:12]):
        off = np.corrcoef(drawn)[np.triu_indices(len(drawn), 1)]
        assert np.abs(off).max() < 5 / math.sqrt(drawn.shape[1])  # standard errors
    assert stats.kstest(by_record.ravel(), "gumbel_r").pvalue > 1e-4
    assert stats.kstest(by_position.ravel(), "gumbel_r").pvalue > 1e-4
