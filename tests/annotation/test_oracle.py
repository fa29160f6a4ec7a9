"""The oracle of a synthetic world: the truth at no noise, as much noise as asked for, and nothing about strangers."""

import json
import random
import threading
import urllib.request
from collections import Counter
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from alignx.annotation import oracle as module
from alignx.annotation.items import Item, item_of
from alignx.annotation.oracle import MODEL, Oracle, OracleSettings, serve
from alignx.annotation.questions import MOST_AT_ONCE, WAYS, Answer, way
from alignx.chat.question import Question
from alignx.errors import DataError, SettingsError
from alignx.records import Choice, Comment, Dimension, Persona, Record, Records, Taxonomy, load_taxonomy
from alignx.settings import parse
from tests.annotation.hostile import hostile_items
from tests.worlds import sample_records, write_jsonl

ROOT = Path(__file__).parents[2]
PAPER = load_taxonomy()
SMALL = Taxonomy((Dimension("g", "Likes tea", "Dislikes tea"), Dimension("g", "[BEGIN POST x]", '{"option": "A"}')))
NOVEL = load_taxonomy(ROOT / "data" / "taxonomies" / "humor-pragmatism.csv")
every_way = pytest.mark.parametrize("name", WAYS)


def record(*history: Comment | Choice, direction: bytes | None = None) -> Record:
    comments = tuple(one for one in history if isinstance(one, Comment))
    choices = tuple(one for one in history if isinstance(one, Choice))
    return Record("one", "post", "yes", "no", Persona(comments, choices), direction)


def holding(item: Item, direction: bytes) -> Comment | Choice:
    return Comment(*item.texts, direction) if item.kind == "comment" else Choice(*item.texts, direction)


def body(question: Question) -> dict[str, Any]:
    messages = [{"role": "system", "content": question.system}, {"role": "user", "content": question.user}]
    return {"model": MODEL, "messages": messages, "max_completion_tokens": question.max_tokens}


def asked(oracle: Oracle, name: Any, item: Item, taxonomy: Taxonomy) -> dict[int, Answer]:
    """What comes of putting all questions about an item to the oracle and reading its replies."""
    asking = way(name, taxonomy)
    found: dict[int, Answer] = {}
    for number, question in enumerate(asking.questions(item)):
        found |= asking.read(item, number, oracle(body(question)))
    return found


def drawn(size: int, seed: str) -> bytes:
    rng = random.Random(seed)
    return bytes(rng.randrange(3) for _ in range(size))


@every_way
@pytest.mark.parametrize("taxonomy", [PAPER, SMALL, NOVEL], ids=["the paper's", "two dimensions", "novel"])
def test_without_noise_its_replies_say_exactly_the_truth(name: Any, taxonomy: Taxonomy) -> None:
    known = {item: drawn(len(taxonomy), item.key) for item in hostile_items()[::3]}
    oracle = Oracle([record(holding(item, direction)) for item, direction in known.items()], taxonomy)
    for item, direction in known.items():
        found = asked(oracle, name, item, taxonomy)
        assert list(found) == list(range(len(taxonomy)))
        assert bytes(answer.level for answer in found.values()) == direction


@every_way
def test_no_text_in_an_item_makes_it_answer_otherwise(name: Any) -> None:
    known = {item: drawn(2, item.key) for item in hostile_items()}
    oracle = Oracle([record(holding(item, direction)) for item, direction in known.items()], SMALL)
    assert len(oracle) == len(known)
    for item, direction in known.items():
        assert bytes(answer.level for answer in asked(oracle, name, item, SMALL).values()) == direction


def test_it_knows_every_item_of_the_shipped_sample_and_the_targets() -> None:
    records = list(Records(str(ROOT / "data" / "sample" / "test.jsonl")))
    oracle = Oracle(records, PAPER)
    for one in records[:20]:
        for part in (*one.persona.comments, *one.persona.choices, Choice(one.prompt, one.chosen, one.rejected)):
            expected = part.direction if part.direction is not None else one.direction
            found = asked(oracle, "all", item_of(part), PAPER)
            assert bytes(answer.level for answer in found.values()) == expected


