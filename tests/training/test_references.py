"""The reference's log-probabilities: computed once before training, the same as online, shared with scoring."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from alignx import manifest
from alignx.errors import DataError
from alignx.evaluation.scores import score
from alignx.models.loading import find_model, load_model
from alignx.models.score_cache import ScoreCache
from alignx.models.scoring import ResponseScorer
from alignx.training import references
from alignx.training.references import References, reference_scores
from alignx.training.run import train
from tests.evaluation.conftest import perturbed
from tests.evaluation.conftest import settings as settings_of_scores
from tests.training.runs import batches, losses, planted, read_jsonl, response_logp, settings, short_records
from tests.worlds import write_jsonl


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 records, all different."""
    rows = [{"id": f"r{i}", **row, "user": f"u{i}"} for i, row in enumerate(short_records(10, seed=5))]
    rows = [row for i, row in enumerate(rows) if i not in (4, 9)]  # whose targets are there already
    return write_jsonl(tmp_path_factory.mktemp("references") / "records.jsonl", rows)


@contextmanager
def watched() -> Iterator[list[str]]:
    """The ids of the pairs that a model reads from here on, but for the policy's training."""
    inner, read = ResponseScorer.score, list[str]()

    def watching(self: Any, batch: Sequence[Any]) -> Any:
        read.extend(one.id for one in batch)
        return inner(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ResponseScorer, "score", watching)
        yield read


# The same losses.

