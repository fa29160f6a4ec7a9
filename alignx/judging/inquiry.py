"""A judge and what it replied: the same for win rates and for the checks of a judge."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

from alignx import manifest
from alignx.chat.asking import Tally, ask
from alignx.chat.estimating import Estimate, estimate
from alignx.chat.prices import Price, find_price
from alignx.chat.question import Ask
from alignx.chat.replies import Replies
from alignx.errors import DataError
from alignx.judging.settings import JudgeSettings

REPLIES: Final = "replies.jsonl"
MODEL: Final = "judge.json"
"""What the server says of the judge; kept as soon as it is known, as a start may end before its report."""
PAIRS: Final = "pairs.jsonl"
VERDICTS: Final = "verdicts.jsonl"
ASKING_ALONE: Final = frozenset(
    {
        "api_key_env",
        "base_url",
        "concurrency",
        "data",
        "dry_run",
        "limit",
        "max_cost",
        "output",
        "patience",
        "prices",
        "reparse",
        "replies",
        "skip_invalid",
        "split",
        "taxonomy",
        "timeout",
        "tries",
    }
)
"""Settings that change nothing about what a reply means; data and taxonomy are known by their digests."""


class Asks(Protocol):
    """Requests, each once."""

    def __len__(self) -> int:
        """How many."""

    def __iter__(self) -> Iterator[Ask]:
        """Each of them."""


class Inquiry:
    """One start of a command that asks a judge."""

    def __init__(self, settings: JudgeSettings, output: Path, *, reparse: bool) -> None:
        """Nobody is asked yet.

        Args:
            settings: The judge and how it is asked.
            output: Folder of the report.
            reparse: Whether to use the replies that are there and ask nobody.

        Raises:
            SettingsError: The address holds a key.
        """
        _ = settings.url  # a key in it is refused even where nothing is left to ask
        self._settings, self._output, self._reparse = settings, output, reparse

    @property
    def path(self) -> Path:
        """Where the replies are."""
        return self._settings.replies or self._output / REPLIES

    @cached_property
    def price(self) -> Price | None:
        """Of the judge, if known."""
        return find_price(self._settings.judge_model, self._settings.prices)

    def estimate(self, asks: Asks) -> Estimate:
        """What asking would take; nobody is asked."""
        if not self.path.is_file():
            return estimate(asks, None, self.price)
        with Replies(self.path) as replies:
            return estimate(asks, replies, self.price)

    def report(self, asks: Callable[[], Asks], make: Callable[[Replies, Tally], str]) -> str:
        """Ask for what is missing, unless the replies that are there are to do; then make the report.

        Args:
            asks: Gives the requests.
            make: From the replies, and what was done now, to what is said at the end.

        Raises:
            ApiError: The server cannot be asked at all.
            DataError: There are no replies to make it anew of.
            PartialError: The money that was allowed is spent; what is there is kept.
        """
        if self._reparse and not self.path.is_file():
            raise DataError(f"{self.path}: no such file, so there are no replies to read; leave out --reparse")
        self._output.mkdir(parents=True, exist_ok=True)
        with Replies(self.path) as replies:
            return make(replies, Tally() if self._reparse else self._ask(asks(), replies))

    def _ask(self, asks: Asks, replies: Replies) -> Tally:
        return ask(asks, self._settings, self._settings.judge_model, replies, len(asks), self._looked)

    def _looked(self, found: Mapping[str, Any]) -> None:
        """Keep what the server says of the judge; nothing said leaves what was known."""
        if found:
            manifest.write_text(self._output / MODEL, json.dumps(dict(found), indent=2, ensure_ascii=False) + "\n")

    def known_of_model(self) -> dict[str, Any]:
        """What the server has said of the judge.

        Raises:
            DataError: What was kept of it is broken.
        """
        path = self._output / MODEL
        try:
            return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
        except ValueError as error:
            raise DataError(f"{path}: is no JSON ({error}); delete it") from error

    def counts(self, replies: Replies, tally: Tally) -> dict[str, Any]:
        """What asking took, for the manifest."""
        return {
            "requests": {**vars(tally), "seconds": round(tally.seconds, 1)},
            "spent": round(replies.spent, 6),
            "tokens": replies.tokens.as_dict(),
            "server": self._settings.url,
        }

    def spending(self, replies: Replies, tally: Tally) -> Iterator[str]:
        """What asking took, in words."""
        tokens = replies.tokens
        spent = f", {replies.spent:.4f} {self.price.currency} spent on them" if self.price and replies.spent else ""
        yield (
            f"requests: {tally.sent:,} sent now, {tally.known:,} answered before; replies so far: {tokens.prompt:,} "
            f"tokens in, {tokens.reply:,} out{spent}"
        )
        others = {name: count for name, count in tokens.models.items() if name != self._settings.judge_model}
        if others:
            said = ", ".join(f"{name} ({count:,})" for name, count in sorted(others.items()))
            yield f"note: asked for {self._settings.judge_model}, the server says that others replied: {said}"

    def refuse_foreign(self) -> None:
        """Refuse an output that has no manifest and is not what an interrupted start left.

        Raises:
            DataError: It holds something else.
        """
        output = self._output
        left = any((output / name).exists() for name in (REPLIES, MODEL, VERDICTS, PAIRS))
        if output.is_file() or (output.is_dir() and any(output.iterdir()) and not left):
            raise DataError(f"{output}: is there and holds something else; choose another --output")
