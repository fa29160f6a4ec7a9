"""Synthetic records shaped like AlignX's, as many as wanted, the same for the same seed.

    python benchmarks/synthetic_records.py --records 160000 --output out/records.parquet
    python benchmarks/synthetic_records.py --records 1000000 --output out/records.jsonl

Each record has a target, 4 comments and 4 choices, every item with a direction over 90 dimensions, and 7 of 10 have
demographics. The words are made up of syllables and mean nothing; what is fitted is how many there are. A text is a
stretch of one long pool of sentences, cut at words, so that a record costs microseconds and a million is a matter of
minutes.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

# Words of a text are log-normal. The means and deviations of the logarithm are those of P-Soups' student_phd.json:
# 600 targets (posts: quartiles 9, 13, 20 words; responses 11.5, 23, 54) and 2,400 pairs of history (posts: 10, 14, 18;
# responses 7, 9, 15). That file has no comments: they are taken to be as long as responses of the history.
POST = (2.64, 0.55)
RESPONSE = (3.18, 0.98)
PAST_POST = (2.67, 0.49)
PAST_RESPONSE = (2.17, 0.70)
LONGEST = 800
"""Words. The longest response of that file has 220; the cut keeps a rare draw from being a book."""
DEMOGRAPHICS = (3.6, 0.3)
"""Not in that file: a paragraph of two or three sentences."""
SHARE_WITH_DEMOGRAPHICS = 0.7
SHARE_NEUTRAL = 0.85
ITEMS = 4
"""Of each kind of history."""
DIMENSIONS = 90
HEADER = "**This person's persona is:**\n"
_CHUNK = 4096
_POOL_WORDS = 400_000
_DIRECTION = "Preference Direction"


@dataclass(frozen=True)
class Pool:
    """Sentences in one string, with where each word begins."""

    text: str
    starts: list[int]

    def texts(self, rng: np.random.Generator, count: int, words: tuple[float, float]) -> list[str]:
        """Stretches of the pool, each of a log-normal number of words."""
        lengths = np.clip(np.rint(rng.lognormal(*words, count)), 1, LONGEST).astype(int)
        first = rng.integers(0, len(self.starts) - LONGEST - 1, count)
        text, starts = self.text, self.starts
        ends = (first + lengths).tolist()
        return [text[starts[begin] : starts[end] - 1] for begin, end in zip(first.tolist(), ends, strict=True)]


@cache
def pool(seed: int) -> Pool:
    """Made-up words by Zipf's law, in sentences with the punctuation of a forum; a few characters are not ASCII."""
    rng = np.random.default_rng([seed, 0])
    syllables = [onset + ending for onset in _ONSETS for ending in _ENDINGS]
    vocabulary = sorted(
        {"".join(rng.choice(syllables, size)) for size in rng.choice([1, 1, 2, 2, 2, 3], 30_000)}, key=len
    )
    rank = np.arange(1, len(vocabulary) + 1)
    chosen = rng.choice(len(vocabulary), _POOL_WORDS, p=(weight := 1 / (rank + 2)) / weight.sum())
    marks = rng.choice(["", ",", ".", "?", "!", ".\n\n", " —", "…", " 🙂"], _POOL_WORDS, p=_MARKS)
    words, start, starts, pieces = [vocabulary[index] for index in chosen], 0, [], []
    capital = True
    for word, mark in zip(words, marks.tolist(), strict=True):
        piece = (word.capitalize() if capital else word) + mark + " "
        starts.append(start)
        start += len(piece)
        pieces.append(piece)
        capital = mark[:1] in (".", "?", "!", "…")
    return Pool("".join(pieces), starts)


_ONSETS = (*"bcdfghklmnprstvw", "ch", "gr", "pl", "sh", "st", "th", "tr")
_ENDINGS = (*"aeiou", "ai", "ea", "ou", "an", "en", "in", "on", "ar", "er", "or", "at", "et", "ing", "ess", "ion")
_MARKS = [0.855, 0.06, 0.05, 0.01, 0.006, 0.01, 0.004, 0.004, 0.001]


