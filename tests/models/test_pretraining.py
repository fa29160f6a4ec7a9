"""Pre-training: the rate, the padding, the probe and when to stop by hand; and that a stand-in does learn to read."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from alignx import manifest
from alignx.errors import DataError
from alignx.models import pretraining
from alignx.models.corpora import Document, Message, Probe
from alignx.models.loading import find_model
from alignx.models.pretraining import _Batches, _pad, _rate, pretrain, probe
from alignx.models.tiny import SIZES, TinyModelSettings, _random_model, make
from tests.records.world import DEMO, made

SIGNS = "^$_abc"
"""The vocabulary of the tests: beginning, end, padding, three letters."""


class Letters:
    """A tokenizer of one token a letter."""

    bos_token, eos_token, pad_token_id = "^", "$", 2

    def apply_chat_template(self, messages: list[dict[str, str]], *, tokenize: bool) -> str:
        assert not tokenize
        return "^" + "".join({"user": "a", "assistant": "b"}[one["role"]] + one["content"] for one in messages) + "$"

    def __call__(self, texts: Any, add_special_tokens: bool = True) -> dict[str, Any]:
        assert not add_special_tokens  # they are written out
        if isinstance(texts, str):
            return {"input_ids": [SIGNS.index(letter) for letter in texts]}
        return {"input_ids": [self(text, add_special_tokens=False)["input_ids"] for text in texts]}


class Pairs(torch.nn.Module):
    """A model that knows which letter follows which, and remembers what it was shown."""

    def __init__(self, follows: dict[str, float] | None = None) -> None:
        super().__init__()
        table = torch.zeros(len(SIGNS), len(SIGNS))
        for pair, share in (follows or {}).items():
            table[SIGNS.index(pair[0]), SIGNS.index(pair[1])] = math.log(share)
        self.table = torch.nn.Parameter(table)
        self.shown: list[list[str]] = []

    def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> SimpleNamespace:
        logits = self.table[input_ids]
        if labels is None:
            return SimpleNamespace(logits=logits)
        self.shown.append(["".join(SIGNS[i] for i in row) for row in input_ids.tolist()])
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100
        )
        return SimpleNamespace(loss=loss, logits=logits)


def texts(*contents: str) -> list[Document]:
    return [Document(text=content) for content in contents]


def settings(**changes: Any) -> TinyModelSettings:
    return TinyModelSettings(**{"steps": 20, "batch_size": 2, "learning_rate": 0.1, **changes})


PROBE = Probe(kind="said", text="ab", contrast="ac")


# ---- The rate ----


def test_the_rate_rises_over_a_twentieth_of_the_steps_and_falls_to_a_tenth() -> None:
    # 100 steps, so 5 of warm-up: the first has 1/5 of the full rate, the fifth all of what the cosine leaves.
    assert _rate(0, 100) == pytest.approx(0.2)
    assert _rate(1, 100) == pytest.approx(0.4, abs=0.001)
    assert _rate(4, 100) == pytest.approx(0.1 + 0.9 * (1 + math.cos(0.04 * math.pi)) / 2)
    assert _rate(50, 100) == pytest.approx(0.55)  # half way between 1 and 0.1
    assert _rate(100, 100) == pytest.approx(0.1)


def test_the_rate_stays_at_a_tenth_while_a_probe_wants_more() -> None:
    assert [_rate(step, 100) for step in (101, 150, 200)] == pytest.approx([0.1] * 3)


def test_a_run_of_fewer_than_twenty_steps_has_no_warm_up() -> None:
    assert _rate(0, 1) == _rate(0, 19) == 1.0
    assert _rate(0, 40) == pytest.approx(0.5)


def test_the_rate_falls_at_every_step_after_the_warm_up() -> None:
    rates = [_rate(step, 200) for step in range(200)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0.1 <= min(rates) < max(rates) < 1


# ---- Batches ----


def test_padding_worked_by_hand() -> None:
    input_ids, labels = _pad([[3, 4], [3, 4, 5, 1]], 2)
    assert input_ids.tolist() == [[3, 4, 2, 2], [3, 4, 5, 1]]
    assert labels.tolist() == [[3, 4, -100, -100], [3, 4, 5, 1]]


def test_padding_changes_nothing_in_the_loss() -> None:
    tokens = SimpleNamespace(bos_token_id=0, eos_token_id=1, pad_token_id=2)
    model = _random_model(SIZES["0.2m"], 300, tokens, 0).eval()
    short, long = list(range(3, 9)), list(range(20, 40))

    def loss(*rows: list[int]) -> float:
        input_ids, labels = _pad(rows, 2)
        with torch.inference_mode():
            return float(model(input_ids=input_ids, labels=labels).loss)

    assert loss(short, long) == pytest.approx((5 * loss(short) + 19 * loss(long)) / 24, rel=1e-5)
    assert loss(short) != pytest.approx(loss(long), rel=1e-3)


def test_every_document_comes_once_before_any_comes_again() -> None:
    batches = _Batches([[place] for place in range(10)], 4, 99, seed=0)
    order = [int(row) for _ in range(10) for row in next(batches)[0]]
    for start in range(0, 40, 10):
        assert sorted(order[start : start + 10]) == list(range(10))
    assert order[:10] != list(range(10))
    assert order[:10] != order[10:20]


def test_a_batch_may_be_larger_than_the_corpus() -> None:
    found = next(_Batches([[5], [6]], 5, 99, seed=0))[0].flatten().tolist()
    assert len(found) == 5
    assert set(found) == {5, 6}


def test_the_order_follows_from_the_seed() -> None:
    def order(seed: int) -> list[list[int]]:
        return next(_Batches([[place] for place in range(10)], 10, 99, seed))[0].tolist()

    assert order(1) == order(1) != order(2)


# ---- The probe ----


def test_a_probe_worked_by_hand() -> None:
    # After a: b with 3/4, c with 1/4 (of the two). 'ab' is likelier than 'ac'; 'ba' as likely as 'bc'.
    model = Pairs({"ab": 3, "ac": 1})
    probes = [
        Probe(kind="knows", text="ab", contrast="ac"),
        Probe(kind="knows", text="ac", contrast="ab"),
        Probe(kind="knows", text="cab", contrast="cac"),
        Probe(kind="ties", text="ba", contrast="bc"),
    ]
    assert probe(model, Letters(), probes) == {"knows": 2 / 3, "ties": 0.0}
    assert probe(model, Letters(), []) == {}


def test_a_probe_counts_every_token_after_the_beginning_and_no_padding() -> None:
    # Six tokens, all equally likely but after ^, where b is twice as likely as any other. The text's own first letter
    # counts, and its padding does not: 'a' = ln 1/7; 'bb' = ln 2/7 + ln 1/6, which is less.
    model = Pairs({"^b": 2})
    assert probe(model, Letters(), [Probe(kind="k", text="b", contrast="a")]) == {"k": 1.0}
    assert probe(model, Letters(), [Probe(kind="k", text="a", contrast="bb")]) == {"k": 1.0}
    assert probe(model, Letters(), [Probe(kind="k", text="bb", contrast="a")]) == {"k": 0.0}


# ---- Training ----


def test_documents_are_shown_between_beginning_and_end() -> None:
    model = Pairs()
    pretrain(model, Letters(), texts("ab", "c"), [], settings(steps=3))
    assert [sorted(batch) for batch in model.shown] == [["^ab$", "^c$_"]] * 3


def test_conversations_are_shown_as_the_chat_template_frames_them() -> None:
    model = Pairs()
    turns = (Message(role="user", content="cc"), Message(role="assistant", content="c"))
    pretrain(model, Letters(), [*texts("a"), Document(messages=turns)], [], settings(steps=1))
    assert sorted(model.shown[0]) == ["^a$____", "^accbc$"]


def test_the_optimizer_has_the_rate_of_each_step_no_decay_and_gradients_of_at_most_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[float, float]] = []
    given: dict[str, Any] = {}

    class Watched(torch.optim.AdamW):
        def __init__(self, parameters: Iterator[Any], **options: Any) -> None:
            given.update(options)
            super().__init__(parameters, **options)

        def step(self, closure: Any = None) -> Any:
            (group,) = self.param_groups
            seen.append((group["lr"], float(group["params"][0].grad.norm())))
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "AdamW", Watched)
    model = Pairs()
    with torch.no_grad():
        model.table[SIGNS.index("a"), SIGNS.index("c")] = 50.0  # sure of what is wrong, so that gradients are large
        model.table[SIGNS.index("b"), SIGNS.index("c")] = 50.0
        model.table[0, 5] = 50.0
    before = model.table.detach().clone()
    pretrain(model, Letters(), texts("abab"), [], settings(steps=40, batch_size=1))
    assert [rate for rate, _ in seen] == pytest.approx([0.1 * _rate(step, 40) for step in range(40)])
    assert (given["betas"], given["weight_decay"]) == ((0.9, 0.95), 0.0)
    assert max(norm for _, norm in seen) <= 1 + 1e-5
    assert torch.equal(model.table[2], before[2])  # nothing pulls at what is never seen
    assert model.table[2].tolist() != model.table[3].tolist()


def test_gradients_are_of_one_step_each_and_large_ones_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []
    own = torch.nn.utils.clip_grad_norm_

    def watched(parameters: Any, most: float) -> Tensor:
        parameters = list(parameters)
        norms.append(float(parameters[0].grad.norm()))
        assert most == 1.0
        return own(parameters, most)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", watched)
    pretrain(Pairs(), Letters(), texts("ab"), [], settings(steps=3, batch_size=1, learning_rate=1e-6))
    assert norms == pytest.approx([norms[0]] * 3, rel=1e-3)  # the weights hardly move, and nothing adds up


def test_the_loss_that_is_told_is_the_last_step_s() -> None:
    found = pretrain(Pairs(), Letters(), texts("ab"), [], settings(steps=1, batch_size=1))
    assert found == {"documents": 1, "steps": 1, "loss": pytest.approx(math.log(6)), "probe": {}}  # of six letters


def test_training_makes_a_model_ready_for_use() -> None:
    model = Pairs()
    model.eval()
    modes: list[bool] = []
    model.register_forward_hook(lambda *_: modes.append(model.training))
    pretrain(model, Letters(), texts("ab"), [], settings(steps=2))
    assert modes == [True, True]
    assert not model.training


def scripted(monkeypatch: pytest.MonkeyPatch, shares: Sequence[dict[str, float]]) -> list[int]:
    """Let the probe find these shares one after the other, the last one again and again; tells at which calls."""
    calls: list[int] = []

    def found(*_: Any) -> dict[str, float]:
        calls.append(len(calls))
        return shares[min(len(calls), len(shares)) - 1]

    monkeypatch.setattr(pretraining, "probe", found)
    return calls


@pytest.mark.parametrize(
    ("shares", "steps", "checks"),
    [
        ([0.9], 150, 1),  # enough at once: after the steps asked for, not before
        ([0.89, 0.9], 250, 2),  # a hundred more
        ([0.5], 300, 3),  # never: twice as many, and that model is probed too
    ],
)
def test_training_goes_on_while_the_probe_is_not_content_and_never_more_than_twice_as_long(
    shares: list[float], steps: int, checks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = scripted(monkeypatch, [{"said": share} for share in shares])
    model = Pairs()
    found = pretrain(model, Letters(), texts("ab"), [PROBE], settings(steps=150, batch_size=1))
    assert found["steps"] == len(model.shown) == steps
    assert found["probe"] == {"said": shares[-1]}
    assert len(calls) == checks


def test_every_kind_of_probe_must_be_content(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [{"said": 1.0, "stated": 0.5}, {"said": 0.5, "stated": 1.0}, {"said": 0.95, "stated": 0.91}])
    assert pretrain(Pairs(), Letters(), texts("ab"), [PROBE], settings(steps=300, batch_size=1))["steps"] == 500


def test_without_probes_training_ends_when_asked() -> None:
    assert pretrain(Pairs(), Letters(), texts("ab"), [], settings(steps=150, batch_size=1))["steps"] == 150


def test_how_it_went_is_told_and_warned_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    scripted(monkeypatch, [{"said": 0.5, "stated": 0.95}])
    pretrain(Pairs(), Letters(), texts("ab"), [PROBE], settings(steps=1, batch_size=1, learning_rate=1e-9))
    told = capsys.readouterr().err
    assert "pre-trained for 2 steps, loss 1.792; probe: said 0.50, stated 0.95\n" in told  # ln 6
    assert "warning: 0.90 of each kind were wanted; DPO has less to start from\n" in told
    scripted(monkeypatch, [{"said": 0.9}])
    pretrain(Pairs(), Letters(), texts("ab"), [PROBE], settings(steps=1, batch_size=1, learning_rate=1e-9))
    assert "warning" not in capsys.readouterr().err
    monkeypatch.undo()
    pretrain(Pairs(), Letters(), texts("ab"), [], settings(steps=1, batch_size=1, learning_rate=1e-9))
    assert "pre-trained for 1 steps, loss 1.792\n" in capsys.readouterr().err


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    def weights(seed: int) -> Tensor:
        model = Pairs()
        pretrain(model, Letters(), texts("ab", "abc", "ca", "bb"), [], settings(steps=30, batch_size=2, seed=seed))
        return model.table.detach()

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


# ---- A stand-in that has learned to read ----


def test_random_weights_are_as_wide_as_the_root_of_one_over_the_width() -> None:
    tokens = SimpleNamespace(bos_token_id=0, eos_token_id=1, pad_token_id=2)
    weights = _random_model(SIZES["0.2m"], 1024, tokens, 0).get_input_embeddings().weight
    assert float(weights.detach()[3:].std()) == pytest.approx(64**-0.5, rel=0.02)  # 65,344 of them; Llama's own is 0.02


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("small") / "world", **DEMO, train=60, test=8, corpus=300)


def stand_in(world: Path, folder: Path, **changes: Any) -> Path:
    files = {"data": str(world / "train.jsonl"), "train": world / "corpus.jsonl"}
    return make(
        TinyModelSettings(
            **{"output": folder, "size": "0.2m", "pieces": "phrases", "batch_size": 12, **files, **changes}
        )
    )


def test_a_stand_in_learns_to_read_in_seconds(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = manifest.read(stand_in(world, tmp_path / "m", steps=60)).counts
    start = manifest.read(stand_in(world, tmp_path / "n", steps=1)).counts
    learned, untaught = found["pretraining"], start["pretraining"]
    assert (learned["documents"], learned["steps"], learned["probe"]) == (300, 60, {})
    assert found["parameters"] == start["parameters"]
    assert untaught["loss"] > 0.8 * math.log(found["tokens"])  # random weights know nothing
    assert learned["loss"] < 0.5 * untaught["loss"]
    assert "pre-trained for 60 steps" in capsys.readouterr().err


def test_a_taught_stand_in_is_the_same_each_time_and_not_the_untaught_one(world: Path, tmp_path: Path) -> None:
    def identity(name: str, **changes: Any) -> Any:
        return find_model(str(stand_in(world, tmp_path / name, **changes))).identity()

    once, again, longer = identity("a", steps=3), identity("b", steps=3), identity("c", steps=4)
    untaught = identity("d", train=None)
    assert (again.digest, again.tokenizer) == (once.digest, once.tokenizer)
    assert len({once.digest, longer.digest, untaught.digest}) == 3
    assert longer.tokenizer == once.tokenizer != untaught.tokenizer  # documents train the tokenizer too


def test_the_manifest_of_a_taught_stand_in_says_what_its_probe_found(world: Path, tmp_path: Path) -> None:
    folder = stand_in(world, tmp_path / "m", steps=2, probe=world / "probe.jsonl", enough=0.5)
    found = manifest.read(folder)
    assert set(found.counts["pretraining"]["probe"]) == {"stated", "said"}
    assert found.settings["train"] == str(world / "corpus.jsonl")


def test_documents_or_probes_that_cannot_be_read_leave_no_model_behind(world: Path, tmp_path: Path) -> None:
    for changes in (
        {"train": tmp_path / "absent.jsonl"},
        {"probe": tmp_path / "absent.jsonl"},
        {"probe": world / "corpus.jsonl"},
    ):
        with pytest.raises(DataError, match=r"jsonl:"):
            stand_in(world, tmp_path / "m", **changes)
    assert not (tmp_path / "m").exists()


def test_a_probe_without_documents_is_refused() -> None:
    with pytest.raises(ValueError, match="--probe says when --train may stop, so it needs --train"):
        TinyModelSettings(probe=Path("probe.jsonl"))


@pytest.mark.parametrize(
    "changes", [{"steps": 0}, {"batch_size": 0}, {"learning_rate": 0}, {"enough": 0.49}, {"enough": 1.01}]
)
def test_impossible_settings_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        settings(**changes)


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    from alignx.errors import TrainingError

    model = Pairs()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="step 1: the loss is nan; lower --learning-rate"):
        pretrain(model, Letters(), texts("ab"), [], settings(steps=3, batch_size=1))
