"""What a text says, in the world's own words: the way back from :class:`~alignx.records.world.speech.Speech`."""

import re
from collections.abc import Mapping

from alignx.errors import DataError
from alignx.records.world.speech import Mention
from alignx.records.world.wordings import Wording


class Hearing:
    """Finds the clauses of some dimensions in a text, whatever stands around them.

    A clause counts in any case, and where a word is glued to its front, as happens when a small model makes up its
    text phrase by phrase; not where its last word goes on. Words that are no such clause are not understood.
    """

    def __init__(self, wordings: Mapping[int, Wording]) -> None:
        """Take the wordings of the dimensions to listen for; every one of them counts, the unseen ones included.

        Raises:
            DataError: Two poles are worded alike.
        """
        self._meanings: dict[str, Mention] = {}
        for dimension, wording in wordings.items():
            for number, clauses in enumerate(wording.clauses):
                for sign, clause in enumerate(clauses):
                    meant = Mention(dimension, sign, number)
                    if self._meanings.setdefault(clause.casefold(), meant) != meant:
                        raise DataError(f"{clause!r} is said for two poles, expected each clause for one")
        longest_first = sorted(self._meanings, key=len, reverse=True)
        self._clauses = re.compile("|".join(rf"{re.escape(clause)}(?!\w)" for clause in longest_first) or r"(?!)")

    def mentions(self, text: str) -> tuple[Mention, ...]:
        """Every pole that a text takes, in order, each as often as it is said."""
        return tuple(self._meanings[found] for found in self._clauses.findall(text.casefold()))
