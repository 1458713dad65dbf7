"""The pool of connections to one database."""
from __future__ import annotations

import re
import time

import psycopg2
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool
from sqlalchemy.util.queue import Empty  # not the standard library's: the pool's own queue raises this one

# The driver tells no code for a connection that is not made. A role, a server, the places kept for others, a PgBouncer.
_NO_MORE = re.compile(r"too many (clients|connections)|remaining connection slots|no more connections allowed")


class Pool(QueuePool):
    """While the server gives no more connections than this pool has, whoever wants one waits for one of these: a server that is
    shared and full answers, and is not to be taken for one that is away.

    It waits as long as where the pool itself is at its limit, and raises the same then.
    """

    def _do_get(self) -> ConnectionPoolEntry:
        until = time.monotonic() + self._timeout
        try:
            return self._connected(super()._do_get())
        except psycopg2.OperationalError as error:
            reason = self._full(error)
        while True:
            try:
                return self._connected(self._pool.get(True, max(0.0, until - time.monotonic())))
            except psycopg2.OperationalError as error:
                reason = self._full(error)
            except Empty:
                raise PoolTimeout(f"none of this process' connections came free in time, and there are no more: {reason}") from None

    def _connected(self, record: ConnectionPoolEntry) -> ConnectionPoolEntry:
        # One that was lost or is too old connects anew. Back in the pool it would lie on top of those that are alive.
        try:
            record.get_connection()
        except BaseException:
            self._dec_overflow()
            raise
        return record

    def _full(self, error: psycopg2.OperationalError) -> str:
        if not _NO_MORE.search(str(error)) or self.size() + self.overflow() <= 0:
            raise error
        return str(error).strip().splitlines()[0]
