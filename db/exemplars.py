"""Labelled tickets and their vectors: the pgvector index, and the material that the learned router trains on."""
from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from sqlalchemy import ColumnElement, Connection, Engine, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert

from db.models import departments, exemplar_vectors, exemplars, routing_history
from db.prepared import Prepared
from db.session import TICKET_PATIENCE, reading, transact
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
        stored, asked = f"v.embedding::vector({dimensions})", "{vector}"
        nearest = f"""
            select v.exemplar_id, {stored} <=> {asked} as distance
            from exemplar_vectors v
            where vector_dims(v.embedding) = {dimensions} and v.embedder = {{embedder}}
            order by {stored} <=> {asked}
            limit {{k}}
        """
        columns = "e.id, e.department, e.topic, 1 - n.distance, e.text, e.source"
        # One vector alone is planned and run twice as fast without the detour over a set of vectors.
        # The name holds the embedder: while vectors are made anew, two of these share the connections.
        mark = f"{zlib.crc32(embedder.encode()):08x}"
        literal = "'" + embedder.replace("'", "''") + "'"
        self._one = lru_cache(4)(
            lambda k: Prepared(
                f"nearest_{k}_{mark}",
                f"select 1, {columns} from ({nearest.format(vector='$1', embedder=literal, k=k)}) n "
                "join exemplars e on e.id = n.exemplar_id order by n.distance, e.id",
                types=(f"vector({dimensions})",),
            )
        )
        self._many = text(
            f"""
            select p.position, {columns}
            from unnest(cast(:vectors as text[])) with ordinality as p(vector, position)
            cross join lateral ({nearest.format(vector=f"cast(p.vector as vector({dimensions}))", embedder=":embedder", k=":k")}) n
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
        if len(literals) == 1:
            rows = self._one(k).run(self._engine, literals, patience=TICKET_PATIENCE)
        else:
            with reading(self._engine, patience=TICKET_PATIENCE) as connection:
                rows = connection.execute(self._many, {"vectors": literals, "embedder": self._embedder, "k": k}).all()
        for position, id_, department, topic, similarity, body, source in rows:
            found[position - 1].append(Neighbour(id_, department, topic, round(float(similarity), 6), body, source))
        return found

    def add(self, new: Sequence[Exemplar], vectors: np.ndarray | None) -> list[int]:
        """Store exemplars with their vectors in one transaction; their ids in the given order.

        Without vectors (the embedder is away) they are neighbours of nobody until `add_vectors`.
        """
        return transact(self._engine, lambda connection: put_in(connection, new, vectors, embedder=self._embedder))

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
        def work(connection: Connection) -> None:
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
                # Only now can the other instances take them into their models.
                raise_counter(connection, EXEMPLAR_VERSION)

        transact(self._engine, work)

    def embedded(self) -> int:
        """How many active exemplars have a vector of this embedder."""
        with reading(self._engine) as connection:
            query = (
                select(func.count()).select_from(exemplar_vectors)
                .join(exemplars, exemplars.c.id == exemplar_vectors.c.exemplar_id)
                .where(exemplars.c.active, exemplar_vectors.c.embedder == self._embedder)
            )
            return connection.execute(query).scalar_one()

    def remove(self, ids: Sequence[int]) -> int:
        """Take these exemplars out of the neighbours at once; how many of them were active."""
        return transact(self._engine, lambda connection: take_out(connection, exemplars.c.id.in_(list(ids))))

    def training_set(self) -> tuple[list[Exemplar], np.ndarray]:
        """All active exemplars by id, and their vectors (float32 [n, dimensions])."""
        return self.since(0, limit=None)

    def since(
        self, number: int, *, without: Sequence[int] = (), limit: int | None = 1000
    ) -> tuple[list[Exemplar], np.ndarray]:
        """The first `limit` active exemplars after this one by id but those `without`, and their vectors (float32 [n, dimensions])."""
        query = (
            select(
                exemplars, exemplar_vectors.c.embedding, routing_history.c.review_wanted, routing_history.c.review_probability,
                routing_history.c.method, routing_history.c.department.label("answered"), routing_history.c.raw_score,
            )
            .join(exemplar_vectors, exemplar_vectors.c.exemplar_id == exemplars.c.id)
            .outerjoin(routing_history, routing_history.c.ticket_id == exemplars.c.ticket_id)
            .where(exemplars.c.active, exemplar_vectors.c.embedder == self._embedder, exemplars.c.id > number)
            .where(exemplars.c.id.not_in(list(without)))
            .order_by(exemplars.c.id)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
        found = [
            Exemplar(
                text=r.text, department=r.department, topic=r.topic, source=r.source, ticket_id=r.ticket_id or "", id=r.id,
                weight=1 / r.review_probability if r.review_wanted else 0.0, method=r.method or "", answered=r.answered or "",
                raw_score=float(r.raw_score or 0.0),
            )
            for r in rows
        ]
        vectors = np.array([np.asarray(array_of(r.embedding), dtype=np.float32) for r in rows], dtype=np.float32)
        return found, vectors

    def contradicted(self) -> list[Exemplar]:
        """Labels that still stand, of tickets whose exemplar was taken out for a newer label of the same text; by ticket, without ids.

        Labels of retired departments are none of them: no ticket goes there again. Neither is what a replacement of the taxonomy
        took out: all of that has lower numbers than the exemplars put in its place. What else was taken out below the lowest number
        that is left is not told apart from it, and does not count either.
        """
        other = exemplars.alias()
        first = select(func.min(other.c.id)).where(other.c.active).scalar_subquery()
        query = (
            select(
                exemplars.c.text, exemplars.c.department, exemplars.c.source, exemplars.c.ticket_id, routing_history.c.review_wanted,
                routing_history.c.review_probability,
            )
            .ext(distinct_on(exemplars.c.ticket_id))
            .join(routing_history, routing_history.c.ticket_id == exemplars.c.ticket_id)
            .join(departments, departments.c.name == exemplars.c.department)
            .where(
                ~exemplars.c.active, departments.c.live, exemplars.c.id > first, exemplars.c.text != "",
                routing_history.c.actual_outcome == exemplars.c.department,
                ~select(1).where(other.c.ticket_id == exemplars.c.ticket_id, other.c.active).exists(),
            )
            .order_by(exemplars.c.ticket_id, exemplars.c.id.desc())
        )
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
        return [
            Exemplar(
                text=r.text, department=r.department, source=r.source, ticket_id=r.ticket_id,
                weight=1 / r.review_probability if r.review_wanted else 0.0,
            )
            for r in rows
        ]

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


def put_in(connection: Connection, new: Sequence[Exemplar], vectors: np.ndarray | None, *, embedder: str) -> list[int]:
    """As `Exemplars.add`, in the caller's transaction."""
    ids: list[int] = []
    for start in range(0, len(new), _BATCH):
        rows = [
            {"text": e.text, "department": e.department, "topic": e.topic, "source": e.source, "ticket_id": e.ticket_id or None}
            for e in new[start:start + _BATCH]
        ]
        made = connection.execute(insert(exemplars).returning(exemplars.c.id, sort_by_parameter_order=True), rows).scalars().all()
        ids += made
        if vectors is not None:
            part = zip(made, vectors[start:start + _BATCH], strict=True)
            connection.execute(
                insert(exemplar_vectors), [{"exemplar_id": id_, "embedder": embedder, "embedding": vector} for id_, vector in part]
            )
    raise_counter(connection, EXEMPLAR_VERSION)
    return ids


def take_out(connection: Connection, which: ColumnElement[bool]) -> int:
    """Take the active ones of these exemplars out of the neighbours, in the caller's transaction; their number."""
    gone = deactivate(connection, which)
    if gone:
        raise_counter(connection, EXEMPLAR_VERSION)
    return gone


def deactivate(connection: Connection, which: ColumnElement[bool]) -> int:
    """As `take_out`, for a transaction that raises the counter of exemplars later, since labels wait for that until it ends."""
    gone = connection.execute(
        update(exemplars).where(which, exemplars.c.active).values(active=False).returning(exemplars.c.id)
    ).scalars().all()
    if gone:
        connection.execute(delete(exemplar_vectors).where(exemplar_vectors.c.exemplar_id.in_(gone)))
    return len(gone)


def _literal(vector: np.ndarray) -> str:
    # The cosine does not see the length of the vector that is asked for, and whole numbers are written and read three
    # times as fast. A millionth is finer than what the similarity is rounded to.
    return str((vector * 1_000_000).round().astype(np.int64).tolist())


def array_of(value: object) -> object:
    """The numbers of a vector as the driver gives it."""
    return value.to_numpy() if hasattr(value, "to_numpy") else value
