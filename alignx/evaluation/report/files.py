"""The files that were measured: what they hold, and what a reader of their numbers should know."""

from collections.abc import Mapping, Sequence

from alignx.evaluation.outcomes import Outcome
from alignx.pages import Block, Note, Table, literal
from alignx.prompts.reporting.health import Health

_COLUMNS = (
    "file",
    "records",
    "expected",
    "users",
    "distinct targets",
    "ready profiles",
    "own directions",
    "items with directions",
    "own target in the history",
    "an item twice",
)


def expected_records(outcomes: Sequence[Outcome]) -> dict[str, int | None]:
    """The files of all rows, in order, with how many records each should hold; None where that is not known."""
    found: dict[str, int | None] = {}
    for outcome in outcomes:
        found[outcome.cell.data] = found.get(outcome.cell.data) or outcome.cell.expected_n
    return found


def files(expected: Mapping[str, int | None], held: Mapping[str, Health]) -> list[Block]:
    """A row a file.

    Args:
        expected: Records that each should hold, None where that is not known.
        held: What each holds.
    """
    if not held:
        return []
    rows = [
        (
            literal(data),
            str(found.records),
            str(expected.get(data) or "–"),
            str(len(found.users) or "–"),
            str(len(found.targets)),
            *(str(found.present[name]) for name in ("ready profile", "own direction", "items with direction")),
            str(len(found.contains_own_target)),
            str(len(found.repeated_items)),
        )
        for data, found in held.items()
    ]
    caption = (
        "Records of each kind. A target is a post with its two responses; records that share one are not independent, "
        "and intervals are clustered by user, else by target."
    )
    leaking = {data: found.contains_own_target for data, found in held.items() if found.contains_own_target}
    notes = [
        Note(
            f"{literal(data)}: the history of {len(names)} of {held[data].records} records contains the very choice "
            f"that is asked about, such as `{literal(names[0])}`. It is measured like the others."
        )
        for data, names in leaking.items()
    ]
    return [*notes, Table(_COLUMNS, rows, caption)]
