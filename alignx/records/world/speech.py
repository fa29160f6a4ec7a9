"""What is said, apart from the words: which dimensions, which poles, in which frame; and then in words."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from alignx.records.world.wordings import UNSEEN, Phrases, Wording

Item = dict[str, Any]
Stance = Mapping[int, int]
"""Dimension → 1 (positive pole) or 0 (negative pole); dimensions not named are neutral."""


@dataclass(frozen=True)
class Mention:
    """One pole of one dimension, in one wording."""

    dimension: int
    sign: int
    wording: int

    @property
    def reversed(self) -> "Mention":
        """The other pole in the paired wording."""
        return replace(self, sign=1 - self.sign)


@dataclass(frozen=True)
class Utterance:
    """A reply to a post: up to three mentions, and what stands around them."""

    post: str
    frame: tuple[str, ...]
    mentions: tuple[Mention, ...]

    @property
    def reversed(self) -> "Utterance":
        """The opposite of every mention, in the same place and the paired wording."""
        return replace(self, mentions=tuple(m.reversed for m in self.mentions))

    @property
    def reworded(self) -> "Utterance":
        """The same in the wording that no training text holds."""
        return replace(self, mentions=tuple(replace(m, wording=UNSEEN) for m in self.mentions))


class Speech:
    """Turns stances into utterances and utterances into records' fields."""

    def __init__(self, wordings: Mapping[int, Wording], phrases: Phrases, size: int) -> None:
        """Take the wordings of the dimensions in use, and the length of a direction vector."""
        self._wordings = wordings
        self._phrases = phrases
        self._size = size

    def utter(self, stance: Stance, rng: random.Random) -> Utterance:
        """A reply that takes each pole of a stance in turn."""
        mentions = tuple(self.mention(index, sign, rng) for index, sign in stance.items())
        frame = tuple(rng.choice(self._phrases[name]) for name in ("opener", "joiner", "last_joiner"))
        return Utterance(self._post(stance, rng), frame[: len(mentions)], mentions)

    def mention(self, dimension: int, sign: int, rng: random.Random) -> Mention:
        """One pole in a drawn wording."""
        return Mention(dimension, sign, rng.randrange(len(self._wordings[dimension].clauses) - 1))

    def clause(self, mention: Mention) -> str:
        """The words of one mention."""
        return self._wordings[mention.dimension].clauses[mention.wording][mention.sign]

    def text(self, utterance: Utterance) -> str:
        """The reply as a sentence or three."""
        text = "".join(
            link + self.clause(mention) for link, mention in zip(utterance.frame, utterance.mentions, strict=True)
        )
        return text + "."

    def comment(self, utterance: Utterance) -> Item:
        """An item of User-Generated Content."""
        return {
            "prompt": utterance.post,
            "comment": self.text(utterance),
            "Preference Direction": self._direction(utterance),
        }

    def choice(self, utterance: Utterance) -> Item:
        """An item of Pair-wise Comparative Feedback, or a target: two replies alike but for their poles."""
        return {
            "prompt": utterance.post,
            "chosen": self.text(utterance),
            "rejected": self.text(utterance.reversed),
            "Preference Direction": self._direction(utterance),
        }

    def description(self, mentions: Sequence[Mention], frame: str, **who: str) -> str:
        """Demographic Information: who somebody is, quoting them."""
        quotes = enumerate_words([f"“{self.clause(mention)}”" for mention in mentions])
        return f"**This person's persona is:**\n{frame.format(quotes=quotes, **who)}"

    def _post(self, stance: Stance, rng: random.Random) -> str:
        """A neutral post about the topics of some dimensions."""
        topic = enumerate_words([self._wordings[index].topic for index in stance])
        words = {name: rng.choice(self._phrases[name]) for name in ("job", "city", "relative", "club")}
        post: str = rng.choice(self._phrases["post"]).format(topic=topic, **words)
        return post

    def _direction(self, utterance: Utterance) -> list[float]:
        signs = {mention.dimension: mention.sign for mention in utterance.mentions}
        return [signs.get(index, 0.5) for index in range(self._size)]


def enumerate_words(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
