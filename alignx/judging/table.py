"""``alignx judge table``: several finished comparisons side by side, a row a comparison and benchmark."""

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alignx import manifest, pages
from alignx.errors import DataError
from alignx.evaluation.report.win_rates import WIN_RATES
from alignx.intervals import Estimate, clustered_mean, holm, macro_mean, p_value
from alignx.judging.inquiry import PAIRS
from alignx.judging.outcomes import Outcome, read_outcomes
from alignx.judging.page import doubts_of_orders
from alignx.judging.rates import consistency, first_position
from alignx.judging.settings import TableSettings
from alignx.judging.table_page import table_page
from alignx.judging.win_rate import REPORT
from alignx.manifest import Manifest

_OF_THE_JUDGE: Final = (
    "judge_model",
    "judge_persona",
    "orders",
    "prompt",
    "reply_tokens",
    "structure",
    "temperature",
)
"""What comparisons must share to stand in one table."""


@dataclass(frozen=True)
class Finished:
    """One finished comparison."""

    folder: Path
    made: Manifest
    candidate: str
    baseline: str
    benchmark: str
    published: float | None
    outcomes: Sequence[Outcome]

    @property
    def called(self) -> tuple[str, str, str]:
        """As a row says it."""
        return self.candidate, self.baseline, self.benchmark


@dataclass(frozen=True)
class Entry:
    """A row: one comparison on one benchmark, which may have several files that count alike."""

    candidate: str
    baseline: str
    benchmark: str
    parts: Sequence[Sequence[Outcome]]
    published: float | None
    """As the paper prints it, in percent."""
    folders: Sequence[Path] = ()
    """Of the comparison's files."""

    def count(self, holds: Callable[[Outcome], bool]) -> int:
        """Pairs of all parts for which something holds."""
        return sum(holds(one) for part in self.parts for one in part)

    @property
    def win_rate(self) -> Estimate | None:
        """Ties as half; the mean of the parts' means where there are several. None where a part has no verdict."""
        return self._mean(lambda one: one.verdict is not None)

    @property
    def decided(self) -> Estimate | None:
        """The same without ties."""
        return self._mean(lambda one: one.verdict not in (None, "tie"))

    @property
    def asked(self) -> list[Outcome]:
        """The pairs of all parts whose verdict is the judge's word."""
        return [one for part in self.parts for one in part if one.asked]

    def _mean(self, counts: Callable[[Outcome], bool]) -> Estimate | None:
        kept = [[one for one in part if counts(one)] for part in self.parts]
        if not all(kept):
            return None
        values = [one.points or 0.0 for part in kept for one in part]
        clusters = [one.cluster for part in kept for one in part]
        if len(kept) == 1:
            return clustered_mean(values, clusters)
        return macro_mean(values, clusters, [str(number) for number, part in enumerate(kept) for _ in part])

    def as_dict(self, corrected: float) -> dict[str, Any]:
        """For JSON, with the p-value corrected for the number of rows."""
        rate, decided = self.win_rate, self.decided
        same, first = consistency(self.asked), first_position(self.asked)
        return {
            "candidate": self.candidate,
            "baseline": self.baseline,
            "benchmark": self.benchmark,
            "parts": len(self.parts),
            "pairs": self.count(lambda _: True),
            "wins": self.count(lambda one: one.verdict == "candidate"),
            "ties": self.count(lambda one: one.verdict == "tie"),
            "losses": self.count(lambda one: one.verdict == "baseline"),
            "unjudged": self.count(lambda one: one.verdict is None),
            "win_rate": rate and rate.as_dict(),
            "win_rate_without_ties": decided and decided.as_dict(),
            "position_consistency": same and same.as_dict(),
            "first_position_rate": first and first.as_dict(),
            "doubts": doubts_of_orders(same, first),
            "p_corrected": corrected if math.isfinite(corrected) else None,
            "published": self.published,
            "reports": [str(folder / f"{REPORT}.html") for folder in self.folders],
        }


