"""What a report says of the two systems and of the judge: everything in it that is not measured."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from alignx.chat.prices import Price
from alignx.evaluation.published import Published
from alignx.generation.responses import Response
from alignx.judging.outcomes import Outcome
from alignx.judging.page import About
from alignx.judging.pairs import System
from alignx.judging.questions import PROMPT, prompt_digest
from alignx.judging.settings import WinRateSettings
from alignx.judging.verdicts import Used

_TOLD = ("method", "preset", "profile", "persona", "history", "tell")
"""What of a condition says what a model is told."""

_ORDERS = {
    "both": "both: each pair twice, either response first",
    "first": "one a pair, drawn by the texts",
}


def describe(
    settings: WinRateSettings,
    systems: tuple[System, System],
    outcomes: Sequence[Outcome],
    used: Used,
    price: Price | None,
    model: Mapping[str, Any],
    published: Published | None,
    without_response: int,
) -> About:
    """What is said of a comparison; the same for the same replies, whenever and however they came.

    Args:
        settings: Of the command.
        systems: The candidate and the baseline.
        outcomes: Of each pair.
        used: What the replies that count say of themselves.
        price: Of the judge, if known.
        model: What the server said of the judge.
        published: The figure to print beside, if there is one.
        without_response: Records of which neither system has a response.
    """
    ids = {one.id for one in outcomes}
    candidate, baseline = _names(*systems)
    return About(
        candidate=candidate,
        baseline=baseline,
        benchmark=settings.benchmark,
        judge_model=settings.judge_model,
        systems=list(_systems(*systems, ids)),
        judge=[*_judge(settings, used, model), *_money(used, price)],
        notes=tuple(_notes(settings, systems, len(outcomes), used, without_response)),
        published=published,
    )


def _names(candidate: System, baseline: System) -> tuple[str, str]:
    """What the two are called; where it would be the same, also what they were told otherwise, or where they lie."""
    ours, theirs = _name(candidate), _name(baseline)
    if ours != theirs:
        return ours, theirs
    both = (candidate, baseline)
    if candidate.name != baseline.name:
        more = [f"of {one.name}" for one in both]
    elif apart := [name for name in _TOLD if candidate.condition.get(name) != baseline.condition.get(name)]:
        more = [", ".join(f"{name} {one.condition.get(name, 'none')}" for name in apart) for one in both]
    else:
        more = [f"of {one.path.name}" for one in both]
    return f"{ours}, {more[0]}", f"{theirs}, {more[1]}"


def _name(system: System) -> str:
    """Short, for a title: the last part of the model's name; and the method, where that does not name it."""
    model, method = system.name.rstrip("/").rpartition("/")[2], str(system.condition.get("method") or "")
    return model if method in model.lower() else f"{model} under {method.upper()}"


def _systems(candidate: System, baseline: System, ids: Collection[str]) -> Iterator[tuple[str, str, str]]:
    yield "responses", _file(candidate), _file(baseline)
    yield "model", candidate.name, baseline.name
    for name in _TOLD:
        yield name, str(candidate.condition.get(name, "–")), str(baseline.condition.get(name, "–"))
    for name in ("temperature", "top_k", "top_p", "max_new_tokens", "seed"):
        yield name, str(candidate.made.settings.get(name, "–")), str(baseline.made.settings.get(name, "–"))
    ours, theirs = ([one.responses[name] for name in sorted(ids)] for one in (candidate, baseline))
    yield "median characters of a response", _median(ours), _median(theirs)
    yield "responses cut at the limit of tokens", _count(ours, "length"), _count(theirs, "length")
    yield "prompts that lost history, being too long", _trimmed(ours), _trimmed(theirs)
    yield "prompts that say nothing of the user", _empty(ours), _empty(theirs)


def _file(system: System) -> str:
    return f"{system.path.name}, digest {system.digest[:12]}"


def _median(responses: Sequence[Response]) -> str:
    return f"{median(len(one.response) for one in responses):,.0f}"


def _count(responses: Sequence[Response], finish: str) -> str:
    return f"{sum(one.finish == finish for one in responses):,}"


def _trimmed(responses: Sequence[Response]) -> str:
    return f"{sum(one.trimmed_items > 0 or one.trimmed_demographics for one in responses):,}"


def _empty(responses: Sequence[Response]) -> str:
    return f"{sum(one.persona_empty for one in responses):,}"


def _judge(settings: WinRateSettings, used: Used, model: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    returned = ", ".join(f"{name} ({count:,} replies)" for name, count in sorted(used.models.items()))
    yield "judge", settings.judge_model
    yield "as the server calls it", returned or "nothing was replied"
    yield "to be shut down on", str(model.get("shutdown_date", "the server does not say"))
    yield "is told of the user", ", ".join(sorted(settings.judge_persona))
    yield "orders", _ORDERS[settings.orders]
    yield "temperature", "left to the server" if settings.temperature is None else f"{settings.temperature:g}"
    yield "form of a reply", settings.structure
    yield "prompt", f"{PROMPT}, digest {prompt_digest()[:16]}"


def _money(used: Used, price: Price | None) -> Iterator[tuple[str, str]]:
    """Only what depends on nothing but the requests; what failed attempts cost is in the manifest."""
    if not used.replies:
        return
    counted = used.replies - used.uncounted
    tokens = f"{used.prompt_tokens:,} tokens" if counted else "not counted by the server"
    yield "requests that the verdicts come from", f"{used.replies:,}, {tokens}"
    if price is not None and counted:
        yield "cost of these tokens", f"{price.of(used.prompt_tokens, 0):.4f} {price.currency}"
    if price is not None:
        yield "price", str(price)
    yield "cost with replies and what failed", "in manifest.json, as it differs from run to run of the same verdicts"


def _notes(
    settings: WinRateSettings, systems: tuple[System, System], pairs: int, used: Used, without_response: int
) -> Iterator[str]:
    candidate, baseline = systems
    if candidate.digest == baseline.digest:
        yield "candidate and baseline are the same responses, so the win rate says nothing"
    if settings.pairs is not None and settings.pairs <= pairs:
        yield f"{pairs:,} of {len(candidate.responses):,} pairs were drawn by their ids"
    if without_response:
        yield f"{without_response:,} records have no response of either system and are not among the pairs"
    if settings.orders == "first":
        yield "each pair was judged in one order only, so that nothing is known of how far its verdicts depend on it"
    if len(used.models) > 1:
        yield "several models replied under the judge's name"
    for name in settings.may_differ:
        ours = candidate.condition.get(name, candidate.made.settings.get(name))
        theirs = baseline.condition.get(name, baseline.made.settings.get(name))
        if ours != theirs:
            yield f"the two differ in {name}: {ours} against {theirs}"
