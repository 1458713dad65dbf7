"""Trained models: versioned arrays with a manifest, kept in Postgres so that every instance loads the same one."""
from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from db.locks import Lock
from db.models import counters, models
from db.session import reading, transact, writing
from db.taxonomy import raise_counter

MODEL_VERSION = "model"
# Raised whenever all exemplars are replaced: what was fitted on those before must not go live afterwards.
ERA = "era"


class TrainedModels:
    """Stores and loads models. Arrays travel as `.npz` without pickle."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def era(self) -> int:
        """How often all exemplars were replaced; to be asked before exemplars are read for a fit."""
        with reading(self._engine) as connection:
            return connection.execute(select(counters.c.value).where(counters.c.name == ERA)).scalar_one_or_none() or 0

    def add(self, arrays: dict[str, np.ndarray], manifest: dict[str, Any], *, embedder: str, era: int) -> int | None:
        """Store a model, make it the live one of its embedder, and return its number.

        None, and nothing is stored, when all exemplars were replaced since `era`.
        """
        content = packed(arrays)

        def work(connection: Connection) -> int | None:
            connection.execute(upsert(counters).values(name=ERA, value=0).on_conflict_do_nothing())
            # A replacement at the same moment comes before or after this, never in between.
            now = connection.execute(select(counters.c.value).where(counters.c.name == ERA).with_for_update(read=True)).scalar_one()
            return put_live(connection, content, manifest, embedder=embedder) if now == era else None

        return transact(self._engine, work)

    def live_number(self, *, embedder: str) -> int | None:
        """The number of the live model made for this embedder, None when there is none."""
        with reading(self._engine) as connection:
            return connection.execute(
                select(models.c.number).where(models.c.live, models.c.embedder == embedder)
            ).scalar_one_or_none()

    def manifest(self, number: int) -> dict[str, Any]:
        """The manifest alone, which is small."""
        with reading(self._engine) as connection:
            return connection.execute(select(models.c.manifest).where(models.c.number == number)).scalar_one()

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """True inside the block for one instance at a time; the others get False and do not wait."""
        with writing(self._engine) as connection:
            # Fitting takes minutes in which this connection says nothing.
            connection.execute(text("set local idle_in_transaction_session_timeout = 0"))
            yield connection.execute(select(func.pg_try_advisory_xact_lock(Lock.FITTING))).scalar_one()

    def load(self, number: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and manifest of a stored model."""
        with reading(self._engine) as connection:
            row = connection.execute(select(models.c.arrays, models.c.manifest).where(models.c.number == number)).one()
        with np.load(io.BytesIO(row.arrays), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}, row.manifest


def packed(arrays: dict[str, np.ndarray]) -> bytes:
    """Arrays as they are stored: compressed `.npz` without pickle."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def put_live(connection: Connection, content: bytes, manifest: dict[str, Any], *, embedder: str) -> int:
    """Store a packed model as the live one of its embedder, in the caller's transaction; its number."""
    connection.execute(update(models).where(models.c.live, models.c.embedder == embedder).values(live=False))
    statement = insert(models).values(embedder=embedder, manifest=manifest, arrays=content, live=True).returning(models.c.number)
    number = connection.execute(statement).scalar_one()
    raise_counter(connection, MODEL_VERSION)
    return number
