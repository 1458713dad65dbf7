"""The way from Postgres to a remote vector index: notes written with the change, worked off until both are equal."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, Engine, delete, func, literal, select, text
from sqlalchemy.dialects.postgresql import insert

from db.exemplars import array_of
from db.models import exemplar_vectors, exemplars, index_outbox, index_targets
from db.session import reading, transact, writing

_PAGE = 1_000
_BATCH = 100


@dataclass(frozen=True, slots=True, eq=False)
class VectorRow:
    """An exemplar as the remote index keeps it: `vector` float32 [dimensions], of length 1."""

    exemplar_id: int
    vector: np.ndarray
    metadata: dict[str, str]


class Outbox:
    """The notes of one embedder. What is sent is read at that moment, so notes may be worked off twice.

    `place` names the remote index; who only reads needs none.
    """

    def __init__(self, engine: Engine, *, embedder: str, place: str = "") -> None:
        self._engine = engine
        self._embedder = embedder
        self._place = place

    def open(self, *, again: bool = False) -> bool:
        """From now on every change leaves a note. True when this place was not kept up before: then everything is noted.

        With `again` only a place that was closed meanwhile is opened; where another console keeps up a different one, it may.
        Raises ServiceUnavailable; nothing was opened then.
        """
        with reading(self._engine) as connection:
            before = connection.execute(
                select(index_targets.c.place).where(index_targets.c.embedder == self._embedder)
            ).scalar_one_or_none()
        if before == self._place or (again and before is not None):
            return False
        transact(self._engine, self._begin)
        return True

    def note_all(self) -> int:
        """Note every exemplar, those that were removed too, so that their vectors go where they are left; their number."""
        return transact(self._engine, self._note_all)

    def note(self, ids: Sequence[int]) -> None:
        """Note these exemplars, whether they exist or not."""
        if ids:
            with writing(self._engine) as connection:
                connection.execute(index_outbox.insert(), [{"exemplar_id": id_, "embedder": self._embedder} for id_ in ids])

    def waiting(self) -> int:
        """How many notes are left."""
        with reading(self._engine) as connection:
            query = select(func.count()).select_from(index_outbox).where(index_outbox.c.embedder == self._embedder)
            return connection.execute(query).scalar_one()

    def work(self, send: Callable[[list[VectorRow], list[int]], None]) -> int:
        """Send the oldest notes' exemplars as (to keep, to remove) and forget the notes; their number, 0 when none is left,
        another process is at it or a different place is kept up. What `send` raises leaves the notes in place.
        """
        with writing(self._engine) as connection:
            # The transaction waits for a service far away.
            connection.execute(text("set local idle_in_transaction_session_timeout = '5min'"))
            # One at a time: two senders could overtake each other with an older state of the same exemplar.
            mine = connection.execute(
                text("select pg_try_advisory_xact_lock(hashtextextended('outbox:' || :embedder, 0))"), {"embedder": self._embedder}
            ).scalar_one()
            if not mine:
                return 0
            notes = connection.execute(
                select(index_outbox.c.id, index_outbox.c.exemplar_id)
                .join(index_targets, index_targets.c.embedder == index_outbox.c.embedder)
                # Where another console has begun with a different place, its notes are not for this one.
                .where(index_outbox.c.embedder == self._embedder, index_targets.c.place == self._place)
                .order_by(index_outbox.c.id)
                .limit(_BATCH)
            ).all()
            if not notes:
                return 0
            wanted = sorted({note.exemplar_id for note in notes})
            rows = self._rows(connection, exemplars.c.id.in_(wanted), limit=len(wanted))
            kept = {row.exemplar_id for row in rows}
            send(rows, [id_ for id_ in wanted if id_ not in kept])
            connection.execute(delete(index_outbox).where(index_outbox.c.id.in_([note.id for note in notes])))
        return len(notes)

    def rows(self) -> Iterator[list[VectorRow]]:
        """Everything the remote index should hold, in pages by exemplar id."""
        last = 0
        while True:
            with reading(self._engine) as connection:
                page = self._rows(connection, exemplars.c.id > last, limit=_PAGE)
            if not page:
                return
            yield page
            last = page[-1].exemplar_id

    def _begin(self, connection: Connection) -> None:
        # Who is changing exemplars at this moment saw no target and leaves no note: the notes below must see that change.
        connection.execute(text("lock table exemplars, exemplar_vectors in share mode"))
        statement = insert(index_targets).values(embedder=self._embedder, place=self._place)
        connection.execute(statement.on_conflict_do_update(index_elements=["embedder"], set_={"place": self._place}))
        self._note_all(connection)

    def _note_all(self, connection: Connection) -> int:
        every = select(exemplars.c.id, literal(self._embedder)).order_by(exemplars.c.id)
        return connection.execute(index_outbox.insert().from_select(["exemplar_id", "embedder"], every)).rowcount

    def _rows(self, connection: Connection, which, *, limit: int) -> list[VectorRow]:  # noqa: ANN001
        query = (
            select(exemplars.c.id, exemplars.c.department, exemplars.c.topic, exemplars.c.source, exemplar_vectors.c.embedding)
            .join(exemplar_vectors, exemplar_vectors.c.exemplar_id == exemplars.c.id)
            .where(which, exemplars.c.active, exemplar_vectors.c.embedder == self._embedder)
            .order_by(exemplars.c.id)
            .limit(limit)
        )
        return [
            VectorRow(
                row.id, np.asarray(array_of(row.embedding), dtype=np.float32),
                {"department": row.department, "topic": row.topic, "source": row.source},
            )
            for row in connection.execute(query)
        ]


def close_all(engine: Engine) -> None:
    """No remote index is used any more: forget targets and notes. The next `open` notes everything."""
    with writing(engine) as connection:
        connection.execute(delete(index_targets))
        connection.execute(delete(index_outbox))


def left(engine: Engine) -> int | None:
    """How many notes wait for whatever remote index, None where none is kept up."""
    with reading(engine) as connection:
        if connection.execute(select(index_targets.c.embedder).limit(1)).first() is None:
            return None
        return connection.execute(select(func.count()).select_from(index_outbox)).scalar_one()
