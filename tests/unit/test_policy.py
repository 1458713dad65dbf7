"""Policies: nonsense is refused with its reason, targets become thresholds, and raising a threshold never routes more."""
from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import policy as policies
from engine.accuracy import AccuracySnapshot, AccuracyTracker, ReviewedLabel
from engine.domain import Limits, Policy, Stage, Thresholds
from engine.errors import PolicyRejected
from engine.risk import Basis
from engine.sampled import Stratum
from engine.tracking import Evidence

DEPARTMENTS = ("Billing", "Sales")


def evidence(n: int, *, seed: int = 1, departments: tuple[str, ...] = DEPARTMENTS) -> Evidence:
    """Seeded labels whose confidence is true."""
    chance = np.random.default_rng(seed)
    confidence = chance.beta(6, 1, n)
    return Evidence(
        confidence=confidence, correct=chance.random(n) < confidence, departments=tuple(departments[i % len(departments)] for i in range(n)),
        methods=("learned",) * n, actual=tuple(departments[i % len(departments)] for i in range(n)), weights=np.ones(n), review_rates=np.full(n, 0.2),
        models=("7",) * n, embedders=("minilm",) * n,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thresholds": Thresholds(0.8, 0.8)}, "all departments: “Routed alone from” must be above “One click from”; found 0.8 and 0.8"),
        ({"thresholds": Thresholds(0.7, 0.9)}, "“Routed alone from” must be above “One click from”"),
        ({"thresholds": Thresholds(1.2, 0.9)}, r"all departments, “Routed alone from”: must lie in \[0, 1\]; found 1.2"),
        ({"departments": {"Sales": Thresholds(0.5, 0.6)}}, "Sales: “Routed alone from” must be above “One click from”"),
        ({"departments": {"Nowhere": Thresholds(0.9, 0.6)}}, "Nowhere is not a live department"),
        ({"limits": {"Nowhere": Limits(accuracy=0.9)}}, "Nowhere is not a live department"),
        ({"limits": {"Sales": Limits(confidence=1.1)}}, r"Sales, “A stage answers from”: must lie in \[0, 1\]; found 1.1"),
        ({"limits": {"Sales": Limits(accuracy=-0.1)}}, r"Sales, “Lowest tracked accuracy”: must lie in \[0, 1\]; found -0.1"),
        ({"limits": {"Sales": Limits(similarity=float("nan"))}}, r"Sales, “Nearest similarity at least”: must lie in \[0, 1\]; found nan"),
        ({"confidence": -0.1}, r"“A stage answers from”: must lie in \[0, 1\]"),
        ({"similarity": 1.5}, "“Nearest similarity at least”: must lie"),
        ({"accuracy": float("nan")}, "“Lowest tracked accuracy”: must lie"),
        ({"neighbours": 0}, "“Similar tickets that must agree”: 1 to 25"),
        ({"deadline": 0.0}, r"“Deadline of a ticket \(s\)”: 0.1 to 60 seconds"),
        ({"review_rate": 0.0009}, "“Share of sure ones reviewed”: 0, or at least 0.001; found 0.0009"),
        ({"audit_rate": 1e-9}, "“Share of hits audited”: 0, or at least 0.001; found 1e-09"),
        ({"target_accuracy": 1.0}, "“Target accuracy”"),
        ({"target_accuracy": 0.49}, "“Target accuracy”: at least 0.5 and under 1; found 0.49"),
        ({"delta": 0.0}, "“Delta”"),
    ],
)
def test_a_policy_that_would_be_nonsense_is_refused_with_the_reason(change: dict[str, object], message: str) -> None:
    with pytest.raises(PolicyRejected, match=message) as refused:
        policies.checked(replace(Policy(), **change), DEPARTMENTS)
    assert "live policy was not changed" in str(refused.value)


def test_the_defaults_are_a_valid_policy() -> None:
    assert policies.checked(Policy(), DEPARTMENTS) == Policy()
    rare = Policy(review_rate=0.001, audit_rate=0.001)
    assert policies.checked(rare, DEPARTMENTS) == rare
    assert (Policy().confidence, Policy().accuracy) == (0.85, 0.80)


