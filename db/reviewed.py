"""Reviewed decisions: what accuracy, calibration and thresholds are counted from."""
from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine, Row, text

from db.session import reading

_COLUMNS = """
    h.ticket_id, h.department, h.method, h.confidence, h.raw_score, h.created_at, h.reviewed_at, h.review_probability,
    h.review_wanted, h.topic
"""


class Reviewed:
    """Labels as rows. A label counts for accuracy only where chance put its ticket in the queue, with a known rate."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def newest(self) -> int:
        """The number of the newest label, 0 without any; a cheap sign that something has changed."""
        with reading(self._engine) as connection:
            return connection.execute(text("select coalesce(max(id), 0) from outcomes")).scalar_one()

    def since(self, number: int, *, demo: bool) -> Sequence[Row]:
        """Labels after `number` in their order: id, actual, and the decision's columns."""
        query = text(
            f"select o.id, o.actual, {_COLUMNS} from outcomes o join routing_history h using (ticket_id) "
            "where o.id > :number and h.review_wanted and (h.demo = :demo) order by o.id"
        )
        with reading(self._engine) as connection:
            return connection.execute(query, {"number": number, "demo": demo}).all()

    def decisions(self, *, demo: bool, limit: int = 50_000) -> Sequence[Row]:
        """The newest reviewed decisions that chance chose, newest first: actual_outcome and the decision's columns."""
        query = text(
            f"select h.actual_outcome, {_COLUMNS} from routing_history h where h.actual_outcome is not null "
            "and h.review_wanted and h.demo = :demo order by h.reviewed_at desc limit :limit"
        )
        with reading(self._engine) as connection:
            return connection.execute(query, {"demo": demo, "limit": limit}).all()

    def confident_mistakes(self, *, demo: bool, limit: int = 25) -> Sequence[Row]:
        """Reviewed decisions that were wrong, the surest first, with their text."""
        query = text(
            f"select h.actual_outcome, t.subject, t.body, {_COLUMNS} from routing_history h join tickets t on t.id = h.ticket_id "
            "where h.actual_outcome is not null and h.actual_outcome <> h.department and h.demo = :demo "
            "order by h.confidence desc, h.id desc limit :limit"
        )
        with reading(self._engine) as connection:
            return connection.execute(query, {"demo": demo, "limit": limit}).all()

    def volume(self, *, demo: bool, days: int = 7) -> float:
        """Decisions a day over the last `days` days in which there was one."""
        query = text(
            "select count(*)::float / greatest(1, count(distinct created_at::date)) from routing_history "
            "where demo = :demo and created_at > now() - make_interval(days => :days)"
        )
        with reading(self._engine) as connection:
            return float(connection.execute(query, {"demo": demo, "days": days}).scalar_one())

    def audits(self, *, demo: bool) -> tuple[int, int]:
        """Audited cache hits, and how many of them the whole engine would have sent elsewhere."""
        query = text(
            "select count(*), count(*) filter (where audit_department <> department) from routing_history "
            "where audit_department is not null and method = 'cached' and demo = :demo"
        )
        with reading(self._engine) as connection:
            return tuple(connection.execute(query, {"demo": demo}).one())
