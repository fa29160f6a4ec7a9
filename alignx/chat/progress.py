"""How asking goes: a bar where there is a terminal, else a line now and then; and a word when the server fails."""

import sys
import time
from types import TracebackType

_EVERY = 30.0
"""Seconds between two lines in a log file, and between two words about a failing server."""


class Progress:
    """Of so many requests."""

    def __init__(self, total: int) -> None:
        """Nothing is done yet."""
        from tqdm import tqdm

        self._bar = tqdm(total=total, desc="asking", unit=" requests", disable=None)
        self._total, self._done = total, 0
        self._said = self._noticed = time.monotonic()
        self._noticed -= _EVERY

    def update(self, failed: int = 0, spent: float = 0.0) -> None:
        """One more is done.

        Args:
            failed: Requests without a usable reply so far.
            spent: What all replies did cost.
        """
        self._done += 1
        state = {"without a usable reply": failed} if failed else {}
        money = {"spent": f"{spent:.2f}"} if spent else {}
        self._bar.set_postfix({**state, **money}, refresh=False)
        self._bar.update()
        if self._bar.disable and time.monotonic() - self._said >= _EVERY:
            self._said = time.monotonic()
            words = "".join(f", {value} {name}" for name, value in {**state, **money}.items())
            self._print(f"asking: {self._done:,} of {self._total:,} requests{words}")

    def notice(self, text: str) -> None:
        """Say what holds things up; at most now and then, since it happens many times at once."""
        if time.monotonic() - self._noticed >= _EVERY:
            self._noticed = time.monotonic()
            self._print(text)

    def _print(self, text: str) -> None:
        self._bar.write(text, file=sys.stderr)

    def __enter__(self) -> "Progress":
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The bar stays as it is."""
        self._bar.close()