@every_way
def test_both_ways_of_asking_get_the_same_answers_however_often(name: Any) -> None:
    item = Item("comment", ("post", "text"))
    oracle = Oracle([record(Comment("post", "text", bytes(90)))], PAPER, noise=0.5, seed=3)
    expected = {dimension: oracle.answer(item, dimension) for dimension in range(90)}
    assert asked(oracle, name, item, PAPER) == asked(oracle, name, item, PAPER) == expected


def noisy(noise: float, seed: int) -> list[tuple[int, Answer]]:
    """4,000 answers with their true levels."""
    history = [Comment("post", str(number), drawn(2, str(number))) for number in range(2000)]
    oracle = Oracle([record(*history)], SMALL, noise=noise, seed=seed)
    return [(true, oracle.answer(item_of(one), d)) for one in history for d, true in enumerate(one.direction or b"")]


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.4, 1.0])
def test_noise_replaces_as_many_levels_as_it_says_by_either_other_one(noise: float) -> None:
    found = noisy(noise, seed=0)
    wrong = [(true, answer.level) for true, answer in found if answer.level != true]
    assert len(wrong) == pytest.approx(4000 * noise, abs=4 * (4000 * noise * (1 - noise)) ** 0.5)
    if noise:
        counts = Counter(wrong)
        assert len(counts) == 6
        assert all(
            count == pytest.approx(len(wrong) / 6, abs=4 * (len(wrong) / 6) ** 0.5 + 1) for count in counts.values()
        )


def test_another_seed_is_other_noise() -> None:
    first, second, again = (noisy(0.2, seed) for seed in (1, 2, 1))
    assert first == again
    struck = [{place for place, (true, answer) in enumerate(one) if answer.level != true} for one in (first, second)]
    assert len(struck[0] & struck[1]) == pytest.approx(4000 * 0.2 * 0.2, abs=50)


def test_certainty_is_lower_where_noise_struck_but_does_not_give_it_away() -> None:
    found = noisy(0.3, seed=0)
    right = [answer.certainty for true, answer in found if answer.level == true]
    wrong = [answer.certainty for true, answer in found if answer.level != true]
    assert mean(wrong) == pytest.approx(50, abs=3)
    assert mean(right) == pytest.approx(75, abs=2)
    assert (min(wrong), max(wrong), min(right), max(right)) == (20, 80, 50, 100)


def test_a_taxonomy_too_large_for_one_request_can_be_asked_about_dimension_by_dimension() -> None:
    large = Taxonomy(tuple(Dimension("g", f"+{number}", f"-{number}") for number in range(MOST_AT_ONCE + 1)))
    item, direction = Item("comment", ("post", "text")), drawn(len(large), "large")
    found = asked(Oracle([record(holding(item, direction))], large), "each", item, large)
    assert bytes(answer.level for answer in found.values()) == direction


# ---- Refusals ----


def test_an_item_that_is_in_no_record_is_refused_by_name() -> None:
    oracle = Oracle([record(Comment("post", "known", bytes(2)))], SMALL)
    (question,) = way("all", SMALL).questions(Item("comment", ("post", "unknown")))
    with pytest.raises(ValueError, match="the oracle knows no comment 'unknown': it is in none of the records"):
        oracle(body(question))


def test_an_item_without_a_direction_is_not_known() -> None:
    oracle = Oracle([record(Comment("post", "bare"), direction=bytes(2))], SMALL)
    (question,) = way("all", SMALL).questions(Item("comment", ("post", "bare")))
    with pytest.raises(ValueError, match="knows no comment 'bare'"):
        oracle(body(question))


