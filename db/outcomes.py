"""Supervisors' labels, agents' overrules, and the accuracy table that always equals a recount of the labels."""
from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine, Row, func, insert, select, text, update

from db.decisions import ticket_from
from db.models import departments, outcomes, overrules, routing_accuracy, routing_history, tickets
from db.session import reading, writing
from engine.domain import Outcome, OutcomeKind, Overrule
from engine.errors import NotFound, OutcomeRejected
from engine.ports import Reviewed

# Adds to the totals and derives the rate from the new totals, in one statement that locks the department's row.
_COUNT = text(
    """
    insert into routing_accuracy as a (department, total_predictions, correct_predictions, accuracy_rate, last_updated)
    values (:department, :total, :correct, case when :total > 0 then cast(:correct as numeric) / :total else 0 end, :now)
    on conflict (department) do update set
        total_predictions = a.total_predictions + :total,
        correct_predictions = a.correct_predictions + :correct,
        accuracy_rate = case when a.total_predictions + :total > 0
            then cast(a.correct_predictions + :correct as numeric) / (a.total_predictions + :total) else 0 end,
        last_updated = :now
    """
)
_RECOUNT = """
    select department, count(*) as total, count(*) filter (where actual_outcome = department) as correct
    from routing_history where actual_outcome is not null group by department
"""


class Outcomes:
    """Labels and overrules; every change of a label changes `routing_accuracy` in the same transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def label(self, outcome: Outcome, *, now: datetime) -> Reviewed:
        """Store a label, or replace an earlier one. Raises NotFound, OutcomeRejected for an unknown department."""
        with writing(self._engine) as connection:
            row = connection.execute(
                select(routing_history, tickets)
                .join(tickets, tickets.c.id == routing_history.c.ticket_id)
                .where(tickets.c.id == outcome.ticket_id)
                # Two supervisors labelling one ticket come one after the other, so the totals stay a recount.
                .with_for_update(of=routing_history)
            ).first()
            if row is None:
                raise NotFound(f"ticket {outcome.ticket_id} does not exist. The label was not stored.")
            _must_exist(connection, outcome.department)
            correct = row.department == outcome.department
            was_labelled = row.actual_outcome is not None
            kind = OutcomeKind.CONFIRMED if correct else OutcomeKind.CORRECTED
            connection.execute(
                insert(outcomes).values(
                    ticket_id=outcome.ticket_id, kind=kind.value, predicted=row.department, actual=outcome.department,
                    resolution_time_hours=outcome.resolution_hours, customer_satisfaction=outcome.satisfaction,
                    labelled_by=outcome.labelled_by, note=outcome.note, created_at=now,
                )
            )
            connection.execute(
                update(routing_history)
                .where(routing_history.c.ticket_id == outcome.ticket_id)
                .values(
                    actual_outcome=outcome.department, outcome=kind.value, reviewed_at=now, reviewed_by=outcome.labelled_by,
                    resolution_time_hours=outcome.resolution_hours, customer_satisfaction=outcome.satisfaction,
                )
            )
            was_correct = was_labelled and row.actual_outcome == row.department
            connection.execute(
                _COUNT,
                {
                    "department": row.department, "now": now,
                    "total": 0 if was_labelled else 1, "correct": int(correct) - int(was_correct),
                },
            )
        return Reviewed(
            ticket=ticket_from(row), fingerprint=row.fingerprint, predicted=row.department, actual=outcome.department,
            method=row.method, topic=row.topic,
        )

    def overrule(self, overrule: Overrule, *, now: datetime) -> None:
        """Store an agent's own choice; the ticket goes to the front of the review queue. Raises NotFound."""
        with writing(self._engine) as connection:
            _must_exist(connection, overrule.department)
            changed = connection.execute(
                update(routing_history)
                .where(routing_history.c.ticket_id == overrule.ticket_id)
                .values(overruled_to=overrule.department)
            )
            if changed.rowcount == 0:
                raise NotFound(f"ticket {overrule.ticket_id} does not exist. The overrule was not stored.")
            connection.execute(
                insert(overrules).values(
                    ticket_id=overrule.ticket_id, department=overrule.department, by=overrule.by, reason=overrule.reason,
                    created_at=now,
                )
            )

    def queue(self, *, limit: int = 50, department: str | None = None) -> list[Row]:
        """Tickets waiting for a label: overruled first, then those that sampling chose, least sure first."""
        wanted = (routing_history.c.review_wanted | routing_history.c.overruled_to.is_not(None)) & routing_history.c.actual_outcome.is_(None)
        query = (
            select(routing_history, tickets.c.subject, tickets.c.body, tickets.c.priority, tickets.c.customer_ref)
            .join(tickets, tickets.c.id == routing_history.c.ticket_id)
            .where(wanted)
            .order_by(routing_history.c.overruled_to.is_(None), routing_history.c.confidence, routing_history.c.id)
            .limit(limit)
        )
        if department:
            query = query.where(routing_history.c.department == department)
        with reading(self._engine) as connection:
            return list(connection.execute(query).all())

    def waiting(self) -> int:
        """How many tickets wait for a label."""
        with reading(self._engine) as connection:
            query = select(func.count()).where(
                routing_history.c.review_wanted | routing_history.c.overruled_to.is_not(None),
                routing_history.c.actual_outcome.is_(None),
            )
            return connection.execute(query).scalar_one()

    def accuracy(self) -> list[Row]:
        """`routing_accuracy`, by department."""
        with reading(self._engine) as connection:
            return list(connection.execute(select(routing_accuracy).order_by(routing_accuracy.c.department)).all())

    def recount(self) -> list[Row]:
        """What `routing_accuracy` should say, counted from the labels: department, total, correct."""
        with reading(self._engine) as connection:
            return list(connection.execute(text(_RECOUNT + " order by department")).all())


def _must_exist(connection: Connection, department: str) -> None:
    if connection.execute(select(departments.c.id).where(departments.c.name == department)).first() is None:
        raise OutcomeRejected(f"department: {department!r} is not one of the departments. Nothing was stored.")
