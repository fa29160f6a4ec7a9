"""Which rows become records, with which history, and whose records are kept for testing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from alignx.errors import DataError
from alignx.manifest import digest
from alignx.records.converting.gathering import SHOW_PROGRESS
from alignx.records.converting.histories import History, UserRows
from alignx.records.converting.rejection import Reason, Rejection
from alignx.records.converting.settings import ConversionSettings
from alignx.records.converting.statement import Statement
from alignx.records.parsing import CHOICES, COMMENTS, DEMOGRAPHICS

PERSONA_HEADER = "**This person's persona is:**"
"""First line of the descriptions in AlignX; prompts show a description as it stands."""


@dataclass(frozen=True)
class Choosing:
    """What became of the usable rows."""

    records: tuple[tuple[Statement, History], ...]
    """Targets in the files' order."""
    descriptions: dict[str, str]
    """The last that each user's rows give."""
    comments: int
    """Rows with a comment alone that some record's history shows."""
    rejections: tuple[Rejection, ...]

    def row(self, target: Statement, history: History) -> dict[str, Any]:
        """A record in AlignX's format."""
        described = target.demographics or self.descriptions.get(target.user)
        return {
            "id": target.id,
            "user": target.user,
            "prompt": target.prompt,
            "chosen": target.chosen,
            "rejected": target.rejected,
            **({DEMOGRAPHICS: _described(described)} if described else {}),
            COMMENTS: [{"prompt": one.prompt, "comment": one.comment} for one in history.comments],
            CHOICES: [
                {"prompt": one.prompt, "chosen": one.chosen, "rejected": one.rejected} for one in history.choices
            ],
        }


def _described(text: str) -> str:
    return text if text.startswith(PERSONA_HEADER) else f"{PERSONA_HEADER}\n{text}"


def choose(statements: Sequence[Statement], settings: ConversionSettings) -> Choosing:
    """Give each choice its user's history; leave out those with too little of it, and comments that no record shows."""
    from tqdm import tqdm

    users: dict[str, UserRows] = {}
    for statement in statements:
        users.setdefault(statement.user, UserRows()).add(statement)
    records, rejections, shown = [], [], set[int]()
    bar = None if len(statements) >= SHOW_PROGRESS else True
    for target in tqdm(statements, desc="histories", unit=" rows", disable=bar, leave=False):
        if not target.is_choice:
            continue
        history = users[target.user].around(target, settings.history)
        if history.usable < settings.min_history:
            rejections.append(_short(target, history, settings))
            continue
        records.append((target, history))
        shown |= history.rows
    with_record = {target.user for target, _ in records}
    comments = [statement for statement in statements if not statement.is_choice]
    for comment in comments:
        if comment.number not in shown:
            rejections.append(_unseen(comment, users[comment.user], comment.user in with_record, settings))
    descriptions = {one.user: one.demographics for one in statements if one.demographics is not None}
    used = sum(comment.number in shown for comment in comments)
    return Choosing(tuple(records), descriptions, used, tuple(rejections))


def _short(target: Statement, history: History, settings: ConversionSettings) -> Rejection:
    telling = f" (without {history.left_out} that would give the answer away)" if history.left_out else ""
    return target.reject(
        Reason.SHORT_HISTORY,
        f"its user {target.user!r} has {history.usable} other usable history items{telling}, expected at least "
        f"{settings.min_history}; bring more of this user's rows, or lower --min-history",
    )


def _unseen(comment: Statement, of_user: UserRows, has_record: bool, settings: ConversionSettings) -> Rejection:
    if not has_record:
        return comment.reject(
            Reason.NO_RECORD, f"no choice of its user {comment.user!r} became a record, expected one to tell it about"
        )
    newer = of_user.comments.newer_than(comment)
    if newer >= settings.history:
        return comment.reject(
            Reason.OLDER_COMMENT,
            f"its user {comment.user!r} has {newer} newer comments and a history shows {settings.history}; "
            "raise --history",
        )
    return comment.reject(
        Reason.TELLING_COMMENT,
        f"it shows a response of every record of user {comment.user!r} under the same post; bring more of their rows",
    )


def draw_test_users(users: Iterable[str], settings: ConversionSettings) -> set[str]:
    """Who is kept for testing. Whether somebody is drawn before somebody else depends on the seed and the two alone.

    Raises:
        DataError: There is one user, who cannot be on both sides.
    """
    drawn = sorted(set(users), key=lambda user: digest(settings.seed, "test user", user))
    if settings.test_users in (0, 1):
        return set(drawn[: len(drawn) * int(settings.test_users)])
    if len(drawn) == 1:
        raise DataError(
            f"{settings.data}: one user with records, {drawn[0]!r}, expected at least two to keep one for testing; "
            "--test-users 0 makes all records training records, --test-users 1 test records"
        )
    return set(drawn[: min(max(1, round(len(drawn) * settings.test_users)), len(drawn) - 1)])
