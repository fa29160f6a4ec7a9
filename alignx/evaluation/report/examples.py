"""Records in full: what each model was told, both responses, and which of them training moved it towards."""

from collections.abc import Sequence
from itertools import islice

from alignx import manifest
from alignx.errors import DataError
from alignx.evaluation.grid import Outcome, margins
from alignx.evaluation.grid_settings import EvaluateSettings
from alignx.pages import Block, Fold, Paragraph, Quote, literal
from alignx.prompts import Condition
from alignx.prompts.rendering import render
from alignx.prompts.telling import tell
from alignx.records import Record, Records, Taxonomy, load_taxonomy


def examples(settings: EvaluateSettings, outcomes: Sequence[Outcome]) -> list[Block]:
    """The first records of the first row, as each policy's first row was told them."""
    firsts = [next(o for o in outcomes if o.policy.name == policy.name) for policy in settings.policies]
    taxonomy = load_taxonomy(settings.taxonomy)
    records = Records(settings.find(firsts[0].cell.data), taxonomy=taxonomy)
    return [_example(record, firsts, taxonomy) for record in islice(records, settings.examples)]


def _example(record: Record, outcomes: Sequence[Outcome], taxonomy: Taxonomy) -> Fold:
    verdicts = [_verdict(record.id, outcome) for outcome in outcomes if record.id in outcome.scores]
    told = [Quote(f"What {o.policy.name} was told", _told(record, o, taxonomy)) for o in outcomes]
    responses = [Quote("This user's choice", record.chosen), Quote("The other response", record.rejected)]
    return Fold(f"Record {record.id}", [Paragraph(" ".join(verdicts)), *responses, *told])


def _verdict(name: str, outcome: Outcome) -> str:
    margin = margins({name: outcome.scores[name]}, outcome.reference)[name]
    side = "this user's choice" if margin > 0 else "the other response" if margin < 0 else "neither"
    return f"{literal(outcome.policy.name)} moved towards **{side}** ({margin:+.2f} nats)."


def _told(record: Record, outcome: Outcome, taxonomy: Taxonomy) -> str:
    """The user turn of the prompt, before any trimming."""
    condition = Condition.model_validate(_condition_of(outcome))
    return render(record, tell(record, condition, taxonomy), condition).user


def _condition_of(outcome: Outcome) -> dict[str, object]:
    found = manifest.read(outcome.file).condition
    if found is None:
        raise DataError(f"{outcome.file}: its manifest says no condition")
    return found
