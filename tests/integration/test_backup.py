"""Backup and restore as their users meet them: processes on real servers, whole or not at all."""
from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import Engine, create_engine, event, make_url, text

from db import migrate, session
from db.dump import Dump
from db.embedded import EmbeddedServers
from db.locks import Lock
from db.programs import Programs
from db.session import connect
from engine import bootstrap, settings
from engine.__main__ import main
from engine.domain import TicketDraft
from engine.errors import ConfigurationError
from engine.spool import Spool
from tests.faults.conftest import socket_of
from tests.made_up import ticket
from tests.servers import certificates
from tests.servers.postgres import SitePostgres
from tests.servers.tls import TlsFront

ROOT = Path(__file__).resolve().parents[2]
COUNTS = """
    select (select count(*) from tickets), (select count(*) from routing_history),
           (select count(*) from routing_history where actual_outcome is not null)
"""


class Said(NamedTuple):
    """What a command has written."""

    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that Postgres' own user may enter too: not under pytest's, which another run beside this one closes to others."""
    with tempfile.TemporaryDirectory(prefix="backup-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def environment(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "DATA_DIR": str(folder / "data"), "PYTHONWARNINGS": "default"}


@pytest.fixture
def run(environment: dict[str, str], overheard, capsys: pytest.CaptureFixture[str]) -> Run:  # noqa: ANN001
    """Runs a command in this process, which saves its seconds of imports; what it says must be one line where it fails."""
    def command(*arguments: object, code: int = 0, **more: str) -> Said:
        capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (environment | more).items():
                patch.setenv(name, value)
            returned = main([str(argument) for argument in arguments])
        said = Said(*capsys.readouterr())
        overheard.stream("commands").write(said.err)
        assert returned == code, said
        assert len(said.err.splitlines()) == (1 if code else 0), said.err
        return said

    return command


def begun(environment: dict[str, str], *arguments: object) -> subprocess.Popen[str]:
    """A command in a process of its own, for what ends or limits a process."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)], cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.fixture
def filled(console_settings, build, folder: Path) -> str:  # noqa: ANN001
    """URL of a database with some tickets and an audit log."""
    engine = build(working=False)
    for body in ("you took the money twice", "where is my parcel", "the app crashes"):
        engine.router.route(TicketDraft(body=body))
    engine.accounts.add("ada", role="admin", by="test")
    return console_settings.postgres_url


@pytest.fixture
def empty(databases) -> Iterator[str]:  # noqa: ANN001
    url = databases.make()
    yield url
    databases.drop(url)


def asked(url: str, query: str = COUNTS) -> tuple[object, ...]:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = tuple(connection.execute(text(query)).one())
    engine.dispose()
    return found


def in_folder(data: Path, query: str = COUNTS) -> tuple[object, ...]:
    servers = EmbeddedServers(data, valkey=False).start()
    try:
        return asked(servers.postgres_url, query)
    finally:
        servers.close()


def relations(url: str) -> int:
    [count] = asked(url, "select count(*) from information_schema.tables where table_schema = 'public'")
    return count


def program(folder: Path, name: str, body: str) -> str:
    """A PATH whose `name` does this first; the real program is in $REAL."""
    real = Programs(os.environ).named(name)[-1].path
    (folder / "bin").mkdir(exist_ok=True)
    script = ("#!/bin/sh", f"REAL='{real}'", 'case "$*" in *--version*) exec "$REAL" --version;; esac', body, 'exec "$REAL" "$@"', "")
    (folder / "bin" / name).write_text("\n".join(script))
    (folder / "bin" / name).chmod(0o755)
    return f"{folder / 'bin'}:{os.environ['PATH']}"


def dumped(url: str, file: Path) -> Path:
    """As somebody's own pg_dump writes it."""
    engine = connect(url)
    with engine.connect() as connection:
        server = int(connection.execute(text("show server_version_num")).scalar_one()) // 10_000
    programs = Programs(os.environ)
    programs.run(programs.dumping(server=server), ["--format=custom", f"--file={file}"], database=engine)
    engine.dispose()
    return file


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() or not path.read_text().strip():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)


