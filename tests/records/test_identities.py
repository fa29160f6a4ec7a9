"""Ids of records, given or made of their content, are those that a plain list of all ids would give."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignx.errors import DataError
from alignx.manifest import digest
from alignx.records.identities import Identities, generated_id

CONTENTS = [digest(number) for number in range(4)]
GIVEN = ["a", "b", "1", *(generated_id(content, n) for content in CONTENTS[:2] for n in (1, 2, 3)), "x" * 20 + "-1"]


def by_the_book(rows: list[tuple[str | None, str]]) -> list[str | None]:
    """The id of each, None where it is refused, from a list of every id that there was."""
    used: set[str] = set()
    contents: Counter[str] = Counter()
    found: list[str | None] = []
    for own, content in rows:
        name = own if own is not None else f"{content[:20]}-{contents[content] + 1}"
        if name in used:
            found.append(None)
            continue
        contents[content] += own is None
        used.add(name)
        found.append(name)
    return found


@given(st.lists(st.tuples(st.none() | st.sampled_from(GIVEN), st.sampled_from(CONTENTS)), max_size=30))
def test_ids_are_those_by_the_book(rows: list[tuple[str | None, str]]) -> None:
    identities, found = Identities(), []
    for place, (own, content) in enumerate(rows):
        try:
            found.append(identities.name(own, content, f"row {place}"))
        except DataError:
            found.append(None)
    assert found == by_the_book(rows)


def test_the_first_record_of_a_content_and_the_second_by_hand() -> None:
    identities, content = Identities(), "0123456789abcdef0123" + "4" * 44
    assert identities.name(None, content, "row 1") == "0123456789abcdef0123-1"
    assert identities.name(None, content, "row 2") == "0123456789abcdef0123-2"
    assert identities.name("mine", content, "row 3") == "mine"
    assert identities.name(None, content, "row 4") == "0123456789abcdef0123-3"


@pytest.mark.parametrize(
    "name",
    [
        "0123456789abcdef0123-2",
        "0123456789abcdef0123-0",
        "0123456789ABCDEF0123-1",
        "0123456789abcdef0123",
        "0123456789abcdef012-1",
        "0123456789abcdef0123-one",
        "-1",
    ],
)
def test_an_own_id_that_only_looks_as_if_it_were_made_is_accepted(name: str) -> None:
    identities = Identities()
    identities.name(None, "0123456789abcdef0123" + "4" * 44, "row 1")
    assert identities.name(name, CONTENTS[0], "row 2") == name


def test_what_was_used_before_is_named_with_its_place() -> None:
    identities = Identities()
    identities.name("mine", CONTENTS[0], "rows.jsonl:1")
    identities.name(None, CONTENTS[1], "rows.jsonl:2")
    with pytest.raises(DataError, match=r"rows.jsonl:3: 'id' 'mine' was already used at rows.jsonl:1, expected a new"):
        identities.name("mine", CONTENTS[2], "rows.jsonl:3")
    with pytest.raises(DataError, match=r"rows.jsonl:4: 'id' .* was already used at an earlier record"):
        identities.name(generated_id(CONTENTS[1]), CONTENTS[2], "rows.jsonl:4")
    identities.name(generated_id(CONTENTS[3]), CONTENTS[0], "rows.jsonl:5")
    with pytest.raises(DataError, match=r"made from its content, .* used at rows.jsonl:5, .* give the record an 'id'"):
        identities.name(None, CONTENTS[3], "rows.jsonl:6")
