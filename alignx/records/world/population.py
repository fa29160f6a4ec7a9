"""Who lives in the synthetic world: users with sparse directions, and records of what they said and chose."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

from alignx.errors import DataError
from alignx.records.world.speech import Item, Mention, Speech, Stance, Utterance
from alignx.records.world.wordings import Phrases

MIXED = (0.08, 0.08, 0.12, 0.14, 0.50, 0.03, 0.02, 0.02, 0.01)
"""Shares of histories with 0, 1, … 8 items where no length is asked for."""
_ATTEMPTS = 1000


@dataclass(frozen=True)
class Shape:
    """What a user and a record look like."""

    active: tuple[int, int] = (4, 8)
    """Dimensions a user cares about, from and to."""
    mentions: tuple[float, ...] = (0.5, 0.4, 0.1)
    """Shares of texts that speak to 1, 2, 3 dimensions."""
    comments: int | None = None
    """Items of User-Generated Content; None draws from :data:`MIXED`."""
    choices: int | None = None
    on_target: float = 0.6
    """How often a history item starts from a dimension of its record's target."""
    described: float = 0.7
    """Share of records with demographic information."""
    label_noise: float = 0.0
    """Share of targets whose chosen and rejected are swapped: users who slipped."""


@dataclass(frozen=True)
class User:
    """An invented person."""

    name: str
    job: str
    city: str
    stance: Stance


@dataclass(frozen=True)
class Drawn:
    """A record before it is put into words."""

    id: str
    user: User
    target: Utterance
    comments: tuple[Utterance, ...]
    choices: tuple[Utterance, ...]
    described: tuple[str, tuple[Mention, ...]] | None
    slipped: bool
    """Whether label noise swapped chosen and rejected."""

    def row(
        self, speech: Speech, *, comments: bool = True, choices: bool = True, unseen: bool = False, turned: bool = False
    ) -> Item:
        """A line of a data file.

        Args:
            speech: Its words.
            comments: Whether to show the comments.
            choices: Whether to show the choices.
            unseen: Put the target into the wordings that no training text holds.
            turned: Let the persona, not the target, be that of the user's opposite, word for word.
        """
        target = self.target.reworded if unseen else self.target
        row = {"id": self.id, "user": self.user.name, **speech.choice(target.reversed if self.slipped else target)}
        if self.described is not None:
            frame, mentions = self.described
            if turned:
                mentions = tuple(mention.reversed for mention in mentions)
            row["Demographic Information"] = speech.description(mentions, frame, job=self.user.job, city=self.user.city)
        shown = {name: items if not turned else tuple(item.reversed for item in items) for name, items in self._lists}
        row["User-Generated Content"] = [speech.comment(item) for item in shown["comments"]] if comments else []
        row["Pair-wise Comparative Feedback"] = [speech.choice(item) for item in shown["choices"]] if choices else []
        return row

    @property
    def _lists(self) -> tuple[tuple[str, tuple[Utterance, ...]], ...]:
        return ("comments", self.comments), ("choices", self.choices)


def target_key(speech: Speech, target: Utterance) -> tuple[str, str]:
    """What makes a target the same as another, whoever's it is: its post and, of both responses, one."""
    return target.post, min(speech.text(target), speech.text(target.reversed))


