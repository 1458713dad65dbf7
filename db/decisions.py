"""Tickets and their decisions, written together or not at all."""
from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, Row, Table, func, select, text
from sqlalchemy.dialects import postgresql

from db.models import routing_history, tickets
from db.prepared import Prepared
from db.session import TICKET_PATIENCE, UNIQUE_VIOLATION, reading
from engine.domain import Automation, Candidate, Channel, Decision, Method, Neighbour, Origin, Priority, Ticket
from engine.errors import Conflict, NotFound, StatementRefused


def _rows_of(table: Table, columns: Sequence[str], number: int) -> str:
    """SQL that turns parameter `number`, a JSON array, into rows of the table's types."""
    types = ", ".join(f"{name} {table.c[name].type.compile(dialect=postgresql.dialect())}" for name in columns)
    names = ", ".join(columns)
    return f"insert into {table.name} ({names}) select {names} from jsonb_to_recordset(${number}) as given ({types})"


_TICKET_COLUMNS = (
    "id", "subject", "body", "channel", "customer_ref", "priority", "fingerprint", "origin", "created_by", "created_at",
)
_DECISION_COLUMNS = (
    "ticket_id", "department", "confidence", "method", "created_at", "raw_score", "automation", "topic", "source", "reason",
    "alternatives", "evidence", "timings", "total_ms", "versions", "policy", "degraded_by", "gated_by", "audit_department",
    "review_wanted", "review_probability", "channel", "demo",
)
_ADD = Prepared(
    "add_decisions",
    f"with added as ({_rows_of(tickets, _TICKET_COLUMNS, 1)}) {_rows_of(routing_history, _DECISION_COLUMNS, 2)}",
    types=("jsonb", "jsonb"),
)
WITH_TICKET = select(
    routing_history, tickets.c.subject, tickets.c.body, tickets.c.priority, tickets.c.customer_ref, tickets.c.created_by
).join(tickets, tickets.c.id == routing_history.c.ticket_id)
# Neither an agent has chosen nor a supervisor has said what is right; whoever chooses must be able to read the text. In the words of the
# partial index: with a bound parameter Postgres would not know that it fits.
_OPEN = (
    text("automation <> 'auto'") & routing_history.c.actual_outcome.is_(None) & routing_history.c.chosen.is_(None)
    & tickets.c.text_removed_at.is_(None)
)


# So many ids are asked for at once.
_PART = 2_000


class Decisions:
    """The append-only record of what was decided."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, new: Sequence[Ticket], decisions: Sequence[Decision], fingerprints: Sequence[str]) -> None:
        """Store tickets and decisions in one transaction. Raises Conflict when a ticket id exists already, StatementRefused."""
        if not new:
            return
        ticket_rows = [_ticket_row(ticket, print_) for ticket, print_ in zip(new, fingerprints, strict=True)]
        decision_rows = [_decision_row(ticket, decision) for ticket, decision in zip(new, decisions, strict=True)]
        try:
            # One statement is one transaction: nothing travels between its begin and its commit.
            patience = TICKET_PATIENCE + 0.1 * (len(new) - 1)
            _ADD.run(self._engine, [json.dumps(ticket_rows), json.dumps(decision_rows)], patience=patience)
        except StatementRefused as error:
            if error.code != UNIQUE_VIOLATION:
                raise
            taken = self.existing([ticket.id for ticket in new]) or _repeated([ticket.id for ticket in new])
            if not taken:
                raise
            raise Conflict(
                f"ticket_id: {', '.join(sorted(taken)[:5])} exists already, so nothing of this was stored. "
                "Leave the id empty to get a new one, or look the ticket up."
            ) from error

    def existing(self, ids: Sequence[str]) -> set[str]:
        """Those of `ids` that are stored."""
        with reading(self._engine) as connection:
            return set(connection.execute(select(tickets.c.id).where(tickets.c.id.in_(list(ids)))).scalars())

    def stored(self, ids: Sequence[str]) -> dict[str, Ticket]:
        """The tickets of those of `ids` that are stored, by id; empty where the text was removed, which a ticket's never is."""
        found: dict[str, Ticket] = {}
        # In parts: how long a database says nothing is judged by what one statement takes, however large a file is.
        for start in range(0, len(ids), _PART):
            query = select(tickets, tickets.c.id.label("ticket_id")).where(tickets.c.id.in_(list(ids[start:start + _PART])))
            with reading(self._engine, patience=2 * TICKET_PATIENCE) as connection:
                found |= {row.ticket_id: ticket_from(row) for row in connection.execute(query)}
        return found

    def find(self, ticket_id: str) -> tuple[Ticket, Decision]:
        """The ticket and its decision. Raises NotFound."""
        query = select(routing_history, tickets).join(tickets, tickets.c.id == routing_history.c.ticket_id).where(
            tickets.c.id == ticket_id
        )
        with reading(self._engine) as connection:
            row = connection.execute(query).first()
        if row is None:
            raise NotFound(f"ticket {ticket_id} does not exist. Check the number.")
        return ticket_from(row), decision_from(row)

    def several(self, ids: Sequence[str]) -> dict[str, Decision]:
        """The decisions of those of these tickets that are stored, by ticket id."""
        found = {}
        for start in range(0, len(ids), _PART):
            with reading(self._engine) as connection:
                rows = connection.execute(select(routing_history).where(routing_history.c.ticket_id.in_(list(ids[start:start + _PART]))))
                found |= {row.ticket_id: decision_from(row) for row in rows}
        return found

    def rows(self, ids: Sequence[str]) -> list[Row]:
        """The decisions of these tickets as rows with what the ticket says and the department that an agent chose last, `chosen`."""
        query = WITH_TICKET.where(tickets.c.id.in_(list(ids)))
        with reading(self._engine) as connection:
            return list(connection.execute(query).all())

    def latest(self, *, limit: int = 20, created_by: str | None = None, open_since: timedelta | None = None) -> list[Row]:
        """The newest decisions as `rows` gives them, newest first; one person's by when their tickets were handed in.

        With `open_since` those of so long ago at most that wait for somebody to confirm them or to choose.
        """
        # One person's are found by their tickets; by the decisions' time those of everybody would be gone through.
        at = routing_history.c.created_at if created_by is None else tickets.c.created_at
        query = WITH_TICKET.order_by(at.desc(), routing_history.c.id.desc()).limit(limit)
        if created_by is not None:
            query = query.where(tickets.c.created_by == created_by)
        if open_since is not None:
            query = query.where(_OPEN, at > func.now() - open_since)
        with reading(self._engine) as connection:
            return list(connection.execute(query).all())

    def has_real_tickets(self) -> bool:
        """True when a ticket that is not a demo ticket was ever stored."""
        with reading(self._engine) as connection:
            return connection.execute(select(tickets.c.id).where(tickets.c.origin != Origin.DEMO).limit(1)).first() is not None


