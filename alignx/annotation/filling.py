"""From answers to records: a direction for each history item, where it comes from, and a profile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alignx.annotation.items import Item, item_of
from alignx.annotation.questions import Answer
from alignx.records import Choice, Comment, Direction, Record, Taxonomy, Thresholds, aggregate, verbalise
from alignx.records.directions import NEUTRAL
from alignx.records.parsing import CHOICES, COMMENTS, DIRECTION

ANNOTATION = "annotation"
"""Field of a history item that says where its direction comes from."""


@dataclass(frozen=True)
class Annotation:
    """What was found out about one history item."""

    answers: tuple[Answer, ...] = ()
    """One a dimension, in their order; none where the item could not be annotated."""
    problem: str | None = None
    """Why it could not."""

    def direction(self, least_certainty: int = 0) -> Direction | None:
        """The levels; a pole that is stated with less certainty counts as neutral."""
        if self.problem is not None:
            return None
        return bytes(level if certainty >= least_certainty else NEUTRAL for level, certainty in self.answers)


@dataclass
class Filled:
    """Counts of what was written."""

    records: int = 0
    items: int = 0
    kept: int = 0
    """Items whose own direction stayed."""
    annotated: int = 0
    unannotated: int = 0
    profiles: int = 0
    empty_profiles: int = 0
    """Of them, such as say nothing: every dimension is neutral."""
    profiles_kept: int = 0
    without_profile: int = 0
    """Records of whose history no item has a direction: PBA has nothing to put into words."""
    without_history: int = 0
    """Records without any item: PBA says that nothing is known."""
    partly: int = 0
    """Records whose profile leaves out an item that could not be annotated."""

    def as_dict(self) -> dict[str, int]:
        """For a manifest."""
        return dict(vars(self))


@dataclass(frozen=True)
class Filler:
    """Writes directions into rows."""

    annotations: Mapping[str, Annotation]
    """By the item's key."""
    taxonomy: Taxonomy
    thresholds: Thresholds
    provenance: Mapping[str, Any]
    """Of every direction that was inferred: the model, the way of asking, the digest of its words."""
    least_certainty: int = 0
    replace: bool = False
    """Whether inferred directions and profiles take the place of those a row came with."""
    counts: Filled = field(default_factory=Filled)

    def fill(self, record: Record, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row of a record with directions and a profile; whatever else it holds stays as it was.

        Its id is written out where it was made of the content, of which directions are a part.

        Args:
            record: As it was read.
            row: From which it was read.
        """
        self.counts.records += 1
        filled = {name: _plain(value) for name, value in row.items()}
        if filled.get("id") is None:
            filled = {**filled, "id": record.id}
        directions: list[Direction | None] = []
        for name, items in ((COMMENTS, record.persona.comments), (CHOICES, record.persona.choices)):
            if items:
                filled[name] = self._items(items, filled[name], directions)
        self._profile(record, filled, directions)
        return filled

    def _items(
        self, items: Sequence[Comment | Choice], rows: Sequence[Mapping[str, Any]], directions: list[Direction | None]
    ) -> list[dict[str, Any]]:
        filled = []
        for item, row in zip(items, rows, strict=True):
            self.counts.items += 1
            found, annotation = self._direction(item)
            directions.append(found)
            new = {name: value for name, value in row.items() if name not in (DIRECTION, ANNOTATION)}
            if annotation is None:  # it has a direction of its own, and whatever is said of that one stays
                filled.append(dict(row))
                self.counts.kept += 1
                continue
            if found is None:
                new[ANNOTATION] = {**self.provenance, "problem": annotation.problem}
                self.counts.unannotated += 1
            else:
                new[DIRECTION] = [level / 2 for level in found]
                certainty = [answer.certainty for answer in annotation.answers]
                new[ANNOTATION] = {**self.provenance, "certainty": certainty}
                self.counts.annotated += 1
            filled.append(new)
        return filled

    def _direction(self, item: Comment | Choice) -> tuple[Direction | None, Annotation | None]:
        """The direction to write, and the annotation it comes from if it is not the item's own."""
        if item.direction is not None and not self.replace:
            return item.direction, None
        annotation = self.annotations[item_of(item).key]
        return annotation.direction(self.least_certainty), annotation

    def _profile(self, record: Record, row: dict[str, Any], directions: Sequence[Direction | None]) -> None:
        """Put the direction that the items share into words, where the record has no profile that stays."""
        if record.persona.profile is not None and not self.replace:
            self.counts.profiles_kept += 1
            return
        row.pop("profile", None)
        known = [direction for direction in directions if direction is not None]
        if not known:
            self.counts.without_profile += bool(directions)
            self.counts.without_history += not directions
            return
        row["profile"] = verbalise(aggregate(known, self.thresholds), self.taxonomy)
        self.counts.profiles += 1
        self.counts.empty_profiles += not row["profile"]
        self.counts.partly += len(known) < len(directions)


def _plain(value: Any) -> Any:
    """NumPy arrays, as Parquet readers give them, as lists; inside lists and objects too."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value


def items_to_ask(record: Record, *, also_known: bool) -> list[tuple[Item, Direction | None]]:
    """The history items of a record that need a direction, with the one they carry.

    Args:
        record: Whose.
        also_known: Whether to ask about those that carry one.
    """
    history: tuple[Comment | Choice, ...] = (*record.persona.comments, *record.persona.choices)
    return [(item_of(item), item.direction) for item in history if also_known or item.direction is None]
