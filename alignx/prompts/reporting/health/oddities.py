"""Texts that are very short or very long, and characters that nobody sees."""

import re
from collections import Counter
from collections.abc import Iterable

from alignx.prompts.reporting.health.finding import Commands, Finding, Listing, Tally, Verdict

SHORT = 3
"""Characters below which a response is hardly one."""
LONG = 20_000
"""Characters from which a single text takes most of 8,192 tokens."""
_RESPONSES = frozenset({"chosen", "rejected"})

_CONTROL = "".join(map(chr, (*range(9), 11, 12, *range(14, 32), 127)))
_ZERO_WIDTH = "\u200b\u2060\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_JOINERS = "\u200c\u200d"
INVISIBLE = re.compile(f"[{re.escape(_CONTROL)}{_ZERO_WIDTH}]|(?<=[!-~])[{_JOINERS}](?=[!-~])")
"""Control characters, zero-width ones, and those that turn the direction of what follows. Joiners count only between
two ASCII characters: emoji and many scripts need them."""
_CONTROL_BYTES = _CONTROL.encode()
_OUTLINE = re.compile(rb"\xe2[\x80\x81][\x8b-\x8d\xa0\xa6-\xae]")
"""The others in UTF-8, but for the mark of byte order; a few visible ones are among them."""
_MARK = "\ufeff".encode()


def has_invisible(text: str) -> bool:
    """Whether a text has characters that nobody sees."""
    data = text.encode("utf-8", "surrogatepass")
    # Many times as fast as the pattern, which decides where one of these finds something.
    maybe = len(data.translate(None, _CONTROL_BYTES)) < len(data)
    if not maybe and not text.isascii():
        maybe = _OUTLINE.search(data) is not None or _MARK in data
    return maybe and INVISIBLE.search(text) is not None


class Oddities:
    """Counts of records with such texts."""

    def __init__(self) -> None:
        """Start with none."""
        self._short, self._long, self._invisible = Tally(), Tally(), Tally()
        self._characters: Counter[str] = Counter()

    def add(self, record_id: str, texts: Iterable[tuple[str, str]], everything: str) -> None:
        """Look at a record's texts, by field; ``everything`` holds them all."""
        short = long = ""
        for field, text in texts:
            if field in _RESPONSES and len(text.strip()) < SHORT:
                short = short or f"{field}: {text}"
            elif len(text) >= LONG:
                long = long or f"{len(text):,} characters in {field}"
        if short:
            self._short.add(record_id, short)
        if long:
            self._long.add(record_id, long)
        if has_invisible(everything):
            found = Counter(INVISIBLE.findall(everything))
            self._characters.update(found)
            first = next((f"{field}: {text}" for field, text in texts if has_invisible(text)), "")
            self._invisible.add(record_id, first)

    def findings(self, records: int, commands: Commands) -> list[Finding]:
        """What was found in so many records."""

        def finding(
            key: str, title: str, tally: Tally, verdict: Verdict, meaning: str, command: str, *listings: Listing
        ) -> Finding:
            found: Verdict = verdict if tally.n else "ok"
            said = [command] if tally.n else []
            return Finding(key, title, tally.n, records, "records", found, meaning, said, tally.examples, listings)

        rows = [(f"U+{ord(c):04X}", str(n)) for c, n in self._characters.most_common()]
        by_character = [Listing(("character", "how many"), rows, align="lr", folded="By character")] if rows else []
        return [
            finding(
                "short_responses",
                "Very short responses",
                self._short,
                "look",
                f"A response of fewer than {SHORT} characters, white space apart. Empty ones are refused by every "
                "command.",
                commands.clean(drop="short-responses"),
            ),
            finding(
                "long_texts",
                "Very long texts",
                self._long,
                "look",
                f"A text of {LONG:,} characters or more. Where a prompt is too long its oldest history goes first; a "
                "record whose task and responses alone are too long is refused, or skipped and counted.",
                commands.prepare("--method ica --max-length 8192 --skip-invalid N"),
            ),
            finding(
                "invisible_characters",
                "Invisible characters",
                self._invisible,
                "look",
                "Control characters such as NUL, zero-width ones, and those that turn the direction of writing: nobody "
                "sees them and every tokenizer does. Joiners within emoji and scripts that need them are not counted.",
                commands.clean(drop="invisible"),
                *by_character,
            ),
        ]
