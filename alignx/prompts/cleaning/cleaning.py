"""``alignx data clean``: a source of records as JSON Lines, without what was named."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from alignx import manifest
from alignx.errors import DataError, SettingsError
from alignx.manifest import Manifest
from alignx.prompts.cleaning.rows import Rows
from alignx.prompts.cleaning.settings import CleanSettings, Drop
from alignx.prompts.reporting.health.refusals import EQUAL_RESPONSES, kind_of
from alignx.prompts.reporting.health.targets import Targets
from alignx.records import Record, RecordParser, Records, Taxonomy, load_taxonomy

_SPOILT = "no record any more"
"""Why a record is left out that cleaning made invalid, as when two responses differed in an address alone."""
_PROBLEMS = 5


def clean(settings: CleanSettings) -> str:
    """Write the cleaned records and a manifest, or only count; returns what was done, in a few lines.

    Raises:
        DataError: A row is invalid and was not named to be left out, a row cannot be written as JSON, or no record is
            left.
        SettingsError: The output is no ``.jsonl`` file, is what is read, or is something else than an earlier output.
    """
    _refuse_unsuitable(settings)
    rows = Rows(settings.drops, settings.redacted)
    copies = _copies(settings, rows)
    source = _Refusing(settings)
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        draft = settings.output.with_name(settings.output.name + ".tmp")
        stream: TextIO | None = None
        if not settings.dry_run:
            settings.output.parent.mkdir(parents=True, exist_ok=True)
            stack.callback(draft.unlink, missing_ok=True)
            stream = stack.enter_context(draft.open("w", encoding="utf-8", newline="\n"))
        for row in _cleaned(source, rows, copies, counts):
            if stream is not None:
                stream.write(_line(row, settings) + "\n")
        _check(settings, source, counts)
        if stream is not None:
            stream.close()
            _commit(settings, source, rows, counts, draft)
    return _summary(settings, source, rows, counts)


def _refuse_unsuitable(settings: CleanSettings) -> None:
    output = settings.output
    if output.suffix != ".jsonl":
        raise SettingsError(f"--output: got {output}, expected a .jsonl file")
    source = Path(settings.data)
    if source.exists() and output.exists() and output.samefile(source):
        raise SettingsError(f"--output: {output} is what is read; name another file")
    if output.exists():
        found = None if output.is_dir() else manifest.read_if_present(output)
        if found is None or found.kind != "cleaned":
            raise SettingsError(f"--output: {output} holds something else, expected a new file or an earlier output")
        if differences := found.model_copy(update={"settings": _said(found.settings)}).differences(
            found.model_copy(update={"settings": _said(settings.model_dump(mode="json"))}), ("settings",)
        ):
            raise SettingsError(
                f"--output: {output} was made otherwise, which differs in {'; '.join(differences)}; choose another "
                "--output, or delete it"
            )


def _said(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without those that change no row."""
    return {name: value for name, value in settings.items() if name not in ("dry_run", "output", "skip_invalid")}


class _Refusing(Records):
    """Records whose invalid rows are left out where that was asked for, else refused as by every command."""

    def __init__(self, settings: CleanSettings) -> None:
        super().__init__(
            settings.data,
            split=settings.split,
            limit=settings.limit,
            skip_invalid=settings.skip_invalid,
            taxonomy=load_taxonomy(settings.taxonomy),
        )
        self._drops = settings.drops

    def _reset(self) -> None:
        super()._reset()
        self.kinds: Counter[str] = Counter()

    @property
    def refused(self) -> int:
        """Rows that were left out because they are no record."""
        return self.kinds.total() + len(self.problems)

    def skip(self, error: DataError) -> None:
        kind = kind_of(str(error))
        if Drop.REFUSED in self._drops or (Drop.EQUAL_RESPONSES in self._drops and kind == EQUAL_RESPONSES):
            self.kinds[kind] += 1
            return
        try:
            super().skip(error)
        except DataError as stopped:
            narrow = "equal-responses or " if kind == EQUAL_RESPONSES else ""
            raise DataError(f"{stopped}; --drop {narrow}refused leaves such rows out") from None


def _copies(settings: CleanSettings, rows: Rows) -> NDArray[np.uint8] | None:
    """Of the records that stay for themselves, by number: 1 for a copy, 2 for a near one, else 0; None: not asked."""
    wanted = settings.drops & {Drop.DUPLICATES, Drop.NEAR_DUPLICATES}
    if not wanted:
        return None

    def staying(records: Iterable[Record]) -> Iterator[Record]:
        return (record for record in records if rows.reason_to_drop(record) is None)

    targets = Targets(near=Drop.NEAR_DUPLICATES in wanted)
    for record in staying(_shown(_Refusing(settings), "looking for copies")):
        targets.add(record)
    found = targets.copies(staying(_Refusing(settings)), _shown, shown=0)
    same = found.exact if Drop.DUPLICATES in wanted else np.zeros_like(found.exact)
    kinds: NDArray[np.uint8] = np.where(found.near, 2, same).astype(np.uint8)
    return kinds


