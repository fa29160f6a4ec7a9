"""What a conversion says at its end: what became of the rows, what to know about them, and how to go on."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from alignx.records.converting.rejection import Rejection
from alignx.records.converting.settings import ConversionSettings


def summary(
    settings: ConversionSettings, counts: Mapping[str, Any], rejections: Sequence[Rejection], unused: Sequence[str]
) -> str:
    """A few lines for the terminal."""
    records, users = counts["records"], counts["users"]
    total = sum(records.values())
    return "\n".join(
        [
            f"{settings.output}: {_count(counts['rows'], 'row')} in = {_count(total, 'record')} + "
            f"{_count(counts['comments'], 'comment')} + {len(rejections):,} rejected",
            *(
                f"  {name + '.jsonl':<16} {_count(records[name], 'record')} of {_count(users[name], 'user')}"
                for name in ("train", "test")
            ),
            f"  {'rejected.jsonl':<16} {_count(len(rejections), 'row')}",
            *(
                f"    {times:,} {reason}: {problem}" + (" …" if times > 1 else "")
                for reason, times, problem in tally(rejections)
            ),
            *(f"  note: {note}" for note in _notes(counts, unused)),
            *_next(settings, records),
        ]
    )


def tally(rejections: Sequence[Rejection]) -> Iterator[tuple[str, int, str]]:
    """Each reason in the order of its first row, how many rows it is, and what is wrong with the first."""
    for reason in dict.fromkeys(rejection.reason for rejection in rejections):
        problems = [rejection.problem for rejection in rejections if rejection.reason is reason]
        yield reason.value, len(problems), problems[0]


def _notes(counts: Mapping[str, Any], unused: Sequence[str]) -> Iterator[str]:
    """What is in order, and yet worth knowing before training."""
    if unused:
        yield f"columns that no setting names were not used: {', '.join(map(repr, unused))}"
    if left_out := counts["history_items_left_out"]:
        yield f"{_count(left_out, 'history item')} left out, since they show a text of their record under the same post"
    if silent := counts["without_history"]:
        yield f"{_count(silent, 'record')} without any history"
    if turned := counts["turned_round"]:
        yield f"{_count(turned, 'record')} contradict another of the same user: the same pair the other way round"
    if seen := counts["test_pairs_seen_in_training"]:
        yield (
            f"{seen:,} of {_count(counts['records']['test'], 'test record')} ask about a pair that a training user "
            "chose between too, so that what most users prefer there was seen in training"
        )


def _next(settings: ConversionSettings, records: Mapping[str, int]) -> Iterator[str]:
    """Commands that go on from here."""
    folder = shlex.quote(str(settings.output))
    name = "train" if records["train"] else "test"
    yield "next:"
    yield f"  alignx data preview --data {folder}/{name}.jsonl --method ica"
    for split in (name for name in ("train", "test") if records[name]):
        files = f"--data {folder}/{split}.jsonl --output {folder}-{split}.jsonl"
        yield f"  alignx annotate directions {files} --model MODEL"
    if records["train"]:
        yield f"  bash scripts/train_ica.sh --model MODEL --data {folder} --split train --output out/ica"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
