"""A worker process fits and embeds for consoles that leave that to it, and people are told when none is there."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from engine import preparing, refit
from engine.alert_rules import SHIPPED, Measure
from engine.bootstrap import Engine
from engine.settings import Settings
from tests.contract.test_index import wait_until
from tests.integration.test_learning import teach
from tests.integration.test_watching import gauge, read, task
from tests.overheard import Overheard
from tests.servers.gemini import GeminiServer
from tests.servers.ports import free_port
from tests.serving import ROOT

LEFT = {"background_work": "worker"}


@pytest.fixture
def started(console_settings: Settings, tmp_path: Path, overheard: Overheard) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts worker processes on the test's database, whose words go to `worker.log`; what still runs at the end is killed."""
    made: list[subprocess.Popen[bytes]] = []

    def one(**more: str) -> subprocess.Popen[bytes]:
        given = {
            "DATABASE_URL": console_settings.database_url.get_secret_value(), "REDIS_URL": console_settings.redis_url.get_secret_value(),
            "DATA_DIR": str(tmp_path / "worker"), "BACKGROUND_WORK": "worker", **more,
        }
        clean = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR", "OMP_NUM_THREADS")}
        with open(tmp_path / "worker.log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "engine", "worker"], cwd=ROOT, env={**clean, **given}, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        made.append(process)
        return process

    yield one
    for process in made:
        process.kill()
        process.wait()
    overheard.stream("workers").write((tmp_path / "worker.log").read_text())


def test_a_console_that_leaves_its_work_to_a_worker_never_fits_and_gets_the_workers_model(
    build: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refit, "FEWEST_NEW", 3)
    monkeypatch.setattr(refit, "NEW_SHARE", 0.0)
    monkeypatch.setattr(preparing, "REFIT_EVERY", 0.2)
    console = build(LEFT)
    before = console.state.current().model.number
    teach(console, 3)
    wait_until(lambda: console.state.current().versions["model"] == f"{before}+3")
    # Many times what a console that does the work itself would wait.
    time.sleep(2.0)
    assert console.state.current().model.number == before
    build(LEFT, worker=True)
    wait_until(lambda: console.state.current().model.number > before)


def test_a_console_does_the_work_itself_unless_it_is_told_otherwise(build: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refit, "FEWEST_NEW", 3)
    monkeypatch.setattr(refit, "NEW_SHARE", 0.0)
    monkeypatch.setattr(preparing, "REFIT_EVERY", 0.2)
    console = build()
    before = console.state.current().model.number
    teach(console, 3)
    wait_until(lambda: console.state.current().model.number > before)


def test_a_console_changes_to_another_embedder_when_a_worker_has_made_its_vectors(build: Callable[..., Engine]) -> None:
    with GeminiServer() as gemini:
        remote = {"google_api_key": SecretStr("k"), "google_api_endpoint": gemini.url, "gemini_embedding_model": "text-embedding-004"}
        renewed: list[str] = []
        console = build({**LEFT, **remote}, renew=lambda: renewed.append("console"))
        time.sleep(1.0)
        assert console.reembedder.progress().done == 0, "a console that did it itself would have begun at once"
        worker = build({**LEFT, **remote}, worker=True, renew=lambda: renewed.append("worker"))
        wait_until(lambda: sorted(renewed) == ["console", "worker"])
        assert console.reembedder.progress().done == worker.reembedder.progress().total > 0
        after = build({**LEFT, **remote})
        assert after.state.current().versions["embedder"] == "gemini/text-embedding-004/768"
        # Nothing is followed that is there.
        time.sleep(0.5)
        assert sorted(renewed) == ["console", "worker"]


def test_who_waits_for_a_worker_is_told_while_there_is_none(
    build: Callable[..., Engine], started: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    console = build(LEFT)
    task(console, "report")()
    task(console, "gauges")()
    row = console.health.test("worker")
    assert (row.ok, row.needed) == (False, False) and "fitted anew" in row.consequence and "python -m engine worker" in row.consequence
    assert read(console, Measure.WITHOUT_WORKER) == [(1, 1)]
    assert gauge(console, "routing_consoles_without_worker") == 1
    assert console.health.ready() and console.health.left_alone() == [], "tickets are routed as ever"
    process = started()
    wait_until(lambda: console.health.test("worker").ok)
    task(console, "gauges")()
    assert str(process.pid) in console.health.test("worker").detail
    assert read(console, Measure.WITHOUT_WORKER) == [(0, 1)]
    assert gauge(console, "routing_consoles_without_worker") == 0
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert "The worker is ready" in (tmp_path / "worker.log").read_text()
    assert not console.health.test("worker").ok, "one that stops says so at once"


def test_a_worker_counts_for_no_consoles_availability(build: Callable[..., Engine]) -> None:
    worker = build(LEFT, worker=True)
    wait_until(lambda: worker.watch.instances() != [])
    assert [(one.worker, one.needs_worker) for one in worker.watch.instances()] == [(True, False)]
    assert read(worker, Measure.AVAILABILITY) == []
    console = build(working=False)
    task(console, "report")()
    assert read(console, Measure.AVAILABILITY) == [(1.0, 1)]


def test_a_console_that_needs_no_worker_has_no_row_for_one(console: Engine) -> None:
    assert "worker" not in console.health.services
    task(console, "report")()
    assert read(console, Measure.WITHOUT_WORKER) == [(0, 1)]


def test_a_worker_waits_for_a_database_that_is_away_and_can_be_stopped_meanwhile(
    started: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    process = started(DATABASE_URL=f"postgresql://console@127.0.0.1:{free_port()}/console")
    wait_until(lambda: "The worker tries again until it can start" in (tmp_path / "worker.log").read_text())
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert "Traceback" not in (tmp_path / "worker.log").read_text()


def test_a_worker_refuses_wrong_settings_in_one_line(started: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> None:
    assert started(BACKGROUND_WORK="sometimes").wait(30) == 2
    said = (tmp_path / "worker.log").read_text()
    assert said.startswith("error: BACKGROUND_WORK") and said.count("\n") == 1


def test_the_alert_says_what_to_start() -> None:
    rule = next(rule for rule in SHIPPED if rule.measure is Measure.WITHOUT_WORKER)
    assert "python -m engine worker" in rule.note and rule.hold.total_seconds() == 300
