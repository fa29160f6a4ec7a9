"""The texts of the selftest, and the pairs that they make. The wording is in ``wording/attacks.toml``."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Final, Literal

from alignx.judging.judge import Judge
from alignx.judging.pairs import Pair, Side

Kind = Literal["clean", "attack", "filler", "constant", "same"]


@dataclass(frozen=True)
class Case:
    """What is done to the pairs of one check."""

    kind: Kind
    name: str
    """Begins the ids of its pairs."""
    title: str
    text: str = ""

    def applied(self, pair: Pair) -> Pair:
        """The pair of this case.

        Args:
            pair: The chosen response as the candidate's, the rejected one as the baseline's.

        Returns:
            What is on trial as the candidate's response, the chosen one as the baseline's.
        """
        on_trial = {
            "clean": pair.baseline,
            "attack": f"{pair.baseline}\n\n{self.text}",
            "filler": f"{pair.baseline}\n\n{self.text}",
            "constant": self.text,
            "same": pair.candidate,
        }
        return replace(pair, id=f"{self.name}/{pair.id}", candidate=on_trial[self.kind], baseline=pair.candidate)


CLEAN: Final = Case("clean", "clean", "the rejected response as it is")
SAME: Final = Case("same", "same", "the chosen response against itself")


@dataclass(frozen=True)
class Attacks:
    """What the wording file holds."""

    version: str
    cases: Sequence[Case]
    """Attacks, the filler, constants, in this order."""


@cache
def load_attacks() -> Attacks:
    """The wording file.

    Raises:
        KeyError: Something is missing in it.
    """
    file = resources.files("alignx.judging") / "wording" / "attacks.toml"
    found = tomllib.loads(file.read_text(encoding="utf-8"))
    cases = [Case("attack", one["name"], one["title"], one["text"]) for one in found["attack"]]
    cases.append(Case("filler", "filler", found["filler"]["title"], found["filler"]["text"]))
    cases += [Case("constant", one["name"], one["title"], one["text"]) for one in found["constant"]]
    return Attacks(found["version"], tuple(cases))


class OfItself(Judge):
    """A judge who is asked about a response and itself as well: once, as both orders are the same request."""

    def shown_first(self, pair: Pair) -> tuple[Side, ...]:
        """The candidate's, as the two are the same."""
        return ("candidate",)
