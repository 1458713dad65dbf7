"""Messages and pages name a policy and say that it is in force in the same words."""
from __future__ import annotations

from datetime import datetime, timedelta, timezone

from engine.policy_words import in_force, name


def test_a_policy_is_called_by_its_number_and_the_built_in_defaults_by_their_name() -> None:
    assert (name(7), name(0)) == ("policy 7", "the built-in defaults")


def test_the_sentence_says_since_when_in_utc_by_whom_and_why() -> None:
    made = datetime(2026, 3, 1, 9, 30, tzinfo=timezone(timedelta(hours=2)))
    assert in_force(7, (made, "ann", "to be sure")) == "policy 7 is in force since 2026-03-01 07:30:00 UTC, by ann (to be sure)"
    assert (in_force(7, None), in_force(0, None)) == ("policy 7 is in force", "the built-in defaults are in force")
