"""What both checks of a judge do: pairs of known truth are judged, and a report is made of the replies."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from alignx import manifest, pages
from alignx.chat.asking import Tally
from alignx.chat.question import Ask
from alignx.chat.replies import Replies
from alignx.errors import DataError, ModelError, PartialError
from alignx.judging.check_page import Asked, about_judge
from alignx.judging.check_settings import CheckSettings
from alignx.judging.inquiry import ASKING_ALONE, PAIRS, VERDICTS, Inquiry
from alignx.judging.judge import Distinct, Judge
from alignx.judging.outcomes import Outcome, to_lines
from alignx.judging.pairs import Pair
from alignx.judging.questions import prompt_digest
from alignx.judging.verdicts import Used, write_verdicts
from alignx.manifest import DataIdentity, Manifest
from alignx.pages import Page
from alignx.records import load_taxonomy

KIND: Final = "judge-check"
_IDENTITY: Final = ("kind", "data.digest", "taxonomy", "settings")
_READ_ANEW: Final = ("least_coverage", "margin")
"""Settings of what is made of the replies: with others, the report is made anew of them and nobody is asked."""


@dataclass(frozen=True)
class Part:
    """Pairs that are judged in one way."""

    judge: Judge
    pairs: Sequence[Pair]
    verdicts: str = VERDICTS
    """Name of the file with a line for each request."""


@dataclass(frozen=True)
class Report:
    """What a check found."""

    page: Page
    numbers: Mapping[str, Any]
    """For JSON."""
    said: Sequence[str]
    """For the terminal, a line each."""
    coverage: float
    """Share of what there was to judge that was judged."""
    problems: Mapping[str, int] = field(default_factory=dict)
    """Why the rest was not."""
    failed: str = ""
    """What the judge did that it must not do; empty where it did nothing of the kind."""
    undecided: str = ""
    """What could not be told."""


Make = Callable[[list[list[Outcome]], Asked], Report]
"""From the outcomes of each part to the report; it asks nobody."""


def draft_of(settings: CheckSettings, data: DataIdentity, check: str, **more: Any) -> Manifest:
    """The manifest of a check, as far as it is known before anybody is asked.

    Args:
        settings: Of the command.
        data: Which records.
        check: What the check is called.
        more: What else decides the numbers.
    """
    return Manifest(
        kind=KIND,
        data=data,
        taxonomy=load_taxonomy(settings.taxonomy).digest,
        settings={
            **settings.model_dump(mode="json", exclude={*ASKING_ALONE}),
            "judge_persona": sorted(settings.judge_persona),
            "prompt": prompt_digest(),
            "check": check,
            **more,
        },
        versions=manifest.versions("openai", "scipy"),
    )


class Check:
    """One start of a check."""

    def __init__(self, settings: CheckSettings, parts: Sequence[Part], draft: Manifest, make: Make) -> None:
        """Nobody is asked yet.

        Args:
            settings: Of the command.
            parts: What is judged.
            draft: What :func:`draft_of` returns; the report has the name of its check.
            make: Makes the report.
        """
        self.settings, self.parts, self.draft, self.make = settings, parts, draft, make
        self.output = settings.output
        self.inquiry = Inquiry(settings, settings.output, reparse=settings.reparse)
        self.stem = str(draft.settings["check"])

    def run(self, head: str) -> str:
        """Do what the settings say.

        Args:
            head: What a dry run says first.

        Returns:
            What came of it, in a few lines.

        Raises:
            ApiError: The server cannot be asked at all.
            DataError: The output holds something else, or there are no replies to make it anew of.
            ModelError: The judge fails the check.
            PartialError: Too little was judged, or the money that was allowed is spent; what is there is kept.
        """
        if self.settings.dry_run:
            return f"{head}\n{self.inquiry.estimate(self._asks)}"
        if (done := self._finished()) is not None:
            return done
        return self.inquiry.report(lambda: self._asks, self._report)

    @cached_property
    def _asks(self) -> list[Ask]:
        """Each request once."""
        return [one for part in self.parts for one in Distinct(part.judge, part.pairs)]

    def _report(self, replies: Replies, tally: Tally) -> str:
        """Everything that is made of the replies; nobody is asked any more."""
        used = Used()
        manifest.path_of(self.output).unlink(missing_ok=True)
        outcomes = [
            write_verdicts(self.output / part.verdicts, part.judge, part.pairs, replies, used) for part in self.parts
        ]
        manifest.write_text(self.output / PAIRS, to_lines(one for part in outcomes for one in part))
        about = about_judge(self.settings, used, self.inquiry.price, self.inquiry.known_of_model())
        found = self.make(outcomes, about)
        text = json.dumps({"about": about.as_dict(), **found.numbers}, indent=2, ensure_ascii=False)
        manifest.write_text(self.output / f"{self.stem}.json", text + "\n")
        written = pages.write(found.page, self.output, self.stem)
        names = [PAIRS, *(part.verdicts for part in self.parts), f"{self.stem}.json"]
        names += [path.relative_to(self.output).as_posix() for path in written]
        counts = {
            "may_be_judged": sum(not call.verdict for part in outcomes for one in part for call in one.calls),
            "coverage": found.coverage,
            "failed": found.failed,
            "undecided": found.undecided,
            **self.inquiry.counts(replies, tally),
        }
        files = {name: manifest.file_digest(self.output / name) for name in names}
        manifest.write(self.output, self.draft.model_copy(update={"counts": counts, "files": files}))
        said = [*found.said, *self.inquiry.spending(replies, tally), f"report: {self.output / self.stem}.html"]
        return self._leave("\n".join(said), found.failed, found.undecided or self._too_few(found))

    def _too_few(self, found: Report) -> str:
        """That less was judged than was to be; empty where enough was."""
        if found.coverage >= self.settings.least_coverage:
            return ""
        shown = "; ".join(f"{count:,} × {reason}" for reason, count in list(found.problems.items())[:3])
        return (
            f"{100 * found.coverage:.1f} % is judged, less than --least-coverage {self.settings.least_coverage:g}: "
            f"{shown}. The same command asks for the rest again"
        )

    def _leave(self, text: str, failed: str, undecided: str) -> str:
        """What came of it, as an exit code says it too.

        Raises:
            ModelError: The judge fails.
            PartialError: It cannot be told.
        """
        if failed:
            raise ModelError(f"{text}\n{failed}")
        if undecided:
            raise PartialError(f"{text}\n{undecided}")
        return text

    def _finished(self) -> str | None:
        """What to say if the output is complete already; None if there is something to do.

        Raises:
            DataError: It is something else.
            ModelError: It is complete, and the judge failed.
            PartialError: It is complete, and could not be told.
        """
        found = manifest.read_if_present(self.output)
        if found is None:
            self.inquiry.refuse_foreign()
            return None
        anew = {name: self.draft.settings[name] for name in _READ_ANEW if name in self.draft.settings}
        made = found.model_copy(update={"settings": {**found.settings, **anew}})
        if differences := made.differences(self.draft, _IDENTITY):
            raise DataError(
                f"{self.output}: holds another check or comparison, which differs in {'; '.join(differences)}; choose "
                f"another --output; with --replies {self.inquiry.path} nothing is asked twice there"
            )
        as_wanted = found.settings == self.draft.settings and manifest.is_intact(self.output, found)
        if self.settings.reparse or not as_wanted or found.counts["may_be_judged"]:
            return None
        text = f"{self.output}: complete already; the report is {self.output / self.stem}.html; nothing to do"
        return self._leave(text, found.counts["failed"], found.counts["undecided"])
