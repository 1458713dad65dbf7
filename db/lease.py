"""One connection of the pool for the statements of one ticket."""
from __future__ import annotations

import threading

from sqlalchemy import Engine
from sqlalchemy.pool import PoolProxiedConnection

from db.session import TICKET_PATIENCE, patient, translated
from engine.errors import ServiceUnavailable

_thread = threading.local()


class ConnectionLease:
    """An `engine.lease.Lease` of a connection in autocommit mode, for prepared statements.

    Taking a connection and giving it back costs as much as a short statement when the processor has other things in its
    caches. So it is taken while the embedder works and given back after the decision.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._connection: PoolProxiedConnection | None = None

    def __enter__(self) -> None:
        self._lock.acquire()
        try:
            if self._connection is None or not self._connection.is_valid:
                self._connection = self._taken()
        except BaseException:
            # No block begins that would end: whoever releases the lease must not wait for it.
            self._lock.release()
            raise
        _thread.held = self._engine, self._connection

    def __exit__(self, *_: object) -> None:
        _thread.held = None, None
        self._lock.release()

    def take(self) -> None:
        """Take the connection now, for a block that follows."""
        with self:
            return

    def release(self) -> None:
        """Give the connection back, if there is one; waits for the thread that uses it."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is None:
            return
        if connection.is_valid and connection.driver_connection.closed:
            # The pool would try to roll back, and complain.
            connection.invalidate()
        elif connection.is_valid:
            connection.driver_connection.autocommit = False
        connection.close()

    def _taken(self) -> PoolProxiedConnection | None:
        try:
            with patient(TICKET_PATIENCE), translated(self._engine):
                connection = self._engine.raw_connection()
        except ServiceUnavailable:
            # The statement will say so itself, to somebody who knows what to do then.
            return None
        connection.driver_connection.autocommit = True
        return connection


def held(engine: Engine) -> PoolProxiedConnection | None:
    """The connection of the lease whose block this thread is in, if it is one of this engine's."""
    owner, connection = getattr(_thread, "held", (None, None))
    return connection if owner is engine else None
