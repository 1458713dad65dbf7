"""What nobody may lose: tickets through kill -9, a paused Postgres, a full bulkhead; and an embedder that changes."""
from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, text

from db.embedded import EmbeddedServers
from engine import bootstrap, flights, settings
from engine.domain import Decision, Method, Policy, Spooled, Stage, TicketDraft
from engine.errors import NotAccepted
from engine.outcome import Outcome
from tests.faults.conftest import socket_of, through
from tests.faults.noise import Stalls
from tests.faults.test_matrix import DEADLINE, until
from tests.servers.faulty import Fault
from tests.servers.gemini import GeminiServer
from tests.servers.proxy import FaultyProxy

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
# Doubtful tickets go to the language model, and no busy machine uses up a ticket's time.
UNHURRIED = replace(Policy(), confidence=0.5, stages=frozenset({Stage.EXACT, Stage.RAG_LLM}), audit_rate=0.0, deadline=60.0)
CHILD = """
import sys
from pathlib import Path
from engine import bootstrap, settings
from engine.domain import Spooled, TicketDraft
engine = bootstrap.build(settings.load(database_url=sys.argv[1], redis_url=sys.argv[2], data_dir=Path(sys.argv[3])), log_stream=None)
print("ready", flush=True)
for line in sys.stdin:
    result = engine.router.route(TicketDraft(body=f"where is my parcel, it is late {line}", ticket_id=line.strip()))
    print(type(result).__name__, result.ticket_id, flush=True)
"""


@pytest.fixture
def address(databases, learned: str) -> Iterator[str]:  # noqa: ANN001
    url = databases.make(learned)
    yield url
    databases.drop(url)


def child(url: str, redis_url: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, url, redis_url, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def said(process: subprocess.Popen[str]) -> str:
    return process.stdout.readline().strip()


def test_spooled_tickets_of_two_killed_processes_are_routed_once_by_the_next_one(
    address: str, servers: EmbeddedServers, tmp_path: Path
) -> None:
    with FaultyProxy(socket_of(address)) as proxy:
        url = through(address, proxy)
        processes = [child(url, f"{servers.redis_url}?db=6", tmp_path) for _ in range(2)]
        assert [said(process) for process in processes] == ["ready", "ready"]
        proxy.set("refused")
        ids = []
        for number in range(10):
            process = processes[number % 2]
            process.stdin.write(f"K-{number}\n")
            process.stdin.flush()
            kind, id_ = said(process).split()
            assert kind == "Spooled"
            ids.append(id_)
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdin.close()
            process.stdout.close()
        proxy.set("ok")
        engine = bootstrap.build(
            settings.load(database_url=url, redis_url=f"{servers.redis_url}?db=6", data_dir=tmp_path), log_stream=None
        )
        until(lambda: engine.spool.empty())
        engine.close()
    truth = create_engine(address)
    with truth.connect() as connection:
        rows = connection.execute(text("select ticket_id, count(*) from routing_history group by 1")).all()
    truth.dispose()
    assert dict(rows) == dict.fromkeys(ids, 1)


def test_a_ticket_that_can_be_kept_nowhere_is_not_accepted(address: str, servers: EmbeddedServers, tmp_path: Path) -> None:
    with FaultyProxy(socket_of(address)) as proxy:
        engine = bootstrap.build(
            settings.load(database_url=through(address, proxy), redis_url=f"{servers.redis_url}?db=6", data_dir=tmp_path), log_stream=None
        )
        (tmp_path / "spool").write_text("no folder can be made here")
        proxy.set("refused")
        with pytest.raises(NotAccepted, match="NOT accepted"):
            engine.router.route(TicketDraft(body="where is my parcel, it is very late"))
        engine.close()


@pytest.fixture
def own_servers(tmp_path: Path) -> Iterator[EmbeddedServers]:
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    made = EmbeddedServers(tmp_path / "own").start()
    yield made
    made.close()


def postmaster(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "postgres" / "postmaster.pid").read_text().splitlines()[0]))


def test_a_paused_and_a_killed_postgres_lose_no_ticket(own_servers: EmbeddedServers, tmp_path: Path) -> None:
    engine = bootstrap.build(
        settings.load(database_url=own_servers.postgres_url, redis_url=own_servers.redis_url, data_dir=tmp_path / "data"), log_stream=None
    )
    server = postmaster(tmp_path / "own")
    everyone = [server, *server.children(recursive=True)]
    for process in everyone:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        with Stalls() as waited:
            paused = engine.router.route(TicketDraft(body="the parcel did not come, the tracking says nothing", ticket_id="P-1"))
        assert waited.within(1.1 * DEADLINE)
    finally:
        for process in everyone:
            with suppress(psutil.NoSuchProcess):
                process.resume()
    assert isinstance(paused, Spooled)
    for process in [server, *server.children(recursive=True)]:
        # A backend may end by itself the moment the postmaster is gone.
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(everyone, timeout=10)
    killed = engine.router.route(TicketDraft(body="my invoice shows a wrong address", ticket_id="P-2"))
    assert isinstance(killed, Spooled)
    again = EmbeddedServers(tmp_path / "own", valkey=False).start()
    engine.services.probe_now("database")
    until(lambda: engine.spool.empty())
    assert set(engine.decisions.stored(["P-1", "P-2"])) == {"P-1", "P-2"}
    engine.close()
    again.close()


