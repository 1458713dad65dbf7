"""What a policy and its fields are called, and the sentence that says that it is in force, for messages and pages alike."""
from __future__ import annotations

from datetime import UTC, datetime

# As the Policy page calls them.
FIELD = {
    "target_accuracy": "Target accuracy", "confidence": "A stage answers from", "accuracy": "Lowest tracked accuracy",
    "auto": "Routed alone from", "preselect": "One click from", "similarity": "Nearest similarity at least",
    "neighbours": "Similar tickets that must agree", "audit_rate": "Share of hits audited", "review_rate": "Share of sure ones reviewed",
    "deadline": "Deadline of a ticket (s)", "stages": "Stages", "delta": "Delta",
}


def name(number: int) -> str:
    """"policy 7", or "the built-in defaults" for number 0."""
    return f"policy {number}" if number else "the built-in defaults"


def in_force(number: int, made: tuple[datetime, str, str] | None) -> str:
    """The sentence without its full stop. `made`: since when (aware), by whom and why, None where that is not known."""
    if made is None:
        return f"{name(number)} {'is' if number else 'are'} in force"
    since, author, reason = made
    return f"{name(number)} is in force since {since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, by {author} ({reason})"
