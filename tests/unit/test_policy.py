"""Policies: nonsense is refused with its reason, targets become thresholds, and raising a threshold never routes more."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import policy as policies
from engine.domain import Policy, Thresholds
from engine.errors import PolicyRejected
from engine.risk import Basis
from engine.tracking import Evidence

DEPARTMENTS = ("Billing", "Sales")


def evidence(n: int, *, seed: int = 1, departments: tuple[str, ...] = DEPARTMENTS) -> Evidence:
    """Seeded labels whose confidence is true."""
    chance = np.random.default_rng(seed)
    confidence = chance.beta(6, 1, n)
    return Evidence(
        confidence=confidence, correct=chance.random(n) < confidence, departments=tuple(departments[i % len(departments)] for i in range(n)),
        methods=("learned",) * n, actual=tuple(departments[i % len(departments)] for i in range(n)), weights=np.ones(n),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thresholds": Thresholds(0.8, 0.8)}, "auto must be above preselect; found auto 0.8 and preselect 0.8"),
        ({"thresholds": Thresholds(0.7, 0.9)}, "auto must be above preselect"),
        ({"thresholds": Thresholds(1.2, 0.9)}, r"all departments, auto: must lie in \[0, 1\]; found 1.2"),
        ({"departments": {"Sales": Thresholds(0.5, 0.6)}}, "Sales: auto must be above preselect"),
        ({"departments": {"Nowhere": Thresholds(0.9, 0.6)}}, "Nowhere is not a live department"),
        ({"confidence": -0.1}, r"confidence: must lie in \[0, 1\]"),
        ({"similarity": 1.5}, "similarity"),
        ({"accuracy": float("nan")}, "accuracy"),
        ({"neighbours": 0}, "neighbours: 1 to 25"),
        ({"deadline": 0.0}, "deadline"),
        ({"target_accuracy": 1.0}, "target accuracy"),
        ({"delta": 0.0}, "delta"),
    ],
)
def test_a_policy_that_would_be_nonsense_is_refused_with_the_reason(change: dict[str, object], message: str) -> None:
    with pytest.raises(PolicyRejected, match=message) as refused:
        policies.checked(replace(Policy(), **change), DEPARTMENTS)
    assert "live policy was not changed" in str(refused.value)


def test_the_defaults_are_a_valid_policy() -> None:
    assert policies.checked(Policy(), DEPARTMENTS) == Policy()
    assert (Policy().confidence, Policy().accuracy) == (0.85, 0.80)


def test_a_target_becomes_thresholds_that_keep_it_on_new_tickets() -> None:
    asked = replace(Policy(), target_accuracy=0.95)
    made, found = policies.derived(asked, evidence(4000), DEPARTMENTS)
    assert set(found) == set(DEPARTMENTS)
    assert all(item.basis is not Basis.NONE for item in found.values())
    policies.checked(made, DEPARTMENTS)
    later = policies.effect(made, evidence(4000, seed=2))
    assert later.accuracy is not None
    assert later.accuracy >= 0.95
    assert later.routed_alone > 0.1


def test_without_enough_labels_the_explicit_thresholds_stay_and_the_need_is_said() -> None:
    made, found = policies.derived(replace(Policy(), target_accuracy=0.95), evidence(20), DEPARTMENTS)
    assert made.departments == {}
    assert all(item.threshold.labels_needed for item in found.values())


@given(st.floats(0.01, 0.99), st.floats(0.0, 0.5))
def test_raising_a_threshold_never_routes_more(auto: float, more: float) -> None:
    seen = evidence(300)
    low = replace(Policy(), thresholds=Thresholds(auto, 0.0))
    high = replace(Policy(), thresholds=Thresholds(min(1.0, auto + more), 0.0))
    assert policies.effect(high, seen).routed_alone <= policies.effect(low, seen).routed_alone


def test_the_order_of_departments_changes_nothing() -> None:
    asked = replace(Policy(), target_accuracy=0.9)
    one, _ = policies.derived(asked, evidence(2000), DEPARTMENTS)
    other, _ = policies.derived(asked, evidence(2000), tuple(reversed(DEPARTMENTS)))
    assert one == other


def test_changes_names_the_fields_that_differ() -> None:
    assert policies.changes(Policy(), replace(Policy(), number=7, accuracy=0.9)) == {"accuracy": (0.80, 0.9)}
