"""Departments and topics."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.dialects.postgresql import insert

from db.models import counters, departments, topics
from db.session import reading, transact
from engine.domain import Department, Topic
from engine.errors import TaxonomyRejected

TAXONOMY_VERSION = "taxonomy"


class Taxonomy:
    """Reads and writes departments and topics; every change raises the taxonomy's version."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def departments(self, *, retired: bool = False) -> list[Department]:
        """The live departments by name; with `retired` those no longer routed to as well."""
        query = select(departments.c.name, departments.c.purpose, departments.c.triage, departments.c.live)
        if not retired:
            query = query.where(departments.c.live)
        with reading(self._engine) as connection:
            return [Department(*row) for row in connection.execute(query.order_by(departments.c.name))]

    def changed(self, since: datetime) -> tuple[set[str], set[str]]:
        """The names of the retired departments, and of the live ones that there are only since then or later."""
        query = select(departments.c.name, departments.c.live).where(~departments.c.live | (departments.c.created_at >= since))
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
        return {row.name for row in rows if not row.live}, {row.name for row in rows if row.live}

    def topics(self) -> list[Topic]:
        """The live topics of live departments, by name."""
        query = (
            select(topics.c.name, topics.c.department, topics.c.purpose)
            .join(departments, departments.c.name == topics.c.department)
            .where(topics.c.live, departments.c.live)
            .order_by(topics.c.name)
        )
        with reading(self._engine) as connection:
            return [Topic(*row) for row in connection.execute(query)]

    def save(
        self, new_departments: Sequence[Department], new_topics: Sequence[Topic] = (), *, also: Callable[[Connection], None] | None = None
    ) -> None:
        """Add or change departments and topics, in one transaction. Those not named stay as they are.

        `also` runs at the end of it, with its connection, and may run again after a deadlock.
        """
        def work(connection: Connection) -> None:
            save(connection, new_departments, new_topics)
            if also is not None:
                also(connection)

        transact(self._engine, work)

    def add(self, department: Department, *, also: Callable[[Connection], None] | None = None) -> None:
        """One more department; `also` as in `save`. Raises TaxonomyRejected where there is one of this name, retired or not, in small or
        capital letters.
        """
        def work(connection: Connection) -> None:
            # Whoever changes the taxonomy at the same time waits here, or is seen below.
            raise_counter(connection, TAXONOMY_VERSION)
            known = connection.execute(select(departments.c.name, departments.c.live)).all()
            same = next((row for row in known if row.name.casefold() == department.name.casefold()), None)
            if same is not None:
                raise TaxonomyRejected(f"There is a department {same.name} already{'' if same.live else ', which is retired: it can be made live again'}.")
            save(connection, [department], ())
            if also is not None:
                also(connection)

        transact(self._engine, work)

    def replace(self, new_departments: Sequence[Department], new_topics: Sequence[Topic]) -> None:
        """Make exactly these live, in one transaction; those that are not named are retired, their history stays."""
        transact(self._engine, lambda connection: replace(connection, new_departments, new_topics))


def save(connection: Connection, new_departments: Sequence[Department], new_topics: Sequence[Topic]) -> None:
    """As `Taxonomy.save`, in the caller's transaction."""
    for department in new_departments:
        row = {"purpose": department.purpose, "triage": department.triage, "live": department.live}
        connection.execute(
            insert(departments).values(name=department.name, **row).on_conflict_do_update(index_elements=["name"], set_=row)
        )
    for topic in new_topics:
        row = {"department": topic.department, "purpose": topic.purpose, "live": True}
        connection.execute(insert(topics).values(name=topic.name, **row).on_conflict_do_update(index_elements=["name"], set_=row))
    raise_counter(connection, TAXONOMY_VERSION)


def replace(connection: Connection, new_departments: Sequence[Department], new_topics: Sequence[Topic]) -> None:
    """As `Taxonomy.replace`, in the caller's transaction."""
    names = [department.name for department in new_departments]
    connection.execute(update(departments).where(departments.c.name.not_in(names)).values(live=False))
    connection.execute(update(topics).where(topics.c.name.not_in([t.name for t in new_topics])).values(live=False))
    save(connection, new_departments, new_topics)


def raise_counter(connection: Connection, name: str) -> None:
    """Raise a named counter by one, in the caller's transaction; other instances watch it."""
    statement = insert(counters).values(name=name, value=1)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": counters.c.value + 1}))
