"""Which part of a persona the model is told: whose, which history items, which profile."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from alignx.errors import DataError
from alignx.manifest import digest
from alignx.prompts.condition import Condition, Method, PersonaSource, ProfileSource
from alignx.prompts.parts import ALL, ARBITRARY, only, parts_of, parts_told
from alignx.prompts.presets import load_preset
from alignx.records import Choice, Comment, Persona, Record, Taxonomy, aggregate, reverse, verbalise

MOST_SAMPLED = 4
"""Training draws from none to this many of each kind of history item (paper §5)."""


_NOBODY = Persona()


@dataclass(frozen=True)
class Told:
    """What a model is told of a user, before it becomes text."""

    comments: tuple[Comment, ...] = ()
    choices: tuple[Choice, ...] = ()
    demographics: str = ""
    profile: str = ""
    """The preference direction in words; empty where nothing is known or everything is neutral."""
    profile_source: ProfileSource | None = None
    """Where the profile came from; None where the method needs none or there was nothing to make it of."""

    @property
    def items(self) -> int:
        """Number of history items."""
        return len(self.comments) + len(self.choices)


def tell(record: Record, condition: Condition, taxonomy: Taxonomy, donors: Mapping[str, Record] | None = None) -> Told:
    """What the model is told about the user of one record.

    Depends on this record, the condition and the taxonomy alone; with persona ``other`` also on the donor.

    Args:
        record: Whose choice is to be predicted.
        condition: Method, preset, profile, persona, history, parts and seed.
        taxonomy: The preference dimensions.
        donors: For persona ``other``: the record whose persona each record borrows, by id (:func:`choose_donors`).

    Raises:
        DataError: PBA has no profile to tell: the ready one is missing, history items carry no direction, or the target
            has none for ``golden``; or a ready profile cannot be reversed, or is of more than is told.
    """
    match condition.persona:
        case PersonaSource.NONE:
            return Told()
        case PersonaSource.OTHER:
            if donors is None or record.id not in donors:
                raise DataError(f"record {record.id}: no donor for persona 'other'; choose them from all records first")
            # who says nothing of themselves is told nothing here too, so that run and control tell the same records
            own = told_part(record.persona, record.id, condition)
            teller = record if own == _NOBODY else donors[record.id]
        case PersonaSource.REVERSED:
            teller = reverse_persona(record)
        case _:
            teller = record
    whole, part = teller.persona, told_part(teller.persona, record.id, condition)
    comments, choices = _history(part, record.id, condition)
    if condition.method is Method.ICA:
        shown = load_preset(condition.preset).persona.demographics
        return Told(comments, choices, part.demographics if shown else "")
    try:
        _refuse_untold_profile(whole, part, (*comments, *choices), condition)
        said = teller if part is whole else replace(teller, persona=part)
        profile, source = _profile(said, comments, choices, condition, taxonomy)
    except DataError as error:
        borrowed = f" (told the persona of record {teller.id})" if teller.id != record.id else ""
        raise DataError(f"record {record.id}{borrowed}: {error}") from None
    return Told(comments, choices, profile=profile, profile_source=source)


def told_part(persona: Persona, record_id: str, condition: Condition) -> Persona:
    """What of a persona may be told: without the parts that the condition leaves out.

    Which history items of it are told comes after. For another user's persona these are the other's parts, drawn
    (``arbitrary``) by the id of the record that borrows it: the same combination as its own where both have the same.

    Args:
        persona: The whole one.
        record_id: Of the record whose prompt it is.
        condition: Whose ``tell``, ``seed`` and ``profile`` count: a ready profile that was asked for by name stays.
    """
    if condition.tell == ALL:
        return persona
    parts = parts_told(condition.tell, persona, record_id, condition.seed)
    return only(persona, parts, keep_profile=condition.profile is ProfileSource.READY)


def _history(persona: Persona, record_id: str, condition: Condition) -> tuple[tuple[Comment, ...], tuple[Choice, ...]]:
    """The history items of a persona that the condition selects; oldest first, as in the record."""
    comments, choices, wanted = persona.comments, persona.choices, condition.history
    if wanted == "all":
        return comments, choices
    if wanted == "sampled":
        return _sample(comments, choices, record_id, condition)
    return comments[max(0, len(comments) - wanted) :], choices[max(0, len(choices) - wanted) :]


def _sample(
    comments: Sequence[Comment], choices: Sequence[Choice], record_id: str, condition: Condition
) -> tuple[tuple[Comment, ...], tuple[Choice, ...]]:
    """Training's draw: 0 to 4 items of each kind, cut to what there is; when that leaves nothing, up to 4 of each."""
    drawn_comments, drawn_choices = _draw(condition.seed, record_id, len(comments), len(choices))
    if not load_preset(condition.preset).persona.shuffle:
        drawn_comments, drawn_choices = sorted(drawn_comments), sorted(drawn_choices)
    return tuple(map(comments.__getitem__, drawn_comments)), tuple(map(choices.__getitem__, drawn_choices))


