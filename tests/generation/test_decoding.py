"""Decoding: the tokens of a response are those of its prompt alone, whatever stands beside it."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig, LlamaForCausalLM, LlamaModel

from alignx.errors import ModelError
from alignx.generation import decoding
from alignx.generation.decoding import ERROR, Generated, Generator, Prompt
from alignx.generation.sampling import Noise, Row, Sampling, choose

GREEDY = Sampling(0.0)
LIMIT = 8


@pytest.fixture
def llama(model: Path) -> LlamaForCausalLM:
    return LlamaForCausalLM.from_pretrained(model, dtype=torch.float32).eval()


@pytest.fixture
def ends(llama: LlamaForCausalLM) -> tuple[int, ...]:
    return (llama.config.eos_token_id,)


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    """Twelve of very different lengths."""
    rng = random.Random(4)
    return [Prompt(f"r{n}", rng.choices(range(10, 900), k=rng.randint(1, 60))) for n in range(12)]


def generated(generator: Generator, prompts: Sequence[Prompt], rows: int, tokens: int = 10**9) -> dict[str, Generated]:
    found = [
        (one.id, said)
        for batch in generator.batches(prompts, rows, tokens)
        for one, said in zip(batch, generator.generate(batch), strict=True)
    ]
    assert len(found) == len(prompts)
    return dict(found)


def straight_line(model: Any, prompt: Prompt, ends: Sequence[int], sampling: Sampling) -> list[int]:
    """The response, token by token, all read anew each time."""
    said: list[int] = []
    noise = Noise(sampling.seed, prompt.id)
    while len(said) < LIMIT and not (said and said[-1] in ends):
        with torch.inference_mode():
            read = model(input_ids=torch.tensor([[*prompt.ids, *said]]), use_cache=False, logits_to_keep=1)
            logits = read.logits[0, -1]
        row = Row.of(range(len(logits)), logits.numpy(), whole=True)
        said.append(choose(row, sampling, noise, len(said)).token)
    return said


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(1.0, 0, 1.0), GREEDY], ids=["paper", "all", "greedy"])
def test_neither_batch_size_nor_order_changes_a_token(
    sampling: Sampling, llama: Any, ends: tuple[int, ...], prompts: list[Prompt]
) -> None:
    expected = {one.id: straight_line(llama, one, ends, sampling) for one in prompts}
    shuffled = random.Random(1).sample(prompts, len(prompts))
    for order, rows in ((prompts, 1), (shuffled, 3), (prompts[::-1], 12)):
        found = generated(Generator(llama, ends, sampling, LIMIT), order, rows)
        assert {name: one.ids for name, one in found.items()} == expected
        for one in found.values():
            assert one.finish == ("stop" if one.ids[-1] in ends else "length")
            assert one.finish == "stop" or len(one.ids) == LIMIT
    assert {one.finish for one in found.values()} == {"stop", "length"} or sampling.greedy


def test_greedy_tokens_are_those_of_transformers(llama: Any, ends: tuple[int, ...], prompts: list[Prompt]) -> None:
    how = {"do_sample": False, "max_new_tokens": LIMIT, "eos_token_id": ends[0], "pad_token_id": 0}
    expected = {
        one.id: llama.generate(torch.tensor([one.ids]), attention_mask=torch.ones(1, len(one.ids)), **how)[0]
        for one in prompts
    }
    found = generated(Generator(llama, ends, GREEDY, LIMIT), prompts, 8)
    assert {one.id: [*one.ids, *found[one.id].ids] for one in prompts} == {
        name: one.tolist() for name, one in expected.items()
    }


def test_another_seed_or_another_id_gives_other_tokens(
    llama: Any, ends: tuple[int, ...], prompts: list[Prompt]
) -> None:
    found = generated(Generator(llama, ends, Sampling(), LIMIT), prompts, 8)
    other = generated(Generator(llama, ends, Sampling(seed=1), LIMIT), prompts, 8)
    assert sum(found[name] != other[name] for name in found) > len(prompts) / 2
    renamed = [Prompt(f"x{one.id}", one.ids) for one in prompts]
    other = generated(Generator(llama, ends, Sampling(), LIMIT), renamed, 8)
    assert sum(found[name] != other[f"x{name}"] for name in found) > len(prompts) / 2


def test_a_models_own_generation_settings_change_nothing(
    llama: Any, ends: tuple[int, ...], prompts: list[Prompt]
) -> None:
    expected = generated(Generator(llama, ends, GREEDY, LIMIT), prompts, 8)
    llama.generation_config = GenerationConfig(
        do_sample=True, temperature=0.1, repetition_penalty=3.0, top_k=1, eos_token_id=[5, 6, 7], max_length=3
    )
    assert generated(Generator(llama, ends, GREEDY, LIMIT), prompts, 8) == expected


def doubled(llama: Any) -> Any:
    """Every token of the upper half of the vocabulary gets a twin in the lower half, as likely but for rounding."""
    weights = llama.get_input_embeddings().weight.data
    half = len(weights) // 2
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        weights[half:] = weights[:half] * (1 + 1e-5 * torch.randn(weights[:half].shape, generator=noise))
    return llama


def rough(monkeypatch: pytest.MonkeyPatch, by: float) -> None:
    """Logits are off by as much whenever rows are read together or from a cache: what rounding does, but more of it."""
    inner = LlamaForCausalLM.forward

    def forward(self: Any, input_ids: torch.Tensor, **others: Any) -> Any:
        found = inner(self, input_ids=input_ids, **others)
        if others.get("use_cache") is not False:
            noise = torch.Generator().manual_seed(sum(input_ids.shape))
            found.logits = found.logits + by * (2 * torch.rand(found.logits.shape, generator=noise) - 1)
        return found

    monkeypatch.setattr(LlamaForCausalLM, "forward", forward)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(top_k=3), GREEDY], ids=["paper", "three", "greedy"])
def test_rounding_within_the_error_allowed_for_changes_no_token_even_of_a_model_full_of_near_ties(
    sampling: Sampling, llama: Any, ends: tuple[int, ...], prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = doubled(llama)
    expected = {one.id: straight_line(model, one, ends, sampling) for one in prompts}
    monkeypatch.setattr(decoding, "ERROR", 0.02)  # so that it matters often in so few tokens
    rough(monkeypatch, by=0.018)
    generator = Generator(model, ends, sampling, LIMIT)
    for rows in (1, 5):
        assert {name: one.ids for name, one in generated(generator, prompts, rows).items()} == expected
    assert generator.reading.alone > 10
    assert 0.01 < generator.reading.largest_difference <= 0.02
    careless = Generator(model, ends, sampling, LIMIT, exact=False)
    found = [generated(careless, prompts, rows) for rows in (1, 5)]
    assert found[0] != found[1], "what was planted shows if nothing is read alone"


def test_rounding_beyond_the_error_allowed_for_is_said(
    llama: Any, ends: tuple[int, ...], prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    rough(monkeypatch, by=20 * ERROR)
    generator = Generator(llama, ends, Sampling(), LIMIT)
    with pytest.warns(UserWarning, match=r"more than the 1e-04 allowed for; another --batch-size may change a resp"):
        generated(generator, prompts[:3], 3)
    assert generator.reading.as_dict()["largest_difference"] > ERROR


def test_in_bfloat16_nothing_is_read_alone(llama: Any, ends: tuple[int, ...], prompts: list[Prompt]) -> None:
    generator = Generator(llama.to(torch.bfloat16), ends, Sampling(), LIMIT)
    found = generated(generator, prompts, 8)
    assert (generator.exact, generator.reading.alone) == (False, 0)
    assert found == generated(generator, prompts, 8), "the same batches give the same tokens"


def test_reading_alone_takes_one_thread_and_gives_the_others_back(
    llama: Any, ends: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    inner, threads = LlamaForCausalLM.forward, []

    def forward(self: Any, **others: Any) -> Any:
        threads.append(torch.get_num_threads())
        return inner(self, **others)

    monkeypatch.setattr(LlamaForCausalLM, "forward", forward)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        Generator(llama, ends, GREEDY, 1).alone([1, 2, 3])
        assert (threads, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


def test_batches_keep_to_rows_and_tokens_and_their_order(llama: Any, ends: tuple[int, ...]) -> None:
    prompts = [Prompt(str(n), [1] * length) for n, length in enumerate((30, 20, 20, 10, 5, 5, 90))]
    generator = Generator(llama, ends, GREEDY, 10)

    def lengths(rows: int, tokens: int) -> list[list[int]]:
        return [[len(one.ids) for one in batch] for batch in generator.batches(prompts, rows, tokens)]

    assert lengths(8, 10**9) == [[30, 20, 20, 10, 5, 5, 90]]
    assert lengths(3, 10**9) == [[30, 20, 20], [10, 5, 5], [90]]
    assert lengths(8, 80) == [[30, 20], [20, 10], [5, 5], [90]]  # of 40, 30, 15 and 100 tokens each
    assert lengths(8, 1) == [[30], [20], [20], [10], [5], [5], [90]]


def test_out_of_memory_halves_the_batch_and_changes_nothing_else(
    llama: Any, ends: tuple[int, ...], prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = generated(Generator(llama, ends, Sampling(), LIMIT), prompts, 12)
    inner, refused, after = LlamaModel.forward, [], iter(range(1_000))

    def forward(self: Any, input_ids: Any = None, **others: Any) -> Any:
        if len(input_ids) > 4 and next(after) > 2:  # in the middle of a response
            refused.append(len(input_ids))
            raise torch.OutOfMemoryError("out of memory (pretended)")
        return inner(self, input_ids=input_ids, **others)

    monkeypatch.setattr(LlamaModel, "forward", forward)
    assert generated(Generator(llama, ends, Sampling(), LIMIT), prompts, 12) == expected
    assert refused == [12, 6, 6]


def test_one_prompt_that_does_not_fit_is_named(
    llama: Any, ends: tuple[int, ...], prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("out of memory (pretended)")

    monkeypatch.setattr(LlamaModel, "forward", forward)
    said = rf"record r0: {len(prompts[0].ids)} tokens and {LIMIT} more do not fit .* lower --max-length or --max-new-t"
    with pytest.raises(ModelError, match=said):
        Generator(llama, ends, GREEDY, LIMIT).generate(prompts[:2])


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(top_k=0), GREEDY], ids=["paper", "all", "greedy"])
def test_broken_weights_end_the_run_at_a_named_record(
    sampling: Sampling, llama: Any, ends: tuple[int, ...], prompts: list[Prompt]
) -> None:
    with torch.no_grad():
        llama.model.norm.weight.fill_(float("nan"))
    with pytest.raises(ModelError, match=r"record r0: the logits of token 1 of its response are not finite numbers"):
        Generator(llama, ends, sampling, LIMIT).generate(prompts[:2])


def test_any_of_several_ends_ends_a_response_and_is_its_last_token(llama: Any, prompts: list[Prompt]) -> None:
    free = generated(Generator(llama, (1023,), GREEDY, LIMIT), prompts, 8)
    third = free["r0"].ids[2]
    cut = free["r0"].ids[: free["r0"].ids.index(third) + 1]
    found = generated(Generator(llama, (1023, third), GREEDY, LIMIT), prompts, 8)
    assert found["r0"] == Generated(cut, "stop")
