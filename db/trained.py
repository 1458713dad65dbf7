"""Trained models: versioned arrays with a manifest, kept in Postgres so that every instance loads the same one."""
from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sqlalchemy import Engine, func, insert, select, text, update

from db.models import models
from db.session import reading, writing
from db.taxonomy import raise_counter

MODEL_VERSION = "model"
# Any constant will do; it only has to be the same in every process.
_FITTING = 7_203_812


class TrainedModels:
    """Stores and loads models. Arrays travel as `.npz` without pickle."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, arrays: dict[str, np.ndarray], manifest: dict[str, Any], *, embedder: str) -> int:
        """Store a model, make it the live one of its embedder, and return its number."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        with writing(self._engine) as connection:
            connection.execute(update(models).where(models.c.live, models.c.embedder == embedder).values(live=False))
            number = connection.execute(
                insert(models)
                .values(embedder=embedder, manifest=manifest, arrays=buffer.getvalue(), live=True)
                .returning(models.c.number)
            ).scalar_one()
            raise_counter(connection, MODEL_VERSION)
        return number

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
            connection.execute(text("set local statement_timeout = 0"))
            yield connection.execute(select(func.pg_try_advisory_xact_lock(_FITTING))).scalar_one()

    def load(self, number: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and manifest of a stored model."""
        with reading(self._engine) as connection:
            row = connection.execute(select(models.c.arrays, models.c.manifest).where(models.c.number == number)).one()
        with np.load(io.BytesIO(row.arrays), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}, row.manifest
