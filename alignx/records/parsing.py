"""The border: raw rows become records here, or are refused with file, row, field, what was found, what was expected."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from alignx.errors import DataError
from alignx.manifest import digest
from alignx.records.directions import Direction
from alignx.records.record import Choice, Comment, Persona, Record
from alignx.records.taxonomy import Taxonomy

DIRECTION = "Preference Direction"
DEMOGRAPHICS = "Demographic Information"
COMMENTS = "User-Generated Content"
CHOICES = "Pair-wise Comparative Feedback"

USED_FIELDS = frozenset(
    {"id", "user", "prompt", "chosen", "rejected", "profile", DIRECTION, DEMOGRAPHICS, COMMENTS, CHOICES}
)
KNOWN_UNUSED_FIELDS = frozenset({"profile_full", "ground_truth_persona"})
"""Published fields that describe how a benchmark was made; no prompt contains them."""

_LEVELS = {0: 0, 0.5: 1, 1: 2}
_NUMBERS = frozenset({int, float})


class RecordParser:
    """Turns raw rows into records, giving each its id.

    A record's id is its own ``id`` if it has one, else a digest of its content; equal contents are told apart by their
    occurrence number, so the parser must see the rows of a source in order.
    """

    def __init__(self, taxonomy: Taxonomy) -> None:
        """Start a source: no ids seen."""
        self._taxonomy = taxonomy
        self._occurrences: Counter[str] = Counter()
        self._given: dict[str, str] = {}
        self.unused_fields: Counter[str] = Counter()
        """Fields that were there and mean nothing here, with the number of rows that carried them."""

    def parse(self, raw: object, where: str) -> Record:
        """One record.

        Args:
            raw: A row as read from JSON or Parquet: a mapping whose lists may be NumPy arrays.
            where: File and row, for messages.

        Raises:
            DataError: A field is missing, of the wrong type, empty, or not a direction over the taxonomy; chosen equals
                rejected; or the id was seen before.
        """
        if not isinstance(raw, Mapping):
            raise DataError(f"{where}: found {_kind(raw)}, expected an object with 'prompt', 'chosen' and 'rejected'")
        prompt, chosen, rejected = (_text(raw, name, where) for name in ("prompt", "chosen", "rejected"))
        if chosen == rejected:
            raise DataError(
                f"{where}: 'chosen' equals 'rejected', expected two different responses; such a pair prefers nothing"
            )
        persona = Persona(
            comments=tuple(self._comment(item, here) for item, here in _items(raw, COMMENTS, where)),
            choices=tuple(self._choice(item, here) for item, here in _items(raw, CHOICES, where)),
            demographics=_blank_as_empty(_optional_text(raw, DEMOGRAPHICS, where)) or "",
            profile=_blank_as_empty(_optional_text(raw, "profile", where)),
        )
        direction = self._direction(raw, where)
        user = _name(raw, "user", where)
        content = content_digest(prompt, chosen, rejected, persona, direction, user)
        record_id = self._identify(_name(raw, "id", where), content, where)
        unused = (str(name).encode("utf-8", "backslashreplace").decode() for name in raw.keys() - USED_FIELDS)
        self.unused_fields.update(unused)
        return Record(record_id, prompt, chosen, rejected, persona, direction, user, content)

    def _identify(self, given: str | None, content: str, where: str) -> str:
        if given is not None:
            earlier = self._given.get(given) or ("an earlier record" if self._was_generated(given) else None)
            if earlier is not None:
                raise DataError(f"{where}: 'id' {given!r} was already used at {earlier}, expected a new one")
            self._given[given] = where
            return given
        key = content[:20]
        generated = f"{key}-{self._occurrences[key] + 1}"
        if generated in self._given:
            raise DataError(
                f"{where}: the id made from its content, {generated!r}, was already used at {self._given[generated]}, "
                "expected a new one; give the record an 'id' of its own"
            )
        self._occurrences[key] += 1
        return generated

    def _was_generated(self, name: str) -> bool:
        """Whether a record got this id from its content."""
        key, _, number = name.rpartition("-")
        return number.isdecimal() and key in self._occurrences and 0 < int(number) <= self._occurrences[key]

    def _comment(self, item: Mapping[str, Any], where: str) -> Comment:
        return Comment(_text(item, "prompt", where), _text(item, "comment", where), self._direction(item, where))

    def _choice(self, item: Mapping[str, Any], where: str) -> Choice:
        prompt, chosen, rejected = (_text(item, name, where) for name in ("prompt", "chosen", "rejected"))
        return Choice(prompt, chosen, rejected, self._direction(item, where))

    def _direction(self, raw: Mapping[str, Any], where: str) -> Direction | None:
        values = _plain(raw.get(DIRECTION))
        if values is None:
            return None
        if isinstance(values, str) or not isinstance(values, Sequence):
            raise DataError(
                f"{where}: '{DIRECTION}' is {_kind(values)}, expected a list of {len(self._taxonomy)} numbers"
            )
        if len(values) != len(self._taxonomy):
            raise DataError(
                f"{where}: '{DIRECTION}' has {len(values)} values, expected {len(self._taxonomy)}; records made for "
                "another "
                "taxonomy must be converted first, or read with --taxonomy FILE"
            )
        try:
            if _NUMBERS.issuperset(map(type, values)):
                return bytes(map(_LEVELS.__getitem__, values))
        except KeyError:
            pass
        index, bad = next((i, v) for i, v in enumerate(values) if type(v) not in _NUMBERS or v not in _LEVELS)
        raise DataError(
            f"{where}: '{DIRECTION}' value {index} is {bad!r}, expected 0 (negative), 0.5 (neutral) or 1 (positive)"
        )


def content_digest(
    prompt: str, chosen: str, rejected: str, persona: Persona, direction: Direction | None, user: str | None
) -> str:
    """Digest of everything a record says, apart from its id; the same for JSON and Parquet."""
    return digest(
        [prompt, chosen, rejected, direction, user, persona.demographics, persona.profile],
        [[c.prompt, c.comment, c.direction] for c in persona.comments],
        [[c.prompt, c.chosen, c.rejected, c.direction] for c in persona.choices],
    )


def _plain(value: Any) -> Any:
    """NumPy arrays, as Parquet readers give them, as lists."""
    return value.tolist() if hasattr(value, "tolist") else value


def _kind(value: object) -> str:
    """What a wrong value is, short enough for a message."""
    if value is None:
        return "null"
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value", int: "a number", float: "a number"}
    shown = repr(value)
    kind = names.get(type(value), type(value).__name__)
    return f"{kind} ({shown if len(shown) <= 40 else shown[:37] + '…'})"


def _optional_text(raw: Mapping[str, Any], name: str, where: str) -> str | None:
    value = raw.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise DataError(f"{where}: '{name}' is {_kind(value)}, expected text")
    return _whole(value, name, where)


def _whole(value: str, name: str, where: str) -> str:
    """Text that can be written as UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: '{name}' holds half a surrogate pair at character {error.start}, expected Unicode text"
        ) from None
    return value


