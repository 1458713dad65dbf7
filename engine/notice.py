"""What people are told about an alert."""
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What people are told about an alert. `event` is opened, resolved or test; `key` is the same for every attempt."""

    key: str
    event: str
    rule: str
    subject: str
    severity: str
    message: str
    opened_at: datetime
    resolved_at: datetime | None
    link: str

    @property
    def headline(self) -> str:
        """One line: what happened, how bad, what."""
        word = {"opened": f"[{self.severity.upper()}]", "resolved": "[RESOLVED]"}.get(self.event, "[TEST]")
        return f"{word} {self.message}"
