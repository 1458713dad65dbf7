"""What people say of a decision: supervisors' labels and agents' own choices."""
from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from engine.errors import OutcomeRejected


class OutcomeKind(StrEnum):
    """What a supervisor said about a decision. A ticket without an outcome is unreviewed, which is not "right"."""

    CONFIRMED = "confirmed"
    CORRECTED = "corrected"


MAX_RESOLUTION_HOURS = 24 * 365


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A supervisor's label: `department` was right. resolution_hours in (0, 8760], satisfaction 1-5; both optional. Raises OutcomeRejected."""

    ticket_id: str
    department: str
    labelled_by: str
    resolution_hours: float | None = None
    satisfaction: int | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if not self.department:
            raise OutcomeRejected("department: choose the department that was right. The label was not stored.")
        hours = self.resolution_hours
        if hours is not None and not 0 < hours <= MAX_RESOLUTION_HOURS:
            raise OutcomeRejected(
                f"resolution hours: more than 0 and at most {MAX_RESOLUTION_HOURS}; found {hours}. Leave it out if it is not known. "
                "The label was not stored."
            )
        if self.satisfaction is not None and self.satisfaction not in range(1, 6):
            raise OutcomeRejected(f"satisfaction: a whole number from 1 to 5; found {self.satisfaction}. The label was not stored.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrule:
    """An agent's own choice: another department than decided overrules it, the same confirms it. A hint for the reviewer, no outcome."""

    ticket_id: str
    department: str
    by: str
    reason: str = ""
