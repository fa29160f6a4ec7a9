"""The sides of ``preparing.py``: each is one piece of work on files that are there, run alone in a process of its own.

The released preparation is written here after its description: pandas reads the Parquet into a list of dicts, a loop
takes one at a time, averages its directions as a torch tensor made of a list of arrays, and holds everything until
one ``json.dump`` with indentation at the end. Its bugs are fixed, or it would do other work: nothing is carried from
one row to the next, directions are compared as whole numbers, and an all-neutral profile is empty. ``lean`` is the
same loop as somebody would write it who minds its speed: directions as plain numbers, and no indentation, without which
Python's encoder is the one written in C.

Nothing heavy is imported above: processes that our side starts load this file again.
"""

import json
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

Totals = Callable[[list[Any]], list[int]]
"""From directions of 0, 0.5 and 1 to the sum of each dimension, doubled: whole numbers."""

MANY = 1000
"""Texts that the tokenizer alone is given at a time."""


def released(data: Path, output: Path, **_: Any) -> int:
    """Both methods' prompts of every record into one JSON file."""
    return _row_at_a_time(data, output, totals=_totals_by_torch, indent=4)


def lean(data: Path, output: Path, **_: Any) -> int:
    """The same loop without its two slow steps."""
    return _row_at_a_time(data, output, totals=_totals, indent=None)


def _row_at_a_time(data: Path, output: Path, *, totals: Totals, indent: int | None) -> int:
    import pandas

    from alignx.records import load_taxonomy

    poles = [(dimension.negative, dimension.positive) for dimension in load_taxonomy().dimensions]
    rng, rows = random.Random(42), []
    for row in pandas.read_parquet(data).to_dict(orient="records"):
        comments, choices = list(row["User-Generated Content"]), list(row["Pair-wise Comparative Feedback"])
        some, others = rng.randint(0, 4), rng.randint(0, 4)
        if not some and not others:
            some = others = 4
        comments = rng.sample(comments, min(some, len(comments)))
        choices = rng.sample(choices, min(others, len(choices)))
        task = f"***Task***\n\n{row['prompt']}\n\n"
        ica = task + "***Historical Behavior and User Preferences***\n\n" + _history(comments, choices)
        pba = task + "***User Preferences***\n\n" + _profile([*comments, *choices], poles, totals)
        described = row["Demographic Information"]
        ica += described if isinstance(described, str) else ""
        rows.append(
            {
                "ica": _whole("user historical behavior and preferences", ica),
                "pba": _whole("user preferences", pba),
                "chosen": row["chosen"],
                "rejected": row["rejected"],
            }
        )
    with output.open("w", encoding="utf-8") as stream:
        json.dump(rows, stream, indent=indent)
    return len(rows)


def _whole(what: str, text: str) -> str:
    return f"Generate a task-specific response based on {what}.\n\n{text}\n\n***Response:***\n\n"


def _history(comments: Sequence[Any], choices: Sequence[Any]) -> str:
    text = ""
    if comments:
        text += "**This person has commented on some posts:**\n\n"
        for number, item in enumerate(comments, start=1):
            text += f"{number}. *Post:*\n{item['prompt']}\n\n*Comment:*\n{item['comment']}\n\n"
    if choices:
        text += "**This person has chosen or rejected comments on some posts:**\n\n"
        for number, item in enumerate(choices, start=1):
            text += f"{number}. *Post:*\n{item['prompt']}\n\n"
            text += f"*Chosen:*\n{item['chosen']}\n\n*Rejected:*\n{item['rejected']}\n\n"
    return text


def _totals_by_torch(directions: list[Any]) -> list[int]:
    import torch

    totals: list[int] = torch.tensor(directions).mul(2).sum(dim=0).int().tolist()
    return totals


def _totals(directions: list[Any]) -> list[int]:
    return [int(2 * sum(values)) for values in zip(*(direction.tolist() for direction in directions), strict=True)]


def _profile(items: Sequence[Any], poles: Sequence[tuple[str, str]], totals: Totals) -> str:
    stated = []
    for total, (negative, positive) in zip(
        totals([item["Preference Direction"] for item in items]), poles, strict=True
    ):
        if 5 * total >= 6 * len(items):  # a mean, total / 2n, of at least 0.6
            stated.append(positive)
        elif 5 * total <= 4 * len(items):
            stated.append(negative)
    return ", ".join(stated) or "No stated preferences."


def ours(data: Path, output: Path, workers: int, form: str, model: Path | None = None, **_: Any) -> int:
    """``alignx data prepare``: text of both methods, or token ids of one."""
    from alignx.prompts.preparing import PrepareSettings, prepare

    prepare(
        PrepareSettings(
            data=str(data),
            output=output,
            form=form,
            method="ica,pba" if form == "text" else "ica",
            model=str(model) if model is not None else None,
            workers=workers,
        )
    )
    return _count(output / "ica" if form == "text" else output)


