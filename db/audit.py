"""The audit log's rows: added one after the other, never changed; each carries the hash of the one before."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Engine, Row, event, insert, select, text

from db.models_access import audit_head, audit_log
from db.session import reading, translated, writing

GENESIS = "0" * 64


class AuditTable:
    """`seal(previous_hash, row)` gives the hash of a new row; the row already has its number.

    With a `snapshot` that another transaction has exported, the chain is read as that transaction sees it.
    """

    def __init__(self, engine: Engine, *, seal: Callable[[str, dict[str, Any]], str], snapshot: str = "") -> None:
        self._engine = engine
        self._seal = seal
        self._snapshot = snapshot

    def add(self, row: dict[str, Any]) -> tuple[int, str]:
        """Append one row in a transaction of its own; its number and hash."""
        with writing(self._engine) as connection:
            return self._append(connection, row)

    def add_to(self, connection: Connection, row: dict[str, Any], *, stored: Callable[[int, str], None]) -> None:
        """Append one row in the caller's transaction; `stored` is told its number and hash when that commits.

        Other writers wait until it ends, so that the chain has one end.
        """
        sealed = self._append(connection, row)
        event.listen(connection, "commit", lambda _: stored(*sealed), once=True)

    def _append(self, connection: Connection, row: dict[str, Any]) -> tuple[int, str]:
        head = connection.execute(select(audit_head).with_for_update()).one()
        sealed = {**row, "id": head.id + 1, "previous": head.hash}
        sealed["hash"] = self._seal(head.hash, sealed)
        connection.execute(insert(audit_log).values(**sealed))
        connection.execute(audit_head.update().values(id=sealed["id"], hash=sealed["hash"]))
        return sealed["id"], sealed["hash"]

    def find(
        self, *, limit: int, actor: str = "", action: str = "", words: str = "", since: datetime | None = None
    ) -> Sequence[Row]:
        """Rows, newest first, whose actor and action are these and whose object holds the words."""
        query = select(audit_log).order_by(audit_log.c.id.desc()).limit(limit)
        if actor:
            query = query.where(audit_log.c.actor == actor)
        if action:
            query = query.where(audit_log.c.action == action)
        if words:
            query = query.where(audit_log.c.object.icontains(words, autoescape=True))
        if since is not None:
            query = query.where(audit_log.c.at >= since)
        with reading(self._engine) as connection:
            return connection.execute(query).all()

    def actions(self) -> list[str]:
        """The actions that occur."""
        return self._values(audit_log.c.action)

    def actors(self) -> list[str]:
        """Everybody and everything that did something: users, tokens' owners, the command line."""
        return self._values(audit_log.c.actor)

    def _values(self, column: Column[str]) -> list[str]:
        with reading(self._engine) as connection:
            return list(connection.execute(select(column).distinct().order_by(column)).scalars())

    @contextmanager
    def chain(self) -> Iterator[tuple[Iterator[Row], Row]]:
        """All rows in order and the head, as they were at one moment, read a few at a time."""
        with translated(self._engine), self._engine.connect() as connection:
            connection.execute(text("set transaction isolation level repeatable read, read only"))
            if self._snapshot:
                connection.exec_driver_sql(f"set transaction snapshot '{self._snapshot}'")
            connection.execute(text("set local statement_timeout = 0"))
            head = connection.execute(select(audit_head)).one()
            rows = connection.execution_options(yield_per=1000).execute(select(audit_log).order_by(audit_log.c.id))
            yield iter(rows), head