COMPANIONS: dict[str, dict[str, Any]] = {
    "sigmoid": {},
    "ipo": {"loss_type": "ipo"},
    "sigmoid_norm": {"loss_type": "sigmoid_norm"},
    "wpo": {"wpo": True},
    "each prompt twice": {"shared_prefix": False},
    "lora": {"lora_rank": 4, "learning_rate": 1e-2},
    "forward_kl": {"f_divergence": "forward_kl"},
    "pba": {"method": "pba"},
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if place > 1 else []) for place, name in enumerate(COMPANIONS)]
)
def test_losses_are_those_of_a_reference_that_is_asked_at_every_step(
    name: str, tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    """The slow ones take 4 seconds each."""
    both = {}
    for reference in ("precomputed", "online"):
        how = {"epochs": 2, "warmup_ratio": 0.0, **COMPANIONS[name], "reference": reference}
        both[reference] = train(settings(tiny_model, data, tmp_path / reference, **how))
    found, expected = (losses(both[reference]) for reference in ("precomputed", "online"))
    assert len(found) == 4
    assert found[0] == pytest.approx(expected[0], abs=1e-5)
    # Rounding of the first step, carried on by those after it; forward_kl takes the exponential of log ratios.
    assert found == pytest.approx(expected, abs=1e-4 if name == "forward_kl" else 1e-5)
    assert found[3] != pytest.approx(found[0], abs=1e-3), "nothing was learned, so nothing was compared"
    lines = [[line for line in read_jsonl(run / "metrics.jsonl") if "loss" in line] for run in both.values()]
    for one, other in zip(*lines, strict=True):
        assert one["rewards/margins"] == pytest.approx(other["rewards/margins"], abs=1e-4)


def test_held_out_losses_are_those_of_a_reference_that_is_asked(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    said = []
    for reference in ("precomputed", "online"):
        how = {"eval_rows": 4, "warmup_ratio": 0.0, "reference": reference}
        run = train(settings(tiny_model, data, tmp_path / reference, **how))
        (line,) = (line for line in read_jsonl(run / "metrics.jsonl") if "eval_loss" in line)
        said.append([line[f"eval_{name}"] for name in ("loss", "rewards/margins", "rewards/chosen")])
        assert manifest.read(run).counts["evaluation"] == 4
    assert said[0] == pytest.approx(said[1], abs=1e-5)


@pytest.mark.parametrize("ld_alpha", [0.0, 0.5, 1.0])
def test_a_loss_that_weighs_the_references_own_tokens_needs_it_at_every_step(ld_alpha: float) -> None:
    model = data = output = Path("somewhere")
    with pytest.raises(ValueError, match="--ld-alpha needs --reference online"):
        settings(model, data, output, ld_alpha=ld_alpha)
    assert settings(model, data, output, ld_alpha=ld_alpha, reference="online").ld_alpha == ld_alpha


# Once.


def test_a_second_run_computes_nothing_and_loads_no_reference(
    tiny_model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []

    def loading(*arguments: Any) -> Any:
        loaded.append(arguments)
        return load_model(*arguments)

    monkeypatch.setattr("alignx.training.run.load_model", loading)
    with watched() as read:
        first = train(settings(tiny_model, data, tmp_path / "one"))
    assert sorted(read) == [f"r{i}" for i in (0, 1, 2, 3, 5, 6, 7, 8)]
    assert len(loaded) == 2, "the reference, and the policy after it"
    assert "reference: 8 pairs computed, 0 remembered" in capsys.readouterr().err
    assert manifest.read(first).counts["reference"] == {"remembered": 0, "computed": 8}
    with watched() as read:
        second = train(settings(tiny_model, data, tmp_path / "two", beta=0.3))
    assert read == []
    assert len(loaded) == 3
    assert "reference: 0 pairs computed, 8 remembered" in capsys.readouterr().err
    assert manifest.read(second).counts["reference"] == {"remembered": 8, "computed": 0}
    assert losses(second)[0] == pytest.approx(losses(first)[0], abs=1e-6)  # ln 2 of the same batch


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_run_that_ends_early_asks_the_reference_only_for_what_it_reads(
    steps: int, tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    """8 records, 4 a step: the third step is in the second epoch."""
    with watched() as read:
        run = train(settings(tiny_model, data, tmp_path / "run", max_steps=steps, log_batches=True))
    trained_on = [name for ids in batches(run) for name in ids]
    assert len(trained_on) == 4 * steps
    assert sorted(read) == sorted(set(trained_on))


def test_no_reference_is_in_memory_while_training(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    from alignx.training.trainer import EncodedDPOTrainer

    found = []
    inner = EncodedDPOTrainer.compute_loss

    def looking(self: Any, *arguments: Any, **named: Any) -> Any:
        found.append(self.ref_model)
        return inner(self, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EncodedDPOTrainer, "compute_loss", looking)
        train(settings(tiny_model, data, tmp_path / "one", max_steps=1))
        train(settings(tiny_model, data, tmp_path / "two", max_steps=1, reference="online"))
    assert found[0] is None
    assert found[-1] is not None


# Shared with scoring.


def scoring(*where: Any, **others: Any) -> Any:
    """Settings that say nothing of how to compute: else it is computed, whatever is remembered."""
    return settings_of_scores(*where, **{"batch_tokens": None, **others})


def test_what_training_computed_scoring_does_not_compute_again(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    alone = score(scoring(tiny_model, data, tmp_path / "alone.jsonl", reference_cache=tmp_path / "elsewhere"))
    train(settings(tiny_model, data, tmp_path / "run", history="all"))
    with watched() as read:
        found = score(scoring(tiny_model, data, tmp_path / "found.jsonl"))
    assert read == []
    lines, expected = read_jsonl(found), read_jsonl(alone)
    assert len(lines) == 8
    for line, other in zip(lines, expected, strict=True):
        assert [line["chosen"], line["rejected"]] == pytest.approx([other["chosen"], other["rejected"]], abs=1e-4)
        assert {**line, "chosen": 0, "rejected": 0} == {**other, "chosen": 0, "rejected": 0}


def test_what_scoring_computed_training_does_not_compute_again(
    tiny_model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score(scoring(tiny_model, data, tmp_path / "scores.jsonl"))
    with watched() as read:
        train(settings(tiny_model, data, tmp_path / "run", history="all"))
    assert read == []
    assert "reference: 0 pairs computed, 8 remembered" in capsys.readouterr().err


def test_another_precision_and_other_weights_are_not_mixed_up(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    score(scoring(tiny_model, data, tmp_path / "scores.jsonl"))
    other = perturbed(tiny_model, tmp_path / "other", seed=3)
    for name, model, dtype in (("precision", tiny_model, "bfloat16"), ("weights", other, "float32")):
        with watched() as read:
            score(scoring(model, data, tmp_path / f"{name}.jsonl", dtype=dtype))
        assert len(read) == 8, name
    with watched() as read:
        train(settings(other, data, tmp_path / "run", history="all"))
    assert read == []  # it is the other model that is remembered now, too


def test_the_scores_of_a_checkpoint_are_not_remembered(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    run = train(settings(tiny_model, data, tmp_path / "run", history="all", reference_cache=tmp_path / "cache"))
    for number in (1, 2):
        with watched() as read:
            score(scoring(run, data, tmp_path / f"{number}.jsonl", reference_cache=tmp_path / "policy"))
        assert len(read) == 8
    assert not (tmp_path / "policy").exists()


# The computation itself, on pairs that no tokenizer made.


class Asked:
    """A base model, what it is asked and what is remembered of it."""

    def __init__(self, model: Path, folder: Path) -> None:
        self.files = find_model(str(model))
        self.cache = ScoreCache(folder, self.files.identity("float32"))
        self.loaded = 0

    def load(self) -> Any:
        self.loaded += 1
        return load_model(self.files, "float32")

    def __call__(self, columns: dict[str, list[Any]], shared_prefix: bool = True) -> References:
        from accelerate import PartialState
        from datasets import Dataset

        rows = Dataset.from_dict(columns)
        return reference_scores(rows, self.cache, self.load, PartialState(cpu=True), 0, shared_prefix)

    def by_definition(self, columns: dict[str, list[Any]], name: str) -> list[float]:
        model = load_model(self.files, "float32")
        return [
            response_logp(model, prompt, response)
            for prompt, response in zip(columns["prompt_ids"], columns[f"{name}_ids"], strict=True)
        ]


@pytest.fixture
def asked(tiny_model: Path, tmp_path: Path) -> Asked:
    return Asked(tiny_model, tmp_path / "cache")


@pytest.mark.parametrize("shared_prefix", [True, False])
def test_each_row_gets_the_log_probabilities_of_its_own_responses(shared_prefix: bool, asked: Asked) -> None:
    columns = planted(7, vocabulary=1000)
    found = asked(columns, shared_prefix)
    assert found.chosen == pytest.approx(asked.by_definition(columns, "chosen"), abs=1e-3)
    assert found.rejected == pytest.approx(asked.by_definition(columns, "rejected"), abs=1e-3)
    assert (found.remembered, asked.loaded) == (0, 1)
    assert found.forward is not None
    assert found.forward["shared_prefix"] is shared_prefix


def test_the_order_of_rows_changes_no_value_and_what_is_known_loads_no_model(asked: Asked) -> None:
    columns = planted(7, vocabulary=1000)
    first = asked(columns)
    turned = asked({name: values[::-1] for name, values in columns.items()})
    assert (turned.chosen, turned.rejected) == (first.chosen[::-1], first.rejected[::-1])
    assert (turned.remembered, turned.forward, asked.loaded) == (7, None, 1)


def test_equal_pairs_are_computed_once_whatever_they_are_called(asked: Asked) -> None:
    columns = planted(4, vocabulary=1000)
    for name in ("prompt_ids", "chosen_ids", "rejected_ids"):
        columns[name][2] = columns[name][0]
    columns["prompt_ids"][3], columns["chosen_ids"][3] = columns["prompt_ids"][0], columns["chosen_ids"][0]
    with watched() as read:
        found = asked(columns)
    assert len(read) == 3
    assert len(set(read) & {"planted-0", "planted-2"}) == 1
    assert (found.chosen[0], found.rejected[0]) == (found.chosen[2], found.rejected[2])
    assert found.rejected[3] == pytest.approx(asked.by_definition(columns, "rejected")[3], abs=1e-3)


def test_the_longest_pairs_are_read_first(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "BATCH_TOKENS", {"cpu": 1})
    columns = planted(6, vocabulary=1000)
    with watched() as read:
        asked(columns)
    tokens = {
        name: sum(len(columns[f"{part}_ids"][row]) for part in ("prompt", "chosen", "rejected"))
        for row, name in enumerate(columns["id"])
    }
    assert [tokens[name] for name in read] == sorted(tokens.values(), reverse=True)


def test_a_part_that_fits_no_chunk_changes_nothing(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = planted(7, vocabulary=1000)
    monkeypatch.setattr(references, "_CHUNK", 3)
    found = asked(columns)
    assert found.chosen == pytest.approx(asked.by_definition(columns, "chosen"), abs=1e-3)
    assert found.rejected == pytest.approx(asked.by_definition(columns, "rejected"), abs=1e-3)


def test_what_was_computed_before_a_kill_is_not_computed_again(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "BATCH_TOKENS", {"cpu": 1})
    columns, inner, calls = planted(7, vocabulary=1000), ResponseScorer.score, iter(range(4))

    def until_killed(self: Any, batch: Any) -> Any:
        if next(calls, None) is None:
            raise Killed
        return inner(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(ResponseScorer, "score", until_killed)
        with pytest.raises(Killed):
            asked(columns)
    assert len(asked.cache.read()) == 4
    with watched() as read:
        found = asked(columns)
    assert (len(read), found.remembered) == (3, 4)
    assert found.chosen == pytest.approx(asked.by_definition(columns, "chosen"), abs=1e-3)


@pytest.mark.parametrize("cut", [1, 8, 60])
def test_a_line_that_a_kill_cut_off_is_computed_again(cut: int, asked: Asked) -> None:
    columns = planted(5, vocabulary=1000)
    first = asked(columns)
    (path,) = asked.cache.folder.glob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-cut])
    with watched() as read:
        found = asked(columns)
    assert (len(read), found.remembered) == (1, 4)
    assert found.chosen == pytest.approx(first.chosen, abs=1e-4)
    assert found.rejected == pytest.approx(first.rejected, abs=1e-4)


def test_a_broken_line_before_others_is_named_by_training_and_scoring(
    tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    score(scoring(tiny_model, data, tmp_path / "scores.jsonl", reference_cache=cache))
    (path,) = cache.rglob("*.jsonl")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1][:20], *lines[2:]]) + "\n")
    said = rf"{path.name}:2: no line of a key and two log-probabilities; delete this file"
    with pytest.raises(DataError, match=said):
        train(settings(tiny_model, data, tmp_path / "run", history="all", reference_cache=cache))
    with pytest.raises(DataError, match=said):
        score(scoring(tiny_model, data, tmp_path / "again.jsonl", reference_cache=cache))


# Where it is remembered.


def test_the_folder_is_the_one_that_was_set_else_that_of_the_environment(
    tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIGNX_CACHE", str(tmp_path / "environment"))
    train(settings(tiny_model, data, tmp_path / "one", max_steps=1, reference_cache=tmp_path / "own"))
    assert not list((tmp_path / "environment").rglob("*.jsonl"))
    train(settings(tiny_model, data, tmp_path / "two", max_steps=1))
    known = [
        {json.loads(line)[0] for path in (tmp_path / place).rglob("*.jsonl") for line in path.read_text().splitlines()}
        for place in ("own", "environment")
    ]
    assert known[0] == known[1]
    assert len(known[0]) == 4
