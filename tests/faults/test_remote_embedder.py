"""Gemini embeddings in every kind of trouble: the words of a ticket decide, within the deadline, and the vectors follow."""
from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from db.embedded import EmbeddedServers
from engine import bootstrap, imports, settings
from engine.bootstrap import Engine
from engine.breaker import Circuit
from engine.domain import Decision, Policy, Stage, TicketDraft
from engine.outcome import Outcome
from tests.faults.test_matrix import IN_TIME, QUICK, in_time, last_hour, table, until, word
from tests.servers.faulty import Fault
from tests.servers.gemini import GeminiServer
from tests.servers.troubles import HTTP

PLAIN = "you took the money twice for my bill {}"
CASES = [pytest.param(fault, marks=[] if fault in QUICK else pytest.mark.slow) for fault in HTTP]
_numbers = iter(range(20_000, 99_999))


@pytest.fixture(scope="module")
def gemini() -> Iterator[GeminiServer]:
    with GeminiServer() as server:
        yield server


@pytest.fixture(scope="module")
def engine(
    gemini: GeminiServer, servers: EmbeddedServers, databases, learned: str, tmp_path_factory: pytest.TempPathFactory  # noqa: ANN001
) -> Iterator[Engine]:
    """An engine that has changed over to the remote embedder, and that asks Gemini for nothing else."""
    url = databases.make(learned)
    given = settings.load(
        database_url=url, redis_url=f"{servers.redis_url}?db=9", data_dir=tmp_path_factory.mktemp("data"), google_api_key="key",
        google_api_endpoint=gemini.url, gemini_embedding_model="text-embedding-004",
    )
    complete = threading.Event()
    first = bootstrap.build(given, log_stream=None, renew=complete.set)
    stages = frozenset({Stage.SEMANTIC, Stage.LEARNED})
    first.policies.add(replace(Policy(), stages=stages, audit_rate=0.0), author="test", reason="no language model")
    assert complete.wait(180)
    first.close()
    made = bootstrap.build(given, log_stream=None, chance=random.Random(1))
    assert made.state.current().versions["embedder"].startswith("gemini/")
    yield made
    made.close()
    databases.drop(url)


def route(engine: Engine) -> Decision:
    return engine.router.route(TicketDraft(body=PLAIN.format(word(next(_numbers)))))


def heal(engine: Engine, gemini: GeminiServer) -> None:
    """Mend the service and wait until the console has noticed and every vector is there."""
    gemini.listen()
    gemini.fault = Fault()
    gemini.release()
    engine.services.probe_now("embedder")
    until(lambda: route(engine).degraded_by == () and engine.services.states()["embedder"].circuit is Circuit.CLOSED)
    until(lambda: engine.reembedder.run() == 0 and not engine.exemplars.missing(limit=1))


@pytest.fixture(autouse=True)
def healed(engine: Engine, gemini: GeminiServer) -> Iterator[None]:
    yield
    heal(engine, gemini)


@pytest.mark.parametrize("fault", CASES)
def test_without_the_embedder_the_words_decide_within_the_deadline_and_labels_get_their_vectors_later(
    engine: Engine, gemini: GeminiServer, fault: str
) -> None:
    right, wrong = route(engine), route(engine)
    other = next(one.name for one in engine.state.current().departments if one.name != wrong.department)
    away = fault not in IN_TIME
    if HTTP[fault] is None:
        gemini.stop_listening()
    else:
        gemini.fault = HTTP[fault]

    with in_time():
        result = route(engine)
    assert isinstance(result, Decision)
    assert result.degraded_by == (("embedder",) if away else ())
    assert bool(result.evidence) != away, "without a vector there are no neighbours"
    assert result.department in engine.state.current().live

    for decision, department in ((right, right.department), (wrong, other)):
        with in_time():
            reviewed = engine.router.review(Outcome(ticket_id=decision.ticket_id, department=department, labelled_by="supervisor"))
        assert (reviewed.correct, reviewed.late) == (department == decision.department, "embedder" if away else "")

    file = imports.read(table(*(f"a bill {fault} {word}" for word in ("one", "two", "three"))), name="tickets.csv", router=engine.router)
    with in_time():
        found = imports.run(file, router=engine.router, store=engine.decisions).decisions
    assert [decision.degraded_by for decision in found] == [result.degraded_by] * 3

    with in_time():
        assert engine.watch.charts.summary(last_hour()).now.n > 0

    heal(engine, gemini)
    again = route(engine)
    assert again.degraded_by == () and again.evidence


@pytest.mark.parametrize("dimensions", [3, 384])
def test_vectors_of_another_length_are_no_vectors(engine: Engine, gemini: GeminiServer, dimensions: int) -> None:
    gemini.dimensions = dimensions
    try:
        result = route(engine)
    finally:
        gemini.dimensions = 768
    assert result.degraded_by == ("embedder",)
    assert f"(1, {dimensions})" in engine.services.states()["embedder"].last_error