def chunks(count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Columns of records, a few thousand at a time.

    Yields:
        ``prompt``, ``chosen``, ``rejected``: lists of texts; ``demographics``: texts, empty for some;
        ``direction``: ``(records, 90)`` float64 of 0, 0.5 and 1; ``comments`` and ``choices``: the same columns, flat,
        four of each a record.
    """
    sentences = pool(seed)
    for start in range(0, count, _CHUNK):
        size = min(_CHUNK, count - start)
        rng = np.random.default_rng([seed, 1, start])
        many = ITEMS * size
        described = rng.random(size) < SHARE_WITH_DEMOGRAPHICS
        chosen = sentences.texts(rng, size, RESPONSE)
        past = sentences.texts(rng, many, PAST_RESPONSE)
        yield {
            "prompt": sentences.texts(rng, size, POST),
            "chosen": chosen,
            "rejected": _others(sentences.texts(rng, size, RESPONSE), chosen),
            "direction": _directions(rng, size),
            "demographics": [
                HEADER + text if kept else ""
                for text, kept in zip(sentences.texts(rng, size, DEMOGRAPHICS), described, strict=True)
            ],
            "comments": {
                "prompt": sentences.texts(rng, many, PAST_POST),
                "comment": sentences.texts(rng, many, PAST_RESPONSE),
                "direction": _directions(rng, many),
            },
            "choices": {
                "prompt": sentences.texts(rng, many, PAST_POST),
                "chosen": past,
                "rejected": _others(sentences.texts(rng, many, PAST_RESPONSE), past),
                "direction": _directions(rng, many),
            },
        }


def _directions(rng: np.random.Generator, count: int) -> Any:
    drawn = rng.random((count, DIMENSIONS))
    edge = (1 - SHARE_NEUTRAL) / 2
    return np.where(drawn < edge, 0.0, np.where(drawn > 1 - edge, 1.0, 0.5))


def _others(texts: list[str], than: Sequence[str]) -> list[str]:
    """The texts, where one equals its counterpart with a word more: nobody prefers a response to itself."""
    return [text if text != other else f"{text} no" for text, other in zip(texts, than, strict=True)]


def write(path: Path, count: int, seed: int = 0) -> Path:
    """Write records as JSON Lines, one JSON array or Parquet, by the suffix, a chunk at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        _write_parquet(path, count, seed)
    else:
        _write_json(path, count, seed)
    return path


def _write_json(path: Path, count: int, seed: int) -> None:
    import orjson

    array = path.suffix == ".json"
    with path.open("wb") as stream:
        stream.write(b"[" if array else b"")
        for number, raw in enumerate(rows(count, seed)):
            stream.write(b",\n" if array and number else b"")
            stream.write(orjson.dumps(raw, option=orjson.OPT_SERIALIZE_NUMPY) + (b"" if array else b"\n"))
        stream.write(b"]\n" if array else b"")


def rows(count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Records one at a time, as a JSON reader gives them, their directions as arrays."""
    for columns in chunks(count, seed):
        past = {"User-Generated Content": columns["comments"], "Pair-wise Comparative Feedback": columns["choices"]}
        items = {name: _items(columns) for name, columns in past.items()}
        texts = zip(columns["prompt"], columns["chosen"], columns["rejected"], columns["demographics"], strict=True)
        for place, (prompt, chosen, rejected, demographics) in enumerate(texts):
            raw = {"prompt": prompt, "chosen": chosen, "rejected": rejected, _DIRECTION: columns["direction"][place]}
            if demographics:
                raw["Demographic Information"] = demographics
            for name, flat in items.items():
                raw[name] = flat[place * ITEMS : (place + 1) * ITEMS]
            yield raw


def _items(columns: dict[str, Any]) -> list[dict[str, Any]]:
    names = [_DIRECTION if name == "direction" else name for name in columns]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _write_parquet(path: Path, count: int, seed: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    def directions(values: Any) -> Any:
        offsets = pa.array(np.arange(0, values.size + 1, DIMENSIONS, dtype=np.int32))
        return pa.ListArray.from_arrays(offsets, pa.array(values.ravel()))

    def history(columns: dict[str, Any]) -> Any:
        names = [_DIRECTION if name == "direction" else name for name in columns]
        arrays = [directions(values) if name == "direction" else pa.array(values) for name, values in columns.items()]
        offsets = pa.array(np.arange(0, len(arrays[0]) + 1, ITEMS, dtype=np.int32))
        return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(arrays, names))

    writer = None
    for columns in chunks(count, seed):
        table = pa.table(
            {
                **{name: columns[name] for name in ("prompt", "chosen", "rejected")},
                _DIRECTION: directions(columns["direction"]),
                "Demographic Information": [text or None for text in columns["demographics"]],
                "User-Generated Content": history(columns["comments"]),
                "Pair-wise Comparative Feedback": history(columns["choices"]),
            }
        )
        writer = writer or pyarrow.parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def main(argv: Sequence[str] | None = None) -> None:
    """Write a file of records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True, help="a .jsonl, .json or .parquet file")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    path = write(options.output, options.records, options.seed)
    print(f"{path}: {options.records} records, {path.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
