"""Encoded pairs: what training and scoring are given, within the token budget, with what was trimmed."""

import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from alignx.errors import DataError
from alignx.prompts.condition import Condition, Method, PersonaSource
from alignx.prompts.encoding import Encoder
from alignx.prompts.rendering import render
from alignx.prompts.telling import Told, choose_donors, tell
from alignx.records import Record, Records

_BATCH = 256


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


class PairEncoder:
    """Encodes the records of one source under one condition."""

    def __init__(self, records: Records, condition: Condition, encoder: Encoder) -> None:
        """Name the records, the condition and the encoder; nothing is read yet."""
        self.records, self.condition, self.encoder = records, condition, encoder
        self.counts: Counter[str] = Counter()
        """What happened: trimmed prompts and items, sources of profiles, empty ones."""

    def __iter__(self) -> Iterator[EncodedPair]:
        """Each record's encoded pair, in the source's order.

        Raises:
            DataError: A record is invalid, cannot be told under the condition, or does not fit, and may not be skipped.
        """
        self.counts.clear()
        donors = self._donors()
        records = iter(self.records)
        while batch := list(islice(records, _BATCH)):
            yield from self._encode(batch, donors)
        self._check_said_something()

    def _donors(self) -> Mapping[str, Record] | None:
        if self.condition.persona is not PersonaSource.OTHER:
            return None
        return choose_donors(list(self.records), self.condition.seed)

    def _encode(self, batch: Sequence[Record], donors: Mapping[str, Record] | None) -> Iterator[EncodedPair]:
        told: list[tuple[Record, Told]] = []
        for record in batch:
            try:
                told.append((record, tell(record, self.condition, self.records.taxonomy, donors)))
            except DataError as error:
                self.records.skip(error)
        prompts = self.encoder.prompts([render(record, said, self.condition) for record, said in told])
        responses = self.encoder.responses(text for record, _ in told for text in (record.chosen, record.rejected))
        for index, ((record, said), prompt) in enumerate(zip(told, prompts, strict=True)):
            try:
                yield self._pair(record, said, prompt, responses[2 * index], responses[2 * index + 1])
            except DataError as error:
                self.records.skip(error)

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
            profile=self._profile_kind(told),
            persona_empty=self._is_empty(shorter),
        )
        self._count(pair, record)
        return pair

    def _profile_kind(self, told: Told) -> str:
        if self.condition.method is not Method.PBA:
            return ""
        return told.profile_source.value if told.profile_source and told.profile else "empty"

    def _is_empty(self, told: Told) -> bool:
        if self.condition.method is Method.PBA:
            return not told.profile
        return not (told.items or told.demographics)

    def _count(self, pair: EncodedPair, record: Record) -> None:
        self.counts["records"] += 1
        self.counts["prompts_trimmed"] += pair.trimmed_items > 0 or pair.trimmed_demographics
        self.counts["items_trimmed"] += pair.trimmed_items
        self.counts["demographics_trimmed"] += pair.trimmed_demographics
        self.counts["personas_empty"] += pair.persona_empty
        if pair.profile:
            self.counts[f"profile_{pair.profile}"] += 1
        if self.condition.persona is PersonaSource.REVERSED and self.condition.method is Method.ICA:
            self.counts["reversal_without_effect"] += not record.persona.choices

    def _check_said_something(self) -> None:
        """Refuse a run of PBA in which no record has a profile although its persona, or the reverse, was asked for."""
        silent = self.counts["profile_empty"] == self.counts["records"] > 0
        asked = self.condition.persona in (PersonaSource.OWN, PersonaSource.REVERSED)
        if silent and asked and self.condition.history != 0:
            raise DataError(
                f"{self.records.source}: no record has a 'profile' or a history with a stated direction, so PBA has "
                "nothing to say "
                "about any user; annotate directions first, use --method ica, or ask for this with --persona none"
            )


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
