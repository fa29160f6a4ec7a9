"""Listening on a port: requests come in, byte-for-byte replies go out, and the end leaves no connection behind."""

import json
import math
import select
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from http.client import responses as phrases
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, Self
from uuid import uuid4

_LARGEST_BODY: Final = 64 << 20
_PATIENCE: Final = 5.0
"""Seconds that the end waits for replies that are still being made."""


@dataclass(frozen=True)
class Raw:
    """A reply byte for byte."""

    status: int | None = 200
    """HTTP status; ``None`` closes the connection without a word."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Beside ``Content-Type`` (JSON) and ``Content-Length`` (of the body), which these replace."""
    body: bytes = b""
    close: bool = False
    """Whether the connection ends with this reply."""
    hold: float = 0.0
    """Seconds to wait before it is sent; may be infinite. The wait ends early when the client leaves."""
    leaving: Callable[[bool], None] | None = None
    """Called once, just before the first byte is sent, or with false when nobody is left to send it to."""

    @classmethod
    def json(cls, value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Self:
        """The reply that says ``value``."""
        return cls(status=status, headers=headers or {}, body=json.dumps(value).encode())


Respond = Callable[[str, str, Message, bytes], Raw]
"""From method, path, headers and body to the reply; its exceptions would end the connection without one."""
Refuse = Callable[[int, str], Raw]
"""From a status, and what is wrong with a request that is no proper HTTP, to the reply."""


class Listener(socketserver.ThreadingTCPServer):
    """Accepts connections, gives a thread to each, and can end those that it has accepted.

    Raises:
        OSError: The address cannot be listened on.
    """

    allow_reuse_address = True
    request_queue_size = 1024  # connections that may come at once; the default of 5 refuses some

    def __init__(self, address: tuple[str, int], respond: Respond, refuse: Refuse) -> None:
        self.respond, self.refuse = respond, refuse
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._talking: list[threading.Thread] = []
        super().__init__(address, _Connection)
        self._accepting = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True, name="chat-server")
        self._accepting.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Talk with a new client from a thread that :meth:`stop` knows of and that keeps no interpreter alive."""
        arguments = request, client_address
        thread = threading.Thread(target=self.process_request_thread, args=arguments, daemon=True, name="chat-client")
        with self._lock:
            self._open.add(request)
            self._talking = [*(other for other in self._talking if other.is_alive()), thread]
            thread.start()

    def shutdown_request(self, request: Any) -> None:
        """End one connection."""
        with self._lock:  # stop() never touches a socket that is closed, nor its successor of the same number
            self._open.discard(request)
            super().shutdown_request(request)

    def stop(self) -> None:
        """Close the port and every connection; threads whose reply takes longer than 5 seconds are left behind."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):  # the client may have left
                    connection.shutdown(socket.SHUT_RDWR)  # wakes whoever reads from it or waits on it
        patience = time.monotonic() + _PATIENCE
        for thread in (self._accepting, *self._talking):
            thread.join(max(0.0, patience - time.monotonic()))


class _Connection(BaseHTTPRequestHandler):
    """One connection, kept for as many requests as the client likes."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client has left, or the server stops
            super().handle()

    def do_GET(self) -> None:
        if (body := self._body()) is not None:
            self._send(self.server.respond(self.command, self.path, self.headers, body))

    do_POST = do_GET

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            self.send_error(411, "a request needs the Content-Length of its body")
        elif int(length) > _LARGEST_BODY:
            self.send_error(413, f"the body has {length} bytes, at most {_LARGEST_BODY} are read")
        elif len(body := self.rfile.read(int(length))) < int(length):
            self.close_connection = True  # the client has left in the middle
        else:
            return body
        return None

    def _send(self, raw: Raw) -> None:
        there = self._wait(raw.hold)
        if raw.leaving is not None:
            raw.leaving(there)
        self.close_connection |= raw.close or raw.status is None or not there
        if not there or raw.status is None:
            return
        fields = {
            "Content-Type": "application/json",
            "Content-Length": str(len(raw.body)),
            "Connection": "close" if self.close_connection else "keep-alive",
            "x-request-id": f"req_{uuid4().hex}",
            **raw.headers,
        }
        head = [f"HTTP/1.1 {raw.status} {phrases.get(raw.status, '')}"]
        head += [f"{name}: {value}" for name, value in fields.items()]
        self.connection.sendall("\r\n".join([*head, "", ""]).encode("latin-1") + raw.body)

    def _wait(self, seconds: float) -> bool:
        """Whether the client is still there after so long; its leaving, and the server's end, end the wait."""
        ready = time.monotonic() + seconds
        waiting = select.poll()
        waiting.register(self.connection, select.POLLIN)
        if not waiting.poll(None if seconds == math.inf else math.ceil(seconds * 1000)):
            return True
        try:
            if not self.connection.recv(1, socket.MSG_PEEK):
                return False
        except ConnectionError:
            return False
        # It has sent its next request already, so that its leaving would not be seen.
        return not self.server.stopping.wait(min(max(0.0, ready - time.monotonic()), threading.TIMEOUT_MAX))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is no proper HTTP."""
        refusal = self.server.refuse(code, message or explain or phrases[code])
        self.close_connection = True  # nobody knows where the next request would begin
        self._send(refusal)

    def log_message(self, *_: object) -> None:
        """Say nothing: requests may hold keys, and there are thousands of them."""
