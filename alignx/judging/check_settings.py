"""Settings of the commands that check a judge. Importing this loads no client."""

from pathlib import Path
from typing import ClassVar

from alignx.judging.settings import JudgeSettings
from alignx.settings import required, setting


class CheckSettings(JudgeSettings):
    """What both checks of a judge take."""

    output: Path = required("Folder for the report and everything that it is made of.")
    least_coverage: float = setting(
        0.9, "Exit with code 6 when a smaller share of the pairs than this was judged.", ge=0, le=1
    )
    reparse: bool = setting(False, "Make everything anew from the replies that are there; nobody is asked.")


class CalibrateSettings(CheckSettings):
    """How often a judge is right where the user's choice is known, and so what a win rate from it is worth.

    alignx judge calibrate --data data/sample/test.jsonl --judge-model my-judge --base-url http://localhost:8000/v1
        --output out/calibrate --dry-run

    The judge is asked about the chosen and the rejected response of records, as it is asked about two systems: the same
    prompt, persona and orders. Use the settings of the win rate that is to be believed.
    """

    reads_config: ClassVar[bool] = True

    pairs: int = setting(400, "Records to ask about at most, drawn by their ids.", gt=0, source="paper, judged cases")


class SelftestSettings(CheckSettings):
    """Whether a judge does what responses tell it to, likes a constant answer, or prefers a place.

    alignx judge selftest --data data/sample/test.jsonl --judge-model my-judge --base-url http://localhost:8000/v1
        --output out/selftest --dry-run

    Instructions to the judge are appended to the rejected response of records, which must not help it; an answer that
    has nothing to do with the post must lose against the chosen one; a response against itself must be a tie. Exits
    with code 4 when the judge fails one of them.
    """

    reads_config: ClassVar[bool] = True

    pairs: int = setting(50, "Records to ask about at most, drawn by their ids; each takes about 24 requests.", gt=0)
    margin: float = setting(
        0.1, "What counts as noise: a smaller move of a win rate than this is no failure; as a share.", gt=0, lt=0.5
    )
