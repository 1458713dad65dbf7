"""Which of two answers to a ticket is given, and whether it goes alone."""
from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from engine.accuracy import AccuracySnapshot, AccuracyTracker, ReviewedLabel
from engine.domain import Automation, Candidate, Channel, Decision, Department, Limits, Method, Neighbour, Policy, Priority, Thresholds, Ticket
from engine.model import Prediction
from engine.ports import LanguageModelAnswer
from engine.semantic import CACHED_PRIOR, Vote
from engine.state import RoutingState
from engine.verdict import Verdict, decided, remembered, surest
from engine.work import Work

NOW = datetime.now(UTC)
TICKET = Ticket(id="T1", subject="", body="my bill", channel=Channel.WEB, customer_ref="", priority=Priority.NORMAL, created_at=NOW)


def unlearned(policy: Policy, *, accuracy: AccuracySnapshot | None = None) -> RoutingState:
    """Three departments, and nothing learned or labelled yet."""
    return RoutingState(
        policy=policy, departments=tuple(Department(name, "") for name in ("Billing", "Sales", "Complaints")), model=None,
        accuracy=accuracy or AccuracySnapshot.empty(NOW), versions={}, database="",
    )


def sure(method: Method, confidence: float, **more: str) -> Verdict:
    return Verdict(department="Billing", method=method, raw_score=0.9, confidence=confidence, source="", reason="", **more)


def stored(method: Method, confidence: float, policy: Policy, *, audited: bool = False, chance: random.Random | None = None) -> Decision:
    """What becomes of such an answer to a ticket."""
    work = Work(TICKET, "", verdict=sure(method, confidence), audited=audited)
    return decided(work, unlearned(policy), now=NOW, chance=chance or random.Random(1))


def said(department: str, confidence: float, second: str = "") -> LanguageModelAnswer:
    return LanguageModelAnswer(department=department, raw_confidence=confidence, reason="", second_choice=second, prompt_version="1")


def labelled(right: int, wrong: int, *, method: str = "learned") -> AccuracySnapshot:
    return AccuracyTracker.from_labels(
        ReviewedLabel(ticket_id=f"T{i}", department="Billing", method=method, confidence=0.97, correct=i < right, at=NOW)
        for i in range(right + wrong)
    ).snapshot(NOW)


@pytest.mark.parametrize("confidence", [0.97, 0.87])
@pytest.mark.parametrize("method", [Method.LEARNED, Method.CACHED, Method.FALLBACK])
def test_as_many_are_chosen_for_review_as_the_chance_says_that_is_stored_with_them(method: Method, confidence: float) -> None:
    policy, chance = Policy(review_rate=0.3, audit_rate=0.5), random.Random(1)
    made = [
        stored(method, confidence, policy, audited=method is Method.CACHED and chance.random() < policy.audit_rate, chance=chance)
        for _ in range(3000)
    ]
    (probability,) = {decision.review_probability for decision in made}
    assert sum(decision.review_wanted for decision in made) / len(made) == pytest.approx(probability, abs=0.03)
    assert (probability < 1.0) is (made[0].automation is Automation.AUTO) is (confidence == 0.97 and method is not Method.FALLBACK)


@pytest.mark.parametrize(
    ("confidence", "automation"),
    [(0.9, Automation.AUTO), (0.8999, Automation.PRESELECT), (0.85, Automation.PRESELECT), (0.8499, Automation.SUGGEST)],
)
def test_a_threshold_includes_the_confidence_that_it_names_and_a_best_guess_reaches_none(confidence: float, automation: Automation) -> None:
    assert stored(Method.LEARNED, confidence, Policy()).automation is automation
    assert stored(Method.FALLBACK, confidence, Policy()).automation is Automation.SUGGEST


@pytest.mark.parametrize(("own", "automation"), [
    ({"Billing": Thresholds(0.95, 0.7)}, Automation.PRESELECT), ({"Billing": Thresholds(0.93, 0.7)}, Automation.AUTO),
    ({"Billing": Thresholds(0.97, 0.94)}, Automation.SUGGEST), ({"Sales": Thresholds(0.97, 0.94)}, Automation.AUTO),
])
def test_a_departments_own_thresholds_are_those_of_its_tickets(own: dict[str, Thresholds], automation: Automation) -> None:
    assert stored(Method.LEARNED, 0.93, Policy(departments=own)).automation is automation


@pytest.mark.parametrize("auto", [0.9, 0.98])
@pytest.mark.parametrize(("right", "given"), [(24, Method.CACHED), (40, Method.LEARNED)])
def test_what_labels_hold_back_does_not_go_alone_under_another_name(right: int, given: Method, auto: float) -> None:
    """Of 40 reviewed cached answers 24 or all were right; neighbours and router say the same, the router is surer."""
    state = SimpleNamespace(
        policy=Policy(thresholds=Thresholds(auto=auto, preselect=0.85)), accuracy=labelled(right, 40 - right, method="cached"),
        model=SimpleNamespace(number=1),
    )
    cached = Verdict(department="Billing", method=Method.CACHED, raw_score=0.9, confidence=0.89 if auto == 0.9 else 0.97, source="exemplar:1", reason="")
    work = SimpleNamespace(verdict=cached, prediction=SimpleNamespace(best=Candidate("Billing", 0.99), topic="", raw_score=0.9))
    assert surest(work, state).method is given