def _repeated(ids: Sequence[str]) -> set[str]:
    return {id_ for id_ in ids if ids.count(id_) > 1}


def _ticket_row(ticket: Ticket, print_: str) -> dict[str, Any]:
    return {
        "id": ticket.id, "subject": ticket.subject, "body": ticket.body, "channel": ticket.channel.value,
        "customer_ref": ticket.customer_ref, "priority": ticket.priority.value, "fingerprint": print_,
        "origin": ticket.origin.value, "created_by": ticket.created_by, "created_at": ticket.created_at.isoformat(),
    }


def _decision_row(ticket: Ticket, decision: Decision) -> dict[str, Any]:
    return {
        "ticket_id": ticket.id,
        "department": decision.department,
        "confidence": round(decision.confidence, 4),
        "method": decision.method.value,
        "created_at": decision.created_at.isoformat(),
        "raw_score": decision.raw_score,
        "automation": decision.automation.value,
        "topic": decision.topic,
        "source": decision.source,
        "reason": decision.reason,
        "alternatives": [[c.department, round(c.confidence, 4)] for c in decision.alternatives],
        # Ids only: a purge of texts must not have to look into decisions.
        "evidence": [[n.exemplar_id, n.department, n.topic, n.similarity, n.source] for n in decision.evidence],
        "timings": decision.timings,
        "total_ms": decision.timings.get("total", 0.0),
        "versions": decision.versions,
        "policy": int(decision.versions.get("policy", 0)),
        "degraded_by": list(decision.degraded_by),
        "gated_by": decision.gated_by,
        "audit_department": decision.audit_department,
        "review_wanted": decision.review_wanted,
        "review_probability": decision.review_probability,
        "channel": ticket.channel.value,
        "demo": ticket.origin is Origin.DEMO,
    }


def ticket_from(row: Row) -> Ticket:
    """The Ticket of a row that holds the columns of `tickets` and `routing_history`."""
    return Ticket(
        id=row.ticket_id, subject=row.subject, body=row.body, channel=Channel(row.channel), customer_ref=row.customer_ref,
        priority=Priority(row.priority), created_at=row.created_at, created_by=row.created_by, origin=Origin(row.origin),
    )


def decision_from(row: Row) -> Decision:
    """The Decision of a row of `routing_history`."""
    return Decision(
        ticket_id=row.ticket_id,
        department=row.department,
        method=Method(row.method),
        automation=Automation(row.automation),
        raw_score=row.raw_score,
        confidence=float(row.confidence),
        source=row.source,
        reason=row.reason,
        alternatives=tuple(Candidate(name, float(value)) for name, value in row.alternatives),
        created_at=row.created_at,
        evidence=tuple(Neighbour(i, d, t, s, source=source) for i, d, t, s, source in row.evidence),
        timings=dict(row.timings),
        versions=dict(row.versions),
        degraded_by=tuple(row.degraded_by),
        gated_by=row.gated_by,
        topic=row.topic,
        audit_department=row.audit_department,
        review_wanted=row.review_wanted,
        review_probability=row.review_probability,
    )
