"""Every service in every kind of trouble, while tickets are routed, reviewed and imported and figures are read."""
from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from engine import imports
from engine.breaker import Circuit
from engine.domain import Decision, Method, Spooled, TicketDraft
from engine.errors import ServiceUnavailable
from engine.outcome import Outcome, Reviewed
from engine.timeline import ChartWindow
from tests.faults.conftest import World
from tests.faults.noise import Stalls
from tests.servers.troubles import HTTP, PROXIES, STAND_INS, TCP, break_one, mend_all

DOUBTFUL = "hello, it is about the thing from last time, number {}"
DEADLINE = 8.0
NAMES = {"postgres": "database", "redis": "cache", "pinecone": "index", "gemini": "language_model"}
# A slow answer is one that is late and still in time.
IN_TIME = {"slow"}
# What answers or fails at once is part of every run, what takes its time of the slow one.
QUICK = {"refused", "5xx", "429", "garbage"}
CASES = [
    pytest.param(service, fault, marks=[] if fault in QUICK else pytest.mark.slow)
    for services, faults in ((PROXIES, TCP), (STAND_INS, HTTP)) for service in services for fault in faults
]
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def healed(world: World) -> Iterator[None]:
    """Everything works again before and after each test."""
    yield
    heal(world)


def heal(world: World) -> None:
    """Mend every service and wait until the console has noticed."""
    mend_all(world)
    for name in NAMES.values():
        world.engine.services.probe_now(name)
    until(lambda: route(world) and all(state.circuit is Circuit.CLOSED for state in world.engine.services.states().values()))
    until(lambda: world.engine.spool.empty())


def until(true: Callable[[], object], *, seconds: float = 180.0) -> None:
    """Wait until something is true; the limit only ends a run that would never end."""
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, "it never became true"
        for_a_moment()


def for_a_moment() -> None:
    time.sleep(0.1)


def word(number: int) -> str:
    """A made-up word of its own for each number: digits would be masked as somebody's order number."""
    return "zu" + "".join("bdfgklmnpr"[int(digit)] + "a" for digit in str(number))


def route(world: World, text: str = "") -> Decision | Spooled:
    return world.engine.router.route(TicketDraft(body=text or DOUBTFUL.format(word(next(_numbers)))))


@contextmanager
def in_time() -> Iterator[None]:
    """What somebody waits for ends within the deadline plus a tenth, whatever is broken."""
    with Stalls() as waited:
        yield
    assert waited.within(1.1 * DEADLINE), f"{waited.taken:.1f} s, of which the machine stood still for {waited.seconds:.1f} s"


def answered_before(world: World) -> tuple[str, Decision]:
    """A text whose answer the exact cache holds, and the decision that put it there."""
    # Where the machine stands still for longer than the cache may take, the ticket goes on without it; then another text is taken.
    for _ in range(5):
        text = DOUBTFUL.format(word(next(_numbers)))
        first = route(world, text)
        world.engine.router.settle()
        found = (first.method, route(world, text).method)
        if found == (Method.RAG_LLM, Method.CACHED):
            return text, first
    raise AssertionError(f"the cache keeps no answer: {found}")


def another(world: World, department: str) -> str:
    """A live department that is not this one."""
    return next(one.name for one in world.engine.state.current().departments if one.name != department)


def label(world: World, ticket_id: str, department: str) -> Reviewed:
    return world.engine.router.review(Outcome(ticket_id=ticket_id, department=department, labelled_by="supervisor"))


def table(*words: str) -> bytes:
    """A file with a ticket for each word."""
    return ("body\n" + "\n".join(f'"{DOUBTFUL.format(word)}"' for word in words) + "\n").encode()


def last_hour() -> ChartWindow:
    now = datetime.now(UTC)
    return ChartWindow(now - timedelta(hours=1), now + timedelta(minutes=1))


@pytest.mark.parametrize(("service", "fault"), CASES)
def test_the_outcome_is_the_promised_one_within_the_deadline(world: World, service: str, fault: str) -> None:
    right, (repeated, wrong) = route(world), answered_before(world)
    name = NAMES[service]
    away = fault not in IN_TIME
    lost = service == "postgres" and away
    break_one(world, service, fault)

    with in_time():
        result = route(world)
    if lost:
        assert isinstance(result, Spooled)
        assert result.likely.department in world.engine.state.current().live
        assert world.stored(result.ticket_id) == 0
    else:
        assert isinstance(result, Decision)
        assert (name in result.degraded_by) == away
        assert result.evidence, "neighbours come from the copy in Postgres when the remote index is away"
        assert (result.method is Method.RAG_LLM) == (not (service == "gemini" and away))

    for ticket_id, department, correct in ((right.ticket_id, right.department, True), (wrong.ticket_id, another(world, wrong.department), False)):
        with in_time():
            if lost:
                with pytest.raises(ServiceUnavailable):
                    label(world, ticket_id, department)
            else:
                assert label(world, ticket_id, department).correct == correct

    file = imports.read(table(*(f"in a file {service} {fault} {word}" for word in ("one", "two", "three"))), name="tickets.csv", router=world.engine.router)
    with in_time():
        if lost:
            with pytest.raises(ServiceUnavailable):
                imports.run(file, router=world.engine.router, store=world.engine.decisions)
        else:
            found = imports.run(file, router=world.engine.router, store=world.engine.decisions).decisions
            assert len(found) == 3
            assert {name in decision.degraded_by for decision in found} == {away}
    assert not lost or all(world.stored(ticket.id) == 0 for ticket in file.tickets)

    with in_time():
        if lost:
            with pytest.raises(ServiceUnavailable):
                world.engine.watch.charts.summary(last_hour())
        else:
            assert world.engine.watch.charts.summary(last_hour()).now.n > 0

    heal(world)
    again = route(world)
    assert (again.method, again.degraded_by) == (Method.RAG_LLM, ())
    if lost:
        assert world.stored(result.ticket_id) == 1
        assert len(imports.run(file, router=world.engine.router, store=world.engine.decisions).decisions) == 3
        assert label(world, right.ticket_id, right.department).correct
        assert not label(world, wrong.ticket_id, another(world, wrong.department)).correct
    assert route(world, repeated).method is not Method.CACHED, "no corrected answer returns, whatever was away at its correction"


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["review", "import", "dashboard"])
def test_a_silent_database_keeps_nobody_beyond_the_deadline_who_is_the_first_to_meet_it(world: World, operation: str) -> None:
    before = route(world)
    file = imports.read(table(f"a file {operation} after dark"), name="tickets.csv", router=world.engine.router)
    first: dict[str, Callable[[], object]] = {
        "review": lambda: label(world, before.ticket_id, before.department),
        "import": lambda: imports.run(file, router=world.engine.router, store=world.engine.decisions),
        "dashboard": lambda: world.engine.watch.charts.summary(last_hour()),
    }
    break_one(world, "postgres", "hole")
    with in_time(), pytest.raises(ServiceUnavailable):
        first[operation]()
