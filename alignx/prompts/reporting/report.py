"""``alignx data report``: everything counted or suspected about a source of records, in one place."""

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

from alignx import manifest
from alignx.errors import SettingsError
from alignx.manifest import Manifest
from alignx.pages import write
from alignx.prompts.reporting.health import Health
from alignx.prompts.reporting.lengths import Lengths
from alignx.prompts.reporting.page import for_a_terminal, report_page
from alignx.prompts.reporting.settings import ReportSettings
from alignx.records import Records


def report(settings: ReportSettings) -> str:
    """Read everything once and describe it, as Markdown; write the pages where an output is asked for.

    Raises:
        DataError: Records are invalid.
        SettingsError: ``output`` is no JSON file.
    """
    if settings.output is not None:
        if settings.output.suffix != ".json":
            raise SettingsError(f"--output: got {settings.output}, expected a .json file; the pages go beside it")
        import jinja2  # noqa: F401  (what the page needs is missed now, not after an hour of reading)
        import matplotlib  # noqa: F401
    records = settings.records()
    found = _read(settings, records)
    if settings.output is not None:
        _write(settings.output, settings, records, found)
    return for_a_terminal(report_page(settings.data, found))


def _read(settings: ReportSettings, records: Records) -> dict[str, Any]:
    from tqdm import tqdm

    from alignx.prompts.reporting.analysis import analyse
    from alignx.prompts.reporting.directions import DirectionCounts

    health, lengths = Health(), Lengths(settings, records.taxonomy)
    targets, items = DirectionCounts(records.taxonomy), DirectionCounts(records.taxonomy)
    for record in tqdm(records, desc="reading", unit=" records", disable=None, leave=False):
        health.add(record)
        lengths.add(record)
        if record.direction is not None:
            targets.add(record.direction)
        for item in (*record.persona.comments, *record.persona.choices):
            if item.direction is not None:
                items.add(item.direction)
    return {
        **health.as_dict(),
        "lengths": lengths.summary(),
        "notes": records.notes(),
        "directions": {
            "targets": analyse(targets, records.taxonomy),
            "history_items": analyse(items, records.taxonomy),
        },
    }


def _write(output: Path, settings: ReportSettings, records: Records, found: dict[str, Any]) -> None:
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
