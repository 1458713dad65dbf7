"""Departments, topics, their exemplars and the model that has learned them, put in force together or not at all."""
from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, func, select, text, update

from db import taxonomy
from db.exemplars import deactivate, put_in
from db.locks import Lock
from db.models import departments, exemplars, models
from db.session import reading, transact
from db.taxonomy import raise_counter
from db.trained import ERA, packed, put_live
from engine.domain import Department, Exemplar, Topic


class Catalogue:
    """Vectors and models are those of one embedder."""

    def __init__(self, engine: Engine, *, embedder: str) -> None:
        self._engine = engine
        self._embedder = embedder

    def replace(
        self, new_departments: Sequence[Department], topics: Sequence[Topic], new: Sequence[Exemplar], vectors: np.ndarray, *,
        arrays: dict[str, np.ndarray], manifest: Callable[[Sequence[int]], dict[str, Any]],
        also: Callable[[Any], None] | None = None,
    ) -> int:
        """Make these, and these alone, departments, topics and exemplars, and the model the live one; the model's number.

        `vectors` float32 [len(new), d]; `manifest` makes the model's from the exemplars' ids. `also` runs at the end of the
        same transaction, with its connection, and may run again after a deadlock.
        """
        content = packed(arrays)

        def work(connection: Connection) -> int:
            # First of all, so that a second replacement and a fit that is being stored wait here.
            raise_counter(connection, ERA)
            deactivate(connection, exemplars.c.id > 0)
            taxonomy.replace(connection, new_departments, topics)
            number = self._put(connection, new, vectors, content, manifest)
            if also is not None:
                also(connection)
            return number

        return transact(self._engine, work)

    def begin(
        self, new_departments: Sequence[Department], topics: Sequence[Topic], new: Sequence[Exemplar], vectors: np.ndarray, *,
        arrays: dict[str, np.ndarray], manifest: Callable[[Sequence[int]], dict[str, Any]],
    ) -> int | None:
        """As `replace`, where nobody has begun yet, else None: of several processes that start at once, one does it."""
        content = packed(arrays)

        def work(connection: Connection) -> int | None:
            connection.execute(text("set local lock_timeout = '60s'"))
            connection.execute(text("set local statement_timeout = '60s'"))
            connection.execute(select(func.pg_advisory_xact_lock(Lock.BEGINNING)))
            if not _is_new(connection, {d.name for d in new_departments}):
                return None
            taxonomy.save(connection, new_departments, topics)
            return self._put(connection, new, vectors, content, manifest)

        return transact(self._engine, work)

    def is_new(self, names: Collection[str]) -> bool:
        """True when there was never an exemplar and no department but these: also where an earlier version of the console
        was killed after it had stored the departments alone.
        """
        with reading(self._engine) as connection:
            return _is_new(connection, names)

    def _put(
        self, connection: Connection, new: Sequence[Exemplar], vectors: np.ndarray, content: bytes,
        manifest: Callable[[Sequence[int]], dict[str, Any]],
    ) -> int:
        ids = put_in(connection, new, vectors, embedder=self._embedder)
        # Models of other embedders have learned what was there before.
        connection.execute(update(models).where(models.c.live).values(live=False))
        return put_live(connection, content, manifest(ids), embedder=self._embedder)


def _is_new(connection: Connection, names: Collection[str]) -> bool:
    if connection.execute(select(exemplars.c.id).limit(1)).first() is not None:
        return False
    return set(connection.execute(select(departments.c.name)).scalars()) <= set(names)