def test_a_departments_own_limits_go_before_the_policys_and_before_its_thresholds() -> None:
    policy = Policy(
        confidence=0.8, accuracy=0.7, similarity=0.6, departments={"Billing": Thresholds(0.95, 0.5), "Sales": Thresholds(0.95, 0.5)},
        limits={"Sales": Limits(confidence=0.9), "Fraud": Limits(confidence=0.0, accuracy=0.0, similarity=1.0)},
    )
    assert [policy.answers_at(name) for name in ("Billing", "Sales", "Fraud", "Other")] == [0.5, 0.9, 0.0, 0.8]
    assert [policy.accuracy_of(name) for name in ("Sales", "Fraud")] == [0.7, 0.0]
    assert [policy.similarity_of(name) for name in ("Sales", "Fraud")] == [0.6, 1.0]


def test_limits_stay_beside_a_target_and_count_in_what_is_routed_alone() -> None:
    known = evidence(4000)
    asked = Policy(target_accuracy=0.9, limits={"Sales": Limits(confidence=1.0)})
    target, _ = policies.derived(asked, known, DEPARTMENTS)
    assert target.limits == asked.limits and set(target.departments) == set(DEPARTMENTS)
    strict, open_ = (policies.effect(policy, known).routed_alone for policy in (target, replace(target, limits={})))
    assert strict == pytest.approx(open_ / 2, rel=0.1), "nothing of one of two departments goes alone"
    alone, _ = policies.derived(asked, known, ("Billing",))
    assert policies.checked(alone, ("Billing",)).limits == {}, "what a retired department asked for stops nothing"


def test_thresholds_rest_on_the_rates_at_which_tickets_were_drawn_and_are_said_of_departments_without_labels_too() -> None:
    asked, seen = replace(Policy(), target_accuracy=0.9), evidence(4000)
    rates = tuple(Stratum(name, rate, 2000, 0.2) for name in DEPARTMENTS for rate in (0.2, 1.0))
    _, every = policies.derived(asked, seen, (*DEPARTMENTS, "New"))
    _, drawn = policies.derived(asked, replace(seen, strata=rates), DEPARTMENTS)
    assert every["New"].labels == 0 and set(every) == {*DEPARTMENTS, "New"}
    for name in DEPARTMENTS:
        assert drawn[name].threshold.upper_error / drawn[name].threshold.error_rate > every[name].threshold.upper_error / every[name].threshold.error_rate


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


@pytest.mark.parametrize("least", [0.0, 0.05, 0.4, 0.9])
def test_what_labels_that_are_all_right_allow_is_a_valid_policy_however_unsure_they_looked(least: float) -> None:
    seen = replace(evidence(2000), confidence=np.repeat(np.linspace(least, 1.0, 1000), 2), correct=np.ones(2000, dtype=bool))
    made, _ = policies.derived(replace(Policy(), target_accuracy=0.95), seen, DEPARTMENTS)
    policies.checked(made, DEPARTMENTS)
    assert set(made.departments) == (set(DEPARTMENTS) if least else set()), "at nothing the explicit thresholds stay"
    for own in made.departments.values():
        assert own.auto == pytest.approx(least, abs=0.01)
        assert own.preselect == pytest.approx(max(0.0, min(Policy().thresholds.preselect, own.auto - policies.PRESELECT_BELOW)))


def test_what_would_be_right_has_an_interval_that_covers_as_often_as_it_says_and_is_wider_where_few_labels_weigh_much() -> None:
    policy = replace(Policy(), thresholds=Thresholds(0.9, 0.5))
    chance = np.random.default_rng(5)
    covered, plain, weighted = [], [], []
    for seed in range(200):
        seen = evidence(300, seed=seed)
        # On average of what is above 0.9 under this Beta(6, 1).
        true = (6 / 7) * (1 - 0.9**7) / (1 - 0.9**6)
        low, high = policies.effect(policy, seen).interval
        covered.append(low <= true <= high)
        plain.append(high - low)
        heavy = policies.effect(policy, replace(seen, weights=np.where(chance.random(300) < 0.2, 10.0, 1.0)))
        weighted.append(heavy.interval[1] - heavy.interval[0])
        assert heavy.interval[0] <= heavy.accuracy <= heavy.interval[1]
    assert 0.91 <= np.mean(covered) <= 0.99
    assert np.mean(weighted) > 1.3 * np.mean(plain)
    nobody = policies.effect(replace(policy, stages=frozenset({Stage.RAG_LLM})), evidence(50))
    assert (nobody.accuracy, nobody.interval) == (None, (0.0, 1.0))


