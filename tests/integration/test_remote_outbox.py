"""What waits for the remote index belongs to the console: no command forgets it, switching off is said, and coming back is whole."""
from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine as Database
from sqlalchemy import text

from db import outbox, session
from db.exemplars import Exemplars
from db.outbox import Outbox
from db.session import connect
from engine.__main__ import main
from engine.bootstrap import Engine
from engine.domain import Exemplar
from engine.errors import ServiceUnavailable
from engine.reindex import Reindexer
from engine.settings import Settings
from tests.contract.test_index import DIMENSIONS, NAME, Quiet, remote, unit, wait_until
from tests.servers.pinecone import PineconeServer


@pytest.fixture
def server() -> Iterator[PineconeServer]:
    with PineconeServer() as started:
        yield started


@pytest.fixture
def with_index(build: Callable[..., Engine], server: PineconeServer) -> Callable[..., Engine]:
    """Builds consoles with the remote index."""
    given = {"pinecone_api_key": SecretStr("key"), "pinecone_host": server.url, "pinecone_index": "tickets"}
    return lambda **more: build(given, **more)


@pytest.fixture
def command(console_settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs a command on the test's database in a shell with these variables: its exit code and standard output."""
    def run(*arguments: str, **variables: str) -> tuple[int, str]:
        with monkeypatch.context() as shell:
            for name, value in variables.items():
                shell.setenv(name, value)
            return main(list(arguments)), capsys.readouterr().out

    monkeypatch.setenv("DATABASE_URL", console_settings.postgres_url or "")
    monkeypatch.setenv("REDIS_URL", console_settings.redis_address or "")
    monkeypatch.setenv("DATA_DIR", str(console_settings.data_dir))
    return run


def kept_up(settings: Settings) -> dict[str, Any]:
    """The rows of the outbox and its targets as they stand in the database."""
    database = connect(settings.postgres_url or "")
    with database.connect() as connection:
        found = {
            table: connection.execute(text(f"select * from {table} order by 1")).all() for table in ("index_targets", "index_outbox")
        }
    database.dispose()
    return found


def test_commands_without_the_key_leave_the_outbox_alone_and_a_waiting_removal_survives(
    with_index: Callable[..., Engine], build: Callable[..., Engine], console_settings: Settings, server: PineconeServer,
    command: Callable[..., tuple[int, str]],
) -> None:
    console = with_index()
    console.reindexer.run()
    [space] = server.namespaces.values()
    gone = int(next(iter(space)))
    console.reindexer.close()
    console.exemplars.remove([gone])
    before = kept_up(console_settings)
    assert len(before["index_targets"]) == 1 and before["index_outbox"]
    for arguments in (("health",), ("user", "list"), ("rollup",), ("audit", "verify"), ("route", "--dry-run", "--text", "where is my card")):
        assert command(*arguments)[0] == 0
        assert command(*arguments, PINECONE_OFF="true")[0] == 0
        assert kept_up(console_settings) == before
    # Nor does a console that merely lacks the key: it may be one of several.
    build()
    assert kept_up(console_settings) == before
    later = console.exemplars.add([Exemplar(text="a late label", department="Cards")], unit(1, seed=3))
    assert command("reindex", PINECONE_API_KEY="key", PINECONE_HOST=server.url, PINECONE_INDEX="tickets")[0] == 0
    assert str(gone) not in space and str(later[0]) in space


def test_a_check_changes_nothing_whichever_index_it_looks_at(
    with_index: Callable[..., Engine], console_settings: Settings, server: PineconeServer, command: Callable[..., tuple[int, str]]
) -> None:
    console = with_index()
    console.reindexer.run()
    console.reindexer.close()
    ids = console.exemplars.add([Exemplar(text="a late label", department="Cards")], unit(1, seed=3))
    before = kept_up(console_settings)
    threads = set(threading.enumerate())
    for name in ("tickets", "another"):
        code, said = command("reindex", "--check", PINECONE_API_KEY="key", PINECONE_HOST=server.url, PINECONE_INDEX=name)
        assert (code, json.loads(said)["equal"]) == (1, False)
        assert kept_up(console_settings) == before
    started = {thread.name for thread in set(threading.enumerate()) - threads}
    assert not started & {"outbox", "spool", "upkeep", "refresh", "reembed"}
    assert str(ids[0]) not in next(iter(server.namespaces.values()))


def test_a_console_that_is_told_so_forgets_the_index_and_one_that_comes_back_removes_what_is_gone(
    with_index: Callable[..., Engine], build: Callable[..., Engine], console_settings: Settings, server: PineconeServer
) -> None:
    console = with_index()
    console.reindexer.run()
    [space] = server.namespaces.values()
    purged, corrected = (int(id_) for id_ in list(space)[:2])
    console.reindexer.close()
    console.exemplars.remove([purged])
    without = build({"pinecone_api_key": SecretStr("key"), "pinecone_off": True})
    assert without.reindexer is None
    assert kept_up(console_settings) == {"index_targets": [], "index_outbox": []}
    without.exemplars.remove([corrected])
    without.exemplars.add([Exemplar(text="a label meanwhile", department="Cards")], unit(1, seed=3))
    assert kept_up(console_settings)["index_outbox"] == []
    assert {str(purged), str(corrected)} <= set(space)
    again = with_index()
    again.reindexer.run()
    wait_until(lambda: again.reindexer.compare().equal)
    assert not {str(purged), str(corrected)} & set(space)


def test_a_running_console_opens_what_was_closed_beside_it_and_leaves_another_place_alone(database: Database, server: PineconeServer) -> None:
    exemplars = Exemplars(database, embedder=NAME, dimensions=DIMENSIONS)
    ids = exemplars.add([Exemplar(text=f"text {n}", department="Billing") for n in range(5)], unit(5))
    notes = Outbox(database, embedder=NAME, place="here")
    worker = Reindexer(notes=notes, index=remote(server), log=Quiet())
    assert worker.run() == 5
    outbox.close_all(database)
    exemplars.remove(ids[:2])
    assert not worker.compare().equal
    worker.run()
    assert worker.compare().equal
    other = Outbox(database, embedder=NAME, place="there")
    assert other.open()
    assert not notes.open(again=True), "a newer console has taken over"
    assert not other.open()
    assert notes.open(), "one that starts takes over"


def test_a_change_under_way_while_the_outbox_is_opened_is_noted(database: Database, server: PineconeServer) -> None:
    exemplars = Exemplars(database, embedder=NAME, dimensions=DIMENSIONS)
    gone, kept = exemplars.add([Exemplar(text=f"text {n}", department="Billing") for n in range(2)], unit(2))
    notes = Outbox(database, embedder=NAME, place="here")
    worker = Reindexer(notes=notes, index=remote(server), log=Quiet())
    opening = threading.Thread(target=worker.run)
    with database.begin() as connection:
        connection.execute(text("update exemplars set active = false where id = :id"), {"id": gone})
        connection.execute(text("delete from exemplar_vectors where exemplar_id = :id"), {"id": gone})
        opening.start()
        with database.connect() as looking:
            wait_until(lambda: looking.execute(text("select count(*) from pg_locks where not granted")).scalar_one())
    opening.join(60)
    assert set(server.namespaces["test-384"]) == {str(kept)}
    assert worker.compare().equal


def test_one_process_at_a_time_sends_so_that_none_overtakes_another_with_an_older_state(database: Database) -> None:
    Exemplars(database, embedder=NAME, dimensions=DIMENSIONS).add([Exemplar(text="a label", department="Billing")], unit(1))
    notes, another = Outbox(database, embedder=NAME, place="here"), Outbox(database, embedder=NAME, place="here")
    notes.open()
    sent: list[str] = []

    def while_another_looks(*_: object) -> None:
        sent.append("first")
        assert another.work(lambda *_: sent.append("second")) == 0

    assert notes.work(while_another_looks) == 1
    assert sent == ["first"] and another.waiting() == 0


def test_a_distant_index_may_take_longer_than_others_may_think_in_a_transaction(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "IDLE_IN_TRANSACTION_MS", 1_000)
    impatient = connect(str(database.url))
    Exemplars(database, embedder=NAME, dimensions=DIMENSIONS).add([Exemplar(text="a label", department="Billing")], unit(1))
    notes = Outbox(impatient, embedder=NAME, place="here")
    notes.open()
    assert notes.work(lambda *_: time.sleep(2.0)) == 1
    assert notes.waiting() == 0
    impatient.dispose()


def test_a_console_that_stops_ends_after_the_batch_that_is_under_way(database: Database, server: PineconeServer) -> None:
    Exemplars(database, embedder=NAME, dimensions=DIMENSIONS).add([Exemplar(text=f"text {n}", department="Billing") for n in range(250)], unit(250))
    notes = Outbox(database, embedder=NAME, place="here")
    worker = Reindexer(notes=notes, index=remote(server), log=Quiet())
    assert worker.run(progress=lambda *_: worker.close()) == 100
    assert notes.waiting() == 150, "what is not sent waits for the next start"


def test_while_consoles_change_one_after_another_to_a_new_index_none_sends_its_changes_to_the_old_one(database: Database) -> None:
    exemplars = Exemplars(database, embedder=NAME, dimensions=DIMENSIONS)
    exemplars.add([Exemplar(text=f"text {n}", department="Billing") for n in range(3)], unit(3))
    with PineconeServer() as old, PineconeServer() as new:
        before, after = (
            Reindexer(notes=Outbox(database, embedder=NAME, place=server.url), index=remote(server), log=Quiet()) for server in (old, new)
        )
        assert before.run() == 3
        Outbox(database, embedder=NAME, place=new.url).open()
        exemplars.add([Exemplar(text="a late label", department="Cards")], unit(1, seed=3))
        assert (before.run(), after.run()) == (0, 4)
        assert after.compare().equal


def test_a_console_whose_index_cannot_be_used_takes_nothing_from_those_that_run(database: Database) -> None:
    """It was given a wrong name, say, and is taken back: the others go on, without a restart."""
    exemplars = Exemplars(database, embedder=NAME, dimensions=DIMENSIONS)
    exemplars.add([Exemplar(text="a label", department="Billing")], unit(1))
    with PineconeServer() as there:
        running = Reindexer(notes=Outbox(database, embedder=NAME, place=there.url), index=remote(there), log=Quiet())
        assert running.run() == 1
        with PineconeServer() as other:
            wrong = Reindexer(notes=Outbox(database, embedder=NAME, place="wrong"), index=remote(other), log=Quiet())
        for begin in (wrong._look, wrong.run):
            with pytest.raises(ServiceUnavailable):
                begin()
        exemplars.add([Exemplar(text="a late label", department="Cards")], unit(1, seed=3))
        assert running.run() == 1
        assert running.compare().equal
