"""Whether there is any point in asking on: one failure says little, many in a row with no reply between them enough."""

import time

from alignx.chat.settings import ServerSettings
from alignx.errors import ApiError, PartialError

_IN_VAIN = 5
"""Failures in a row, with no reply between them, after which the rest would fail too."""
_UNUSABLE = 10
"""Requests of which no reply can be used, before a single one that can: this model does not do what it is asked."""
_OUTAGE = 60.0
"""Seconds, at least, for which a server that is out must be out before it is given up."""


class Outlook:
    """What has come so far, and what it says about the requests that are still to be sent."""

    def __init__(self, server: ServerSettings) -> None:
        """Nothing came so far."""
        self._server = server
        self._last = time.monotonic()
        self._in_vain = self._left_alone = 0
        self.heard = False
        """Whether the model replied at all."""
        self.usable = False
        """Whether any reply could be used."""
        self._given_up = 0
        self.rejected = 0
        self._reason = ""

    def replied(self) -> None:
        """A reply came, whatever it says."""
        self._in_vain = self._left_alone = 0
        self._last = time.monotonic()
        self.heard = True

    def unusable(self, reason: str) -> None:
        """A request was replied to as often as tries allow, and no reply can be used.

        Raises:
            ApiError: The model has not given a single usable one, to so many requests.
        """
        self._given_up += 1
        if not self.usable and self._given_up >= _UNUSABLE:
            raise ApiError(
                f"{self._server.url}: replies, but none to the first {self._given_up} requests can be used: {reason}; "
                "all replies are kept: look at one, then choose another model, another --structure, or longer replies"
            )

    def gave_up(self, reason: str, wait: float | None) -> None:
        """A request was tried for as long as patience allows.

        Several that fail for so long hold all slots while others would succeed; the next ones must have failed too
        before the server is called out.

        Args:
            reason: Why it failed last.
            wait: Seconds for which the server wants to be left alone, if it said so.

        Raises:
            ApiError: The server is out.
            PartialError: It wants to be left alone for longer than patience allows.
        """
        patience = self._server.patience
        self._in_vain += 1
        self._left_alone = self._left_alone + 1 if wait is not None and wait > patience else 0
        if self._left_alone >= _IN_VAIN:
            raise PartialError(
                f"{self._server.url}: asks to be left alone for {wait:.0f} s, longer than --patience {patience:g} "
                f"({reason}); all replies are kept, the same command goes on from here"
            )
        silent = time.monotonic() - self._last
        if self._in_vain >= _IN_VAIN and silent > max(_OUTAGE, 1.5 * patience):
            raise ApiError(
                f"{self._server.url}: no reply for {silent:.0f} s: {reason}; all replies are kept, the same command "
                "goes on from here"
            )

    def reject(self, reason: str) -> None:
        """The server will not take a request, but it is there."""
        self._in_vain = self._left_alone = 0
        self._last = time.monotonic()
        self.rejected += 1
        self._reason = reason

    @property
    def doubtful(self) -> bool:
        """Whether so many requests were rejected that others should be sent only once one is taken."""
        return not self.heard and self.rejected >= _IN_VAIN

    def refuses_all(self) -> ApiError:
        """The error for a server that has taken no request at all."""
        return ApiError(f"{self._server.url}: rejects every request: {self._reason}{self._hint()}")

    def at_the_end(self, failed: int) -> None:
        """Everything was asked.

        Args:
            failed: Requests without a usable reply.

        Raises:
            ApiError: All were rejected, for a reason that another setting removes.
        """
        if not self.heard and 0 < failed == self.rejected and self._hint():
            raise self.refuses_all()

    def _hint(self) -> str:
        """Which setting may help when requests are rejected; nothing where none does."""
        reason, structure = self._reason, self._server.structure
        if ("schema" in reason or "response_format" in reason) and structure != "text":
            known = "json or text suits servers that know no schemas" if structure == "schema" else "text may suit it"
            return f"; --structure {known}"
        if "temperature" in reason and self._server.temperature is not None:
            return "; --temperature none leaves it to the server"
        return ""
