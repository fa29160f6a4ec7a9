"""The file of replies: nothing lost, nothing paid twice, whatever ends the process that writes it."""

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alignx.chat.question import Ask
from alignx.chat.replies import Replies, Reply, reading
from alignx.errors import DataError
from tests.chat.questioning import asks, read


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "replies.jsonl"


def reply(one: Ask, **more: Any) -> Reply:
    fields = {"text": '{"option": "A"}', "cost": 0.5, "prompt_tokens": 7, "reply_tokens": 3, "characters": 28, **more}
    return Reply(id=one.request.id, name=one.name, **fields)


def test_a_reply_is_in_the_file_at_once_and_found_by_its_request(path: Path) -> None:
    one, other = asks(2)
    with Replies(path) as replies:
        replies.add(reply(one, text='{"option": "B"} naïve 東京 \n\u2028 line'))
        assert path.read_bytes().endswith(b"}\n")
        assert path.read_bytes().count(b"\n") == 1
        assert one.request.id in replies
        assert other.request.id not in replies
        assert reading(other, replies).problem == "not asked yet"
        replies.add(reply(other))
        assert replies[one.request.id].text == '{"option": "B"} naïve 東京 \n\u2028 line'
    with Replies(path) as replies:
        assert [found.name for found in replies] == ["number 0", "number 1"]
        assert len(replies) == 2
        assert replies[one.request.id] == reply(one, text='{"option": "B"} naïve 東京 \n\u2028 line')
        assert reading(other, replies).value == "A"
        assert replies.spent == 1.0
        assert replies.tokens.as_dict() == {"replies": 2, "prompt_tokens": 14, "reply_tokens": 6, "models": {}}


def test_a_last_line_cut_at_any_byte_is_dropped_or_whole_and_the_file_goes_on(path: Path) -> None:
    first, second, third = asks(3)
    with Replies(path) as replies:
        replies.add(reply(first))
        begins = path.stat().st_size
        replies.add(reply(second, text='{"option": "C"} naïve 東京'))
    whole = path.read_bytes()
    for size in range(begins, len(whole) + 1):
        path.write_bytes(whole[:size])
        with Replies(path) as replies:
            assert reading(first, replies).value == "A"
            complete = size >= len(whole) - 1  # at most the end of the line is missing
            assert (second.request.id in replies) == complete
            assert replies.spent == (1.0 if complete else 0.5)
            replies.add(reply(third))
            assert reading(third, replies).value == "A"
        lines = path.read_bytes().splitlines()
        assert [json.loads(line)["name"] for line in lines] == [
            f"number {n}" for n in ((0, 1, 2) if complete else (0, 2))
        ]


@pytest.mark.parametrize(
    "damage", [b"", b"\x00\x00\x00", b"{}", b'{"id": "x", "nam', b"\xff\xfe", b'{"id": "x", "name": 1}']
)
def test_a_damaged_line_before_the_last_is_named_and_nothing_is_changed(path: Path, damage: bytes) -> None:
    with Replies(path) as replies:
        for one in asks(3):
            replies.add(reply(one))
    lines = path.read_bytes().splitlines()
    lines[1] = damage
    path.write_bytes(b"\n".join(lines) + b"\n")
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"replies.jsonl:2: not a reply \(.*\); delete this line to ask again"):
        Replies(path)
    assert path.read_bytes() == before


