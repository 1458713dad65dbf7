"""What people have said of a ticket by some moment, so that what they do next is done to that and to nothing newer."""
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from engine.errors import Conflict


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """`chosen`: the department an agent chose, None where nobody has; `labelled_at`: when a supervisor labelled it last, None as well."""

    chosen: str | None
    labelled_at: datetime | None

    @classmethod
    def of(cls, row: Any) -> Self:
        """What a row of the history says."""
        return cls(chosen=row.chosen, labelled_at=row.reviewed_at)

    def allows_label(self, department: str, row: Any) -> None:
        """Raises Conflict where the row says of a newer label, which this one would replace, or of a choice that its author has not seen."""
        if row.reviewed_at != self.labelled_at:
            raise Conflict(f"{row.reviewed_by} labelled it as {row.actual_outcome} meanwhile. Save again to replace that label.")
        if row.chosen != self.chosen:
            raise Conflict(f"An agent has chosen {row.chosen} for it meanwhile. Save again if {department} is right.")

    def allows_choice(self, row: Any) -> None:
        """Raises Conflict where the row says of a newer choice. A newer label stands beside whatever is chosen."""
        if row.chosen != self.chosen:
            raise Conflict("Somebody has chosen for it meanwhile. Choose again if that is not right.")
