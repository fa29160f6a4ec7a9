"""A small server of chat completions on this machine, whose replies come from a function.

For tests, for demonstrations, and for a local model behind the protocol that everything else speaks:

    with ChatServer(lambda request: '{"verdict": "tie"}', model="coin") as server:
        OpenAI(base_url=server.base_url, api_key="unused").chat.completions.create(...)
"""

import json
import math
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from email.message import Message
from typing import Any, Final, Self
from urllib.parse import unquote
from uuid import uuid4

from alignx.chat.connections import Listener, Raw
from alignx.errors import SettingsError

CHARACTERS_PER_TOKEN: Final = 4
"""Usage is counted, and replies are cut to ``max_completion_tokens``, at this ratio: there is no tokenizer here."""


class Asked(dict[str, Any]):
    """The body of a request, parsed, and the headers that came with it."""

    def __init__(self, body: Mapping[str, Any], headers: Message | None = None) -> None:
        super().__init__(body)
        self.headers = Message() if headers is None else headers


Answer = Callable[[Asked], str | Raw]


class ChatServer:
    """Serves ``/v1/chat/completions`` and ``/v1/models`` from background threads while its block runs.

    Every connection has a thread of its own, so that ``answer`` may be called from several at once. When the block
    ends, connections are closed, and whoever waits for a reply loses it. The client's key is not looked at.

    Args:
        answer: From a request to the content of its reply, or to a :class:`~alignx.chat.connections.Raw` reply. What it
            raises is sent to the client as status 500 with the message.
        model: The one model there is; requests for another get status 404.
        port: To listen on; 0 takes a free one.
        host: Address to listen on; only this machine can reach the default.
        latency: Seconds that every completion waits before it is sent.
        shutdown_date: What the list of models says of the model's end, ``YYYY-MM-DD``. May be set while serving.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        model: str,
        port: int = 0,
        host: str = "127.0.0.1",
        latency: float = 0.0,
        shutdown_date: str | None = None,
    ) -> None:
        self.answer = answer
        self.model = model
        self.latency = latency
        self.shutdown_date = shutdown_date
        self._address = host, port
        self._created = int(time.time())
        self._listener: Listener | None = None

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:PORT/v1``, while it serves."""
        host, port = self._serving().server_address[:2]
        return f"http://{host!s}:{port}/v1"

    def __enter__(self) -> Self:
        host, port = self._address
        try:
            self._listener = Listener(self._address, self.respond, failure)
        except (OSError, OverflowError) as error:
            raise SettingsError(f"cannot listen on {host}, port {port}: {error}; port 0 takes a free one") from error
        return self

    def __exit__(self, *_: object) -> None:
        listener, self._listener = self._serving(), None
        listener.stop()

    def serve_forever(self) -> None:
        """Return at SIGINT or SIGTERM, or at the end of the block in another thread.

        Call it inside the block, from the main thread:

            with ChatServer(answer, model="coin", port=8000) as server:
                print(server.base_url)
                server.serve_forever()
        """
        stopping, numbers = self._serving().stopping, (signal.SIGINT, signal.SIGTERM)
        with suppress(KeyboardInterrupt):
            before = [signal.signal(number, signal.default_int_handler) for number in numbers]
            try:
                while not stopping.wait(0.2):  # a signal that comes just before a wait does not end it
                    pass
            finally:
                for number, handler in zip(numbers, before, strict=True):
                    signal.signal(number, handler)

    def respond(self, method: str, path: str, headers: Message, body: bytes) -> Raw:
        """The reply to a request, whatever it is."""
        match method, unquote(path.partition("?")[0]).rstrip("/"):
            case "POST", "/v1/chat/completions":
                return self._complete(headers, body)
            case "GET", "/v1/models":
                return Raw.json({"object": "list", "data": [self._described()]})
            case "GET", found if found.startswith("/v1/models/"):
                name = found.removeprefix("/v1/models/")
                return Raw.json(self._described()) if name == self.model else self._no_such_model(name)
        return failure(404, f"Invalid URL ({method} {path})")

    def _serving(self) -> Listener:
        if self._listener is None:
            raise SettingsError("this server is not serving, and has no address; use it as a context manager")
        return self._listener

    def _complete(self, headers: Message, body: bytes) -> Raw:
        try:
            parsed = json.loads(body)
        except (ValueError, RecursionError) as error:
            return failure(400, f"We could not parse the JSON body of your request: {error}")
        if not isinstance(parsed, dict):
            return failure(400, f"The body of the request is a {type(parsed).__name__}, expected an object")
        asked = Asked(parsed, headers)
        if refused := _cannot_be_asked(asked):
            return refused
        if asked["model"] != self.model:
            return self._no_such_model(asked["model"])
        reply = self._answered(asked)
        return replace(reply, hold=reply.hold + self.latency)

    def _answered(self, asked: Asked) -> Raw:
        try:
            found = self.answer(asked)
            if isinstance(found, str):
                return Raw.json(completion(asked, found))
            if not isinstance(found, Raw):
                raise TypeError(f"the answer is a {type(found).__name__}, expected a str or a Raw reply")
        except Exception as error:
            return failure(500, f"{type(error).__name__}: {error}", kind="server_error")
        return found

    def _described(self) -> dict[str, Any]:
        known = {"id": self.model, "object": "model", "created": self._created, "owned_by": "alignx"}
        return {**known, "shutdown_date": self.shutdown_date}

    def _no_such_model(self, name: str) -> Raw:
        message = f"The model `{name}` does not exist; this server has `{self.model}`"
        return failure(404, message, code="model_not_found", param="model")


