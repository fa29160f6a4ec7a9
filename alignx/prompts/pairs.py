"""Encoded pairs: what training and scoring are given, within the token budget, with what was trimmed."""

import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import itemgetter
from typing import Any

from alignx.errors import DataError
from alignx.prompts.condition import Condition, Method, PersonaSource
from alignx.prompts.encoding import Encoder
from alignx.prompts.parts import Part
from alignx.prompts.rendering import render
from alignx.prompts.telling import Told, choose_donors, tell
from alignx.records import Record, Records, Taxonomy

BATCH = 256
"""Records that are tokenised together."""


_MUTE = " (demographics, which alone are told, carry no direction)"


@dataclass(frozen=True)
class EncodedPair:
    """One record as token ids, and what it took to make them."""

    id: str
    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]
    cluster: str
    """User where known, else distinct target: what intervals are clustered by."""
    target: str
    trimmed_items: int
    """History items dropped, oldest first, because the prompt was too long."""
    trimmed_demographics: bool
    history_items: int
    """History items that are in the prompt (ICA) or behind the profile (PBA)."""
    profile: str
    """Where the profile came from; ``empty`` where it says nothing; empty text where the method uses none."""
    persona_empty: bool = False
    """Whether the prompt says nothing about the user."""

    @property
    def length(self) -> int:
        """Tokens of the prompt and the longer response."""
        return len(self.prompt_ids) + max(len(self.chosen_ids), len(self.rejected_ids))


class BatchEncoder:
    """Encodes records under one condition, a batch at a time; what comes of a record depends on it alone."""

    def __init__(self, condition: Condition, encoder: Encoder, taxonomy: Taxonomy) -> None:
        """Take what prompts depend on.

        Args:
            condition: What the model is told.
            encoder: Makes token ids of it.
            taxonomy: The preference dimensions.
        """
        self.condition, self.encoder, self.taxonomy = condition, encoder, taxonomy
        self.counts: Counter[str] = Counter()
        """What happened: trimmed prompts and items, sources of profiles, empty ones."""

    def encode(
        self, batch: Sequence[Record], donors: Mapping[str, Record] | None = None
    ) -> Iterator[tuple[int, EncodedPair | DataError]]:
        """The place of each record in the batch, and its encoded pair or why there is none; in no certain order.

        Args:
            batch: Some hundreds, which are tokenised together.
            donors: Whose personas stand in, for persona ``other`` (:func:`choose_donors`).
        """
        told, refused = tell_all(batch, self.condition, self.taxonomy, donors)
        yield from refused
        prompts = self.encoder.prompts([render(batch[place], said, self.condition) for place, said in told])
        responses = self.encoder.responses(
            text for place, _ in told for text in (batch[place].chosen, batch[place].rejected)
        )
        for number, ((place, said), prompt) in enumerate(zip(told, prompts, strict=True)):
            try:
                yield (
                    place,
                    self._pair(batch[place], said, prompt, responses[2 * number], responses[2 * number + 1]),
                )
            except DataError as error:
                yield place, error

    def _pair(
        self, record: Record, told: Told, prompt: list[int], chosen: list[int], rejected: list[int]
    ) -> EncodedPair:
        budget = self.condition.max_length - max(len(chosen), len(rejected))
        shorter, prompt = fit(record, told, self.condition, self.encoder, prompt, budget)
        pair = EncodedPair(
            id=record.id,
            prompt_ids=prompt,
            chosen_ids=chosen,
            rejected_ids=rejected,
            cluster=record.cluster,
            target=record.target,
            trimmed_items=told.items - shorter.items,
            trimmed_demographics=told.demographics != shorter.demographics,
            history_items=shorter.items,
            profile=profile_kind(told, self.condition),
            persona_empty=says_nothing(shorter, self.condition),
        )
        self.counts["prompts_trimmed"] += pair.trimmed_items > 0 or pair.trimmed_demographics
        self.counts["items_trimmed"] += pair.trimmed_items
        self.counts["demographics_trimmed"] += pair.trimmed_demographics
        count_told(self.counts, told, self.condition, pair.profile, pair.persona_empty)
        return pair


def tell_all(
    batch: Sequence[Record], condition: Condition, taxonomy: Taxonomy, donors: Mapping[str, Record] | None
) -> tuple[list[tuple[int, Told]], list[tuple[int, DataError]]]:
    """What is told of each record of a batch, with its place; and which cannot be told, and why."""
    told, refused = [], []
    for place, record in enumerate(batch):
        try:
            told.append((place, tell(record, condition, taxonomy, donors)))
        except DataError as error:
            refused.append((place, error))
    return told, refused


def profile_kind(told: Told, condition: Condition) -> str:
    """Where a profile came from; ``empty`` where it says nothing; empty text where the method uses none."""
    if condition.method is not Method.PBA:
        return ""
    return told.profile_source.value if told.profile_source and told.profile else "empty"


def says_nothing(told: Told, condition: Condition) -> bool:
    """Whether a prompt says nothing about the user."""
    if condition.method is Method.PBA:
        return not told.profile
    return not (told.items or told.demographics)


