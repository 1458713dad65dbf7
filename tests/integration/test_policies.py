"""Policies and tracked accuracy in force: numbered, live on every instance, and holding back what is not accurate."""
from __future__ import annotations

from dataclasses import replace

import pytest

from engine import policy as policies
from engine.domain import Automation, Method, Outcome, Policy, Stage, Thresholds, TicketDraft
from engine.errors import PolicyRejected

BILL = "you took the money twice for my october bill"


def names(console) -> list[str]:
    return [d.name for d in console.taxonomy.departments()]


def test_a_saved_policy_is_live_on_another_instance_and_an_earlier_one_can_be_restored(build) -> None:
    first, second = build(), build(working=False)
    strict = replace(Policy(), thresholds=Thresholds(auto=0.9999, preselect=0.99))
    saved = policies.save(strict, first.policies, departments=names(first), author="m", reason="strict for a day")
    policies.save(replace(strict, accuracy=0.7), first.policies, departments=names(first), author="m", reason="another")
    assert second.state.refresh()
    assert second.state.current().policy.accuracy == 0.7
    back = policies.restore(saved.number, first.policies, departments=names(first), author="m")
    assert back.number > saved.number
    assert replace(back, number=0) == replace(saved, number=0)
    assert [row.live for row in first.policies.all()] == [True, False, False]


def test_a_refused_policy_changes_nothing(console) -> None:
    with pytest.raises(PolicyRejected):
        policies.save(replace(Policy(), thresholds=Thresholds(0.5, 0.6)), console.policies, departments=names(console), author="m", reason="oops")
    with pytest.raises(PolicyRejected, match="reason"):
        policies.save(Policy(), console.policies, departments=names(console), author="m", reason=" ")
    assert console.policies.all() == []


def test_a_policy_change_makes_cached_answers_of_the_old_one_unusable(console) -> None:
    console.router.route(TicketDraft(body=BILL))
    policies.save(replace(Policy(), accuracy=0.75), console.policies, departments=names(console), author="m", reason="change")
    console.state.refresh()
    assert console.router.route(TicketDraft(body=BILL)).method is not Method.CACHED


def test_with_every_stage_off_a_person_decides(console) -> None:
    policies.save(replace(Policy(), stages=frozenset[Stage]()), console.policies, departments=names(console), author="m", reason="stop")
    console.state.refresh()
    decision = console.router.route(TicketDraft(body=BILL))
    assert (decision.method, decision.automation) == (Method.FALLBACK, Automation.SUGGEST)
    assert decision.department == "Billing and Payments"


def test_a_department_whose_labels_are_mostly_wrong_is_held_back_and_the_decision_says_why(console) -> None:
    policies.save(
        replace(Policy(), review_rate=1.0, stages=frozenset({Stage.LEARNED})), console.policies, departments=names(console), author="m",
        reason="review everything",
    )
    console.state.refresh()
    assert console.router.route(TicketDraft(body=BILL)).automation is Automation.AUTO
    for number in range(12):
        decision = console.router.route(TicketDraft(body=f"{BILL}, call {number}"))
        console.router.review(Outcome(ticket_id=decision.ticket_id, department="Complaints", labelled_by="t"), learn=False)
    console.state.refresh()
    held = console.router.route(TicketDraft(body=BILL))
    assert held.automation is Automation.PRESELECT
    assert "of 12 reviewed learned decisions for Billing and Payments were right" in held.gated_by


def test_accuracy_counts_only_tickets_that_chance_put_into_the_queue(console) -> None:
    policies.save(replace(Policy(), review_rate=0.0), console.policies, departments=names(console), author="m", reason="none")
    console.state.refresh()
    sure = console.router.route(TicketDraft(body=BILL))
    unsure = console.router.route(TicketDraft(body="the quux of my zorble is frobnicated"))
    assert (sure.review_wanted, unsure.review_wanted) == (False, True)
    for decision in (sure, unsure):
        console.router.review(Outcome(ticket_id=decision.ticket_id, department=decision.department, labelled_by="t"), learn=False)
    assert console.tracking.snapshot().cell(None).n == 1
    assert sum(row.total_predictions for row in console.outcomes.accuracy()) == 2


def test_tracked_accuracy_equals_a_recount_after_labels_were_corrected(console) -> None:
    policies.save(replace(Policy(), review_rate=1.0), console.policies, departments=names(console), author="m", reason="all")
    console.state.refresh()
    decisions = [console.router.route(TicketDraft(body=f"{BILL} {word}")) for word in ("please", "now", "again")]
    for department in ("Sales", "Billing and Payments"):
        for decision in decisions:
            console.router.review(Outcome(ticket_id=decision.ticket_id, department=department, labelled_by="t"), learn=False)
        cell = console.tracking.snapshot().cell("Billing and Payments")
        counted = console.outcomes.recount()
        assert (cell.n, cell.successes) == (counted[0].total, counted[0].correct)
