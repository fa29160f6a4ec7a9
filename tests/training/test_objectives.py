"""The preference losses of TRL and their companions: what each charges, that each trains, what is refused."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from alignx.cli import main
from alignx.training.configuring import trl_config
from alignx.training.run import train
from alignx.training.settings import Divergence, LossType
from tests.training.parity import VOCABULARY, Arms, arms, assert_same_step, batch_of, draws, model_of, step
from tests.training.runs import first_batch, losses, planted, settings, short_records
from tests.worlds import write_jsonl

BETA = 0.2
EPSILON = 0.1
"""Label smoothing, where a loss takes it."""
TAU = 0.3
"""Temperature of discopop in these tests; TRL's own is 0.05."""
SMOOTHED = ("robust", "exo_pair")


def companions(loss_type: str) -> dict[str, Any]:
    """What a loss cannot do without, or what else would stay at its default here."""
    smoothing = {"label_smoothing": EPSILON} if loss_type in SMOOTHED else {}
    return {**smoothing, **({"discopop_tau": TAU} if loss_type == "discopop" else {})}


# What each loss charges, written down from its paper.


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def log_sigma(x: float) -> float:
    return -math.log1p(math.exp(-x))


def exo(margin: float) -> float:
    """KL(p ‖ q) of the policy's preference p = σ(margin) and the smoothed label q = (1 − ε, ε)."""
    p = sigma(margin)
    return p * math.log(p / (1 - EPSILON)) + (1 - p) * math.log((1 - p) / EPSILON)


def discopop(margin: float) -> float:
    mixed = sigma(margin / TAU)
    return (1 - mixed) * -log_sigma(margin) + mixed * math.exp(-margin)


FORMULAS: dict[str, Callable[[float, float, int, int], float]] = {
    "sigmoid": lambda w, r, n, m: -log_sigma(BETA * (w - r)),  # Eq. 1
    "sigmoid_norm": lambda w, r, n, m: -log_sigma(BETA * (w / n - r / m)),
    "hinge": lambda w, r, n, m: max(0.0, 1 - BETA * (w - r)),
    "ipo": lambda w, r, n, m: (w / n - r / m - 1 / (2 * BETA)) ** 2,  # TRL's is of means over tokens
    "robust": lambda w, r, n, m: (
        (EPSILON * log_sigma(-BETA * (w - r)) - (1 - EPSILON) * log_sigma(BETA * (w - r))) / (1 - 2 * EPSILON)
    ),
    "exo_pair": lambda w, r, n, m: exo(BETA * (w - r)),
    "nca_pair": lambda w, r, n, m: -log_sigma(BETA * w) - 0.5 * log_sigma(-BETA * w) - 0.5 * log_sigma(-BETA * r),
    "apo_zero": lambda w, r, n, m: 1 - sigma(BETA * w) + sigma(BETA * r),
    "apo_down": lambda w, r, n, m: sigma(BETA * w) + 1 - sigma(BETA * (w - r)),
    "discopop": lambda w, r, n, m: discopop(BETA * (w - r)),
}
"""Of the log-ratios of the chosen (w) and the rejected (r) response and their numbers of tokens (n, m)."""
DIVERGENCES: dict[str, Callable[[float], float]] = {
    "reverse_kl": lambda ratio: ratio,
    "forward_kl": lambda ratio: 1 - math.exp(-ratio),
    "js_divergence": lambda ratio: math.log(2) + log_sigma(ratio),
    "alpha_divergence": lambda ratio: (math.exp((0.3 - 1) * ratio) - 1) / (0.3 - 1),
}
"""f′ of the probability ratio, of its logarithm; the coefficient of alpha_divergence is 0.3 here."""


@dataclass(frozen=True)
class Spoken:
    """Log-probabilities of a response under policy and reference, token by token, by definition."""

    policy: list[float]
    reference: list[float]

    @property
    def ratio(self) -> float:
        """log π − log π_ref of the whole response."""
        return sum(self.policy) - sum(self.reference)

    def __len__(self) -> int:
        """Tokens."""
        return len(self.policy)


