"""``alignx data synthesize``: users whose preferences are known, in AlignX's record format."""

import json
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from alignx import manifest
from alignx.errors import SettingsError
from alignx.manifest import Manifest
from alignx.records.folders import draft_of, refuse_foreign
from alignx.records.taxonomy import Taxonomy, load_taxonomy
from alignx.records.world.corpus import Corpus
from alignx.records.world.population import Population, Shape, User
from alignx.records.world.speech import Speech
from alignx.records.world.wordings import load_phrases, load_wordings
from alignx.settings import Settings, setting

DEMO_DIMENSIONS = (47, 49, 50, 52, 53, 55, 57, 59, 60, 63, 69, 74, 75, 77, 79, 89)
"""Sixteen interests of one word each, from science to fashion: what a tiny model can learn in a minute."""
RECORDS_A_USER = 4
PROBED_USERS = 200
"""Users of neither split, two probes each."""
VARIANTS: Mapping[str, Mapping[str, bool]] = {
    "test": {},
    "test-comments-only": {"choices": False},
    "test-choices-only": {"comments": False},
    "test-reversed": {"turned": True},
    "test-unseen-wordings": {"unseen": True},
}
"""The test records as they are, and what is changed about them in each other file."""


def _known_dimensions(value: str) -> str:
    _indices(value, None)
    return value


def _indices(value: str, taxonomy: Taxonomy | None) -> tuple[int, ...]:
    """The dimensions that ``all``, ``demo`` or a list of indices names."""
    if value == "all":
        return tuple(range(len(taxonomy))) if taxonomy is not None else ()
    if value == "demo":
        return DEMO_DIMENSIONS
    try:
        indices = tuple(int(part) for part in value.split(","))
    except ValueError:
        raise ValueError("all, demo, or indices such as 0,47,89") from None
    if len(set(indices)) < len(indices):
        raise ValueError("each index once")
    return indices


class SynthesizeSettings(Settings):
    """Make records of invented users whose preference directions are known.

    alignx data synthesize --output out/world --train 4000 --test 640 --dimensions demo

    Users of the test files have no training record. The same settings give the same bytes.
    """

    output: Path = setting(Path("out/world"), "Folder to write the data files to.")
    train: int = setting(4000, "Training records.", gt=0)
    test: int = setting(640, "Test records, in each of the test files.", gt=0)
    corpus: int = setting(0, "Documents of training users' talk, for `alignx tiny-model --train`.", ge=0)
    conversations: float = setting(
        0.0, "Share of these documents that are a post and anybody's reply, as a chat.", ge=0, lt=1
    )
    seed: int = setting(0, "Of everything that is drawn.")
    dimensions: Annotated[str, AfterValidator(_known_dimensions)] = setting(
        "all", "Preference dimensions in use: all, demo (16 interests), or indices such as 0,47,89."
    )
    wordings: int | None = setting(
        None, "Wordings of each pole, at least 2; by default all there are. One more occurs in a test file only.", ge=2
    )
    active: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] = setting(
        (4, 8), "Dimensions that a user cares about, from and to."
    )
    mentions: tuple[float, ...] = setting(
        (0.5, 0.4, 0.1), "Shares of texts that speak to 1, 2, 3 of them.", min_length=1, max_length=3
    )
    comments: int | None = setting(None, "Comments in each history; by default 0 to 8, half of them 4.", ge=0)
    choices: int | None = setting(None, "Choices in each history; by default 0 to 8, half of them 4.", ge=0)
    on_target: float = setting(0.6, "How often a history item starts from a dimension of the target.", ge=0, le=1)
    described: float = setting(
        0.7, "Share of records with a description, which quotes the user on the target's dimensions.", ge=0, le=1
    )
    label_noise: float = setting(
        0.0, "Share of targets whose chosen and rejected are swapped: no method can be right more often.", ge=0, lt=0.5
    )
    taxonomy: Path | None = setting(
        None, "CSV of preference dimensions, if not the paper's 90; further columns bring the words for its own."
    )

    @model_validator(mode="after")
    def _possible(self) -> "SynthesizeSettings":
        if self.active[0] > self.active[1]:
            raise ValueError(f"--active: got {self.active}, expected the smaller number first")
        if min(self.mentions) < 0 or not sum(self.mentions):
            raise ValueError(f"--mentions: got {self.mentions}, expected shares of which one is above 0")
        return self

    @property
    def shape(self) -> Shape:
        """What users and records look like."""
        return Shape(
            self.active, self.mentions, self.comments, self.choices, self.on_target, self.described, self.label_noise
        )


