"""Trained models: versioned arrays with a manifest, kept in Postgres so that every instance loads the same one."""
from __future__ import annotations

import io
from typing import Any

import numpy as np
from sqlalchemy import Engine, insert, select, update

from db.models import models
from db.session import reading, writing
from db.taxonomy import raise_counter

MODEL_VERSION = "model"


class TrainedModels:
    """Stores and loads models. Arrays travel as `.npz` without pickle."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, arrays: dict[str, np.ndarray], manifest: dict[str, Any], *, embedder: str) -> int:
        """Store a model, make it the live one, and return its number."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        with writing(self._engine) as connection:
            connection.execute(update(models).where(models.c.live).values(live=False))
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

    def load(self, number: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and manifest of a stored model."""
        with reading(self._engine) as connection:
            row = connection.execute(select(models.c.arrays, models.c.manifest).where(models.c.number == number)).one()
        with np.load(io.BytesIO(row.arrays), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}, row.manifest
