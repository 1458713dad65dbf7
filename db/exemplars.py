"""Labelled tickets and their vectors: the pgvector index, and the material that the learned router trains on."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy import Engine, delete, func, insert, select, text, update

from db.models import exemplar_vectors, exemplars
from db.session import reading, writing
from db.taxonomy import raise_counter
from engine.domain import Exemplar, Neighbour

EXEMPLAR_VERSION = "exemplars"
_BATCH = 500


class Exemplars:
    """Exemplars of one embedder. Similarity is the cosine in [-1, 1], computed by pgvector."""

    def __init__(self, engine: Engine, *, embedder: str, dimensions: int) -> None:
        self._engine = engine
        self._embedder = embedder
        # Sorting by the expression of the partial HNSW index lets Postgres use it; the casts must match it to the letter.
        vector = f"v.embedding::vector({dimensions})"
        self._nearest = text(
            f"""
            select q.position, e.id, e.department, e.topic, q.similarity, e.text, e.source
            from (
                select p.position, n.exemplar_id, n.similarity
                from unnest(cast(:vectors as text[])) with ordinality as p(vector, position)
                cross join lateral (
                    select v.exemplar_id, 1 - ({vector} <=> cast(p.vector as vector({dimensions}))) as similarity
                    from exemplar_vectors v
                    where vector_dims(v.embedding) = {dimensions} and v.embedder = :embedder
                    order by {vector} <=> cast(p.vector as vector({dimensions}))
                    limit :k
                ) n
            ) q
            join exemplars e on e.id = q.exemplar_id
            order by q.position, q.similarity desc, e.id
            """
        )

    def nearest(self, vectors: np.ndarray, k: int) -> list[list[Neighbour]]:
        """For each row of `vectors` (float32 [n, dimensions]) the at most k nearest active exemplars, nearest first."""
        found: list[list[Neighbour]] = [[] for _ in range(len(vectors))]
        if not len(vectors):
            return found
        parameters = {"vectors": [_literal(row) for row in vectors], "embedder": self._embedder, "k": k}
        with reading(self._engine) as connection:
            for position, id_, department, topic, similarity, body, source in connection.execute(self._nearest, parameters):
                found[position - 1].append(Neighbour(id_, department, topic, round(float(similarity), 6), body, source))
        return found

    def add(self, new: Sequence[Exemplar], vectors: np.ndarray) -> list[int]:
        """Store exemplars with their vectors in one transaction; their ids in the given order."""
        ids: list[int] = []
        with writing(self._engine) as connection:
            for start in range(0, len(new), _BATCH):
                part = new[start:start + _BATCH]
                rows = [
                    {"text": e.text, "department": e.department, "topic": e.topic, "source": e.source, "ticket_id": e.ticket_id or None}
                    for e in part
                ]
                statement = insert(exemplars).returning(exemplars.c.id, sort_by_parameter_order=True)
                made = connection.execute(statement, rows).scalars().all()
                ids += made
                connection.execute(
                    insert(exemplar_vectors),
                    [
                        {"exemplar_id": id_, "embedder": self._embedder, "embedding": vector}
                        for id_, vector in zip(made, vectors[start:start + _BATCH], strict=True)
                    ],
                )
            raise_counter(connection, EXEMPLAR_VERSION)
        return ids

    def remove_ticket(self, ticket_id: str) -> int:
        """Take every exemplar made from this ticket out of the neighbours at once; their number."""
        return self._deactivate(exemplars.c.ticket_id == ticket_id)

    def remove(self, ids: Sequence[int]) -> int:
        """Take these exemplars out of the neighbours at once; how many of them were active."""
        return self._deactivate(exemplars.c.id.in_(list(ids)))

    def clear(self) -> int:
        """Take all exemplars out of the neighbours, for example before another taxonomy is loaded."""
        return self._deactivate(exemplars.c.id > 0)

    def _deactivate(self, which) -> int:  # noqa: ANN001
        with writing(self._engine) as connection:
            gone = connection.execute(
                update(exemplars).where(which, exemplars.c.active).values(active=False).returning(exemplars.c.id)
            ).scalars().all()
            if gone:
                connection.execute(delete(exemplar_vectors).where(exemplar_vectors.c.exemplar_id.in_(gone)))
                raise_counter(connection, EXEMPLAR_VERSION)
            return len(gone)

    def training_set(self) -> tuple[list[Exemplar], np.ndarray]:
        """All active exemplars by id, and their vectors (float32 [n, dimensions])."""
        query = (
            select(exemplars, exemplar_vectors.c.embedding)
            .join(exemplar_vectors, exemplar_vectors.c.exemplar_id == exemplars.c.id)
            .where(exemplars.c.active, exemplar_vectors.c.embedder == self._embedder)
            .order_by(exemplars.c.id)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
        found = [
            Exemplar(text=r.text, department=r.department, topic=r.topic, source=r.source, ticket_id=r.ticket_id or "", id=r.id)
            for r in rows
        ]
        vectors = np.array([np.asarray(_array(r.embedding), dtype=np.float32) for r in rows], dtype=np.float32)
        return found, vectors

    def texts(self, ids: Sequence[int]) -> dict[int, str]:
        """The texts of these exemplars, active or not, for showing evidence."""
        with reading(self._engine) as connection:
            query = select(exemplars.c.id, exemplars.c.text).where(exemplars.c.id.in_(list(ids)))
            return dict(connection.execute(query).all())

    def count(self) -> int:
        """How many exemplars are active."""
        with reading(self._engine) as connection:
            return connection.execute(select(func.count()).select_from(exemplars).where(exemplars.c.active)).scalar_one()


def _literal(vector: np.ndarray) -> str:
    return "[" + ",".join(map(repr, vector.tolist())) + "]"


def _array(value: object) -> object:
    return value.to_numpy() if hasattr(value, "to_numpy") else value
