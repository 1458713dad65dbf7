"""Which of two answers to a ticket is given, and whether it goes alone."""
from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from engine.accuracy import AccuracyTracker, ReviewedLabel
from engine.domain import Candidate, Method, Policy, Thresholds
from engine.verdict import Verdict, surest

NOW = datetime.now(UTC)


@pytest.mark.parametrize("auto", [0.9, 0.98])
@pytest.mark.parametrize(("right", "given"), [(24, Method.CACHED), (40, Method.LEARNED)])
def test_what_labels_hold_back_does_not_go_alone_under_another_name(right: int, given: Method, auto: float) -> None:
    """Of 40 reviewed cached answers 24 or all were right; neighbours and router say the same, the router is surer."""
    labels = [
        ReviewedLabel(ticket_id=f"T{i}", department="Billing", method="cached", confidence=0.97, correct=i < right, at=NOW) for i in range(40)
    ]
    state = SimpleNamespace(
        policy=Policy(thresholds=Thresholds(auto=auto, preselect=0.85)), accuracy=AccuracyTracker.from_labels(labels).snapshot(NOW),
        model=SimpleNamespace(number=1),
    )
    cached = Verdict(department="Billing", method=Method.CACHED, raw_score=0.9, confidence=0.89 if auto == 0.9 else 0.97, source="exemplar:1", reason="")
    work = SimpleNamespace(verdict=cached, prediction=SimpleNamespace(best=Candidate("Billing", 0.99), topic="", raw_score=0.9))
    assert surest(work, state).method is given
