"""A TCP proxy on loopback in front of a real server: refuses, swallows, delays, cuts or garbles on command."""
from __future__ import annotations

import socket
import struct
import threading
import time
from pathlib import Path
from typing import Self

from tests.servers.faulty import reserved

_CHUNK = 65_536


class FaultyProxy:
    """Forwards to a unix socket. `fault` is one of

    ok, refused (nothing listens, open connections are reset), hole (accepts and swallows, both ways, for ever),
    slow (each answer `delay` seconds late), garbage (answers are replaced by noise), cut (the connection is reset in the
    middle of an answer). A change holds for open connections as well.
    """

    def __init__(self, target: Path) -> None:
        self._target = str(target)
        self.fault = "ok"
        self.delay = 0.1
        self._stopped = False
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def set(self, fault: str) -> None:
        """Change what happens from now on."""
        before, self.fault = self.fault, fault
        if fault == "refused":
            # Closing alone does not wake the thread that accepts: it would take one more connection.
            _shut(self._listener)
            self._listener.close()
            self._reset_all()
            self._listener = reserved(self.port)
        elif before == "refused":
            self._listener.listen(256)
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        if fault == "ok":
            # What was swallowed is gone for good: those connections can only be given up.
            if before in {"hole", "garbage", "cut"}:
                self._reset_all()

    def close(self) -> None:
        self._stopped = True
        _shut(self._listener)
        self._listener.close()
        self._reset_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopped:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
            except OSError:
                _reset(client)
                continue
            with self._lock:
                self._pairs.add((client, server))
            for source, sink, answers in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._forward, args=(source, sink, answers), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        try:
            while chunk := source.recv(_CHUNK):
                if self.fault == "hole":
                    continue
                if answers and self.fault == "slow":
                    time.sleep(self.delay)
                if answers and self.fault == "garbage":
                    chunk = b"\x00\xffnoise" * 4
                if answers and self.fault == "cut":
                    sink.sendall(chunk[: len(chunk) // 2])
                    break
                sink.sendall(chunk)
        except OSError:
            pass
        finally:
            client, server = (sink, source) if answers else (source, sink)
            with self._lock:
                self._pairs.discard((client, server))
            _reset(client)
            # Closing alone leaves the connection standing while the other thread still reads from it.
            _shut(server)
            server.close()

    def _reset_all(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for client, server in pairs:
            _reset(client)
            _shut(server)


def _reset(connection: socket.socket) -> None:
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        return
    _shut(connection)
    connection.close()


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
