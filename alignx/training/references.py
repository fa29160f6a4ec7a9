"""The reference's log-probabilities, computed once before training: no reference model takes memory during it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from alignx.models.candidates import BATCH_TOKENS, Candidates
from alignx.models.score_cache import ScoreCache, pair_key

_CHUNK = 2_048
"""Rows whose token ids are held at once."""
_COLUMNS = ("prompt_ids", "chosen_ids", "rejected_ids")


@dataclass(frozen=True)
class References:
    """Log-probabilities of a set of pairs under the reference."""

    chosen: list[float]
    rejected: list[float]
    remembered: int
    """Of them, how many were known already."""
    forward: dict[str, Any] | None
    """How the reference read the others, for a manifest."""


def reference_scores(
    rows: Any, cache: ScoreCache, load: Callable[[], Any], state: Any, pad_id: int, shared_prefix: bool
) -> References:
    """What the reference says of every row; what is not remembered is computed, shared among the processes.

    Args:
        rows: A dataset of encoded pairs.
        cache: Where it is remembered.
        load: Loads the reference; called only if something is missing.
        state: accelerate's.
        pad_id: Any token id.
        shared_prefix: Whether to read each prompt once.
    """
    import torch
    from accelerate.utils import gather_object

    from alignx.models.scoring import ResponseScorer

    pairs = list(_measured(rows))
    keys = [key for key, _, _ in pairs]
    known = cache.read(keys)
    remembered = sum(key in known for key in keys)
    missing = {key: (tokens, row) for row, (key, tokens, _) in enumerate(pairs) if key not in known}
    state.wait_for_everyone()  # nobody writes before everybody has read what is known
    forward = None
    if missing:
        longest_first = [row for _, row in sorted(missing.values(), key=lambda pair: (-pair[0], pair[1]))]
        share = longest_first[state.process_index :: state.num_processes]
        if share:
            scorer = ResponseScorer(
                load(),
                pad_id,
                state.device,
                shared_prefix=shared_prefix,
                longest=max(longest for _, _, longest in pairs),
            )
            forward = _compute(scorer, rows, share, keys, cache, state)
            del scorer
            if torch.cuda.is_available():
                torch.cuda.empty_cache()  # the policy needs the room
        state.wait_for_everyone()
        known |= cache.read(missing)
        forward = next((one for one in gather_object([forward]) if one is not None), None)
    return References([known[key][0] for key in keys], [known[key][1] for key in keys], remembered, forward)


def _measured(rows: Any) -> Iterator[tuple[str, int, int]]:
    """What each row's pair is called, the tokens to read when its prompt stands once, and those of its longer half."""
    for batch in rows.select_columns(list(_COLUMNS)).with_format("numpy").iter(_CHUNK):
        for prompt, chosen, rejected in zip(*(batch[name] for name in _COLUMNS), strict=True):
            longer = max(len(chosen), len(rejected))
            yield (
                pair_key(prompt, chosen, rejected),
                len(prompt) + len(chosen) + len(rejected),
                len(prompt) + longer,
            )


def _compute(
    scorer: Any, rows: Any, share: Sequence[int], keys: Sequence[str], cache: ScoreCache, state: Any
) -> dict[str, Any]:
    """Compute and remember this process's share, the longest first; returns how the model read."""
    from tqdm import tqdm

    tokens = BATCH_TOKENS.get(state.device.type, 16_384)
    bar = tqdm(total=len(share), desc="reference", unit=" pairs", disable=None if state.is_main_process else True)
    with bar, cache.writing() as writer:
        for start in range(0, len(share), _CHUNK):
            part = rows.select(share[start : start + _CHUNK])[:]
            pairs = [
                Candidates(name, prompt, (chosen, rejected))
                for name, prompt, chosen, rejected in zip(*(part[name] for name in ("id", *_COLUMNS)), strict=True)
            ]
            done = start
            for batch in scorer.batches(pairs, tokens):
                for row, (chosen, rejected) in zip(share[done : done + len(batch)], scorer.score(batch), strict=True):
                    writer.add(keys[row], (chosen, rejected))
                done += len(batch)
                bar.update(len(batch))
    found: dict[str, Any] = scorer.sharing.as_dict()
    return found
