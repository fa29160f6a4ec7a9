"""Whose card a ``README.md`` is: ours as we wrote it, ours changed by hand, a library's draft, or somebody else's."""

import re
from typing import Literal

from alignx.manifest import digest

CARD = "README.md"
Origin = Literal["ours", "changed", "draft", "theirs"]

_MARK = re.compile(r"<!-- made by alignx publish from what the run recorded; digest of the rest: ([0-9a-f]{64}) -->\n")
_DRAFTS = (
    "It has been trained using [TRL](https://github.com/huggingface/trl).",
    "<!-- Provide a quick summary of what the model is/does. -->",
)
"""What TRL's card and the hub's template, which PEFT fills, say: both are left in a run's folder by saving."""


def marked(front: str, body: str) -> str:
    """A card with the line by which :func:`origin` knows it again.

    Args:
        front: Its YAML between two ``---`` lines.
        body: Everything after it.
    """
    mark = f"<!-- made by alignx publish from what the run recorded; digest of the rest: {digest(front + body)} -->\n"
    return f"{front}{mark}{body}"


def origin(text: str) -> Origin:
    """Who wrote a card, as far as its text tells."""
    text = text.replace("\r\n", "\n")
    mark = _MARK.search(text)
    if mark is not None:
        return "ours" if digest(text[: mark.start()] + text[mark.end() :]) == mark[1] else "changed"
    return "draft" if any(words in text for words in _DRAFTS) else "theirs"
