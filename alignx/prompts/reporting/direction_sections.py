"""The part of the report about preference directions (paper, Appendix E): of targets, and apart of history items."""

from bisect import bisect_left
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from alignx.pages import Block, Definitions, Fold, Note, Paragraph, Section, Table
from alignx.prompts.reporting.correlation_sections import correlation_blocks, meanings

_OF = {"targets": "targets", "history_items": "history items"}
_NUMBERS = 12
"""Up to this many numbers of poles are counted one by one; the JSON always does."""


def direction_sections(found: Mapping[str, Any], figures: str | None) -> list[Section]:
    """A section for each kind of direction that was found, or one that says that there is none.

    Args:
        found: What was counted, as in the report's JSON.
        figures: Begins the name of every figure; None draws none.
    """
    analysed = {kind: each for kind, each in found["directions"].items() if each is not None}
    if not analysed:
        nothing = "No record and no history item has a preference direction, so there is nothing to correlate."
        return [Section("Preference directions", [Paragraph(nothing)])]
    sections = [
        Section(f"Preference directions of {_OF[kind]}", _blocks(kind, each, found, figures))
        for kind, each in analysed.items()
    ]
    absent = [_OF[kind] for kind in found["directions"] if kind not in analysed]
    if absent:
        nothing = f"No preference direction is known of {' or '.join(absent)}."
        sections.append(Section("Preference directions that are not there", [Paragraph(nothing)]))
    if any(each["correlation"]["strongest"] for each in analysed.values()):
        sections.append(Section("How to read the correlations", [meanings(analysed)]))
    return sections


def _blocks(kind: str, each: Mapping[str, Any], found: Mapping[str, Any], figures: str | None) -> list[Block]:
    return [
        _summary(each),
        *_repetitions(kind, each, found),
        *_frequent_directions(each),
        *_pairs_of_poles(each),
        *correlation_blocks(_OF[kind], kind, each, figures),
        *_balance(each),
    ]


def _summary(each: Mapping[str, Any]) -> Definitions:
    n, pairs = each["directions"], each["pairs_of_poles"]
    used = sum(n > row["counts"]["neutral"] for row in each["balance"])
    return Definitions(
        [
            ("directions", f"{n}"),
            ("distinct directions", f"{share(each['distinct'], n)}; {each['once']} of them occur once"),
            ("poles a direction", _poles(each)),
            ("dimensions that are a pole somewhere", f"{used} of {len(each['balance'])}"),
            (
                "pairs of poles that meet in a direction",
                f"{pairs['occurring']} of {pairs['possible']} possible"
                + (f" ({100 * pairs['occurring'] / pairs['possible']:.1f} %)" if pairs["possible"] else ""),
            ),
        ]
    )


def _poles(each: Mapping[str, Any]) -> str:
    """How many poles a direction has: each number with its count, or the range where that would be a long list."""
    counts: Mapping[str, int] = each["poles_per_direction"]
    said = f"{each['mean_poles']:.2f} on average; "
    if len(counts) <= _NUMBERS:
        return said + ", ".join(f"{poles}: {count}" for poles, count in counts.items())
    numbers = [int(poles) for poles in counts]
    below = list(accumulate(counts.values()))
    quartiles = [numbers[bisect_left(below, part * each["directions"] / 4)] for part in (1, 2, 3)]
    return f"{said}{numbers[0]} to {numbers[-1]}, quartiles {', '.join(map(str, quartiles))}"


def _repetitions(kind: str, each: Mapping[str, Any], found: Mapping[str, Any]) -> list[Block]:
    """Why directions are fewer than they look, where they are."""
    if kind == "history_items":
        text = (
            "An item counts once for each history it is in, and the items of a history are of one user: the intervals "
            "below, which take directions as independent, are too narrow."
        )
    elif found["repeated_targets"]:
        text = (
            f"The {found['records']} records have {found['distinct_targets']} distinct targets, each counted as often "
            "as it occurs: the intervals below, which take directions as independent, are too narrow."
        )
    elif 0 < found["users"] < found["records"]:
        text = (
            f"The {found['records']} records are of {found['users']} users. The intervals below take directions as "
            "independent, so they are too narrow where a user's choices resemble each other."
        )
    else:
        return []
    return [Note(text)] if each["correlation"]["strongest"] else []


def _frequent_directions(each: Mapping[str, Any]) -> list[Block]:
    if not each["frequent"]:
        return [Paragraph("No direction occurs twice.")]
    rows = [(row["direction"] or "(all neutral)", *_count(row["count"], each)) for row in each["frequent"]]
    return [Table(("direction", "count", "%"), rows, "The most frequent directions, in words.", "lrr")]


def _pairs_of_poles(each: Mapping[str, Any]) -> list[Block]:
    pairs = each["pairs_of_poles"]
    if not pairs["frequent"]:
        return [Paragraph("No direction has two poles.")]
    rows = [
        (row["first"], row["second"], *_count(row["count"], each), f"{row['expected']:.2f}")
        for row in pairs["frequent"]
    ]
    listed = sum(row["count"] for row in pairs["frequent"])
    caption = (
        f"The most frequent combinations of two dimensions; {100 * listed / pairs['meetings']:.1f} % of all "
        f"{pairs['meetings']} meetings of two poles. Expected: the count if dimensions were independent."
    )
    return [Table(("pole", "pole", "count", "%", "expected"), rows, caption, "llrrr")]


def _balance(each: Mapping[str, Any]) -> list[Block]:
    rows = [
        (
            row["positive"],
            row["negative"],
            *(str(row["counts"][level]) for level in ("positive", "neutral", "negative")),
        )
        for row in each["balance"]
        if row["counts"]["positive"] or row["counts"]["negative"]
    ]
    if not rows:
        return [Paragraph("Every direction is neutral on every dimension.")]
    columns = ("positive pole", "negative pole", "positive", "neutral", "negative")
    return [Fold("Direction balance", [Table(columns, rows, align="llrrr")])]


def share(count: int, whole: int) -> str:
    """``12 (3.8 %)``."""
    return f"{count} ({100 * count / whole:.1f} %)"


def _count(count: int, each: Mapping[str, Any]) -> tuple[str, str]:
    return str(count), f"{100 * count / each['directions']:.2f}"
