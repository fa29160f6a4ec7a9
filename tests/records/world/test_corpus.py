"""The text a stand-in is pre-trained on: consistent with one user, and in no format of the task."""

import re
import string
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from alignx.models.corpora import read_documents, read_probes
from alignx.models.tiny_tokenizer import CONTROL_TOKENS
from alignx.prompts.presets import load_preset
from alignx.records.world import Population, Shape, Speech, User, load_phrases
from alignx.records.world.corpus import Corpus
from alignx.records.world.synthesize import DEMO_DIMENSIONS
from tests.records.rows import CHOICES, COMMENTS, DEMOGRAPHICS
from tests.records.world import DEMO, TAXONOMY, TESTS, WORDINGS, Said, direction, made, rows, said

PHRASES = load_phrases()
PERSON = User("ann", "baker", "Oslo", {74: 0, 47: 1, 49: 0, 50: 1, 0: 1})
PLAIN: dict[str, Any] = {
    **PHRASES,
    "name": ["Ada"],
    "stated": ["{name}: {labels}."],
    "said": ["{name} says, {clause}."],
}


def corpus(seed: str = "0", phrases: Any = PHRASES) -> Corpus:
    return Corpus(Speech(WORDINGS, phrases, 90), phrases, TAXONOMY, seed)


@cache
def named(line: str) -> str:
    (name,) = [name for name in PHRASES["name"] if re.search(rf"\b{name}\b", line)]
    return name