def _shown(records: Iterable[Record], doing: str) -> Iterable[Record]:
    """Records with a bar that says how far their reading is."""
    from tqdm import tqdm

    shown: Iterable[Record] = tqdm(records, desc=doing, unit=" records", disable=None, leave=False)
    return shown


def _cleaned(
    source: _Refusing, rows: Rows, copies: NDArray[np.uint8] | None, counts: Counter[str]
) -> Iterator[dict[str, Any]]:
    """The rows that are left, as they are written; why others are not is counted."""
    from tqdm import tqdm

    number = 0
    taxonomy = source.taxonomy
    for record, raw in tqdm(source.with_rows(), desc="cleaning", unit=" records", disable=None, leave=False):
        counts["read"] += 1
        reason = rows.reason_to_drop(record)
        if reason is None and copies is not None:
            reason = (None, Drop.DUPLICATES, Drop.NEAR_DUPLICATES)[copies[number]]
            number += 1
        if reason is not None:
            counts[reason.value] += 1
            continue
        row, changed = rows.clean(record, raw)
        if changed and not _is_valid(row, taxonomy):
            counts[_SPOILT] += 1
            continue
        counts["written"] += 1
        yield row


def _is_valid(row: Mapping[str, Any], taxonomy: Taxonomy) -> bool:
    try:
        RecordParser(taxonomy).parse(row, "")
    except DataError:
        return False
    return True


def _line(row: Mapping[str, Any], settings: CleanSettings) -> str:
    try:
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
        line.encode()
    except UnicodeEncodeError:  # half a surrogate pair in a field that no prompt uses
        return json.dumps(row, separators=(",", ":"))
    except TypeError as error:
        raise DataError(f"{settings.data}: a field cannot be written as JSON: {error}") from error
    return line


def _check(settings: CleanSettings, source: _Refusing, counts: Counter[str]) -> None:
    """Everything that was read is accounted for, and something is left."""
    gone = sum(n for name, n in counts.items() if name not in ("read", "written"))
    if counts["read"] != counts["written"] + gone or counts["read"] != source.identity.records:
        raise RuntimeError(f"{counts['read']} records in, {counts['written']} out, {gone} left out")
    if not counts["written"]:
        raise DataError(f"{settings.data}: no record is left of {counts['read']}: {_list(_left_out(counts))}")


def _left_out(counts: Counter[str]) -> dict[str, int]:
    return {name: n for name, n in sorted(counts.items()) if n and name not in ("read", "written")}


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts.items())


def _commit(settings: CleanSettings, source: _Refusing, rows: Rows, counts: Counter[str], draft: Path) -> None:
    """Put the finished file in its place; its manifest, written last, says that it is whole."""
    output = settings.output
    digest = manifest.file_digest(draft)
    manifest.path_of(output).unlink(missing_ok=True)
    draft.replace(output)
    manifest.write(
        output,
        Manifest(
            kind="cleaned",
            data=source.identity.model_copy(update={"skipped": source.refused}),
            taxonomy=source.taxonomy.digest,
            settings=settings.model_dump(mode="json"),
            versions=manifest.versions(),
            counts={
                "records_read": counts["read"],
                "records_written": counts["written"],
                "records_left_out": _left_out(counts),
                "rows_refused": {**dict(sorted(source.kinds.items())), "skipped": len(source.problems)},
                "history_items_left_out": dict(sorted(rows.items.items())),
                "taken_out_of_texts": dict(sorted(rows.texts.items())),
                "ready_profiles_of_more_history": rows.profiles,
            },
            files={output.name: digest},
        ),
    )


def _summary(settings: CleanSettings, source: _Refusing, rows: Rows, counts: Counter[str]) -> str:
    to = f"would be written to {settings.output}" if settings.dry_run else f"written to {settings.output}"
    lines = [f"{counts['read'] + source.refused:,} rows read, {counts['written']:,} records {to}"]
    for what, found in (
        ("records left out", _left_out(counts)),
        ("rows refused and left out", dict(sorted(source.kinds.items()))),
        ("history items left out", dict(sorted(rows.items.items()))),
        ("taken out of texts", dict(sorted(rows.texts.items()))),
    ):
        if found:
            lines.append(f"  {what}: {_list(found)}")
    if source.problems:
        shown = "; ".join(source.problems[:_PROBLEMS])
        lines.append(f"  invalid rows skipped: {len(source.problems):,}, such as {shown}")
    if rows.profiles:
        lines.append(
            f"  note: {rows.profiles:,} records have a ready profile that was made before their history lost an item; "
            "--profile history makes one of what is left"
        )
    return "\n".join(lines)
