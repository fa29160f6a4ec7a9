"""Keys come from the environment only, and are written nowhere: not into files, messages or logs."""

import os
import re

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|AUTH", re.IGNORECASE)
_SHORTEST = 8
"""Characters: a shorter value is no key, and would be struck out of ordinary words."""


def redact(text: str) -> str:
    """A text without the values of environment variables whose names say that they are secret.

    Servers and libraries repeat what they were sent; whatever comes from them passes through here.
    """
    for name, value in _secrets():
        if value in text:
            text = text.replace(value, f"[{name}]")
    return text


def _secrets() -> list[tuple[str, str]]:
    """Names and values, the longest first: one may contain another."""
    found = [
        (name, value.strip())
        for name, value in os.environ.items()
        if _SECRET.search(name) and len(value.strip()) >= _SHORTEST
    ]
    return sorted(found, key=lambda pair: -len(pair[1]))