def test_one_process_at_a_time_holds_the_file_until_it_ends(path: Path) -> None:
    program = f"from pathlib import Path\nfrom alignx.chat.replies import Replies\nReplies(Path({str(path)!r}))\n"
    with Replies(path), pytest.raises(DataError, match="another process is writing to it"):
        Replies(path)
    with Replies(path):
        other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "another process is writing to it; wait for it, or choose another output" in other.stderr
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_folder_that_knows_no_locks_is_no_other_process(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", unsupported)
    with pytest.raises(DataError, match=r"cannot be locked \(No locks available\)"):
        Replies(path)


def test_a_full_disk_leaves_whole_lines_only_and_the_next_start_goes_on(tmp_path: Path) -> None:
    """A real limit on the size of files; the process then writes, fails, closes and says so."""
    path = tmp_path / "replies.jsonl"
    program = f"""
import resource, signal, sys
from pathlib import Path
from alignx.chat.replies import Replies
from alignx.errors import DataError
from tests.chat.questioning import asks
from tests.chat.test_replies import reply
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with Replies(Path({str(path)!r})) as replies:
        for one in asks(50):
            replies.add(reply(one))
except DataError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "replies.jsonl: cannot be written: File too large; make room and run again" in done.stdout
    assert done.stderr == ""
    lines = path.read_bytes().splitlines(keepends=True)
    assert all(line.endswith(b"}\n") for line in lines)
    assert 1000 - len(lines[0]) <= path.stat().st_size <= 1000
    with Replies(path) as replies:
        assert len(replies) == len(lines)
        for one in asks(50)[len(lines) :]:
            replies.add(reply(one))
        assert [reading(one, replies).value for one in asks(50)] == ["A"] * 50


def test_a_failure_is_no_answer_and_never_takes_the_place_of_one(path: Path) -> None:
    [one] = asks(1)
    with Replies(path) as replies:
        replies.add(reply(one, text=None, problem="HTTP 500: out", cost=0.0))
        assert reading(one, replies).problem == "HTTP 500: out"
        replies.add(reply(one, text="I think it is", problem="no option in the reply"))
        assert reading(one, replies).problem == "no option in the reply"
        replies.add(reply(one))
        replies.add(reply(one, text=None, problem="HTTP 500: later"))
        assert reading(one, replies).value == "A"
        assert replies.spent == 1.5
    with Replies(path) as replies:
        assert (reading(one, replies).value, replies.spent, len(replies)) == ("A", 1.5, 1)


def test_a_reply_is_read_anew_by_whoever_reads_it(path: Path) -> None:
    one, other = asks(2)
    with Replies(path) as replies:
        replies.add(reply(one, problem="an older reader could not read this"))
        replies.add(reply(other, text="what an older reader could read"))
        assert reading(one, replies).value == "A"
        assert reading(other, replies).problem == "no option in the reply"


@pytest.mark.parametrize("finish", ["length", "content_filter", "refusal"])
def test_a_text_that_is_not_what_the_model_would_have_said_is_never_read(path: Path, finish: str) -> None:
    [one] = asks(1)
    with Replies(path) as replies:
        replies.add(reply(one, finish=finish, problem="cut off after 3 tokens"))
        assert reading(one, replies).problem == "cut off after 3 tokens"
        assert reading(one, replies).value is None


def test_secrets_are_struck_out_and_nothing_else_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second value occurs in every line, as the name of a field."""
    monkeypatch.setenv("HF_TOKEN", 'hf_fake"with\\quotes')
    monkeypatch.setenv("FIELD_TOKEN", "prompt_tokens")
    [one] = asks(1)
    with Replies(path) as replies:
        replies.add(
            reply(one, text='said hf_fake"with\\quotes', problem='no: hf_fake"with\\quotes', model="prompt_tokens")
        )
    assert b"hf_fake" not in path.read_bytes()
    with Replies(path) as replies:
        kept = replies[one.request.id]
    assert (kept.text, kept.problem, kept.model) == ("said [HF_TOKEN]", "no: [HF_TOKEN]", "[FIELD_TOKEN]")
    assert kept.prompt_tokens == 7


def test_memory_holds_places_and_no_texts(path: Path) -> None:
    import tracemalloc

    many = [(f"{number:032x}", f"number {number}") for number in range(300)]
    tracemalloc.start()
    with Replies(path) as replies:
        before = tracemalloc.get_traced_memory()[0]
        for name, about in many:
            replies.add(Reply(id=name, name=about, text="x" * 20_000))
        after = tracemalloc.get_traced_memory()[0]
        assert len(replies[many[7][0]].text or "") == 20_000
    tracemalloc.stop()
    assert after - before < 300 * 500  # 6 MB were written


def test_the_reader_of_the_questionnaire_says_why() -> None:
    assert read('{"option": "B"}') == "B"
    with pytest.raises(ValueError, match="option is 'D', expected A, B or C"):
        read('{"option": "D"}')
