"""The pool of connections to one database."""
from __future__ import annotations

import re
from queue import Empty

import psycopg2
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

# The driver tells no code for a connection that is not made. A role, a server, the places kept for others, a PgBouncer.
_NO_MORE = re.compile(r"too many (clients|connections)|remaining connection slots|no more connections allowed")


class Pool(QueuePool):
    """While the server gives no more connections than this pool has, whoever wants one waits for one of these: a server that is
    shared and full answers, and is not to be taken for one that is away.

    It waits as long as where the pool itself is at its limit, and raises the same then.
    """

    def _do_get(self) -> ConnectionPoolEntry:
        try:
            return super()._do_get()
        except psycopg2.OperationalError as error:
            if not _NO_MORE.search(str(error)) or self.size() + self.overflow() <= 0:
                raise
            reason = str(error).strip().splitlines()[0]
        try:
            return self._pool.get(True, self._timeout)
        except Empty:
            raise PoolTimeout(f"none of this process' connections came free in time, and there are no more: {reason}") from None
