"""Settings of ``alignx data report``. Importing this loads no torch."""

from pathlib import Path

from alignx.prompts.condition import Method
from alignx.prompts.settings import SourceSettings
from alignx.settings import setting


class ReportSettings(SourceSettings):
    """Count what is in a source of records, what looks wrong with it, and which preferences go together.

    alignx data report --data data/sample/train.jsonl --model out/tiny --output out/report.json

    Rows that are no valid record are counted and shown, not an error. Most of what is found can be mended by `alignx
    data clean`; the report says how.
    """

    skip_invalid: int = setting(0, "Of no use here: every invalid row is left out, counted and shown.", ge=0)

    model: str | None = setting(
        None,
        "Model whose tokenizer counts tokens, and for whose control tokens texts are searched; without one, lengths "
        "are in characters.",
    )
    method: Method = setting(Method.ICA, "Whose prompts are measured.")
    output: Path | None = setting(
        None, "JSON file to write, with a Markdown page, an HTML page and their figures beside it."
    )
    revision: str | None = setting(None, "Of a hub id.")
