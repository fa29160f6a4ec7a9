"""Two trainers with equal weights, one that reads each prompt once and one that reads it twice, and what they share."""

import copy
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.training.runs import planted, trainer_of

VOCABULARY = 300
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
IGNORED = -100


@dataclass(frozen=True)
class Pair:
    """Token ids of a pair; the prompt under ``rejected`` is the other's unless said."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    rejected_prompt: list[int] | None = None

    @property
    def rows(self) -> tuple[list[int], list[int]]:
        """Both sequences."""
        return self.prompt + self.chosen, (self.rejected_prompt or self.prompt) + self.rejected

    @property
    def shared(self) -> int:
        """Tokens with which both begin."""
        alike = [one == other for one, other in zip(*self.rows, strict=False)]
        return alike.index(False) if False in alike else len(alike)

    @property
    def unique(self) -> int:
        """Tokens to read when the shared ones stand once; the last of a branch predicts nothing and is not read."""
        return self.shared + sum(max(0, len(row) - 1 - self.shared) for row in self.rows)


def draw(rng: random.Random, prompt: int, chosen: int, rejected: int) -> Pair:
    """A pair of so many random tokens, its responses different from the first token on."""
    ids = [[rng.randrange(1, VOCABULARY) for _ in range(length)] for length in (prompt, chosen, rejected)]
    if ids[1][0] == ids[2][0]:
        ids[2][0] = ids[2][0] % (VOCABULARY - 1) + 1
    return Pair(*ids)


def draws(seed: int, pairs: int, longest: int = 30) -> list[Pair]:
    """Pairs of random lengths."""
    rng = random.Random(seed)
    return [draw(rng, rng.randint(1, longest), rng.randint(1, 9), rng.randint(1, 9)) for _ in range(pairs)]


def batch_of(pairs: Sequence[Pair]) -> dict[str, Any]:
    """The batch of TRL's collator, written out: it cannot say that the prompts of a pair differ."""
    rows = [(pair.prompt, pair.chosen) for pair in pairs]
    rows += [(pair.rejected_prompt or pair.prompt, pair.rejected) for pair in pairs]
    longest = max(len(prompt) + len(response) for prompt, response in rows)

    def padded(values: list[list[int]]) -> Tensor:
        return torch.tensor([one + [0] * (longest - len(one)) for one in values])

    return {
        "input_ids": padded([prompt + response for prompt, response in rows]),
        "attention_mask": padded([[1] * (len(prompt) + len(response)) for prompt, response in rows]),
        "completion_mask": padded([[0] * len(prompt) + [1] * len(response) for prompt, response in rows]),
        "row": torch.zeros(len(pairs), dtype=torch.long),
    }


def model_of(family: str, seed: int = 0, **others: Any) -> Any:
    """A random model of a family whose log-probabilities differ by nats from token to token."""
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    shape: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "initializer_range": 0.2,
        "head_dim": 8,
        **({"sliding_window": None} if family == "mistral" else {}),
        **others,
    }
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(CONFIG_MAPPING[family](**shape))


@dataclass(frozen=True)
class Arms:
    """A trainer that reads each prompt once and one that reads it twice."""

    once: Any
    twice: Any


def arms(tokenizer: Path, output: Path, model: Any = "llama", reference: Any = None, **others: Any) -> Arms:
    """Two trainers with equal weights.

    Args:
        tokenizer: Folder to load the tokenizer from; its ids mean nothing here.
        output: TRL's ``output_dir``.
        model: The policy, or its family.
        reference: The reference; by default of the policy's family with other weights.
        others: As for :func:`trainer_of`.
    """
    if isinstance(model, str):
        model, reference = model_of(model), model_of(model, seed=1)
    columns = others.pop("columns", planted(4, VOCABULARY))
    trainers = [
        trainer_of(
            copy.deepcopy(model), copy.deepcopy(reference), tokenizer, columns, output, shared_prefix=shared, **others
        )
        for shared in (True, False)
    ]
    return Arms(*trainers)


