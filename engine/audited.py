"""Labels, overrules and policies that leave a row in the audit log."""
from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from engine.audit import Audit
from engine.domain import Origin, Outcome, Overrule, Policy
from engine.policy import changes
from engine.ports import OutcomeStore, PolicyHistory, Reviewed


class AuditedOutcomes:
    """An OutcomeStore in front of another one. Demo tickets are stories, so nobody's deeds are noted for them."""

    def __init__(self, store: OutcomeStore, audit: Audit) -> None:
        self._store = store
        self._audit = audit

    def label(self, outcome: Outcome, *, now: datetime) -> Reviewed:
        """Store the label, then note who gave it. Raises NotFound, OutcomeRejected."""
        reviewed = self._store.label(outcome, now=now)
        if reviewed.ticket.origin is not Origin.DEMO:
            self._audit.record(
                outcome.labelled_by, "ticket_reviewed", "ticket", outcome.ticket_id,
                before={"department": reviewed.predicted}, after={"department": reviewed.actual},
            )
        return reviewed

    def overrule(self, overrule: Overrule, *, now: datetime) -> None:
        """Store the overrule, then note who did it. Raises NotFound, OutcomeRejected."""
        self._store.overrule(overrule, now=now)
        self._audit.record(overrule.by, "ticket_overruled", "ticket", overrule.ticket_id, after={"department": overrule.department})


class AuditedPolicies:
    """The policies, with a row in the audit log for each one that is put in force."""

    def __init__(self, store: PolicyHistory, audit: Audit) -> None:
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

    def add(self, policy: Policy, *, author: str, reason: str) -> Policy:
        """Store under the next number, make it the live one, and note what it changed."""
        before = self._store.live()
        saved = self._store.add(policy, author=author, reason=reason)
        differing = changes(before, saved)
        self._audit.record(
            author, "policy_changed", "policy", str(saved.number),
            before={name: str(old) for name, (old, _) in differing.items()},
            after={"reason": reason, **{name: str(new) for name, (_, new) in differing.items()}},
        )
        return saved