def token_logps(model: Any, prompt: Sequence[int], response: Sequence[int]) -> torch.Tensor:
    """``(tokens, vocabulary)``: what a model says where each token of a response stands; alone, in float64."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt, *response]])).logits[0].double()
    return logits[len(prompt) - 1 : -1].log_softmax(-1)


def spoken(trainer: Any, reference: Any, prompt: list[int], response: list[int]) -> Spoken:
    said = [token_logps(model, prompt, response) for model in (trainer.model, reference)]
    policy, other = [logps[range(len(response)), response].tolist() for logps in said]
    return Spoken(policy, other)


@pytest.fixture(scope="module")
def models() -> tuple[Any, Any]:
    """A policy and a reference that differ by nats."""
    rows = 1024  # as many as the tokenizer has, whose padding is among them
    return model_of("llama", vocab_size=rows), model_of("llama", seed=1, vocab_size=rows)


COLUMNS = planted(4, VOCABULARY, seed=8)
PAIRS = list(zip(COLUMNS["prompt_ids"], COLUMNS["chosen_ids"], COLUMNS["rejected_ids"], strict=True))


def trainer_under(models: tuple[Any, Any], tokenizer: Path, output: Path, **objective: Any) -> Any:
    """The project's trainer, with the settings of a run translated as a run translates them."""
    import copy

    from datasets import Dataset
    from transformers import AutoTokenizer

    from alignx.training.trainer import EncodedDPOTrainer, RowCollator

    chosen = {"reference": "online", "beta": BETA, "micro_batch": 4, **objective}
    wanted = settings(tokenizer, Path("unused"), output, **chosen)
    processing = AutoTokenizer.from_pretrained(tokenizer)
    policy, reference = copy.deepcopy(models)
    return EncodedDPOTrainer(
        model=policy,
        ref_model=reference,
        args=trl_config(wanted, steps=1, accumulation=1, dtype="float32", evaluates=False),
        data_collator=RowCollator(processing.pad_token_id),
        train_dataset=Dataset.from_dict(COLUMNS),
        processing_class=processing,
        record_ids=COLUMNS["id"],
    )


def loss_of(trainer: Any) -> float:
    loss: float = trainer.compute_loss(trainer.model, first_batch(trainer, rows=4)).item()
    return loss


@pytest.fixture(scope="module")
def said(models: tuple[Any, Any], tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[Spoken]]:
    """Chosen and rejected of each pair, by definition."""
    trainer = trainer_under(models, tiny_model, tmp_path_factory.mktemp("said"))
    return [[spoken(trainer, models[1], prompt, r) for r in responses] for prompt, *responses in PAIRS]


def charged(
    said: list[list[Spoken]], loss_type: str, of: Callable[[float], float] = DIVERGENCES["reverse_kl"]
) -> float:
    """The mean loss of the pairs, by formula."""
    each = [FORMULAS[loss_type](of(w.ratio), of(r.ratio), len(w), len(r)) for w, r in said]
    return sum(each) / len(each)


def test_there_is_a_formula_for_every_loss_and_divergence_that_is_offered() -> None:
    assert set(FORMULAS) == set(get_args(LossType))
    assert set(DIVERGENCES) == set(get_args(Divergence))


def test_the_pairs_are_ones_on_which_the_losses_differ(said: list[list[Spoken]]) -> None:
    assert any(len(w) != len(r) for w, r in said)
    assert all(abs(w.ratio - r.ratio) > 0.1 for w, r in said)
    found = [charged(said, name) for name in FORMULAS]
    assert min(abs(one - other) for i, one in enumerate(found) for other in found[:i]) > 1e-3


def test_sigmoid_and_ipo_worked_by_hand() -> None:
    # Log-ratios +3 and -1 nats: margin 0.2·4 = 0.8, and 6 tokens against 2: 3/6 + 1/2 = 1 nat a token.
    assert FORMULAS["sigmoid"](3, -1, 6, 2) == pytest.approx(math.log(1 + math.exp(-0.8)))
    assert FORMULAS["ipo"](3, -1, 6, 2) == pytest.approx((1 - 2.5) ** 2)


@pytest.mark.parametrize("loss_type", get_args(LossType))
def test_a_batch_is_charged_what_the_formula_says(
    models: tuple[Any, Any], said: list[list[Spoken]], tiny_model: Path, tmp_path: Path, loss_type: str
) -> None:
    trainer = trainer_under(models, tiny_model, tmp_path, loss_type=loss_type, **companions(loss_type))
    assert loss_of(trainer) == pytest.approx(charged(said, loss_type), abs=1e-4)


# Companions.


