"""Strangers' texts between lines that they cannot contain, and wording that is filled strictly."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignx.chat import fencing
from alignx.chat.fencing import CODE_LENGTH, code_of, fence
from alignx.chat.wording import Wording, load_wording

texts = st.lists(st.text(max_size=60), min_size=1, max_size=4)


@given(texts)
def test_the_code_is_in_none_of_the_texts_and_the_same_each_time(found: list[str]) -> None:
    code = code_of(found)
    assert re.fullmatch(rf"[0-9a-f]{{{CODE_LENGTH}}}", code)
    assert not any(code in text for text in found)
    assert code == code_of(found)


def test_another_text_or_another_place_gives_another_code() -> None:
    codes = {code_of(found) for found in (["a", "b"], ["b", "a"], ["ab"], ["a", "b", ""], ["a", "c"])}
    assert len(codes) == 5


def test_a_text_that_holds_its_own_code_is_given_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def known_in_advance(_: str, number: int, __: Sequence[str]) -> str:
        return f"{number:0{CODE_LENGTH}}" + "0" * 48

    monkeypatch.setattr(fencing, "digest", known_in_advance)
    assert code_of(["nothing"]) == "0000000000000000"
    assert code_of(["it is 0000000000000000", "or 0000000000000001"]) == "0000000000000002"


def test_a_text_stands_between_its_lines_byte_for_byte() -> None:
    assert fence("POST", " a\r\n\n", "0f") == "[BEGIN POST 0f]\n a\r\n\n\n[END POST 0f]"


def test_wording_takes_what_fills_it_as_it_is() -> None:
    assert Wording("w", "{a}, {{b}} and {c}").fill(a="{c}{{", c=3) == "{c}{{, {b} and 3"


@pytest.mark.parametrize("fields", [{}, {"a": "1"}, {"a": "1", "b": "2", "c": "3"}, {"a": "1", "c": "3"}])
def test_wording_refuses_a_missing_and_an_unknown_field(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=re.escape(f"wording w: got the fields {sorted(fields)}, expected ['a', 'b']")):
        Wording("w", "{a} {b}").fill(**fields)


def test_a_file_that_is_not_there_is_no_wording() -> None:
    with pytest.raises(FileNotFoundError):
        load_wording("alignx.annotation", "another")


def test_every_file_of_wording_is_text_that_ends_with_one_line_break() -> None:
    files = sorted((Path(__file__).parents[2] / "alignx").glob("*/wording/*.txt"))
    assert len(files) >= 8
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert text.strip() + "\n" == text, file
        assert load_wording(f"alignx.{file.parts[-3]}", file.stem).text == text[:-1]
