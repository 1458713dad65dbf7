"""A changed embedder takes over in a running process: no ticket is lost, no vector compared with another embedder's."""
from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from db.embedded import EmbeddedServers
from engine import bootstrap, settings
from engine import process as own
from engine.bootstrap import Engine
from engine.domain import Decision, TicketDraft
from engine.outcome import Outcome
from engine.running import Running
from tests.faults.conftest import socket_of, through
from tests.faults.test_matrix import until, word
from tests.servers.faulty import Fault
from tests.servers.gemini import GeminiServer
from tests.servers.proxy import FaultyProxy

pytestmark = pytest.mark.slow
REMOTE = "gemini/text-embedding-004/768"


@pytest.fixture
def address(databases, learned: str) -> Iterator[str]:  # noqa: ANN001
    url = databases.make(learned)
    yield url
    databases.drop(url)


@pytest.fixture
def gemini() -> Iterator[GeminiServer]:
    with GeminiServer() as server:
        yield server


@pytest.fixture
def process(address: str, servers: EmbeddedServers, gemini: GeminiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # noqa: ANN201
    """The process's own engine holder, set up by the environment as in production, with Postgres behind a proxy."""
    with FaultyProxy(socket_of(address)) as proxy:
        environment = {
            "DATABASE_URL": through(address, proxy), "REDIS_URL": f"{servers.redis_url}?db=8", "DATA_DIR": str(tmp_path),
            "GOOGLE_API_KEY": "k", "GOOGLE_API_ENDPOINT": gemini.url, "GEMINI_EMBEDDING_MODEL": "text-embedding-004",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        quiet = Running(lambda renew: bootstrap.build(settings.load(), renew=renew, log_stream=None), say=lambda _: None, last_callers=5.0)
        monkeypatch.setattr(own, "_running", quiet)
        yield proxy
        own.stop()


def used() -> str:
    return own.running().state.current().versions["embedder"]


def threads_of(engine: Engine) -> list[threading.Thread]:
    return [worker._background._thread for worker in (engine.reembedder, engine.drainer)]


def mixed(address: str) -> int:
    """Vectors whose length is not that of their embedder."""
    truth = create_engine(address)
    with truth.connect() as connection:
        count = connection.execute(text(
            "select count(*) from exemplar_vectors where vector_dims(embedding) <> case when embedder like 'gemini/%' then 768 else 384 end"
        )).scalar_one()
    truth.dispose()
    return count


def test_tickets_and_labels_go_on_while_the_new_embedder_takes_over(
    process: FaultyProxy, address: str, gemini: GeminiServer
) -> None:
    gemini.fault = Fault("status", 503)
    old = own.running()
    assert used().startswith("all-MiniLM")
    over, failures, routed = threading.Event(), [], []

    def work(name: int) -> None:
        number = 0
        while not over.is_set():
            number += 1
            try:
                engine = own.running()
                decision = engine.router.route(TicketDraft(body=f"where is my parcel {word(1000 * name + number)}", ticket_id=f"C-{name}-{number}"))
                assert isinstance(decision, Decision)
                if number % 4 == 0:
                    engine.router.review(Outcome(ticket_id=decision.ticket_id, department=decision.department, labelled_by="supervisor"))
                routed.append(decision)
                over.wait(0.05)
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody may see it
                failures.append(error)
                return

    workers = [threading.Thread(target=work, args=(name,)) for name in range(2)]
    for worker in workers:
        worker.start()
    until(lambda: len(routed) >= 10 or failures)
    gemini.fault = Fault()
    until(lambda: used() == REMOTE or failures)
    until(lambda: sum(d.versions["embedder"] == REMOTE for d in routed) >= 10 or failures)
    over.set()
    for worker in workers:
        worker.join(30)
    assert not failures
    assert own.running() is not old
    assert {decision.versions["embedder"] for decision in routed} >= {REMOTE}
    until(lambda: not any(thread.is_alive() for thread in threads_of(old)))
    truth = create_engine(address)
    with truth.connect() as connection:
        stored = connection.execute(text("select ticket_id, count(*) from routing_history group by 1")).all()
    truth.dispose()
    assert dict(stored) == dict.fromkeys((decision.ticket_id for decision in routed), 1)
    assert mixed(address) == 0
    until(lambda: not own.running().exemplars.missing(limit=1))
    own.stop()
    assert used() == REMOTE, "after a restart the new embedder answers from the first ticket on"


def test_a_changeover_that_postgres_interrupts_is_done_when_postgres_is_back(process: FaultyProxy, address: str, gemini: GeminiServer) -> None:
    gemini.fault = Fault("hang", seconds=60)
    old = own.running()
    real, tried = old.reembedder._ready, threading.Event()

    def interrupted() -> None:
        if not tried.is_set():
            process.set("refused")
            tried.set()
        real()

    old.reembedder._ready = interrupted
    gemini.fault = Fault()
    gemini.release()
    assert tried.wait(180)
    assert own.running() is old
    process.set("ok")
    old.services.probe_now("database")
    until(lambda: used() == REMOTE)
    assert isinstance(own.running().router.route(TicketDraft(body="where is my parcel, it should have come")), Decision)
    assert mixed(address) == 0
