"""Tickets that are reviewed rarely are not spoken for by those that are reviewed often, and a rare rate costs no more than it must."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.risk import Basis, derive_per_department, derive_threshold
from engine.sampled import Stratum, rarest
from tests.unit.test_risk import draw_labels


@pytest.mark.parametrize(("share", "wrong"), [(0.3, 0.2), (0.4, 0.15)])
def test_tickets_reviewed_so_rarely_that_none_has_a_label_are_not_spoken_for_by_others(share: float, wrong: float) -> None:
    """Beside a department that is reviewed whole one goes alone, poorly, with one in fifty reviewed; both look equally sure."""
    rng, broken = np.random.default_rng(1), 0
    for _ in range(60):
        confidence = 0.86 + 0.13 * rng.random(400)
        alone = rng.random(400) < share
        correct = rng.random(400) >= np.where(alone, wrong, 0.005)
        rate = np.where(alone, 0.02, 1.0)
        seen = rng.random(400) < rate
        found = derive_per_department(
            confidence[seen], correct[seen], list(np.where(alone, "alone", "held")[seen]), target=0.95, weights=1.0 / rate[seen],
            known=["alone", "held"], minimum=1000,
            strata=[Stratum("alone", 0.02, int(alone.sum())), Stratum("held", 1.0, int((~alone).sum()))],
        )
        broken += found["alone"].basis is not Basis.NONE
    assert broken <= 3


@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_a_single_rate_changes_nothing(rate: float) -> None:
    confidence, correct = draw_labels(np.random.default_rng(7), 2000)
    weighted = derive_threshold(confidence, correct, target=0.95, weights=np.full(2000, 1 / rate), strata=[Stratum("", rate, 9000)])
    plain = derive_threshold(confidence, correct, target=0.95)
    assert (weighted.value, weighted.covered, weighted.upper_error) == (plain.value, plain.covered, plain.upper_error)


def test_a_rate_tried_for_an_hour_costs_the_few_tickets_of_that_hour_and_no_more() -> None:
    confidence, correct = draw_labels(np.random.default_rng(7), 2000)
    hour, month = (
        derive_threshold(
            confidence, correct, target=0.95, weights=np.full(2000, 5.0),
            strata=[Stratum("", 0.2, 10_000 - tried), Stratum("", 0.001, tried)],
        )
        for tried in (10, 1000)
    )
    plain = derive_threshold(confidence, correct, target=0.95)
    assert hour.coverage >= 0.97 * plain.coverage
    assert hour.upper_error <= 0.05
    assert month.value is None
    assert month.labels_needed is not None


@given(st.lists(st.tuples(st.floats(0.001, 1.0), st.integers(1, 10**6)), min_size=1, max_size=8), st.floats(0.5, 0.999))
def test_few_decisions_are_left_out_for_their_rate_and_the_next_lower_rate_would_be_too_many(
    drawn: list[tuple[float, int]], target: float
) -> None:
    strata = [Stratum("", rate, decisions) for rate, decisions in drawn]
    heaviest, left_out = rarest(strata, target=target)
    total = sum(s.decisions for s in strata)
    assert left_out <= 0.02 * (1 - target) * total
    assert heaviest in [1 / s.rate for s in strata]
    assert left_out + sum(s.decisions for s in strata if 1 / s.rate == heaviest) > 0.02 * (1 - target) * total