def test_what_neighbours_send_alone_stays_theirs_however_sure_the_router_is_of_the_same() -> None:
    state = SimpleNamespace(policy=Policy(), accuracy=AccuracySnapshot.empty(NOW), model=SimpleNamespace(number=1))
    work = SimpleNamespace(verdict=sure(Method.CACHED, 0.95), prediction=Prediction(Candidate("Billing", 0.99), 0.9, "", {}))
    assert surest(work, state).method is Method.CACHED


def test_the_router_answers_in_place_of_neighbours_only_with_the_same_department() -> None:
    state = SimpleNamespace(policy=Policy(), accuracy=AccuracySnapshot.empty(NOW), model=SimpleNamespace(number=1))
    for department, given in (("Billing", Method.LEARNED), ("Sales", Method.CACHED)):
        work = SimpleNamespace(verdict=sure(Method.CACHED, 0.87), prediction=Prediction(Candidate(department, 0.99), 0.9, "", {}))
        assert (surest(work, state).method, surest(work, state).department) == (given, "Billing")


def test_a_departments_own_accuracy_counts_for_it_and_the_decision_says_why_it_waits_for_a_click() -> None:
    policy = Policy(accuracy=0.8, limits={"Billing": Limits(accuracy=0.88)})
    work = Work(TICKET, "", verdict=sure(Method.LEARNED, 0.97), degraded_by=["index"])
    decision = decided(work, unlearned(policy, accuracy=labelled(92, 8)), now=NOW, chance=random.Random(1))
    assert (decision.automation, decision.degraded_by) == (Automation.PRESELECT, ("index",))
    assert decision.gated_by.startswith("Held back for a click: 92 of 100 reviewed learned decisions for Billing were right")


@pytest.mark.parametrize(("repeats", "labels", "automation"), [
    ("learned", "learned", Automation.PRESELECT), ("learned", "cached", Automation.PRESELECT), ("learned", "rag_llm", Automation.AUTO),
])
def test_a_repeat_is_held_back_by_labels_of_repeats_and_of_what_it_repeats(repeats: str, labels: str, automation: Automation) -> None:
    work = Work(TICKET, "", verdict=sure(Method.CACHED, 0.97, repeats=repeats))
    decision = decided(work, unlearned(Policy(), accuracy=labelled(10, 30, method=labels)), now=NOW, chance=random.Random(1))
    assert decision.automation is automation


def test_without_a_model_the_department_marked_for_it_takes_what_nobody_else_can() -> None:
    state = unlearned(Policy())
    assert Verdict.fallback(Work(TICKET, ""), state).department == "Billing", "the first by name where none is marked"
    marked = replace(state, departments=(*state.departments, Department("Triage", "", triage=True)))
    assert Verdict.fallback(Work(TICKET, ""), marked).department == "Triage"


def test_where_nothing_sure_is_reviewed_a_label_that_comes_all_the_same_stands_for_itself() -> None:
    decision = stored(Method.LEARNED, 0.97, Policy(review_rate=0.0))
    assert (decision.review_wanted, decision.review_probability) == (False, 1.0)


def test_a_confidence_past_one_by_rounding_is_one() -> None:
    assert stored(Method.LEARNED, 1.0000001, Policy()).confidence == 1.0


def test_as_many_neighbours_are_kept_as_had_to_agree_and_at_most_three_departments() -> None:
    near = tuple(Neighbour(n, f"Department {n}", "", 0.99 - n / 100) for n in range(7))
    decision = decided(Work(TICKET, "", verdict=sure(Method.CACHED, 0.8), neighbours=near), unlearned(Policy(neighbours=4)), now=NOW, chance=random.Random(1))
    assert [n.exemplar_id for n in decision.evidence] == [0, 1, 2, 3]
    assert [one.department for one in decision.alternatives] == ["Billing", "Department 0", "Department 1"]


def test_a_repeat_says_all_that_was_said_at_first() -> None:
    near = (Neighbour(7, "Billing", "", 0.99, text="my bill"), Neighbour(8, "Sales", "", 0.9))
    work = Work(TICKET, "", verdict=sure(Method.LEARNED, 0.97, topic="invoice"), neighbours=near)
    first = decided(work, unlearned(Policy()), now=NOW, chance=random.Random(1))
    repeat = Verdict.repeat(remembered(first))
    assert (repeat.department, repeat.topic, repeat.raw_score, repeat.confidence) == ("Billing", "invoice", 0.9, 0.97)
    assert (repeat.method, repeat.repeats, repeat.exact, repeat.source) == (Method.CACHED, "learned", True, "ticket:T1")
    again = decided(Work(TICKET, "", verdict=repeat), unlearned(Policy()), now=NOW, chance=random.Random(1))
    assert again.alternatives == first.alternatives and [n.exemplar_id for n in again.evidence] == [7, 8]


