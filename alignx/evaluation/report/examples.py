"""Records in full: what each model was told, both responses, and which of them training moved it towards."""

from collections.abc import Sequence
from itertools import islice

from alignx import manifest
from alignx.errors import DataError
from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.evaluation.outcomes import Outcome, margins
from alignx.pages import Block, Fold, Paragraph, Quote, literal
from alignx.prompts import Condition
from alignx.prompts.condition import PersonaSource
from alignx.prompts.rendering import render
from alignx.prompts.telling import choose_donors, tell
from alignx.records import Record, Records, load_taxonomy

INTRODUCTION = (
    "The first records, with the user turn of each prompt; the instruction before it is the same for all. A positive "
    "number says by how many nats training moved the model towards this user's choice, relative to the other response."
)


def examples(settings: EvaluateSettings, outcomes: Sequence[Outcome]) -> list[Block]:
    """The first records of the first row, as each policy's first row was told them."""
    if not settings.examples:
        return []
    firsts = list({o.policy.name: o for o in reversed(outcomes)}.values())[::-1]
    readers = [_Reader(settings, outcome) for outcome in firsts]
    shown = islice(readers[0].records.values(), settings.examples)
    return [_example(record, readers) for record in shown]


class _Reader:
    """What a policy was told in one row."""

    def __init__(self, settings: EvaluateSettings, outcome: Outcome) -> None:
        self.outcome = outcome
        self._taxonomy = load_taxonomy(settings.taxonomy)
        read = Records(settings.find(outcome.cell.data), limit=settings.limit, taxonomy=self._taxonomy)
        self.records = {record.id: record for record in read}
        self._condition = Condition.model_validate(_condition_of(outcome))
        other = self._condition.persona is PersonaSource.OTHER
        self._donors = (
            choose_donors(list(self.records.values()), self._condition.seed, self._condition.tell) if other else None
        )

    def told(self, name: str) -> str:
        """The user turn of a record's prompt, before any trimming."""
        record = self.records[name]
        told = tell(record, self._condition, self._taxonomy, self._donors)
        return render(record, told, self._condition).user


def _example(record: Record, readers: Sequence[_Reader]) -> Fold:
    mine = [reader for reader in readers if record.id in reader.records]
    verdicts = [_verdict(record.id, reader.outcome) for reader in mine]
    told = [Quote(f"What {reader.outcome.policy.name} was told", reader.told(record.id)) for reader in mine]
    responses = [Quote("This user's choice", record.chosen), Quote("The other response", record.rejected)]
    return Fold(f"Record {record.id}", [Paragraph(" ".join(verdicts)), *responses, *told])


def _verdict(name: str, outcome: Outcome) -> str:
    margin = margins({name: outcome.scores[name]}, outcome.reference)[name]
    side = "this user's choice" if margin > 0 else "the other response" if margin < 0 else "neither"
    return f"{literal(outcome.policy.name)} moved towards **{side}** ({margin:+.2f} nats)."


def _condition_of(outcome: Outcome) -> dict[str, object]:
    found = manifest.read(outcome.file).condition
    if found is None:
        raise DataError(f"{outcome.file}: its manifest says no condition")
    return found
