"""``alignx judge table``: several finished comparisons side by side, a row a comparison and benchmark."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alignx import manifest, pages
from alignx.errors import DataError
from alignx.evaluation.report.win_rates import WIN_RATES
from alignx.intervals import Estimate, clustered_mean, holm, macro_mean, p_value
from alignx.judging.outcomes import Outcome, read_outcomes
from alignx.judging.settings import TableSettings
from alignx.judging.table_page import table_page
from alignx.judging.win_rate import PAIRS, REPORT
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


@dataclass(frozen=True)
class Entry:
    """A row: one comparison on one benchmark, which may have several files that count alike."""

    candidate: str
    baseline: str
    benchmark: str
    parts: Sequence[Sequence[Outcome]]
    published: float | None
    """As the paper prints it, in percent."""

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
    def consistency(self) -> Estimate | None:
        """Share of the pairs judged in both orders that got the same verdict."""
        both = [one for part in self.parts for one in part if one.asked and len(one.calls) > 1]
        if not both:
            return None
        return clustered_mean([float(one.how == "same both ways") for one in both], [one.cluster for one in both])

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
        rate, decided, same = self.win_rate, self.decided, self.consistency
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
            "p_corrected": corrected if math.isfinite(corrected) else None,
            "published": self.published,
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
    _refuse_overwriting(settings.output)
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
    """The rows, in the order in which they first occur; comparisons of one benchmark are its parts.

    Raises:
        DataError: Two are of the same comparison and the same records.
    """
    found: dict[tuple[str, str, str], list[Finished]] = {}
    for run in runs:
        of_row = found.setdefault((run.candidate, run.baseline, run.benchmark), [])
        data = run.made.data and run.made.data.digest
        if same := [other for other in of_row if other.made.data and other.made.data.digest == data]:
            raise DataError(f"{same[0].folder} and {run.folder} are the same comparison on the same records; name one")
        of_row.append(run)
    return [
        Entry(*key, parts=[run.outcomes for run in of_row], published=of_row[0].published)
        for key, of_row in found.items()
    ]


def correct(rows: Sequence[Entry]) -> list[float]:
    """P-value of "neither is better" in each row, corrected for their number (Holm); nan where there is none."""
    return holm(math.nan if (rate := one.win_rate) is None else p_value(rate, 0.5) for one in rows)


def _refuse_overwriting(output: Path) -> None:
    found = manifest.read_if_present(output) if output.is_dir() else None
    if found is not None and found.kind != "report":
        raise DataError(f"{output}: holds {found.kind!r}, expected a report or nothing; choose another --output")


def _refuse_unlike(runs: Sequence[Finished]) -> None:
    first = runs[0]
    for other in runs[1:]:
        if differences := first.made.differences(other.made, [f"settings.{name}" for name in _OF_THE_JUDGE]):
            raise DataError(f"{first.folder} and {other.folder} were judged otherwise: {'; '.join(differences)}")
