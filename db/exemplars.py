"""Labelled tickets and their vectors: the pgvector index, and the material that the learned router trains on."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy import Engine, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from db.models import exemplar_vectors, exemplars, routing_history
from db.session import TICKET_PATIENCE, reading, writing
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
        stored, asked = f"v.embedding::vector({dimensions})", f"cast({{}} as vector({dimensions}))"
        nearest = f"""
            select v.exemplar_id, {stored} <=> {asked} as distance
            from exemplar_vectors v
            where vector_dims(v.embedding) = {dimensions} and v.embedder = :embedder
            order by {stored} <=> {asked}
            limit :k
        """
        columns = "e.id, e.department, e.topic, 1 - n.distance, e.text, e.source"
        # One vector alone is planned and run twice as fast without the detour over a set of vectors.
        self._one = text(
            f"select 1, {columns} from ({nearest.format(':vector', ':vector')}) n join exemplars e on e.id = n.exemplar_id "
            "order by n.distance, e.id"
        )
        self._many = text(
            f"""
            select p.position, {columns}
            from unnest(cast(:vectors as text[])) with ordinality as p(vector, position)
            cross join lateral ({nearest.format("p.vector", "p.vector")}) n
            join exemplars e on e.id = n.exemplar_id
            order by p.position, n.distance, e.id
            """
        )

    def nearest(self, vectors: np.ndarray, k: int) -> list[list[Neighbour]]:
        """For each row of `vectors` (float32 [n, dimensions]) the at most k nearest active exemplars, nearest first."""
        found: list[list[Neighbour]] = [[] for _ in range(len(vectors))]
        if not len(vectors):
            return found
        literals = [_literal(row) for row in vectors]
        query, asked = (self._one, {"vector": literals[0]}) if len(literals) == 1 else (self._many, {"vectors": literals})
        with reading(self._engine, patience=TICKET_PATIENCE) as connection:
            rows = connection.execute(query, {**asked, "embedder": self._embedder, "k": k})
            for position, id_, department, topic, similarity, body, source in rows:
                found[position - 1].append(Neighbour(id_, department, topic, round(float(similarity), 6), body, source))
        return found

    def add(self, new: Sequence[Exemplar], vectors: np.ndarray | None) -> list[int]:
        """Store exemplars with their vectors in one transaction; their ids in the given order.

        Without vectors (the embedder is away) they are neighbours of nobody until `add_vectors`.
        """
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
                if vectors is None:
                    continue
                connection.execute(
                    insert(exemplar_vectors),
                    [
                        {"exemplar_id": id_, "embedder": self._embedder, "embedding": vector}
                        for id_, vector in zip(made, vectors[start:start + _BATCH], strict=True)
                    ],
                )
            raise_counter(connection, EXEMPLAR_VERSION)
        return ids

    def missing(self, *, limit: int) -> list[Exemplar]:
        """Active exemplars without a vector of this embedder, by id."""
        has = exemplar_vectors.c.exemplar_id == exemplars.c.id
        query = (
            select(exemplars.c.id, exemplars.c.text, exemplars.c.department)
            .where(exemplars.c.active, ~select(1).where(has, exemplar_vectors.c.embedder == self._embedder).exists())
            .order_by(exemplars.c.id)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return [Exemplar(text=row.text, department=row.department, id=row.id) for row in connection.execute(query)]

    def add_vectors(self, ids: Sequence[int], vectors: np.ndarray) -> None:
        """Give exemplars their vectors of this embedder; those removed meanwhile, or given one already, stay as they are."""
        with writing(self._engine) as connection:
            # Locked against a removal at the same moment, which would leave the vector behind.
            active = connection.execute(
                select(exemplars.c.id).where(exemplars.c.id.in_(list(ids)), exemplars.c.active).with_for_update(read=True)
            ).scalars().all()
            rows = [
                {"exemplar_id": id_, "embedder": self._embedder, "embedding": vector}
                for id_, vector in zip(ids, vectors, strict=True) if id_ in set(active)
            ]
            if rows:
                connection.execute(upsert(exemplar_vectors).on_conflict_do_nothing(), rows)

    def embedded(self) -> int:
        """How many active exemplars have a vector of this embedder."""
        with reading(self._engine) as connection:
            query = (
                select(func.count()).select_from(exemplar_vectors)
                .join(exemplars, exemplars.c.id == exemplar_vectors.c.exemplar_id)
                .where(exemplars.c.active, exemplar_vectors.c.embedder == self._embedder)
            )
            return connection.execute(query).scalar_one()

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
        return self.since(0, limit=None)

    def since(self, number: int, *, limit: int | None = 1000) -> tuple[list[Exemplar], np.ndarray]:
        """The first `limit` active exemplars after this one by id, and their vectors (float32 [n, dimensions])."""
        query = (
            select(exemplars, exemplar_vectors.c.embedding, routing_history.c.review_wanted, routing_history.c.review_probability)
            .join(exemplar_vectors, exemplar_vectors.c.exemplar_id == exemplars.c.id)
            .outerjoin(routing_history, routing_history.c.ticket_id == exemplars.c.ticket_id)
            .where(exemplars.c.active, exemplar_vectors.c.embedder == self._embedder, exemplars.c.id > number)
            .order_by(exemplars.c.id)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
        found = [
            Exemplar(
                text=r.text, department=r.department, topic=r.topic, source=r.source, ticket_id=r.ticket_id or "", id=r.id,
                weight=1 / r.review_probability if r.review_wanted else 0.0,
            )
            for r in rows
        ]
        vectors = np.array([np.asarray(array_of(r.embedding), dtype=np.float32) for r in rows], dtype=np.float32)
        return found, vectors

    def active(self, ids: Sequence[int]) -> dict[int, Exemplar]:
        """Those of these exemplars that are active and have a vector of this embedder, by id."""
        query = (
            select(exemplars)
            .join(exemplar_vectors, exemplar_vectors.c.exemplar_id == exemplars.c.id)
            .where(exemplars.c.id.in_(list(ids)), exemplars.c.active, exemplar_vectors.c.embedder == self._embedder)
        )
        with reading(self._engine, patience=TICKET_PATIENCE) as connection:
            rows = connection.execute(query).all()
        return {
            r.id: Exemplar(text=r.text, department=r.department, topic=r.topic, source=r.source, ticket_id=r.ticket_id or "", id=r.id)
            for r in rows
        }

    def count_since(self, number: int) -> int:
        """How many active exemplars came after this one."""
        with reading(self._engine) as connection:
            query = select(func.count()).select_from(exemplars).where(exemplars.c.active, exemplars.c.id > number)
            return connection.execute(query).scalar_one()

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
    # Seven digits are what a float32 holds; repr of the doubles takes twice as long to write and to read.
    return "[" + ",".join(["%.7g" % value for value in vector.tolist()]) + "]"


def array_of(value: object) -> object:
    """The numbers of a vector as the driver gives it."""
    return value.to_numpy() if hasattr(value, "to_numpy") else value
