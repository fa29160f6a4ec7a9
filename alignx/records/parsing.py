"""The border: raw rows become records here, or are refused with file, row, field, what was found, what was expected."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from alignx.errors import DataError
from alignx.manifest import digest_of_texts
from alignx.records.directions import Direction, levels_of_floats
from alignx.records.identities import Identities, generated_id
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

_Item = TypeVar("_Item", Comment, Choice)
_LEVELS = {0: 0, 0.5: 1, 1: 2}
_NUMBERS = frozenset({int, float})


class _Wrong(Exception):
    """What is wrong within a row or an item of it; where that stands is added by who knows it."""


class RecordParser:
    """Turns raw rows into records, giving each its id.

    Ids depend on the rows before (:class:`Identities`), so :meth:`parse` must see the rows of a source in order;
    :meth:`read` does without.
    """

    def __init__(self, taxonomy: Taxonomy) -> None:
        """Start a source: no ids seen."""
        self.dimensions = len(taxonomy)
        self._identities = Identities()
        self.unused_fields: Counter[str] = Counter()
        """Fields that were there and mean nothing here, with the number of rows that carried them."""

    def parse(self, raw: object, where: str) -> Record:
        """One record.

        Raises:
            DataError: It cannot be read, or its id was seen before.
        """
        record, given = self.read(raw, where)
        return record.named(self._identities.name(given, record.digest, where))

    def read(self, raw: object, where: str) -> tuple[Record, str | None]:
        """A record and the id that it brings; without one, its id is the one it has if no record before is equal.

        Args:
            raw: A row as read from JSON or Parquet: a mapping whose lists may be NumPy arrays.
            where: File and row, for messages.

        Raises:
            DataError: A field is missing, of the wrong type, empty, or not a direction over the taxonomy; or chosen
                equals rejected.
        """
        try:
            return self._read(raw)
        except _Wrong as wrong:
            raise DataError(f"{where}: {wrong}") from None

    def _read(self, raw: object) -> tuple[Record, str | None]:
        if not isinstance(raw, Mapping):
            raise _Wrong(f"found {_kind(raw)}, expected an object with 'prompt', 'chosen' and 'rejected'")
        prompt, chosen, rejected = _text(raw, "prompt"), _text(raw, "chosen"), _text(raw, "rejected")
        if chosen == rejected:
            raise _Wrong("'chosen' equals 'rejected', expected two different responses; such a pair prefers nothing")
        persona = Persona(
            comments=_items(raw, COMMENTS, self._comment),
            choices=_items(raw, CHOICES, self._choice),
            demographics=_blank_as_empty(_optional_text(raw, DEMOGRAPHICS)) or "",
            profile=_blank_as_empty(_optional_text(raw, "profile")),
        )
        direction = self._direction(raw)
        user = _name(raw, "user")
        content = content_digest(prompt, chosen, rejected, persona, direction, user)
        given = _name(raw, "id")
        if not USED_FIELDS.issuperset(raw):
            unused = (str(name).encode("utf-8", "backslashreplace").decode() for name in raw.keys() - USED_FIELDS)
            self.unused_fields.update(unused)
        name = given or generated_id(content)
        return Record(name, prompt, chosen, rejected, persona, direction, user, content), given

    def _comment(self, item: Mapping[str, Any]) -> Comment:
        return Comment(_text(item, "prompt"), _text(item, "comment"), self._direction(item))

    def _choice(self, item: Mapping[str, Any]) -> Choice:
        return Choice(_text(item, "prompt"), _text(item, "chosen"), _text(item, "rejected"), self._direction(item))

    def _direction(self, raw: Mapping[str, Any]) -> Direction | None:
        values = raw.get(DIRECTION)
        if values is None:
            return None
        values = _plain(values)
        if type(values) is not list and (isinstance(values, str) or not isinstance(values, Sequence)):
            raise _Wrong(f"'{DIRECTION}' is {_kind(values)}, expected a list of {self.dimensions} numbers")
        if len(values) != self.dimensions:
            raise _Wrong(
                f"'{DIRECTION}' has {len(values)} values, expected {self.dimensions}; records made for another "
                "taxonomy must be converted first, or read with --taxonomy FILE"
            )
        if (levels := levels_of_floats(values)) is not None:
            return levels
        try:
            if _NUMBERS.issuperset(map(type, values)):
                return bytes(map(_LEVELS.__getitem__, values))
        except KeyError:
            pass
        index, bad = next((i, v) for i, v in enumerate(values) if type(v) not in _NUMBERS or v not in _LEVELS)
        raise _Wrong(f"'{DIRECTION}' value {index} is {bad!r}, expected 0 (negative), 0.5 (neutral) or 1 (positive)")


def content_digest(
    prompt: str, chosen: str, rejected: str, persona: Persona, direction: Direction | None, user: str | None
) -> str:
    """Digest of everything a record says, apart from its id; the same for JSON and Parquet."""
    return digest_of_content(
        [prompt, chosen, rejected, _hex(direction), user, persona.demographics, persona.profile],
        [[c.prompt, c.comment, _hex(c.direction)] for c in persona.comments],
        [[c.prompt, c.chosen, c.rejected, _hex(c.direction)] for c in persona.choices],
    )


def _hex(direction: Direction | None) -> str | None:
    return None if direction is None else direction.hex()


def digest_of_content(
    texts: Sequence[str | None], comments: Sequence[Sequence[str | None]], choices: Sequence[Sequence[str | None]]
) -> str:
    """The same of its texts: directions in hex, each item's last.

    Args:
        texts: Post, chosen, rejected, direction, user, demographics, profile.
        comments: Post, comment, direction of each.
        choices: Post, chosen, rejected, direction of each.
    """
    return digest_of_texts(texts, comments, choices)


def _plain(value: Any) -> Any:
    """NumPy arrays, as Parquet readers give them, as lists."""
    return value if type(value) is list or not hasattr(value, "tolist") else value.tolist()


def _kind(value: object) -> str:
    """What a wrong value is, short enough for a message."""
    if value is None:
        return "null"
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value", int: "a number", float: "a number"}
    shown = repr(value)
    kind = names.get(type(value), type(value).__name__)
    return f"{kind} ({shown if len(shown) <= 40 else shown[:37] + '…'})"


def _optional_text(raw: Mapping[str, Any], name: str) -> str | None:
    value = raw.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _Wrong(f"'{name}' is {_kind(value)}, expected text")
    return _whole(value, name)


def _whole(value: str, name: str) -> str:
    """Text that can be written as UTF-8."""
    if value.isascii():  # known without looking at the characters
        return value
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _Wrong(
            f"'{name}' holds half a surrogate pair at character {error.start}, expected Unicode text"
        ) from None
    return value


def _blank_as_empty(text: str | None) -> str | None:
    """White space says nothing about a user."""
    return text and ("" if text.isspace() else text)


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    if type(value) is str and value and value.isascii() and not value.isspace():  # most, and what reading waits for
        return value
    value = _optional_text(raw, name)
    if value is None:
        raise _Wrong(f"'{name}' is {'null' if name in raw else 'missing'}, expected text")
    if not value or value.isspace():
        raise _Wrong(f"'{name}' is empty, expected text")
    return value


def _name(raw: Mapping[str, Any], name: str) -> str | None:
    value = raw.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise _Wrong(f"'{name}' is {_kind(value)}, expected text or a whole number")
    return _whole(str(value), name)


def _items(raw: Mapping[str, Any], name: str, read: Callable[[Mapping[str, Any]], _Item]) -> tuple[_Item, ...]:
    """The items of a history list; absent and null lists have none."""
    values = _plain(raw.get(name))
    if values is None:
        return ()
    if type(values) is not list and (isinstance(values, (str, Mapping)) or not isinstance(values, Sequence)):
        raise _Wrong(f"'{name}' is {_kind(values)}, expected a list of objects")
    items: list[_Item] = []
    try:
        for item in values:
            if type(item) is not dict and not isinstance(item, Mapping):
                raise _Wrong(f"found {_kind(item)}, expected an object")
            items.append(read(item))
    except _Wrong as wrong:
        raise _Wrong(f"'{name}' item {len(items) + 1}: {wrong}") from None
    return tuple(items)