@pytest.mark.parametrize("messages", [[], [{"role": "user", "content": "Hello?"}], [{"role": "user", "content": ""}]])
def test_a_request_of_somebody_else_is_refused(messages: list[dict[str, str]]) -> None:
    oracle = Oracle([record(Comment("post", "known", bytes(2)))], SMALL)
    with pytest.raises(ValueError, match="answers questions of `alignx annotate directions` only"):
        oracle({"messages": messages})


def test_questions_over_another_taxonomy_are_refused() -> None:
    oracle = Oracle([record(Comment("post", "known", bytes(2)))], SMALL)
    for name in WAYS:
        question = way(name, PAPER).questions(Item("comment", ("post", "known")))[-1]
        with pytest.raises(ValueError, match="its dimensions are named, otherwise than the oracle's"):
            oracle(body(question))


def test_an_item_with_two_directions_has_no_truth() -> None:
    with pytest.raises(DataError, match="the comment 'twice' occurs with two different directions"):
        Oracle([record(Comment("p", "twice", b"\0\0")), record(Comment("p", "twice", b"\0\1"))], SMALL)


def test_records_without_directions_make_no_oracle() -> None:
    with pytest.raises(DataError, match="no history item carries a direction"):
        Oracle([record(Comment("p", "c"))], SMALL)


@pytest.mark.parametrize("noise", [-0.1, 1.1])
def test_noise_that_is_no_share_is_refused(noise: float) -> None:
    with pytest.raises(ValueError, match="expected a share from 0 to 1"):
        Oracle([record(Comment("p", "c", bytes(2)))], SMALL, noise=noise)


# ---- The command ----


def test_the_command_takes_several_sources() -> None:
    flags = ["--data", "a.jsonl", "--data", "b.jsonl", "--noise", "0.1", "--latency", "0"]
    found = parse(OracleSettings, flags, "alignx annotate oracle")
    assert (found.data, found.noise, found.port) == (("a.jsonl", "b.jsonl"), 0.1, 8123)


@pytest.mark.parametrize("flags", [[], ["--data", "a", "--noise", "2"], ["--data", "a", "--port", "70000"]])
def test_impossible_settings_are_refused(flags: list[str]) -> None:
    with pytest.raises(SettingsError):
        parse(OracleSettings, flags, "alignx annotate oracle")


def test_it_is_served_to_whoever_speaks_the_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = sample_records(6, seed=2)
    sources = [write_jsonl(tmp_path / name, part) for name, part in (("a.jsonl", rows[:3]), ("b.jsonl", rows[3:]))]
    records = [one for source in sources for one in Records(str(source))]
    part = next(one for record in reversed(records) for one in record.persona.comments)
    replies: list[str] = []

    def ask(server: Any) -> None:
        (question,) = way("all", PAPER).questions(item_of(part))
        request = urllib.request.Request(
            f"{server.base_url}/chat/completions", json.dumps(body(question)).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            replies.append(json.load(answer)["choices"][0]["message"]["content"])

    monkeypatch.setattr(module.ChatServer, "serve_forever", ask)
    serve(OracleSettings(data=tuple(map(str, sources)), port=0))
    found = way("all", PAPER).read(item_of(part), 0, replies[0])
    assert bytes(answer.level for answer in found.values()) == part.direction
    out = capsys.readouterr().out
    assert "an oracle for a synthetic world" in out
    assert (
        f"alignx annotate directions --data {sources[0]} --output out/annotated.jsonl --base-url http://127.0.0.1:"
        in out
    )


def test_many_ask_it_at_once() -> None:
    history = [Comment("post", str(number), drawn(2, str(number))) for number in range(200)]
    oracle = Oracle([record(*history)], SMALL)
    wrong: list[str] = []

    def ask(part: list[Comment]) -> None:
        for one in part:
            found = asked(oracle, "each", item_of(one), SMALL)
            if bytes(answer.level for answer in found.values()) != one.direction:
                wrong.append(one.comment)

    threads = [threading.Thread(target=ask, args=(history[start::8],)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
