"""Text to pre-train a stand-in on: people described and talking, in no format of the task; and replies by anybody."""

import random
from collections.abc import Collection, Iterator, Sequence

from alignx.records.taxonomy import Taxonomy
from alignx.records.world.population import User, target_key
from alignx.records.world.speech import Mention, Speech
from alignx.records.world.wordings import Phrases


class Corpus:
    """Documents of a few lines about one user: what they are like, what they say, what they agree with."""

    def __init__(self, speech: Speech, phrases: Phrases, taxonomy: Taxonomy, seed: str) -> None:
        """Everything follows from the seed."""
        self._speech = speech
        self._phrases = phrases
        self._taxonomy = taxonomy
        self._rng = random.Random(seed)

    def document(self, users: Sequence[User]) -> str:
        """Lines about one of some users, all consistent with each other."""
        rng = self._rng
        user, name = rng.choice(users), rng.choice(self._phrases["name"])
        topics = self._topics(user)
        lines = [self._stated(user, name, topics)] if rng.random() < 0.5 else self._talk(user, name, topics)
        lines += self._talk(user, name, topics)
        return "\n".join(lines)

    def conversation(
        self, users: Sequence[User], mentions: Sequence[float], taken: Collection[tuple[str, str]]
    ) -> list[dict[str, str]]:
        """A post, and a reply of one of some users of whom nothing is known: what a reply looks like, and no more.

        Args:
            users: Who may reply.
            mentions: Shares of replies that speak to 1, 2, 3 dimensions.
            taken: Targets of records, as post and one of the responses, which are not to be drawn.
        """
        rng = self._rng
        while True:
            user = rng.choice(users)
            count = min(rng.choices(range(1, len(mentions) + 1), mentions)[0], len(user.stance))
            topics = rng.sample(list(user.stance), count)
            said = self._speech.utter({topic: user.stance[topic] for topic in topics}, rng)
            if target_key(self._speech, said) not in taken:
                break
        turns = (("user", said.post), ("assistant", self._speech.text(said)))
        return [{"role": role, "content": content} for role, content in turns]

    def probes(self, users: Sequence[User]) -> Iterator[dict[str, str]]:
        """Two documents a user whose last line follows from the others, each with one whose last line contradicts them.

        Kind ``stated``: the dimension was described in words; ``said``: it was spoken of.
        """
        for user in users:
            for kind in ("stated", "said"):
                text, contrast = self._probe(user, kind)
                yield {"kind": kind, "text": text, "contrast": contrast}

    def _probe(self, user: User, kind: str) -> tuple[str, str]:
        rng = self._rng
        name, topics = rng.choice(self._phrases["name"]), self._topics(user)
        lines = [self._stated(user, name, topics)] if kind == "stated" else self._talk(user, name, topics)
        asked = self._mention(user, rng.choice(topics))
        frame = rng.choice(self._phrases["said"])
        follows, contradicts = self._said(name, asked, frame), self._said(name, asked.reversed, frame)
        return "\n".join([*lines, follows]), "\n".join([*lines, contradicts])

    def _topics(self, user: User) -> list[int]:
        return self._rng.sample(list(user.stance), self._rng.randint(min(3, len(user.stance)), len(user.stance)))

    def _stated(self, user: User, name: str, topics: Sequence[int]) -> str:
        dimensions = [(self._taxonomy.dimensions[index], user.stance[index]) for index in sorted(topics)]
        labels = ", ".join(dimension.positive if sign else dimension.negative for dimension, sign in dimensions)
        text: str = self._rng.choice(self._phrases["stated"]).format(name=name, labels=labels)
        return text

    def _talk(self, user: User, name: str, topics: Sequence[int]) -> list[str]:
        """A line a topic, in any order."""
        return [self._said(name, self._mention(user, topic)) for topic in self._rng.sample(topics, len(topics))]

    def _said(self, name: str, mention: Mention, frame: str = "") -> str:
        frame = frame or self._rng.choice(self._phrases["said"])
        return frame.format(name=name, clause=self._speech.clause(mention))

    def _mention(self, user: User, topic: int) -> Mention:
        return self._speech.mention(topic, user.stance[topic], self._rng)
