"""What tracking needs from the outside, as small Protocols: reviewed decisions, and at which rates any were to be reviewed."""
from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol


class LabelRow(Protocol):
    """A reviewed decision; `id` and `actual` belong to a label, `actual_outcome`, `model`, `embedder` and the rates of its
    policy (None for the built-in one) to a decision."""

    id: int
    ticket_id: str
    department: str
    method: str
    confidence: float
    actual: str
    actual_outcome: str
    created_at: datetime
    review_probability: float
    model: str
    embedder: str
    review_rate: float | None
    audit_rate: float | None


class DrawnRow(Protocol):
    """Decisions of a department, method and policy: how many, and how many of them went alone; rates None without a policy."""

    department: str
    method: str
    review_rate: float | None
    audit_rate: float | None
    decisions: int
    alone: int


class LabelStore(Protocol):
    """Reviewed decisions that chance put into the review queue."""

    def since(self, number: int, *, demo: bool, without: Sequence[int] = ()) -> Sequence[LabelRow]:
        """Labels after this one but those without, in their order."""
        ...

    def holds(self, number: int, *, ticket_id: str, actual: str) -> bool:
        """True where the label of this number is that ticket's, and says this."""
        ...

    def decisions(self, *, demo: bool) -> Sequence[LabelRow]:
        """The newest reviewed decisions, newest first."""
        ...

    def drawn(self, *, demo: bool, since: datetime) -> Sequence[DrawnRow]:
        """How many decisions there were since the beginning of that month (UTC), reviewed or not."""
        ...
