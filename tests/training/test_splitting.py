"""Which records train and which evaluate."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignx.errors import DataError
from alignx.training.splitting import Split, split

# User and target of each row: few enough that chains arise, and often many enough that not all rows hang together.
PAIRS = st.integers(2, 40).flatmap(
    lambda most: st.lists(st.tuples(*[st.integers(0, most)] * 2), min_size=1, max_size=40)
)
untimed = settings(deadline=None)


def names(pairs: list[tuple[int, int]]) -> tuple[list[str], list[str]]:
    """Clusters and targets as records name them; user 0 is unknown, so that its rows are clustered by target."""
    clusters = [f"user:{user}" if user else f"target:t{target}" for user, target in pairs]
    return clusters, [f"t{target}" for _, target in pairs]


def split_or_none(pairs: list[tuple[int, int]], eval_rows: int, global_batch: int, seed: int) -> Split | None:
    """A split, or None where the data are rightly refused."""
    try:
        return split(*names(pairs), eval_rows=eval_rows, global_batch=global_batch, seed=seed)
    except DataError:
        return None


@untimed
@given(PAIRS, st.integers(0, 12), st.integers(1, 6), st.integers(0, 3))
def test_every_row_is_in_exactly_one_part_and_training_fills_whole_batches(
    pairs: list[tuple[int, int]], eval_rows: int, global_batch: int, seed: int
) -> None:
    parts = split_or_none(pairs, eval_rows, global_batch, seed)
    if parts is None:
        return
    assert sorted(parts.train + parts.evaluation + parts.left_over) == list(range(len(pairs)))
    assert parts.train
    assert len(parts.train) % global_batch == 0
    assert len(parts.left_over) < global_batch
    assert (1 if eval_rows else 0) <= len(parts.evaluation) <= eval_rows


@untimed
@given(PAIRS, st.integers(1, 12), st.integers(1, 6), st.integers(0, 3))
def test_no_user_and_no_target_is_on_both_sides(
    pairs: list[tuple[int, int]], eval_rows: int, global_batch: int, seed: int
) -> None:
    parts = split_or_none(pairs, eval_rows, global_batch, seed)
    if parts is None:
        return
    clusters, targets = names(pairs)
    others = [*parts.train, *parts.left_over]
    for column in (clusters, targets):
        assert not {column[row] for row in parts.evaluation} & {column[row] for row in others}


@untimed
@given(st.data(), PAIRS, st.integers(0, 12), st.integers(1, 6))
def test_the_order_of_the_rows_changes_nothing(
    data: st.DataObject, pairs: list[tuple[int, int]], eval_rows: int, global_batch: int
) -> None:
    shuffled = data.draw(st.permutations(pairs))
    parts, other = (split_or_none(rows, eval_rows, global_batch, 42) for rows in (pairs, shuffled))
    assert (parts is None) == (other is None)
    if parts is None or other is None:
        return
    for part in ("train", "evaluation", "left_over"):
        assert Counter(pairs[row] for row in getattr(parts, part)) == Counter(
            shuffled[row] for row in getattr(other, part)
        )


def test_a_chain_of_shared_users_and_targets_stays_on_one_side() -> None:
    # a saw t1 and t2, b saw t2 and t3: rows 0, 1, 2 and 3 hang together through b; c alone fits into 2 evaluation rows.
    clusters = ["user:a", "user:a", "user:b", "user:b", "user:c"]
    targets = ["t1", "t2", "t2", "t3", "t4"]
    parts = split(clusters, targets, eval_rows=2, global_batch=1, seed=0)
    assert parts == Split(train=(0, 1, 2, 3), evaluation=(4,), left_over=())


def test_a_row_without_a_user_goes_where_its_target_goes() -> None:
    # Row 0 has no user, so its cluster is its target's name; row 1 is a's, of the same target; row 2 is a's too.
    clusters = ["target:t1", "user:a", "user:a", "user:b"]
    targets = ["t1", "t1", "t2", "t3"]
    assert split(clusters, targets, eval_rows=1, global_batch=1, seed=0).evaluation == (3,)


def test_ten_rows_in_batches_of_four_leave_two_over() -> None:
    targets = [f"t{row}" for row in range(10)]
    parts = split(targets, targets, eval_rows=0, global_batch=4, seed=42)
    assert (len(parts.train), len(parts.evaluation), len(parts.left_over)) == (8, 0, 2)


def test_the_seed_decides_who_is_held_out_and_what_is_left_over() -> None:
    targets = [f"t{row}" for row in range(20)]
    first, again, *others = (split(targets, targets, eval_rows=5, global_batch=4, seed=seed) for seed in (0, 0, 1, 2))
    assert first == again
    # 15,504 ways to hold out 5 of 20: that two other seeds choose the same by chance is no concern
    assert len({first.evaluation, *(other.evaluation for other in others)}) == 3
    assert len({first.left_over, *(other.left_over for other in others)}) == 3


def test_fewer_rows_than_a_batch_are_refused_with_both_numbers() -> None:
    with pytest.raises(DataError, match=r"^3 training records, expected at least one --global-batch of 4"):
        split(["a", "b", "c"], ["a", "b", "c"], eval_rows=0, global_batch=4, seed=0)


def test_rows_held_out_no_longer_count_towards_a_batch() -> None:
    # 5 rows, 2 held out: 3 are left for a batch of 4
    targets = [f"t{row}" for row in range(5)]
    with pytest.raises(DataError, match=r"^3 training records"):
        split(targets, targets, eval_rows=2, global_batch=4, seed=0)


def test_groups_too_large_to_hold_out_are_refused_with_the_smallest() -> None:
    clusters = ["user:a"] * 3 + ["user:b"] * 4
    with pytest.raises(DataError, match=r"--eval-rows 2: the records fall into 2 groups .* the smallest of 3 records"):
        split(clusters, [f"t{row}" for row in range(7)], eval_rows=2, global_batch=1, seed=0)


def test_one_group_cannot_be_divided() -> None:
    with pytest.raises(DataError, match="fall into 1 groups"):
        split(["user:a", "user:a"], ["t1", "t2"], eval_rows=2, global_batch=1, seed=0)
