"""What is known of a source after reading it."""

import pytest

from alignx.errors import DataError
from alignx.manifest import RunningDigest
from alignx.records.reading import Reading


def read(*records: tuple[str, str], source: str = "a.jsonl") -> Reading:
    reading = Reading(source)
    for name, content in records:
        reading.count(name, content)
    reading.finish()
    return reading


def test_the_identity_is_the_digest_of_ids_and_contents_in_order() -> None:
    digest = RunningDigest()
    for text in ("r1", "c1", "r2", "c2"):
        digest.add(text)
    found = read(("r1", "c1"), ("r2", "c2")).identity
    assert (found.source, found.digest, found.records, found.skipped) == ("a.jsonl", digest.hexdigest(), 2, 0)


def test_the_name_of_a_source_is_no_part_of_its_digest_and_the_order_and_the_borders_are() -> None:
    digests = {
        read(*records).identity.digest
        for records in (
            [("r1", "c1"), ("r2", "c2")],
            [("r2", "c2"), ("r1", "c1")],
            [("r1", "c1")],
            [("r1c", "1"), ("r2", "c2")],
        )
    }
    assert len(digests) == 4
    assert read(("r1", "c1"), source="b").identity.digest == read(("r1", "c1")).identity.digest


def test_there_is_no_identity_before_the_end() -> None:
    reading = Reading("a.jsonl")
    reading.count("r1", "c1")
    with pytest.raises(RuntimeError, match="known only after reading them all"):
        _ = reading.identity


def test_one_more_than_may_be_skipped_is_an_error_that_counts_those_before() -> None:
    reading = Reading("a.jsonl", skip_invalid=2)
    reading.skip(DataError("first"))
    reading.skip(DataError("second"))
    with pytest.raises(DataError, match=r"^third \(and 2 rows before it; --skip-invalid allows 2\)$"):
        reading.skip(DataError("third"))
    reading.finish()
    assert (reading.problems, reading.identity.skipped) == (["first", "second"], 2)


def test_where_none_may_be_skipped_the_error_itself_is_raised() -> None:
    error = DataError("first")
    with pytest.raises(DataError) as caught:
        Reading("a.jsonl").skip(error)
    assert caught.value is error


def test_of_many_problems_five_are_shown_and_known_fields_are_not_mentioned() -> None:
    reading = Reading("a.jsonl", skip_invalid=9)
    for number in range(7):
        reading.skip(DataError(f"p{number}"))
    reading.unused_fields.update(["colour", "colour", "profile_full", "age"])
    assert reading.notes() == [
        "skipped 7 invalid rows: p0; p1; p2; p3; p4; and 2 more",
        "fields that mean nothing here and were not used: 'age' (1 rows), 'colour' (2 rows)",
    ]


def test_nothing_worth_saying_is_said_of_a_clean_source() -> None:
    assert read(("r1", "c1")).notes() == []