def test_an_embedded_console_is_backed_up_while_it_writes_and_restored_elsewhere(
    run: Run, environment: dict[str, str], folder: Path, overheard  # noqa: ANN001
) -> None:
    data, dump = folder / "data", folder / "console.dump"
    engine = bootstrap.build(settings.load(data_dir=data), log_stream=None)
    done = threading.Event()
    bodies = [f"you took the money twice for order {number:05}" for number in range(5000)]

    def write() -> None:
        for number, body in enumerate(bodies):
            if done.wait(0.02):
                return
            engine.router.route(TicketDraft(body=body))
            engine.audit.record("test", "wrote", "ticket", str(number))

    writer = threading.Thread(target=write)
    try:
        (data / "spool" / "refused").mkdir(parents=True, exist_ok=True)
        writer.start()
        process = begun(environment, "-m", "engine", "backup", dump)
        out, err = process.communicate(timeout=240)
        assert (process.returncode, err) == (0, "")
        said = json.loads(out)
        refused = run("restore", dump, "--put-aside", code=1).err
    finally:
        done.set()
        writer.join()
        engine.close()
    for body in bodies:
        overheard.ticket(body, "", "")
    assert "a console or a command uses the database in" in refused and refused.strip().endswith("Nothing was changed")
    assert stat.S_IMODE(dump.stat().st_mode) == 0o600 and said["bytes"] == dump.stat().st_size
    assert said["schema"] == migrate.newest() and said["audit_rows"] > 0

    elsewhere = {"DATA_DIR": str(folder / "elsewhere")}
    restored = json.loads(run("restore", dump, "--head", said["head"], **elsewhere).out)
    assert {name: restored[name] for name in ("tickets", "labels", "schema", "head", "audit_rows")} == {
        name: said[name] for name in ("tickets", "labels", "schema", "head", "audit_rows")
    }
    assert restored["put_aside"] is None
    assert in_folder(folder / "elsewhere") == (said["tickets"], said["tickets"], said["labels"])
    verified = json.loads(run("audit", "verify", "--head", said["head"], **elsewhere).out)
    assert verified["rows"] == said["audit_rows"] + 1, "the restore's own row"
    action, after = in_folder(folder / "elsewhere", "select action, after from audit_log order by id desc limit 1")
    assert (action, after["head"], after["tickets"]) == ("database_restored", said["head"], said["tickets"])
    assert sorted(path.name for path in (folder / "elsewhere").iterdir() if path.is_dir()) == ["postgres", "valkey"]
    assert json.loads(run("route", "--text", "you took the money twice", **elsewhere).out)["department"] == "Billing and Payments"
    [made] = in_folder(data, "select count(*) from audit_log where action = 'backup_made'")
    assert made == 1


def test_the_earlier_embedded_database_is_kept_and_in_place_again_when_the_restore_fails(
    run: Run, folder: Path, filled: str
) -> None:
    run("backup", folder / "good.dump", DATABASE_URL=filled)
    run("restore", folder / "good.dump")
    assert in_folder(folder / "data") == (3, 3, 0)
    assert "Add --put-aside" in run("restore", folder / "good.dump", code=1).err

    # Without a search path, as in a restore, the function finds no table.
    engine = create_engine(filled)
    with engine.begin() as connection:
        connection.execute(text(
            "create function few(bigint) returns boolean language plpgsql as 'begin return (select count(*) from tickets) < 10; end'"
        ))
        connection.execute(text("alter table routing_history add constraint few check (few(id))"))
    engine.dispose()
    bad = dumped(filled, folder / "bad.dump")
    said = run("restore", bad, "--put-aside", code=1).err
    assert "bad.dump: cannot be restored: " in said and said.strip().endswith("Nothing was changed")
    assert [path.name for path in (folder / "data").iterdir() if path.is_dir()] == ["postgres"]
    assert in_folder(folder / "data") == (3, 3, 0)

    said = json.loads(run("restore", folder / "good.dump", "--put-aside").out)
    aside = Path(said["put_aside"])
    assert aside.parent == folder / "data" and (aside / "PG_VERSION").exists()
    assert any(str(aside) in line for line in said["what_follows"])
    assert in_folder(folder / "data") == (3, 3, 0)


