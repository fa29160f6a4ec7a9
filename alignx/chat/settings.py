"""Which server is asked, how patiently, and for how much money."""

import os
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import field_validator

from alignx.chat.secrets import remember
from alignx.errors import SettingsError
from alignx.settings import Settings, setting

PUBLIC_URL = "https://api.openai.com/v1"
_DEFAULT_KEY = "OPENAI_API_KEY"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY = re.compile(r"[!-~]+")
"""What a header can carry: visible ASCII without spaces."""

Structure = Literal["schema", "json", "text"]


class ServerSettings(Settings):
    """What every command that asks a server takes."""

    base_url: str | None = setting(None, f"Of an OpenAI-compatible server; by default {PUBLIC_URL}.")
    api_key_env: str = setting(_DEFAULT_KEY, "Name of the environment variable that holds the key; never the key.")
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

    @field_validator("temperature", mode="before")
    @classmethod
    def _none_can_be_written(cls, value: object) -> object:
        return None if isinstance(value, str) and value.strip().lower() in ("none", "null") else value

    @property
    def url(self) -> str:
        """Where requests go.

        Raises:
            SettingsError: It is no address, or it holds a key (which is not repeated).
        """
        if self.base_url is None and os.environ.get("OPENAI_BASE_URL"):
            raise SettingsError(
                "--base-url: OPENAI_BASE_URL is set and not read here, so that texts never go where nobody meant them "
                f"to; name the server: --base-url, and {PUBLIC_URL} if that is meant"
            )
        url = PUBLIC_URL if self.base_url is None else self.base_url
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if any(sign in url for sign in "@?#"):
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
        host = urlsplit(self.url).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")

    def key(self) -> str:
        """The key, from the environment; a server other than the public one may need none.

        Raises:
            SettingsError: There is none, or it is no key, or the setting is not the name of a variable (it may be the
                key, so it is not repeated).
        """
        if not _NAME.fullmatch(self.api_key_env):
            raise SettingsError(
                "--api-key-env: expected the name of an environment variable, such as OPENAI_API_KEY; if this was the "
                "key itself, it is now in your shell's history"
            )
        found = os.environ.get(self.api_key_env, "").strip()
        if not found:
            return self._no_key()
        if not _KEY.fullmatch(found):
            raise SettingsError(
                "the environment variable that --api-key-env names holds spaces, line breaks or other characters that "
                "no key has, expected a key alone"
            )
        remember(self.api_key_env, found)
        return found

    def _no_key(self) -> str:
        named = self.api_key_env != _DEFAULT_KEY
        if self.base_url is not None and not named:
            return "none"
        # The name is not repeated unless it is the default: a key put there by mistake can look like a name.
        name = "the environment variable that --api-key-env names" if named else _DEFAULT_KEY
        server = "" if self.base_url is not None else f" of {PUBLIC_URL}"
        other = "" if self.base_url is not None else ", or name another server: --base-url"
        raise SettingsError(f"{name} is not set: put the key{server} there{other}")
