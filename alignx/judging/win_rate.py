"""``eval/win_rate.py``: two files of responses in, a report out."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from alignx import manifest, pages
from alignx.chat.asking import Tally
from alignx.chat.replies import Replies
from alignx.errors import DataError, PartialError
from alignx.evaluation.published import Published, published
from alignx.judging.describing import describe
from alignx.judging.expecting import expected_half_widths
from alignx.judging.inquiry import ASKING_ALONE, PAIRS, VERDICTS, Inquiry
from alignx.judging.judge import NOTHING_KNOWN, Distinct, Judge
from alignx.judging.outcomes import Outcome, to_lines
from alignx.judging.page import percent, win_rate_page
from alignx.judging.pairs import Pair, System, draw, join, read_system, refuse_other_data, refuse_unlike
from alignx.judging.questions import prompt_digest
from alignx.judging.rates import Bounds, Measured, measure
from alignx.judging.settings import WinRateSettings
from alignx.judging.verdicts import Used, write_verdicts
from alignx.manifest import Manifest
from alignx.records import load_taxonomy

REPORT: Final = "win-rate"
_IDENTITY: Final = ("kind", "data.digest", "taxonomy", "settings")
_CHANGES_NOTHING: Final = {*ASKING_ALONE, "baseline", "candidate", "may_differ"}
_NOT_ASKED: Final = (
    "Nobody can be asked about these: choose another --judge-persona, or records that say something of the user"
)
_READ_ANEW: Final = ("benchmark", "least_coverage", "published")
"""Settings of what is made of the replies: with others, the report is made anew of them and nobody is asked."""


def win_rate(settings: WinRateSettings) -> str:
    """Judge two systems' responses; returns what came of it, in a few lines.

    Raises:
        ApiError: The server cannot be asked at all.
        DataError: The files do not belong together, or the output holds something else.
        PartialError: Too few pairs could be judged, or the money that was allowed is spent; what is there is kept.
        SettingsError: The address, the key or the published row cannot be used.
    """
    return _Run(settings).run()


@dataclass(frozen=True)
class _Work:
    """What there is to judge."""

    candidate: System
    baseline: System
    pairs: list[Pair]
    without_response: int
    """Records of which neither system has a response."""
    draft: Manifest


class _Run:
    """One start of the command."""

    def __init__(self, settings: WinRateSettings) -> None:
        self.settings = settings
        self.output = settings.output
        self.inquiry = Inquiry(settings, settings.output, reparse=settings.reparse)
        self.judge = Judge.of(settings)
        self.published: Published | None = _published(settings)

    def run(self) -> str:
        work = self._read()
        if self.settings.dry_run:
            return self._estimate(work)
        if (done := self._finished(work.draft)) is not None:
            return done
        return self.inquiry.report(
            lambda: Distinct(self.judge, work.pairs), lambda replies, tally: self._report(work, replies, tally)
        )

    def _read(self) -> _Work:
        settings = self.settings
        candidate, baseline = read_system(settings.candidate), read_system(settings.baseline)
        refuse_unlike(candidate, baseline, settings.may_differ)
        records, taxonomy = settings.records(), load_taxonomy(settings.taxonomy)
        pairs = join(records, candidate.responses, baseline.responses, settings.judge_persona, taxonomy)
        for line in records.notes():
            print(line, file=sys.stderr, flush=True)
        for system in (candidate, baseline):
            refuse_other_data(system, records.identity)
        draft = Manifest(
            kind="win-rate",
            data=records.identity,
            taxonomy=taxonomy.digest,
            settings={
                **settings.model_dump(mode="json", exclude=_CHANGES_NOTHING),
                "judge_persona": sorted(settings.judge_persona),
                "prompt": prompt_digest(),
                "candidate": candidate.digest,
                "baseline": baseline.digest,
            },
            versions=manifest.versions("openai", "scipy"),
        )
        without = records.identity.records - len(pairs)
        return _Work(candidate, baseline, draw(pairs, settings.pairs), without, draft)

    def _estimate(self, work: _Work) -> str:
        clusters = [pair.cluster for pair in work.pairs]
        alone, alike = expected_half_widths(clusters)
        ready = sum(not self.judge.shown_first(pair) for pair in work.pairs)
        same = f", {ready:,} of them without asking" if ready else ""
        head = (
            f"{len(work.pairs):,} pairs to judge{same}; {len(set(clusters)):,} clusters\n"
            f"95 % interval to expect of a win rate near 50 % without ties: ± {percent(alone)} points, "
            f"± {percent(alike)} if all pairs of a user end alike"
        )
        return f"{head}\n{self.inquiry.estimate(Distinct(self.judge, work.pairs))}"

    def _report(self, work: _Work, replies: Replies, tally: Tally) -> str:
        """Everything that is made of the replies; nobody is asked any more."""
        used = Used()
        manifest.path_of(self.output).unlink(missing_ok=True)
        outcomes = write_verdicts(self.output / VERDICTS, self.judge, work.pairs, replies, used)
        manifest.write_text(self.output / PAIRS, to_lines(outcomes))
        found = measure(outcomes)
        self._write_pages(work, found, outcomes, used)
        update: dict[str, Any] = {
            "pairs": found.overall.as_dict(),
            "may_be_judged": sum(one.verdict is None and bool(one.calls) for one in outcomes),
            "candidate": str(work.candidate.path),
            "baseline": str(work.baseline.path),
            "systems": {"candidate": work.candidate.identity, "baseline": work.baseline.identity},
            "records_without_response": work.without_response,
            **self.inquiry.counts(replies, tally),
        }
        names = [PAIRS, VERDICTS, *(f"{REPORT}.{kind}" for kind in ("json", "md", "html"))]
        names += sorted(f"figures/{path.name}" for path in (self.output / "figures").glob("*.svg"))
        files = {name: manifest.file_digest(self.output / name) for name in names}
        manifest.write(self.output, work.draft.model_copy(update={"counts": update, "files": files}))
        return self._summary(found, replies, tally)

    def _write_pages(self, work: _Work, found: Measured, outcomes: list[Outcome], used: Used) -> None:
        about = describe(
            self.settings,
            (work.candidate, work.baseline),
            outcomes,
            used,
            self.inquiry.price,
            self.inquiry.known_of_model(),
            self.published,
            work.without_response,
        )
        text = json.dumps({"about": about.as_dict(), **found.as_dict()}, indent=2, ensure_ascii=False)
        manifest.write_text(self.output / f"{REPORT}.json", text + "\n")
        for old in (self.output / "figures").glob("*.svg"):
            old.unlink()
        pages.write(win_rate_page(found, about), self.output, REPORT)

    def _finished(self, wanted: Manifest) -> str | None:
        """What to say if the output is complete already; None if there is something to do.

        Raises:
            DataError: It is something else.
            PartialError: It is complete, and too few pairs could be judged.
        """
        found = manifest.read_if_present(self.output)
        if found is None:
            self.inquiry.refuse_foreign()
            return None
        if found.kind != wanted.kind:
            raise DataError(
                f"{self.output}: holds {found.kind!r}, expected 'win-rate' or nothing; choose another --output"
            )
        anew = {name: wanted.settings[name] for name in _READ_ANEW}
        made = found.model_copy(update={"settings": {**found.settings, **anew}})
        if differences := made.differences(wanted, _IDENTITY):
            raise DataError(
                f"{self.output}: holds another comparison, which differs in {'; '.join(differences)}; choose another "
                f"--output; with --replies {self.inquiry.path} nothing is asked twice there"
            )
        as_wanted = found.settings == wanted.settings and manifest.is_intact(self.output, found)
        if self.settings.reparse or not as_wanted or found.counts["may_be_judged"]:
            return None
        text = f"{self.output}: complete already; the report is {self.output / REPORT}.html; nothing to do"
        counted = found.counts["pairs"]
        if counted["coverage"] >= self.settings.least_coverage:
            return text
        raise PartialError(f"{text}\n{self._too_few(counted['unjudged'], counted['pairs'])}. {_NOT_ASKED}")

    def _summary(self, found: Measured, replies: Replies, tally: Tally) -> str:
        """What came of it.

        Raises:
            PartialError: Too few pairs are judged.
        """
        text = "\n".join(
            [*_in_words(found), *self.inquiry.spending(replies, tally), f"report: {self.output / REPORT}.html"]
        )
        overall = found.overall
        if overall.coverage >= self.settings.least_coverage:
            return text
        shown = "; ".join(f"{count:,} × {reason}" for reason, count in list(found.problems.items())[:3])
        hint = "The same command asks for them again" if {*found.problems} - {NOTHING_KNOWN} else _NOT_ASKED
        raise PartialError(f"{text}\n{self._too_few(overall.unjudged, overall.pairs)}: {shown}. {hint}")

    def _too_few(self, unjudged: int, pairs: int) -> str:
        least = f"more than --least-coverage {self.settings.least_coverage:g} allows"
        return f"{unjudged:,} of {pairs:,} pairs are unjudged, {least}"


def _in_words(found: Measured) -> Iterator[str]:
    overall = found.overall
    yield (
        f"{overall.pairs:,} pairs: {overall.wins:,} won, {overall.ties:,} tied, {overall.losses:,} lost, "
        f"{overall.unjudged:,} unjudged"
    )
    yield f"win rate, ties as half: {overall.win_rate or 'nothing was judged'}{_within(overall.win_rate_bounds)}"
    yield f"win rate without ties: {overall.decided or 'nothing was decided'}{_within(overall.decided_bounds)}"
    if found.consistency is not None:
        yield f"the judge says the same in both orders: {found.consistency}"
    if found.first_position is not None:
        yield f"the judge names the response shown first: {found.first_position}"


def _within(bounds: Bounds | None) -> str:
    if bounds is None or bounds.worst == bounds.best:
        return ""
    return f"; {percent(bounds.worst)} to {percent(bounds.best)} % with the unjudged"


def _published(settings: WinRateSettings) -> Published | None:
    """The figure to print beside.

    Raises:
        SettingsError: No such row is published.
    """
    if not settings.published:
        return None
    return published(table=4, model=settings.published, benchmark=settings.benchmark, metric="win rate")
