"""Settings of ``alignx annotate directions``. Importing this loads no torch and no client."""

from decimal import Decimal
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import model_validator

from alignx.chat.settings import ServerSettings
from alignx.models.loading import Attention, DType
from alignx.prompts.settings import SourceSettings
from alignx.settings import required, setting


class AnnotateSettings(ServerSettings, SourceSettings):
    """Infer the preference direction of each history item, and derive each record's profile: what PBA needs.

    alignx annotate directions --data mine.jsonl --output out/annotated.jsonl --model gpt-4.1-mini --dry-run
    alignx annotate directions --data mine.jsonl --output out/annotated.jsonl --model my-model --backend local

    An item that occurs twice is asked once. Replies are kept as they arrive beside the output; the same command goes on
    from them, and asks again only for what has no usable reply. An item that could not be annotated stays without a
    direction and says why.
    """

    reads_config: ClassVar[bool] = True

    output: Path = required("JSON Lines file of the same records with directions and profiles.")
    replies: Path | None = setting(
        None, "File of what was replied, by default beside the output; outputs of one annotator may share one."
    )
    model: str = required("As the server calls it; with --backend local a model folder or hub id.")
    backend: Literal["server", "local"] = setting(
        "server", "server: any that speaks the chat-completions protocol; local: a transformers model on this machine."
    )
    way: Literal["all", "each"] | None = setting(
        None,
        "all dimensions in one request, far cheaper (the default with a server), or each in its own, as the paper asks "
        "(the only one with --backend local, which scores the options).",
    )
    known: Literal["keep", "replace"] = setting(
        "keep", "Items that carry a direction, and records that carry a profile: keep theirs, or infer them anew."
    )
    least_certainty: int = setting(
        0, "A pole stated with less certainty than this (0 to 100) counts as cannot tell.", ge=0, le=100
    )
    evaluate: bool = setting(
        False, "Also ask about items that carry a direction, and report how well the two agree, beside the output."
    )
    positive: Decimal = setting(
        Decimal("0.6"), "Mean direction from which on a history is positive, for profiles.", gt=0, le=1, source="paper"
    )
    negative: Decimal = setting(
        Decimal("0.4"), "Mean direction up to which a history is negative, for profiles.", ge=0, lt=1, source="paper"
    )
    revision: str | None = setting(None, "Of a hub id, with --backend local.")
    dtype: DType = setting("auto", "With --backend local: auto is bfloat16 on a GPU that has it, else float32.")
    attention: Attention = setting("auto", "With --backend local: attention implementation of transformers.")
    batch_tokens: int | None = setting(None, "With --backend local: tokens read together; changes no result.", gt=0)
    trust_remote_code: bool = setting(False, "With --backend local: run code that comes with the model.")

    @model_validator(mode="after")
    def _fits_the_backend(self) -> "AnnotateSettings":
        if self.backend == "local":
            if self.way == "all":
                raise ValueError("--way all needs a server: a local model scores the options of one question each")
            for name in ("base_url", "max_cost", "prices"):
                if getattr(self, name) is not None:
                    raise ValueError(f"--{name.replace('_', '-')}: --backend local asks no server")
        return self

    @property
    def asking(self) -> Literal["all", "each"]:
        """The way of asking, decided."""
        return self.way or ("each" if self.backend == "local" else "all")
