"""Keeps the rollups: takes the facts that triggers left in `rollup_pending` and adds them to every level of time.

A trigger writes a fact in the transaction of the decision itself, so a decision and its fact become visible together,
however late the commit; the roller moves facts into rollups in one transaction. In every snapshot, therefore,
rollups + pending facts = the raw rows, and a chart that reads both in one snapshot shows exactly what is stored.
Deleting decisions leaves no fact: statistics outlive the tickets.
"""
from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, text

from db import rollup_columns as columns
from db.locks import Lock
from db.rollup_columns import DIMENSIONS, KEPT, MEASURES
from db.session import reading, translated
from engine.timeline import Level

BATCH = 20_000
_KEYS = ", ".join(DIMENSIONS)
_ADD = ", ".join(f"{name} = coalesce(r.{name} + excluded.{name}, r.{name}, excluded.{name})" for name in MEASURES)
_LEVELS = ", ".join(f"({level.value}::smallint, interval '{int(KEPT[level].total_seconds()) if level in KEPT else 0} seconds')" for level in Level)
_BUCKET = "case level " + " ".join(f"when {level.value} then {columns.bucket_sql(level, 'bucket')}" for level in Level) + " end"
# A fact of long ago does not enter levels that have forgotten its time.
_REMEMBERED = "(keep = interval '0' or bucket >= cast(:now as timestamptz) - keep)"
_SUMS = columns.summed_sql()
_CUTS = f"(values ({columns.FULL}::smallint), ({columns.BY_DEPARTMENT}::smallint), ({columns.BY_METHOD}::smallint)) as cuts (cut)"
_CUT_KEYS = ", ".join(f"{columns.cut_sql(name)} as {name}" for name in DIMENSIONS)


def _upsert(cells: str) -> str:
    return f"""
        insert into rollups as r (cut, level, bucket, {_KEYS}, {', '.join(MEASURES)})
        select cut, level, bucket, {_KEYS}, {_SUMS}
        from (
            select cut, level, {_BUCKET} as bucket, {_CUT_KEYS}, {', '.join(MEASURES)}
            from ({cells}) as cells cross join (values {_LEVELS}) as levels (level, keep) cross join {_CUTS}
            where {_REMEMBERED}
        ) as cells
        group by cut, level, bucket, {_KEYS} order by cut, level, bucket, {_KEYS}
        on conflict (cut, level, bucket, {_KEYS}) do update set {_ADD}
    """


_FLOW_KEYS = "department, actual, method, policy, channel, demo"
_ROLL_FLOWS = f"""
    insert into rollup_flows as f (level, bucket, {_FLOW_KEYS}, n)
    select level, {_BUCKET}, {_FLOW_KEYS}, sum(sign)::int
    from (select created_at as bucket, sign, {_FLOW_KEYS} from taken where actual <> department) as cells
        cross join (values {_LEVELS}) as levels (level, keep)
    where {_REMEMBERED}
    group by 1, 2, {_FLOW_KEYS} having sum(sign) <> 0 order by 1, 2, {_FLOW_KEYS}
    on conflict (level, bucket, {_FLOW_KEYS}) do update set n = f.n + excluded.n
"""
_ROLL = f"""
    with taken as (
        delete from rollup_pending where ctid = any(array(select ctid from rollup_pending limit {BATCH})) returning *
    ),
    flows as ({_ROLL_FLOWS}),
    minutes as materialized (
        select bucket, {_KEYS}, {_SUMS}
        from (select date_trunc('minute', bucket) as bucket, {_KEYS}, {', '.join(MEASURES)}
            from ({columns.cells_sql('select * from taken')}) as c) as c
        group by bucket, {_KEYS}
    ),
    added as ({_upsert('select * from minutes')} returning 1)
    select (select count(*) from taken)
"""


