"""A small answer does not wait for the receiver's acknowledgement; a process that may open no more files says so, and not all the time."""
from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys

import pytest

from engine.web import console
from tests.serving import ROOT


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_connections_that_a_starting_console_accepts_send_small_packets_at_once(
    monkeypatch: pytest.MonkeyPatch, family: socket.AddressFamily, host: str
) -> None:
    monkeypatch.setattr(console.process, "start", lambda then: None)
    monkeypatch.setattr(console.process, "stop", lambda: None)
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


def test_that_nobody_more_can_be_accepted_is_written_once_and_everything_else_each_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(console.process, "start", lambda then: None)
    monkeypatch.setattr(console.process, "stop", lambda: None)

    async def full() -> None:
        async with console.lifespan(None):
            for _ in range(100):
                asyncio.get_running_loop().call_exception_handler({"message": "socket.accept() out of system resource", "exception": OSError(24, "full")})
            for _ in range(2):
                asyncio.get_running_loop().call_exception_handler({"message": "something else"})

    asyncio.run(full())
    logging.getLogger("asyncio").filters.clear()
    assert [record.msg.split(":")[0].splitlines()[0] for record in caplog.records] == ["socket.accept() out of system resource", *2 * ["something else"]]


@pytest.mark.parametrize(("limit", "said"), [(256, "may open 256 files, enough for about 49 open pages"), (4096, "")])
def test_a_limit_of_open_files_that_is_too_low_is_told_with_what_it_is_enough_for(limit: int, said: str) -> None:
    child = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit})); from engine.commands import serve; print(serve.open_files())"
    done = subprocess.run([sys.executable, "-c", child], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said in done.stdout and bool(done.stdout.strip()) == bool(said)
