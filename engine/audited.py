"""Labels, agents' choices and policies that leave a row in the audit log."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from engine.audit import Audit
from engine.domain import Origin, Policy, Ticket
from engine.errors import NotFound
from engine.outcome import Chosen, Outcome, Overrule, Reviewed
from engine.policy import changes
from engine.ports import OutcomeStore, PolicyHistory
from engine.sanitize import remark
from engine.standing import Standing


class AuditedOutcomes:
    """An OutcomeStore in front of another one, for which notes and reasons become plain text.

    Demo tickets are stories, so nobody's deeds are noted for them.
    """

    def __init__(self, store: OutcomeStore, audit: Audit) -> None:
        self._store = store
        self._audit = audit

    def ticket(self, ticket_id: str) -> Ticket:
        """As the store's own. Raises NotFound."""
        _must_be_a_number(ticket_id)
        return self._store.ticket(ticket_id)

    def label(
        self, outcome: Outcome, *, now: datetime, learn: bool = True, based_on: Standing | None = None,
        also: Callable[[Any, Reviewed], None] | None = None,
    ) -> Reviewed:
        """Store the label and who gave it in one transaction. Raises NotFound, OutcomeRejected, Conflict."""
        _must_be_a_number(outcome.ticket_id)

        def noted(connection: Any, reviewed: Reviewed) -> None:
            if also is not None:
                also(connection, reviewed)
            if reviewed.ticket.origin is not Origin.DEMO:
                self._audit.record(
                    outcome.labelled_by, "ticket_reviewed", "ticket", outcome.ticket_id, connection=connection,
                    before=_facts(reviewed.earlier) if reviewed.earlier else {"department": reviewed.predicted}, after=_facts(clean),
                )

        clean = replace(outcome, department=remark(outcome.department), note=remark(outcome.note))
        return self._store.label(clean, now=now, learn=learn, based_on=based_on, also=noted)

    def overrule(
        self, overrule: Overrule, *, now: datetime, based_on: Standing | None = None, also: Callable[[Any, Chosen], None] | None = None
    ) -> Chosen:
        """As the store's own, and who did it in the same transaction. Raises NotFound, OutcomeRejected, Conflict."""
        _must_be_a_number(overrule.ticket_id)

        def noted(connection: Any, chosen: Chosen) -> None:
            if also is not None:
                also(connection, chosen)
            action = "ticket_confirmed" if clean.department == chosen.decided else "ticket_overruled"
            self._audit.record(
                clean.by, action, "ticket", clean.ticket_id, connection=connection,
                before={"department": chosen.before}, after={"department": clean.department},
            )

        clean = replace(overrule, department=remark(overrule.department), reason=remark(overrule.reason))
        return self._store.overrule(clean, now=now, based_on=based_on, also=noted)


def _facts(label: Outcome) -> dict[str, Any]:
    given = {"department": label.department, "hours": label.resolution_hours, "stars": label.satisfaction}
    return {name: value for name, value in given.items() if value is not None}


def _must_be_a_number(ticket_id: str) -> None:
    # No stored id holds what Postgres would refuse to look for.
    if ticket_id != remark(ticket_id):
        raise NotFound(f"ticket {remark(ticket_id, maximum=64)} does not exist. Check the number.")


class PolicyChanges(PolicyHistory, Protocol):
    """Policies that do something else in the transaction of a change."""

    def add(
        self, policy: Policy, *, author: str, reason: str, based_on: int | None = None,
        also: Callable[[Any, Policy, Policy], None] | None = None,
    ) -> Policy:
        """As a PolicyStore's; `also` gets the connection, the policy that was in force, and the new one."""
        ...


class AuditedPolicies:
    """The policies, with a row in the audit log for each one that is put in force."""

    def __init__(self, store: PolicyChanges, audit: Audit) -> None:
        self._store = store
        self._audit = audit

    def live(self) -> Policy:
        """The policy in force."""
        return self._store.live()

    def all(self) -> Sequence[Any]:
        """Every policy, newest first."""
        return self._store.all()

    def find(self, number: int) -> Policy:
        """Raises NotFound."""
        return self._store.find(number)

    def add(self, policy: Policy, *, author: str, reason: str, based_on: int | None = None) -> Policy:
        """Store under the next number, make it the live one, and note what it changed, in one transaction. Raises Conflict."""
        def noted(connection: Any, before: Policy, saved: Policy) -> None:
            differing = changes(before, saved)
            self._audit.record(
                author, "policy_changed", "policy", str(saved.number), connection=connection,
                before={name: str(old) for name, (old, _) in differing.items()},
                after={"reason": reason, **{name: str(new) for name, (_, new) in differing.items()}},
            )

        return self._store.add(policy, author=author, reason=reason, based_on=based_on, also=noted)
