"""Which server is asked, how patiently, and for how much money."""

import os
import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from alignx.errors import SettingsError
from alignx.settings import Settings, setting

PUBLIC_URL = "https://api.openai.com/v1"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Structure = Literal["schema", "json", "text"]


class ServerSettings(Settings):
    """What every command that asks a server takes."""

    base_url: str | None = setting(None, f"Of an OpenAI-compatible server; by default {PUBLIC_URL}.")
    api_key_env: str = setting("OPENAI_API_KEY", "Name of the environment variable that holds the key; never the key.")
    concurrency: int = setting(
        16, "Requests under way at once, at most; fewer by itself while the server objects.", gt=0
    )
    timeout: float = setting(120.0, "Seconds to wait for one reply.", gt=0)
    patience: float = setting(600.0, "Seconds for which one request is tried again when the server fails.", ge=0)
    tries: int = setting(3, "Replies to one request before it is given up as unreadable.", gt=0)
    temperature: float | None = setting(0.0, "Of sampling; none leaves it to the server.", ge=0)
    structure: Structure = setting(
        "schema", "How the form of a reply is enforced: by its schema, as any JSON, or by the text alone."
    )
    prices: Path | None = setting(None, "CSV of prices, if not the dated list that comes with the package.")
    max_cost: float | None = setting(
        None, "Stop before more than this could be spent, in the currency of the prices.", gt=0
    )
    dry_run: bool = setting(False, "Only say how many requests it would take, and what they would cost.")

    @property
    def url(self) -> str:
        """Where requests go.

        Raises:
            SettingsError: It is no address, or it holds a key (which is not repeated).
        """
        url = self.base_url or PUBLIC_URL
        try:
            parts = urlsplit(url)
            clean = not (parts.username or parts.password or parts.query or parts.fragment)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or True)
        except ValueError:
            clean, usable = True, False
        if not clean:
            raise SettingsError(
                "--base-url: holds a user name, a password or a query, expected scheme, host, port and path only; a "
                "key goes into the environment variable that --api-key-env names"
            )
        if not usable:
            raise SettingsError(f"--base-url: got {url!r}, expected an address such as http://localhost:8000/v1")
        return url.rstrip("/")

    @property
    def is_here(self) -> bool:
        """Whether the server is on this machine."""
        return urlsplit(self.url).hostname in ("localhost", "127.0.0.1", "::1")

    def key(self) -> str:
        """The key, from the environment; a server other than the public one may need none.

        Raises:
            SettingsError: There is none, or the setting is not the name of a variable (it may be the key, so it is not
                repeated).
        """
        if not _NAME.fullmatch(self.api_key_env):
            raise SettingsError(
                "--api-key-env: expected the name of an environment variable, such as OPENAI_API_KEY; if this was the "
                "key itself, it is now in your shell's history"
            )
        found = os.environ.get(self.api_key_env, "").strip()
        if not found and self.base_url is None:
            raise SettingsError(
                f"{self.api_key_env} is not set: put the key of {PUBLIC_URL} there, or name another server: --base-url"
            )
        return found or "none"
