"""The files of a synthetic world: what each variant changes, what agrees with what, and what is refused."""

import json
from collections import Counter, defaultdict
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from alignx import manifest
from alignx.cli import main
from alignx.errors import DataError
from alignx.intervals import clustered_mean
from alignx.prompts import Condition, Method, PersonaSource, render, tell
from alignx.records import Records, load_taxonomy
from alignx.records.world import load_phrases, load_wordings
from alignx.records.world.corpus import Corpus
from alignx.records.world.synthesize import DEMO_DIMENSIONS, SynthesizeSettings
from tests.records.rows import CHOICES, COMMENTS, DEMOGRAPHICS, DIRECTION
from tests.records.world import (
    DEMO,
    EXTENSION,
    MEANING,
    TAXONOMY,
    TESTS,
    WORDINGS,
    direction,
    frame,
    made,
    rows,
    said,
    signs,
    turned,
)

NOISE = 0.05
FULL: dict[str, Any] = {"label_noise": NOISE}
SIZES = {"demo": {"train": 1200, "test": 480}, "full": {"train": 600, "test": 240}}


@pytest.fixture(scope="module", params=["demo", "full"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {"demo": DEMO, "full": FULL}[request.param]
    return made(tmp_path_factory.mktemp("world") / request.param, **settings, **SIZES[request.param], corpus=200)


def target(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("id", "user", "prompt", "chosen", "rejected", DIRECTION)}


def stances(folder: Path) -> dict[str, dict[int, int]]:
    return {user["user"]: direction(user) for user in rows(folder, "users")}


def slipped(row: dict[str, Any], stance: dict[str, dict[int, int]]) -> bool:
    """Whether a row's target contradicts its user's stance, which it must do in all it says or in nothing."""
    agrees = {stance[row["user"]][index] == sign for index, sign in direction(row).items()}
    assert len(agrees) == 1
    return not agrees.pop()


# ---- What the files hold ----


def test_the_manifest_says_the_settings_the_counts_and_the_digest_of_every_file(world: Path) -> None:
    found = manifest.read(world)
    size = SIZES[world.name]
    users = {"users": (size["train"] + size["test"]) // 4, "corpus": 200, "probe": 400}
    assert found.kind == "world"
    assert found.counts == {"train": size["train"], **dict.fromkeys(TESTS, size["test"]), **users}
    assert found.taxonomy == TAXONOMY.digest
    assert found.files == {f"{name}.jsonl": manifest.file_digest(world / f"{name}.jsonl") for name in found.counts}
    assert {path.name for path in world.iterdir()} == {*found.files, "manifest.json"}
    assert all(len(rows(world, name)) == count for name, count in found.counts.items())
    given = {"demo": DEMO, "full": FULL}[world.name]
    expected = SynthesizeSettings(output=world, **given, **size, corpus=200).model_dump(mode="json")
    assert found.settings == {name: value for name, value in expected.items() if name != "output"}


def test_every_file_of_records_is_valid_and_knows_its_users(world: Path) -> None:
    for name in ("train", *TESTS):
        records = Records(str(world / f"{name}.jsonl"))
        assert all(record.user is not None and record.direction is not None for record in records)
        assert not records.unused_fields


def test_files_are_utf_8_lines_without_escapes(world: Path) -> None:
    text = (world / "train.jsonl").read_bytes().decode("utf-8")
    assert "Kraków" in text
    assert "\\u" not in text
    assert "\r" not in text
    assert text.endswith("}\n")


def test_training_and_test_users_are_apart_and_each_has_about_four_records(world: Path) -> None:
    splits = defaultdict(set)
    for user in rows(world, "users"):
        splits[user["split"]].add(user["user"])
    assert splits.keys() == {"train", "test"}
    assert not splits["train"] & splits["test"]
    for split, users in splits.items():
        records = Counter(row["user"] for row in rows(world, split))
        assert records.keys() == users
        assert set(records.values()) == {4}


def test_ids_are_unique_and_the_same_in_every_variant(world: Path) -> None:
    ids = [row["id"] for name in ("train", "test") for row in rows(world, name)]
    assert len(set(ids)) == len(ids)
    for name in TESTS:
        assert [row["id"] for row in rows(world, name)] == [row["id"] for row in rows(world, "test")]


def test_targets_are_distinct_in_both_splits_together(world: Path) -> None:
    both = [*rows(world, "train"), *rows(world, "test")]
    assert len({(row["prompt"], frozenset((row["chosen"], row["rejected"]))) for row in both}) == len(both)


def test_no_history_holds_a_text_of_its_own_target_or_one_twice(world: Path) -> None:
    for name in ("train", *TESTS):
        for row in rows(world, name):
            items = [row, *row[COMMENTS], *row[CHOICES]]
            texts = [
                item[field] for item in items for field in ("prompt", "chosen", "rejected", "comment") if field in item
            ]
            assert len(set(texts)) == len(texts)


def test_the_direction_of_everything_said_is_that_of_its_clauses(world: Path) -> None:
    for name in ("train", *TESTS):
        for row in rows(world, name):
            for item in (row, *row[CHOICES]):
                assert direction(item) == signs(item["chosen"]) == turned(signs(item["rejected"]))
            for item in row[COMMENTS]:
                assert direction(item) == signs(item["comment"])
            assert all(item[DIRECTION].count(0.5) >= 87 for item in (row, *row[COMMENTS], *row[CHOICES]))


def test_chosen_and_rejected_differ_in_their_signs_alone(world: Path) -> None:
    for name in ("train", *TESTS):
        for row in rows(world, name):
            for item in (row, *row[CHOICES]):
                assert frame(item["chosen"]) == frame(item["rejected"])
                ones, others = said(item["chosen"]), said(item["rejected"])
                assert [one._replace(sign=1 - one.sign) for one in ones] == others


def test_a_post_names_the_topics_of_its_replies_and_no_pole(world: Path) -> None:
    for row in rows(world, "train"):
        for item in (row, *row[COMMENTS], *row[CHOICES]):
            assert not said(item["prompt"])
            topics = [WORDINGS[index].topic for index in direction(item)]
            assert all(topic in item["prompt"] for topic in topics)


def test_a_text_is_an_opener_clauses_and_links_and_a_full_stop(world: Path) -> None:
    phrases = load_phrases()
    for row in rows(world, "train"):
        opener, _, rest = frame(row["chosen"]).partition("_")
        assert opener in phrases["opener"]
        links = rest.removesuffix(".").split("_")[:-1]
        assert rest.endswith(".")
        assert rest == "".join(link + "_" for link in links) + "."
        assert all(link in phrases[name] for link, name in zip(links, ("joiner", "last_joiner"), strict=False))


# ---- Truth and noise ----


def test_what_a_user_says_is_the_truth_but_for_slips(world: Path) -> None:
    truth = stances(world)
    for name in ("train", "test", "test-comments-only", "test-choices-only", "test-unseen-wordings"):
        for row in rows(world, name):
            slipped(row, truth)
            own = truth[row["user"]]
            assert all(own.items() >= direction(item).items() for item in (*row[COMMENTS], *row[CHOICES]))
            assert own.items() >= signs(row.get(DEMOGRAPHICS, "")).items()


def test_as_many_targets_slip_as_the_label_noise_says(world: Path) -> None:
    truth = stances(world)
    for split in ("train", "test"):
        records = rows(world, split)
        found = sum(slipped(row, truth) for row in records)
        assert abs(found - NOISE * len(records)) <= 4 * (len(records) * NOISE * (1 - NOISE)) ** 0.5


def test_a_description_is_about_the_target_s_dimensions(world: Path) -> None:
    described = [row for row in rows(world, "train") if DEMOGRAPHICS in row]
    share = {"demo": 0.0, "full": 0.7}[world.name]
    assert abs(len(described) - share * SIZES[world.name]["train"]) <= 4 * (600 * 0.7 * 0.3) ** 0.5
    for row in described:
        assert row[DEMOGRAPHICS].startswith("**This person's persona is:**\n")
        assert list(signs(row[DEMOGRAPHICS])) == list(signs(row["chosen"]))


def test_each_dimension_is_positive_in_half_of_the_targets(world: Path) -> None:
    for split in ("train", "test"):
        values, clusters = defaultdict(list), defaultdict(list)
        for row in rows(world, split):
            for index, sign in direction(row).items():
                values[index].append(float(sign))
                clusters[index].append(row["user"])
        total = clustered_mean(list(chain(*values.values())), list(chain(*clusters.values())))
        assert abs(total.mean - 0.5) <= 4 * total.standard_error <= 0.2
        if world.name == "demo" and split == "train":  # the others have too few of each here
            assert values.keys() == set(DEMO_DIMENSIONS)
            for index, found in values.items():
                estimate = clustered_mean(found, clusters[index])
                assert abs(estimate.mean - 0.5) <= 4 * estimate.standard_error <= 0.5


def test_users_have_the_numbers_of_dimensions_and_the_histories_that_were_asked_for(world: Path) -> None:
    sizes = {len(stance) for stance in stances(world).values()}
    lengths = {(len(row[COMMENTS]), len(row[CHOICES])) for row in rows(world, "train")}
    said_of = {len(direction(row)) for row in rows(world, "train")}
    if world.name == "demo":
        assert (sizes, lengths, said_of) == ({6}, {(3, 1)}, {1, 2})
        assert {one.wording for row in rows(world, "train") for one in said(row["chosen"])} == {0, 1}
    else:
        assert (sizes, said_of) == ({4, 5, 6, 7, 8}, {1, 2, 3})
        assert {length for length, _ in lengths} == {length for _, length in lengths} == set(range(9))
        assert {one.wording for row in rows(world, "train") for one in said(row["chosen"])} == {0, 1, 2, 3}


# ---- Variants ----


def test_comments_only_and_choices_only_leave_out_the_other_and_nothing_else(world: Path) -> None:
    for own, comments, choices in zip(
        *(rows(world, name) for name in ("test", "test-comments-only", "test-choices-only")), strict=True
    ):
        assert comments == {**own, CHOICES: []}
        assert choices == {**own, COMMENTS: []}


def test_reversed_personas_are_the_opposite_word_for_word_and_targets_stay(world: Path) -> None:
    for own, other in zip(rows(world, "test"), rows(world, "test-reversed"), strict=True):
        assert target(other) == target(own)
        assert other.keys() == own.keys()
        if DEMOGRAPHICS in own:
            assert frame(other[DEMOGRAPHICS]) == frame(own[DEMOGRAPHICS])
            assert signs(other[DEMOGRAPHICS]) == turned(signs(own[DEMOGRAPHICS]))
        for before, after in zip(own[COMMENTS], other[COMMENTS], strict=True):
            assert after["prompt"] == before["prompt"]
            assert frame(after["comment"]) == frame(before["comment"])
            assert [one._replace(sign=1 - one.sign) for one in said(after["comment"])] == said(before["comment"])
            assert direction(after) == turned(direction(before))
        for before, after in zip(own[CHOICES], other[CHOICES], strict=True):
            assert (after["prompt"], after["chosen"], after["rejected"]) == (
                before["prompt"],
                before["rejected"],
                before["chosen"],
            )
            assert direction(after) == turned(direction(before))


def test_unseen_wordings_say_the_target_in_other_words_and_nothing_else(world: Path) -> None:
    for own, other in zip(rows(world, "test"), rows(world, "test-unseen-wordings"), strict=True):
        assert {**other, "chosen": own["chosen"], "rejected": own["rejected"]} == own
        for field in ("chosen", "rejected"):
            assert frame(other[field]) == frame(own[field])
            assert [one._replace(wording=-1) for one in said(own[field])] == said(other[field])


def test_unseen_wordings_stand_in_the_targets_of_their_file_and_nowhere_else(world: Path) -> None:
    unseen = [clause for clause, meaning in MEANING.items() if meaning.wording == -1]
    assert len(unseen) == 180
    texts = {path.name: path.read_text(encoding="utf-8") for path in world.glob("*.jsonl")}
    theirs = rows(world, "test-unseen-wordings")
    texts["test-unseen-wordings.jsonl"] = "\n".join(
        json.dumps({**row, "chosen": "", "rejected": ""}, ensure_ascii=False) for row in theirs
    )
    assert not [(name, clause) for name, text in texts.items() for clause in unseen if clause in text]
    assert len({one for row in theirs for one in said(row["chosen"])}) >= (32 if world.name == "demo" else 150)


def test_a_reversed_file_tells_pba_what_reversing_the_persona_tells_it(world: Path) -> None:
    own, turned_round = (list(Records(str(world / f"{name}.jsonl"))) for name in ("test", "test-reversed"))
    of_file = Condition(method=Method.PBA, history="all")
    of_control = Condition(method=Method.PBA, history="all", persona=PersonaSource.REVERSED)
    differs = 0
    for record, opposite in zip(own[:200], turned_round[:200], strict=True):
        expected = render(record, tell(record, of_control, TAXONOMY), of_control)
        assert render(opposite, tell(opposite, of_file, TAXONOMY), of_file) == expected
        differs += expected != render(record, tell(record, of_file, TAXONOMY), of_file)
        assert [(choice.chosen, choice.rejected) for choice in opposite.persona.choices] == [
            (choice.chosen, choice.rejected) for choice in tell(record, of_control, TAXONOMY).choices
        ]
    assert differs > 150  # the others have no history, or one that contradicts itself nowhere


# ---- Seeds and sizes ----

SMALL: dict[str, Any] = {"train": 24, "test": 12, "corpus": 8}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = (
        contents(made(tmp_path / name, **SMALL, seed=seed)) for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert again == first
    assert len(first) == 10
    assert not [name for name in first if other[name] == first[name]]


def test_making_a_world_twice_in_a_folder_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    made(tmp_path / "a", **SMALL)
    made(tmp_path / "a", **{**SMALL, "corpus": 0}, seed=3)
    assert contents(tmp_path / "a") == contents(made(tmp_path / "b", **{**SMALL, "corpus": 0}, seed=3))
    assert not (tmp_path / "a" / "probe.jsonl").exists()


def test_test_records_are_those_they_were_when_more_training_records_are_asked_for(tmp_path: Path) -> None:
    few, many = (made(tmp_path / str(count), **{**SMALL, "train": count}) for count in (24, 48))
    for name in TESTS:
        ones, others = ([{**row, "user": ""} for row in rows(folder, name)] for folder in (few, many))
        assert ones == others


def test_a_corpus_changes_no_record(tmp_path: Path) -> None:
    without, with_one = (contents(made(tmp_path / str(count), train=24, test=12, corpus=count)) for count in (0, 8))
    assert with_one.keys() - without.keys() == {"corpus.jsonl", "probe.jsonl"}
    assert all(with_one[name] == content for name, content in without.items() if name != "manifest.json")


def test_fewer_records_than_four_still_have_a_user(tmp_path: Path) -> None:
    folder = made(tmp_path / "a", train=1, test=5)
    assert [user["user"] for user in rows(folder, "users")] == ["user-00001", "user-00002"]
    assert len(rows(folder, "test")) == 5


def test_what_was_written_is_told_in_a_few_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["data", "synthesize", "--output", str(tmp_path / "a"), "--train", "24", "--test", "12"])
    first, *files = capsys.readouterr().out.splitlines()
    assert first == f"{tmp_path / 'a'}: 90 dimensions, 6 training users, 3 test users, none in common"
    assert [line.split() for line in files[:2]] == [["train.jsonl", "24", "lines"], ["test.jsonl", "12", "lines"]]
    assert len(files) == 7


# ---- Refusals ----


def refused(capsys: pytest.CaptureFixture[str], folder: Path, *flags: str, code: int = 2) -> str:
    """The one line of a refusal."""
    with pytest.raises(SystemExit) as caught:
        main(["data", "synthesize", "--output", str(folder), "--train", "24", "--test", "12", *flags])
    error = capsys.readouterr().err
    assert caught.value.code == code
    assert error.startswith("alignx data synthesize: error: ")
    assert error.count("\n") == 1
    return error.removeprefix("alignx data synthesize: error: ").strip()


REFUSED = {
    "--dimensions 0,0": "--dimensions: got '0,0', expected each index once",
    "--dimensions abc": "--dimensions: got 'abc', expected all, demo, or indices such as 0,47,89",
    "--dimensions 0,,3": "--dimensions: got '0,,3', expected all, demo, or indices such as 0,47,89",
    "--dimensions 95": "--dimensions: got 95, expected 0 to 89",
    "--dimensions 1,2,3,4,5,6,7,95": "--dimensions: got 95, expected 0 to 89",
    "--active 9,3": "--active: got (9, 3), expected the smaller number first",
    "--active 0,3": "--active: got 0, expected greater than 0",
    "--active 4,91": "--active: got up to 91, but 90 dimensions are in use",
    "--dimensions demo --active 17,17": "--active: got up to 17, but 16 dimensions are in use",
    "--wordings 1": "--wordings: got '1', expected greater than or equal to 2",
    "--wordings 7": "--wordings: got 7, but dimension 0 has 2 a pole",
    "--dimensions demo --wordings 5": "--wordings: got 5, but dimension 47 has 4 a pole",
    "--mentions 0,0": "--mentions: got (0.0, 0.0), expected shares of which one is above 0",
    "--mentions=-1,2": "--mentions: got (-1.0, 2.0), expected shares of which one is above 0",
    "--mentions 1,1,1,1": "--mentions: got [1, 1, 1, 1], expected Tuple should have at most 3 items",
    "--label-noise 0.5": "--label-noise: got '0.5', expected less than 0.5",
    "--label-noise=-0.1": "--label-noise: got '-0.1', expected greater than or equal to 0",
    "--on-target 1.1": "--on-target: got '1.1', expected less than or equal to 1",
    "--described 1.1": "--described: got '1.1', expected less than or equal to 1",
    "--train 0": "--train: got '0', expected greater than 0",
    "--comments=-1": "--comments: got '-1', expected greater than or equal to 0",
}


@pytest.mark.parametrize("flags", REFUSED)
def test_impossible_settings_are_refused_with_flag_and_value_and_nothing_is_written(
    flags: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    error = refused(capsys, tmp_path / "world", *flags.split(" "))
    assert error.startswith(REFUSED[flags])
    assert not (tmp_path / "world").exists()


def test_a_taxonomy_without_wordings_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("index,group,positive,negative\n" + "".join(f"{i},g,Tall {i},Short {i}\n" for i in range(9)))
    error = refused(capsys, tmp_path / "world", "--taxonomy", str(table))
    assert error.startswith("--taxonomy: nobody has written wordings for 'Tall 0' yet; write them into columns of that")
    assert not (tmp_path / "world").exists()


def test_part_of_the_taxonomy_makes_a_world_of_its_own(tmp_path: Path) -> None:
    lines = [f"{place},x,{d.positive},{d.negative}" for place, d in enumerate(TAXONOMY.dimensions[47:57])]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["index,group,positive,negative", *lines]))
    folder = made(tmp_path / "world", train=24, test=12, taxonomy=table)
    for row in rows(folder, "train"):
        assert len(row[DIRECTION]) == 10
        assert {index - 47: sign for index, sign in signs(row["chosen"]).items()} == direction(row)


def test_a_taxonomy_that_adds_dimensions_changes_no_word_of_a_world_of_the_old_ones(tmp_path: Path) -> None:
    before = made(tmp_path / "before", **DEMO, train=24, test=12, corpus=8)
    after = made(tmp_path / "after", **DEMO, train=24, test=12, corpus=8, taxonomy=EXTENSION)

    def widened(value: Any) -> Any:
        """The same with two neutral values at the end of every direction."""
        if isinstance(value, dict):
            return {name: [*part, 0.5, 0.5] if name == DIRECTION else widened(part) for name, part in value.items()}
        return [widened(part) for part in value] if isinstance(value, list) else value

    for name in ("train", *TESTS, "users", "corpus", "probe"):
        assert rows(after, name) == [widened(row) for row in rows(before, name)]
    assert manifest.read(after).taxonomy == load_taxonomy(EXTENSION).digest != manifest.read(before).taxonomy


def test_a_world_of_new_dimensions_alone_speaks_of_them_in_the_file_s_words(tmp_path: Path) -> None:
    folder = made(tmp_path / "new", train=40, test=16, dimensions="90,91", active=(1, 2), taxonomy=EXTENSION, corpus=8)
    taxonomy = load_taxonomy(EXTENSION)
    wordings = load_wordings(taxonomy, [90, 91], file=EXTENSION)
    found = set()
    for name in ("train", *TESTS):
        records = list(Records(str(folder / f"{name}.jsonl"), taxonomy=taxonomy))
        for row, record in zip(rows(folder, name), records, strict=True):
            poles = direction(row)
            assert poles
            assert poles.keys() <= {90, 91}
            seen = {
                index: sign
                for index, wording in wordings.items()
                for pair in wording.clauses
                for sign, clause in enumerate(pair)
                if clause in row["chosen"]
            }
            assert seen == poles
            assert len(record.direction or b"") == 92
            found |= set(poles.items())
    assert found == {(90, 0), (90, 1), (91, 0), (91, 1)}
    told = [tell(record, Condition(method=Method.PBA), taxonomy).profile for record in records]
    assert {"Values humor", "Values idealism"} <= set(", ".join(told).split(", "))
    with pytest.raises(DataError, match="has 92 values, expected 90"):
        list(Records(str(folder / "train.jsonl")))


@pytest.mark.parametrize("what", ["a folder", "a file", "another output"])
def test_an_output_that_holds_something_else_is_refused_and_stays(
    what: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    output = tmp_path / "output"
    kept = output if what == "a file" else output / "train.jsonl"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("years of work")
    if what == "another output":
        manifest.write(output, manifest.Manifest(kind="prepared", versions={}))
    error = refused(capsys, output)
    assert error == f"--output: {output} holds something else, expected a new or empty folder or a world"
    assert kept.read_text() == "years of work"


def test_an_empty_folder_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert manifest.read(made(tmp_path / "empty", **SMALL)).kind == "world"


@pytest.fixture
def few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """One post and one frame, so that texts run out soon."""
    phrases = {**load_phrases(), "post": ["{topic}?"], "opener": ["Hm, "], "joiner": [" and "]}
    monkeypatch.setattr("alignx.records.world.synthesize.load_phrases", lambda: phrases)


TOO_MANY = ("--dimensions", "demo", "--wordings", "2", "--mentions", "1", "--comments", "0", "--choices", "0")


@pytest.mark.usefixtures("few_words")
def test_more_records_than_there_are_targets_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    error = refused(capsys, tmp_path / "world", *TOO_MANY, "--train", "40", code=3)  # 16 dimensions of 2 wordings
    assert error.startswith("no new target in 1000 draws after ")
    assert error.endswith("; ask for fewer records, or more dimensions")
    assert manifest.read(made(tmp_path / "world", train=4, test=4)).kind == "world"


@pytest.mark.usefixtures("few_words")
def test_a_refused_world_leaves_the_one_that_was_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    before = contents(made(tmp_path / "world", **SMALL))
    refused(capsys, tmp_path / "world", *TOO_MANY, "--train", "40", code=3)
    assert contents(tmp_path / "world") == before


def test_a_new_world_leaves_files_that_were_not_the_old_one_s(tmp_path: Path) -> None:
    made(tmp_path / "world", **SMALL)
    (tmp_path / "world" / "my-scores.jsonl").write_text("years of work")
    made(tmp_path / "world", **SMALL, seed=2)
    assert (tmp_path / "world" / "my-scores.jsonl").read_text() == "years of work"


def test_the_same_command_works_again_after_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Corpus, "document", interrupt)
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path / "world", **SMALL)
    assert manifest.read_if_present(tmp_path / "world") is None
    assert manifest.read(made(tmp_path / "world", **SMALL)).kind == "world"


def test_the_folder_one_stands_in_can_be_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert manifest.read(made(Path(), **SMALL)).kind == "world"


def test_a_folder_beside_the_output_is_nobody_s_to_remove(tmp_path: Path) -> None:
    (tmp_path / "world.partial").mkdir()
    (tmp_path / "world.partial" / "thesis.txt").write_text("years of work")
    made(tmp_path / "world", **SMALL)
    assert (tmp_path / "world.partial" / "thesis.txt").read_text() == "years of work"
    assert {path.name for path in tmp_path.iterdir()} == {"world", "world.partial"}
