"""What agents choose: confirming a decision, sending its ticket elsewhere, coming back, and which tickets still wait for them."""
from __future__ import annotations

import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from engine.bootstrap import Engine
from engine.domain import Automation, Decision, Method, Thresholds, TicketDraft
from engine.errors import Conflict, NotFound, OutcomeRejected
from engine.fingerprint import fingerprint
from engine.outcome import Outcome, Overrule
from engine.standing import Standing
from engine.telemetry.log import DecisionLog

BILL = "you took the money twice for my october bill"
WEEK = timedelta(days=7)
PURGE = "update tickets set body = '', text_removed_at = now() where id = %s"


def routed(console: Engine, body: str = BILL, by: str = "ann") -> Decision:
    decision = console.router.route(TicketDraft(body=body, created_by=by))
    console.router.settle()
    return decision


def choose(console: Engine, decision: Decision, department: str) -> str | None:
    return console.router.overrule(Overrule(ticket_id=decision.ticket_id, department=department, by="ann"))


def other(decision: Decision) -> str:
    return decision.alternatives[1].department


def row(console: Engine, decision: Decision):  # noqa: ANN201
    return console.decisions.rows([decision.ticket_id])[0]


def change(console: Engine, statement: str, *values: str) -> None:
    """What no part of the engine does, or does only much later."""
    with console.outcomes._engine.begin() as connection:
        connection.exec_driver_sql(statement, values)


def asking(console: Engine) -> None:
    """From now on whatever is answered is to be confirmed, and nothing goes alone."""
    policy = replace(console.policies.live(), thresholds=Thresholds(auto=1.0, preselect=0.0))
    console.policies.add(policy, author="test", reason="ask")
    console.state.refresh()


def test_a_confirmed_decision_is_noted_moves_nothing_and_is_no_label(console: Engine) -> None:
    decision = routed(console)
    queue = console.outcomes.waiting()
    assert choose(console, decision, decision.department) is None
    stored = row(console, decision)
    assert (stored.chosen, stored.overruled_to, stored.actual_outcome) == (decision.department, None, None)
    assert console.outcomes.waiting() == queue and console.outcomes.accuracy() == []
    assert [(r.actor, r.action) for r in console.audit.find(limit=1, words=decision.ticket_id)] == [("ann", "ticket_confirmed")]
    again = routed(console)
    assert (again.method, again.source) == (Method.CACHED, f"ticket:{decision.ticket_id}"), "the answer was right, so it is given again"


def test_coming_back_takes_the_overrule_away_and_keeps_what_was_done(console: Engine) -> None:
    decision = routed(console)
    sampled = console.outcomes.waiting()
    choose(console, decision, other(decision))
    assert (row(console, decision).chosen, row(console, decision).overruled_to) == (other(decision), other(decision))
    assert console.outcomes.queue()[0].ticket_id == decision.ticket_id
    choose(console, decision, decision.department)
    assert console.outcomes.last_choice(decision.ticket_id).department == decision.department
    assert (row(console, decision).chosen, row(console, decision).overruled_to) == (decision.department, None)
    assert console.outcomes.waiting() == sampled
    noted = [(r.action, r.before["department"], r.after["department"]) for r in console.audit.find(limit=5, words=decision.ticket_id)]
    assert noted == [
        ("ticket_confirmed", other(decision), decision.department), ("ticket_overruled", decision.department, other(decision)),
    ]


def test_a_label_stands_whatever_is_confirmed_later(console: Engine) -> None:
    decision = routed(console)
    console.router.review(Outcome(ticket_id=decision.ticket_id, department="Sales", labelled_by="sue"))
    assert choose(console, decision, decision.department) == "Sales"
    assert (row(console, decision).actual_outcome, row(console, decision).overruled_to) == ("Sales", None)


def test_what_cannot_be_confirmed_says_why_and_changes_nothing(console: Engine) -> None:
    decision = routed(console)
    change(console, "update departments set live = false where name = %s", decision.department)
    with pytest.raises(OutcomeRejected, match="is retired, no ticket goes there any more. Nothing was stored"):
        choose(console, decision, decision.department)
    with pytest.raises(NotFound):
        console.router.overrule(Overrule(ticket_id="T-nobodys", department=decision.department, by="ann"))
    assert row(console, decision).chosen is None


def test_for_a_ticket_without_its_text_nobody_chooses(console: Engine) -> None:
    decision = routed(console)
    change(console, PURGE, decision.ticket_id)
    with pytest.raises(OutcomeRejected, match="its text was removed, so nobody can say where it belongs. Nothing was stored"):
        choose(console, decision, decision.department)
    assert console.outcomes.last_choice(decision.ticket_id) is None


def test_a_confirmed_text_is_not_answered_otherwise_from_the_cache(console: Engine) -> None:
    """An older ticket is confirmed while the cache holds another answer to its text; one that agrees stays."""
    older = routed(console)
    cache, epoch, print_ = console.router._exact._cache, console.state.current().epoch, fingerprint(BILL)
    [held] = cache.get([print_], epoch)
    choose(console, older, older.department)
    assert cache.get([print_], epoch) == [held]
    cache.put({print_: replace(held, department="Complaints")}, epoch)
    assert routed(console).department == "Complaints"
    choose(console, older, older.department)
    assert cache.get([print_], epoch) == [None]
    assert not routed(console).source.startswith("ticket:")