class Population:
    """Draws users and records; everything follows from the random generator."""

    def __init__(self, speech: Speech, dimensions: Sequence[int], phrases: Phrases, shape: Shape, seed: str) -> None:
        """Start with a fresh deck of dimensions for each pole."""
        self._speech = speech
        self._dimensions = list(dimensions)
        self._phrases = phrases
        self._shape = shape
        self._rng = random.Random(seed)
        self._decks = (self._deck(), self._deck())
        self._signs = cycle((0, 1)), cycle((0, 1))  # of targets, of history items

    def user(self, name: str) -> User:
        """A person with as many positive as negative poles, give or take one."""
        stance: dict[int, int] = {}
        wanted, sign = self._rng.randint(*self._shape.active), self._rng.randrange(2)
        while len(stance) < wanted:
            dimension = next(self._decks[sign])
            if dimension not in stance:
                stance[dimension] = sign
                sign = 1 - sign
        return User(name, self._rng.choice(self._phrases["job"]), self._rng.choice(self._phrases["city"]), stance)

    def records(self, count: int, users: Sequence[User], prefix: str, taken: set[tuple[str, str]]) -> Iterator[Drawn]:
        """Records of some users in random order, each user as often as any other, give or take one.

        Args:
            count: How many.
            users: Whose.
            prefix: Of the records' ids.
            taken: Targets, as post and chosen response, that exist already; new ones are added.

        Raises:
            DataError: There are not so many different targets.
        """
        owners = [users[place % len(users)] for place in range(count)]
        self._rng.shuffle(owners)
        for number, owner in enumerate(owners, start=1):
            yield self._record(f"{prefix}-{number:0{len(str(count))}}", owner, taken)

    def _deck(self) -> Iterator[int]:
        """All dimensions in random order, over and over, so that users cover them evenly."""
        order = list(self._dimensions)
        while True:
            self._rng.shuffle(order)
            yield from order

    def _record(self, name: str, user: User, taken: set[tuple[str, str]]) -> Drawn:
        """A target unlike all others, and a history that holds none of its texts."""
        rng, shape = self._rng, self._shape
        for _ in range(_ATTEMPTS):
            target = self._speech.utter(self._stance(user.stance, {}), rng)
            key = target_key(self._speech, target)
            if key not in taken:
                break
        else:
            raise DataError(
                f"no new target in {_ATTEMPTS} draws after {len(taken)}; ask for fewer records, or more dimensions"
            )
        taken.add(key)
        aim = {mention.dimension: mention.sign for mention in target.mentions}
        said = {target.post, self._speech.text(target), self._speech.text(target.reversed)}
        comments = self._history(shape.comments, user.stance, aim, said)
        choices = self._history(shape.choices, user.stance, aim, said)
        described = None
        if rng.random() < shape.described:
            mentions = tuple(self._speech.mention(index, sign, rng) for index, sign in aim.items())
            described = (rng.choice(self._phrases["persona"]), mentions)
        return Drawn(name, user, target, comments, choices, described, rng.random() < shape.label_noise)

    def _history(self, length: int | None, stance: Stance, aim: Stance, said: set[str]) -> tuple[Utterance, ...]:
        """Items that share no text with ``said`` nor with each other, which joins them."""
        wanted = self._rng.choices(range(len(MIXED)), MIXED)[0] if length is None else length
        items: list[Utterance] = []
        for _ in range(_ATTEMPTS * max(1, wanted)):
            if len(items) == wanted:
                break
            item = self._speech.utter(self._stance(stance, aim), self._rng)
            texts = {item.post, self._speech.text(item), self._speech.text(item.reversed)}
            if said.isdisjoint(texts):
                said |= texts
                items.append(item)
        else:
            raise DataError(f"no history of {wanted} different items in {_ATTEMPTS} draws; ask for shorter ones")
        return tuple(items)

    def _stance(self, stance: Stance, aim: Mapping[int, int]) -> dict[int, int]:
        """A few of a user's dimensions, often starting from one of ``aim``, else from each pole in turn."""
        rng, shape = self._rng, self._shape
        sign = next(self._signs[bool(aim)])
        on_target = bool(aim) and rng.random() < shape.on_target
        first = rng.choice(list(aim) if on_target else [i for i in stance if stance[i] == sign] or list(stance))
        rest = [index for index in stance if index != first]
        count = rng.choices(range(1, len(shape.mentions) + 1), shape.mentions)[0]
        return {index: stance[index] for index in [first, *rng.sample(rest, min(count - 1, len(rest)))]}
