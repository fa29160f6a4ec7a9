"""Settings of ``eval/win_rate.py``. Importing this loads no client."""

from pathlib import Path
from typing import ClassVar, Literal

from alignx.chat.settings import ServerSettings
from alignx.judging.persona import Part
from alignx.prompts.settings import SourceSettings
from alignx.settings import Settings, required, setting

Orders = Literal["both", "first"]


class JudgeSettings(ServerSettings, SourceSettings):
    """What every command that asks a judge takes."""

    judge_model: str = required("As the server calls it; there is no default, since served models are shut down.")
    judge_persona: tuple[Part, ...] = setting(
        ("history", "demographics"),
        "What the judge is told of the user: any of history, demographics and profile, with commas between.",
        min_length=1,
    )
    orders: Orders = setting(
        "both", "both: each pair is judged twice, either response first; first: once, in an order drawn by the texts."
    )
    reply_tokens: int = setting(
        512, "Tokens that a reply may have; more for judges that think before they reply.", gt=0
    )
    replies: Path | None = setting(
        None, "File of what was replied, by default in the output; outputs of one judge may share one."
    )


class WinRateSettings(JudgeSettings):
    """How often a judge finds that the candidate's response suits a user better than the baseline's.

    python eval/win_rate.py --candidate out/ica.jsonl --baseline out/base.jsonl --data data/sample/test.jsonl
        --judge-model my-judge --base-url http://localhost:8000/v1 --output out/win-rate --dry-run

    Replies are kept as they arrive; the same command goes on from them, and asks only for what has no usable reply. A
    pair without one is unjudged: in no rate, and counted with its reason. Both files are what eval/gen_*.py wrote, for
    the same data; --limit must be what it was there.
    """

    reads_config: ClassVar[bool] = True

    candidate: Path = required("Responses of the system that is to be better.")
    baseline: Path = required("Responses of the system that it is compared with.")
    output: Path = required("Folder for the report and everything that it is made of.")
    pairs: int | None = setting(
        None, "Judge only so many pairs, drawn by their ids: the same ones for every system and judge.", gt=0
    )
    may_differ: tuple[str, ...] = setting(
        (),
        "What of condition and sampling may differ between the two beside method, preset and profile, with commas "
        "between: persona, history, temperature and so on.",
    )
    benchmark: str = setting("", "What the data is called in the report; with --published as the paper calls it.")
    published: str = setting(
        "", 'Print the published figure beside: a row of Table 4, such as "AlignXpert-ICA vs base".', source="paper"
    )
    least_coverage: float = setting(
        0.9, "Exit with code 6 when a smaller share of the pairs than this was judged.", ge=0, le=1
    )
    reparse: bool = setting(False, "Make everything anew from the replies that are there; nobody is asked.")


class TableSettings(Settings):
    """Several finished comparisons side by side: a row a comparison and benchmark.

    alignx judge table --runs out/ufp4,out/prism,out/psoups-style,out/psoups-expertise --output out/win-rates

    All must have been judged alike. Comparisons of the same two systems whose --benchmark is the same are files of one
    benchmark, which count alike.
    """

    runs: tuple[Path, ...] = required("Folders that eval/win_rate.py wrote, with commas between.", min_length=1)
    output: Path = required("Folder for the report.")
