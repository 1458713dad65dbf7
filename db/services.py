"""Calls and errors of services per minute over all instances, and which instances are alive."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, Row, func, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from db.models_statistics import instances, service_minutes
from db.session import reading, translated, writing

KEPT = timedelta(days=8)


class Services:
    """What the instances report about themselves and about what they call."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, counts: Mapping[tuple[datetime, str], tuple[int, int]]) -> None:
        """Add (calls, errors) by (minute, service) to what other instances counted. Raises ServiceUnavailable."""
        if not counts:
            return
        # In one order everywhere, so that two instances never wait for each other.
        rows = [{"bucket": b, "service": s, "calls": c, "errors": e} for (b, s), (c, e) in sorted(counts.items())]
        statement = upsert(service_minutes)
        statement = statement.on_conflict_do_update(
            index_elements=["bucket", "service"],
            set_={name: service_minutes.c[name] + statement.excluded[name] for name in ("calls", "errors")},
        )
        with writing(self._engine) as connection:
            connection.execute(statement, rows)

    def totals(
        self, service: str, *, since: datetime, without: Sequence[tuple[datetime, datetime]] = ()
    ) -> tuple[int, int]:
        """Calls and errors of a service from the minute of `since` on, leaving out the minutes that begin within these times."""
        query = select(func.coalesce(func.sum(service_minutes.c.calls), 0), func.coalesce(func.sum(service_minutes.c.errors), 0)).where(
            service_minutes.c.service == service, service_minutes.c.bucket >= since.replace(second=0, microsecond=0),
            *(~service_minutes.c.bucket.between(start, end) for start, end in without),
        )
        with reading(self._engine) as connection:
            calls, errors = connection.execute(query).one()
        return int(calls), int(errors)

    def beat(
        self, name: str, *, memory_share: float, spooled: int, now: datetime, set_aside: int = 0,
        services: Mapping[str, Mapping[str, Any]] | None = None, worker: bool = False, needs_worker: bool = False,
    ) -> None:
        """Say that an instance is alive, and how it is; `services` is what its breakers say, in the form of JSON.

        One that `needs_worker` leaves work to those that are a `worker`.
        """
        values = {
            "seen_at": now, "memory_share": memory_share, "spooled": spooled, "set_aside": set_aside, "services": dict(services or {}),
            "worker": worker, "needs_worker": needs_worker,
        }
        with writing(self._engine) as connection:
            connection.execute(upsert(instances).values(name=name, **values).on_conflict_do_update(index_elements=["name"], set_=values))

    def alive(self, *, since: datetime) -> Sequence[Row]:
        """The instances that were seen since then."""
        with reading(self._engine) as connection:
            return connection.execute(select(instances).where(instances.c.seen_at >= since).order_by(instances.c.name)).all()

    def sessions(self, *, now: datetime, idle: timedelta) -> int:
        """Signed-in sessions that have neither expired nor been idle for so long."""
        query = text("select count(*) from sessions where expires_at > :now and seen_at > :idle_since")
        with reading(self._engine) as connection:
            return connection.execute(query, {"now": now, "idle_since": now - idle}).scalar_one()

    def leave(self, name: str) -> None:
        """Forget an instance that stops."""
        with writing(self._engine) as connection:
            connection.execute(instances.delete().where(instances.c.name == name))

    def prune(self, *, now: datetime) -> None:
        """Forget minutes that no rule looks at any more, and instances that are long gone."""
        with writing(self._engine) as connection:
            connection.execute(service_minutes.delete().where(service_minutes.c.bucket < now - KEPT))
            connection.execute(instances.delete().where(instances.c.seen_at < now - timedelta(hours=1)))

    @contextmanager
    def alone(self, key: int) -> Iterator[bool]:
        """True for one instance at a time among those that use the same key; never waits."""
        with translated(self._engine), self._engine.begin() as connection:
            yield connection.execute(text("select pg_try_advisory_xact_lock(:key)"), {"key": key}).scalar_one()
