"""Keys come from the environment only, and are written nowhere: not into files, messages or logs."""

import json
import os
import re
from functools import cache

_SECRET = re.compile(
    r"(KEYS?|TOKENS?|SECRETS?|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|AUTH|AUTHORIZATION|(^|_)PAT)(_|\d|$)",
    re.IGNORECASE,
)
"""In the names of variables; ``GIT_AUTHOR_NAME`` and ``TOKENIZERS_PARALLELISM`` hold none."""
_SHORTEST = 8
"""Characters: a shorter value is no key, and would be struck out of ordinary words."""
_OWNER = re.compile(r"://[^/\s@]+@")
"""User and password in an address, such as a proxy's."""

_used: dict[str, str] = {}


def remember(name: str, value: str) -> None:
    """A key is about to be sent, so that it may come back: strike it out from now on, whatever its name.

    Args:
        name: Of the environment variable that holds it.
        value: The key.
    """
    _used[name] = value


def redact(text: str) -> str:
    """A text without keys that were used, values of variables that are called secret, and passwords of addresses.

    Servers and libraries repeat what they were sent; whatever comes from them passes through here, before it is cut to
    a length: a part of a key is one that nobody recognises.
    """
    if len(text) >= _SHORTEST:
        for name, value in _secrets():
            if value in text:
                text = text.replace(value, f"[{name}]")
    return _OWNER.sub("://[…]@", text) if "://" in text else text


@cache
def _is_called_secret(name: str) -> bool:
    return _SECRET.search(name) is not None


def _secrets() -> list[tuple[str, str]]:
    """Names and values, as they are and as JSON has them, the longest first: one may contain another."""
    named = [(name, os.environ[name].strip()) for name in os.environ if _is_called_secret(name)]
    found = {(name, value) for name, value in [*_used.items(), *named] if len(value) >= _SHORTEST}
    found |= {(name, json.dumps(value)[1:-1]) for name, value in found}
    return sorted(found, key=lambda pair: (-len(pair[1]), pair[0]))
