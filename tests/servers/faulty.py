"""An HTTP server on loopback whose answers can be delayed, cut, broken or refused while it runs."""
from __future__ import annotations

import json
import socket
import struct
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Fault:
    """How requests are answered instead of rightly.

    kind    ok, slow (rightly, after `seconds`), hang (not at all for `seconds`), status (`code` with an error body),
            garbage (200, not JSON), half (a body shorter than announced), cut (the connection is reset),
            drip (a byte at a time, `seconds` apart)
    """

    kind: str = "ok"
    code: int = 500
    seconds: float = 30.0


@dataclass(slots=True)
class Seen:
    """A request that arrived."""

    method: str
    path: str
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


class FaultyServer:
    """Subclasses answer in `answer`. `faults` are used up one request each, then `fault` holds for all."""

    def __init__(self) -> None:
        self.fault = Fault()
        self.faults: deque[Fault] = deque()
        self.seen: list[Seen] = []
        self._released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _handle(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(length)
                outer._serve(self, Seen(self.command, self.path, json.loads(raw) if raw else None, dict(self.headers)))

            def setup(self) -> None:
                super().setup()
                outer._connections.add(self.connection)

            def finish(self) -> None:
                outer._connections.discard(self.connection)
                super().finish()

            do_GET = do_POST = do_DELETE = _handle

            def log_message(self, *_: object) -> None:
                """Nothing is written beside the tests' own output."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that gave up is what these servers are for."""

        self._make = lambda port: Server(("127.0.0.1", port), Handler)
        self._server: ThreadingHTTPServer | None = None
        self._kept: socket.socket | None = None
        self._connections: set[socket.socket] = set()
        self.port = 0
        self.listen()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def listen(self) -> None:
        """Answer on the port, if it does not already."""
        if self._server is None:
            if self._kept is not None:
                self._kept.close()
            self._server = self._make(self.port)
            self.port = self._server.server_address[1]
            self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
            self._thread.start()

    def stop_listening(self) -> None:
        """Refuse new connections and reset the open ones."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(5)
            self._server = None
            self._kept = reserved(self.port)
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def answer(self, seen: Seen) -> tuple[int, Any]:
        """Status and JSON body of a right answer; bytes are sent as they are."""
        return 404, {"error": {"message": "not found"}}

    def error_body(self, code: int) -> Any:
        """The service's own form of an error."""
        return {"error": {"code": code, "message": f"made to fail with {code}"}}

    def release(self) -> None:
        """Let every delayed answer go at once."""
        self._released.set()
        self._released = threading.Event()

    def close(self) -> None:
        self._released.set()
        self.stop_listening()
        self._kept.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self, handler: BaseHTTPRequestHandler, seen: Seen) -> None:
        self.seen.append(seen)
        fault = self.faults.popleft() if self.faults else self.fault
        if fault.kind in {"slow", "hang"}:
            self._released.wait(fault.seconds)
        if fault.kind in {"cut", "hang"}:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.close_connection = True
            handler.connection.close()
            return
        code, body = (fault.code, self.error_body(fault.code)) if fault.kind == "status" else self.answer(seen)
        content = b"<html>not json" if fault.kind == "garbage" else body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(code)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if fault.kind == "half":
            handler.wfile.write(content[: len(content) // 2])
            handler.close_connection = True
        elif fault.kind == "drip":
            for position in range(len(content)):
                handler.wfile.write(content[position:position + 1])
                handler.wfile.flush()
                if self._released.wait(fault.seconds):
                    break
        else:
            handler.wfile.write(content)


class BlackHole:
    """Accepts connections (the kernel does) and never says a word."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)

    @property
    def port(self) -> int:
        return self._socket.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._socket.close()


def reserved(port: int = 0) -> socket.socket:
    """A port of this machine, any or this one: nothing listens on it, and nobody else can take it until this is closed."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", port))
    return held


@cache
def _nobody() -> socket.socket:
    return reserved()


def refused_port() -> int:
    """A port of this machine on which nothing listens, and nothing will as long as the process runs."""
    return _nobody().getsockname()[1]
