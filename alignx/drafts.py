"""Long work that ends in a file of JSON Lines: shared among processes, resumable, committed by its manifest.

Beside the output stands a folder ``OUTPUT.partial`` while the work is unfinished: a manifest that says what is being
made, a lock, and a file of lines for each process and start. The last line of one that was killed is left out and made
again; the output is written in the order of the records once every line is there.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Generic, Protocol, Self, TextIO, TypeVar

from pydantic import BaseModel, ValidationError

from alignx import manifest
from alignx.errors import DataError
from alignx.locking import hold
from alignx.manifest import Manifest

Line = TypeVar("Line", bound=BaseModel)


class _Named(Protocol):
    """A line about one record or pair."""

    @property
    def id(self) -> str:
        """Of the record or pair."""

    @classmethod
    def model_validate_json(cls, json_data: str) -> Self:
        """The line that a text is."""


NamedLine = TypeVar("NamedLine", bound=_Named)


@dataclass(frozen=True)
class Words:
    """What the work is called in messages."""

    lines: str
    """``scores``"""
    line: str
    """``score``"""
    doing: str
    """``scoring``"""
    done: str
    """``scored``; also the count of lines in the manifest."""
    do: str
    """``score``, in "score again"."""


class Drafts(Generic[Line]):
    """The unfinished and the finished state of one output, as one of several processes sees it.

    Used as a block, so that the output is let go however the work ends.
    """

    def __init__(
        self,
        output: Path,
        kind: type[Line],
        words: Words,
        identity: Sequence[str],
        state: Any,
        say: Callable[[str], None],
    ) -> None:
        """Name the output; nothing is read or written yet.

        Args:
            output: JSON Lines file to make.
            kind: Of a line; it has an ``id``.
            words: What the work is called.
            identity: Fields of the manifest that two runs must share for one to continue the other.
            state: Accelerate's ``PartialState``: which process this is.
            say: Tells the user.
        """
        self.output, self.folder = output, output.with_name(output.name + ".partial")
        self._kind, self._words, self._identity, self._state, self._say = kind, words, identity, state, say
        self._lock: IO[str] | None = None

    def __enter__(self) -> "Drafts[Line]":
        """Itself; at the end of the block others may write to the output."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the output."""
        if self._lock is not None:
            self._lock.close()

    def finished(self, wanted: Callable[[], Manifest]) -> bool:
        """Whether the output is complete already and is what is wanted.

        Args:
            wanted: What its manifest must say; asked only where there is one to compare with.

        Raises:
            DataError: It is complete and about something else, or is no output of this kind of work.
        """
        found = manifest.read_if_present(self.output)
        if found is None and self.output.exists() and not self.folder.is_dir():
            raise DataError(f"{self.output}: is there and holds no {self._words.lines}; choose another --output")
        if found is None or not self.output.is_file():
            return False
        self._refuse_other(found, wanted(), self.output)
        if not is_whole(self.output, found):
            self._say(f"{self.output}: was changed since it was written; {self._words.doing} again")
            return False
        count = found.counts.get(self._words.done)
        self._say(f"{self.output}: complete already, {count} records; nothing to do")
        return True

    def open(self, wanted: Manifest) -> set[str]:
        """Make or check the folder of unfinished lines; every process calls it.

        Returns:
            Ids whose lines are there already. Nobody may write before everybody has them.

        Raises:
            DataError: Another run is writing to this output, or the lines there are about something else.
        """
        if self._state.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = hold(self.folder / "lock", f"{self._words.doing} to this output")
            if manifest.read_if_present(self.folder) is None:
                manifest.write(self.folder, wanted)
        self._state.wait_for_everyone()
        self._refuse_other(manifest.read(self.folder), wanted, self.folder)
        done = {str(line["id"]) for line in self.lines()}
        if done:
            self._say(f"{self.output}: continuing, {len(done)} records are {self._words.done} already")
        return done

    def share(self, todo: Sequence[Any]) -> Sequence[Any]:
        """Of what is left to do, this process's part; the parts of all are disjoint and together the whole."""
        return todo[self._state.process_index :: self._state.num_processes]

    def part(self) -> TextIO:
        """A new file for this process's lines, one JSON object each."""
        mine = f"part-{self._state.process_index}-"
        return (self.folder / f"{mine}{len(list(self.folder.glob(mine + '*')))}.jsonl").open("w", encoding="utf-8")

    def note(self, name: str, found: dict[str, Any]) -> None:
        """Write down what this process found out on the way, so that it stays if the run is cut off."""
        number = len(list(self.folder.glob(f"{name}-*")))
        manifest.write_text(self.folder / f"{name}-{self._state.process_index}-{number}.json", json.dumps(found))

    def notes(self, name: str) -> list[dict[str, Any]]:
        """What all processes and starts found out."""
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob(f"{name}-*.json"))]

    def lines(self) -> Iterator[dict[str, Any]]:
        """Lines written so far; a last line that a kill cut off is left out and made again.

        Raises:
            DataError: Another line is none.
        """
        words = self._words
        for path in sorted(self.folder.glob("part-*.jsonl")):
            for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
                try:
                    yield self._kind.model_validate_json(line).model_dump()
                except ValidationError as error:
                    raise DataError(
                        f"{path}:{number}: no {words.line} line ({error.errors()[0]['msg']}); delete this file to "
                        f"{words.do} its records again"
                    ) from error

    def commit(self, ids: Sequence[str], draft: Manifest) -> None:
        """Write the lines in the order of ``ids``, then the manifest; the folder goes.

        Raises:
            DataError: Some have no line.
        """
        words = self._words
        lines = {str(line["id"]): line for line in self.lines()}
        missing = [one for one in ids if one not in lines]
        if missing:
            raise DataError(
                f"{self.folder}: {len(missing)} records have no {words.line}, the first is {missing[0]}; run the "
                "command again"
            )
        manifest.write_text(self.output, "".join(json.dumps(lines[one], ensure_ascii=False) + "\n" for one in ids))
        counts = {**draft.counts, words.done: len(ids)}
        files = {self.output.name: manifest.file_digest(self.output)}
        manifest.write(self.output, draft.model_copy(update={"counts": counts, "files": files}))
        if self._lock is not None:
            self._lock.close()
        shutil.rmtree(self.folder)
        self._say(f"{self.output}: {len(ids)} records {words.done}")

    def _refuse_other(self, found: Manifest, wanted: Manifest, where: Path) -> None:
        differences = found.differences(wanted, self._identity)
        if differences:
            raise DataError(
                f"{where}: holds {self._words.lines} of something else, which differs in {'; '.join(differences)}; "
                "choose another --output, or delete it"
            )


def is_whole(path: Path, found: Manifest) -> bool:
    """Whether a file has the bytes its manifest was written for, whatever both are called now."""
    return manifest.file_digest(path) in found.files.values()


def read_lines(path: Path, line_type: type[NamedLine], what: str, remedy: str = "") -> dict[str, NamedLine]:
    """The lines of a finished file by their ids.

    Args:
        path: A file of JSON Lines.
        line_type: Of each line.
        what: A line in messages, such as ``score line``.
        remedy: What to do about one that is none.

    Raises:
        DataError: A line is none, or an id is there twice.
    """
    found: dict[str, NamedLine] = {}
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                one = line_type.model_validate_json(line)
            except ValidationError as error:
                said = error.errors()[0]["msg"]
                raise DataError(f"{path}:{number}: no {what} ({said}){remedy and '; ' + remedy}") from None
            if one.id in found:
                raise DataError(f"{path}:{number}: id {one.id!r} is there twice, expected each once")
            found[one.id] = one
    return found
