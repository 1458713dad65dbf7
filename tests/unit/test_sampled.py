"""Tickets that are reviewed rarely are not spoken for by those that are reviewed often, and a rare rate costs no more than it must."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain import Method, Policy
from engine.policy import derived
from engine.risk import Basis, derive_per_department, derive_threshold
from engine.sampled import Sampled, Stratum, review_probability, telling_rate
from engine.tracking import Evidence
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
            strata=[Stratum("alone", 0.02, int(alone.sum()), 0.02), Stratum("held", 1.0, int((~alone).sum()), 0.02)],
        )
        broken += found["alone"].basis is not Basis.NONE
    assert broken <= 3


def test_a_department_that_is_reviewed_whole_does_not_pay_for_the_rate_of_another() -> None:
    found = derive_per_department(
        np.full(300, 0.97), np.ones(300, dtype=bool), ["held"] * 300, target=0.95, known=["alone"], minimum=0,
        strata=[Stratum("alone", 0.02, 50, 0.02), Stratum("held", 1.0, 300, 0.02)],
    )
    assert (found["held"].basis, found["alone"].basis) == (Basis.OWN, Basis.NONE)


@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_a_single_rate_changes_nothing(rate: float) -> None:
    confidence, correct = draw_labels(np.random.default_rng(7), 2000)
    weighted = derive_threshold(confidence, correct, target=0.95, weights=np.full(2000, 1 / rate), strata=[Stratum("", rate, 9000, rate)])
    plain = derive_threshold(confidence, correct, target=0.95)
    assert (weighted.value, weighted.covered, weighted.upper_error) == (plain.value, plain.covered, plain.upper_error)


@pytest.mark.parametrize(("method", "alone", "chance"), [
    (Method.LEARNED, True, 0.2), (Method.CACHED, True, 0.44), (Method.LEARNED, False, 1.0), (Method.CACHED, False, 1.0),
])
def test_a_cached_answer_is_looked_at_when_it_is_drawn_or_audited_or_both(method: Method, alone: bool, chance: float) -> None:
    """Of a hundred cached answers twenty are drawn, and three tenths of the other eighty are audited."""
    assert review_probability(Policy(review_rate=0.2, audit_rate=0.3), method, alone=alone) == pytest.approx(chance)


def test_policies_that_reviewed_few_are_left_out_until_their_tickets_tell_as_much() -> None:
    def drawn(few: int) -> list[Stratum]:
        return [
            Stratum("a", 0.2, 6000, 0.2), Stratum("a", 1.0, 3000, 0.2), Stratum("b", 1.0, 1000, 0.2),
            Stratum("a", 0.02, few // 2, 0.02), Stratum("b", 1.0, few - few // 2, 0.02),
        ]

    assert telling_rate(drawn(50)) == telling_rate(drawn(80_000)) == 0.2
    assert telling_rate(drawn(100_000)) == 0.02
    assert telling_rate([*drawn(50), Stratum("a", 1.0, 10**9, 0.0)]) == 0.2, "where nothing that goes alone was reviewed"
    assert telling_rate([Stratum("a", 1.0, 100, 0.0)]) == telling_rate([]) == 0.0


@given(st.lists(st.tuples(st.floats(0.001, 1.0), st.integers(1, 10**6)), min_size=1, max_size=8))
def test_no_other_choice_of_policies_is_worth_more(drawn: list[tuple[float, int]]) -> None:
    least = telling_rate([Stratum("", rate, decisions, rate) for rate, decisions in drawn])

    def worth(lowest: float) -> float:
        return lowest * sum(decisions for rate, decisions in drawn if rate >= lowest)

    assert worth(least) == pytest.approx(max(worth(rate) for rate, _ in drawn))


def test_a_lower_review_rate_takes_no_promise_away_and_its_few_labels_do_not_weigh_on_the_others() -> None:
    confidence, correct = draw_labels(np.random.default_rng(7), 2001)
    confidence[-1], correct[-1] = 0.98, True

    def evidence(tried: int, labels: int) -> Evidence:
        shown, right = confidence[: 2000 + labels], correct[: 2000 + labels]
        n = len(shown)
        return Evidence(
            confidence=shown, correct=right, departments=("a",) * n, methods=("learned",) * n, actual=("a",) * n,
            weights=np.r_[np.full(2000, 5.0), np.full(labels, 50.0)], review_rates=np.r_[np.full(2000, 0.2), np.full(labels, 0.02)],
            models=("1",) * n, embedders=("m",) * n, strata=(Stratum("a", 0.2, 10_000, 0.2), Stratum("a", 0.02, tried, 0.02)),
        )

    policy = Policy(target_accuracy=0.95)
    plain, tried, labelled = (derived(policy, evidence(*case), ["a"])[0].departments["a"].auto for case in ((0, 0), (500, 0), (500, 1)))
    assert plain == tried == labelled
    few = derived(policy, replace(evidence(500, 1), strata=(Stratum("a", 0.2, 100, 0.2), Stratum("a", 0.02, 10_000, 0.02))), ["a"])[1]["a"]
    assert few.threshold.labels == 2001 and few.threshold.value > plain + 0.02, "10,100 tickets are worth 202 labels now, not 2,000"


def test_sure_tickets_of_which_not_one_has_a_label_are_counted_until_one_has() -> None:
    """Without one, an interval of 95% covers the accuracy of all tickets in a third of cases; with one in 97 of 100."""
    n = 12
    doubtful = Evidence(
        confidence=np.full(n, 0.7), correct=np.full(n, True), departments=("a",) * n, methods=("learned",) * n, actual=("a",) * n, weights=np.ones(n),
        review_rates=np.full(n, 0.02), models=("1",) * n, embedders=("m",) * n, strata=(Stratum("a", 0.02, 40, 0.02), Stratum("a", 1.0, n, 0.02)),
    )
    assert doubtful.unheard == 40
    assert replace(doubtful, weights=np.r_[np.ones(n - 1), 50.0]).unheard == 0
    assert replace(doubtful, strata=(Stratum("a", 1.0, n, 0.02),)).unheard == 0


def test_a_note_about_one_ticket_speaks_of_one() -> None:
    waiting, removed, beyond = Sampled(labelled=8, waiting=1, removed=1, beyond_chance=1).notes
    assert waiting.startswith("1 of 9 tickets that were sampled for review still waits for a label")
    assert removed.startswith("1 ticket that was sampled for review lost its text") and "(the policy reviewed none of the sure ones): 1." in beyond
    assert "still wait for" in Sampled(labelled=8, waiting=2, beyond_chance=0).notes[0]