def test_what_would_go_alone_and_be_right_is_told_of_all_decisions_and_not_of_those_that_are_reviewed_more_often() -> None:
    seen = evidence(300)
    weights = np.where(seen.confidence < 0.93, 1.0, 5.0)
    found = policies.effect(replace(Policy(), thresholds=Thresholds(0.9, 0.5)), replace(seen, weights=weights))
    alone = seen.confidence >= 0.9
    assert found.routed_alone == pytest.approx(weights[alone].sum() / weights.sum())
    assert found.accuracy == pytest.approx(np.average(seen.correct[alone], weights=weights[alone]))


def test_a_policy_that_reviewed_no_sure_ticket_makes_neither_the_share_that_goes_alone_nor_its_accuracy_look_smaller() -> None:
    """20,000 tickets under a policy that reviews a fifth of the sure ones, then as many under one that reviews none of them."""
    seen, first = evidence(40_000), np.arange(40_000) < 20_000
    sure = seen.confidence >= 0.9
    rates = np.where(sure, np.where(first, 0.2, 0.0), 1.0)
    labelled = np.random.default_rng(2).random(40_000) < rates
    reviewed = replace(seen, weights=np.where(sure, 5.0, 1.0), review_rates=np.where(first, 0.2, 0.0)).chosen(labelled)
    policy = replace(Policy(), thresholds=Thresholds(0.87, 0.5))
    found, truth = policies.effect(policy, reviewed), policies.effect(policy, seen)
    assert found.routed_alone == pytest.approx(truth.routed_alone, abs=0.015)
    assert found.accuracy == pytest.approx(truth.accuracy, abs=0.01)
    assert found.labels == int(labelled[:20_000].sum())
    line = policies.curve(policy, reviewed)
    assert line.coverage[line.threshold >= 0.87][-1] == pytest.approx(found.routed_alone)
    doubtful = policies.effect(policy, reviewed.chosen(reviewed.review_rates == 0.0))
    assert doubtful.labels == int(labelled[20_000:].sum()), "where no policy reviewed a sure one, what there is speaks"


def test_a_smaller_tolerance_asks_for_higher_thresholds() -> None:
    strict, usual = (policies.derived(replace(Policy(), target_accuracy=0.95, delta=delta), evidence(4000), DEPARTMENTS)[0] for delta in (0.01, 0.05))
    assert all(strict.departments[name].auto > usual.departments[name].auto for name in DEPARTMENTS)


def test_without_enough_labels_the_explicit_thresholds_stay_and_the_need_is_said() -> None:
    made, found = policies.derived(replace(Policy(), target_accuracy=0.95), evidence(20), DEPARTMENTS)
    assert made.departments == {}
    assert all(item.threshold.labels_needed for item in found.values())