def completion(
    request: Mapping[str, Any], content: str | None, finish_reason: str | None = None, *, refusal: str | None = None
) -> dict[str, Any]:
    """The ``chat.completion`` object that says ``content``.

    Args:
        request: Whose texts are counted, each total rounded up to whole tokens, and which may limit the reply's length.
        content: What is said; cut at the limit unless ``finish_reason`` is given.
        finish_reason: Why the content ends where it does; decided by its length if not given.
        refusal: Said in place of the content.
    """
    if finish_reason is None:
        content, finish_reason = _within_limit(request, content)
    asked = _tokens(sum(_characters(message.get("content")) for message in request["messages"]))
    said = _tokens(len(content or "") + len(refusal or ""))
    message = {"role": "assistant", "content": content, "refusal": refusal}
    return {
        "id": f"chatcmpl-{uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request["model"],
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said},
    }


def failure(
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    code: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Raw:
    """An error in the shape that clients of this protocol read; ``kind`` is its ``type``."""
    error = {"message": message, "type": kind, "param": param, "code": code}
    return Raw.json({"error": error}, status, headers)


def _cannot_be_asked(asked: Asked) -> Raw | None:
    """The refusal of a request that is JSON and nothing that can be answered here."""
    messages = asked.get("messages")
    if not isinstance(asked.get("model"), str):
        return failure(400, "you must provide a model parameter", param="model")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        return failure(400, "'messages' must be a list of one object or more", param="messages")
    if asked.get("stream"):
        return failure(400, "this server does not stream; leave 'stream' out", param="stream")
    if asked.get("n") not in (None, 1):
        return failure(400, "this server gives one choice; leave 'n' out", param="n")
    return None


def _within_limit(request: Mapping[str, Any], content: str | None) -> tuple[str | None, str]:
    """As much of the content as the requested number of tokens has room for, and why it ends there."""
    limit = request.get("max_completion_tokens") or request.get("max_tokens")
    if content is None or not isinstance(limit, int) or _tokens(len(content)) <= limit:
        return content, "stop"
    return content[: limit * CHARACTERS_PER_TOKEN], "length"


def _characters(content: object) -> int:
    if isinstance(content, list):
        return sum(len(str(part.get("text", ""))) for part in content if isinstance(part, dict))
    return len(content) if isinstance(content, str) else 0


def _tokens(characters: int) -> int:
    return math.ceil(characters / CHARACTERS_PER_TOKEN)