@lru_cache(maxsize=1024)  # both methods draw the same, a batch of some hundred records after the other
def _draw(seed: int, record_id: str, comments: int, choices: int) -> tuple[list[int], list[int]]:
    """Places of the items drawn of so many of each kind."""
    rng = random.Random(f"{seed}:{record_id}")
    n_comments = min(rng.randint(0, MOST_SAMPLED), comments)
    n_choices = min(rng.randint(0, MOST_SAMPLED), choices)
    if n_comments == n_choices == 0:
        n_comments, n_choices = min(MOST_SAMPLED, comments), min(MOST_SAMPLED, choices)
    return rng.sample(range(comments), n_comments), rng.sample(range(choices), n_choices)


def _profile(
    teller: Record, comments: Sequence[Comment], choices: Sequence[Choice], condition: Condition, taxonomy: Taxonomy
) -> tuple[str, ProfileSource | None]:
    items: list[Comment | Choice] = [*comments, *choices]
    directions = [item.direction for item in items if item.direction is not None]
    ready = teller.persona.profile
    wanted = condition.profile
    if wanted is ProfileSource.AUTO:
        # A ready profile is of the whole history; where a part of it is told, the part's own directions are, if known.
        known = bool(directions) or (not items and _has_directions(teller))
        part = condition.history != "all" and known
        wanted = ProfileSource.HISTORY if part or ready is None else ProfileSource.READY
    if wanted is ProfileSource.READY:
        if ready is None:
            raise DataError("has no 'profile'; --profile history makes one from the items' directions")
        if condition.persona is not PersonaSource.REVERSED:
            return ready, wanted
        try:
            return taxonomy.reverse_profile(ready), wanted
        except DataError as error:
            raise DataError(f"its ready profile cannot be reversed: {error}") from None
    if wanted is ProfileSource.GOLDEN:
        if teller.direction is None:
            raise DataError("has no 'Preference Direction' of its own, which --profile golden puts into words")
        return verbalise(teller.direction, taxonomy), wanted
    if items and not directions:
        lack = f"none of its {len(items)} history items has a 'Preference Direction'"
        if condition.profile is ProfileSource.HISTORY:
            raise DataError(f"{lack}, to make a profile of; `alignx annotate directions` infers them")
        raise DataError(
            f"no 'profile', and {lack}, so PBA has no preference direction to put into words; annotate the items "
            "(`alignx annotate directions`), or use --method ica"
        )
    if not directions:
        return "", None
    return verbalise(aggregate(directions, condition.thresholds), taxonomy), wanted


def _refuse_untold_profile(
    whole: Persona, part: Persona, items: Sequence[Comment | Choice], condition: Condition
) -> None:
    """Refuse items without a direction where a ready profile is at hand that says more than may be told.

    Raises:
        DataError: Telling it would tell the parts that are left out.
    """
    withheld = whole.profile is not None and part.profile is None
    known = any(item.direction is not None for item in items)
    if condition.profile is ProfileSource.AUTO and withheld and items and not known:
        raise DataError(
            f"its 'profile' is of the whole persona, of which --tell {condition.tell} tells a part, and none of the "
            f"{len(items)} history items told has a 'Preference Direction' to make one of; annotate the items "
            "(`alignx annotate directions`), or tell it all the same: --profile ready"
        )


def _has_directions(record: Record) -> bool:
    items: list[Comment | Choice] = [*record.persona.comments, *record.persona.choices]
    return any(item.direction is not None for item in items)


def reverse_persona(record: Record) -> Record:
    """The same record with its persona turned round; its own target stays.

    Choices are swapped and every direction is flipped. Free text (comments, demographics) cannot be reversed and stays.
    A ready profile is reversed where it is told (``Taxonomy.reverse_profile``).
    """
    persona = record.persona
    return replace(
        record,
        direction=record.direction and reverse(record.direction),
        persona=replace(
            persona,
            comments=tuple(replace(c, direction=c.direction and reverse(c.direction)) for c in persona.comments),
            choices=tuple(
                Choice(c.prompt, c.rejected, c.chosen, c.direction and reverse(c.direction)) for c in persona.choices
            ),
        ),
    )


def choose_donors(records: Sequence[Record], seed: int, tell: str = ALL) -> dict[str, Record]:
    """For each record, the record of another user whose persona stands in for its own.

    Records are put on a circle in an order drawn by the seed and their ids; each takes the next one that is of another
    user, another target and another persona that is not empty. The order of ``records`` does not matter.

    Args:
        records: All of a source.
        seed: Of the order.
        tell: Which parts of a persona are told (``Condition.tell``): it is by these that personas differ or are empty.

    Raises:
        DataError: Some record has no other user to borrow from.
    """
    circle = sorted(records, key=lambda record: digest(seed, record.id))
    donors = {}
    for place, record in enumerate(circle):
        personas = {_comparable(record.persona, tell), _NOBODY}
        for step in range(1, len(circle)):
            donor = circle[(place + step) % len(circle)]
            strange = donor.cluster != record.cluster and donor.target != record.target
            if strange and _comparable(donor.persona, tell) not in personas:
                donors[record.id] = donor
                break
        else:
            raise DataError(f"record {record.id}: no other user in the data whose persona could stand in for its own")
    return donors


def _comparable(persona: Persona, tell: str) -> Persona:
    """What of a persona could be told to somebody; of arbitrary parts any, so all that it has."""
    if tell == ALL:
        return persona
    parts = parts_of(persona) if tell == ARBITRARY else parts_told(tell, persona, "", 0)
    return only(persona, parts)
