"""Stops before a console or a worker has started: they end what is under way, without a traceback, and stop its servers."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from db import migrate
from db.embedded import EmbeddedServers
from db.session import connect
from tests.contract.test_index import wait_until
from tests.integration.test_embedded import folder, running  # noqa: F401 - a fixture
from tests.servers.ports import free_port
from tests.serving import ROOT, START_SECONDS


def stopped(folder: Path, command: str, sent: signal.Signals, *, when: str, times: int = 1) -> tuple[int, str]:  # noqa: F811 - the fixture's value
    """The exit code and the words of a command that is sent a signal `when` it loads its modules, makes the database's folder, or learns for
    the first time.
    """
    log = folder.with_name("log")
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "DATA_DIR": str(folder), "PORT": str(free_port())}
    with open(log, "wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "engine", command], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=written, stderr=written,
            # A test run that was started in the background without job control hands down that the signal is ignored.
            preexec_fn=lambda: signal.signal(sent, signal.SIG_DFL),
        )
    reached = {
        "loading": lambda: "The console will be at" in log.read_text(),
        "making the folder": (folder / "postgres" / "PG_VERSION").exists,
        "learning": (folder / "valkey" / "valkey.sock").exists,
    }[when]
    try:
        wait_until(lambda: process.poll() is not None or reached(), seconds=START_SECONDS)
        assert process.poll() is None, log.read_text()
        for _ in range(times):
            process.send_signal(sent)
            # The first has been taken by then, and what it closes takes longer.
            time.sleep(0.1)
        return process.wait(START_SECONDS), log.read_text()
    finally:
        process.kill()
        process.wait()


def exemplars(folder: Path) -> int:  # noqa: F811
    servers = EmbeddedServers(folder).start()
    database = connect(servers.postgres_url)
    try:
        # The stop may have come before the tables.
        migrate.upgrade(database)
        with database.connect() as connection:
            return connection.execute(text("select count(*) from exemplars")).scalar_one()
    finally:
        database.dispose()
        servers.close()


@pytest.mark.parametrize(("sent", "when"), [(signal.SIGINT, "loading"), (signal.SIGINT, "learning"), (signal.SIGTERM, "learning")])
def test_a_console_that_is_stopped_while_it_starts_ends_quietly_without_having_learned(
    folder: Path, sent: signal.Signals, when: str,  # noqa: F811
) -> None:
    code, said = stopped(folder, "serve", sent, when=when)
    assert (code, running(folder)) == (-sent, [])
    assert said.startswith("The console will be at") and said.count("\n") == 1
    assert exemplars(folder) == 0


@pytest.mark.parametrize(("when", "times"), [("making the folder", 1), ("learning", 1), ("learning", 2)])
def test_a_worker_that_is_stopped_while_it_starts_ends_without_having_learned(folder: Path, when: str, times: int) -> None:  # noqa: F811
    assert stopped(folder, "worker", signal.SIGTERM, when=when, times=times) == (0, "")
    assert running(folder) == []
    assert exemplars(folder) == 0


def test_a_console_that_is_stopped_while_it_makes_the_databases_folder_leaves_one_that_can_be_used(folder: Path) -> None:  # noqa: F811
    assert stopped(folder, "serve", signal.SIGTERM, when="making the folder") == (1, "stopped\n")
    assert running(folder) == []
    assert exemplars(folder) == 0


def test_a_stop_in_the_moment_in_which_the_first_admin_is_stored_still_has_the_password_printed() -> None:
    script = """
import signal
from types import SimpleNamespace
from engine import process
from engine.web import console

def stored(**_):
    signal.raise_signal(signal.SIGTERM)
    return "one-time"

engine = SimpleNamespace(settings=SimpleNamespace(admin_user=None, admin_password=None), accounts=SimpleNamespace(add_first_admin=stored))
process.start = lambda then: then(engine)
console._start()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=START_SECONDS, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "First start: sign in as admin with the one-time password one-time\n")
