"""``alignx data report``: everything counted or suspected about a source of records, in one place."""

import json
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alignx import manifest
from alignx.errors import DataError, SettingsError
from alignx.manifest import Manifest
from alignx.pages import write
from alignx.prompts.reporting.contents import Contents
from alignx.prompts.reporting.health.checks import Checks
from alignx.prompts.reporting.health.fields import directions_of
from alignx.prompts.reporting.health.finding import Commands
from alignx.prompts.reporting.health.refusals import AllRows, refusal_finding
from alignx.prompts.reporting.lengths import Lengths
from alignx.prompts.reporting.page import for_a_terminal, report_page
from alignx.prompts.reporting.settings import ReportSettings
from alignx.records import Record, load_taxonomy
from alignx.records.sources import NoRecordsError


def report(settings: ReportSettings) -> str:
    """Read everything and describe it, as Markdown; write the pages where an output is asked for.

    The source is read once, and up to its last repeated target once more where targets seem to repeat.

    Raises:
        DataError: There is no valid record at all, or a file cannot be read.
        SettingsError: ``output`` is no JSON file.
    """
    if settings.output is not None:
        if settings.output.suffix != ".json":
            raise SettingsError(f"--output: got {settings.output}, expected a .json file; the pages go beside it")
        import jinja2  # noqa: F401  (what the page needs is missed now, not after an hour of reading)
        import matplotlib  # noqa: F401
    import scipy.special  # noqa: F401  (intervals)

    records = _source(settings)
    found = _read(settings, records)
    if settings.output is not None:
        _write(settings.output, settings, records, found)
    return for_a_terminal(report_page(settings.data, found))


def _source(settings: ReportSettings) -> AllRows:
    taxonomy = load_taxonomy(settings.taxonomy)
    return AllRows(settings.data, split=settings.split, limit=settings.limit, taxonomy=taxonomy)


def _read(settings: ReportSettings, records: AllRows) -> dict[str, Any]:
    from alignx.prompts.reporting.analysis import analyse
    from alignx.prompts.reporting.directions import DirectionCounts

    contents, lengths = Contents(), Lengths(settings, records.taxonomy)
    checks = Checks(records.taxonomy, lengths.control_tokens)
    targets, items = DirectionCounts(records.taxonomy), DirectionCounts(records.taxonomy)
    try:
        for record in _shown(records, "reading"):
            contents.add(record)
            checks.add(record)
            lengths.add(record)
            if record.direction is not None:
                targets.add(record.direction)
            for direction in directions_of([*record.persona.comments, *record.persona.choices]):
                items.add(direction)
    except NoRecordsError:
        if not records.refused.n:
            raise
        tally = ", ".join(f"{n} with {kind}" for kind, n in records.kinds.most_common())
        first = records.refused.examples[0]
        raise DataError(
            f"{settings.data}: none of {records.refused.n} rows is a valid record: {tally}; the first, {first.id}: "
            f"{first.what}"
        ) from None
    commands = Commands(settings)
    refused = refusal_finding(records, commands)
    copies = checks.copies(_source(settings), _shown)
    return {
        **contents.as_dict(),
        "users": checks.users(),
        "distinct_targets": copies.distinct,
        "repeated_targets": copies.repeated,
        "most_repeated_target": copies.most,
        "health": [finding.as_dict() for finding in checks.findings(copies, refused, commands)],
        "lengths": lengths.summary(),
        "notes": records.notes(),
        "directions": {
            "targets": analyse(targets, records.taxonomy),
            "history_items": analyse(items, records.taxonomy),
        },
    }


def _shown(records: Iterable[Record], doing: str) -> Iterable[Record]:
    """Records with a bar that says how far their reading is."""
    from tqdm import tqdm

    shown: Iterable[Record] = tqdm(records, desc=doing, unit=" records", disable=None, leave=False)
    return shown


def _write(output: Path, settings: ReportSettings, records: AllRows, found: dict[str, Any]) -> None:
    manifest.write_text(output, _json(found))
    paths = [output, *write(report_page(settings.data, found, _figures(output)), output.parent, output.stem)]
    manifest.write(
        output,
        Manifest(
            kind="data-report",
            data=records.identity,
            taxonomy=records.taxonomy.digest,
            settings=settings.model_dump(mode="json"),
            versions=manifest.versions("tokenizers"),
            files={path.relative_to(output.parent).as_posix(): manifest.file_digest(path) for path in paths},
        ),
    )


def _json(found: dict[str, Any]) -> str:
    """Indented, but a row of numbers on one line: a line break within brackets that hold no text is between numbers."""
    text = json.dumps(found, indent=2, ensure_ascii=False)
    return re.sub(r"\[\n[^\[\]{}\"]*\]", lambda row: re.sub(r"\s+", " ", row[0]), text) + "\n"


def _figures(output: Path) -> str:
    """What the names of an output's figures begin with, so that the reports of one folder keep theirs apart."""
    ascii_only = unicodedata.normalize("NFKD", output.stem).encode("ascii", "ignore").decode().lower()
    return "-".join(re.findall("[a-z0-9]+", ascii_only))
