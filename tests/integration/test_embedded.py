"""The embedded servers: shared by processes, stopped by the last one, unharmed by kill -9."""
from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from stat import S_IMODE

import psutil
import pytest
import redis
import requests
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from db.embedded import EmbeddedServers
from db.session import reach
from engine import bootstrap, settings
from engine.domain import Decision, TicketDraft
from engine.errors import Conflict, ConfigurationError, ServiceUnavailable
from tests.contract.test_index import wait_until
from tests.servers.ports import free_port
from tests.serving import START_SECONDS

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import sys, pathlib
from db.embedded import EmbeddedServers
servers = EmbeddedServers(pathlib.Path(sys.argv[1])).start()
print("started", flush=True)
sys.stdin.readline()
servers.close()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(0o755)
    data = tmp_path / "data"
    yield data
    EmbeddedServers(data).start().close()
    assert not running(data)


def running(folder: Path) -> list[str]:
    """Names of the live server processes of a data folder."""
    names = []
    for process in psutil.process_iter(["name", "cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(folder) in line and process.info["status"] != psutil.STATUS_ZOMBIE and ("postgres -D" in line or "valkey-server" in line):
            names.append(process.info["name"])
    return names


def child(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == "started\n"
    return process


def leave(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=120)


def test_what_postgres_refuses_is_in_its_log_without_the_words(folder: Path) -> None:
    """Also where the folder is from before that was so."""
    servers = EmbeddedServers(folder).start()
    servers.close()
    settings_file = servers.postgres_folder / "postgresql.conf"
    own = settings_file.read_text()
    settings_file.write_text(own.replace("log_min_error_statement = panic\n", "").replace("log_error_verbosity = terse\n", ""))
    servers.start()
    engine = create_engine(servers.postgres_url)
    try:
        with pytest.raises(DBAPIError), engine.begin() as connection:
            connection.execute(text("create temp table t (body text not null, n int not null)"))
            connection.execute(text("insert into t values ('my marimba', null)"))
    finally:
        engine.dispose()
        servers.close()
    said = (servers.postgres_folder / "log").read_text()
    assert "violates not-null constraint" in said
    assert "marimba" not in said
    assert settings_file.read_text().count("log_error_verbosity = terse\n") == 1


def test_two_processes_share_the_servers_and_the_last_one_stops_them(folder: Path) -> None:
    first, second = child(folder), child(folder)
    assert len(running(folder)) == 2
    leave(first)
    assert len(running(folder)) == 2
    leave(second)
    assert running(folder) == []


def test_after_kill_9_nothing_is_lost_and_the_next_process_stops_the_servers(folder: Path) -> None:
    killed = child(folder)
    servers = EmbeddedServers(folder).start()
    engine = create_engine(servers.postgres_url)
    with engine.begin() as connection:
        connection.execute(text("create table kept (n int)"))
        connection.execute(text("insert into kept values (7)"))
    with redis.Redis.from_url(servers.redis_url) as client:
        client.set("kept", "yes")
    engine.dispose()
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    killed.stdin.close()
    killed.stdout.close()
    servers.close()
    assert running(folder) == []
    again = EmbeddedServers(folder).start()
    engine = create_engine(again.postgres_url)
    with engine.connect() as connection:
        assert connection.execute(text("select n from kept")).scalar_one() == 7
    with redis.Redis.from_url(again.redis_url) as client:
        assert client.get("kept") == b"yes"
    engine.dispose()
    again.close()


def test_servers_that_were_killed_themselves_start_again_with_their_data(folder: Path) -> None:
    servers = EmbeddedServers(folder).start()
    engine = create_engine(servers.postgres_url)
    with engine.begin() as connection:
        connection.execute(text("create table kept (n int)"))
    engine.dispose()
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(folder) in line and ("postgres -D" in line or "valkey-server" in line):
            process.kill()
            process.wait(10)
    again = EmbeddedServers(folder).start()
    engine = create_engine(again.postgres_url, pool_pre_ping=True)
    with engine.connect() as connection:
        assert connection.execute(text("select count(*) from kept")).scalar_one() == 0
    engine.dispose()
    again.close()
    servers.close()


@pytest.mark.parametrize("stale", ["postmaster.pid", ".s.PGSQL.5432.lock"])
def test_a_stale_file_whose_number_is_somebody_elses_now_does_not_keep_postgres_from_starting(folder: Path, stale: str) -> None:
    EmbeddedServers(folder).start().close()
    (folder / "postgres" / stale).write_text(f"{os.getpid()}\n{folder}/postgres\n" + f"0\n5432\n{folder}/postgres\n" * stale.endswith("lock"))
    servers = EmbeddedServers(folder).start()
    engine = create_engine(servers.postgres_url)
    with engine.connect() as connection:
        assert connection.execute(text("select 1")).scalar_one() == 1
    engine.dispose()
    servers.close()


def test_an_answer_that_was_removed_never_returns_with_an_older_copy_of_the_cache(folder: Path) -> None:
    servers = EmbeddedServers(folder).start()
    with redis.Redis.from_url(servers.redis_url) as client:
        client.set("answer", "wrong")
    servers.close()
    servers = EmbeddedServers(folder).start()
    with redis.Redis.from_url(servers.redis_url) as client:
        assert client.get("answer") == b"wrong", "a stop in good order keeps the cache"
        client.delete("answer")
    process = psutil.Process(int((folder / "valkey" / "valkey.pid").read_text()))
    process.kill()
    process.wait(10)
    servers.start()
    with redis.Redis.from_url(servers.redis_url) as client:
        assert client.get("answer") is None
    servers.close()


def test_servers_are_vacated_only_when_nobody_uses_them_and_then_nobody_starts_them(folder: Path) -> None:
    user = child(folder)
    servers = EmbeddedServers(folder)
    with pytest.raises(Conflict, match="a console or a command uses the database in .*Nothing was changed$"), servers.vacated():
        pass
    assert len(running(folder)) == 2
    os.kill(user.pid, signal.SIGKILL)
    user.wait()
    user.stdin.close()
    user.stdout.close()
    with servers.vacated():
        assert "postgres" not in running(folder), "what the killed process has left behind is stopped"
        with pytest.raises(ServiceUnavailable, match="a restore is about to replace the database"):
            EmbeddedServers(folder).start()
    servers.start().close()


def test_a_folder_that_cannot_be_used_is_a_configuration_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigurationError, match="DATA_DIR: cannot use .*file"):
        EmbeddedServers(tmp_path / "file").start()


def test_a_disk_that_is_full_at_the_first_start_is_named_and_no_log_that_is_not_there(
    tmp_path: Path,
) -> None:
    """A limit on the size of files stands for the disk: initdb fails in its own words, before the server ever logged."""
    limited = (
        "import resource, sys, pathlib; from db.embedded import EmbeddedServers; from engine.errors import ServiceUnavailable\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: EmbeddedServers(pathlib.Path(sys.argv[1]), valkey=False).start()\n"
        "except ServiceUnavailable as error: print(error)"
    )
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", limited, str(tmp_path / "data")], cwd=ROOT, capture_output=True, text=True, timeout=120)
    [line] = done.stdout.splitlines()
    assert line.startswith("database is not available: the embedded Postgres did not start: ") and "could not write" in line, done
    assert "its log is" not in line


def test_a_server_that_does_not_start_again_is_told_in_its_own_words(folder: Path) -> None:
    """Those of this start: `pg_ctl` says no more than that it could not start it, and the log holds older ones too."""
    EmbeddedServers(folder, valkey=False).start().close()
    with open(folder / "postgres" / "log", "a") as log:
        log.write("2026-01-02 03:04:05.678 UTC [9] FATAL:  of another time\n")
    own = folder / "postgres" / "postgresql.auto.conf"
    kept = own.read_text()
    own.write_text(f"{kept}max_connections = 'none'\n")
    servers = EmbeddedServers(folder, valkey=False)
    with pytest.raises(ServiceUnavailable) as told:
        servers.start()
    servers.close()
    own.write_text(kept)
    assert re.search(r"did not start \(its log is .*/postgres/log\): FATAL:  configuration file .* contains errors\. Start again", str(told.value)), told.value


def killed(folder: Path, program: str) -> None:
    """End a server of the folder, as the kernel does for want of memory."""
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(folder) in line and program in line:
            process.kill()
            process.wait(10)


@pytest.mark.parametrize("program", ["postgres -D", "valkey-server"])
def test_what_has_ended_is_kept_and_what_runs_is_left_alone(folder: Path, program: str) -> None:
    servers = EmbeddedServers(folder).start()
    assert not servers.keep()
    killed(folder, program)
    assert servers.keep() and not servers.keep()
    assert len(running(folder)) == 2
    engine = create_engine(servers.postgres_url, pool_pre_ping=True)
    with engine.connect() as connection:
        assert connection.execute(text("select 1")).scalar_one() == 1
    engine.dispose()
    with redis.Redis.from_url(servers.redis_url) as client:
        assert client.ping()
    servers.close()


def test_the_servers_are_not_given_what_is_secret(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started by root, Postgres runs as a user of its own, who may read what its processes were started with."""
    secrets = {"ADMIN_PASSWORD": "quiet-river-marimba", "SMTP_PASSWORD": "quiet-river-tuba", "AWS_SECRET_ACCESS_KEY": "quiet-river-oboe",
               "STREAMLIT_SERVER_COOKIE_SECRET": 4 * "quiet-river"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LC_TIME", "C")
    servers = EmbeddedServers(folder, environment=settings.bare_environment()).start()
    given = [process.environ() for process in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(process.info["cmdline"] or [])]
    servers.close()
    assert len(given) == 2 and any(one.get("LC_TIME") == "C" for one in given), "the rest is as it was"
    assert not [one for one in given if "quiet-river" in str(one)]


def test_no_other_user_reaches_a_postgres_whose_socket_lies_in_a_folder_of_everybody(folder: Path) -> None:
    """A socket's path has about a hundred characters at most, and Postgres asks for no password."""
    servers = EmbeddedServers(folder / "a-folder-with-a-long-name" / ("deep-" * 12), valkey=False).start()
    place = Path(make_url(servers.postgres_url).query["host"])
    try:
        assert not place.is_relative_to(folder)
        assert S_IMODE((place / ".s.PGSQL.5432").stat().st_mode) == 0o700
    finally:
        servers.close()
        shutil.rmtree(place)


def test_a_cache_that_cannot_be_copied_to_the_disk_ends_all_the_same(folder: Path) -> None:
    servers = EmbeddedServers(folder, postgres=False).start()
    in_the_way = folder / "valkey" / "dump.rdb"
    in_the_way.mkdir()
    servers.close()
    assert not running(folder)
    in_the_way.rmdir()


def test_a_cache_that_says_nothing_is_not_started_twice(folder: Path) -> None:
    servers = EmbeddedServers(folder).start()
    [cache] = [p for p in psutil.process_iter(["cmdline"]) if str(folder) in (line := " ".join(p.info["cmdline"] or [])) and "valkey-server" in line]
    cache.suspend()
    try:
        assert not servers.keep()
    finally:
        cache.resume()
    assert len(running(folder)) == 2
    servers.close()


def test_a_console_starts_its_own_postgres_again_and_routes_on(folder: Path) -> None:
    console = bootstrap.build(settings.load(data_dir=folder), log_stream=None)
    try:
        assert isinstance(console.router.route(TicketDraft(body="where is my parcel")), Decision)
        killed(folder, "postgres -D")
        deadline = time.monotonic() + 60
        while not isinstance(console.router.route(TicketDraft(body="where is my other parcel")), Decision):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        # What came in between was kept on the disk, and is stored as well.
        while console.spool.waiting():
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        console.close()


@pytest.mark.parametrize("name", ["Daten für heute", "it's", "a+b", "100%41", "a$b"])
def test_a_folder_that_the_embedded_postgres_cannot_lie_in_is_refused_with_its_reason(name: str) -> None:
    # Under pytest's own folder the path would be too long for a socket, which is elsewhere then.
    with tempfile.TemporaryDirectory() as short:
        servers = EmbeddedServers(Path(short) / name, valkey=False)
        with pytest.raises(ConfigurationError, match="DATA_DIR: the embedded Postgres cannot lie in .* may be in the path. Choose another folder"):
            servers.start()
        servers.close()
        assert not list((Path(short) / name / "postgres").iterdir()), "nothing was begun there"


def test_a_folder_may_have_letters_and_blanks_of_every_script() -> None:
    with tempfile.TemporaryDirectory() as short:
        own = EmbeddedServers(Path(short) / "Größe-данные-資料\u3000新\u00a0новый", valkey=False).start()
        reach(own.postgres_url)
        place = make_url(own.postgres_url).query["host"]
        own.close()
    assert place.startswith(short), "elsewhere its name would not matter"


def test_a_console_whose_terminal_is_closed_stops_what_it_has_started(folder: Path) -> None:
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "DATA_DIR": str(folder), "PORT": str(port)}
    with open(folder.with_name("log"), "wb") as log:
        console = subprocess.Popen(
            [sys.executable, "-m", "engine", "serve"], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            # Whoever runs the tests under `nohup` must not pass that on.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )
    try:
        wait_until(lambda: console.poll() is not None or ready(port), seconds=START_SECONDS)
        assert len(running(folder)) == 2
        console.send_signal(signal.SIGHUP)
        console.wait(60)
        assert running(folder) == []
    finally:
        console.kill()
        console.wait()


def ready(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
    except requests.RequestException:
        return False
