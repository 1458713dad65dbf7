"""TLS in front of a Postgres that knows none, as a managed one has it: what comes in the clear is refused."""
from __future__ import annotations

import select
import socket
import ssl
import threading
from pathlib import Path
from typing import Self

from tests.servers.certificates import Certificate

# What Postgres' clients ask first.
_TLS_WANTED = (8).to_bytes(4, "big") + (80_877_103).to_bytes(4, "big")


class TlsFront:
    """On a loopback port of its own, with this certificate; what was said goes on to the server's unix socket `target`."""

    def __init__(self, target: Path, certificate: Certificate) -> None:
        self._target = str(target)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate.certificate, certificate.key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # Closing alone does not wake the thread that accepts.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            try:
                if client.recv(len(_TLS_WANTED), socket.MSG_WAITALL) != _TLS_WANTED:
                    return
                client.sendall(b"S")
                with self._context.wrap_socket(client, server_side=True) as inner:
                    server.connect(self._target)
                    while True:
                        # One thread for both ways: a TLS connection does not bear two.
                        for source in [inner] if inner.pending() else select.select([inner, server], [], [])[0]:
                            if not (block := source.recv(65_536)):
                                return
                            (server if source is inner else inner).sendall(block)
            except OSError:
                return