def trl(texts: Path, output: Path, workers: int, model: Path, **_: Any) -> int:
    """TRL's own preparation of a data set of conversations, written to Arrow files as ``datasets`` does."""
    from datasets import disable_caching, disable_progress_bars, load_from_disk
    from trl import DPOConfig, DPOTrainer

    from alignx.prompts import load_tokenizer

    disable_progress_bars()
    disable_caching()  # or the next round would find this one's rows
    tokenizer, dataset = load_tokenizer(str(model)), load_from_disk(str(texts))
    config = DPOConfig(str(output), dataset_num_proc=workers, max_length=8192, use_cpu=True, bf16=False)
    trainer = SimpleNamespace(_tokenizer=tokenizer)  # all that the method asks of a trainer
    start = time.perf_counter()
    made = DPOTrainer._prepare_dataset(trainer, dataset, tokenizer, config, "train")
    _say_seconds(time.perf_counter() - start)
    return len(made)


def tokenizer_alone(texts: Path, output: Path, workers: int, model: Path, **_: Any) -> int:
    """The fast tokenizer on the same texts, ids thrown away: nothing that tokenises can be faster."""
    from datasets import load_from_disk

    from alignx.prompts import load_tokenizer

    tokenizer = load_tokenizer(str(model))
    rows = load_from_disk(str(texts)).to_list()
    prompts = [tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True) for row in rows]
    whole = [
        text
        for row, prompt in zip(rows, prompts, strict=True)
        for text in (prompt, row["chosen"][0]["content"], row["rejected"][0]["content"])
    ]
    backend = tokenizer.backend_tokenizer
    start = time.perf_counter()
    for first in range(0, len(whole), MANY):
        [encoding.ids for encoding in backend.encode_batch_fast(whole[first : first + MANY], add_special_tokens=False)]
    _say_seconds(time.perf_counter() - start)
    return len(rows)


def write_conversations(data: Path, folder: Path) -> Path:
    """The texts of ICA as TRL wants them: what our own preparation renders, as conversations on disk."""
    from datasets import Dataset, disable_progress_bars
    from pyarrow import parquet

    prepared = folder / "prepared-text"
    disable_progress_bars()
    with redirect_stdout(StringIO()):
        ours(data, prepared, workers=1, form="text")
    rows: dict[str, list[Any]] = {"prompt": [], "chosen": [], "rejected": []}
    for shard in sorted((prepared / "ica").glob("*.parquet")):
        for row in parquet.read_table(shard).to_pylist():
            turns = (("system", row["instruction"]), ("user", row["prompt"]))
            rows["prompt"].append([{"role": role, "content": content} for role, content in turns])
            for name in ("chosen", "rejected"):
                rows[name].append([{"role": "assistant", "content": row[name]}])
    Dataset.from_dict(rows).save_to_disk(str(folder / "conversations"))
    shutil.rmtree(prepared)
    return folder / "conversations"


def _count(folder: Path) -> int:
    from alignx import manifest

    return int(manifest.read(folder).counts["records"])


_inner_seconds: list[float] = []


def _say_seconds(seconds: float) -> None:
    """The time of what counts, where a side has to load things first that count for nobody."""
    _inner_seconds.append(seconds)


SIDES: dict[str, Callable[..., int]] = {
    "released": released,
    "lean": lean,
    "ours": ours,
    "trl": trl,
    "alone": tokenizer_alone,
}


def run(side: str, arguments: dict[str, Any]) -> dict[str, float]:
    """Do the work of a side once, in this process.

    Returns:
        ``seconds`` and ``records``; processor seconds of this process (``own``) and of those it started (``others``).
    """
    import_first(side, arguments)
    before = os.times()
    start = time.perf_counter()
    records = SIDES[side](**arguments)
    seconds = _inner_seconds.pop() if _inner_seconds else time.perf_counter() - start
    after = os.times()
    return {
        "seconds": seconds,
        "records": records,
        "own": after.user + after.system - before.user - before.system,
        "others": after.children_user + after.children_system - before.children_user - before.children_system,
    }


def import_first(side: str, arguments: dict[str, Any]) -> None:
    """Load the modules that a side needs before the clock starts; a tokenizer is loaded again by who needs one."""
    if side in ("released", "lean"):
        import pandas
        import pyarrow.parquet
        import torch  # noqa: F401

        pandas.DataFrame({"a": [np.zeros(1)]})
    elif side == "ours":
        import pandas  # pyarrow looks for it before it makes its first array
        import pyarrow.parquet  # noqa: F401

        import alignx.prompts.preparing  # noqa: F401
        from alignx.prompts import load_tokenizer

        if arguments.get("model") is not None:
            load_tokenizer(str(arguments["model"]))


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    paths = {name: Path(value) for name, value in asked["paths"].items()}
    print(json.dumps(run(asked["side"], {**asked["arguments"], **paths})))