def table(settings: TableSettings) -> str:
    """Put finished comparisons side by side; nobody is asked.

    Raises:
        DataError: A folder holds no finished comparison, two were judged otherwise, or one is there twice.
    """
    runs = [read_finished(folder) for folder in settings.runs]
    _refuse_unlike(runs)
    rows = entries(runs)
    corrected = correct(rows)
    judge = {name: runs[0].made.settings[name] for name in _OF_THE_JUDGE}
    texts = [one.as_dict(p) for one, p in zip(rows, corrected, strict=True)]
    _refuse_overwriting(settings)
    text = json.dumps({"judge": judge, "rows": texts}, indent=2, ensure_ascii=False)
    manifest.write_text(settings.output / f"{WIN_RATES}.json", text + "\n")
    written = pages.write(table_page(texts, str(judge["judge_model"])), settings.output, WIN_RATES)
    paths = [settings.output / f"{WIN_RATES}.json", *written]
    manifest.write(
        settings.output,
        Manifest(
            kind="report",
            settings={"judge": judge, "runs": {str(run.folder): run.made.files[PAIRS] for run in runs}},
            versions=manifest.versions("scipy"),
            files={str(path.relative_to(settings.output)): manifest.file_digest(path) for path in paths},
        ),
    )
    lines = [f"{one.candidate} against {one.baseline}, {one.benchmark}: {one.win_rate or 'no rate'}" for one in rows]
    return "\n".join([*lines, f"report: {settings.output / WIN_RATES}.html"])


def read_finished(folder: Path) -> Finished:
    """A finished comparison.

    Raises:
        DataError: It is unfinished, something else, or was changed since.
    """
    made = manifest.read(folder)
    if made.kind != "win-rate":
        raise DataError(f"{folder}: its manifest says {made.kind!r}, expected 'win-rate' (eval/win_rate.py)")
    if not manifest.is_intact(folder, made):
        raise DataError(f"{folder}: was changed since it was written; make it again with --reparse")
    about = json.loads((folder / f"{REPORT}.json").read_text(encoding="utf-8"))["about"]
    published = about["published"]
    return Finished(
        folder=folder,
        made=made,
        candidate=about["candidate"],
        baseline=about["baseline"],
        benchmark=str(made.settings.get("benchmark") or Path(made.data.source if made.data else "").stem),
        published=published and published["value"],
        outcomes=read_outcomes(folder / PAIRS),
    )


def entries(runs: Sequence[Finished]) -> list[Entry]:
    """The rows, in the order in which they first occur; comparisons of the same systems on one benchmark are its parts.

    What has no ``--benchmark`` is a row of its own. Rows that would be called the same are told apart by their folders.

    Raises:
        DataError: Two are of the same comparison and the same records.
    """
    found: dict[tuple[str, str, str], list[Finished]] = {}
    for run in runs:
        data = run.made.data.digest if run.made.data else ""
        systems = run.made.counts["systems"]
        named = run.made.settings["benchmark"]
        of_row = found.setdefault((systems["candidate"], systems["baseline"], named or f"of {data}"), [])
        if same := [other for other in of_row if other.made.data and other.made.data.digest == data]:
            raise DataError(f"{same[0].folder} and {run.folder} are the same comparison on the same records; name one")
        of_row.append(run)
    called = Counter(row[0].called for row in found.values())
    return [_entry(row, alone=called[row[0].called] == 1) for row in found.values()]


def _entry(row: Sequence[Finished], *, alone: bool) -> Entry:
    first = row[0]
    benchmark = first.benchmark if alone else f"{first.benchmark}, {first.folder}"
    if len(row) > 1:
        benchmark += f" ({len(row)} files)"
    outcomes, folders = [run.outcomes for run in row], [run.folder for run in row]
    return Entry(first.candidate, first.baseline, benchmark, outcomes, first.published, folders)


def correct(rows: Sequence[Entry]) -> list[float]:
    """P-value of "neither is better" in each row, corrected for their number (Holm); nan where there is none."""
    return holm(math.nan if (rate := one.win_rate) is None else p_value(rate, 0.5) for one in rows)


def _refuse_overwriting(settings: TableSettings) -> None:
    """Refuse a folder with something else in it than a table or the comparisons themselves."""
    output = settings.output
    found = manifest.read_if_present(output) if output.is_dir() else None
    if found is not None and found.kind != "report":
        raise DataError(f"{output}: holds {found.kind!r}, expected a report or nothing; choose another --output")
    inside = any(folder.resolve().is_relative_to(output.resolve()) for folder in settings.runs)
    begun = inside or any(output.glob(f"{WIN_RATES}.*"))
    if found is None and (output.is_file() or (output.is_dir() and any(output.iterdir()) and not begun)):
        raise DataError(f"{output}: is there and holds something else; choose another --output")


def _refuse_unlike(runs: Sequence[Finished]) -> None:
    first = runs[0]
    for other in runs[1:]:
        if differences := first.made.differences(other.made, [f"settings.{name}" for name in _OF_THE_JUDGE]):
            raise DataError(f"{first.folder} and {other.folder} were judged otherwise: {'; '.join(differences)}")
