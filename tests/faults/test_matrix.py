"""Every service in every kind of trouble, while tickets are routed, reviewed and imported and figures are read."""
from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from engine import imports
from engine.breaker import Circuit
from engine.domain import Decision, Method, Outcome, Spooled, TicketDraft
from engine.errors import ServiceUnavailable
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


def until(true: Callable[[], object], *, seconds: float = 30.0) -> None:
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


def route(world: World) -> Decision | Spooled:
    return world.engine.router.route(TicketDraft(body=DOUBTFUL.format(word(next(_numbers)))))


@pytest.mark.parametrize(("service", "fault"), CASES)
def test_the_outcome_is_the_promised_one_within_the_deadline(world: World, service: str, fault: str) -> None:
    reviewed = [route(world) for _ in range(2)]
    name = NAMES[service]
    break_one(world, service, fault)
    away = fault not in IN_TIME

    with Stalls() as waited:
        result = route(world)
    assert waited.within(1.1 * DEADLINE)
    if service == "postgres" and away:
        assert isinstance(result, Spooled)
        assert result.likely.department in world.engine.state.current().live
        assert world.stored(result.ticket_id) == 0
    else:
        assert isinstance(result, Decision)
        assert (name in result.degraded_by) == away
        assert result.evidence, "neighbours come from the copy in Postgres when the remote index is away"
        assert (result.method is Method.RAG_LLM) == (not (service == "gemini" and away))

    outcomes = [Outcome(ticket_id=r.ticket_id, department=r.department, labelled_by="supervisor") for r in reviewed]
    if service == "postgres" and away:
        with pytest.raises(ServiceUnavailable):
            world.engine.router.review(outcomes[0])
    else:
        assert world.engine.router.review(outcomes[0]).correct

    lines = [DOUBTFUL.format(f"in a file {service} {fault} {word}") for word in ("one", "two", "three")]
    content = "body\n" + "\n".join(f'"{line}"' for line in lines) + "\n"
    file = imports.read(content.encode(), name="tickets.csv", router=world.engine.router)
    if service == "postgres" and away:
        with pytest.raises(ServiceUnavailable):
            imports.run(file, router=world.engine.router, store=world.engine.decisions)
        assert all(world.stored(ticket.id) == 0 for ticket in file.tickets)
    else:
        assert len(imports.run(file, router=world.engine.router, store=world.engine.decisions).decisions) == 3

    now = datetime.now(UTC)
    window = ChartWindow(now - timedelta(hours=1), now + timedelta(minutes=1))
    with Stalls() as waited:
        if service == "postgres" and away:
            with pytest.raises(ServiceUnavailable):
                world.engine.watch.charts.totals(window)
        else:
            assert world.engine.watch.charts.totals(window).n > 0
    assert waited.within(1.1 * DEADLINE)

    heal(world)
    again = route(world)
    assert (again.method, again.degraded_by) == (Method.RAG_LLM, ())
    if service == "postgres" and away:
        assert world.stored(result.ticket_id) == 1
        assert len(imports.run(file, router=world.engine.router, store=world.engine.decisions).decisions) == 3
        assert world.engine.router.review(outcomes[1]).correct
