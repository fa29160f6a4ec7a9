"""``alignx data validate``: are these records what they must be?"""

from collections import Counter

from alignx.errors import DataError
from alignx.prompts.settings import SourceSettings
from alignx.records import Record
from alignx.records.sources import NoRecordsError
from alignx.settings import setting

_EVERY = 10**9


class ValidateSettings(SourceSettings):
    """Check every record of a source and say what is wrong, and where.

    alignx data validate --data data/sample/train.jsonl
    """

    show: int = setting(10, "How many problems to show; all are counted.", ge=1)


def validate_source(settings: ValidateSettings) -> str:
    """Read everything, whatever is wrong with it.

    Returns:
        A summary of a source without problems.

    Raises:
        DataError: Some rows are invalid, more than ``skip_invalid``; the first few are shown, all are counted.
    """
    from tqdm import tqdm

    records = settings.model_copy(update={"skip_invalid": _EVERY}).records()
    present: Counter[str] = Counter()
    count = 0
    try:
        for record in tqdm(records, desc="validating", unit=" records", disable=None, leave=False):
            count += 1
            present.update(_parts(record))
    except NoRecordsError:
        if len(records.problems) <= settings.skip_invalid:
            raise
    except DataError as error:
        if not records.problems:
            raise
        records.problems.append(str(error))
    for problem in records.problems[: settings.show]:
        print(f"  {problem}")
    if len(records.problems) > settings.show:
        print(f"  … and {len(records.problems) - settings.show} more")
    for note in records.notes():
        if not note.startswith("skipped"):
            print(f"  note: {note}")
    if len(records.problems) > settings.skip_invalid:
        raise DataError(f"{settings.data}: {len(records.problems)} of {count + len(records.problems)} rows are invalid")
    parts = ", ".join(f"{name} {n}" for name, n in present.items())
    return f"{settings.data}: {count} valid records, {len(records.problems)} invalid rows; records with {parts}"


def _parts(record: Record) -> dict[str, int]:
    persona = record.persona
    return {
        "comments": int(bool(persona.comments)),
        "choices": int(bool(persona.choices)),
        "demographics": int(bool(persona.demographics)),
        "ready profile": int(persona.profile is not None),
        "own direction": int(record.direction is not None),
        "user": int(record.user is not None),
    }
