"""When answers are kept for identical tickets, and when they are given: neither against the policy nor against what is known to be wrong."""
from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import pytest

from engine import policy as policies
from engine.bootstrap import Engine
from engine.domain import Candidate, Decision, Method, Stage, TicketDraft
from engine.errors import ServiceUnavailable
from engine.fingerprint import fingerprint
from engine.outcome import Outcome
from engine.ports import CachedRoute, Claim
from engine.resilience import Deadline

BILL = "you took the money twice for my october bill"


@pytest.fixture
def console(idle: Engine) -> Engine:
    return idle


def routed(console: Engine) -> Decision:
    """The decision for the bill, once it is in the cache, if it is kept."""
    decision = console.router.route(TicketDraft(body=BILL))
    console.router.settle()
    return decision


def repeats(decision: Decision) -> bool:
    return decision.source.startswith("ticket:")


def held(console: Engine) -> Claim:
    """What the next identical ticket finds."""
    return console.router._exact._cache.claim(fingerprint(BILL), console.state.current().epoch)


def away(service: str, *_: object, **__: object) -> None:
    raise ServiceUnavailable(service, "went away")


def test_a_policy_without_the_exact_stage_neither_keeps_nor_gives_answers(console: Engine) -> None:
    names = [department.name for department in console.taxonomy.departments()]
    stages = frozenset(console.policies.live().stages) - {Stage.EXACT}
    policies.save(replace(console.policies.live(), stages=stages), console.policies, departments=names, author="m", reason="no repeats")
    assert console.state.refresh()
    assert not repeats(routed(console))
    assert held(console) == Claim(), "nothing is kept, and nobody waits for anybody"
    route = CachedRoute("T-1", "Complaints", "", 0.97, 0.95, "learned", (Candidate("Complaints", 0.95),), ())
    console.router._exact._cache.put({fingerprint(BILL): route}, console.state.current().epoch)
    assert not repeats(routed(console))
    [batched] = console.router.route_tickets([console.router.admit(TicketDraft(body=BILL))])
    assert not repeats(batched)


def test_an_answer_that_a_service_is_missing_from_is_not_repeated_when_it_is_back(console: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(console.router._embedder, "embed", partial(away, "embedder"))
        first = routed(console)
    assert first.degraded_by == ("embedder",) and first.method is not Method.FALLBACK
    assert held(console) == Claim(), "nobody waits for it"
    assert not repeats(routed(console)) and repeats(routed(console))


def test_a_label_given_while_the_cache_is_away_leaves_every_earlier_answer_behind(console: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be removed, and would be there when the cache is back."""
    first, epoch = routed(console), console.state.current().epoch
    assert repeats(routed(console))
    with monkeypatch.context() as patch:
        for call in ("get", "remove"):
            patch.setattr(console.router._exact._cache, call, partial(away, "cache"))
        console.router.review(Outcome(ticket_id=first.ticket_id, department="Complaints", labelled_by="sue"), learn=False)
    assert console.state.current().epoch != epoch
    assert not repeats(routed(console))


def test_an_answer_is_gone_from_the_cache_before_a_label_that_contradicts_it_is_stored(
    console: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, seen = routed(console), []
    assert held(console).route is not None
    remove, store = console.router._exact._cache.remove, console.router._outcomes.label

    def slowly(print_: str) -> None:
        time.sleep(0.3)
        remove(print_)

    def label(*arguments: object, **more: object) -> object:
        seen.append(held(console).route)
        return store(*arguments, **more)

    monkeypatch.setattr(console.router._exact._cache, "remove", slowly)
    monkeypatch.setattr(console.router._outcomes, "label", label)
    console.router.review(Outcome(ticket_id=first.ticket_id, department="Complaints", labelled_by="sue"), learn=False)
    assert seen == [None]


def test_a_ticket_that_cannot_be_stored_keeps_nobody_waiting_for_its_answer(console: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(console.router, "_decide", broken)
        with pytest.raises(ZeroDivisionError):
            console.router.route(TicketDraft(body=BILL))
    console.router.settle()
    assert held(console) == Claim()
    boarding = console.router._exact._flights.board(fingerprint(BILL), console.state.current().epoch, deadline=Deadline.after(8.0, stopwatch=time.monotonic))
    assert boarding.leads
    console.router._exact._flights.leave(boarding, kept=False)


def broken(*_: object, **__: object) -> None:
    raise ZeroDivisionError
