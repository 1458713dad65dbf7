"""The nouns refuse what cannot be true."""
from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from engine.domain import Automation, Channel, Decision, Method, Policy, Priority, Stage, Thresholds, Ticket
from engine.errors import (
    ConfigurationError, ConsoleError, DeadlineExceeded, InputRejected, InvariantBroken, OutcomeRejected, ServiceUnavailable,
    TicketRejected,
)
from engine.outcome import Outcome

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def decision(**change: object) -> Decision:
    return Decision(
        **({
            "ticket_id": "T-1", "department": "Billing", "method": Method.LEARNED, "automation": Automation.AUTO, "raw_score": 2.5,
            "confidence": 0.93, "source": "model:1", "reason": "because", "alternatives": (), "created_at": NOW,
        } | change)
    )


@pytest.mark.parametrize("confidence", [-0.01, 1.01, float("nan")])
def test_a_confidence_outside_zero_and_one_is_a_bug(confidence: float) -> None:
    with pytest.raises(InvariantBroken, match="T-1"):
        decision(confidence=confidence)


@pytest.mark.parametrize("confidence", [0.0, 0.5, 1.0])
def test_both_ends_of_the_confidence_range_are_allowed(confidence: float) -> None:
    assert decision(confidence=confidence).confidence == confidence


def test_a_decision_without_a_time_zone_is_a_bug() -> None:
    with pytest.raises(InvariantBroken, match="time zone"):
        decision(created_at=datetime(2026, 1, 31))  # noqa: DTZ001 - the point of the test


def test_decisions_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        decision().department = "Sales"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"department": ""}, "department"),
        ({"resolution_hours": 0}, "resolution hours"),
        ({"resolution_hours": -1.0}, "resolution hours"),
        ({"resolution_hours": 8760.01}, "resolution hours"),
        ({"resolution_hours": float("nan")}, "resolution hours"),
        ({"satisfaction": 0}, "satisfaction"),
        ({"satisfaction": 6}, "satisfaction"),
        ({"satisfaction": 3.5}, "satisfaction"),
    ],
)
def test_a_label_out_of_range_is_refused_and_says_what_is_wrong(change: dict[str, object], word: str) -> None:
    with pytest.raises(OutcomeRejected, match=word) as refused:
        Outcome(**({"ticket_id": "T-1", "department": "Billing", "labelled_by": "supervisor"} | change))
    assert "not stored" in str(refused.value)


def test_a_label_needs_neither_hours_nor_satisfaction_and_takes_the_limits_of_both() -> None:
    Outcome(ticket_id="T-1", department="Billing", labelled_by="supervisor")
    Outcome(ticket_id="T-1", department="Billing", labelled_by="supervisor", resolution_hours=8760, satisfaction=1)
    Outcome(ticket_id="T-1", department="Billing", labelled_by="supervisor", resolution_hours=0.01, satisfaction=5)


def test_a_tickets_text_is_its_subject_and_body() -> None:
    ticket = Ticket(
        id="T-1", subject="", body="my bill", channel=Channel.WEB, customer_ref="", priority=Priority.NORMAL, created_at=NOW
    )
    assert ticket.text == "my bill"
    assert dataclasses.replace(ticket, subject="Bill").text == "Bill\nmy bill"


def test_a_department_with_thresholds_of_its_own_answers_at_those() -> None:
    own = Thresholds(auto=0.99, preselect=0.95)
    policy = Policy(departments={"Fraud": own})
    assert policy.thresholds_for("Fraud") is own
    assert policy.thresholds_for("Sales") == Thresholds()
    assert policy.answers_at("Fraud") == 0.95
    assert policy.answers_at("Sales") == policy.confidence
    assert policy.stages == frozenset(Stage)


def test_errors_are_split_by_what_the_caller_should_do() -> None:
    refusal = TicketRejected("body", limit="at least 2 characters", found="1 character")
    assert isinstance(refusal, InputRejected)
    assert str(refusal) == (
        "body: at least 2 characters; found 1 character. Nothing was stored. Change the body and send it again."
    )
    late = DeadlineExceeded("language_model", "no answer within 8 s")
    assert isinstance(late, ServiceUnavailable) and late.service == "language_model"
    assert not isinstance(late, InputRejected)
    assert all(issubclass(kind, ConsoleError) for kind in (InputRejected, ServiceUnavailable, ConfigurationError, InvariantBroken))