def test_a_restore_that_is_killed_leaves_the_earlier_database_and_the_next_one_clears_up(
    run: Run, environment: dict[str, str], folder: Path, filled: str
) -> None:
    run("backup", folder / "good.dump", DATABASE_URL=filled)
    run("restore", folder / "good.dump")
    began = folder / "began"
    path = program(folder, "pg_restore", f"case \"$*\" in *--single-transaction*) echo $$ > {began}; exec sleep 600;; esac")
    process = begun(environment | {"PATH": path}, "-m", "engine", "restore", folder / "good.dump", "--put-aside")
    wait_for(began, process)
    assert "a restore is about to replace the database" in run("health", code=1).err, "and no console starts meanwhile"
    process.kill()
    process.communicate()
    os.kill(int(began.read_text()), signal.SIGKILL)
    assert (folder / "data" / "restoring").exists()
    assert in_folder(folder / "data") == (3, 3, 0)
    run("restore", folder / "good.dump", "--put-aside")
    assert not (folder / "data" / "restoring").exists()
    assert in_folder(folder / "data") == (3, 3, 0)


# The second of the last two renames, which gives the restored folder its name, is where this process ends.
ENDS_IN_THE_LAST_STEP = """
import os, sys
rename = os.rename
os.rename = lambda old, new: os._exit(9) if os.path.basename(new) == "postgres" else rename(old, new)
from engine.__main__ import main
main(sys.argv[1:])
"""


def test_a_restore_that_is_killed_in_its_last_step_lets_no_console_begin_with_an_empty_database(
    run: Run, environment: dict[str, str], folder: Path, filled: str
) -> None:
    run("backup", folder / "good.dump", DATABASE_URL=filled)
    run("restore", folder / "good.dump")
    process = begun(environment, "-c", ENDS_IN_THE_LAST_STEP, "restore", folder / "good.dump", "--put-aside")
    process.communicate()
    assert process.returncode == 9
    [kept] = (folder / "data").glob("postgres.before-*")
    assert f"give {kept.name} its old name `postgres` back. Nothing was changed" in run("health", code=2).err
    assert not (folder / "data" / "postgres").exists()
    run("restore", folder / "good.dump", "--put-aside")
    assert in_folder(folder / "data") == (3, 3, 0)
    assert (kept / "PG_VERSION").exists()


