"""Statements of the ticket's path: planned once for each connection, and run on the pool's connections directly.

Between two tickets the embedding model has pushed everything else out of the processor's caches, so that each layer that a
statement passes through costs several times what it costs in a loop. The layers that a fixed statement does not need are
left out here; the pool, its checks and the translation of errors are those of `db.session`.
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import psycopg2
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from db.lease import held
from db.session import patient, translated

# The server says that the name is unknown or taken: a pooler in between hands out other server connections.
_SHARED_CONNECTION = {"26000", "42P05"}


class Prepared:
    """SQL with the parameters `$1`, `$2`, ... of these SQL types, prepared under `name` on every connection.

    Parameters are handed over as text and read once, by their type: a cast within the SQL is done again for every row.
    Behind a pooler that shares server connections between statements it runs as an ordinary statement.
    """

    def __init__(self, name: str, sql: str, *, types: Sequence[str]) -> None:
        self._name = name
        self._prepare = f"prepare {name} ({', '.join(types)}) as {sql}"
        self._execute = f"execute {name} ({', '.join(['%s'] * len(types))})"
        order = [int(number) - 1 for number in re.findall(r"\$(\d+)", sql)]
        typed = re.sub(r"\$(\d+)", lambda number: f"cast(%s as {types[int(number[1]) - 1]})", sql.replace("%", "%%"))
        self._plain = (typed, order)
        self._shared = False

    def run(self, engine: Engine, parameters: Sequence[str], *, patience: float) -> list[tuple[Any, ...]]:
        """Execute in a transaction of its own, on the thread's leased connection or one from the pool; the rows it returns.

        Raises what `db.session.reading` raises.
        """
        with patient(patience), translated(engine):
            leased = held(engine)
            connection = leased or engine.raw_connection()
            driver = connection.driver_connection
            try:
                if leased is None:
                    driver.autocommit = True
                with driver.cursor() as cursor:
                    self._send(cursor, connection.info.setdefault("prepared", set()), parameters)
                    return cursor.fetchall() if cursor.description else []
            except psycopg2.Error as error:
                if driver.closed:
                    connection.invalidate(error)
                raise DBAPIError.instance(self._execute, None, error, psycopg2.Error, dialect=engine.dialect) from error
            finally:
                if leased is None:
                    if not driver.closed:
                        driver.autocommit = False
                    connection.close()

    def _send(self, cursor: Any, known: set[str], parameters: Sequence[str]) -> None:
        if not self._shared:
            try:
                if self._name not in known:
                    cursor.execute(self._prepare)
                    known.add(self._name)
                cursor.execute(self._execute, tuple(parameters))
                return
            except psycopg2.Error as error:
                if error.pgcode not in _SHARED_CONNECTION:
                    raise
                self._shared = True
        sql, order = self._plain
        cursor.execute(sql, tuple(parameters[number] for number in order))