def test_the_gate_asks_for_the_accuracy_of_the_policy_in_force() -> None:
    """Of a hundred 92 were right: 85% is proven."""
    for accuracy, automation in ((0.8, Automation.AUTO), (0.88, Automation.PRESELECT)):
        state, work = unlearned(Policy(accuracy=accuracy), accuracy=labelled(92, 8)), Work(TICKET, "", verdict=sure(Method.LEARNED, 0.97))
        assert decided(work, state, now=NOW, chance=random.Random(1)).automation is automation


@pytest.mark.parametrize("policy", [
    Policy(confidence=0.85), Policy(confidence=0.7, limits={"Billing": Limits(confidence=0.85)}),
    Policy(confidence=0.95, limits={"Billing": Limits(confidence=0.85), "Sales": Limits(confidence=0.95)}),
])
@pytest.mark.parametrize(("confidence", "answered"), [(0.85, True), (0.8499, False)])
def test_a_stage_answers_from_the_policys_confidence_on_or_the_departments_own(policy: Policy, confidence: float, answered: bool) -> None:
    model = SimpleNamespace(number=1, cached_confidence=lambda *_, **__: confidence, language_model_confidence=lambda *_: confidence)
    state = SimpleNamespace(policy=policy, model=model, live={"Billing"})
    work = Work(TICKET, "", prediction=Prediction(Candidate("Billing", confidence), 0.9, "", {}))
    given = (
        Verdict.learned(work, state), Verdict.neighbours(Vote("Billing", "", 0.9, 1.0, 5), work, state),
        Verdict.language_model(said("Billing", 0.9, "Gone"), work, state),
    )
    assert [verdict is not None for verdict in given] == [answered] * 3
    assert not answered or given[2].second == "", "a department that is not there is no alternative"


def test_while_nothing_was_learned_neighbours_are_believed_as_much_as_the_default_asks_and_a_language_model_not_at_all() -> None:
    state = unlearned(Policy())
    assert Verdict.neighbours(Vote("Billing", "", 0.99, 1.0, 5), Work(TICKET, ""), state).confidence == CACHED_PRIOR
    assert Verdict.language_model(said("Billing", 0.99), Work(TICKET, ""), state) is None


def test_how_labels_of_a_text_agree_is_asked_only_where_such_a_label_answers() -> None:
    """What is merely similar says nothing of how far labels of this text agree."""
    model = SimpleNamespace(cached_confidence=lambda _, *, department, labelled: 0.99 if labelled == "" else 0.9)
    state = SimpleNamespace(policy=Policy(), model=model)
    work = Work(TICKET, "", neighbours=(Neighbour(6, "Billing", "", 0.99), Neighbour(7, "Billing", "", 0.99, text="my bill")))
    given = [Verdict.neighbours(Vote("Billing", "", 0.99, 1.0, 5, labelled=label, nearest=7), work, state).confidence for label in (False, True)]
    assert given == [0.99, 0.9]


def test_the_cache_keeps_no_texts() -> None:
    work = Work(TICKET, "", verdict=sure(Method.CACHED, 0.97), neighbours=(Neighbour(7, "Billing", "", 0.99, text="my bill"),))
    decision = decided(work, unlearned(Policy()), now=NOW, chance=random.Random(1))
    assert decision.evidence[0].text == "my bill"
    assert [(n.exemplar_id, n.text) for n in remembered(decision).evidence] == [(7, "")]


def test_no_alternative_looks_surer_than_the_decision_and_what_the_language_model_would_choose_next_comes_second() -> None:
    scores = {"Billing": 0.3, "Sales": 0.6, "Complaints": 0.1}

    def alternatives(**more: str) -> list[tuple[str, float]]:
        work = Work(TICKET, "", verdict=sure(Method.RAG_LLM, 0.4, **more), prediction=Prediction(Candidate("Billing", 0.4), 0.3, "", scores))
        found = decided(work, unlearned(Policy()), now=NOW, chance=random.Random(1)).alternatives
        return [(one.department, round(one.confidence, 6)) for one in found]

    assert alternatives() == [("Billing", 0.4), ("Sales", 0.4), ("Complaints", 0.085714)]
    assert alternatives(second="Billing") == alternatives()
    assert alternatives(second="Complaints") == [("Billing", 0.4), ("Complaints", 0.3), ("Sales", 0.3)]


def test_without_a_learned_router_the_nearest_of_each_department_says_how_likely_it_is() -> None:
    near = tuple(Neighbour(n, name, "", s) for n, name, s in ((1, "Sales", 0.9), (2, "Complaints", 0.6), (3, "Sales", 0.1)))
    decision = decided(Work(TICKET, "", verdict=sure(Method.CACHED, 0.85), neighbours=near), unlearned(Policy()), now=NOW, chance=random.Random(1))
    assert [one.department for one in decision.alternatives] == ["Billing", "Sales", "Complaints"]
    assert decision.alternatives[1].confidence == pytest.approx(0.15 * 0.9 / 1.5)