class Rollups:
    """Rolls, prunes and rebuilds. `clock` gives aware UTC times."""

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._engine = engine
        self._clock = clock

    def roll(self) -> int | None:
        """Move pending facts into the rollups; their number, or None when another process is at it. Raises ServiceUnavailable."""
        moved = 0
        while True:
            with translated(self._engine), self._engine.begin() as connection:
                connection.execute(text("set local jit = off"))
                if not connection.execute(text("select pg_try_advisory_xact_lock(:key)"), {"key": Lock.ROLLING}).scalar_one():
                    return moved or None
                some = connection.execute(text(_ROLL), {"now": self._clock()}).scalar_one()
            moved += some
            if some < BATCH:
                return moved

    def pending(self) -> int:
        """How many facts wait."""
        with reading(self._engine) as connection:
            return connection.execute(text("select count(*) from rollup_pending")).scalar_one()

    def prune(self) -> int:
        """Forget fine buckets whose time is over; how many rows went."""
        gone = 0
        with translated(self._engine), self._engine.begin() as connection:
            for level, keep in KEPT.items():
                for table in ("rollups", "rollup_flows"):
                    gone += connection.execute(
                        text(f"delete from {table} where level = :level and bucket < :before"),
                        {"level": level.value, "before": self._clock() - keep},
                    ).rowcount
        return gone

    def rebuild(self) -> int:
        """Count everything anew from the raw rows, without stopping writers; the number of decisions counted.

        Buckets from before the oldest raw row stay as they are, and so does the bucket of that row when it counts more
        than the raw rows: what was deleted on purpose stays counted.
        """
        with translated(self._engine), self._engine.begin() as holder:
            for setting in ("statement_timeout = 0", "lock_timeout = 0", "idle_in_transaction_session_timeout = 0"):
                holder.execute(text(f"set local {setting}"))
            # The lock is held by a transaction of its own: in the other one the first query, and waiting for a lock is one,
            # decides what is seen, and what another roller did while this one waited could not be changed any more.
            holder.execute(text("select pg_advisory_xact_lock(:key)"), {"key": Lock.ROLLING})
            with self._engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection, connection.begin():
                for setting in ("jit = off", "statement_timeout = 0", "lock_timeout = 0", "work_mem = '128MB'"):
                    connection.execute(text(f"set local {setting}"))
                return _rebuild(connection, self._clock())


def _rebuild(connection: Connection, now: datetime) -> int:
    first = connection.execute(text("select min(created_at) from routing_history")).scalar_one()
    connection.execute(text("delete from rollup_pending"))
    if first is None:
        return 0
    half_hour = columns.bucket_sql(Level.HALF_HOUR, "bucket")
    raw = columns.cells_sql(columns.facts_sql())
    connection.execute(text(f"""
        create temp table halves on commit drop as
        select {half_hour} as bucket, {_KEYS}, {_SUMS} from ({raw}) as c group by 1, {_KEYS}
    """))
    connection.execute(text("analyze halves"))
    for level in Level:
        at = columns.bucket_sql(level, "cast(:first as timestamptz)")
        source = "halves"
        if level is Level.MINUTE:
            recent = columns.cells_sql(columns.facts_sql("created_at >= cast(:first as timestamptz)"))
            source = f"({recent})"
        begin = max(first, now - KEPT[level]) if level in KEPT else first
        bucket = columns.bucket_sql(level, "bucket")
        parameters = {"level": level.value, "first": begin}
        # Where rows were deleted within the first bucket, its old counts are the true ones.
        purged = connection.execute(text(f"""
            select coalesce((select sum(n) from rollups where cut = {columns.BY_METHOD} and level = :level and bucket = {at}), 0)
                > coalesce((select sum(n) from {source} as c where {bucket} = {at}), 0)
        """), parameters).scalar_one()
        compare = ">" if purged else ">="
        for table in ("rollups", "rollup_flows"):
            connection.execute(text(f"delete from {table} where level = :level and bucket {compare} {at}"), parameters)
        connection.execute(text(f"""
            insert into rollups (cut, level, bucket, {_KEYS}, {', '.join(MEASURES)})
            select {columns.FULL}, :level, {bucket}, {_KEYS}, {_SUMS} from {source} as c where {bucket} {compare} {at} group by 3, {_KEYS}
        """), parameters)
        connection.execute(text(f"""
            insert into rollups (cut, level, bucket, {_KEYS}, {', '.join(MEASURES)})
            select cut, level, bucket, {_KEYS}, {_SUMS} from (
                select cuts.cut, level, bucket, {_CUT_KEYS.replace('cut ', 'cuts.cut ')}, {', '.join(MEASURES)}
                from rollups cross join {_CUTS}
                where rollups.cut = {columns.FULL} and cuts.cut > {columns.FULL} and level = :level and bucket {compare} {at}
            ) as cells group by cut, level, bucket, {_KEYS}
        """), parameters)
        flow_bucket = columns.bucket_sql(level, "created_at")
        connection.execute(text(f"""
            insert into rollup_flows (level, bucket, {_FLOW_KEYS}, n)
            select :level, {flow_bucket}, department, actual_outcome, method, policy, channel, demo, count(*)
            from routing_history where actual_outcome <> department and {flow_bucket} {compare} {at} group by 2, 3, 4, 5, 6, 7, 8
        """), parameters)
    return connection.execute(text("select count(*) from routing_history")).scalar_one()
