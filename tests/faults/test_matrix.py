"""Every service in every kind of trouble, while tickets are routed, reviewed and imported and figures are read."""
from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from engine import imports
from engine.breaker import Circuit
from engine.domain import Decision, Method, Outcome, Spooled, TicketDraft
from engine.errors import ServiceUnavailable
from engine.timeline import ChartWindow
from tests.faults.conftest import World
from tests.servers.faulty import Fault

pytestmark = pytest.mark.slow

DOUBTFUL = "hello, it is about the thing from last time, number {}"
DEADLINE = 8.0
NAMES = {"postgres": "database", "redis": "cache", "pinecone": "index", "gemini": "language_model"}
# A slow answer is one that is late and still in time.
IN_TIME = {"slow"}
HTTP = {
    "refused": None, "hole": Fault("hang", seconds=30), "slow": Fault("slow", seconds=0.3), "5xx": Fault("status", 503),
    "429": Fault("status", 429), "garbage": Fault("garbage"), "cut": Fault("cut"), "half": Fault("half"),
}
TCP = {"refused": "refused", "hole": "hole", "slow": "slow", "garbage": "garbage", "cut": "cut"}
CASES = [(s, f) for s in ("postgres", "redis") for f in TCP] + [(s, f) for s in ("pinecone", "gemini") for f in HTTP]
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def healed(world: World):  # noqa: ANN201
    yield
    world.postgres.set("ok")
    world.redis.set("ok")
    for server in (world.pinecone, world.gemini):
        server.listen()
        server.fault = Fault()
        server.release()
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


def break_it(world: World, service: str, fault: str) -> None:
    if service in {"postgres", "redis"}:
        getattr(world, service).set(TCP[fault])
    elif fault == "refused":
        getattr(world, service).stop_listening()
    else:
        getattr(world, service).fault = HTTP[fault]


def word(number: int) -> str:
    """A made-up word of its own for each number: digits would be masked as somebody's order number."""
    return "zu" + "".join("bdfgklmnpr"[int(digit)] + "a" for digit in str(number))


def route(world: World) -> Decision | Spooled:
    return world.engine.router.route(TicketDraft(body=DOUBTFUL.format(word(next(_numbers)))))


@pytest.mark.parametrize(("service", "fault"), CASES)
def test_the_outcome_is_the_promised_one_within_the_deadline(world: World, service: str, fault: str) -> None:
    reviewed = [route(world) for _ in range(2)]
    name = NAMES[service]
    break_it(world, service, fault)
    away = fault not in IN_TIME

    started = time.monotonic()
    result = route(world)
    assert time.monotonic() - started <= 1.1 * DEADLINE
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
    started = time.monotonic()
    if service == "postgres" and away:
        with pytest.raises(ServiceUnavailable):
            world.engine.watch.charts.totals(window)
    else:
        assert world.engine.watch.charts.totals(window).n > 0
    assert time.monotonic() - started <= 1.1 * DEADLINE

    if service == "postgres" and away:
        world.postgres.set("ok")
        world.engine.services.probe_now("database")
        until(lambda: world.engine.spool.empty())
        assert world.stored(result.ticket_id) == 1
        assert len(imports.run(file, router=world.engine.router, store=world.engine.decisions).decisions) == 3
        assert world.engine.router.review(outcomes[1]).correct
