"""A small answer does not wait for the receiver's acknowledgement."""
from __future__ import annotations

import asyncio
import socket

import pytest

from engine.web import console


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_connections_that_a_starting_console_accepts_send_small_packets_at_once(
    monkeypatch: pytest.MonkeyPatch, family: socket.AddressFamily, host: str
) -> None:
    monkeypatch.setattr(console.bootstrap, "start", lambda then: None)
    monkeypatch.setattr(console.bootstrap, "stop", lambda: None)
    # As Streamlit makes it: without naming the protocol.
    with socket.socket(family) as listening:
        listening.bind((host, 0))
        listening.listen()

        def delayed() -> bool:
            with socket.create_connection(listening.getsockname()[:2]), listening.accept()[0] as accepted:
                return accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0

        async def begin() -> None:
            async with console.lifespan(None):
                pass

        assert delayed()
        asyncio.run(begin())
        assert not delayed()