def test_a_dump_that_is_cut_off_is_refused_before_anything_is_done(run: Run, folder: Path, filled: str, empty: str) -> None:
    whole = dumped(filled, folder / "whole.dump").read_bytes()
    for end in (100, 1000, len(whole) // 100, len(whole) // 2, -1000, -1):
        (folder / "cut.dump").write_bytes(whole[:end])
        said = run("restore", folder / "cut.dump", code=2, DATABASE_URL=empty).err
        assert "cut.dump: is cut off or damaged: " in said and said.strip().endswith("Nothing was changed"), end
    assert relations(empty) == 0


def test_what_is_no_dump_of_a_console_is_refused_in_one_line(run: Run, folder: Path, empty: str, databases) -> None:  # noqa: ANN001
    (folder / "plain.sql").write_text("-- PostgreSQL database dump\ncreate table tickets (id int);\n")
    os.mkfifo(folder / "fifo")
    other = databases.make()
    dumped(other, folder / "other.dump")
    databases.drop(other)
    for file, said in (
        ("plain.sql", "is no dump that"), ("fifo", "is no dump that"), ("other.dump", "not of a console's database"),
        ("missing.dump", "cannot be read: No such file"), (".", "cannot be read: Is a directory"),
    ):
        assert said in run("restore", folder / file, code=2, DATABASE_URL=empty).err
    assert relations(empty) == 0


def test_a_restore_refuses_a_database_that_holds_anything_and_changes_nothing(run: Run, folder: Path, filled: str, empty: str) -> None:
    run("backup", folder / "good.dump", DATABASE_URL=filled)
    before = asked(filled, "select count(*), max(hash) from audit_log")
    said = run("restore", folder / "good.dump", code=1, DATABASE_URL=filled).err
    assert "the database is not empty: it has public." in said and "set DATABASE_URL to that. Nothing was changed" in said
    assert asked(filled, "select count(*), max(hash) from audit_log") == before
    assert "--put-aside: only for the embedded database" in run("restore", folder / "good.dump", "--put-aside", code=2, DATABASE_URL=filled).err
    said = run("restore", folder / "good.dump", "--head", "f" * 64, code=2, DATABASE_URL=empty).err
    assert "its audit log has no row with the hash" in said
    assert relations(empty) == 0


def test_a_restore_beside_one_that_still_fills_the_database_says_so_and_changes_nothing(run: Run, folder: Path, filled: str, empty: str) -> None:
    run("backup", folder / "good.dump", DATABASE_URL=filled)
    # What is left of a restore that was killed.
    filling = create_engine(f"{empty}&application_name=pg_restore")
    with filling.connect() as connection:
        connection.execute(text("create table tickets (id text)"))
        assert "a pg_restore is filling this database" in run("restore", folder / "good.dump", code=1, DATABASE_URL=empty).err
    filling.dispose()
    run("restore", folder / "good.dump", DATABASE_URL=empty)
    assert asked(empty) == asked(filled)


def test_a_pg_restore_goes_by_its_own_name_whatever_the_address_calls_the_console(run: Run, folder: Path, filled: str, empty: str) -> None:
    """The next restore tells by that name that one is at it."""
    run("backup", folder / "good.dump", DATABASE_URL=filled)
    path = program(folder, "pg_restore", f'case "$*" in *--dbname*) echo "$*" > {folder / "said"};; esac')
    run("restore", folder / "good.dump", DATABASE_URL=f"{empty}&application_name=routing", PATH=path)
    assert "application_name=pg_restore" in (folder / "said").read_text()


def test_an_older_schema_is_migrated_and_a_newer_one_refused(run: Run, folder: Path, databases, empty: str) -> None:  # noqa: ANN001
    url = databases.make()
    engine = connect(url)
    migrate.upgrade(engine, "0001")
    with engine.begin() as connection:
        connection.execute(text("insert into departments (name) values ('Sales')"))
        connection.execute(text(
            "insert into tickets (id, body, channel, priority, fingerprint, origin) "
            "select 't' || n, 'body ' || n, 'web', 'normal', 'f', 'console' from generate_series(1, 50) n"
        ))
    dumped(url, folder / "old.dump")
    said = json.loads(run("restore", folder / "old.dump", DATABASE_URL=empty).out)
    assert (said["dump_schema"], said["schema"], said["tickets"]) == ("0001", migrate.newest(), 50)
    assert asked(empty, "select count(*) from audit_log") == (1,)

    with engine.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    engine.dispose()
    dumped(url, folder / "new.dump")
    said = run("restore", folder / "new.dump", code=2, DATA_DIR=str(folder / "nothing")).err
    assert f"new.dump has schema 9999, and this version of the console knows up to {migrate.newest()}" in said
    assert not (folder / "nothing").exists()
    assert "the database has schema 9999" in run("backup", folder / "newer.dump", code=2, DATABASE_URL=url).err
    assert not (folder / "newer.dump").exists()
    databases.drop(url)


def test_a_backup_is_of_one_moment_whatever_is_stored_while_it_is_written(
    run: Run, folder: Path, filled: str, empty: str, build  # noqa: ANN001
) -> None:
    """Its numbers are looked at first, then somebody stores a ticket, and only then does pg_dump begin."""
    engine = build(working=False)
    ready, go = folder / "ready", folder / "go"
    path = program(folder, "pg_dump", f"echo > {ready}; while [ ! -e {go} ]; do sleep 0.05; done")

    def meanwhile() -> None:
        while not ready.exists():
            time.sleep(0.05)
        engine.router.route(TicketDraft(body="my card was declined"))
        engine.audit.record("test", "wrote", "ticket", "meanwhile")
        go.touch()

    writer = threading.Thread(target=meanwhile)
    writer.start()
    said = json.loads(run("backup", folder / "good.dump", DATABASE_URL=filled, PATH=path).out)
    writer.join()
    assert (said["tickets"], asked(filled)[0]) == (3, 4)
    restored = json.loads(run("restore", folder / "good.dump", DATABASE_URL=empty).out)
    assert (restored["tickets"], restored["head"]) == (3, said["head"])


def test_a_backup_that_a_migration_overtook_is_none(run: Run, folder: Path, filled: str) -> None:
    ready = folder / "ready"
    path = program(folder, "pg_dump", f"\"$REAL\" \"$@\"; echo > {ready}; while [ -e {ready} ]; do sleep 0.05; done; exit 0")

    def meanwhile() -> None:
        while not ready.exists():
            time.sleep(0.05)
        engine = create_engine(filled)
        with engine.begin() as connection:
            connection.execute(text("update alembic_version set version_num = '0006'"))
        engine.dispose()
        ready.unlink()

    migration = threading.Thread(target=meanwhile)
    migration.start()
    said = run("backup", folder / "good.dump", code=1, DATABASE_URL=filled, PATH=path).err
    migration.join()
    assert "no backup was made: a console migrated the database meanwhile, to schema 0006. Run this again" in said
    assert list(folder.glob("good.dump*")) == []


def test_a_file_is_replaced_only_when_asked_and_only_by_a_whole_backup(run: Run, environment: dict[str, str], folder: Path, filled: str) -> None:
    file = folder / "kept.dump"
    file.write_text("the backup of yesterday")
    said = run("backup", file, code=2, DATABASE_URL=filled).err
    assert "is there already. Name another file, or add --replace. No backup was made" in said
    for place, why in ((folder, "is a folder"), (folder / "no" / "x.dump", "its folder does not exist"), (Path("/dev/null"), "is no ordinary file")):
        assert why in run("backup", place, code=2, DATABASE_URL=filled).err

    # A limit on the size of files stands for the disk.
    limited = (
        "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
        "runpy.run_module('engine', run_name='__main__')"
    )
    process = begun(environment | {"DATABASE_URL": filled}, "-c", limited, "backup", "--replace", file)
    out, err = process.communicate(timeout=240)
    assert (process.returncode, out) == (1, ""), err
    [line] = err.strip().splitlines()
    assert line.startswith("error: no backup was made: ")
    assert file.read_text() == "the backup of yesterday"

    began = folder / "began"
    path = program(folder, "pg_dump", f"echo half > {folder}/half; echo $$ > {began}; exec sleep 600")
    process = begun(environment | {"DATABASE_URL": filled, "PATH": path}, "-m", "engine", "backup", "--replace", file)
    wait_for(began, process)
    process.terminate()
    assert process.communicate(timeout=60) == ("", "stopped\n") and process.returncode == 1
    assert file.read_text() == "the backup of yesterday"
    assert not list(folder.glob("*.new"))
    with pytest.raises(ProcessLookupError):
        os.kill(int(began.read_text()), 0)

    began.unlink()
    process = begun(environment | {"DATABASE_URL": filled, "PATH": path}, "-m", "engine", "backup", "--replace", file)
    wait_for(began, process)
    process.kill()
    process.communicate(timeout=60)
    os.kill(int(began.read_text()), signal.SIGKILL)
    assert [left.name for left in folder.glob("*.new")] == [f"{file.name}.{process.pid}.new"]
    others = [folder / f"{file.name}.{middle}.new" for middle in ("old", "20261128")]
    for other in others:
        other.write_text("somebody's own")
    with open(folder / f"{file.name}.1.new", "wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        run("backup", "--replace", file, DATABASE_URL=filled)
    assert {*folder.glob("*.new")} == {folder / f"{file.name}.1.new", *others}, "what a killed one left is gone, whatever else is there stays"
    assert file.read_bytes()[:5] == b"PGDMP"


def test_a_backup_says_what_it_leaves_out_and_a_restore_what_follows(
    run: Run, folder: Path, filled: str, databases, monkeypatch: pytest.MonkeyPatch  # noqa: ANN001
) -> None:
    monkeypatch.chdir(folder)
    data = folder / "data"
    assert json.loads(run("backup", folder / "bare.dump", DATABASE_URL=filled).out)["keep_with_it"] == []
    spool = Spool(data / "spool")
    spool.keep(ticket())
    spool.set_aside.refuse(ticket(), "another ticket with this id is stored")
    spool.close()
    (data / "cookie.secret").write_text("c" * 64)
    (folder / ".env").write_text("")
    kept = json.loads(run("backup", folder / "good.dump", DATABASE_URL=filled).out)["keep_with_it"]
    assert kept == [
        f"{folder / '.env'}: the settings", f"{data / 'cookie.secret'}: without it everybody is signed out",
        f"{data / 'spool'}: 2 accepted tickets that are not in the database",
    ]
    with_its_own = json.loads(run("backup", folder / "own.dump", DATABASE_URL=filled, COOKIE_SECRET="s" * 64).out)["keep_with_it"]
    assert [line.partition(":")[0] for line in with_its_own] == [str(folder / ".env"), str(data / "spool")]

    for more, said in (({}, False), ({"PINECONE_API_KEY": "k"}, True), ({"PINECONE_API_KEY": "k", "PINECONE_OFF": "true"}, False)):
        url = databases.make()
        follows = json.loads(run("restore", folder / "good.dump", DATABASE_URL=url, **more).out)["what_follows"]
        assert any("reindex" in line for line in follows) is said and follows[-1] == "Start the console."
        databases.drop(url)


def test_a_backup_of_an_audit_log_that_was_altered_is_made_and_says_so(run: Run, folder: Path, filled: str, empty: str) -> None:
    engine = create_engine(filled)
    with engine.begin() as connection:
        connection.execute(text("alter table audit_log disable trigger user"))
        connection.execute(text("update audit_log set actor = 'nobody' where id = 1"))
    engine.dispose()
    assert "is whole, but the audit log in it is not: row 1 was altered" in run("backup", folder / "good.dump", code=1, DATABASE_URL=filled).err
    done = run("restore", folder / "good.dump", code=1, DATABASE_URL=empty)
    assert "the database is restored, but its audit log does not hold together: row 1 was altered" in done.err
    assert json.loads(done.out)["tickets"] == asked(empty)[0] == 3


def test_without_a_database_there_is_no_backup_and_no_file(run: Run, folder: Path, empty: str) -> None:
    assert "there is no database in" in run("backup", folder / "x.dump", code=1).err
    assert not (folder / "data").exists()
    assert "holds nothing of the console" in run("backup", folder / "x.dump", code=1, DATABASE_URL=empty).err
    assert "database is not available" in run("backup", folder / "x.dump", code=1, DATABASE_URL="postgresql://u:hush@127.0.0.1:1/none").err
    assert list(folder.glob("x.dump*")) == []


def test_an_own_postgres_with_a_password_of_an_earlier_version(run: Run, folder: Path, console_settings) -> None:  # noqa: ANN001
    """Restored by a role that owns the database and nothing else, beside an extension that somebody else has made."""
    record = folder / "arguments"
    with SitePostgres(folder, version=16) as site:
        site.say(
            "create role console login password 'hu:sh @w/ord'", "create role reader", "create database source",
            "create database target owner console",
        )
        url = {"source": site.url("source"), "target": site.url("target", user="console", password="hu%3Ash%20%40w%2Ford")}
        chosen = settings.load(database_url=url["source"], redis_url=console_settings.redis_address, data_dir=folder / "data")
        engine = bootstrap.build(chosen, log_stream=None, working=False)
        engine.router.route(TicketDraft(body="you took the money twice"))
        engine.close()
        site.say("grant select on tickets to reader", "comment on table tickets is 'ours'", database="source")
        site.say("create extension vector", database="target")
        oldest = next(one for one in Programs(os.environ).named("pg_dump") if one.major >= 16)
        (folder / "bin").mkdir()
        for name in ("pg_dump", "pg_restore"):
            (folder / "bin" / name).write_text(f"#!/bin/sh\necho \"$@\" >> {record}\nexec '{oldest.path.with_name(name)}' \"$@\"\n")
            (folder / "bin" / name).chmod(0o755)
        path = f"{folder / 'bin'}:{os.environ['PATH']}"
        said = json.loads(run("backup", folder / "site.dump", DATABASE_URL=url["source"], PATH=path).out)
        restored = json.loads(run("restore", folder / "site.dump", "--head", said["head"], DATABASE_URL=url["target"], PATH=path).out)
        assert restored["tickets"] == said["tickets"] == asked(url["target"])[0] == 1
        assert any("grant them again" in line for line in restored["what_follows"])
        assert "--single-transaction" in record.read_text() and "w0rd" not in record.read_text() and "w/ord" not in record.read_text()
        refused = run("backup", folder / "other.dump", code=1, DATABASE_URL=site.url("source", password="wr0ng"))
        assert "password authentication failed" in refused.err and "wr0ng" not in refused.err
    assert Dump(folder / "site.dump", Programs(os.environ)).server == 16


@pytest.mark.parametrize("asked_for", ["", "?sslmode=prefer", "?sslmode=verify-full&sslrootcert={authority}"])
def test_what_the_console_reads_over_tls_goes_no_other_way_and_a_program_without_it_is_told(
    run: Run, folder: Path, filled: str, empty: str, asked_for: str
) -> None:
    certificate = certificates.made(folder)
    run("backup", folder / "good.dump", DATABASE_URL=filled)
    with TlsFront(socket_of(filled), certificate) as front:
        def behind(url: str) -> str:
            name = make_url(url).database
            return f"postgresql://postgres@127.0.0.1:{front.port}/{name}{asked_for.format(authority=certificate.authority)}"

        for command, url in (("backup", filled), ("restore", empty)):
            file = folder / ("other.dump" if command == "backup" else "good.dump")
            said = run(command, file, code=2, DATABASE_URL=behind(url)).err
            assert re.search(r"is encrypted, and .*/pg_(dump|restore) knows no TLS. Install the client programs of Postgres 18", said)
        # One that knows it is told to use it.
        path = program(folder, "pg_dump", f'echo "$PGSSLMODE" > {folder / "mode"}')
        run("backup", folder / "other.dump", code=2, DATABASE_URL=behind(filled), PATH=path)
    assert (folder / "mode").read_text() == "require\n"
    assert not (folder / "other.dump").exists() and relations(empty) == 0


def test_a_newer_database_goes_into_no_older_server(run: Run, folder: Path, filled: str) -> None:
    run("backup", folder / "good.dump", DATABASE_URL=filled)
    with SitePostgres(folder, version=16) as site:
        said = run("restore", folder / "good.dump", code=2, DATABASE_URL=site.url("postgres")).err
        assert "is of Postgres 18, and this server is 16. Use a newer server. Nothing was changed" in said


def test_a_server_that_no_program_here_fits_is_told_with_what_there_is() -> None:
    told = r"the server is Postgres 99, and no pg_dump here fits it; found .*18 \(.*Install the client programs of Postgres 99"
    with pytest.raises(ConfigurationError, match=told):
        Programs(os.environ).dumping(server=99)
    # What pg_restore of 17 and newer says first is refused by earlier servers.
    assert [program.major for program in Programs({"PATH": ""}).restoring(server=16)] == [16]
    assert [program.major for program in Programs({"PATH": ""}).restoring(server=18)] == [18]


def test_what_takes_longer_than_others_may_think_in_a_transaction_is_not_broken_off(
    run: Run, folder: Path, filled: str, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "IDLE_IN_TRANSACTION_MS", 1_000)
    path = program(folder, "pg_dump", "sleep 3")
    assert json.loads(run("backup", folder / "good.dump", DATABASE_URL=filled, PATH=path).out)["tickets"] == 3
    path = program(folder, "pg_restore", "case \"$*\" in *--single-transaction*) sleep 3;; esac")
    assert json.loads(run("restore", folder / "good.dump", DATABASE_URL=empty, PATH=path).out)["tickets"] == 3


def test_a_backup_is_of_one_moment_also_for_what_is_stored_before_pg_dump_begins(
    run: Run, folder: Path, filled: str, empty: str, build  # noqa: ANN001
) -> None:
    engine, stored = build(working=False), []

    def at_once(_: object, __: object, statement: str, *___: object) -> None:
        if "pg_export_snapshot" in statement and not stored:
            stored.append(engine.router.route(TicketDraft(body="my card was declined")))
            engine.audit.record("test", "wrote", "ticket", "meanwhile")

    event.listen(Engine, "after_cursor_execute", at_once)
    try:
        said = json.loads(run("backup", folder / "good.dump", DATABASE_URL=filled).out)
    finally:
        event.remove(Engine, "after_cursor_execute", at_once)
    assert (said["tickets"], asked(filled)[0]) == (3, 4)
    restored = json.loads(run("restore", folder / "good.dump", "--head", said["head"], DATABASE_URL=empty).out)
    assert [restored[name] for name in ("tickets", "audit_rows", "head")] == [said[name] for name in ("tickets", "audit_rows", "head")]


@pytest.mark.parametrize("step", ["postgres.before-", "postgres"])
def test_a_restored_database_that_cannot_take_its_place_leaves_the_earlier_one_and_says_why(
    run: Run, folder: Path, filled: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """As with a volume that is mounted at the database's own folder."""
    run("backup", folder / "good.dump", DATABASE_URL=filled)
    run("restore", folder / "good.dump")
    rename = os.rename

    def busy(old: Path, new: Path) -> None:
        if Path(new).name.startswith(step) and Path(old).parent != Path(new).parent or Path(new).name.startswith(step + "2"):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        rename(old, new)

    monkeypatch.setattr(os, "rename", busy)
    said = run("restore", folder / "good.dump", "--put-aside", code=1).err
    assert "cannot take the place of" in said and "Device or resource busy" in said and said.strip().endswith("Nothing was changed")
    assert [path.name for path in (folder / "data").iterdir() if path.is_dir()] == ["postgres"]
    assert in_folder(folder / "data") == (3, 3, 0)


def test_a_restore_takes_an_empty_folder_and_no_database_that_is_being_made_or_holds_a_view(run: Run, folder: Path, filled: str, empty: str) -> None:
    run("backup", folder / "good.dump", DATABASE_URL=filled)
    engine = create_engine(empty)
    with engine.begin() as connection:
        connection.execute(text("create view theirs as select 1"))
    assert "it has public.theirs" in run("restore", folder / "good.dump", code=1, DATABASE_URL=empty).err
    with engine.begin() as console:
        console.execute(text("select pg_advisory_xact_lock(:key)"), {"key": Lock.MIGRATING})
        assert "a console is migrating this database" in run("restore", folder / "good.dump", code=1, DATABASE_URL=empty).err
    engine.dispose()
    (folder / "data" / "postgres").mkdir(parents=True)
    assert json.loads(run("restore", folder / "good.dump").out)["put_aside"] is None
    assert in_folder(folder / "data") == (3, 3, 0)


def test_what_fails_after_a_dump_is_whole_or_in_the_database_says_so(run: Run, folder: Path, filled: str, empty: str, databases) -> None:  # noqa: ANN001
    url = databases.make()
    engine = connect(url)
    migrate.upgrade(engine, "0001")
    with engine.begin() as connection:
        connection.execute(text("create table index_outbox (theirs int)"))
    engine.dispose()
    dumped(url, folder / "old.dump")
    databases.drop(url)
    said = run("restore", folder / "old.dump", code=1, DATABASE_URL=empty).err
    assert "the dump is in the database as a whole, but what follows could not be done" in said and "Do not restore it again" in said

    engine = create_engine(filled)
    with engine.begin() as connection:
        connection.execute(text("alter table audit_log add constraint no_more check (id < 0) not valid"))
    engine.dispose()
    assert "the backup is whole, but its row in the audit log could not be written" in run("backup", folder / "good.dump", code=1, DATABASE_URL=filled).err
    assert (folder / "good.dump").read_bytes()[:5] == b"PGDMP"


def test_a_file_that_somebody_else_makes_while_the_backup_is_written_stays_theirs(run: Run, folder: Path, filled: str) -> None:
    path = program(folder, "pg_dump", f"echo theirs > {folder}/good.dump")
    assert "is there already" in run("backup", folder / "good.dump", code=2, DATABASE_URL=filled, PATH=path).err
    assert (folder / "good.dump").read_text() == "theirs\n"
    assert not list(folder.glob("*.new"))