def synthesize(settings: SynthesizeSettings) -> str:
    """Write a world's files and its manifest; returns what was written, in a few lines.

    Raises:
        DataError: There are not so many different records, or the taxonomy's wordings are incomplete.
        SettingsError: A dimension has no wordings, users want more dimensions than there are, or the folder holds
            something else.
    """
    taxonomy = load_taxonomy(settings.taxonomy)
    dimensions = _indices(settings.dimensions, taxonomy)
    wordings = load_wordings(taxonomy, dimensions, settings.wordings, settings.taxonomy)
    if settings.active[1] > len(dimensions):
        raise SettingsError(f"--active: got up to {settings.active[1]}, but {len(dimensions)} dimensions are in use")
    speech = Speech(wordings, load_phrases(), len(taxonomy))
    folder = settings.output
    refuse_foreign(folder, "world", "a world")
    with draft_of(folder) as draft:
        written = _write_world(draft, settings, taxonomy, dimensions, speech)
    manifest.write(
        folder,
        Manifest(
            kind="world",
            taxonomy=taxonomy.digest,
            settings=settings.model_dump(mode="json", exclude={"output"}),
            versions=manifest.versions(),
            counts=written,
            files={f"{name}.jsonl": manifest.file_digest(folder / f"{name}.jsonl") for name in written},
        ),
    )
    sizes = [f"  {name + '.jsonl':<28} {count:>7,} lines" for name, count in written.items()]
    users = f"{_users(settings.train)} training users, {_users(settings.test)} test users, none in common"
    return "\n".join([f"{folder}: {len(dimensions)} dimensions, {users}", *sizes])


def _users(records: int) -> int:
    return max(1, records // RECORDS_A_USER)


def _write_world(
    folder: Path, settings: SynthesizeSettings, taxonomy: Taxonomy, dimensions: tuple[int, ...], speech: Speech
) -> dict[str, int]:
    """Draw and write everything.

    Returns:
        Lines of each file, by its name without suffix.
    """
    phrases = load_phrases()

    def population(name: str) -> Population:
        return Population(speech, dimensions, phrases, settings.shape, f"{settings.seed} {name}")

    people = {"train": population("train"), "test": population("test")}
    names = (f"user-{number:05}" for number in count(1))
    users = {
        split: [people[split].user(next(names)) for _ in range(_users(records))]
        for split, records in (("train", settings.train), ("test", settings.test))
    }
    taken: set[tuple[str, str]] = set()
    training = people["train"].records(settings.train, users["train"], "train", taken)
    written = {"train": _write(folder / "train.jsonl", (one.row(speech) for one in training), settings.train)}
    drawn = list(people["test"].records(settings.test, users["test"], "test", taken))
    for name, change in VARIANTS.items():
        rows = (one.row(speech, **change) for one in drawn)
        written[name] = _write(folder / f"{name}.jsonl", rows, settings.test)
    truth = [_truth(user, split, len(taxonomy)) for split, known in users.items() for user in known]
    written["users"] = _write(folder / "users.jsonl", truth, len(truth))
    if settings.corpus:
        corpus, chat = (Corpus(speech, phrases, taxonomy, f"{settings.seed} {name}") for name in ("corpus", "chat"))
        documents = (
            {"messages": chat.conversation(users["train"], settings.mentions, taken)}
            if int((number + 1) * settings.conversations) > int(number * settings.conversations)
            else {"text": corpus.document(users["train"])}
            for number in range(settings.corpus)
        )
        written["corpus"] = _write(folder / "corpus.jsonl", documents, settings.corpus)
        probed = population("probe")
        probes = list(corpus.probes([probed.user("probe") for _ in range(PROBED_USERS)]))
        written["probe"] = _write(folder / "probe.jsonl", probes, len(probes))
    return written


def _truth(user: User, split: str, size: int) -> dict[str, Any]:
    direction = [user.stance.get(index, 0.5) for index in range(size)]
    return {"user": user.name, "split": split, "Preference Direction": direction}


def _write(path: Path, rows: Iterable[Mapping[str, Any]], expected: int) -> int:
    """Write a JSON line a row; returns how many."""
    from tqdm import tqdm

    number = 0
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for row in tqdm(rows, desc=path.name, total=expected, unit=" lines", disable=None, leave=False):
            stream.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
            number += 1
    return number
