"""Responses are joined by id with their records, or refused by name."""

from pathlib import Path
from typing import Any

import pytest

from alignx.errors import DataError, SettingsError
from alignx.judging.pairs import Pair, draw, join, read_system, refuse_other_data, refuse_unlike
from alignx.prompts import Method
from alignx.records import Records, load_taxonomy
from tests.judging.comparing import good, poor, responses, world

TAXONOMY = load_taxonomy()


def refused(tmp_path: Path, *, may_differ: tuple[str, ...] = (), **more: Any) -> None:
    data = world(tmp_path, 6)
    candidate = read_system(responses(data, tmp_path / "a.jsonl", good))
    baseline = read_system(responses(data, tmp_path / "b.jsonl", poor, **more))
    refuse_unlike(candidate, baseline, may_differ)


def test_each_record_meets_its_two_responses(tmp_path: Path) -> None:
    data = world(tmp_path, 6)
    candidate, baseline = (
        read_system(responses(data, tmp_path / f"{name}.jsonl", write)).responses
        for name, write in (("a", good), ("b", poor))
    )
    records = {one.id: one for one in Records(str(data))}
    backwards = dict(reversed(baseline.items()))
    pairs = join(records.values(), candidate, backwards, ("history",), TAXONOMY)
    assert [pair.id for pair in pairs] == list(records)
    for pair in pairs:
        assert (pair.post, pair.cluster) == (records[pair.id].prompt, records[pair.id].cluster)
        assert (pair.candidate, pair.baseline) == (good(records[pair.id]), poor(records[pair.id]))


def test_model_and_method_may_differ_and_so_may_what_is_named(tmp_path: Path) -> None:
    refused(tmp_path, method=Method.PBA, name="another", settings={"seed": 1})
    refused(tmp_path, condition={"persona": "other"}, may_differ=("persona",))
    refused(tmp_path, condition={"tell": "choices"}, name="part", may_differ=("tell",))
    refused(tmp_path, name="whole", may_differ=("tell",))


def test_what_may_differ_has_a_name_that_exists(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--may-differ: got 'persnoa', expected some of .*history.*temperature"):
        refused(tmp_path, may_differ=("persnoa",))


def test_a_folder_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder, expected the file"):
        read_system(tmp_path)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"limit": 5}, r"different data: data\.digest .* data\.records \(6 against 5\)"),
        ({"condition": {"persona": "other"}}, r"differ in persona \('own' against 'other'\).*--may-differ"),
        ({"condition": {"history": 2}}, r"differ in history \('all' against 2\)"),
        ({"condition": {"tell": "comments"}}, r"differ in tell \('all' against 'comments'\).*--may-differ"),
        ({"settings": {"temperature": 0.1}}, r"differ in temperature \(0\.9 against 0\.1\)"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(more: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        refused(tmp_path, **more)


def test_an_id_that_one_side_lacks_is_refused_whichever_side_it_is(tmp_path: Path) -> None:
    data = world(tmp_path, 6)
    systems = [read_system(responses(data, tmp_path / f"{name}.jsonl", good)) for name in "ab"]
    assert isinstance(systems[1].responses, dict)
    systems[1].responses.pop("record-00003")
    for pair in (systems, systems[::-1]):
        with pytest.raises(DataError, match=r"b\.jsonl: 1 ids of .*a\.jsonl are missing, the first is 'record-00003'"):
            refuse_unlike(*pair)


def test_responses_to_other_records_are_refused_with_the_limit_they_were_made_with(tmp_path: Path) -> None:
    data = world(tmp_path, 6)
    system = read_system(responses(data, tmp_path / "a.jsonl", good, limit=4))
    records = Records(str(data))
    found = list(records)
    with pytest.raises(DataError, match=r"about other records.*--limit 4"):
        refuse_other_data(system, records.identity)
    with pytest.raises(DataError, match="2 responses have no record, the first is 'record-00002'"):
        join(found[:2], system.responses, system.responses, ("history",), TAXONOMY)


def test_a_response_file_that_is_another_output_or_was_changed_is_refused(tmp_path: Path) -> None:
    data = world(tmp_path, 6)
    path = responses(data, tmp_path / "a.jsonl", good)
    path.write_text(path.read_text().replace("warmly", "coldly"))
    with pytest.raises(DataError, match="was changed"):
        read_system(path)


def test_who_is_shown_first_depends_on_the_texts_and_not_on_who_is_called_the_candidate() -> None:
    pairs = [Pair(f"r{number}", "u", "post", "persona", f"one {number}", f"two {number}") for number in range(200)]
    swapped = [Pair(pair.id, "u", "post", "persona", pair.baseline, pair.candidate) for pair in pairs]
    for pair, other in zip(pairs, swapped, strict=True):
        assert pair.response(pair.first) == other.response(other.first)
    assert 70 < sum(pair.first == "candidate" for pair in pairs) < 130


def test_a_draw_is_the_same_in_any_order_and_part_of_a_larger_one() -> None:
    pairs = [Pair(f"r{number}", "u", "post", "persona", "a", "b") for number in range(50)]
    ten = [pair.id for pair in draw(pairs, 10)]
    assert ten == [pair.id for pair in draw(reversed(pairs), 10)] == sorted(ten)
    assert len(set(ten)) == 10
    assert set(ten) < {pair.id for pair in draw(pairs, 20)}
    assert len(draw(pairs, None)) == len(draw(pairs, 99)) == 50