def test_hanging_language_model_calls_never_hold_up_cached_answers(address: str, servers: EmbeddedServers, tmp_path: Path) -> None:
    with GeminiServer() as gemini:
        engine = bootstrap.build(
            settings.load(
                database_url=address, redis_url=f"{servers.redis_url}?db=6", data_dir=tmp_path, google_api_key="k",
                google_api_endpoint=gemini.url, gemini_at_once=2,
            ),
            log_stream=None, chance=random.Random(1),
        )
        engine.policies.add(UNHURRIED, author="t", reason="t")
        engine.state.refresh()
        cached = TicketDraft(body="where is my parcel, it should have come")
        engine.router.route(cached)
        gemini.fault = Fault("hang", seconds=60)
        threads = [
            threading.Thread(target=engine.router.route, args=(TicketDraft(body=f"something about {word}"),))
            for word in ("apples", "pears", "plums", "cherries", "grapes", "figs")
        ]
        for thread in threads:
            thread.start()
        until(lambda: len(gemini.seen) >= 3)
        for _ in range(50):
            decision = engine.router.route(cached)
            assert (decision.method, decision.degraded_by) == (Method.CACHED, ())
        assert any(thread.is_alive() for thread in threads), "the hanging calls were still hanging"
        assert sum(thread.name == "language_model-call" for thread in threading.enumerate()) <= 2
        gemini.fault = Fault()
        gemini.release()
        for thread in threads:
            thread.join(90)
        engine.close()


def test_identical_tickets_in_flight_on_two_instances_ask_the_language_model_once(
    address: str, servers: EmbeddedServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flights, "LONGEST", 30.0)
    with GeminiServer() as gemini:
        engines = [
            bootstrap.build(
                settings.load(
                    database_url=address, redis_url=f"{servers.redis_url}?db=6", data_dir=tmp_path, google_api_key="k",
                    google_api_endpoint=gemini.url,
                ),
                log_stream=None, chance=random.Random(1),
            )
            for _ in range(2)
        ]
        engines[0].policies.add(UNHURRIED, author="t", reason="t")
        for engine in engines:
            engine.state.refresh()
        gemini.fault = Fault("slow", seconds=0.5)
        results: list[Decision | Spooled] = []
        threads = [
            threading.Thread(target=lambda e=engine: results.append(e.router.route(TicketDraft(body="the very same words at once"))))
            for engine in engines for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(90)
        assert len(results) == 8
        assert len(gemini.seen) == 1
        assert sorted(result.method for result in results) == [Method.CACHED] * 7 + [Method.RAG_LLM]
        for engine in engines:
            engine.close()


def test_a_changed_embedder_takes_over_when_every_vector_is_there_and_resumes_after_a_failure(
    address: str, servers: EmbeddedServers, tmp_path: Path
) -> None:
    taken_over = threading.Event()
    with GeminiServer() as gemini:
        given = settings.load(
            database_url=address, redis_url=f"{servers.redis_url}?db=6", data_dir=tmp_path, google_api_key="k",
            google_api_endpoint=gemini.url, gemini_embedding_model="text-embedding-004",
        )
        gemini.faults.extend([Fault(), Fault(), Fault("status", 500), Fault("status", 400)])
        first = bootstrap.build(given, log_stream=None, renew=taken_over.set)
        assert first.state.current().versions["embedder"].startswith("all-MiniLM")
        assert isinstance(first.router.route(TicketDraft(body="you took the money twice for my october bill")), Decision)
        until(lambda: first.reembedder.progress().done > 0)
        part = first.reembedder.progress()
        assert part.embedder == "gemini/text-embedding-004/768"
        assert taken_over.wait(180)
        assert first.reembedder.progress().done == part.total
        first.close()
        second = bootstrap.build(given, log_stream=None)
        assert second.state.current().versions["embedder"] == "gemini/text-embedding-004/768"
        decision = second.router.route(TicketDraft(body="you took the money twice for my november bill please"))
        assert decision.evidence
        gemini.fault = Fault("status", 403)
        without = second.router.route(TicketDraft(body="i cannot get into my account since this morning"))
        assert "embedder" in without.degraded_by
        assert without.department in second.state.current().live
        second.close()
    truth = create_engine(address)
    with truth.connect() as connection:
        mixed = connection.execute(
            text("select count(*) from exemplar_vectors where vector_dims(embedding) <> case when embedder like 'gemini/%' then 768 else 384 end")
        ).scalar_one()
    truth.dispose()
    assert mixed == 0


def test_a_correction_made_while_the_cache_is_away_holds_when_it_is_back(
    address: str, servers: EmbeddedServers, tmp_path: Path
) -> None:
    with FaultyProxy(Path(servers.redis_url.removeprefix("unix://"))) as proxy:
        engine = bootstrap.build(
            settings.load(database_url=address, redis_url=f"redis://127.0.0.1:{proxy.port}/7", data_dir=tmp_path), log_stream=None,
            chance=random.Random(1),
        )
        draft = TicketDraft(body="you took the money twice for my october bill")
        first = engine.router.route(draft)
        assert engine.router.route(draft).source == f"ticket:{first.ticket_id}"
        proxy.set("refused")
        other = next(name for name in sorted(engine.state.current().live) if name != first.department)
        engine.router.review(Outcome(ticket_id=first.ticket_id, department=other, labelled_by="supervisor"))
        proxy.set("ok")
        engine.services.probe_now("cache")
        after = engine.router.route(draft)
        assert not after.source.startswith("ticket:")
        assert after.department == other
        engine.close()