def stated(line: str) -> dict[int, int]:
    """The poles of a description in labels; nothing where the line is talk."""
    for form in PHRASES["stated"]:
        before, after = form.format(name=named(line), labels="|").split("|")
        if line.startswith(before) and not said(line):
            levels = TAXONOMY.read_profile(line.removeprefix(before).removesuffix(after))
            return {index: level // 2 for index, level in enumerate(levels) if level != 1}
    return {}


@cache
def poles(line: str) -> dict[int, int]:
    """What a line says of its user, be it one clause or labels."""
    labels = stated(line)
    if labels:
        return labels
    (one,) = said(line)
    assert line in {form.format(name=named(line), clause=clause(one)) for form in PHRASES["said"]}
    return {one.dimension: one.sign}


def clause(one: Said) -> str:
    return WORDINGS[one.dimension].clauses[one.wording][one.sign]


@pytest.fixture(scope="module", params=["demo", "full"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {"demo": DEMO, "full": {}}[request.param]
    return made(tmp_path_factory.mktemp("corpus") / request.param, **settings, train=100, test=60, corpus=300)


def test_a_share_of_the_documents_are_posts_with_anybodys_reply(tmp_path: Path) -> None:
    """And the others, like all records of the world, are what they were without them."""
    plain = made(tmp_path / "plain", **DEMO, train=100, test=60, corpus=400)
    mixed = made(tmp_path / "mixed", **DEMO, train=100, test=60, corpus=400, conversations=0.25)
    for name in ("train", "users", *TESTS):
        assert (mixed / f"{name}.jsonl").read_bytes() == (plain / f"{name}.jsonl").read_bytes()
    found = read_documents(mixed / "corpus.jsonl")
    chats = [document for document in found if document.messages]
    assert len(chats) == 100
    assert [chat is found[place] for place, chat in zip(range(3, 400, 4), chats, strict=True)] == [True] * 100
    talk = [document.text for document in found if document.text is not None]
    assert talk == [document.text for document in read_documents(plain / "corpus.jsonl")][: len(talk)]
    signs = Counter[int]()
    for chat in chats:
        post, reply = chat.messages
        assert (post.role, reply.role) == ("user", "assistant")
        meant = said(reply.content)
        assert len({one.dimension for one in meant}) == len(meant) in (1, 2)
        assert all(one.wording >= 0 and WORDINGS[one.dimension].topic in post.content for one in meant)
        signs.update(one.sign for one in meant)
    assert 0.35 < signs[1] / signs.total() < 0.65
    targets = {(row["prompt"], text) for name in TESTS for row in rows(mixed, name) for text in both(row)}
    assert targets.isdisjoint((chat.texts[0], chat.texts[1]) for chat in chats)


def both(row: dict[str, Any]) -> tuple[str, str]:
    return row["chosen"], row["rejected"]


def documents(world: Path) -> list[str]:
    return [document.text or "" for document in read_documents(world / "corpus.jsonl")]


def test_a_document_worked_by_hand() -> None:
    person = User("ann", "baker", "Oslo", {47: 1, 0: 0})
    found = {corpus(str(seed), PLAIN).document([person]).split("\n")[0] for seed in range(200)}
    assert "Ada: Older, Likes science." in found  # in the taxonomy's order, whatever the user's
    assert found - {"Ada: Older, Likes science."} == {
        *(
            f"Ada says, {text}."
            for text in ("my grandchildren explain the apps to me", "my working life is long behind me")
        ),
        *(f"Ada says, {no_more[1]}." for no_more in WORDINGS[47].clauses[:-1]),
    }


def test_a_document_goes_over_three_or_more_of_its_user_s_dimensions_twice() -> None:
    texts, sizes, described = corpus(), Counter[int](), 0
    for _ in range(400):
        lines = texts.document([PERSON]).split("\n")
        first = stated(lines[0])
        described += bool(first)
        half = len(lines) - 1 if first else len(lines) // 2
        topics = first or {index: sign for line in lines[:half] for index, sign in poles(line).items()}
        assert len(lines) == (half + 1 if first else 2 * half)
        assert {index: sign for line in lines[-half:] for index, sign in poles(line).items()} == topics
        assert len(topics) == half
        assert topics.items() <= PERSON.stance.items()
        sizes[half] += 1
    assert sizes.keys() == {3, 4, 5}
    assert all(abs(count - 400 / 3) <= 38 for count in sizes.values())  # four times √(400 · 1/3 · 2/3)
    assert abs(described - 200) <= 40  # four times √(400 / 4)


def test_talk_comes_in_any_order_and_every_frame_and_name() -> None:
    texts = corpus()
    talk = [texts.document([PERSON]).split("\n") for _ in range(400)]
    seconds = Counter(next(iter(poles(lines[-1]))) for lines in talk)
    assert seconds.keys() == PERSON.stance.keys()
    assert all(abs(count - 80) <= 32 for count in seconds.values())
    assert {named(lines[0]) for lines in talk} == set(PHRASES["name"])
    frames = {line.replace(named(line), "{name}") for lines in talk for line in lines}
    for form in PHRASES["said"]:
        assert any(re.fullmatch(re.escape(form).replace(r"\{clause\}", ".*"), line) for line in frames)


def test_the_second_talk_has_an_order_of_its_own() -> None:
    texts, same, talks = corpus(), 0, 0
    person = User("ann", "baker", "Oslo", {47: 1, 49: 0, 50: 1})
    for _ in range(400):
        order = [list(poles(line)) for line in texts.document([person]).split("\n")]
        if len(order) == 6:
            talks += 1
            same += order[:3] == order[3:]
    assert abs(same - talks / 6) <= 4 * (talks * 5 / 36) ** 0.5


def test_a_user_of_fewer_than_three_dimensions_has_documents_too() -> None:
    lonely = User("ann", "baker", "Oslo", {47: 1})
    assert all(poles(line) == {47: 1} for line in corpus().document([lonely]).split("\n"))


def test_every_user_is_written_about() -> None:
    people = [User(str(index), "baker", "Oslo", {index: 1}) for index in range(40)]
    texts = corpus()
    found = Counter(next(iter(poles(texts.document(people).split("\n")[0]))) for _ in range(2000))
    assert all(abs(found[index] - 50) <= 28 for index in range(40))


def test_everything_follows_from_the_seed() -> None:
    def first(seed: str) -> tuple[str, list[dict[str, str]]]:
        texts = corpus(seed)
        return texts.document([PERSON]), list(texts.probes([PERSON]))

    assert first("a") == first("a")
    assert first("a") != first("b")


def test_every_document_agrees_with_one_training_user_in_all_it_says(world: Path) -> None:
    stances = [direction(user).items() for user in rows(world, "users") if user["split"] == "train"]
    for text in documents(world):
        lines = text.split("\n")
        assert len({named(line) for line in lines}) == 1
        told = {pole for line in lines for pole in poles(line).items()}
        assert any(told <= stance for stance in stances)


def test_no_document_or_probe_holds_a_post_or_a_reply_of_either_split(world: Path) -> None:
    texts = "\n".join([*documents(world), *(p.text + "\n" + p.contrast for p in read_probes(world / "probe.jsonl"))])
    for name in ("train", *TESTS):
        for row in rows(world, name):
            for item in (row, *row[COMMENTS], *row[CHOICES]):
                assert not [field for field, value in item.items() if isinstance(value, str) and value in texts]
            assert row.get(DEMOGRAPHICS, "no such text") not in texts


def test_no_document_or_probe_looks_like_a_prompt(world: Path) -> None:
    preset = load_preset("paper")
    shown = [preset.instruction.ica, preset.instruction.pba, preset.heading.ica, preset.heading.pba]
    shown += [preset.blocks.task, preset.blocks.comments, preset.blocks.comment, preset.blocks.choices]
    shown += [preset.blocks.choice, preset.blocks.response, preset.nothing_to_say.profile]
    literals = [literal for block in shown for literal, *_ in string.Formatter().parse(block)]
    pieces = {line.strip(" .") for literal in literals for line in literal.split("\n")}
    pieces = {piece for piece in pieces if len(piece) > 2} | set(CONTROL_TOKENS) | {"This person", "assistant"}
    assert {"***Task***", "*Post:*", "***Response:***", "No stated preferences"} <= pieces
    texts = [*documents(world), *(line for p in read_probes(world / "probe.jsonl") for line in (p.text, p.contrast))]
    everything = "\n".join(texts)
    assert not [piece for piece in pieces if piece in everything]
    assert not any(opener in everything for opener in PHRASES["opener"])
    assert not re.search(r"[*<>|#“”?]|\n\n", everything)


def test_probes_differ_in_the_sign_of_their_last_line_only(world: Path) -> None:
    probes = read_probes(world / "probe.jsonl")
    assert [probe.kind for probe in probes] == ["stated", "said"] * 200
    for probe in probes:
        *lines, last = probe.text.split("\n")
        *others, contrast = probe.contrast.split("\n")
        (one,), (opposite,) = said(last), said(contrast)
        assert others == lines
        assert opposite == one._replace(sign=1 - one.sign)
        assert contrast == last.replace(clause(one), clause(opposite))


def test_a_probe_s_last_line_follows_from_what_stands_before_it(world: Path) -> None:
    places = Counter[int]()
    for probe in read_probes(world / "probe.jsonl"):
        *lines, last = probe.text.split("\n")
        known = [pole for line in lines for pole in poles(line).items()]
        ((index, sign),) = poles(last).items()
        assert (index, sign) in known
        assert (index, 1 - sign) not in known
        assert (probe.kind == "stated") == bool(stated(lines[0])) == (len(lines) == 1 and len(known) > 1)
        assert len(known) >= 3
        assert len({named(line) for line in [*lines, last]}) == 1
        places[known.index((index, sign))] += 1
    assert all(places[place] > 30 for place in range(3))  # it is not always the first or the last


def test_half_of_the_probes_end_in_either_sign(world: Path) -> None:
    probes = read_probes(world / "probe.jsonl")
    positive = sum(said(probe.text)[-1].sign for probe in probes)
    assert abs(positive - 200) <= 40  # four times √(400 / 4)


def test_documents_are_about_training_users_and_probes_about_nobody_in_the_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, list[User]] = {"document": [], "probes": []}

    def spy(name: str) -> None:
        own = getattr(Corpus, name)

        def noted(self: Corpus, users: list[User]) -> Any:
            asked[name] += users
            return own(self, users)

        monkeypatch.setattr(Corpus, name, noted)

    spy("document")
    spy("probes")
    folder = made(tmp_path / "world", train=40, test=40, corpus=3)
    known = {user["user"]: (user["split"], direction(user)) for user in rows(folder, "users")}
    assert {known[user.name] == ("train", user.stance) for user in asked["document"]} == {True}
    assert len(asked["document"]) == 3 * 10
    assert len(asked["probes"]) == 200
    assert not {user.name for user in asked["probes"]} & known.keys()
    assert not [user for user in asked["probes"] if user.stance in [stance for _, stance in known.values()]]


def test_probe_users_look_like_the_world_s(world: Path) -> None:
    size = (6, 6) if world.name == "demo" else (4, 8)
    dimensions = DEMO_DIMENSIONS if world.name == "demo" else range(90)
    people = Population(Speech(WORDINGS, PHRASES, 90), dimensions, PHRASES, Shape(active=size), "0 probe")
    users = [people.user("probe") for _ in range(200)]
    for place, probe in enumerate(read_probes(world / "probe.jsonl")):  # two a user
        told = {pole for line in probe.text.split("\n") for pole in poles(line).items()}
        assert told <= users[place // 2].stance.items()
