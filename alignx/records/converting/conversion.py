"""``alignx data convert``: rows of one's own users, as AlignX records for training and testing."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from alignx import manifest
from alignx.errors import DataError, SettingsError
from alignx.manifest import DataIdentity, Manifest
from alignx.records.converting.choosing import Choosing, choose, draw_test_users
from alignx.records.converting.gathering import Gathered, gather
from alignx.records.converting.rejection import Rejection
from alignx.records.converting.settings import ConversionSettings
from alignx.records.converting.statement import Statement, plain
from alignx.records.converting.telling import summary, tally
from alignx.records.folders import draft_of, refuse_foreign
from alignx.records.parsing import RecordParser
from alignx.records.taxonomy import load_taxonomy

FILES = ("train.jsonl", "test.jsonl", "rejected.jsonl")


def convert(settings: ConversionSettings) -> str:
    """Write the records, the rejected rows and a manifest; returns what became of the rows, in a few lines.

    All rows are held in memory: a user's may be anywhere in the files.

    Raises:
        DataError: A file or a column is not what it must be, no record comes out, there is one user for two splits, or
            more rows are rejected than ``max_rejected``.
        SettingsError: The folder holds something else, or the file that is read.
    """
    folder = settings.output
    refuse_foreign(folder, "converted", "an earlier conversion")
    _refuse_own_input(settings)
    if (done := _already(settings)) is not None:
        return done
    gathered = gather(settings)
    chosen = choose(gathered.statements, settings)
    rejections = sorted((*gathered.rejections, *chosen.rejections), key=lambda rejection: rejection.number)
    _refuse_too_few(settings, gathered, chosen, rejections)
    try:
        test_users = draw_test_users((target.user for target, _ in chosen.records), settings)
    except DataError as error:
        raise DataError(f"{error}{_said_of(rejections)}") from None
    with draft_of(folder) as draft:
        _write_records(draft, chosen, test_users)
        with (draft / "rejected.jsonl").open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(rejection.line() for rejection in rejections)
    counts = count(gathered, chosen, rejections, test_users)
    manifest.write(
        folder,
        Manifest(
            kind="converted",
            data=DataIdentity(
                source=", ".join(map(str, _inputs(settings))),
                digest=_digest(settings),
                records=gathered.rows,
                skipped=len(rejections),
            ),
            settings=_settings_of(settings),
            versions=manifest.versions(),
            counts=counts,
            files={name: manifest.file_digest(folder / name) for name in FILES},
        ),
    )
    return summary(settings, counts, rejections, gathered.unused)


def _refuse_own_input(settings: ConversionSettings) -> None:
    for flag, path in (("--data", settings.data), ("--comments", settings.comments)):
        if path is not None and settings.output.resolve() in path.resolve().parents:
            raise SettingsError(f"{flag}: {path} lies in the folder that --output fills, expected one outside it")


def _refuse_too_few(
    settings: ConversionSettings, gathered: Gathered, chosen: Choosing, rejections: Sequence[Rejection]
) -> None:
    """Stop where no record came out, or more rows were rejected than was allowed; say which, and one of each kind."""
    reasons = _reasons(rejections)
    if not chosen.records:
        raise DataError(f"{settings.data}: none of {gathered.rows} rows became a record: {reasons}")
    if settings.max_rejected is not None and len(rejections) > settings.max_rejected:
        raise DataError(
            f"{settings.data}: {len(rejections)} of {gathered.rows} rows are rejected, --max-rejected allows "
            f"{settings.max_rejected}: {reasons}"
        )


def _reasons(rejections: Sequence[Rejection]) -> str:
    return "; ".join(f"{times:,} {reason} ({problem})" for reason, times, problem in tally(rejections))


def _said_of(rejections: Sequence[Rejection]) -> str:
    """What became of rows that might have been of other users."""
    return f"; {len(rejections):,} rows were rejected: {_reasons(rejections)}" if rejections else ""


def _write_records(folder: Path, chosen: Choosing, test_users: set[str]) -> None:
    """Write each record to its user's split, as the reader of records takes it."""
    parser = RecordParser(load_taxonomy())
    with (
        (folder / "train.jsonl").open("w", encoding="utf-8", newline="\n") as train,
        (folder / "test.jsonl").open("w", encoding="utf-8", newline="\n") as test,
    ):
        for target, history in chosen.records:
            row = chosen.row(target, history)
            parser.parse(row, target.where)
            stream = test if target.user in test_users else train
            stream.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")


def count(
    gathered: Gathered, chosen: Choosing, rejections: Sequence[Rejection], test_users: set[str]
) -> dict[str, Any]:
    """Everything that was counted, for the manifest and the summary.

    Raises:
        RuntimeError: A row is neither in a record nor rejected, or both; that would be a defect.
    """
    targets = [target for target, _ in chosen.records]
    split = {
        "train": [one for one in targets if one.user not in test_users],
        "test": [one for one in targets if one.user in test_users],
    }
    if gathered.rows != len(targets) + chosen.comments + len(rejections):
        raise RuntimeError(
            f"{gathered.rows} rows in, {len(targets)} records, {chosen.comments} comments, {len(rejections)} rejected"
        )
    trained = {one.pair for one in split["train"]}
    return {
        "rows": gathered.rows,
        "records": {name: len(ones) for name, ones in split.items()},
        "users": {name: len({one.user for one in ones}) for name, ones in split.items()},
        "comments": chosen.comments,
        "rejected": dict(sorted(Counter(rejection.reason.value for rejection in rejections).items())),
        "history_items_left_out": sum(history.left_out for _, history in chosen.records),
        "without_history": sum(not history.rows for _, history in chosen.records),
        "turned_round": _turned_round(targets),
        "test_pairs_seen_in_training": sum(one.pair in trained for one in split["test"]),
    }


def _turned_round(targets: Iterable[Statement]) -> int:
    """Records whose user also chose the other way round between the same two responses."""
    ways: defaultdict[tuple[str, tuple[str, frozenset[str]]], list[str]] = defaultdict(list)
    for one in targets:
        ways[one.user, one.pair].append(plain(one.chosen or ""))
    return sum(len(chosen) for chosen in ways.values() if len(set(chosen)) > 1)


def _inputs(settings: ConversionSettings) -> list[Path]:
    return [path for path in (settings.data, settings.comments) if path is not None]


def _digest(settings: ConversionSettings) -> str:
    """Of the files that are read, by their bytes."""
    return manifest.digest(*(manifest.file_digest(path) for path in _inputs(settings) if path.is_file()))


def _settings_of(settings: ConversionSettings) -> dict[str, Any]:
    """What decides what comes out, the files aside."""
    return settings.model_dump(mode="json", exclude={"output", "data", "comments", "max_rejected"})


def _already(settings: ConversionSettings) -> str | None:
    """What to say if these files have been converted so; None if they have not.

    Raises:
        DataError: The folder holds the records of other rows, or of these rows converted otherwise: users of its test
            records might be trained on.
    """
    found = manifest.read_if_present(settings.output)
    if found is None or found.data is None:
        return None
    data = found.data.model_copy(update={"digest": _digest(settings)})
    wanted = found.model_copy(update={"data": data, "settings": _settings_of(settings)})
    if differences := found.differences(wanted, ("data.digest", "settings")):
        raise DataError(
            f"{settings.output}: holds an earlier conversion, which differs in {'; '.join(differences)}; choose "
            "another --output, or delete it"
        )
    if not manifest.is_intact(settings.output, found):
        return None
    total = sum(found.counts["records"].values())
    return f"{settings.output}: these rows are converted already, {total} records; nothing to do"
