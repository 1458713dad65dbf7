"""A console whose configured Postgres is away when it starts: it says so, and goes on by itself when Postgres is there."""
from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from sqlalchemy import create_engine, text
from websockets.exceptions import InvalidStatus

from db.embedded import EmbeddedServers
from engine.access import Role
from engine.domain import Spooled, TicketDraft
from tests import websocket
from tests.serving import Served

HTML = {"Accept": "text/html"}


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedServers]:
    """A Postgres of the test's own, which it may stop and start."""
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    made = EmbeddedServers(tmp_path / "postgres", valkey=False)
    made.start()
    yield made
    made.close()


@pytest.fixture
def console(postgres: EmbeddedServers, servers: EmbeddedServers, tmp_path: Path) -> Iterator[Served]:
    """A console that is not started yet, on a Postgres that has gone away, with one ticket in its spool."""
    made = Served(postgres.postgres_url, f"{servers.redis_url}?db=9", tmp_path / "served", oidc_issuer=None)
    postgres.close()
    kept = made.engine.router.route(TicketDraft(body="where is my parcel, it should have come", ticket_id="L-1", created_by="agent"))
    assert isinstance(kept, Spooled)
    made.engine.close()
    yield made
    made.stop()


def test_it_starts_explains_itself_and_goes_on_when_postgres_is_there(console: Served, postgres: EmbeddedServers) -> None:
    console.launch().until("/healthz", 200)
    assert requests.get(f"{console.url}/readyz", timeout=60).json() == {"status": "not ready", "missing": ["database"]}
    for path in ("/", "/dashboard", "/auth/login", "/auth/password", "/auth/oidc"):
        answer = requests.get(f"{console.url}{path}", headers=HTML, timeout=60, allow_redirects=False)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5"), path
        assert "its database does not answer yet" in answer.text
        assert '<meta http-equiv="refresh" content="5">' in answer.text
        assert "<form" not in answer.text
    assert requests.get(f"{console.url}/auth/style.css", timeout=60).headers["Content-Type"].startswith("text/css")
    assert requests.get(f"{console.url}/static/nothing", timeout=60).status_code != 503
    machine = requests.post(f"{console.url}/api/v1/tickets", json={"body": "x"}, headers={"Authorization": "Bearer one"}, timeout=60)
    assert (machine.status_code, machine.headers["Retry-After"], machine.json()["error"]["kind"]) == (503, "5", "unavailable")
    scrape = requests.get(f"{console.url}/metrics", timeout=60)
    assert (scrape.status_code, scrape.headers["Retry-After"]) == (503, "5")
    with pytest.raises(InvalidStatus) as refused, websocket.opened(console.url, "a-session-from-yesterday"):
        pass
    assert refused.value.response.status_code == 403
    assert console.logged().count("Not ready: database is not available") == 1

    postgres.start()
    console.until("/readyz", 200)
    assert "Sign in" in requests.get(f"{console.url}/auth/login", headers=HTML, timeout=60).text
    http = console.sign_in(Role.AGENT)
    assert http.get(f"{console.url}/", headers=HTML, timeout=30).status_code == 200
    truth = create_engine(postgres.postgres_url)
    limit = time.monotonic() + 60
    with truth.connect() as connection:
        stored = text("select ticket_id, count(*) from routing_history group by 1")
        while not (rows := connection.execute(stored).all()):
            assert time.monotonic() < limit, console.logged()[-2000:]
            time.sleep(0.1)
    truth.dispose()
    assert [tuple(row) for row in rows] == [("L-1", 1)]
    assert "Traceback" not in console.logged()


def test_it_can_be_stopped_while_it_still_waits(console: Served) -> None:
    console.launch().until("/healthz", 200)
    process = console._process
    console.stop()
    # The server ends by the signal itself once everything is closed; one that hangs would have been killed.
    assert process.returncode == -signal.SIGTERM
