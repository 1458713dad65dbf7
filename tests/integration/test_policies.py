"""Policies and tracked accuracy in force: numbered, live on every instance, and holding back what is not accurate."""
from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from engine import policy as policies
from engine.domain import Automation, Decision, Limits, Method, Policy, Stage, Thresholds, TicketDraft
from engine.errors import Conflict, PolicyRejected
from engine.outcome import Outcome
from engine.web import resources

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
    defaults = policies.restore(0, first.policies, departments=names(first), author="m")
    assert defaults == replace(Policy(), number=4) == first.policies.live()
    assert first.policies.all()[0].reason == "Back to the built-in defaults."


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


@pytest.mark.parametrize("batch", [False, True], ids=["single", "batch"])
def test_an_exact_repeat_does_not_go_alone_where_the_method_that_decided_at_first_is_held_back(console, batch: bool) -> None:
    policies.save(
        replace(Policy(), review_rate=1.0, audit_rate=0.0, stages=frozenset({Stage.EXACT, Stage.LEARNED})), console.policies,
        departments=names(console), author="m", reason="review everything",
    )
    console.state.refresh()

    def route(body: str) -> Decision:
        draft = TicketDraft(body=body)
        decision = console.router.route_tickets([console.router.admit(draft)])[0] if batch else console.router.route(draft)
        console.router.settle()
        return decision

    open_ = route(BILL)
    assert (open_.automation, route(BILL).automation) == (Automation.AUTO, Automation.AUTO)
    for number in range(12):
        decision = route(f"{BILL}, call {'abcdefghijkl'[number]}")
        console.router.review(Outcome(ticket_id=decision.ticket_id, department="Complaints", labelled_by="t"), learn=False)
    console.state.refresh()
    first, repeat = (route(f"{BILL} please help") for _ in range(2))
    assert (first.method, repeat.method, repeat.source) == (Method.LEARNED, Method.CACHED, f"ticket:{first.ticket_id}")
    assert (first.automation, repeat.automation) == (Automation.PRESELECT, Automation.PRESELECT)
    assert repeat.gated_by == first.gated_by
    assert "reviewed learned decisions for Billing and Payments were right" in repeat.gated_by
    # Nor does an answer that went alone before its method was held back.
    late = route(BILL)
    assert (late.source, late.automation) == (f"ticket:{open_.ticket_id}", Automation.PRESELECT)


def test_a_departments_own_limits_are_live_on_every_instance_and_decide_for_it_alone(build) -> None:
    first, second = build(working=False), build(working=False)
    other = "where is my parcel"
    billing, delivery = (first.router.replay(first.router.admit(TicketDraft(body=body))).department for body in (BILL, other))

    def asked(stages: set[Stage], **limits: float) -> list[Decision]:
        wanted = replace(Policy(), confidence=0.3, similarity=0.3, accuracy=0.5, stages=frozenset(stages), limits={billing: Limits(**limits)})
        saved = policies.save(wanted, first.policies, departments=names(first), author="m", reason="for one department")
        assert second.state.refresh() and second.state.current().policy == saved == replace(wanted, number=saved.number)
        return [second.router.replay(second.router.admit(TicketDraft(body=body))) for body in (BILL, other)]

    assert {decision.method for decision in asked({Stage.LEARNED})} == {Method.LEARNED}
    assert [decision.method for decision in asked({Stage.LEARNED}, confidence=1.0)] == [Method.FALLBACK, Method.LEARNED]
    assert {decision.method for decision in asked({Stage.SEMANTIC})} == {Method.CACHED}
    decisions = asked({Stage.SEMANTIC}, similarity=1.0)
    assert [(decision.method, decision.department) for decision in decisions] == [(Method.FALLBACK, billing), (Method.CACHED, delivery)]
    assert resources.policy(second)[1]["limits"] == {billing: {"confidence": None, "accuracy": None, "similarity": 1.0}}
    assert policies.restore(0, first.policies, departments=names(first), author="m").limits == {}


def test_a_departments_own_accuracy_opens_or_closes_the_gate_for_it_alone(console) -> None:
    def asked(**limits: float) -> Decision:
        wanted = replace(Policy(), review_rate=1.0, audit_rate=0.0, stages=frozenset({Stage.LEARNED}), limits={"Billing and Payments": Limits(**limits)})
        policies.save(wanted, console.policies, departments=names(console), author="m", reason="for one department")
        console.state.refresh()
        return console.router.route(TicketDraft(body=BILL))

    assert asked().automation is Automation.AUTO
    for number in range(12):
        decision = console.router.route(TicketDraft(body=f"{BILL}, call {number}"))
        right = decision.department if number % 2 else "Complaints"
        console.router.review(Outcome(ticket_id=decision.ticket_id, department=right, labelled_by="t"), learn=False)
    assert asked().automation is Automation.PRESELECT
    assert asked(accuracy=0.1).automation is Automation.AUTO
    assert asked(accuracy=0.95).automation is Automation.PRESELECT


