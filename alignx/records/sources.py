"""Records from where they are: a hub id, a folder of Parquet, or a Parquet, JSON or JSON Lines file."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alignx.errors import DataError
from alignx.records.files import SUFFIXES, BadRow, read_rows
from alignx.records.parsing import RecordParser
from alignx.records.reading import Reading
from alignx.records.record import Record
from alignx.records.taxonomy import Taxonomy, load_taxonomy

_HUB = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w.-]+))?(?:/(?P<file>[^@]+\.(?:parquet|jsonl?)))?")
_SPLIT = re.compile(r"(?<![a-z])(train|test|valid|validation|dev|eval)(?![a-z])")


class NoRecordsError(DataError):
    """A source was read to its end and held no valid record."""

    def __init__(self, source: str, skipped: int) -> None:
        """Name the source and the number of rows that were skipped."""
        super().__init__(f"{source}: no records, expected at least one ({skipped} rows were skipped)")


class Records(Reading):
    """The records of one source, read anew at each iteration, never held.

    After a whole iteration :attr:`identity`, :attr:`problems` and :attr:`unused_fields` say what was read.
    """

    def __init__(
        self,
        source: str,
        *,
        split: str | None = None,
        limit: int | None = None,
        skip_invalid: int = 0,
        taxonomy: Taxonomy | None = None,
    ) -> None:
        """Name a source; nothing is read yet.

        Args:
            source: Path of a file or folder, or a hub id such as ``JinaLeejnl/AlignX``, with ``@revision`` and
                ``/file.json`` where wanted.
            split: Which files of a folder or hub id, by the split in their name or folder.
            limit: At most this many records.
            skip_invalid: At most this many rows may be invalid; they are counted and shown. One more is an error.
            taxonomy: The preference dimensions; by default the paper's 90.
        """
        super().__init__(source, skip_invalid)
        self.taxonomy = taxonomy or load_taxonomy()
        self.split, self.limit = split, limit

    def __iter__(self) -> Iterator[Record]:
        """Each record, in the source's order.

        Raises:
            DataError: A row is invalid and may not be skipped, or there are no records at all.
        """
        return (record for record, _ in self.with_rows())

    def with_rows(self) -> Iterator[tuple[Record, Mapping[str, Any]]]:
        """Each record with the row it was read from, fields that mean nothing here included.

        Raises:
            DataError: A row is invalid and may not be skipped, or there are no records at all.
        """
        self._reset()
        parser = RecordParser(self.taxonomy)
        self.unused_fields = parser.unused_fields
        rows = (row for path in find_files(self.source, self.split) for row in read_rows(path))
        for where, raw in rows:
            if self._count == self.limit:
                break
            try:
                if isinstance(raw, BadRow):
                    raise raw
                record = parser.parse(raw, where)
            except DataError as error:
                self.skip(error)
                continue
            self.count(record.id, record.digest)
            yield record, raw
        if not self._count:
            raise NoRecordsError(self.source, len(self.problems))
        self.finish()


def refuse_missing(source: str) -> None:
    """Refuse a source that is neither on this machine nor the name of one on the hub; nothing is downloaded.

    Raises:
        DataError: There is no such file or folder.
    """
    if not Path(source).exists():
        _hub_name(source)


def _hub_name(source: str) -> re.Match[str]:
    match = _HUB.fullmatch(source)
    if match is None or (Path(source).suffix in SUFFIXES and match["file"] is None):
        raise DataError(f"{source}: no such file or folder")
    return match


def find_files(source: str, split: str | None = None) -> list[Path]:
    """The files that a source stands for, in order.

    Raises:
        DataError: Nothing is there, or it is not clear which files are meant.
    """
    path = Path(source)
    if not source.strip():
        raise DataError(f"{source!r}: no such file or folder; name one")
    if path.is_file():
        return [path]
    if path.is_dir():
        return _files_of_folder(path, split)
    match = _hub_name(source)
    return _from_hub(match["repo"], match["revision"], match["file"], split)


def _files_of_folder(folder: Path, split: str | None) -> list[Path]:
    files = sorted(path for path in folder.rglob("*.parquet") if path.is_file())
    if not files:
        files = sorted(
            p for p in folder.rglob("*") if p.suffix in (".json", ".jsonl") and not p.name.endswith(".manifest.json")
        )
        files = [path for path in files if path.name != "manifest.json"]
    by_split: dict[str, list[Path]] = {}
    for file in files:
        named = _SPLIT.findall(str(file.relative_to(folder)).lower())
        by_split.setdefault(named[-1] if named else "", []).append(file)
    if split is not None:
        if split not in by_split:
            raise DataError(
                f"{folder}: no files of split {split!r}; splits found: {', '.join(map(repr, by_split)) or 'none'}"
            )
        return by_split[split]
    if not files:
        raise DataError(f"{folder}: holds no {', '.join(SUFFIXES)} files")
    if len(by_split) > 1:
        raise DataError(
            f"{folder}: holds several splits, choose one with --split: {', '.join(sorted(filter(None, by_split)))}"
        )
    if files[0].suffix != ".parquet" and len(files) > 1:
        raise DataError(f"{folder}: holds several JSON files, name one of them: {', '.join(f.name for f in files[:8])}")
    return files


def _from_hub(repo: str, revision: str | None, file: str | None, split: str | None) -> list[Path]:
    from huggingface_hub import hf_hub_download, snapshot_download

    try:
        if file:
            return [Path(hf_hub_download(repo, file, repo_type="dataset", revision=revision))]
        patterns = [f"*{suffix}" for suffix in SUFFIXES]
        folder = snapshot_download(repo, repo_type="dataset", revision=revision, allow_patterns=patterns)
    except Exception as error:  # the hub client raises many unrelated types; each means that the data is not to be had
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{repo}: no such file or folder here, and not to be had from the hub: {reason}") from error
    return _files_of_folder(Path(folder), split)
