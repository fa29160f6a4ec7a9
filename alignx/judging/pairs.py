"""Two responses to one record, joined by its id: what there is to judge."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from alignx.errors import DataError, SettingsError
from alignx.generation.responses import Response, read_responses
from alignx.judging.persona import Part, persona_text, sources
from alignx.manifest import DataIdentity, Manifest, digest, file_digest
from alignx.records import Record, Taxonomy

Side = Literal["candidate", "baseline"]
OTHER: Final[Mapping[Side, Side]] = {"candidate": "baseline", "baseline": "candidate"}

_SAMPLING: Final = ("greedy", "max_new_tokens", "temperature", "top_k", "top_p")
_OF_THE_METHOD: Final = ("method", "preset", "profile", "positive", "negative")
"""What of a condition may always differ: it is how a system uses what it is told, and often what is compared."""


@dataclass(frozen=True)
class Pair:
    """A candidate's and a baseline's response to one post, and what the judge is told of the user."""

    id: str
    """Of the record."""
    cluster: str
    """The user, else the distinct target."""
    post: str
    persona: str
    """As the judge is shown it; empty where nothing is known."""
    candidate: str
    baseline: str
    sources: tuple[str, ...] = ()
    """Which parts of a persona the record has."""

    @property
    def identical(self) -> bool:
        """Whether both systems wrote the same."""
        return self.candidate == self.baseline

    @cached_property
    def first(self) -> Side:
        """Whose response is shown first when it is asked first or only once.

        It depends on the texts and the id, not on which of the two is called the candidate: swapped, the same requests
        are asked, and their replies are found again.
        """
        ranks = {side: digest(self.id, self.response(side)) for side in OTHER}
        return min(OTHER, key=lambda side: ranks[side])

    def response(self, side: Side) -> str:
        """The text of one of the two."""
        return self.candidate if side == "candidate" else self.baseline


@dataclass(frozen=True)
class System:
    """A file of responses and what made it."""

    path: Path
    responses: Mapping[str, Response]
    made: Manifest
    digest: str
    """Of the file."""

    @property
    def name(self) -> str:
        """Of the model."""
        return self.made.model.name if self.made.model is not None else str(self.made.settings.get("model", "unknown"))

    @property
    def identity(self) -> str:
        """Digest of what the system is, whatever it was asked: weights, what it is told, sampling."""
        model = self.made.model.digest if self.made.model is not None else self.name
        return digest(model, self.made.condition or {}, {name: self.made.settings.get(name) for name in _SAMPLING})

    @property
    def condition(self) -> Mapping[str, object]:
        """What the model was told."""
        return self.made.told


def read_system(path: Path) -> System:
    """The responses in a file.

    Raises:
        DataError: The file is missing, unfinished or broken.
    """
    responses, made = read_responses(path)
    if made.data is None:
        raise DataError(f"{path}: its manifest does not say which data it is about; generate again")
    return System(path, responses, made, file_digest(path))


def refuse_unlike(candidate: System, baseline: System, may_differ: Collection[str] = ()) -> None:
    """Refuse two files that cannot be compared, each difference by name.

    Model, method, preset and profile may differ, as they are what is compared; the data may not, nor whose persona and
    how much history was told, nor how responses were sampled, unless that is said to be meant.

    Args:
        candidate: One.
        baseline: The other.
        may_differ: Names of what may differ all the same.

    Raises:
        DataError: They differ in what must be the same, or one has a response that the other has not.
        SettingsError: There is no such name.
    """
    where = f"{candidate.path} and {baseline.path}"
    if differences := candidate.made.differences(baseline.made, ("data.digest", "data.records", "taxonomy")):
        raise DataError(f"{where} are about different data: {'; '.join(differences)}; generate both for the same")
    told = {*candidate.condition, *baseline.condition} - {*_OF_THE_METHOD}
    if unknown := sorted({*may_differ} - {*told, *_SAMPLING, *_OF_THE_METHOD}):
        known = ", ".join(sorted({*told, *_SAMPLING}))
        raise SettingsError(f"--may-differ: got {unknown[0]!r}, expected some of {known}")
    unlike = [
        f"{name} ({ours!r} against {theirs!r})"
        for name, ours, theirs in (
            *((name, candidate.condition.get(name), baseline.condition.get(name)) for name in sorted(told)),
            *((name, candidate.made.settings.get(name), baseline.made.settings.get(name)) for name in _SAMPLING),
        )
        if ours != theirs and name not in may_differ
    ]
    if unlike:
        raise DataError(
            f"{where} differ in {'; '.join(unlike)}; generate both alike, or name what is meant to differ: --may-differ"
        )
    for one, other in ((candidate, baseline), (baseline, candidate)):
        if missing := one.responses.keys() - other.responses.keys():
            raise DataError(
                f"{other.path}: {len(missing)} ids of {one.path} are missing, the first is {min(missing)!r}; expected "
                "the same ids in both"
            )


def refuse_other_data(system: System, found: DataIdentity) -> None:
    """Refuse records that a file of responses is not about.

    Raises:
        DataError: They are others, or more, or fewer.
    """
    made = system.made.data
    assert made is not None
    if made.digest == found.digest:
        return
    hint = f"; it was made of {made.records} records: --limit {made.records}?" if made.records < found.records else ""
    raise DataError(
        f"{system.path}: is about other records than {found.source} ({made.source}, {made.digest[:12]}…, against "
        f"{found.digest[:12]}…), expected the data that it was generated from{hint}"
    )


def join(
    records: Iterable[Record],
    candidate: Mapping[str, Response],
    baseline: Mapping[str, Response],
    parts: Collection[Part],
    taxonomy: Taxonomy,
) -> list[Pair]:
    """Every pair of responses with its record, in the order of the records.

    Args:
        records: All that the responses may be about; one without a response was left out when they were generated.
        candidate: By record id.
        baseline: The same ids.
        parts: What the judge is told of the user.
        taxonomy: The preference dimensions.

    Raises:
        DataError: A response has no record, or a profile that is to be shown cannot be made.
    """
    pairs = []
    for record in records:
        if record.id in candidate:
            pairs.append(
                Pair(
                    id=record.id,
                    cluster=record.cluster,
                    post=record.prompt,
                    persona=persona_text(record, parts, taxonomy),
                    candidate=candidate[record.id].response,
                    baseline=baseline[record.id].response,
                    sources=sources(record.persona),
                )
            )
    if len(pairs) < len(candidate):
        orphans = candidate.keys() - {pair.id for pair in pairs}
        raise DataError(
            f"{len(orphans)} responses have no record, the first is {min(orphans)!r}; --data must be what they were "
            "generated from"
        )
    return pairs


def draw(pairs: Iterable[Pair], number: int | None) -> list[Pair]:
    """So many pairs, drawn by a digest of their ids; all where no number is given. Sorted by id."""
    chosen = list(pairs)
    if number is not None:
        chosen = sorted(chosen, key=lambda pair: digest("draw", pair.id))[:number]
    return sorted(chosen, key=lambda pair: pair.id)
