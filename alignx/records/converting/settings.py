"""Settings of ``alignx data convert``."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, create_model, model_validator

from alignx.settings import Settings, required, setting

Form = Literal["csv", "jsonl"]
ColumnName = Annotated[str, Field(min_length=1)]

ROLES = ("user", "prompt", "chosen", "rejected", "comment", "demographics", "id")
"""What a column can mean; each has a setting ``ROLE_column``."""


def _delimiter(value: str) -> str:
    value = {"tab": "\t", "\\t": "\t"}.get(value, value)
    if len(value) != 1 or value in '"\r\n':
        raise ValueError("one character that is no quote or line end, or tab")
    return value


class ConversionSettings(Settings):
    """Make records from rows of your own users: which response they chose under a post, and what they wrote.

    alignx data convert --data choices.csv --output out/own
    alignx data convert --data choices.jsonl --comments comments.csv --user-column account --output out/own

    A row with a chosen and a rejected response becomes a record. The user's other rows, older and newer, are its
    history, except for those that show one of its texts under the same post: they would give the answer away. A row
    with a comment alone is history only; a choice that came with a comment is both. Every user is in train.jsonl or in
    test.jsonl, never in both.

    Rows in are records + comments + rejected rows. A row that cannot be used goes to rejected.jsonl with the reason,
    and the command succeeds if any record came out. A missing or doubled column, or a file that cannot be read, stops
    it.
    """

    data: Path = required("Choices, and comments if you like: a .csv, .jsonl, .json or .parquet file.")
    comments: Path | None = setting(None, "A second file of such rows, for comments that are not in the first.")
    user_column: ColumnName = setting("user", "Column of whose row it is; white space around a name does not count.")
    prompt_column: ColumnName = setting("prompt", "Column of the post that was answered.")
    chosen_column: ColumnName = setting("chosen", "Column of the response that the user prefers.")
    rejected_column: ColumnName = setting("rejected", "Column of the response that they prefer less.")
    comment_column: ColumnName = setting("comment", "Column of what the user wrote under the post; need not be there.")
    demographics_column: ColumnName | None = setting(
        None, "Column of a description of the user; a row without one has the last that the user's rows give."
    )
    id_column: ColumnName | None = setting(
        None, "Column of the records' ids; by default they are made from user, post and responses."
    )
    delimiter: Annotated[str, AfterValidator(_delimiter)] = setting(
        ",", "What separates the cells of a CSV file: one character, or tab."
    )
    output: Path = setting(Path("out/own"), "Folder to write the records to.")
    test_users: float = setting(
        0.1, "Share of users kept for testing: at least one and not all, unless it is 0 or 1.", ge=0, le=1
    )
    seed: int = setting(0, "Of which users are kept for testing.")
    history: int = setting(16, "Most comments, and most choices, in a record's history: those last in the file.", gt=0)
    min_history: int = setting(1, "Fewest history items of a record; a choice with fewer is rejected.", ge=0)
    max_rejected: int | None = setting(
        None, "Write nothing if more rows than this are rejected; by default any number may be.", ge=0
    )

    @model_validator(mode="after")
    def _each_column_means_one_thing(self) -> "ConversionSettings":
        flags: dict[str, str] = {}
        for role, name in self.columns.items():
            if name in flags:
                raise ValueError(f"{flags[name]} and {_flag(role)} both name {name!r}, expected a column each")
            flags[name] = _flag(role)
        return self

    @property
    def columns(self) -> dict[str, str]:
        """The column of each role that has one."""
        named = {role: getattr(self, f"{role}_column") for role in ROLES}
        return {role: name for role, name in named.items() if name is not None}

    @property
    def form(self) -> Form | None:
        """What ``--from`` says that the files are."""
        form: Form | None = getattr(self, "from", None)
        return form


def _flag(role: str) -> str:
    return f"--{role}-column"


_FROM: Any = {"from": (Form | None, setting(None, "What the files are; by default their names' suffixes tell."))}
ConvertSettings = create_model(
    "ConvertSettings", __base__=ConversionSettings, __doc__=ConversionSettings.__doc__, **_FROM
)
"""The settings with ``--from``: no class body can declare a field that is called by a word of Python's."""
