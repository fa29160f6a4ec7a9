"""The last complete JSON object that fits, and nothing else, is what a reply says."""

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignx.chat.question import UnreadableError
from alignx.chat.reading import LONGEST, last_json_object


def verdict(found: Mapping[str, Any]) -> str:
    """What this test asks for: one field with one of three values."""
    if found.keys() != {"verdict"}:
        raise UnreadableError(f"fields {sorted(found)}")
    if found["verdict"] not in ("A", "B", "tie"):
        raise UnreadableError(f"verdict {found['verdict']!r}")
    return str(found["verdict"])


def reason(text: str) -> str:
    with pytest.raises(UnreadableError) as caught:
        last_json_object(text, verdict)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"verdict": "A"}', "A"),
        ('  \n{"verdict":\n"A"}\n', "A"),
        ('```json\n{"verdict": "B"}\n```', "B"),
        ('Both are fine, A a little more.\n\n{"verdict": "tie"}\n\nI hope this helps.', "tie"),
        ('{"verdict": "A"} … on reflection {"verdict": "B"}', "B"),
        ('{"verdict": "A"} {"verdict": "both"}', "A"),
        ('{"verdict": "A"} {"note": "done"}', "A"),
        ('the set {A, B} and {"verdict"} are no objects, {"verdict": "B"} is one', "B"),
        ('{I would say {"verdict": "A"}}', "A"),
        ('{"verdict": "A"} }}} ]', "A"),
    ],
)
def test_the_last_complete_object_that_fits_is_what_is_said(text: str, expected: str) -> None:
    assert last_json_object(text, verdict) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the reply is empty"),
        (" \n\t", "the reply is empty"),
        ("A", "no JSON object in the reply"),
        ('["verdict", "A"]', "no JSON object in the reply"),
        ("{'verdict': 'A'}", "no JSON object in the reply"),
        ("<html>502 Bad Gateway</html>", "no JSON object in the reply"),
        ('{"verdict": "A"', "the JSON is cut"),
        ('{"verdict": "A', "the JSON is cut"),
        ('{"verdict": ', "the JSON is cut"),
        ("{", "the JSON is cut"),
        ('{"verdict": "A"} no: {"verdict": "', "the JSON is cut"),
        ('{"verdict": "C"}', "verdict 'C'"),
        ('{"verdict": "A", "sure": true}', "fields ['sure', 'verdict']"),
        ('{"verdict": "A", "verdict": "B"}', "a key twice in one object"),
        ('{"answer": {"verdict": "A"}}', "fields ['answer']"),
        ('{"verdict": ' + 9000 * "[" + 9000 * "]" + "}", "the JSON cannot be decoded"),
        ('{"verdict": ' + 5000 * "9" + "}", "the JSON cannot be decoded"),
        ('{"verdict": "A"}' + LONGEST * " ", f"the reply has {LONGEST + 16} characters, at most {LONGEST} are read"),
    ],
)
def test_what_is_not_a_complete_valid_reply_is_refused_with_the_reason(text: str, expected: str) -> None:
    assert reason(text) == expected


@given(st.text(max_size=40), st.sampled_from(["A", "B", "tie"]), st.text(alphabet="abc .,!?\n`", max_size=40))
def test_prose_around_an_object_changes_nothing(before: str, said: str, after: str) -> None:
    text = f"{before.replace('{', '(')}{json.dumps({'verdict': said})}{after}"
    assert last_json_object(text, verdict) == said


@given(st.integers(1, 40))
def test_no_beginning_of_a_reply_is_taken_for_the_whole(length: int) -> None:
    whole = json.dumps({"verdict": "tie", "reason": 'a "}" is quoted'})
    with pytest.raises(UnreadableError):
        last_json_object(whole[: min(length, len(whole) - 1)], dict)


@pytest.mark.parametrize(
    "piece", ["{", '{"', '{"a":', '{"a" ', '{"a":[1,', '{"a":{"b":1}, x', "{}", '{"a":1}', '\\"', "{ ", '{"a":"{']
)
def test_the_longest_reply_is_read_in_a_moment_whatever_it_repeats(piece: str) -> None:
    began = time.process_time()
    with pytest.raises(UnreadableError):
        last_json_object(piece * (LONGEST // len(piece)), verdict)
    assert time.process_time() - began < 3  # half a second at most on an idle machine; a quadratic scan takes minutes
