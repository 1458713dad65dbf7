"""Tickets and decisions for tests that need one of a kind."""
from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from engine.domain import Automation, Candidate, Channel, Decision, Method, Priority, Ticket

AT = datetime(2026, 3, 17, 14, 37, tzinfo=UTC)
SECRET = "my card number is 4111 1111 1111 1111 and I am furious"


def ticket(**more: Any) -> Ticket:
    """A ticket whose text must never be seen anywhere else."""
    return Ticket(**{
        "id": "T-1", "subject": SECRET, "body": SECRET, "channel": Channel.WEB, "customer_ref": "customer-4711",
        "priority": Priority.NORMAL, "created_at": AT, **more,
    })


def decision(**more: Any) -> Decision:
    """A sure decision of the learned router."""
    values: dict[str, Any] = {
        "ticket_id": "T-1", "department": "Billing", "method": "learned", "automation": "auto", "raw_score": 0.97, "confidence": 0.93,
        "source": "model:1", "reason": "recognised", "alternatives": (Candidate("Billing", 0.93), Candidate("Sales", 0.04)), "created_at": AT,
        "timings": {"sanitize": 0.1, "embed": 3.0, "classify": 0.4, "total": 3.5}, "versions": {"policy": "1", "model": "1"}, **more,
    }
    values["method"], values["automation"] = Method(values["method"]), Automation(values["automation"])
    return Decision(**values)
