"""Documents and probes read from files, and what is refused."""

from pathlib import Path

import pytest

from alignx.errors import DataError
from alignx.models.corpora import Probe, read_documents, read_probes


def stored(folder: Path, *lines: str) -> Path:
    path = folder / "lines.jsonl"
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def test_documents_are_the_texts_in_their_order(tmp_path: Path) -> None:
    path = stored(tmp_path, '{"text": "Ada:\\nnaïve 東京"}', '{"text": ""}')
    assert [document.texts for document in read_documents(path)] == [("Ada:\nnaïve 東京",), ("",)]


def test_a_document_is_a_text_or_a_conversation(tmp_path: Path) -> None:
    turns = '[{"role": "user", "content": "Tea?"}, {"role": "assistant", "content": "No."}]'
    (found,) = read_documents(stored(tmp_path, f'{{"messages": {turns}}}'))
    assert (found.text, found.texts) == (None, ("Tea?", "No."))
    assert [message.role for message in found.messages] == ["user", "assistant"]


def test_probes_are_the_lines_in_their_order(tmp_path: Path) -> None:
    path = stored(
        tmp_path, '{"kind": "said", "text": "a", "contrast": "b"}', '{"contrast": "d", "text": "c", "kind": "other"}'
    )
    assert read_probes(path) == [
        Probe(kind="said", text="a", contrast="b"),
        Probe(kind="other", text="c", contrast="d"),
    ]


REFUSED = {
    "another field": ('{"text": "a", "txt": "b"}', "txt: Extra inputs are not permitted"),
    "no text": ("{}", "Value error, either text or messages"),
    "text and messages": (
        '{"text": "a", "messages": [{"role": "user", "content": "b"}]}',
        "Value error, either text or messages",
    ),
    "nobody's turn": (
        '{"messages": [{"role": "ada", "content": "b"}]}',
        "messages.0.role: Input should be 'system', 'user' or 'assistant'",
    ),
    "no string": ('{"text": 1}', "text: Input should be a valid string"),
    "no object": ("[1]", "Input should be an object"),
    "no JSON": ("Ada likes tea", "Invalid JSON: expected value at line 1 column 1"),
    "an empty line": ("", "Invalid JSON: EOF while parsing a value at line 2 column 0"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_line_that_is_no_document_is_refused_with_file_line_and_field(tmp_path: Path, what: str) -> None:
    line, problem = REFUSED[what]
    path = stored(tmp_path, '{"text": "a"}', '{"text": "b"}', line, '{"text": "c"}')
    with pytest.raises(DataError) as caught:
        read_documents(path)
    assert str(caught.value) == f"{path}:3: {problem}; expected an object with text, messages"


def test_a_line_that_is_no_probe_is_refused_with_what_a_probe_has(tmp_path: Path) -> None:
    path = stored(tmp_path, '{"kind": "said", "text": "a"}')
    with pytest.raises(DataError) as caught:
        read_probes(path)
    assert str(caught.value) == f"{path}:1: contrast: Field required; expected an object with kind, text, contrast"


def test_a_file_that_is_missing_empty_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.jsonl: cannot be read \(.*No such file"):
        read_documents(tmp_path / "absent.jsonl")
    with pytest.raises(DataError, match=r"lines\.jsonl: is empty$"):
        read_probes(stored(tmp_path))
    (tmp_path / "lines.jsonl").write_bytes('{"text": "東京"}\n'.encode("utf-16"))
    with pytest.raises(DataError, match=r"lines\.jsonl: cannot be read \(.*codec can't decode"):
        read_documents(tmp_path / "lines.jsonl")
