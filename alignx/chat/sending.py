"""Sending one request, once."""

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from alignx.chat.question import Request
from alignx.chat.receiving import Received, RejectedError, RetryError, failure, read_body, short
from alignx.chat.settings import ServerSettings
from alignx.errors import ApiError, SettingsError

if TYPE_CHECKING:
    import httpx2

_CONNECT = 15.0
"""Seconds within which a server accepts a connection, if there is one."""
_HEADERS: Final = {
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "user-agent",
}
"""All that is sent; the client would add what its environment variables say, and a description of this machine."""


class Sender:
    """A connection to one server, within one event loop.

    What is sent, and where, depends on the settings alone: the client's own environment variables (``OPENAI_BASE_URL``,
    ``OPENAI_ORG_ID``, ``OPENAI_CUSTOM_HEADERS``) change nothing, redirections are not followed, and no proxy stands
    before this machine.
    """

    def __init__(self, server: ServerSettings, model: str) -> None:
        """Prepare it; nothing is sent.

        Raises:
            SettingsError: The address, the key or the proxy cannot be used.
        """
        import httpx2
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        self._model = model
        self._url = server.url
        self._timeout = server.timeout
        self._key = server.key()
        most = server.concurrency
        try:
            transport = DefaultAsyncHttpxClient(
                follow_redirects=False,
                trust_env=not (server.is_here and server.url.startswith("http:")),
                limits=httpx2.Limits(max_connections=most, max_keepalive_connections=most),
                event_hooks={"request": [self._send_nothing_else]},
            )
        except (ImportError, ValueError) as error:
            raise SettingsError(f"the proxy in the environment cannot be used: {short(error)}") from None
        self._client = AsyncOpenAI(
            api_key=self._key,
            base_url=server.url,
            max_retries=0,
            timeout=httpx2.Timeout(server.timeout, connect=min(server.timeout, _CONNECT)),
            http_client=transport,
        )

    async def _send_nothing_else(self, request: "httpx2.Request") -> None:
        for name in set(request.headers) - _HEADERS:
            del request.headers[name]
        request.headers["Authorization"] = f"Bearer {self._key}"

    async def __aenter__(self) -> "Sender":
        """Itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close its connections."""
        await self._client.close()

    async def look(self) -> dict[str, Any]:
        """What the server says of the model, before anything is paid.

        Returns:
            Its ``shutdown_date`` if it is to be shut down; nothing where the server does not say, as many do not.

        Raises:
            ApiError: Nobody answers at the address, or the model has been shut down.
        """
        import httpx2
        from openai import APIConnectionError

        try:
            async with asyncio.timeout(min(self._timeout, 2 * _CONNECT)):
                found = await self._client.models.retrieve(self._model)
        except APIConnectionError as error:
            if isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
                raise ApiError(
                    f"{self._url}: no server answers ({short(error.__cause__)}); is it running, is the address right?"
                ) from None
            return {}
        except Exception:  # a courtesy: whatever is wrong here, the requests themselves will say
            return {}
        date = getattr(found, "shutdown_date", None)
        if not isinstance(date, str):
            return {}
        if date <= time.strftime("%Y-%m-%d"):
            raise ApiError(f"{self._url}: {self._model} was shut down on {short(date)}; choose another model")
        return {"shutdown_date": short(date)}

    async def send(self, request: Request) -> Received:
        """Ask once.

        Raises:
            ApiError: No request to this server can succeed.
            NoTextError: It replied without a text: a refusal, a filter, nothing at all.
            RejectedError: This one cannot.
            RetryError: The server failed, or is asked too much.
        """
        begun = time.monotonic()
        content = await self._content(request)
        return read_body(content, time.monotonic() - begun)

    async def _content(self, request: Request) -> bytes:
        """The body of the reply."""
        import httpx2
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        try:
            async with asyncio.timeout(self._timeout):
                response = await self._client.post(request.path, body=request.body, cast_to=httpx2.Response)
                return response.content
        except (APITimeoutError, TimeoutError) as error:
            connected = not isinstance(error.__cause__, httpx2.ConnectTimeout)
            raise RetryError(f"no reply within {self._timeout:g} s", counted=connected) from None
        except APIConnectionError as error:
            cause = error.__cause__ or error
            connected = not isinstance(cause, httpx2.ConnectError | httpx2.ProxyError)
            raise RetryError(f"the connection failed: {short(cause)}", counted=connected) from None
        except APIStatusError as error:
            raise failure(self._url, self._model, error) from None
        except UnicodeEncodeError:
            raise RejectedError("the text holds characters that cannot be sent (lone surrogates)") from None
        except Exception as error:  # what the library makes of a reply that is beyond it
            raise RetryError(f"the reply cannot be decoded: {short(error)}") from None
