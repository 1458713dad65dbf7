"""A limit on how long a connection may stay silent: psycopg2 waits for ever for a server that is there and says nothing.

The server's own statement timeout does not help when the server is paused, or when something between swallows packets.
Connections made by `db.session.connect` announce what they wait for; one thread shuts the sockets of those that wait too
long, which ends the wait with an ordinary lost connection.
"""
from __future__ import annotations

import math
import os
import socket
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import psycopg2
import psycopg2.extensions

# Somewhat longer than the server's statement timeout, which should win where it can.
PATIENCE = 17.0
_LOOK_EVERY = 0.1

_patience: ContextVar[float] = ContextVar("patience", default=PATIENCE)


class patient:  # noqa: N801 - used like a function
    """Statements of this block may stay unanswered for so many seconds; None leaves things as they are."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._token = None if self._seconds is None else _patience.set(self._seconds)

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _patience.reset(self._token)


class Silence(psycopg2.OperationalError):
    """The server is there and did not answer in time; the connection is lost."""


class _Watchdog:
    """Holds what is waited for, as due time and socket, and shuts what is overdue."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waits: dict[int, tuple[float, int]] = {}
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def call(self, fd: int, patience: float, work: Callable[..., Any], *arguments: Any) -> Any:
        key = threading.get_ident()
        with self._lock:
            if self._thread is None:
                # Remembered once it runs: where the machine gives no thread now, the next call asks again.
                thread = threading.Thread(target=self._watch, name="database-watchdog", daemon=True)
                thread.start()
                self._thread = thread
            self._waits[key] = (time.monotonic() + patience, fd)
        if not self._wake.is_set():
            self._wake.set()
        try:
            return work(*arguments)
        except psycopg2.Error as error:
            with self._lock:
                waited = self._waits.pop(key, None) is not None
            if not waited:
                raise Silence(f"no answer within {patience:.1f} s") from error
            raise
        finally:
            # Under the lock, so that a socket is never shut after its number has gone to somebody else.
            with self._lock:
                self._waits.pop(key, None)

    def _watch(self) -> None:
        while True:
            self._wake.wait()
            time.sleep(_LOOK_EVERY)
            now = time.monotonic()
            with self._lock:
                if not self._waits:
                    self._wake.clear()
                for key in [key for key, (due, _) in self._waits.items() if due <= now]:
                    _shut(self._waits.pop(key)[1])


def _shut(fd: int) -> None:
    try:
        with socket.socket(fileno=os.dup(fd)) as copy:
            copy.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The other side has closed it in the same moment.
        return


_watchdog = _Watchdog()


class WatchedConnection(psycopg2.extensions.connection):
    """A connection whose commit and rollback cannot wait for ever."""

    unlimited = False

    def commit(self) -> None:
        self._ended(super().commit)

    def rollback(self) -> None:
        if self.closed:
            # The server has rolled back; the pool finds out when somebody takes this connection again.
            self.unlimited = False
        elif self.status == psycopg2.extensions.STATUS_READY:
            # No transaction was begun: nothing is sent, so nothing has to be waited for.
            self.unlimited = False
            super().rollback()
        else:
            self._ended(super().rollback)

    def set_isolation_level(self, level: int) -> None:
        patience = _allowed(self)
        if self.closed or patience == math.inf:
            super().set_isolation_level(level)
        else:
            _watchdog.call(self.fileno(), patience, super().set_isolation_level, level)

    def _ended(self, work: Callable[[], None]) -> None:
        patience = _allowed(self)
        self.unlimited = False
        work() if self.closed or patience == math.inf else _watchdog.call(self.fileno(), patience, work)


class WatchedCursor(psycopg2.extensions.cursor):
    """A cursor whose statements cannot wait for ever; `set local statement_timeout` lifts that for its transaction."""

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - the driver's own name
        connection = self.connection
        if isinstance(query, str) and "statement_timeout" in query:
            connection.unlimited = True
        patience = _allowed(connection)
        if patience == math.inf or connection.closed:
            super().execute(query, vars)
        else:
            _watchdog.call(connection.fileno(), patience, super().execute, query, vars)


def _allowed(connection: Any) -> float:
    return math.inf if connection.unlimited else _patience.get()
