"""Ids of records: their own, or made of their content."""

from collections import Counter

from alignx.errors import DataError


class Identities:
    """Names the records of one source, which must come in its order.

    A record's id is its own if it has one, else the first 20 hex digits of its content's digest and its number among
    equal contents: ``3f…-1``. A million records without ids of their own take about 80 MB.
    """

    def __init__(self) -> None:
        """Start a source: no ids seen."""
        self._seen: set[int] = set()
        """Contents of records without an id, as numbers, which take half the memory of texts."""
        self._repeated: Counter[int] = Counter()
        """Of these, how often those occurred that occurred more than once."""
        self._given: dict[str, str] = {}

    def name(self, given: str | None, content: str, where: str) -> str:
        """The id of the next record.

        Args:
            given: Its own, if it has one.
            content: Digest of its content, in hex.
            where: File and row, for messages.

        Raises:
            DataError: The id was seen before.
        """
        if given is not None:
            earlier = self._given.get(given) or ("an earlier record" if self._was_generated(given) else None)
            if earlier is not None:
                raise DataError(f"{where}: 'id' {given!r} was already used at {earlier}, expected a new one")
            self._given[given] = where
            return given
        key = _number(content)
        occurrence = self._occurrences(key) + 1
        generated = generated_id(content, occurrence)
        if generated in self._given:
            raise DataError(
                f"{where}: the id made from its content, {generated!r}, was already used at {self._given[generated]}, "
                "expected a new one; give the record an 'id' of its own"
            )
        if occurrence > 1:
            self._repeated[key] = occurrence
        self._seen.add(key)
        return generated

    def _occurrences(self, key: int) -> int:
        """How many records without an id had this content."""
        return self._repeated[key] if key in self._repeated else int(key in self._seen)

    def _was_generated(self, name: str) -> bool:
        """Whether a record got this id from its content."""
        key, _, number = name.rpartition("-")
        if not (number.isdecimal() and len(key) == _DIGITS and set(key) <= _HEX):
            return False
        return 0 < int(number) <= self._occurrences(_number(key))


_DIGITS = 20
_HEX = frozenset("0123456789abcdef")


def generated_id(content: str, occurrence: int = 1) -> str:
    """The id of a record without one: of the so-maniest that has this content."""
    return f"{content[:_DIGITS]}-{occurrence}"


def _number(content: str) -> int:
    return int(content[:_DIGITS], 16)
