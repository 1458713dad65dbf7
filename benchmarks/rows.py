"""Databases full of made-up decisions, generated straight into Postgres and spread evenly over twelve months."""
from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Engine, create_engine, text

from db import migrate
from db.rollups import Rollups
from db.session import connect

# Shares of eleven departments and of the methods, as busy and quiet ones are found in practice.
DEPARTMENTS = (22, 18, 14, 11, 9, 8, 6, 5, 4, 2, 1)
METHODS = (("cached", 55), ("learned", 30), ("rag_llm", 5), ("fallback", 10))
TICKET_SHAPE = "insert into tickets (id, body, channel, priority, fingerprint, origin, created_at)"
DECISION_SHAPE = """insert into routing_history (ticket_id, department, confidence, method, created_at, actual_outcome, raw_score,
    automation, source, reason, alternatives, evidence, timings, total_ms, versions, policy, degraded_by, channel, demo,
    audit_department, review_probability, review_wanted)"""
INDEXES = (
    "ix_routing_history_created_at", "ix_routing_history_department", "ix_routing_history_waiting", "ix_routing_history_reviewed",
    "ix_routing_history_labelled", "ix_routing_history_open", "ix_routing_history_review", "ix_routing_history_mistakes",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A filled database: a pool to it, the seconds that took, and MiB per million decisions of rows (with indexes) and of rollups."""

    engine: Engine
    generating: float
    rebuilding: float
    raw: float
    rolled: float


def filled(url: str, size: int) -> Filled:
    """A database of its own with `size` decisions, their rollups, and statistics for the planner."""
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"drop database if exists rows_{size} with (force)"))
        connection.execute(text(f"create database rows_{size}"))
    admin.dispose()
    engine = connect(url.replace("/postgres?", f"/rows_{size}?"))
    migrate.upgrade(engine)
    started = time.perf_counter()
    with engine.begin() as connection:
        definitions = connection.execute(text("select indexdef from pg_indexes where indexname = any(:names)"), {"names": list(INDEXES)}).scalars().all()
        for name in INDEXES:
            connection.execute(text(f"drop index if exists {name}"))
    for first in range(0, size, 500_000):
        generate(engine, min(500_000, size - first), first=first, seconds=364 * 86400)
    with engine.begin() as connection:
        connection.execute(text("set local statement_timeout = 0"))
        connection.execute(text("set local maintenance_work_mem = '512MB'"))
        for definition in definitions:
            connection.execute(text(definition))
    generated = time.perf_counter()
    Rollups(engine).rebuild()
    rebuilt = time.perf_counter()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("set statement_timeout = 0"))
        connection.execute(text("vacuum analyze"))
        sizes = dict(connection.execute(text(
            "select relname, pg_total_relation_size(oid) from pg_class where relname in ('routing_history', 'tickets', 'rollups', 'rollup_flows')"
        )).all())
        connection.execute(text("set statement_timeout = '15s'"))
    made = Filled(
        engine=engine, generating=generated - started, rebuilding=rebuilt - generated,
        raw=_per_million(sizes["routing_history"] + sizes["tickets"], size), rolled=_per_million(sizes["rollups"] + sizes["rollup_flows"], size),
    )
    print(f"{size:,} rows: generated in {made.generating:.0f} s, rollups rebuilt in {made.rebuilding:.0f} s, per million decisions "
          f"{made.raw:.0f} MiB raw and {made.rolled:.0f} MiB rollups", flush=True)
    return made


def _per_million(size: int, rows: int) -> float:
    return size / rows * 1e6 / 2**20


def generate(engine: Engine, count: int, *, first: int, seconds: int, triggers: bool = False) -> None:
    """`count` decisions spread over the last `seconds`, each with its ticket."""
    with engine.begin() as connection:
        connection.execute(text("set local statement_timeout = 0"))
        if not triggers:
            # Neither foreign keys nor triggers: both would only slow the filling down, and the rebuild counts everything.
            connection.execute(text("set local session_replication_role = replica"))
        parameters = {"low": first + 1, "high": first + count}
        connection.execute(text(
            f"{TICKET_SHAPE} select 'G-' || g, 'they took the money twice for my bill of last month', 'web', 'normal', 'f', "
            f"'api', now() - cast(:high - g as float8) / :many * interval '{seconds} seconds' "
            "from generate_series(cast(:low as bigint), cast(:high as bigint)) g"
        ), parameters | {"many": count})
        connection.execute(text(f"""
            {DECISION_SHAPE}
            select 'G-' || g, 'Department ' || d, case m when 'fallback' then 0.75 * a else 0.6 + 0.4 * sqrt(a) end, m,
                now() - b * interval '{seconds} seconds', case when c < 0.05 then 'Department ' || (case when c < 0.003 then d % 11 + 1 else d end) end,
                a, case when m = 'fallback' then 'suggest' when a > 0.3 then 'auto' else 'preselect' end, 'model:1', 'learned',
                '[["Department 1", 0.9], ["Department 2", 0.05], ["Department 3", 0.02]]', '[[1, "Department 1", "topic", 0.91, "seed"]]',
                '{{"embed": 3.1, "classify": 0.4, "total": 5.2}}', case m when 'cached' then 3 when 'rag_llm' then 900 else 7 end * exp(2 * a * b),
                '{{"policy": "1", "model": "1"}}', 1 + (b < 0.5)::int, '{{}}',
                (array['phone', 'email', 'chat', 'web', 'social', 'other'])[1 + floor(6 * e * e)::int], false,
                case when m = 'cached' and e < 0.02 then 'Department ' || d end, 0.05 + 0.95 * (m = 'fallback')::int, c < 0.1
            from (
                select g, a, b, c, e, width_bucket(d, array[{_cumulated(DEPARTMENTS)}]) + 1 as d,
                    (array[{_quoted([name for name, _ in METHODS])}])[width_bucket(f, array[{_cumulated([n for _, n in METHODS])}]) + 1] as m
                from (select g, random() a, random() b, random() c, random() d, random() e, random() f
                    from generate_series(cast(:low as bigint), cast(:high as bigint)) g) as dice
            ) as x
        """), parameters)


def _cumulated(shares: tuple[int, ...] | list[int]) -> str:
    total = sum(shares)
    return ", ".join(str(sum(shares[: i + 1]) / total) for i in range(len(shares) - 1))


def _quoted(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def dropped(url: str, sizes: list[int]) -> None:
    """Remove these databases."""
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for size in sizes:
            connection.execute(text(f"drop database if exists rows_{size} with (force)"))
    admin.dispose()
