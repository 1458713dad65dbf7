"""The dashboard's figures as plain rows, counted in Postgres. Times are aware, durations in milliseconds."""
from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine, Row, select, text

from db.models import alerts
from db.session import reading
from engine.ports import ChartWindow

HIGH, MEDIUM = 0.85, 0.60


_WHERE = "created_at >= :start and created_at < :end and (:demo or not demo)"


class Charts:
    """Reads for charts; may run on a replica."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def _rows(self, sql: str, window: ChartWindow, **more: object) -> Sequence[Row]:
        with reading(self._engine) as connection:
            parameters = {"start": window.start, "end": window.end, "demo": window.demo, **more}
            return connection.execute(text(sql), parameters).all()

    def totals(self, window: ChartWindow) -> Row:
        """One row: tickets, hits, auto, audited, false_hits, low, p50, p95, p99, degraded."""
        return self._rows(
            f"""
            select count(*) as tickets,
                count(*) filter (where method = 'cached') as hits,
                count(*) filter (where automation = 'auto') as auto,
                count(audit_department) as audited,
                count(*) filter (where audit_department <> department) as false_hits,
                count(*) filter (where confidence < {MEDIUM}) as low,
                percentile_cont(0.5) within group (order by total_ms) as p50,
                percentile_cont(0.95) within group (order by total_ms) as p95,
                percentile_cont(0.99) within group (order by total_ms) as p99,
                count(*) filter (where cardinality(degraded_by) > 0) as degraded
            from routing_history where {_WHERE}
            """,
            window,
        )[0]

    def latency(self, window: ChartWindow) -> Sequence[Row]:
        """Per method: method, n, p50, p95."""
        return self._rows(
            f"""
            select method, count(*) as n, percentile_cont(0.5) within group (order by total_ms) as p50,
                percentile_cont(0.95) within group (order by total_ms) as p95
            from routing_history where {_WHERE} group by method order by method
            """,
            window,
        )

    def over_time(self, window: ChartWindow, *, seconds: int) -> Sequence[Row]:
        """Per bucket of `seconds` and method: bucket, method, n."""
        return self._rows(
            f"""
            select date_bin(make_interval(secs => :seconds), created_at, timestamptz 'epoch') as bucket, method, count(*) as n
            from routing_history where {_WHERE} group by 1, 2 order by 1, 2
            """,
            window,
            seconds=seconds,
        )

    def departments(self, window: ChartWindow) -> Sequence[Row]:
        """Per department and method: department, method, n."""
        return self._rows(
            f"select department, method, count(*) as n from routing_history where {_WHERE} group by 1, 2 order by 1, 2", window
        )

    def confidence(self, window: ChartWindow) -> Sequence[Row]:
        """Per twentieth of confidence: bin (0-19), n, reviewed, correct."""
        return self._rows(
            f"""
            select least(floor(confidence * 20), 19)::int as bin, count(*) as n, count(actual_outcome) as reviewed,
                count(*) filter (where actual_outcome = department) as correct
            from routing_history where {_WHERE} group by 1 order by 1
            """,
            window,
        )

    def accuracy(self, window: ChartWindow) -> Sequence[Row]:
        """Per department, of the reviewed tickets: department, reviewed, correct."""
        return self._rows(
            f"""
            select department, count(*) as reviewed, count(*) filter (where actual_outcome = department) as correct
            from routing_history where {_WHERE} and actual_outcome is not null group by 1 order by 1
            """,
            window,
        )

    def alerts(self, *, limit: int = 10) -> Sequence[Row]:
        """Alerts, newest first."""
        with reading(self._engine) as connection:
            return connection.execute(select(alerts).order_by(alerts.c.opened_at.desc()).limit(limit)).all()
