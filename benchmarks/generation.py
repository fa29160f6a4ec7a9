"""Responses generated together against one by one; and how often a batch changes one.

    python benchmarks/generation.py --size 10m --threads 1
    python benchmarks/generation.py --model out/demo/ica --data out/demo/world/test.jsonl --agree 400

All sides stand in one process, share the weights and take turns (A B A B). Before anything is timed, their greedy
tokens are compared, and the command stops if one differs:

- together: ours, ``--batch-size`` prompts of near lengths at a time;
- alone: ours, one prompt at a time;
- plain: transformers' own ``generate``, one prompt at a time, with nothing of ours in it.

By default the model is a Llama of random weights, which never ends a response, and prompts are random tokens. With
``--model`` and ``--data`` both are real, and rows that have ended wait for the longest of their batch.

``--agree N`` also generates N responses one by one and together, sampled and greedy: in float32 as we do, in float32
without reading anything alone, and in bfloat16; and prints how many differ. Nothing here has been run on a GPU.
"""

import argparse
import copy
import functools
import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import side_by_side
import torch

from alignx.generation.decoding import Generated, Generator, Prompt
from alignx.generation.sampling import Sampling

GREEDY = Sampling(temperature=0.0)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    side_by_side.add_arguments(parser)
    parser.add_argument("--model", type=Path, help="folder of a model, instead of random weights; needs --data")
    parser.add_argument("--data", type=Path, help="records whose prompts it answers")
    parser.add_argument("--method", default="ica", help="ica or pba, with --data; by default ica")
    parser.add_argument("--prompts", type=int, default=16, help="a round; by default 16")
    parser.add_argument("--prompt-tokens", type=int, nargs=2, default=(50, 300), help="bounds; by default 50 300")
    parser.add_argument("--max-new-tokens", type=int, default=64, help="by default 64")
    parser.add_argument("--batch-size", type=int, default=8, help="by default 8")
    parser.add_argument("--agree", type=int, default=0, metavar="N", help="count differing responses over N prompts")
    options = parser.parse_args(argv)
    if (options.model is None) != (options.data is None):
        parser.error("--model and --data go together")
    torch.set_num_threads(options.threads)
    count = max(options.prompts, options.agree)
    model, prompts, ends, title = real(options, count) if options.model else invented(options, count)
    result: dict[str, Any] = {"title": f"generation: {title}"}
    print(result["title"], flush=True)
    result |= speed(model, prompts[: options.prompts], ends, options)
    if options.agree:
        result["agreement"] = agreement(model, prompts[: options.agree], ends, options)
    side_by_side.write_json(result, options)


def invented(options: argparse.Namespace, count: int) -> tuple[Any, list[Prompt], tuple[int, ...], str]:
    """Random weights and random tokens."""
    shape = side_by_side.SHAPES[options.size or "10m"]
    model = side_by_side.random_model(shape, options, seed=0)
    rng = random.Random(0)
    drawn = [rng.randint(*options.prompt_tokens) for _ in range(count)]
    prompts = [Prompt(str(n), rng.choices(range(1, shape.vocabulary), k=length)) for n, length in enumerate(drawn)]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    words = side_by_side.model_in_words(shape, parameters, options)
    return model, prompts, (0,), f"{words}; prompts of {min(drawn)} to {max(drawn)} tokens"


def real(options: argparse.Namespace, count: int) -> tuple[Any, list[Prompt], tuple[int, ...], str]:
    """A model's folder, and the prompts of records."""
    from alignx.generation.prompting import PromptEncoder
    from alignx.models.loading import find_model, load_model
    from alignx.prompts import PairEncoder, choose_condition, load_tokenizer
    from alignx.records import Records

    condition = choose_condition(str(options.model), {"method": options.method}).condition
    encoder = PromptEncoder(load_tokenizer(str(options.model)), condition, options.max_new_tokens)
    pairs = PairEncoder(Records(str(options.data), limit=count), condition, encoder)
    prompts = [Prompt(pair.id, pair.prompt_ids) for pair in pairs]
    model = load_model(find_model(str(options.model)), options.dtype).to(options.device)
    lengths = [len(one.ids) for one in prompts]
    words = f"{options.model}, {options.dtype}, {options.threads} threads, {options.device}"
    return model, prompts, encoder.ends, f"{words}; prompts of {min(lengths)} to {max(lengths)} tokens"


