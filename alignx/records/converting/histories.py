"""A user's rows, and which of them a record's history may show."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from alignx.records.converting.statement import Statement, plain


@dataclass(frozen=True)
class History:
    """What a record tells of its user: their other rows, oldest first."""

    comments: tuple[Statement, ...]
    choices: tuple[Statement, ...]
    usable: int
    """How many items there were before the oldest were cut."""
    left_out: int
    """Items of other rows that would have given the answer away."""

    @property
    def rows(self) -> set[int]:
        """Numbers of the rows that it shows."""
        return {statement.number for statement in (*self.comments, *self.choices)}


class UserRows:
    """Everything one user said, in the files' order, which counts as age."""

    def __init__(self) -> None:
        """Start with nothing said."""
        self.comments, self._choices = _Items(), _Items()
        self._written: set[tuple[str, str]] = set()

    def add(self, statement: Statement) -> None:
        """Append what a row says; a comment that was there already is not shown twice."""
        if statement.chosen is not None and statement.rejected is not None:
            self._choices.add(statement, (statement.chosen, statement.rejected))
        if statement.comment is not None and (statement.prompt, statement.comment) not in self._written:
            self._written.add((statement.prompt, statement.comment))
            self.comments.add(statement, (statement.comment,))

    def around(self, target: Statement, most: int) -> History:
        """The history of one of the user's choices.

        It has no item that shows a text of the target's row under the target's post: not the choice itself, not the
        same pair turned round or one of its responses in another pair, and not a comment that repeats one.

        Args:
            target: The choice.
            most: Comments, and choices, at most; the newest stay.
        """
        comments, usable_comments, telling_comments = self.comments.without(target, most)
        choices, usable_choices, telling_choices = self._choices.without(target, most)
        return History(comments, choices, usable_comments + usable_choices, telling_comments + telling_choices)


class _Items:
    """History items of one kind, found by what they show under which post."""

    def __init__(self) -> None:
        self._items: list[Statement] = []
        self._showing: defaultdict[tuple[str, str], set[int]] = defaultdict(set)

    def add(self, statement: Statement, texts: Iterable[str]) -> None:
        for text in texts:
            self._showing[plain(statement.prompt), plain(text)].add(len(self._items))
        self._items.append(statement)

    def newer_than(self, statement: Statement) -> int:
        """How many items stand after one row's."""
        return len(self._items) - bisect_right(self._items, statement.number, key=lambda item: item.number)

    def without(self, target: Statement, most: int) -> tuple[tuple[Statement, ...], int, int]:
        """The newest items that show no text of the target, how many such there are, and how many others show one."""
        post = plain(target.prompt)
        telling = set[int]().union(*(self._showing.get((post, plain(text)), ()) for text in target.texts))
        newest = (self._items[place] for place in reversed(range(len(self._items))) if place not in telling)
        kept = tuple(islice(newest, most))[::-1]
        return kept, len(self._items) - len(telling), sum(self._items[place] is not target for place in telling)