def _blank_as_empty(text: str | None) -> str | None:
    """White space says nothing about a user."""
    return text and (text if text.strip() else "")


def _text(raw: Mapping[str, Any], name: str, where: str) -> str:
    value = _optional_text(raw, name, where)
    if value is None:
        raise DataError(f"{where}: '{name}' is {'null' if name in raw else 'missing'}, expected text")
    if not value.strip():
        raise DataError(f"{where}: '{name}' is empty, expected text")
    return value


def _name(raw: Mapping[str, Any], name: str, where: str) -> str | None:
    value = raw.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise DataError(f"{where}: '{name}' is {_kind(value)}, expected text or a whole number")
    return _whole(str(value), name, where)


def _items(raw: Mapping[str, Any], name: str, where: str) -> list[tuple[Mapping[str, Any], str]]:
    """The items of a history list with where each stands; absent and null lists have none."""
    values = _plain(raw.get(name))
    if values is None:
        return []
    if isinstance(values, (str, Mapping)) or not isinstance(values, Sequence):
        raise DataError(f"{where}: '{name}' is {_kind(values)}, expected a list of objects")
    items = []
    for number, item in enumerate(values, start=1):
        here = f"{where}: '{name}' item {number}"
        if not isinstance(item, Mapping):
            raise DataError(f"{here}: found {_kind(item)}, expected an object")
        items.append((item, here))
    return items