def test_thresholds_are_derived_anew_for_other_labels_alone_and_not_at_every_look(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, derive = [], policies.derive_per_department

    def counted(*given: object, **more: object) -> object:
        asked.append(more)
        return derive(*given, **more)
    monkeypatch.setattr(policies, "derive_per_department", counted)
    target, found = Policy(target_accuracy=0.9), evidence(3000, seed=77)

    def looks(labels: Evidence, policy: Policy = target, departments: tuple[str, ...] = DEPARTMENTS) -> object:
        before = len(asked)
        policies.derived(policy, labels, departments)
        return len(asked) - before

    assert looks(found) == 1
    assert looks(evidence(3000, seed=77)) == 0, "labels are read anew for each look"
    drawn = replace(found, strata=(Stratum("Sales", 0.5, 100, 0.2),))
    assert looks(drawn) == 1
    assert looks(replace(found, strata=(Stratum("Sales", 0.5, 101, 0.2),))) == 0, "one more ticket, which changes no threshold"
    assert looks(replace(found, strata=(Stratum("Sales", 0.4, 100, 0.2),))) == 1
    one_wrong = found.correct.copy()
    one_wrong[0] = not one_wrong[0]
    for other in ({"correct": one_wrong}, {"weights": found.weights * 2.0}, {"confidence": found.confidence * 0.99}, {"departments": found.departments[::-1]}):
        assert looks(replace(found, **other)) == 1
    assert looks(found, replace(target, target_accuracy=0.91)) == 1
    assert looks(found, replace(target, delta=0.1)) == 1
    assert looks(found, departments=(*DEPARTMENTS, "Support")) == 1


@given(st.floats(0.01, 0.99), st.floats(0.0, 0.5))
def test_raising_a_threshold_never_routes_more(auto: float, more: float) -> None:
    seen = evidence(300)
    low = replace(Policy(), thresholds=Thresholds(auto, 0.0))
    high = replace(Policy(), thresholds=Thresholds(min(1.0, auto + more), 0.0))
    assert policies.effect(high, seen).routed_alone <= policies.effect(low, seen).routed_alone


def tracked(method: str, *, right: int, wrong: int) -> AccuracySnapshot:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    return AccuracyTracker.from_labels(
        ReviewedLabel(ticket_id=str(i), department="Billing", method=method, confidence=0.95, correct=i < right, at=at)
        for i in range(right + wrong)
    ).snapshot(at)


def test_what_the_gate_holds_back_is_not_counted_as_routed_alone() -> None:
    seen = evidence(600)
    free = policies.effect(Policy(), seen, accuracy=tracked("learned", right=100, wrong=0))
    held = policies.effect(Policy(), seen, accuracy=tracked("learned", right=50, wrong=50))
    assert held.routed_alone == pytest.approx(free.routed_alone / 2, abs=0.03)
    lenient = replace(Policy(), limits={"Billing": Limits(accuracy=0.3)})
    assert policies.effect(lenient, seen, accuracy=tracked("learned", right=50, wrong=50)) == free
    assert policies.effect(replace(lenient, limits={"Sales": Limits(accuracy=0.3)}), seen, accuracy=tracked("learned", right=50, wrong=50)) == held


@pytest.mark.parametrize("stage", [Stage.EXACT, Stage.SEMANTIC])
def test_a_cached_answer_goes_alone_while_either_stage_that_gives_such_answers_is_on(stage: Stage) -> None:
    seen = replace(evidence(60), methods=("cached",) * 60)
    alone = [policies.effect(replace(Policy(), stages=stages), seen).routed_alone for stages in (frozenset({stage}), frozenset({Stage.LEARNED}))]
    assert alone == [policies.effect(Policy(), seen).routed_alone, 0.0] and alone[0] > 0


def test_the_curve_ends_where_the_gate_begins_and_a_threshold_for_all_departments_lies_on_it() -> None:
    weights = np.where(evidence(500).confidence < 0.93, 1.0, 5.0)
    seen = replace(evidence(500), methods=("learned", "cached", "learned", "learned", "cached") * 100, weights=weights)
    free, held = policies.curve(Policy(), seen), policies.curve(Policy(), seen, accuracy=tracked("learned", right=50, wrong=50))
    assert free.coverage[-1] == pytest.approx(1.0)
    closed = [m == "learned" and d == "Billing" for m, d in zip(seen.methods, seen.departments, strict=True)]
    assert held.coverage[-1] == pytest.approx(1.0 - np.average(closed, weights=weights)) and any(closed)
    for auto in (0.86, 0.9, 0.95):
        policy = replace(Policy(), thresholds=Thresholds(auto, 0.5))
        effect = policies.effect(policy, seen, accuracy=tracked("learned", right=50, wrong=50))
        at = int((held.threshold >= auto).sum()) - 1
        assert (held.coverage[at], held.accuracy[at]) == pytest.approx((effect.routed_alone, effect.accuracy))
    nothing = policies.curve(replace(Policy(), stages=frozenset({Stage.RAG_LLM})), seen)
    assert len(nothing.coverage) == len(nothing.accuracy) == 0


def test_what_no_stage_may_answer_is_not_counted_as_routed_alone() -> None:
    """A fallback goes alone only where the policy would let the learned router answer it."""
    seen = replace(evidence(600), methods=("fallback",) * 600)
    eager = replace(Policy(), thresholds=Thresholds(0.6, 0.5))
    unsure = policies.effect(eager, seen)
    assert unsure.routed_alone == float((seen.confidence >= eager.confidence).mean()) > 0
    assert policies.effect(replace(eager, stages=frozenset({Stage.RAG_LLM})), seen).routed_alone == 0.0
    held = policies.effect(eager, seen, accuracy=tracked("learned", right=50, wrong=50))
    assert held.routed_alone == pytest.approx(unsure.routed_alone / 2, abs=0.03), "as the learned router is in Billing"


def test_a_departments_own_threshold_is_what_its_tickets_had_to_reach_and_reaching_it_is_enough() -> None:
    seen = evidence(600)
    policy = replace(Policy(), confidence=0.5, thresholds=Thresholds(0.8, 0.5), departments={"Billing": Thresholds(0.9, 0.5)})
    wanted = [0.9 if name == "Billing" else 0.8 for name in seen.departments]
    reached = np.average(seen.confidence >= wanted, weights=seen.weights)
    assert 0.0 < reached < np.average(seen.confidence >= 0.8, weights=seen.weights)
    assert policies.effect(policy, seen).routed_alone == pytest.approx(reached)
    assert policies.effect(policy, replace(seen, confidence=np.array(wanted))).routed_alone == 1.0


def test_newer_labels_that_give_other_thresholds_are_offered_and_change_nothing_by_themselves() -> None:
    asked, _ = policies.derived(replace(Policy(), target_accuracy=0.95), evidence(4000), DEPARTMENTS)
    assert policies.overdue(asked, evidence(4000), DEPARTMENTS) == {}
    worse = evidence(4000)
    worse = replace(worse, correct=worse.correct & (np.random.default_rng(3).random(4000) < 0.98))
    found = policies.overdue(asked, worse, DEPARTMENTS)
    assert set(found) == set(DEPARTMENTS)
    assert all(old == asked.departments[name] and (new is None or new.auto > old.auto) for name, (old, new) in found.items())
    assert policies.overdue(replace(asked, target_accuracy=None), worse, DEPARTMENTS) == {}


def test_labels_of_retired_departments_and_of_another_embedder_are_left_out_and_counted() -> None:
    seen = evidence(90, departments=("Billing", "Sales", "Gone"))
    seen = replace(seen, embedders=("other",) * 9 + ("minilm",) * 81, models=("7+3",) * 45 + ("70+3",) * 45)
    kept = seen.comparable(DEPARTMENTS, embedder="minilm")
    assert (len(kept), kept.retired, kept.foreign) == (54, 30, 6)
    assert len(kept.confidence) == len(kept.correct) == len(kept.weights) == len(kept.methods) == 54
    assert set(kept.departments) == {"Billing", "Sales"}
    assert kept.of_model("7") == sum(name == "7+3" for name in kept.models) == 24


def test_a_ticket_of_a_retired_department_that_went_elsewhere_stays_a_mistake() -> None:
    seen = replace(evidence(90), actual=("Gone",) * 30 + evidence(90).departments[30:], correct=np.arange(90) >= 30)
    kept = seen.comparable(DEPARTMENTS, embedder="minilm")
    assert (len(kept), kept.retired, int((~kept.correct).sum())) == (90, 0, 30)


def test_labels_of_a_department_that_is_not_live_give_it_no_threshold() -> None:
    made, found = policies.derived(replace(Policy(), target_accuracy=0.95), evidence(6000, departments=(*DEPARTMENTS, "Gone")), DEPARTMENTS)
    assert set(found) == set(made.departments) == set(DEPARTMENTS)


def test_the_order_of_departments_changes_nothing() -> None:
    asked = replace(Policy(), target_accuracy=0.9)
    one, _ = policies.derived(asked, evidence(2000), DEPARTMENTS)
    other, _ = policies.derived(asked, evidence(2000), tuple(reversed(DEPARTMENTS)))
    assert one == other


def test_changes_names_the_fields_that_differ() -> None:
    assert policies.changes(Policy(), replace(Policy(), number=7, accuracy=0.9)) == {"accuracy": (0.80, 0.9)}
