"""Starts that are not meant: a script of the console's own by Streamlit, another Python, a place where nothing can listen, a torn `.env`."""
from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from engine import backends, bootstrap
from engine.access import Role
from engine.domain import TicketDraft
from engine.settings import Settings
from engine.web.gate import COOKIE
from tests import websocket
from tests.servers.ports import free_port
from tests.serving import ROOT, Served

TOLD = "Start the console with `make run` or `python -m engine serve`."


def ended(*command: str, folder: Path = ROOT, **more: str) -> subprocess.CompletedProcess[str]:
    """A command that must end by itself."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **more}
    return subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@contextmanager
def started(script: str, served: Served, *, host: str = "127.0.0.1", **more: str) -> Iterator[tuple[str, Path]]:
    """`streamlit run SCRIPT`, or the command `serve`, on the database of a console: its address and what it writes."""
    port, log = free_port(), served.folder / f"{Path(script).stem}.log"
    environment = {
        "PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "DATA_DIR": str(served.folder / "other"),
        "DATABASE_URL": served.settings.database_url.get_secret_value(), "REDIS_URL": served.settings.redis_url.get_secret_value(), **more,
    }
    if script == "serve":
        command, environment = [sys.executable, "-m", "engine", "serve"], environment | {"PORT": str(port), "HOST": host}
    else:
        command = [sys.executable, "-m", "streamlit", "run", script, "--server.port", str(port)]
    with open(log, "wb") as written:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=written, stderr=written, stdin=subprocess.DEVNULL)
    try:
        limit = time.monotonic() + 120
        while True:
            try:
                if requests.get(f"http://{host}:{port}/_stcore/health", timeout=5).status_code == 200:
                    break
            except requests.RequestException:
                pass
            assert process.poll() is None and time.monotonic() < limit, log.read_text()[-2000:]
            time.sleep(0.1)
        yield f"http://{host}:{port}", log
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.parametrize("script", ["pages/parts/frame.py", "pages/review.py", "pages/dashboard.py", "pages/users.py"])
def test_a_page_that_is_started_by_itself_shows_nothing_even_to_whoever_sends_a_sessions_headers(served: Served, script: str) -> None:
    served.engine.router.route(TicketDraft(body="my cupboard came with a broken hinge"))
    key = served.engine.sessions.key_of(served.sign_in(Role.ADMIN).cookies[COOKIE])
    with started(script, served) as (url, log):
        with websocket.opened(url, X_Console_User="admin", X_Console_Role="admin", X_Console_Sid=key) as visit:
            for page in ("", "review", "dashboard", "users"):
                found = websocket.run(visit, page=page)
                assert (found.headings, found.pages) == ([], {}), page
                [error, told] = found.texts
                assert "without the console\\'s sign-in in front of it" in error and TOLD in told
        assert "Traceback" not in log.read_text()


def test_streamlit_run_keeps_every_page_behind_the_gate_and_says_which_settings_it_does_not_read(served: Served) -> None:
    with started("app.py", served, PORT="9000", HOST="0.0.0.0") as (url, log):
        for page in ("", "review", "dashboard", "users", "audit"):
            answer = requests.get(f"{url}/{page}", headers={"Accept": "text/html"}, allow_redirects=False, timeout=30)
            assert (answer.status_code, answer.headers["location"].startswith("/auth/login")) == (303, True)
        lines = [line for line in log.read_text().splitlines() if "not applied" in line]
        assert lines == ["PORT and HOST not applied: Streamlit was started directly. Start the console with `python -m engine serve`."]


def test_serve_says_where_it_really_is(served: Served) -> None:
    with started("serve", served, host="127.0.0.2") as (url, log):
        lines = log.read_text().splitlines()
        assert f"The console will be at {url} (Ctrl-C stops it)" in lines
        assert not [line for line in lines if "not applied" in line]


def test_the_apps_file_alone_starts_nothing_and_says_what_does() -> None:
    done = ended("app.py")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: nothing is started by this file alone. {TOLD}\n"


@pytest.mark.parametrize("command", [("-m", "engine", "health"), ("app.py",)])
def test_a_python_without_the_consoles_packages_is_one_line(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['threadpoolctl'] = None\n")
    done = ended(*command, PYTHONPATH=str(tmp_path))
    assert done.returncode in (1, 2) and done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: {sys.executable} has no package threadpoolctl.") and "`make run`" in line


def test_a_place_where_nothing_can_listen_is_one_line_before_anything_is_started(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for given, said in (
            ({"PORT": port}, "Address already in use"), ({"PORT": port, "HOST": "no such host"}, "Name or service not known"),
            ({"PORT": port, "HOST": "192.0.2.1"}, "Cannot assign requested address"), ({"PORT": port, "HOST": "[::1]"}, ""),
            ({"PORT": port, "HOST": "x" * 300}, ""),
        ):
            done = ended("-m", "engine", "serve", DATA_DIR=str(tmp_path / "data"), **given)
            assert (done.returncode, done.stdout) == (2, ""), done.stderr
            [line] = done.stderr.splitlines()
            assert line.startswith("error: PORT and HOST: the console cannot listen on") and said in line
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PORT=9000\nADMIN_USER=gr\xfcn\n", ".env is not text in UTF-8"), ("PORT=9000\n".encode("utf-16"), ".env is not text in UTF-8"),
        (b"HOST=127.0.0.1\nPORT 9000\n", ".env line 2: is not NAME=value"), (b"\nDATABASE_URL='postgresql://u:hush@h/d\nPORT=9000\n", ".env line 2: "),
        (b"PORT\n", ".env line 1: "), (None, ".env cannot be read (Is a directory)"),
    ],
)
def test_a_file_of_settings_of_which_a_part_would_not_count_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    (tmp_path / ".env").mkdir() if content is None else (tmp_path / ".env").write_bytes(content)
    done = ended("-m", "engine", "health", folder=tmp_path, PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: {said}") and "hush" not in line
    assert not (tmp_path / ".data").exists()


@pytest.mark.parametrize("step", ["tell_of", "identity_provider"])
def test_a_start_that_fails_at_its_last_steps_leaves_no_thread_behind(console_settings: Settings, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("no such package")

    before = set(threading.enumerate())
    monkeypatch.setattr(backends, step, missing)
    with pytest.raises(ModuleNotFoundError):
        bootstrap.build(console_settings, log_stream=None)
    assert {thread.name for thread in set(threading.enumerate()) - before} <= {"database-watchdog"}
