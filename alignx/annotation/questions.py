"""What is asked about a history item, and how a reply is read.

Two ways of asking. ``each`` puts one question a dimension: the paper's three options, first pole, second pole, cannot
tell. ``all`` puts every dimension into one request: for 90 of them about a twentieth of the text. The wording is in
``wording/``.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from typing import Any, Final, Literal, NamedTuple

from alignx.annotation.items import Item, Kind
from alignx.chat.fencing import CODE_LENGTH, code_of, fence
from alignx.chat.question import Question, UnreadableError
from alignx.chat.reading import last_json_object
from alignx.chat.wording import Wording, load_wording
from alignx.errors import SettingsError
from alignx.manifest import digest
from alignx.records import Taxonomy
from alignx.records.directions import NEGATIVE, NEUTRAL, POSITIVE

WayName = Literal["each", "all"]
WAYS: Final[tuple[WayName, ...]] = ("each", "all")
MOST_AT_ONCE: Final = 333
"""Dimensions in one request: strict schemas may have 1,000 enum values, and each dimension has three."""

_LABELS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "comment": ("POST", "COMMENT"),
    "choice": ("POST", "PREFERRED RESPONSE", "OTHER RESPONSE"),
}
_SAMPLES: Final = (Item("comment", ("a post", "a comment")), Item("choice", ("a post", "chosen", "rejected")))
_ANSWER: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "option": {"type": "string", "enum": ["A", "B", "C"]},
        # No bounds: some servers refuse a schema that has them. They are in the wording, and checked on reading.
        "certainty": {"type": "integer"},
    },
    "required": ["option", "certainty"],
    "additionalProperties": False,
}


class Answer(NamedTuple):
    """What a model says about one dimension of one item."""

    level: int
    """0 negative pole, 1 cannot tell, 2 positive pole."""
    certainty: int
    """From 0 to 100."""


class Way(ABC):
    """A way of asking about all dimensions of an item."""

    name: WayName
    per_item: int
    """Requests about an item."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self.taxonomy = taxonomy

    @cached_property
    def digest(self) -> str:
        """Digest of everything that shapes a request: wording, order, fences, schema, dimensions.

        It is taken of the requests themselves about two fixed items, so that nothing is forgotten.
        """
        asked = [asdict(question) for item in _SAMPLES for question in self.questions(item)]
        return digest(self.name, self.taxonomy.digest, asked)

    @abstractmethod
    def questions(self, item: Item) -> tuple[Question, ...]:
        """The requests about an item; the same ones each time."""

    @abstractmethod
    def read(self, item: Item, number: int, text: str) -> dict[int, Answer]:
        """What the reply to request ``number`` of an item says, by dimension.

        Raises:
            UnreadableError: It is not a complete valid reply.
        """

    def letters(self, item: Item, dimension: int) -> tuple[tuple[str, int], ...]:
        """The three options of a dimension, each with its level.

        Which pole is A changes from one dimension to the next, and from one half of all items to the other: a model
        that likes the first option then errs to either side equally often, and not towards one pole.
        """
        first, second = (POSITIVE, NEGATIVE) if (int(item.key[-1], 16) + dimension) % 2 == 0 else (NEGATIVE, POSITIVE)
        return (("A", first), ("B", second), ("C", NEUTRAL))

    def _poles(self, item: Item, dimension: int) -> dict[str, str]:
        """The phrases of options A and B."""
        known = self.taxonomy.dimensions[dimension]
        phrases = {POSITIVE: known.positive, NEGATIVE: known.negative}
        (_, first), (_, second), _ = self.letters(item, dimension)
        return {"a": phrases[first], "b": phrases[second]}

    def _answer(self, item: Item, dimension: int, found: object, where: str = "") -> Answer:
        """An answer from its JSON object; ``where`` begins what is said of one that is none."""
        fields = _exactly(found, ("option", "certainty"), where)
        levels = dict(self.letters(item, dimension))
        option, certainty = fields["option"], fields["certainty"]
        if not isinstance(option, str) or option not in levels:
            raise UnreadableError(f"{where}option is {_short(option)}, expected A, B or C")
        if type(certainty) is not int or not 0 <= certainty <= 100:  # true is an int to Python
            raise UnreadableError(f"{where}certainty is {_short(certainty)}, expected a whole number from 0 to 100")
        return Answer(levels[option], certainty)

    def _refuse_unknown(self, number: int) -> None:
        if not 0 <= number < self.per_item:
            raise ValueError(f"no request {number}: there are {self.per_item} about an item, from 0 on")


