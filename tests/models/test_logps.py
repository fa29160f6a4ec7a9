"""Log-probabilities of responses, by hand and whatever stands around them."""

import math

import pytest
import torch
from torch import Tensor

from alignx.models import logps
from alignx.models.logps import BatchError, response_logps, sum_by_row, token_logps


def mask(*rows: str) -> Tensor:
    """``..xx``: x marks response tokens."""
    return torch.tensor([[mark == "x" for mark in row] for row in rows])


def test_uniform_model_pays_log_vocabulary_for_each_response_token() -> None:
    found = response_logps(torch.zeros(1, 5, 8), torch.tensor([[3, 1, 4, 1, 5]]), mask("...xx"))
    assert found.tolist() == pytest.approx([-2 * math.log(8)])  # two tokens, ln 8 nats each


def test_position_t_predicts_token_t_plus_one() -> None:
    # Position 0 gives token 0 the odds 3:1, position 1 gives token 1 the odds 7:1, position 2 predicts nothing here.
    logits = torch.tensor([[[math.log(3), 0.0], [0.0, math.log(7)], [50.0, 0.0]]])
    found = response_logps(logits, torch.tensor([[1, 0, 1]]), mask(".xx"))
    assert found.tolist() == pytest.approx([math.log(3 / 4 * 7 / 8)])


def test_response_log_probability_is_a_sum_and_not_a_mean() -> None:
    logits, ids = torch.zeros(2, 5, 8), torch.ones(2, 5, dtype=torch.long)
    short, long = response_logps(logits, ids, mask("...x.", ".xxxx")).tolist()
    assert long == pytest.approx(4 * short)


def test_bfloat16_logits_are_normalised_in_float32_and_summed_in_float64() -> None:
    # ln 8 rounded to bfloat16 is 2.078125, which over 900 tokens would be 1.2 nats off.
    n = 900
    logits = torch.zeros(1, n + 1, 8, dtype=torch.bfloat16)
    found = response_logps(logits, torch.zeros(1, n + 1, dtype=torch.long), mask("." + n * "x"))
    one = float(torch.zeros(8).log_softmax(0)[0])  # in float32
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(n * one, abs=1e-9)


def test_padding_order_batch_and_tiling_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    logits, ids = 3 * torch.randn(5, 9, 11), torch.randint(11, (5, 9))
    response = mask("..xxx....", ".xxxxxxxx", "........x", "...xx....", ".......xx")
    together = response_logps(logits, ids, response)
    for row in range(5):
        end = int(response[row].nonzero().max()) + 1  # without the padding after the response
        one = slice(row, row + 1)
        alone = response_logps(logits[one, :end], ids[one, :end], response[one, :end])
        assert alone.item() == pytest.approx(together[row].item(), abs=1e-5)
    order = torch.tensor([3, 0, 4, 2, 1])
    assert torch.equal(response_logps(logits[order], ids[order], response[order]), together[order])
    monkeypatch.setattr(logps, "_TILE_ELEMENTS", {"cpu": 3 * 11})  # three positions a tile; a response spans several
    assert torch.allclose(response_logps(logits, ids, response), together, atol=1e-5)


def test_log_probabilities_are_at_most_zero() -> None:
    torch.manual_seed(1)
    found = response_logps(20 * torch.randn(6, 7, 5), torch.randint(5, (6, 7)), mask(*6 * ["..xxxxx"]))
    assert (found <= 0).all()
    assert found.shape == (6,)


@pytest.mark.parametrize(
    ("logits", "ids", "response", "said"),
    [
        ((2, 4, 8), (2, 5), (2, 5), "disagree"),
        ((2, 5, 8), (2, 5), (2, 4), "disagree"),
        ((1, 5, 8), (2, 5), (2, 5), "disagree"),
    ],
)
def test_tensors_that_do_not_belong_together_are_refused(
    logits: tuple[int, ...], ids: tuple[int, ...], response: tuple[int, ...], said: str
) -> None:
    with pytest.raises(BatchError, match=said):
        response_logps(torch.zeros(logits), torch.zeros(ids, dtype=torch.long), torch.ones(response, dtype=torch.bool))


@pytest.mark.parametrize("rows", [("..xx", "...."), ("..xx", "xxxx")])
def test_a_row_without_a_response_or_without_a_prompt_is_refused(rows: tuple[str, str]) -> None:
    with pytest.raises(BatchError, match="every row needs a response token, and a prompt token before it"):
        response_logps(torch.zeros(2, 4, 8), torch.zeros(2, 4, dtype=torch.long), mask(*rows))


def test_tokens_are_projected_a_tile_at_a_time_to_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(4)
    states, targets, head = torch.randn(7, 5), torch.randint(11, (7,)), torch.nn.Linear(5, 11)
    seen: list[int] = []

    def project(part: Tensor) -> Tensor:
        seen.append(len(part))
        return head(part)

    expected = token_logps(head(states), targets)
    assert torch.allclose(token_logps(states, targets, project, 11), expected, atol=1e-6)
    monkeypatch.setattr(logps, "_TILE_ELEMENTS", {"cpu": 3 * 11})
    assert torch.allclose(token_logps(states, targets, project, 11), expected, atol=1e-6)
    monkeypatch.setattr(logps, "_TILE_ELEMENTS", {"cpu": 10})  # less than one position's logits
    assert torch.allclose(token_logps(states, targets, project, 11), expected, atol=1e-6)
    assert seen == [7, 3, 3, 1, *7 * [1]]


def test_a_row_is_the_sum_of_its_tokens_wherever_they_stand() -> None:
    found = sum_by_row(torch.tensor([-1.0, -2.0, -4.0, -8.0]), torch.tensor([2, 0, 2, 0]), 4)
    assert found.tolist() == [-10, 0, -5, 0]
    assert found.dtype == torch.float64
