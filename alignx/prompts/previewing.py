"""``alignx data preview``: what a model will be told about one record, and what was trimmed."""

from itertools import islice

from alignx.errors import DataError, SettingsError
from alignx.prompts.choice import choose_condition
from alignx.prompts.condition import PersonaSource
from alignx.prompts.encoding import Encoder, load_tokenizer
from alignx.prompts.pairs import fit
from alignx.prompts.rendering import render
from alignx.prompts.settings import ConditionSettings, SourceSettings
from alignx.prompts.telling import choose_donors, tell
from alignx.settings import setting


class PreviewSettings(ConditionSettings, SourceSettings):
    """Show what a model will be told about one record.

    alignx data preview --data data/sample/test.jsonl --row 3 --method pba --model out/tiny
    """

    row: int = setting(1, "Which record; the first is 1.", ge=1)
    model: str | None = setting(None, "Model whose tokenizer and chat template to use; without one, the turns as text.")
    revision: str | None = setting(None, "Of a hub id.")


def preview(settings: PreviewSettings) -> str:
    """The prompt and both responses of one record, as text, with token counts where a model is given.

    Raises:
        DataError: There is no such row, or it cannot be told under the condition.
        SettingsError: The method is missing.
    """
    if settings.method is None:
        raise SettingsError("--method is required: ica or pba")
    condition = choose_condition(settings.model, settings.wanted(), settings.revision).condition
    records = settings.records()
    record = next(islice(records, settings.row - 1, None), None)
    if record is None:
        raise DataError(f"{settings.data}: no row {settings.row}")
    donors = (
        choose_donors(list(settings.records()), condition.seed, condition.tell)
        if condition.persona is PersonaSource.OTHER
        else None
    )
    told = tell(record, condition, records.taxonomy, donors)
    rendered = render(record, told, condition)
    head = [*records.notes(), f"record {record.id} under {condition.method.upper()} in preset {condition.preset}"]
    if settings.model is None:
        turns = (rendered.instruction, rendered.user, record.chosen, record.rejected)
        names = ("system", "user", "chosen", "rejected")
        body = "\n".join(f"[{name}]\n{text}" for name, text in zip(names, turns, strict=True))
        return "\n".join([*head, "no --model, so turns as text, untrimmed", "", body])
    tokenizer = load_tokenizer(settings.model, settings.revision)
    encoder = Encoder(tokenizer, condition)
    chosen, rejected = encoder.responses([record.chosen, record.rejected])
    budget = condition.max_length - max(len(chosen), len(rejected))
    kept, prompt = fit(record, told, condition, encoder, encoder.prompt(rendered), budget)
    head.append(
        f"tokens: prompt {len(prompt)}, chosen {len(chosen)}, rejected {len(rejected)}; at most "
        f"{condition.max_length} together"
    )
    head.append(
        f"trimmed: {told.items - kept.items} of {told.items} history items, demographics "
        f"{'yes' if told.demographics != kept.demographics else 'no'}"
    )
    if told.profile_source is not None:
        head.append(f"profile: {told.profile_source.value}")
    shown = [
        f"[prompt]\n{tokenizer.decode(prompt)}",
        f"[chosen]\n{tokenizer.decode(chosen)}",
        f"[rejected]\n{tokenizer.decode(rejected)}",
    ]
    return "\n".join([*head, "", *shown])
