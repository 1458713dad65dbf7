"""Supervisors' labels, agents' overrules, and the accuracy table that always equals a recount of the labels."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, insert, or_, select, text, update

from db.decisions import WITH_TICKET, ticket_from
from db.exemplars import put_in, take_out
from db.models import departments, exemplars, outcomes, overrules, routing_accuracy, routing_history, tickets
from db.session import TICKET_PATIENCE, reading, transact
from db.taxonomy import raise_counter
from engine.domain import Exemplar, Origin, Ticket
from engine.errors import NotFound, OutcomeRejected
from engine.outcome import Chosen, Outcome, OutcomeKind, Overrule, Reviewed
from engine.standing import Standing

LABEL_VERSION = "labels"
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
# Whoever labels must be able to read the ticket: one whose text was removed waits for nobody.
_UNLABELLED = (routing_history.c.review_wanted | routing_history.c.overruled_to.is_not(None)) & routing_history.c.actual_outcome.is_(None)
# As labels are counted: those of demo tickets until the first real one comes, so that nobody is asked for them after it.
_real = tickets.alias("real")
_DEMO_IS_OVER = select(_real.c.id).where(_real.c.origin != Origin.DEMO).exists()
_WAITS = _UNLABELLED & ~(routing_history.c.demo & _DEMO_IS_OVER)
_REMOVED = select(tickets.c.id).where(tickets.c.id == routing_history.c.ticket_id, tickets.c.text_removed_at.is_not(None)).exists()


class Outcomes:
    """Labels and overrules; every change of a label changes `routing_accuracy` in the same transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def ticket(self, ticket_id: str) -> Ticket:
        """A ticket that a decision was stored for. Raises NotFound."""
        # It waits for no lock, and somebody waits for it: with a database that says nothing a label is refused as soon as a ticket is kept.
        with reading(self._engine, patience=TICKET_PATIENCE) as connection:
            return ticket_from(_found(connection, ticket_id, "Nothing was stored."))

    def label(
        self, outcome: Outcome, *, now: datetime, learn: bool = True, based_on: Standing | None = None,
        also: Callable[[Any, Reviewed], None] | None = None,
    ) -> Reviewed:
        """Store a label, or replace an earlier one. Raises NotFound, OutcomeRejected for an unknown department, and Conflict where
        somebody has labelled the ticket or chosen for it since it stood as `based_on`; nothing was stored then.

        With `learn` the ticket becomes, in the same transaction, an exemplar of the department that was right, in place of
        any that it was before; its vector is to follow. Exemplars that tickets of the same fingerprint have made for another
        department are taken out: of two labels of one text the newest counts. `also` runs at the end of the transaction,
        with its connection, and may run again after a deadlock.
        """
        def work(connection: Connection) -> Reviewed:
            reviewed = _labelled(connection, outcome, now=now, based_on=based_on)
            if learn and reviewed.ticket.text:
                reviewed = replace(reviewed, exemplar_id=_learned(connection, reviewed))
            # Numbers of labels are no sign of a change: a lower one may be committed later.
            raise_counter(connection, LABEL_VERSION)
            if also is not None:
                also(connection, reviewed)
            return reviewed

        return transact(self._engine, work)

    def overrule(
        self, overrule: Overrule, *, now: datetime, based_on: Standing | None = None, also: Callable[[Any, Chosen], None] | None = None
    ) -> Chosen:
        """Store an agent's own choice. Another department than the decided one moves the ticket, to the front of the review queue
        too; the decided one confirms it, or takes it back. Raises NotFound, OutcomeRejected for a department that is unknown or retired,
        and Conflict where somebody has chosen since the ticket stood as `based_on`; nothing was stored then.

        A supervisor's label stands: where there is one, the choice is noted beside it and changes nothing. `also` as for `label`.
        """
        def work(connection: Connection) -> Chosen:
            _must_exist(connection, overrule.department, live=True)
            row = _found(connection, overrule.ticket_id, "The choice was not stored.", lock=True)
            if row.text_removed_at is not None:
                raise OutcomeRejected("ticket_id: its text was removed, so nobody can say where it belongs. Nothing was stored.")
            if based_on is not None:
                based_on.allows_choice(row)
            chosen = Chosen(
                decided=row.department, before=row.actual_outcome or row.overruled_to or row.department, labelled=row.actual_outcome
            )
            moved = {} if row.actual_outcome is not None else {
                "overruled_to": None if overrule.department == row.department else overrule.department
            }
            connection.execute(
                update(routing_history).where(routing_history.c.ticket_id == overrule.ticket_id).values(chosen=overrule.department, **moved)
            )
            connection.execute(
                insert(overrules).values(
                    ticket_id=overrule.ticket_id, department=overrule.department, by=overrule.by, reason=overrule.reason,
                    created_at=now,
                )
            )
            if also is not None:
                also(connection, chosen)
            return chosen

        return transact(self._engine, work)

    def queue(self, *, limit: int = 50, department: str | None = None) -> list[Row]:
        """Tickets waiting for a label: overruled first, then those that sampling chose, in an order that chance made.

        What is labelled is then a fair part of what was sampled even where the queue is never emptied; the least sure first
        would leave the sampled sure ones for ever, and their accuracy unknown. Demo tickets wait while there are no others.
        """
        query = (
            WITH_TICKET.where(_WAITS, tickets.c.text_removed_at.is_(None))
            .order_by(routing_history.c.overruled_to.is_(None), func.md5(routing_history.c.ticket_id), routing_history.c.id)
            .limit(limit)
        )
        if department:
            query = query.where(routing_history.c.department == department)
        with reading(self._engine) as connection:
            return list(connection.execute(query).all())

    def waiting(self) -> dict[str, int]:
        """How many tickets wait for a label, by the department they went to; without those of which none waits."""
        name = routing_history.c.department
        query = select(name, func.count().label("tickets")).where(_WAITS, ~_REMOVED).group_by(name)
        with reading(self._engine) as connection:
            return {row.department: row.tickets for row in connection.execute(query)}

    def last_choice(self, ticket_id: str) -> Overrule | None:
        """What an agent chose last, by whom and why; None where nobody has chosen."""
        query = select(overrules).where(overrules.c.ticket_id == ticket_id).order_by(overrules.c.id.desc()).limit(1)
        with reading(self._engine) as connection:
            row = connection.execute(query).first()
        return None if row is None else Overrule(ticket_id=ticket_id, department=row.department, by=row.by, reason=row.reason)

    def accuracy(self) -> list[Row]:
        """`routing_accuracy`, by department."""
        with reading(self._engine) as connection:
            return list(connection.execute(select(routing_accuracy).order_by(routing_accuracy.c.department)).all())

    def recount(self) -> list[Row]:
        """What `routing_accuracy` should say, counted from the labels: department, total, correct."""
        with reading(self._engine) as connection:
            return list(connection.execute(text(_RECOUNT + " order by department")).all())