@pytest.mark.parametrize("divergence", get_args(Divergence))
@pytest.mark.parametrize("loss_type", ["sigmoid", "ipo"])
def test_a_divergence_is_a_function_of_each_log_ratio(
    models: tuple[Any, Any], said: list[list[Spoken]], tiny_model: Path, tmp_path: Path, loss_type: str, divergence: str
) -> None:
    alpha = {"f_alpha": 0.3} if divergence == "alpha_divergence" else {}
    trainer = trainer_under(models, tiny_model, tmp_path, loss_type=loss_type, f_divergence=divergence, **alpha)
    assert loss_of(trainer) == pytest.approx(charged(said, loss_type, DIVERGENCES[divergence]), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_ld_alpha_weighs_what_a_longer_response_has_beyond_the_shorter(
    models: tuple[Any, Any], said: list[list[Spoken]], tiny_model: Path, tmp_path: Path, alpha: float
) -> None:
    def weighed(one: list[float], shared: int) -> float:
        return sum(one[:shared]) + alpha * sum(one[shared:])

    each = []
    for pair in said:
        shared = min(map(len, pair))
        w, r = (weighed(one.policy, shared) - weighed(one.reference, shared) for one in pair)
        each.append(FORMULAS["sigmoid"](w, r, 1, 1))
    trainer = trainer_under(models, tiny_model, tmp_path, ld_alpha=alpha)
    assert loss_of(trainer) == pytest.approx(sum(each) / len(each), abs=1e-4)
    assert (abs(loss_of(trainer) - charged(said, "sigmoid")) < 1e-4) == (alpha == 1.0)


def test_wpo_weighs_a_pair_by_how_likely_the_policy_is_to_say_both(
    models: tuple[Any, Any], said: list[list[Spoken]], tiny_model: Path, tmp_path: Path
) -> None:
    trainer = trainer_under(models, tiny_model, tmp_path, wpo=True)
    each = []
    for (prompt, *responses), (w, r) in zip(PAIRS, said, strict=True):
        weight = 1.0
        for response in responses:
            logps = token_logps(trainer.model, prompt, response)
            own = logps[range(len(response)), response] - (2 * logps).logsumexp(-1)  # log p − log Σ p²
            weight *= math.exp(own.mean().item())
        each.append(weight * FORMULAS["sigmoid"](w.ratio, r.ratio, 1, 1))
    assert loss_of(trainer) == pytest.approx(sum(each) / len(each), abs=1e-4)
    assert abs(loss_of(trainer) - charged(said, "sigmoid")) > 1e-3


@pytest.mark.parametrize(
    ("loss_type", "name", "values"),
    [
        ("robust", "label_smoothing", (0.05, 0.3)),
        ("exo_pair", "label_smoothing", (0.05, 0.3)),
        ("discopop", "discopop_tau", (0.05, 0.3)),
        ("sigmoid", "beta", (0.1, 0.5)),
    ],
)
def test_a_companion_changes_the_loss(
    models: tuple[Any, Any], tiny_model: Path, tmp_path: Path, loss_type: str, name: str, values: tuple[float, float]
) -> None:
    one, other = (
        loss_of(trainer_under(models, tiny_model, tmp_path, **{"loss_type": loss_type, name: value}))
        for value in values
    )
    assert abs(one - other) > 1e-3


def test_the_companions_reach_trl_under_its_names(tmp_path: Path) -> None:
    def translated(**objective: Any) -> Any:
        wanted = settings(Path("model"), Path("data"), tmp_path, **objective)
        return trl_config(wanted, steps=1, accumulation=1, dtype="float32", evaluates=False)

    alpha = translated(
        loss_type="sigmoid", f_divergence="alpha_divergence", f_alpha=0.7, ld_alpha=0.3, wpo=True, reference="online"
    )
    assert alpha.loss_type == ["sigmoid"]
    assert (alpha.f_divergence_type, alpha.f_alpha_divergence_coef) == ("alpha_divergence", 0.7)
    assert (alpha.ld_alpha, alpha.use_weighting, alpha.precompute_ref_log_probs) == (0.3, True, False)
    assert translated(loss_type="robust", label_smoothing=0.2).label_smoothing == 0.2
    assert translated(loss_type="discopop", discopop_tau=0.1).discopop_tau == 0.1
    plain = translated()
    assert (plain.loss_type, plain.f_divergence_type, plain.ld_alpha) == (["sigmoid"], "reverse_kl", None)
    assert (plain.use_weighting, plain.label_smoothing, plain.precompute_ref_log_probs) == (False, 0.0, True)


# Each prompt once.

OBJECTIVES: dict[str, dict[str, Any]] = {
    **{
        name: {"loss_type": [name], **({"label_smoothing": EPSILON} if name in SMOOTHED else {})}
        for name in get_args(LossType)
    },
    **{name: {"f_divergence_type": name} for name in get_args(Divergence)},
    "ipo, forward_kl": {"loss_type": ["ipo"], "f_divergence_type": "forward_kl"},
    "ld_alpha": {"ld_alpha": 0.4},
    "ld_alpha, ipo": {"ld_alpha": 0.4, "loss_type": ["ipo"]},
    "wpo": {"use_weighting": True},
    "wpo, ipo": {"use_weighting": True, "loss_type": ["ipo"]},
}
"""Fields of DPOConfig."""


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_reading_each_prompt_once_gives_the_same_loss_and_gradients(
    models: tuple[Any, Any], tiny_model: Path, tmp_path: Path, objective: dict[str, Any]
) -> None:
    both: Arms = arms(tiny_model, tmp_path, *models, **objective)
    for seed in range(2):
        batch = batch_of(draws(seed, 3))
        once, twice = step(both.once, batch), step(both.twice, batch)
        assert_same_step(once, twice)
        assert any(gradient.norm() > 1e-4 for gradient in twice.gradients.values())
    assert both.once.sharing()["policy"]["shared_prefix"]


# Whole runs.


@pytest.mark.parametrize("loss_type", get_args(LossType))
def test_every_loss_trains_and_begins_with_what_it_charges_a_policy_that_is_its_reference(
    tiny_model: Path, tmp_path: Path, loss_type: str
) -> None:
    data = write_jsonl(tmp_path / "records.jsonl", short_records(12, seed=5))
    chosen = {"beta": BETA, "warmup_ratio": 0.0, "loss_type": loss_type, **companions(loss_type)}
    output = train(settings(tiny_model, data, tmp_path / "out", **chosen))
    found = losses(output)
    assert len(found) == 3
    assert found[0] == pytest.approx(FORMULAS[loss_type](0.0, 0.0, 1, 1), abs=1e-4)
    assert abs(found[-1] - found[0]) > 1e-4, "it does not learn"
    assert (output / "model.safetensors").read_bytes() != (tiny_model / "model.safetensors").read_bytes()


COMPANIONS: dict[str, dict[str, Any]] = {
    "divergence": {"f_divergence": "js_divergence"},
    "ld_alpha": {"ld_alpha": 0.5, "reference": "online"},
    "wpo": {"wpo": True},
}


@pytest.mark.parametrize("chosen", COMPANIONS.values(), ids=COMPANIONS)
def test_a_run_with_a_companion_is_another_run_than_one_without(
    tiny_model: Path, tmp_path: Path, chosen: dict[str, Any]
) -> None:
    data = write_jsonl(tmp_path / "records.jsonl", short_records(12, seed=5))
    runs = [
        losses(train(settings(tiny_model, data, tmp_path / name, warmup_ratio=0.0, **extra)))
        for name, extra in (("plain", {}), ("companion", chosen))
    ]
    assert all(math.isfinite(loss) for loss in runs[1])
    assert max(abs(one - other) for one, other in zip(*runs, strict=True)) > 1e-5


# What does not go together.

REFUSED = {
    "--loss-type nonsense": "--loss-type: got 'nonsense', expected",
    "--loss-type exo_pair": "--loss-type exo_pair needs a --label-smoothing above 0",
    "--label-smoothing 0.1": "--label-smoothing changes nothing with --loss-type sigmoid; use robust or exo_pair",
    "--loss-type ipo --label-smoothing 0.1": "--label-smoothing changes nothing with --loss-type ipo",
    "--loss-type robust --label-smoothing 0.5": "--label-smoothing: got '0.5', expected less than 0.5",
    "--loss-type nca_pair --f-divergence forward_kl": "--f-divergence forward_kl has no meaning with",
    "--loss-type apo_zero --f-divergence js_divergence": "--f-divergence js_divergence has no meaning with --loss-type",
    "--loss-type apo_down --f-divergence js_divergence": "--f-divergence js_divergence has no meaning with --loss-type",
    "--f-divergence kl": "--f-divergence: got 'kl', expected",
    "--f-alpha 0.7": "--f-alpha needs --f-divergence alpha_divergence",
    "--f-divergence alpha_divergence --f-alpha 0": "--f-alpha: got '0', expected greater than 0",
    "--discopop-tau 0.1": "--discopop-tau needs --loss-type discopop",
    "--ld-alpha 1.5": "--ld-alpha: got '1.5', expected less than or equal to 1",
    "--ld-alpha 0.5": "--ld-alpha needs --reference online",
}
"""Flags that contradict each other. Log-probabilities of the reference are remembered for whole responses only."""


@pytest.mark.parametrize("flags", REFUSED)
def test_objectives_that_contradict_each_other_are_refused_by_name(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: str
) -> None:
    data = write_jsonl(tmp_path / "records.jsonl", short_records(4))
    where = ["--model", str(tiny_model), "--data", str(data), "--output", str(tmp_path / "out"), "--method", "ica"]
    with pytest.raises(SystemExit) as caught:
        main(["train", *where, *flags.split(" "), "--check"])
    line = capsys.readouterr().err
    assert caught.value.code == 2
    assert line.startswith(f"alignx train: error: {REFUSED[flags]}"), line
    assert not (tmp_path / "out").exists()