def named(trainer: Any) -> Any:
    """The transformers model of a trainer's policy, without adapter around it."""
    return trainer.model.get_base_model() if hasattr(trainer.model, "peft_config") else trainer.model


def call(model: Any, batch: dict[str, Any], **others: Any) -> Any:
    """A model called as TRL calls it."""
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, IGNORED)
    given = {name: batch[name] for name in ("input_ids", "attention_mask")}
    return model(**given, labels=labels, use_cache=False, fused_lm_head=True, **others)


@dataclass(frozen=True)
class Step:
    """What a forward and backward gave."""

    loss: float
    gradients: dict[str, Tensor]
    metrics: dict[str, float]


def step(trainer: Any, batch: dict[str, Any]) -> Step:
    """TRL's loss of a batch, its gradients and what was measured beside it."""
    trainer.model.train()
    trainer.model.zero_grad()
    trainer._metrics["train"].clear()
    trainer._total_train_tokens = 0
    loss = trainer.compute_loss(trainer.model, dict(batch))
    loss.backward()
    gradients = {
        name: parameter.grad.clone() for name, parameter in trainer.model.named_parameters() if parameter.requires_grad
    }
    return Step(loss.item(), gradients, {name: values[-1] for name, values in trainer._metrics["train"].items()})


def assert_same_step(found: Step, expected: Step) -> None:
    """Loss within 1e-4, and each gradient within 1e-4 of its own norm."""
    assert abs(found.loss - expected.loss) <= 1e-4
    assert found.gradients.keys() == expected.gradients.keys()
    for name, gradient in expected.gradients.items():
        difference = (found.gradients[name] - gradient).norm().item()
        assert difference <= 1e-4 * gradient.norm().item() + 1e-7, name


def assert_same_metrics(found: dict[str, float], expected: dict[str, float], ties: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """Continuous metrics within 1e-4; those that count equal, unless named as decided by rounding."""
    assert found.keys() == expected.keys()
    for name in expected.keys() - ties:
        bound = 0 if name in ("rewards/accuracies", "mean_token_accuracy", "num_tokens") else 1e-4
        assert abs(found[name] - expected[name]) <= bound, name


def decided_by_rounding(trainer: Any, batch: dict[str, Any], margins: Tensor) -> set[str]:
    """Metrics that count something which hangs on less than 1e-4: a likeliest token, a preferred response."""
    ties = {"rewards/accuracies"} if margins.abs().min() < 1e-4 else set()
    with torch.no_grad():
        logits = trainer.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    best, second = logits[:, :-1].topk(2).values.unbind(-1)
    asked = batch["completion_mask"][:, 1:].bool()
    return ties | ({"mean_token_accuracy"} if (best - second)[asked].min() < 1e-4 else set())


def assert_parity(both: Arms, batch: dict[str, Any]) -> None:
    """Log-probabilities, gradients and metrics of a batch are those of the plain forward."""
    logps = {}
    for which in ("model", "ref_model"):
        with torch.no_grad():
            found, expected = (call(getattr(arm, which), batch).log_probs for arm in (both.once, both.twice))
        assert found.shape == expected.shape
        assert (found - expected).abs().max().item() <= 1e-4, which
        logps[which] = expected.sum(1)
    found, expected = (step(arm, batch) for arm in (both.once, both.twice))
    assert_same_step(found, expected)
    chosen, rejected = (logps["model"] - logps["ref_model"]).chunk(2)
    ties = decided_by_rounding(both.twice, batch, both.twice.beta * (chosen - rejected))
    assert_same_metrics(found.metrics, expected.metrics, ties)


@contextmanager
def tokens_read(model: Any) -> Iterator[list[int]]:
    """Number of tokens of each call of a model's backbone from here on."""
    counts: list[int] = []

    def count(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        counts.append(kwargs["input_ids"].numel())

    hook = model.base_model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield counts
    finally:
        hook.remove()
