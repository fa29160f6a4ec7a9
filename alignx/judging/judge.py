"""A judge: which requests a pair takes, and what their replies come to."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from alignx.chat.question import Ask, Request
from alignx.chat.replies import Reading, Replies, reading
from alignx.judging.outcomes import Call, Outcome, Verdict, settle
from alignx.judging.pairs import OTHER, Pair, Side
from alignx.judging.questions import Place, Said, Shown, question, read
from alignx.judging.settings import JudgeSettings, Orders

NOTHING_KNOWN = "nothing is known of the user, or nothing that the judge is to be told"


@dataclass(frozen=True)
class Judge:
    """A model, and how it is asked."""

    model: str
    temperature: float | None = 0.0
    structure: str = "schema"
    orders: Orders = "both"
    reply_tokens: int = 512

    @classmethod
    def of(cls, settings: JudgeSettings) -> "Judge":
        """The judge that settings describe."""
        return cls(
            settings.judge_model, settings.temperature, settings.structure, settings.orders, settings.reply_tokens
        )

    def shown_first(self, pair: Pair) -> tuple[Side, ...]:
        """Whose response comes first in each request about a pair; no request where there is nothing to judge."""
        if pair.identical or not pair.persona:
            return ()
        return (pair.first, OTHER[pair.first]) if self.orders == "both" else (pair.first,)

    def shown(self, pair: Pair) -> list[Shown]:
        """The texts of the requests about a pair, in the order of :meth:`shown_first`."""
        return [
            Shown(pair.persona, pair.post, pair.response(first), pair.response(OTHER[first]))
            for first in self.shown_first(pair)
        ]

    def asks(self, pair: Pair) -> list[Ask]:
        """The requests about a pair, in the order of :meth:`shown_first`."""
        return [self.ask(pair, number, shown) for number, shown in enumerate(self.shown(pair), start=1)]

    def ask(self, pair: Pair, number: int, shown: Shown) -> Ask:
        """One of the requests about a pair, numbered from 1."""
        asked = question(shown, self.reply_tokens)
        return Ask(f"{pair.id}/{number}", Request(asked, self.model, self.temperature, self.structure), read)

    def judged(self, pair: Pair, replies: Replies) -> tuple[Outcome, list[tuple[Ask, Reading]]]:
        """The outcome of a pair, and each of its requests with what its reply says; nobody is asked."""
        asked = [(one, reading(one, replies)) for one in self.asks(pair)]
        calls = [_call(first, found) for first, (_, found) in zip(self.shown_first(pair), asked, strict=True)]
        return self._outcome(pair, calls), asked

    def _outcome(self, pair: Pair, calls: list[Call]) -> Outcome:
        verdict, how, problem = settle(calls)
        if pair.identical:
            verdict, how, problem = "tie", "identical", ""
        elif not pair.persona:
            verdict, how, problem = None, "unjudged", NOTHING_KNOWN
        return Outcome(
            id=pair.id,
            cluster=pair.cluster,
            sources=pair.sources,
            verdict=verdict,
            how=how,
            problem=problem,
            calls=tuple(calls),
            candidate_characters=len(pair.candidate),
            baseline_characters=len(pair.baseline),
        )


class Distinct:
    """Every request about some pairs once: pairs of equal texts, which repeated records make, share their replies."""

    def __init__(self, judge: Judge, pairs: Iterable[Pair]) -> None:
        """Find out which; no request is made yet."""
        self._judge = judge
        self._shown: dict[Shown, tuple[Pair, int]] = {}
        for pair in pairs:
            for number, shown in enumerate(judge.shown(pair), start=1):
                self._shown.setdefault(shown, (pair, number))

    def __len__(self) -> int:
        """How many requests."""
        return len(self._shown)

    def __iter__(self) -> Iterator[Ask]:
        """Each request, made when its turn comes."""
        return (self._judge.ask(pair, number, shown) for shown, (pair, number) in self._shown.items())


def _call(first: Side, found: Reading) -> Call:
    if found.problem is not None:
        return Call(first=first, problem=found.problem)
    said: Said = found.value
    return Call(first=first, verdict=_side(said.place, first), certainty=said.certainty)


def _side(place: Place, first: Side) -> Verdict:
    if place == "tie":
        return "tie"
    return first if place == "response 1" else OTHER[first]
