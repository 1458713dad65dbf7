"""Reviewed decisions: what accuracy, calibration and thresholds are counted from."""
from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Engine, Row, text

from db.rollup_columns import BY_METHOD, FULL, bucket_sql
from db.session import reading
from engine.kept import Kept
from engine.sampled import LOWEST_RATE, Sampled
from engine.timeline import Level

_COLUMNS = """
    h.ticket_id, h.department, h.method, h.confidence, h.raw_score, h.created_at, h.reviewed_at, h.review_probability,
    h.review_wanted, h.topic
"""
_RATES = "(config->>'review_rate')::float8 as review_rate, (config->>'audit_rate')::float8 as audit_rate"


class Reviewed:
    """Labels as rows. A label counts for accuracy only where chance put its ticket in the queue, with a known rate."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def since(self, number: int, *, demo: bool, without: Sequence[int] = ()) -> Sequence[Row]:
        """Labels after `number` but those `without` in their order: id, actual, and the decision's columns."""
        query = text(
            f"select o.id, o.actual, {_COLUMNS} from outcomes o join routing_history h using (ticket_id) "
            "where o.id > :number and o.id <> all(cast(:without as bigint[])) and h.review_wanted and (h.demo = :demo) order by o.id"
        )
        with reading(self._engine) as connection:
            return connection.execute(query, {"number": number, "demo": demo, "without": list(without)}).all()

    def holds(self, number: int, *, ticket_id: str, actual: str) -> bool:
        """True where the label of this number is that ticket's, and says this."""
        query = text("select exists (select from outcomes where id = :number and ticket_id = :ticket_id and actual = :actual)")
        with reading(self._engine) as connection:
            return connection.execute(query, {"number": number, "ticket_id": ticket_id, "actual": actual}).scalar_one()

    def decisions(self, *, demo: bool, limit: int = 50_000) -> Sequence[Row]:
        """The newest reviewed decisions that chance chose, newest first: actual_outcome, model, embedder, their policy's review_rate
        and audit_rate (null for the built-in one) and the columns.

        The newest by when they were decided, because `drawn` counts all decisions since the oldest of these: in the order of the labels
        one late label of an old ticket would bring in years of decisions whose labels are cut off.
        """
        query = text(
            f"select h.actual_outcome, coalesce(h.versions->>'model', '') as model, coalesce(h.versions->>'embedder', '') as embedder, "
            f"{_RATES}, {_COLUMNS} from routing_history h left join policies on policies.number = h.policy where h.actual_outcome is not null "
            "and h.review_wanted and h.demo = :demo order by h.created_at desc, h.id desc limit :limit"
        )
        with reading(self._engine) as connection:
            return connection.execute(query, {"demo": demo, "limit": limit}).all()

    def drawn(self, *, demo: bool, since: datetime) -> Sequence[Row]:
        """Decisions since the beginning of that month, reviewed or not: department, method, their policy's review_rate and
        audit_rate (null for the built-in one), decisions, and how many of them went alone.

        From the rollups and what still waits to be rolled up, so that the time it takes does not grow with the tickets.
        """
        month = bucket_sql(Level.MONTH, "cast(:since as timestamptz)")
        query = text(f"""
            select department, method, {_RATES},
                sum(n)::bigint as decisions, sum(auto)::bigint as alone
            from (
                select department, method, policy, n, coalesce(auto, 0) as auto from rollups
                where cut = {FULL} and level = {Level.MONTH.value} and bucket >= {month} and demo = :demo
                union all
                select department, method, policy, sign, case when auto then sign else 0 end from rollup_pending
                where created_at >= {month} and demo = :demo
            ) as counted left join policies on policies.number = counted.policy
            group by 1, 2, 3, 4
        """)
        with reading(self._engine) as connection:
            return connection.execute(query, {"demo": demo, "since": since}).all()

    def confident_mistakes(self, *, demo: bool) -> Sequence[Row]:
        """The 25 surest of the reviewed decisions that were wrong, with their text."""
        query = text(
            f"select h.actual_outcome, t.subject, t.body, {_COLUMNS} from routing_history h join tickets t on t.id = h.ticket_id "
            "where h.actual_outcome is not null and h.actual_outcome <> h.department and h.demo = :demo "
            "order by h.confidence desc, h.id desc limit 25"
        )
        with reading(self._engine) as connection:
            return connection.execute(query, {"demo": demo}).all()

    def volume(self, *, demo: bool) -> float:
        """Decisions a day over the last week, or since the first one where that is shorter (but at least a day)."""
        query = text(
            "select (select count(*) from routing_history where demo = :demo "
            "and created_at > now() - interval '7 days')::float "
            "/ least(7, greatest(1, extract(epoch from now() - "
            "(select min(created_at) from routing_history where demo = :demo)) / 86400))"
        )
        with reading(self._engine) as connection:
            return float(connection.execute(query, {"demo": demo}).scalar_one())

    def sampled(self, *, demo: bool) -> Sampled:
        """How much of what chance chose for review is labelled; `beyond_chance` is counted over the last 30 days."""
        query = text("""
            with unlabelled as (
                select count(*) filter (where t.id is null) as waiting, count(t.id) as removed
                from routing_history h left join tickets t on t.id = h.ticket_id and t.text_removed_at is not null
                where h.actual_outcome is null and h.review_wanted and h.demo = :demo
            )
            select waiting, removed,
                (select count(*) from routing_history where actual_outcome is not null and review_wanted and demo = :demo) as labelled,
                (select count(*) from routing_history where created_at > now() - interval '30 days' and automation = 'auto'
                    and not review_wanted and review_probability >= 1 and demo = :demo) as beyond_chance
            from unlabelled
        """)
        with reading(self._engine) as connection:
            return Sampled(**connection.execute(query, {"demo": demo}).mappings().one())

    def kept(self, *, demo: bool, since: datetime) -> list[Kept]:
        """Labels given since then on tickets that went alone, by department in the order of names; empty without a target in force.

        Only decisions of policies with the target and the thresholds of the one in force: what others let through is not its doing.
        """
        query = text("""
            with live as (select config from policies where live and config->>'target_accuracy' is not null), labels as (
                select department, actual_outcome = department as is_right, 1 / greatest(review_probability, :lowest) as weight
                from routing_history where actual_outcome is not null and reviewed_at >= :since and review_wanted and automation = 'auto'
                    and demo = :demo and policy in (
                        select number from policies, live where policies.config->'target_accuracy' = live.config->'target_accuracy'
                        and policies.config->'auto' = live.config->'auto' and policies.config->'departments' = live.config->'departments'
                    )
            )
            select department, (select (config->>'target_accuracy')::float8 from live) as target, sum(weight)::float8 as weight,
                coalesce(sum(weight) filter (where is_right), 0)::float8 as right, sum(weight * weight)::float8 as squared
            from labels group by department order by department
        """)
        with reading(self._engine) as connection:
            rows = connection.execute(query, {"demo": demo, "since": since, "lowest": LOWEST_RATE}).mappings()
            return [Kept(**row) for row in rows]

    def audits(self, *, demo: bool) -> tuple[int, int]:
        """Audited cache hits, and how many of them the learned router would have sent elsewhere (right or wrong).

        From the rollups, as `drawn`.
        """
        query = text(f"""
            select coalesce(sum(audited), 0)::bigint, coalesce(sum(false_hits), 0)::bigint from (
                select audited, false_hits from rollups
                where cut = {BY_METHOD} and level = {Level.MONTH.value} and method = 'cached' and demo = :demo
                union all
                select case when audited then sign end, case when false_hit then sign end from rollup_pending
                where method = 'cached' and demo = :demo
            ) as counted
        """)
        with reading(self._engine) as connection:
            return tuple(connection.execute(query, {"demo": demo}).one())