def count_told(counts: Counter[str], told: Told, condition: Condition, profile: str, empty: bool) -> None:
    """Count a record by what its prompt says."""
    counts["records"] += 1
    counts["personas_empty"] += empty
    if profile:
        counts[f"profile_{profile}"] += 1
    if condition.persona is PersonaSource.REVERSED and condition.method is Method.ICA:
        counts["reversal_without_effect"] += not told.choices


def refuse_silence(source: str, condition: Condition, counts: Mapping[str, int]) -> None:
    """Refuse a run of PBA in which no record has a profile although its persona, or the reverse, was asked for.

    Args:
        source: What the records are called.
        condition: What the model is told.
        counts: Of all of them.

    Raises:
        DataError: There is none.
    """
    silent = counts.get("profile_empty", 0) == counts.get("records", 0) > 0
    asked = condition.persona in (PersonaSource.OWN, PersonaSource.REVERSED)
    if silent and asked and condition.history != 0:
        raise DataError(
            f"{source}: no record has a 'profile' or a history with a stated direction, so PBA has nothing to say "
            f"about any user{_MUTE if condition.tell == Part.DEMOGRAPHICS else ''}; annotate directions first, use "
            "--method ica, or ask for this with --persona none"
        )


class PairEncoder:
    """Encodes the records of one source under one condition, in this process, for what is read once and held."""

    def __init__(self, records: Records, condition: Condition, encoder: Encoder) -> None:
        """Name the records, the condition and the encoder; nothing is read yet."""
        self.records, self.condition, self.encoder = records, condition, encoder
        self._batches = BatchEncoder(condition, encoder, records.taxonomy)

    @property
    def counts(self) -> Counter[str]:
        """What happened: trimmed prompts and items, sources of profiles, empty ones."""
        return self._batches.counts

    def __iter__(self) -> Iterator[EncodedPair]:
        """Each record's encoded pair, in the source's order.

        Raises:
            DataError: A record is invalid, cannot be told under the condition, or does not fit, and may not be skipped.
        """
        self.counts.clear()
        donors = self._donors()
        records = iter(self.records)
        while batch := list(islice(records, BATCH)):
            for _, found in sorted(self._batches.encode(batch, donors), key=itemgetter(0)):
                if isinstance(found, DataError):
                    self.records.skip(found)
                else:
                    yield found
        refuse_silence(self.records.source, self.condition, self.counts)

    def _donors(self) -> Mapping[str, Record] | None:
        if self.condition.persona is not PersonaSource.OTHER:
            return None
        return choose_donors(list(self.records), self.condition.seed, self.condition.tell)


def fit(
    record: Record, told: Told, condition: Condition, encoder: Encoder, prompt: list[int], budget: int
) -> tuple[Told, list[int]]:
    """What of the persona fits into ``budget`` prompt tokens, and the prompt that says it.

    Over budget, the first item of whichever list is longer goes (of equal ones, a comment), the rest is renumbered,
    and so on; then the demographics, whole. The instruction, the task, the heading and the response are never touched.

    Raises:
        DataError: The record does not fit even without a persona.
    """
    if len(prompt) <= budget:
        return told, prompt
    steps = list(_trimmings(told)) if condition.method is Method.ICA else []

    def encode(step: Told) -> list[int]:
        return encoder.prompt(render(record, step, condition))

    first = bisect.bisect_left(steps, True, key=lambda step: len(encode(step)) <= budget)
    if first == len(steps):
        least = len(encode(steps[-1])) if steps else len(prompt)
        raise DataError(
            f"record {record.id}: {least} prompt tokens with nothing left to leave out and "
            f"{condition.max_length - budget} of the longer response, expected at most {condition.max_length} "
            "together; raise --max-length, or skip such records with --skip-invalid N"
        )
    return steps[first], encode(steps[first])


def _trimmings(told: Told) -> Iterator[Told]:
    """What is told after one trimming step, after two, and so on until nothing is left."""
    while told.items:
        if len(told.comments) >= len(told.choices):
            told = replace(told, comments=told.comments[1:])
        else:
            told = replace(told, choices=told.choices[1:])
        yield told
    if told.demographics:
        yield replace(told, demographics="")


def describe_counts(counts: Mapping[str, Any]) -> list[str]:
    """The counts of an encoding that a user should read, in words."""
    records = counts.get("records", 0)
    lines = []
    if counts.get("prompts_trimmed"):
        lines.append(
            f"{counts['prompts_trimmed']} of {records} prompts were too long: {counts['items_trimmed']} oldest "
            "history items and "
            f"{counts['demographics_trimmed']} descriptions were left out"
        )
    profiles = {name.removeprefix("profile_"): n for name, n in counts.items() if name.startswith("profile_") and n}
    if profiles:
        lines.append("profiles: " + ", ".join(f"{n} {name}" for name, n in sorted(profiles.items())))
    if counts.get("personas_empty"):
        lines.append(f"{counts['personas_empty']} of {records} prompts say nothing about the user")
    if counts.get("reversal_without_effect"):
        lines.append(
            f"{counts['reversal_without_effect']} of {records} personas hold nothing that can be reversed in the "
            "prompt (free text only)"
        )
    return lines


def read_all(pairs: Iterable[EncodedPair]) -> list[EncodedPair]:
    """All pairs, with a progress bar where somebody watches."""
    from tqdm import tqdm

    return list(tqdm(pairs, desc="encoding", unit=" records", disable=None, leave=False))