def speed(model: Any, prompts: Sequence[Prompt], ends: tuple[int, ...], options: argparse.Namespace) -> dict[str, Any]:
    """Compare greedy tokens, then time all sides."""
    runs = {
        "together": functools.partial(generated, model, prompts, ends, options, GREEDY, options.batch_size),
        "alone": functools.partial(generated, model, prompts, ends, options, GREEDY, 1),
        "plain": functools.partial(plain, model, prompts, ends, options),
    }
    found = {name: run() for name, run in runs.items()}
    if options.dtype == "float32":
        assert found["together"] == found["alone"], "greedy tokens differ between together and alone"
        assert found["together"] == found["plain"], "greedy tokens differ from transformers' own"
    tokens = sum(len(one.ids) for one in found["together"].values())
    print(f"  {len(prompts)} responses, {tokens} greedy tokens, the same on all sides", flush=True)
    seconds = side_by_side.alternate(runs, options.rounds, options.device)
    ratios = {}
    for name, taken in seconds.items() if options.rounds else ():
        line = f"  {name}: {tokens / statistics.median(taken):,.0f} tokens/s"
        if name != "together":
            ratios[name] = side_by_side.ratio(seconds["together"], taken)
            line += "; together is {median:.2f} × as fast ({lowest:.2f} to {highest:.2f})".format(**ratios[name])
        print(line, flush=True)
    return {"tokens": tokens, "seconds": seconds, "ratios": ratios}


def generated(
    model: Any,
    prompts: Sequence[Prompt],
    ends: tuple[int, ...],
    options: argparse.Namespace,
    sampling: Sampling,
    rows: int,
    *,
    exact: bool = True,
    about: dict[str, Any] | None = None,
) -> dict[str, Generated]:
    """Responses by id, so many prompts at a time; ``about`` takes what was found on the way."""
    generator = Generator(model, ends, sampling, options.max_new_tokens, exact=exact)
    ordered = sorted(prompts, key=lambda one: -len(one.ids))
    found: dict[str, Generated] = {}
    for batch in generator.batches(ordered, rows, 10**9):
        found |= zip((one.id for one in batch), generator.generate(batch), strict=True)
    if about is not None:
        about |= generator.reading.as_dict()
    return found


@torch.inference_mode()
def plain(
    model: Any, prompts: Sequence[Prompt], ends: tuple[int, ...], options: argparse.Namespace
) -> dict[str, Generated]:
    """Transformers' own greedy search, one prompt at a time."""
    found = {}
    for one in prompts:
        ids = torch.tensor([one.ids], device=model.device)
        said = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=options.max_new_tokens,
            eos_token_id=list(ends),
            pad_token_id=ends[0],
        )[0, len(one.ids) :].tolist()
        found[one.id] = Generated(said, "stop" if said[-1] in ends else "length")
    return found


def agreement(
    model: Any, prompts: Sequence[Prompt], ends: tuple[int, ...], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """How many responses differ between one by one and together."""
    rounded = copy.deepcopy(model).to(torch.bfloat16)
    rows = []
    for sampling in (Sampling(), GREEDY):
        for title, of, exact in (
            ("float32", model.float(), True),
            ("float32, nothing read alone", model.float(), False),
            ("bfloat16", rounded, False),
        ):
            about: dict[str, Any] = {}
            run = functools.partial(generated, of, prompts, ends, options, sampling, exact=exact)
            one_by_one, together = run(1), run(options.batch_size, about=about)
            differing = sum(one_by_one[name] != together[name] for name in one_by_one)
            tokens = sum(len(one.ids) for one in together.values())
            how = "greedy" if sampling.greedy else "sampled"
            read = (
                f"; {about['read_alone']} tokens read alone, logits apart by {about['largest_difference']:.1e} at most"
            )
            print(
                f"  {how}, {title}: {differing} of {len(prompts)} responses ({differing / len(prompts):.1%}) differ "
                f"between batches of 1 and {options.batch_size}, over {tokens:,} tokens" + (read if exact else ""),
                flush=True,
            )
            rows.append(
                {"how": how, "what": title, "differing": differing, "tokens": tokens, **(about if exact else {})}
            )
    return rows


if __name__ == "__main__":
    main()
