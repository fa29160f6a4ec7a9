"""Packed rows: every sequence can be read off the row, what is shared stands once, and nothing else is in it."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignx.models.prefix_packing import Asked, Group, pack
from tests.models.test_shared_prefix import GROUPS, PROMPT, A, B, asked


def test_the_prompt_stands_once_and_the_last_tokens_are_left_out() -> None:
    packed = pack(GROUPS["a pair"])
    assert packed.input_ids[0].tolist() == [*PROMPT, *A[:-1], *B[:-1]]
    assert packed.position_ids[0].tolist() == [*range(23), *range(23, 29), *range(23, 34)]
    assert packed.scored[:3].tolist() == [22, 23, 24]  # the last prompt token predicts the first of each response
    assert packed.scored[7:10].tolist() == [22, 29, 30]
    assert packed.targets.tolist() == [*A, *B]
    assert packed.rows.tolist() == [0] * 7 + [1] * 12
    assert packed.columns.tolist() == [*range(23, 30), *range(23, 35)]


def test_groups_follow_one_another_without_padding() -> None:
    packed = pack([[asked([1, 2], [3, 4]), asked([1, 2], [5])], [asked([1], [2, 3]), asked([1], [4, 5, 6])]])
    assert packed.input_ids.tolist() == [[1, 2, 3, 1, 2, 4, 5]]
    assert packed.position_ids.tolist() == [[0, 1, 2, 0, 1, 1, 2]]
    assert packed.groups == (Group((0, 2), ((2, 3),)), Group((3, 4), ((4, 5), (5, 7))))
    assert packed.rows.tolist() == [0, 0, 1, 2, 2, 3, 3, 3]


def test_what_responses_have_in_common_stands_once_too() -> None:
    packed = pack([[asked([1, 2], [3, 4, 5]), asked([1, 2], [3, 4, 6])]])
    assert packed.groups == (Group((0, 4), ()),)  # the last tokens, in which alone they differ, predict nothing
    assert packed.input_ids.tolist() == [[1, 2, 3, 4]]
    assert packed.scored.tolist() == [1, 2, 3, 1, 2, 3]
    assert packed.targets.tolist() == [3, 4, 5, 3, 4, 6]


def test_a_branch_sees_its_whole_prefix_and_itself_up_to_each_token() -> None:
    packed = pack(GROUPS["a pair"])
    assert packed.mask(3, 2).int().tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    assert packed.mask(3, 2) is packed.mask(3, 2)  # every layer asks for it


TOKENS = st.integers(0, 2)  # few, so that beginnings are often alike


@st.composite
def sequences(draw: st.DrawFn) -> Asked:
    tokens = np.array(draw(st.lists(TOKENS, min_size=2, max_size=9)))
    mask = np.array([False, *draw(st.lists(st.booleans(), min_size=len(tokens) - 1, max_size=len(tokens) - 1))])
    return Asked(tokens, mask)


@settings(max_examples=150)
@given(st.lists(st.lists(sequences(), min_size=1, max_size=4), min_size=1, max_size=4))
def test_every_sequence_can_be_read_off_the_row(groups: Sequence[Sequence[Asked]]) -> None:
    packed = pack(groups)
    ids, positions = packed.input_ids[0], packed.position_ids[0]
    all_of_them = [one for group in groups for one in group]
    for number, one in enumerate(all_of_them):
        of = packed.rows == number
        columns = packed.columns[of]
        assert columns.tolist() == one.mask.nonzero()[0].tolist()
        assert packed.targets[of].tolist() == one.tokens[one.mask].tolist()
        assert positions[packed.scored[of]].tolist() == (columns - 1).tolist()  # what predicts a token is before it
        assert ids[packed.scored[of]].tolist() == one.tokens[columns.numpy() - 1].tolist()

    end = 0
    for group, found in zip(groups, packed.groups, strict=True):
        start, end = found.prefix
        shared, branches = ids[start:end].tolist(), list(found.branches)
        for one in group:
            assert one.tokens[: len(shared)].tolist() == shared
            own = one.tokens[len(shared) : -1].tolist()
            if own:  # a sequence that ends within what is shared has no branch
                first, last = branches.pop(0)
                assert (first, ids[first:last].tolist()) == (end, own)
                assert positions[first:last].tolist() == list(range(len(shared), len(shared) + len(own)))
                end = last
        assert branches == []
        assert positions[slice(*found.prefix)].tolist() == list(range(len(shared)))
        longer = {tuple(one.tokens[: len(shared) + 1].tolist()) for one in group}
        assert len(longer) > 1 or min(len(one.tokens) for one in group) == len(shared)  # nothing more is alike
    assert end == len(ids)


def test_nothing_to_pack_and_a_first_token_that_is_asked_for_are_refused() -> None:
    with pytest.raises(ValueError, match="no sequence"):
        pack([])
    with pytest.raises(ValueError, match="first token"):
        pack([[Asked(np.array([1, 2]), np.array([True, True]))]])