def _labelled(connection: Connection, outcome: Outcome, *, now: datetime, based_on: Standing | None) -> Reviewed:
    # Two supervisors labelling one ticket come one after the other, so the totals stay a recount and one exemplar is left.
    row = _found(connection, outcome.ticket_id, "The label was not stored.", lock=True)
    if based_on is not None:
        based_on.allows_label(outcome.department, row)
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
        method=row.method, topic=row.topic, earlier=_label_of(row) if was_labelled else None,
    )


def _label_of(row: Row) -> Outcome:
    hours, stars = row.resolution_time_hours, row.customer_satisfaction
    return Outcome(
        ticket_id=row.ticket_id, department=row.actual_outcome, labelled_by=row.reviewed_by or "",
        # Two decimals are kept: a few seconds are 0.00, which no label may say.
        resolution_hours=float(hours) if hours else None, satisfaction=None if stars is None else int(stars),
    )


def _learned(connection: Connection, reviewed: Reviewed) -> int:
    """The ticket as an exemplar, in place of its own earlier one and of those that contradict it; the new one's number."""
    same = select(tickets.c.id).where(tickets.c.fingerprint == reviewed.fingerprint)
    contradicts = exemplars.c.ticket_id.in_(same) & (exemplars.c.department != reviewed.actual)
    take_out(connection, or_(exemplars.c.ticket_id == reviewed.ticket.id, contradicts))
    exemplar = Exemplar(
        text=reviewed.ticket.text, department=reviewed.actual, topic=reviewed.topic if reviewed.correct else "",
        source="confirmed" if reviewed.correct else "corrected", ticket_id=reviewed.ticket.id,
    )
    return put_in(connection, [exemplar], None, embedder="")[0]


def _found(connection: Connection, ticket_id: str, consequence: str, *, lock: bool = False) -> Row:
    query = (
        select(routing_history, tickets).join(tickets, tickets.c.id == routing_history.c.ticket_id).where(tickets.c.id == ticket_id)
    )
    if lock:
        # A statement of its own: one that has waited for the lock shows the ticket's text as it was before, although a purge has removed it.
        connection.execute(select(routing_history.c.id).where(routing_history.c.ticket_id == ticket_id).with_for_update())
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"ticket {ticket_id} does not exist. {consequence}")
    return row


def _must_exist(connection: Connection, department: str, *, live: bool = False) -> None:
    row = connection.execute(select(departments.c.live).where(departments.c.name == department)).first()
    if row is None:
        raise OutcomeRejected(f"department: {department!r} is not one of the departments. Nothing was stored.")
    if live and not row.live:
        raise OutcomeRejected(f"department: {department!r} is retired, no ticket goes there any more. Nothing was stored. Choose another.")
