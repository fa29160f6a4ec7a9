"""All checks of a report, fed a record at a time and asked at the end."""

from collections.abc import Iterable
from itertools import chain

from alignx.prompts.reporting.health.agreement import Agreement
from alignx.prompts.reporting.health.asymmetry import Asymmetries
from alignx.prompts.reporting.health.columns import Names
from alignx.prompts.reporting.health.control import ControlTokens
from alignx.prompts.reporting.health.fields import texts_of
from alignx.prompts.reporting.health.finding import Commands, Finding
from alignx.prompts.reporting.health.histories import Histories
from alignx.prompts.reporting.health.languages import Languages
from alignx.prompts.reporting.health.oddities import Oddities
from alignx.prompts.reporting.health.profiles import EmptyProfiles
from alignx.prompts.reporting.health.reaching import Reaching
from alignx.prompts.reporting.health.sampling import number_of
from alignx.prompts.reporting.health.targets import Copies, Progress, Targets, findings
from alignx.records import Record, Taxonomy


class Checks:
    """What is looked for in records; about 80 bytes of memory a record, and some bounded samples."""

    def __init__(self, taxonomy: Taxonomy, control_tokens: Iterable[str] = ()) -> None:
        """Start with nothing seen.

        Args:
            taxonomy: The preference dimensions.
            control_tokens: Those of the model that the records are for, besides the well-known ones.
        """
        self._n = 0
        self._users = Names()
        self._targets = Targets()
        self._histories = Histories()
        self._asymmetries = Asymmetries()
        self._agreement = Agreement(taxonomy)
        self._profiles = EmptyProfiles(taxonomy)
        self._control = ControlTokens(control_tokens)
        self._languages = Languages()
        self._reaching = Reaching()
        self._oddities = Oddities()

    def add(self, record: Record) -> None:
        """Look at one record."""
        self._n += 1
        if record.user is not None:
            self._users.add(number_of(record.user))
        for check in (self._targets, self._histories, self._asymmetries, self._agreement, self._profiles):
            check.add(record)
        texts = list(texts_of(record))
        everything = "\n".join([text for _, text in texts])
        for of_texts in (self._control, self._reaching, self._oddities):
            of_texts.add(record.id, texts, everything)
        self._languages.add(record.id, texts)

    def users(self) -> int:
        """How many users are named."""
        return self._users.different()

    def copies(self, records: Iterable[Record], progress: Progress) -> Copies:
        """Which records repeat a target; reads them once more if some may."""
        return self._targets.copies(records, progress)

    def findings(self, copies: Copies, refused: Finding, commands: Commands) -> list[Finding]:
        """Every check's finding, in the order of the page; a check that found nothing to look at is left out.

        Args:
            copies: What :meth:`copies` said.
            refused: What is said of rows that are no records.
            commands: Of the source.
        """
        found: Iterable[Finding | None] = chain(
            [refused],
            findings(copies, commands),
            self._histories.findings(self._n, commands),
            [
                self._asymmetries.finding(commands),
                self._agreement.finding(commands),
                self._profiles.finding(commands),
                self._control.finding(self._n, commands),
            ],
            self._reaching.findings(self._n, commands),
            self._oddities.findings(self._n, commands),
            [self._languages.finding(commands)],
        )
        return [finding for finding in found if finding is not None]