class Each(Way):
    """One request a dimension, in index order. They begin alike, up to the end of the item, and differ behind it."""

    name = "each"

    def __init__(self, taxonomy: Taxonomy) -> None:
        super().__init__(taxonomy)
        self.per_item = len(taxonomy)

    def questions(self, item: Item) -> tuple[Question, ...]:
        """As :meth:`Way.questions`."""
        # The item first: servers and the local scorer read what all the questions about it begin with only once.
        shown, asked = show(item), _wording(f"asked-{item.kind}").fill()
        wording, system = _wording("each"), _wording("system").fill()
        return tuple(
            Question(
                system,
                f"{shown}\n\n{wording.fill(asked=asked, **self._poles(item, dimension))}",
                _ANSWER,
                "preference",
                max_tokens=256,
            )
            for dimension in range(len(self.taxonomy))
        )

    def read(self, item: Item, number: int, text: str) -> dict[int, Answer]:
        """As :meth:`Way.read`; one dimension."""
        self._refuse_unknown(number)
        return {number: last_json_object(text, partial(self._answer, item, number))}


class All(Way):
    """Every dimension in one request."""

    name = "all"
    per_item = 1

    def __init__(self, taxonomy: Taxonomy) -> None:
        super().__init__(taxonomy)
        if len(taxonomy) > MOST_AT_ONCE:
            raise SettingsError(
                f"the taxonomy has {len(taxonomy)} dimensions, and at most {MOST_AT_ONCE} fit the schema of one "
                "request; ask for each dimension by itself"
            )
        self._names = [f"d{dimension}" for dimension in range(len(taxonomy))]
        self._schema = {
            "type": "object",
            "properties": dict.fromkeys(self._names, _ANSWER),
            "required": self._names,
            "additionalProperties": False,
        }

    def questions(self, item: Item) -> tuple[Question, ...]:
        """As :meth:`Way.questions`; exactly one."""
        # The dimensions first: each item is shown once, and they, most of the text, begin half of all requests.
        count, ends = len(self._names), {"first": self._names[0], "last": self._names[-1]}
        lines = [
            "{}: A = {a}; B = {b}".format(name, **self._poles(item, dimension))
            for dimension, name in enumerate(self._names)
        ]
        asked = _wording(f"asked-{item.kind}").fill()
        parts = [
            _wording("all").fill(count=count, poles="\n".join(lines)),
            show(item),
            _wording("all-end").fill(count=count, asked=asked, **ends),
        ]
        user, system = "\n\n".join(parts), _wording("system").fill()
        return (Question(system, user, self._schema, "preferences", max_tokens=256 + 32 * count),)

    def read(self, item: Item, number: int, text: str) -> dict[int, Answer]:
        """As :meth:`Way.read`; every dimension, or none."""
        self._refuse_unknown(number)
        return last_json_object(text, partial(self._answers, item))

    def _answers(self, item: Item, found: Mapping[str, Any]) -> dict[int, Answer]:
        fields = _exactly(found, self._names, "")
        return {
            dimension: self._answer(item, dimension, fields[name], f"{name}: ")
            for dimension, name in enumerate(self._names)
        }


def way(name: WayName, taxonomy: Taxonomy) -> Way:
    """The way of asking of that name.

    Raises:
        SettingsError: There is none, or the taxonomy has more dimensions than it can ask about.
    """
    if name not in WAYS:
        raise SettingsError(f"got the way of asking {name!r}, expected one of {', '.join(WAYS)}")
    return Each(taxonomy) if name == "each" else All(taxonomy)


def show(item: Item) -> str:
    """The part of every request that shows the item, its texts fenced."""
    code = code_of(item.texts)
    texts = [fence(label, text, code) for label, text in zip(_LABELS[item.kind], item.texts, strict=True)]
    names = ("post", "comment") if item.kind == "comment" else ("post", "preferred", "other")
    return _wording(item.kind).fill(code=code, **dict(zip(names, texts, strict=True)))


def shown_in(user: str) -> Item | None:
    """The item that a user turn shows: the inverse of :func:`show`; None where there is none."""
    for begin in re.finditer(rf"\[BEGIN POST ([0-9a-f]{{{CODE_LENGTH}}})\]\n", user):
        code = begin[1]
        fenced = re.findall(rf"\[BEGIN ([A-Z ]+) {code}\]\n(.*?)\n\[END \1 {code}\]", user, re.DOTALL)
        for kind, labels in _LABELS.items():
            if tuple(label for label, _ in fenced) == labels:
                item = Item(kind, tuple(text for _, text in fenced))
                if show(item) in user:
                    return item
    return None


def _wording(name: str) -> Wording:
    return load_wording("alignx.annotation", name)


def _exactly(found: object, names: Sequence[str], where: str) -> Mapping[str, Any]:
    """The fields of a JSON object that has these and no others."""
    if not isinstance(found, dict):
        raise UnreadableError(f"{where}{_short(found)}, expected an object")
    missing = [name for name in names if name not in found]
    extra = [name for name in found if name not in set(names)]
    if missing or extra:
        raise UnreadableError(f"{where}{_short((missing or extra)[0])} is {'missing' if missing else 'not asked for'}")
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 24 else text[:23] + "…"