def test_what_waits_is_what_asked_for_somebody_and_neither_chosen_nor_labelled_nor_purged_nor_old(console: Engine) -> None:
    alone = routed(console)
    assert alone.automation is Automation.AUTO
    asking(console)
    bodies = ("where is my parcel", "i forgot my password", "my bill is too high", "cancel my order please", "the lamp arrived broken", "where is my refund")
    confirmed, moved, labelled, old, purged, left = (routed(console, body) for body in bodies)
    foreign = routed(console, "the app does not start", by="joe")
    assert {d.automation for d in (confirmed, moved, labelled, old, purged, left, foreign)} <= {Automation.PRESELECT, Automation.SUGGEST}

    def waiting(**more: str) -> list[str]:
        return [r.ticket_id for r in console.decisions.latest(limit=50, open_since=WEEK, **more)]

    assert waiting() == [d.ticket_id for d in (foreign, left, purged, old, labelled, moved, confirmed)]
    choose(console, confirmed, confirmed.department)
    choose(console, moved, other(moved))
    console.router.review(Outcome(ticket_id=labelled.ticket_id, department=labelled.department, labelled_by="sue"), learn=False)
    for table, key in (("routing_history", "ticket_id"), ("tickets", "id")):
        change(console, f"update {table} set created_at = now() - interval '8 days' where {key} = %s", old.ticket_id)
    change(console, PURGE, purged.ticket_id)
    assert waiting() == [foreign.ticket_id, left.ticket_id]
    assert waiting(created_by="ann") == [left.ticket_id]


def test_confirmations_are_logged_apart_from_overrules(console: Engine) -> None:
    seen = io.StringIO()
    console.log._sinks[0] = DecisionLog(stream=seen)
    decision = routed(console)
    for department in (decision.department, other(decision), decision.department):
        choose(console, decision, department)
    events = [(line["event_type"], line.get("department")) for line in map(json.loads, seen.getvalue().splitlines())]
    mine = [event for event in events if event[0] in ("ticket_confirmed", "ticket_overruled")]
    assert mine == [
        ("ticket_confirmed", decision.department), ("ticket_overruled", other(decision)), ("ticket_confirmed", decision.department),
    ]


def at_once(deeds: list[Callable[[], object]]) -> list[Conflict]:
    """Do all of it at the same time; what was refused."""
    def tried(deed: Callable[[], object]) -> Conflict | None:
        try:
            deed()
        except Conflict as error:
            return error
        return None

    with ThreadPoolExecutor(len(deeds)) as pool:
        return [error for error in pool.map(tried, deeds) if error is not None]


def test_of_what_many_choose_in_sight_of_the_same_ticket_one_is_stored(console: Engine) -> None:
    decision = routed(console)
    seen, departments = Standing.of(row(console, decision)), [d.name for d in console.taxonomy.departments()][:6]
    choices = [Overrule(ticket_id=decision.ticket_id, department=name, by=name) for name in departments]
    refused = at_once([lambda choice=choice: console.router.overrule(choice, based_on=seen) for choice in choices])
    assert [str(error) for error in refused] == ["Somebody has chosen for it meanwhile. Choose again if that is not right."] * 5
    won = row(console, decision).chosen
    assert [(r.actor, r.after["department"]) for r in console.audit.find(limit=9, words=decision.ticket_id)] == [(won, won)]
    console.router.overrule(replace(choices[0], by="again"), based_on=Standing.of(row(console, decision)))
    assert row(console, decision).chosen == departments[0]
    seen = Standing.of(row(console, decision))
    console.router.overrule(replace(choices[1], by="meanwhile"))
    with pytest.raises(Conflict):
        console.router.overrule(replace(choices[2], by="late"), based_on=seen)
    assert row(console, decision).chosen == departments[1], "a choice that was seen is not replaced by who has not seen the next one"


def test_of_the_labels_that_many_give_in_sight_of_the_same_ticket_one_is_stored(console: Engine) -> None:
    decision = routed(console)
    seen, departments = Standing.of(row(console, decision)), [d.name for d in console.taxonomy.departments()][:6]
    labels = [Outcome(ticket_id=decision.ticket_id, department=name, labelled_by=name) for name in departments]
    refused = at_once([lambda label=label: console.router.review(label, based_on=seen) for label in labels])
    stored = row(console, decision)
    said = f"{stored.reviewed_by} labelled it as {stored.actual_outcome} meanwhile. Save again to replace that label."
    assert [str(error) for error in refused] == [said] * 5
    assert sum(r.total_predictions for r in console.outcomes.accuracy()) == 1
    assert [r.actor for r in console.audit.find(limit=9, words=decision.ticket_id)] == [stored.reviewed_by]
    choose(console, decision, other(decision))
    with pytest.raises(Conflict, match=f"An agent has chosen {other(decision)} for it meanwhile. Save again if Sales is right."):
        console.router.review(Outcome(ticket_id=decision.ticket_id, department="Sales", labelled_by="sue"), based_on=Standing.of(stored))
    assert row(console, decision).actual_outcome == stored.actual_outcome
    seen = Standing.of(row(console, decision))
    choose(console, decision, decision.department)
    with pytest.raises(Conflict, match=f"An agent has chosen {decision.department} for it meanwhile"):
        console.router.review(Outcome(ticket_id=decision.ticket_id, department="Sales", labelled_by="sue"), based_on=seen)
    seen = Standing.of(row(console, decision))
    console.router.review(Outcome(ticket_id=decision.ticket_id, department="Complaints", labelled_by="lee"))
    with pytest.raises(Conflict, match="lee labelled it as Complaints meanwhile"):
        console.router.review(Outcome(ticket_id=decision.ticket_id, department="Sales", labelled_by="sue"), based_on=seen)