def test_an_exact_repeat_does_not_go_alone_where_cached_answers_are_held_back(console) -> None:
    policies.save(
        replace(Policy(), review_rate=1.0, audit_rate=0.0, stages=frozenset({Stage.EXACT, Stage.LEARNED})), console.policies,
        departments=names(console), author="m", reason="review everything",
    )
    console.state.refresh()
    console.router.route(TicketDraft(body=BILL))
    console.router.settle()
    repeats = [console.router.route(TicketDraft(body=BILL)) for _ in range(3)]
    assert all((r.method, r.automation) == (Method.CACHED, Automation.AUTO) for r in repeats)
    for repeat in repeats:
        console.router.review(Outcome(ticket_id=repeat.ticket_id, department="Complaints", labelled_by="t"), learn=False)
    console.state.refresh()
    first, again = (_settled(console, f"{BILL} please help") for _ in range(2))
    assert (first.method, first.automation) == (Method.LEARNED, Automation.AUTO)
    assert (again.method, again.automation) == (Method.CACHED, Automation.PRESELECT)
    assert "0 of 3 reviewed cached decisions" in again.gated_by


def _settled(console, body: str) -> Decision:
    decision = console.router.route(TicketDraft(body=body))
    console.router.settle()
    return decision


def test_what_was_right_lately_fades_with_the_days_while_no_label_comes(build) -> None:
    now = [datetime(2026, 3, 1, 23, 30, tzinfo=UTC)]
    console = build(working=False, clock=lambda: now[0])
    policies.save(replace(Policy(), review_rate=1.0), console.policies, departments=names(console), author="m", reason="all")
    decision = console.router.route(TicketDraft(body=BILL))
    console.router.review(Outcome(ticket_id=decision.ticket_id, department=decision.department, labelled_by="t"), learn=False)
    console.state.refresh()

    def lately() -> float:
        return console.state.current().accuracy.cell(decision.department).recent_effective

    assert lately() == pytest.approx(1.0)
    now[0] += timedelta(minutes=29)
    assert not console.state.refresh(), "the same day in UTC"
    now[0] += timedelta(minutes=2)
    assert console.state.refresh()
    now[0] += timedelta(days=13)
    assert console.state.refresh()
    assert lately() == pytest.approx(0.5)
    assert console.state.current().accuracy.taken_at == now[0]


def test_managers_who_save_at_the_same_moment_are_stored_one_after_the_other(console) -> None:
    together, known = threading.Barrier(4), names(console)

    def save(number: int) -> int:
        together.wait(60)
        return policies.save(
            replace(Policy(), accuracy=0.7 + number / 100), console.policies, departments=known, author=f"m{number}", reason="at once"
        ).number

    for _ in range(5):
        with ThreadPoolExecutor(4) as pool:
            saved = list(pool.map(save, range(4)))
        assert len(set(saved)) == 4
        assert [row.number for row in console.policies.all() if row.live] == [max(saved)]
    assert len(console.policies.all()) == 20


def test_of_managers_who_changed_the_same_policy_at_the_same_moment_one_is_stored_and_the_others_are_told(console) -> None:
    together, known = threading.Barrier(4), names(console)

    def save(number: int, based_on: int) -> Policy | Conflict:
        together.wait(60)
        try:
            return policies.save(
                replace(Policy(), accuracy=0.7 + number / 100), console.policies, departments=known, author=f"m{number}",
                reason="at once", based_on=based_on,
            )
        except Conflict as error:
            return error

    based_on = 0
    for _ in range(5):
        with ThreadPoolExecutor(4) as pool:
            ended = list(pool.map(save, range(4), [based_on] * 4))
        stored, refused = [one for one in ended if isinstance(one, Policy)], [str(one) for one in ended if isinstance(one, Conflict)]
        assert (len(stored), len(refused)) == (1, 3)
        assert console.policies.live() == stored[0]
        row = console.policies.all()[0]
        for message in refused:
            assert f"policy {row.number} is in force since {row.created_at:%Y-%m-%d %H:%M:%S} UTC, by {row.author} (at once)" in message
            assert f"made to {f'policy {based_on}' if based_on else 'the built-in defaults'}. Nothing was changed." in message
        based_on = row.number
    assert len(console.policies.all()) == 5
    assert len(console.audit.find(limit=20, action="policy_changed")) == 5


def test_going_back_is_refused_when_another_policy_came_into_force_since(console) -> None:
    first = policies.save(Policy(), console.policies, departments=names(console), author="m", reason="first")
    second = policies.save(replace(Policy(), accuracy=0.7), console.policies, departments=names(console), author="m", reason="second")
    with pytest.raises(Conflict, match="by m"):
        policies.restore(first.number, console.policies, departments=names(console), author="n", based_on=first.number)
    assert console.policies.live() == second
    back = policies.restore(first.number, console.policies, departments=names(console), author="n", based_on=second.number)
    assert replace(back, number=0) == replace(first, number=0)


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
