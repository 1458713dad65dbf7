"""The socket that the console listens on."""
from __future__ import annotations

import logging
import os
import socket
import time
from contextlib import suppress

import psutil

# How asyncio's line begins, thousands of times a second, while the process may open no more files.
_FULL = "socket.accept() out of system resource"
_TOLD_EVERY = 60.0


def answer_at_once() -> None:
    """Whoever is accepted from now on gets small packets at once, on every port that this process listens on.

    Streamlit makes its socket without naming TCP, and asyncio switches Nagle's algorithm off only where it is named. So the
    second half of each small answer waited for the receiver's delayed acknowledgement: 44 ms for `/healthz` on a connection that is
    kept open, 2 without. A connection inherits the option from the socket that accepts it.
    """
    with suppress(psutil.Error, OSError):
        for one in psutil.Process().net_connections(kind="tcp"):
            if one.status == psutil.CONN_LISTEN and one.fd >= 0:
                with socket.socket(fileno=os.dup(one.fd)) as listening:
                    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def tell_now_and_then_when_full() -> None:
    """That nobody more can be accepted is written once a minute: a disk must not fill up with it."""
    logger = logging.getLogger("asyncio")
    if not any(isinstance(one, _NowAndThen) for one in logger.filters):
        logger.addFilter(_NowAndThen())


class _NowAndThen(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self._told = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        if not str(record.msg).startswith(_FULL):
            return True
        due = time.monotonic() - self._told >= _TOLD_EVERY
        self._told = time.monotonic() if due else self._told
        return due
