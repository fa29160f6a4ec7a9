"""Which records train and which evaluate: by user and target, never by row."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from alignx.errors import DataError
from alignx.manifest import digest

ROW = "row"
"""Column of row numbers: which record a training example is."""


@dataclass(frozen=True)
class Split:
    """Row numbers of a source."""

    train: tuple[int, ...]
    evaluation: tuple[int, ...]
    left_over: tuple[int, ...]
    """Rows that would not fill a global batch."""


def split(clusters: Sequence[str], targets: Sequence[str], *, eval_rows: int, global_batch: int, seed: int) -> Split:
    """Divide rows so that no user and no target is on both sides, and training rows fill whole batches.

    Which users and targets are held out, and which rows are left over, is drawn by the seed and depends on the rows'
    users and targets, not on their order.

    Args:
        clusters: The user of each row where known, else its target.
        targets: The distinct target of each row.
        eval_rows: At most this many rows are held out.
        global_batch: Training rows are a multiple of this.
        seed: Of both draws.

    Raises:
        DataError: Nothing can be held out without exceeding ``eval_rows``, or too little is left to train.
    """
    names = _names(clusters, targets)
    held_out = _hold_out(_groups(clusters, targets), names, eval_rows, seed) if eval_rows else set()
    rows = [row for row in range(len(clusters)) if row not in held_out]
    surplus = len(rows) % global_batch
    if surplus == len(rows):
        held = f" after {len(held_out)} were held out" if held_out else ""
        raise DataError(
            f"{len(rows)} training records{held}, expected at least one --global-batch of {global_batch}; lower it, "
            "hold out fewer, or bring more records"
        )
    drawn = sorted(rows, key=lambda row: digest(seed, "left over", names[row]))
    left_over = set(drawn[:surplus])
    return Split(tuple(row for row in rows if row not in left_over), tuple(sorted(held_out)), tuple(sorted(left_over)))


def _names(clusters: Sequence[str], targets: Sequence[str]) -> list[tuple[str, str, int]]:
    """What a row is called wherever it stands: its user, its target, and its number among rows that share both."""
    seen: Counter[tuple[str, str]] = Counter()
    names = []
    for pair in zip(clusters, targets, strict=True):
        names.append((*pair, seen[pair]))
        seen[pair] += 1
    return names


def _groups(clusters: Sequence[str], targets: Sequence[str]) -> list[list[int]]:
    """Rows that belong on one side: those joined by a chain of shared users and targets."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for cluster, target in zip(clusters, targets, strict=True):
        parent[root(cluster)] = root(f"target:{target}")
    groups: dict[str, list[int]] = {}
    for row, cluster in enumerate(clusters):
        groups.setdefault(root(cluster), []).append(row)
    return list(groups.values())


def _hold_out(groups: list[list[int]], names: list[tuple[str, str, int]], wanted: int, seed: int) -> set[int]:
    sizes = sorted(len(group) for group in groups)
    if sizes[0] > wanted or len(groups) == 1:
        raise DataError(
            f"--eval-rows {wanted}: the records fall into {len(groups)} groups that share users or targets, the "
            f"smallest of {sizes[0]} records, so none can be held out; raise it, or give --eval-data"
        )
    held_out: set[int] = set()
    for group in sorted(groups, key=lambda group: digest(seed, "held out", min(names[row] for row in group))):
        if len(held_out) + len(group) <= wanted:
            held_out.update(group)
    return held_out
