"""What people are told about an alert."""
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

# A notice about what is over is given up after so many attempts; while it is open, never.
MAX_ATTEMPTS = 8


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What people were told of while nothing could be stored. `notice` says its end.

    The channels in `heard` know of its beginning and its end, or will; those in `missed` could not be reached in time. Those in
    neither know of it by an alert that was open before.
    """

    notice: Notice
    heard: frozenset[str]
    missed: frozenset[str]
