"""What people say of a decision, supervisors' labels and agents' own choices, and what storing that met."""
from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from engine.domain import Ticket
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


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What a stored label changed: the ticket's text and fingerprint, and whether the decision was right.

    earlier      the label that this one replaces, without its note; None when the ticket had none
    exemplar_id  the exemplar that the ticket has become, without a vector yet; None when it has not become one
    late         the service for whose sake something of what follows from the label is done later, empty when all is done
    """

    ticket: Ticket
    fingerprint: str
    predicted: str
    actual: str
    method: str
    topic: str
    earlier: Outcome | None = None
    exemplar_id: int | None = None
    late: str = ""

    @property
    def correct(self) -> bool:
        return self.predicted == self.actual


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What a stored choice met: the department that was decided, the one in force `before`, and a supervisor's label, which stands."""

    decided: str
    before: str
    labelled: str | None
